/* SPDX-License-Identifier: MIT */
#include "crypt/crypt.h"

#include "base/hash.h"
#include "crypt/crc32.h"
#include "crypt/small.h"

#include <assert.h>
#include <gcrypt.h>
#include <stdlib.h>

enum shape { SHAPE_CFB, SHAPE_AEAD, SHAPE_SALSA, SHAPE_SMALL, SHAPE_PLAIN, SHAPE_NULL };

#define CRC_HEAD  20 /* nonce 16 + crc 4 [2.2] */
#define GCM_NONCE 12
#define GCM_TAG   16
#define SALSA_IV  8
#define CFB_NONCE 16
#define MARK_LEN  2 /* bytes at the end of a nonce [2.5] */

struct info {
    const char *name;
    enum shape shape;
    int algo, mode; /* libgcrypt; SHAPE_SMALL: enum pq_small */
    size_t key_len;
    size_t iv_len;
};

static const struct info infos[PQ_CIPHER_COUNT] = {
    [PQ_CIPHER_AES] = {"aes", SHAPE_CFB, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_CFB, 32, 16},
    [PQ_CIPHER_AES_128] = {"aes-128", SHAPE_CFB, GCRY_CIPHER_AES128, GCRY_CIPHER_MODE_CFB, 16, 16},
    [PQ_CIPHER_AES_192] = {"aes-192", SHAPE_CFB, GCRY_CIPHER_AES192, GCRY_CIPHER_MODE_CFB, 24, 16},
    [PQ_CIPHER_AES_128_GCM] = {"aes-128-gcm", SHAPE_AEAD, GCRY_CIPHER_AES128, GCRY_CIPHER_MODE_GCM,
                               16, GCM_NONCE},
    [PQ_CIPHER_SALSA20] = {"salsa20", SHAPE_SALSA, GCRY_CIPHER_SALSA20, GCRY_CIPHER_MODE_STREAM, 32,
                           SALSA_IV},
    [PQ_CIPHER_BLOWFISH] = {"blowfish", SHAPE_CFB, GCRY_CIPHER_BLOWFISH, GCRY_CIPHER_MODE_CFB, 32,
                            8},
    [PQ_CIPHER_TWOFISH] = {"twofish", SHAPE_CFB, GCRY_CIPHER_TWOFISH, GCRY_CIPHER_MODE_CFB, 32, 16},
    [PQ_CIPHER_CAST5] = {"cast5", SHAPE_CFB, GCRY_CIPHER_CAST5, GCRY_CIPHER_MODE_CFB, 16, 8},
    [PQ_CIPHER_3DES] = {"3des", SHAPE_CFB, GCRY_CIPHER_3DES, GCRY_CIPHER_MODE_CFB, 24, 8},
    [PQ_CIPHER_TEA] = {"tea", SHAPE_SMALL, PQ_SMALL_TEA, 0, 16, 8},
    [PQ_CIPHER_XTEA] = {"xtea", SHAPE_SMALL, PQ_SMALL_XTEA, 0, 16, 8},
    [PQ_CIPHER_XOR] = {"xor", SHAPE_SMALL, PQ_SMALL_XOR, 0, 32, 0},
    [PQ_CIPHER_SM4] = {"sm4", SHAPE_CFB, GCRY_CIPHER_SM4, GCRY_CIPHER_MODE_CFB, 16, 16},
    [PQ_CIPHER_NONE] = {"none", SHAPE_PLAIN, 0, 0, 0, 0},
    [PQ_CIPHER_NULL] = {"null", SHAPE_NULL, 0, 0, 0, 0},
};

/* The constant IV of all CFB ciphers; 8-byte block ciphers use its first half [2.2]. */
static const uint8_t cfb_iv[16] = {0xa7, 0x73, 0x4f, 0x9c, 0x12, 0xac, 0x1b, 0x01,
                                   0xa4, 0x15, 0xf2, 0xc1, 0xfc, 0x78, 0xe6, 0x6b};

struct pq_crypt {
    const struct info *info;
    gcry_cipher_hd_t hd;   /* library ciphers */
    gcry_md_hd_t crc;      /* NULL: the library has none, crc32.c has */
    struct pq_small small; /* TEA, XTEA, XOR */
    uint64_t mark_seed;    /* secret; 0 = nonces are not marked */
    bool client;           /* whose mark is the own one */
};

const char *pq_cipher_name(enum pq_cipher c)
{
    return (unsigned)c < PQ_CIPHER_COUNT ? infos[c].name : NULL;
}

int pq_cipher_from_name(const char *name, enum pq_cipher *out)
{
    for (unsigned i = 0; i < PQ_CIPHER_COUNT; i++) {
        if (strcmp(infos[i].name, name) == 0) {
            *out = (enum pq_cipher)i;
            return 0;
        }
    }
    return PQ_EINVAL;
}

