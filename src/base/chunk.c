/* SPDX-License-Identifier: MIT */
#include "base/chunk.h"

#include <assert.h>

#define HUGE_SIZE  (sizeof(struct pq_chunk) + PQ_CHUNK_HEADROOM + PQ_CHUNK_HUGE)
#define BIG_SIZE   (sizeof(struct pq_chunk) + PQ_CHUNK_HEADROOM + PQ_CHUNK_BIG)
#define SMALL_SIZE (sizeof(struct pq_chunk) + PQ_CHUNK_HEADROOM + PQ_CHUNK_SMALL)

/* At least one: 0 would mean no bound. */
static size_t objects(size_t limit, size_t size)
{
    return limit > size ? limit / size : 1;
}

void pq_chunks_init(struct pq_chunks *c, size_t limit)
{
    pq_pool_init(&c->huge, HUGE_SIZE, objects(limit, HUGE_SIZE), 4);
    pq_pool_init(&c->big, BIG_SIZE, objects(limit, BIG_SIZE), 64);
    pq_pool_init(&c->small, SMALL_SIZE, objects(limit, SMALL_SIZE), 256);
}

void pq_chunks_fini(struct pq_chunks *c)
{
    pq_pool_fini(&c->huge);
    pq_pool_fini(&c->big);
    pq_pool_fini(&c->small);
}

struct pq_chunk *pq_chunk_new(struct pq_chunks *c, size_t n)
{
    assert(n <= PQ_CHUNK_HUGE);
    struct pq_pool *pool = n <= PQ_CHUNK_SMALL ? &c->small : n <= PQ_CHUNK_BIG ? &c->big : &c->huge;
    struct pq_chunk *k = pq_pool_get(pool);
    if (!k)
        return NULL;
    *k = (struct pq_chunk){
        .pool = pool, .cap = (uint32_t)(pool->size - sizeof *k), .off = PQ_CHUNK_HEADROOM};
    return k;
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
    if (c)
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
