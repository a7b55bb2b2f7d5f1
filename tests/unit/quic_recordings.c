/* SPDX-License-Identifier: MIT */
/* quic_recordings.c - what was recorded, changed, or sent back opens nothing; ids. */
#include "../sim/quic_world.h"
#include "quic/quic_seal.h"
#include "quic_tests.h"

static uint8_t record[64][PQ_QUIC_SIZE_MAX];
static size_t record_len[64], recorded;
static int record_from;

static bool tape(struct qw *w, int from, uint8_t *p, size_t *n)
{
    (void)w;
    if (from == record_from && recorded < COUNT_OF(record)) {
        memcpy(record[recorded], p, *n);
        record_len[recorded++] = *n;
    }
    return true;
}

static struct qw *taped(int from)
{
    struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    recorded = 0;
    record_from = from;
    w->tap = tape;
    qw_up(w);
    qw_run(w, w->now + PQ_SEC, NULL);
    w->tap = NULL;
    return w;
}

static void play(struct qw *w, int to, const struct pq_addr *src)
{
    for (size_t i = 0; i < recorded; i++)
        qw_inject(w, to, src, record[i], record_len[i]);
}

static void replays(void **state)
{
    (void)state;
    struct qw *w = taped(CLIENT);
    struct qw_side *s = &w->side[SERVER];
    struct pq_addr elsewhere = w->side[CLIENT].addr;
    elsewhere.port++;
    const uint64_t before = s->packets_out;
    assert_true(recorded >= 2 && record[0][0] & 0x80);
    play(w, SERVER, &elsewhere); /* its ODCID is forgotten: by the memory */
    play(w, SERVER, &w->side[CLIENT].addr);
    qw_run(w, w->now + 2 * PQ_SEC, NULL);
    assert_int_equal(s->packets_out, before);
    assert_int_equal(s->paths, 0);
    assert_true(s->drops[PQ_DROP_REPLAY] >= 2);

    pq_quic_close(w->side[CLIENT].q, 0); /* the connection has ended */
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_true(s->closed);
    assert_int_equal(s->why.err, 0);
    assert_int_equal(pq_quic_count(s->end), 0);
    const uint64_t then = s->packets_out;
    play(w, SERVER, &elsewhere);
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(s->packets_out, then);
    assert_int_equal(s->accepted, 1);
    qw_free(w);
}

static pq_ns heard_of(const struct qw *w, int side, uint64_t *received)
{
    struct pq_quic_stats st;
    pq_quic_stats(w->side[side].q, &st);
    *received = st.received;
    return st.heard;
}

static bool lose_last; /* of `tape_some` */

static bool tape_some(struct qw *w, int from, uint8_t *p, size_t *n)
{
    tape(w, from, p, n);
    return !(lose_last && from == record_from);
}

/* Packets of an established connection that were recorded are no life of who sent them, however
 * often they come: the silence goes on, until the connection ends of it.  One that has been lost on
 * its way is, once. */
static void no_life(int from)
{
    struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    const int to = !from;
    uint64_t received, then;
    qw_up(w);
    qw_run(w, w->now + PQ_SEC, NULL);
    recorded = 0;
    record_from = from;
    lose_last = false;
    w->tap = tape_some;
    struct qw_stream *s = qw_hold(&w->side[from], 1000);
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_in_range(recorded, 1, COUNT_OF(record) - 1);
    lose_last = true;
    const size_t lost = recorded;
    qw_more(s, 1);
    qw_run(w, w->now + PQ_MS, NULL);
    assert_true(recorded > lost);
    for (int i = 0; i < 2; i++)
        w->side[i].out.conf.cut = true;
    w->tap = NULL;
    const pq_ns heard = heard_of(w, to, &received);
    recorded = lost;
    for (int i = 0; i < 20; i++) {
        qw_run(w, w->now + PQ_SEC, NULL);
        play(w, to, &w->side[from].addr);
        assert_int_equal(heard_of(w, to, &then), heard);
        assert_int_equal(then, received);
    }
    assert_int_equal(w->side[to].drops[PQ_DROP_REPLAY], 20 * lost);
    qw_inject(w, to, &w->side[from].addr, record[lost], record_len[lost]);
    assert_int_equal(heard_of(w, to, &then), w->now);
    assert_int_equal(then, received + 1);
    for (int i = 0; i < 100 && !w->side[to].closed; i++) {
        qw_run(w, w->now + PQ_SEC, NULL);
        if (!w->side[to].closed)
            play(w, to, &w->side[from].addr);
    }
    assert_true(w->side[to].closed);
    assert_int_equal(w->side[to].why.err, PQ_ETIMEOUT);
    qw_free(w);
}

