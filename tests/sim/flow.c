/* SPDX-License-Identifier: MIT */
#include "flow.h"

#define LATE (25 * PQ_US) /* a batch collects packets for 20 us; a burst is spread by ns */

/* The number of a datagram is in its first bytes, as many as there are. */
static void fill(uint8_t *p, size_t n, uint32_t number)
{
    uint8_t id[4];
    pq_put_le32(id, number);
    ut_pattern(p, n, number);
    memcpy(p, id, n < 4 ? n : 4);
}

static void got(struct flow_end *e, struct pq_view v, bool beside)
{
    struct flow_end *from = &e->f->end[!e->side];
    static uint8_t want[PQ_CHUNK_HUGE];
    uint8_t id[4] = {0};
    if (e->sloppy)
        return;
    memcpy(id, v.p, v.n < 4 ? v.n : 4);
    uint32_t n = pq_le32(id);
    assert_true(n < from->sent);
    assert_int_equal(v.n, from->out[n].len);
    fill(want, v.n, n);
    assert_memory_equal(v.p, want, v.n);
    e->twice += e->came[n];
    e->came[n] = true;
    const struct world *w = e->f->w;
    pq_ns least = w->end[from->side].out.conf.delay, took = w->now - from->out[n].at;
    assert_true(took >= least);
    e->late += beside && took > least + LATE;
}

static void on_datagram(void *ctx, struct pq_view v)
{
    struct flow_end *e = ctx;
    assert_non_null(e->st);
    assert_int_equal(e->ends, 0);
    uint8_t *copy = ut_exact(v.p, v.n);
    got(e, (struct pq_view){copy, v.n}, true);
    free(copy);
    e->beside++;
    if (e->close_in_event)
        flow_close(e);
}

static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct flow_end *e = ctx;
    assert_non_null(e->st);
    assert_true(v.n <= sizeof e->frame - e->frame_len);
    memcpy(e->frame + e->frame_len, v.p, v.n);
    e->frame_len += v.n;
    e->unread += v.n;
    if (!last)
        return;
    got(e, (struct pq_view){e->frame, e->frame_len}, false);
    e->frame_len = 0;
    e->framed++;
}

static void on_flush(void *ctx)
{
    struct flow_end *e = ctx;
    size_t n = e->unread;
    assert_non_null(e->st);
    if (e->lazy)
        return;
    e->unread = 0;
    pq_stream_consumed(e->st, n);
}

static void on_room(void *ctx)
{
    const struct flow_end *e = ctx;
    assert_non_null(e->st);
}

static void on_end(void *ctx, int err)
{
    struct flow_end *e = ctx;
    (void)err;
    assert_non_null(e->st);
    e->ends++;
    assert_int_equal(e->ends, 1);
}

static const struct pq_stream_events events = {on_data, on_flush, on_room,
                                               on_end,  NULL,     on_datagram};

static void own(struct flow_end *e, struct pq_stream *st)
{
    e->st = st;
    pq_stream_own(st, &events, e);
    pq_stream_set_datagrams(st, PQ_CHUNK_HUGE);
}

static bool take(struct world *w, struct pq_stream *st)
{
    struct flow *f = w->take_ctx;
    w->take = NULL; /* all that follow are of others */
    own(&f->end[SERVER], st);
    return true;
}

struct flow *flow_open(struct world *w, uint32_t able_client, uint32_t able_server)
{
    struct flow *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->w = w;
    for (unsigned i = 0; i < 2; i++)
        f->end[i] = (struct flow_end){.f = f, .side = i};
    w->take = take;
    w->take_ctx = f;
    struct pq_stream *st = pq_session_open(w->ses, &events, &f->end[CLIENT]);
    assert_non_null(st);
    own(&f->end[CLIENT], st);
    pq_stream_set_abilities(st, able_client);
    while (!f->end[SERVER].st) /* the SYN may be lost */
        world_run(w, w->now + 10 * PQ_MS, NULL);
    pq_stream_set_abilities(f->end[SERVER].st, able_server);
    return f;
}

void flow_free(struct flow *f)
{
    for (unsigned i = 0; i < 2; i++)
        flow_close(&f->end[i]);
    free(f);
}

void flow_close(struct flow_end *e)
{
    struct pq_stream *st = e->st;
    e->st = NULL;
    if (st)
        pq_stream_close(st);
}

int flow_send(struct flow_end *e, size_t n)
{
    assert_true(e->sent < FLOW_MAX);
    struct pq_chunk *c = pq_chunk_new(pq_hub_chunks(e->f->w->end[e->side].hub), n);
    assert_non_null(c);
    uint32_t number = e->sent++;
    fill(pq_chunk_data(c), n, number);
    c->len = (uint32_t)n;
    e->out[number].at = e->f->w->now;
    e->out[number].len = (uint32_t)n;
    return pq_stream_send_datagram(e->st, c);
}

void flow_settle(struct flow *f)
{
    assert_int_equal(flow_send(&f->end[CLIENT], 100), 0);
    world_run(f->w, f->w->now + 5 * PQ_SEC, NULL);
    assert_int_equal(f->end[SERVER].framed, 1);
}

unsigned flow_came(const struct flow_end *e)
{
    unsigned n = 0;
    for (size_t i = 0; i < FLOW_MAX; i++)
        n += e->came[i];
    return n;
}
