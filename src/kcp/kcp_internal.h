/* SPDX-License-Identifier: MIT */
/* kcp_internal.h - the state of a conversation; for kcp*.c and their test only.
 *
 * Sending.  Bytes lie in one FIFO of chunks, `tx`.  A segment is a run of those bytes, fixed when
 * it is first written: {first chunk, offset, length}; it may reach into the next chunks.  Records
 * lie in blocks of 64, found by number: block (sn / 64) mod n, so that memory follows the window
 * in use.  Chunks in front of the oldest unacknowledged segment are freed.
 *
 *      tx:   [ chunk ][ chunk ][ chunk ][ chunk ]
 *             ^una's chunk       ^cur + cur_off: next byte never sent
 *
 * A record is in one of two lists: `flight`, ordered by the time of the last transmission, or
 * `lost`.  An acknowledged one is in none until snd_una passes it.
 *
 * In a block sent as frames the bytes of tagged chunks have prefixes, which are not in `tx`: the
 * cut of a segment follows from its length on the wire.
 *
 * Receiving.  rcv_read <= rcv_nxt <= any stored number.  ring[sn & mask] holds a copy of a segment
 * that came out of order (>= rcv_nxt) or could not be delivered (< rcv_nxt). */
#ifndef PQ_KCP_KCP_INTERNAL_H
#define PQ_KCP_KCP_INTERNAL_H
#include "base/list.h"
#include "cc/cc.h"
#include "cc/mtu.h"
#include "kcp/kcp.h"
#include "kcp/ranges.h"

#define SEGS_PER_BLOCK 64
#define OLD_ACKS       16  /* of them are repeated in the next flush; a power of two */
#define PROOFS_MAX     16  /* transmissions in doubt of the peer */
#define AGAIN_MAX      64  /* a power of two */
#define ACKS_MAX       256 /* out-of-order acknowledgements that wait for one flush */

#define PQ_COPY_SMALL     256 /* bytes of a segment that is worth a copy where the path loses */
#define PQ_LEAN_HEAD      8   /* number kind sn [12.8] ... */
#define PQ_LEAN_HEAD_MORE 10  /* ... and length */
#define PQ_LEAN_PAD_MIN   5
#define PQ_LEAN_ACK_MIN   20 /* room that an acknowledgement with few ranges needs */

enum pq_kcp_state { SEG_FLIGHT, SEG_LOST, SEG_ACKED };

struct pq_kcp_seg {
    struct pq_list node;
    struct pq_chunk *chunk;
    pq_ns sent;                     /* last transmission */
    pq_ns delivered_at, first_sent; /* of the conversation, when this was sent: for the rate */
    uint32_t sn;
    uint32_t id; /* of the last transmission: its time stamp [4.1] or, lean, its number [12.8] */
    uint32_t off;
    uint32_t delivered;
    uint16_t len;
    uint8_t state;  /* enum pq_kcp_state */
    uint8_t xmit;   /* transmissions, saturating */
    bool timed_out; /* given up by its RTO, which tells nothing of reordering */
    bool app_limited;
    bool framed;    /* whole frames, see pq_kcp_send_frames */
    uint8_t copied; /* copies of the last transmission, which count as such */
};

struct pq_kcp_block {
    struct pq_kcp_seg seg[SEGS_PER_BLOCK];
};

_Static_assert(sizeof(struct pq_kcp_block) <= PQ_KCP_BLOCK_LEN, "kcp.h names the size");

struct pq_kcp_ack {
    uint32_t sn, ts;
};

struct pq_kcp_again {
    uint32_t sn, id; /* of the transmission that is to be doubled */
    pq_ns at;
};

struct pq_kcp_sent { /* a transmission: */
    uint32_t sn;     /* of which segment; far off once its number has been confirmed */
    uint32_t us;     /* when, modulo 2^32 */
    uint16_t bytes;  /* of its datagram; 0 = of a probe that was lost */
};

struct pq_kcp_numbers {       /* of transmissions [12.8] */
    struct pq_kcp_sent *sent; /* a ring by number */
    uint32_t cap;             /* a power of two */
    uint32_t first;           /* the oldest that is remembered */
    uint32_t next;
    int64_t made; /* as many as there have been: `next` without an end */
};

struct pq_kcp {
    struct pq_kcp_conf conf;
    struct pq_kcp_mem mem;
    pq_kcp_data_fn on_data;
    void *ctx;
    uint16_t mtu, mss;            /* bytes of a datagram, and of a segment, now */
    struct pq_mtu size;           /* lean: what the path carries [12.11] */
    uint32_t probe;               /* the number of the last probe */
    bool parts, in_parts;         /* pq_kcp_part; the last datagram goes so */
    uint16_t passes;              /* bytes of the longest with segments that has come ... */
    int64_t passes_from;          /* ... of those from this one on */
    unsigned fallen;              /* falls that are known */
    bool untried;                 /* the path is another, and it may carry what was cut before */
    bool careful;                 /* a segment that was given up goes in parts, too: ... */
    uint32_t careful_sn;          /* ... this one */
    uint32_t rcv_wnd;             /* in force */
    uint32_t sent_ts[PROOFS_MAX]; /* while in doubt: time stamps that an answer may echo */
    unsigned n_sent_ts;
    bool doubt, proven;
    bool lean; /* the datagrams of 12.8 */
    bool late; /* what is read now has been lost before [12.9] */

