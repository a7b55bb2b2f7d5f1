/* SPDX-License-Identifier: MIT */
/* kcp_rx.c - the way of a byte from the wire to a stream where KCP carries it, top to bottom (hub.c
 * has made datagrams of frames):
 *
 *   datagram -> decrypt in place -> session -> FEC -> KCP ->
 * smux (on our own wire the session comes first: the keys are its own, secure.c)
 *         -> data event of the stream (borrowed bytes) -> flush event at the end of the batch
 *   or, beside the reliable stream, -> datagram event of the stream
 *
 * Nothing is copied while segments come in order.  Nobody is answered before the datagram has
 * been authenticated. */
#include "tunnel/tunnel_internal.h"

#define INNER_MIN 12 /* [2.4] */

/* ---- 2. which session */

/* A session that serves nothing until its peer has shown that it is alive [4.9]. */
static struct pq_session *accept_session(struct pq_hub *h, const struct pq_segment *seg,
                                         uint32_t conv, unsigned ring, pq_ns now)
{
    struct pq_flow_conf fc = {.local = seg->dst, .peer = seg->src, .link_len = h->conf.link_len};
    struct pq_session *s;
    if (!h->ev->accept(h->ctx, seg, &fc) || pq_session_new(h, &s, &fc, conv, now))
        return NULL;
    s->ring = ring;
    pq_session_half(s);
    return s;
}

static enum pq_drop find_server(struct pq_hub *h, const struct pq_segment *seg, uint32_t conv,
                                struct pq_session **out)
{
    *out = pq_session_find(h, seg, &conv);
    if (*out)
        return PQ_DROP_NONE;
    return pq_session_find(h, seg, NULL) ? PQ_DROP_CONV : PQ_DROP_NOT_PEER;
}

/* What would open a session must carry the first segment of a conversation and be a datagram never
 * seen; everything else from strangers is dropped without an answer [4.7].  It is known again by
 * what was sealed: bytes of the nonce can be changed under some ciphers, and each copy that a
 * client sends has another conversation or time stamp. */
static enum pq_drop find_or_accept(struct pq_hub *h, const struct pq_segment *seg,
                                   struct pq_view inner, struct pq_opened *o, pq_ns now)
{
    struct pq_session **out = &o->s;
    uint32_t conv, sn;
    bool push;
    if (!pq_kcp_peek(inner, &conv, &push, &sn))
        return inner.n < PQ_KCP_HDR_LEN ? PQ_DROP_SHORT : PQ_DROP_SEGMENT;
    if (h->conf.client)
        return find_server(h, seg, conv, out);
    bool opens = push && sn == 0;
    bool seen = opens && pq_replay_seen(h->replay, inner);
    if ((*out = pq_session_find(h, seg, &conv)))
        return PQ_DROP_NONE;
    if (!opens)
        return PQ_DROP_NO_SESSION;
    if (seen)
        return PQ_DROP_REPLAY;
    if (pq_hub_sessions(h) >= h->conf.max_sessions ||
        !(*out = accept_session(h, seg, conv, o->ring, now)))
        return PQ_DROP_FULL;
    return PQ_DROP_NONE;
}

/* Parity names no conversation: it belongs to the session of its address, if there is one [4.7].
 * What is out of band names one, but never opens it. */
static enum pq_drop find_known(struct pq_hub *h, const struct pq_segment *seg,
                               struct pq_session **out)
{
    *out = pq_session_find(h, seg, NULL);
    return *out ? PQ_DROP_NONE : PQ_DROP_NO_SESSION;
}

/* ---- 1. one datagram */

/* Tells by the 16 bits at offset 4 what the datagram is, and finds its KCP part, which parity and
 * what is out of band have not (n = 0) [2.4]. */