static void no_life_of_recordings(void **state)
{
    (void)state;
    no_life(CLIENT);
    no_life(SERVER);
}

/* The first flight sent again by the client, since the first copy was lost: the other copy, sealed
 * with another nonce, opens nothing later. */
static bool lose_first(struct qw *w, int from, uint8_t *p, size_t *n)
{
    static uint64_t last;
    tape(w, from, p, n);
    if (from == CLIENT && recorded == 1 && last != (uint64_t)(uintptr_t)w) {
        last = (uint64_t)(uintptr_t)w;
        return false;
    }
    return true;
}

static void other_copy(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    recorded = 0;
    record_from = CLIENT;
    w->tap = lose_first;
    qw_up(w);
    w->tap = NULL;
    assert_true(memcmp(record[0], record[1], 12) != 0);
    qw_run(w, w->now + PQ_SEC, NULL);
    const uint64_t before = w->side[SERVER].packets_out;
    qw_inject(w, SERVER, &w->side[CLIENT].addr, record[0], record_len[0]);
    assert_int_equal(w->side[SERVER].drops[PQ_DROP_REPLAY], 1);
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->side[SERVER].packets_out, before);
    qw_free(w);
}

static void damaged(void **state)
{
    (void)state;
    struct qw *w = taped(CLIENT), *fresh;
    struct qw_conf c = qw_conf();
    uint8_t p[PQ_QUIC_SIZE_MAX];
    fresh = qw_new(&c); /* knows nothing of it */
    const size_t n = record_len[0];
    for (size_t len = 0; len < n; len++)
        qw_inject(fresh, SERVER, &w->side[CLIENT].addr, record[0], len);
    for (size_t bit = 0; bit < n * 8; bit++) {
        memcpy(p, record[0], n);
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        qw_inject(fresh, SERVER, &w->side[CLIENT].addr, p, n);
    }
    assert_int_equal(fresh->side[SERVER].accepted, 0);
    assert_int_equal(fresh->side[SERVER].drops[PQ_DROP_NONE], 0);
    qw_expect_silence(fresh);
    fresh->now = QW_T0 + PQ_SEC;
    qw_inject(fresh, SERVER, &w->side[CLIENT].addr, record[0], n); /* as it is, it does */
    assert_int_equal(fresh->side[SERVER].accepted, 1);
    qw_free(fresh);
    qw_free(w);
}

/* Recorded before the server was started again, it has forgotten it. */
static void after_a_restart(void **state)
{
    (void)state;
    struct qw *w = taped(CLIENT);
    struct qw_conf c = qw_conf();
    c.start = QW_T0 + 5 * PQ_SEC;
    struct qw *again = qw_new(&c);
    play(again, SERVER, &w->side[CLIENT].addr);
    assert_int_equal(again->side[SERVER].drops[PQ_DROP_STAMP], 2);
    qw_expect_silence(again);
    qw_free(again);
    qw_free(w);
}

