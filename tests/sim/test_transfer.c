/* SPDX-License-Identifier: MIT */
/* test_transfer.c - every byte arrives, once and in order, over all kinds of paths. */
#include "world.h"

#define MIB ((uint64_t)1 << 20)

static void report(const char *what, const struct world *w)
{
    struct pq_kcp_stats a = {0};
    if (w->ses)
        pq_session_stats(w->ses, &a);
    double s = (double)(w->now - WORLD_T0) / (double)PQ_SEC, bytes = 0;
    for (unsigned k = 0; k < w->pairs; k++)
        bytes += (double)(w->half[0][k].rx_at + w->half[1][k].rx_at);
    const struct link_stats *l = &w->end[CLIENT].out.stats;
    printf("%-22s %6.2f s, %8.2f Mbit/s both ways together; up: resent %5.2f %% (spurious %llu, "
           "time-outs %llu) of %llu, link lost %.2f %%; chunks <= %zu KiB\n",
           what, s, bytes * 8 / s / 1e6, 100.0 * (double)a.resent / (double)(a.sent ? a.sent : 1),
           (unsigned long long)a.spurious, (unsigned long long)a.timeouts,
           (unsigned long long)a.sent,
           100.0 * (double)(l->lost + l->overflow) / (double)(l->given ? l->given : 1),
           (w->end[0].chunks_high + w->end[1].chunks_high) / 1024);
}

/* Some pairs of different size, both ways at once. */
static struct world *carry(const char *what, const struct world_conf *c, unsigned pairs,
                           uint64_t bytes, pq_ns limit, uint64_t seed)
{
    struct world *w = world_new(c, seed);
    for (unsigned i = 0; i < pairs; i++)
        world_open(w, bytes / pairs + (uint64_t)i * 997, bytes / pairs + (uint64_t)i * 1009);
    bool done = world_run(w, WORLD_T0 + limit, world_closed);
    report(what, w);
    assert_true(done);
    world_check(w);
    assert_int_equal(pq_session_streams(w->ses), 0);
    return w;
}

static struct world *transfer(const char *what, const struct world_conf *c, unsigned pairs,
                              uint64_t bytes, pq_ns limit)
{
    return carry(what, c, pairs, bytes, limit, ut_seed(what));
}

static void clean(void **state)
{
    (void)state;
    struct world_conf c = world_conf(50 * PQ_MS);
    struct world *w = transfer("clean, RTT 100 ms", &c, 5, 16 * MIB, 60 * PQ_SEC);
    struct pq_kcp_stats st;
    pq_session_stats(w->ses, &st);
    assert_int_equal(st.resent, 0); /* nothing was lost, nothing overtaken */
    assert_true(st.srtt >= 100 * PQ_MS && st.srtt < 150 * PQ_MS);
    assert_true(st.min_rtt >= 100 * PQ_MS && st.min_rtt < 115 * PQ_MS);
    assert_int_equal(world_drops(&w->end[0]) + world_drops(&w->end[1]), 0);
    /* 16 MiB through a window of 1024 segments of 1306 bytes in 100 ms: 1.26 s at best */
    assert_true(w->now - WORLD_T0 < 6 * PQ_SEC);
    world_free(w);
}

/* An ACK of a segment behind a hole is sent once: if it is lost, the segment goes out again.  So
 * the losses of both directions add up [4.6]. */
static void lossy(const char *what, unsigned per_mille, double resent_max)
{
    struct world_conf c = world_conf(50 * PQ_MS);
    for (int i = 0; i < 2; i++) {
        c.link[i].loss = per_mille;
        c.link[i].rate = 200000000 / 8;
        c.link[i].queue = 4 * MIB;
    }
    struct world *w = transfer(what, &c, 5, 8 * MIB, 120 * PQ_SEC);
    struct pq_kcp_stats st;
    pq_session_stats(w->ses, &st);
    assert_true((double)st.resent < resent_max * (double)st.sent);
    world_free(w);
}

static void loss_1(void **state)
{
    (void)state;
    lossy("loss 1 %", 10, 0.035);
}

static void loss_5(void **state)
{
    (void)state;
    lossy("loss 5 %", 50, 0.14);
}

static void loss_10(void **state)
{
    (void)state;
    lossy("loss 10 %", 100, 0.3);
}

static void reorder(void **state)
{
    (void)state;
    struct world_conf c = world_conf(50 * PQ_MS);
    for (int i = 0; i < 2; i++) {
        c.link[i].reorder = 50;
        c.link[i].reorder_by = 5 * PQ_MS;
    }
    struct world *w = transfer("reorder 5 %", &c, 5, 8 * MIB, 60 * PQ_SEC);
    struct pq_kcp_stats st;
    pq_session_stats(w->ses, &st);
    assert_true(st.resent * 20 < st.sent); /* it learns that the path reorders */
    world_free(w);
}

