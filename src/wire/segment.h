/* SPDX-License-Identifier: MIT */
/* segment.h - reads one frame down to the TCP payload [1.2].  Checks every length; decides
 * by nothing that peers ignore: flags, seq, ack, options, window, TTL and both checksums. */
#ifndef PQ_WIRE_SEGMENT_H
#define PQ_WIRE_SEGMENT_H
#include "base/addr.h"
#include "base/err.h"

struct pq_segment {
    struct pq_addr src, dst;
    const uint8_t *src_mac;   /* into the frame; NULL without a link header */
    uint16_t flags;           /* PQ_TCP_*, for dump only */
    uint32_t seq, ack, tsval; /* for what is sent back to look right [1.6] [12.9] */
    uint32_t tsecr;
    uint16_t window; /* as it stands there */
    uint16_t mss;    /* 0 = not told */
    uint8_t scale;   /* of windows; at most 14 */
    bool has_ts, has_scale;
    uint8_t n_sacks;      /* blocks that it tells [12.9], ... */
    uint8_t lead;         /* bytes in front of data that were skipped [12.9] */
    const uint8_t *sacks; /* ... into the frame */
    uint8_t *data;        /* TCP payload, into the frame */
    size_t len;
    bool sound;  /* with len 0: TCP's checksum is right, as a kernel wants it */
    size_t head; /* bytes of the IP and TCP headers in front of it */
};

/* Parses a frame whose link header has `link_len` bytes (14, or 0 for bare IP); one VLAN tag is
 * skipped.  *out borrows the frame.  Returns PQ_DROP_NONE or PQ_DROP_SHORT_FRAME,
 * PQ_DROP_NOT_TCP, PQ_DROP_IP_FRAGMENT, PQ_DROP_IP6_EXT, PQ_DROP_BAD_ADDR, PQ_DROP_NO_PAYLOAD;
 * with the last one, too, everything is set, but len is 0. */
enum pq_drop pq_segment_parse(struct pq_segment *out, uint8_t *frame, size_t len, size_t link_len);
#endif
