/* SPDX-License-Identifier: MIT */
/* passed.h - how each server was reached where plausible packets were not answered (look: auto), so
 * that the next start of a client begins so.  A file of text in the folder of what is kept; nothing
 * in it is secret but the servers' addresses, which the configuration has, too.  One thread at a
 * time. */
#ifndef PQ_APP_PASSED_H
#define PQ_APP_PASSED_H
#include "base/addr.h"

#include <stdbool.h>
#include <stdio.h>

#define PQ_PASSED_MAX  64                           /* servers; of more the oldest are forgotten */
#define PQ_PASSED_KEPT (UINT64_C(7) * 86400 * 1000) /* ms; then what is usual is tried again */

struct pq_passed {
    unsigned n;
    struct pq_passed_row {
        struct pq_addr server;
        unsigned how;   /* as the caller numbers it, 1 to 9 */
        uint64_t since; /* ms since 1970 */
    } v[PQ_PASSED_MAX]; /* the oldest first */
};

/* Takes what pq_passed_write has written in place of what is there.  Returns 0 or PQ_EPROTO (not
 * such a text, or one that was cut off: nothing is known). */
int pq_passed_read(struct pq_passed *p, FILE *f);

/* Returns false if it could not be written. */
bool pq_passed_write(const struct pq_passed *p, FILE *f);

/* How a server was reached; 0: not known, too long ago, or only later than `wall`, ms since 1970.
 */
unsigned pq_passed_of(const struct pq_passed *p, const struct pq_addr *server, uint64_t wall);

/* It was reached so now; 0: as usual.  Returns whether that is new.  What is known stays as old as
 * it is. */
bool pq_passed_note(struct pq_passed *p, const struct pq_addr *server, unsigned how, uint64_t wall);

/* The same, with the file that all clients of the machine share: reads it, and writes it anew if
 * there is anything new.  Returns 0 or -errno; a file that cannot be read, or is none of this kind,
 * is as one that is not there. */
int pq_passed_keep(const char *path, const struct pq_addr *server, unsigned how, uint64_t wall);
void pq_passed_load(const char *path, struct pq_passed *p);
#endif
