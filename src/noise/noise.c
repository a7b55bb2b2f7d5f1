/* SPDX-License-Identifier: MIT */
#include "noise/noise.h"

#include "base/err.h"

#include <gcrypt.h>

enum token { END, E, S, EE, ES, SE, SS, PSK };

struct pattern {
    const char *name;
    enum token message[2][5];
};

static const struct pattern patterns[] = {
    [PQ_NOISE_IKPSK2] = {"Noise_IKpsk2_25519_ChaChaPoly_SHA256",
                         {{E, ES, S, SS, END}, {E, EE, SE, PSK, END}}},
    [PQ_NOISE_NNPSK0] = {"Noise_NNpsk0_25519_ChaChaPoly_SHA256", {{PSK, E, END}, {E, EE, END}}},
};

/* ---- X25519 */

static int x25519(uint8_t out[PQ_X25519_LEN], const uint8_t secret[PQ_X25519_LEN],
                  const uint8_t *point)
{
    uint8_t k[PQ_X25519_LEN];
    memcpy(k, secret, sizeof k);
    k[0] &= 0xf8; /* RFC 7748, 5 */
    k[31] = (uint8_t)((k[31] & 0x7f) | 0x40);
    gcry_error_t e = gcry_ecc_mul_point(GCRY_ECC_CURVE25519, out, k, point);
    explicit_bzero(k, sizeof k);
    return gcry_err_code(e) == GPG_ERR_ENOMEM ? PQ_ENOMEM : e ? PQ_EPROTO : 0;
}

int pq_x25519_public(const uint8_t secret[PQ_X25519_LEN], uint8_t pub[PQ_X25519_LEN])
{
    static const uint8_t base[PQ_X25519_LEN] = {9};
    return x25519(pub, secret, base);
}

int pq_x25519_shared(const uint8_t secret[PQ_X25519_LEN], const uint8_t pub[PQ_X25519_LEN],
                     uint8_t out[PQ_X25519_LEN])
{
    uint8_t any = 0;
    int e = x25519(out, secret, pub);
    for (size_t i = 0; i < PQ_X25519_LEN; i++)
        any |= out[i];
    return e ? e : any ? 0 : PQ_EPROTO;
}

/* ---- the symmetric state: h is what was said, ck what is known, k the key of the moment */

static int mix_hash(struct pq_noise *n, const uint8_t *p, size_t len)
{
    gcry_buffer_t iov[2] = {{.len = PQ_HASH_LEN, .data = n->h, .size = PQ_HASH_LEN},
                            {.len = len, .data = (void *)(uintptr_t)p, .size = len}};
    uint8_t h[PQ_HASH_LEN];
    if (gcry_md_hash_buffers(GCRY_MD_SHA256, 0, h, iov, 2))
        return PQ_ENOMEM;
    memcpy(n->h, h, sizeof h);
    return 0;
}

/* HKDF of the framework: up to three outputs, each of PQ_HASH_LEN. */
static int derive(struct pq_noise *n, const uint8_t *ikm, size_t len, uint8_t *out, size_t count)
{
    uint8_t prk[PQ_HASH_LEN];
    int e = pq_hkdf_extract((struct pq_view){n->ck, sizeof n->ck}, (struct pq_view){ikm, len}, prk);
    if (!e)
        e = pq_hkdf_expand(prk, (struct pq_view){NULL, 0}, out, count * PQ_HASH_LEN);
    explicit_bzero(prk, sizeof prk);
    return e;
}

static void set_key(struct pq_noise *n, const uint8_t k[32])
{
    memcpy(n->k, k, sizeof n->k);
    n->has_key = true;
    n->nonce = 0;
}

static int mix_key(struct pq_noise *n, const uint8_t *ikm, size_t len)
{
    uint8_t out[2 * PQ_HASH_LEN];
    int e = derive(n, ikm, len, out, 2);
    if (!e) {
        memcpy(n->ck, out, PQ_HASH_LEN);
        set_key(n, out + PQ_HASH_LEN);
    }
    explicit_bzero(out, sizeof out);
    return e;
}

static int mix_psk(struct pq_noise *n)
{
    uint8_t out[3 * PQ_HASH_LEN];
    int e = derive(n, n->psk, sizeof n->psk, out, 3);
    if (!e) {
        memcpy(n->ck, out, PQ_HASH_LEN);
        e = mix_hash(n, out + PQ_HASH_LEN, PQ_HASH_LEN);
    }
    if (!e)
        set_key(n, out + (size_t)2 * PQ_HASH_LEN);
    explicit_bzero(out, sizeof out);
    return e;
}

