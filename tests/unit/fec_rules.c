/* SPDX-License-Identifier: MIT */
/* fec_rules.c - the receiving side: loss, disorder, bounds of ids and sizes, memory [3.4]. */
#include "fec_ref.h"

#define MEMORY (8u << 20)

static struct fgroup grp[8];
static struct fend end;

/* ---- loss */

/* Every loss there is in 4+2, each in order and in three other orders. */
static void every_loss(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec loss");
    unsigned rebuilt = 0;
    for (unsigned mask = 0; mask < 64; mask++) {
        for (int round = 0; round < 4; round++) {
            bool lost[6];
            unsigned order[6], n_lost = 0;
            shuffle(&seed, order, 6);
            for (unsigned i = 0; i < 6; i++)
                n_lost += lost[i] = mask >> i & 1;
            fend_init(&end, 4, 2, MEMORY);
            ref_group(&grp[0], 4, 2, 600, &seed, 100);
            bool did = fend_group(&end, &grp[0], lost, round ? order : NULL);
            if (!round)
                assert_int_equal(did, n_lost <= 2 && mask & 15);
            rebuilt += did;
            for (uint32_t i = 1; i <= 4; i++) { /* what follows is not harmed and pushes it out */
                ref_group(&grp[0], 4, 2, 600 + 6 * i, &seed, 100);
                lost[0] = lost[2] = true;
                lost[1] = lost[3] = lost[4] = lost[5] = false;
                assert_true(fend_group(&end, &grp[0], lost, NULL));
            }
            assert_int_equal(fend_held(&end), 0);
            fend_fini(&end);
        }
    }
    assert_in_range(rebuilt, 20, 4 * 64);
}

static void random_loss(unsigned d, unsigned p, unsigned groups, uint64_t *seed, uint32_t max)
{
    unsigned g = d + p, order[PQ_RS_SHARDS_MAX];
    fend_init(&end, d, p, MEMORY);
    for (uint32_t i = 0; i < groups; i++) {
        bool lost[PQ_RS_SHARDS_MAX] = {false};
        ref_group(&grp[0], d, p, i * g, seed, max);
        unsigned n = ut_below(seed, p + 2);
        shuffle(seed, order, g);
        for (unsigned k = 0; k < n; k++)
            lost[order[k]] = true;
        shuffle(seed, order, g);
        bool did = fend_group(&end, &grp[0], lost, ut_below(seed, 2) ? order : NULL);
        assert_true(!did || n <= p);
        assert_in_range(fend_held(&end), 0, 4 * g); /* as many groups as are kept */
    }
    struct pq_fec_stats st;
    pq_fec_dec_stats(end.d, &st);
    assert_true(st.rebuilt >= groups / 8);
    assert_int_equal(st.d, d);
    assert_int_equal(st.p, p);
    fend_fini(&end);
}

static void more_loss(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec random loss");
    random_loss(10, 3, 600, &seed, 60);
    random_loss(10, 3, 100, &seed, FEC_MAX);
    random_loss(1, 1, 200, &seed, FEC_MAX);
    random_loss(3, 7, 200, &seed, 200);
    random_loss(128, 128, 16, &seed, 20);
    random_loss(255, 1, 16, &seed, 100);
    random_loss(1, 255, 16, &seed, FEC_MAX);
    random_loss(2, 254, 16, &seed, 50);
    random_loss(200, 55, 16, &seed, 20);
}

/* ---- order */

/* All packets of four groups at a time, mixed: each group is rebuilt by itself. */
static void mixed_groups(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec order");
    for (unsigned round = 0; round < 100; round++) {
        unsigned order[52], lost[4][3];
        fend_init(&end, 10, 3, MEMORY);
        for (unsigned i = 0; i < 4; i++) {
            ref_group(&grp[i], 10, 3, (round * 5 + i) * 13, &seed, 90);
            for (unsigned k = 0; k < 3; k++) /* one of 0..2, 3..5, 6..8 */
                lost[i][k] = 3 * k + ut_below(&seed, 3);
        }
        shuffle(&seed, order, 52);
        unsigned sent = 0;
        for (unsigned i = 0; i < 52; i++) {
            unsigned g = order[i] / 13, at = order[i] % 13;
            if (at == lost[g][0] || at == lost[g][1] || at == lost[g][2])
                continue;
            assert_int_equal(fend_give(&end, &grp[g].pkt[at]), PQ_DROP_NONE);
            sent++;
        }
        assert_int_equal(sent, 40);
        assert_int_equal(end.n_got, 12);
        for (unsigned i = 0; i < 12; i++)
            assert_true(fend_has(&end, &grp[i / 3].pkt[lost[i / 3][i % 3]]));
        fend_done(&end);
        assert_int_equal(fend_held(&end), 0);
        fend_fini(&end);
    }
}

