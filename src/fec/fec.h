/* SPDX-License-Identifier: MIT */
/* fec.h - forward error correction of a session's datagrams, each direction by itself [3].
 * Knows: groups, ids, shards.  Does not know: KCP, ciphers.  One owner thread. */
#ifndef PQ_FEC_FEC_H
#define PQ_FEC_FEC_H
#include "base/bytes.h"
#include "base/chunk.h"
#include "base/err.h"
#include "base/time.h"

#define PQ_FEC_HEAD    (4 + 2 + 2) /* seqid, type, size: in front of a data datagram [3.1] */
#define PQ_FEC_DATA    0x00f1
#define PQ_FEC_PARITY  0x00f2
#define PQ_FEC_PAYLOAD 1500 /* most bytes of a shard: size field and payload */

/* ---- sending */

struct pq_fec_enc;

/* Creates an encoder of D data and P parity packets a group, owned by the caller.
 * Returns 0, PQ_EINVAL (0, or D + P > 256) or PQ_ENOMEM. */
int pq_fec_enc_new(struct pq_fec_enc **out, unsigned d, unsigned p);
void pq_fec_enc_free(struct pq_fec_enc **e); /* sets *e to NULL; freeing NULL does nothing */

/* Parity for each group, however late its last data packet came; for peers of our own kind [8.6].
 */
void pq_fec_enc_set_always(struct pq_fec_enc *e);

/* Writes the header in front of a datagram of n bytes that stands at p + PQ_FEC_HEAD, and takes the
 * datagram into account for parity.  Returns PQ_FEC_HEAD + n. */
size_t pq_fec_enc_data(struct pq_fec_enc *e, uint8_t *p, size_t n, pq_ns now);

/* Writes the next parity packet of a group just completed; they go out before the next datagram.
 * Returns its bytes, 0 = none waits. */
size_t pq_fec_enc_parity(struct pq_fec_enc *e, uint8_t *p, size_t cap);

/* ---- receiving */

struct pq_fec_dec;

/* Receives a rebuilt datagram, borrowed until the batch is over (pq_fec_dec_done). */
typedef void (*pq_fec_fn)(void *ctx, struct pq_view datagram);

/* Creates a decoder; (d, p) is a first guess that it corrects from what it sees [3.4].  Unless it
 * is `sure`, nothing is rebuilt before the ids have shown it: parity of another shape would give
 * datagrams that were never sent.  Shards wait in `chunks`.  Returns 0, PQ_EINVAL or PQ_ENOMEM. */
int pq_fec_dec_new(struct pq_fec_dec **out, unsigned d, unsigned p, bool sure,
                   struct pq_chunks *chunks, pq_fec_fn rebuilt, void *ctx);

void pq_fec_dec_free(struct pq_fec_dec **d);

/* Takes a packet with its FEC header.  A data packet's own datagram is for the caller to use, from
 * PQ_FEC_HEAD on; this only keeps a copy.  Returns PQ_DROP_NONE, PQ_DROP_FEC if it is malformed or
 * of no use (too old, parity that fits nothing), or PQ_DROP_FULL if no chunk is left for it. */
enum pq_drop pq_fec_dec_input(struct pq_fec_dec *d, struct pq_view packet);

/* Rebuilt datagrams are no longer looked at: frees them. */
void pq_fec_dec_done(struct pq_fec_dec *d);

struct pq_fec_stats {
    uint64_t rebuilt; /* datagrams that parity brought back */
    unsigned d, p;    /* as learned */
};

void pq_fec_dec_stats(const struct pq_fec_dec *d, struct pq_fec_stats *out);
#endif
