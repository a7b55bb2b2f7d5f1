/* SPDX-License-Identifier: MIT */
/* test_lean.c - how much of a path our own wire uses, and with how few bytes in the other
 * direction: 12 s of downloads from a cold start with the program's own settings, one or four of
 * them, the latter beside requests of 64 bytes.  What is lost is lost in front of the queue, both
 * ways. */
#include "header/header.h"
#include "tunnel/syns.h"
#include "world.h"

#define MBIT     (1000.0 * 1000 / 8 / UT_LESS)
#define SECONDS  12
#define REQUESTS 400
#define SLACK    (ut_slow() ? 1.1 : 1) /* a packet takes longer on a path that is slower */

struct row {
    const char *name;
    double down, up;   /* Mbit/s */
    unsigned rtt;      /* ms */
    unsigned loss;     /* per mille */
    unsigned queue;    /* ms; of the way down */
    unsigned swing;    /* ms that the RTT is longer, for 5 s of each 10 */
    double one, four;  /* Mbit/s that are wanted at least; 0 = not looked at */
    unsigned p50, p99; /* ms that a request may take; of a hundred or so: the slowest but one */
    unsigned back; /* per mille of the bytes, at most, that go the other way; 0 = not looked at */
    bool connect;  /* with handshakes, and acknowledgements without data [12.9] */
    pq_ns late;    /* world.h */
    bool longer_first; /* of the swing: the path was shorter while nothing was sent */
    bool policed;      /* the way down has no queue, but so much may come at once */
    bool bursts;       /* of loss: link.h, ... */
    unsigned burst_at; /* ... the first so many ms after the downloads' begin; 0 = by chance */
};

static struct pq_syns *syns; /* of a server that has answered none before */

static struct world *make(const struct row *r, uint64_t seed)
{
    struct world_conf c = world_keyed(r->rtt * PQ_MS / 2);
    world_no_syns(&syns);
    c.hub[SERVER].syns = syns;
    const double rate[2] = {r->up * MBIT, r->down * MBIT};
    for (int i = 0; i < 2; i++) {
        c.link[i].loss = r->loss;
        c.link[i].loss_first = true;
        c.link[i].bursts = r->bursts;
        c.link[i].rate = (uint64_t)rate[i];
        c.link[i].queue = (uint64_t)(rate[i] * (i == CLIENT ? 100 : r->queue) / 1000);
        c.hub[i].kcp.snd_wnd = c.hub[i].kcp.rcv_wnd = 16384;
        c.hub[i].kcp.congestion = PQ_CONGESTION_BBR;
        c.hub[i].smux.session_buf = 64 << 20;
        c.hub[i].smux.stream_buf = 32 << 20;
        c.hub[i].memory = (size_t)512 << 20;
        c.hub[i].fec_auto = true;
    }
    c.link[SERVER].policed = r->policed;
    c.hub[CLIENT].look = r->connect ? PQ_LOOK_CONNECT : PQ_LOOK_PLAUSIBLE;
    c.hub[SERVER].look = PQ_LOOK_PLAUSIBLE;
    c.hub[CLIENT].rmem = c.hub[SERVER].rmem = 6U << 20;
    c.hub[CLIENT].link_mtu = c.hub[SERVER].link_mtu = 1500;
    struct world *w = world_new(&c, seed);
    w->late = r->late;
    w->late_rng = seed;
    return w;
}

static void set_delay(struct world *w, const struct row *r, pq_ns begin)
{
    const bool longer = r->swing && ((w->now - begin) / (5 * PQ_SEC) + r->longer_first) % 2;
    for (int i = 0; i < 2; i++)
        w->end[i].out.conf.delay = (r->rtt + (longer ? r->swing : 0)) * PQ_MS / 2;
}

static int by_time(const void *a, const void *b)
{
    pq_ns x = *(const pq_ns *)a, y = *(const pq_ns *)b;
    return x < y ? -1 : x > y;
}

struct result {
    double mbit;
    double p50, p99, back;
};

