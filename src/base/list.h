/* SPDX-License-Identifier: MIT */
/* list.h - intrusive doubly linked list.  A node that is in no list points to itself, so that
 * removing it twice does nothing.  All operations O(1). */
#ifndef PQ_BASE_LIST_H
#define PQ_BASE_LIST_H
#include <stdbool.h>
#include <stddef.h>

struct pq_list {
    struct pq_list *prev, *next;
};

/* The structure that holds `node` as its member `field`. */
#define PQ_OF(node, type, field) ((type *)(void *)((char *)(node)-offsetof(type, field)))

static inline void pq_list_init(struct pq_list *l)
{
    l->prev = l->next = l;
}

static inline bool pq_list_empty(const struct pq_list *l)
{
    return l->next == l;
}

static inline void pq_list_insert_before(struct pq_list *at, struct pq_list *n)
{
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}

static inline void pq_list_push(struct pq_list *l, struct pq_list *n)
{
    pq_list_insert_before(l, n);
}

static inline void pq_list_remove(struct pq_list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    pq_list_init(n);
}

/* Takes the first node out, or returns NULL. */
static inline struct pq_list *pq_list_pop(struct pq_list *l)
{
    if (pq_list_empty(l))
        return NULL;
    struct pq_list *n = l->next;
    /* the analyzer takes a node that was removed, then freed, for one that is still linked */
    pq_list_remove(n); /* NOLINT(clang-analyzer-unix.Malloc) */
    return n;
}
#endif