static void duplicates(void **state)
{
    (void)state;
    struct world_conf c = world_conf(50 * PQ_MS);
    c.link[0].dup = c.link[1].dup = 20;
    struct world *w = transfer("duplicates 2 %", &c, 5, 8 * MIB, 60 * PQ_SEC);
    struct pq_kcp_stats st;
    pq_session_stats(w->ses, &st);
    assert_true(st.duplicate > 0);
    assert_int_equal(w->end[SERVER].accepts, 1);
    world_free(w);
}

static void corruption(void **state)
{
    (void)state;
    struct world_conf c = world_conf(50 * PQ_MS);
    c.link[0].corrupt = c.link[1].corrupt = 20;
    struct world *w = transfer("corruption 2 %", &c, 5, 8 * MIB, 60 * PQ_SEC);
    const struct pq_hub_stats *st = pq_hub_stats(w->end[SERVER].hub);
    assert_true(st->drops[PQ_DROP_AUTH] > 0);
    assert_int_equal(w->end[SERVER].accepts, 1);
    world_free(w);
}

static void everything(void **state)
{
    (void)state;
    struct world_conf c = world_conf(50 * PQ_MS);
    for (int i = 0; i < 2; i++)
        c.link[i] = (struct link_conf){.delay = 50 * PQ_MS,
                                       .loss = 10,
                                       .reorder = 20,
                                       .reorder_by = 7 * PQ_MS,
                                       .dup = 20,
                                       .corrupt = 20,
                                       .rate = 20000000 / 8,
                                       .queue = 250000};
    struct world *w = transfer("all, 20 Mbit/s", &c, 5, 4 * MIB, 120 * PQ_SEC);
    world_free(w);
}

/* A narrow link with a window far above it: the queue overflows all the time. */
static void overload(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    for (int i = 0; i < 2; i++) {
        c.link[i].rate = 10000000 / 8;
        c.link[i].queue = 64000;
    }
    struct world *w = transfer("10 Mbit/s, 64 KB queue", &c, 5, 4 * MIB, 120 * PQ_SEC);
    world_free(w);
}

/* The same with the congestion window of nocongestion: 0. */
static void reno(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    for (int i = 0; i < 2; i++) {
        c.hub[i].kcp.congestion = PQ_CONGESTION_RENO;
        c.link[i].rate = 10000000 / 8;
        c.link[i].queue = 64000;
    }
    struct world *w = transfer("the same, congestion", &c, 5, 4 * MIB, 120 * PQ_SEC);
    world_free(w);
}

static void ciphers(void **state)
{
    (void)state;
    for (int id = 0; id < PQ_CIPHER_COUNT; id++) {
        struct world_conf c = world_conf(10 * PQ_MS);
        c.hub[0].cipher = c.hub[1].cipher = (enum pq_cipher)id;
        c.link[0].loss = c.link[1].loss = 10;
        struct world *w = transfer(pq_cipher_name((enum pq_cipher)id), &c, 2, MIB / 4, 20 * PQ_SEC);
        world_free(w);
    }
}

static void modes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool nodelay, ack_now;
        unsigned interval;
    } m[] = {{"normal", false, false, 40},
             {"fast", false, false, 30},
             {"fast2", true, true, 20},
             {"fast3", true, true, 10}};
    for (size_t i = 0; i < COUNT_OF(m); i++) {
        struct world_conf c = world_conf(50 * PQ_MS);
        for (int k = 0; k < 2; k++) {
            c.hub[k].kcp.nodelay = m[i].nodelay;
            c.hub[k].kcp.ack_now = m[i].ack_now;
            c.hub[k].kcp.interval = m[i].interval * PQ_MS;
            c.link[k].loss = 20;
        }
        struct world *w = transfer(m[i].name, &c, 3, 2 * MIB, 60 * PQ_SEC);
        world_free(w);
    }
}

/* From the smallest datagram that a hub takes to the largest that a peer reads [4.2]. */
static void mtus(void **state)
{
    (void)state;
    static const struct {
        enum pq_cipher cipher;
        uint16_t least;
    } m[] = {{PQ_CIPHER_NULL, 50}, {PQ_CIPHER_AES, 70}, {PQ_CIPHER_AES_128_GCM, 78}};
    for (size_t i = 0; i < COUNT_OF(m); i++) {
        struct world_conf c = world_conf(10 * PQ_MS);
        struct pq_hub *h;
        struct pq_rng rng;
        const struct pq_hub_events ev = {0};
        pq_rng_init_seed(&rng, 1);
        c.hub[0].cipher = c.hub[1].cipher = m[i].cipher;
        for (uint32_t bad = 0; bad < 3; bad++) {
            c.hub[0].mtu = (uint16_t[]){(uint16_t)(m[i].least - 1), 1501, 0}[bad];
            assert_int_equal(pq_hub_new(&h, &c.hub[0], &ev, NULL, &rng, 0), PQ_EINVAL);
            assert_null(h);
        }
        c.hub[0].mtu = m[i].least;
        c.hub[1].mtu = 1500; /* each side may have its own */
        struct world *w = transfer("mtu least/1500", &c, 2, MIB / 4, 60 * PQ_SEC);
        world_free(w);
    }
}