static struct result download(const struct row *r, unsigned n, uint64_t seed)
{
    static pq_ns took[REQUESTS];
    static pq_ns since;
    struct result out = {0};
    struct world *w = make(r, seed);
    world_open(w, 300, 1)->keep_open = true; /* a PING, roughly */
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_transferred));
    world_run(w, w->now + PQ_SEC, NULL);
    w->sloppy = true; /* at the server streams are numbered as they come, which is not in order */
    const pq_ns begin = w->now;
    unsigned asked = 0;
    struct half *ask = NULL;
    for (unsigned i = 0; i < n; i++)
        world_open(w, 100, (uint64_t)1 << 40);
    for (int i = 0; i < 2; i++)
        w->end[i].out.stats = (struct link_stats){0};
    if (r->burst_at)
        link_burst(&w->end[SERVER].out, begin + r->burst_at * PQ_MS);
    while (w->now < begin + SECONDS * PQ_SEC) {
        set_delay(w, r, begin);
        world_run(w, w->now + PQ_MS, NULL);
        if (n < 4 || w->now < begin + 2 * PQ_SEC)
            continue;
        if (ask && ask->rx_at == 64 && asked < REQUESTS)
            took[asked++] = w->now - since;
        if ((!ask || ask->rx_at == 64) && w->pairs < PAIRS_MAX) {
            ask = world_open(w, 64, 64);
            since = w->now;
        }
    }
    for (unsigned i = 1; i <= n; i++)
        out.mbit += (double)w->half[CLIENT][i].rx_at / MBIT / SECONDS;
    out.back =
        (double)w->end[CLIENT].out.stats.bytes * 1000 / (double)w->end[SERVER].out.stats.bytes;
    qsort(took, asked, sizeof took[0], by_time);
    if (asked) {
        const size_t middle = asked / 2, late = (size_t)asked * 99 / 100;
        out.p50 = (double)took[middle] / PQ_MS;
        out.p99 = (double)took[late] / PQ_MS;
    }
    world_free(w);
    return out;
}

/* name, down, up, RTT, loss, queue, swing; wanted: one and four, p50, p99, way back; connect, late,
 * longer_first, policed, bursts */
static const struct row rows[] = {
    {"100 down, 1 up, 1 %", 100, 1, 100, 10, 100, 0, 85, 87, 125, 250, 35, false, 0, false, false,
     false, 0},
    {"the same, connect", 100, 1, 100, 10, 100, 0, 82, 82, 125, 300, 35, true, 0, false, false,
     false, 0},
    {"200, 0 %", 200, 200, 100, 0, 100, 0, 175, 175, 105, 120, 20, false, 0, false, false, false,
     0},
    {"the same, late", 200, 200, 100, 0, 100, 0, 175, 175, 105, 120, 20, false, PQ_MS, false, false,
     false, 0},
    {"200, 5 %", 200, 200, 100, 50, 100, 0, 160, 170, 107, 300, 25, false, 0, false, false, false,
     0},
    {"200, 10 %", 200, 200, 100, 100, 100, 0, 155, 166, 107, 300, 25, false, 0, false, false, false,
     0},
    {"200, 20 %", 200, 200, 100, 200, 100, 0, 140, 150, 110, 350, 35, false, 0, false, false, false,
     0},
    {"200, 40 %", 200, 200, 100, 400, 100, 0, 85, 95, 140, 600, 50, false, 0, false, false, false,
     0},
    {"100, RTT 80-180", 100, 100, 80, 10, 100, 100, 85, 88, 110, 300, 50, false, 0, false, false,
     false, 0},
    {"10, RTT 120, 3 %", 10, 10, 120, 30, 100, 0, 8.7, 8.7, 135, 260, 0, false, 0, false, false,
     false, 0},
    {"20, 26 ms", 20, 200, 100, 0, 26, 0, 17.9, 17.9, 110, 200, 0, false, 0, false, false, false,
     0},
    {"20 policed", 20, 200, 100, 0, 26, 0, 17.7, 17.7, 110, 200, 0, false, 0, false, true, false,
     0},
    {"the same, late", 20, 200, 100, 0, 26, 0, 17.7, 17.7, 110, 200, 0, false, PQ_MS, false, true,
     false, 0},
    {"200, bursts 2 %", 200, 200, 100, 20, 100, 0, 0, 165, 110, 450, 20, false, 0, false, false,
     true, 0},
    {"100, bursts 5 %", 100, 100, 40, 50, 100, 0, 0, 80, 50, 400, 20, false, 0, false, false, true,
     0},
};

static void check(const struct row *r, unsigned n)
{
    const struct result x = download(r, n, ut_seed(r->name));
    printf("%-20s %u: %6.1f Mbit/s, requests p50 %.0f ms, p99 %.0f ms, back %.1f per mille\n",
           r->name, n, x.mbit, x.p50, x.p99, x.back);
    assert_true(x.mbit >= (n == 1 ? r->one : r->four));
    assert_true(x.p50 <= r->p50 * SLACK && x.p99 <= r->p99 * SLACK);
    assert_true(!r->back || x.back <= r->back);
}

