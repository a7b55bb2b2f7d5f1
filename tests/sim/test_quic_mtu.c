/* SPDX-License-Identifier: MIT */
/* test_quic_mtu.c - paths that swallow what is too long, from the start or from some time on, and
 * tell nobody: how long it takes to notice, and how much is carried then [13.9]. */
#include "quic/quic_internal.h"
#include "quic_world.h"

#define RATE ((uint64_t)100 * 1000 * 1000 / 8)
#define NEAR 12 /* bytes for which nobody looks */

/* 100 Mbit/s, RTT 40 ms, IP packets of `mtu` bytes at most. */
static struct qw_conf path(uint64_t mtu)
{
    struct qw_conf c = qw_conf();
    for (int i = 0; i < 2; i++)
        c.link[i] =
            (struct link_conf){.delay = 20 * PQ_MS, .rate = RATE, .queue = RATE / 10, .mtu = mtu};
    return c;
}

static void set_mtu(struct qw *w, uint64_t mtu)
{
    for (int i = 0; i < 2; i++)
        w->side[i].out.conf.mtu = mtu;
}

static unsigned size_of(const struct qw_side *e)
{
    struct pq_quic_stats s;
    pq_quic_stats(e->q, &s);
    return s.size;
}

/* What fits, but for what is not worth to look for. */
static void expect_size(const struct qw_side *e, uint64_t mtu)
{
    const unsigned fits = mtu && mtu < 1350 + QW_HEAD ? (unsigned)mtu - QW_HEAD : 1350;
    assert_in_range(size_of(e), fits - NEAR, fits);
}

static double mbit(uint64_t bytes, pq_ns in)
{
    return (double)bytes * 8e3 / (double)in;
}

/* Mbit/s of what the side receives meanwhile. */
static double rate(struct qw *w, int to, pq_ns in)
{
    const uint64_t before = qw_received(&w->side[to]);
    qw_run(w, w->now + in, NULL);
    return mbit(qw_received(&w->side[to]) - before, in);
}

/* How long nothing arrives at a side: runs for `in`. */
static pq_ns longest_wait(struct qw *w, int to, pq_ns in)
{
    const pq_ns end = w->now + in;
    pq_ns longest = 0, last = w->now;
    uint64_t before = qw_received(&w->side[to]);
    while (w->now < end) {
        qw_run(w, w->now + PQ_MS, NULL);
        const uint64_t now = qw_received(&w->side[to]);
        last = now > before ? w->now : last;
        longest = w->now - last > longest ? w->now - last : longest;
        before = now;
    }
    return longest;
}

/* ---- a narrow path from the start */

static void from_the_start(void **state)
{
    (void)state;
    static const uint64_t mtus[] = {0, 1402, 1401, 1400, 1380, 1358, 1320, 1290, 1288};
    for (size_t i = 0; i < COUNT_OF(mtus); i++) {
        const struct qw_conf c = path(mtus[i]);
        struct qw *w = qw_new(&c);
        qw_up(w);
        qw_open(&w->side[CLIENT], UINT64_C(1) << 40);
        qw_run(w, w->now + 2 * PQ_SEC, NULL);
        const double r = rate(w, SERVER, PQ_SEC);
        printf("MTU %llu: %u up, %u down, %.0f Mbit/s; %llu too long\n",
               (unsigned long long)mtus[i], size_of(&w->side[CLIENT]), size_of(&w->side[SERVER]), r,
               (unsigned long long)w->side[CLIENT].out.stats.too_long);
        for (int k = 0; k < 2; k++) {
            expect_size(&w->side[k], mtus[i]);
            assert_true(w->side[k].out.stats.too_long <= 12);
        }
        assert_true(r >= 85);
        qw_free(w);
    }
}

/* Before it is narrow for one direction alone, and for packets of the first size not even. */
static void one_way(void **state)
{
    (void)state;
    struct qw_conf c = path(0);
    c.link[SERVER].mtu = 1300;
    struct qw *w = qw_new(&c);
    qw_up(w);
    qw_open(&w->side[CLIENT], UINT64_C(1) << 40);
    qw_open(&w->side[SERVER], UINT64_C(1) << 40);
    qw_run(w, w->now + 3 * PQ_SEC, NULL);
    expect_size(&w->side[CLIENT], 0);
    expect_size(&w->side[SERVER], 1300);
    qw_free(w);
}

/* Towards who does not know our padding probes are of what is sent anyway. */
static void without_a_key(void **state)
{
    (void)state;
    struct qw_conf c = path(1380);
    for (int i = 0; i < 2; i++) {
        c.no_key[i] = true;
        c.end[i].open = true;
        c.end[i].datagrams = false;
    }
    struct qw *w = qw_new(&c);
    w->side[SERVER].echo = true;
    qw_up(w);
    struct qw_stream *s = qw_hold(&w->side[CLIENT], 100);
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(s->rx, 100);
    assert_int_equal(size_of(&w->side[CLIENT]), QUIC_MTU_LEAST); /* there was not so much */
    s->to_send = 30 << 20;
    s->keep_open = false;
    qw_run(w, w->now + 5 * PQ_SEC, NULL);
    assert_int_equal(s->rx, 30 << 20);
    expect_size(&w->side[CLIENT], 1380);
    expect_size(&w->side[SERVER], 1380);
    qw_free(w);
}

