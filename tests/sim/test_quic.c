/* SPDX-License-Identifier: MIT */
/* test_quic.c - two QUIC ends over modelled paths, in virtual time: rates, waits, blackouts. */
#include "quic/quic_internal.h"
#include "quic_world.h"

#define RATE    ((uint64_t)200 * 1000 * 1000 / 8 / UT_LESS)
#define SECONDS 15
#define MBIT    (1e6 / UT_LESS) /* of a slow machine: what it would be at the full rate */
#define ECHO    0               /* of the client's streams, the one that waits for answers */

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
    const struct link_stats *l = &w->side[CLIENT].out.stats;
    printf("%s: %.1f Mbit/s; srtt %.1f ms, cwnd %u, sent %llu, lost %llu, overflow %llu\n", what,
           rate, (double)s.srtt / (double)PQ_MS, s.cwnd, (unsigned long long)s.sent,
           (unsigned long long)s.lost, (unsigned long long)l->overflow);
}

/* Mbit/s of one upload, from the first packet of the handshake on. */
static double upload(const struct qw_conf *c, int seconds, const char *what)
{
    struct qw *w = qw_new(c);
    qw_connect(w);
    qw_open(&w->side[CLIENT], UINT64_C(1) << 40);
    qw_run(w, w->now + (pq_ns)seconds * PQ_SEC, NULL);
    const double rate = mbit(qw_received(&w->side[SERVER]), seconds);
    report(w, what, rate);
    qw_free(w);
    return rate;
}

static void rates(void **state)
{
    (void)state;
    static const struct {
        unsigned loss;
        double least;
    } goals[] = {{0, 175}, {10, 165}, {50, 157}, {100, 147}};
    for (size_t i = 0; i < COUNT_OF(goals); i++) {
        const struct qw_conf c = wan(goals[i].loss);
        char what[32];
        snprintf(what, sizeof what, "loss %u per mille", goals[i].loss);
        assert_true(upload(&c, SECONDS, what) >= goals[i].least);
    }
}

static uint64_t of_size[PQ_QUIC_SIZE_MAX + 1];

static bool note_size(struct qw *w, int from, uint8_t *p, size_t *n)
{
    (void)w;
    (void)p;
    of_size[*n] += from == CLIENT;
    return true;
}

/* What goes out in bulk is of one length, also beside acknowledgements and repairs: the kernel, or
 * the card, cuts such runs. */
static void one_length(void **state)
{
    (void)state;
    struct qw_conf c = wan(10);
    struct qw *w = qw_new(&c);
    qw_up(w);
    w->side[SERVER].echo = true;
    qw_open(&w->side[CLIENT], UINT64_C(1) << 40);
    qw_run(w, w->now + 2 * PQ_SEC, NULL);
    memset(of_size, 0, sizeof of_size);
    w->tap = note_size;
    qw_run(w, w->now + 2 * PQ_SEC, NULL);
    uint64_t all = 0;
    size_t top = 0;
    for (size_t i = 200; i < COUNT_OF(of_size); i++) { /* shorter ones acknowledge */
        all += of_size[i];
        top = of_size[i] ? i : top;
    }
    printf("%llu of %llu datagrams have %zu bytes\n", (unsigned long long)of_size[top],
           (unsigned long long)all, top);
    assert_int_equal(top, 1350);
    assert_true(of_size[top] * 100 >= all * 97);
    qw_free(w);
}

/* ngtcp2's own, by choice: for comparison. */
static void cubic(void **state)
{
    (void)state;
    struct qw_conf c = wan(0);
    c.end[CLIENT].cc = PQ_QUIC_CUBIC;
    assert_true(upload(&c, 6, "cubic") >= 140);
}

/* Fast and slow, short and long. */
static void paths(void **state)
{
    (void)state;
    static const struct {
        double mbit, rtt; /* ms */
        unsigned loss;
        double least;
    } is[] = {{1000, 0.2, 0, 850}, {1000, 5, 0, 800}, {1000, 20, 0, 650}, {5, 200, 30, 4}};
    const size_t n = COUNT_OF(is) - ut_slow(); /* a tenth of 5 Mbit/s is another kind of path */
    for (size_t i = 0; i < n; i++) {
        struct qw_conf c = wan(is[i].loss);
        for (int k = 0; k < 2; k++) {
            c.link[k].rate = (uint64_t)(is[i].mbit * MBIT / 8);
            c.link[k].queue = c.link[k].rate / 10;
            c.link[k].delay = (pq_ns)(is[i].rtt * 0.5 * (double)PQ_MS);
        }
        char what[48];
        snprintf(what, sizeof what, "%.0f Mbit/s, RTT %.1f ms", is[i].mbit, is[i].rtt);
        assert_true(upload(&c, is[i].mbit > 100 ? 1 : SECONDS, what) >= is[i].least);
    }
}

