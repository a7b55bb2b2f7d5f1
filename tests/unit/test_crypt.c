/* SPDX-License-Identifier: MIT */
/* test_crypt.c - key derivation and the fifteen ciphers against crypto.json [2]. */
#include "base/hash.h"
#include "crypt/crc32.h"
#include "crypt/crypt.h"
#include "unit.h"
#include "vectors.h"

#include <gcrypt.h>

static void kdf(void **state)
{
    (void)state;
    json_t *root = vec_load("crypto.json"), *v;
    size_t i, n;
    json_array_foreach(vec_get(root, "kdf"), i, v)
    {
        uint8_t key[PQ_KEY_LEN];
        const char *pass = vec_str(v, "passphrase");
        if (!*pass) { /* Go derives a key from nothing; here it is an error */
            assert_int_equal(pq_crypt_derive(pass, key), PQ_EINVAL);
            continue;
        }
        uint8_t *want = vec_bytes(v, "key32", &n);
        assert_int_equal(n, PQ_KEY_LEN);
        assert_int_equal(pq_crypt_derive(pass, key), 0);
        assert_memory_equal(key, want, PQ_KEY_LEN);
        free(want);
    }
    json_decref(root);
}

static void names(void **state)
{
    (void)state;
    json_t *root = vec_load("crypto.json"), *v;
    size_t i, count = 0;
    enum pq_cipher c;
    json_array_foreach(vec_get(root, "ciphers"), i, v)
    {
        const char *name = vec_str(v, "cipher");
        assert_int_equal(pq_cipher_from_name(name, &c), 0);
        assert_string_equal(pq_cipher_name(c), name);
        assert_int_equal(pq_cipher_needs_key(c),
                         strcmp(name, "none") != 0 && strcmp(name, "null") != 0);
        count++;
    }
    assert_int_equal(count, PQ_CIPHER_COUNT);
    assert_int_equal(pq_cipher_from_name("AES", &c), PQ_EINVAL);
    assert_int_equal(pq_cipher_from_name("", &c), PQ_EINVAL);
    assert_null(pq_cipher_name(PQ_CIPHER_COUNT));
    assert_null(pq_cipher_name((enum pq_cipher) - 1));
    json_decref(root);
}

/* A source whose next bytes are these. */
static void fix_rng(struct pq_rng *r, const uint8_t *p, size_t n)
{
    pq_rng_init_seed(r, 1);
    memcpy(r->buf + sizeof r->buf - n, p, n);
    r->left = n;
}

static void open_ok(struct pq_crypt *c, const uint8_t *packet, size_t n, const uint8_t *inner,
                    size_t inner_len)
{
    uint8_t *p = ut_exact(packet, n);
    struct pq_view v;
    assert_int_equal(pq_crypt_open(c, p, n, &v), PQ_DROP_NONE);
    assert_int_equal(v.n, inner_len);
    assert_ptr_equal(v.p, p + pq_crypt_head(c));
    assert_memory_equal(v.p, inner, inner_len);
    free(p);
}

static void check_case(struct pq_crypt *c, const json_t *kase, const uint8_t *inner, size_t len)
{
    size_t n, nonce_len, head = pq_crypt_head(c);
    uint8_t *packet = vec_bytes(kase, "packet", &n), *nonce = vec_bytes(kase, "nonce", &nonce_len);
    assert_int_equal(n, head + len + pq_crypt_tail(c));
    open_ok(c, packet, n, inner, len);

    uint8_t *p = malloc(n);
    struct pq_rng rng;
    fix_rng(&rng, nonce, nonce_len);
    memset(p, 0xee, n);
    memcpy(p + head, inner, len);
    const struct pq_span span = {p, n};
    pq_crypt_seal(c, &span, 1, &rng);
    assert_int_equal(rng.left, 0); /* exactly the nonce was taken */
    assert_memory_equal(p, packet, n);

    p[n - 1] ^= 0x80; /* the last byte counts */
    struct pq_view v;
    assert_int_equal(pq_crypt_open(c, p, n, &v), PQ_DROP_AUTH);
    free(p);
    free(packet);
    free(nonce);
}

static void cipher_cases(void **state)
{
    (void)state;
    json_t *root = vec_load("crypto.json"), *v, *kase;
    const char *pass = vec_str(root, "passphrase");
    uint8_t key[PQ_KEY_LEN];
    size_t i, j, n;
    assert_int_equal(pq_crypt_derive(pass, key), 0);
    json_array_foreach(vec_get(root, "ciphers"), i, v)
    {
        enum pq_cipher id;
        struct pq_crypt *c;
        assert_int_equal(pq_cipher_from_name(vec_str(v, "cipher"), &id), 0);
        assert_int_equal(pq_crypt_new(&c, id, key), 0);
        json_array_foreach(vec_get(v, "cases"), j, kase)
        {
            size_t len = (size_t)vec_int(kase, "inner_len");
            uint8_t *inner = malloc(len);
            ut_pattern(inner, len, 1);
            if (id == PQ_CIPHER_NULL)
                open_ok(c, inner, len, inner, len);
            else
                check_case(c, kase, inner, len);
            free(inner);
        }
        uint8_t *want = vec_str(v, "key") ? vec_bytes(v, "key", &n) : NULL;
        if (want && pq_cipher_needs_key(id)) { /* the first N bytes of the key, no others [2.1] */
            struct pq_crypt *d;
            uint8_t other[PQ_KEY_LEN];
            memset(other, 0xee, sizeof other);
            memcpy(other, want, n);
            assert_int_equal(pq_crypt_new(&d, id, other), 0);
            size_t pn;
            kase = json_array_get(vec_get(v, "cases"), 2);
            uint8_t *packet = vec_bytes(kase, "packet", &pn);
            struct pq_view in;
            assert_int_equal(pq_crypt_open(d, packet, pn, &in), PQ_DROP_NONE);
            free(packet);
            pq_crypt_free(&d);
        }
        free(want);
        pq_crypt_free(&c);
        assert_null(c);
        pq_crypt_free(&c);
    }
    json_decref(root);
}

