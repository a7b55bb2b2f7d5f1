/* SPDX-License-Identifier: MIT */
/* test_noise.c - HKDF and the two handshakes against noise.json; what is wrong with a message
 * [12.1]. */
#include "base/err.h"
#include "noise/noise.h"
#include "unit.h"
#include "vectors.h"

#include <gcrypt.h>

static void hkdf(void **state)
{
    (void)state;
    json_t *root = vec_load("noise.json"), *v;
    size_t i;
    json_array_foreach(vec_get(root, "hkdf"), i, v)
    {
        size_t n_ikm, n_salt, n_info, n_prk, n_okm;
        uint8_t *ikm = vec_bytes(v, "ikm", &n_ikm), *salt = vec_bytes(v, "salt", &n_salt),
                *info = vec_bytes(v, "info", &n_info), *prk = vec_bytes(v, "prk", &n_prk),
                *okm = vec_bytes(v, "okm", &n_okm);
        uint8_t got[PQ_HASH_LEN], out[128];
        assert_int_equal(
            pq_hkdf_extract((struct pq_view){salt, n_salt}, (struct pq_view){ikm, n_ikm}, got), 0);
        assert_memory_equal(got, prk, n_prk);
        assert_int_equal(pq_hkdf_expand(got, (struct pq_view){info, n_info}, out, n_okm), 0);
        assert_memory_equal(out, okm, n_okm);
        free(ikm);
        free(salt);
        free(info);
        free(prk);
        free(okm);
    }
    json_decref(root);
    uint8_t big[32] = {0};
    assert_int_equal(pq_hkdf_label(big, "x", big, 8161), PQ_EINVAL);
}

/* ---- one handshake of the vectors, each side for itself */

struct side {
    struct pq_noise n;
    uint8_t s[32], s_public[32], e[32];
};

static void fixed(const json_t *v, const char *name, uint8_t out[32])
{
    size_t n;
    if (!json_object_get(v, name)) {
        memset(out, 0, 32);
        return;
    }
    uint8_t *p = vec_bytes(v, name, &n);
    assert_int_equal(n, 32);
    memcpy(out, p, 32);
    free(p);
}

static void begin(struct side *a, const json_t *v, bool init)
{
    size_t n, n_prologue;
    uint8_t remote[32];
    uint8_t *prologue = vec_bytes(v, "init_prologue", &n_prologue),
            *psk = vec_hex(json_string_value(json_array_get(vec_get(v, "init_psks"), 0)), &n);
    fixed(v, init ? "init_static" : "resp_static", a->s);
    fixed(v, init ? "init_ephemeral" : "resp_ephemeral", a->e);
    fixed(v, "init_remote_static", remote);
    assert_int_equal(pq_x25519_public(a->s, a->s_public), 0);
    const struct pq_noise_conf c = {
        .pattern = strstr(vec_str(v, "protocol_name"), "IK") ? PQ_NOISE_IKPSK2 : PQ_NOISE_NNPSK0,
        .initiator = init,
        .prologue = {prologue, n_prologue},
        .psk = psk,
        .own_secret = a->s,
        .own_public = a->s_public,
        .remote_public = remote};
    assert_int_equal(pq_noise_init(&a->n, &c), 0);
    if (!init && c.pattern == PQ_NOISE_IKPSK2)
        assert_memory_equal(a->s_public, remote, 32);
    free(prologue);
    free(psk);
}

static uint8_t *message_of(const json_t *v, size_t i, const char *what, size_t *n)
{
    return vec_bytes(json_array_get(vec_get(v, "messages"), i), what, n);
}

static void pass(struct side *from, struct side *to, const json_t *v, size_t i)
{
    size_t n_payload, n_wire, len;
    uint8_t *payload = message_of(v, i, "payload", &n_payload),
            *wire = message_of(v, i, "ciphertext", &n_wire), out[256];
    assert_int_equal(pq_noise_write(&from->n, from->e, (struct pq_view){payload, n_payload}, out,
                                    sizeof out, &len),
                     0);
    assert_int_equal(len, n_wire);
    assert_memory_equal(out, wire, n_wire);
    /* in place, as the receiver does it */
    assert_int_equal(pq_noise_read(&to->n, (struct pq_view){wire, n_wire}, wire, &len), 0);
    assert_int_equal(len, n_payload);
    assert_memory_equal(wire, payload, n_payload);
    free(payload);
    free(wire);
}

