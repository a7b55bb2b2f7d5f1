/* SPDX-License-Identifier: MIT */
#include "exit/measure.h"

#include <stdlib.h>

#define AT_A_TIME 4
#define SECONDS   120          /* of measuring that may be asked for at once ... */
#define ANOTHER   (5 * PQ_SEC) /* ... and one more after each */
#define BYTES_MAX (UINT64_C(256) << 20)
#define TELL_MS   200
#define GRACE     (5 * PQ_SEC) /* for what is still on its way up */
#define ANSWERS   1000         /* to datagrams, a second, of all clients of a worker */
#define BACK_MIN  4            /* bytes of a datagram that is answered, ... */
#define BACK_MAX  1500         /* ... at most */

struct pq_measures { /* of a worker */
    struct pq_list running;
    unsigned n, left; /* seconds */
    pq_ns at;
    unsigned answers; /* in this second */
    pq_ns second;
};

struct measure {
    struct pq_front *front;
    struct pq_stream *st;
    struct pq_list node;
    uv_timer_t timer;
    pq_ns until;
    unsigned way;
    uint64_t bytes, told; /* PQ_MEASURE_BACK: datagrams that came ... */
    uint32_t answered;    /* ... and went */
    size_t unread;
};

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

static void end(struct measure *m, bool abort)
{
    if (abort)
        pq_stream_abort(m->st);
    else
        pq_stream_close(m->st);
    m->front->measures->n--;
    pq_list_remove(&m->node);
    uv_close((uv_handle_t *)&m->timer, on_closed);
}

static void tell(struct measure *m)
{
    struct pq_chunks *chunks = pq_stream_chunks(m->st);
    uint8_t count[8];
    if (m->told == m->bytes || !chunks)
        return;
    pq_put_le32(count, (uint32_t)m->bytes);
    pq_put_le32(count + 4, m->way == PQ_MEASURE_BACK ? m->answered : (uint32_t)(m->bytes >> 32));
    struct pq_chunk *c = pq_chunk_copy(chunks, count, sizeof count);
    if (c && !pq_stream_send(m->st, c))
        m->told = m->bytes;
}

static void send_zeros(struct measure *m)
{
    struct pq_chunks *chunks = pq_stream_chunks(m->st);
    while (chunks && pq_stream_room(m->st) && m->bytes < BYTES_MAX) {
        struct pq_chunk *c = pq_chunk_new(chunks, PQ_CHUNK_BIG);
        if (!c)
            return; /* the timer tries again */
        memset(pq_chunk_data(c), 0, PQ_CHUNK_BIG);
        c->len = PQ_CHUNK_BIG;
        if (pq_stream_send(m->st, c))
            return;
        m->bytes += PQ_CHUNK_BIG;
    }
}

static void on_timer(uv_timer_t *t)
{
    struct measure *m = t->data;
    const bool over = uv_hrtime() >= m->until || m->bytes >= BYTES_MAX;
    if (m->way != PQ_MEASURE_DOWN)
        tell(m);
    else if (!over)
        send_zeros(m);
    if (over)
        end(m, m->way == PQ_MEASURE_DOWN);
}

static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct measure *m = ctx;
    (void)last;
    m->bytes += m->way == PQ_MEASURE_UP ? v.n : 0;
    m->unread += v.n;
}

static bool may_answer(struct pq_measures *all)
{
    const pq_ns now = uv_hrtime();
    if (now - all->second >= PQ_SEC) {
        all->second = now;
        all->answers = 0;
    }
    return all->answers++ < ANSWERS;
}

/* As long as it is, with the same number in front. */
static void on_datagram(void *ctx, struct pq_view v)
{
    struct measure *m = ctx;
    struct pq_chunks *chunks = pq_stream_chunks(m->st);
    if (m->way != PQ_MEASURE_BACK || v.n < BACK_MIN || v.n > BACK_MAX)
        return;
    m->bytes++;
    if (!chunks || !pq_stream_beside(m->st, v.n) || !may_answer(m->front->measures))
        return;
    struct pq_chunk *c = pq_chunk_copy(chunks, v.p, v.n);
    if (c && !pq_stream_send_datagram(m->st, c))
        m->answered++;
}