/* A receiver that takes 300 Mbit/s and keeps no more than 208 KB: what it drops is no reason to
 * send more. */
static void slow_receiver(void **state)
{
    (void)state;
    struct qw_conf c = wan(0);
    for (int k = 0; k < 2; k++) {
        c.link[k].rate = 300000000 / 8;
        c.link[k].queue = 208000;
        c.link[k].delay = 150 * PQ_US;
    }
    struct qw *w = qw_new(&c);
    qw_up(w);
    qw_open(&w->side[CLIENT], UINT64_C(1) << 40);
    qw_run(w, w->now + 3 * PQ_SEC / UT_LESS, NULL);
    const double rate = mbit(qw_received(&w->side[SERVER]), 3);
    report(w, "slow receiver", rate);
    const struct link_stats *l = &w->side[CLIENT].out.stats;
    assert_true(rate >= 230);
    assert_true(l->overflow * 33 < l->given); /* 3 % */
    qw_free(w);
}

/* The same path, but it loses whatever is sent: that is not the receiver. */
static void short_and_lossy(void **state)
{
    (void)state;
    struct qw_conf c = wan(50);
    for (int k = 0; k < 2; k++)
        c.link[k].delay = 1500 * PQ_US;
    assert_true(upload(&c, 5, "RTT 3 ms, loss 5 %") >= 100);
}

/* A server that others keep from running most of the time (a full machine, a cheap VPS): what the
 * path could have carried meanwhile goes all the same. */
static void starved_machines(void **state)
{
    (void)state;
    static const struct {
        unsigned stopped, period, rtt; /* ms */
    } is[] = {{12, 15, 10}, {12, 15, 100}, {45, 50, 10}, {45, 50, 100}};
    for (size_t i = 0; i < COUNT_OF(is); i++) {
        struct qw_conf c = wan(0);
        for (int k = 0; k < 2; k++) {
            c.link[k].rate = (uint64_t)(30 * MBIT / 8);
            c.link[k].queue = c.link[k].rate / 5;
            c.link[k].delay = is[i].rtt * PQ_MS / 2;
        }
        struct qw *w = qw_new(&c);
        qw_up(w);
        qw_run(w, w->now + PQ_SEC, NULL);
        w->side[SERVER].stopped = is[i].stopped * PQ_MS;
        w->side[SERVER].period = is[i].period * PQ_MS;
        qw_open(&w->side[SERVER], UINT64_C(1) << 40);
        qw_run(w, w->now + SECONDS * PQ_SEC, NULL);
        const double rate = mbit(qw_received(&w->side[CLIENT]), SECONDS);
        printf("stopped %u of %u ms, RTT %u: %.1f Mbit/s\n", is[i].stopped, is[i].period, is[i].rtt,
               rate);
        assert_true(rate >= 20);
        qw_free(w);
    }
}

/* ---- beside each other */

static pq_ns asked_at, took[60];
static size_t n_took;

static bool was_answered(const struct qw *w)
{
    return w->side[CLIENT].s[ECHO].rx == w->side[CLIENT].s[ECHO].sent;
}

static int by_time(const void *a, const void *b)
{
    const pq_ns x = *(const pq_ns *)a, y = *(const pq_ns *)b;
    return x < y ? -1 : x > y;
}

