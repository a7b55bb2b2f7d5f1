/* SPDX-License-Identifier: MIT */
/* kcp.h - one KCP conversation: a reliable byte stream over datagrams, Sans-IO [4].
 * Knows: segments, windows, RTT, loss, resending.  Does not know: sockets, clocks, FEC, ciphers,
 * the multiplexer.  One owner thread, no locks.  O(1) per segment and per acknowledgement. */
#ifndef PQ_KCP_KCP_H
#define PQ_KCP_KCP_H
#include "base/bytes.h"
#include "base/chunk.h"
#include "base/err.h"
#include "base/time.h"

#define PQ_KCP_HDR_LEN   (4 + 1 + 1 + 2 + 4 + 4 + 4 + 4) /* conv cmd frg wnd ts sn una len [4.1] */
#define PQ_KCP_MTU_MIN   50
#define PQ_KCP_WND_MAX   32768
#define PQ_KCP_PUSH      81 /* [4.1] */
#define PQ_KCP_ACK       82
#define PQ_KCP_WASK      83
#define PQ_KCP_WINS      84
#define PQ_KCP_FRAMES    85 /* a PUSH of whole frames, between peers of our kind [8.10] */
#define PQ_KCP_BLOCK_LEN ((size_t)64 * 72) /* a block of records, kcp_internal.h */

struct pq_rng;
struct pq_kcp; /* opaque; laid out in kcp_internal.h, for kcp*.c and its test only */

enum pq_congestion {
    PQ_CONGESTION_NONE, /* the send window and the peer's alone */
    PQ_CONGESTION_RENO, /* as nocongestion = 0 of the origin [4.5] */
    PQ_CONGESTION_BBR,  /* by a model of the path; see cc/bbr.c */
};

struct pq_kcp_conf {
    uint32_t conv;             /* conversation id [4.1] */
    uint32_t ts_base;          /* added to the clock for time stamps: a random number makes them one
                                  conversation's own [4.9] */
    uint32_t snd_wnd, rcv_wnd; /* segments, 1..PQ_KCP_WND_MAX [4.4] */
    uint16_t mtu;              /* bytes per datagram, segment headers included [4.2] */
    uint16_t resend;           /* newer segments acknowledged before one counts as lost; 0 = by
                                  time alone [4.3] */
    pq_ns interval;            /* longest delay of an acknowledgement that is not due at once */
    bool nodelay;              /* smallest RTO 30 ms instead of 100 ms [4.5] */
    enum pq_congestion congestion;
    bool ack_now; /* acknowledge after each batch of datagrams, not after `interval` */
};

struct pq_kcp_mem {           /* borrowed, must outlive the conversation; one worker's */
    struct pq_pool *blocks;   /* objects of PQ_KCP_BLOCK_LEN */
    struct pq_chunks *chunks; /* out-of-order segments wait here */
};

/* Receives in-order bytes, which stay where they are until pq_kcp_rx_done.  Returns true if it
 * took them all, false if it took none: then they stay queued and close the window until
 * pq_kcp_resume.  May not call pq_kcp_* of the same conversation. */
typedef bool (*pq_kcp_data_fn)(void *ctx, struct pq_view v);

/* Takes what it can use of a segment of whole frames that came out of order; the bytes stay where
 * they are until the segment's turn, when the data function gets them all the same: what has been
 * used must be marked in them.  Returns whether all was used.  The rule about calls is the same. */
typedef bool (*pq_kcp_frames_fn)(void *ctx, uint8_t *p, size_t n);

/* Writes what precedes the n bytes at `off` of a tagged chunk's data. */
typedef void (*pq_kcp_prefix_fn)(uint8_t *dst, const struct pq_chunk *c, uint32_t off, size_t n);

struct pq_kcp_stats {
    uint64_t sent, resent; /* segments */
    uint64_t copies;       /* that went out beside them */
    uint64_t received, duplicate;
    uint64_t spurious; /* segments resent although the first copy had arrived */
    uint64_t timeouts;
    pq_ns srtt, min_rtt; /* 0 = no sample yet */
};

/* Creates a conversation in *out, owned by the caller.
 * Returns 0, PQ_EINVAL (conf out of range) or PQ_ENOMEM; *out is NULL on error. */
