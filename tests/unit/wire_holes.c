/* SPDX-License-Identifier: MIT */
/* wire_holes.c - what is lacking in a connection's numbers, told and filled [12.9]. */
#include "unit.h"
#include "wire/fills.h"
#include "wire_tests.h"

#define HIGH 0xffffff00U /* numbers wrap around behind it */

static uint32_t take(struct pq_holes *h, uint32_t ack, uint32_t from, uint32_t to, uint32_t ts)
{
    return pq_holes_take(h, HIGH + ack, (struct pq_block){HIGH + from, HIGH + to}, ts) - HIGH;
}

static void expect_blocks(const struct pq_holes *h, unsigned n, const uint32_t *want)
{
    struct pq_block b[PQ_SACKS_MAX];
    assert_int_equal(pq_holes_tell(h, b), n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(b[i].from - HIGH, want[(size_t)2 * i]);
        assert_int_equal(b[i].to - HIGH, want[(size_t)2 * i + 1]);
    }
}

/* The last one first, then the highest; in order, what is filled is none any more. */
static void blocks(void **state)
{
    (void)state;
    struct pq_holes h = {0};
    assert_int_equal(take(&h, 0, 0, 100, 5), 100);
    expect_blocks(&h, 0, NULL);
    assert_int_equal(take(&h, 100, 200, 300, 5), 100);
    assert_int_equal(take(&h, 100, 300, 400, 6), 100);
    expect_blocks(&h, 1, (const uint32_t[]){200, 400});
    assert_int_equal(take(&h, 100, 500, 600, 7), 100);
    assert_int_equal(take(&h, 100, 700, 800, 8), 100);
    assert_int_equal(take(&h, 100, 900, 1000, 9), 100);
    expect_blocks(&h, 3, (const uint32_t[]){900, 1000, 700, 800, 500, 600});
    assert_int_equal(take(&h, 100, 400, 450, 20), 100);
    expect_blocks(&h, 3, (const uint32_t[]){200, 450, 900, 1000, 700, 800});
    assert_int_equal(pq_holes_high(&h, HIGH + 100) - HIGH, 1000);
    assert_int_equal(take(&h, 100, 450, 500, 20), 100);
    expect_blocks(&h, 3, (const uint32_t[]){200, 600, 900, 1000, 700, 800});
    assert_int_equal(take(&h, 100, 100, 200, 20), 600);
    expect_blocks(&h, 2, (const uint32_t[]){900, 1000, 700, 800});
    assert_int_equal(pq_holes_jump(&h, HIGH + 600) - HIGH, 800);
    assert_int_equal(take(&h, 800, 650, 1000, 20), 1000);
    assert_int_equal(h.n, 0);
    assert_int_equal(take(&h, 1000, 300, 900, 20), 1000); /* long known */
}

/* Sent again is what fills a hole with a later time stamp than what showed it. */
static void repetitions(void **state)
{
    (void)state;
    struct pq_holes h = {0};
    take(&h, 100, 200, 300, 50);
    take(&h, 100, 400, 500, 60);
    assert_false(pq_holes_repeated(&h, HIGH + 100, HIGH + 100, 50));
    assert_true(pq_holes_repeated(&h, HIGH + 100, HIGH + 100, 51));
    assert_false(pq_holes_repeated(&h, HIGH + 100, HIGH + 300, 60));
    assert_true(pq_holes_repeated(&h, HIGH + 100, HIGH + 300, 61));
    assert_false(pq_holes_repeated(&h, HIGH + 100, HIGH + 200, 90));
    assert_false(pq_holes_repeated(&h, HIGH + 100, HIGH + 500, 90));
    assert_false(pq_holes_repeated(&h, HIGH + 100, HIGH + 50, 90));
    take(&h, 100, 140, 150, 49); /* overtaken */
    assert_true(pq_holes_repeated(&h, HIGH + 100, HIGH + 100, 51));
    assert_true(pq_holes_repeated(&h, HIGH + 100, HIGH + 150, 51));
    assert_false(pq_holes_repeated(&h, HIGH + 100, HIGH + 100, 50));
    assert_false(pq_holes_repeated(&h, HIGH + 100, HIGH + 50, 1000)); /* none was given up */
    const uint32_t ts = h.r[0].ts, ack = pq_holes_jump(&h, HIGH + 100);
    assert_true(ack != HIGH + 100);
    assert_false(pq_holes_repeated(&h, ack, HIGH + 100, ts)); /* late */
    assert_true(pq_holes_repeated(&h, ack, HIGH + 100, ts + 1));
}

