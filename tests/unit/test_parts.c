/* SPDX-License-Identifier: MIT */
/* test_parts.c - datagrams in two parts [12.11]: as they are on the wire, in any order, lost,
 * malformed, and as many as may wait. */
#include "tunnel/parts.h"

#include "unit.h"

#define MEMORY (1U << 20)
#define T0     PQ_SEC

/* A part as [12.11] says, from the text, not from the code under test.  Returns its bytes. */
static size_t build(uint8_t *p, uint16_t number, uint8_t part, const void *data, size_t n)
{
    static const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 0xf5, 0};
    memcpy(p, head, sizeof head);
    pq_put_le16(p + 6, (uint16_t)(6 + n));
    pq_put_le16(p + 8, number);
    p[10] = part;
    p[11] = 0;
    memcpy(p + 12, data, n);
    return 12 + n;
}

struct end {
    struct pq_chunks chunks;
    struct pq_parts x;
    struct pq_view whole;
};

static void begin(struct end *e)
{
    *e = (struct end){0};
    pq_chunks_init(&e->chunks, MEMORY);
}

static void finish(struct end *e)
{
    pq_parts_clear(&e->x);
    assert_int_equal(e->chunks.budget.used, 0);
    pq_chunks_fini(&e->chunks);
}

static enum pq_drop take(struct end *e, const uint8_t *p, size_t n, pq_ns now)
{
    uint8_t *exact = ut_exact(p, n);
    const enum pq_drop d =
        pq_parts_take(&e->x, &e->chunks, (struct pq_view){exact, n}, &e->whole, now);
    free(exact);
    return d;
}

/* Gives part `part` of a pair whose bytes are two letters.  Returns bytes that are whole then. */
static size_t give(struct end *e, uint16_t number, uint8_t part, pq_ns now)
{
    uint8_t p[64];
    const size_t n = build(p, number, part, part ? "b" : "a", 1);
    assert_int_equal(take(e, p, n, now), PQ_DROP_NONE);
    if (e->whole.n)
        assert_memory_equal(e->whole.p, "ab", 2);
    return e->whole.n;
}

/* ---- both sides */

static void cut_and_joined(void **state)
{
    (void)state;
    static const size_t lengths[] = {24, 25, 100, 1201, 1350, 1500};
    struct end out, in;
    begin(&out);
    begin(&in);
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        const size_t n = lengths[i];
        uint8_t was[1500], first[1500 + PQ_PART_HEAD], second[1500], want[1500];
        for (size_t k = 0; k < n; k++)
            was[k] = first[k] = (uint8_t)(k * 7 + i);
        const size_t a = pq_parts_cut(&out.x, &out.chunks, first, n);
        assert_int_equal(a, 12 + n / 2);
        assert_int_equal(pq_parts_rest(&out.x, second, n - n / 2 + 11), 0); /* no room */
        const size_t b = pq_parts_rest(&out.x, second, sizeof second);
        assert_int_equal(b, 12 + n - n / 2);
        assert_int_equal(pq_parts_rest(&out.x, second, sizeof second), 0);
        assert_int_equal(build(want, (uint16_t)i, 0, was, n / 2), a);
        assert_memory_equal(first, want, a);
        assert_int_equal(build(want, (uint16_t)i, 1, was + n / 2, n - n / 2), b);
        assert_memory_equal(second, want, b);
        assert_int_equal(take(&in, i % 2 ? second : first, i % 2 ? b : a, T0), PQ_DROP_NONE);
        assert_int_equal(in.whole.n, 0);
        assert_int_equal(take(&in, i % 2 ? first : second, i % 2 ? a : b, T0), PQ_DROP_NONE);
        assert_int_equal(in.whole.n, n);
        assert_memory_equal(in.whole.p, was, n);
        pq_parts_done(&in.x);
    }
    finish(&out);
    finish(&in);
}

