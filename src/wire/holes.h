/* SPDX-License-Identifier: MIT */
/* holes.h - which numbers of a TCP connection's other side have come, where some have not [12.9]:
 * the receiver's blocks above its acknowledgement, and what a sender learns from those that it is
 * told.  Knows: numbers, modulo 2^32.  Does not know: headers, what is done about a hole.  Pure. */
#ifndef PQ_WIRE_HOLES_H
#define PQ_WIRE_HOLES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PQ_HOLES_MAX                                                                               \
    32                 /* blocks that are remembered; one more, and the lowest hole is given up    \
                        */
#define PQ_SACKS_MAX 3 /* blocks that a header beside time stamps has room for */
#define PQ_SACK_LEN  8 /* bytes of each there */

struct pq_block { /* numbers from `from` up to, but without, `to` */
    uint32_t from, to;
};

struct pq_holes {
    uint8_t n, last;   /* blocks; the one in which something came last */
    bool given_up;     /* a hole was, so that something may still come below all of them; ... */
    uint32_t given_ts; /* ... time stamp of what showed the last one */
    struct pq_hole {   /* a block, and the hole below it */
        struct pq_block have;
        uint32_t ts;    /* time stamp of what showed the hole ... */
        uint32_t since; /* ... and when, ms; 0 = not known yet */
    } r[PQ_HOLES_MAX];
};

/* Behind the highest number that has come, where all below `ack` has. */
uint32_t pq_holes_high(const struct pq_holes *h, uint32_t ack);

/* Whether what begins at `from` belongs into a hole, also one that was given up, and has been sent
 * after what showed it: it is a repetition, and not merely late. */
bool pq_holes_repeated(const struct pq_holes *h, uint32_t ack, uint32_t from, uint32_t ts);

/* Notes what has come, with its time stamp.  Returns the number up to which all has come now, or
 * is given up; not below `ack`. */
uint32_t pq_holes_take(struct pq_holes *h, uint32_t ack, struct pq_block b, uint32_t ts);

/* The same with the lowest hole given up; `ack` where there is none. */
uint32_t pq_holes_jump(struct pq_holes *h, uint32_t ack);

/* The same with all that has been there for `patience` ms or longer. */
uint32_t pq_holes_expire(struct pq_holes *h, uint32_t ack, uint32_t now, uint32_t patience);

/* As they were when nothing behind `high` had come. */
void pq_holes_cut(struct pq_holes *h, uint32_t high);

/* The blocks to be told, at most PQ_SACKS_MAX: the one in which something came last, then the
 * highest, downwards.  Returns how many. */
unsigned pq_holes_tell(const struct pq_holes *h, struct pq_block out[PQ_SACKS_MAX]);

/* ---- who is told */

struct pq_gap { /* what the other side has not */
    struct pq_block lacks;
    uint32_t above; /* bytes that it has told of above it */
};

/* Reads n blocks as they stand in a header, told with `ack`, where this side has sent up to `end`.
 * Returns how many gaps are certain, the lowest first: numbers below or between blocks of which no
 * other block, left out for want of room, may be part.  0 also if a block is none: empty, turned
 * round, not above `ack`, beyond `end`, or on another one. */
unsigned pq_holes_read(const uint8_t *p, unsigned n, uint32_t ack, uint32_t end,
                       struct pq_gap out[PQ_SACKS_MAX]);
#endif