bool pq_cipher_needs_key(enum pq_cipher c)
{
    return c != PQ_CIPHER_NONE && c != PQ_CIPHER_NULL;
}

int pq_crypt_global_init(void)
{
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
        return 0;
    if (!gcry_check_version(GCRYPT_VERSION))
        return PQ_ENOTSUP;
    pq_crc32_init();
    gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    return 0;
}

int pq_crypt_derive(const char *passphrase, uint8_t key[PQ_KEY_LEN])
{
    if (!*passphrase)
        return PQ_EINVAL;
    gcry_error_t e = gcry_kdf_derive(passphrase, strlen(passphrase), GCRY_KDF_PBKDF2,
                                     GCRY_MD_SHA256, "paqet", 5, 100000, PQ_KEY_LEN, key);
    return e ? PQ_ENOTSUP : 0;
}

/* Keys that the library calls weak (3DES, Blowfish) are set too: the peer uses them. */
static gcry_error_t set_key(gcry_cipher_hd_t hd, const uint8_t *key, size_t len)
{
#if GCRYPT_VERSION_NUMBER >= 0x010a00
    gcry_cipher_ctl(hd, GCRYCTL_SET_ALLOW_WEAK_KEY, NULL, 1);
    gcry_error_t e = gcry_cipher_setkey(hd, key, len);
    return gcry_err_code(e) == GPG_ERR_WEAK_KEY ? 0 : e;
#else
    return gcry_cipher_setkey(hd, key, len);
#endif
}

int pq_crypt_new(struct pq_crypt **out, enum pq_cipher id, const uint8_t key[PQ_KEY_LEN])
{
    *out = NULL;
    struct pq_crypt *c = calloc(1, sizeof *c);
    if (!c)
        return PQ_ENOMEM;
    c->info = &infos[id];
    gcry_error_t e = 0;
    if (c->info->shape == SHAPE_SMALL)
        e = pq_small_init(&c->small, (enum pq_small_id)c->info->algo, key) ? 1 : 0;
    else if (c->info->algo)
        e = gcry_cipher_open(&c->hd, c->info->algo, c->info->mode, 0);
    if (!e && c->hd)
        e = set_key(c->hd, key, c->info->key_len);
    if (!e && gcry_md_open(&c->crc, GCRY_MD_CRC32, 0))
        c->crc = NULL;
    if (e) {
        pq_crypt_free(&c);
        return PQ_ENOTSUP;
    }
    *out = c;
    return 0;
}

/* Bytes of the nonce that are bound to the rest of the datagram; 0 = none are. */
static size_t marked_nonce(const struct pq_crypt *c)
{
    if (c->info->shape == SHAPE_AEAD)
        return GCM_NONCE;
    return c->info->shape == SHAPE_CFB && c->info->iv_len == CFB_NONCE ? CFB_NONCE : 0;
}

void pq_crypt_set_role(struct pq_crypt *c, bool client, const uint8_t key[PQ_KEY_LEN])
{
    static const char label[] = "paqet mark";
    uint8_t hash[32], text[PQ_KEY_LEN + sizeof label - 1];
    if (!marked_nonce(c))
        return;
    memcpy(text, key, PQ_KEY_LEN);
    memcpy(text + PQ_KEY_LEN, label, sizeof label - 1);
    gcry_md_hash_buffer(GCRY_MD_SHA256, hash, text, sizeof text);
    c->mark_seed = pq_le32(hash) | (uint64_t)pq_le32(hash + 4) << 32 | 1;
    c->client = client;
    explicit_bzero(hash, sizeof hash);
    explicit_bzero(text, sizeof text);
}

struct marks {
    uint16_t own, peer;
};

/* What the last bytes of a nonce are if this side has sealed, and if the other one has. */
static struct marks marks_of(const struct pq_crypt *c, const uint8_t *nonce)
{
    const uint64_t h = pq_hash_bytes(nonce, marked_nonce(c) - MARK_LEN, c->mark_seed);
    const uint16_t client = (uint16_t)h, server = (uint16_t)(h >> 16);
    return c->client ? (struct marks){client, server} : (struct marks){server, client};
}

static void put_nonce(const struct pq_crypt *c, uint8_t *p, size_t n, struct pq_rng *rng)
{
    if (!c->mark_seed) {
        pq_rng_fill(rng, p, n);
        return;
    }
    struct marks m;
    do { /* one with the peer's own mark, too, would be dropped there */
        pq_rng_fill(rng, p, n - MARK_LEN);
        m = marks_of(c, p);
    } while (m.own == m.peer);
    pq_put_le16(p + n - MARK_LEN, m.own);
}

static bool is_own(const struct pq_crypt *c, const uint8_t *nonce)
{
    return c->mark_seed && pq_le16(nonce + marked_nonce(c) - MARK_LEN) == marks_of(c, nonce).own;
}

void pq_crypt_free(struct pq_crypt **c)
{
    if (!*c)
        return;
    gcry_cipher_close((*c)->hd);
    gcry_md_close((*c)->crc);
    free(*c);
    *c = NULL;
}