/* Messages after the handshake show that the keys of Split are right. */
static void check_key(const json_t *v, size_t i, const uint8_t key[32])
{
    size_t n_payload, n_wire;
    const uint8_t iv[12] = {0, 0, 0, 0, (uint8_t)(i / 2 - 1)};
    uint8_t *payload = message_of(v, i, "payload", &n_payload),
            *wire = message_of(v, i, "ciphertext", &n_wire), out[256];
    gcry_cipher_hd_t hd;
    gcry_cipher_open(&hd, GCRY_CIPHER_CHACHA20, GCRY_CIPHER_MODE_POLY1305, 0);
    gcry_cipher_setkey(hd, key, 32);
    gcry_cipher_setiv(hd, iv, sizeof iv);
    assert_int_equal(gcry_cipher_encrypt(hd, out, n_payload, payload, n_payload), 0);
    assert_memory_equal(out, wire, n_payload);
    gcry_cipher_close(hd);
    free(payload);
    free(wire);
}

static void vectors(void **state)
{
    (void)state;
    json_t *root = vec_load("noise.json"), *v;
    size_t i;
    json_array_foreach(vec_get(root, "vectors"), i, v)
    {
        struct side a, b;
        uint8_t hash[32], from[2][32], to[2][32];
        begin(&a, v, true);
        begin(&b, v, false);
        pass(&a, &b, v, 0);
        if (a.n.pattern == PQ_NOISE_IKPSK2)
            assert_memory_equal(b.n.rs, a.s_public, 32);
        pass(&b, &a, v, 1);
        fixed(v, "handshake_hash", hash);
        assert_memory_equal(a.n.h, hash, 32);
        assert_memory_equal(b.n.h, hash, 32);
        assert_int_equal(pq_noise_split(&a.n, from[0], to[0]), 0);
        assert_int_equal(pq_noise_split(&b.n, from[1], to[1]), 0);
        assert_memory_equal(from[0], from[1], 32);
        assert_memory_equal(to[0], to[1], 32);
        for (size_t m = 2; m < json_array_size(vec_get(v, "messages")); m++)
            check_key(v, m, m % 2 ? to[0] : from[0]);
    }
    assert_int_equal(i, 2);
    json_decref(root);
}

/* ---- what is wrong with a message */

static const uint8_t psk[32] = {1, 2, 3}, eph[2][32] = {{4}, {5}};

static void setup(struct side *a, bool init, enum pq_noise_pattern p, const uint8_t *remote)
{
    memset(a->s, init ? 7 : 8, 32);
    pq_x25519_public(a->s, a->s_public);
    const struct pq_noise_conf c = {.pattern = p,
                                    .initiator = init,
                                    .prologue = {psk, 5},
                                    .psk = psk,
                                    .own_secret = a->s,
                                    .own_public = a->s_public,
                                    .remote_public = remote};
    assert_int_equal(pq_noise_init(&a->n, &c), 0);
}

static void pair(struct side *a, struct side *b, enum pq_noise_pattern p)
{
    setup(b, false, p, NULL);
    setup(a, true, p, b->s_public);
}

