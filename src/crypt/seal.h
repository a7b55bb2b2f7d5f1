/* SPDX-License-Identifier: MIT */
/* seal.h - datagrams of our own wire: sealed with a counter as nonce, their header masked
 * [12.3] [12.4].  Knows: the bytes, the counters of one key.  Does not know: sessions, where keys
 * come from.  One owner thread. */
#ifndef PQ_CRYPT_SEAL_H
#define PQ_CRYPT_SEAL_H
#include "base/bytes.h"
#include "base/err.h"
#include "crypt/crypt.h"
#include "crypt/window.h"

#define PQ_SEAL_HEAD    8 /* id, counter */
#define PQ_SEAL_TAIL    16
#define PQ_SEAL_KEY_LEN 32 /* AES-128-GCM uses the first 16 */
#define PQ_MASK_KEY_LEN 16
#define PQ_SEAL_LIMIT   (UINT32_C(1) << 31) /* datagrams under one key */

enum pq_aead { PQ_AEAD_AES_128_GCM, PQ_AEAD_CHACHA20_POLY1305, PQ_AEAD_COUNT };

/* Its name for people; static. */
const char *pq_aead_name(enum pq_aead a);

/* Bytes of its key. */
size_t pq_aead_key_len(enum pq_aead a);

/* The AEADs that this machine is quick with: bit n = enum pq_aead n [12.2]. */
uint8_t pq_aead_ready(void);

struct pq_mask;

/* Creates a mask in *out, owned by the caller.  Returns 0 or PQ_ENOMEM. */
int pq_mask_new(struct pq_mask **out, const uint8_t key[PQ_MASK_KEY_LEN]);
void pq_mask_free(struct pq_mask **m); /* sets *m to NULL; freeing NULL does nothing */

struct pq_seal_head {
    uint32_t id, counter;
};

/* Reads the header of a datagram of n >= PQ_SEAL_HEAD + PQ_SEAL_TAIL bytes, which stays as it is.
 */
struct pq_seal_head pq_mask_read(struct pq_mask *m, const uint8_t *p, size_t n);

/* One block of AES-128 under the key. */
void pq_mask_block(struct pq_mask *m, const uint8_t in[16], uint8_t out[16]);

struct pq_seal; /* one key, for one direction */

/* Creates it in *out, owned by the caller; the key is copied.  Returns 0 or PQ_ENOMEM. */
int pq_seal_new(struct pq_seal **out, enum pq_aead a, const uint8_t key[PQ_SEAL_KEY_LEN]);
void pq_seal_free(struct pq_seal **s); /* sets *s to NULL; freeing NULL does nothing */

/* Seals n datagrams in place with the next counters, for the receiver's `id`.  Each span holds the
 * plain text between its PQ_SEAL_HEAD and PQ_SEAL_TAIL bytes, which are overwritten.  At most
 * PQ_SEAL_LIMIT together: see pq_seal_used. */
void pq_seal_put(struct pq_seal *s, struct pq_mask *m, uint32_t id, const struct pq_span *spans,
                 size_t n);

/* Opens a datagram in place whose counter has been read.  On PQ_DROP_NONE *inner is the plain text
 * in p, and this counter will not be taken again.  Otherwise PQ_DROP_SHORT, PQ_DROP_REPLAY or
 * PQ_DROP_AUTH, and the bytes are what they were. */
enum pq_drop pq_seal_open(struct pq_seal *s, uint8_t *p, size_t n, uint32_t counter,
                          struct pq_view *inner);

/* Datagrams that were sealed, or one more than the greatest counter that was opened. */
uint32_t pq_seal_used(const struct pq_seal *s);

/* What it was made with. */
enum pq_aead pq_seal_aead(const struct pq_seal *s);

/* Datagrams that were opened. */
uint32_t pq_seal_opened(const struct pq_seal *s);
#endif
