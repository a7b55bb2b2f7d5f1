/* SPDX-License-Identifier: MIT */
/* gso.h - TCP packets larger than the wire, as a TUN device with IFF_VNET_HDR hands them out and
 * takes them: one header in front of many segments.  Cuts them into packets of their own, and
 * describes those that may go into a device whole.  No allocation. */
#ifndef PQ_WIRE_GSO_H
#define PQ_WIRE_GSO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PQ_VNET_LEN     10 /* bytes of the header in front of each packet */
#define PQ_GSO_SIZE_MIN 8  /* least payload of a segment: an MSS of 48 less 40 of options */

enum { /* virtio_net_hdr */
       PQ_VNET_NEEDS_CSUM = 1,
       PQ_VNET_GSO_NONE = 0,
       PQ_VNET_GSO_TCP4 = 1,
       PQ_VNET_GSO_TCP6 = 4,
       PQ_VNET_GSO_ECN = 0x80, /* beside one of the TCP types: CWR is set */
};

struct pq_vnet {
    uint8_t flags, gso_type;
    uint16_t hdr_len;    /* bytes of all headers of the packet */
    uint16_t gso_size;   /* payload of each segment but the last */
    uint16_t csum_start; /* with NEEDS_CSUM: see pq_ip_fill_checksum */
    uint16_t csum_offset;
};

/* Reads and writes the header as a TUN device has it unless told otherwise (TUNSETVNETLE): in the
 * byte order of this machine. */
void pq_vnet_read(struct pq_vnet *v, const uint8_t p[PQ_VNET_LEN]);
void pq_vnet_write(const struct pq_vnet *v, uint8_t p[PQ_VNET_LEN]);

struct pq_gso {
    const uint8_t *p; /* the super packet, borrowed */
    size_t n;
    size_t l4, head; /* offset of the TCP header, and of the payload */
    size_t at;       /* payload from here on is not out yet */
    uint16_t size;   /* payload of one packet */
    uint16_t index;  /* packets that are out */
    bool done;
};

/* Prepares to cut the packet p[0..n), n as its IP header says, into TCP segments of gso_size
 * payload bytes; p stays untouched and valid until the last call.  Returns 0, or PQ_EPROTO: not
 * TCP, a fragment, a length that lies, or gso_size < PQ_GSO_SIZE_MIN. */
int pq_gso_init(struct pq_gso *g, const uint8_t *p, size_t n, uint16_t gso_size);

/* Writes the next packet: the headers again with lengths, IPv4 id, sequence number and both
 * checksums made right; FIN and PSH only on the last, CWR only on the first.  Returns its bytes; 0
 * when all are out, or when `cap` is smaller than g->head + gso_size (then nothing changed). */
size_t pq_gso_next(struct pq_gso *g, uint8_t *out, size_t cap);

/* Makes the header to write in front of a packet from a peer.  gso_size 0: an ordinary packet,
 * whose TCP or UDP checksum is left to the kernel if partial_csum, else is complete.  gso_size > 0:
 * a super packet of that segment size with its checksum left to the kernel.  Returns 0, or
 * PQ_EPROTO: a length that lies; with either, not TCP (or, without gso_size, UDP), or a fragment;
 * gso_size < PQ_GSO_SIZE_MIN, or not smaller than the payload. */
int pq_gso_describe(struct pq_vnet *out, const uint8_t *p, size_t n, uint16_t gso_size,
                    bool partial_csum);

/* Whether the checksum that a device has left open, as its header says, is the one that
 * pq_gso_describe would name: not so of a TCP packet inside another, nor of any other protocol. */
bool pq_gso_can_describe(const struct pq_vnet *v, const uint8_t *p, size_t n);
#endif