/* An echo of 64 bytes beside four downloads that fill the path. */
static void echo_beside_downloads(unsigned loss, pq_ns median, pq_ns nearly_all)
{
    struct qw_conf c = wan(loss);
    struct qw *w = qw_new(&c);
    w->side[SERVER].echo = true;
    qw_connect(w);
    struct qw_stream *echo = qw_hold(&w->side[CLIENT], 64);
    assert_true(qw_run(w, w->now + 5 * PQ_SEC, was_answered));
    w->side[SERVER].echo = false;
    for (int i = 0; i < 4; i++)
        qw_open(&w->side[SERVER], UINT64_C(1) << 40);
    qw_run(w, w->now + 2 * PQ_SEC, NULL);
    for (n_took = 0; n_took < COUNT_OF(took); n_took++) {
        asked_at = w->now;
        echo->to_send += 64;
        assert_true(qw_run(w, w->now + 5 * PQ_SEC, was_answered));
        took[n_took] = w->now - asked_at;
        qw_run(w, w->now + 10 * PQ_MS, NULL);
    }
    qsort(took, n_took, sizeof took[0], by_time);
    printf("echo beside four downloads, loss %u per mille: p50 %.1f, p90 %.1f, max %.1f ms\n", loss,
           (double)took[30] / (double)PQ_MS, (double)took[54] / (double)PQ_MS,
           (double)took[59] / (double)PQ_MS);
    assert_true(took[30] <= median);
    assert_true(took[54] <= nearly_all);
    qw_free(w);
}

static void echoes(void **state)
{
    (void)state;
    echo_beside_downloads(0, 108 * PQ_MS, 130 * PQ_MS);
    echo_beside_downloads(50, 110 * PQ_MS, 260 * PQ_MS);
}

/* ---- streams that nobody reads */

static uint64_t unread(const struct qw_side *e)
{
    uint64_t all = 0;
    for (size_t i = 0; i < e->n; i++)
        all += e->s[i].st ? e->s[i].unread : 0;
    return all;
}

static size_t cut(const struct qw_side *e)
{
    size_t n = 0;
    for (size_t i = 0; i < e->n; i++)
        n += e->s[i].cut;
    return n;
}

/* The client stops reading `n` downloads, once buffers have taken some. */
static struct qw *deaf_readers(unsigned n, uint64_t after)
{
    struct qw_conf c = wan(0);
    c.link[SERVER].rate = 200000000 / 8; /* of every machine: buffers have to be full */
    c.link[SERVER].queue = c.link[SERVER].rate / 10;
    struct qw *w = qw_new(&c);
    qw_up(w);
    w->side[CLIENT].deaf = true;
    w->side[CLIENT].deaf_after = after;
    for (unsigned i = 0; i < n; i++)
        qw_open(&w->side[SERVER], UINT64_C(1) << 40);
    qw_run(w, w->now + 4 * PQ_SEC, NULL);
    w->side[CLIENT].deaf = false;
    return w;
}

/* Some: the others notice nothing of it. */
static void some_unread(void **state)
{
    (void)state;
    struct qw *w = deaf_readers(40, 300000);
    struct qw_side *e = &w->side[CLIENT];
    const uint64_t before = qw_received(e), lies = unread(e);
    qw_open(&w->side[SERVER], UINT64_C(1) << 40);
    qw_run(w, w->now + 3 * PQ_SEC, NULL);
    const double rate = mbit(qw_received(e) - before, 3);
    printf("%.1f MB unread of 40 streams, beside them %.1f Mbit/s\n", (double)lies / 1e6, rate);
    assert_in_range(lies, 30 << 20, 48 << 20);
    assert_int_equal(cut(e), 0);
    assert_true(rate >= 40); /* with what is left for it */
    qw_free(w);
}

/* So many that what they may keep is full: not more, and those with most are cut once others have
 * waited for seconds. */
static void many_unread(void **state)
{
    (void)state;
    struct qw *w = deaf_readers(500, 0);
    struct qw_side *e = &w->side[CLIENT];
    const uint64_t full = unread(e);
    const size_t n = e->n;
    assert_in_range(full, (60 << 20) - (60 << 20) / 8, 60 << 20);
    qw_open(&w->side[SERVER], 1 << 17);
    qw_run(w, w->now + 20 * PQ_SEC, NULL);
    printf("%.1f MB unread of 500 streams, then %.1f, %zu cut\n", (double)full / 1e6,
           (double)unread(e) / 1e6, cut(e));
    assert_in_range(cut(e), 1, 300);
    assert_true(unread(e) <= 60 << 20);
    assert_true(e->n > n && e->s[e->n - 1].eof);
    assert_true(w->side[SERVER].s[0].stop);
    qw_free(w);
}

/* ---- what paths do */

