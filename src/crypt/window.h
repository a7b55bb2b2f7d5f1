/* SPDX-License-Identifier: MIT */
/* window.h - which counters of a key have come: each is taken once [12.4].  It begins small and
 * grows, up to PQ_WINDOW_MAX, when what comes late shows that it has to.  One owner thread. */
#ifndef PQ_CRYPT_WINDOW_H
#define PQ_CRYPT_WINDOW_H
#include <stdbool.h>
#include <stdint.h>

#define PQ_WINDOW_MIN 1024U
#define PQ_WINDOW_MAX 65536U

struct pq_window { /* all zero: nothing has come */
    uint64_t *bits;
    uint32_t size; /* counters that it remembers: a power of two, or 0 */
    uint32_t end;  /* one behind the greatest that has come */
};

/* Whether this counter may be new.  Of one that is too old for the window as it is, but not for the
 * largest, it cannot be told: false, and from now on the window remembers more. */
bool pq_window_fresh(struct pq_window *w, uint32_t counter);

/* Notes a counter that is fresh.  Returns false if there is no memory to note it. */
bool pq_window_note(struct pq_window *w, uint32_t counter);

void pq_window_free(struct pq_window *w);
#endif