int pq_kcp_new(struct pq_kcp **out, const struct pq_kcp_conf *conf, const struct pq_kcp_mem *mem,
               pq_kcp_data_fn on_data, void *ctx);
void pq_kcp_free(struct pq_kcp **k); /* sets *k to NULL; freeing NULL does nothing */

/* Takes the KCP part of one datagram, borrowed until pq_kcp_rx_done.  `regular` is false for a
 * datagram that FEC rebuilt: it moves neither the peer's window nor the RTT [4.6].  Stops at the
 * first segment that is wrong; those before it count [4.6].
 * Returns PQ_DROP_NONE, PQ_DROP_SHORT, PQ_DROP_CONV or PQ_DROP_SEGMENT. */
enum pq_drop pq_kcp_input(struct pq_kcp *k, struct pq_view v, bool regular, pq_ns now);

/* The same for one that comes again bit for bit, since it was lost: its data counts, but the peer,
 * who has sent that in another one by now, is told of no number as of one that was only late. */
enum pq_drop pq_kcp_input_again(struct pq_kcp *k, struct pq_view v, pq_ns now);

/* Until the peer has proven itself [4.9] no acknowledgement goes out but those in the headers of
 * data, and the window has `n` segments.  0: it has. */
void pq_kcp_doubt(struct pq_kcp *k, uint32_t n);

/* Whether the peer has echoed a time stamp of this conversation, exactly as it was sent: what
 * answers in it is no recording [4.9]. */
bool pq_kcp_proven(const struct pq_kcp *k);

/* Segments that were new to this side, and acknowledgements of such to it. */
uint64_t pq_kcp_news(const struct pq_kcp *k);

/* Segments of this side that the peer has confirmed; whether one is on its way that it has not. */
uint64_t pq_kcp_confirmed(const struct pq_kcp *k);
bool pq_kcp_owed(const struct pq_kcp *k);

/* Segments that this side has sent, each time counted but for copies; those that it has received.
 */
uint64_t pq_kcp_sent(const struct pq_kcp *k);
uint64_t pq_kcp_received(const struct pq_kcp *k);

/* The way to the peer is another now: what waits to be sent again does so without the patience that
 * the old one had earned, and how long a datagram may be is not known.  `whole`: what was cut
 * before goes as it is until a probe is lost, else in parts at once. */
void pq_kcp_retry(struct pq_kcp *k, bool whole);

/* ... and it leads between other addresses: how much it carries is not known. */
void pq_kcp_new_path(struct pq_kcp *k);

/* The peer is one of our own kind: it takes a repeated acknowledgement for what it is, where the Go
 * programs count it towards a resend, and it acknowledges promptly. */
void pq_kcp_extend(struct pq_kcp *k);

/* Speaks the datagrams of 12.8 from now on, and reads no others; before the first goes or comes.
 * Their heads are shorter, and they have `least` bytes at most until a probe has shown that the
 * path carries longer ones [12.11].  Returns 0 or PQ_ENOMEM: then nothing has changed. */
int pq_kcp_lean(struct pq_kcp *k, uint16_t least);
bool pq_kcp_is_lean(const struct pq_kcp *k);

/* Bytes of a datagram, as many as pass as far as is known; and how often it has been seen that so
 * many pass no more. */
uint16_t pq_kcp_size(const struct pq_kcp *k);
unsigned pq_kcp_shrunk(const struct pq_kcp *k);

/* The peer takes a datagram in two parts: so goes what was cut before they had to be smaller. */
void pq_kcp_part(struct pq_kcp *k);
bool pq_kcp_parts(const struct pq_kcp *k);

/* On our own wire, to a peer that knows it: datagrams that are not full may be padded [12.8]. */
void pq_kcp_pads(struct pq_kcp *k);

/* So many bytes, by chance, and `cap` at most, what goes seldom is to be longer; 0 to a peer that
 * does not know it. */
size_t pq_kcp_padding(const struct pq_kcp *k, size_t cap, struct pq_rng *rng);

/* Lengthens the n bytes at p that pq_kcp_pull has just written there, by chance, or not at all;
 * `cap`: how much room there is behind them.  Returns how many there are now. */
size_t pq_kcp_pad(struct pq_kcp *k, uint8_t *p, size_t n, size_t cap, struct pq_rng *rng,
                  pq_ns now);