static void blackout(pq_ns length)
{
    struct qw_conf c = wan(10);
    struct qw *w = qw_new(&c);
    qw_up(w);
    qw_open(&w->side[CLIENT], UINT64_C(1) << 40);
    qw_open(&w->side[SERVER], UINT64_C(1) << 40);
    qw_run(w, w->now + 3 * PQ_SEC, NULL);
    for (int i = 0; i < 2; i++)
        w->side[i].out.conf.cut = true;
    qw_run(w, w->now + length, NULL);
    for (int i = 0; i < 2; i++)
        w->side[i].out.conf.cut = false;
    qw_run(w, w->now + PQ_SEC + length, NULL); /* a probe goes out by then */
    uint64_t before[2], after[2];
    for (int i = 0; i < 2; i++)
        before[i] = qw_received(&w->side[i]);
    qw_run(w, w->now + PQ_SEC, NULL);
    for (int i = 0; i < 2; i++)
        after[i] = qw_received(&w->side[i]);
    printf("after a blackout of %.1f s: %.0f and %.0f Mbit/s\n", (double)length / (double)PQ_SEC,
           mbit(after[0] - before[0], 1), mbit(after[1] - before[1], 1));
    for (int i = 0; i < 2; i++)
        assert_true(mbit(after[i] - before[i], 1) >= 110);
    qw_free(w);
}

static void blackouts(void **state)
{
    (void)state;
    blackout(300 * PQ_MS);
    blackout(2 * PQ_SEC);
    blackout(7 * PQ_SEC);
}

static void reordered_and_doubled(void **state)
{
    (void)state;
    struct qw_conf c = wan(10);
    for (int i = 0; i < 2; i++) {
        c.link[i].reorder = 50;
        c.link[i].reorder_by = 5 * PQ_MS;
        c.link[i].dup = 20;
        c.link[i].corrupt = 5;
    }
    struct qw *w = qw_new(&c);
    w->side[SERVER].echo = true;
    qw_connect(w);
    qw_open(&w->side[CLIENT], (20U << 20) / UT_LESS);
    assert_true(qw_run(w, w->now + 20 * PQ_SEC, qw_both_got_all));
    printf("reordered, doubled, changed: to and fro in %.1f s\n",
           (double)(w->now - QW_T0) / (double)PQ_SEC);
    qw_free(w);
}

static bool every_other(struct qw *w, int from, uint8_t *p, size_t *n)
{
    static uint64_t count;
    (void)p;
    return from == SERVER || *n < 1000 ||
           w->side[CLIENT].packets_out > (ut_slow() ? 10000 : 40000) || count++ % 2;
}

/* More holes at once than ngtcp2 takes, of a sender that does not mind. */
static void holes(void **state)
{
    (void)state;
    struct qw_conf c = wan(0);
    c.link[CLIENT].rate = 0;
    struct qw *w = qw_new(&c);
    qw_up(w);
    w->side[SERVER].echo = true;
    w->tap = every_other;
    qw_open(&w->side[CLIENT], (40U << 20) / (ut_slow() ? 4 : 1));
    uint32_t most = 0;
    for (int i = 0; i < 5000 && !qw_both_got_all(w); i++) {
        w->side[CLIENT].q->cc.spread = PQ_CC_CWND_MAX;
        qw_run(w, w->now + 10 * PQ_MS, NULL);
        const struct qw_stream *s = &w->side[SERVER].s[0];
        if (w->side[SERVER].n && s->st && s->st->n_holes > most)
            most = s->st->n_holes;
    }
    printf("%u holes at once, then to and fro after %.1f s\n", most,
           (double)(w->now - QW_T0) / (double)PQ_SEC);
    assert_true(qw_both_got_all(w));
    assert_int_equal(most, 900);
    qw_free(w);
}

