/* SPDX-License-Identifier: MIT */
/* smux.c - a session and its streams: opening, closing, windows, keepalive [5]. */
#include "smux/smux.h"

#include "smux/smux_internal.h"

#include <stdlib.h>

#define WINDOW_FIRST (8U << 20) /* told at first, or all of a smaller stream_buf */

/* When the next NOP is due: after half to all of the interval, at random, since who idles at one
 * beat is known by it [5.5]. */
static pq_ns next_nop(struct pq_smux *s, pq_ns now)
{
    const uint32_t key[2] = {s->conf.beat, s->n_nops++};
    const pq_ns half = s->conf.keepalive / 2;
    return now + s->conf.keepalive - pq_hash_bytes(key, sizeof key, s->conf.hash_seed) % (half + 1);
}

int pq_smux_new(struct pq_smux **out, const struct pq_smux_conf *conf,
                const struct pq_smux_events *ev, void *ctx, struct pq_chunks *chunks, pq_ns now)
{
    *out = NULL;
    if (conf->stream_buf > conf->session_buf || conf->timeout < conf->keepalive)
        return PQ_EINVAL;
    struct pq_smux *s = calloc(1, sizeof *s);
    if (!s)
        return PQ_ENOMEM;
    s->conf = *conf;
    s->ev = ev;
    s->ctx = ctx;
    s->chunks = chunks;
    s->next_id = conf->client ? 3 : 2; /* [5.2] */
    s->queue_max = PQ_SMUX_QUEUE_MAX;
    s->head_need = PQ_SMUX_HDR_LEN;
    s->nop_at = next_nop(s, now);
    s->check_at = now + conf->timeout;
    pq_list_init(&s->ctl);
    pq_list_init(&s->turn);
    pq_list_init(&s->fresh);
    pq_list_init(&s->lenders);
    s->frame_max = UINT32_MAX;
    *out = s;
    return 0;
}

void pq_smux_free(struct pq_smux **sp)
{
    struct pq_smux *s = *sp;
    if (!s)
        return;
    for (size_t i = 0; i < s->streams.cap; i++) {
        for (struct pq_hash_node *n = s->streams.b[i], *next; n; n = next) {
            next = n->next;
            pq_smux_stream_free(PQ_OF(n, struct pq_smux_stream, by_id));
        }
    }
    pq_hash_fini(&s->streams);
    free(s->refused);
    free(s);
    *sp = NULL;
}

/* ---- streams */

uint64_t pq_smux_hash(const struct pq_smux *s, uint32_t id)
{
    return pq_hash_bytes(&id, sizeof id, s->conf.hash_seed);
}

struct pq_smux_stream *pq_smux_add(struct pq_smux *s, uint32_t id)
{
    struct pq_smux_stream *st = calloc(1, sizeof *st);
    if (!st)
        return NULL;
    st->s = s;
    st->id = id;
    st->peer_window = PQ_SMUX_WINDOW;
    st->window = WINDOW_FIRST;
    pq_list_init(&st->ctl);
    pq_list_init(&st->turn);
    pq_list_init(&st->lent_node);
    st->read_at = s->now;
    if (pq_hash_add(&s->streams, &st->by_id, pq_smux_hash(s, id))) {
        free(st);
        return NULL;
    }
    return st;
}

void pq_smux_stream_free(struct pq_smux_stream *st)
{
    struct pq_smux *s = st->s;
    pq_hash_remove(&s->streams, &st->by_id);
    pq_list_remove(&st->ctl);
    pq_list_remove(&st->turn);
    pq_chunkq_clear(&st->q);
    s->unread -= st->unread;
    pq_smux_unlend(st);
    if (s->cur == st)
        s->cur = NULL;
    free(st);
}

struct pq_smux_stream *pq_smux_open(struct pq_smux *s, void *user)
{
    if (s->ids_used_up || s->streams.n >= s->conf.max_streams)
        return NULL;
    struct pq_smux_stream *st = pq_smux_add(s, s->next_id);
    if (!st)
        return NULL;
    s->next_id += 2;
    s->ids_used_up = s->next_id < 2;
    st->user = user;
    st->need_syn = true;
    pq_list_push(&s->ctl, &st->ctl);
    return st;
}

