/* SPDX-License-Identifier: MIT */
/* kcp_rules.c - one conversation against datagrams made by hand: the rules of [4.4] to [4.6]. */
#include "kcp_link.h"
#include "unit.h"

#define T0 (100 * PQ_SEC)

static struct kend e;
static pq_ns now;

static void start(const struct pq_kcp_conf *c)
{
    kend_init(&e, c);
    now = T0;
}

static enum pq_drop give(struct kseg s)
{
    uint8_t b[2000];
    s.conv = TEST_CONV;
    return kend_input(&e, b, kseg_write(b, &s), now);
}

static enum pq_drop give_push(uint32_t sn, uint32_t ts)
{
    return give((struct kseg){
        .cmd = 81, .wnd = 100, .sn = sn, .ts = ts, .len = 2, .data = (const uint8_t *)"xy"});
}

static enum pq_drop give_una(uint32_t una, uint16_t wnd)
{
    return give((struct kseg){.cmd = 84, .wnd = wnd, .una = una});
}

/* Pulls one datagram; its segments are in `segs`. */
static struct kseg segs[SEGS_LIMIT];

static size_t pull(void)
{
    static uint8_t b[2000];
    size_t n = pq_kcp_pull(e.k, b, sizeof b, now);
    assert_true(n <= e.k->conf.mtu);
    return kseg_parse(b, n, segs);
}

static size_t pull_all(void)
{
    size_t total = 0, n;
    while ((n = pull()))
        total += n;
    return total;
}

/* ACK segments waiting, with their numbers and time stamps. */
static size_t pull_acks(struct pq_kcp_ack *acks, size_t max)
{
    size_t count = 0, n;
    while ((n = pull())) {
        for (size_t i = 0; i < n; i++) {
            if (segs[i].cmd == 82) {
                assert_true(count < max);
                acks[count++] = (struct pq_kcp_ack){segs[i].sn, segs[i].ts};
            }
        }
    }
    return count;
}

static void una_only(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    static uint8_t data[1306];
    start(&c);
    for (int i = 0; i < 20; i++)
        kend_write(&e, data, sizeof data);
    assert_int_equal(pull_all(), 20);
    assert_false(pq_kcp_idle(e.k));
    give_una(7, 100);
    assert_int_equal(e.k->snd_una, 7);
    assert_int_equal(e.chunks.small.used, 13); /* what is acknowledged is freed at once */
    give_una(5, 100);                          /* an old one changes nothing */
    assert_int_equal(e.k->snd_una, 7);
    give_una(20, 100);
    assert_true(pq_kcp_idle(e.k));
    assert_int_equal(e.chunks.small.used, 0);
    assert_true(pq_kcp_deadline(e.k, now) == PQ_NEVER);
    now += 100 * PQ_SEC;
    assert_int_equal(pull(), 0);
    kend_fini(&e);
}

