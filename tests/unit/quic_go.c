/* SPDX-License-Identifier: MIT */
/* quic_go.c - what is there for the sake of Go programs, which lose or mix what comes together. */
#include "../sim/quic_world.h"
#include "quic_tests.h"

#define DELAY (20 * PQ_MS)
#define GAP   (5 * PQ_MS)

/* A world in which the client has seen many round trips of 40 ms. */
static struct qw *settled(void)
{
    struct qw_conf c = qw_conf();
    c.link[CLIENT].delay = c.link[SERVER].delay = DELAY;
    struct qw *w = qw_new(&c);
    qw_up(w);
    for (int i = 0; i < 60; i++) {
        qw_open(&w->side[CLIENT], 1);
        qw_run(w, w->now + 100 * PQ_MS, NULL);
    }
    return w;
}

static size_t newest(const struct qw *w)
{
    return w->side[SERVER].n - 1;
}

/* The header goes first, in two packets; the rest when it is acknowledged, and a time after that
 * which is counted from when it must have arrived. */
static void gate(void **state)
{
    (void)state;
    struct qw *w = settled();
    struct qw_side *e = &w->side[CLIENT], *s = &w->side[SERVER];
    const uint64_t packets = e->packets_out;
    struct qw_stream *st = qw_hold(e, 200);
    pq_quic_stream_gate(st->st, 55 * PQ_MS);
    st->to_send += 5000;
    st->keep_open = false;
    qw_run(w, w->now + 30 * PQ_MS, NULL);
    assert_int_equal(e->packets_out - packets, 2);
    assert_int_equal(s->s[newest(w)].rx, 200);
    pq_quic_stream_close(st->st); /* what waits still goes out */
    st->st = NULL;
    qw_run(w, w->now + 44 * PQ_MS, NULL); /* acknowledged at 40 ms, open at 55, there at 75 */
    assert_int_equal(s->s[newest(w)].rx, 200);
    qw_run(w, w->now + 6 * PQ_MS, NULL);
    assert_int_equal(s->s[newest(w)].rx, 5200);
    assert_true(s->s[newest(w)].eof);
    qw_free(w);
}

/* Where answers come now and then later, a gate opens later. */
static void gate_where_answers_are_late(void **state)
{
    (void)state;
    struct qw *w = settled();
    struct qw_side *e = &w->side[CLIENT], *s = &w->side[SERVER];
    for (int i = 0; i < 20; i++) {
        s->out.conf.delay = i % 2 ? DELAY : DELAY + 20 * PQ_MS;
        qw_open(e, 1);
        qw_run(w, w->now + 100 * PQ_MS, NULL);
    }
    s->out.conf.delay = DELAY;
    struct qw_stream *st = qw_hold(e, 200);
    pq_quic_stream_gate(st->st, 55 * PQ_MS);
    st->to_send += 5000;
    qw_run(w, w->now + 95 * PQ_MS, NULL); /* 20 ms later than above, and not there yet */
    assert_int_equal(s->s[newest(w)].rx, 200);
    qw_run(w, w->now + 400 * PQ_MS, NULL);
    assert_int_equal(s->s[newest(w)].rx, 5200);
    qw_free(w);
}

/* One answer that came late, and twenty since that did not: for some seconds that counts, since
 * what has held the peer up may do so again. */
static void gate_after_one_late_answer(void **state)
{
    (void)state;
    struct qw *w = settled();
    struct qw_side *e = &w->side[CLIENT], *s = &w->side[SERVER];
    for (int i = 0; i < 21; i++) {
        s->out.conf.delay = i ? DELAY : DELAY + 60 * PQ_MS;
        qw_open(e, 1);
        qw_run(w, w->now + 100 * PQ_MS, NULL);
    }
    struct qw_stream *st = qw_hold(e, 200);
    pq_quic_stream_gate(st->st, 55 * PQ_MS);
    st->to_send += 5000;
    qw_run(w, w->now + 55 * PQ_MS + 110 * PQ_MS, NULL);
    assert_int_equal(s->s[newest(w)].rx, 200);
    qw_run(w, w->now + 50 * PQ_MS, NULL);
    assert_int_equal(s->s[newest(w)].rx, 5200);
    qw_run(w, w->now + 5 * PQ_SEC, NULL); /* forgotten */
    st = qw_hold(e, 200);
    pq_quic_stream_gate(st->st, 55 * PQ_MS);
    st->to_send += 5000;
    qw_run(w, w->now + 100 * PQ_MS, NULL);
    assert_int_equal(s->s[newest(w)].rx, 5200);
    qw_free(w);
}

