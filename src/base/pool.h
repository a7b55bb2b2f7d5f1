/* SPDX-License-Identifier: MIT */
/* pool.h - objects of one size with a bound, kept for reuse: no malloc on the data path once warm.
 * Knows: sizes and a limit.  Does not know: what the objects are.  One owner thread. */
#ifndef PQ_BASE_POOL_H
#define PQ_BASE_POOL_H
#include <stddef.h>

struct pq_budget { /* shared by pools: the bytes that they may hand out together */
    size_t used, limit;
};

struct pq_pool {
    struct pq_budget *budget; /* NULL = none */
    size_t size;              /* bytes of one object */
    size_t limit;             /* most objects handed out at a time; 0 = no bound */
    size_t keep;              /* most free objects kept; more go back to malloc */
    size_t used;              /* handed out now */
    size_t nfree;             /* in `free` */
    void *free;               /* singly linked through the first word */
};

/* Prepares a pool of objects of `size` bytes (at least a pointer).  Never fails; allocates nothing.
 */
void pq_pool_init(struct pq_pool *p, size_t size, size_t limit, size_t keep);

/* Frees the kept objects.  Objects handed out must have come back before. */
void pq_pool_fini(struct pq_pool *p);

/* Returns an object with undefined content, owned by the caller, or NULL at a limit or when malloc
 * fails. */
void *pq_pool_get(struct pq_pool *p);

/* Takes an object back.  NULL does nothing. */
void pq_pool_put(struct pq_pool *p, void *obj);
#endif
