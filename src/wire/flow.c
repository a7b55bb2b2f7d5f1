/* SPDX-License-Identifier: MIT */
#include "wire/flow.h"

#include "base/bytes.h"
#include "wire/csum.h"

#include <string.h>

static void ip4_template(struct pq_flow *f, const struct pq_flow_conf *c)
{
    uint8_t *h = f->head + f->link_len;
    h[0] = 0x45;
    h[1] = 0xb8;                /* TOS 184 = DSCP 46 [1.1] */
    pq_put_be16(h + 6, 0x4000); /* don't fragment */
    h[8] = 64;
    h[9] = 6;
    memcpy(h + 12, pq_addr_v4(&c->local), 4);
    memcpy(h + 16, pq_addr_v4(&c->peer), 4);
    f->ip_len = PQ_IP4_LEN;
    f->ip_sum = pq_csum_add(0, h, PQ_IP4_LEN);
    f->pseudo_sum = pq_csum_add(0, h + 12, 8);
}

static void ip6_template(struct pq_flow *f, const struct pq_flow_conf *c)
{
    uint8_t *h = f->head + f->link_len;
    pq_put_be32(h, 0x6b800000); /* version 6, traffic class 0xB8, flow label 0 [1.1] */
    h[6] = 6;
    h[7] = 64;
    memcpy(h + 8, c->local.ip, 16);
    memcpy(h + 24, c->peer.ip, 16);
    f->ip_len = PQ_IP6_LEN;
    f->pseudo_sum = pq_csum_add(0, h + 8, 32);
}

static void put_link(struct pq_flow *f, const struct pq_flow_conf *c, bool is4)
{
    if (f->link_len != PQ_ETH_LEN)
        return;
    memcpy(f->head, c->peer_mac, 6);
    memcpy(f->head + 6, c->local_mac, 6);
    pq_put_be16(f->head + 12, is4 ? 0x0800 : 0x86dd);
}

void pq_flow_init(struct pq_flow *f, const struct pq_flow_conf *c)
{
    memset(f, 0, sizeof *f);
    f->link_len = c->link_len;
    f->sport = c->local.port;
    f->dport = c->peer.port;
    f->t0 = c->t0;
    f->flags = (struct pq_flags){{PQ_TCP_PSH | PQ_TCP_ACK}, 1};
    bool is4 = pq_addr_is4(&c->peer);
    put_link(f, c, is4);
    if (is4)
        ip4_template(f, c);
    else
        ip6_template(f, c);
    const uint8_t proto[2] = {0, 6};
    f->pseudo_sum = pq_csum_add(f->pseudo_sum, proto, 2);
}

void pq_flow_set_flags(struct pq_flow *f, const struct pq_flags *flags)
{
    if (!flags->n)
        return;
    f->flags = *flags;
    f->flag_next = 0;
}

void pq_flow_set_peer_mac(struct pq_flow *f, const uint8_t mac[6])
{
    if (f->link_len == PQ_ETH_LEN)
        memcpy(f->head, mac, 6);
}

void pq_flow_set_link(struct pq_flow *f, const struct pq_flow_conf *c)
{
    memmove(f->head + c->link_len, f->head + f->link_len, f->ip_len);
    f->link_len = c->link_len;
    put_link(f, c, f->ip_len == PQ_IP4_LEN);
}

bool pq_flow_is_from(const struct pq_flow *f, const struct pq_addr *a)
{
    const uint8_t *ip = f->head + f->link_len;
    bool is4 = f->ip_len == PQ_IP4_LEN;
    if (pq_addr_is4(a) != is4)
        return false;
    return is4 ? memcmp(ip + 12, pq_addr_v4(a), 4) == 0 : memcmp(ip + 8, a->ip, 16) == 0;
}

