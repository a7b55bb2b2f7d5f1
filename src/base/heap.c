/* SPDX-License-Identifier: MIT */
#include "base/heap.h"

#include "base/err.h"

#include <stdlib.h>

void pq_heap_fini(struct pq_heap *h)
{
    free(h->v);
    *h = (struct pq_heap){0};
}

static void place(struct pq_heap *h, size_t i, struct pq_heap_node *n)
{
    h->v[i] = n;
    n->pos = i + 1;
}

static void sift(struct pq_heap *h, size_t i)
{
    struct pq_heap_node *n = h->v[i];
    while (i && n->at < h->v[(i - 1) / 2]->at) {
        place(h, i, h->v[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (size_t c; (c = 2 * i + 1) < h->n; i = c) {
        if (c + 1 < h->n && h->v[c + 1]->at < h->v[c]->at)
            c++;
        if (n->at <= h->v[c]->at)
            break;
        place(h, i, h->v[c]);
    }
    place(h, i, n);
}

int pq_heap_set(struct pq_heap *h, struct pq_heap_node *n, pq_ns at)
{
    if (at == PQ_NEVER) {
        pq_heap_remove(h, n);
        return 0;
    }
    if (!n->pos) {
        if (h->n == h->cap) {
            size_t cap = h->cap ? 2 * h->cap : 16;
            struct pq_heap_node **v = realloc(h->v, cap * sizeof(struct pq_heap_node *));
            if (!v)
                return PQ_ENOMEM;
            h->v = v;
            h->cap = cap;
        }
        place(h, h->n++, n);
    }
    n->at = at;
    sift(h, n->pos - 1);
    return 0;
}

void pq_heap_remove(struct pq_heap *h, struct pq_heap_node *n)
{
    if (!n->pos)
        return;
    size_t i = n->pos - 1;
    n->pos = 0;
    struct pq_heap_node *last = h->v[--h->n];
    if (last == n)
        return;
    place(h, i, last);
    sift(h, i);
}

struct pq_heap_node *pq_heap_top(const struct pq_heap *h)
{
    return h->n ? h->v[0] : NULL;
}
