/* SPDX-License-Identifier: MIT */
/* test_size.c - our own wire on paths that swallow what is too long, from the start or from some
 * time on, and tell nobody: how long it takes to notice, how much is carried then, and what is not
 * taken for such a path [12.11]. */
#include "flow.h"
#include "tunnel/syns.h"
#include "tunnel/tunnel_internal.h"
#include "world.h"

#define RATE ((uint64_t)100 * 1000 * 1000 / 8 / UT_LESS)
#define LINK 14         /* bytes of a frame in front of its IP packet */
#define FULL (1350 - 8) /* bytes of a datagram; the rest is kept for FEC */
#define HEAD 52         /* of IP and TCP */
#define NEAR                                                                                       \
    (ut_slow() ? 50U : 12U) /* bytes for which nobody looks; a tenth of the packets looks less */
#define ENDING ((uint64_t)1 << 40)

static struct pq_syns *syns; /* of a server that has answered none before */

/* 100 Mbit/s, RTT 40 ms, IP packets of `mtu` bytes at most; 0: of any size. */
static struct world_conf conf(uint64_t mtu)
{
    struct world_conf c = world_keyed(20 * PQ_MS);
    world_no_syns(&syns);
    c.hub[SERVER].syns = syns;
    for (int i = 0; i < 2; i++) {
        c.link[i].rate = RATE;
        c.link[i].queue = RATE / 10;
        c.link[i].mtu = mtu ? mtu + LINK : 0;
        c.hub[i].kcp.snd_wnd = c.hub[i].kcp.rcv_wnd = 16384;
        c.hub[i].kcp.congestion = PQ_CONGESTION_BBR;
        c.hub[i].smux.session_buf = 64 << 20;
        c.hub[i].smux.stream_buf = 32 << 20;
        c.hub[i].smux.keepalive = 10 * PQ_SEC;
        c.hub[i].smux.timeout = 30 * PQ_SEC;
        c.hub[i].memory = (size_t)512 << 20;
        c.hub[i].fec_auto = true;
        c.hub[i].rmem = 6U << 20;
        c.hub[i].link_mtu = 1500;
        c.hub[i].look = PQ_LOOK_PLAUSIBLE;
    }
    return c;
}

static void set_mtu(struct world *w, uint64_t mtu)
{
    for (int i = 0; i < 2; i++)
        w->end[i].out.conf.mtu = mtu ? mtu + LINK : 0;
}

static struct pq_session *session(const struct world *w, unsigned side)
{
    const struct pq_hub *h = world_hub(&w->end[side], 0);
    assert_false(pq_list_empty(&h->sessions));
    return PQ_OF(h->sessions.next, struct pq_session, node);
}

/* Bytes of its datagrams. */
static unsigned size_of(const struct world *w, unsigned side)
{
    return pq_kcp_size(session(w, side)->kcp) + PQ_SEAL_HEAD + PQ_SEAL_TAIL;
}

static unsigned falls(const struct world *w, unsigned side)
{
    return pq_kcp_shrunk(session(w, side)->kcp);
}

/* What fits, but for what is not worth to look for. */
static void expect_size(const struct world *w, unsigned side, uint64_t mtu)
{
    const unsigned fits = mtu && mtu < FULL + HEAD + 8 ? (unsigned)mtu - HEAD - 8 : FULL;
    assert_in_range(size_of(w, side), fits - NEAR, fits + 8);
}

static struct world *begin(const struct world_conf *c, uint64_t seed)
{
    struct world *w = world_new(c, seed);
    world_open(w, 300, 1)->keep_open = true; /* a PING, roughly */
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_transferred));
    return w;
}

/* Mbit/s that a half receives meanwhile. */
static double rate(struct world *w, const struct half *h, pq_ns in)
{
    const uint64_t before = h->rx_at;
    world_run(w, w->now + in, NULL);
    return (double)(h->rx_at - before) * 8e3 / (double)in * UT_LESS;
}

