/* SPDX-License-Identifier: MIT */
#include "wire/flow.h"

#include "base/bytes.h"
#include "wire/csum.h"

#include <string.h>

#define WINDOW_FIRST 502   /* times 128: a Linux that has the usual 64 KB */
#define WINDOW_MAX   24576 /* 3 MB, what tcp_rmem lets it grow to */
#define WIDER_AFTER  2     /* windows that came: then it grows by a quarter */

static void ip4_template(struct pq_flow *f, const struct pq_flow_conf *c)
{
    uint8_t *h = f->head + f->link_len;
    h[0] = 0x45;
    h[1] = c->look == PQ_LOOK_CLASSIC ? 0xb8 : 0; /* TOS 184 = DSCP 46 [1.1] */
    pq_put_be16(h + 6, 0x4000);                   /* don't fragment */
    h[8] = c->ttl ? c->ttl : 64;
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
    const uint32_t label = (uint32_t)(c->seed >> 44); /* 20 bits, the flow's own */
    /* version 6, then traffic class 0xB8 and flow label 0 [1.1], or as Linux does [1.6] */
    pq_put_be32(h, c->look == PQ_LOOK_CLASSIC ? 0x6b800000 : 0x60000000 | label);
    h[6] = 6;
    h[7] = c->ttl ? c->ttl : 64;
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
    f->look = c->look;
    f->st = (struct pq_flow_state){.seq = (uint32_t)c->seed,
                                   .ack = (uint32_t)(c->seed >> 32),
                                   .ts_offset = c->ts_offset,
                                   .ts_echo = (uint32_t)(c->seed >> 16),
                                   .ip_id = (uint16_t)(c->seed >> 24),
                                   .window = WINDOW_FIRST,
                                   .until_wider = WIDER_AFTER * WINDOW_FIRST * 128};
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
    if (!flags->n || f->look == PQ_LOOK_CONNECT)
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

void pq_flow_ends(const struct pq_flow *f, struct pq_addr *local, struct pq_addr *peer)
{
    const uint8_t *ip = f->head + f->link_len;
    if (f->ip_len == PQ_IP4_LEN) {
        pq_addr_set4(local, ip + 12, f->sport);
        pq_addr_set4(peer, ip + 16, f->dport);
    } else {
        pq_addr_set6(local, ip + 8, f->sport);
        pq_addr_set6(peer, ip + 24, f->dport);
    }
}

/* ---- what is in the TCP header */

struct numbers {
    uint32_t seq, ack, tsval, tsecr;
    uint16_t window, mss;
    uint8_t scale;
    struct pq_block sacks[PQ_SACKS_MAX];
    unsigned n_sacks;
};

/* Sequence, acknowledgement and time stamps are decoration made from the packet counter [1.1]. */
static void classic_numbers(struct pq_flow *f, uint16_t flags, struct numbers *out)
{
    const uint32_t n = ++f->n;
    out->tsval = f->t0 + (n >> 3);
    out->window = 65535;
    out->mss = 1460;
    out->scale = 8;
    if (flags & PQ_TCP_SYN) {
        out->seq = 1 + (n & 7);
        out->ack = flags & PQ_TCP_ACK ? out->seq + 1 : 0;
        out->tsecr = 0;
    } else {
        out->seq = f->t0 + (n << 7);
        out->ack = out->seq - (n & 0x3ff) + 1400;
        out->tsecr = out->tsval - (n % 200 + 50);
    }
}

uint32_t pq_flow_tsval(const struct pq_flow *f, pq_ns now)
{
    return (uint32_t)(now / PQ_MS) + f->st.ts_offset;
}

/* As the host's TCP would number `bytes` of payload now [1.6].  A kernel glues segments whose
 * numbers follow each other, unless one has PSH: where the flags have none, and the peer cuts
 * nothing, a byte is left out. */
static void plausible_numbers(struct pq_flow *f, uint16_t flags, size_t bytes, pq_ns now,
                              struct numbers *out)
{
    struct pq_flow_state *st = &f->st;
    const bool syn = flags & PQ_TCP_SYN;
    out->seq = st->seq;
    out->ack = flags & PQ_TCP_ACK ? st->ack : 0;
    out->tsval = pq_flow_tsval(f, now);
    out->tsecr = syn ? 0 : st->ts_echo;
    out->window = st->window;
    out->mss = 1460;
    out->scale = 8;
    st->sent = true;
    st->seq += (uint32_t)bytes + (syn || (!f->splits && !(flags & PQ_TCP_PSH)));
}

/* A reset of what this side knows nothing of, which says nothing more. */
static bool is_refusal(const struct pq_flow *f, uint16_t flags)
{
    return f->look == PQ_LOOK_CONNECT && (flags & (PQ_TCP_RST | PQ_TCP_ACK)) == PQ_TCP_RST;
}

/* The same for a connection that has begun with a handshake [12.9]. */
static void connected_numbers(struct pq_flow *f, uint16_t flags, size_t bytes, bool run, pq_ns now,
                              struct numbers *out)
{
    const struct pq_connect *c = &f->conn;
    const bool syn = flags & PQ_TCP_SYN, ack = flags & PQ_TCP_ACK;
    out->seq = f->st.seq;
    if (is_refusal(f, flags))
        return;
    out->window = (uint16_t)(syn ? c->window : pq_connect_tell(f, now));
    out->n_sacks = syn || run ? 0 : pq_connect_blocks(f, bytes, out->sacks);
    out->ack = ack ? f->st.ack : 0;
    out->tsval = syn && !ack ? c->syn_at : pq_flow_tsval(f, now);
    out->tsecr = ack ? f->st.ts_echo : 0;
    out->mss = c->mss;
    out->scale = c->scale;
    f->st.sent = true;
    f->st.seq += (uint32_t)bytes + (flags & (PQ_TCP_SYN | PQ_TCP_FIN) ? 1 : 0);
    pq_connect_sent(f, out->tsval, bytes, now);
}

/* Of a SYN, as systems order them, and where scale and time stamps are in them; 0: there are none.
 */
static const struct syn_options {
    uint8_t len, scale, stamps;
    uint8_t bytes[PQ_TCP_SYN_MAX - 20];
} syn_options[PQ_SYSTEMS] = {
    [PQ_SYSTEM_HOST] = {20, 19, 8, {2, 4, 0, 0, 4, 2, 8, 10, [16] = 1, 3, 3}},
    [PQ_SYSTEM_ANDROID] = {20, 19, 8, {2, 4, 0, 0, 4, 2, 8, 10, [16] = 1, 3, 3}},
    [PQ_SYSTEM_WINDOWS] = {12, 7, 0, {2, 4, 0, 0, 1, 3, 3, 0, 1, 1, 4, 2}},
    [PQ_SYSTEM_APPLE] = {24, 7, 12, {2, 4, 0, 0, 1, 3, 3, 0, 1, 1, 8, 10, [20] = 4, 2, 0, 0}},
};

/* What this host answers a SYN with that has no time stamps. */
static const struct syn_options plain_answer = {12, 11, 0, {2, 4, 0, 0, 1, 1, 4, 2, 1, 3, 3}};

static const struct syn_options *syn_options_of(const struct pq_flow *f)
{
    const bool answers = f->conn.plain && f->conn.system == PQ_SYSTEM_HOST;
    return answers ? &plain_answer : &syn_options[f->conn.system];
}

size_t pq_flow_tcp_len(const struct pq_flow *f)
{
    return f->conn.plain ? 20 : PQ_TCP_LEN;
}

static size_t tcp_len_of(const struct pq_flow *f, uint16_t flags)
{
    if (is_refusal(f, flags))
        return 20;
    return flags & PQ_TCP_SYN ? 20U + syn_options_of(f)->len : pq_flow_tcp_len(f);
}

/* Returns where the time stamps are, or NULL. */
static uint8_t *put_options(const struct pq_flow *f, uint8_t *o, uint16_t flags,
                            const struct numbers *v)
{
    if (flags & PQ_TCP_SYN) {
        const struct syn_options *s = syn_options_of(f);
        memcpy(o, s->bytes, s->len);
        pq_put_be16(o + 2, v->mss);
        o[s->scale] = v->scale;
        return s->stamps ? o + s->stamps : NULL;
    }
    if (f->conn.plain || is_refusal(f, flags))
        return NULL;
    pq_put_be32(o, 0x0101080a); /* NOP NOP timestamps */
    return o + 4;
}

/* What the other side has is told behind the time stamps. */
static void put_sacks(uint8_t *o, const struct numbers *v)
{
    pq_put_be16(o, 0x0101); /* NOP NOP */
    o[2] = 5;
    o[3] = (uint8_t)(2 + PQ_SACK_LEN * v->n_sacks);
    for (unsigned i = 0; i < v->n_sacks; i++) {
        pq_put_be32(o + 4 + (size_t)PQ_SACK_LEN * i, v->sacks[i].from);
        pq_put_be32(o + 8 + (size_t)PQ_SACK_LEN * i, v->sacks[i].to);
    }
}

static size_t sacks_len(const struct numbers *v)
{
    return v->n_sacks ? 4 + (size_t)PQ_SACK_LEN * v->n_sacks : 0;
}

static void put_tcp(const struct pq_flow *f, uint8_t *t, size_t len, uint16_t flags,
                    const struct numbers *v)
{
    uint8_t *ts = put_options(f, t + 20, flags, v);
    if (v->n_sacks)
        put_sacks(t + PQ_TCP_LEN, v);
    if (ts) {
        pq_put_be32(ts, v->tsval);
        pq_put_be32(ts + 4, v->tsecr);
    }
    pq_put_be16(t, f->sport);
    pq_put_be16(t + 2, f->dport);
    pq_put_be32(t + 4, v->seq);
    pq_put_be32(t + 8, v->ack);
    t[12] = (uint8_t)(len / 4 << 4 | (flags & PQ_TCP_NS ? 1 : 0));
    t[13] = (uint8_t)flags;
    pq_put_be16(t + 14, v->window);
    pq_put_be32(t + 16, 0); /* checksum, urgent pointer */
}

void pq_flow_heard(struct pq_flow *f, const struct pq_segment *s)
{
    struct pq_flow_state *st = &f->st;
    const uint32_t end = s->seq + (uint32_t)s->len + (s->flags & PQ_TCP_SYN ? 1 : 0);
    if (f->look == PQ_LOOK_CONNECT)
        pq_connect_settle(f, s);
    if (f->look == PQ_LOOK_CONNECT && f->conn.state == PQ_CONNECT_OPEN) {
        pq_connect_heard(f, s);
        return;
    }
    if (!st->sent && s->flags & PQ_TCP_ACK)
        st->seq = s->ack; /* where the peer says that this side is */
    const uint32_t fresh = st->heard && (int32_t)(end - st->ack) > 0 ? end - st->ack : 0;
    if (!st->heard || fresh)
        st->ack = end;
    if (s->has_ts && (!st->heard || (int32_t)(s->tsval - st->ts_echo) > 0))
        st->ts_echo = s->tsval;
    st->heard = true;
    if (s->len < st->until_wider || st->window >= WINDOW_MAX) {
        st->until_wider -= s->len < st->until_wider ? (uint32_t)s->len : 0;
        return;
    }
    st->window = (uint16_t)(st->window + st->window / 4);
    st->until_wider = WIDER_AFTER * (uint32_t)st->window * 128;
}

void pq_flow_set_splits(struct pq_flow *f, bool on)
{
    f->splits = on;
}

/* ---- packets */

/* Length, id and checksum of an IPv4 header, of the first of `packets`; 0 in a SYN+ACK, and in the
 * RST of no socket, as Linux has it. */
static void finish_ip4(struct pq_flow *f, uint8_t *ip, size_t seg_len, size_t packets,
                       uint16_t flags)
{
    const uint16_t none = PQ_TCP_SYN | PQ_TCP_ACK;
    pq_put_be16(ip + 2, (uint16_t)(PQ_IP4_LEN + seg_len));
    if (f->look == PQ_LOOK_CONNECT && ((flags & none) == none || is_refusal(f, flags)))
        packets = 0;
    else if (f->look != PQ_LOOK_CLASSIC)
        pq_put_be16(ip + 4, f->st.ip_id);
    f->st.ip_id = (uint16_t)(f->st.ip_id + packets);
    uint16_t c = pq_csum_fold(pq_csum_add(f->ip_sum, ip + 2, 4));
    memcpy(ip + 10, &c, 2);
}

/* Headers in front of the slot's datagram; its TCP length is `bytes` more than the TCP header.
 * Returns where the TCP header is, and its pseudo header's sum in *sum. */
static uint8_t *put_headers(struct pq_flow *f, struct pq_slot *slot, uint16_t flags, size_t bytes,
                            size_t packets, pq_ns now, uint64_t *sum)
{
    struct numbers v = {.n_sacks = 0};
    if (f->look == PQ_LOOK_CLASSIC)
        classic_numbers(f, flags, &v);
    else if (f->look == PQ_LOOK_CONNECT)
        connected_numbers(f, flags, bytes, packets > 1, now, &v);
    else
        plausible_numbers(f, flags, bytes, now, &v);
    const size_t tcp_len = tcp_len_of(f, flags) + sacks_len(&v), seg_len = tcp_len + bytes;
    const size_t head = (size_t)f->link_len + f->ip_len + tcp_len;
    uint8_t *p = slot->buf + slot->off - head, *ip = p + f->link_len, *tcp = ip + f->ip_len;
    memcpy(p, f->head, (size_t)f->link_len + f->ip_len);
    put_tcp(f, tcp, tcp_len, flags, &v);
    uint8_t len_be[2];
    pq_put_be16(len_be, (uint16_t)seg_len);
    *sum = pq_csum_add(f->pseudo_sum, len_be, 2);
    if (f->ip_len == PQ_IP4_LEN)
        finish_ip4(f, ip, seg_len, packets, flags);
    else
        pq_put_be16(ip + 4, (uint16_t)seg_len);
    slot->off = (uint16_t)(slot->off - head);
    slot->len = (uint16_t)(slot->len + head);
    slot->gso = slot->more = 0;
    return tcp;
}

/* Between two of this program only the last segment of a burst is pushed, as a kernel does. */
static uint16_t flags_of(const struct pq_flow *f, uint16_t flags, bool more)
{
    const bool usual = f->flags.n == 1 && flags == (PQ_TCP_PSH | PQ_TCP_ACK);
    return more && usual && f->splits && f->look != PQ_LOOK_CLASSIC ? PQ_TCP_ACK : flags;
}

/* The first payload of a connection begins with printable characters [12.9]. */
static void put_lead(struct pq_flow *f, struct pq_slot *slot)
{
    struct pq_connect *c = &f->conn;
    if (!c->lead_len || f->st.seq != c->first + 1)
        return;
    slot->off = (uint16_t)(slot->off - c->lead_len);
    slot->len = (uint16_t)(slot->len + c->lead_len);
    memcpy(slot->buf + slot->off, c->lead, c->lead_len);
    c->lead_len = 0;
}

void pq_flow_craft(struct pq_flow *f, struct pq_slot *slot, bool more, pq_ns now)
{
    put_lead(f, slot);
    uint16_t flags = flags_of(f, f->flags.v[f->flag_next], more);
    if (++f->flag_next >= f->flags.n)
        f->flag_next = 0;
    pq_flow_craft_as(f, slot, flags, now);
}

void pq_flow_craft_again(struct pq_flow *f, struct pq_slot *slot, uint32_t seq, bool more,
                         pq_ns now)
{
    const uint32_t next = f->st.seq;
    f->st.seq = seq;
    pq_flow_craft(f, slot, more, now);
    f->st.seq = next;
}

void pq_flow_craft_as(struct pq_flow *f, struct pq_slot *slot, uint16_t flags, pq_ns now)
{
    uint64_t sum;
    uint8_t *tcp = put_headers(f, slot, flags, slot->len, 1, now, &sum);
    size_t seg_len = (size_t)(slot->buf + slot->off + slot->len - tcp);
    uint16_t c = pq_csum_fold(pq_csum_add(sum, tcp, seg_len));
    memcpy(tcp + 16, &c, 2);
}

bool pq_flow_can_run(const struct pq_flow *f)
{
    return f->flags.n == 1 && (f->flags.v[0] | PQ_TCP_PSH) == (PQ_TCP_PSH | PQ_TCP_ACK);
}

void pq_flow_craft_run(struct pq_flow *f, struct pq_slot *slots, size_t n, pq_ns now)
{
    size_t bytes = 0;
    uint64_t sum;
    for (size_t i = 0; i < n; i++)
        bytes += slots[i].len;
    uint16_t gso = slots[0].len;
    uint8_t *tcp = put_headers(f, &slots[0], f->flags.v[0], bytes, n, now, &sum);
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
