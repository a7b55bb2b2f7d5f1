/* SPDX-License-Identifier: MIT */
/* hkdf.h - HMAC and HKDF with SHA-256 (RFC 2104, RFC 5869), from which all keys of our own wire are
 * made [12.1].  No state, any thread. */
#ifndef PQ_NOISE_HKDF_H
#define PQ_NOISE_HKDF_H
#include "base/bytes.h"

#define PQ_HASH_LEN 32

/* HMAC-SHA256 of the parts one after the other.  Returns 0, or PQ_ENOMEM. */
int pq_hmac(const uint8_t *key, size_t key_len, const struct pq_view *parts, size_t n,
            uint8_t out[PQ_HASH_LEN]);

/* HKDF-Extract.  Returns 0, or PQ_ENOMEM. */
int pq_hkdf_extract(struct pq_view salt, struct pq_view ikm, uint8_t prk[PQ_HASH_LEN]);

/* HKDF-Expand of at most 8,160 bytes.  Returns 0, PQ_ENOMEM, or PQ_EINVAL (too long). */
int pq_hkdf_expand(const uint8_t prk[PQ_HASH_LEN], struct pq_view info, uint8_t *out, size_t n);

/* The same with a text as info. */
int pq_hkdf_label(const uint8_t prk[PQ_HASH_LEN], const char *label, uint8_t *out, size_t n);
#endif
