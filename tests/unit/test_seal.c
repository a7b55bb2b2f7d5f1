/* SPDX-License-Identifier: MIT */
/* test_seal.c - datagrams of our own wire against own.json; what is wrong with one; the window of
 * counters [12.3] [12.4]. */
#include "crypt/seal.h"
#include "unit.h"
#include "vectors.h"

static const uint8_t key[PQ_SEAL_KEY_LEN] = {1, 2, 3, 4}, mask_key[PQ_MASK_KEY_LEN] = {5, 6};

static void vectors(void **state)
{
    (void)state;
    json_t *root = vec_load("own.json"), *v;
    size_t i;
    json_array_foreach(vec_get(root, "datagrams"), i, v)
    {
        const enum pq_aead a = strcmp(vec_str(v, "aead"), "aes-128-gcm") ? PQ_AEAD_CHACHA20_POLY1305
                                                                         : PQ_AEAD_AES_128_GCM;
        size_t n_key, n_mask, n_text, n;
        uint8_t *k = vec_bytes(v, "key", &n_key), *mk = vec_bytes(v, "mask", &n_mask),
                *text = vec_bytes(v, "text", &n_text), *want = vec_bytes(v, "datagram", &n);
        struct pq_mask *m;
        struct pq_seal *s;
        struct pq_view inner;
        assert_int_equal(n_key, pq_aead_key_len(a));
        assert_int_equal(pq_mask_new(&m, mk), 0);
        assert_int_equal(pq_seal_new(&s, a, k), 0);
        struct pq_seal_head h = pq_mask_read(m, want, n);
        assert_int_equal(h.id, vec_int(v, "id"));
        assert_int_equal(h.counter, vec_int(v, "counter"));
        uint8_t *p = ut_exact(want, n);
        assert_int_equal(pq_seal_open(s, p, n, h.counter, &inner), PQ_DROP_NONE);
        assert_int_equal(inner.n, n_text);
        assert_memory_equal(inner.p, text, n_text);
        free(p);
        for (uint32_t c = 0; h.counter < 2 && c <= h.counter; c++) { /* the sender counts alone */
            p = ut_exact(want, n);
            memcpy(p + PQ_SEAL_HEAD, text, n_text);
            const struct pq_span span = {p, n};
            pq_seal_put(s, m, h.id, &span, 1);
            if (c == h.counter)
                assert_memory_equal(p, want, n);
            free(p);
        }
        pq_seal_free(&s);
        pq_mask_free(&m);
        free(k);
        free(mk);
        free(text);
        free(want);
    }
    assert_int_equal(i, 6);
    json_decref(root);
}

/* Every bit counts, and what does not open stays as it was. */
static void spoiled(void **state)
{
    (void)state;
    for (int a = 0; a < PQ_AEAD_COUNT; a++) {
        struct pq_mask *m;
        struct pq_seal *tx, *rx;
        struct pq_view inner;
        uint8_t p[PQ_SEAL_HEAD + 40 + PQ_SEAL_TAIL] = {0}, q[sizeof p], before[sizeof p];
        const struct pq_span span = {p, sizeof p};
        pq_mask_new(&m, mask_key);
        pq_seal_new(&tx, (enum pq_aead)a, key);
        pq_seal_new(&rx, (enum pq_aead)a, key);
        pq_seal_put(tx, m, 77, &span, 1);
        for (size_t bit = 0; bit < sizeof p * 8; bit++) {
            memcpy(q, p, sizeof q);
            q[bit / 8] ^= (uint8_t)(1 << bit % 8);
            memcpy(before, q, sizeof q);
            struct pq_seal_head h = pq_mask_read(m, q, sizeof q);
            enum pq_drop d = pq_seal_open(rx, q, sizeof q, h.counter, &inner);
            if (bit < 32) /* the id is the caller's affair */
                assert_int_not_equal(h.id, 77);
            else
                assert_true(d == PQ_DROP_AUTH || d == PQ_DROP_REPLAY);
            if (d)
                assert_memory_equal(q, before, sizeof q);
            if (!d) { /* with another id: do not let it count */
                pq_seal_free(&rx);
                pq_seal_new(&rx, (enum pq_aead)a, key);
            }
        }
        for (size_t n = 0; n < sizeof p; n++) {
            uint8_t *cut = ut_exact(p, n);
            assert_int_equal(pq_seal_open(rx, cut, n, 0, &inner),
                             n < PQ_SEAL_HEAD + PQ_SEAL_TAIL ? PQ_DROP_SHORT : PQ_DROP_AUTH);
            free(cut);
        }
        memcpy(q, p, sizeof q);
        assert_int_equal(pq_seal_open(rx, q, sizeof q, 0, &inner), PQ_DROP_NONE);
        memcpy(q, p, sizeof q);
        assert_int_equal(pq_seal_open(rx, q, sizeof q, 0, &inner), PQ_DROP_REPLAY);
        assert_int_equal(pq_seal_open(rx, q, sizeof q, PQ_SEAL_LIMIT, &inner), PQ_DROP_REPLAY);
        assert_int_equal(pq_seal_used(tx), 1);
        assert_int_equal(pq_seal_used(rx), 1);
        pq_seal_free(&tx);
        pq_seal_free(&rx);
        pq_mask_free(&m);
    }
}

