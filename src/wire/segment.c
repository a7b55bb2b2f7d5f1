/* SPDX-License-Identifier: MIT */
#include "wire/segment.h"

#include "base/bytes.h"
#include "wire/csum.h"
#include "wire/holes.h"

enum { OPT_END = 0, OPT_NOP = 1, OPT_MSS = 2, OPT_SCALE = 3, OPT_SACK = 5, OPT_TIMESTAMPS = 8 };

#define SCALE_MAX 14 /* RFC 7323: a greater one counts as this */

/* The IP layer of a frame: where the TCP header starts and how far the packet goes. */
static enum pq_drop parse_ip4(struct pq_segment *s, uint8_t **p, size_t *n)
{
    uint8_t *h = *p;
    if (*n < 20)
        return PQ_DROP_SHORT_FRAME;
    size_t ihl = (size_t)(h[0] & 15) * 4, total = pq_be16(h + 2);
    if (ihl < 20 || total < ihl || total > *n)
        return PQ_DROP_SHORT_FRAME;
    if (h[9] != 6)
        return PQ_DROP_NOT_TCP;
    if (pq_be16(h + 6) & 0x3fff) /* more fragments, or an offset */
        return PQ_DROP_IP_FRAGMENT;
    pq_addr_set4(&s->src, h + 12, 0);
    pq_addr_set4(&s->dst, h + 16, 0);
    *p += ihl;
    *n = total - ihl; /* cuts Ethernet padding */
    return PQ_DROP_NONE;
}

static enum pq_drop parse_ip6(struct pq_segment *s, uint8_t **p, size_t *n)
{
    uint8_t *h = *p;
    if (*n < 40)
        return PQ_DROP_SHORT_FRAME;
    size_t plen = pq_be16(h + 4);
    if (plen > *n - 40)
        return PQ_DROP_SHORT_FRAME;
    if (h[6] != 6)
        return h[6] == 17 || h[6] == 58 ? PQ_DROP_NOT_TCP : PQ_DROP_IP6_EXT;
    pq_addr_set6(&s->src, h + 8, 0);
    pq_addr_set6(&s->dst, h + 24, 0);
    if (pq_addr_is4(&s->src) || pq_addr_is4(&s->dst)) /* would be taken for the IPv4 address */
        return PQ_DROP_BAD_ADDR;
    *p += 40;
    *n = plen;
    return PQ_DROP_NONE;
}

/* What is behind something malformed is not read. */
static void read_options(struct pq_segment *s, const uint8_t *p, size_t n)
{
    struct pq_rd r = pq_rd_init(p, n);
    while (pq_rd_left(&r)) {
        uint8_t kind = pq_rd_u8(&r);
        if (kind == OPT_END)
            return;
        if (kind == OPT_NOP)
            continue;
        uint8_t len = pq_rd_u8(&r);
        const uint8_t *body = len >= 2 ? pq_rd_bytes(&r, len - 2u) : NULL;
        if (!body)
            return;
        if (kind == OPT_TIMESTAMPS && len == 10) {
            s->tsval = pq_be32(body);
            s->tsecr = pq_be32(body + 4);
            s->has_ts = true;
        } else if (kind == OPT_SACK && len % PQ_SACK_LEN == 2) {
            s->sacks = body;
            s->n_sacks = len / PQ_SACK_LEN;
        } else if (kind == OPT_MSS && len == 4) {
            s->mss = pq_be16(body);
        } else if (kind == OPT_SCALE && len == 3) {
            s->scale = body[0] > SCALE_MAX ? SCALE_MAX : body[0];
            s->has_scale = true;
        }
    }
}

static bool is_sound(const struct pq_segment *s, const uint8_t *t, size_t n)
{
    const bool is4 = pq_addr_is4(&s->src);
    const size_t from = is4 ? 12 : 0, len = sizeof s->src.ip - from;
    uint8_t rest[4] = {0, 6};
    pq_put_be16(rest + 2, (uint16_t)n);
    uint64_t sum = pq_csum_add(0, s->src.ip + from, len);
    sum = pq_csum_add(sum, s->dst.ip + from, len);
    sum = pq_csum_add(sum, rest, sizeof rest);
    return pq_csum_fold(pq_csum_add(sum, t, n)) == 0;
}

static enum pq_drop parse_tcp(struct pq_segment *s, uint8_t *t, size_t n)
{
    if (n < 20)
        return PQ_DROP_SHORT_FRAME;
    size_t head = (size_t)(t[12] >> 4) * 4;
    if (head < 20 || head > n)
        return PQ_DROP_SHORT_FRAME;
    s->src.port = pq_be16(t);
    s->dst.port = pq_be16(t + 2);
    s->flags = (uint16_t)((t[12] & 1) << 8 | t[13]);
    s->seq = pq_be32(t + 4);
    s->ack = pq_be32(t + 8);
    s->window = pq_be16(t + 14);
    read_options(s, t + 20, head - 20);
    s->data = t + head;
    s->len = n - head;
    s->sound = !s->len && is_sound(s, t, n);
    return s->len ? PQ_DROP_NONE : PQ_DROP_NO_PAYLOAD;
}

enum pq_drop pq_segment_parse(struct pq_segment *out, uint8_t *frame, size_t len, size_t link_len)
{
    uint8_t *p = frame;
    size_t n = len;
    *out = (struct pq_segment){0};
    if (n < link_len + 1)
        return PQ_DROP_SHORT_FRAME;
    if (link_len >= 14) {
        uint16_t type = pq_be16(p + link_len - 2);
        out->src_mac = p + 6;
        if (type == 0x8100 && n >= link_len + 4) {
            type = pq_be16(p + link_len + 2);
            p += 4;
            n -= 4;
        }
        if (type != 0x0800 && type != 0x86dd)
            return PQ_DROP_NOT_TCP;
        if (n < link_len + 1)
            return PQ_DROP_SHORT_FRAME;
    }
    p += link_len;
    n -= link_len;
    const uint8_t *ip = p;
    enum pq_drop d;
    if (p[0] >> 4 == 4)
        d = parse_ip4(out, &p, &n);
    else if (p[0] >> 4 == 6)
        d = parse_ip6(out, &p, &n);
    else
        return PQ_DROP_NOT_TCP;
    if (!d)
        d = parse_tcp(out, p, n);
    if (out->data)
        out->head = (size_t)(out->data - ip);
    return d;
}