/* How long nothing arrives: runs for `in`. */
static pq_ns longest_wait(struct world *w, const struct half *h, pq_ns in)
{
    const pq_ns end = w->now + in;
    pq_ns longest = 0, last = w->now;
    uint64_t before = h->rx_at;
    while (w->now < end) {
        world_run(w, w->now + PQ_MS, NULL);
        last = h->rx_at > before ? w->now : last;
        longest = w->now - last > longest ? w->now - last : longest;
        before = h->rx_at;
    }
    return longest;
}

static double ms(pq_ns t)
{
    return (double)t / (double)PQ_MS;
}

/* ---- a narrow path from the start */

static void from_the_start(void **state)
{
    (void)state;
    static const uint64_t mtus[] = {0, 1402, 1400, 1393, 1340, 1288, 1252};
    for (size_t i = 0; i < COUNT_OF(mtus); i++) {
        const struct world_conf c = conf(mtus[i]);
        struct world *w = begin(&c, ut_seed("start"));
        struct half *down = world_open(w, 100, ENDING);
        const pq_ns asked = w->now;
        while (!down->rx_at && w->now < asked + 10 * PQ_SEC)
            world_run(w, w->now + PQ_MS, NULL);
        const pq_ns first = w->now - asked;
        const pq_ns wait = longest_wait(w, down, 2 * PQ_SEC);
        const double r = rate(w, down, 2 * PQ_SEC);
        printf("MTU %llu: first byte after %.0f ms, then %.0f ms without one at most; %u up, %u "
               "down, %.1f Mbit/s; %llu too long\n",
               (unsigned long long)mtus[i], ms(first), ms(wait), size_of(w, CLIENT),
               size_of(w, SERVER), r, (unsigned long long)w->end[SERVER].out.stats.too_long);
        for (unsigned k = 0; k < 2; k++) {
            expect_size(w, k, mtus[i]);
            assert_true(w->end[k].out.stats.too_long <= 20);
            assert_int_equal(falls(w, k), 0);
            assert_int_equal(session(w, k)->parts.next, 0); /* it takes none of the peer's help */
        }
        assert_true(first <= 60 * PQ_MS && (ut_slow() || wait <= 60 * PQ_MS));
        assert_true(ut_slow() || r >= 90);
        world_free(w);
    }
}

/* ---- it becomes narrow */

static void from_the_middle(void **state)
{
    (void)state;
    static const struct {
        uint64_t mtu;
        enum pq_look look;
        unsigned loss;
    } t[] = {{1402, PQ_LOOK_PLAUSIBLE, 0},  {1380, PQ_LOOK_PLAUSIBLE, 0},
             {1300, PQ_LOOK_PLAUSIBLE, 0},  {1288, PQ_LOOK_PLAUSIBLE, 0},
             {1252, PQ_LOOK_PLAUSIBLE, 0},  {1300, PQ_LOOK_CONNECT, 0},
             {1300, PQ_LOOK_PLAUSIBLE, 20}, {1300, PQ_LOOK_PLAUSIBLE, 100}};
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct world_conf c = conf(0);
        c.hub[CLIENT].look = t[i].look;
        for (int k = 0; k < 2; k++)
            c.link[k].loss = t[i].loss;
        struct world *w = begin(&c, ut_seed("middle"));
        struct half *down = world_open(w, 100, ENDING);
        world_run(w, w->now + 2 * PQ_SEC, NULL);
        if (!t[i].loss)
            expect_size(w, SERVER, 0);
        set_mtu(w, t[i].mtu);
        const pq_ns wait = longest_wait(w, down, 3 * PQ_SEC);
        const double r = rate(w, down, 2 * PQ_SEC);
        printf("MTU %llu from the middle on, %s, %.0f %% loss: %.0f ms without a byte, then %u, "
               "%.1f Mbit/s\n",
               (unsigned long long)t[i].mtu, t[i].look == PQ_LOOK_CONNECT ? "connect" : "plausible",
               t[i].loss / 10.0, ms(wait), size_of(w, SERVER), r);
        assert_true(wait <= (t[i].loss ? 800 : 400) * PQ_MS);
        assert_true(ut_slow() || t[i].loss || r >= 88);
        if (!t[i].loss)
            expect_size(w, SERVER, t[i].mtu);
        const unsigned times = t[i].mtu == 1402 ? 0 : 1;
        assert_in_range(falls(w, SERVER), times, times + ut_slow());
        world_free(w);
    }
}