/* Each hole has its time, and there are no more of them than are remembered. */
static void given_up(void **state)
{
    (void)state;
    struct pq_holes h = {0};
    take(&h, 100, 200, 300, 50);
    assert_int_equal(pq_holes_expire(&h, HIGH + 100, 1000, 200) - HIGH, 100);
    take(&h, 100, 400, 500, 60);
    assert_int_equal(pq_holes_expire(&h, HIGH + 100, 1100, 200) - HIGH, 100);
    assert_int_equal(pq_holes_expire(&h, HIGH + 100, 1201, 200) - HIGH, 300);
    assert_int_equal(pq_holes_expire(&h, HIGH + 300, 1299, 200) - HIGH, 300);
    assert_int_equal(pq_holes_expire(&h, HIGH + 300, 1302, 200) - HIGH, 500);
    h = (struct pq_holes){0};
    uint32_t ack = 0;
    for (uint32_t i = 1; i <= 100; i++)
        ack = take(&h, ack, 20 * i, 20 * i + 10, i);
    assert_int_equal(h.n, PQ_HOLES_MAX);
    assert_int_equal(ack, 20 * (100 - PQ_HOLES_MAX) + 10);
}

/* As they were before the last ones came. */
static void cut(void **state)
{
    (void)state;
    struct pq_holes h = {0};
    take(&h, 100, 200, 300, 50);
    take(&h, 100, 400, 500, 60);
    pq_holes_cut(&h, HIGH + 500);
    assert_true(h.n == 2 && h.last == 1);
    pq_holes_cut(&h, HIGH + 450);
    assert_int_equal(pq_holes_high(&h, 0) - HIGH, 450);
    pq_holes_cut(&h, HIGH + 400);
    assert_true(h.n == 1 && h.last == 0);
    assert_int_equal(pq_holes_high(&h, 0) - HIGH, 300);
    pq_holes_cut(&h, HIGH + 100);
    assert_int_equal(h.n, 0);
}

static unsigned told(struct pq_gap *gaps, uint32_t ack, unsigned n, const uint32_t *b)
{
    uint8_t p[4 * PQ_SACK_LEN];
    for (unsigned i = 0; i < 2 * n; i++)
        pq_put_be32(p + (size_t)4 * i, HIGH + b[i]);
    return pq_holes_read(p, n, HIGH + ack, HIGH + 1000, gaps);
}

static void expect_gap(const struct pq_gap *g, uint32_t from, uint32_t to, uint32_t above)
{
    assert_int_equal(g->lacks.from - HIGH, from);
    assert_int_equal(g->lacks.to - HIGH, to);
    assert_int_equal(g->above, above);
}

/* With three blocks another one may lie below them, or above the first. */
static void gaps_told(void **state)
{
    (void)state;
    struct pq_gap g[PQ_SACKS_MAX];
    assert_int_equal(told(g, 100, 1, (const uint32_t[]){200, 300}), 1);
    expect_gap(&g[0], 100, 200, 100);
    assert_int_equal(told(g, 100, 2, (const uint32_t[]){200, 300, 400, 600}), 2);
    expect_gap(&g[0], 100, 200, 300);
    expect_gap(&g[1], 300, 400, 200);
    assert_int_equal(told(g, 100, 3, (const uint32_t[]){700, 800, 400, 600, 200, 300}), 2);
    expect_gap(&g[0], 300, 400, 300);
    expect_gap(&g[1], 600, 700, 100);
    assert_int_equal(told(g, 100, 3, (const uint32_t[]){400, 600, 700, 800, 200, 300}), 2);
    assert_int_equal(told(g, 100, 3, (const uint32_t[]){200, 300, 700, 800, 400, 600}), 1);
    expect_gap(&g[0], 600, 700, 100);
    static const uint32_t wrong[][4] = {
        {300, 200, 400, 500}, {200, 200, 400, 500}, {100, 200, 400, 500}, {200, 300, 300, 500},
        {200, 400, 300, 500}, {50, 80, 400, 500},   {200, 300, 400, 1001}};
    for (unsigned i = 0; i < COUNT_OF(wrong); i++)
        assert_int_equal(told(g, 100, 2, wrong[i]), 0);
    assert_int_equal(told(g, 100, 0, NULL), 0);
    assert_int_equal(told(g, 100, 4, (const uint32_t[]){200, 210, 300, 310, 400, 410, 500, 510}),
                     0);
}

/* ---- the sender */

