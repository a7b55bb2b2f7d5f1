/* SPDX-License-Identifier: MIT */
/* resolve.h - from a name or literal to the addresses that the rules allow. */
#ifndef PQ_RELAY_RESOLVE_H
#define PQ_RELAY_RESOLVE_H
#include "relay/front.h"

#define PQ_RESOLVE_ADDRS_MAX 8
#define PQ_RESOLVE_LIMIT_MS  8000

struct pq_resolve;

/* Called once: n addresses with the port set, valid during the call, in the order to try them; or
 * n == 0 and err, one of
 *   PQ_EDENIED           the rules refuse the name, or every address found
 *   PQ_EAGAIN            f->max_resolving names are waiting already, or no thread was to be had
 *   PQ_ENOMEM
 *   -ETIMEDOUT           no answer in PQ_RESOLVE_LIMIT_MS
 *   UV_EAI_*             not found, no name at all (pq_match_is_name), or nobody can tell */
typedef void (*pq_resolve_fn)(void *ctx, const struct pq_addr *addrs, unsigned n, int err);

/* Starts; at most PQ_RESOLVE_ADDRS_MAX addresses of those that the rules allow are found; with
 * names among the rules the system's search list has no part in that.  NULL: no rules.  A literal
 * is answered inside the call, and so are most errors: then it returns NULL.  Else the callback
 * comes later, exactly once, unless it is cancelled; the result is valid until then.
 *
 * A name counts until the system's resolver is done with it, also after its time is over or it was
 * cancelled.  pq_front_stop does not wait for that. */
struct pq_resolve *pq_resolve_start(struct pq_front *f, const struct pq_rules *rules,
                                    const char *host, uint16_t port, pq_resolve_fn done, void *ctx);

/* The same without rules and checks, for what the configuration itself names. */
struct pq_resolve *pq_resolve_start_unruled(struct pq_front *f, const char *host, uint16_t port,
                                            pq_resolve_fn done, void *ctx);

/* Gives up; the callback will not come. */
void pq_resolve_cancel(struct pq_resolve *q);
#endif
