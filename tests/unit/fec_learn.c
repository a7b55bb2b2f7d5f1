/* SPDX-License-Identifier: MIT */
/* fec_learn.c - the receiving side finds out (D, P) by itself, and stands whatever comes [3.4]. */
#include "fec_ref.h"

#define MEMORY (8u << 20)

static struct fgroup grp;
static struct fend end;

struct course {
    unsigned guess_d, guess_p, d, p;
    uint32_t first;          /* id of the first packet */
    unsigned loss;           /* of 100 packets */
    unsigned copies, window; /* each packet so often; reordered within so many */
    unsigned skip;           /* every so many-th group has no parity; 0 = all have */
    unsigned most;           /* packets until it is learned */
};

static bool knows(unsigned d, unsigned p)
{
    unsigned got_d, got_p;
    fend_learned(&end, &got_d, &got_p);
    return got_d == d && got_p == p;
}

static void give(const struct course *c, uint32_t id)
{
    struct fpkt k;
    unsigned g = c->d + c->p;
    bool data = id % g < c->d;
    if (!data && c->skip && id / g % c->skip == 0)
        return;
    ref_data(&k, id, "datagram", 8);
    if (!data)
        ref_head(&k, id, 0xf2);
    for (unsigned i = 0; i < c->copies; i++) {
        enum pq_drop drop = fend_give(&end, &k);
        assert_true(drop == PQ_DROP_NONE || (drop == PQ_DROP_FEC && !data));
    }
    fend_done(&end);
    assert_in_range(fend_held(&end), 0, 4 * PQ_RS_SHARDS_MAX);
}

/* Gives packets until (D, P) is learned or c->most have gone.  Returns how many, and the id of
 * the next group in *next. */
static unsigned follow(const struct course *c, uint64_t *seed, uint32_t *next)
{
    unsigned n = 0, g = c->d + c->p, order[64];
    uint32_t id = c->first;
    while (n < c->most && !knows(c->d, c->p)) {
        shuffle(seed, order, c->window);
        for (unsigned i = 0; i < c->window && !knows(c->d, c->p); i++)
            if (ut_below(seed, 100) >= c->loss) {
                give(c, id + order[i]);
                n++;
            }
        id += c->window;
    }
    *next = (id / g + 1) * g;
    return n;
}

static void rebuilds(unsigned d, unsigned p, uint32_t first, uint64_t *seed)
{
    bool lost[PQ_RS_SHARDS_MAX] = {[0] = true};
    for (uint32_t i = 0; i < 6; i++) {
        ref_group(&grp, d, p, first + i * (d + p), seed, 30);
        assert_true(fend_group(&end, &grp, lost, NULL));
    }
}

static const struct course courses[] = {
    /* a side without FEC, from the first packet of a session and from the middle of one */
    {1, 1, 10, 3, 0, 0, 1, 1, 0, 40},
    {1, 1, 10, 3, 1000003, 0, 1, 1, 0, 56},
    {1, 1, 4, 2, 0, 0, 1, 1, 0, 32},
    {1, 1, 2, 1, 0, 0, 1, 1, 0, 32},
    {1, 1, 1, 2, 0, 0, 1, 1, 0, 32},
    {1, 1, 3, 1, 0, 0, 1, 1, 0, 32},
    {1, 1, 100, 50, 0, 0, 1, 1, 0, 320},
    {1, 1, 70, 30, 7, 0, 1, 1, 0, 320},
    {1, 1, 200, 40, 0, 0, 1, 1, 0, 520},
    /* wrong guesses */
    {10, 3, 4, 2, 0, 0, 1, 1, 0, 48},
    {10, 3, 1, 1, 0, 0, 1, 1, 0, 48},
    {4, 2, 10, 3, 0, 0, 1, 1, 0, 48},
    {10, 3, 3, 10, 0, 0, 1, 1, 0, 48},
    {10, 3, 10, 4, 0, 0, 1, 1, 0, 64},
    {10, 3, 20, 6, 0, 0, 1, 1, 0, 96},
    {255, 1, 10, 3, 0, 0, 1, 1, 0, 48},
    {1, 255, 10, 3, 0, 0, 1, 1, 0, 48},
    {128, 128, 10, 3, 0, 0, 1, 1, 0, 160},
    /* disturbed */
    {1, 1, 10, 3, 0, 5, 1, 1, 0, 400},
    {1, 1, 10, 3, 0, 15, 1, 1, 0, 3000},
    {1, 1, 10, 3, 0, 0, 1, 16, 0, 100},
    {1, 1, 10, 3, 0, 0, 2, 1, 0, 60},
    {1, 1, 10, 3, 0, 0, 3, 8, 0, 100},
    {1, 1, 10, 3, 0, 0, 1, 1, 3, 100},
    {1, 1, 10, 3, 0, 5, 2, 10, 3, 1000},
    {1, 1, 4, 2, 4294967292u - 60, 0, 1, 1, 0, 48},
    /* the longest that fit in the samples */
    {1, 1, 200, 50, 0, 0, 1, 1, 0, 6000},
    {1, 1, 200, 55, 0, 0, 1, 1, 0, 6000},
    {1, 1, 254, 1, 0, 0, 1, 1, 0, 6000},
    {1, 1, 1, 254, 0, 0, 1, 1, 0, 6000},
};