/* Sequence, acknowledgement and time stamps are decoration made from the packet counter [1.1]. */
static size_t put_tcp(struct pq_flow *f, uint8_t *t, uint16_t flags)
{
    uint32_t n = ++f->n;
    uint32_t tsval = f->t0 + (n >> 3), seq, ack;
    bool syn = flags & PQ_TCP_SYN;
    size_t len = syn ? PQ_TCP_SYN_LEN : PQ_TCP_LEN;
    if (syn) {
        seq = 1 + (n & 7);
        ack = flags & PQ_TCP_ACK ? seq + 1 : 0;
        static const uint8_t opts[20] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0,
                                         0, 0, 0, 0,    0, 0, 1, 3,  3, 8};
        memcpy(t + 20, opts, sizeof opts);
        pq_put_be32(t + 28, tsval); /* TSecr stays 0 */
    } else {
        seq = f->t0 + (n << 7);
        ack = seq - (n & 0x3ff) + 1400;
        pq_put_be32(t + 20, 0x0101080a); /* NOP NOP timestamps */
        pq_put_be32(t + 24, tsval);
        pq_put_be32(t + 28, tsval - (n % 200 + 50));
    }
    pq_put_be16(t, f->sport);
    pq_put_be16(t + 2, f->dport);
    pq_put_be32(t + 4, seq);
    pq_put_be32(t + 8, ack);
    t[12] = (uint8_t)(len / 4 << 4 | (flags & PQ_TCP_NS ? 1 : 0));
    t[13] = (uint8_t)flags;
    pq_put_be16(t + 14, 65535);
    pq_put_be32(t + 16, 0); /* checksum, urgent pointer */
    return len;
}

/* Headers in front of the slot's datagram; its TCP length is `bytes` more than the TCP header.
 * Returns where the TCP header is, and its pseudo header's sum in *sum. */
static uint8_t *put_headers(struct pq_flow *f, struct pq_slot *slot, uint16_t flags, size_t bytes,
                            uint64_t *sum)
{
    size_t tcp_len = flags & PQ_TCP_SYN ? PQ_TCP_SYN_LEN : PQ_TCP_LEN;
    size_t head = (size_t)f->link_len + f->ip_len + tcp_len, seg_len = tcp_len + bytes;
    uint8_t *p = slot->buf + slot->off - head, *ip = p + f->link_len, *tcp = ip + f->ip_len;
    memcpy(p, f->head, (size_t)f->link_len + f->ip_len);
    put_tcp(f, tcp, flags);
    uint8_t len_be[2];
    pq_put_be16(len_be, (uint16_t)seg_len);
    *sum = pq_csum_add(f->pseudo_sum, len_be, 2);
    if (f->ip_len == PQ_IP4_LEN) {
        pq_put_be16(ip + 2, (uint16_t)(PQ_IP4_LEN + seg_len));
        uint16_t c = pq_csum_fold(pq_csum_add(f->ip_sum, ip + 2, 2));
        memcpy(ip + 10, &c, 2);
    } else {
        pq_put_be16(ip + 4, (uint16_t)seg_len);
    }
    slot->off = (uint16_t)(slot->off - head);
    slot->len = (uint16_t)(slot->len + head);
    slot->gso = slot->more = 0;
    return tcp;
}

void pq_flow_craft(struct pq_flow *f, struct pq_slot *slot)
{
    uint16_t flags = f->flags.v[f->flag_next];
    if (++f->flag_next >= f->flags.n)
        f->flag_next = 0;
    uint64_t sum;
    uint8_t *tcp = put_headers(f, slot, flags, slot->len, &sum);
    size_t seg_len = (size_t)(slot->buf + slot->off + slot->len - tcp);
    uint16_t c = pq_csum_fold(pq_csum_add(sum, tcp, seg_len));
    memcpy(tcp + 16, &c, 2);
}

bool pq_flow_can_run(const struct pq_flow *f)
{
    return f->flags.n == 1 && f->flags.v[0] == (PQ_TCP_PSH | PQ_TCP_ACK);
}

void pq_flow_craft_run(struct pq_flow *f, struct pq_slot *slots, size_t n)
{
    size_t bytes = 0;
    uint64_t sum;
    for (size_t i = 0; i < n; i++)
        bytes += slots[i].len;
    uint16_t gso = slots[0].len;
    uint8_t *tcp = put_headers(f, &slots[0], f->flags.v[0], bytes, &sum);
    uint16_t c = (uint16_t)~pq_csum_fold(sum); /* of the pseudo header alone */
    memcpy(tcp + 16, &c, 2);
    slots[0].gso = gso;
    slots[0].more = (uint16_t)(n - 1);
    f->n += (uint32_t)(n - 1);
}

size_t pq_flow_overhead(const struct pq_flow *f)
{
    return (size_t)f->ip_len + PQ_TCP_SYN_LEN;
}
