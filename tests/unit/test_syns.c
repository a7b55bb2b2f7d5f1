/* SPDX-License-Identifier: MIT */
/* test_syns.c - which SYNs a server answers, and that it never does so twice [12.9]. */
#include "tunnel/proof.h"
#include "tunnel/tunnel_internal.h"
#include "unit.h"
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>

#define SLOT UINT64_C(55937500)
#define WALL (SLOT * PQ_SYN_SLOT) /* a slot has just begun */
#define LATE (PQ_SYN_SLOT / 2)

static const struct pq_addr stranger = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 1}};

static bool take(struct pq_syns *s, uint64_t slot, uint32_t number, uint32_t stamp, uint64_t wall)
{
    const struct pq_syn syn = {slot, number, stamp, &stranger, false};
    return pq_syns_take(s, &syn, wall);
}

/* Started so long before that it knows all. */
static struct pq_syns *memory(void)
{
    struct pq_syns *s;
    assert_int_equal(pq_syns_new(&s, WALL - 4 * PQ_SYN_SLOT, 1), 0);
    return s;
}

static void slots(void **state)
{
    (void)state;
    uint64_t v[2];
    pq_syns_slots(WALL, v);
    assert_int_equal(v[0], SLOT - 1);
    assert_int_equal(v[1], SLOT);
    pq_syns_slots(WALL + LATE - 1, v);
    assert_int_equal(v[1], SLOT);
    pq_syns_slots(WALL + LATE, v);
    assert_int_equal(v[0], SLOT);
    assert_int_equal(v[1], SLOT + 1);
    pq_syns_slots(0, v);
    assert_int_equal(v[0], 0);
}

static void once(void **state)
{
    (void)state;
    struct pq_syns *s = memory();
    assert_true(take(s, SLOT, 1, 2, WALL));
    assert_false(take(s, SLOT, 1, 2, WALL));
    assert_true(take(s, SLOT, 1, 3, WALL));
    assert_true(take(s, SLOT, 2, 2, WALL));
    assert_true(take(s, SLOT - 1, 1, 2, WALL));
    assert_true(take(s, SLOT, 0, 0, WALL));
    assert_false(take(s, SLOT, 0, 0, WALL));
    assert_false(take(s, SLOT + 1, 5, 5, WALL)); /* not yet, and no more */
    assert_false(take(s, SLOT - 2, 5, 5, WALL));
    assert_false(take(s, SLOT, 1, 2, WALL + LATE));
    assert_true(take(s, SLOT + 1, 1, 2, WALL + LATE));
    assert_false(take(s, SLOT - 1, 9, 9, WALL)); /* the clock went back */
    assert_true(take(s, SLOT, 9, 9, WALL));
    assert_false(take(s, SLOT, 1, 2, WALL));
    pq_syns_free(&s);
    assert_null(s);
    pq_syns_free(&s);
}

/* Of the slots that run when it starts nobody knows what was answered. */
static void start(void **state)
{
    (void)state;
    struct pq_syns *s;
    assert_int_equal(pq_syns_new(&s, WALL, 1), 0);
    assert_int_equal(pq_syns_from(s), WALL + PQ_SYN_SLOT);
    for (uint64_t at = 0; at < PQ_SYN_SLOT; at += 1000) {
        assert_false(take(s, SLOT, 1, (uint32_t)at, WALL + at));
        assert_false(take(s, SLOT - 1, 1, (uint32_t)at, WALL + at));
    }
    assert_true(take(s, SLOT + 1, 1, 1, WALL + PQ_SYN_SLOT));
    pq_syns_free(&s);
}