static uint8_t byte_of(uint32_t seq)
{
    return (uint8_t)(seq * 2654435761U >> 24);
}

static void keep(struct pq_fills *f, uint32_t una, uint32_t seq, uint16_t n)
{
    uint8_t p[1500];
    for (unsigned i = 0; i < n; i++)
        p[i] = byte_of(HIGH + seq + i);
    pq_fills_keep(f, HIGH + una, HIGH + seq, (struct pq_view){p, n});
}

static void lack(struct pq_fills *f, uint32_t from, uint32_t to, uint32_t above, pq_ns now)
{
    const struct pq_gap g = {{HIGH + from, HIGH + to}, above};
    pq_fills_lack(f, &g, 1, 1000, now, 10 * PQ_MS);
}

static void expect_next(struct pq_fills *f, uint32_t una, pq_ns now, uint32_t want, size_t n)
{
    uint8_t out[1500];
    uint32_t seq;
    assert_int_equal(pq_fills_next(f, HIGH + una, now, out, sizeof out, &seq), n);
    if (!n)
        return;
    assert_int_equal(seq - HIGH, want);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(out[i], byte_of(seq + i));
}

/* Whole datagrams, once each, two and then a pause; few above a gap, and it may still come. */
static void fill_once(void **state)
{
    (void)state;
    struct pq_fills_memory m = {.max = 1U << 20};
    struct pq_fills *f = pq_fills_new(&m);
    assert_non_null(f);
    for (uint32_t i = 0; i < 10; i++)
        keep(f, 0, 1000 * i, 1000);
    assert_int_equal(pq_fills_at(f), PQ_NEVER);
    lack(f, 1000, 4500, 3000, PQ_SEC); /* ends within a datagram */
    assert_int_equal(pq_fills_at(f), PQ_SEC);
    expect_next(f, 0, PQ_SEC, 1000, 1000);
    expect_next(f, 0, PQ_SEC, 2000, 1000);
    expect_next(f, 0, PQ_SEC, 0, 0);
    assert_int_equal(pq_fills_at(f), PQ_SEC + PQ_MS);
    expect_next(f, 0, PQ_SEC + PQ_MS, 3000, 1000);
    expect_next(f, 0, PQ_SEC + PQ_MS, 0, 0);
    lack(f, 1000, 4500, 3000, 2 * PQ_SEC);
    assert_int_equal(pq_fills_at(f), PQ_NEVER);
    lack(f, 6000, 7000, 2000, 2 * PQ_SEC);
    assert_int_equal(pq_fills_at(f), 2 * PQ_SEC + 10 * PQ_MS);
    expect_next(f, 0, 2 * PQ_SEC + 9 * PQ_MS, 0, 0);
    lack(f, 6000, 7000, 2001, 2 * PQ_SEC + 9 * PQ_MS);
    expect_next(f, 0, 2 * PQ_SEC + 9 * PQ_MS, 6000, 1000);
    lack(f, 7000, 8000, 3000, 3 * PQ_SEC); /* acknowledged meanwhile */
    expect_next(f, 8000, 3 * PQ_SEC, 0, 0);
    keep(f, 0, 20000, 500); /* another connection */
    lack(f, 8000, 9000, 3000, 4 * PQ_SEC);
    expect_next(f, 0, 4 * PQ_SEC, 0, 0);
    pq_fills_free(&f);
    assert_int_equal(m.used, 0);
}

/* One part of what is sent, and what was saved up. */
static void fills_are_paid_for(void **state)
{
    (void)state;
    struct pq_fills_memory m = {.max = 8U << 20};
    struct pq_fills *f = pq_fills_new(&m);
    uint8_t out[1500];
    uint32_t seq = 0, again;
    uint64_t spent = 0;
    pq_ns now = PQ_SEC;
    for (unsigned round = 1; round <= 400; round++) {
        for (unsigned i = 0; i < 20; i++, seq += 1000)
            keep(f, seq - 20000, seq, 1000);
        lack(f, seq - 18000, seq - 8000, 5000, now);
        for (unsigned i = 0; i < 20; i++, now += PQ_MS)
            spent += pq_fills_next(f, HIGH + seq - 20000, now, out, sizeof out, &again);
        assert_true(spent <= 12000 + seq / PQ_FILLS_PART);
    }
    assert_true(spent + 1000 >= seq / PQ_FILLS_PART);
    for (unsigned i = 0; i < 4000; i++, seq += 1000) /* nothing is lost: it is not saved for long */
        keep(f, seq - 20000, seq, 1000);
    lack(f, seq - 1000000, seq - 8000, 5000, now);
    for (spent = 0; now < 100 * PQ_SEC; now += PQ_MS)
        spent += pq_fills_next(f, HIGH + seq - 1000000, now, out, sizeof out, &again);
    assert_in_range(spent, 10000, 24000);
    pq_fills_free(&f);
}