/* Whether what the last pull has written is to go in two parts. */
bool pq_kcp_in_parts(const struct pq_kcp *k);

/* Datagrams have no more than `most` bytes from now on: more do not fit where the peer is now. */
void pq_kcp_limit(struct pq_kcp *k, uint16_t most);

/* Writes a datagram that asks whether one so long passes, of `more` bytes in addition, to dst.
 * Returns its bytes; 0 = there is nothing to ask, or nothing may go now. */
size_t pq_kcp_probe(struct pq_kcp *k, uint8_t *dst, size_t cap, size_t more, pq_ns now);

/* A datagram of n bytes (at most 65535) goes beside the segments, which nobody acknowledges: it is
 * seen to that pq_kcp_probe asks now and then whether such pass. */
void pq_kcp_beside(struct pq_kcp *k, size_t n);

/* Writes a short datagram whose acknowledgement tells what has come of those before it, where they
 * are long enough not to pass.  Returns its bytes, or 0. */
size_t pq_kcp_ask(struct pq_kcp *k, uint8_t *dst, size_t cap, pq_ns now);

/* Segments of whole frames are given to `fn` when they come out of order [8.10]. */
void pq_kcp_take_frames(struct pq_kcp *k, pq_kcp_frames_fn fn);

/* The batch of datagrams is over: gives those that wait behind what has come once more. */
void pq_kcp_frames_again(struct pq_kcp *k);

/* From now on each chunk that is sent is one or more whole frames of at most pq_kcp_mss_least bytes
 * together, or is tagged: one frame's data, which is cut to segments, each with `len` bytes of
 * prefix [8.10].  For a peer that takes them out of order.  May be called from the data function.
 */
void pq_kcp_send_frames(struct pq_kcp *k, pq_kcp_prefix_fn prefix, size_t len);

/* Bytes of a full segment, now and whatever the path will carry. */
size_t pq_kcp_mss(const struct pq_kcp *k);
size_t pq_kcp_mss_least(const struct pq_kcp *k);

/* Delivers what waits because the consumer had no room. */
void pq_kcp_resume(struct pq_kcp *k);

/* The consumer no longer looks at delivered bytes: frees the buffers that held them. */
void pq_kcp_rx_done(struct pq_kcp *k);

/* Queues the bytes of `c` for sending; takes the chunk, also when it is empty. */
void pq_kcp_send(struct pq_kcp *k, struct pq_chunk *c);

/* How many more bytes could go out at once; 0 also while a whole segment waits already: leave the
 * bytes where they are, so that the choice of stream is made late. */
size_t pq_kcp_room(const struct pq_kcp *k, pq_ns now);

/* Whether segments wait that could go out at once. */
bool pq_kcp_backlog(const struct pq_kcp *k);

/* Bytes that the windows and the congestion control allow in flight. */
size_t pq_kcp_flight_max(const struct pq_kcp *k);

/* The smoothed RTT; 0 = no sample yet. */
pq_ns pq_kcp_srtt(const struct pq_kcp *k);

/* Segments that the path carries in a millisecond, as far as that is known; at least 1. */
uint32_t pq_kcp_per_ms(const struct pq_kcp *k);

/* Writes the next datagram to dst (cap >= conf.mtu).  Returns its bytes; 0 = nothing due now.
 * A segment counts as sent only once written here, so stopping early loses nothing. */
size_t pq_kcp_pull(struct pq_kcp *k, uint8_t *dst, size_t cap, pq_ns now);

/* Nothing follows what the last pull has written: it may be worth a copy. */
void pq_kcp_burst_over(struct pq_kcp *k, pq_ns now);

/* Absolute time at which the next pull may have something: <= now, later, or PQ_NEVER. */
pq_ns pq_kcp_deadline(const struct pq_kcp *k, pq_ns now);

/* Whether the peer has acknowledged every byte that was queued. */
bool pq_kcp_idle(const struct pq_kcp *k);

void pq_kcp_get_stats(const struct pq_kcp *k, struct pq_kcp_stats *out);

/* Reads the conversation id and, if the first segment is a PUSH, its number, of a plain KCP
 * datagram.  Returns false if it is shorter than one header or the command is unknown. */
bool pq_kcp_peek(struct pq_view v, uint32_t *conv, bool *is_push, uint32_t *sn);
#endif
