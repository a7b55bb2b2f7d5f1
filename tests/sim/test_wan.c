/* SPDX-License-Identifier: MIT */
/* test_wan.c - how fast one stream is over a long path that loses: 200 Mbit/s, RTT 100 ms, 100 ms
 * of queue, between two ends of our kind with the program's own settings. */
#include "header/header.h"
#include "world.h"

#define RATE    ((uint64_t)200 * 1000 * 1000 / 8 / UT_LESS)
#define SECONDS 15
#define MBIT    (1e6 / UT_LESS) /* of a slow machine: what it would be at the full rate */

static struct world_conf conf(unsigned loss)
{
    struct world_conf c = world_conf(50 * PQ_MS);
    for (int i = 0; i < 2; i++) {
        c.link[i].loss = loss;
        c.link[i].rate = RATE;
        c.link[i].queue = RATE / 10;
        c.hub[i].kcp.snd_wnd = c.hub[i].kcp.rcv_wnd = 16384;
        c.hub[i].kcp.congestion = PQ_CONGESTION_BBR;
        c.hub[i].smux.session_buf = 64 << 20;
        c.hub[i].smux.stream_buf = 32 << 20;
        c.hub[i].memory = (size_t)512 << 20;
        c.hub[i].fec_auto = true;
    }
    return c;
}

static void greet(struct world *w)
{
    world_open(w, 300, 1)->keep_open = true; /* a PING and a request, roughly */
    w->half[SERVER][0].keep_open = true;
    assert_true(
        world_run(w, WORLD_T0 + 3 * PQ_SEC, world_transferred)); /* some may be lost twice */
    for (unsigned i = 0; i < 2; i++) {
        pq_stream_set_abilities(w->half[i][0].st, PQ_ABLE_ALL);
        pq_stream_send_frames(w->half[i][0].st);
    }
}

static void report(const struct world *w, double all, double late)
{
    struct pq_kcp_stats a;
    pq_session_stats(w->ses, &a);
    const struct link_stats *l = &w->end[CLIENT].out.stats;
    printf("loss %4.1f %%: %6.1f Mbit/s, after 5 s %6.1f; resent %5.2f %%, spurious %llu, "
           "time-outs %llu, overflow %llu, srtt %.1f ms, chunks <= %zu KiB\n",
           100.0 * (double)l->lost / (double)l->given, all, late,
           100.0 * (double)a.resent / (double)a.sent, (unsigned long long)a.spurious,
           (unsigned long long)a.timeouts, (unsigned long long)l->overflow,
           (double)a.srtt / (double)PQ_MS, (w->end[0].chunks_high + w->end[1].chunks_high) / 1024);
}

/* One upload: 15 s from a cold start at `least` Mbit/s, of which the last ten at `warm`. */
static void upload(unsigned loss, double least, double warm)
{
    struct world_conf c = conf(loss);
    struct world *w = world_new(&c, ut_seed("wan"));
    greet(w);
    pq_ns begin = w->now;
    world_open(w, (uint64_t)1 << 40, 1);
    world_run(w, begin + 5 * PQ_SEC, NULL);
    double early = (double)w->half[SERVER][1].rx_at;
    world_run(w, begin + SECONDS * PQ_SEC, NULL);
    double bytes = (double)w->half[SERVER][1].rx_at, all = bytes * 8 / SECONDS / MBIT;
    double late = (bytes - early) * 8 / (SECONDS - 5) / MBIT;
    report(w, all, late);
    assert_true(all >= least);
    assert_true(late >= warm);
    world_free(w);
}

static void clean(void **state)
{
    (void)state;
    upload(0, 172, 180);
}

static void loss_1(void **state)
{
    (void)state;
    upload(10, 160, 176);
}

static void loss_5(void **state)
{
    (void)state;
    upload(50, 135, 160);
}

static void loss_10(void **state)
{
    (void)state;
    upload(100, 120, 150);
}

/* One upload whose path changes after five seconds.  Mbit/s of the last ten, and what the link did
 * in them. */
static double upload_over(struct world *w, void (*change)(struct world *w))
{
    greet(w);
    world_open(w, (uint64_t)1 << 40, 1);
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    change(w);
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    double early = (double)w->half[SERVER][1].rx_at;
    w->end[CLIENT].out.stats = (struct link_stats){0};
    world_run(w, w->now + 10 * PQ_SEC, NULL);
    double mbit = ((double)w->half[SERVER][1].rx_at - early) * 8 / 10 / MBIT;
    report(w, 0, mbit);
    return mbit;
}

static void make_longer(struct world *w)
{
    for (int i = 0; i < 2; i++)
        w->end[i].out.conf.delay = 100 * PQ_MS;
}

/* What looks like a queue that never ends is a path that has become longer. */
static void longer_path(void **state)
{
    (void)state;
    struct world_conf c = conf(10);
    struct world *w = world_new(&c, ut_seed("longer"));
    assert_true(upload_over(w, make_longer) >= 140);
    world_free(w);
}

static void make_slower(struct world *w)
{
    w->end[CLIENT].out.conf.rate = RATE / 4;
    w->end[CLIENT].out.conf.queue = RATE / 4 / 200;
}

/* What a policer drops, which has 5 ms of queue here, is not what the path loses anyway: it is not
 * sent in addition. */
static void policer(void **state)
{
    (void)state;
    struct world_conf c = conf(10);
    struct world *w = world_new(&c, ut_seed("policer"));
    assert_true(upload_over(w, make_slower) >= 38);
    const struct link_stats *l = &w->end[CLIENT].out.stats;
    printf("policer dropped %llu of %llu\n", (unsigned long long)l->overflow,
           (unsigned long long)l->given);
    assert_true(l->overflow * 8 < l->given);
    world_free(w);
}

static int by_time(const void *a, const void *b)
{
    pq_ns x = *(const pq_ns *)a, y = *(const pq_ns *)b;
    return x < y ? -1 : x > y;
}

static bool newest_answered(const struct world *w)
{
    return w->half[CLIENT][w->pairs - 1].rx_at > 0;
}

/* A stream does not wait for what others have lost: requests of 64 bytes on fresh streams beside
 * four uploads. */
static void small_beside_bulk(void **state)
{
    enum { REQUESTS = 101, MEDIAN = 50, NINETY = 90 };
    static pq_ns took[REQUESTS];
    (void)state;
    struct world_conf c = conf(50);
    struct world *w = world_new(&c, ut_seed("beside"));
    greet(w);
    for (int i = 0; i < 4; i++)
        world_open(w, (uint64_t)1 << 40, 1);
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    for (int i = 0; i < REQUESTS; i++) {
        pq_ns begin = w->now;
        world_open(w, 64, 64);
        assert_true(world_run(w, begin + 10 * PQ_SEC, newest_answered));
        took[i] = w->now - begin;
    }
    qsort(took, REQUESTS, sizeof took[0], by_time);
    printf("beside four uploads, loss 5 %%: p50 %.1f ms, p90 %.1f ms\n",
           (double)took[MEDIAN] / (double)PQ_MS, (double)took[NINETY] / (double)PQ_MS);
    assert_true(took[MEDIAN] <= (ut_slow() ? 114 : 110) * PQ_MS); /* a packet takes longer there */
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean),
        cmocka_unit_test(loss_1),
        cmocka_unit_test(loss_5),
        cmocka_unit_test(loss_10),
        cmocka_unit_test(longer_path),
        cmocka_unit_test(policer),
        cmocka_unit_test(small_beside_bulk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
