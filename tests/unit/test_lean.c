/* SPDX-License-Identifier: MIT */
/* test_lean.c - the segments of our own wire [12.8]: ranges against a model, blocks as they are on
 * the wire, peers that lie, and transfers over a link that loses. */
#include "base/rng.h"
#include "kcp_link.h"
#include "unit.h"

/* Bytes of hex text, in which there may be blanks. */
static size_t ut_hex(const char *text, uint8_t *p, size_t cap)
{
    size_t n = 0;
    for (; *text; text++) {
        char two[3] = {text[0], text[1], 0};
        if (*text == ' ')
            continue;
        assert_true(n < cap);
        p[n++] = (uint8_t)strtoul(two, NULL, 16);
        text++;
    }
    return n;
}

/* ---- ranges */

#define MODEL 512

struct model { /* which of the numbers from `base` on have come */
    uint32_t base;
    bool came[MODEL];
};

static void check_model(const struct model *m, const struct pq_ranges *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        const struct pq_seq_range *r = &s->r[i];
        assert_true(r->hi - r->lo < MODEL);
        for (uint32_t k = r->lo; k != r->hi + 1; k++)
            assert_true(m->came[k - m->base]);
        if (i + 1 < s->n)
            assert_true((int32_t)(r->lo - s->r[i + 1].hi) > 1);
    }
    unsigned untold = 0;
    for (unsigned i = 0; i < s->n; i++)
        untold += s->r[i].told == 0;
    assert_int_equal(untold, pq_ranges_untold(s));
}

static void ranges_follow_a_model(void **state)
{
    (void)state;
    static const uint32_t bases[] = {0, 0xffffff80, 0x7fffff00};
    uint64_t seed = ut_seed("ranges");
    for (unsigned round = 0; round < 300; round++) {
        struct model m = {.base = bases[round % 3]};
        struct pq_ranges s = {0};
        uint32_t high = 0;
        for (unsigned i = 0; i < MODEL; i++) {
            uint32_t k = high + ut_below(&seed, 8) - ut_below(&seed, 5);
            if (k >= MODEL)
                continue;
            const bool had = m.came[k];
            const enum pq_arrived a = pq_ranges_add(&s, m.base + k);
            if (!had)
                assert_int_not_equal(a, PQ_ARRIVED_SEEN);
            m.came[k] = true;
            if (a == PQ_ARRIVED_NEXT || a == PQ_ARRIVED_GAP)
                high = k;
            assert_int_equal(s.r[0].hi, m.base + high);
            check_model(&m, &s);
        }
    }
}

static void what_is_told_is_read(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("told");
    for (unsigned round = 0; round < 500; round++) {
        struct pq_ranges s = {0};
        const uint32_t base = (uint32_t)ut_rand(&seed);
        uint8_t buf[400];
        for (unsigned i = 0, k = 0; i < 200;
             i++, k += ut_below(&seed, 10) ? 1 : ut_below(&seed, 500))
            pq_ranges_add(&s, base + k);
        struct pq_wr w = pq_wr_init(buf, 8 + ut_below(&seed, sizeof buf - 8));
        const struct pq_ranges before = s;
        pq_ranges_put(&s, round, &w);
        if (w.bad)
            continue;
        struct pq_rd rd = pq_rd_init(buf, pq_wr_len(&w));
        struct pq_told t;
        assert_true(pq_ranges_read(&rd, &t));
        assert_int_equal(pq_rd_left(&rd), 0);
        assert_int_equal(t.newest, t.r[0].hi);
        const unsigned skip = before.untold > 32 ? before.untold - 32 : 0;
        assert_int_equal(t.delay, skip ? 0 : round);
        for (unsigned i = 0; i < t.n; i++) {
            assert_int_equal(t.r[i].lo, before.r[skip + i].lo);
            assert_int_equal(t.r[i].hi, before.r[skip + i].hi);
        }
    }
}

/* Each range is told three times after it has grown, the newest always. */
static void told_three_times(void **state)
{
    (void)state;
    struct pq_ranges s = {0};
    static const uint32_t numbers[] = {1, 2, 5, 9};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        pq_ranges_add(&s, numbers[i]);
    static const unsigned want[] = {3, 3, 3, 1, 1};
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        uint8_t buf[64];
        struct pq_wr w = pq_wr_init(buf, sizeof buf);
        struct pq_told t;
        pq_ranges_put(&s, 1, &w);
        struct pq_rd rd = pq_rd_init(buf, pq_wr_len(&w));
        assert_true(pq_ranges_read(&rd, &t));
        assert_int_equal(t.n, want[i]);
        assert_int_equal(pq_ranges_untold(&s), 0);
    }
    pq_ranges_add(&s, 6);
    assert_int_equal(pq_ranges_untold(&s), 1);
    assert_int_equal(pq_ranges_add(&s, 6), PQ_ARRIVED_SEEN);
    assert_int_equal(pq_ranges_untold(&s), 1);
}

