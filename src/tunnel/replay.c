/* SPDX-License-Identifier: MIT */
#include "tunnel/replay.h"

#include <stdlib.h>

#define TABLE ((size_t)2 * PQ_REPLAY_MAX) /* half full at most */

void pq_replay_fini(struct pq_replay *r)
{
    free(r->ring);
    free(r->table);
    *r = (struct pq_replay){0};
}

static size_t slot_of(uint64_t hash)
{
    return hash & (TABLE - 1);
}

static size_t find(const struct pq_replay *r, uint64_t hash)
{
    size_t i = slot_of(hash);
    while (r->table[i] && r->ring[r->table[i] - 1] != hash)
        i = (i + 1) & (TABLE - 1);
    return i;
}

/* Removes an entry and closes the gap in its run of the table. */
static void forget(struct pq_replay *r, uint64_t hash)
{
    size_t gap = find(r, hash);
    for (size_t i = (gap + 1) & (TABLE - 1); r->table[i]; i = (i + 1) & (TABLE - 1)) {
        size_t home = slot_of(r->ring[r->table[i] - 1]);
        if (((i - home) & (TABLE - 1)) >= ((i - gap) & (TABLE - 1))) {
            r->table[gap] = r->table[i];
            gap = i;
        }
    }
    r->table[gap] = 0;
}

bool pq_replay_seen(struct pq_replay *r, uint64_t hash)
{
    if (!r->ring) {
        r->ring = calloc(PQ_REPLAY_MAX, sizeof *r->ring);
        r->table = calloc(TABLE, sizeof *r->table);
        if (!r->ring || !r->table) {
            pq_replay_fini(r);
            return false;
        }
    }
    size_t i = find(r, hash);
    if (r->table[i])
        return true;
    size_t at = r->n % PQ_REPLAY_MAX;
    if (r->n >= PQ_REPLAY_MAX) {
        forget(r, r->ring[at]);
        i = find(r, hash);
    }
    r->ring[at] = hash;
    r->table[i] = (uint32_t)at + 1;
    r->n++;
    return false;
}
