/* SPDX-License-Identifier: MIT */
/* kcp_transfer.c - whole transfers over a bad link, in virtual time. */
#include "kcp_link.h"
#include "unit.h"

#define BULK (2u << 20)

static uint8_t bulk[BULK];

static void send_bulk(struct knet *n, unsigned from, size_t bytes)
{
    uint64_t s = 42;
    if (!bulk[0] && !bulk[1])
        ut_random(&s, bulk, sizeof bulk);
    n->side[from].tx = bulk;
    n->side[from].tx_len = bytes;
}

static void check_bytes(const struct knet *n)
{
    for (int i = 0; i < 2; i++) {
        assert_int_equal(n->end[1 - i].rx_len, n->side[i].tx_len);
        if (n->side[i].tx_len)
            assert_memory_equal(n->end[1 - i].rx, n->side[i].tx, n->side[i].tx_len);
    }
}

static struct pq_kcp_stats stats(const struct knet *n, int i)
{
    struct pq_kcp_stats s;
    pq_kcp_get_stats(n->end[i].k, &s);
    return s;
}

/* Transfers `bytes` from end 0 (and from end 1 too, if both) and returns the seconds it took. */
static double transfer(const struct pq_kcp_conf *c, const struct klink *l, size_t bytes, bool both,
                       uint32_t first, struct pq_kcp_stats *st)
{
    struct knet *n = knet_new(c, c, first, l, ut_seed("transfer"));
    send_bulk(n, 0, bytes);
    if (both)
        send_bulk(n, 1, bytes);
    pq_ns begin = n->now;
    assert_true(knet_run(n, begin + 300 * PQ_SEC));
    check_bytes(n);
    if (st)
        *st = stats(n, 0);
    double took = (double)(n->now - begin) / 1e9;
    knet_free(n);
    return took;
}

static void clean(void **state)
{
    (void)state;
    const struct klink l = {.delay = 25 * PQ_MS};
    struct pq_kcp_conf c = kconf();
    struct pq_kcp_stats st;
    for (int mode = 0; mode < 8; mode++) {
        c.ack_now = mode & 1;
        c.nodelay = mode & 2;
        c.interval = c.ack_now ? 10 * PQ_MS : 30 * PQ_MS;
        c.resend = mode & 4 ? 0 : 2;
        double t = transfer(&c, &l, BULK, false, 0, &st);
        assert_int_equal(st.resent, 0);
        assert_int_equal(st.spurious, 0);
        assert_int_equal(st.timeouts, 0);
        assert_int_equal(st.sent, (BULK + 1305) / 1306); /* full segments [4.1] */
        assert_true(t < 0.5); /* 32 segments, then a window of 1024: a handful of round trips */
        assert_true(st.srtt >= 50 * PQ_MS && st.srtt < 70 * PQ_MS);
    }
}

static void lossy(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    static const unsigned loss[] = {10, 100};
    for (int mode = 0; mode < 4; mode++) {
        for (size_t i = 0; i < COUNT_OF(loss); i++) {
            const struct klink l = {.delay = 25 * PQ_MS, .loss = loss[i]};
            struct pq_kcp_stats st;
            c.ack_now = mode & 1;
            c.resend = mode & 2 ? 2 : 0;
            c.nodelay = mode & 1;
            double t = transfer(&c, &l, BULK, mode & 1, 0xfffffe00u, &st);
            assert_true(t < 3);
            /* what was lost, what is given up because its only ACK was lost, and some reserve */
            assert_true(st.resent < st.sent * loss[i] / 1000 * 5 / 2 + 40);
        }
    }
}

static void reordering(void **state)
{
    (void)state;
    const struct klink l = {
        .delay = 25 * PQ_MS, .reorder = 50, .reorder_by = 8 * PQ_MS, .dup = 20, .rate = 20000000};
    struct pq_kcp_conf c = kconf();
    struct pq_kcp_stats st;
    transfer(&c, &l, BULK, true, 7, &st);
    assert_true(st.resent < st.sent / 50); /* it learns that the path reorders */
    const struct klink jitter = {.delay = 20 * PQ_MS, .jitter = 10 * PQ_MS, .rate = 20000000};
    transfer(&c, &jitter, BULK, false, 7, &st);
    assert_true(st.resent < st.sent / 20);
}

static void congestion_window(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    struct pq_kcp_stats st;
    c.congestion = PQ_CONGESTION_RENO;
    const struct klink ok = {.delay = 10 * PQ_MS}, bad = {.delay = 10 * PQ_MS, .loss = 10};
    assert_true(transfer(&c, &ok, BULK, false, 0, &st) < 1);
    assert_int_equal(st.resent, 0);
    assert_true(transfer(&c, &bad, BULK, false, 0, &st) < 60);
}

/* Windows of one and of an odd number of segments, tiny datagrams. */
static void small_windows(void **state)
{
    (void)state;
    const struct klink l = {.delay = 5 * PQ_MS, .loss = 20, .dup = 20};
    static const uint32_t wnd[] = {1, 2, 3, 63, 64, 65, 129};
    for (size_t i = 0; i < COUNT_OF(wnd); i++) {
        struct pq_kcp_conf c = kconf();
        c.snd_wnd = wnd[i];
        c.rcv_wnd = wnd[COUNT_OF(wnd) - 1 - i];
        c.mtu = i & 1 ? PQ_KCP_MTU_MIN : 1472;
        transfer(&c, &l, i & 1 ? 20000 : 200000, true, 0xffffffc0u, NULL);
    }
}

struct tail {
    unsigned left;
    uint32_t from_sn;
};

