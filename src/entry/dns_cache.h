/* SPDX-License-Identifier: MIT */
/* dns_cache.h - answers of DNS, kept as long as they say, for the very same query.  Bounded: the
 * one that was used longest ago makes room.  One worker's thread. */
#ifndef PQ_ENTRY_DNS_CACHE_H
#define PQ_ENTRY_DNS_CACHE_H
#include "base/bytes.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/time.h"

#define PQ_DNS_CACHE_MAX   4096
#define PQ_DNS_CACHE_BYTES ((size_t)2 << 20)

struct pq_dns_cache { /* zero-initialized but for `used` (pq_list_init) and the seed */
    struct pq_hash by_query;
    struct pq_list used; /* the one used longest ago first */
    size_t n, bytes;
    uint64_t seed;
    uint64_t hits, misses;
};

/* Keeps an answer, if it may be kept; of the query the number does not count.  Where memory is
 * short it is not. */
void pq_dns_cache_add(struct pq_dns_cache *c, struct pq_view query, struct pq_view answer,
                      pq_ns now);

/* The answer to a query, with its TTLs as they are now and the number of when it was kept; valid
 * until the next call.  p == NULL: there is none. */
struct pq_view pq_dns_cache_find(struct pq_dns_cache *c, struct pq_view query, pq_ns now);

/* Frees all. */
void pq_dns_cache_clear(struct pq_dns_cache *c);
#endif