/* Sizes that the vectors do not have; several spans in one call; short packets. */
static void round_trips(void **state)
{
    (void)state;
    uint8_t key[PQ_KEY_LEN];
    struct pq_rng rng;
    uint64_t seed = ut_seed("crypt");
    pq_rng_init_seed(&rng, 5);
    ut_random(&seed, key, sizeof key);
    for (unsigned id = 0; id < PQ_CIPHER_COUNT; id++) {
        struct pq_crypt *c;
        assert_int_equal(pq_crypt_new(&c, (enum pq_cipher)id, key), 0);
        size_t head = pq_crypt_head(c), over = head + pq_crypt_tail(c);
        for (size_t len = 0; len < 1500; len += 1 + len / 7) {
            uint8_t plain[1500], *p[2];
            struct pq_span spans[2];
            ut_random(&seed, plain, len);
            for (int k = 0; k < 2; k++) {
                p[k] = malloc(over + len + 1);
                memcpy(p[k] + head, plain, len);
                p[k][over + len] = 0xee;
                spans[k] = (struct pq_span){p[k], over + len};
            }
            pq_crypt_seal(c, spans, 2, &rng);
            if (over) /* a nonce of its own for each */
                assert_memory_not_equal(p[0], p[1], over);
            for (int k = 0; k < 2; k++) {
                assert_int_equal(p[k][over + len], 0xee);
                open_ok(c, p[k], over + len, plain, len);
                free(p[k]);
            }
        }
        for (size_t n = 0; n < over; n++) {
            uint8_t *p = ut_exact(key, n < sizeof key ? n : sizeof key);
            struct pq_view v;
            assert_int_equal(pq_crypt_open(c, p, n, &v), PQ_DROP_SHORT);
            free(p);
        }
        pq_crypt_free(&c);
    }
}

/* Any single damaged bit of a tagged packet is found; with a CRC, any bit outside the nonce. */
static void damage(void **state)
{
    (void)state;
    uint8_t key[PQ_KEY_LEN] = {7}, plain[40];
    struct pq_rng rng;
    pq_rng_init_seed(&rng, 6);
    ut_pattern(plain, sizeof plain, 9);
    static const enum pq_cipher ids[] = {PQ_CIPHER_AES,  PQ_CIPHER_AES_128_GCM, PQ_CIPHER_SALSA20,
                                         PQ_CIPHER_NONE, PQ_CIPHER_TEA,         PQ_CIPHER_XOR};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        struct pq_crypt *c;
        assert_int_equal(pq_crypt_new(&c, ids[i], key), 0);
        size_t head = pq_crypt_head(c), n = head + sizeof plain + pq_crypt_tail(c);
        uint8_t p[100], q[100];
        memcpy(p + head, plain, sizeof plain);
        const struct pq_span span = {p, n};
        pq_crypt_seal(c, &span, 1, &rng);
        for (size_t bit = pq_crypt_tail(c) ? 0 : 16 * 8; bit < n * 8; bit++) {
            struct pq_view v;
            memcpy(q, p, n);
            q[bit / 8] = (uint8_t)(q[bit / 8] ^ 1u << bit % 8);
            assert_int_equal(pq_crypt_open(c, q, n, &v), PQ_DROP_AUTH);
        }
        pq_crypt_free(&c);
    }
}

/* Keys that a library calls weak are used by peers all the same. */
static void weak_keys(void **state)
{
    (void)state;
    uint8_t key[PQ_KEY_LEN];
    struct pq_rng rng;
    pq_rng_init_seed(&rng, 6);
    for (unsigned fill = 0; fill < 2; fill++) {
        for (unsigned id = 0; id < PQ_CIPHER_COUNT; id++) {
            struct pq_crypt *c;
            uint8_t p[100] = {0}, inner[20] = {0};
            memset(key, fill ? 0x01 : 0x00, sizeof key);
            assert_int_equal(pq_crypt_new(&c, (enum pq_cipher)id, key), 0);
            size_t n = pq_crypt_head(c) + sizeof inner + pq_crypt_tail(c);
            const struct pq_span span = {p, n};
            pq_crypt_seal(c, &span, 1, &rng);
            open_ok(c, p, n, inner, sizeof inner);
            pq_crypt_free(&c);
        }
    }
}

