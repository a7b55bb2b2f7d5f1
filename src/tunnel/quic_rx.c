/* SPDX-License-Identifier: MIT */
/* quic_rx.c - the way of a byte from the wire to a stream where QUIC carries it, top to bottom
 * (hub.c has made datagrams of frames):
 *
 *   datagram -> QUIC finds its connection, or begins one, and opens it -> events: a stream's bytes
 *         -> records, if the stream carries datagrams -> data event of the stream (borrowed bytes)
 *         -> flush event at the end of the batch
 *   or, beside the streams, -> datagram event of the stream
 *
 * Bytes are copied once, from where QUIC decrypts into the memory of the batch. */
#include "tunnel/quic_tickets.h"
#include "tunnel/tunnel_internal.h"

#include <stdlib.h>
#include <string.h>

#define RETRIES_MAX 64

/* ---- datagrams */

static bool is_here(const struct pq_session *s, const struct pq_segment *seg)
{
    return pq_addr_eq(&s->peer, &seg->src) && pq_addr_eq(&s->local, &seg->dst);
}

/* An authentic datagram has come over another path than the session's: what is sent back over it
 * needs headers of its own. */
static struct pq_flow *flow_elsewhere(struct pq_session *s, const struct pq_segment *seg)
{
    struct pq_hub *h = s->hub;
    struct pq_route *r = s->route;
    struct pq_flow_conf fc = {.local = seg->dst, .peer = seg->src, .link_len = h->conf.link_len};
    if (r && pq_addr_eq(&r->peer, &seg->src) && pq_addr_eq(&r->local, &seg->dst))
        return &r->flow;
    if (h->conf.client || !h->ev->accept(h->ctx, seg, &fc))
        return NULL;
    return pq_quic_route(s, &fc);
}

static void note_good(struct pq_session *s, const struct pq_segment *seg, size_t n, pq_ns now)
{
    if (s->full_came < n)
        s->full_came = (uint16_t)n;
    const bool here = is_here(s, seg);
    struct pq_flow *f = here ? &s->flow : flow_elsewhere(s, seg);
    s->heard = now;
    s->asked = 0;
    pq_quic_ticket_free(&s->ticket);
    s->wire_in += seg->head + n;
    if (here)
        pq_quic_move_heard(s);
    if (!f)
        return;
    pq_flow_heard(f, seg);
    if (s->hub->conf.learn_mac && seg->src_mac)
        pq_flow_set_peer_mac(f, seg->src_mac);
}

/* Where strangers are let in, and many wait, the next ones are asked to show that they are there:
 * with headers that fit what has come, since they have no session yet [13.3]. */
static void take_retry(struct pq_hub *h, const struct pq_segment *seg)
{
    struct pq_flow_conf fc = {.local = seg->dst, .peer = seg->src, .link_len = h->conf.link_len};
    struct pq_quic_path path;
    uint8_t p[PQ_QUIC_ANSWER_MAX];
    const size_t n = pq_quic_answer(h->quic, p, &path);
    if (!n || h->n_retries >= RETRIES_MAX || !h->ev->accept(h->ctx, seg, &fc))
        return;
    struct pq_retry *r = malloc(sizeof *r);
    if (!r)
        return;
    pq_list_init(&r->node);
    pq_session_flow(h, &r->flow, &fc);
    pq_flow_heard(&r->flow, seg);
    memcpy(r->p, p, n);
    r->n = n;
    pq_list_push(&h->retries, &r->node);
    h->n_retries++;
}

enum pq_drop pq_quic_session_input(struct pq_hub *h, const struct pq_segment *seg, uint8_t *p,
                                   size_t n, pq_ns now)
{
    const struct pq_quic_path path = {.local = seg->dst, .peer = seg->src};
    struct pq_quic *q = NULL;
    h->seg = seg;
    h->quic_came = n;
    enum pq_drop d = pq_quic_input(h->quic, &path, p, n, &q, now);
    if (d == PQ_DROP_HANDSHAKE && h->quic_no)
        d = h->quic_no;
    h->seg = NULL;
    h->quic_who.q = NULL;
    h->quic_no = PQ_DROP_NONE;
    if (d == PQ_DROP_FULL)
        take_retry(h, seg);
    /* a connection that only says goodbye takes nothing, and has no session any more */
    struct pq_session *s = q && d != PQ_DROP_NO_SESSION ? pq_quic_user(q) : NULL;
    if (d == PQ_DROP_ELSEWHERE) {
        if (h->handed || !h->ev->elsewhere)
            return PQ_DROP_NO_SESSION;
        h->ev->elsewhere(h->ctx, pq_quic_worker(h->quic, p, n), h->frame);
    }
    if (!s)
        return d;
    if (!d) {
        struct pq_quic_stats st;
        note_good(s, seg, n, now);
        pq_quic_stats(q, &st);
        h->hasty = h->hasty || st.srtt < PQ_CALM_RTT;
        s->size = st.size;
    }
    if (pq_list_empty(&s->rx))
        pq_list_push(&h->rx, &s->rx);
    pq_session_wake(s);
    return d;
}

/* ---- connections */