static enum pq_drop unwrap(struct pq_view inner, uint16_t *type, struct pq_view *kcp)
{
    if (inner.n < INNER_MIN)
        return PQ_DROP_SHORT;
    *type = pq_le16(inner.p + 4);
    *kcp = (struct pq_view){inner.p, 0};
    if (*type != PQ_FEC_DATA && *type != PQ_FEC_PARITY && *type != PQ_OOB_TYPE &&
        *type != PQ_CONTROL_TYPE && *type != PQ_PART_TYPE)
        *kcp = inner;
    if (*type == PQ_FEC_DATA) {
        size_t size = pq_le16(inner.p + 6); /* counts itself */
        if (size < 2 + INNER_MIN || size - 2 > inner.n - PQ_FEC_HEAD)
            return PQ_DROP_SHORT;
        *kcp = (struct pq_view){inner.p + PQ_FEC_HEAD, size - 2};
    }
    return PQ_DROP_NONE;
}

/* The session that this address had before: its client has started anew. */
static struct pq_session *predecessor(struct pq_session *s)
{
    const struct pq_segment seg = {.src = s->peer, .dst = s->local};
    struct pq_session *old = pq_session_find(s->hub, &seg, NULL);
    return old != s ? old : NULL;
}

/* To a peer that has proven nothing no more bytes are sent than came from it, headers included. */
static void note_half(struct pq_session *s, size_t n)
{
    s->credit += n;
    if (pq_kcp_proven(s->kcp) && !pq_session_prove(s, predecessor(s))) {
        s->dead = PQ_ENOMEM;
        s->hub->stats.drops[PQ_DROP_FULL]++;
    }
}

/* A first MOVE or TRAIN [12.7, 12.10] comes from where nothing of the session was known. */
static bool is_own_tuple(const struct pq_session *s, const struct pq_segment *seg)
{
    return pq_addr_eq(&seg->src, &s->peer) && pq_addr_eq(&seg->dst, &s->local);
}

/* What fills a hole is lost to KCP's account of the path: its number is not told, nor, since it is
 * late, taken for a sign of reordering.  What is beside the stream is better lost than so late. */
static enum pq_drop use_again(struct pq_session *s, struct pq_view kcp, pq_ns now)
{
    return kcp.n ? pq_kcp_input_again(s->kcp, kcp, now) : PQ_DROP_NONE;
}

/* A datagram that told something new, so it is no recording: where its sender is, and what its
 * headers say. */
static void note_new(struct pq_session *s, const struct pq_segment *seg)
{
    if (!is_own_tuple(s, seg))
        return; /* another tuple, which has numbers of its own */
    pq_flow_heard(&s->flow, seg);
    pq_connect_note_rtt(&s->flow, s->hub->now);
    pq_fill_told(s, seg, s->hub->now);
    if (s->hub->conf.learn_mac && seg->src_mac)
        pq_flow_set_peer_mac(&s->flow, seg->src_mac);
}

/* With K or, a server that still accepts it, the one before. */
static void open_old(struct pq_hub *h, const struct pq_arrival *a, struct pq_opened *o)
{
    uint8_t copy[PQ_DGRAM_MAX];
    const bool two = h->ring[1].crypt && a->n <= sizeof copy;
    if (two)
        memcpy(copy, a->p, a->n);
    o->ring = 0;
    o->d = pq_crypt_open(h->ring[0].crypt, a->p, a->n, &o->inner);
    if (!two || !o->d || o->d == PQ_DROP_REFLECTED)
        return;
    memcpy(a->p, copy, a->n);
    o->ring = 1;
    o->d = pq_crypt_open(h->ring[1].crypt, a->p, a->n, &o->inner);
}

/* Which wire it is of, and what is inside; o->s is set if it is our own [12.4]. */
static enum pq_wire open_datagram(struct pq_hub *h, const struct pq_arrival *a, struct pq_opened *o)
{
    enum pq_wire w = h->conf.own.on ? pq_secure_take(h, a, o) : PQ_WIRE_OLD;
    if (w != PQ_WIRE_OLD)
        return w;
    open_old(h, a, o);
    if (o->d && h->conf.own.on)
        pq_secure_doubt(h, a->seg, a->now);
    return w;
}