/* Every byte of both messages counts, and so does each length. */
static void spoiled(void **state)
{
    (void)state;
    for (int p = PQ_NOISE_IKPSK2; p <= PQ_NOISE_NNPSK0; p++) {
        struct side a, b, c;
        uint8_t m[2][160], in[160], out[160];
        size_t len[2], n;
        pair(&a, &b, (enum pq_noise_pattern)p);
        pq_noise_write(&a.n, eph[0], (struct pq_view){psk, 3}, m[0], sizeof m[0], &len[0]);
        const struct side a0 = a, b0 = b;
        assert_int_equal(pq_noise_read(&b.n, (struct pq_view){m[0], len[0]}, out, &n), 0);
        pq_noise_write(&b.n, eph[1], (struct pq_view){psk, 2}, m[1], sizeof m[1], &len[1]);
        for (int i = 0; i < 2; i++) {
            for (size_t at = 0; at < len[i] * 8; at++) {
                if (at % 256 == 255 && at < 256)
                    continue; /* RFC 7748: the top bit of a point is not looked at ... */
                c = i ? a0 : b0;
                memcpy(in, m[i], len[i]);
                in[at / 8] ^= (uint8_t)(1 << at % 8);
                assert_int_equal(pq_noise_read(&c.n, (struct pq_view){in, len[i]}, out, &n),
                                 PQ_EPROTO);
                assert_int_equal(pq_noise_split(&c.n, out, out), PQ_EINVAL);
            }
            in[31] = m[i][31] ^ 0x80; /* ... but it is hashed */
            memcpy(in, m[i], 31);
            memcpy(in + 32, m[i] + 32, len[i] - 32);
            c = i ? a0 : b0;
            assert_int_equal(pq_noise_read(&c.n, (struct pq_view){in, len[i]}, out, &n), PQ_EPROTO);
            for (size_t cut = 0; cut < len[i]; cut++) {
                c = i ? a0 : b0;
                assert_int_equal(pq_noise_read(&c.n, (struct pq_view){m[i], cut}, out, &n),
                                 PQ_EPROTO);
            }
        }
    }
}

/* Numbers below 2^255 that stand for points of order 1, 2, 4 or 8: 0, 1 and their likes modulo p =
 * 2^255 - 19, and two others. */
static const uint8_t points[][32] = {
    {0},
    {1},
    {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
     0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8},
    {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
     0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
     0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
    {0xec}, /* p - 1 but for what is behind the first byte, */
    {0xed}, /* p, */
    {0xee}, /* p + 1 */
};

/* A key of low order makes a secret that everybody knows. */
static void low_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(points); i++) {
        struct side a, b;
        uint8_t point[32], m[160] = {0}, out[160];
        size_t n;
        memcpy(point, points[i / 2], 32);
        if (point[0] >= 0xec && !point[1]) {
            memset(point + 1, 0xff, 30);
            point[31] = 0x7f;
        }
        point[31] = (uint8_t)(point[31] | (i % 2) << 7); /* the top bit is not looked at */
        assert_int_equal(pq_x25519_shared(eph[0], point, out), PQ_EPROTO);
        pair(&a, &b, PQ_NOISE_IKPSK2);
        memcpy(m, point, 32);
        assert_int_equal(pq_noise_read(&b.n, (struct pq_view){m, 120}, out, &n), PQ_EPROTO);
        setup(&a, true, PQ_NOISE_IKPSK2, point); /* as the server's public key */
        assert_int_equal(pq_noise_write(&a.n, eph[0], (struct pq_view){psk, 3}, m, sizeof m, &n),
                         PQ_EPROTO);
    }
}

static void turns(void **state)
{
    (void)state;
    struct side a, b;
    uint8_t m[160], out[160];
    size_t n;
    const struct pq_view nothing = {psk, 0};
    pair(&a, &b, PQ_NOISE_NNPSK0);
    assert_int_equal(pq_noise_write(&b.n, eph[0], nothing, m, sizeof m, &n), PQ_EINVAL);
    assert_int_equal(pq_noise_read(&a.n, (struct pq_view){m, 48}, out, &n), PQ_EINVAL);
    assert_int_equal(pq_noise_split(&a.n, m, out), PQ_EINVAL);
    assert_int_equal(pq_noise_write(&a.n, eph[0], nothing, m, 47, &n), PQ_EINVAL); /* no room */
    assert_int_equal(pq_noise_write(&a.n, eph[0], nothing, m, sizeof m, &n), PQ_EINVAL); /* over */
    pair(&a, &b, PQ_NOISE_NNPSK0);
    assert_int_equal(pq_noise_write(&a.n, eph[0], nothing, m, 48, &n), 0);
    assert_int_equal(pq_noise_read(&a.n, (struct pq_view){m, 48}, out, &n),
                     PQ_EPROTO); /* its own */
}

