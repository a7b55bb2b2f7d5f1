/* SPDX-License-Identifier: MIT */
#include "base/pool.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void *next_of(void *obj)
{
    void *n;
    memcpy(&n, obj, sizeof n);
    return n;
}

void pq_pool_init(struct pq_pool *p, size_t size, size_t limit, size_t keep)
{
    *p = (struct pq_pool){
        .size = size < sizeof(void *) ? sizeof(void *) : size, .limit = limit, .keep = keep};
}

void pq_pool_fini(struct pq_pool *p)
{
    while (p->free) {
        void *n = next_of(p->free);
        free(p->free);
        p->free = n;
    }
    p->nfree = 0;
}

void *pq_pool_get(struct pq_pool *p)
{
    bool over = p->budget && p->budget->used + p->size > p->budget->limit;
    if (over || (p->limit && p->used >= p->limit))
        return NULL;
    void *obj = p->free;
    if (obj) {
        p->free = next_of(obj);
        p->nfree--;
    } else if (!(obj = malloc(p->size))) {
        return NULL;
    }
    p->used++;
    if (p->budget)
        p->budget->used += p->size;
    return obj;
}

void pq_pool_put(struct pq_pool *p, void *obj)
{
    if (!obj)
        return;
    assert(p->used > 0);
    p->used--;
    if (p->budget)
        p->budget->used -= p->size;
    if (p->nfree >= p->keep) {
        free(obj);
        return;
    }
    memcpy(obj, &p->free, sizeof p->free);
    p->free = obj;
    p->nfree++;
}
