/* SPDX-License-Identifier: MIT */
/* quic_window.c - how much the peer may send.  The unread bytes of all streams together have a
 * bound, the largest window of the connection; up to there what comes makes room for as much again
 * at once, read or not, so that streams which nobody reads are not in the way of the others.  And
 * so that they do not fill it, windows of streams begin small and are lent out of that bound.  QUIC
 * can take none back: one that is not used is forgotten instead.  If the bound is reached all the
 * same, streams that nobody reads are cut [13.4]. */
#include "quic/quic_internal.h"

#define WINDOW_RTTS 8
#define IDLE        PQ_SEC /* and WINDOW_RTTS: who has not used its window that long lends nothing */
#define FORGET_MAX  16     /* windows at a time */
#define STUCK       (4 * PQ_SEC)
#define CUT_MAX     32 /* streams at a time, ... */
#define CUT_AGAIN   (100 * PQ_MS)
#define FIRST_PART  384 /* of the bound, that each stream may have */
#define FIRST_LEAST 65536
#define FIRST_MOST  262144
#define TOLD_PART                                                                                  \
    8 /* of the bound: ngtcp2 says nothing of less than half of what it began with                 \
       */

static pq_ns rtt_of(const struct pq_quic *q)
{
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(q->conn, &info);
    return info.smoothed_rtt;
}

uint64_t pq_quic_window_first(const struct pq_quic_conf *c)
{
    uint64_t n = c->window_max / FIRST_PART;
    n = n < FIRST_LEAST ? FIRST_LEAST : n > FIRST_MOST ? FIRST_MOST : n;
    return n < c->stream_window ? n : c->stream_window;
}

uint64_t pq_quic_window_told(const struct pq_quic_conf *c)
{
    const uint64_t part = c->window_max / TOLD_PART;
    return part && part < c->window ? part : c->window;
}

void pq_quic_window_init(struct pq_quic *q)
{
    const struct pq_quic_conf *c = &q->e->conf;
    pq_list_init(&q->lenders);
    q->granted = pq_quic_window_told(c);
    q->window = (struct quic_window){.size = c->window, .most = c->window_max, .since = q->now};
}

void pq_quic_window_of_new(struct pq_quic_stream *st)
{
    const struct pq_quic_conf *c = &st->q->e->conf;
    pq_list_init(&st->lent_node);
    st->granted = pq_quic_window_first(c);
    st->read_at = st->q->now;
    st->window = (struct quic_window){
        .size = c->stream_window, .most = c->stream_window_max, .since = st->q->now};
}

/* Twice the window, if half of it was used within eight round trips: what waits behind losses has
 * to fit. */
static void grow(const struct pq_quic *q, struct quic_window *w, size_t n)
{
    w->used += n;
    if (w->used < w->size / 2)
        return;
    if (q->now - w->since < WINDOW_RTTS * rtt_of(q))
        w->size = w->size < w->most / 2 ? w->size * 2 : w->most;
    w->used = 0;
    w->since = q->now;
}

/* ---- the connection */

static bool is_full(const struct pq_quic *q)
{
    const uint64_t all = q->window.most;
    return q->unread >= all - all / 8;
}

static void note_full(struct pq_quic *q)
{
    if (!is_full(q))
        q->stuck_since = 0;
    else if (!q->stuck_since)
        q->stuck_since = q->now;
}

/* What has come and lies unread, and what the peer may send, is the bound at most. */
void pq_quic_window_refill(struct pq_quic *q)
{
    const uint64_t all = q->window.most, left = q->unread < all ? all - q->unread : 0;
    const uint64_t to = q->came + (left < q->window.size ? left : q->window.size);
    note_full(q);
    if (to <= q->granted)
        return;
    ngtcp2_conn_extend_max_offset(q->conn, to - q->granted);
    q->granted = to;
}

/* ---- streams */

void pq_quic_window_forget(struct pq_quic_stream *st)
{
    pq_list_remove(&st->lent_node);
    st->q->lent -= st->lent;
    st->lent = 0;
}

static void lend(struct pq_quic_stream *st, uint64_t n)
{
    struct pq_quic *q = st->q;
    pq_quic_window_forget(st);
    st->lent = n;
    st->lent_at = q->now;
    q->lent += n;
    pq_list_push(&q->lenders, &st->lent_node);
}

