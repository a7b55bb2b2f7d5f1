/* SPDX-License-Identifier: MIT */
/* quic_memory.c - what strangers, connections, and streams cost: memory, and the time of a datagram
 * of nobody's. */
#include "../sim/quic_world.h"
#include "quic_tests.h"

#include <malloc.h>
#include <time.h>

#define BATCH   500
#define BATCHES 200
#define MANY    50000

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define MEASURED true
static int64_t heap(void)
{
    const struct mallinfo2 m = mallinfo2();
    return (int64_t)m.uordblks + (int64_t)m.hblkhd;
}
#else
#define MEASURED false
static int64_t heap(void)
{
    return 0;
}
#endif

static int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Datagrams as a stranger may send them: Initials to the eye, sealed ones, packets of connections
 * that are not there. */
static size_t stranger(uint64_t *rng, uint8_t *p, unsigned kind)
{
    static const uint8_t initial[] = {0xc3, 0, 0, 0, 1, 8};
    ut_random(rng, p, PQ_QUIC_SIZE_MAX);
    if (kind % 3 == 0)
        memcpy(p, initial, sizeof initial);
    else
        p[0] = (uint8_t)(kind % 3 == 1 ? p[0] | 0x80 : p[0] & 0x7f);
    return kind % 5 ? 1252 : 60 + ut_below(rng, 1200);
}

/* 100,000 of them, from as many ports as there are: nothing goes out, nothing is kept, and each
 * takes no longer than opening the seal of one (1 us is the aim; this is to be true of slow and
 * busy machines, too, so the least of many batches counts, and much more is let pass). */
static void strangers(void **state)
{
    (void)state;
    static uint8_t p[BATCH][PQ_QUIC_SIZE_MAX];
    size_t n[BATCH];
    const struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    struct qw_side *s = &w->side[SERVER];
    uint64_t rng = ut_seed("strangers");
    struct pq_quic_path path = {s->addr, w->side[CLIENT].addr};
    struct pq_quic *q;
    int64_t least = INT64_MAX, before = 0;
    for (int b = 0; b < BATCHES; b++) {
        if (b == 1)
            before = heap();
        for (unsigned i = 0; i < BATCH; i++)
            n[i] = stranger(&rng, p[i], i);
        const int64_t begin = clock_ns();
        for (unsigned i = 0; i < BATCH; i++) {
            path.peer.port++;
            assert_int_not_equal(pq_quic_input(s->end, &path, p[i], n[i], &q, w->now), 0);
        }
        const int64_t took = clock_ns() - begin;
        least = took < least ? took : least;
        w->now += PQ_MS;
    }
    printf("a stranger's datagram: %.2f us; %lld bytes more after %d\n",
           (double)least / BATCH / 1000, (long long)(heap() - before), BATCH * (BATCHES - 1));
    assert_true(heap() - before <= 0);
    assert_true(ut_slow() || least < (int64_t)BATCH * 20000);
    assert_int_equal(s->accepted, 0);
    qw_expect_silence(w);
    qw_free(w);
}

/* A connection that has been idle for a minute, and streams of it on which nothing has happened for
 * as long. */
static void idle(void **state)
{
    (void)state;
    const struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    const int64_t before = heap();
    qw_up(w);
    qw_run(w, w->now + 60 * PQ_SEC, NULL);
    const int64_t connection = heap() - before;
    for (int i = 0; i < 900; i++)
        qw_hold(&w->side[CLIENT], 100);
    qw_run(w, w->now + 60 * PQ_SEC, NULL);
    assert_int_equal(w->side[SERVER].n, 900);
    const int64_t streams = heap() - before - connection;
    printf("idle: %.1f KB a connection, %.2f KB a stream\n", (double)connection / 2048,
           (double)streams / 1024 / 1800);
    assert_true(connection / 2 <= 95 << 10);
    assert_true(streams / 1800 <= 5 << 10);
    assert_true(!MEASURED || (connection > 0 && streams > 0));
    qw_free(w);
}

/* A client that opens all streams of a Go server's default, asks on each, and reads of none: what
 * is kept for it at the server is what its bound of all bytes lets, and little for each stream. All
 * of it is free again once the client has gone. */
static void streams_that_nobody_reads(void **state)
{
    (void)state;
    const unsigned many = MANY / UT_LESS;
    struct qw_conf c = qw_conf();
    c.end[SERVER].max_streams = c.end[CLIENT].max_streams = many;
    c.memory = 16 << 20;
    struct qw *w = qw_new(&c);
    struct qw_side *s = &w->side[SERVER];
    qw_up(w);
    const int64_t before = heap();
    for (unsigned i = 0; i < many; i++)
        qw_hold(&w->side[CLIENT], 1)->deaf = true;
    for (int i = 0; i < 100 && s->n < many; i++)
        qw_run(w, w->now + 20 * PQ_MS, NULL);
    assert_int_equal(s->n, many);
    for (unsigned i = 0; i < many; i++)
        s->s[i].to_send = 1 << 20;
    qw_run(w, w->now + 500 * PQ_MS, NULL);
    const int64_t grown = heap() - before;
    printf("%u streams that nobody reads: %.1f MB of chunks, %.1f MB in all, %.1f MB unread\n",
           many, (double)s->chunks.budget.used / 1e6, (double)grown / 1e6,
           (double)qw_received(&w->side[CLIENT]) / 1e6);
    assert_true(s->chunks.budget.used <= 16 << 20);
    assert_true(qw_received(&w->side[CLIENT]) <= 60 << 20);
    assert_true(grown <= (int64_t)2 * (16 << 20) + (int64_t)many * 2 * 2048);
    assert_false(s->closed || w->side[CLIENT].closed);
    pq_quic_close(w->side[CLIENT].q, 0);
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_true(s->closed);
    assert_int_equal(pq_quic_count(s->end), 0);
    assert_int_equal(s->chunks.budget.used, 0);
    qw_free(w);
}

int quic_memory_tests(void)
{
    const struct CMUnitTest memory[] = {
        cmocka_unit_test(strangers),
        cmocka_unit_test(idle),
        cmocka_unit_test(streams_that_nobody_reads),
    };
    return ut_run(memory);
}