static void on_flush(void *ctx)
{
    struct measure *m = ctx;
    pq_stream_consumed(m->st, m->unread);
    m->unread = 0;
}

static void on_room(void *ctx)
{
    struct measure *m = ctx;
    if (m->way == PQ_MEASURE_DOWN)
        send_zeros(m);
}

static void on_end(void *ctx, int err)
{
    struct measure *m = ctx;
    if (!err && m->way != PQ_MEASURE_DOWN)
        tell(m);
    end(m, m->way == PQ_MEASURE_DOWN);
}

static void on_eof(void *ctx)
{
    on_end(ctx, 0);
}

static const struct pq_stream_events events = {.data = on_data,
                                               .flush = on_flush,
                                               .room = on_room,
                                               .end = on_end,
                                               .eof = on_eof,
                                               .datagram = on_datagram};

static void stop(struct pq_front *f)
{
    struct pq_list *n;
    while ((n = pq_list_pop(&f->measures->running)))
        end(PQ_OF(n, struct measure, node), true);
    free(f->measures);
    f->measures = NULL;
}

/* Whether so many seconds may be measured now; takes them. */
static bool may(struct pq_front *f, unsigned seconds)
{
    const pq_ns now = uv_hrtime();
    if (f->stopping)
        return false;
    if (!f->measures) {
        struct pq_measures *all = f->measures = calloc(1, sizeof *all);
        if (!all)
            return false;
        pq_list_init(&all->running);
        all->left = SECONDS;
        all->at = now;
        pq_front_at_stop(f, stop);
    }
    struct pq_measures *all = f->measures;
    const pq_ns more = (now - all->at) / ANOTHER;
    all->left = all->left + more < SECONDS ? all->left + (unsigned)more : SECONDS;
    all->at += more * ANOTHER;
    if (seconds < 1 || seconds > PQ_MEASURE_SECONDS_MAX || all->n >= AT_A_TIME ||
        all->left < seconds)
        return false;
    all->left -= seconds;
    return true;
}

/* What this machine's clock shows, and the end: costs no more than a PING, so nothing is counted.
 */
static void tell_clock(struct pq_front *f, struct pq_stream *st)
{
    struct pq_chunks *chunks = f->stopping ? NULL : pq_stream_chunks(st);
    uv_timeval64_t t;
    uint8_t ms[8];
    if (chunks && uv_gettimeofday(&t) == 0) {
        const uint64_t v = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_usec / 1000;
        pq_put_le32(ms, (uint32_t)v);
        pq_put_le32(ms + 4, (uint32_t)(v >> 32));
        struct pq_chunk *c = pq_chunk_copy(chunks, ms, sizeof ms);
        if (c)
            pq_stream_send(st, c);
    }
    pq_stream_close(st);
}

void pq_serve_measure(struct pq_front *front, struct pq_stream *st, uint16_t what, size_t rest)
{
    const unsigned seconds = what & 0xff, way = what >> 8;
    if (way == PQ_MEASURE_CLOCK) {
        tell_clock(front, st);
        return;
    }
    struct measure *m = way <= PQ_MEASURE_BACK && may(front, seconds) ? calloc(1, sizeof *m) : NULL;
    if (!m) {
        pq_stream_close(st);
        return;
    }
    m->front = front;
    m->st = st;
    m->way = way;
    m->bytes = way == PQ_MEASURE_UP ? rest : 0;
    m->until = uv_hrtime() + seconds * PQ_SEC + (way != PQ_MEASURE_DOWN ? GRACE : 0);
    if (way == PQ_MEASURE_BACK)
        pq_stream_set_datagrams(st, BACK_MAX);
    uv_timer_init(front->loop, &m->timer);
    m->timer.data = m;
    uv_timer_start(&m->timer, on_timer, TELL_MS, TELL_MS);
    front->measures->n++;
    pq_list_init(&m->node);
    pq_list_push(&front->measures->running, &m->node);
    pq_stream_own(st, &events, m);
    if (m->way == PQ_MEASURE_DOWN)
        send_zeros(m);
}
