/* SPDX-License-Identifier: MIT */
/* tunnel_rx.c - the way of a byte from the wire to a stream, top to bottom:
 *
 *   frame -> TCP segment -> one or more datagrams -> decrypt in place -> session -> KCP -> smux
 *         -> data event of the stream (borrowed bytes) -> flush event at the end of the batch
 *
 * Nothing is copied while segments come in order.  Nobody is answered before the datagram has
 * been authenticated. */
#include "tunnel/tunnel_internal.h"

#define INNER_MIN 12          /* [2.4] */
#define FEC_HEAD  (4 + 2 + 2) /* seqid, type, size [3.1] */

enum { TYPE_FEC_DATA = 0xf1, TYPE_FEC_PARITY = 0xf2, TYPE_OOB = 0xf3 }; /* [2.4] */

/* ---- 3. which session */

static struct pq_session *accept_session(struct pq_hub *h, const struct pq_segment *seg,
                                         uint32_t conv, pq_ns now)
{
    struct pq_flow_conf fc = {.local = seg->dst, .peer = seg->src, .link_len = h->conf.link_len};
    struct pq_session *s;
    if (!h->ev->accept(h->ctx, seg, &fc) || pq_session_new(h, &s, &fc, conv, now))
        return NULL;
    return s;
}

/* What would open a session must carry the first segment of a conversation and a nonce never seen;
 * everything else from strangers is dropped without an answer [4.7]. */
static enum pq_drop find_or_accept(struct pq_hub *h, const struct pq_segment *seg,
                                   struct pq_view inner, uint64_t nonce, struct pq_session **out,
                                   pq_ns now)
{
    uint32_t conv, sn;
    bool push;
    if (!pq_kcp_peek(inner, &conv, &push, &sn))
        return inner.n < PQ_KCP_HDR_LEN ? PQ_DROP_SHORT : PQ_DROP_SEGMENT;
    struct pq_session *s = *out = pq_session_find(h, &seg->src, seg->dst.port);
    if (h->conf.client)
        return !s ? PQ_DROP_NOT_PEER : s->conv != conv ? PQ_DROP_CONV : PQ_DROP_NONE;

    bool opens = push && sn == 0;
    bool seen = opens && nonce && pq_replay_seen(&h->replay, nonce);
    if (s && s->conv == conv)
        return PQ_DROP_NONE;
    if (!opens)
        return PQ_DROP_NO_SESSION;
    if (seen)
        return PQ_DROP_REPLAY;
    if (s)
        pq_session_end(s, PQ_ECLOSED); /* the client has started anew from this port */
    if (pq_hub_sessions(h) >= h->conf.max_sessions || !(*out = accept_session(h, seg, conv, now)))
        return PQ_DROP_FULL;
    return PQ_DROP_NONE;
}

/* ---- 2. one datagram */

/* Tells by the 16 bits at offset 4 what the datagram is, and cuts it down to the KCP part.  Data of
 * a peer that sends FEC is read; its parity is not used [3.1]. */
static enum pq_drop unwrap(struct pq_view *inner)
{
    if (inner->n < INNER_MIN)
        return PQ_DROP_SHORT;
    uint16_t type = pq_le16(inner->p + 4);
    if (type == TYPE_OOB)
        return PQ_DROP_OOB;
    if (type == TYPE_FEC_PARITY)
        return PQ_DROP_FEC;
    if (type == TYPE_FEC_DATA) {
        size_t size = pq_le16(inner->p + 6); /* counts itself */
        if (size < 2 || size - 2 > inner->n - FEC_HEAD)
            return PQ_DROP_SHORT;
        *inner = (struct pq_view){inner->p + FEC_HEAD, size - 2};
    }
    return PQ_DROP_NONE;
}

static uint64_t nonce_hash(struct pq_hub *h, const uint8_t *p, size_t n)
{
    uint8_t nonce[PQ_NONCE_MAX];
    size_t len = h->conf.client ? 0 : pq_crypt_nonce(h->crypt, p, n, nonce);
    return len ? pq_hash_bytes(nonce, len, h->hash_seed) : 0;
}

static enum pq_drop take_datagram(struct pq_hub *h, const struct pq_segment *seg, uint8_t *p,
                                  size_t n, pq_ns now)
{
    struct pq_view inner;
    struct pq_session *s;
    uint64_t nonce = nonce_hash(h, p, n); /* before decryption in place destroys it */
    enum pq_drop d = pq_crypt_open(h->crypt, p, n, &inner);
    if (!d)
        d = unwrap(&inner);
    if (!d)
        d = find_or_accept(h, seg, inner, nonce, &s, now);
    if (d)
        return d;
    s->heard = now;
    if (h->conf.learn_mac && seg->src_mac)
        pq_flow_set_peer_mac(&s->flow, seg->src_mac);
    d = pq_kcp_input(s->kcp, inner, true, now); /* -> on_kcp_data in session.c -> smux -> stream */
    if (pq_list_empty(&s->rx))
        pq_list_push(&h->rx, &s->rx);
    pq_session_wake(s);
    return d;
}

/* ---- 1. one frame */

void pq_hub_input(struct pq_hub *h, const struct pq_frame *f, pq_ns now)
{
    struct pq_segment seg;
    enum pq_drop d = pq_segment_parse(&seg, f->p, f->len, h->conf.link_len);
    if (d == PQ_DROP_SHORT_FRAME && f->len < f->wire_len)
        d = PQ_DROP_TRUNCATED;
    if (d) {
        h->stats.drops[d]++;
        return;
    }
    size_t piece = f->gso_size ? f->gso_size : seg.len; /* glued frames hold several datagrams */
    for (size_t at = 0; at < seg.len; at += piece) {
        size_t n = seg.len - at < piece ? seg.len - at : piece;
        h->stats.rx_packets++;
        h->stats.rx_bytes += n;
        h->stats.drops[take_datagram(h, &seg, seg.data + at, n, now)]++;
    }
}

/* ---- 4. the batch is over */

void pq_hub_rx_end(struct pq_hub *h, pq_ns now)
{
    (void)now;
    pq_hub_flush(h);
    struct pq_list *n;
    while ((n = pq_list_pop(&h->rx))) {
        struct pq_session *s = PQ_OF(n, struct pq_session, rx);
        pq_kcp_rx_done(s->kcp);
        if (s->dead)
            pq_session_end(s, s->dead);
        else
            pq_session_resume(s);
    }
}