/* With the other part of it, if that has come [12.11]: then *inner is both. */
static enum pq_drop join(struct pq_session *s, struct pq_view *inner, pq_ns now)
{
    struct pq_view whole;
    if (!s->sec || inner->n < INNER_MIN || pq_le16(inner->p + 4) != PQ_PART_TYPE)
        return PQ_DROP_NONE;
    enum pq_drop d = pq_parts_take(&s->parts, &s->share->chunks, *inner, &whole, now);
    if (!d && whole.n)
        *inner = whole;
    const bool nested = whole.n >= INNER_MIN && pq_le16(whole.p + 4) == PQ_PART_TYPE;
    return !d && nested ? PQ_DROP_OOB : d;
}

/* What a session does with the plain text. */
static enum pq_drop use_datagram(struct pq_session *s, const struct pq_segment *seg,
                                 struct pq_view inner, uint16_t type, struct pq_view kcp, pq_ns now)
{
    struct pq_hub *h = s->hub;
    enum pq_drop d = PQ_DROP_NONE;
    if (s->flow.look == PQ_LOOK_CONNECT &&
        is_own_tuple(s, seg)) /* of what the kernel has glued together, all */
        h->again = h->again || pq_connect_is_again(&s->flow, seg);
    if (type == PQ_OOB_TYPE && !h->again)
        d = pq_session_dgram_take(s, inner);
    if (d)
        return d;
    const uint64_t before = pq_kcp_news(s->kcp);
    s->heard = now;
    h->hasty = h->hasty || pq_kcp_srtt(s->kcp) < PQ_CALM_RTT;
    if (h->again && s->sec)
        s->sec->cur.filled++;
    if (h->again)
        d = use_again(s, kcp, now);
    else if (kcp.n) /* -> on_kcp_data in kcp_session.c -> smux -> stream */
        d = pq_kcp_input(s->kcp, kcp, true, now);
    /* of datagrams beside the stream only those get here that never came before, and on our own
     * wire none comes twice */
    if (s->sec || type == PQ_OOB_TYPE || pq_kcp_news(s->kcp) != before)
        note_new(s, seg);
    if (s->path && type != PQ_CONTROL_TYPE)
        pq_move_heard(s, seg, now);
    if (type == PQ_FEC_DATA || type == PQ_FEC_PARITY) { /* what it rebuilds goes to KCP too */
        enum pq_drop of_fec = pq_session_fec_take(s, inner, now);
        d = d ? d : of_fec;
    }
    if (type == PQ_CONTROL_TYPE)
        d = pq_secure_control(s, seg, inner, now);
    return d;
}

enum pq_drop pq_kcp_session_input(struct pq_hub *h, const struct pq_segment *seg, uint8_t *p,
                                  size_t n, pq_ns now)
{
    const struct pq_arrival a = {seg, p, n, now};
    struct pq_opened o = {0};
    struct pq_view kcp;
    uint16_t type;
    enum pq_wire w = open_datagram(h, &a, &o);
    enum pq_drop d = o.d;
    if (d == PQ_DROP_REPLAY && o.s && o.s->flow.look == PQ_LOOK_CONNECT) {
        pq_connect_repeated(&o.s->flow); /* TCP acknowledges what comes once more */
        pq_session_wake(o.s);
    }
    if (w == PQ_WIRE_DONE)
        return d;
    if (!d && w == PQ_WIRE_OWN)
        d = join(o.s, &o.inner, now);
    if (!d)
        d = unwrap(o.inner, &type, &kcp);
    if (!d && w == PQ_WIRE_OLD)
        d = kcp.n ? find_or_accept(h, seg, kcp, &o, now) : find_known(h, seg, &o.s);
    if (!d && w == PQ_WIRE_OLD && o.s->ring != o.ring)
        d = PQ_DROP_AUTH; /* who has the one K takes no part in sessions with the other */
    if (d)
        return d;
    o.s->wire_in += seg->head + n;
    d = use_datagram(o.s, seg, o.inner, type, kcp, now);
    if (o.s->half)
        note_half(o.s, seg->head + n);
    if (pq_list_empty(&o.s->rx))
        pq_list_push(&h->rx, &o.s->rx);
    pq_session_wake(o.s);
    return d;
}