/* There are as many sessions as may be, and none makes room for one of his. */
static bool is_full(struct pq_hub *h, const struct pq_quic *q)
{
    const struct pq_share *share =
        h->quic_who.q == q ? pq_share_of(h, h->quic_who.client) : &h->rest;
    return pq_hub_sessions(h) >= h->conf.max_sessions && !(share && pq_share_room(h, share));
}

static void *on_accept(void *ctx, struct pq_quic *q, const struct pq_quic_path *path)
{
    struct pq_hub *h = ctx;
    struct pq_flow_conf fc = {
        .local = path->local, .peer = path->peer, .link_len = h->conf.link_len};
    struct pq_session *s;
    if (is_full(h, q) || !h->ev->accept(h->ctx, h->seg, &fc) ||
        pq_session_new(h, &s, &fc, 0, h->now))
        return NULL;
    s->quic = q;
    s->ring = pq_quic_key(q);
    h->t->fits(s);
    if (h->quic_who.q == q)
        pq_quic_keys_own(s, &h->quic_who);
    pq_session_half(s);
    return s;
}

/* A recording must not use up what there is for others, nor an opening for which there is nothing
 * left be taken for a recording when it comes again. */
static enum pq_drop on_first(void *ctx, struct pq_view id, const struct pq_quic_path *path)
{
    struct pq_hub *h = ctx;
    if (!pq_compute_may(h, &path->peer, h->now))
        return PQ_DROP_RATE;
    if (pq_replay_seen(h->replay, id))
        return PQ_DROP_REPLAY;
    pq_compute_spend(h, &path->peer);
    return PQ_DROP_NONE;
}

static void on_flush(void *ctx)
{
    pq_hub_flush(ctx);
}

static void on_ready(void *user)
{
    struct pq_session *s = user;
    struct pq_quic_stats q;
    pq_quic_stats(s->quic, &q);
    if (!q.keyed && !s->hub->conf.client)
        s->base = s->abilities = 0; /* whoever it is */
    if (s->half && !pq_session_prove(s, NULL)) {
        s->dead = PQ_ENOMEM;
        s->hub->stats.drops[PQ_DROP_FULL]++;
    }
}

static void on_closed(void *user, const struct pq_quic_why *why)
{
    struct pq_session *s = user;
    if (!s->dead)
        s->dead = why->err ? why->err : PQ_ECLOSED;
    pq_session_wake(s);
}

/* The peer goes on from there: so do we. */
static void on_path(void *user, const struct pq_quic_path *path)
{
    struct pq_session *s = user;
    const struct pq_segment *seg = s->hub->seg; /* as a rule it has come over that path */
    const bool fits = seg && pq_addr_eq(&seg->src, &path->peer) &&
                      pq_addr_eq(&seg->dst, &path->local) && !is_here(s, seg);
    if (!fits || flow_elsewhere(s, seg))
        pq_quic_follow(s, &path->peer, &path->local);
}

static void on_stays(void *user)
{
    pq_quic_stays_here(user);
}

/* ---- streams */

static void *on_open(void *user, struct pq_quic_stream *qs)
{
    struct pq_session *s = user;
    struct pq_stream *st = pq_share_stream(s) ? pq_stream_new(s) : NULL;
    if (!st)
        return NULL;
    st->q = (struct pq_quic_side){.st = qs, .remote = true, .known = true};
    s->hub->ev->stream(s->hub->ctx, st);
    if (!st->ev) {
        pq_stream_free(st);
        return NULL;
    }
    st->q.first = st->ev;
    return st;
}

/* Gives bytes to the owner.  Returns false if that has closed the stream. */
static bool deliver(struct pq_stream *st, struct pq_view v, bool last)
{
    const struct pq_quic_side q = st->q;
    struct pq_quic *conn = st->ses->quic;
    const int64_t id = pq_quic_stream_id(q.st);
    if (pq_list_empty(&st->dirty))
        pq_list_push(&st->ses->hub->dirty, &st->dirty);
    st->ev->data(st->ctx, v, last);
    return pq_quic_find(conn, id) == st;
}

/* What was delivered is to be used first.  Returns false if the owner has closed the stream. */
static bool flush(struct pq_stream *st)
{
    struct pq_quic *conn = st->ses->quic;
    const int64_t id = pq_quic_stream_id(st->q.st);
    if (pq_list_empty(&st->dirty))
        return true;
    pq_list_remove(&st->dirty);
    st->ev->flush(st->ctx);
    return pq_quic_find(conn, id) == st;
}

/* The next bytes of a stream of records [13.5].  Returns how many of v were used; *open: the owner
 * still has the stream. */
static size_t take_record(struct pq_stream *st, struct pq_view v, bool *open)
{
    struct pq_quic_side *q = &st->q;
    *open = true;
    if (q->n_head < PQ_RECORD_HEAD) {
        q->head[q->n_head++] = v.p[0];
        pq_quic_stream_consumed(q->st, 1);
        if (q->n_head < PQ_RECORD_HEAD)
            return 1;
        q->left = pq_le16(q->head);
        if (!q->left) {
            q->n_head = 0;
            *open = deliver(st, (struct pq_view){v.p, 0}, true);
        }
        return 1;
    }
    const size_t n = v.n < q->left ? v.n : q->left;
    q->left = (uint16_t)(q->left - n);
    const bool last = !q->left;
    if (last)
        q->n_head = 0;
    *open = deliver(st, (struct pq_view){v.p, n}, last);
    return n;
}