static void malformed_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        bool ok;
    } t[] = {
        {"05000000 01 00", true},
        {"05000000 01 01 00", true},
        {"05000000 01 02 01 00 00", true},
        {"05000000 01 02 01 00", false},            /* cut */
        {"05000000 01 21 00", false},               /* 33 ranges */
        {"05000000 01 01 ffffffff07", true},        /* 2^31 - 1 below */
        {"05000000 01 01 8080808008", false},       /* 2^31 below */
        {"05000000 01 02 ffffffff07 00 00", false}, /* the second one too far */
        {"05000000 01 01 ffffffffff01", false},     /* six bytes */
        {"05000000 01 01 ffffffff1f", false},       /* more than 32 bits */
        {"05000000 01 01 ffffffff", false},
        {"05000000 8080808080 00", false},
        {"050000", false},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        uint8_t buf[32];
        size_t n = ut_hex(t[i].hex, buf, sizeof buf);
        uint8_t *p = ut_exact(buf, n);
        struct pq_rd rd = pq_rd_init(p, n);
        struct pq_told told;
        if (pq_ranges_read(&rd, &told) != t[i].ok)
            fail_msg("%s", t[i].hex);
        free(p);
    }
}

/* ---- blocks on the wire */

static struct kend *lean_end(const struct pq_kcp_conf *c)
{
    static struct kend ends[2];
    static unsigned next;
    struct kend *e = &ends[next++ % 2];
    kend_init(e, c);
    assert_int_equal(pq_kcp_lean(e->k, e->k->conf.mtu), 0);
    pq_kcp_extend(e->k);
    return e;
}

static void the_examples(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    c.rcv_wnd = 128;
    struct kend *e = lean_end(&c);
    uint8_t out[1400], want[64];
    kend_write(e, "hello", 5);
    size_t n = pq_kcp_pull(e->k, out, sizeof out, PQ_SEC);
    assert_int_equal(n, ut_hex("00000000 03 000000 0500 68656c6c6f", want, sizeof want));
    assert_memory_equal(out, want, n);
    /* two segments that follow each other, then a number is missing */
    static const char *const in[] = {"02000000 02 000000 61", "04000000 02 010000 62"};
    for (int i = 0; i < 2; i++) {
        n = ut_hex(in[i], want, sizeof want);
        assert_int_equal(kend_input(e, want, n, 2 * PQ_SEC), PQ_DROP_NONE);
    }
    n = ut_hex("05000000 02 020000 63", want, sizeof want);
    assert_int_equal(kend_input(e, want, n, 2 * PQ_SEC), PQ_DROP_NONE);
    assert_int_equal(e->rx_len, 3);
    e->k->timeout_at = 2 * PQ_SEC; /* its own segment is not sent again here */
    n = pq_kcp_pull(e->k, out, sizeof out, 2 * PQ_SEC + 100 * PQ_US);
    assert_int_equal(n, ut_hex("03000000 01 00 8000 05000000 65 02 01 00 00", want, sizeof want));
    assert_memory_equal(out, want, n);
    kend_fini(e);
}

/* What is malformed, or confirms what was never sent, changes nothing; what came before it counts.
 */