/* Where memory is short nothing goes, and nothing is taken. */
static void without_memory(void **state)
{
    (void)state;
    struct end e = {0};
    uint8_t p[200] = {0};
    pq_chunks_init(&e.chunks, 1);
    assert_int_equal(pq_parts_cut(&e.x, &e.chunks, p, 100), 0);
    assert_int_equal(pq_parts_rest(&e.x, p, sizeof p), 0);
    const size_t n = build(p, 1, 0, "abc", 3);
    assert_int_equal(take(&e, p, n, T0), PQ_DROP_FULL);
    finish(&e);
}

static void malformed(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t byte;
    } t[] = {{0, 0}, {4, 0xf4}, {5, 1}, {6, 8}, {6, 10}, {7, 1}, {10, 2}, {11, 1}};
    struct end e;
    uint8_t p[PQ_PART_HEAD + PQ_PARTS_MAX + 1] = {0};
    begin(&e);
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        const size_t n = build(p, 1, 0, "abc", 3);
        p[t[i].at] = t[i].byte;
        assert_int_equal(take(&e, p, n, T0), PQ_DROP_OOB);
    }
    for (size_t n = 0; n <= 12; n++) { /* cut, and without a byte */
        build(p, 1, 0, "", 0);
        assert_int_equal(take(&e, p, n, T0), PQ_DROP_OOB);
    }
    assert_int_equal(e.chunks.budget.used, 0);
    static uint8_t many[PQ_PARTS_MAX + 1];
    assert_int_equal(take(&e, p, build(p, 1, 0, many, PQ_PARTS_MAX + 1), T0), PQ_DROP_OOB);
    assert_int_equal(take(&e, p, build(p, 1, 0, many, 700), T0), PQ_DROP_NONE);
    assert_int_equal(take(&e, p, build(p, 1, 1, many, 801), T0), PQ_DROP_OOB);
    assert_int_equal(take(&e, p, build(p, 1, 1, many, 800), T0), PQ_DROP_NONE);
    assert_int_equal(e.whole.n, 1500);
    finish(&e);
}

/* ---- what waits */

static void lost_parts(void **state)
{
    (void)state;
    struct end e;
    begin(&e);
    assert_int_equal(give(&e, 5, 0, T0), 0);
    assert_int_equal(give(&e, 5, 0, T0), 0); /* the same part again is no other one */
    assert_int_equal(give(&e, 5, 1, T0), 2);
    assert_int_equal(give(&e, 5, 1, T0), 0); /* both have been used */
    assert_int_equal(give(&e, 6, 0, T0), 0);
    assert_int_equal(give(&e, 6 + PQ_PARTS_WAIT, 1, T0), 0); /* in the same place: 6 is over */
    assert_int_equal(give(&e, 6, 1, T0), 0);
    assert_int_equal(give(&e, 65535, 0, T0), 0);
    assert_int_equal(give(&e, 0, 0, T0), 0);
    assert_int_equal(give(&e, 65535, 1, T0), 2);
    assert_int_equal(give(&e, 0, 1, T0), 2);
    finish(&e);
}

static void bound(void **state)
{
    (void)state;
    struct end e;
    begin(&e);
    for (unsigned i = 0; i < PQ_PARTS_WAIT; i++)
        give(&e, (uint16_t)i, 0, T0);
    const size_t full = e.chunks.budget.used;
    for (unsigned i = 0; i < 70000; i++)
        assert_int_equal(give(&e, (uint16_t)i, 0, T0), 0);
    assert_int_equal(e.chunks.budget.used, full);
    pq_parts_tick(&e.x, T0 + PQ_SEC);
    assert_int_equal(e.chunks.budget.used, full);
    pq_parts_tick(&e.x, T0 + PQ_SEC + 1);
    assert_int_equal(e.chunks.budget.used, 0);
    finish(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_and_joined), cmocka_unit_test(without_memory),
        cmocka_unit_test(malformed),      cmocka_unit_test(lost_parts),
        cmocka_unit_test(bound),
    };
    return ut_run(tests);
}
