/* SPDX-License-Identifier: MIT */
#include "wire/ip.h"

#include "base/err.h"
#include "wire/csum.h"

enum { IP4_LEN = 20, IP6_LEN = 40, EXT_MAX = 8 };
enum { OPT_END = 0, OPT_NOP = 1, OPT_LSRR = 131, OPT_SSRR = 137 }; /* RFC 791, 3.1 */
enum { EXT_HOP_BY_HOP = 0, EXT_ROUTING = 43, EXT_FRAGMENT = 44, EXT_DEST = 60 };

size_t pq_ip_len(struct pq_view v)
{
    if (!v.n)
        return 0;
    switch (v.p[0] >> 4) {
    case 4: {
        size_t head = (size_t)(v.p[0] & 15) * 4;
        if (head < IP4_LEN)
            return SIZE_MAX;
        if (v.n < 4)
            return 0;
        size_t total = pq_be16(v.p + 2);
        return total < head ? SIZE_MAX : total;
    }
    case 6:
        return v.n < 6 ? 0 : IP6_LEN + (size_t)pq_be16(v.p + 4);
    default:
        return SIZE_MAX;
    }
}

/* Whether the options name further addresses that the packet is to go to. */
static bool is_source_routed(struct pq_view options)
{
    struct pq_rd r = pq_rd_init(options.p, options.n);
    while (pq_rd_left(&r)) {
        uint8_t type = pq_rd_u8(&r);
        if (type == OPT_END)
            return false;
        if (type == OPT_NOP)
            continue;
        uint8_t len = pq_rd_u8(&r);
        if (type == OPT_LSRR || type == OPT_SSRR || len < 2)
            return true; /* or broken */
        pq_rd_bytes(&r, len - 2u);
        if (r.bad)
            return true;
    }
    return false;
}

/* The packet is as long as its header says, and that covers the header. */
static int parse_ip4(struct pq_ip *out, struct pq_view v)
{
    out->version = 4;
    out->proto = v.p[9];
    out->fragment = pq_be16(v.p + 6) & 0x1fff;
    out->whole = !(pq_be16(v.p + 6) & 0x3fff);
    out->l4 = (uint16_t)((v.p[0] & 15) * 4);
    pq_addr_set4(&out->src, v.p + 12, 0);
    pq_addr_set4(&out->dst, v.p + 16, 0);
    return is_source_routed((struct pq_view){v.p + IP4_LEN, out->l4 - (size_t)IP4_LEN}) ? PQ_EPROTO
                                                                                        : 0;
}

static bool is_ext(uint8_t proto)
{
    return proto == EXT_HOP_BY_HOP || proto == EXT_ROUTING || proto == EXT_FRAGMENT ||
           proto == EXT_DEST;
}

static int parse_ip6(struct pq_ip *out, struct pq_view v)
{
    size_t at = IP6_LEN;
    out->version = 6;
    out->whole = true;
    out->proto = v.p[6];
    pq_addr_set6(&out->src, v.p + 8, 0);
    pq_addr_set6(&out->dst, v.p + 24, 0);
    if (pq_addr_is4(&out->src) || pq_addr_is4(&out->dst))
        return PQ_EPROTO; /* would be taken for the IPv4 address; no such packet is on any wire */
    for (int i = 0; is_ext(out->proto) && !out->fragment; i++) {
        if (i == EXT_MAX || v.n - at < 8)
            return PQ_EPROTO;
        if (out->proto == EXT_ROUTING && v.p[at + 3])
            return PQ_EPROTO; /* dst is not where it ends */
        size_t len = 8;
        out->whole = out->whole && out->proto != EXT_FRAGMENT;
        if (out->proto == EXT_FRAGMENT)
            out->fragment = pq_be16(v.p + at + 2) & 0xfff8;
        else
            len += (size_t)v.p[at + 1] * 8;
        if (len > v.n - at)
            return PQ_EPROTO;
        out->proto = v.p[at];
        at += len;
    }
    out->l4 = (uint16_t)at;
    return 0;
}

int pq_ip_parse(struct pq_ip *out, struct pq_view packet)
{
    *out = (struct pq_ip){0};
    if (!packet.n || pq_ip_len(packet) != packet.n)
        return PQ_EPROTO;
    if (packet.p[0] >> 4 == 4 ? parse_ip4(out, packet) : parse_ip6(out, packet))
        return PQ_EPROTO;
    if (out->fragment || (out->proto != PQ_IPPROTO_TCP && out->proto != PQ_IPPROTO_UDP))
        return 0;
    /* a first fragment too short for its ports would slip past rules about ports */
    if (packet.n - out->l4 < 4)
        return PQ_EPROTO;
    out->has_ports = true;
    out->src.port = pq_be16(packet.p + out->l4);
    out->dst.port = pq_be16(packet.p + out->l4 + 2);
    return 0;
}

void pq_ip_fill_checksum(uint8_t *p, size_t n, uint16_t csum_start, uint16_t csum_offset)
{
    size_t field = (size_t)csum_start + csum_offset;
    if (field + 2 > n)
        return;
    uint16_t sum = pq_csum_fold(pq_csum_add(0, p + csum_start, n - csum_start));
    /* UDP means "none" by 0; to TCP both forms of zero are one */
    if (!sum)
        sum = 0xffff;
    memcpy(p + field, &sum, 2);
}