static void bounded(void **state)
{
    (void)state;
    struct pq_syns *s = memory();
    for (uint32_t i = 0; i < PQ_SYNS_UNKNOWN; i++)
        assert_true(take(s, SLOT, i * 2654435761U, i, WALL));
    assert_false(take(s, SLOT, 7, 1U << 20, WALL));
    assert_true(take(s, SLOT - 1, 7, 1U << 20, WALL));
    for (uint32_t i = 0; i < PQ_SYNS_UNKNOWN; i++)
        assert_false(take(s, SLOT, i * 2654435761U, i, WALL));
    assert_true(take(s, SLOT + 1, 7, 1U << 20, WALL + LATE));
    pq_syns_free(&s);
}

/* Who guesses gets none, and the next slot is another one. */
static void guesses(void **state)
{
    (void)state;
    struct pq_syns *s = memory();
    for (uint32_t i = 0; i < PQ_SYNS_WRONG - 1; i++)
        pq_syns_note_wrong(s, &stranger, false, WALL);
    assert_true(take(s, SLOT, 1, 1, WALL));
    pq_syns_note_wrong(s, &stranger, false, WALL);
    pq_syns_note_wrong(s, &stranger, false, WALL);
    assert_false(take(s, SLOT, 2, 2, WALL + LATE - 1));
    assert_true(take(s, SLOT, 2, 2, WALL + LATE));
    pq_syns_free(&s);
}

/* ---- networks from which clients have come */

static struct pq_addr net(uint32_t n)
{
    struct pq_addr a;
    pq_addr_set4(&a, (const uint8_t[]){10, (uint8_t)(n >> 8), (uint8_t)n, 7}, 40000);
    return a;
}

static bool take_from(struct pq_syns *s, const struct pq_addr *from, uint32_t number)
{
    const struct pq_syn syn = {SLOT, number, 1, from, false};
    return pq_syns_take(s, &syn, WALL);
}

/* Neither who guesses nor who takes answers shuts out others. */
static void shares(void **state)
{
    (void)state;
    struct pq_syns *s = memory();
    struct pq_addr same = net(1), a = net(1), b = net(2), six = {{0x20, 1, 0xd, 0xb8, 0, 1}, 1};
    same.ip[15] = 200;
    same.port = 1;
    pq_syns_know(s, &a, WALL);
    pq_syns_know(s, &b, WALL);
    pq_syns_know(s, &six, WALL);
    six.ip[6] = 77;
    uint32_t number = 1, unknown = 0, each = 0, rest = 0;
    while (take_from(s, &stranger, number++))
        unknown++;
    assert_int_equal(unknown, PQ_SYNS_UNKNOWN);
    while (take_from(s, each % 2 ? &same : &a, number++))
        each++;
    assert_int_equal(each, PQ_SYNS_EACH);
    assert_true(take_from(s, &b, number++));
    for (uint32_t i = 0; i < 2 * PQ_SYNS_WRONG; i++)
        pq_syns_note_wrong(s, &stranger, false, WALL);
    assert_true(take_from(s, &b, number++));
    for (uint32_t i = 0; i < PQ_SYNS_EACH; i++)
        pq_syns_note_wrong(s, &b, false, WALL);
    assert_false(take_from(s, &b, number++));
    assert_true(take_from(s, &six, number++));
    for (uint32_t i = 100; i < 120; i++) {
        const struct pq_addr other = net(i);
        pq_syns_know(s, &other, WALL);
        for (uint32_t k = 0; k < PQ_SYNS_EACH; k++)
            rest += take_from(s, &other, number++);
    }
    assert_int_equal(unknown + each + rest + 3, PQ_SYNS_OF_SLOT);
    assert_true(take(s, SLOT + 1, 1, 1, WALL + LATE)); /* the next one has shares of its own */
    const struct pq_syn next = {SLOT + 1, 5, 5, &b, false};
    assert_true(pq_syns_take(s, &next, WALL + LATE));
    pq_syns_free(&s);
}

/* Those without time stamps are guessed sooner, so fewer wrong ones end it for them; the others
 * go on. */
