/* SPDX-License-Identifier: MIT */
/* quic_tx.c - the way of a byte from a stream to the wire where QUIC carries it, top to bottom:
 *
 *   record of a stream that carries datagrams, or datagram beside it -> a session's turn (hub.c)
 *   -> QUIC writes and encrypts packets into slots -> forge the headers of the path they go
 *
 * That write into the slot is the only copy:
 *
 *   [ link, IP, TCP ... PQ_SLOT_HEAD ][ QUIC datagram ] */
#include "tunnel/tunnel_internal.h"

#define TURN_MIN   16
#define TURN_MAX   48
#define READ_FIRST (20 * PQ_MS) /* in which a Go program has read a header that has come, ... */
#define READ_EACH  (2 * PQ_MS)  /* ... and longer for each of many ... */
#define READ_MOST  (400 * PQ_MS)
#define FRAMES_MAX 1024  /* datagrams that wait in one stream */
#define APART_GAP  PQ_MS /* in which a Go program has read a datagram, as a rule ... */
#define APART_MAX  64    /* ... so those that wait are not late yet */
#define QUEUE_MAX  ((size_t)4 << 20)
#define ID_MAX     8 /* bytes of a variable-length integer (RFC 9000, 16) */

/* ---- streams that carry datagrams [13.5] */

/* A stream of this side has records if its owner wants datagrams kept apart, and the peer is one
 * of our kind; that of the peer does as the peer has begun. */
static void begin(struct pq_stream *st)
{
    if (st->q.begun)
        return;
    st->q.begun = true;
    if (!st->q.remote)
        st->q.records = st->datagram_max && st->ses->abilities & PQ_ABLE_DATAGRAMS;
}

/* To a Go program what comes together is one datagram [7.4]. */
static bool is_apart(const struct pq_stream *st)
{
    return st->datagram_max && !st->q.records && !st->ses->abilities;
}

/* Makes a record of the chunk, in its headroom. */
static void put_head(struct pq_stream *st, struct pq_chunk *c)
{
    const bool first = !st->q.begun;
    begin(st);
    if (!st->q.records)
        return;
    c->off -= PQ_RECORD_HEAD;
    pq_put_le16(c->data + c->off, (uint16_t)c->len);
    c->len += PQ_RECORD_HEAD;
    if (!first || st->q.remote)
        return;
    c->off--;
    c->data[c->off] = PQ_RECORDS_MARK;
    c->len++;
}

/* A Go program that reads the header loses what has come with it: what follows waits until the
 * header has been read, as far as that can be known [7.4]; where many come at once, that takes
 * longer. */
static void gate(struct pq_stream *st)
{
    struct pq_session *s = st->ses;
    const pq_ns now = s->hub->now;
    if (st->q.remote || s->abilities)
        return;
    s->headers_read = pq_ns_min(pq_ns_max(s->headers_read, now) + READ_EACH, now + READ_MOST);
    pq_quic_stream_gate(st->q.st, s->headers_read - now + READ_FIRST);
}

int pq_quic_session_send(struct pq_stream *st, struct pq_chunk *c)
{
    if (st->q.corked) {
        pq_chunkq_push(&st->q.held, c);
        return 0;
    }
    const bool first = !st->q.begun;
    put_head(st, c);
    if (!st->q.apart && is_apart(st)) {
        st->q.apart = true;
        pq_quic_stream_apart(st->q.st, APART_GAP);
    }
    const int e = pq_quic_stream_send(st->q.st, c);
    if (first)
        gate(st);
    return e;
}

void pq_quic_session_uncork(struct pq_stream *st, struct pq_chunk *first)
{
    struct pq_chunk *c;
    st->q.corked = false;
    if (first)
        pq_quic_session_send(st, first);
    while ((c = pq_chunkq_pop(&st->q.held)))
        pq_quic_session_send(st, c);
}

size_t pq_quic_session_room(struct pq_stream *st)
{
    if (!st->q.corked)
        return pq_quic_stream_room(st->q.st);
    return st->q.held.bytes < PQ_QUIC_QUEUE_MAX ? PQ_QUIC_QUEUE_MAX - st->q.held.bytes : 0;
}

size_t pq_quic_session_waiting(const struct pq_stream *st)
{
    return st->q.held.n + pq_quic_stream_waiting(st->q.st);
}

