/* SPDX-License-Identifier: MIT */
/* crypt.h - seals and opens datagrams with any of the fifteen ciphers [2].
 * Knows: nonce, checksum, tag and the transformation of bytes in place.  Does not know: what the
 * bytes are.  A pq_crypt belongs to one thread; sessions with the same key share it. */
#ifndef PQ_CRYPT_CRYPT_H
#define PQ_CRYPT_CRYPT_H
#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"

enum pq_cipher { /* order as in the documentation; [2.1] */
                 PQ_CIPHER_AES,
                 PQ_CIPHER_AES_128,
                 PQ_CIPHER_AES_192,
                 PQ_CIPHER_AES_128_GCM,
                 PQ_CIPHER_SALSA20,
                 PQ_CIPHER_BLOWFISH,
                 PQ_CIPHER_TWOFISH,
                 PQ_CIPHER_CAST5,
                 PQ_CIPHER_3DES,
                 PQ_CIPHER_TEA,
                 PQ_CIPHER_XTEA,
                 PQ_CIPHER_XOR,
                 PQ_CIPHER_SM4,
                 PQ_CIPHER_NONE, /* no encryption, but nonce and CRC */
                 PQ_CIPHER_NULL, /* no layer at all */
                 PQ_CIPHER_COUNT
};

#define PQ_KEY_LEN 32 /* bytes that the key derivation gives; each cipher uses the first ones */

struct pq_crypt;

struct pq_span { /* one datagram to seal: head bytes, inner, tail bytes */
    uint8_t *p;
    size_t n; /* all of it, head and tail included */
};

/* Name as in the configuration, or NULL for a number out of range. */
const char *pq_cipher_name(enum pq_cipher c);

/* Finds a cipher by its name.  Returns 0 or PQ_EINVAL. */
int pq_cipher_from_name(const char *name, enum pq_cipher *out);

bool pq_cipher_needs_key(enum pq_cipher c);

/* Prepares the library; call once before threads start.  Returns 0 or PQ_ENOTSUP (library older
 * than this program was built for). */
int pq_crypt_global_init(void);

/* Derives the key from the passphrase text [2.1]; takes some 20 ms.
 * Returns 0, PQ_EINVAL (empty passphrase) or PQ_ENOTSUP (the library refuses). */
int pq_crypt_derive(const char *passphrase, uint8_t key[PQ_KEY_LEN]);

/* Creates a context in *out, owned by the caller.  `key` is copied.
 * Returns 0, PQ_ENOMEM, or PQ_ENOTSUP (the library lacks the cipher); *out is NULL on error. */
int pq_crypt_new(struct pq_crypt **out, enum pq_cipher id, const uint8_t key[PQ_KEY_LEN]);
/* From now on nonces bear a mark, so that what this side has sealed is known again when somebody
 * sends it back [2.5]: with aes-128-gcm and the CFB ciphers of 16-byte blocks; without effect
 * elsewhere. The two sides of a connection have different roles. */
void pq_crypt_set_role(struct pq_crypt *c, bool client, const uint8_t key[PQ_KEY_LEN]);

void pq_crypt_free(struct pq_crypt **c); /* sets *c to NULL; freeing NULL does nothing */

/* Bytes in front of and behind the inner datagram: 20/0, 12/16 (gcm) or 0/0 (null) [2.2] [2.3]. */
size_t pq_crypt_head(const struct pq_crypt *c);
size_t pq_crypt_tail(const struct pq_crypt *c);

/* Seals n datagrams in place, each with a fresh nonce from `rng`.  Each span holds the inner bytes
 * between its head and tail bytes, which are overwritten. */
void pq_crypt_seal(struct pq_crypt *c, const struct pq_span *spans, size_t n, struct pq_rng *rng);

/* Opens a datagram in place.  On PQ_DROP_NONE *inner is the inner part of p.  Otherwise
 * PQ_DROP_SHORT, PQ_DROP_AUTH or PQ_DROP_REFLECTED, and the bytes are spoiled. */
enum pq_drop pq_crypt_open(struct pq_crypt *c, uint8_t *p, size_t n, struct pq_view *inner);
#endif