/* Keys change again and again, and so do ids, while much is sent. */
static void keys_and_ids(void **state)
{
    (void)state;
    struct qw_conf c = wan(10);
    struct qw *w = qw_new(&c);
    w->side[SERVER].echo = true;
    qw_up(w);
    qw_open(&w->side[CLIENT], (60U << 20) / (ut_slow() ? 4 : 1));
    int changed = 0, moved = 0;
    for (int i = 0; i < 400 && !qw_both_got_all(w); i++) {
        struct pq_quic *q = w->side[CLIENT].q;
        changed += ngtcp2_conn_initiate_key_update(q->conn, w->now) == 0;
        struct pq_quic_path path = {w->side[CLIENT].addr, w->side[SERVER].addr};
        path.local.port = (uint16_t)(41000 + i);
        moved += i % 4 == 3 && pq_quic_move(q, &path, true, w->now) == 0;
        w->side[CLIENT].addr.port = w->side[CLIENT].last.local.port;
        qw_run(w, w->now + 200 * PQ_MS, NULL);
        assert_true(q->n_ids <= 8);
    }
    assert_true(qw_run(w, w->now + 60 * PQ_SEC, qw_both_got_all));
    printf("keys changed %d times, paths %d times\n", changed, moved);
    assert_true(changed >= 5 && moved >= 3);
    assert_true(w->side[CLIENT].packets_out + w->side[SERVER].packets_out > 100000 / UT_LESS);
    qw_free(w);
}

/* ---- little is sent */

/* Over a short path questions follow each other closely, each of 100 bytes and answered a little
 * later: what acknowledges a packet goes with the next one that the same side sends.  But a lone
 * one is acknowledged soon, too. */
static void questions(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    for (int i = 0; i < 2; i++)
        c.link[i].delay = 50 * PQ_US;
    struct qw *w = qw_new(&c);
    struct qw_side *a = &w->side[CLIENT], *b = &w->side[SERVER];
    qw_up(w);
    struct qw_stream *s = qw_hold(a, 100);
    qw_run(w, w->now + PQ_SEC, NULL);
    const uint64_t before[2] = {a->packets_out, b->packets_out};
    for (int i = 0; i < 1000; i++) {
        s->to_send += 100;
        qw_run(w, w->now + 150 * PQ_US, NULL);
        b->s[0].to_send += 100;
        qw_run(w, w->now + 150 * PQ_US, NULL);
    }
    const uint64_t up = a->packets_out - before[0], down = b->packets_out - before[1];
    printf("1000 questions and answers: %llu packets up, %llu down\n", (unsigned long long)up,
           (unsigned long long)down);
    assert_int_equal(b->s[0].rx, s->to_send);
    assert_int_equal(s->rx, b->s[0].to_send);
    assert_true(up <= 1300 && down <= 1300);
    s->to_send += 100;
    qw_run(w, w->now + 3 * PQ_MS / 2, NULL);
    assert_int_equal(s->acked, s->to_send);
    qw_free(w);
}

/* ---- idle */

static void idle(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    qw_up(w);
    unsigned spans[11] = {0}; /* s between packets of the client */
    const pq_ns end = w->now + 300 * PQ_SEC;
    pq_ns last = w->now;
    for (uint64_t sent = 0; w->now < end;) {
        qw_run(w, w->now + PQ_SEC, NULL); /* PINGs keep it */
        const uint64_t n = w->side[CLIENT].out.stats.given;
        if (n == sent)
            continue;
        spans[(w->now - last) / PQ_SEC < 10 ? (w->now - last) / PQ_SEC : 10]++;
        sent = n;
        last = w->now;
    }
    unsigned kinds = 0;
    for (unsigned i = 0; i < COUNT_OF(spans); i++)
        kinds += spans[i] > 0;
    assert_true(kinds >= 3); /* at no beat */
    assert_false(w->side[CLIENT].closed || w->side[SERVER].closed);
    for (int i = 0; i < 2; i++)
        w->side[i].out.conf.cut = true;
    qw_run(w, w->now + 60 * PQ_SEC, NULL);
    for (int i = 0; i < 2; i++) {
        assert_true(w->side[i].closed);
        assert_int_equal(w->side[i].why.err, PQ_ETIMEOUT);
        assert_int_equal(pq_quic_count(w->side[i].end), 0);
    }
    qw_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(one_length),
        cmocka_unit_test(cubic),
        cmocka_unit_test(paths),
        cmocka_unit_test(slow_receiver),
        cmocka_unit_test(short_and_lossy),
        cmocka_unit_test(starved_machines),
        cmocka_unit_test(echoes),
        cmocka_unit_test(some_unread),
        cmocka_unit_test(many_unread),
        cmocka_unit_test(blackouts),
        cmocka_unit_test(reordered_and_doubled),
        cmocka_unit_test(holes),
        cmocka_unit_test(keys_and_ids),
        cmocka_unit_test(questions),
        cmocka_unit_test(idle),
    };
    return ut_run(tests);
}
