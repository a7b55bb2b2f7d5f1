/* SPDX-License-Identifier: MIT */
#include "crypt/seal.h"

#include "crypt/seal_internal.h"

#include <assert.h>
#include <gcrypt.h>
#include <stdlib.h>

#define NONCE_LEN 12

static const struct {
    int algo, mode;
    size_t key_len;
} aeads[PQ_AEAD_COUNT] = {
    [PQ_AEAD_AES_128_GCM] = {GCRY_CIPHER_AES128, GCRY_CIPHER_MODE_GCM, 16},
    [PQ_AEAD_CHACHA20_POLY1305] = {GCRY_CIPHER_CHACHA20, GCRY_CIPHER_MODE_POLY1305, 32},
};

const char *pq_aead_name(enum pq_aead a)
{
    return a == PQ_AEAD_AES_128_GCM ? "aes-128-gcm" : "chacha20-poly1305";
}

size_t pq_aead_key_len(enum pq_aead a)
{
    return aeads[a].key_len;
}

uint8_t pq_aead_ready(void)
{
    static const char *const aes[] = {"intel-aesni", "arm-aes", "ppc-vcrypto", "s390x-msa"};
    const uint8_t chacha = 1U << PQ_AEAD_CHACHA20_POLY1305, gcm = 1U << PQ_AEAD_AES_128_GCM;
    char *features = gcry_get_config(0, "hwflist");
    bool fast = false;
    for (size_t i = 0; features && i < sizeof aes / sizeof aes[0]; i++)
        fast = fast || strstr(features, aes[i]);
    gcry_free(features);
    return fast ? gcm | chacha : chacha;
}

/* ---- the mask */

int pq_mask_new(struct pq_mask **out, const uint8_t key[PQ_MASK_KEY_LEN])
{
    struct pq_mask *m = *out = calloc(1, sizeof *m);
    if (!m)
        return PQ_ENOMEM;
    if (!gcry_cipher_open(&m->hd, GCRY_CIPHER_AES128, GCRY_CIPHER_MODE_ECB, 0) &&
        !gcry_cipher_setkey(m->hd, key, PQ_MASK_KEY_LEN))
        return 0;
    pq_mask_free(out);
    return PQ_ENOMEM;
}

void pq_mask_free(struct pq_mask **m)
{
    if (!*m)
        return;
    gcry_cipher_close((*m)->hd); /* wipes the key */
    free(*m);
    *m = NULL;
}

void pq_mask_block(struct pq_mask *m, const uint8_t in[16], uint8_t out[16])
{
    gcry_error_t e = gcry_cipher_encrypt(m->hd, out, 16, in, 16);
    assert(!e);
    (void)e;
}

/* The first eight bytes of a datagram, with the mask on or off. */
static void xor_head(struct pq_mask *m, const uint8_t *p, size_t n, uint8_t out[PQ_SEAL_HEAD])
{
    uint8_t block[16];
    pq_mask_block(m, p + n - sizeof block, block);
    for (size_t i = 0; i < PQ_SEAL_HEAD; i++)
        out[i] = p[i] ^ block[i];
}

struct pq_seal_head pq_mask_read(struct pq_mask *m, const uint8_t *p, size_t n)
{
    uint8_t head[PQ_SEAL_HEAD];
    xor_head(m, p, n, head);
    return (struct pq_seal_head){.id = pq_le32(head), .counter = pq_le32(head + 4)};
}

/* ---- the seal */

int pq_seal_new(struct pq_seal **out, enum pq_aead a, const uint8_t key[PQ_SEAL_KEY_LEN])
{
    struct pq_seal *s = *out = calloc(1, sizeof *s);
    if (!s)
        return PQ_ENOMEM;
    s->aead = a;
    if (!gcry_cipher_open(&s->hd, aeads[a].algo, aeads[a].mode, 0) &&
        !gcry_cipher_setkey(s->hd, key, aeads[a].key_len))
        return 0;
    pq_seal_free(out);
    return PQ_ENOMEM;
}

void pq_seal_free(struct pq_seal **s)
{
    if (!*s)
        return;
    gcry_cipher_close((*s)->hd); /* wipes the key */
    pq_window_free(&(*s)->opened);
    free(*s);
    *s = NULL;
}

static gcry_error_t set_nonce(struct pq_seal *s, uint32_t counter)
{
    uint8_t nonce[NONCE_LEN] = {0};
    pq_put_be32(nonce + 8, counter);
    return gcry_cipher_setiv(s->hd, nonce, sizeof nonce);
}

void pq_seal_put(struct pq_seal *s, struct pq_mask *m, uint32_t id, const struct pq_span *spans,
                 size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t *p = spans[i].p;
        const size_t len = spans[i].n - PQ_SEAL_HEAD - PQ_SEAL_TAIL;
        assert(s->next < PQ_SEAL_LIMIT);
        gcry_error_t e = set_nonce(s, s->next);
        if (!e)
            e = gcry_cipher_encrypt(s->hd, p + PQ_SEAL_HEAD, len, NULL, 0);
        if (!e)
            e = gcry_cipher_gettag(s->hd, p + PQ_SEAL_HEAD + len, PQ_SEAL_TAIL);
        assert(!e); /* only for misuse of the arguments */
        (void)e;
        pq_put_le32(p, id);
        pq_put_le32(p + 4, s->next++);
        xor_head(m, p, spans[i].n, p);
    }
}

enum pq_drop pq_seal_open(struct pq_seal *s, uint8_t *p, size_t n, uint32_t counter,
                          struct pq_view *inner)
{
    if (n < PQ_SEAL_HEAD + PQ_SEAL_TAIL)
        return PQ_DROP_SHORT;
    if (counter >= PQ_SEAL_LIMIT || !pq_window_fresh(&s->opened, counter))
        return PQ_DROP_REPLAY;
    const size_t len = n - PQ_SEAL_HEAD - PQ_SEAL_TAIL;
    uint8_t *text = p + PQ_SEAL_HEAD;
    if (set_nonce(s, counter) || gcry_cipher_decrypt(s->hd, text, len, NULL, 0))
        return PQ_DROP_AUTH;
    if (gcry_cipher_checktag(s->hd, text + len, PQ_SEAL_TAIL) ||
        !pq_window_note(&s->opened, counter)) {
        uint8_t tag[PQ_SEAL_TAIL]; /* both AEADs xor a stream: once more brings the bytes back */
        set_nonce(s, counter);
        gcry_cipher_encrypt(s->hd, text, len, NULL, 0);
        gcry_cipher_gettag(s->hd, tag, sizeof tag); /* else libgcrypt keeps a piece for the next */
        return PQ_DROP_AUTH;
    }
    s->n_opened++;
    *inner = (struct pq_view){text, len};
    return PQ_DROP_NONE;
}

uint32_t pq_seal_used(const struct pq_seal *s)
{
    return s->next > s->opened.end ? s->next : s->opened.end;
}

uint32_t pq_seal_opened(const struct pq_seal *s)
{
    return s->n_opened;
}

enum pq_aead pq_seal_aead(const struct pq_seal *s)
{
    return s->aead;
}
