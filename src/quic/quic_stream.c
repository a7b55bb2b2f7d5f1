/* SPDX-License-Identifier: MIT */
/* quic_stream.c - streams as their users see them: what waits to be sent, what has been, the end.
 * ngtcp2 points into the chunks until their bytes are acknowledged, or it has closed the stream. */
#include "quic/quic_internal.h"

#include <stdlib.h>

#define LATE_VARS  8
#define LATE_PEAKS 2
#define LATE_MOST  (400 * PQ_MS)
#define JOIN_MAX   512 /* bytes that are moved to the chunk before them if there is room */

static uint64_t hash_of(int64_t id)
{
    return ((uint64_t)id >> 2) * UINT64_C(0x9e3779b97f4a7c15);
}

struct pq_quic_stream *pq_quic_stream_new(struct pq_quic *q, int64_t id)
{
    struct pq_quic_stream *st = calloc(1, sizeof *st);
    if (!st)
        return NULL;
    st->q = q;
    st->id = id;
    pq_quic_window_of_new(st);
    pq_list_init(&st->turn);
    if (id >= 0 && pq_hash_add(&q->by_id, &st->by_id, hash_of(id))) {
        free(st);
        return NULL;
    }
    pq_list_push(&q->streams, &st->node);
    q->n_streams++;
    return st;
}

void pq_quic_stream_free(struct pq_quic_stream *st)
{
    struct pq_quic *q = st->q;
    if (st->id >= 0)
        pq_hash_remove(&q->by_id, &st->by_id);
    pq_list_remove(&st->node);
    pq_list_remove(&st->turn);
    pq_quic_window_forget(st);
    q->unread -= st->unread;
    pq_chunkq_clear(&st->out);
    free(st->holes);
    q->n_streams--;
    q->n_spread -= st->spread;
    q->n_own -= !st->remote;
    free(st);
}

/* Neither ngtcp2 nor its user knows it any more: the peer may open another. */
static void release(struct pq_quic_stream *st)
{
    struct pq_quic *q = st->q;
    if (st->remote)
        ngtcp2_conn_extend_max_streams_bidi(q->conn, 1);
    pq_quic_stream_free(st);
}

bool pq_quic_has_work(const struct pq_quic_stream *st)
{
    if (st->gated)
        return st->before > 0;
    return st->unsent || (st->fin && !st->fin_sent);
}

void pq_quic_schedule(struct pq_quic_stream *st)
{
    struct pq_quic *q = st->q;
    if (st->id < 0 || !pq_list_empty(&st->turn))
        return;
    if (!st->stopped && !st->gone && !st->blocked && !st->spread && pq_quic_has_work(st))
        pq_list_push(st->served ? &q->turn : &q->fresh, &st->turn);
}

/* Holes are where packets were lost that are in flight, or have been until lately: what was sent
 * before has as a rule been repaired up to a few. */
bool pq_quic_is_spread(const struct pq_quic_stream *st)
{
    const struct pq_quic *q = st->q;
    const uint32_t most = q->cc.spread, flight = q->cc.flight;
    const size_t packets = most > flight ? most + (size_t)2 * (most - flight) : most;
    return st->unacked >= packets * q->e->conf.size;
}

/* ---- numbers */

static void stop_reading(struct pq_quic_stream *st, uint64_t code)
{
    if (!st->ended && !st->gone)
        pq_ngtcp2_stop(st->q->conn, st->id, code);
}

void pq_quic_bind(struct pq_quic *q)
{
    while (!pq_list_empty(&q->opening) && ngtcp2_conn_get_streams_bidi_left(q->conn)) {
        struct pq_quic_stream *st = PQ_OF(q->opening.next, struct pq_quic_stream, turn);
        int64_t id;
        if (ngtcp2_conn_open_bidi_stream(q->conn, &id, st))
            return;
        pq_list_remove(&st->turn);
        if (pq_hash_add(&q->by_id, &st->by_id, hash_of(id)))
            q->broken = PQ_ENOMEM;
        st->id = id;
        if (!st->user)
            stop_reading(st, 0);
        pq_quic_schedule(st);
    }
}

struct pq_quic_stream *pq_quic_open(struct pq_quic *q, void *user)
{
    if (q->over || q->n_own >= q->e->conf.max_streams)
        return NULL;
    struct pq_quic_stream *st = pq_quic_stream_new(q, -1);
    if (!st)
        return NULL;
    st->user = user;
    q->n_own++;
    pq_list_push(&q->opening, &st->turn);
    return st;
}

