/* SPDX-License-Identifier: MIT */
/* filter.h - what looks at the bytes of a connection between a program and its target, whatever
 * carries them: a relay (relay.h), or a pair of sockets (entry/pair.h).  One worker's thread. */
#ifndef PQ_RELAY_FILTER_H
#define PQ_RELAY_FILTER_H
#include "base/bytes.h"

struct pq_filter_side { /* what a filter may do with the connection */
    /* Words for the program, or bytes for the target; copied.  Returns false if memory is short. */
    bool (*to_program)(void *side, const uint8_t *p, size_t n);
    bool (*to_target)(void *side, const uint8_t *p, size_t n);
    void (*stop_reading)(void *side); /* the program's bytes are of no use any more */
    void (*reset)(void *side);        /* ends it, both ways */
};

struct pq_filter { /* owned by the connection */
    /* Bytes of the program: how many of them go on to the target; the others are dropped.  May
     * reset the connection. */
    size_t (*up)(struct pq_filter *f, struct pq_view v);
    /* Bytes of the target.  Returns 1: they go on to the program as they are, all that follow, too;
     * 0: it has them, and may have called to_program instead; or PQ_ENOMEM. */
    int (*down)(struct pq_filter *f, struct pq_view v);
    /* Not NULL: called if the target's side ends; it may say so to the program.  The filter sets it
     * to NULL when the target has answered. */
    void (*no_answer)(struct pq_filter *f);
    void (*free)(struct pq_filter *f);
    const struct pq_filter_side *ops; /* of the connection, which sets both */
    void *side;
};
#endif
