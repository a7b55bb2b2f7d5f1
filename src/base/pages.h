/* SPDX-License-Identifier: MIT */
/* pages.h - memory straight from the kernel, in pieces that lie at multiples of their length. */
#ifndef PQ_BASE_PAGES_H
#define PQ_BASE_PAGES_H
#include <stddef.h>

/* Returns `n` zeroed bytes at an address that is a multiple of n, owned by the caller, or NULL when
 * there are none.  n is a power of two, 64 KB at least, so that it is whole pages on any machine.
 * What is never touched takes no memory.  Any thread. */
void *pq_pages_new(size_t n);

/* Gives back what pq_pages_new(n) has returned.  Any thread. */
void pq_pages_free(void *p, size_t n);
#endif
