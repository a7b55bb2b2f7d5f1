/* SPDX-License-Identifier: MIT */
/* replay.h - remembers the datagrams that could open a session [4.7], so that a recorded one opens
 * none.  One memory serves all workers of a server.  It takes memory as it needs it, at most 16 MB;
 * then the oldest are forgotten: such a one is found out by what it cannot answer [4.9]. */
#ifndef PQ_TUNNEL_REPLAY_H
#define PQ_TUNNEL_REPLAY_H
#include "base/bytes.h"

#include <stdbool.h>

#define PQ_REPLAY_MAX ((size_t)1 << 20)

struct pq_replay;

/* Creates an empty memory in *out, owned by the caller; `seed` is secret.  Returns 0 or PQ_ENOMEM.
 */
int pq_replay_new(struct pq_replay **out, uint64_t seed);
void pq_replay_free(struct pq_replay **r); /* sets *r to NULL; freeing NULL does nothing */

/* Remembers a datagram.  Returns true if it was there already.  If memory is short it remembers
 * nothing and returns false.  From any thread. */
bool pq_replay_seen(struct pq_replay *r, struct pq_view datagram);
#endif