static void learns(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec learn");
    for (size_t i = 0; i < COUNT_OF(courses); i++) {
        const struct course *c = &courses[i];
        uint32_t next;
        fend_init(&end, c->guess_d, c->guess_p, MEMORY);
        unsigned n = follow(c, &seed, &next);
        print_message("fec %u+%u, guessed %u+%u, loss %u %%, %u copies, window %u: %u packets\n",
                      c->d, c->p, c->guess_d, c->guess_p, c->loss, c->copies, c->window, n);
        assert_true(knows(c->d, c->p));
        rebuilds(c->d, c->p, next, &seed);
        assert_true(knows(c->d, c->p));
        fend_fini(&end);
    }
}

/* 256 shards are never learned; nothing is stored, datagrams pass. */
static void never_learned(void **state)
{
    (void)state;
    static const unsigned shape[][2] = {{128, 128}, {255, 1}, {1, 255}, {250, 6}};
    for (size_t i = 0; i < COUNT_OF(shape); i++) {
        struct course c = {1, 1, shape[i][0], shape[i][1], 0, 0, 1, 1, 0, 5000};
        uint64_t seed = 3;
        uint32_t next;
        fend_init(&end, 1, 1, MEMORY);
        assert_true(follow(&c, &seed, &next) >= c.most);
        assert_true(knows(1, 1));
        assert_in_range(fend_held(&end), 0, 8);
        fend_fini(&end);
    }
}

/* A packet that contradicts what is right: after some more it is all as before. */
static void contradiction(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec contradiction");
    for (uint32_t which = 0; which < 13; which++) {
        struct fpkt k;
        uint32_t at = 100, n = 0;
        bool did;
        fend_init(&end, 10, 3, MEMORY);
        rebuilds(10, 3, 0, &seed);
        ref_data(&k, 80 * 13 + which, "wrong", 5);
        if (which < 10)
            ref_head(&k, 80 * 13 + which, 0xf2);
        fend_give(&end, &k);
        assert_int_equal(fend_held(&end), 0);
        do { /* every third group lacks a datagram */
            bool lost[13] = {false};
            lost[ut_below(&seed, 10)] = at % 3 == 0;
            ref_group(&grp, 10, 3, at++ * 13, &seed, 30);
            for (unsigned i = 0; i < 13; i++)
                if (!lost[i])
                    fend_give(&end, &grp.pkt[i]);
            did = end.n_got == 1;
            fend_done(&end);
            n += 13;
        } while (!did && n < 300);
        assert_true(knows(10, 3));
        assert_in_range(n, 1, 104);
        rebuilds(10, 3, at * 13, &seed);
        fend_fini(&end);
    }
}

/* The other side changes (D, P) in the middle of a session: the samples of before do not hold it
 * up for ever. */
static void change(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec change");
    uint32_t next = 0;
    static const unsigned shape[][2] = {{10, 3}, {4, 2},  {20, 5}, {1, 1},
                                        {3, 10}, {10, 4}, {10, 3}};
    fend_init(&end, 10, 3, MEMORY);
    for (size_t i = 0; i < COUNT_OF(shape); i++) {
        struct course c = {0, 0, shape[i][0], shape[i][1], next, 0, 1, 1, 0, 1000};
        unsigned n = follow(&c, &seed, &next);
        for (uint32_t k = 0; k < 300; k++) /* what was learned from old samples does not stay */
            give(&c, next + k);
        next = (next / (c.d + c.p) + 300 / (c.d + c.p) + 2) * (c.d + c.p);
        print_message("fec changes to %u+%u: %u packets\n", c.d, c.p, n);
        rebuilds(c.d, c.p, next, &seed);
        next += 8 * (c.d + c.p);
    }
    fend_fini(&end);
}

