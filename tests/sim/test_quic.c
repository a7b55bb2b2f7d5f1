/* SPDX-License-Identifier: MIT */
/* test_quic.c - two QUIC ends over modelled paths, in virtual time. */
#include "quic_world.h"

#define RATE    ((uint64_t)200 * 1000 * 1000 / 8)
#define SECONDS 15
#define MBIT    1e6

static double mbit(uint64_t bytes, double seconds)
{
    return (double)bytes * 8 / seconds / MBIT;
}

/* 200 Mbit/s, RTT 100 ms, 100 ms of queue, both ways. */
static struct qw_conf wan(unsigned loss)
{
    struct qw_conf c = qw_conf();
    for (int i = 0; i < 2; i++) {
        c.link[i].delay = 50 * PQ_MS;
        c.link[i].rate = RATE;
        c.link[i].queue = RATE / 10;
        c.link[i].loss = loss;
    }
    return c;
}

static void report(const struct qw *w, const char *what, double rate)
{
    struct pq_quic_stats s;
    pq_quic_stats(w->side[CLIENT].q, &s);
    printf("%s: %.1f Mbit/s; srtt %.1f ms, cwnd %u, sent %llu, lost %llu, overflow %llu\n", what,
           rate, (double)s.srtt / (double)PQ_MS, s.cwnd, (unsigned long long)s.sent,
           (unsigned long long)s.lost, (unsigned long long)w->side[CLIENT].out.stats.overflow);
}

/* 15 s from the first packet on. */
static void upload(unsigned loss, double least)
{
    struct qw_conf c = wan(loss);
    struct qw *w = qw_new(&c);
    qw_connect(w);
    qw_open(&w->side[CLIENT], UINT64_C(1) << 40);
    qw_run(w, w->now + SECONDS * PQ_SEC, NULL);
    const double rate = mbit(qw_received(&w->side[SERVER]), SECONDS);
    char what[32];
    snprintf(what, sizeof what, "loss %u per mille", loss);
    report(w, what, rate);
    assert_true(rate >= least);
    qw_free(w);
}

static void clean(void **state)
{
    (void)state;
    upload(0, 175);
}

static void loss_1(void **state)
{
    (void)state;
    upload(10, 165);
}

static void loss_5(void **state)
{
    (void)state;
    upload(50, 157);
}

static void loss_10(void **state)
{
    (void)state;
    upload(100, 147);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean),
        cmocka_unit_test(loss_1),
        cmocka_unit_test(loss_5),
        cmocka_unit_test(loss_10),
    };
    return ut_run(tests);
}