static void plain_guesses(void **state)
{
    (void)state;
    struct pq_syns *s = memory();
    const struct pq_addr a = net(1);
    struct pq_syn syn = {SLOT, 1, 0, &stranger, true}, known = {SLOT, 1, 0, &a, true};
    pq_syns_know(s, &a, WALL);
    for (uint32_t i = 0; i < PQ_SYNS_WRONG_PLAIN - 1; i++)
        pq_syns_note_wrong(s, &stranger, true, WALL);
    assert_true(pq_syns_take(s, &syn, WALL));
    assert_false(pq_syns_take(s, &syn, WALL));
    pq_syns_note_wrong(s, &stranger, true, WALL);
    syn.number = known.number = 2;
    assert_false(pq_syns_take(s, &syn, WALL));
    assert_true(take(s, SLOT, 3, 3, WALL));
    for (uint32_t i = 0; i < PQ_SYNS_EACH_PLAIN; i++) {
        known.number++;
        assert_true(pq_syns_take(s, &known, WALL));
        pq_syns_note_wrong(s, &a, true, WALL);
    }
    known.number++;
    assert_false(pq_syns_take(s, &known, WALL));
    assert_true(take_from(s, &a, 99));
    syn.slot++;
    assert_true(pq_syns_take(s, &syn, WALL + LATE));
    pq_syns_free(&s);
}

/* By how much the clock is wrong of who has the key. */
static void whose_clock(void **state)
{
    (void)state;
    const uint8_t key[PQ_MASK_KEY_LEN] = {7};
    struct pq_mask *m;
    struct pq_syn got;
    assert_int_equal(pq_mask_new(&m, key), 0);
    for (int k = -700; k <= 700; k += 7) {
        const uint64_t slot = WALL / PQ_SYN_SLOT + (uint64_t)k;
        struct pq_segment syn = {.has_ts = true, .tsval = 5 + (uint32_t)k};
        int64_t apart = 0;
        syn.seq = pq_proof_stamped(m, syn.tsval, slot);
        assert_true(pq_proof_when(m, &syn, WALL, 720, &apart));
        assert_true(llabs(apart - k * (int64_t)PQ_SYN_SLOT) <= (int64_t)PQ_SYN_SLOT / 2);
        if (k < -1 || k > 1)
            assert_false(pq_proof_check(m, &syn, WALL, &got));
        assert_int_equal(pq_proof_when(m, &syn, WALL, 69, &apart), k >= -69 && k <= 69);
        syn.seq++; /* no proof of any clock */
        assert_false(pq_proof_when(m, &syn, WALL, 720, &apart));
    }
    pq_mask_free(&m);
}

/* How many of all numbers are good: the figure that the bound above stands on. */
static void plain_odds(void **state)
{
    (void)state;
    const uint8_t key[PQ_MASK_KEY_LEN] = {7};
    struct pq_mask *m;
    struct pq_segment syn = {0};
    struct pq_syn got;
    unsigned good = 0;
    assert_int_equal(pq_mask_new(&m, key), 0);
    for (uint32_t i = 0; i < PQ_PROOF_CHOICES; i++) {
        syn.seq = pq_proof_plain(m, i, SLOT);
        assert_true(pq_proof_check(m, &syn, WALL, &got));
        assert_true(pq_proof_check(m, &syn, WALL + PQ_SYN_SLOT, &got));
        assert_false(pq_proof_check(m, &syn, WALL + 2 * PQ_SYN_SLOT, &got));
    }
    for (uint32_t i = 0; i < 1U << 21; i++) {
        syn.seq = i * 2654435761U;
        good += pq_proof_check(m, &syn, WALL, &got);
    }
    assert_in_range(good, 1, 16); /* 2^-19 of them: 4 */
    pq_mask_free(&m);
}