static void four_downloads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (!ut_slow() || i == 4 || i == 7) /* the others want their rate */
            check(&rows[i], 4);
}

/* One stream alone must not wait for what it has lost itself. */
static void one_download(void **state)
{
    (void)state;
    static const size_t which[] = {0, 1, 5, 7, 8};
    for (size_t i = 0; i < COUNT_OF(which); i++)
        if (!ut_slow() || which[i] > 1) /* a tenth of 1 Mbit/s is too little for so many ACKs */
            check(&rows[which[i]], 1);
}

/* A queue that overflows makes a hole each few packets: what is acknowledged of them must not fill
 * the narrow way up, or nothing is known of the way down for a while, and all is sent again. */
static void narrow_way_up(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 4 && !ut_slow(); i++) {
        const struct result x = download(&rows[1], 4, UINT64_C(1000003) * i);
        printf("%-20s 4: %6.1f Mbit/s, requests p50 %.0f ms, p99 %.0f ms\n", rows[1].name, x.mbit,
               x.p50, x.p99);
        assert_true(x.mbit >= 82 && x.p99 <= 300);
    }
}

/* What was seen of the path while there was little to send is long over. */
static void longer_since(void **state)
{
    (void)state;
    const struct row r = {.name = "longer since",
                          .down = 100,
                          .up = 100,
                          .rtt = 80,
                          .loss = 10,
                          .queue = 100,
                          .swing = 100,
                          .longer_first = true};
    for (unsigned n = 1; n <= 4 && !ut_slow(); n += 3) {
        const struct result x = download(&r, n, ut_seed(r.name));
        printf("%-20s %u: %6.1f Mbit/s\n", r.name, n, x.mbit);
        assert_true(x.mbit >= 75);
    }
}

/* All is lost for a while just as a download begins: that does not show what the path carries. */
static void burst_at_start(void **state)
{
    (void)state;
    for (unsigned ms = 200; ms <= 600; ms += 50) {
        const struct row r = {.name = "200, burst at start",
                              .down = 200,
                              .up = 200,
                              .rtt = 100,
                              .loss = 50,
                              .queue = 100,
                              .bursts = true,
                              .burst_at = ms};
        const struct result x = download(&r, 4, ut_seed(r.name));
        printf("%-20s 4: %6.1f Mbit/s after %u ms, requests p50 %.0f ms, p99 %.0f ms\n", r.name,
               x.mbit, ms, x.p50, x.p99);
        assert_true(x.mbit >= 130);
    }
}

/* What is sent late goes all the same, so that a thread that is not run in time (a full machine, a
 * cheap VPS) costs no speed. */
static void busy_machines(void **state)
{
    (void)state;
    const struct row r = {
        .name = "busy", .down = 200, .up = 200, .rtt = 100, .loss = 50, .queue = 100};
    struct world *w = make(&r, ut_seed(r.name));
    world_open(w, 300, 1)->keep_open = true;
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_transferred));
    w->sloppy = true;
    w->tick = 5 * PQ_MS;
    world_open(w, 100, (uint64_t)1 << 40);
    world_run(w, w->now + SECONDS * PQ_SEC, NULL);
    const double mbit = (double)w->half[CLIENT][1].rx_at / MBIT / SECONDS;
    printf("%-20s 1: %6.1f Mbit/s\n", r.name, mbit);
    assert_true(mbit >= 150);
    world_free(w);
}

/* The same where it is late each time, by more than the round trip takes. */
static void starved_machines(void **state)
{
    (void)state;
    static const unsigned rtt[] = {10, 100}, tick[] = {10, 50};
    for (unsigned i = 0; i < 4; i++) {
        const struct row r = {
            .name = "starved", .down = 30, .up = 30, .rtt = rtt[i % 2], .queue = 200};
        struct world *w = make(&r, ut_seed(r.name));
        w->sloppy = true;
        w->tick = tick[i / 2] * PQ_MS;
        world_open(w, 100, (uint64_t)1 << 40);
        world_run(w, w->now + SECONDS * PQ_SEC, NULL);
        const double mbit = (double)w->half[CLIENT][0].rx_at / MBIT / SECONDS;
        printf("%-20s 1: %6.1f Mbit/s\n", r.name, mbit);
        assert_true(mbit >= 20);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_downloads),   cmocka_unit_test(one_download),
        cmocka_unit_test(longer_since),     cmocka_unit_test(narrow_way_up),
        cmocka_unit_test(burst_at_start),   cmocka_unit_test(busy_machines),
        cmocka_unit_test(starved_machines),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("lean", tests, NULL, NULL);
}