bool pq_smux_adopt(struct pq_smux *s, struct pq_smux_stream *st)
{
    struct pq_smux *from = st->s;
    if (st->sent || st->received || st->closed || st->peer_closed || s->ids_used_up ||
        s->streams.n >= s->conf.max_streams)
        return false;
    pq_hash_remove(&from->streams, &st->by_id);
    if (pq_hash_add(&s->streams, &st->by_id, pq_smux_hash(s, s->next_id))) {
        pq_hash_add(&from->streams, &st->by_id, pq_smux_hash(from, st->id)); /* it was there */
        return false;
    }
    pq_list_remove(&st->ctl);
    pq_list_remove(&st->turn);
    st->s = s;
    st->id = s->next_id;
    s->next_id += 2;
    s->ids_used_up = s->next_id < 2;
    st->need_syn = true;
    st->known = false;
    st->peer_window = PQ_SMUX_WINDOW;
    st->peer_consumed = 0;
    pq_list_push(&s->ctl, &st->ctl);
    pq_smux_schedule(st);
    return true;
}

uint32_t pq_smux_credit(const struct pq_smux_stream *st)
{
    uint32_t on_way = st->sent - st->peer_consumed; /* may exceed a window that shrank */
    return st->peer_window > on_way ? st->peer_window - on_way : 0;
}

/* Whether the window lets the next frame go, or a part of it.  A whole frame waits for the next UPD
 * only while one is sure to come: when half a window or more is on its way [5.3]. */
static bool has_credit(const struct pq_smux_stream *st)
{
    uint32_t credit = pq_smux_credit(st);
    if (!st->whole || credit >= st->q.head->len)
        return credit > 0;
    return credit > 0 && st->sent - st->peer_consumed < st->peer_window / 2;
}

void pq_smux_schedule(struct pq_smux_stream *st)
{
    bool may = st->q.head && !st->corked && has_credit(st);
    bool fin = !st->q.head && (st->need_fin || (st->need_eof && !st->corked));
    if (!may && !fin) {
        pq_list_remove(&st->turn);
        st->served = false;
    } else if (pq_list_empty(&st->turn)) {
        pq_list_push(st->served ? &st->s->turn : &st->s->fresh, &st->turn);
    }
}

/* Whether the chunk may be queued; frees it if not.  An empty PSH would be ignored by the peer. */
static bool sendable(const struct pq_smux_stream *st, struct pq_chunk *c)
{
    bool ok = c->len && !st->peer_closed && !st->closed;
    if (!ok)
        pq_chunk_free(c);
    return ok;
}

static void queued(struct pq_smux_stream *st)
{
    pq_smux_room(st); /* notes that it is full */
    pq_smux_schedule(st);
}

int pq_smux_send(struct pq_smux_stream *st, struct pq_chunk *c)
{
    if (sendable(st, c)) {
        pq_chunkq_push(&st->q, c);
        queued(st);
    }
    return st->peer_closed || st->closed ? PQ_ECLOSED : 0;
}

void pq_smux_send_first(struct pq_smux_stream *st, struct pq_chunk *c)
{
    if (sendable(st, c)) {
        pq_chunkq_unshift(&st->q, c);
        queued(st);
    }
}

void pq_smux_set_queue(struct pq_smux *s, size_t bytes, uint32_t frame)
{
    s->queue_max = bytes > PQ_SMUX_QUEUE_MAX ? bytes : PQ_SMUX_QUEUE_MAX;
    s->frame_max = frame;
}

size_t pq_smux_room(struct pq_smux_stream *st)
{
    size_t n = st->q.bytes;
    /* queue_max may have shrunk since the last chunk was queued: who sees 0 waits for the event */
    st->full = st->full || n >= st->s->queue_max;
    return n < st->s->queue_max ? st->s->queue_max - n : 0;
}

size_t pq_smux_waiting(const struct pq_smux_stream *st)
{
    return st->q.n;
}

void pq_smux_cork(struct pq_smux_stream *st, bool on)
{
    st->corked = on;
    pq_smux_schedule(st);
}