/* Bytes of the integer. */
static size_t varint_len(uint64_t v)
{
    return v < 64 ? 1 : v < 16384 ? 2 : v < UINT64_C(1) << 30 ? 4 : 8;
}

static void put_varint(uint8_t *p, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> 8 * (n - 1 - i));
    p[0] |= (uint8_t)((n == 1 ? 0 : n == 2 ? 1 : n == 4 ? 2 : 3) << 6);
}

bool pq_quic_session_beside(const struct pq_stream *st, size_t n)
{
    return st->q.known && st->ses->abilities & PQ_ABLE_DATAGRAMS &&
           n + ID_MAX <= pq_quic_datagram_max(st->ses->quic);
}

int pq_quic_session_datagram(struct pq_stream *st, struct pq_chunk *c)
{
    if (pq_quic_session_beside(st, c->len)) {
        const uint64_t id = (uint64_t)pq_quic_stream_id(st->q.st) / 4;
        const uint32_t n = (uint32_t)varint_len(id);
        c->off -= n;
        c->len += n;
        put_varint(pq_chunk_data(c), id, n);
        return pq_quic_datagram(st->ses->quic, c) ? PQ_EAGAIN : 0;
    }
    const bool apart = is_apart(st);
    const bool fits = !apart || c->len <= pq_quic_apart_max(st->ses->quic);
    if (fits && pq_quic_session_room(st) &&
        pq_quic_session_waiting(st) < (apart ? APART_MAX : FRAMES_MAX))
        return pq_quic_session_send(st, c);
    pq_chunk_free(c);
    return PQ_EAGAIN;
}

/* ---- packets */

static bool is_path(const struct pq_quic_path *p, const struct pq_addr *peer,
                    const struct pq_addr *local)
{
    return pq_addr_eq(&p->peer, peer) && pq_addr_eq(&p->local, local);
}

/* The flow of another path than the session's, which it is about to go over to or has left. */
static struct pq_flow *other_flow(struct pq_session *s, const struct pq_quic_path *p)
{
    return s->route && is_path(p, &s->route->peer, &s->route->local) ? &s->route->flow : NULL;
}

static void count(struct pq_session *s, const struct pq_slot *slot)
{
    s->hub->stats.tx_packets++;
    s->hub->stats.tx_bytes += slot->len;
    s->wire_out += slot->len + (size_t)s->flow.ip_len + PQ_TCP_LEN;
}

/* Packets of the session's own path are forged together, so that equal ones become runs. */
size_t pq_quic_session_pull(struct pq_session *s, struct pq_slot *slots, size_t max, pq_ns now)
{
    struct pq_quic_path path = {0};
    size_t n = 0, first = 0;
    while (n < max) {
        struct pq_slot *slot = &slots[n];
        slot->off = PQ_SLOT_HEAD;
        slot->len = (uint16_t)pq_quic_pull(s->quic, slot->buf + PQ_SLOT_HEAD, &path, now);
        if (!slot->len)
            break;
        if (is_path(&path, &s->peer, &s->local)) {
            count(s, slot);
            n++;
            continue;
        }
        struct pq_flow *f = other_flow(s, &path);
        pq_session_forge(s, slots + first, n - first, true, now);
        if (f) {
            count(s, slot);
            pq_flow_craft(f, slot, false, now);
            n++;
        }
        first = n;
    }
    pq_session_forge(s, slots + first, n - first, n == max, now);
    if (pq_quic_is_closed(s->quic) && !s->dead) {
        s->dead = PQ_ECLOSED;
        pq_session_wake(s);
    }
    return n;
}

size_t pq_quic_session_turn(const struct pq_session *s)
{
    struct pq_quic_stats q;
    pq_quic_stats(s->quic, &q);
    const size_t queue = (size_t)q.cwnd * q.size, per_ms = q.pace / 1000;
    pq_quic_set_queue(s->quic, queue < QUEUE_MAX ? queue : QUEUE_MAX);
    return per_ms < TURN_MIN ? TURN_MIN : per_ms < TURN_MAX ? per_ms : TURN_MAX;
}

pq_ns pq_quic_session_deadline(struct pq_session *s, pq_ns now)
{
    pq_ns at = s->quic ? pq_quic_deadline(s->quic) : now + PQ_HALF_WAIT;
    at = pq_ns_min(at, pq_quic_move_deadline(s, now));
    return s->half ? pq_ns_min(at, s->opened + PQ_HALF_WAIT) : at;
}