/* Who sends nothing but datagrams may send long ones all the same. */
static void datagrams(void **state)
{
    (void)state;
    const struct qw_conf c = path(0);
    struct qw *w = qw_new(&c);
    qw_up(w);
    qw_run(w, w->now + PQ_SEC, NULL);
    for (int i = 0; i < 2; i++) {
        assert_in_range(pq_quic_datagram_max(w->side[i].q), 1350 - NEAR - 32, 1350 - 32);
        assert_int_equal(w->side[i].datagrams, 0); /* padding is none */
    }
    qw_free(w);
}

/* ---- it becomes narrow */

static void from_the_middle(void **state)
{
    (void)state;
    static const uint64_t mtus[] = {1400, 1300, 1280, 1252};
    for (size_t i = 0; i < COUNT_OF(mtus); i++) {
        const struct qw_conf c = path(0);
        struct qw *w = qw_new(&c);
        qw_up(w);
        qw_open(&w->side[SERVER], UINT64_C(1) << 40);
        qw_run(w, w->now + 2 * PQ_SEC, NULL);
        expect_size(&w->side[SERVER], 0);
        set_mtu(w, mtus[i]);
        const pq_ns wait = longest_wait(w, CLIENT, 3 * PQ_SEC);
        const double r = rate(w, CLIENT, PQ_SEC);
        printf("MTU %llu from the middle on: %.0f ms without a byte, then %u, %.0f Mbit/s\n",
               (unsigned long long)mtus[i], (double)wait / (double)PQ_MS, size_of(&w->side[SERVER]),
               r);
        assert_true(wait <= 250 * PQ_MS); /* a probe timeout, then no hole that a probe has made */
        assert_true(r >= 85);
        expect_size(&w->side[SERVER], mtus[i]);
        assert_int_equal(w->side[SERVER].q->cc.mtu.falls, 1);
        qw_free(w);
    }
}

/* One that has little to send, but now and then a long packet. */
static void little(void **state)
{
    (void)state;
    const struct qw_conf c = path(0);
    struct qw *w = qw_new(&c);
    w->side[SERVER].echo = true;
    qw_up(w);
    struct qw_stream *s = qw_hold(&w->side[CLIENT], 1300);
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(s->rx, 1300);
    set_mtu(w, 1280);
    pq_ns most = 0;
    for (int i = 0; i < 20; i++) {
        const pq_ns asked = w->now;
        s->to_send += 1300;
        while (s->rx < s->to_send && w->now < asked + 5 * PQ_SEC)
            qw_run(w, w->now + PQ_MS, NULL);
        most = w->now - asked > most ? w->now - asked : most;
        assert_int_equal(s->rx, s->to_send);
        qw_run(w, w->now + 100 * PQ_MS, NULL);
    }
    printf("little to send: an echo took %.0f ms at most\n", (double)most / (double)PQ_MS);
    assert_true(most <= 700 * PQ_MS);
    expect_size(&w->side[CLIENT], 1280);
    qw_free(w);
}

/* After some minutes all is tried again. */
static void wide_again(void **state)
{
    (void)state;
    const struct qw_conf c = path(1300);
    struct qw *w = qw_new(&c);
    qw_up(w);
    qw_run(w, w->now + 20 * PQ_SEC, NULL);
    expect_size(&w->side[CLIENT], 1300);
    const uint64_t tried = w->side[CLIENT].out.stats.too_long;
    qw_run(w, w->now + 500 * PQ_SEC, NULL);
    assert_int_equal(w->side[CLIENT].out.stats.too_long, tried);
    set_mtu(w, 0);
    qw_run(w, w->now + 120 * PQ_SEC, NULL);
    for (int i = 0; i < 2; i++)
        expect_size(&w->side[i], 0);
    qw_free(w);
}

/* ---- what is no such path */

/* Losses and blackouts cost no more than a round trip of smaller packets. */
static void losses(void **state)
{
    (void)state;
    struct qw_conf c = path(0);
    for (int i = 0; i < 2; i++)
        c.link[i].loss = 100;
    struct qw *w = qw_new(&c);
    qw_up(w);
    qw_open(&w->side[SERVER], UINT64_C(1) << 40);
    unsigned small = 0;
    for (int i = 0; i < 3000; i++) {
        qw_run(w, w->now + 5 * PQ_MS, NULL);
        small += size_of(&w->side[SERVER]) < 1350 - NEAR;
    }
    printf("10 %% loss: smaller packets for %u of 3000 turns, %u falls\n", small,
           w->side[SERVER].q->cc.mtu.falls);
    assert_true(small <= 150);
    for (int i = 0; i < 2; i++)
        w->side[i].out.conf.cut = true;
    qw_run(w, w->now + 2 * PQ_SEC, NULL);
    for (int i = 0; i < 2; i++)
        w->side[i].out.conf.cut = false;
    qw_run(w, w->now + 2 * PQ_SEC, NULL);
    expect_size(&w->side[SERVER], 0);
    qw_free(w);
}

