/* SPDX-License-Identifier: MIT */
/* ranges.h - the numbers of what has arrived, as ranges, and how they are told [12.8].  Numbers
 * wrap: all that is known lies within 2^31 below the newest.  A fixed size, no allocation. */
#ifndef PQ_KCP_RANGES_H
#define PQ_KCP_RANGES_H
#include "base/bytes.h"

#define PQ_RANGES_MAX  256 /* that are remembered: the oldest are forgotten */
#define PQ_RANGES_TOLD 32  /* in one acknowledgement, at most */

struct pq_seq_range {
    uint32_t lo, hi; /* both of them have arrived, and all between */
    uint8_t told;    /* times since it last grew, saturating */
};

struct pq_ranges { /* zeros: nothing has arrived */
    unsigned n, untold;
    struct pq_seq_range r[PQ_RANGES_MAX]; /* the newest first */
};

enum pq_arrived {
    PQ_ARRIVED_NEXT, /* right behind the newest */
    PQ_ARRIVED_GAP,  /* further behind it: there is a new hole */
    PQ_ARRIVED_LATE, /* in a hole, or older than all that is remembered */
    PQ_ARRIVED_SEEN,
};

/* Takes note of a number. */
enum pq_arrived pq_ranges_add(struct pq_ranges *s, uint32_t number);

/* How many ranges wait to be told for the first time. */
unsigned pq_ranges_untold(const struct pq_ranges *s);

/* Whether the newest hole has not been told often enough. */
bool pq_ranges_repeat(const struct pq_ranges *s);

/* Writes the newest number and the ranges that were not told often enough, and takes note of it:
 *     newest LE32 | delay | count | first [ | gap | more ]...
 * as many as there is room for; where too many have never been told, the oldest of those.  Sets bad
 * in *w if there is no room for the first. */
void pq_ranges_put(struct pq_ranges *s, uint32_t delay, struct pq_wr *w);

struct pq_told { /* what was read, the newest first */
    uint32_t newest, delay;
    unsigned n;
    struct pq_seq_range r[PQ_RANGES_TOLD];
};

/* Reads what pq_ranges_put writes.  Returns false, or sets bad, if it is malformed: more than
 * PQ_RANGES_TOLD ranges, or such that reach below 2^31 numbers. */
bool pq_ranges_read(struct pq_rd *rd, struct pq_told *out);
#endif