size_t pq_crypt_head(const struct pq_crypt *c)
{
    return c->info->shape == SHAPE_NULL ? 0 : c->info->shape == SHAPE_AEAD ? GCM_NONCE : CRC_HEAD;
}

size_t pq_crypt_tail(const struct pq_crypt *c)
{
    return c->info->shape == SHAPE_AEAD ? GCM_TAG : 0;
}

/* CRC-32 of IEEE 802.3 as a number; the library gives it big endian. */
static uint32_t crc32_of(struct pq_crypt *c, const uint8_t *p, size_t n)
{
    if (!c->crc)
        return pq_crc32(p, n);
    gcry_md_reset(c->crc);
    gcry_md_write(c->crc, p, n);
    return pq_be32(gcry_md_read(c->crc, GCRY_MD_CRC32));
}

/* Transforms a whole datagram of the CRC shapes in place.  The library calls can only fail for
 * misuse of their arguments, hence the assertions. */
static void transform(struct pq_crypt *c, uint8_t *p, size_t n, bool seal)
{
    gcry_error_t e = 0;
    switch (c->info->shape) {
    case SHAPE_CFB:
        e = gcry_cipher_setiv(c->hd, cfb_iv, c->info->iv_len);
        assert(!e);
        e = seal ? gcry_cipher_encrypt(c->hd, p, n, NULL, 0)
                 : gcry_cipher_decrypt(c->hd, p, n, NULL, 0);
        break;
    case SHAPE_SALSA: /* the first 8 bytes stay clear and are the nonce [2.2] */
        e = gcry_cipher_setiv(c->hd, p, SALSA_IV);
        assert(!e);
        e = gcry_cipher_encrypt(c->hd, p + SALSA_IV, n - SALSA_IV, NULL, 0);
        break;
    case SHAPE_SMALL:
        pq_small_crypt(&c->small, p, n, cfb_iv, seal);
        break;
    default: /* SHAPE_PLAIN */
        break;
    }
    assert(!e);
    (void)e;
}

static void seal_gcm(struct pq_crypt *c, uint8_t *p, size_t n)
{
    size_t len = n - GCM_NONCE - GCM_TAG;
    gcry_error_t e = gcry_cipher_setiv(c->hd, p, GCM_NONCE);
    if (!e)
        e = gcry_cipher_encrypt(c->hd, p + GCM_NONCE, len, NULL, 0);
    if (!e)
        e = gcry_cipher_gettag(c->hd, p + GCM_NONCE + len, GCM_TAG);
    assert(!e);
    (void)e;
}

void pq_crypt_seal(struct pq_crypt *c, const struct pq_span *spans, size_t n, struct pq_rng *rng)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t *p = spans[i].p;
        switch (c->info->shape) {
        case SHAPE_NULL:
            break;
        case SHAPE_AEAD:
            put_nonce(c, p, GCM_NONCE, rng);
            seal_gcm(c, p, spans[i].n);
            break;
        default:
            put_nonce(c, p, CFB_NONCE, rng);
            pq_put_le32(p + 16, crc32_of(c, p + CRC_HEAD, spans[i].n - CRC_HEAD));
            transform(c, p, spans[i].n, true);
            break;
        }
    }
}

static enum pq_drop open_gcm(struct pq_crypt *c, uint8_t *p, size_t n, struct pq_view *inner)
{
    if (n < GCM_NONCE + GCM_TAG)
        return PQ_DROP_SHORT;
    size_t len = n - GCM_NONCE - GCM_TAG;
    if (gcry_cipher_setiv(c->hd, p, GCM_NONCE) ||
        gcry_cipher_decrypt(c->hd, p + GCM_NONCE, len, NULL, 0) ||
        gcry_cipher_checktag(c->hd, p + GCM_NONCE + len, GCM_TAG))
        return PQ_DROP_AUTH;
    *inner = (struct pq_view){p + GCM_NONCE, len};
    return is_own(c, p) ? PQ_DROP_REFLECTED : PQ_DROP_NONE;
}

enum pq_drop pq_crypt_open(struct pq_crypt *c, uint8_t *p, size_t n, struct pq_view *inner)
{
    if (c->info->shape == SHAPE_NULL) {
        *inner = (struct pq_view){p, n};
        return PQ_DROP_NONE;
    }
    if (c->info->shape == SHAPE_AEAD)
        return open_gcm(c, p, n, inner);
    if (n < CRC_HEAD)
        return PQ_DROP_SHORT;
    transform(c, p, n, false);
    if (crc32_of(c, p + CRC_HEAD, n - CRC_HEAD) != pq_le32(p + 16))
        return PQ_DROP_AUTH;
    *inner = (struct pq_view){p + CRC_HEAD, n - CRC_HEAD};
    return is_own(c, p) ? PQ_DROP_REFLECTED : PQ_DROP_NONE;
}
