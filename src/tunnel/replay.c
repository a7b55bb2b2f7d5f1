/* SPDX-License-Identifier: MIT */
#include "tunnel/replay.h"

#include "base/err.h"
#include "base/hash.h"

#include <pthread.h>
#include <stdlib.h>

#define FIRST ((size_t)1024) /* hashes that there is room for at first */

struct pq_replay {
    pthread_mutex_t lock; /* of what follows */
    uint64_t seed;
    uint64_t *ring;  /* hashes in order of arrival */
    uint32_t *table; /* open addressing, twice as large as the ring: index into it + 1 */
    size_t cap;      /* of the ring: a power of two */
    size_t n;        /* remembered since start */
};

int pq_replay_new(struct pq_replay **out, uint64_t seed)
{
    struct pq_replay *r = *out = calloc(1, sizeof *r);
    if (!r)
        return PQ_ENOMEM;
    r->seed = seed;
    pthread_mutex_init(&r->lock, NULL);
    return 0;
}

void pq_replay_free(struct pq_replay **rp)
{
    struct pq_replay *r = *rp;
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r->ring);
    free(r->table);
    free(r);
    *rp = NULL;
}

static size_t mask_of(const struct pq_replay *r)
{
    return 2 * r->cap - 1;
}

/* Where the hash is in the table, or the free place for it. */
static size_t find(const struct pq_replay *r, uint64_t hash)
{
    size_t i = hash & mask_of(r);
    while (r->table[i] && r->ring[r->table[i] - 1] != hash)
        i = (i + 1) & mask_of(r);
    return i;
}

/* Removes an entry and closes the gap in its run of the table. */
static void forget(struct pq_replay *r, uint64_t hash)
{
    const size_t mask = mask_of(r);
    size_t gap = find(r, hash);
    for (size_t i = (gap + 1) & mask; r->table[i]; i = (i + 1) & mask) {
        size_t home = r->ring[r->table[i] - 1] & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            r->table[gap] = r->table[i];
            gap = i;
        }
    }
    r->table[gap] = 0;
}

/* Doubles the room while there is none.  Returns false if memory is short. */
static bool make_room(struct pq_replay *r)
{
    if (r->n < r->cap || r->cap == PQ_REPLAY_MAX)
        return true;
    size_t cap = r->cap ? 2 * r->cap : FIRST;
    uint32_t *table = calloc(2 * cap, sizeof *table);
    uint64_t *ring = table ? realloc(r->ring, cap * sizeof *ring) : NULL;
    if (!ring) {
        free(table);
        return false;
    }
    free(r->table);
    r->ring = ring;
    r->table = table;
    r->cap = cap;
    for (size_t at = 0; at < r->n; at++)
        table[find(r, ring[at])] = (uint32_t)at + 1;
    return true;
}

static bool seen(struct pq_replay *r, uint64_t hash)
{
    if (r->cap && r->table[find(r, hash)])
        return true;
    if (!make_room(r))
        return false;
    size_t at = r->n % r->cap;
    if (r->n >= r->cap)
        forget(r, r->ring[at]);
    r->ring[at] = hash;
    r->table[find(r, hash)] = (uint32_t)at + 1;
    r->n++;
    return false;
}

bool pq_replay_seen(struct pq_replay *r, struct pq_view datagram)
{
    pthread_mutex_lock(&r->lock);
    bool was = seen(r, pq_hash_bytes(datagram.p, datagram.n, r->seed));
    pthread_mutex_unlock(&r->lock);
    return was;
}