/* Who changes shape all the time is followed less and less often. */
static void restless(void **state)
{
    (void)state;
    unsigned learned = 0, was = 0;
    fend_init(&end, 1, 1, MEMORY);
    for (unsigned i = 0; i < 400; i++) {
        struct course c = {.d = 5 + i % 2, .p = 3, .first = 8 * 9 * 20 * i, .copies = 1};
        for (uint32_t k = 0; k < 60; k++)
            give(&c, c.first + k);
        unsigned d, p;
        fend_learned(&end, &d, &p);
        learned += d != was;
        was = d;
    }
    assert_in_range(learned, 2, 100);
    fend_fini(&end);
}

/* Parity of another shape than the guess gives datagrams that were never sent: of 3 + 2, with 1 and
 * 2 lost, 3 would be a copy of 2.  So nothing is rebuilt before the ids have shown the shape. */
static void unsure(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec unsure");
    fend_init(&end, 1, 1, MEMORY);
    fend_doubt(&end, 1, 1);
    ref_group(&grp, 3, 2, 0, &seed, 60);
    fend_give(&end, &grp.pkt[0]);
    fend_give(&end, &grp.pkt[3]);
    assert_int_equal(end.n_got, 0);
    for (uint32_t i = 1; i < 3; i++) { /* the right guess, as soon as it is seen */
        fend_doubt(&end, 4, 2);
        for (uint32_t k = 0; k < 4; k++) {
            bool lost[6] = {[1] = k == 3};
            ref_group(&grp, 4, 2, k * 6, &seed, 60);
            for (unsigned n = 0; n < 6; n++)
                if (!lost[n])
                    fend_give(&end, &grp.pkt[n]);
        }
        assert_int_equal(end.n_got, 1);
        fend_done(&end);
    }
    fend_fini(&end);
}

/* ---- whatever comes */

static void fuzz_one(uint64_t *seed, unsigned shape, uint32_t group)
{
    static const unsigned shapes[][2] = {{10, 3}, {4, 2},  {1, 1},  {10, 3},
                                         {3, 9},  {10, 3}, {30, 30}};
    const unsigned *s = shapes[shape % COUNT_OF(shapes)];
    static uint32_t made = 0xffffffff;
    if (group != made)
        ref_group(&grp, s[0], s[1], group * (s[0] + s[1]), seed, 60);
    made = group;
    struct fpkt k = grp.pkt[ut_below(seed, s[0] + s[1])];
    switch (ut_below(seed, 8)) {
    case 0:
        k.n = ut_mutate(seed, k.b, k.n, sizeof k.b);
        break;
    case 1:
        k.n = ut_below(seed, sizeof k.b + 1);
        ut_random(seed, k.b + (k.n > 100 ? 6 : 0), k.n > 100 ? 90 : k.n);
        break;
    case 2: /* only behind the head */
        ut_random(seed, k.b + 6, k.n - 6);
        break;
    default:
        break;
    }
    if (ut_below(seed, 50) == 0)
        ref_head(&k, (uint32_t)ut_rand(seed), ut_below(seed, 2) ? 0xf1 : 0xf2);
    fend_give(&end, &k);
}

static void fuzz(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec fuzz"), rebuilt = 0;
    for (uint32_t i = 0; i < 2 * FUZZ_ROUNDS; i++) {
        if (i % 10000 == 0) {
            if (i)
                fend_fini(&end);
            fend_init(&end, 10, 3, i % 20000 ? 40000 : MEMORY);
        }
        fuzz_one(&seed, i / 1500, i / 11 + (i / 30000 ? 0 : ref_limit(13) / 13 - 1000));
        if (i % 32 == 0) {
            unsigned d, p;
            rebuilt += end.n_got;
            fend_done(&end);
            fend_learned(&end, &d, &p);
            assert_in_range(d + p, 2, 256);
            assert_in_range(fend_held(&end), 0, 4 * (d + p));
        }
    }
    assert_true(rebuilt > 100);
    fend_fini(&end);
}

int fec_learn(void)
{
    const struct CMUnitTest learn[] = {
        cmocka_unit_test(learns), cmocka_unit_test(never_learned), cmocka_unit_test(contradiction),
        cmocka_unit_test(change), cmocka_unit_test(restless),      cmocka_unit_test(unsure),
        cmocka_unit_test(fuzz),
    };
    return ut_run(learn);
}
