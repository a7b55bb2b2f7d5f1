/* SPDX-License-Identifier: MIT */
/* parts.h - what is between a nonce and a tag in two datagrams, since the path carries none so long
 * [12.11]: cut by who sends it, and put together again.  For tunnel/ alone. */
#ifndef PQ_TUNNEL_PARTS_H
#define PQ_TUNNEL_PARTS_H
#include "base/bytes.h"
#include "base/chunk.h"
#include "base/err.h"
#include "base/time.h"

#define PQ_PART_TYPE  0xf5
#define PQ_PART_HEAD  12   /* seqid 4, type 2, size 2, number 2, part 1, 0 1 */
#define PQ_PARTS_WAIT 32   /* of which one part has come, at most */
#define PQ_PARTS_MAX  1500 /* bytes of both together */

struct pq_parts {                         /* of one session; zeros: there are none */
    uint16_t next;                        /* number of the next that is cut */
    struct pq_chunk *rest;                /* its second part, which goes next */
    struct pq_chunk *wait[PQ_PARTS_WAIT]; /* the one part that has come, by number */
    pq_ns newest;                         /* when the last of them came */
    struct pq_chunkq whole;               /* until their bytes have been used */
};

void pq_parts_clear(struct pq_parts *x); /* frees all that is in it */
void pq_parts_done(struct pq_parts *x);  /* what was put together is not looked at any more */
void pq_parts_tick(struct pq_parts *x, pq_ns now); /* forgets what waits in vain */

/* Cuts the n bytes at p in two: the first part, with its head, is at p then, the other one comes
 * from pq_parts_rest.  cap >= n.  Returns the bytes of the first; 0 where memory is short: then
 * they are lost. */
size_t pq_parts_cut(struct pq_parts *x, struct pq_chunks *chunks, uint8_t *p, size_t n);

/* Writes the part that goes next to p.  Returns its bytes; 0 = there is none, or no room. */
size_t pq_parts_rest(struct pq_parts *x, uint8_t *p, size_t cap);

/* Takes a part.  *whole is what it and the other one are together, until pq_parts_done; n = 0: the
 * other one has not come yet.  Returns PQ_DROP_NONE; PQ_DROP_OOB: malformed; or PQ_DROP_FULL. */
enum pq_drop pq_parts_take(struct pq_parts *x, struct pq_chunks *chunks, struct pq_view inner,
                           struct pq_view *whole, pq_ns now);
#endif
