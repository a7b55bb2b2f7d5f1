/* SPDX-License-Identifier: MIT */
/* heap.h - binary min-heap of deadlines with intrusive nodes.  O(log n); the earliest is O(1). */
#ifndef PQ_BASE_HEAP_H
#define PQ_BASE_HEAP_H
#include "base/time.h"

#include <stddef.h>

struct pq_heap_node {
    pq_ns at;
    size_t pos; /* index + 1; 0 = in no heap */
};

struct pq_heap {
    struct pq_heap_node **v;
    size_t n, cap;
};

/* Frees the array; the nodes belong to their owners. */
void pq_heap_fini(struct pq_heap *h);

/* Inserts the node or moves it to its new time; `at` = PQ_NEVER takes it out.
 * Returns 0 or PQ_ENOMEM (nothing changed). */
int pq_heap_set(struct pq_heap *h, struct pq_heap_node *n, pq_ns at);

/* Takes the node out if it is in. */
void pq_heap_remove(struct pq_heap *h, struct pq_heap_node *n);

/* The earliest node, which stays in, or NULL. */
struct pq_heap_node *pq_heap_top(const struct pq_heap *h);
#endif
