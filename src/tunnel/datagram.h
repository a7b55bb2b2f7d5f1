/* SPDX-License-Identifier: MIT */
/* datagram.h - datagrams beside the reliable stream: the out-of-band packets of FEC's framing, with
 * a number against replays and the stream that each belongs to [8.7].  For tunnel/ alone. */
#ifndef PQ_TUNNEL_DATAGRAM_H
#define PQ_TUNNEL_DATAGRAM_H
#include "base/bytes.h"
#include "base/chunk.h"
#include "base/err.h"

#define PQ_DGRAM_HEAD   20 /* seqid 4, type 2, size 2, conv 4, number 4, stream 4 */
#define PQ_DGRAM_ID_LEN 4  /* bytes of the stream id, kept in a chunk's headroom while it waits */
#define PQ_OOB_TYPE     0xf3

struct pq_dgrams {        /* of one session */
    struct pq_chunkq out; /* each begins with its stream id */
    uint32_t next;        /* number of the last one sent */
    uint32_t newest;      /* largest number received ... */
    uint64_t seen[16];    /* ... and which of the 1,024 before it, by number modulo 1,024 */
};

/* Queues a datagram for the stream; takes the chunk.  Returns 0, or PQ_EAGAIN: too much waits, and
 * the chunk is still the caller's. */
int pq_dgrams_push(struct pq_dgrams *d, struct pq_chunk *c, uint32_t stream);

/* Writes the next one at p, with its head.  Returns its bytes; 0 = none waits. */
size_t pq_dgrams_pull(struct pq_dgrams *d, uint32_t conv, uint8_t *p, size_t cap);

/* Reads one that was decrypted: *stream and *data are set on PQ_DROP_NONE; else PQ_DROP_OOB
 * (malformed), PQ_DROP_CONV or PQ_DROP_REPLAY (seen before, or older than can be told). */
enum pq_drop pq_dgrams_read(struct pq_dgrams *d, uint32_t conv, struct pq_view inner,
                            uint32_t *stream, struct pq_view *data);
#endif
