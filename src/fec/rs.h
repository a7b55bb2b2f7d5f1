/* SPDX-License-Identifier: MIT */
/* rs.h - Reed-Solomon over GF(2^8) with the matrix that peers use [3.3].
 * Knows: shards of bytes.  Does not know: packets, ids, time.  One owner thread. */
#ifndef PQ_FEC_RS_H
#define PQ_FEC_RS_H
#include <stddef.h>
#include <stdint.h>

#define PQ_RS_SHARDS_MAX 256 /* data and parity together */

struct pq_rs;

/* Prepares a code of `data` + `parity` shards in *out, owned by the caller.
 * Returns 0, PQ_EINVAL (either is 0, or more than PQ_RS_SHARDS_MAX together) or PQ_ENOMEM. */
int pq_rs_new(struct pq_rs **out, unsigned data, unsigned parity);
void pq_rs_free(struct pq_rs **r); /* sets *r to NULL; freeing NULL does nothing */

/* Row of the matrix that makes parity shard i, one coefficient for each data shard. */
const uint8_t *pq_rs_row(const struct pq_rs *r, unsigned i);

/* Adds data shard `index` (n bytes; the rest of a longer shard counts as zeros) to all parity
 * shards, which began as zeros and have room for n bytes. */
void pq_rs_add(const struct pq_rs *r, unsigned index, const uint8_t *shard, size_t n,
               uint8_t *const *parity);

/* Rebuilds the missing data shards.  shard[i], i < data + parity, is NULL if missing, else n bytes
 * (padded with zeros).  For each missing data shard i, out[i] has room for n bytes and is filled;
 * the other entries of `out` are not used.
 * Returns 0, or PQ_EINVAL if fewer than `data` shards are there. */
int pq_rs_rebuild(const struct pq_rs *r, uint8_t *const *shard, size_t n, uint8_t *const *out);
#endif