static void lies(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        enum pq_drop want;
    } t[] = {
        {"01000000 01 00 8000 00000000 00 01 00", PQ_DROP_NONE},
        {"02000000 01 00 8000 00000000 00 01 00", PQ_DROP_SEGMENT}, /* una: never sent */
        {"ffffffff 01 00 8000 00000000 00 01 00", PQ_DROP_NONE},    /* an old one */
        {"00000000 01 00 8000 01000000 00 01 00", PQ_DROP_SEGMENT}, /* number: never sent */
        {"00000000 01 00 8000 ffffff7f 00 01 00", PQ_DROP_SEGMENT},
        {"00000000 01 00 8000 01000080 00 01 ffffffff07", PQ_DROP_SEGMENT}, /* far below */
        {"00000000 01 00 8000 010000c0 00 01 ffffffff07", PQ_DROP_NONE},    /* nothing of it */
        {"00000000 01 00 8000 00000000 00 01 00 00000000 01 00 8000 00000000 00 01 00",
         PQ_DROP_SEGMENT}, /* twice */
        {"00000000 01 00 8000 00000000 00 01", PQ_DROP_SEGMENT},
        {"00000000 01", PQ_DROP_SEGMENT},
        {"00000000", PQ_DROP_SEGMENT},
        {"00000000 00 000000 61", PQ_DROP_SEGMENT}, /* kinds that are none */
        {"00000000 05 000000 61", PQ_DROP_SEGMENT},
        {"00000000 12 000000 61", PQ_DROP_SEGMENT},
        {"00000000 02 000000", PQ_DROP_SEGMENT}, /* no payload */
        {"00000000 03 000000 0000", PQ_DROP_SEGMENT},
        {"00000000 03 000000 0500 61626364", PQ_DROP_SEGMENT},
        {"00000000 03 0000", PQ_DROP_SEGMENT},
        {"00000000 03 000000 0100 61 00000000 09", PQ_DROP_SEGMENT}, /* the first counts */
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_kcp_conf c = kconf();
        struct kend *e = lean_end(&c);
        uint8_t out[1400], in[64];
        kend_write(e, "x", 1);
        assert_true(pq_kcp_pull(e->k, out, sizeof out, PQ_SEC) > 0);
        size_t n = ut_hex(t[i].hex, in, sizeof in);
        if (kend_input(e, in, n, PQ_SEC + PQ_MS) != t[i].want)
            fail_msg("%s", t[i].hex);
        assert_int_equal(pq_kcp_idle(e->k), i == 0);
        assert_int_equal(e->rx_len, i == COUNT_OF(t) - 1);
        kend_fini(e);
    }
}

/* Blocks behind which there is room may be padded, and are read as before; longer datagrams are
 * left alone, and so is all that goes to a peer that does not know it. */
static void padding(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 64, 550, 590, 1300};
    struct pq_kcp_conf c = kconf();
    struct pq_rng rng;
    pq_rng_init_seed(&rng, ut_seed("padding"));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct kend *e[2] = {lean_end(&c), lean_end(&c)};
        uint8_t out[1400], data[1300];
        size_t lengths = 0;
        bool seen[128] = {false};
        ut_pattern(data, sizeof data, 9);
        for (unsigned k = 0; k < 400; k++) {
            const pq_ns now = (k + 1) * PQ_SEC;
            if (k == 100)
                pq_kcp_pads(e[0]->k);
            kend_write(e[0], data, sizes[i]);
            const size_t n = pq_kcp_pull(e[0]->k, out, sizeof out, now);
            const size_t all = pq_kcp_pad(e[0]->k, out, n, sizeof out - n, &rng, now);
            assert_in_range(all, n, k < 100 || n >= 600 ? n : n + 127);
            assert_true(all == n || all >= n + 5);
            lengths += !seen[all - n];
            seen[all - n] = true;
            assert_int_equal(kend_input(e[1], out, all, now), PQ_DROP_NONE);
            assert_int_equal(e[1]->rx_len, sizes[i]);
            e[1]->rx_len = 0;
            const size_t back = pq_kcp_pull(e[1]->k, out, sizeof out, now + 30 * PQ_MS);
            kend_input(e[0], out, back, now + 31 * PQ_MS);
        }
        assert_true(sizes[i] > 580 ? lengths == 1 : lengths > 80);
        kend_fini(e[0]);
        kend_fini(e[1]);
    }
}

/* Who sends many short datagrams pays no more for it than a thirty-second and 2 kB/s. */
static void padding_is_bounded(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    struct kend *e = lean_end(&c);
    struct pq_rng rng;
    uint8_t out[1400];
    size_t sent = 0, more = 0;
    pq_rng_init_seed(&rng, ut_seed("padding is bounded"));
    pq_kcp_pads(e->k);
    kend_write(e, "z", 1);
    const size_t n = pq_kcp_pull(e->k, out, sizeof out, PQ_SEC);
    for (unsigned i = 0; i < 100000; i++) {
        sent += n;
        more += pq_kcp_pad(e->k, out, n, sizeof out - n, &rng, PQ_SEC + (pq_ns)i * 100 * PQ_US) - n;
    }
    assert_true(more > 20000 && more <= 20000 + 4096 + sent / 32);
    kend_fini(e);
}

