/* SPDX-License-Identifier: MIT */
/* quic_seal.h - the outer seal of datagrams that begin with a long header, and the keys made of the
 * configured one [13.1] [13.2]; the memory of openings [13.3]. */
#ifndef PQ_QUIC_QUIC_SEAL_H
#define PQ_QUIC_QUIC_SEAL_H
#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"

#define QUIC_NONCE_LEN 12
#define QUIC_TAG_LEN   16
#define QUIC_STAMP_LEN 8

struct pq_quic_keys {
    uint8_t c2s[16], s2c[16], psk[32];
};

/* Makes the keys.  Returns 0 or PQ_ENOTSUP (the library refuses). */
int pq_quic_keys_make(struct pq_quic_keys *k, const uint8_t key[32]);

struct pq_quic_seal { /* one key */
    void *aead;
};

/* Returns 0 or PQ_ENOMEM. */
int pq_quic_seal_init(struct pq_quic_seal *s, const uint8_t key[16]);
void pq_quic_seal_fini(struct pq_quic_seal *s);

/* Seals the n bytes at p, behind which there is room for PQ_QUIC_SEAL more, with the client's stamp
 * in front of them if `stamp` is not NULL.  Returns the new length, or 0 (the library refuses). */
size_t pq_quic_seal_put(const struct pq_quic_seal *s, uint8_t *p, size_t n, const uint64_t *stamp,
                        struct pq_rng *rng);

/* Opens in place.  Returns what was inside, behind the stamp if one is expected; n == 0: it is not
 * authentic, and unchanged. */
struct pq_view pq_quic_seal_open(const struct pq_quic_seal *s, uint8_t *p, size_t n,
                                 uint64_t *stamp);

/* Whether a datagram is a bare one of QUIC version 1 with a long header.  A sealed one never is. */
bool pq_quic_is_bare(const uint8_t *p, size_t n);

struct quic_seen; /* the last openings of one end */

int pq_quic_seen_new(struct quic_seen **out, uint64_t seed); /* 0 or PQ_ENOMEM */
void pq_quic_seen_free(struct quic_seen **s);

/* Whether it was there, or cannot be remembered: all that fit are younger than PQ_QUIC_REMEMBER.
 * `wall`: ms since 1970. */
bool pq_quic_seen(struct quic_seen *s, struct pq_view id, uint64_t wall);
#endif
