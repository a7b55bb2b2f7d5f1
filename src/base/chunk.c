/* SPDX-License-Identifier: MIT */
#include "base/chunk.h"

#include <assert.h>

#define HUGE_SIZE  (sizeof(struct pq_chunk) + PQ_CHUNK_HEADROOM + PQ_CHUNK_HUGE)
#define BIG_SIZE   (sizeof(struct pq_chunk) + PQ_CHUNK_HEADROOM + PQ_CHUNK_BIG)
#define SMALL_SIZE (sizeof(struct pq_chunk) + PQ_CHUNK_HEADROOM + PQ_CHUNK_SMALL)
#define SHARE      3 /* times what is left, at most */
#define CTL_SIZE   (sizeof(struct pq_chunk) + PQ_CHUNK_HEADROOM + PQ_CHUNK_CONTROL)

void pq_chunks_init(struct pq_chunks *c, size_t limit)
{
    *c = (struct pq_chunks){.budget = {.limit = limit}};
    pq_pool_init(&c->huge, HUGE_SIZE, 0, 4);
    pq_pool_init(&c->big, BIG_SIZE, 0, 64);
    pq_pool_init(&c->small, SMALL_SIZE, 0, 256);
    pq_pool_init(&c->control, CTL_SIZE, 0, 64);
    c->huge.budget = c->big.budget = c->small.budget = &c->budget;
}

void pq_chunks_share(struct pq_chunks *c, struct pq_chunks *of)
{
    *c = (struct pq_chunks){.of = of};
}

void pq_chunks_fini(struct pq_chunks *c)
{
    pq_pool_fini(&c->huge);
    pq_pool_fini(&c->big);
    pq_pool_fini(&c->small);
    pq_pool_fini(&c->control);
}

/* Whether so much more of a share leaves enough to others. */
static bool is_fair(const struct pq_chunks *share, size_t n)
{
    const struct pq_budget *all = &share->of->budget;
    const size_t used = all->used + n, left = used < all->limit ? all->limit - used : 0;
    return !share->of->fair || (share->budget.used + n) / SHARE <= left;
}

static struct pq_chunk *chunk_of(struct pq_chunks *share, struct pq_pool *pool)
{
    if (share && !is_fair(share, pool->size))
        return NULL;
    struct pq_chunk *k = pq_pool_get(pool);
    if (!k)
        return NULL;
    if (share)
        share->budget.used += pool->size;
    *k = (struct pq_chunk){.pool = pool,
                           .share = share,
                           .cap = (uint32_t)(pool->size - sizeof *k),
                           .off = PQ_CHUNK_HEADROOM};
    return k;
}

struct pq_chunk *pq_chunk_new(struct pq_chunks *c, size_t n)
{
    assert(n <= PQ_CHUNK_HUGE);
    struct pq_chunks *share = c->of ? c : NULL, *all = c->of ? c->of : c;
    return chunk_of(share, n <= PQ_CHUNK_SMALL ? &all->small
                           : n <= PQ_CHUNK_BIG ? &all->big
                                               : &all->huge);
}

struct pq_chunk *pq_chunk_new_control(struct pq_chunks *c)
{
    return chunk_of(NULL, c->of ? &c->of->control : &c->control);
}

struct pq_chunk *pq_chunk_copy(struct pq_chunks *c, const void *p, size_t n)
{
    struct pq_chunk *k = pq_chunk_new(c, n);
    if (!k)
        return NULL;
    memcpy(pq_chunk_data(k), p, n);
    k->len = (uint32_t)n;
    return k;
}

void pq_chunk_free(struct pq_chunk *c)
{
    if (!c)
        return;
    if (c->share)
        c->share->budget.used -= c->pool->size;
    pq_pool_put(c->pool, c);
}

void pq_chunkq_push(struct pq_chunkq *q, struct pq_chunk *c)
{
    c->next = NULL;
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
    q->bytes += c->len;
    q->n++;
}

void pq_chunkq_unshift(struct pq_chunkq *q, struct pq_chunk *c)
{
    c->next = q->head;
    q->head = c;
    if (!q->tail)
        q->tail = c;
    q->bytes += c->len;
    q->n++;
}

struct pq_chunk *pq_chunkq_pop(struct pq_chunkq *q)
{
    struct pq_chunk *c = q->head;
    if (!c)
        return NULL;
    q->head = c->next;
    if (!q->head)
        q->tail = NULL;
    q->bytes -= c->len;
    q->n--;
    c->next = NULL;
    return c;
}

void pq_chunkq_clear(struct pq_chunkq *q)
{
    struct pq_chunk *c;
    while ((c = pq_chunkq_pop(q)))
        pq_chunk_free(c);
}