bool pq_smux_corked(const struct pq_smux_stream *st)
{
    return st->corked;
}

void pq_smux_set_whole(struct pq_smux_stream *st)
{
    st->whole = true;
}

bool pq_smux_known(const struct pq_smux_stream *st)
{
    return st->known;
}

void *pq_smux_find(struct pq_smux *s, uint32_t id)
{
    const struct pq_smux_stream *st = pq_smux_find_id(s, id);
    return st && !st->peer_closed ? st->user : NULL;
}

void pq_smux_consumed(struct pq_smux_stream *st, size_t n)
{
    struct pq_smux *s = st->s;
    bool first = st->consumed == 0;
    st->unread -= n;
    s->unread -= n;
    st->consumed += (uint32_t)n;
    st->since_upd += (uint32_t)n;
    st->read_at = s->now;
    if (st->peer_closed || st->closed || !n)
        return;
    if (first || st->since_upd >= st->told / 2) { /* [5.3] */
        st->since_upd = 0;
        st->need_upd = true;
        if (pq_list_empty(&st->ctl))
            pq_list_push(&s->ctl, &st->ctl);
    }
}

static void close_stream(struct pq_smux_stream *st)
{
    struct pq_smux *s = st->s;
    st->user = NULL;
    st->closed = true;
    st->need_fin = true;
    st->need_upd = false;
    if (!st->need_syn)
        pq_list_remove(&st->ctl);
    st->corked = false;
    s->unread -= st->unread;
    st->unread = 0;
    pq_smux_unlend(st);
    if (st->peer_closed)
        pq_chunkq_clear(&st->q);
    pq_smux_schedule(st);
}

void pq_smux_close(struct pq_smux_stream *st)
{
    if (st->corked) /* of no use without what was to go in front */
        pq_smux_abort(st);
    else
        close_stream(st);
}

void pq_smux_abort(struct pq_smux_stream *st)
{
    pq_chunkq_clear(&st->q);
    if (st->need_syn)
        pq_smux_stream_free(st); /* the peer has never heard of it */
    else
        close_stream(st);
}

uint32_t pq_smux_stream_id(const struct pq_smux_stream *st)
{
    return st->id;
}

void pq_smux_finish(struct pq_smux_stream *st)
{
    st->need_eof = !st->closed && !st->peer_closed;
    pq_smux_schedule(st);
}

void pq_smux_extend(struct pq_smux *s, pq_ns timeout)
{
    s->extended = true;
    s->conf.timeout = timeout;
    s->seen = true; /* the period under way is one of the old length */
}

void pq_smux_bye(struct pq_smux *s)
{
    s->need_bye = s->extended;
}

void pq_smux_frames(struct pq_smux *s, size_t max)
{
    s->framed = max < PQ_CHUNK_CONTROL ? max : PQ_CHUNK_CONTROL;
}

uint64_t pq_smux_heard(const struct pq_smux *s)
{
    return s->heard;
}

size_t pq_smux_count(const struct pq_smux *s)
{
    return s->streams.n;
}

void pq_smux_carried(const struct pq_smux *s, uint64_t *in, uint64_t *out)
{
    *in = s->in;
    *out = s->out;
}

void pq_smux_clock(struct pq_smux *s, pq_ns now, pq_ns rtt)
{
    s->now = now;
    s->rtt = rtt;
}

/* ---- keepalive [5.5] */

void pq_smux_nop(struct pq_smux *s)
{
    s->need_nop = true;
}

int pq_smux_tick(struct pq_smux *s, pq_ns now)
{
    s->now = now;
    pq_smux_relieve(s, now);
    if (now >= s->nop_at) {
        s->need_nop = true;
        s->nop_at = next_nop(s, now);
    }
    if (now >= s->check_at) {
        if (!s->seen && !s->stopped)
            return PQ_ETIMEOUT;
        s->seen = false;
        s->check_at = now + s->conf.timeout;
    }
    return 0;
}

pq_ns pq_smux_deadline(const struct pq_smux *s)
{
    return pq_ns_min(s->nop_at, s->check_at);
}
