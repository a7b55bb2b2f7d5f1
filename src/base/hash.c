/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include "base/bytes.h"
#include "base/err.h"

#include <stdlib.h>

void pq_hash_fini(struct pq_hash *h)
{
    free(h->b);
    *h = (struct pq_hash){0};
}

static int grow(struct pq_hash *h)
{
    size_t cap = h->cap ? 2 * h->cap : 16;
    struct pq_hash_node **b = calloc(cap, sizeof(struct pq_hash_node *));
    if (!b)
        return PQ_ENOMEM;
    for (size_t i = 0; i < h->cap; i++) {
        for (struct pq_hash_node *n = h->b[i], *next; n; n = next) {
            next = n->next;
            n->next = b[n->hash & (cap - 1)];
            b[n->hash & (cap - 1)] = n;
        }
    }
    free(h->b);
    h->b = b;
    h->cap = cap;
    return 0;
}

int pq_hash_add(struct pq_hash *h, struct pq_hash_node *n, uint64_t hash)
{
    if (h->n >= h->cap && grow(h) && !h->cap)
        return PQ_ENOMEM;
    struct pq_hash_node **b = &h->b[hash & (h->cap - 1)];
    n->hash = hash;
    n->next = *b;
    *b = n;
    h->n++;
    return 0;
}

void pq_hash_remove(struct pq_hash *h, struct pq_hash_node *n)
{
    if (!h->cap)
        return;
    for (struct pq_hash_node **p = &h->b[n->hash & (h->cap - 1)]; *p; p = &(*p)->next) {
        if (*p == n) {
            *p = n->next;
            n->next = NULL;
            h->n--;
            return;
        }
    }
}

struct pq_hash_node *pq_hash_find(const struct pq_hash *h, uint64_t hash)
{
    if (!h->cap)
        return NULL;
    struct pq_hash_node *n = h->b[hash & (h->cap - 1)];
    while (n && n->hash != hash)
        n = n->next;
    return n;
}

struct pq_hash_node *pq_hash_next(struct pq_hash_node *n)
{
    uint64_t hash = n->hash;
    do {
        n = n->next;
    } while (n && n->hash != hash);
    return n;
}

/* The next bytes, at most 8, as a number: the same one on all machines. */
static uint64_t word(const uint8_t *p, size_t n)
{
    uint64_t w = 0;
    if (n >= 8)
        return pq_le32(p) | (uint64_t)pq_le32(p + 4) << 32;
    while (n--)
        w = w << 8 | p[n];
    return w;
}

uint64_t pq_hash_bytes(const void *p, size_t n, uint64_t seed)
{
    const uint8_t *b = p;
    uint64_t h = seed ^ ((uint64_t)n * UINT64_C(0x9E3779B97F4A7C15));
    while (n) {
        const size_t k = n < 8 ? n : 8;
        h = (h ^ word(b, k)) * UINT64_C(0xD6E8FEB86659FD93);
        h ^= h >> 32;
        h = (h + seed) * UINT64_C(0xCA9B0C7EBA1DA115);
        h ^= h >> 29;
        b += k;
        n -= k;
    }
    return h;
}
