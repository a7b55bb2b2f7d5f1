/* SPDX-License-Identifier: MIT */
/* pool.h - objects of one size with a bound, kept for reuse: no system call on the data path once
 * warm.  They are cut from slabs, memory that is the pool's own and goes back to the kernel once
 * nothing of it is in use: so many small objects take as much with one libc as with another.
 * Knows: sizes and a limit.  Does not know: what the objects are.  One owner thread. */
#ifndef PQ_BASE_POOL_H
#define PQ_BASE_POOL_H
#include "base/list.h"

#include <stddef.h>

struct pq_budget { /* shared by pools: the bytes that they may hand out together */
    size_t used, limit;
};

struct pq_pool {
    struct pq_budget *budget; /* NULL = none */
    size_t size;              /* bytes of one object */
    size_t step;              /* what it takes in a slab */
    size_t limit;             /* most objects handed out at a time; 0 = no bound */
    size_t keep;              /* slabs stay for so many free objects, and as many as are in use */
    size_t used;              /* handed out now */
    size_t slab, each;        /* bytes of a slab, and how many objects it has room for */
    size_t n_slabs;           /* that there are now */
    struct pq_list open;      /* those with room: the one to be filled first, ..., the empty ones */
};

/* Prepares a pool of objects of `size` bytes, at most 1 MB, and at least as many as a pointer has;
 * it must stay where it is.  Never fails; allocates nothing. */
void pq_pool_init(struct pq_pool *p, size_t size, size_t limit, size_t keep);

/* Gives the memory back.  Objects handed out must have come back before. */
void pq_pool_fini(struct pq_pool *p);

/* Returns an object with undefined content, aligned for any type, owned by the caller, or NULL at a
 * limit or when there is no memory. */
void *pq_pool_get(struct pq_pool *p);

/* Takes an object back.  NULL does nothing. */
void pq_pool_put(struct pq_pool *p, void *obj);
#endif