static bool drop_tail(void *ctx, unsigned from, const struct kseg *s, size_t n)
{
    struct tail *t = ctx;
    for (size_t i = 0; i < n; i++) {
        if (from == 0 && s[i].cmd == 81 && s[i].sn >= t->from_sn && t->left) {
            t->left--;
            return true;
        }
    }
    return false;
}

/* The last segments of a burst are lost, once and twice: only the RTO can tell. */
static void tail_loss(void **state)
{
    (void)state;
    for (unsigned lost = 1; lost <= 6; lost++) {
        struct tail t = {lost, 10 - (lost < 3 ? lost : 3)};
        const struct klink l = {.delay = 25 * PQ_MS, .drop = drop_tail, .drop_ctx = &t};
        struct pq_kcp_conf c = kconf();
        struct knet *n = knet_new(&c, &c, 0, &l, 1);
        send_bulk(n, 0, (size_t)10 * 1306);
        pq_ns begin = n->now;
        assert_true(knet_run(n, begin + 5 * PQ_SEC));
        check_bytes(n);
        assert_true(stats(n, 0).timeouts > 0);
        assert_true(n->now - begin < 800 * PQ_MS);
        knet_free(n);
    }
}

/* Both sides write small messages all the time on a long path.  Acknowledgements then ride on
 * data; the RTT must be measured all the same, or every segment goes twice. */
static void chatter(void **state)
{
    (void)state;
    const struct klink l = {.delay = 200 * PQ_MS};
    struct pq_kcp_conf c = kconf();
    c.ack_now = false;
    struct knet *n = knet_new(&c, &c, 0, &l, 3);
    for (int k = 0; k < 2; k++) /* the windows are known: it never falls silent */
        n->end[k].k->rmt_wnd = n->side[k].edge = 1024;
    for (int i = 0; i < 600; i++) {
        for (int k = 0; k < 2; k++)
            kend_write(&n->end[k], "0123456789", 10);
        pq_ns until = n->now + 7 * PQ_MS;
        knet_run(n, until);
        n->now = until; /* also when all has arrived */
    }
    assert_true(n->end[0].rx_len > 5000 && n->end[1].rx_len > 5000);
    struct pq_kcp_stats st = stats(n, 0);
    assert_true(st.srtt >= 400 * PQ_MS && st.srtt < 450 * PQ_MS);
    assert_true(st.resent < 20); /* at most those before the first sample */
    knet_free(n);
}

static bool drop_all(void *ctx, unsigned from, const struct kseg *s, size_t n)
{
    (void)ctx;
    (void)from;
    (void)s;
    (void)n;
    return true;
}

/* A dead peer: KCP never gives up, but it must not shout. */
static void dead_peer(void **state)
{
    (void)state;
    const struct klink l = {.delay = 25 * PQ_MS, .drop = drop_all};
    struct pq_kcp_conf c = kconf();
    struct knet *n = knet_new(&c, &c, 0, &l, 1);
    send_bulk(n, 0, BULK);
    assert_false(knet_run(n, n->now + 60 * PQ_SEC));
    assert_int_equal(stats(n, 0).sent, 32);
    assert_true(stats(n, 0).resent >= 5 && stats(n, 0).resent < 100);
    assert_true(n->pulls < 2000);
    n->link.drop = NULL; /* it comes back */
    assert_true(knet_run(n, n->now + 30 * PQ_SEC));
    check_bytes(n);
    knet_free(n);
}

/* Memory bounds: transfers get slow, not stuck, and the timer does not spin. */
static void short_of_memory(void **state)
{
    (void)state;
    const struct klink l = {.delay = 5 * PQ_MS, .loss = 20};
    struct pq_kcp_conf c = kconf();
    struct knet *n = knet_new(&c, &c, 60, &l, 1);
    n->end[0].blocks.limit = 1;       /* one block of segment records */
    n->end[1].chunks.small.limit = 3; /* three segments out of order */
    send_bulk(n, 0, 300000);
    pq_ns begin = n->now;
    assert_true(knet_run(n, begin + 100 * PQ_SEC));
    check_bytes(n);
    assert_true(n->pulls < 30000);
    knet_free(n);
}

/* The reader stops and goes on again and again; with loss, so that window updates are lost too. */
static void stop_and_go(void **state)
{
    (void)state;
    for (unsigned loss = 0; loss <= 300; loss += 150) {
        const struct klink l = {.delay = 5 * PQ_MS, .loss = loss};
        struct pq_kcp_conf c = kconf();
        c.rcv_wnd = 40;
        struct knet *n = knet_new(&c, &c, 0xfffffff0u, &l, 9);
        send_bulk(n, 0, 400000);
        bool ok = false;
        for (int i = 0; i < 600 && !ok; i++) {
            n->end[1].refuse = i & 1;
            if (!n->end[1].refuse) {
                pq_kcp_resume(n->end[1].k);
                pq_kcp_rx_done(n->end[1].k);
            }
            pq_ns until = n->now + 300 * PQ_MS;
            ok = knet_run(n, until);
            n->now = ok ? n->now : until;
        }
        assert_true(ok);
        check_bytes(n);
        knet_free(n);
    }
}

int kcp_transfer(void)
{
    const struct CMUnitTest transfers[] = {
        cmocka_unit_test(clean),           cmocka_unit_test(lossy),
        cmocka_unit_test(reordering),      cmocka_unit_test(congestion_window),
        cmocka_unit_test(small_windows),   cmocka_unit_test(tail_loss),
        cmocka_unit_test(chatter),         cmocka_unit_test(dead_peer),
        cmocka_unit_test(short_of_memory), cmocka_unit_test(stop_and_go),
    };
    return ut_run(transfers);
}
