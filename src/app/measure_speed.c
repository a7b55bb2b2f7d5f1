/* SPDX-License-Identifier: MIT */
/* measure_speed.c - how fast bytes go, each way for some seconds, and how long a round trip through
 * the tunnel takes meanwhile [8.11].  The first second does not count: the sender finds out what
 * the path carries. */
#include "app/measure_internal.h"

#include <stdlib.h>

#define WARM     PQ_SEC
#define PING_GAP (100 * PQ_MS)
#define ENOUGH   (200 * PQ_MS)         /* behind the first second, or that counts, too */
#define LATE     (4 * PQ_SEC)          /* so long the first bytes may take */
#define STANDS   PQ_SEC                /* so long without a byte counts as standing still */
#define EARLY    (PQ_SEC / 10)         /* of each second: clocks do not run alike */
#define BYTES    (UINT64_C(256) << 20) /* that end it before its time [8.11] */

struct ping {
    struct pq_measuring *m;
    struct pq_stream *st;
    struct pq_list node;
    pq_ns at;
};

/* ---- round trips meanwhile */

static void ping_end(struct ping *g, bool answered)
{
    struct pq_measuring *m = g->m;
    if (answered && m->n_rtt < sizeof m->rtt / sizeof m->rtt[0] && m->steady)
        m->rtt[m->n_rtt++] = (double)(pq_clock() - g->at) / (double)PQ_MS;
    pq_list_remove(&g->node);
    pq_stream_abort(g->st);
    free(g);
}

static void ping_data(void *ctx, struct pq_view v, bool last)
{
    (void)ctx;
    (void)v;
    (void)last;
}

static void ping_flush(void *ctx)
{
    ping_end(ctx, true);
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void ping_over(void *ctx, int err)
{
    (void)err;
    ping_end(ctx, false);
}

static void ping_eof(void *ctx)
{
    ping_end(ctx, false);
}

static const struct pq_stream_events ping_events = {ping_data, ping_flush, nothing,
                                                    ping_over, ping_eof,   NULL};

static void ping(struct pq_measuring *m, pq_ns now)
{
    struct ping *g = now >= m->ping_at ? calloc(1, sizeof *g) : NULL;
    if (!g)
        return;
    m->ping_at = now + PING_GAP;
    *g = (struct ping){.m = m, .at = now};
    pq_list_init(&g->node);
    g->st = pq_client_open(m->cw, PQ_REQ_PING, "", 0, &ping_events, g);
    if (g->st)
        pq_list_push(&m->pings, &g->node);
    else
        free(g);
}

/* ---- bytes */

/* Bytes of all datagrams that have left this machine: no more content can have arrived. */
static uint64_t bytes_left(const struct pq_measuring *m)
{
    return pq_hub_stats(m->cw->w.hub)->tx_bytes;
}

/* What the server says has come: never less than before, nor more than has gone. */
static void count_up(struct pq_measuring *m, struct pq_view v)
{
    for (size_t i = 0; i < v.n; i++) {
        m->count[m->n_count++] = v.p[i];
        if (m->n_count < sizeof m->count)
            continue;
        m->n_count = 0;
        const uint64_t told = pq_le32(m->count) | (uint64_t)pq_le32(m->count + 4) << 32;
        if (told < m->bytes || told > bytes_left(m) - m->left)
            m->impossible = m->over = true;
        else
            m->bytes = told;
    }
}

static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct pq_measuring *m = ctx;
    (void)last;
    m->unread += v.n;
    if (m->way == PQ_UP)
        count_up(m, v);
    else
        m->bytes += v.n;
}

static void on_flush(void *ctx)
{
    struct pq_measuring *m = ctx;
    pq_stream_consumed(m->st, m->unread);
    m->unread = 0;
}