/* ChaCha20-Poly1305 with h as additional data; nonce: 32 bits of zero, the number LE64. */
static int aead_begin(struct pq_noise *n, gcry_cipher_hd_t *hd)
{
    uint8_t iv[12] = {0};
    pq_put_le32(iv + 4, (uint32_t)n->nonce);
    pq_put_le32(iv + 8, (uint32_t)(n->nonce >> 32));
    n->nonce++;
    if (gcry_cipher_open(hd, GCRY_CIPHER_CHACHA20, GCRY_CIPHER_MODE_POLY1305, 0))
        return PQ_ENOMEM;
    if (!gcry_cipher_setkey(*hd, n->k, sizeof n->k) && !gcry_cipher_setiv(*hd, iv, sizeof iv) &&
        !gcry_cipher_authenticate(*hd, n->h, sizeof n->h))
        return 0;
    gcry_cipher_close(*hd);
    return PQ_ENOMEM;
}

/* Encrypts len bytes at p in place, the tag behind them, once there is a key; mixes the result. */
static int encrypt_and_hash(struct pq_noise *n, uint8_t *p, size_t len)
{
    if (!n->has_key)
        return mix_hash(n, p, len);
    gcry_cipher_hd_t hd;
    int e = aead_begin(n, &hd);
    if (e)
        return e;
    if (gcry_cipher_encrypt(hd, p, len, NULL, 0) || gcry_cipher_gettag(hd, p + len, PQ_NOISE_TAG))
        e = PQ_ENOMEM;
    gcry_cipher_close(hd);
    return e ? e : mix_hash(n, p, len + PQ_NOISE_TAG);
}

/* The other way: of len bytes at p the plain text goes to out. */
static int decrypt_and_hash(struct pq_noise *n, const uint8_t *p, size_t len, uint8_t *out)
{
    uint8_t h[PQ_HASH_LEN];
    gcry_cipher_hd_t hd;
    if (!n->has_key) {
        int e = mix_hash(n, p, len);
        memmove(out, p, len);
        return e;
    }
    if (len < PQ_NOISE_TAG)
        return PQ_EPROTO;
    int e = aead_begin(n, &hd); /* with h as it was before this part */
    if (e)
        return e;
    e = mix_hash(n, p, len); /* before it is overwritten */
    memcpy(h, p + len - PQ_NOISE_TAG, PQ_NOISE_TAG);
    len -= PQ_NOISE_TAG;
    memmove(out, p, len);
    if (!e &&
        (gcry_cipher_decrypt(hd, out, len, NULL, 0) || gcry_cipher_checktag(hd, h, PQ_NOISE_TAG)))
        e = PQ_EPROTO;
    gcry_cipher_close(hd);
    return e;
}

/* ---- messages */

int pq_noise_init(struct pq_noise *n, const struct pq_noise_conf *c)
{
    const char *name = patterns[c->pattern].name;
    memset(n, 0, sizeof *n);
    n->pattern = c->pattern;
    n->initiator = c->initiator;
    memcpy(n->psk, c->psk, sizeof n->psk);
    gcry_md_hash_buffer(GCRY_MD_SHA256, n->h, name, strlen(name)); /* longer than 32 bytes */
    memcpy(n->ck, n->h, sizeof n->ck);
    int e = mix_hash(n, c->prologue.p, c->prologue.n);
    if (e || c->pattern != PQ_NOISE_IKPSK2)
        return e;
    memcpy(n->s, c->own_secret, sizeof n->s);
    memcpy(n->s_public, c->own_public, sizeof n->s_public);
    if (c->initiator)
        memcpy(n->rs, c->remote_public, sizeof n->rs);
    return mix_hash(n, c->initiator ? n->rs : n->s_public, PQ_X25519_LEN); /* known before */
}

static int mix_dh(struct pq_noise *n, const uint8_t *secret, const uint8_t *point)
{
    uint8_t dh[PQ_X25519_LEN];
    int e = pq_x25519_shared(secret, point, dh);
    if (!e)
        e = mix_key(n, dh, sizeof dh);
    explicit_bzero(dh, sizeof dh);
    return e;
}

/* The tokens that both sides do alike; es and se name the initiator's key first. */
static int mix_token(struct pq_noise *n, enum token t)
{
    switch (t) {
    case EE:
        return mix_dh(n, n->e, n->re);
    case ES:
        return n->initiator ? mix_dh(n, n->e, n->rs) : mix_dh(n, n->s, n->re);
    case SE:
        return n->initiator ? mix_dh(n, n->s, n->re) : mix_dh(n, n->e, n->rs);
    case SS:
        return mix_dh(n, n->s, n->rs);
    default: /* PSK */
        return mix_psk(n);
    }
}

/* With a psk the ephemeral public key is mixed into the keys, too. */
static int mix_ephemeral(struct pq_noise *n, const uint8_t pub[PQ_X25519_LEN])
{
    int e = mix_hash(n, pub, PQ_X25519_LEN);
    return e ? e : mix_key(n, pub, PQ_X25519_LEN);
}