/* Of a Go program, which knows no records, a frame is one datagram, unless it has filled its
 * packet: then it goes on in the next [7.4].  A header may come in pieces, if it is a binary one,
 * which is never a Go program's here. */
static bool is_whole(const struct pq_stream *st)
{
    const struct pq_session *s = st->ses;
    if (s->abilities || (st->ev == st->q.first && st->q.binary))
        return false;
    return s->hub->quic_came < s->full_came;
}

static void on_data(void *st_user, struct pq_view v)
{
    struct pq_stream *st = st_user;
    if (st->q.remote && !st->q.begun && v.n) { /* the peer's first byte says how it goes on */
        st->q.begun = true;
        st->q.binary = v.p[0] == PQ_HEADER_BINARY;
        st->q.records = v.p[0] == PQ_RECORDS_MARK;
        if (st->q.records) {
            pq_quic_stream_consumed(st->q.st, 1);
            v = (struct pq_view){v.p + 1, v.n - 1};
        }
    }
    if (!st->q.records) {
        /* a header is looked at before more is kept behind it */
        if (deliver(st, v, is_whole(st)) && st->ev == st->q.first)
            flush(st);
        return;
    }
    for (bool open = true; open && v.n;) {
        const size_t n = take_record(st, v, &open);
        v = (struct pq_view){v.p + n, v.n - n};
    }
}

static void end(struct pq_stream *st, int err)
{
    if (st->ended)
        return;
    st->ended = true;
    st->ev->end(st->ctx, err);
}

static void on_eof(void *st_user)
{
    struct pq_stream *st = st_user;
    if (!flush(st))
        return;
    st->q.eof = true;
    if (st->q.stopped || !(st->ses->abilities & PQ_ABLE_HALF_CLOSE))
        end(st, 0);
    else
        st->ev->eof(st->ctx);
}

static void on_reset(void *st_user, uint64_t code)
{
    struct pq_stream *st = st_user;
    (void)code;
    if (flush(st))
        end(st, PQ_ECLOSED);
}

/* The peer has closed the stream: what it sent before still comes. */
static void on_stop(void *st_user)
{
    struct pq_stream *st = st_user;
    st->q.stopped = true;
    if (st->q.eof)
        end(st, 0);
}

static void on_room(void *st_user)
{
    struct pq_stream *st = st_user;
    st->ev->room(st->ctx);
}

static void on_cut(void *st_user)
{
    if (flush(st_user))
        pq_stream_cut(st_user, PQ_EUNREAD);
}

static void on_acked(void *st_user, size_t n)
{
    struct pq_stream *st = st_user;
    (void)n;
    st->q.known = true;
}

/* ---- datagrams beside the streams [13.5] */

static void on_datagram(void *user, struct pq_view v)
{
    struct pq_session *s = user;
    const size_t n = v.n ? (size_t)1 << (v.p[0] >> 6) : 1; /* of a variable-length integer */
    if (v.n < n) {
        s->hub->stats.drops[PQ_DROP_OOB]++;
        return;
    }
    uint64_t id = v.p[0] & 0x3f;
    for (size_t i = 1; i < n; i++)
        id = id << 8 | v.p[i];
    struct pq_stream *st = id <= INT64_MAX / 4 ? pq_quic_find(s->quic, (int64_t)(id * 4)) : NULL;
    if (!st || st->ended || !st->ev->datagram) {
        s->hub->stats.drops[PQ_DROP_OOB]++; /* closed meanwhile */
        return;
    }
    pq_stream_count(st, v.n - n, 0);
    s->beside_in += v.n - n;
    st->ev->datagram(st->ctx, (struct pq_view){v.p + n, v.n - n});
}

static uint64_t on_wall(void *ctx)
{
    struct pq_hub *h = ctx;
    return h->ev->wall(h->ctx);
}

const struct pq_quic_events pq_quic_session_events = {.accept = on_accept,
                                                      .first = on_first,
                                                      .psk = pq_quic_keys_psk,
                                                      .second = pq_quic_keys_second,
                                                      .taken = pq_quic_tickets_taken,
                                                      .not_taken = pq_quic_keys_is_not,
                                                      .given = pq_quic_tickets_given,
                                                      .ticket = pq_quic_tickets_keep,
                                                      .wall = on_wall,
                                                      .flush = on_flush,
                                                      .ready = on_ready,
                                                      .closed = on_closed,
                                                      .open = on_open,
                                                      .datagram = on_datagram,
                                                      .path = on_path,
                                                      .stays = on_stays,
                                                      .data = on_data,
                                                      .eof = on_eof,
                                                      .reset = on_reset,
                                                      .stop = on_stop,
                                                      .room = on_room,
                                                      .cut = on_cut,
                                                      .acked = on_acked};