/* Another psk, prologue or pattern, or another server than was meant. */
static void others(void **state)
{
    (void)state;
    struct side a, b;
    uint8_t m[160], out[160];
    size_t n, len;
    const struct pq_view nothing = {psk, 0};
    pair(&a, &b, PQ_NOISE_NNPSK0);
    pq_noise_write(&a.n, eph[0], nothing, m, sizeof m, &len);
    b.n.psk[31] ^= 1;
    assert_int_equal(pq_noise_read(&b.n, (struct pq_view){m, len}, out, &n), PQ_EPROTO);
    pair(&a, &b, PQ_NOISE_NNPSK0);
    b.n.h[0] ^= 1;
    assert_int_equal(pq_noise_read(&b.n, (struct pq_view){m, len}, out, &n), PQ_EPROTO);
    pair(&a, &b, PQ_NOISE_IKPSK2);
    assert_int_equal(pq_noise_read(&b.n, (struct pq_view){m, len}, out, &n), PQ_EPROTO);
    setup(&a, true, PQ_NOISE_IKPSK2, a.s_public);
    pq_noise_write(&a.n, eph[0], nothing, m, sizeof m, &len);
    assert_int_equal(pq_noise_read(&b.n, (struct pq_view){m, len}, out, &n), PQ_EINVAL);
    pair(&a, &b, PQ_NOISE_IKPSK2);
    assert_int_equal(pq_noise_read(&b.n, (struct pq_view){m, len}, out, &n), PQ_EPROTO);
    /* the psk of IK comes with the second message: whoever has not got it learns it there */
    pair(&a, &b, PQ_NOISE_IKPSK2);
    b.n.psk[0] ^= 1;
    pq_noise_write(&a.n, eph[0], nothing, m, sizeof m, &len);
    assert_int_equal(pq_noise_read(&b.n, (struct pq_view){m, len}, out, &n), 0);
    pq_noise_write(&b.n, eph[1], nothing, m, sizeof m, &len);
    assert_int_equal(pq_noise_read(&a.n, (struct pq_view){m, len}, out, &n), PQ_EPROTO);
}

/* After the first message both have a secret that depends on all that went into it. */
static void early(void **state)
{
    (void)state;
    struct side a, b;
    uint8_t m[160], out[160], one[32], two[32], other[32];
    size_t n, len;
    const struct pq_view said = {psk, 3};
    pair(&a, &b, PQ_NOISE_IKPSK2);
    assert_int_equal(pq_noise_early(&a.n, "x", one), PQ_EINVAL);
    assert_int_equal(pq_noise_write(&a.n, eph[0], said, m, sizeof m, &len), 0);
    assert_int_equal(pq_noise_read(&b.n, (struct pq_view){m, len}, out, &n), 0);
    assert_int_equal(pq_noise_early(&a.n, "x", one), 0);
    assert_int_equal(pq_noise_early(&b.n, "x", two), 0);
    assert_memory_equal(one, two, sizeof one);
    assert_int_equal(pq_noise_early(&a.n, "y", other), 0);
    assert_memory_not_equal(one, other, sizeof one);
    for (int i = 0; i < 3; i++) {
        struct pq_noise odd = b.n;
        *(i == 0 ? odd.psk : i == 1 ? odd.ck : odd.h) ^= 1;
        assert_int_equal(pq_noise_early(&odd, "x", other), 0);
        assert_memory_not_equal(one, other, sizeof one);
    }
    assert_int_equal(pq_noise_write(&b.n, eph[1], said, m, sizeof m, &len), 0);
    assert_int_equal(pq_noise_early(&b.n, "x", one), PQ_EINVAL);
}

static void shared(void **state)
{
    (void)state;
    static const uint8_t zero[32], secret[2][32] = {{1, 2}, {3, 4}};
    uint8_t pub[2][32], one[32], two[32];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pq_x25519_public(secret[i], pub[i]), 0);
    assert_int_equal(pq_x25519_shared(secret[0], pub[1], one), 0);
    assert_int_equal(pq_x25519_shared(secret[1], pub[0], two), 0);
    assert_memory_equal(one, two, sizeof one);
    assert_int_equal(pq_x25519_shared(secret[0], zero, one), PQ_EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(early),   cmocka_unit_test(shared),  cmocka_unit_test(hkdf),
        cmocka_unit_test(vectors), cmocka_unit_test(spoiled), cmocka_unit_test(low_order),
        cmocka_unit_test(turns),   cmocka_unit_test(others),
    };
    gcry_check_version(NULL);
    gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    return cmocka_run_group_tests_name("noise", tests, NULL, NULL);
}