/* What this side has sealed is known again, what the other one has, or a peer without marks, is
 * not. */
static void marks(void **state)
{
    (void)state;
    const uint8_t key[PQ_KEY_LEN] = "a key of thirty-two bytes length";
    struct pq_rng rng;
    pq_rng_init_seed(&rng, 7);
    for (unsigned id = 0; id < PQ_CIPHER_COUNT; id++) {
        struct pq_crypt *c[3]; /* client, server, neither */
        for (int i = 0; i < 3; i++)
            assert_int_equal(pq_crypt_new(&c[i], (enum pq_cipher)id, key), 0);
        pq_crypt_set_role(c[0], true, key);
        pq_crypt_set_role(c[1], false, key);
        const bool marked = id == PQ_CIPHER_AES || id == PQ_CIPHER_AES_128 ||
                            id == PQ_CIPHER_AES_192 || id == PQ_CIPHER_AES_128_GCM ||
                            id == PQ_CIPHER_TWOFISH || id == PQ_CIPHER_SM4;
        for (int from = 0; from < 3; from++) {
            for (int to = 0; to < 3; to++) {
                uint8_t p[100] = {0};
                struct pq_view inner;
                size_t n = pq_crypt_head(c[from]) + 20 + pq_crypt_tail(c[from]);
                const struct pq_span span = {p, n};
                pq_crypt_seal(c[from], &span, 1, &rng);
                assert_int_equal(pq_crypt_open(c[to], p, n, &inner),
                                 marked && from == to && from < 2 ? PQ_DROP_REFLECTED
                                                                  : PQ_DROP_NONE);
            }
        }
        for (int i = 0; i < 3; i++)
            pq_crypt_free(&c[i]);
    }
}

/* Whatever the byte order of the machine, its marks are those of the others [2.5]. */
static void marks_are_as_specified(void **state)
{
    (void)state;
    const uint8_t key[PQ_KEY_LEN] = "a key of thirty-two bytes length";
    const uint64_t secret =
        UINT64_C(0x453b6c27abbafe5f); /* SHA-256 of the key and "paqet mark", LE, odd */
    struct pq_rng rng;
    pq_rng_init_seed(&rng, 13);
    for (int server = 0; server < 2; server++) {
        struct pq_crypt *c;
        uint8_t p[60] = {0};
        const struct pq_span span = {p, sizeof p};
        assert_int_equal(pq_crypt_new(&c, PQ_CIPHER_AES_128_GCM, key), 0);
        pq_crypt_set_role(c, !server, key);
        pq_crypt_seal(c, &span, 1, &rng);
        assert_int_equal(pq_le16(p + 10), pq_hash_bytes(p, 10, secret) >> 16 * server & 0xffff);
        pq_crypt_free(&c);
    }
}

/* No datagram of the other side is ever taken for an own one: two bytes are alike by chance once in
 * 65,536. */
static void no_chance(void **state)
{
    (void)state;
    const uint8_t key[PQ_KEY_LEN] = "a key of thirty-two bytes length";
    struct pq_crypt *c[2];
    struct pq_rng rng;
    pq_rng_init_seed(&rng, 11);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pq_crypt_new(&c[i], PQ_CIPHER_AES_128_GCM, key), 0);
        pq_crypt_set_role(c[i], i == 0, key);
    }
    for (unsigned i = 0; i < 600000; i++) {
        uint8_t p[64] = {0};
        struct pq_view inner;
        const struct pq_span span = {p, pq_crypt_head(c[0]) + 20 + pq_crypt_tail(c[0])};
        pq_crypt_seal(c[i % 2], &span, 1, &rng);
        assert_int_equal(pq_crypt_open(c[!(i % 2)], p, span.n, &inner), PQ_DROP_NONE);
    }
    for (int i = 0; i < 2; i++)
        pq_crypt_free(&c[i]);
}

/* Our own CRC-32 and the library's, at all lengths and alignments. */
static void crc(void **state)
{
    (void)state;
    uint8_t b[300], want[4];
    uint64_t seed = ut_seed("crc");
    ut_random(&seed, b, sizeof b);
    assert_int_equal(pq_crc32((const uint8_t *)"123456789", 9), 0xcbf43926);
    for (size_t n = 0; n < 280; n++) {
        gcry_md_hash_buffer(GCRY_MD_CRC32, want, b + n % 9, n);
        assert_int_equal(pq_crc32(b + n % 9, n), pq_be32(want));
    }
}

int main(void)
{
    const struct CMUnitTest crypt[] = {
        cmocka_unit_test(kdf),
        cmocka_unit_test(names),
        cmocka_unit_test(cipher_cases),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(damage),
        cmocka_unit_test(weak_keys),
        cmocka_unit_test(crc),
        cmocka_unit_test(marks),
        cmocka_unit_test(marks_are_as_specified),
        cmocka_unit_test(no_chance),
    };
    if (pq_crypt_global_init())
        return 1;
    return ut_run(crypt);
}
