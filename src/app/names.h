/* SPDX-License-Identifier: MIT */
/* names.h - names of servers, looked up all at once in threads while the loop goes on.  Of the main
 * thread. */
#ifndef PQ_APP_NAMES_H
#define PQ_APP_NAMES_H
#include "app/discover.h"
#include "relay/lookup.h"

struct pq_names;

/* Called once by the loop, when each name has its answer. */
typedef void (*pq_names_fn)(void *ctx);

/* For names to be added.  Returns 0 or PQ_ENOMEM. */
int pq_names_new(struct pq_names **out, uv_loop_t *loop);

/* Adds the names of the servers of `c`, each once; addresses are none.  Returns 0 or PQ_ENOMEM. */
int pq_names_add(struct pq_names *n, const struct pq_conf *c);

/* Looks them up, at most PQ_NAMES_AT_ONCE at a time.  Returns how many there are: with none, the
 * callback does not come. */
#define PQ_NAMES_AT_ONCE 16
unsigned pq_names_start(struct pq_names *n, pq_names_fn done, void *ctx);

/* What has come of this name; NULL: it was not added. */
const struct pq_name_found *pq_names_get(const struct pq_names *n, const char *host);

/* The first of those without an answer; NULL: there is none. */
const char *pq_names_waits_for(const struct pq_names *n);

/* Frees it; threads under way are left to themselves.  Sets *n to NULL; NULL does nothing. */
void pq_names_free(struct pq_names **n);
#endif
