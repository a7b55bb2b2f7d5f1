/* SPDX-License-Identifier: MIT */
/* wire_acks.c - how many packets without data a connection acknowledges with, and the window that
 * it tells [12.9]. */
#include "connect_pair.h"
#include "unit.h"
#include "wire_tests.h"

#define PA (PQ_TCP_PSH | PQ_TCP_ACK)

/* So many full segments, all of them at once; returns how many packets acknowledge them, each of
 * what had come by then. */
static unsigned flood(struct pair *p, unsigned n, pq_ns now)
{
    struct pq_segment s = {0};
    unsigned done = 0;
    for (unsigned i = 0; i < n; i++) {
        s = pair_data(&p->c, 1448, now);
        pq_flow_heard(&p->s, &s);
    }
    for (uint32_t last = s.ack; pq_connect_acks(&p->s, &pair_slot, 1, now); last = s.ack, done++) {
        assert_true(pq_connect_ack_at(&p->s, now) == now || !p->s.conn.n_points);
        s = pair_read(true);
        assert_int_equal(s.len, 0);
        assert_true((int32_t)(s.ack - last) > 0 || !done);
        assert_true(pair_as == PQ_SYSTEM_WINDOWS || s.tsecr == pq_flow_tsval(&p->c, now));
    }
    if (pq_connect_ack_at(&p->s, now) <= now) { /* of the rest */
        pq_connect_ack(&p->s, &pair_slot, now);
        assert_int_equal(pair_read(true).ack, p->c.st.seq);
        done++;
    }
    return done;
}

/* A round trip: `up` ms from the server to the client, 20 back. */
static unsigned round_of(struct pair *p, unsigned n, pq_ns up, pq_ns *now)
{
    struct pq_segment s = pair_data(&p->s, 50, *now);
    *now += up * PQ_MS;
    pq_flow_heard(&p->c, &s);
    *now += 20 * PQ_MS;
    struct pq_segment t = pair_data(&p->c, 1448, *now - 20 * PQ_MS);
    pq_flow_heard(&p->s, &t);
    pq_connect_ack_at(&p->s, *now);
    pq_connect_ack(&p->s, &pair_slot, *now); /* what follows begins with nothing owed */
    return flood(p, n, *now);
}

/* One for two full segments that come one by one, or for a frame of more; and few where they wait
 * on their way. */
static void bare_acks_in_number(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    pq_ns now = 2 * PQ_SEC;
    round_of(&p, 2, 20, &now);
    assert_int_equal(round_of(&p, 10, 20, &now), 5);
    struct pq_segment s = {.seq = p.c.st.seq, .len = 20000, .flags = PA};
    pq_flow_heard(&p.s, &s);
    p.c.st.seq += 20000;
    assert_int_equal(flood(&p, 0, now), 1);
    assert_int_equal(round_of(&p, 40, 24, &now), 20);
    assert_int_equal(round_of(&p, 40, 60, &now), 8); /* packets wait */
    assert_int_equal(round_of(&p, 40, 60, &now), 2);
    for (unsigned i = 0; i < 60; i++)
        round_of(&p, 10, 20, &now);
    assert_int_equal(round_of(&p, 40, 20, &now), 20);
    for (unsigned i = 0; i < 1000; i++) /* a path that has become longer for good */
        round_of(&p, 2, 60, &now);
    assert_int_equal(round_of(&p, 40, 60, &now), 20);
}

/* The same where nothing but acknowledgements tells how long packets take: a round trip later. */
static void plain_acks_in_number(void **state)
{
    (void)state;
    struct pair p;
    pair_as = PQ_SYSTEM_WINDOWS;
    pair_open(&p);
    pq_ns now = 2 * PQ_SEC;
    round_of(&p, 2, 20, &now);
    assert_int_equal(round_of(&p, 10, 20, &now), 5);
    assert_int_equal(round_of(&p, 40, 24, &now), 20);
    assert_int_equal(round_of(&p, 40, 60, &now), 20); /* packets wait */
    assert_int_equal(round_of(&p, 40, 60, &now), 8);
    assert_int_equal(round_of(&p, 40, 60, &now), 2);
    for (unsigned i = 0; i < 60; i++)
        round_of(&p, 10, 20, &now);
    assert_int_equal(round_of(&p, 40, 20, &now), 20);
    pair_as = PQ_SYSTEM_HOST;
}

/* Fewer of many, and no more than a quarter more in each round trip, so that a narrow way is
 * noticed in time. */