/* Each chunk has a packet, and they keep their distance; others go meanwhile. */
static void apart(void **state)
{
    (void)state;
    struct qw *w = settled();
    struct qw_side *e = &w->side[CLIENT];
    struct qw_stream *st = qw_hold(e, 1);
    qw_run(w, w->now + 100 * PQ_MS, NULL);
    const size_t largest = pq_quic_apart_max(e->q);
    assert_in_range(largest, 1200, 1350);
    pq_quic_stream_apart(st->st, GAP);
    const uint64_t packets = e->packets_out, bytes = e->bytes_out;
    const struct qw_stream *to = &w->side[SERVER].s[newest(w)];
    const uint64_t before = to->rx;
    for (int i = 0; i < 5; i++)
        qw_more(st, i % 2 ? largest : 100);
    qw_run(w, w->now + 2 * PQ_MS, NULL);
    assert_int_equal(e->packets_out - packets, 1);
    assert_in_range(e->bytes_out - bytes, 100, 200);
    qw_run(w, w->now + 5 * PQ_MS, NULL);
    assert_int_equal(e->packets_out - packets, 2);
    assert_in_range(e->bytes_out - bytes, largest + 100, largest + 350); /* in one piece */
    qw_run(w, w->now + 15 * PQ_MS, NULL);
    assert_int_equal(e->packets_out - packets, 5);
    qw_run(w, w->now + 100 * PQ_MS, NULL);
    assert_int_equal(to->rx - before, 300 + 2 * largest);
    pq_quic_stream_finish(st->st);
    qw_run(w, w->now + 100 * PQ_MS, NULL);
    assert_true(to->eof);
    qw_free(w);
}

/* Long ones behind each other, before it is known what the path carries: each has one packet. */
static void apart_of_unknown_mtu(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    c.link[CLIENT].delay = c.link[SERVER].delay = DELAY;
    struct qw *w = qw_new(&c);
    qw_up(w);
    struct qw_side *e = &w->side[CLIENT];
    struct qw_stream *st = qw_hold(e, 1);
    pq_quic_stream_apart(st->st, GAP);
    const uint64_t packets = e->packets_out;
    qw_run(w, w->now + PQ_MS, NULL);
    assert_int_equal(e->packets_out - packets, 1);
    for (int i = 0; i < 4; i++)
        qw_more(st, pq_quic_apart_max(e->q));
    qw_run(w, w->now + 30 * PQ_MS, NULL); /* no acknowledgement of a long one has come yet */
    assert_in_range(e->packets_out - packets, 5, 6); /* and a probe */
    qw_free(w);
}

/* The gap is kept where nothing waited, too; and a stream that is given up meanwhile is gone. */
static void apart_later(void **state)
{
    (void)state;
    struct qw *w = settled();
    struct qw_side *e = &w->side[CLIENT];
    struct qw_stream *st = qw_hold(e, 1);
    qw_run(w, w->now + 100 * PQ_MS, NULL);
    pq_quic_stream_apart(st->st, GAP);
    const uint64_t packets = e->packets_out;
    qw_more(st, 100);
    qw_run(w, w->now + PQ_MS, NULL);
    qw_more(st, 100);
    qw_run(w, w->now + 2 * PQ_MS, NULL);
    assert_int_equal(e->packets_out - packets, 1);
    qw_run(w, w->now + 3 * PQ_MS, NULL);
    assert_int_equal(e->packets_out - packets, 2);
    qw_more(st, 100);
    pq_quic_stream_abort(st->st, 0);
    st->st = NULL;
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_true(w->side[SERVER].s[newest(w)].reset);
    qw_free(w);
}

int quic_go_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gate),
        cmocka_unit_test(gate_where_answers_are_late),
        cmocka_unit_test(gate_after_one_late_answer),
        cmocka_unit_test(apart),
        cmocka_unit_test(apart_of_unknown_mtu),
        cmocka_unit_test(apart_later),
    };
    return ut_run(tests);
}
