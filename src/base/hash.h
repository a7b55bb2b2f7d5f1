/* SPDX-License-Identifier: MIT */
/* hash.h - hash table with intrusive nodes and chains; the owner compares keys.  The table grows
 * with the number of nodes.  Keys must be hashed with a secret (pq_hash_bytes) where strangers
 * choose them. */
#ifndef PQ_BASE_HASH_H
#define PQ_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>

struct pq_hash_node {
    struct pq_hash_node *next;
    uint64_t hash;
};

struct pq_hash {
    struct pq_hash_node **b;
    size_t n, cap; /* cap: number of buckets, a power of two, or 0 */
};

/* Frees the buckets; the nodes belong to their owners. */
void pq_hash_fini(struct pq_hash *h);

/* Inserts; a node with an equal key may be there too.  Returns 0 or PQ_ENOMEM. */
int pq_hash_add(struct pq_hash *h, struct pq_hash_node *n, uint64_t hash);

/* Takes the node out if it is in. */
void pq_hash_remove(struct pq_hash *h, struct pq_hash_node *n);

/* First node with this hash, or NULL; go on with pq_hash_next. */
struct pq_hash_node *pq_hash_find(const struct pq_hash *h, uint64_t hash);
struct pq_hash_node *pq_hash_next(struct pq_hash_node *n);

/* Keyed hash of bytes, the same on machines of both byte orders (of a nonce it is part of the wire
 * [2.5]); not for signatures, but a stranger without `seed` cannot aim at a bucket cheaply. */
uint64_t pq_hash_bytes(const void *p, size_t n, uint64_t seed);
#endif