/* As it was when it was opened, but for what was queued since. */
static void unsend(struct pq_quic_stream *st)
{
    if (st->id >= 0)
        pq_hash_remove(&st->q->by_id, &st->by_id);
    st->id = -1;
    st->next = st->out.head;
    st->next_at = st->unacked = st->budget = 0;
    st->unsent = st->out.bytes;
    st->waiting = st->out.n;
    st->fin_sent = st->blocked = st->served = false;
}

void pq_quic_send_anew(struct pq_quic *q)
{
    for (struct pq_list *n = q->streams.next, *after; n != &q->streams; n = after) {
        struct pq_quic_stream *st = PQ_OF(n, struct pq_quic_stream, node);
        after = n->next;
        pq_list_remove(&st->turn);
        if (st->stopped) { /* its user has given it up */
            pq_quic_stream_free(st);
            continue;
        }
        unsend(st);
        pq_list_push(&q->opening, &st->turn);
    }
}

int64_t pq_quic_stream_id(const struct pq_quic_stream *st)
{
    return st->id;
}

struct pq_quic_stream *pq_quic_stream_by_id(const struct pq_quic *q, int64_t id)
{
    struct pq_hash_node *n = pq_hash_find(&q->by_id, hash_of(id));
    while (n && PQ_OF(n, struct pq_quic_stream, by_id)->id != id)
        n = pq_hash_next(n);
    return n ? PQ_OF(n, struct pq_quic_stream, by_id) : NULL;
}

void *pq_quic_find(struct pq_quic *q, int64_t id)
{
    const struct pq_quic_stream *st = pq_quic_stream_by_id(q, id);
    return st ? st->user : NULL;
}

/* ---- out */

static bool join(struct pq_quic_stream *st, struct pq_chunk *c)
{
    struct pq_chunk *last = st->unsent ? st->out.tail : NULL;
    if (!last || st->apart || c->len > JOIN_MAX || pq_chunk_room(last) < c->len)
        return false;
    memcpy(pq_chunk_data(last) + last->len, pq_chunk_data(c), c->len);
    last->len += c->len;
    st->out.bytes += c->len;
    st->unsent += c->len;
    pq_chunk_free(c);
    return true;
}

static void append(struct pq_quic_stream *st, struct pq_chunk *c)
{
    if (join(st, c))
        return;
    if (!st->next) {
        st->next = c;
        st->next_at = 0;
    }
    st->unsent += c->len;
    st->waiting++;
    pq_chunkq_push(&st->out, c);
}

int pq_quic_stream_send(struct pq_quic_stream *st, struct pq_chunk *c)
{
    if (st->q->over || st->stopped || st->gone || st->fin) {
        pq_chunk_free(c);
        return PQ_ECLOSED;
    }
    if (c->len)
        append(st, c);
    else
        pq_chunk_free(c);
    pq_quic_schedule(st);
    return 0;
}

size_t pq_quic_stream_room(struct pq_quic_stream *st)
{
    const size_t most = st->q->queue_max;
    if (st->unsent >= most)
        st->full = true;
    return st->full ? 0 : most - st->unsent;
}

size_t pq_quic_stream_waiting(const struct pq_quic_stream *st)
{
    return st->waiting;
}

/* ---- a gate */

void pq_quic_stream_gate(struct pq_quic_stream *st, pq_ns wait)
{
    st->gated = true;
    st->split = false;
    st->before = st->unsent;
    st->gate = wait;
}

/* By how much answers are late of late: where the peer's machine, or this one, has too much to do,
 * so may be a program that is about to read.  Of a machine that stood still for a moment their
 * variation tells only for some packets more. */
static pq_ns lateness(const struct pq_quic *q)
{
    ngtcp2_conn_info i;
    ngtcp2_conn_get_conn_info(q->conn, &i);
    const pq_ns most = i.smoothed_rtt + LATE_VARS * i.rttvar;
    const pq_ns late = i.min_rtt < most ? most - i.min_rtt : 0;
    return pq_ns_max(late, LATE_PEAKS * quic_cc_late(&q->cc, q->now));
}

static void shut(struct pq_quic_stream *st, pq_ns wait)
{
    struct pq_list *n = &st->q->gates;
    st->gated = st->shut = true;
    st->gate_at = st->q->now + wait;
    while (n->prev != &st->q->gates &&
           PQ_OF(n->prev, struct pq_quic_stream, turn)->gate_at > st->gate_at)
        n = n->prev;
    pq_list_remove(&st->turn);
    pq_list_insert_before(n, &st->turn);
}

/* All before the gate has arrived: it opens after its time. */
static void close_to_open(struct pq_quic_stream *st)
{
    const pq_ns late = lateness(st->q), rtt = st->q->cc.min_rtt;
    const pq_ns wait = st->gate + pq_ns_min(late, LATE_MOST);
    shut(st, wait > rtt ? wait - rtt : 0);
}