static int write_ephemeral(struct pq_noise *n, const uint8_t *secret, struct pq_wr *w)
{
    uint8_t pub[PQ_X25519_LEN];
    memcpy(n->e, secret, sizeof n->e);
    int e = pq_x25519_public(n->e, pub);
    pq_wr_bytes(w, pub, sizeof pub);
    return e ? e : mix_ephemeral(n, pub);
}

/* Appends bytes, encrypted if there is a key. */
static int write_part(struct pq_noise *n, struct pq_view part, struct pq_wr *w)
{
    static const uint8_t tag[PQ_NOISE_TAG];
    uint8_t *p = w->p;
    pq_wr_bytes(w, part.p, part.n);
    if (n->has_key)
        pq_wr_bytes(w, tag, sizeof tag);
    return w->bad ? PQ_EINVAL : encrypt_and_hash(n, p, part.n);
}

int pq_noise_write(struct pq_noise *n, const uint8_t ephemeral[PQ_X25519_LEN],
                   struct pq_view payload, uint8_t *out, size_t cap, size_t *len)
{
    struct pq_wr w = pq_wr_init(out, cap);
    int e = 0;
    if (n->turn > 1 || n->initiator != (n->turn == 0))
        return PQ_EINVAL;
    for (const enum token *t = patterns[n->pattern].message[n->turn]; !e && *t != END; t++) {
        if (*t == E)
            e = write_ephemeral(n, ephemeral, &w);
        else if (*t == S)
            e = write_part(n, (struct pq_view){n->s_public, PQ_X25519_LEN}, &w);
        else
            e = mix_token(n, *t);
        if (w.bad)
            e = PQ_EINVAL;
    }
    if (!e)
        e = write_part(n, payload, &w);
    n->turn = e ? 3 : n->turn + 1;
    *len = pq_wr_len(&w);
    return e;
}

static int read_key(struct pq_noise *n, enum token t, struct pq_rd *r)
{
    const size_t len = PQ_X25519_LEN + (t == S && n->has_key ? PQ_NOISE_TAG : 0);
    const uint8_t *p = pq_rd_bytes(r, len);
    if (!p)
        return PQ_EPROTO;
    if (t == S)
        return decrypt_and_hash(n, p, len, n->rs);
    memcpy(n->re, p, sizeof n->re);
    return mix_ephemeral(n, n->re);
}

int pq_noise_read(struct pq_noise *n, struct pq_view message, uint8_t *out, size_t *len)
{
    struct pq_rd r = pq_rd_init(message.p, message.n);
    int e = 0;
    if (n->turn > 1 || n->initiator != (n->turn == 1))
        return PQ_EINVAL;
    for (const enum token *t = patterns[n->pattern].message[n->turn]; !e && *t != END; t++)
        e = *t == E || *t == S ? read_key(n, *t, &r) : mix_token(n, *t);
    const size_t left = pq_rd_left(&r);
    if (!e)
        e = decrypt_and_hash(n, r.p, left, out);
    if (!e)
        *len = left - PQ_NOISE_TAG;
    n->turn = e ? 3 : n->turn + 1;
    return e;
}

int pq_noise_early(const struct pq_noise *n, const char *label, uint8_t out[PQ_HASH_LEN])
{
    uint8_t known[2 * PQ_HASH_LEN], prk[PQ_HASH_LEN];
    if (n->turn != 1)
        return PQ_EINVAL;
    memcpy(known, n->ck, PQ_HASH_LEN);
    memcpy(known + PQ_HASH_LEN, n->h, PQ_HASH_LEN);
    int e = pq_hkdf_extract((struct pq_view){n->psk, sizeof n->psk},
                            (struct pq_view){known, sizeof known}, prk);
    if (!e)
        e = pq_hkdf_label(prk, label, out, PQ_HASH_LEN);
    explicit_bzero(known, sizeof known);
    explicit_bzero(prk, sizeof prk);
    return e;
}

int pq_noise_split(struct pq_noise *n, uint8_t from[PQ_HASH_LEN], uint8_t to[PQ_HASH_LEN])
{
    uint8_t out[2 * PQ_HASH_LEN];
    if (n->turn != 2)
        return PQ_EINVAL;
    int e = derive(n, NULL, 0, out, 2);
    memcpy(from, out, PQ_HASH_LEN);
    memcpy(to, out + PQ_HASH_LEN, PQ_HASH_LEN);
    explicit_bzero(out, sizeof out);
    pq_noise_wipe(n);
    return e;
}

void pq_noise_wipe(struct pq_noise *n)
{
    explicit_bzero(n, sizeof *n);
    n->turn = 3;
}
