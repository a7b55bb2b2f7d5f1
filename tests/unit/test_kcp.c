/* SPDX-License-Identifier: MIT */
/* test_kcp.c - settings and datagrams that are malformed. */
#include "kcp_link.h"
#include "unit.h"

static void settings(void **state)
{
    (void)state;
    struct kend e;
    struct pq_kcp *k;
    struct pq_kcp_conf c = kconf();
    kend_init(&e, &c);
    const struct pq_kcp_mem mem = {&e.blocks, &e.chunks};
    static const struct {
        uint32_t snd, rcv;
        uint16_t mtu;
        int want;
    } t[] = {
        {1, 1, 50, 0},          {32768, 32768, 1500, 0},  {0, 1, 100, PQ_EINVAL},
        {1, 0, 100, PQ_EINVAL}, {1, 1, 49, PQ_EINVAL},    {32769, 1, 100, PQ_EINVAL},
        {1, 1, 0, PQ_EINVAL},   {1, 32769, 1, PQ_EINVAL},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        c.snd_wnd = t[i].snd;
        c.rcv_wnd = t[i].rcv;
        c.mtu = t[i].mtu;
        assert_int_equal(pq_kcp_new(&k, &c, &mem, NULL, NULL), t[i].want);
        assert_int_equal(k == NULL, t[i].want != 0);
        pq_kcp_free(&k);
        pq_kcp_free(&k);
    }
    kend_fini(&e);
}

static void peek(void **state)
{
    (void)state;
    uint8_t b[24];
    uint32_t conv, sn;
    bool push;
    for (unsigned cmd = 0; cmd < 256; cmd++) {
        kseg_write(b, &(struct kseg){.conv = 5, .cmd = (uint8_t)cmd, .sn = 0xffffffff});
        bool ok = pq_kcp_peek((struct pq_view){b, 24}, &conv, &push, &sn);
        assert_int_equal(ok, cmd >= 81 && cmd <= 85);
        if (ok) {
            assert_int_equal(conv, 5);
            assert_int_equal(push, cmd == 81);
            assert_int_equal(sn, 0xffffffff);
        }
    }
    for (size_t n = 0; n < 24; n++)
        assert_false(pq_kcp_peek((struct pq_view){b, n}, &conv, &push, &sn));
}

static size_t three_pushes(uint8_t *b)
{
    size_t n = 0;
    for (uint32_t i = 0; i < 3; i++) {
        struct kseg s = {.conv = TEST_CONV, .cmd = 81, .wnd = 100, .sn = i, .len = 4};
        s.data = (const uint8_t *)"abcd";
        n += kseg_write(b + n, &s);
    }
    return n;
}

/* Processing stops at the segment that is wrong; those before it count [4.6]. */
static void bad_segments(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t v;
        enum pq_drop want;
        size_t bytes;
    } t[] = {
        {0, 0, PQ_DROP_CONV, 0},        {28, 0, PQ_DROP_CONV, 4},
        {4, 80, PQ_DROP_SEGMENT, 0},    {32, 86, PQ_DROP_SEGMENT, 4},
        {60, 0, PQ_DROP_SEGMENT, 8},    {20, 61, PQ_DROP_SEGMENT, 0},
        {23, 0xff, PQ_DROP_SEGMENT, 0}, {23, 0x80, PQ_DROP_SEGMENT, 0},
        {76, 5, PQ_DROP_SEGMENT, 8},    {76, 3, PQ_DROP_NONE, 11},
        {20, 60, PQ_DROP_NONE, 60},     {5, 200, PQ_DROP_NONE, 12}, /* frg: any cut */
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct kend e;
        struct pq_kcp_conf c = kconf();
        uint8_t b[200];
        kend_init(&e, &c);
        size_t n = three_pushes(b);
        b[t[i].at] = t[i].v;
        assert_int_equal(kend_input(&e, b, n, PQ_SEC), t[i].want);
        assert_int_equal(e.rx_len, t[i].bytes);
        kend_fini(&e);
    }
}

static void cut_datagrams(void **state)
{
    (void)state;
    uint8_t b[200];
    size_t full = three_pushes(b);
    for (size_t n = 0; n <= full + 23; n++) {
        struct kend e;
        struct pq_kcp_conf c = kconf();
        kend_init(&e, &c);
        size_t rest = n % 28; /* fewer than 24 bytes at the end are ignored */
        enum pq_drop want = n < 24 ? PQ_DROP_SHORT : rest >= 24 ? PQ_DROP_SEGMENT : PQ_DROP_NONE;
        assert_int_equal(kend_input(&e, b, n, PQ_SEC), want);
        assert_int_equal(e.rx_len, n / 28 * 4);
        kend_fini(&e);
    }
}