static void duplicates(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec duplicates");
    fend_init(&end, 4, 2, MEMORY);
    for (uint32_t i = 0; i < 50; i++) {
        ref_group(&grp[0], 4, 2, i * 6, &seed, 50);
        unsigned lost = i % 4;
        for (unsigned at = 0; at < 4; at++) {
            for (unsigned times = 0; at != lost && times < 3; times++)
                assert_int_equal(fend_give(&end, &grp[0].pkt[at]), PQ_DROP_NONE);
            assert_int_equal(end.n_got, 0);
        }
        for (unsigned times = 0; times < 3; times++)
            assert_int_equal(fend_give(&end, &grp[0].pkt[5]), PQ_DROP_NONE);
        for (unsigned at = 0; at < 6; at++) /* all over again, the lost one too */
            assert_int_equal(fend_give(&end, &grp[0].pkt[at]), PQ_DROP_NONE);
        assert_int_equal(end.n_got, 1);
        assert_true(fend_has(&end, &grp[0].pkt[lost]));
        fend_done(&end);
        assert_int_equal(fend_held(&end), 0);
    }
    fend_fini(&end);
}

/* Three groups behind the newest still counts, four does not. */
static void late_groups(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec late");
    for (unsigned behind = 1; behind <= 6; behind++) {
        fend_init(&end, 4, 2, MEMORY);
        ref_group(&grp[0], 4, 2, 60, &seed, 50);
        ref_group(&grp[1], 4, 2, 60 + 6 * behind, &seed, 50);
        for (unsigned i = 1; i < 4; i++)
            assert_int_equal(fend_give(&end, &grp[0].pkt[i]), PQ_DROP_NONE);
        assert_int_equal(fend_give(&end, &grp[1].pkt[3]), PQ_DROP_NONE);
        enum pq_drop want = behind > 3 ? PQ_DROP_FEC : PQ_DROP_NONE;
        assert_int_equal(fend_give(&end, &grp[0].pkt[4]), want);
        assert_int_equal(end.n_got, behind <= 3);
        if (behind <= 3)
            assert_true(fend_has(&end, &grp[0].pkt[0]));
        else
            assert_int_equal(fend_give(&end, &grp[0].pkt[1]), want);
        fend_done(&end);
        for (unsigned i = 1; i < 5; i++) /* the newer group is whole */
            fend_give(&end, &grp[1].pkt[i]);
        assert_true(fend_has(&end, &grp[1].pkt[0]));
        fend_fini(&end);
    }
}

/* ---- ids */

/* After a jump forward groups are rebuilt as before; a jump back is late. */
static void jumps(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec jumps");
    bool lost[13] = {[2] = true, [9] = true};
    static const uint32_t to[] = {1, 5, 20, 25, 1000, 1004, 160000000};
    fend_init(&end, 10, 3, MEMORY);
    for (size_t i = 0; i < COUNT_OF(to); i++) {
        ref_group(&grp[0], 10, 3, to[i] * 13, &seed, 40);
        assert_true(fend_group(&end, &grp[0], lost, NULL));
        ref_group(&grp[1], 10, 3, (to[i] + 3) * 13, &seed, 40);
        assert_int_equal(fend_give(&end, &grp[1].pkt[0]), PQ_DROP_NONE); /* never completed */
        for (unsigned k = 0; k < 13; k++) {
            ref_head(&grp[1].pkt[k], (to[i] - 1) * 13 + k, k < 10 ? 0xf1 : 0xf2);
            assert_int_equal(fend_give(&end, &grp[1].pkt[k]), PQ_DROP_FEC);
        }
        assert_int_equal(end.n_got, 0);
        assert_in_range(fend_held(&end), 1, 4);
    }
    fend_fini(&end);
}

