/* SPDX-License-Identifier: MIT */
#include "crypt/window.h"

#include <stdlib.h>

static uint64_t *word_of(const struct pq_window *w, uint32_t counter)
{
    return &w->bits[(counter & (w->size - 1)) / 64];
}

static uint64_t bit_of(uint32_t counter)
{
    return UINT64_C(1) << (counter % 64);
}

static bool is_set(const struct pq_window *w, uint32_t counter)
{
    return *word_of(w, counter) & bit_of(counter);
}

static void set(struct pq_window *w, uint32_t counter)
{
    *word_of(w, counter) |= bit_of(counter);
}

/* Makes room for `size` counters.  What was too old before counts as come: nobody knows. */
static bool grow(struct pq_window *w, uint32_t size)
{
    struct pq_window g = {.bits = calloc(size / 64, sizeof *g.bits), .size = size, .end = w->end};
    if (!g.bits)
        return false;
    for (uint32_t back = 1; w->size && back <= size && back <= w->end; back++)
        if (back > w->size || is_set(w, w->end - back))
            set(&g, w->end - back);
    free(w->bits);
    *w = g;
    return true;
}

bool pq_window_fresh(struct pq_window *w, uint32_t counter)
{
    if (counter >= w->end)
        return true;
    const uint32_t back = w->end - counter;
    if (back <= w->size)
        return !is_set(w, counter);
    uint32_t size = w->size;
    while (size < back && size < PQ_WINDOW_MAX)
        size *= 2;
    if (size != w->size && back <= size)
        grow(w, size); /* without memory it stays as it is */
    return false;
}

bool pq_window_note(struct pq_window *w, uint32_t counter)
{
    if (!w->size && !grow(w, PQ_WINDOW_MIN))
        return false;
    if (counter >= w->end) {
        const uint32_t steps = counter - w->end + 1, n = steps < w->size ? steps : w->size;
        for (uint32_t i = 0; i < n; i++)
            *word_of(w, counter - i) &= ~bit_of(counter - i);
        w->end = counter + 1;
    }
    set(w, counter);
    return true;
}

void pq_window_free(struct pq_window *w)
{
    free(w->bits);
    *w = (struct pq_window){0};
}
