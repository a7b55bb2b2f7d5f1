/* SPDX-License-Identifier: MIT */
/* lookup.h - names that the system looks up, each in a thread of its own.  Nothing waits for these
 * threads: getaddrinfo cannot be interrupted, and a silent name server holds it for many seconds.
 * A thread whose answer is no longer wanted ends by itself, or with the process.
 * All calls from the loop's thread. */
#ifndef PQ_RELAY_LOOKUP_H
#define PQ_RELAY_LOOKUP_H
#include <netdb.h>
#include <stdbool.h>
#include <uv.h>

/* What an answer of getaddrinfo is called here: 0 or UV_EAI_*. */
int pq_lookup_error(int eai);

struct pq_lookups; /* those of one loop */
struct pq_lookup;

/* Called once by the loop: status 0 and addresses, borrowed for the call, or UV_EAI_* and NULL. */
typedef void (*pq_lookup_fn)(void *ctx, int status, const struct addrinfo *res);

/* Returns 0 or PQ_ENOMEM.  The loop is kept alive until pq_lookups_close, which leaves the threads
 * under way to themselves: their callbacks do not come.  Sets *l to NULL; NULL does nothing. */
int pq_lookups_new(struct pq_lookups **out, uv_loop_t *loop);
void pq_lookups_close(struct pq_lookups **l);

/* Threads under way, those that were dropped included. */
unsigned pq_lookups_running(const struct pq_lookups *l);

/* Starts.  absolute: the name is looked up as it is, not completed by the system's search list.
 * Returns NULL if there is no memory or no thread to be had; else it is valid until the
 * callback or pq_lookup_drop, after which the callback does not come. */
struct pq_lookup *pq_lookup_start(struct pq_lookups *l, const char *host, bool absolute,
                                  pq_lookup_fn done, void *ctx);
void pq_lookup_drop(struct pq_lookup *q);
#endif