/* Groups around the end of the ids, mixed as on a path that reorders [3.1]. */
static void id_wrap(void **state)
{
    (void)state;
    static const unsigned shape[][2] = {{1, 1}, {2, 1}, {4, 1}, {4, 2}, {10, 3}, {100, 50}};
    uint64_t seed = ut_seed("fec wrap");
    for (size_t s = 0; s < COUNT_OF(shape); s++) {
        unsigned d = shape[s][0], g = d + shape[s][1], order[4 * 150];
        uint32_t limit = ref_limit(g);
        for (unsigned before = 0; before <= 5; before++) {
            fend_init(&end, d, shape[s][1], MEMORY);
            for (uint32_t i = 0; i < 4; i++) {
                uint32_t first = before > i ? limit - (before - i) * g : (i - before) * g;
                ref_group(&grp[i], d, shape[s][1], first, &seed, 20);
            }
            shuffle(&seed, order, 4 * g);
            for (unsigned i = 0; i < 4 * g; i++) /* each group misses its first packet */
                if (order[i] % g)
                    assert_int_equal(fend_give(&end, &grp[order[i] / g].pkt[order[i] % g]), 0);
            for (unsigned i = 0; i < 4; i++)
                assert_true(fend_has(&end, &grp[i].pkt[0]));
            fend_done(&end);
            assert_int_equal(fend_held(&end), 0);
            fend_fini(&end);
        }
    }
}

/* Behind the end of the ids, what comes from far before it is late and disturbs nothing. */
static void late_wrap(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec late wrap");
    fend_init(&end, 4, 2, MEMORY);
    uint32_t limit = ref_limit(6);
    ref_group(&grp[0], 4, 2, limit - 6, &seed, 20);
    ref_group(&grp[1], 4, 2, 0, &seed, 20);
    ref_group(&grp[2], 4, 2, 12, &seed, 20);
    assert_true(fend_group(&end, &grp[0], (bool[6]){true}, NULL));
    assert_true(fend_group(&end, &grp[1], (bool[6]){true}, NULL));
    for (unsigned at = 1; at < 5; at++) {
        assert_int_equal(fend_give(&end, &grp[2].pkt[at]), PQ_DROP_NONE);
        for (uint32_t back = 2; back < 20; back++) {
            ref_group(&grp[3], 4, 2, limit - 6 * back, &seed, 20);
            assert_int_equal(fend_give(&end, &grp[3].pkt[at]), PQ_DROP_FEC);
        }
    }
    assert_int_equal(end.n_got, 1);
    assert_true(fend_has(&end, &grp[2].pkt[0]));
    fend_fini(&end);
}

/* Ids that no sender uses are ignored, and do not contradict [3.1]. */
static void id_limit(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec limit");
    fend_init(&end, 10, 3, MEMORY);
    for (uint32_t i = 0; i < 20; i++) {
        bool lost[13] = {[0] = true, [4] = true, [12] = true};
        for (uint32_t id = ref_limit(13); id; id++) { /* up to 0xffffffff */
            struct fpkt k;
            ref_data(&k, id, "0123456789", 10);
            assert_int_equal(fend_give(&end, &k), PQ_DROP_FEC);
            ref_head(&k, id, 0xf2);
            assert_int_equal(fend_give(&end, &k), PQ_DROP_FEC);
        }
        ref_group(&grp[0], 10, 3, i * 13, &seed, 40);
        assert_true(fend_group(&end, &grp[0], lost, NULL));
    }
    fend_fini(&end);
}

/* ---- sizes */

static void malformed(void **state)
{
    (void)state;
    struct fpkt k;
    uint64_t seed = ut_seed("fec sizes");
    static const uint16_t types[] = {0, 0xf0, 0xf3, 0x1f1, 0xf1f1, 0xf200, 0xffff};
    fend_init(&end, 4, 2, MEMORY);
    ref_group(&grp[0], 4, 2, 0, &seed, FEC_MAX);
    for (unsigned at = 0; at < 6; at += 5) {
        for (size_t i = 0; i < COUNT_OF(types); i++) {
            k = grp[0].pkt[at];
            ref_head(&k, at, types[i]);
            assert_int_equal(fend_give(&end, &k), PQ_DROP_FEC);
        }
        for (k.n = 0; k.n < 8; k.n++)
            assert_int_equal(fend_give(&end, &k), PQ_DROP_FEC);
        k.n = FEC_BYTES + 1;
        ref_head(&k, at, at ? 0xf2 : 0xf1);
        assert_int_equal(fend_give(&end, &k), PQ_DROP_FEC);
    }
    for (uint32_t size = 0; size < 0x10000; size++) {
        ref_data(&k, 0, "0123456789", 10);
        k.b[6] = (uint8_t)size;
        k.b[7] = (uint8_t)(size >> 8);
        if (size < 2 || size > 12)
            assert_int_equal(fend_give(&end, &k), PQ_DROP_FEC);
    }
    assert_int_equal(fend_held(&end), 0);
    assert_true(fend_group(&end, &grp[0], (bool[6]){true, true}, NULL));
    fend_fini(&end);
}

