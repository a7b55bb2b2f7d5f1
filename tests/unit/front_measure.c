/* SPDX-License-Identifier: MIT */
/* front_measure.c - a server that sends, or counts, bytes for a client that measures [8.11]: for a
 * time, so many at once, and not for ever. */
#include "exit/measure.h"
#include "front_tests.h"
#include "front_world.h"

#define ALLOWED 120 /* seconds at once, see protocol.md */

static uint64_t told(const struct pq_stream *st)
{
    struct pq_chunk *c = st->sent.tail;
    assert_non_null(c);
    assert_int_equal(c->len, 8);
    const uint8_t *p = pq_chunk_data(c);
    return pq_le32(p) | (uint64_t)pq_le32(p + 4) << 32;
}

/* As long as there is room; then the end. */
static void source(void **state)
{
    (void)state;
    struct fw w;
    fw_init(&w);
    struct pq_stream st = fw_stream(&w);
    const uint64_t start = uv_hrtime();
    pq_serve_measure(&w.front, &st, PQ_MEASURE(0, 1), 0);
    assert_true(st.sent.bytes > 100000);
    const size_t first = st.sent.bytes;
    fw_stream_clear(&st);
    st.ev->room(st.ctx);
    assert_int_equal(st.sent.bytes, first); /* it goes on */
    fw_until(&w, st.aborted);
    assert_true(uv_hrtime() - start >= PQ_SEC);
    fw_stream_clear(&st);
    fw_fini(&w);
}

static void sink(void **state)
{
    (void)state;
    struct fw w;
    uint8_t bytes[1000] = {0};
    fw_init(&w);
    struct pq_stream st = fw_stream(&w);
    pq_serve_measure(&w.front, &st, PQ_MEASURE(1, 1), 7); /* behind the header */
    fw_deliver(&st, bytes, sizeof bytes, true);
    st.ev->flush(st.ctx);
    assert_int_equal(st.consumed, 1000); /* and those that the caller reports */
    fw_until(&w, st.sent.n > 0);
    assert_int_equal(told(&st), 1007);
    fw_deliver(&st, bytes, 3, true);
    st.ev->eof(st.ctx);
    assert_int_equal(told(&st), 1010);
    assert_true(st.closed);
    fw_stream_clear(&st);
    fw_fini(&w);
}

/* Datagrams are answered, each by one as long with its number; and so many a second. */
static void echo(void **state)
{
    (void)state;
    struct fw w;
    uint8_t bytes[300] = {7, 0, 0, 0};
    const struct pq_view whole = {bytes, sizeof bytes};
    fw_init(&w);
    struct pq_stream st = fw_stream(&w);
    pq_serve_measure(&w.front, &st, PQ_MEASURE(PQ_MEASURE_BACK, 1), 5);
    fw_deliver(&st, bytes, sizeof bytes, true); /* what is in the stream does not count */
    st.ev->flush(st.ctx);
    st.ev->datagram(st.ctx, (struct pq_view){bytes, 3});
    st.ev->datagram(st.ctx, whole); /* it cannot be answered beside the stream */
    assert_int_equal(st.sent.n, 0);
    st.beside = true;
    st.ev->datagram(st.ctx, whole);
    assert_int_equal(st.sent.n, 1);
    assert_int_equal(st.sent.tail->len, sizeof bytes);
    assert_memory_equal(pq_chunk_data(st.sent.tail), bytes, 4);
    fw_until(&w, st.sent.n > 1);
    assert_int_equal(told(&st), 2 | (uint64_t)1 << 32); /* came, and answered */
    for (unsigned i = 0; i < 3000; i++) {
        fw_stream_clear(&st);
        st.ev->datagram(st.ctx, whole);
    }
    fw_stream_clear(&st);
    st.ev->eof(st.ctx);
    assert_int_equal(told(&st) & UINT32_MAX, 3002);
    assert_true(told(&st) >> 32 >= 1000 &&
                told(&st) >> 32 <= 2000); /* a second may begin meanwhile */
    assert_true(st.closed);
    fw_stream_clear(&st);
    fw_fini(&w);
}

static bool served(struct fw *w, struct pq_stream *st, uint16_t what)
{
    *st = fw_stream(w);
    pq_serve_measure(&w->front, st, what, 0);
    return !st->closed;
}

static void bounds(void **state)
{
    (void)state;
    struct fw w;
    struct pq_stream st[5];
    fw_init(&w);
    assert_false(served(&w, &st[0], PQ_MEASURE(0, 0)));
    assert_false(served(&w, &st[0], PQ_MEASURE(0, PQ_MEASURE_SECONDS_MAX + 1)));
    assert_false(served(&w, &st[0], PQ_MEASURE(4, 1))); /* no way */
    for (unsigned i = 0; i < 4; i++)
        assert_true(served(&w, &st[i], PQ_MEASURE(1, 10)));
    assert_false(served(&w, &st[4], PQ_MEASURE(1, 1))); /* at a time */
    for (unsigned i = 0; i < 4; i++)
        st[i].ev->eof(st[i].ctx);
    for (unsigned left = ALLOWED - 40; left; left -= 10) {
        assert_true(served(&w, &st[0], PQ_MEASURE(1, 10)));
        st[0].ev->eof(st[0].ctx);
    }
    assert_false(served(&w, &st[0], PQ_MEASURE(1, 10))); /* in all */
    fw_fini(&w);
}

/* The clock is told at once, also where no more may be measured; not by a server that stops. */
static void clock_is_told(void **state)
{
    (void)state;
    struct fw w;
    struct pq_stream st[5];
    struct timespec before, after;
    fw_init(&w);
    for (unsigned i = 0; i < 4; i++)
        assert_true(served(&w, &st[i], PQ_MEASURE(1, 10)));
    clock_gettime(CLOCK_REALTIME, &before);
    assert_false(served(&w, &st[4], PQ_MEASURE(PQ_MEASURE_CLOCK, 1)));
    clock_gettime(CLOCK_REALTIME, &after);
    assert_int_equal(st[4].sent.n, 1);
    assert_true(told(&st[4]) + 1 >=
                (uint64_t)before.tv_sec * 1000 + (uint64_t)before.tv_nsec / 1000000);
    assert_true(told(&st[4]) <= (uint64_t)after.tv_sec * 1000 + (uint64_t)after.tv_nsec / 1000000);
    fw_stream_clear(&st[4]);
    for (unsigned i = 0; i < 4; i++)
        st[i].ev->eof(st[i].ctx);
    w.front.stopping = true;
    assert_false(served(&w, &st[4], PQ_MEASURE(PQ_MEASURE_CLOCK, 1)));
    assert_int_equal(st[4].sent.n, 0);
    fw_fini(&w);
}

/* The front ends while one runs; none begins afterwards. */
static void ends(void **state)
{
    (void)state;
    struct fw w;
    struct pq_stream st, late;
    fw_init(&w);
    assert_true(served(&w, &st, PQ_MEASURE(1, 10)));
    w.front.stopping = true;
    assert_false(served(&w, &late, PQ_MEASURE(1, 1)));
    fw_fini(&w); /* nothing of it is left in the loop */
    assert_true(st.aborted);
}

int front_measure_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source), cmocka_unit_test(sink),          cmocka_unit_test(echo),
        cmocka_unit_test(bounds), cmocka_unit_test(clock_is_told), cmocka_unit_test(ends),
    };
    return cmocka_run_group_tests_name("front measure", tests, NULL, NULL);
}
