/* SPDX-License-Identifier: MIT */
/* targets.h - from a server's configuration to the rules about targets and the way out. */
#ifndef PQ_CONF_TARGETS_H
#define PQ_CONF_TARGETS_H
#include "conf/conf.h"
#include "relay/front.h"
#include "relay/outgoing.h"
#include "relay/rules.h"

struct pq_targets {         /* zero-initialized before the first call */
    struct pq_rules *rules; /* NULL: all targets are permitted */
    struct pq_rules **user; /* of each user; NULL: those for all */
    unsigned n_users;
    struct pq_outgoing out;
    char *username, *password; /* its texts; malloc'ed */
    bool has_out;
};

/* Builds both.  The addresses that the machine has now are its own, which `public` leaves out, and
 * so are those that the TUN device will have.
 * Returns 0, PQ_EINVAL, PQ_ENOMEM or -errno; then `why` says what to change (PQ_WHY_LEN). */
int pq_targets_init(struct pq_targets *t, const struct pq_conf *c, char *why);
/* Makes the rules of `c` alone, in *next, which is to be freed.  Returns 0 or an error as
 * pq_targets_init. */
int pq_targets_prepare(struct pq_targets *next, const struct pq_conf *c, char *why);
/* They are those of *t from now on, and its own those of *next; the way out stays.  pq_targets_use
 * has to follow for each front, before one goes on. */
void pq_targets_swap(struct pq_targets *t, struct pq_targets *next);
void pq_targets_free(struct pq_targets *t);

/* Gives them to a worker's front, which borrows them. */
void pq_targets_use(const struct pq_targets *t, struct pq_front *front);
#endif