/* Bytes behind a datagram's size are no part of its shard. */
static void trailing_bytes(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec trailing");
    fend_init(&end, 4, 2, MEMORY);
    for (uint32_t i = 0; i < 50; i++) {
        ref_group(&grp[0], 4, 2, 6 * i, &seed, 60);
        for (unsigned at = 1; at < 4; at++) {
            struct fpkt *k = &grp[0].pkt[at];
            memset(k->b + k->n, 0xaa, i);
            k->n += i;
        }
        assert_true(fend_group(&end, &grp[0], (bool[6]){true}, NULL));
    }
    fend_fini(&end);
}

/* What the parity says of the size of a rebuilt datagram is not believed: 1+1, a copy. */
static void rebuilt_sizes(void **state)
{
    (void)state;
    fend_init(&end, 1, 1, MEMORY);
    uint32_t id = 0;
    for (uint32_t size = 0; size < 0x10000; size += size < 1510 ? 1 : 499) {
        for (size_t n = 0; n <= FEC_MAX; n += n < 8 ? 1 : 149) {
            struct fpkt k = {.n = 8 + n};
            memset(k.b, 0x55, sizeof k.b);
            ref_head(&k, id + 1, 0xf2);
            k.b[6] = (uint8_t)size;
            k.b[7] = (uint8_t)(size >> 8);
            assert_int_equal(fend_give(&end, &k), PQ_DROP_NONE);
            assert_int_equal(end.n_got, size >= 2 && size <= 2 + n);
            if (end.n_got)
                assert_int_equal(end.got[0].n, size - 2);
            fend_done(&end);
            assert_int_equal(fend_held(&end), 0);
            id += 2;
        }
    }
    fend_fini(&end);
}

/* Parity of another group, shorter or longer than the data: the next group is as it should be. */
static void wrong_parity(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec parity");
    fend_init(&end, 4, 2, MEMORY);
    for (uint32_t i = 0; i < 500; i += 2) {
        ref_group(&grp[0], 4, 2, 6 * i, &seed, 200);
        for (unsigned at = 0; at < 3; at++)
            assert_int_equal(fend_give(&end, &grp[0].pkt[at]), PQ_DROP_NONE);
        grp[0].pkt[5].n = 8 + ut_below(&seed, FEC_MAX);
        ut_random(&seed, grp[0].pkt[5].b + 6, grp[0].pkt[5].n - 6);
        assert_int_equal(fend_give(&end, &grp[0].pkt[5]), PQ_DROP_NONE);
        assert_in_range(end.n_got, 0, 1);
        fend_done(&end);
        assert_int_equal(fend_held(&end), 0);
        ref_group(&grp[0], 4, 2, 6 * (i + 1), &seed, 200);
        assert_true(fend_group(&end, &grp[0], (bool[6]){false, true, true}, NULL));
    }
    fend_fini(&end);
}

/* ---- memory */

/* Without memory nothing is rebuilt; with memory again it is. */
static void no_memory(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec memory");
    for (unsigned most = 1; most < 16; most++) {
        fend_init(&end, 10, 3, most * (sizeof(struct pq_chunk) + 8 + PQ_CHUNK_SMALL) + 1);
        for (uint32_t i = 0; i < 60; i++) {
            bool lost[13] = {[1] = true, [2] = true, [3] = true};
            ref_group(&grp[0], 10, 3, i * 13, &seed, 30);
            unsigned full = 0;
            for (unsigned at = 0; at < 13; at++)
                if (!lost[at])
                    full += fend_give(&end, &grp[0].pkt[at]) == PQ_DROP_FULL;
            assert_in_range(fend_held(&end), 0, most);
            assert_int_equal(full > 0, most < 10);
            assert_int_equal(end.n_got, most < 13 ? 0 : 3); /* 10 shards and what is rebuilt */
            for (unsigned k = 1; k <= end.n_got; k++)
                assert_true(fend_has(&end, &grp[0].pkt[k]));
            fend_done(&end);
        }
        fend_fini(&end);
    }
}

int fec_rules(void)
{
    const struct CMUnitTest rules[] = {
        cmocka_unit_test(every_loss),     cmocka_unit_test(more_loss),
        cmocka_unit_test(mixed_groups),   cmocka_unit_test(duplicates),
        cmocka_unit_test(late_groups),    cmocka_unit_test(jumps),
        cmocka_unit_test(id_wrap),        cmocka_unit_test(late_wrap),
        cmocka_unit_test(id_limit),       cmocka_unit_test(malformed),
        cmocka_unit_test(trailing_bytes), cmocka_unit_test(rebuilt_sizes),
        cmocka_unit_test(wrong_parity),   cmocka_unit_test(no_memory),
    };
    return ut_run(rules);
}