static void on_room(void *ctx)
{
    struct pq_measuring *m = ctx;
    struct pq_chunks *chunks = m->st ? pq_stream_chunks(m->st) : NULL;
    while (chunks && m->way == PQ_UP && !m->over && pq_stream_room(m->st)) {
        struct pq_chunk *c = pq_chunk_new(chunks, PQ_CHUNK_BIG);
        if (!c)
            return;
        memset(pq_chunk_data(c), 0, PQ_CHUNK_BIG);
        c->len = PQ_CHUNK_BIG;
        if (pq_stream_send(m->st, c))
            return;
    }
}

static void on_end(void *ctx, int err)
{
    struct pq_measuring *m = ctx;
    (void)err;
    m->over = true;
}

static void on_eof(void *ctx)
{
    on_end(ctx, 0);
}

static const struct pq_stream_events events = {on_data, on_flush, on_room, on_end, on_eof, NULL};

/* ---- one way, then the other */

static void begin(struct pq_measuring *m, pq_ns now)
{
    m->began = true;
    m->over = false;
    m->bytes = m->early = m->unread = m->seen = 0;
    m->n_count = m->n_rtt = 0;
    m->impossible = false;
    m->left = bytes_left(m);
    m->start = m->last = now;
    m->steady = m->ping_at = 0;
    const uint16_t what = PQ_MEASURE(m->way == PQ_UP, m->conf->seconds);
    m->st = pq_client_open(m->cw, PQ_REQ_MEASURE, "", what, &events, m);
    m->over = !m->st;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void drop_stream(struct pq_measuring *m)
{
    if (m->st)
        pq_stream_abort(m->st);
    m->st = NULL;
    for (struct pq_list *n; (n = pq_list_pop(&m->pings));)
        ping_end(PQ_OF(n, struct ping, node), false);
}

/* Up to the last byte, which the end of the time comes behind; but where bytes then stayed away for
 * long, all of the time counts. */
static double rate_of(const struct pq_measuring *m, pq_ns now)
{
    const bool stands = now > m->last + STANDS;
    const bool steady = !stands && m->steady && m->last > m->steady + ENOUGH;
    const pq_ns passed = (stands ? now : m->last) - (steady ? m->steady : m->start);
    const uint64_t bytes = m->bytes - (steady ? m->early : 0);
    return passed ? (double)bytes * (double)PQ_SEC / (double)passed : 0;
}

static void note(struct pq_measuring *m, pq_ns now)
{
    struct pq_measured_speed *s = &m->conf->out->speed[m->way];
    s->impossible = m->impossible;
    s->cut = !m->impossible && m->bytes && m->over && m->bytes < BYTES &&
             now < m->start + m->conf->seconds * (PQ_SEC - EARLY);
    s->done = m->bytes && !s->impossible && !s->cut;
    s->rate = rate_of(m, now);
    s->pings = m->n_rtt;
    qsort(m->rtt, m->n_rtt, sizeof m->rtt[0], by_value);
    s->loaded = m->n_rtt ? m->rtt[m->n_rtt / 2] : 0;
}

bool pq_measure_speed(struct pq_measuring *m, pq_ns now)
{
    static const char *const names[] = {[PQ_UP] = "speed up", [PQ_DOWN] = "speed down"};
    if (!m->began)
        begin(m, now);
    if (m->bytes != m->seen)
        m->last = now;
    m->seen = m->bytes;
    const pq_ns all = m->conf->seconds * PQ_SEC, passed = now - m->start;
    if (!m->steady && passed >= pq_ns_min(WARM, all / 2)) {
        m->steady = now;
        m->early = m->bytes;
    }
    on_room(m);
    ping(m, now);
    const double done = passed < all ? (double)passed / (double)all : 1;
    m->conf->progress(m->conf->ctx, names[m->way],
                      m->part + (1 - m->part) / 2 * ((m->way == PQ_UP) + done), rate_of(m, now));
    /* down, the server ends it; up, this side does */
    if (!m->over && passed < all + (m->way == PQ_DOWN && !m->bytes ? LATE : 0))
        return false;
    note(m, now);
    drop_stream(m);
    m->began = false;
    if (m->way == PQ_UP)
        return true;
    m->way = PQ_UP;
    return false;
}

void pq_measure_speed_stop(struct pq_measuring *m)
{
    drop_stream(m);
}
