/* SPDX-License-Identifier: MIT */
#include "entry/pair.h"

#include "relay/tcp.h"

#include <stdlib.h>
#include <string.h>

#define HALF_IDLE_MS 120000 /* how long a half-closed pair may be without a byte */

enum { PROGRAM, TARGET, SIDES };

struct pair;

struct side {
    struct pair *pair;
    uv_tcp_t *tcp;
    bool eof;  /* its other end sends no more */
    bool shut; /* and it has been told that nothing more comes */
    /* bytes for it that it has not taken yet */
    uint8_t *writing, *waiting;
    size_t n_waiting;
    uv_write_t write;
    uv_shutdown_t shutdown;
};

struct pair {
    struct pq_front *front;
    struct pq_list node; /* in front->pairs */
    struct side side[SIDES];
    struct pq_filter *filter;
    uv_timer_t idle;  /* once one direction has ended */
    unsigned handles; /* that are not closed yet */
    bool closing;
    bool deaf; /* the filter wants no more of the program's bytes */
};

static struct side *other(struct side *s)
{
    return &s->pair->side[s == &s->pair->side[PROGRAM] ? TARGET : PROGRAM];
}

/* ---- the end */

static void release(struct pair *p)
{
    if (--p->handles)
        return;
    for (int i = 0; i < SIDES; i++) {
        free(p->side[i].writing);
        free(p->side[i].waiting);
    }
    if (p->filter)
        p->filter->free(p->filter);
    free(p);
}

static void on_tcp_closed(uv_handle_t *h)
{
    struct side *s = h->data;
    free(h);
    release(s->pair);
}

static void on_timer_closed(uv_handle_t *h)
{
    release(h->data);
}

static void pair_close(struct pair *p, bool reset)
{
    if (p->closing)
        return;
    p->closing = true;
    pq_list_remove(&p->node);
    for (int i = 0; i < SIDES; i++) {
        uv_tcp_t *tcp = p->side[i].tcp;
        if (!reset || uv_tcp_close_reset(tcp, on_tcp_closed))
            uv_close((uv_handle_t *)tcp, on_tcp_closed);
    }
    uv_close((uv_handle_t *)&p->idle, on_timer_closed);
}

static void on_idle(uv_timer_t *t)
{
    pair_close(t->data, true);
}

/* A half-closed pair is not kept for ever without a byte. */
static void touch(struct pair *p)
{
    if (p->side[PROGRAM].eof || p->side[TARGET].eof)
        uv_timer_start(&p->idle, on_idle, HALF_IDLE_MS, 0);
}

/* ---- bytes */

static void write_out(struct side *s);
static void read_on(struct side *s);

static void on_written(uv_write_t *req, int status)
{
    struct side *s = req->data;
    free(s->writing);
    s->writing = NULL;
    if (s->pair->closing)
        return;
    if (status < 0) {
        pair_close(s->pair, true);
        return;
    }
    touch(s->pair);
    write_out(s);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)req;
    (void)status;
}

/* Nothing waits for this side any more: passes the other one's end on, or lets it go on. */
static void all_written(struct side *s)
{
    struct pair *p = s->pair;
    if (!other(s)->eof) {
        read_on(other(s));
        return;
    }
    if (!s->shut && uv_shutdown(&s->shutdown, (uv_stream_t *)s->tcp, on_shutdown))
        pair_close(p, true);
    s->shut = true;
    if (!p->closing && s->eof && other(s)->shut)
        pair_close(p, false);
}

static void write_out(struct side *s)
{
    if (s->writing)
        return;
    if (!s->n_waiting) {
        all_written(s);
        return;
    }
    s->writing = s->waiting;
    const uv_buf_t b = uv_buf_init((char *)s->waiting, (unsigned)s->n_waiting);
    s->waiting = NULL;
    s->n_waiting = 0;
    s->write.data = s;
    if (uv_write(&s->write, (uv_stream_t *)s->tcp, &b, 1, on_written)) {
        free(s->writing);
        s->writing = NULL;
        pair_close(s->pair, true);
    }
}

/* Bytes for a side; what it does not take is kept.  Returns false if memory is short. */
static bool put(struct side *s, const uint8_t *p, size_t n)
{
    size_t done = 0;
    if (!s->writing && !s->n_waiting && n) {
        uv_buf_t b = uv_buf_init((char *)p, (unsigned)n);
        const int w = uv_try_write((uv_stream_t *)s->tcp, &b, 1);
        done = w > 0 ? (size_t)w : 0; /* an error shows again when the rest is written */
    }
    if (done == n)
        return true;
    uint8_t *more = realloc(s->waiting, s->n_waiting + n - done);
    if (!more)
        return false;
    memcpy(more + s->n_waiting, p + done, n - done);
    s->waiting = more;
    s->n_waiting += n - done;
    return true;
}

