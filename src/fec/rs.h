/* SPDX-License-Identifier: MIT */
/* rs.h - Reed-Solomon over GF(2^8) with the matrix that peers use [3.3].
 * Knows: shards of bytes.  Does not know: packets, ids, time.  One owner thread.
 *
 * The matrix V * inverse(top of V), V[r][c] = r^c, says: the data shards are the values of a
 * polynomial at the points 0, 1, .. data - 1, and parity shard i is its value at data + i.  So each
 * coefficient is a value of a Lagrange polynomial, and no matrix is ever inverted. */
#ifndef PQ_FEC_RS_H
#define PQ_FEC_RS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PQ_RS_SHARDS_MAX 256 /* data and parity together */

struct pq_rs;

/* Prepares a code of `data` + `parity` shards in *out, owned by the caller: for pq_rs_rebuild,
 * which costs nothing yet, or with `adds` also for pq_rs_add and pq_rs_row. Returns 0, PQ_EINVAL
 * (either is 0, or more than PQ_RS_SHARDS_MAX together) or PQ_ENOMEM. */
int pq_rs_new(struct pq_rs **out, unsigned data, unsigned parity, bool adds);
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
 * Returns 0, PQ_EINVAL (fewer than `data` shards are there) or PQ_ENOMEM. */
int pq_rs_rebuild(const struct pq_rs *r, uint8_t *const *shard, size_t n, uint8_t *const *out);
#endif