/* Every byte that was on its way, both ways, and as frames of several streams. */
static void whole_streams(void **state)
{
    (void)state;
    const struct world_conf c = conf(0);
    struct world *w = begin(&c, ut_seed("whole"));
    for (unsigned i = 0; i < 8; i++)
        world_open(w, 1000000 + 77777 * i, 3000000 - 99999 * i);
    world_run(w, w->now + PQ_SEC, NULL);
    set_mtu(w, 1300);
    world_run(w, w->now + 300 * PQ_MS, NULL);
    set_mtu(w, 1270);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_transferred));
    half_close(&w->half[CLIENT][0], false);
    assert_true(world_run(w, w->now + 5 * PQ_SEC, world_closed));
    world_check(w);
    world_free(w);
}

/* It has become narrow while nothing went, and then more is sent at once than a young connection's
 * window holds. */
static void small_window(void **state)
{
    (void)state;
    for (unsigned up = 0; up < 2; up++) {
        struct world_conf c = conf(0);
        c.hub[CLIENT].look = PQ_LOOK_CONNECT;
        struct world *w = begin(&c, ut_seed("window"));
        world_run(w, w->now + PQ_SEC, NULL);
        set_mtu(w, 1300);
        const pq_ns asked = w->now;
        world_open(w, up ? 500000 : 100, up ? 100 : 500000);
        assert_true(world_run(w, w->now + 10 * PQ_SEC, world_transferred));
        printf("small window, %s: %.0f ms\n", up ? "up" : "down", ms(w->now - asked));
        assert_true(w->now - asked <= 800 * PQ_MS);
        assert_int_equal(w->end[CLIENT].moved, 0);
        world_free(w);
    }
}

/* One that has little to send, but now and then a long packet. */
static void little(void **state)
{
    (void)state;
    const struct world_conf c = conf(0);
    struct world *w = begin(&c, ut_seed("little"));
    world_run(w, w->now + PQ_SEC, NULL);
    set_mtu(w, 1280);
    pq_ns most = 0;
    for (unsigned i = 0; i < 20; i++) {
        const pq_ns asked = w->now;
        const struct half *h = world_open(w, 1300, 1300);
        while (h->rx_at < 1300 && w->now < asked + 10 * PQ_SEC)
            world_run(w, w->now + PQ_MS, NULL);
        assert_int_equal(h->rx_at, 1300);
        most = w->now - asked > most ? w->now - asked : most;
        world_run(w, w->now + 100 * PQ_MS, NULL);
    }
    world_run(w, w->now + 2 * PQ_SEC, NULL);
    printf("little to send: an answer took %.0f ms at most; %u and %u\n", ms(most),
           size_of(w, CLIENT), size_of(w, SERVER));
    assert_true(most <= 500 * PQ_MS);
    expect_size(w, CLIENT, 1280);
    expect_size(w, SERVER, 1280);
    world_free(w);
}

/* After some minutes all is tried again. */
static void wide_again(void **state)
{
    (void)state;
    const struct world_conf c = conf(1300);
    struct world *w = begin(&c, ut_seed("wide"));
    world_run(w, w->now + 20 * PQ_SEC, NULL);
    expect_size(w, CLIENT, 1300);
    const uint64_t tried = w->end[CLIENT].out.stats.too_long;
    world_run(w, w->now + 500 * PQ_SEC, NULL);
    assert_int_equal(w->end[CLIENT].out.stats.too_long, tried);
    set_mtu(w, 0);
    world_run(w, w->now + 150 * PQ_SEC, NULL);
    expect_size(w, CLIENT, 0);
    expect_size(w, SERVER, 0);
    world_free(w);
}

/* ---- what is no such path */