/* A recording that was never used is of use as long as the clocks may differ, no longer. */
static void old_recording(void **state)
{
    (void)state;
    struct qw *w = taped(CLIENT);
    for (int i = 0; i < 2; i++) {
        struct qw_conf c = qw_conf();
        struct qw *other = qw_new(&c);
        other->now = QW_T0 + (i ? 121 : 119) * PQ_SEC;
        qw_inject(other, SERVER, &w->side[CLIENT].addr, record[0], record_len[0]);
        assert_int_equal(other->side[SERVER].drops[i ? PQ_DROP_STAMP : PQ_DROP_NONE], 1);
        qw_free(other);
    }
    qw_free(w);
}

/* Clocks that are too far apart: nothing is answered. */
static void wrong_clocks(void **state)
{
    (void)state;
    static const int64_t minutes[] = {-10, -1, 0, 1, 10};
    for (size_t i = 0; i < COUNT_OF(minutes); i++) {
        struct qw_conf c = qw_conf();
        c.skew[CLIENT] = minutes[i] * 60000;
        struct qw *w = qw_new(&c);
        w->now += 120 * PQ_SEC; /* the server has run for two minutes */
        qw_connect(w);
        if (minutes[i] == 10 || minutes[i] == -10) {
            qw_expect_silence(w);
            assert_int_equal(w->side[CLIENT].why.err, PQ_ETIMEOUT);
        } else {
            assert_true(qw_run(w, w->now + PQ_SEC, qw_both_ready));
        }
        qw_free(w);
    }
}

/* The memory is full: no more is taken until the oldest may be forgotten. */
static void full_memory(void **state)
{
    (void)state;
    struct quic_seen *s;
    uint8_t id[8] = {0};
    const uint64_t wall = 1000000;
    assert_int_equal(pq_quic_seen_new(&s, 3), 0);
    for (uint32_t i = 0; i < 65536; i++) {
        pq_put_le32(id, i);
        assert_false(pq_quic_seen(s, (struct pq_view){id, sizeof id}, wall + i / 1000));
    }
    assert_true(pq_quic_seen(s, (struct pq_view){id, sizeof id}, wall + 100)); /* known */
    id[7] = 1;
    assert_true(pq_quic_seen(s, (struct pq_view){id, sizeof id}, wall + 100)); /* no room */
    assert_true(pq_quic_seen(s, (struct pq_view){id, sizeof id}, wall + PQ_QUIC_REMEMBER - 1));
    assert_false(pq_quic_seen(s, (struct pq_view){id, sizeof id}, wall + PQ_QUIC_REMEMBER));
    pq_quic_seen_free(&s);
}

static void reflected(void **state)
{
    (void)state;
    struct qw *w = taped(SERVER);
    const uint64_t out = w->side[SERVER].packets_out;
    assert_true(record[0][0] & 0x80);
    qw_inject(w, SERVER, &w->side[CLIENT].addr, record[0], record_len[0]);
    assert_int_equal(w->side[SERVER].drops[PQ_DROP_AUTH], 1);
    qw_free(w);
    w = taped(CLIENT);
    qw_inject(w, CLIENT, &w->side[SERVER].addr, record[0], record_len[0]);
    assert_int_equal(w->side[CLIENT].drops[PQ_DROP_AUTH], 1);
    assert_true(out > 0);
    qw_free(w);
}

/* ---- ids */

static void workers(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    c.end[SERVER].worker = 2;
    c.end[SERVER].workers = 5;
    struct qw *w = qw_new(&c);
    recorded = 0;
    record_from = CLIENT;
    w->tap = tape;
    qw_up(w);
    qw_open(&w->side[CLIENT], 1000);
    qw_run(w, w->now + PQ_SEC, NULL);
    unsigned some = 0;
    for (size_t i = 0; i < recorded; i++) {
        if (record[i][0] & 0x80)
            continue;
        assert_int_equal(pq_quic_worker(w->side[SERVER].end, record[i], record_len[i]), 2);
        record[i][1]++;
        qw_inject(w, SERVER, &w->side[CLIENT].addr, record[i], record_len[i]);
        some++;
    }
    assert_true(some > 0);
    assert_int_equal(w->side[SERVER].drops[PQ_DROP_ELSEWHERE], some);
    qw_free(w);
}

