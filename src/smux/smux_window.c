/* SPDX-License-Identifier: MIT */
/* smux_window.c - how much each stream may send us.  The unread bytes of all streams together have
 * a bound, at which input stops for all: so windows are lent out of that bound, what is not used
 * comes back, and if streams that nobody reads fill it all the same, they are cut [5.3]. */
#include "smux/smux_internal.h"

#define FLOOR       163840U /* any stream may have that much; more is lent.  Half holds a datagram */
#define GROW_RTTS   8
#define RTT_UNKNOWN (250 * PQ_MS)
#define IDLE        PQ_SEC /* and GROW_RTTS: who has not used its window that long gives it back */
#define RECLAIM_MAX 16     /* windows at a time */
#define STUCK       (4 * PQ_SEC)

static pq_ns rtt_of(const struct pq_smux *s)
{
    return s->rtt ? s->rtt : RTT_UNKNOWN;
}

/* A window must hold what is on its way and what waits behind losses.  One of which half is used up
 * within some round trips may be too small. */
static void grow(struct pq_smux_stream *st)
{
    const struct pq_smux *s = st->s;
    if (st->told && s->now - st->told_at < GROW_RTTS * rtt_of(s) && st->unread < st->told / 2)
        st->window *= 2;
    if (st->window > s->conf.stream_buf)
        st->window = s->conf.stream_buf;
}

static void owe_update(struct pq_smux_stream *st)
{
    st->need_upd = true;
    if (pq_list_empty(&st->ctl))
        pq_list_push(&st->s->ctl, &st->ctl);
}

/* Has streams that do not use theirs told of a small window: as much as they have unread. */
static void reclaim(struct pq_smux *s)
{
    const pq_ns idle = IDLE + GROW_RTTS * rtt_of(s);
    unsigned n = 0;
    for (struct pq_list *i = s->lenders.next; i != &s->lenders && n < RECLAIM_MAX; i = i->next) {
        struct pq_smux_stream *st = PQ_OF(i, struct pq_smux_stream, lent_node);
        const uint32_t need = st->unread > FLOOR ? (uint32_t)st->unread : FLOOR;
        if (s->now < st->told_at + idle)
            return;
        if (st->told <= need || st->window <= need || st->peer_closed || st->closed)
            continue;
        st->window = need;
        owe_update(st);
        n++;
    }
}

/* Half of what is left, so that several get the same in the end: n of them a part in n + 1. */
static uint32_t window_of(const struct pq_smux_stream *st)
{
    struct pq_smux *s = st->s;
    const size_t all = s->conf.session_buf, unread = s->unread - st->unread;
    const size_t others = s->lent > unread ? s->lent : unread;
    const size_t left = others < all ? all - others : 0;
    const uint32_t least = st->window < FLOOR ? st->window : FLOOR;
    if (left <= all / 4) {
        reclaim(s);
        return least;
    }
    return left / 2 < least ? least : left / 2 < st->window ? (uint32_t)(left / 2) : st->window;
}

void pq_smux_unlend(struct pq_smux_stream *st)
{
    pq_list_remove(&st->lent_node);
    st->s->lent -= st->lent;
    st->lent = 0;
}

uint32_t pq_smux_tell_window(struct pq_smux_stream *st)
{
    struct pq_smux *s = st->s;
    grow(st);
    pq_smux_unlend(st);
    st->told = window_of(st);
    st->told_at = s->now;
    if (st->told > FLOOR) {
        st->lent = st->told;
        s->lent += st->lent;
        pq_list_push(&s->lenders, &st->lent_node);
    }
    return st->told;
}

/* ---- when the bound is reached all the same */

/* The stream with most unread bytes of those of which none were read for a while; NULL if there is
 * none, or no other stream that may wait for something. */
static struct pq_smux_stream *find_stuck(const struct pq_smux *s, pq_ns now)
{
    struct pq_smux_stream *worst = NULL;
    bool others = false;
    for (size_t i = 0; i < s->streams.cap; i++) {
        for (struct pq_hash_node *n = s->streams.b[i]; n; n = n->next) {
            struct pq_smux_stream *st = PQ_OF(n, struct pq_smux_stream, by_id);
            others = others || (st->user && !st->unread);
            if (st->user && st->unread && now >= st->read_at + STUCK &&
                (!worst || st->unread > worst->unread))
                worst = st;
        }
    }
    return others ? worst : NULL;
}

static void cut(struct pq_smux_stream *st, pq_ns now)
{
    const struct pq_smux_events *ev = st->s->ev;
    st->read_at = now; /* not again, whatever its user does */
    ev->flush(st->user);
    if (st->user)
        ev->cut(st->user);
}

void pq_smux_relieve(struct pq_smux *s, pq_ns now)
{
    const size_t all = s->conf.session_buf;
    if (s->unread < all - all / 8) {
        s->stuck_since = 0;
        return;
    }
    if (!s->stuck_since)
        s->stuck_since = now;
    if (now < s->stuck_since + STUCK)
        return;
    for (struct pq_smux_stream *st; s->unread > all - all / 4 && (st = find_stuck(s, now));)
        cut(st, now);
    s->stuck_since = 0;
}
