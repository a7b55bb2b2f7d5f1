/* SPDX-License-Identifier: MIT */
/* smux.h - streams over one reliable byte pipe: smux version 2, Sans-IO [5].
 * Knows: frames, streams, their windows, keepalive.  Does not know: KCP, sockets, clocks, what the
 * streams carry.  One owner thread.  O(1) per frame. */
#ifndef PQ_SMUX_SMUX_H
#define PQ_SMUX_SMUX_H
#include "base/bytes.h"
#include "base/chunk.h"
#include "base/err.h"
#include "base/time.h"

#define PQ_SMUX_HDR_LEN   8      /* ver 1, cmd 1, length 2, stream id 4 [5.1] */
#define PQ_SMUX_PREFIX    12     /* the same and the place in the stream, 4 [8.10] */
#define PQ_SMUX_WINDOW    262144 /* bytes a sender may send before the first UPD [5.3] */
#define PQ_SMUX_QUEUE_MAX 131072 /* bytes that wait in one stream for their turn, at first */

struct pq_smux;        /* a session */
struct pq_smux_stream; /* owned by the session; named by the user until pq_smux_close */

struct pq_smux_conf {
    bool client;              /* the side that dialled: its ids are 3, 5, 7, ... [5.2] */
    size_t session_buf;       /* unread bytes of all streams at which input stops */
    uint32_t stream_buf;      /* the largest window told to the peer, bytes per stream */
    uint32_t max_streams;     /* open at a time; a peer's further ones are closed at once */
    bool refuses;             /* the peer may open none: each is closed at once */
    uint64_t hash_seed;       /* secret, since the peer chooses ids */
    uint32_t beat;            /* another one for each session: when its NOPs go [5.5] */
    pq_ns keepalive, timeout; /* longest time between NOPs; period in which a frame must come */
};

/* Upcalls.  They may call pq_smux_* of the same session except pq_smux_input and pq_smux_free. */
struct pq_smux_events {
    /* The peer opened a stream.  Returns the `user` of its other events. */
    void *(*open)(void *ctx, struct pq_smux_stream *s);
    /* Bytes of one PSH frame or a part of it, never of two; they stay where they are until the
     * bytes given to pq_smux_input go.  `last` is true for the part that ends the frame. */
    void (*data)(void *user, struct pq_view v, bool last);
    /* The queue has room again after pq_smux_room was 0. */
    void (*room)(void *user);
    /* Comes before fin, eof and cut: use the bytes delivered so far. */
    void (*flush)(void *user);
    /* The peer closed the stream, in both directions [5.4].  No more events for it. */
    void (*fin)(void *user);
    /* Only after pq_smux_extend: the peer sends no more on this stream, but still reads [8.3]. */
    void (*eof)(void *user);
    /* Of pq_smux_tick: the stream has unread bytes that nobody reads, and all others have to wait
     * for them.  The user aborts it: bytes of it may be missing. */
    void (*cut)(void *user);
    /* Only after pq_smux_extend: the peer ends the session [8.5]. */
    void (*bye)(void *ctx);
};

/* Creates a session in *out, owned by the caller; `ev` and `chunks` are borrowed and must outlive
 * it.  Returns 0, PQ_EINVAL (stream_buf > session_buf, timeout < keepalive) or PQ_ENOMEM. */
int pq_smux_new(struct pq_smux **out, const struct pq_smux_conf *conf,
                const struct pq_smux_events *ev, void *ctx, struct pq_chunks *chunks, pq_ns now);

/* Frees the session and its streams, without any event.  Sets *s to NULL; NULL does nothing. */
void pq_smux_free(struct pq_smux **s);

/* Takes bytes of the pipe.  Returns 1 if all were taken, 0 if none (too much is unread: give them
 * again when pq_smux_resume says so) or PQ_EPROTO (version or command unknown: the session is
 * unusable). */
int pq_smux_input(struct pq_smux *s, struct pq_view v);

/* Whether the last input was refused and would be taken now; says so once for each refusal. */
bool pq_smux_resume(struct pq_smux *s);

/* The next frame or frames for the pipe, owned by the caller; NULL if there is nothing to send.
 * Control frames first, then one frame of the next stream in turn; those that have not had one
 * since they last had nothing to send go before the others. */
struct pq_chunk *pq_smux_pull(struct pq_smux *s);

/* Whether pq_smux_pull would return something. */
bool pq_smux_pending(const struct pq_smux *s);

/* Sends a NOP now: something to acknowledge. */
void pq_smux_nop(struct pq_smux *s);

/* Keepalive; and ends streams that are in the way of the others (see `cut`).  Returns 0 or
 * PQ_ETIMEOUT (nothing came for a whole period). */
int pq_smux_tick(struct pq_smux *s, pq_ns now);
pq_ns pq_smux_deadline(const struct pq_smux *s);