static void losses(void **state)
{
    (void)state;
    static const struct {
        unsigned loss, seeds;
    } t[] = {{20, 1}, {200, 4}, {400, 2}};
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        for (unsigned seed = 0; seed < t[i].seeds; seed++) {
            struct world_conf c = conf(0);
            for (int k = 0; k < 2; k++)
                c.link[k].loss = t[i].loss;
            struct world *w = begin(&c, ut_seed("losses") + seed);
            world_open(w, 100, ENDING);
            world_open(w, ENDING, 100);
            world_run(w, w->now + (t[i].loss > 200 ? 5 : 8) * PQ_SEC, NULL);
            printf("%.0f %% loss: %u and %u falls\n", t[i].loss / 10.0, falls(w, CLIENT),
                   falls(w, SERVER));
            for (unsigned k = 0; k < 2; k++) {
                assert_true(falls(w, k) <= ut_slow()); /* a tenth of the packets tells less */
                expect_size(w, k, 0);
            }
            world_free(w);
        }
    }
}

/* What finds no room in a short queue, or at a policer, where a little shorter means a little more
 * room. */
static void full_queues(void **state)
{
    (void)state;
    static const uint64_t queue[] = {4000, 16000, 64000};
    for (size_t i = 0; i < 2 * COUNT_OF(queue); i++) {
        struct world_conf c = conf(0);
        for (int k = 0; k < 2; k++) {
            c.link[k].rate = RATE / 5;
            c.link[k].queue = queue[i / 2];
            c.link[k].policed = i % 2;
        }
        struct world *w = begin(&c, ut_seed("queues"));
        for (unsigned k = 0; k < 4; k++)
            world_open(w, ENDING, ENDING);
        world_run(w, w->now + 15 * PQ_SEC, NULL);
        const struct link_stats *s = &w->end[SERVER].out.stats;
        printf("queue of %llu bytes: %llu of %llu lost, %u and %u falls\n",
               (unsigned long long)queue[i / 2], (unsigned long long)s->overflow,
               (unsigned long long)s->given, falls(w, CLIENT), falls(w, SERVER));
        for (unsigned k = 0; k < 2; k++)
            assert_true(falls(w, k) <= ut_slow()); /* as above */
        world_free(w);
    }
}

/* Nothing passes for some time: at worst it is a round trip of smaller packets. */
static void blackout(void **state)
{
    (void)state;
    const struct world_conf c = conf(0);
    struct world *w = begin(&c, ut_seed("blackout"));
    struct half *down = world_open(w, 100, ENDING);
    w->end[CLIENT].stays = true;
    for (unsigned i = 0; i < 3; i++) {
        world_run(w, w->now + 2 * PQ_SEC, NULL);
        for (int k = 0; k < 2; k++)
            w->end[k].out.conf.cut = true;
        world_run(w, w->now + 700 * PQ_MS, NULL);
        for (int k = 0; k < 2; k++)
            w->end[k].out.conf.cut = false;
    }
    world_run(w, w->now + PQ_SEC, NULL);
    printf("after blackouts: %u falls\n", falls(w, SERVER));
    expect_size(w, SERVER, 0);
    assert_true(ut_slow() || rate(w, down, PQ_SEC) >= 85);
    world_free(w);
}

/* ---- what else is sent */

/* Every byte comes, whatever goes around the segments. */
static void with_fec(void **state)
{
    (void)state;
    struct world_conf c = conf(0);
    for (int i = 0; i < 2; i++) {
        c.hub[i].dshard = 10;
        c.hub[i].pshard = 3;
        c.link[i].loss = 20;
    }
    struct world *w = begin(&c, ut_seed("fec"));
    world_open(w, 6000000, 6000000);
    world_run(w, w->now + 300 * PQ_MS, NULL);
    set_mtu(w, 1290);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_transferred));
    for (unsigned k = 0; k < 2; k++)
        assert_true(size_of(w, k) + HEAD <= 1290 && session(w, k)->parts.next > 0);
    world_free(w);
}