void pq_quic_open_gates(struct pq_quic *q)
{
    while (!pq_list_empty(&q->gates)) {
        struct pq_quic_stream *st = PQ_OF(q->gates.next, struct pq_quic_stream, turn);
        if (st->gate_at > q->now)
            return;
        pq_list_remove(&st->turn);
        st->gated = st->shut = false;
        pq_quic_schedule(st);
    }
}

void pq_quic_stream_apart(struct pq_quic_stream *st, pq_ns gap)
{
    st->apart = true;
    st->gap = gap;
}

/* A chunk has gone out: the next one waits. */
void pq_quic_keep_apart(struct pq_quic_stream *st)
{
    if (st->apart && !st->gated && !st->next_at && !st->gone)
        shut(st, st->gap);
}

void pq_quic_was_sent(struct pq_quic_stream *st, size_t n)
{
    st->unsent -= n;
    st->unacked += n;
    st->q->out += n;
    st->budget -= n < st->budget ? n : st->budget;
    st->before -= n < st->before ? n : st->before;
    while (st->next && n >= st->next->len - st->next_at) {
        n -= st->next->len - st->next_at;
        st->next = st->next->next;
        st->next_at = 0;
        st->waiting--;
    }
    st->next_at += n;
    if (!st->full || st->unsent > st->q->queue_max / 2)
        return;
    st->full = false;
    if (st->user && !st->q->over && !st->fin)
        st->q->e->ev->room(st->user);
}

void pq_quic_was_acked(struct pq_quic_stream *st, size_t n)
{
    const struct pq_quic_events *ev = st->q->e->ev;
    const size_t all = n;
    st->unacked -= n;
    n += st->acked;
    while (st->out.head && st->out.head != st->next && n >= st->out.head->len) {
        n -= st->out.head->len;
        pq_chunk_free(pq_chunkq_pop(&st->out));
    }
    st->acked = n;
    if (st->gated && !st->shut && !st->before && !st->unacked)
        close_to_open(st);
    if (st->spread && !pq_quic_is_spread(st)) {
        st->spread = false;
        st->q->n_spread--;
        pq_quic_schedule(st);
    }
    if (st->user && !st->q->over && ev->acked && all)
        ev->acked(st->user, all);
}

/* Chunks of which ngtcp2 knows stay. */
static void drop_unsent(struct pq_quic_stream *st)
{
    struct pq_chunkq keep = {0};
    if (!st->unsent)
        return;
    const struct pq_chunk *until = st->next_at ? st->next->next : st->next;
    while (st->out.head && st->out.head != until)
        pq_chunkq_push(&keep, pq_chunkq_pop(&st->out));
    pq_chunkq_clear(&st->out);
    st->out = keep;
    st->next = NULL;
    st->next_at = st->unsent = st->waiting = 0;
}

void pq_quic_was_stopped(struct pq_quic_stream *st)
{
    st->stopped = true;
    drop_unsent(st);
    if (st->id >= 0)
        pq_list_remove(&st->turn);
}

void pq_quic_was_closed(struct pq_quic_stream *st)
{
    st->gone = true;
    pq_list_remove(&st->turn);
    pq_chunkq_clear(&st->out);
    st->next = NULL;
    st->next_at = st->acked = st->unsent = st->unacked = st->waiting = 0;
    const bool cut = !st->stopped && !st->fin_sent;
    st->stopped = true;
    if (!st->user)
        release(st);
    else if (cut && !st->q->over) /* the peer did not read to an end */
        st->q->e->ev->stop(st->user);
}

/* ---- in, and the end */

void pq_quic_stream_consumed(struct pq_quic_stream *st, size_t n)
{
    pq_quic_window_read(st, n < st->unread ? n : st->unread);
}

void pq_quic_stream_finish(struct pq_quic_stream *st)
{
    st->fin = true;
    pq_quic_schedule(st);
}

/* What the user had and has not used is used up for the connection. */
static void leave(struct pq_quic_stream *st)
{
    st->user = NULL;
    pq_quic_window_read(st, st->unread);
    pq_quic_window_forget(st);
}

void pq_quic_stream_close(struct pq_quic_stream *st)
{
    leave(st);
    if (st->q->over)
        return;
    if (st->gone) {
        release(st);
        return;
    }
    if (st->id >= 0)
        stop_reading(st, 0);
    pq_quic_stream_finish(st);
}

void pq_quic_stream_abort(struct pq_quic_stream *st, uint64_t code)
{
    leave(st);
    if (st->q->over)
        return;
    if (st->gone || st->id < 0) {
        release(st);
        return;
    }
    pq_quic_was_stopped(st);
    pq_ngtcp2_reset(st->q->conn, st->id, code);
    stop_reading(st, code);
}
