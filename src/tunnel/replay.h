/* SPDX-License-Identifier: MIT */
/* replay.h - remembers the datagrams that could open a session [4.7], so that a recorded one opens
 * none.  The newest PQ_REPLAY_MAX are kept; memory is taken with the first. */
#ifndef PQ_TUNNEL_REPLAY_H
#define PQ_TUNNEL_REPLAY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PQ_REPLAY_MAX 16384

struct pq_replay {
    uint64_t *ring;  /* hashes in order of arrival */
    uint32_t *table; /* open addressing: index into ring + 1 */
    size_t n;        /* remembered since start */
};

void pq_replay_fini(struct pq_replay *r);

/* Remembers a datagram by its keyed 64-bit hash.  Returns true if it was there already.  If memory
 * is short it remembers nothing and returns false. */
bool pq_replay_seen(struct pq_replay *r, uint64_t hash);
#endif
