/* SPDX-License-Identifier: MIT */
#include "quic/quic_seal.h"

#include "base/hash.h"
#include "base/list.h"
#include "quic/quic.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#define SEEN_MAX 65536 /* openings that one end remembers by itself */

/* ---- keys */

static int expand(const uint8_t prk[32], const char *label, uint8_t *out, size_t n)
{
    const gnutls_datum_t key = {(uint8_t *)(uintptr_t)prk, 32};
    const gnutls_datum_t info = {(uint8_t *)(uintptr_t)label, (unsigned)strlen(label)};
    return gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &key, &info, out, n);
}

int pq_quic_keys_make(struct pq_quic_keys *k, const uint8_t key[32])
{
    static const char salt[] = "paqet quic 1";
    const gnutls_datum_t ikm = {(uint8_t *)(uintptr_t)key, 32};
    const gnutls_datum_t with = {(uint8_t *)(uintptr_t)salt, sizeof salt - 1};
    uint8_t prk[32];
    int e = gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &ikm, &with, prk);
    e = e ? e : expand(prk, "seal c2s", k->c2s, sizeof k->c2s);
    e = e ? e : expand(prk, "seal s2c", k->s2c, sizeof k->s2c);
    e = e ? e : expand(prk, "psk", k->psk, sizeof k->psk);
    explicit_bzero(prk, sizeof prk);
    return e ? PQ_ENOTSUP : 0;
}

/* ---- the seal */

int pq_quic_seal_init(struct pq_quic_seal *s, const uint8_t key[16])
{
    const gnutls_datum_t k = {(uint8_t *)(uintptr_t)key, 16};
    gnutls_aead_cipher_hd_t h;
    if (gnutls_aead_cipher_init(&h, GNUTLS_CIPHER_AES_128_GCM, &k))
        return PQ_ENOMEM;
    s->aead = h;
    return 0;
}

void pq_quic_seal_fini(struct pq_quic_seal *s)
{
    if (s->aead)
        gnutls_aead_cipher_deinit(s->aead);
    s->aead = NULL;
}

bool pq_quic_is_bare(const uint8_t *p, size_t n)
{
    return n >= 5 && (p[0] & 0x80) && pq_be32(p + 1) == 1;
}

static void put_le64(uint8_t *p, uint64_t v)
{
    pq_put_le32(p, (uint32_t)v);
    pq_put_le32(p + 4, (uint32_t)(v >> 32));
}

static uint64_t le64(const uint8_t *p)
{
    return pq_le32(p) | (uint64_t)pq_le32(p + 4) << 32;
}

size_t pq_quic_seal_put(const struct pq_quic_seal *s, uint8_t *p, size_t n, const uint64_t *stamp,
                        struct pq_rng *rng)
{
    uint8_t nonce[QUIC_NONCE_LEN], plain[PQ_QUIC_SIZE_MAX];
    const size_t head = stamp ? QUIC_STAMP_LEN : 0;
    size_t len = head + n + QUIC_TAG_LEN;
    if (n > sizeof plain - PQ_QUIC_SEAL)
        return 0;
    do {
        pq_rng_fill(rng, nonce, sizeof nonce);
        nonce[0] |= 0x80;
    } while (pq_quic_is_bare(nonce, sizeof nonce));
    if (stamp)
        put_le64(plain, *stamp);
    memcpy(plain + head, p, n);
    memcpy(p, nonce, sizeof nonce);
    if (gnutls_aead_cipher_encrypt(s->aead, nonce, sizeof nonce, NULL, 0, QUIC_TAG_LEN, plain,
                                   head + n, p + sizeof nonce, &len))
        return 0;
    return sizeof nonce + len;
}

struct pq_view pq_quic_seal_open(const struct pq_quic_seal *s, uint8_t *p, size_t n,
                                 uint64_t *stamp)
{
    uint8_t plain[PQ_QUIC_SIZE_MAX];
    const size_t head = stamp ? QUIC_STAMP_LEN : 0;
    size_t len = sizeof plain;
    if (n <= QUIC_NONCE_LEN + QUIC_TAG_LEN + head || n > sizeof plain ||
        gnutls_aead_cipher_decrypt(s->aead, p, QUIC_NONCE_LEN, NULL, 0, QUIC_TAG_LEN,
                                   p + QUIC_NONCE_LEN, n - QUIC_NONCE_LEN, plain, &len))
        return (struct pq_view){p, 0};
    if (stamp)
        *stamp = le64(plain);
    memcpy(p, plain + head, len - head);
    return (struct pq_view){p, len - head};
}

/* ---- openings that were there before */

struct seen_id {
    struct pq_hash_node node;
    bool used;
    uint64_t wall; /* when it came */
    uint8_t n, id[20];
};

struct quic_seen { /* a ring: the oldest makes room, once it is old enough */
    struct pq_hash by_id;
    uint64_t seed;
    struct seen_id *ids[SEEN_MAX];
    size_t next;
};

int pq_quic_seen_new(struct quic_seen **out, uint64_t seed)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return PQ_ENOMEM;
    (*out)->seed = seed;
    return 0;
}

void pq_quic_seen_free(struct quic_seen **s)
{
    if (!*s)
        return;
    for (size_t i = 0; i < SEEN_MAX; i++)
        free((*s)->ids[i]);
    pq_hash_fini(&(*s)->by_id);
    free(*s);
    *s = NULL;
}

bool pq_quic_seen(struct quic_seen *s, struct pq_view id, uint64_t wall)
{
    const uint64_t hash = pq_hash_bytes(id.p, id.n, s->seed);
    struct pq_hash_node *n = pq_hash_find(&s->by_id, hash);
    for (; n; n = pq_hash_next(n)) {
        const struct seen_id *k = PQ_OF(n, struct seen_id, node);
        if (k->n == id.n && memcmp(k->id, id.p, id.n) == 0)
            return true;
    }
    struct seen_id **at = &s->ids[s->next % SEEN_MAX];
    if (*at && (*at)->used && (*at)->wall + PQ_QUIC_REMEMBER > wall)
        return true; /* full */
    if (!*at && !(*at = calloc(1, sizeof **at)))
        return true;
    s->next++;
    if ((*at)->used)
        pq_hash_remove(&s->by_id, &(*at)->node);
    (*at)->n = (uint8_t)id.n;
    (*at)->wall = wall;
    memcpy((*at)->id, id.p, id.n);
    (*at)->used = pq_hash_add(&s->by_id, &(*at)->node, hash) == 0;
    return !(*at)->used;
}