/* The peer is one of our own kind: it understands EOF and BYE [8.3] [8.5], and is given `timeout`
 * to answer from now on. */
void pq_smux_extend(struct pq_smux *s, pq_ns timeout);

/* From now on frames go into segments that may come out of order [8.10]: pq_smux_pull returns
 * frames without data, `max` bytes of them at most, or the data alone of a frame, tagged with its
 * stream, for which pq_smux_prefix makes headers. */
void pq_smux_frames(struct pq_smux *s, size_t max);

/* Writes PQ_SMUX_PREFIX bytes: the header for n bytes at `off` of a tagged chunk. */
void pq_smux_prefix(uint8_t *p, const struct pq_chunk *c, uint32_t off, size_t n);

/* Takes what can be used of a segment that came out of order: frames that depend on nothing which
 * is missing.  Marks them in place; pq_smux_input gets the same bytes in their turn.  Returns 1 if
 * all was used, 0 if not, PQ_EPROTO if this is no sequence of whole frames. */
int pq_smux_early(struct pq_smux *s, uint8_t *p, size_t n);

/* Tells the peer that the session ends; for a peer that was extended. */
void pq_smux_bye(struct pq_smux *s);

/* Frames that came so far, NOPs not counted: what only a peer with a living session sends. */
uint64_t pq_smux_heard(const struct pq_smux *s);

/* How many bytes may wait in one stream: what the pipe takes in one go, or it would run dry while
 * the stream is filled again.  At first PQ_SMUX_QUEUE_MAX; less is not set.  And how many bytes one
 * stream may have in its turn: others wait behind them. */
void pq_smux_set_queue(struct pq_smux *s, size_t bytes, uint32_t frame);

/* The time and the RTT of the path (0 = not known), for windows that grow while a stream uses them
 * up quickly.  Without it they stay at 8 MiB, or stream_buf. */
void pq_smux_clock(struct pq_smux *s, pq_ns now, pq_ns rtt);

/* Opens a stream.  Returns it, or NULL (memory is short, max_streams are open, or the ids are used
 * up). */
struct pq_smux_stream *pq_smux_open(struct pq_smux *s, void *user);

/* Queues a chunk, which becomes one frame, or two where the peer's window ends; takes it.
 * Returns 0 or PQ_ECLOSED (the peer closed the stream; the chunk is freed). */
int pq_smux_send(struct pq_smux_stream *st, struct pq_chunk *c);

/* Bytes that may be queued now; bulk senders stop at 0 and wait for the room event. */
size_t pq_smux_room(struct pq_smux_stream *st);

/* Chunks that wait in the stream: small ones take more memory than their bytes tell. */
size_t pq_smux_waiting(const struct pq_smux_stream *st);

/* Holds the stream's data back (its SYN goes out), or lets it go. */
void pq_smux_cork(struct pq_smux_stream *st, bool on);
bool pq_smux_corked(const struct pq_smux_stream *st);

/* Puts a frame in front of everything queued; takes the chunk. */
void pq_smux_send_first(struct pq_smux_stream *st, struct pq_chunk *c);

/* From now on each chunk goes out as one frame, whole, once the window has room for all of it; one
 * that is larger than half the window may have to be cut [6.4]. */
void pq_smux_set_whole(struct pq_smux_stream *st);

/* Whether the peer knows the stream: it opened it, or has told that it read of it [8.7]. */
bool pq_smux_known(const struct pq_smux_stream *st);

/* The `user` of the stream with this id; NULL if there is none that is open at both ends. */
void *pq_smux_find(struct pq_smux *s, uint32_t id);

/* n delivered bytes were used up: opens the window. */
void pq_smux_consumed(struct pq_smux_stream *st, size_t n);

/* Nothing more will be queued: what is queued still goes out, then EOF; bytes of the peer keep
 * coming.  For a peer that was extended [8.3]. */
void pq_smux_finish(struct pq_smux_stream *st);

/* The user is done: what is queued still goes out, then FIN; no more events.  The stream must not
 * be used afterwards. */
void pq_smux_close(struct pq_smux_stream *st);

/* The same, but queued bytes are dropped. */
void pq_smux_abort(struct pq_smux_stream *st);

/* Takes a stream over from another session, with what is queued in it, under an id of its own.
 * Returns false if the other peer has heard of it, or memory is short: then it stays there. */
bool pq_smux_adopt(struct pq_smux *s, struct pq_smux_stream *st);

uint32_t pq_smux_stream_id(const struct pq_smux_stream *st);
size_t pq_smux_count(const struct pq_smux *s); /* open streams */

/* Bytes of streams that have come, also if nobody has read them yet or ever, and that were sent. */
void pq_smux_carried(const struct pq_smux *s, uint64_t *in, uint64_t *out);
#endif