/* Ranges that confirm everything, again and again, cost no more than what is in flight. */
static void ranges_without_end(void **state)
{
    (void)state;
    struct pq_kcp_conf c = kconf();
    struct kend *e = lean_end(&c);
    uint8_t out[1400], in[64];
    pq_ns now = PQ_SEC;
    for (unsigned i = 0; i < 200000; i++) {
        if (i % 1000 == 0)
            kend_write(e, "y", 1);
        pq_kcp_pull(e->k, out, sizeof out, now);
        const uint32_t newest = e->k->numbers.next - 1;
        struct pq_wr w = pq_wr_init(in, sizeof in);
        pq_wr_le32(&w, e->k->snd_una);
        pq_wr_bytes(&w, "\x01\x00\x80\x00", 4);
        pq_wr_le32(&w, newest);
        pq_wr_bytes(&w, "\x00\x01\xff\xff\xff\xff\x07", 7);
        kend_input(e, in, pq_wr_len(&w), now);
        now += PQ_US;
    }
    assert_true(e->k->numbers.next - e->k->numbers.first <= e->k->numbers.cap);
    assert_true(e->k->numbers.cap <= 65536);
    kend_fini(e);
}

/* ---- transfers */

struct way {
    uint8_t p[4096][1400];
    size_t n[4096];
    pq_ns at[4096];
    unsigned head, tail;
};

static void carry(struct way *ways, struct kend *e[2], pq_ns now)
{
    for (unsigned i = 0; i < 2; i++) {
        struct way *y = &ways[i];
        for (; y->head != y->tail && y->at[y->head % 4096] <= now; y->head++)
            kend_input(e[!i], y->p[y->head % 4096], y->n[y->head % 4096], now);
    }
}

/* Both send at once, what is lost is told by chance; returns ms until all has come. */
static unsigned transfer(unsigned loss, uint32_t first, size_t bytes, struct pq_kcp_stats stats[2])
{
    static struct way ways[2];
    struct pq_kcp_conf c = kconf();
    uint64_t seed = ut_seed("lean");
    struct kend *e[2] = {lean_end(&c), lean_end(&c)};
    uint8_t *data = malloc(bytes);
    ut_pattern(data, bytes, 3);
    ways[0].head = ways[0].tail = ways[1].head = ways[1].tail = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct pq_kcp *k = e[i]->k;
        k->snd_una = k->snd_nxt = k->rcv_nxt = k->rcv_read = k->rcv_high = first;
        k->numbers.first = k->numbers.next = first;
        k->rack_order = first - 1;
        for (size_t at = 0; at < bytes; at += 10000)
            kend_write(e[i], data + at, bytes - at < 10000 ? bytes - at : 10000);
    }
    unsigned ms = 0;
    for (; ms < 60000 && (e[0]->rx_len < bytes || e[1]->rx_len < bytes); ms++) {
        const pq_ns now = PQ_SEC + ms * PQ_MS;
        carry(ways, e, now);
        for (unsigned i = 0; i < 2; i++) {
            struct way *y = &ways[i];
            for (size_t n; y->tail - y->head < 4096; y->tail++) {
                n = pq_kcp_pull(e[i]->k, y->p[y->tail % 4096], 1400, now);
                if (!n)
                    break;
                y->n[y->tail % 4096] = n;
                y->at[y->tail % 4096] = now + 20 * PQ_MS;
                if (ut_below(&seed, 1000) < loss)
                    y->tail--;
            }
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(e[i]->rx_len, bytes);
        assert_memory_equal(e[i]->rx, data, bytes);
        pq_kcp_get_stats(e[i]->k, &stats[i]);
        kend_fini(e[i]);
    }
    free(data);
    return ms;
}

static void transfers(void **state)
{
    (void)state;
    static const unsigned losses[] = {0, 10, 100, 400};
    static const uint32_t firsts[] = {0, 0xfffffe00, 0x7fffff00};
    for (size_t i = 0; i < COUNT_OF(losses); i++)
        for (size_t k = 0; k < COUNT_OF(firsts); k++) {
            struct pq_kcp_stats s[2];
            transfer(losses[i], firsts[k] / SEGS_PER_BLOCK * SEGS_PER_BLOCK, 3000000, s);
            if (!losses[i])
                assert_int_equal(s[0].resent + s[1].resent, 0);
            assert_true(s[0].spurious * (losses[i] < 400 ? 100 : 10) <= s[0].sent);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_follow_a_model),
        cmocka_unit_test(what_is_told_is_read),
        cmocka_unit_test(told_three_times),
        cmocka_unit_test(malformed_ranges),
        cmocka_unit_test(the_examples),
        cmocka_unit_test(lies),
        cmocka_unit_test(ranges_without_end),
        cmocka_unit_test(transfers),
        cmocka_unit_test(padding),
        cmocka_unit_test(padding_is_bounded),
    };
    return cmocka_run_group_tests_name("lean", tests, NULL, NULL);
}
