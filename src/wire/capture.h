/* SPDX-License-Identifier: MIT */
/* capture.h - files of packets as tcpdump writes them (pcap; not pcapng), read and written.  Pure:
 * bytes in, bytes out; who has them from where is not known here.  Any thread. */
#ifndef PQ_WIRE_CAPTURE_H
#define PQ_WIRE_CAPTURE_H
#include "base/bytes.h"

#define PQ_CAPTURE_HEAD       24 /* bytes of the file's head ... */
#define PQ_CAPTURE_RECORD     16 /* ... and of a packet's */
#define PQ_CAPTURE_PACKET_MAX 262144

enum pq_capture_link { /* what a packet begins with; numbers of the format */
                       PQ_CAPTURE_ETHERNET = 1,
                       PQ_CAPTURE_IP = 101,
                       PQ_CAPTURE_COOKED = 113,  /* of all interfaces ... */
                       PQ_CAPTURE_COOKED2 = 276, /* ... by newer programs */
};

struct pq_capture { /* what a file's head says */
    bool swapped;   /* the other byte order */
    bool nano;      /* times in ns, not us */
    enum pq_capture_link link;
};

struct pq_capture_packet { /* what a packet's head says */
    uint64_t time_us;      /* since 1970 */
    uint32_t len;          /* bytes that follow, at most PQ_CAPTURE_PACKET_MAX ... */
    uint32_t whole;        /* ... of so many */
};

/* Reads the head of a file.  Returns 0, PQ_EPROTO (this is no such file), or PQ_ENOTSUP: a pcapng
 * file, or packets of another link than those above. */
int pq_capture_read(struct pq_capture *c, const uint8_t head[PQ_CAPTURE_HEAD]);

/* Reads the head of a packet.  Returns 0 or PQ_EPROTO (longer than PQ_CAPTURE_PACKET_MAX). */
int pq_capture_next(const struct pq_capture *c, const uint8_t record[PQ_CAPTURE_RECORD],
                    struct pq_capture_packet *p);

/* Skips what is in front of a packet of this file: *n bytes at p.  Returns where it goes on, and
 * how long the link header is that is still there (14 or 0); NULL if it is no IP packet, or cut. */
uint8_t *pq_capture_strip(const struct pq_capture *c, uint8_t *p, size_t *n, size_t *link_len);

/* Writes both heads, for packets of a link, in this machine's time. */
void pq_capture_write(uint8_t head[PQ_CAPTURE_HEAD], enum pq_capture_link link);
void pq_capture_put(uint8_t record[PQ_CAPTURE_RECORD], const struct pq_capture_packet *p);
#endif