    /* sending */
    uint32_t snd_una, snd_nxt, rmt_wnd;
    struct pq_chunkq tx;
    struct pq_chunk *cur; /* chunk of the next unsent byte, NULL = none */
    uint32_t cur_off;     /* bytes of cur already sent */
    size_t unsent;
    size_t unframed;         /* bytes of `unsent` from before pq_kcp_send_frames */
    pq_kcp_prefix_fn prefix; /* NULL: a stream of bytes */
    size_t prefix_len;
    struct pq_kcp_block **blocks;
    uint32_t block_mask;
    pq_ns memory_at; /* no record could be had: the next attempt */
    struct pq_list flight, lost;
    uint32_t n_flight;
    struct pq_cc cc;
    pq_ns pace_at;          /* when what was sent so far has gone at the rate of cc */
    bool held;              /* by the pace alone, when there was last nothing due; ... */
    bool resumed;           /* ... since then something has been */
    uint32_t delivered;     /* segments acknowledged so far */
    pq_ns delivered_at;     /* the last of them */
    pq_ns first_sent;       /* when the newest acknowledged segment was sent */
    uint32_t limited_until; /* app-limited until so many are delivered; see app_limited */
    bool app_limited;
    struct pq_cc_sample sample; /* of the datagram being read */

    /* loss and time */
    pq_ns srtt, rttvar, rto, min_rtt;
    unsigned backoff;
    pq_ns timeout_at; /* last time-out: the next one counts from here, or from a later sending */
    pq_ns rack_sent, rack_rtt; /* newest transmission known to have arrived, and its RTT */
    uint32_t rack_order;
    pq_ns reorder_at;      /* when a suspect segment becomes lost; PQ_NEVER = none */
    unsigned reorder_mult; /* tolerance in quarters of the RTT ... */
    unsigned reorder_keep; /* ... which holds for so many recoveries more */
    pq_ns reorder_raised;  /* when it was raised last */
    bool reorder_seen;
    pq_ns recovery_until; /* one congestion event per round trip */
    struct pq_kcp_numbers numbers;
    struct pq_kcp_again again[AGAIN_MAX]; /* a ring: what goes a second time, and when */
    uint32_t again_first, again_end;
    uint32_t loss;              /* of 1000 transmissions, smoothed ... */
    uint32_t out_all, out_lost; /* ... and of those since: whose fate is known, and lost ones */
    uint32_t loss_in;           /* the same of the peer's, by the numbers that are missing */
    uint32_t in_from, in_came;
    pq_ns least_rtt, least_before;   /* smallest RTT of this span and of the one before */
    uint32_t most_loss, most_before; /* the largest of both losses */
    pq_ns span_at;                   /* when this one began */
    size_t copy_credit;              /* bytes that may go twice */
    pq_ns copy_at;                   /* when it was last added to */
    bool pads;                       /* the peer knows blocks that say nothing [12.8] */
    size_t room;                     /* for such a one, in the datagram that was written last */
    size_t pad_credit;               /* thousandths of bytes of them that may go */
    pq_ns pad_at;

    /* receiving */
    uint32_t rcv_nxt, rcv_read;
    uint32_t rcv_high; /* behind the newest that has come */
    pq_kcp_frames_fn on_frames;
    uint32_t again_from; /* segments from here on may have become of use ... */
    bool frames_again;   /* ... if this is set */
    struct pq_chunk **ring;
    uint32_t ring_cap;      /* power of two, or 0 */
    struct pq_chunkq spent; /* delivered, freed at pq_kcp_rx_done */

    /* acknowledgements and probes to send */
    struct pq_kcp_ack last_ack, acks[ACKS_MAX];
    struct pq_kcp_ack old[OLD_ACKS]; /* the last out-of-order ones, a ring */
    unsigned next_old;
    bool ours;                     /* the peer is of our own kind */
    unsigned n_acks, acks_waiting; /* acks[]; all, the in-order ones included */
    pq_ns ack_at;                  /* PQ_NEVER = none waits */
    struct pq_ranges came;         /* numbers, lean */
    pq_ns newest_at;               /* when the newest of them did; 0 = FEC has rebuilt it */
    pq_ns acked_at;                /* the last acknowledgement */
    bool tell_wnd, ask_wnd;
    pq_ns probe_at, probe_wait; /* PQ_NEVER = no probing */

    struct pq_kcp_stats stats;
};

/* Signed distance of two numbers that wrap. */
static inline int32_t pq_sn_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static inline struct pq_kcp_seg *pq_kcp_seg_at(const struct pq_kcp *k, uint32_t sn)
{
    return &k->blocks[sn / SEGS_PER_BLOCK & k->block_mask]->seg[sn % SEGS_PER_BLOCK];
}

