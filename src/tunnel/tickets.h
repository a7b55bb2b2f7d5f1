/* SPDX-License-Identifier: MIT */
/* tickets.h - a server's memory of the tickets that it has given to clients over QUIC, for their
 * next connection, and which have not come back yet [13.10].  Each counts once, and none counts
 * that is not here, so none outlives the program.  One memory serves all workers; when it is full
 * the oldest makes room, and one user has some of it only. */
#ifndef PQ_TUNNEL_TICKETS_H
#define PQ_TUNNEL_TICKETS_H
#include "base/bytes.h"
#include "base/rng.h"
#include "base/time.h"

#include <stdbool.h>

#define PQ_TICKETS_MAX    4096
#define PQ_TICKETS_OF_ONE 16

struct pq_tickets;

struct pq_ticket {
    bool named;         /* its client has a key of his own ... */
    uint8_t client[32]; /* ... whose public half this is */
    uint8_t secret[32];
};

/* Creates an empty memory in *out, owned by the caller, and draws the key that seals tickets.
 * Returns 0 or PQ_ENOMEM. */
int pq_tickets_new(struct pq_tickets **out, struct pq_rng *rng);
void pq_tickets_free(struct pq_tickets **t); /* sets *t to NULL; NULL does nothing */

/* The key, 64 bytes, for as long as `t`. */
const uint8_t *pq_tickets_key(const struct pq_tickets *t);

/* Remembers a ticket that is given at `now`; nothing if memory is short.  From any thread. */
void pq_tickets_give(struct pq_tickets *t, struct pq_view ticket, const struct pq_ticket *what,
                     pq_ns now);

/* Whether this ticket is here: then *what is set, and it is so no more.  From any thread. */
bool pq_tickets_take(struct pq_tickets *t, struct pq_view ticket, struct pq_ticket *what,
                     pq_ns now);

/* How many there are.  From any thread. */
size_t pq_tickets_count(struct pq_tickets *t);
#endif