/* Few wrong ones in the name of a network do not shut it out; all that there may be do. */
static void in_its_name(void **state)
{
    (void)state;
    struct pq_syns *s = memory();
    const struct pq_addr a = net(1);
    pq_syns_know(s, &a, WALL);
    for (uint32_t i = 0; i < PQ_SYNS_EACH + 5000; i++)
        pq_syns_note_wrong(s, &a, false, WALL);
    assert_true(take_from(s, &a, 1));
    for (uint32_t i = 5000; i < PQ_SYNS_WRONG; i++)
        pq_syns_note_wrong(s, &a, false, WALL);
    assert_false(take_from(s, &a, 2));
    assert_false(take_from(s, &stranger, 3));
    pq_syns_free(&s);
}

/* Of more than there are places those stay that came last. */
static void networks_are_bounded(void **state)
{
    (void)state;
    struct pq_syns *s = memory();
    for (uint32_t i = 0; i < 50000; i++) {
        const struct pq_addr a = net(i);
        pq_syns_know(s, &a, WALL + i);
    }
    for (uint32_t i = 0; i < PQ_SYNS_WRONG; i++)
        pq_syns_note_wrong(s, &stranger, false, WALL);
    unsigned last = 0, first = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        const struct pq_addr old = net(i), young = net(49000 + i);
        first += take_from(s, &old, i);
        last += take_from(s, &young, 5000 + i);
    }
    assert_int_equal(first, 0);
    assert_true(last > 900);
    pq_syns_free(&s);
}

static int read_text(struct pq_syns *s, const char *text, size_t n)
{
    char *copy = malloc(n);
    assert_non_null(copy);
    memcpy(copy, text, n);
    FILE *f = fmemopen(copy, n, "r");
    int e = pq_syns_read(s, f);
    fclose(f);
    free(copy);
    return e;
}

/* Stopped in order: the next start knows. */
static void kept(void **state)
{
    (void)state;
    struct pq_syns *s = memory();
    char *text;
    size_t n;
    for (uint32_t i = 0; i < 1000; i++)
        assert_true(take(s, SLOT - i % 2, i, i, WALL));
    FILE *f = open_memstream(&text, &n);
    assert_true(pq_syns_write(s, f));
    fclose(f);
    pq_syns_free(&s);
    for (size_t cut = 1; cut < n; cut += 97) { /* changes nothing */
        assert_int_equal(pq_syns_new(&s, WALL, 1), 0);
        assert_int_equal(read_text(s, text, cut), PQ_EPROTO);
        assert_false(take(s, SLOT, 5000, 5000, WALL));
        pq_syns_free(&s);
    }
    assert_int_equal(pq_syns_new(&s, WALL, 1), 0);
    assert_int_equal(read_text(s, text, n), 0);
    for (uint32_t i = 0; i < 1000; i++)
        assert_false(take(s, SLOT - i % 2, i, i, WALL));
    assert_true(take(s, SLOT, 5000, 5000, WALL));
    pq_syns_free(&s);
    free(text);
}

/* Nor are those shut out then who came before. */
static void networks_kept(void **state)
{
    (void)state;
    struct pq_syns *s = memory();
    char *text;
    size_t n;
    const struct pq_addr ali = net(7), other = net(8);
    pq_syns_know(s, &ali, WALL);
    FILE *f = open_memstream(&text, &n);
    assert_true(pq_syns_write(s, f));
    fclose(f);
    pq_syns_free(&s);
    assert_int_equal(pq_syns_new(&s, WALL, 99), 0);
    assert_int_equal(read_text(s, text, n), 0);
    for (uint32_t i = 0; i < PQ_SYNS_WRONG; i++)
        pq_syns_note_wrong(s, &stranger, false, WALL);
    assert_false(take_from(s, &other, 1));
    assert_true(take_from(s, &ali, 2));
    pq_syns_free(&s);
    free(text);
}

