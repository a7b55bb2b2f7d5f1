/* SPDX-License-Identifier: MIT */
/* stream.h - one stream of a session, as the front sees it: bytes in both directions with
 * back-pressure.  All that front may know of the tunnel.  One worker's thread. */
#ifndef PQ_TUNNEL_STREAM_H
#define PQ_TUNNEL_STREAM_H
#include "base/addr.h"
#include "base/bytes.h"
#include "base/chunk.h"
#include "base/flags.h"
#include "base/time.h"

struct pq_stream;

/* Upcalls.  They may call pq_stream_* of any stream, pq_stream_close of this one included. */
struct pq_stream_events {
    /* Bytes arrived: a part of one frame of the peer, `last` if it ends the frame.  They stay
     * where they are until the flush event that follows has returned. */
    void (*data)(void *ctx, struct pq_view v, bool last);
    /* The batch is over: use the bytes or copy what is left. */
    void (*flush)(void *ctx);
    /* pq_stream_room is above 0 again, or a corked stream was let go. */
    void (*room)(void *ctx);
    /* No more events: 0 = closed by the peer (bytes delivered before count), else why the session
     * ended.  The owner still calls pq_stream_close. */
    void (*end)(void *ctx, int err);
    /* The peer sends no more on this stream, but still reads; only if it is able to [8.3]. */
    void (*eof)(void *ctx);
    /* A datagram came beside the stream, borrowed for the call [8.7].  NULL if none is wanted. */
    void (*datagram)(void *ctx, struct pq_view v);
};

/* Names the owner of the stream; `ev` is borrowed for good. */
void pq_stream_own(struct pq_stream *st, const struct pq_stream_events *ev, void *ctx);

/* Says where the stream leads, for who looks at the sessions: "tcp", "udp" or "tun", a literal;
 * host is copied.  Where memory is short nothing is said. */
void pq_stream_set_target(struct pq_stream *st, const char *kind, const char *host, uint16_t port);

/* Chunks of the worker, to fill for pq_stream_send. */
struct pq_chunks *pq_stream_chunks(struct pq_stream *st);

/* Bytes that may be queued now; stop at 0 and wait for the room event. */
size_t pq_stream_room(struct pq_stream *st);

/* Chunks that wait to be sent: small ones take more memory than the room tells. */
size_t pq_stream_waiting(const struct pq_stream *st);

/* Queues a chunk, which becomes one frame; takes it.
 * Returns 0 or PQ_ECLOSED (the stream has ended; the chunk is freed). */
int pq_stream_send(struct pq_stream *st, struct pq_chunk *c);

/* The stream carries datagrams of at most `max` bytes, each in a frame of its own [6.4].  To be
 * called again when it is known better what the peer takes. */
void pq_stream_set_datagrams(struct pq_stream *st, size_t max);

/* Sends a datagram, of 1 to PQ_CHUNK_HUGE bytes: beside the reliable stream if the peer is able to
 * and it fits into one packet, else as one frame of the stream; takes the chunk.
 * Returns 0, PQ_EAGAIN (too much waits: dropped), PQ_EINVAL (larger than the peer takes: dropped)
 * or PQ_ECLOSED. */
int pq_stream_send_datagram(struct pq_stream *st, struct pq_chunk *c);

/* Whether a datagram of n bytes would go beside the stream now. */
bool pq_stream_beside(const struct pq_stream *st, size_t n);

/* When the peer of the session was last heard, by any packet; 0 once the session has ended. */
pq_ns pq_stream_heard(const struct pq_stream *st);

/* n bytes of what was delivered are used up: the peer may send as many more. */
void pq_stream_consumed(struct pq_stream *st, size_t n);

/* Nothing more will be sent: the peer sees an end after what is queued, and bytes of the peer keep
 * coming.  Only if PQ_ABLE_HALF_CLOSE is among pq_stream_abilities [8.3]. */
void pq_stream_finish(struct pq_stream *st);

/* Done with the stream: what is queued still goes out, then it ends in both directions [5.4].  No
 * more events; the stream must not be used afterwards. */
void pq_stream_close(struct pq_stream *st);

/* The same, but what is queued is dropped. */
void pq_stream_abort(struct pq_stream *st);

/* Hangs something on the stream, made with malloc, that is freed with it or when replaced. */
void pq_stream_set_tag(struct pq_stream *st, void *tag);
void *pq_stream_tag(const struct pq_stream *st);

/* Holds queued bytes back, or lets them go with `first`, if not NULL, in front of them; takes it.
 */
void pq_stream_cork(struct pq_stream *st);
bool pq_stream_corked(const struct pq_stream *st);
void pq_stream_uncork(struct pq_stream *st, struct pq_chunk *first);

/* What this side sends to the peer of this stream is flagged with this list from now on [1.3]. */
void pq_stream_set_peer_flags(struct pq_stream *st, const struct pq_flags *flags);

/* What the peer of the session has said that it is able to do, PQ_ABLE_* [8.2]; and taking note of
 * it, from its PING or PONG. */
uint32_t pq_stream_abilities(const struct pq_stream *st);
void pq_stream_set_abilities(struct pq_stream *st, uint32_t abilities);

/* The peer has said in this session that it takes frames out of order: from now on they are sent so
 * [8.10]. */
void pq_stream_send_frames(struct pq_stream *st);

/* What this side is able to do, to be told the peer now; 0 once the session is over. */
uint32_t pq_stream_own_abilities(struct pq_stream *st);

/* The user whose session it is, by his number; UINT32_MAX where it has none [12.3]. */
unsigned pq_stream_who(const struct pq_stream *st);

/* Address of the other end of the session. */
const struct pq_addr *pq_stream_peer(const struct pq_stream *st);
#endif