static void tiny_windows(void **state)
{
    (void)state;
    for (unsigned wnd = 1; wnd <= 4; wnd += 3) {
        struct world_conf c = world_conf(5 * PQ_MS);
        for (int i = 0; i < 2; i++) {
            c.hub[i].kcp.rcv_wnd = c.hub[i].kcp.snd_wnd = wnd;
            c.link[i].loss = 10;
        }
        struct world *w =
            transfer(wnd == 1 ? "windows of 1" : "windows of 4", &c, 2, MIB / 8, 60 * PQ_SEC);
        world_free(w);
        c.hub[1].kcp.snd_wnd = 1024; /* what one side sends with is its own affair */
        c.hub[0].kcp.snd_wnd = 1024;
        w = transfer("sender's larger", &c, 2, MIB / 8, 60 * PQ_SEC);
        world_free(w);
    }
}

/* Frames that a kernel or the sender joined are split again at gso_size. */
static void glued(void **state)
{
    (void)state;
    struct world_conf c = world_conf(10 * PQ_MS);
    c.link[0].loss = c.link[1].loss = 5;
    struct world *w = world_new(&c, ut_seed("glued"));
    w->end[0].glue = w->end[1].glue = true;
    for (unsigned i = 0; i < 3; i++)
        world_open(w, MIB, MIB);
    assert_true(world_run(w, WORLD_T0 + 30 * PQ_SEC, world_closed));
    world_check(w);
    assert_true(w->end[CLIENT].frames * 4 < pq_hub_stats(w->end[CLIENT].hub)->rx_packets);
    /* if the first datagram is lost, those behind it belong to no session yet */
    uint64_t early = pq_hub_stats(w->end[SERVER].hub)->drops[PQ_DROP_NO_SESSION];
    assert_int_equal(world_drops(&w->end[0]) + world_drops(&w->end[1]), early);
    world_free(w);
}

/* Parity of each direction stands for itself; the receiver needs no setting [3]. */
static void fec(void **state)
{
    (void)state;
#ifdef PQ_WITH_FEC
    for (unsigned both = 0; both < 2; both++) {
        struct world_conf c = world_conf(50 * PQ_MS);
        for (unsigned i = 0; i < 2; i++) {
            c.link[i].loss = 30;
            c.link[i].rate = 200000000 / 8;
            c.link[i].queue = 4 * MIB;
            c.hub[i].dshard = i <= both ? 10 : 0;
            c.hub[i].pshard = i <= both ? 3 : 0;
        }
        struct world *w =
            transfer(both ? "loss 3 %, FEC both" : "loss 3 %, FEC up", &c, 3, 4 * MIB, 60 * PQ_SEC);
        assert_true(pq_hub_stats(w->end[SERVER].hub)->rebuilt > 0);
        assert_true((pq_hub_stats(w->end[CLIENT].hub)->rebuilt > 0) == both);
        world_free(w);
    }
#else
    skip();
#endif
}

/* The memory bound is far below the windows: slower, but whole. */
static void little_memory(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    for (int i = 0; i < 2; i++) {
        c.hub[i].memory = (size_t)256 * 1024;
        c.link[i].loss = 20;
    }
    const uint64_t seed = ut_seed("little memory");
    for (unsigned k = 0; k < (ut_slow() ? 4 : 24); k++) {
        struct world *w = carry("256 KiB of chunks", &c, 4, MIB, 120 * PQ_SEC, seed + k);
        for (int i = 0; i < 2; i++)
            assert_true(w->end[i].chunks_high <= c.hub[i].memory);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean),      cmocka_unit_test(loss_1),        cmocka_unit_test(loss_5),
        cmocka_unit_test(loss_10),    cmocka_unit_test(reorder),       cmocka_unit_test(duplicates),
        cmocka_unit_test(corruption), cmocka_unit_test(everything),    cmocka_unit_test(overload),
        cmocka_unit_test(reno),       cmocka_unit_test(ciphers),       cmocka_unit_test(modes),
        cmocka_unit_test(mtus),       cmocka_unit_test(tiny_windows),  cmocka_unit_test(fec),
        cmocka_unit_test(glued),      cmocka_unit_test(little_memory),
    };
    int failed = ut_run(tests);
    world_frames = true;
    return failed + ut_run(tests);
}