static void bare_acks_grow(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    pq_ns now = 2 * PQ_SEC;
    unsigned most = 64, acks;
    for (unsigned n = 60; n < 2000; n *= 2) {
        const unsigned dense = n < 64 ? n / 2 : 32 + (n - 64) / 4;
        acks = round_of(&p, 60, 20, &now);
        for (unsigned i = 60; i < n; i += 60)
            acks += flood(&p, 60, now);
        const unsigned low = dense * 2 / 3 < most ? dense * 2 / 3 : most;
        assert_in_range(acks, low, dense < most ? dense : most + n / 16);
        most += acks < most ? 0 : most / 4;
    }
}

/* The window is ahead of what comes in a round trip, and its right edge never goes back. */
static void grow(enum pq_system system)
{
    struct pair p;
    pair_as = system;
    pair_open(&p);
    uint32_t edge = 0, window = 0;
    pq_ns now = 2 * PQ_SEC;
    for (uint32_t round = 0, n = 10; round < 14; round++, now += 50 * PQ_MS, n += n / 2) {
        struct pq_segment s;
        for (uint32_t i = 0; i < n && pq_connect_room(&p.c) >= 1300; i++) {
            s = pair_data(&p.c, 1300, now);
            pq_flow_heard(&p.s, &s);
        }
        const uint32_t bytes = 1300 * n;
        s = pair_data(&p.s, 50, now + PQ_MS);
        pq_flow_heard(&p.c, &s);
        window = (uint32_t)s.window << 7;
        if (round > 2)
            assert_true(window >= RMEM || window >= 2 * bytes);
        assert_true((int32_t)(s.ack + window - edge) > 0 || !round);
        edge = s.ack + window;
    }
    assert_true(window > 1U << 20);
    assert_true(window <= RMEM);
    pair_as = PQ_SYSTEM_HOST;
}

static void window_grows(void **state)
{
    (void)state;
    grow(PQ_SYSTEM_HOST);
    grow(PQ_SYSTEM_WINDOWS);
}

/* Beside a hole one goes for more than nine segments of what comes together: each tells what had
 * come then, and one of four how far the other side may send now. */
static void beside_a_hole(void **state)
{
    (void)state;
    enum { EACH = 10, TIMES = 8 };
    struct pair p;
    pair_open(&p);
    p.c.conn.window = 1U << 20;
    struct pq_segment s = pair_data(&p.s, 1448, PQ_SEC);
    pq_flow_heard(&p.c, &s);
    pair_data(&p.s, 1448, PQ_SEC); /* lost */
    s = pair_data(&p.s, 1448, PQ_SEC);
    pq_flow_heard(&p.c, &s);
    while (pq_connect_acks(&p.c, &pair_slot, 1, PQ_SEC))
        ;
    for (unsigned i = 0; i < 3; i++) { /* at once */
        assert_int_equal(pq_connect_ack_at(&p.c, PQ_SEC + 20 * PQ_MS), PQ_SEC + 20 * PQ_MS);
        pq_connect_ack(&p.c, &pair_slot, PQ_SEC);
        s = pair_data(&p.s, 100, PQ_SEC);
        pq_flow_heard(&p.c, &s);
    }
    pq_connect_ack(&p.c, &pair_slot, PQ_SEC);
    s = pair_read(true);
    const uint32_t ack = s.ack, high = ack + 2 * 1448 + 300;
    uint16_t window = s.window;
    unsigned moved = 0;
    for (unsigned i = 0; i < EACH * TIMES; i++) {
        s = pair_data(&p.s, 1448, PQ_SEC);
        pq_flow_heard(&p.c, &s);
    }
    for (unsigned i = 1; i <= TIMES; i++) {
        assert_int_equal(pq_connect_acks(&p.c, &pair_slot, 1, PQ_SEC), 1);
        s = pair_read(true);
        assert_int_equal(s.ack, ack);
        assert_int_equal(s.n_sacks, 1);
        assert_int_equal(pq_be32(s.sacks + 4) - high, i * EACH * 1448);
        moved += s.window != window;
        window = s.window;
    }
    assert_int_equal(pq_connect_acks(&p.c, &pair_slot, 1, PQ_SEC), 0);
    assert_int_equal(p.c.st.ack, ack);
    assert_int_equal(moved, TIMES / 4);
}

int wire_acks(void)
{
    const struct CMUnitTest acks[] = {
        cmocka_unit_test(bare_acks_in_number), cmocka_unit_test(plain_acks_in_number),
        cmocka_unit_test(bare_acks_grow),      cmocka_unit_test(window_grows),
        cmocka_unit_test(beside_a_hole),
    };
    return ut_run(acks);
}