/* A datagram far beyond what the wire carries, in order and out of order. */
static void huge_segments(void **state)
{
    (void)state;
    static uint8_t b[65000];
    static const uint32_t len[] = {1500, PQ_CHUNK_BIG, PQ_CHUNK_BIG + 1, 60000};
    for (size_t i = 0; i < COUNT_OF(len); i++) {
        for (uint32_t sn = 0; sn < 2; sn++) {
            for (int refuse = 0; refuse < 2; refuse++) {
                struct kend e;
                struct pq_kcp_conf c = kconf();
                kend_init(&e, &c);
                e.refuse = refuse;
                struct kseg s = {.conv = TEST_CONV, .cmd = 81, .sn = sn, .len = len[i]};
                kend_input(&e, b, kseg_write(b, &s), PQ_SEC);
                kend_fini(&e);
            }
        }
    }
}

/* Acknowledgements of what was never sent change nothing. */
static void false_acks(void **state)
{
    (void)state;
    struct kend e;
    struct pq_kcp_conf c = kconf();
    uint8_t b[1500];
    kend_init(&e, &c);
    static const uint32_t at[] = {3, 4, 1000, 0x7fffffff, 0x80000000, 0xffffffff};
    for (int i = 0; i < 3; i++) {
        kend_write(&e, "data", 4);
        assert_int_equal(pq_kcp_pull(e.k, b, 1330, PQ_SEC), 28);
    }
    for (size_t i = 0; i < COUNT_OF(at); i++) {
        struct kseg s = {.conv = TEST_CONV, .cmd = 82, .wnd = 100, .sn = at[i], .una = 0};
        kend_input(&e, b, kseg_write(b, &s), PQ_SEC);
        s = (struct kseg){.conv = TEST_CONV, .cmd = 84, .wnd = 100, .una = at[i]};
        if (at[i] > 3)
            kend_input(&e, b, kseg_write(b, &s), PQ_SEC);
        assert_int_equal(e.k->snd_una, 0);
        assert_int_equal(e.k->n_flight, 3);
    }
    kend_fini(&e);
}

/* One end that talks and is talked to in random and damaged datagrams. */
static void fuzz(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("kcp");
    static const uint8_t payload[60] = {1, 2, 3};
    struct kend e = {0};
    struct pq_kcp_conf c = kconf();
    c.rcv_wnd = c.snd_wnd = 200;
    pq_ns now = PQ_SEC;
    for (int i = 0; i < FUZZ_ROUNDS; i++) {
        uint8_t b[400], out[1330];
        size_t n = 0;
        if (i % 5000 == 0) {
            if (i)
                kend_fini(&e);
            kend_init(&e, &c);
            e.k->snd_una = e.k->snd_nxt = e.k->rcv_nxt = e.k->rcv_read = (uint32_t)i * 65537u - 20;
        }
        for (uint32_t count = 1 + ut_below(&seed, 4); count; count--) {
            struct kseg s = {.conv = TEST_CONV, .wnd = (uint16_t)ut_below(&seed, 300)};
            s.cmd = (uint8_t)(81 + ut_below(&seed, 4));
            s.ts = (uint32_t)(now / PQ_MS) - ut_below(&seed, 50);
            s.sn = (s.cmd == 81 ? e.k->rcv_nxt : e.k->snd_una) + ut_below(&seed, 60) - 10;
            s.una = e.k->snd_una + ut_below(&seed, 8);
            s.len = s.cmd == 81 ? ut_below(&seed, 60) : 0;
            s.data = payload;
            n += kseg_write(b + n, &s);
        }
        if (ut_below(&seed, 3) == 0)
            n = ut_mutate(&seed, b, n, sizeof b);
        e.refuse = i / 50 % 3 == 0;
        kend_input(&e, b, n, now);
        if (i % 50 == 0)
            pq_kcp_resume(e.k);
        if (pq_kcp_room(e.k, now))
            kend_write(&e, b, 1 + ut_below(&seed, 100));
        pq_kcp_pull(e.k, out, sizeof out, now);
        now += ut_below(&seed, 3) * PQ_MS;
        e.rx_len = 0;
    }
    kend_fini(&e);
}

int main(void)
{
    const struct CMUnitTest kcp[] = {
        cmocka_unit_test(settings),      cmocka_unit_test(peek),
        cmocka_unit_test(bad_segments),  cmocka_unit_test(cut_datagrams),
        cmocka_unit_test(huge_segments), cmocka_unit_test(false_acks),
        cmocka_unit_test(fuzz),
    };
    return ut_run(kcp) + kcp_rules() + kcp_transfer() + kcp_vectors();
}