/* Those that have not used their window for long, but have read all that came: it is not counted
 * any more.  Should they fill it after all, there is the bound. */
static void forget_idle(struct pq_quic *q)
{
    const pq_ns idle = IDLE + WINDOW_RTTS * rtt_of(q);
    for (unsigned n = 0; n < FORGET_MAX && !pq_list_empty(&q->lenders); n++) {
        struct pq_quic_stream *st = PQ_OF(q->lenders.next, struct pq_quic_stream, lent_node);
        if (q->now < st->lent_at + idle)
            return;
        if (st->unread)
            lend(st, st->lent); /* looked at again later */
        else
            pq_quic_window_forget(st);
    }
}

/* Half of what is left, so that several get the same in the end; less until it has shown that
 * somebody reads it, and not only the socket's buffer in front of him. */
static uint64_t window_of(const struct pq_quic_stream *st, uint64_t first)
{
    struct pq_quic *q = st->q;
    const uint64_t all = q->window.most, unread = q->unread - st->unread, lent = q->lent - st->lent;
    const uint64_t others = lent > unread ? lent : unread, left = others < all ? all - others : 0;
    const bool proven = st->used >= q->e->conf.stream_window;
    uint64_t part = left / (proven ? 2 : 8);
    if (!proven && left <= all / 2 && part > st->used)
        part = st->used;
    if (left <= all / 8 || part < first)
        return first;
    return part < st->window.size ? part : st->window.size;
}

static void extend(struct pq_quic_stream *st)
{
    const uint64_t first = pq_quic_window_first(&st->q->e->conf);
    forget_idle(st->q);
    const uint64_t n = window_of(st, first), to = st->used + n;
    if (n > first)
        lend(st, n);
    else
        pq_quic_window_forget(st);
    if (to <= st->granted)
        return;
    ngtcp2_conn_extend_max_stream_offset(st->q->conn, st->id, to - st->granted);
    st->granted = to;
}

void pq_quic_window_came(struct pq_quic_stream *st, size_t n, bool kept)
{
    struct pq_quic *q = st->q;
    q->came += n;
    grow(q, &q->window, n);
    if (kept) {
        st->unread += n;
        q->unread += n;
    }
    pq_quic_window_refill(q);
}

void pq_quic_window_read(struct pq_quic_stream *st, size_t n)
{
    struct pq_quic *q = st->q;
    st->unread -= n;
    q->unread -= n;
    st->used += n;
    st->read_at = q->now;
    if (q->over)
        return;
    if (!st->gone && st->user) {
        grow(q, &st->window, n);
        extend(st);
    }
    pq_quic_window_refill(q);
}

/* ---- when the bound is reached all the same */

/* The stream with most unread bytes of those of which none were read for a while, or NULL.  That
 * others wait cannot be seen: of a stream that has not been let through nothing is known. */
static struct pq_quic_stream *find_stuck(const struct pq_quic *q)
{
    struct pq_quic_stream *worst = NULL;
    for (struct pq_list *n = q->streams.next; n != &q->streams; n = n->next) {
        struct pq_quic_stream *st = PQ_OF(n, struct pq_quic_stream, node);
        if (st->user && st->unread && q->now >= st->read_at + STUCK &&
            (!worst || st->unread > worst->unread))
            worst = st;
    }
    return worst;
}

void pq_quic_window_relieve(struct pq_quic *q)
{
    const uint64_t all = q->window.most;
    unsigned n = 0;
    if (q->over || !q->stuck_since || q->now < q->stuck_since + STUCK)
        return;
    while (q->unread > all - all / 4 && n++ < CUT_MAX) {
        struct pq_quic_stream *st = find_stuck(q);
        if (!st)
            break;
        st->read_at = q->now; /* not again, whatever its user does */
        q->e->ev->cut(st->user);
    }
    if (q->stuck_since) /* more of it soon; or nobody to be cut */
        q->stuck_since = n > CUT_MAX ? q->now - STUCK + CUT_AGAIN : q->now;
    note_full(q);
}

pq_ns pq_quic_window_deadline(const struct pq_quic *q)
{
    return q->stuck_since ? q->stuck_since + STUCK : PQ_NEVER;
}