/* Transmissions of one moment follow each other by it. */
static inline uint32_t pq_kcp_order(const struct pq_kcp *k, const struct pq_kcp_seg *s)
{
    return k->lean ? s->id : s->sn;
}

/* A time stamp as on the wire. */
static inline uint32_t pq_kcp_ts(const struct pq_kcp *k, pq_ns now)
{
    return (uint32_t)(now / PQ_MS) + k->conf.ts_base;
}

/* kcp_loss.c */
/* `last`: it was certainly the last transmission that has arrived.  rtt 0: it tells none. */
void pq_kcp_on_acked(struct pq_kcp *k, struct pq_kcp_seg *s, bool last, pq_ns rtt, pq_ns now);
void pq_kcp_sample_rtt(struct pq_kcp *k, pq_ns rtt);
void pq_kcp_raise_tolerance(struct pq_kcp *k, pq_ns now); /* one was given up too early */
void pq_kcp_report_acks(struct pq_kcp *k, pq_ns now);     /* to the congestion control */
void pq_kcp_detect_loss(struct pq_kcp *k, pq_ns now);
void pq_kcp_check_timeout(struct pq_kcp *k, pq_ns now);
pq_ns pq_kcp_rto_at(const struct pq_kcp *k);

/* kcp_in.c */
void pq_kcp_take_una(struct pq_kcp *k, uint32_t una, pq_ns now);
/* Takes a segment's bytes, or sees that it has them.  Returns false if it is as if it had not
 * come: beyond the window, or memory is short. */
bool pq_kcp_take_data(struct pq_kcp *k, uint32_t sn, bool framed, struct pq_view v);

/* kcp_lean.c [12.8] */
enum pq_drop pq_lean_input(struct pq_kcp *k, struct pq_view v, bool regular, pq_ns now);
/* Of a transmission that goes out now. */
uint32_t pq_lean_number(struct pq_kcp *k, uint32_t sn, pq_ns now);
struct pq_kcp_sent *pq_lean_sent(const struct pq_kcp *k, uint32_t number);
pq_ns pq_lean_age(const struct pq_kcp *k, uint32_t number, pq_ns now);
/* The head of a block to the end of the datagram whose payload tells nothing: its segment has come.
 */
void pq_lean_put_stale(const struct pq_kcp *k, uint8_t *p, uint32_t number);
void pq_lean_confirmed(struct pq_kcp *k, const struct pq_kcp_seg *s); /* by una */
/* The head of a segment's block, behind which others follow in the datagram if `more`.  Returns its
 * bytes: PQ_LEAN_HEAD, or PQ_LEAN_HEAD_MORE. */
size_t pq_lean_put_head(const struct pq_kcp *k, uint8_t *p, const struct pq_kcp_seg *s, bool more);
/* A block of n bytes, at least PQ_LEAN_PAD_MIN, that says nothing and ends the datagram. */
void pq_lean_put_pad(uint8_t *p, size_t n);
/* Writes an acknowledgement.  Returns its bytes; 0 = there is no room. */
size_t pq_lean_put_ack(struct pq_kcp *k, uint8_t *p, size_t cap, pq_ns now);
pq_ns pq_lean_patience(const struct pq_kcp *k); /* how long the peer may wait to acknowledge */

/* kcp_size.c [12.11] */
uint16_t pq_size_next(struct pq_kcp *k); /* a datagram begins: its bytes at most */
void pq_size_wrote(struct pq_kcp *k, uint32_t first, size_t n); /* numbers from there, n bytes */
void pq_size_acked(struct pq_kcp *k, uint32_t number, pq_ns now);
void pq_size_lost(struct pq_kcp *k, uint32_t number, pq_ns now);
void pq_size_timeout(struct pq_kcp *k, const struct pq_kcp_seg *s); /* it was given up */
void pq_size_path(struct pq_kcp *k, bool whole);                    /* from now on it is another */
void pq_size_judge(struct pq_kcp *k, pq_ns tolerance, pq_ns now);   /* is the probe lost? */
pq_ns pq_size_deadline(const struct pq_kcp *k, pq_ns now);

/* copies.c */
bool pq_copies_pay(const struct pq_kcp *k);       /* the path loses, and nothing waits on it */
void pq_copies_fate(struct pq_kcp *k, bool lost); /* of a transmission */
void pq_copies_came(struct pq_kcp *k, uint32_t newest); /* a datagram; the newest number so far */
void pq_copies_copied(struct pq_kcp *k, const struct pq_kcp_seg *s, pq_ns now); /* a copy goes */
void pq_copies_sent(struct pq_kcp *k, const struct pq_kcp_seg *s, pq_ns now);   /* s goes out */

/* kcp.c */
uint32_t pq_kcp_window(const struct pq_kcp *k, pq_ns now); /* new segments that may go out now */
uint32_t pq_kcp_paced(const struct pq_kcp *k, pq_ns now);  /* segments that pacing lets go now */
void pq_kcp_note_paced(struct pq_kcp *k, pq_ns now);       /* one goes */
uint16_t pq_kcp_rcv_space(const struct pq_kcp *k);         /* the wnd field */
#endif