static uint64_t raced;

/* Whatever the client sends comes first from elsewhere. */
static bool race(struct qw *w, int from, uint8_t *p, size_t *n)
{
    if (from == CLIENT) {
        qw_inject(w, SERVER, &w->nowhere, p, *n);
        raced += *n;
    }
    return true;
}

/* Who is faster than the client gets nothing of what the server sends, and the client goes on as if
 * he were not there. */
static void copies_from_elsewhere(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    c.link[CLIENT].rate = c.link[SERVER].rate = 1000000;
    c.link[CLIENT].queue = c.link[SERVER].queue = 100000;
    struct qw *w = qw_new(&c);
    qw_up(w);
    qw_run(w, w->now + PQ_SEC, NULL);
    w->side[SERVER].echo = true;
    w->nowhere = w->side[CLIENT].addr;
    w->nowhere.ip[15] += 7;
    qw_open(&w->side[CLIENT], 3000000);
    qw_run(w, w->now + 200 * PQ_MS, NULL);
    w->tap = race;
    raced = 0;
    assert_true(qw_run(w, w->now + 10 * PQ_SEC, qw_both_got_all));
    assert_true(raced > 2000000);
    assert_int_equal(w->astray, 0);
    assert_int_equal(w->side[SERVER].paths, 0);
    for (int i = 0; i < 20; i++) { /* idle in between */
        struct qw_stream *s = qw_open(&w->side[CLIENT], 20000);
        qw_run(w, w->now + 5 * PQ_SEC, NULL);
        assert_true(s->eof && s->rx == 20000);
    }
    assert_int_equal(w->astray, 0);
    qw_free(w);
}

/* Nor where it goes over to another port, and so uses another id, under which the copies are first,
 * too: only for a while they are taken for the client. */
static void copies_while_it_moves(void **state)
{
    (void)state;
    for (int at_once = 0; at_once < 2; at_once++) {
        struct qw_conf c = qw_conf();
        for (int i = 0; i < 2; i++)
            c.link[i] = (struct link_conf){.delay = 20 * PQ_MS, .rate = 1000000, .queue = 100000};
        struct qw *w = qw_new(&c);
        struct qw_side *e = &w->side[CLIENT];
        struct pq_quic_path path = {e->addr, w->side[SERVER].addr};
        path.local.port = 40404;
        qw_up(w);
        qw_run(w, w->now + PQ_SEC, NULL);
        w->side[SERVER].echo = true;
        w->nowhere = e->addr;
        w->nowhere.ip[15] += 7;
        qw_open(e, 3000000);
        qw_run(w, w->now + 400 * PQ_MS, NULL);
        w->tap = race;
        raced = 0;
        assert_int_equal(pq_quic_move(e->q, &path, at_once, w->now), 0);
        e->addr.port = path.local.port;
        assert_true(qw_run(w, w->now + 20 * PQ_SEC, qw_both_got_all));
        assert_true(raced > 2000000);
        assert_true(w->astray > 0);
        assert_true(w->astray <= 100000);
        qw_free(w);
    }
}

int quic_recordings_tests(void)
{
    const struct CMUnitTest recordings[] = {
        cmocka_unit_test(replays),
        cmocka_unit_test(no_life_of_recordings),
        cmocka_unit_test(other_copy),
        cmocka_unit_test(damaged),
        cmocka_unit_test(after_a_restart),
        cmocka_unit_test(old_recording),
        cmocka_unit_test(wrong_clocks),
        cmocka_unit_test(full_memory),
        cmocka_unit_test(reflected),
        cmocka_unit_test(workers),
        cmocka_unit_test(copies_from_elsewhere),
        cmocka_unit_test(copies_while_it_moves),
    };
    return ut_run(recordings);
}