/* Memory is bounded for one connection, and for all together: then the oldest goes.  What one has
 * grown to leaves room for the beginnings of others. */
static void fills_are_bounded(void **state)
{
    (void)state;
    struct pq_fills_memory m = {.max = 64U << 20};
    struct pq_fills *f[400] = {pq_fills_new(&m)};
    uint32_t seq = 0;
    for (; seq < 6000000; seq += 1000)
        keep(f[0], 0, seq, 1000);
    assert_in_range(m.used, PQ_FILLS_MAX, PQ_FILLS_MAX + PQ_FILLS_MAX / 8);
    lack(f[0], 0, 1000, 5000, PQ_SEC);
    expect_next(f[0], 0, PQ_SEC, 0, 0);
    lack(f[0], seq - 4000000, seq - 3999000, 5000, PQ_SEC);
    expect_next(f[0], 0, PQ_SEC, seq - 4000000, 1000);
    for (unsigned i = 0; i < 100000; i++) /* small ones: so many are remembered */
        keep(f[0], 0, seq++, 1);
    assert_in_range(m.used, PQ_FILLS_MAX, PQ_FILLS_MAX + PQ_FILLS_MAX / 8);
    pq_fills_free(&f[0]);
    m.max = 1U << 20;
    f[0] = pq_fills_new(&m);
    for (uint32_t at = 0; at < 2000000; at += 1000)
        keep(f[0], 0, at, 1000);
    assert_in_range(m.used, m.max / 2, m.max * 3 / 4);
    unsigned n = 1;
    while (n < COUNT_OF(f) && (f[n] = pq_fills_new(&m)))
        n++;
    assert_in_range(n, 100, 130);
    for (uint32_t at = 0; at < 200000; at += 1000)
        keep(f[1], 0, at, 1000);
    assert_true(m.used <= m.max);
    lack(f[1], 199000, 200000, 5000, PQ_SEC);
    expect_next(f[1], 0, PQ_SEC, 199000, 1000);
    while (n)
        pq_fills_free(&f[--n]);
    assert_int_equal(m.used, 0);
    m.max = 1000;
    assert_null(pq_fills_new(&m));
}

/* What was needed once is given back, but for twice of what still is; what is kept stays. */
static void fills_give_back(void **state)
{
    (void)state;
    struct pq_fills_memory m = {.max = 8U << 20};
    struct pq_fills *f = pq_fills_new(&m);
    const size_t least = m.used;
    uint32_t seq = 0;
    assert_in_range(least, 4096, 5000);
    for (; seq < 1000000; seq += 1000)
        keep(f, 0, seq, 1000);
    const size_t most = m.used;
    pq_fills_trim(f);
    assert_int_equal(m.used, most);
    keep(f, seq - 20000, seq, 1000);
    seq += 1000;
    pq_fills_trim(f); /* more was in use since then */
    assert_int_equal(m.used, most);
    pq_fills_trim(f);
    assert_in_range(m.used, 32 << 10, 70 << 10);
    lack(f, seq - 20000, seq - 18000, 5000, PQ_SEC);
    expect_next(f, seq - 20000, PQ_SEC, seq - 20000, 1000);
    expect_next(f, seq - 20000, PQ_SEC, seq - 19000, 1000);
    keep(f, seq, seq, 100);
    pq_fills_trim(f);
    pq_fills_trim(f);
    assert_int_equal(m.used, least);
    lack(f, seq, seq + 100, 5000, 2 * PQ_SEC);
    expect_next(f, seq, 2 * PQ_SEC, seq, 100);
    pq_fills_free(&f);
    assert_int_equal(m.used, 0);
}

int wire_holes(void)
{
    const struct CMUnitTest holes[] = {
        cmocka_unit_test(blocks),
        cmocka_unit_test(repetitions),
        cmocka_unit_test(given_up),
        cmocka_unit_test(cut),
        cmocka_unit_test(gaps_told),
        cmocka_unit_test(fill_once),
        cmocka_unit_test(fills_are_paid_for),
        cmocka_unit_test(fills_are_bounded),
        cmocka_unit_test(fills_give_back),
    };
    return ut_run(holes);
}
