/* SPDX-License-Identifier: MIT */
/* session.c - a session's life, whatever carries its streams: made, found, woken, ended. */
#include "tunnel/tunnel_internal.h"

#include <stdlib.h>

#define HALF_MAX 256 /* half-open sessions of a worker, then a random one is replaced */

/* ---- streams */

struct pq_stream *pq_stream_new(struct pq_session *s)
{
    struct pq_stream *st = calloc(1, sizeof *st);
    if (!st)
        return NULL;
    s->hub->n_streams++;
    s->share->streams++;
    st->ses = s;
    st->serial = ++s->hub->n_streams_ever;
    st->opened = s->hub->now;
    s->hub->stats.streams++;
    pq_list_init(&st->dirty);
    pq_list_push(&s->streams, &st->node);
    return st;
}

void pq_stream_leave(struct pq_session *s, struct pq_stream *st)
{
    s->hub->n_streams--;
    s->share->streams--;
    st->ses = NULL;
}

void pq_stream_free(struct pq_stream *st)
{
    pq_list_remove(&st->node);
    pq_list_remove(&st->dirty);
    pq_chunkq_clear(&st->q.held);
    if (st->ses)
        pq_stream_leave(st->ses, st);
    free(st->tag);
    free(st->target);
    free(st);
}

void pq_hub_flush(struct pq_hub *h)
{
    struct pq_list *n;
    while ((n = pq_list_pop(&h->dirty))) {
        struct pq_stream *st = PQ_OF(n, struct pq_stream, dirty);
        st->ev->flush(st->ctx);
    }
}

/* ---- life */

/* The own address is looked at, but not hashed: few peers use one port for two of them. */
uint64_t pq_session_key(struct pq_hub *h, const struct pq_addr *peer, uint16_t port)
{
    uint8_t key[20];
    memcpy(key, peer->ip, 16);
    pq_put_be16(key + 16, peer->port);
    pq_put_be16(key + 18, port);
    return pq_hash_bytes(key, sizeof key, h->hash_seed);
}

struct pq_session *pq_session_find(struct pq_hub *h, const struct pq_segment *seg,
                                   const uint32_t *conv)
{
    struct pq_hash_node *n = pq_hash_find(&h->by_peer, pq_session_key(h, &seg->src, seg->dst.port));
    for (; n; n = pq_hash_next(n)) {
        struct pq_session *s = PQ_OF(n, struct pq_tuple, node)->s;
        bool wanted = conv ? s->conv == *conv : !s->half;
        if (wanted && !s->sec && pq_addr_eq(&s->peer, &seg->src) &&
            pq_addr_eq(&s->local, &seg->dst))
            return s;
    }
    return NULL;
}

void pq_session_leave(struct pq_session *s, struct pq_tuple *t)
{
    pq_hash_remove(&s->hub->by_peer, &t->node);
    pq_homes_forget(s->hub->conf.homes, &t->home);
}

int pq_session_at(struct pq_session *s, struct pq_tuple *t, const struct pq_addr *peer,
                  const struct pq_addr *local)
{
    struct pq_hub *h = s->hub;
    pq_session_leave(s, t);
    t->s = s;
    t->peer = *peer;
    t->local = *local;
    return pq_hash_add(&h->by_peer, &t->node, pq_session_key(h, peer, local->port));
}

void pq_session_home(struct pq_session *s)
{
    const struct pq_hub_conf *c = &s->hub->conf;
    if (pq_homes_set_tuple(c->homes, &s->tuple.home, &s->peer, s->local.port, c->worker))
        s->dead = PQ_ENOMEM;
}

bool pq_session_on(struct pq_hub *h, const struct pq_addr *peer, const struct pq_addr *local,
                   const struct pq_session *but)
{
    struct pq_hash_node *n = pq_hash_find(&h->by_peer, pq_session_key(h, peer, local->port));
    for (; n; n = pq_hash_next(n)) {
        const struct pq_tuple *t = PQ_OF(n, struct pq_tuple, node);
        if (t->s != but && pq_addr_eq(&t->peer, peer) && pq_addr_eq(&t->local, local))
            return true;
    }
    return false;
}

void pq_session_retuple(struct pq_session *s)
{
    struct pq_hub *h = s->hub;
    pq_session_leave(s, &s->other);
    if (pq_session_at(s, &s->tuple, &s->peer, &s->local))
        s->dead = PQ_ENOMEM;
    pq_session_home(s);
    /* what still comes over the old one: where memory is short, that much is lost */
    pq_session_at(s, &s->other, &s->path->peer, &s->path->local);
    pq_homes_set_tuple(h->conf.homes, &s->other.home, &s->path->peer, s->path->local.port,
                       h->conf.worker);
}

