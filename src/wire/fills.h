/* SPDX-License-Identifier: MIT */
/* fills.h - the datagrams that a connection has sent last, kept to be sent again where the other
 * side tells of a hole, bit for bit and under the same numbers [12.9].  Knows: numbers and bytes,
 * what may be spent.  Does not know: headers, what the bytes are, when there is a turn. */
#ifndef PQ_WIRE_FILLS_H
#define PQ_WIRE_FILLS_H
#include "base/bytes.h"
#include "base/time.h"
#include "wire/holes.h"

#define PQ_FILLS_MAX  ((size_t)4 << 20) /* bytes that a connection keeps ... */
#define PQ_FILLS_PART 32                /* of what is sent one part goes again */

struct pq_fills_memory { /* of many connections together */
    size_t used, max;    /* bytes */
};

struct pq_fills;

/* Nothing is kept so far.  Returns it, owned by the caller, or NULL: memory is short, or `m` has
 * none left.  `m` is borrowed for good. */
struct pq_fills *pq_fills_new(struct pq_fills_memory *m);
void pq_fills_free(struct pq_fills **f); /* sets *f to NULL; NULL does nothing */

/* A datagram has been sent under the numbers from `seq` on; the other side has acknowledged all up
 * to `una`.  Copies it, at most PQ_DGRAM_MAX bytes; where there is no more room what is oldest
 * goes. Numbers that do not follow those before them begin anew. */
void pq_fills_keep(struct pq_fills *f, uint32_t una, uint32_t seq, struct pq_view datagram);

/* Called now and then: gives memory back, of which twice the most that was in use since the last
 * time is left. */
void pq_fills_trim(struct pq_fills *f);

/* The other side lacks these.  What has more than two segments of `mss` bytes above it is lost; the
 * rest may be on its way, until `patience` is over. */
void pq_fills_lack(struct pq_fills *f, const struct pq_gap *gaps, unsigned n, uint32_t mss,
                   pq_ns now, pq_ns patience);

/* When pq_fills_next may have something, or PQ_NEVER. */
pq_ns pq_fills_at(const struct pq_fills *f);

/* The next datagram that goes again, none twice: not what is below `una`, nor more than what is
 * sent pays for.  Writes at most `cap` bytes to `out`, and its number to *seq.  Returns its length;
 * 0: none now. */
size_t pq_fills_next(struct pq_fills *f, uint32_t una, pq_ns now, uint8_t *out, size_t cap,
                     uint32_t *seq);
#endif