static bool pass(struct side *from, const uint8_t *p, size_t n)
{
    struct pq_filter *f = from->pair->filter;
    int e = 1;
    if (f && from == &from->pair->side[PROGRAM])
        n = f->up(f, (struct pq_view){p, n});
    else if (f)
        e = f->down(f, (struct pq_view){p, n});
    return from->pair->closing || e == 0 || (e == 1 && put(other(from), p, n));
}

static void on_end(struct side *s, int err)
{
    struct pair *p = s->pair;
    struct pq_filter *f = p->filter;
    const bool told = s == &p->side[TARGET] && f && f->no_answer;
    if (err != UV_EOF && !told) {
        pair_close(p, true);
        return;
    }
    if (told) { /* in words, which a reset would destroy */
        f->no_answer(f);
        f->no_answer = NULL;
    }
    uv_read_stop((uv_stream_t *)s->tcp);
    s->eof = true;
    touch(p);
    write_out(other(s));
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
    struct side *s = st->data;
    struct pair *p = s->pair;
    if (n < 0)
        on_end(s, (int)n);
    if (n <= 0)
        return;
    touch(p);
    if (!pass(s, (const uint8_t *)buf->base, (size_t)n))
        pair_close(p, true);
    if (p->closing)
        return;
    for (int i = 0; i < SIDES; i++) /* the filter may have spoken to either */
        if (p->side[i].n_waiting)
            write_out(&p->side[i]);
    if (!p->closing && other(s)->writing)
        uv_read_stop(st);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    const struct side *s = h->data;
    char *space = (char *)pq_front_space(s->pair->front);
    (void)hint;
    *buf = uv_buf_init(space, space ? PQ_FRONT_SPACE : 0);
}

static void read_on(struct side *s)
{
    const bool wanted = s != &s->pair->side[PROGRAM] || !s->pair->deaf;
    if (wanted && uv_read_start((uv_stream_t *)s->tcp, on_alloc, on_read))
        pair_close(s->pair, true);
}

/* ---- what a filter does */

static bool filter_to_program(void *side, const uint8_t *p, size_t n)
{
    return put(&((struct pair *)side)->side[PROGRAM], p, n);
}

static bool filter_to_target(void *side, const uint8_t *p, size_t n)
{
    return put(&((struct pair *)side)->side[TARGET], p, n);
}

static void filter_stop_reading(void *side)
{
    struct pair *p = side;
    p->deaf = true;
    uv_read_stop((uv_stream_t *)p->side[PROGRAM].tcp);
}

static void filter_reset(void *side)
{
    pair_close(side, true);
}

/* Resets all pairs of the worker. */
static void stop_all(struct pq_front *front)
{
    struct pq_list *n;
    while ((n = pq_list_pop(&front->pairs)))
        pair_close(PQ_OF(n, struct pair, node), true);
}

/* ---- life */

void pq_pair_join(struct pq_front *front, uv_tcp_t *program, uv_tcp_t *target,
                  struct pq_filter *filter, struct pq_view first)
{
    static const struct pq_filter_side ops = {.to_program = filter_to_program,
                                              .to_target = filter_to_target,
                                              .stop_reading = filter_stop_reading,
                                              .reset = filter_reset};
    struct pair *p = calloc(1, sizeof *p);
    if (!p) {
        pq_tcp_close(program, true);
        pq_tcp_close(target, true);
        if (filter)
            filter->free(filter);
        return;
    }
    p->front = front;
    p->filter = filter;
    if (filter) {
        filter->ops = &ops;
        filter->side = p;
    }
    pq_list_push(&front->pairs, &p->node);
    pq_front_at_stop(front, stop_all);
    uv_timer_init(front->loop, &p->idle);
    p->idle.data = p;
    p->handles = SIDES + 1;
    uv_tcp_t *tcp[SIDES] = {program, target};
    for (int i = 0; i < SIDES; i++) {
        p->side[i].pair = p;
        p->side[i].tcp = tcp[i];
        tcp[i]->data = &p->side[i];
    }
    if (!put(&p->side[TARGET], first.p, first.n))
        pair_close(p, true);
    for (int i = 0; i < SIDES && !p->closing; i++)
        write_out(&p->side[i]);
}
