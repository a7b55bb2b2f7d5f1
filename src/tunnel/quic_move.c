/* SPDX-License-Identifier: MIT */
/* quic_move.c - sessions over QUIC that change their tuple [13.8]: the client notices that the old
 * one is dead, and goes on over a new one at once; without need it asks there first.  That the
 * server follows, and sends nothing much to who cannot answer, is QUIC's (RFC 9000 8.2, 9). */
#include "tunnel/tunnel_internal.h"

#include <errno.h>
#include <stdlib.h>

static struct pq_pulse pulse(const struct pq_session *s)
{
    struct pq_quic_stats q;
    pq_quic_stats(s->quic, &q);
    return (struct pq_pulse){.sent = q.sent,
                             .confirmed = q.acked,
                             .received = q.received,
                             .owed = q.owed,
                             .rtt = q.srtt};
}

static struct pq_pulse look(struct pq_session *s, pq_ns now)
{
    const struct pq_pulse p = pulse(s);
    pq_watch_note(&s->watch, &p, now);
    if (!s->watch.move_at)
        pq_watch_set_move(&s->watch, s->hub->rng, now);
    return p;
}

static bool may_move(const struct pq_session *s)
{
    return s->hub->conf.client && s->quic && pq_quic_is_ready(s->quic);
}

/* The route is where the session is from now on; what still comes over the old one is taken. */
static void swap(struct pq_session *s)
{
    struct pq_route *r = s->route;
    const struct pq_route old = {.peer = s->peer, .local = s->local, .flow = s->flow};
    s->peer = r->peer;
    s->local = r->local;
    s->flow = r->flow;
    *r = old;
    s->away = false;
    s->moves++;
    s->asks = false;
    if (pq_session_at(s, &s->tuple, &s->peer, &s->local))
        s->dead = PQ_ENOMEM;
    if (!s->hub->t->fits(s))
        s->dead = -EMSGSIZE;
    if (s->hub->ev->moved)
        s->hub->ev->moved(s->hub->ctx, s, true);
}

struct pq_flow *pq_quic_route(struct pq_session *s, const struct pq_flow_conf *fc)
{
    struct pq_route *r = s->route;
    if (!r && !(r = malloc(sizeof *r)))
        return NULL;
    s->route = r;
    r->peer = fc->peer;
    r->local = fc->local;
    pq_session_flow(s->hub, &r->flow, fc);
    r->flow.flags = s->flow.flags;
    pq_flow_set_splits(&r->flow, s->abilities & PQ_ABLE_SPLIT);
    return &r->flow;
}

void pq_quic_follow(struct pq_session *s, const struct pq_addr *peer, const struct pq_addr *local)
{
    const struct pq_route *r = s->route;
    if (r && pq_addr_eq(&r->peer, peer) && pq_addr_eq(&r->local, local))
        swap(s);
}

void pq_quic_stays_here(struct pq_session *s)
{
    if (!s->asks)
        return;
    s->asks = false;
    s->hub->ev->moved(s->hub->ctx, s, false);
}

/* ---- client */

static bool start(struct pq_session *s, bool dead, pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_flow_conf fc = {.peer = s->peer, .local = s->local, .link_len = h->conf.link_len};
    pq_quic_stays_here(s); /* what it has asked for is of no use any more */
    if (!h->ev->move || !h->ev->move(h->ctx, s, &fc))
        return false;
    const struct pq_quic_path path = {.local = fc.local, .peer = fc.peer};
    if (pq_quic_move(s->quic, &path, dead, now) || !pq_quic_route(s, &fc)) {
        h->ev->moved(h->ctx, s, false);
        return false;
    }
    s->asks = !dead;
    s->moving = dead ? now : 0;
    if (dead)
        swap(s);
    pq_session_wake(s);
    return true;
}

static pq_ns dead_at(const struct pq_session *s, const struct pq_pulse *p)
{
    return s->moving ? s->moving + pq_watch_dead_after(p) * (1U << s->watch.moves)
                     : pq_watch_dead_at(&s->watch, p);
}

/* Nobody has answered yet: it begins at another port of the server, if that has several. */
static void unanswered(struct pq_session *s, pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_flow_conf fc = {.peer = s->peer, .local = s->local, .link_len = h->conf.link_len};
    const unsigned n = ++s->tries / 2; /* 1 s, 1 s, 2 s, 2 s, 4 s, ... */
    s->elsewhere_at = now + (PQ_UNANSWERED << (n < 4 ? n : 4));
    if (!h->ev->move || !h->ev->move(h->ctx, s, &fc))
        return;
    const struct pq_quic_path path = {.local = fc.local, .peer = fc.peer};
    if (pq_quic_elsewhere(s->quic, &path) || !pq_quic_route(s, &fc)) {
        h->ev->moved(h->ctx, s, false);
        return;
    }
    swap(s);
    s->moves = 0; /* it has not begun yet */
    pq_session_wake(s);
}

static bool is_unanswered(const struct pq_session *s)
{
    return s->hub->conf.client && s->quic && !pq_quic_is_ready(s->quic) && s->heard == s->opened;
}

static pq_ns elsewhere_at(const struct pq_session *s)
{
    return s->elsewhere_at ? s->elsewhere_at : s->opened + PQ_UNANSWERED;
}

void pq_quic_move_tick(struct pq_session *s, pq_ns now)
{
    struct pq_watch *w = &s->watch;
    if (is_unanswered(s) && now >= elsewhere_at(s))
        unanswered(s, now);
    if (!may_move(s))
        return;
    const struct pq_pulse p = look(s, now);
    const bool dead = now >= dead_at(s, &p);
    if (!dead && !s->moving)
        w->moves = w->owed_since ? w->moves : 0;
    if (!dead && pq_watch_ask(w, &p, now)) {
        w->asked = 0; /* it counts as sent */
        pq_quic_ping(s->quic);
    }
    if (!dead && now < w->move_at)
        return;
    pq_watch_set_move(w, s->hub->rng, now);
    if (!start(s, dead, now) && dead) {
        w->owed_since = now; /* there is no other port: later */
        s->moving = s->moving ? now : 0;
    } else if (dead && w->moves < PQ_MOVES_MAX) {
        w->moves++;
    }
}

pq_ns pq_quic_move_deadline(struct pq_session *s, pq_ns now)
{
    if (is_unanswered(s))
        return elsewhere_at(s);
    if (!may_move(s))
        return PQ_NEVER;
    const struct pq_pulse p = look(s, now);
    return pq_ns_min(pq_ns_min(s->watch.move_at, dead_at(s, &p)), pq_watch_ask_at(&s->watch, &p));
}

void pq_quic_move_heard(struct pq_session *s)
{
    if (!s->moving)
        return;
    s->moving = 0;
    pq_watch_answered(&s->watch);
}