/* They go beside the stream as before, in two parts where the path is narrow. */
static void datagrams(void **state)
{
    (void)state;
    const struct world_conf c = conf(0);
    struct world *w = begin(&c, ut_seed("datagrams"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    flow_settle(f);
    world_run(w, w->now + PQ_SEC, NULL);
    expect_size(w, CLIENT, 0);
    for (unsigned k = 0; k < 3; k++) { /* a wide path, the moment it is narrow, a narrow one */
        for (unsigned i = 0; i < 40; i++) {
            for (unsigned side = 0; side < 2; side++)
                assert_int_equal(flow_send(&f->end[side], i % 2 ? 1250 : 200), 0);
            world_run(w, w->now + 5 * PQ_MS, NULL);
        }
        world_run(w, w->now + 200 * PQ_MS, NULL);
        if (k)
            continue;
        assert_int_equal(flow_came(&f->end[SERVER]), 41); /* the first was to be known */
        set_mtu(w, 1280);
        world_open(w, 60000, 60000); /* so that it is noticed */
        world_run(w, w->now + 4 * PQ_SEC, NULL);
        expect_size(w, SERVER, 1280);
    }
    for (unsigned side = 0; side < 2; side++) {
        assert_int_equal(f->end[side].beside, 120);
        assert_int_equal(f->end[side].framed, side == SERVER);
    }
    flow_free(f);
    world_free(w);
}

/* Nothing else is sent: that they pass no more is noticed by a packet a second. */
static void datagrams_alone(void **state)
{
    (void)state;
    const struct world_conf c = conf(0);
    struct world *w = begin(&c, ut_seed("alone"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    flow_settle(f);
    world_run(w, w->now + PQ_SEC, NULL);
    for (unsigned k = 0; k < 3; k++) { /* a wide path, a narrow one, known for such */
        const unsigned came = flow_came(&f->end[SERVER]);
        unsigned gone = 0;
        const uint64_t before = w->end[CLIENT].out.stats.given;
        for (unsigned i = 0; i < 500; i++, gone++) {
            for (unsigned side = 0; side < 2; side++)
                assert_int_equal(flow_send(&f->end[side], 1250), 0);
            world_run(w, w->now + 10 * PQ_MS, NULL);
        }
        world_run(w, w->now + 200 * PQ_MS, NULL);
        const unsigned less = gone - (flow_came(&f->end[SERVER]) - came);
        const uint64_t more = w->end[CLIENT].out.stats.given - before - gone;
        printf("datagrams alone, %s: %u of %u lost, %llu packets more\n",
               k ? k > 1 ? "known" : "narrow" : "wide", less, gone, (unsigned long long)more);
        assert_true(k == 1 ? less <= 165 : less == 0);
        assert_true(k ? more <= 600 : more <= 16);
        if (!k)
            set_mtu(w, 1280);
    }
    for (unsigned side = 0; side < 2; side++) {
        expect_size(w, side, 1280);
        assert_int_equal(falls(w, side), 1);
        assert_int_equal(f->end[side].framed, side == SERVER);
    }
    flow_free(f);
    world_free(w);
}

/* ---- another path */

/* The client goes over to a narrow one, from another address; later back to a wide one. */
static void moves(void **state)
{
    (void)state;
    static const enum pq_look looks[] = {PQ_LOOK_PLAUSIBLE, PQ_LOOK_CONNECT};
    for (size_t i = 0; i < COUNT_OF(looks); i++) {
        struct world_conf c = conf(0);
        c.hub[CLIENT].look = looks[i];
        struct world *w = begin(&c, ut_seed("moves"));
        w->end[CLIENT].roams = true;
        struct half *down = world_open(w, 100, ENDING);
        world_open(w, ENDING, 100);
        world_run(w, w->now + 2 * PQ_SEC, NULL);
        static const uint64_t mtus[] = {1270, 0};
        for (size_t k = 0; k < COUNT_OF(mtus); k++) {
            set_mtu(w, mtus[k]);
            w->ses->watch.move_at = w->now;
            const pq_ns wait = longest_wait(w, down, 4 * PQ_SEC);
            const double r = rate(w, down, PQ_SEC);
            printf("moved, MTU %llu, %s: %.0f ms without a byte, then %.1f Mbit/s, %u and %u\n",
                   (unsigned long long)mtus[k], i ? "connect" : "plausible", ms(wait), r,
                   size_of(w, CLIENT), size_of(w, SERVER));
            assert_int_equal(w->end[CLIENT].moved, k + 1);
            assert_true(wait <= (ut_slow() ? 800 : 400) * PQ_MS);
            for (unsigned side = 0; side < 2; side++)
                expect_size(w, side, mtus[k]);
        }
        world_free(w);
    }
}

/* ---- somebody lets a long packet pass now and then, as a probe is, but none behind it */

static bool pass_lone(struct world *w, unsigned from, struct link_packet *k)
{
    static pq_ns last[2];
    if (k->len <= LINK + 1260)
        return true;
    const bool lone = w->now > last[from] + 2 * PQ_MS;
    last[from] = w->now;
    return lone;
}

static void probes_pass(void **state)
{
    (void)state;
    const struct world_conf c = conf(0);
    struct world *w = begin(&c, ut_seed("probes pass"));
    struct half *down = world_open(w, 100, ENDING);
    world_run(w, w->now + PQ_SEC, NULL);
    w->tap = pass_lone;
    const double r = rate(w, down, 8 * PQ_SEC);
    printf("probes pass: %.1f Mbit/s, %u times narrow\n", r, falls(w, SERVER));
    assert_true(ut_slow() || r >= 70);
    assert_in_range(falls(w, SERVER), 2, 3);
    world_free(w);
}

/* ---- a part of the long packets is lost, as where one of several ways is narrow */

struct choice {
    unsigned lost; /* of 1000 long ones */
    uint64_t rng;
};

static bool lose_long(struct world *w, unsigned from, struct link_packet *k)
{
    struct choice *c = w->tap_ctx;
    (void)from;
    return k->len <= LINK + 1260 || ut_below(&c->rng, 1000) >= c->lost;
}

/* Short ones are sent then; soon after it is over long ones again. */
static void most_are_lost(void **state)
{
    (void)state;
    static const struct {
        unsigned lost, loss;
        double least;
    } t[] = {{250, 0, 85}, {500, 0, 85}, {500, 50, 75}, {900, 0, 80}, {900, 100, 60}};
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct world_conf c = conf(0);
        for (int k = 0; k < 2; k++)
            c.link[k].loss = t[i].loss;
        struct world *w = begin(&c, ut_seed("most"));
        struct half *down = world_open(w, 100, ENDING);
        world_run(w, w->now + 2 * PQ_SEC, NULL);
        struct choice choice = {.lost = t[i].lost, .rng = ut_seed("choice")};
        w->tap_ctx = &choice;
        w->tap = lose_long;
        const double r = rate(w, down, 10 * PQ_SEC);
        const unsigned n = falls(w, SERVER);
        printf("%.0f %% of what is long lost, %.0f %% of all: %.1f Mbit/s, %u times narrow\n",
               t[i].lost / 10.0, t[i].loss / 10.0, r, n);
        assert_true(ut_slow() || r >= t[i].least);
        assert_in_range(n, 1, 2);
        choice.lost = 0;
        world_run(w, w->now + (i ? 0 : 12) * PQ_SEC, NULL);
        if (!i)
            expect_size(w, SERVER, 0);
        assert_int_equal(falls(w, SERVER), n);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_the_start), cmocka_unit_test(from_the_middle),
        cmocka_unit_test(whole_streams),  cmocka_unit_test(small_window),
        cmocka_unit_test(little),         cmocka_unit_test(wide_again),
        cmocka_unit_test(losses),         cmocka_unit_test(full_queues),
        cmocka_unit_test(blackout),       cmocka_unit_test(with_fec),
        cmocka_unit_test(datagrams),      cmocka_unit_test(datagrams_alone),
        cmocka_unit_test(moves),          cmocka_unit_test(probes_pass),
        cmocka_unit_test(most_are_lost),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("size", tests, NULL, NULL);
}
