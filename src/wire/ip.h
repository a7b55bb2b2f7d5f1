/* SPDX-License-Identifier: MIT */
/* ip.h - reads the IP packets that go through a TUN device: where one ends, whom it is from and
 * for, and its ports.  Pure functions over bytes; nothing is kept. */
#ifndef PQ_WIRE_IP_H
#define PQ_WIRE_IP_H
#include "base/addr.h"
#include "base/bytes.h"

enum { PQ_IPPROTO_TCP = 6, PQ_IPPROTO_UDP = 17 };

struct pq_ip {
    struct pq_addr src, dst; /* with ports if has_ports */
    uint8_t version;         /* 4 or 6 */
    uint8_t proto;           /* IPv6: of the header behind the extension headers */
    bool fragment;           /* a fragment, but not the first: there is no transport header */
    bool whole;              /* no fragment at all, the first included */
    bool has_ports;
    uint16_t l4; /* offset of the transport header, or of a later fragment's data */
};

/* Total length in bytes of the packet that starts at v.p, by its own IP header, at most 65,575.
 * 0: more bytes are needed to tell (4 for IPv4, 6 for IPv6).  SIZE_MAX: not an IP packet (another
 * version, or a length smaller than its header). */
size_t pq_ip_len(struct pq_view v);

/* Reads one whole packet; at most 8 IPv6 extension headers (hop-by-hop, routing, destination
 * options, fragment) are walked, others are left as `proto`.  Checksums are not looked at.
 * Returns 0, or PQ_EPROTO: not IP, its length is not packet.n, a header is cut off (TCP and UDP:
 * the ports), too many extension headers, or dst does not say where it goes: a source route, an
 * IPv4-mapped address in an IPv6 packet. */
int pq_ip_parse(struct pq_ip *out, struct pq_view packet);

/* Completes a checksum that was left to a network card: the 16 bits at csum_start + csum_offset
 * hold the sum of the pseudo header, and become the checksum from csum_start to the end.  Offsets
 * that lie outside the packet change nothing. */
void pq_ip_fill_checksum(uint8_t *p, size_t n, uint16_t csum_start, uint16_t csum_offset);
#endif
