/* SPDX-License-Identifier: MIT */
#include "wire/gso.h"

#include "base/err.h"
#include "base/flags.h"
#include "wire/csum.h"
#include "wire/ip.h"

enum { IP6_LEN = 40, TCP_LEN = 20, TCP_CSUM = 16, UDP_LEN = 8, UDP_CSUM = 6 };

void pq_vnet_read(struct pq_vnet *v, const uint8_t p[PQ_VNET_LEN])
{
    v->flags = p[0];
    v->gso_type = p[1];
    memcpy(&v->hdr_len, p + 2, 2);
    memcpy(&v->gso_size, p + 4, 2);
    memcpy(&v->csum_start, p + 6, 2);
    memcpy(&v->csum_offset, p + 8, 2);
}

void pq_vnet_write(const struct pq_vnet *v, uint8_t p[PQ_VNET_LEN])
{
    p[0] = v->flags;
    p[1] = v->gso_type;
    memcpy(p + 2, &v->hdr_len, 2);
    memcpy(p + 4, &v->gso_size, 2);
    memcpy(p + 6, &v->csum_start, 2);
    memcpy(p + 8, &v->csum_offset, 2);
}

/* Reads a packet that has its whole TCP or UDP in it. */
static int parse_plain(struct pq_ip *ip, const uint8_t *p, size_t n)
{
    int e = pq_ip_parse(ip, (struct pq_view){p, n});
    return e || !ip->has_ports || !ip->whole ? PQ_EPROTO : 0;
}

/* Where the payload of a TCP packet starts, or PQ_EPROTO. */
static int tcp_head(const struct pq_ip *ip, const uint8_t *p, size_t n)
{
    if (ip->proto != PQ_IPPROTO_TCP || n - ip->l4 < TCP_LEN)
        return PQ_EPROTO;
    size_t head = (size_t)(p[ip->l4 + 12] >> 4) * 4;
    return head < TCP_LEN || head > n - ip->l4 ? PQ_EPROTO : (int)(ip->l4 + head);
}

int pq_gso_init(struct pq_gso *g, const uint8_t *p, size_t n, uint16_t gso_size)
{
    struct pq_ip ip;
    if (gso_size < PQ_GSO_SIZE_MIN || parse_plain(&ip, p, n))
        return PQ_EPROTO;
    int head = tcp_head(&ip, p, n);
    if (head < 0)
        return PQ_EPROTO;
    *g = (struct pq_gso){
        .p = p, .n = n, .l4 = ip.l4, .head = (size_t)head, .at = (size_t)head, .size = gso_size};
    return 0;
}

/* Length, id and checksum of the IP header. */
static void finish_ip(const struct pq_gso *g, uint8_t *out, size_t len)
{
    if (out[0] >> 4 == 6) {
        pq_put_be16(out + 4, (uint16_t)(len - IP6_LEN));
        return;
    }
    pq_put_be16(out + 2, (uint16_t)len);
    pq_put_be16(out + 4, (uint16_t)(pq_be16(g->p + 4) + g->index));
    memset(out + 10, 0, 2);
    uint16_t sum = pq_csum_fold(pq_csum_add(0, out, g->l4));
    memcpy(out + 10, &sum, 2);
}

/* Sequence number, flags and checksum of the TCP header; the addresses are in place. */
static void finish_tcp(const struct pq_gso *g, uint8_t *out, size_t len, bool last)
{
    uint8_t *t = out + g->l4;
    pq_put_be32(t + 4, pq_be32(t + 4) + (uint32_t)(g->at - g->head));
    if (!last)
        t[13] &= (uint8_t) ~(PQ_TCP_FIN | PQ_TCP_PSH);
    if (g->index)
        t[13] &= (uint8_t)~PQ_TCP_CWR;
    uint8_t pseudo[4] = {0, PQ_IPPROTO_TCP};
    pq_put_be16(pseudo + 2, (uint16_t)(len - g->l4));
    bool v4 = out[0] >> 4 == 4;
    uint64_t sum = pq_csum_add(0, pseudo, sizeof pseudo);
    sum = pq_csum_add(sum, out + (v4 ? 12 : 8), v4 ? 8 : 32);
    memset(t + TCP_CSUM, 0, 2);
    uint16_t csum = pq_csum_fold(pq_csum_add(sum, t, len - g->l4));
    memcpy(t + TCP_CSUM, &csum, 2);
}

size_t pq_gso_next(struct pq_gso *g, uint8_t *out, size_t cap)
{
    size_t left = g->n - g->at;
    size_t take = left < g->size ? left : g->size;
    if (g->done || cap < g->head + g->size)
        return 0;
    size_t len = g->head + take;
    bool last = take == left;
    memcpy(out, g->p, g->head);
    memcpy(out + g->head, g->p + g->at, take);
    finish_ip(g, out, len);
    finish_tcp(g, out, len, last);
    g->at += take;
    g->index++;
    g->done = last;
    return len;
}

int pq_gso_describe(struct pq_vnet *out, const uint8_t *p, size_t n, uint16_t gso_size,
                    bool partial_csum)
{
    struct pq_ip ip;
    *out = (struct pq_vnet){0};
    if (!gso_size && !partial_csum)
        return pq_ip_len((struct pq_view){p, n}) == n && n ? 0 : PQ_EPROTO;
    if (parse_plain(&ip, p, n))
        return PQ_EPROTO;
    bool udp = ip.proto == PQ_IPPROTO_UDP && !gso_size;
    int head = udp ? ip.l4 + UDP_LEN : tcp_head(&ip, p, n);
    if (head < 0 || (size_t)head > n)
        return PQ_EPROTO;
    if (gso_size && (gso_size < PQ_GSO_SIZE_MIN || gso_size >= n - (size_t)head))
        return PQ_EPROTO;
    *out = (struct pq_vnet){.flags = PQ_VNET_NEEDS_CSUM,
                            .hdr_len = (uint16_t)head,
                            .gso_size = gso_size,
                            .csum_start = ip.l4,
                            .csum_offset = udp ? UDP_CSUM : TCP_CSUM};
    if (gso_size)
        out->gso_type = ip.version == 4 ? PQ_VNET_GSO_TCP4 : PQ_VNET_GSO_TCP6;
    if (gso_size && p[ip.l4 + 13] & PQ_TCP_CWR)
        out->gso_type |= PQ_VNET_GSO_ECN;
    return 0;
}

bool pq_gso_can_describe(const struct pq_vnet *v, const uint8_t *p, size_t n)
{
    struct pq_vnet same;
    return pq_gso_describe(&same, p, n, 0, true) == 0 && same.csum_start == v->csum_start &&
           same.csum_offset == v->csum_offset;
}
