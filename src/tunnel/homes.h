/* SPDX-License-Identifier: MIT */
/* homes.h - which worker of a server has a session: by the ids of its keys, if it is of our own
 * wire, and by the tuples that it has or has moved to [12.7]; and which one has a connection that
 * has no session yet [12.9].  The kernel gives packets of a tuple to whichever worker its hash
 * says. One directory serves all workers; from any thread.  Its entries lie in what they tell of,
 * so it takes memory for its tables alone. */
#ifndef PQ_TUNNEL_HOMES_H
#define PQ_TUNNEL_HOMES_H
#include "base/addr.h"
#include "base/hash.h"

#include <stdbool.h>

struct pq_homes;

struct pq_home { /* an entry; zeros: it is in no directory */
    struct pq_hash_node node;
    bool in;
    bool tuple;
    uint32_t id;
    struct pq_addr peer;
    uint16_t port;
    unsigned worker;
};

/* Creates an empty directory in *out, owned by the caller; `seed` is secret.  Returns 0 or
 * PQ_ENOMEM. */
int pq_homes_new(struct pq_homes **out, uint64_t seed);
void pq_homes_free(struct pq_homes **h); /* sets *h to NULL; freeing NULL does nothing */

/* Has the entry tell where an id, or a tuple (peer and own port), is at home.  What it told before
 * is forgotten.  `h` NULL: nothing is done.  Returns 0 or PQ_ENOMEM: then it tells nothing. */
int pq_homes_set_id(struct pq_homes *h, struct pq_home *e, uint32_t id, unsigned worker);
int pq_homes_set_tuple(struct pq_homes *h, struct pq_home *e, const struct pq_addr *peer,
                       uint16_t port, unsigned worker);
void pq_homes_forget(struct pq_homes *h, struct pq_home *e);

/* The worker, or -1 if nothing is known of it. */
int pq_homes_of_id(struct pq_homes *h, uint32_t id);

/* A worker other than `own` that has something there (there may be several of one tuple), or -1.
 * `h` NULL: there is one worker alone. */
int pq_homes_elsewhere(struct pq_homes *h, const struct pq_addr *peer, uint16_t port, unsigned own);
#endif