static void session_free(struct pq_session *s)
{
    struct pq_hub *h = s->hub;
    if (h->last == s)
        h->last = NULL;
    pq_move_end(s);
    pq_measure_free(s);
    pq_connect_end(s);
    pq_session_leave(s, &s->tuple);
    h->n_sessions--;
    pq_list_remove(&s->node);
    pq_list_remove(&s->ready);
    pq_list_remove(&s->rx);
    h->n_half -= s->half;
    pq_list_remove(&s->in_half);
    pq_heap_remove(&h->timers, &s->timer);
    h->t->close(s);
    free(s);
}

size_t pq_hub_datagram_max(const struct pq_hub *h, const struct pq_flow *f)
{
    size_t head = pq_flow_overhead(f), least = h->mtu_min, most = h->conf.mtu;
    const size_t options = pq_flow_tcp_len(f) - 20, mss = f->conn.peer_mss;
    if (f->conn.state == PQ_CONNECT_OPEN && mss < most + options)
        most = mss > options + least ? mss - options : least;
    if (!h->conf.link_mtu || most + head <= h->conf.link_mtu)
        return most;
    return h->conf.link_mtu > head + least ? h->conf.link_mtu - head : least;
}

/* The kernel's time stamps have one offset for each pair of addresses. */
static uint32_t ts_offset(const struct pq_hub *h, const struct pq_flow_conf *fc)
{
    uint8_t pair[32];
    memcpy(pair, fc->local.ip, 16);
    memcpy(pair + 16, fc->peer.ip, 16);
    return (uint32_t)pq_hash_bytes(pair, sizeof pair, h->conf.look_seed);
}

void pq_session_flow(struct pq_hub *h, struct pq_flow *f, const struct pq_flow_conf *fc)
{
    /* by a handshake only where it is known that there is one: see connect.c */
    pq_session_flow_as(h, f, fc,
                       h->conf.look == PQ_LOOK_CLASSIC ? PQ_LOOK_CLASSIC : PQ_LOOK_PLAUSIBLE);
}

void pq_session_flow_as(struct pq_hub *h, struct pq_flow *f, const struct pq_flow_conf *fc,
                        enum pq_look look)
{
    struct pq_flow_conf c = *fc;
    c.look = look;
    c.ttl = pq_addr_is4(&fc->peer) ? h->conf.ttl4 : h->conf.ttl6;
    c.ts_offset = ts_offset(h, fc);
    c.seed = pq_rng_u64(h->rng);
    pq_flow_init(f, &c);
}

int pq_session_new(struct pq_hub *h, struct pq_session **out, const struct pq_flow_conf *fc,
                   uint32_t conv, pq_ns now)
{
    return pq_session_new_of(h, out, fc, &h->rest, conv, now);
}

int pq_session_new_of(struct pq_hub *h, struct pq_session **out, const struct pq_flow_conf *fc,
                      struct pq_share *share, uint32_t conv, pq_ns now)
{
    struct pq_session *s = calloc(1, sizeof *s);
    if (!s)
        return PQ_ENOMEM;
    s->hub = h;
    s->share = share;
    s->peer = fc->peer;
    s->local = fc->local;
    s->conv = conv;
    s->who = PQ_NOBODY;
    s->serial = ++h->n_sessions_ever;
    h->n_sessions++;
    s->heard = s->opened = now;
    pq_list_init(&s->in_half);
    pq_list_init(&s->ready);
    pq_list_init(&s->rx);
    pq_list_init(&s->streams);
    pq_list_push(&h->sessions, &s->node);
    pq_session_flow(h, &s->flow, fc);
    pq_flow_set_flags(&s->flow, fc->flags.n ? &fc->flags : &h->conf.flags);
    int e = h->t->open(s, now);
    if (!e)
        e = pq_session_at(s, &s->tuple, &s->peer, &s->local);
    if (!e)
        e = pq_heap_set(&h->timers, &s->timer, h->t->deadline(s, now));
    if (e) {
        session_free(s);
        return e;
    }
    h->stats.sessions++;
    *out = s;
    return 0;
}

void pq_session_able(struct pq_session *s, uint32_t abilities)
{
    s->abilities = abilities | s->base;
    pq_flow_set_splits(&s->flow, abilities & PQ_ABLE_SPLIT);
    if (abilities)
        s->hub->t->able(s);
}

void pq_session_wake(struct pq_session *s)
{
    if (pq_list_empty(&s->ready))
        pq_list_push(&s->hub->ready, &s->ready);
}

void pq_session_end_now(struct pq_session *s, int err)
{
    struct pq_hub *h = s->hub;
    const bool was_busy = h->busy;
    s->dead = err;
    h->busy = true;  /* owners of streams may end sessions, this one too */
    pq_hub_flush(h); /* streams have not looked yet at bytes in its buffers */
    struct pq_list *n;
    while ((n = pq_list_pop(&s->streams))) {
        struct pq_stream *st = PQ_OF(n, struct pq_stream, node);
        bool again = st->ended; /* the peer has closed it before */
        pq_stream_leave(s, st);
        st->ss = NULL;
        st->ended = true;
        if (!again)
            st->ev->end(st->ctx, err); /* the owner frees it with pq_stream_close */
    }
    if (s->half)
        h->stats.half_ended++; /* nobody has heard of it */
    else
        h->ev->ended(h->ctx, s, err);
    session_free(s);
    h->busy = was_busy;
}