static void ack_fields(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    struct pq_kcp_ack a[64];
    start(&c);
    give_push(0, 111);
    assert_int_equal(pull(), 1);
    assert_int_equal(segs[0].cmd, 82);
    assert_int_equal(segs[0].sn, 0);
    assert_int_equal(segs[0].ts, 111); /* that of the PUSH [4.6] */
    assert_int_equal(segs[0].una, 1);
    assert_int_equal(segs[0].wnd, 1024);
    assert_int_equal(pull(), 0);

    for (uint32_t i = 1; i <= 5; i++) /* in order: the last one is sent, una tells the rest */
        give_push(i, 200 + i);
    assert_int_equal(pull_acks(a, 64), 1);
    assert_int_equal(a[0].sn, 5);
    assert_int_equal(a[0].ts, 205);

    give_push(9, 309); /* out of order: each is acknowledged */
    give_push(7, 307);
    give_push(8, 308);
    assert_int_equal(pull_acks(a, 64), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(a[i].ts, 300 + a[i].sn);

    give_push(7, 407); /* duplicates too, of what waits and of what was read */
    assert_int_equal(pull_acks(a, 64), 1);
    assert_int_equal(a[0].ts, 407);
    give_push(2, 402);
    assert_int_equal(pull_acks(a, 64), 1);
    assert_int_equal(a[0].ts, 402);
    assert_int_equal(e.rx_len, 12);

    give_push(6, 500); /* closes the hole */
    assert_int_equal(pull(), 1);
    assert_int_equal(segs[0].una, 10);
    assert_int_equal(e.rx_len, 20);
    kend_fini(&e);
}

/* A PUSH at or beyond rcv_nxt + rcv_wnd is dropped without an ACK [4.4]. */
static void beyond_window(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    struct pq_kcp_ack a[64];
    c.rcv_wnd = 10;
    start(&c);
    assert_int_equal(give_push(10, 1), PQ_DROP_NONE);
    assert_int_equal(give_push(1000, 1), PQ_DROP_NONE);
    assert_int_equal(give_push(0x7fffffffu, 1), PQ_DROP_NONE);
    assert_int_equal(pull_acks(a, 64), 0);
    assert_int_equal(e.chunks.small.used, 0);
    give_push(9, 1);
    assert_int_equal(pull_acks(a, 64), 1);
    kend_fini(&e);
}

/* wnd = rcv_wnd - segments in order and not read; out of order ones do not count [4.4]. */
static void advertised_window(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    c.rcv_wnd = 10;
    start(&c);
    give_push(5, 1);
    assert_int_equal(pull(), 1);
    assert_int_equal(segs[0].wnd, 10);
    e.refuse = true;
    for (uint32_t i = 0; i < 5; i++) {
        give_push(i, 1);
        assert_int_equal(pull(), 1);
        assert_int_equal(segs[0].wnd, i < 4 ? 10 - (i + 1) : 4);
    }
    for (uint32_t i = 6; i < 10; i++)
        give_push(i, 1);
    assert_int_equal(pull(), 1);
    assert_int_equal(segs[0].wnd, 0);
    assert_int_equal(segs[0].una, 10);
    give_push(10, 1); /* no room: as if it had not come */
    assert_int_equal(pull(), 0);
    assert_int_equal(e.rx_len, 0);

    pq_kcp_resume(e.k); /* still refused */
    pq_kcp_rx_done(e.k);
    assert_int_equal(pull(), 0);
    e.refuse = false;
    pq_kcp_resume(e.k);
    pq_kcp_rx_done(e.k);
    assert_int_equal(e.rx_len, 20);
    assert_int_equal(pull(), 1); /* told without being asked [4.5] */
    assert_int_equal(segs[0].cmd, 84);
    assert_int_equal(segs[0].wnd, 10);
    give_push(10, 1);
    assert_int_equal(e.rx_len, 22);
    kend_fini(&e);
}

static void wask_wins(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    start(&c);
    give((struct kseg){.cmd = 83, .wnd = 5});
    assert_true(pq_kcp_deadline(e.k, now) <= now);
    assert_int_equal(pull(), 1);
    assert_int_equal(segs[0].cmd, 84);
    assert_int_equal(segs[0].wnd, 1024);
    assert_int_equal(pull(), 0);
    kend_fini(&e);
}

/* While the peer's window is 0: WASK after 500 ms, then 750, 1125 and so on, at most 120 s; with
 * bytes queued, and with none, because a caller without room keeps them to itself. */
static void probing(void **state)
{
    (void)state;
    for (int queued = 0; queued < 2; queued++) {
        struct pq_kcp_conf c = kconf();
        start(&c);
        give_una(0, 0);
        if (queued)
            kend_write(&e, "data", 4);
        assert_int_equal(pq_kcp_room(e.k, now), 0);
        assert_int_equal(pull(), 0);
        pq_ns want = 500 * PQ_MS, last = now;
        for (int i = 0; i < 20; i++) {
            pq_ns at = pq_kcp_deadline(e.k, now);
            assert_true(at > now && at != PQ_NEVER);
            now = at;
            assert_int_equal(pull(), 1);
            assert_int_equal(segs[0].cmd, 83);
            assert_int_equal(segs[0].len, 0);
            assert_true(now - last >= want - PQ_MS && now - last <= want + PQ_MS);
            last = now;
            want = pq_ns_min(want + want / 2, 120 * PQ_SEC);
        }
        give_una(0, 3); /* it opens */
        assert_true(pq_kcp_room(e.k, now) > 0);
        if (!queued)
            kend_write(&e, "data", 4);
        assert_int_equal(pull(), 1);
        assert_int_equal(segs[0].cmd, 81);
        kend_fini(&e);
    }
}

/* At most una + wnd, whatever the send window is; a smaller window later takes nothing back. */
static void peer_window(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    static uint8_t data[1306];
    start(&c);
    for (int i = 0; i < 40; i++)
        kend_write(&e, data, sizeof data);
    assert_int_equal(pull_all(), 32); /* before the first word of the peer [4.4] */
    give_una(2, 33);
    assert_int_equal(pull_all(), 3);
    assert_int_equal(e.k->snd_nxt, 35);
    give_una(3, 1);
    assert_int_equal(pull_all(), 0);
    give_una(3, 0);
    give_una(4, 0);
    assert_int_equal(pull_all(), 0);
    give_una(4, 65535);
    assert_int_equal(pull_all(), 5);
    kend_fini(&e);
}

/* Datagrams that FEC rebuilt move neither window nor RTT, but una [4.6]. */
static void irregular(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    struct pq_kcp_stats st;
    uint8_t b[100];
    start(&c);
    give_una(0, 50);
    kend_write(&e, "data", 4);
    assert_int_equal(pull(), 1);
    struct kseg s = {.conv = TEST_CONV, .cmd = 82, .wnd = 7, .ts = segs[0].ts, .sn = 0, .una = 1};
    size_t n = kseg_write(b, &s);
    now += 30 * PQ_MS;
    assert_int_equal(pq_kcp_input(e.k, (struct pq_view){b, n}, false, now), PQ_DROP_NONE);
    assert_int_equal(e.k->rmt_wnd, 50);
    assert_true(pq_kcp_idle(e.k));
    pq_kcp_get_stats(e.k, &st);
    assert_int_equal(st.srtt, 0);
    kend_fini(&e);
}

/* An unacknowledged segment goes again, with the ts of the repetition; the interval grows. */
static void rto(void **state)
{
    (void)state;
    for (int nodelay = 0; nodelay < 2; nodelay++) {
        struct pq_kcp_conf c = kconf();
        c.nodelay = nodelay;
        start(&c);
        kend_write(&e, "data", 4);
        assert_int_equal(pull(), 1);
        pq_ns last = now, step = 0;
        for (int i = 0; i < 5; i++) {
            pq_ns at = pq_kcp_deadline(e.k, now);
            assert_true(at > now);
            now = at;
            assert_int_equal(pull(), 1);
            assert_int_equal(segs[0].sn, 0);
            assert_int_equal(segs[0].ts, (uint32_t)(now / PQ_MS));
            if (i == 0)
                assert_true(now - last == 200 * PQ_MS); /* before the first sample [4.5] */
            else
                assert_true(now - last > step);
            step = now - last;
            last = now;
        }
        kend_fini(&e);
    }
}

/* A full window is lost: one segment probes at a time, not all of them at once. */
static void rto_one_by_one(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    static uint8_t data[1306];
    start(&c);
    give_una(0, 1000);
    for (int i = 0; i < 1000; i++)
        kend_write(&e, data, sizeof data);
    assert_int_equal(pull_all(), 1000);
    size_t resent = 0;
    while (now < T0 + 10 * PQ_SEC) {
        now = pq_kcp_deadline(e.k, now);
        resent += pull_all();
    }
    assert_true(resent >= 4 && resent < 50);
    kend_fini(&e);
}

/* The RTT of the first sample, and that an ACK of an older copy is no sample of the newer. */
static void rtt(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    struct pq_kcp_stats st;
    start(&c);
    kend_write(&e, "data", 4);
    pull();
    uint32_t first = segs[0].ts;
    now += 250 * PQ_MS; /* it goes again at 200 ms */
    assert_int_equal(pull(), 1);
    now += 10 * PQ_MS;
    give((struct kseg){.cmd = 82, .wnd = 50, .ts = first, .sn = 0, .una = 1});
    pq_kcp_get_stats(e.k, &st);
    assert_true(st.srtt == 0 || st.srtt >= 260 * PQ_MS);
    kend_write(&e, "data", 4);
    pull();
    now += 40 * PQ_MS;
    give((struct kseg){.cmd = 82, .wnd = 50, .ts = segs[0].ts, .sn = 1, .una = 2});
    pq_kcp_get_stats(e.k, &st);
    assert_true(st.srtt >= 40 * PQ_MS);
    assert_true(st.min_rtt == 40 * PQ_MS);
    kend_fini(&e);
}

/* Fast resend: `resend` newer segments were acknowledged [4.3]. */
static void fast_resend(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    start(&c);
    for (int i = 0; i < 5; i++) {
        kend_write(&e, "data", 4);
        assert_int_equal(pull(), 1);
    }
    uint32_t ts = segs[0].ts;
    now += 20 * PQ_MS;
    give((struct kseg){.cmd = 82, .wnd = 50, .ts = ts, .sn = 1});
    assert_int_equal(pull(), 0); /* one may have been overtaken */
    give((struct kseg){.cmd = 82, .wnd = 50, .ts = ts, .sn = 2});
    assert_int_equal(pull(), 1);
    assert_int_equal(segs[0].sn, 0);
    give((struct kseg){.cmd = 82, .wnd = 50, .ts = ts, .sn = 3});
    assert_int_equal(pull(), 0); /* not again by this rule */
    give((struct kseg){.cmd = 82, .wnd = 50, .ts = ts, .sn = 4, .una = 5});
    assert_true(pq_kcp_idle(e.k));
    kend_fini(&e);
}

/* Many acknowledgements out of order spread over datagrams; none is forgotten. */
static void many_acks(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    struct pq_kcp_ack a[300];
    c.mtu = 100;
    start(&c);
    for (uint32_t i = 1; i <= 200; i++)
        give_push(i, 1000 + i);
    size_t n = pull_acks(a, 300);
    assert_int_equal(n, 200);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(a[i].ts, 1000 + a[i].sn);
    assert_int_equal(pull(), 0);
    kend_fini(&e);
}

/* Numbers wrap on both sides. */
static void wrap(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    start(&c);
    e.k->snd_una = e.k->snd_nxt = e.k->rcv_nxt = e.k->rcv_read = 0xfffffffe;
    for (int i = 0; i < 5; i++) {
        kend_write(&e, "data", 4);
        assert_int_equal(pull(), 1);
        assert_int_equal(segs[0].sn, 0xfffffffeu + (uint32_t)i);
    }
    give((struct kseg){.cmd = 82, .wnd = 50, .ts = segs[0].ts, .sn = 1, .una = 0xffffffff});
    assert_int_equal(e.k->snd_una, 0xffffffff);
    give_una(3, 50);
    assert_true(pq_kcp_idle(e.k));
    give_push(1, 1);
    give_push(0, 1);
    give_push(0xffffffff, 1);
    assert_int_equal(e.rx_len, 0);
    give_push(0xfffffffe, 1);
    assert_int_equal(e.rx_len, 8);
    assert_int_equal(e.k->rcv_nxt, 2);
    kend_fini(&e);
}

/* A peer's empty PUSH and empty writes here must not stall anything. */
static void empty_data(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    start(&c);
    give((struct kseg){.cmd = 81, .wnd = 50, .sn = 1});
    give((struct kseg){.cmd = 81, .wnd = 50, .sn = 0});
    give_push(2, 1);
    assert_int_equal(e.k->rcv_nxt, 3);
    assert_int_equal(e.rx_len, 2);
    pull_all();
    pq_kcp_send(e.k, pq_chunk_new(&e.chunks, 10));
    assert_true(pq_kcp_idle(e.k));
    assert_int_equal(pull(), 0);
    kend_fini(&e);
}

/* To a peer that takes them the last out-of-order ACKs are repeated; never one of a segment that
 * has not come, which the peer would then never send again. */
static void repeated_acks(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("repeated ACKs");
    struct pq_kcp_conf c = kconf();
    unsigned repeats = 0;
    for (unsigned round = 0; round < 300; round++) {
        bool came[64] = {false};
        start(&c);
        pq_kcp_extend(e.k);
        for (uint32_t i = 1; i < COUNT_OF(came); i++) { /* the first is lost */
            struct pq_kcp_ack acks[200];
            uint32_t sn = 1 + ut_below(&seed, COUNT_OF(came) - 1);
            bool again = came[sn];
            came[sn] = true;
            give_push(sn, 1);
            if (ut_below(&seed, 3))
                continue;
            for (size_t n = pull_acks(acks, COUNT_OF(acks)); n; n--) {
                assert_true(acks[n - 1].sn < COUNT_OF(came));
                if (!came[acks[n - 1].sn])
                    fail_msg("ACK for %u, which has not come", acks[n - 1].sn);
                repeats += acks[n - 1].sn != sn && !again;
            }
        }
        kend_fini(&e);
    }
    assert_true(repeats > 1000);
}

int kcp_rules(void)
{
    const struct CMUnitTest rules[] = {
        cmocka_unit_test(una_only),      cmocka_unit_test(ack_fields),
        cmocka_unit_test(beyond_window), cmocka_unit_test(advertised_window),
        cmocka_unit_test(wask_wins),     cmocka_unit_test(probing),
        cmocka_unit_test(peer_window),   cmocka_unit_test(irregular),
        cmocka_unit_test(rto),           cmocka_unit_test(rto_one_by_one),
        cmocka_unit_test(rtt),           cmocka_unit_test(fast_resend),
        cmocka_unit_test(many_acks),     cmocka_unit_test(wrap),
        cmocka_unit_test(empty_data),    cmocka_unit_test(repeated_acks),
    };
    return ut_run(rules);
}