/* The same text twice looks like two, from the first byte on. */
static void looks_random(void **state)
{
    (void)state;
    struct pq_mask *m;
    struct pq_seal *s;
    uint8_t p[2][PQ_SEAL_HEAD + 16 + PQ_SEAL_TAIL] = {{0}};
    const struct pq_span spans[2] = {{p[0], sizeof p[0]}, {p[1], sizeof p[1]}};
    unsigned same = 0;
    pq_mask_new(&m, mask_key);
    pq_seal_new(&s, PQ_AEAD_AES_128_GCM, key);
    pq_seal_put(s, m, 77, spans, 2);
    for (size_t i = 0; i < sizeof p[0]; i++)
        same += p[0][i] == p[1][i];
    assert_true(same < 4);
    pq_seal_free(&s);
    pq_mask_free(&m);
}

/* ---- the window, against a plain record of what has come */

static void window(void **state)
{
    (void)state;
    static bool come[200000];
    struct pq_window w = {0};
    struct pq_rng rng;
    uint32_t top = 0;
    pq_rng_init_seed(&rng, 7);
    for (int i = 0; i < 300000; i++) {
        const uint32_t r = pq_rng_u32(&rng), jump = r % 100 == 0 ? 3000 : 8;
        const uint32_t c = (top + jump > 900 ? top + jump - 900 : 0) + pq_rng_u32(&rng) % 904;
        if (c >= 200000)
            break;
        const bool fresh = pq_window_fresh(&w, c);
        if (fresh)
            assert_false(come[c]);
        else if (!come[c]) /* too old to tell */
            assert_true(top - c >= PQ_WINDOW_MIN - 1);
        if (fresh) {
            assert_true(pq_window_note(&w, c));
            assert_false(pq_window_fresh(&w, c));
            come[c] = true;
            top = c > top ? c : top;
        }
    }
    assert_true(top > 100000);
    pq_window_free(&w);
}

static void window_edges(void **state)
{
    (void)state;
    struct pq_window w = {0};
    assert_true(pq_window_fresh(&w, 0));
    assert_true(pq_window_note(&w, 5000));
    assert_int_equal(w.size, PQ_WINDOW_MIN);
    assert_true(pq_window_fresh(&w, 5001 - PQ_WINDOW_MIN));
    assert_false(pq_window_fresh(&w, 5000 - PQ_WINDOW_MIN)); /* too old, but it grows ... */
    assert_int_equal(w.size, 2 * PQ_WINDOW_MIN);
    assert_false(pq_window_fresh(&w, 5000 - PQ_WINDOW_MIN)); /* ... which brings nothing back ... */
    assert_true(pq_window_note(&w, 9000));
    assert_true(pq_window_fresh(&w, 9001 - 2 * PQ_WINDOW_MIN)); /* ... and helps what follows */
    assert_true(pq_window_note(&w, 200000));
    assert_false(pq_window_fresh(&w, 200001 - PQ_WINDOW_MAX));
    assert_int_equal(w.size, PQ_WINDOW_MAX); /* the most */
    assert_false(pq_window_fresh(&w, 0));
    assert_int_equal(w.size, PQ_WINDOW_MAX);
    assert_true(pq_window_note(&w, PQ_SEAL_LIMIT - 1)); /* a jump over everything */
    assert_true(pq_window_fresh(&w, PQ_SEAL_LIMIT - PQ_WINDOW_MAX));
    assert_false(pq_window_fresh(&w, PQ_SEAL_LIMIT - PQ_WINDOW_MAX - 1));
    assert_false(pq_window_fresh(&w, PQ_SEAL_LIMIT - 1));
    pq_window_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors), cmocka_unit_test(spoiled),      cmocka_unit_test(looks_random),
        cmocka_unit_test(window),  cmocka_unit_test(window_edges),
    };
    if (pq_crypt_global_init())
        return 1;
    assert_true(pq_aead_ready() & 1U << PQ_AEAD_CHACHA20_POLY1305);
    return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