static void other_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "x",
        "paqet stamps 1\nend\n",
        "paqet syns 1\nend\n",
        "paqet syns 1\nfrom x\nend\n",
        "paqet syns 1\nfrom 1\n1 xyz\nend\n",
        "paqet syns 1\nfrom 5\n1 0000000000000001\nend\n",
        "paqet syns 1\nfrom 5\n7 0000000000000001\nend\n",
        "paqet syns 1\nfrom 5\n5 0000000000000000\nend\n",
        "paqet syns 1\nfrom 1\n",
        "paqet syns 1\nfrom 1\nseed x\nend\n",
        "paqet syns 1\nfrom 1\nnet 1\nend\n",
        "paqet syns 1\nfrom 1\nnet 0 5\nend\n",
        "paqet syns 1\nfrom 1\nnot\nend\n",
    };
    struct pq_syns *s;
    assert_int_equal(pq_syns_new(&s, WALL, 1), 0);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(read_text(s, texts[i], strlen(texts[i])), PQ_EPROTO);
        assert_int_equal(pq_syns_from(s), WALL + PQ_SYN_SLOT);
    }
    pq_syns_free(&s);
}

static uint8_t *bytes(const json_t *v, const char *name, size_t n)
{
    size_t len;
    uint8_t *p = vec_bytes(v, name, &len);
    assert_int_equal(len, n);
    return p;
}

/* Of one kind or the other: that which has a time stamp. */
static void expect_proof(struct pq_mask *m, const json_t *v)
{
    const bool plain = !json_object_get(v, "tsval");
    const uint32_t of = (uint32_t)vec_int(v, plain ? "choice" : "tsval");
    const uint64_t slot = (uint64_t)vec_int(v, "slot");
    const uint32_t isn = (uint32_t)vec_int(v, "isn");
    struct pq_segment syn = {.seq = isn, .has_ts = !plain, .tsval = of};
    struct pq_syn got;
    assert_int_equal(plain ? pq_proof_plain(m, of, slot) : pq_proof_stamped(m, of, slot), isn);
    assert_true(pq_proof_check(m, &syn, slot * PQ_SYN_SLOT, &got));
    assert_int_equal(got.slot, slot);
    assert_int_equal(got.stamp, of * !plain);
    assert_int_equal(got.plain, plain);
    syn.has_ts = plain;
    assert_false(pq_proof_check(m, &syn, slot * PQ_SYN_SLOT, &got));
    syn.has_ts = !plain;
    syn.seq ^= 1U << 20;
    assert_false(pq_proof_check(m, &syn, slot * PQ_SYN_SLOT, &got));
}

/* What is in a SYN, as another implementation computes it. */
static void vectors(void **state)
{
    (void)state;
    json_t *root = vec_load("own.json"), *v;
    size_t i;
    uint8_t *key = bytes(root, "K", 32), secret[32] = {1};
    struct pq_rng rng;
    struct pq_shake *shake;
    pq_rng_init_seed(&rng, 1);
    const struct pq_shake_conf conf = {.key = key, .own_secret = secret, .rng = &rng};
    assert_int_equal(pq_crypt_global_init(), 0);
    assert_int_equal(pq_shake_new(&shake, &conf), 0);
    json_array_foreach(vec_get(root, "syns"), i, v)
    {
        uint8_t *server = bytes(v, "public", 32);
        struct pq_mask *m;
        assert_int_equal(pq_shake_syn(shake, server, &m), 0);
        expect_proof(m, v);
        pq_mask_free(&m);
        free(server);
    }
    assert_true(i > 2);
    pq_shake_free(&shake);
    free(key);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots),
        cmocka_unit_test(once),
        cmocka_unit_test(plain_guesses),
        cmocka_unit_test(whose_clock),
        cmocka_unit_test(plain_odds),
        cmocka_unit_test(start),
        cmocka_unit_test(bounded),
        cmocka_unit_test(kept),
        cmocka_unit_test(networks_kept),
        cmocka_unit_test(other_texts),
        cmocka_unit_test(vectors),
        cmocka_unit_test(guesses),
        cmocka_unit_test(shares),
        cmocka_unit_test(in_its_name),
        cmocka_unit_test(networks_are_bounded),
    };
    return ut_run(tests);
}
