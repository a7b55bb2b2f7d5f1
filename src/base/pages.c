/* SPDX-License-Identifier: MIT */
#include "base/pages.h"

#include <stdint.h>
#include <sys/mman.h>

static uint8_t *map(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void *pq_pages_new(size_t n)
{
    uint8_t *p = map(n);
    if (!p || (uintptr_t)p % n == 0)
        return p;
    munmap(p, n); /* once more, with room to cut it to where it must lie */
    if (!(p = map(2 * n)))
        return NULL;
    size_t before = (n - (uintptr_t)p % n) % n;
    if (before)
        munmap(p, before);
    munmap(p + before + n, n - before);
    return p + before;
}

void pq_pages_free(void *p, size_t n)
{
    munmap(p, n);
}