/* ---- another path */

/* The client goes over to a narrow one, where nothing larger than the first size passes. */
static void moves(void **state)
{
    (void)state;
    static const bool asks[] = {false, true};
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        const struct qw_conf c = path(0);
        struct qw *w = qw_new(&c);
        struct qw_side *e = &w->side[CLIENT];
        qw_up(w);
        qw_open(e, UINT64_C(1) << 40);
        qw_open(&w->side[SERVER], UINT64_C(1) << 40);
        qw_run(w, w->now + 2 * PQ_SEC, NULL);
        struct pq_quic_path to = {e->addr, w->side[SERVER].addr};
        to.local.ip[15] = 9;
        to.local.port++;
        set_mtu(w, 1270);
        e->addr = to.local;
        assert_int_equal(pq_quic_move(e->q, &to, !asks[i], w->now), 0);
        const pq_ns wait = longest_wait(w, CLIENT, 4 * PQ_SEC);
        const double up = rate(w, SERVER, PQ_SEC), down = rate(w, CLIENT, PQ_SEC);
        printf("moved%s: %.0f ms without a byte, then %.0f and %.0f Mbit/s, %u and %u\n",
               asks[i] ? " after a question" : "", (double)wait / (double)PQ_MS, up, down,
               size_of(e), size_of(&w->side[SERVER]));
        assert_true(wait <= 600 * PQ_MS);
        assert_true(up >= 60 && down >= 60);
        for (int k = 0; k < 2; k++)
            expect_size(&w->side[k], 1270);
        qw_free(w);
    }
}

/* The link says itself that it is narrow, and wide again. */
static void limited(void **state)
{
    (void)state;
    const struct qw_conf c = path(0);
    struct qw *w = qw_new(&c);
    struct qw_side *e = &w->side[CLIENT];
    qw_up(w);
    qw_open(e, UINT64_C(1) << 40);
    qw_run(w, w->now + PQ_SEC, NULL);
    pq_quic_limit(e->q, 1250);
    assert_int_equal(size_of(e), 1250);
    set_mtu(w, 1250 + QW_HEAD);
    assert_true(rate(w, SERVER, PQ_SEC) >= 80);
    assert_int_equal(size_of(e), 1250);
    assert_true(e->out.stats.too_long <= 1); /* the one that was under way */
    set_mtu(w, 0);
    pq_quic_limit(e->q, PQ_QUIC_SIZE_MAX);
    qw_run(w, w->now + PQ_SEC, NULL);
    expect_size(e, 0);
    qw_free(w);
}

static int send_datagram(struct qw_side *e, size_t n)
{
    struct pq_chunk *c = pq_chunk_new(&e->chunks, n);
    memset(pq_chunk_data(c), (int)(n & 0xff), n);
    c->len = (uint32_t)n;
    return pq_quic_datagram(e->q, c);
}

/* Datagrams that wait, and do not fit any more, are lost, and hold up nothing. */
static void too_long_now(void **state)
{
    (void)state;
    const struct qw_conf c = path(0);
    struct qw *w = qw_new(&c);
    struct qw_side *e = &w->side[CLIENT];
    qw_up(w);
    qw_run(w, w->now + PQ_SEC, NULL);
    for (int i = 0; i < 5; i++)
        assert_int_equal(send_datagram(e, 1350 - NEAR - 32), 0);
    assert_int_equal(send_datagram(e, 1250 - 32), 0);
    pq_quic_limit(e->q, 1250);
    assert_int_equal(send_datagram(e, 1251 - 32), PQ_EINVAL);
    struct qw_stream *s = qw_open(e, 5000);
    qw_run(w, w->now + PQ_SEC, NULL);
    struct pq_quic_stats q;
    pq_quic_stats(e->q, &q);
    assert_int_equal(q.dgrams_lost, 5);
    assert_int_equal(w->side[SERVER].datagrams, 1);
    assert_int_equal(s->acked, 5000);
    qw_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_the_start),  cmocka_unit_test(one_way),
        cmocka_unit_test(without_a_key),   cmocka_unit_test(datagrams),
        cmocka_unit_test(from_the_middle), cmocka_unit_test(little),
        cmocka_unit_test(wide_again),      cmocka_unit_test(losses),
        cmocka_unit_test(moves),           cmocka_unit_test(limited),
        cmocka_unit_test(too_long_now),
    };
    return ut_run(tests);
}
