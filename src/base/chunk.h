/* SPDX-License-Identifier: MIT */
/* chunk.h - counted-once buffers in which bytes travel from a socket to KCP, and queues of them.
 * A chunk has one owner at a time; passing it on passes ownership.  Headroom in front lets the
 * multiplexer write its frame header without a copy.  One owner thread. */
#ifndef PQ_BASE_CHUNK_H
#define PQ_BASE_CHUNK_H
#include "base/bytes.h"
#include "base/pool.h"

#include <stdbool.h>

#define PQ_CHUNK_HEADROOM 8     /* bytes kept in front of the data: one smux header [5.1] */
#define PQ_CHUNK_BIG      16384 /* data bytes of a big chunk: one socket read */
#define PQ_CHUNK_SMALL    1984  /* reads up to this are moved to a small chunk */
#define PQ_CHUNK_HUGE     65535 /* one frame, one datagram: never more */
#define PQ_CHUNK_CONTROL  512   /* frames that carry no data, and requests */

struct pq_chunk {
    struct pq_chunk *next;   /* in a queue */
    struct pq_pool *pool;    /* where it goes back to */
    struct pq_chunks *share; /* in which it counts; NULL = in none */
    uint32_t cap;            /* bytes in data[] */
    uint32_t off, len;       /* the bytes in use are data[off .. off+len) */
    uint32_t tag, at;        /* what these bytes are, for who has set it; 0 at first */
    uint8_t data[];
};

struct pq_chunks { /* the size classes of one worker; or somebody's share of them */
    struct pq_budget budget;
    struct pq_chunks *of; /* what it is a share of, all but `budget.used` of which is not used */
    bool fair;            /* who has a share leaves others something */
    struct pq_pool huge, big, small;
    struct pq_pool control; /* without a bound: the window of the pipe bounds them */
};

struct pq_chunkq { /* FIFO */
    struct pq_chunk *head, *tail;
    size_t n, bytes; /* chunks, and what is in them */
};

/* Prepares the pools; `limit` bounds the bytes of all chunks together but those for control.  They
 * refer to `c`, which must stay where it is. */
void pq_chunks_init(struct pq_chunks *c, size_t limit);
void pq_chunks_fini(struct pq_chunks *c);

/* Makes a share of `of`, which must stay where it is: what is taken of it counts there, too.  Where
 * of->fair is set, nobody may have more than three times what is left then: so one leaves a quarter
 * of all, two who take what they get end with three sevenths each. */
void pq_chunks_share(struct pq_chunks *c, struct pq_chunks *of);

/* Returns an empty chunk (off = PQ_CHUNK_HEADROOM, len = 0) with room for at least `n` data
 * bytes, n <= PQ_CHUNK_HUGE, owned by the caller; NULL when the bound, or that of a share, is
 * reached. */
struct pq_chunk *pq_chunk_new(struct pq_chunks *c, size_t n);

/* An empty chunk of PQ_CHUNK_CONTROL bytes for what others wait for; NULL only when malloc fails.
 */
struct pq_chunk *pq_chunk_new_control(struct pq_chunks *c);

/* As pq_chunk_new, with a copy of n bytes in it. */
struct pq_chunk *pq_chunk_copy(struct pq_chunks *c, const void *p, size_t n);

/* Returns a chunk to its pool.  NULL does nothing. */
void pq_chunk_free(struct pq_chunk *c);

/* Appends; takes the chunk. */
void pq_chunkq_push(struct pq_chunkq *q, struct pq_chunk *c);

/* Puts a chunk in front of all others; takes it. */
void pq_chunkq_unshift(struct pq_chunkq *q, struct pq_chunk *c);

/* Takes the first chunk out, owned by the caller; NULL if empty. */
struct pq_chunk *pq_chunkq_pop(struct pq_chunkq *q);

/* Frees all chunks of the queue. */
void pq_chunkq_clear(struct pq_chunkq *q);

static inline uint8_t *pq_chunk_data(struct pq_chunk *c)
{
    return c->data + c->off;
}

/* Data bytes that still fit behind what is there. */
static inline size_t pq_chunk_room(const struct pq_chunk *c)
{
    return c->cap - c->off - c->len;
}
#endif