void pq_session_end(struct pq_session *s, int err)
{
    if (!s->hub->busy) {
        pq_session_end_now(s, err);
    } else if (!s->dead) {
        s->dead = err;
        pq_session_wake(s);
    }
}

/* ---- half-open sessions [4.9] */

/* Which one makes room: at random, so that who waits for an answer is not sure to be the one. */
static struct pq_session *any_half(struct pq_hub *h)
{
    struct pq_list *n = h->half.next;
    for (uint32_t i = pq_rng_u32(h->rng) % HALF_MAX; i; i--)
        n = n->next;
    return PQ_OF(n, struct pq_session, in_half);
}

void pq_hub_bound_half(struct pq_hub *h)
{
    if (h->n_half > HALF_MAX)
        pq_session_end_now(any_half(h), PQ_ETIMEOUT);
}

void pq_session_half(struct pq_session *s)
{
    struct pq_hub *h = s->hub;
    s->half = true;
    pq_list_push(&h->half, &s->in_half);
    h->n_half++;
    h->t->half(s);
}

bool pq_session_prove(struct pq_session *s, struct pq_session *old)
{
    struct pq_hub *h = s->hub;
    const bool full = pq_hub_sessions(h) - (old != NULL) >= h->conf.max_sessions;
    struct pq_session *room = full ? pq_share_room(h, s->share) : NULL;
    if (full && !room)
        return false;
    if (room)
        pq_session_end(room, PQ_EREPLACED);
    pq_list_remove(&s->in_half);
    h->n_half--;
    s->half = false;
    if (old)
        pq_session_end_now(old, PQ_ECLOSED);
    pq_session_home(s);
    h->ev->proven(h->ctx, s);
    h->t->proven(s);
    return true;
}

int pq_hub_connect(struct pq_hub *h, struct pq_session **out, const struct pq_flow_conf *fc,
                   const uint8_t *server_public, void *user, pq_ns now)
{
    int e = pq_session_new(h, out, fc, pq_rng_u32(h->rng), now);
    if (e)
        return e;
    struct pq_session *s = *out;
    s->user = user;
    e = h->t->connect(s, fc, server_public, now);
    if (e) {
        session_free(s);
        *out = NULL;
    }
    return e;
}

bool pq_session_secure(const struct pq_session *s)
{
    return s->sec != NULL;
}

bool pq_session_connected(const struct pq_session *s)
{
    return s->flow.conn.state != PQ_CONNECT_ASKING;
}

unsigned pq_session_who(const struct pq_session *s)
{
    return s->who;
}

uint32_t pq_session_abilities(const struct pq_session *s)
{
    return s->abilities;
}

void *pq_session_user(const struct pq_session *s)
{
    return s->user;
}

const struct pq_addr *pq_session_peer(const struct pq_session *s)
{
    return &s->peer;
}

pq_ns pq_session_moving(const struct pq_session *s)
{
    return s->path && !s->path->adopted ? s->path->since : s->moving;
}

bool pq_session_moves(const struct pq_session *s)
{
    return s->hub->t->moves(s);
}

enum pq_look pq_session_look(const struct pq_session *s, uint16_t *flags)
{
    *flags = s->flow.flags.v[0];
    return s->flow.look;
}

size_t pq_session_size(const struct pq_session *s)
{
    return s->size;
}

size_t pq_session_streams(const struct pq_session *s)
{
    return s->hub->t->streams(s);
}

void pq_session_stats(const struct pq_session *s, struct pq_kcp_stats *out)
{
    s->hub->t->stats(s, out);
}

void pq_session_each(struct pq_session *s, void (*fn)(void *ctx, struct pq_stream *st), void *ctx)
{
    for (struct pq_list *n = s->streams.next, *next; n != &s->streams; n = next) {
        next = n->next;
        fn(ctx, PQ_OF(n, struct pq_stream, node));
    }
}

void pq_session_expect(struct pq_session *s, pq_ns now)
{
    if (!s->asked)
        s->asked = now;
}

pq_ns pq_session_asked(const struct pq_session *s)
{
    return s->asked;
}

bool pq_session_silent(const struct pq_session *s, pq_ns now, pq_ns limit)
{
    return s->hub->t->silent(s, now, limit);
}

void pq_session_bye(struct pq_session *s)
{
    s->hub->t->bye(s);
    pq_session_wake(s);
}

pq_ns pq_session_heard(const struct pq_session *s)
{
    return s->heard;
}
