/* SPDX-License-Identifier: MIT */
/* quic_cc.h - how much of a connection may be in flight, decided by src/cc while ngtcp2 keeps its
 * own window open: the plain text of packets tells what was sent and what has arrived [13.6].
 * Knows: packet numbers, ACK frames.  Does not know: ngtcp2. */
#ifndef PQ_QUIC_QUIC_CC_H
#define PQ_QUIC_QUIC_CC_H
#include "base/bytes.h"
#include "cc/cc.h"
#include "cc/mtu.h"

#define QUIC_MTU_LEAST 1200 /* what a path must carry for QUIC (RFC 9000 14) */

struct quic_record { /* one packet that asks for an acknowledgement */
    pq_ns sent, delivered_at, first_sent;
    uint32_t delivered;
    uint16_t bytes;
    uint8_t state;
    bool app_limited;
};

struct quic_cc {
    struct pq_cc cc;
    struct pq_cc_sample sample; /* since the last report */
    struct quic_record *r;      /* packet n is r[n & (cap - 1)] */
    uint32_t cap;
    int64_t first, next;    /* numbers: the oldest that is remembered, one behind the newest */
    int64_t largest;        /* acknowledged; -1 = none */
    uint32_t flight, limbo; /* limbo: of another path, and neither acknowledged nor known as lost */
    uint32_t delivered, limited_until;
    bool app_limited;
    bool held;    /* by the pace alone, when there was last nothing to be sent; ... */
    bool resumed; /* ... since then something has been */
    pq_ns delivered_at, first_sent, pace_at;
    pq_ns srtt, latest, min_rtt;
    pq_ns late[2], late_since; /* by how much an answer was, at most: since then, and before that */
    unsigned number_len;       /* bytes of the last packet's number */
    unsigned probes;           /* packets that may go whatever the window says */
    bool ack_due;              /* something has come that asks for an acknowledgement */
    unsigned owed;             /* so many packets have, since the last one that was made, ... */
    pq_ns owed_since;          /* ... the first of them then */
    uint64_t sent, acked, lost;
    struct pq_mtu mtu; /* is told of each packet's fate */

    /* of rounds of some hundred packets */
    uint32_t round_end, round_acked, round_lost;
    uint16_t loss[8]; /* of 1024, of the last ones */
    unsigned rounds;
    uint32_t most, known; /* short paths: packets in flight; and when somebody dropped last */
    uint32_t spread;      /* packets of a stream behind a hole, at most */
};

void quic_cc_init(struct quic_cc *c, uint16_t size); /* of packets, at most */
void quic_cc_fini(struct quic_cc *c);

/* A 1-RTT packet was made: its header before it was masked, its frames. */
void quic_cc_sent(struct quic_cc *c, struct pq_view head, struct pq_view frames, pq_ns now);

/* A 1-RTT packet came that is authentic: its frames. */
void quic_cc_received(struct quic_cc *c, struct pq_view frames, pq_ns now);

/* What is in flight is as good as lost, and no fault of the window's: the path is another.  And
 * nothing is known of it. */
void quic_cc_retry(struct quic_cc *c);
void quic_cc_new_path(struct quic_cc *c);

/* A timer of ngtcp2's is over: if nothing comes back, something else has to go. */
void quic_cc_timer(struct quic_cc *c, pq_ns now);

/* The batch is over. */
void quic_cc_report(struct quic_cc *c, pq_ns now);

/* Whether one more packet may go; when pacing lets the next go, or PQ_NEVER while the window is
 * full; notes what has kept the next one from going: the pace, the window, or nothing to send. */
bool quic_cc_may_send(const struct quic_cc *c, pq_ns now);
pq_ns quic_cc_next(const struct quic_cc *c);
void quic_cc_stopped(struct quic_cc *c, pq_ns now);

/* Whether the path is so short that its timers are finer than they need be; then the moment for one
 * that is due at `at`. */
bool quic_cc_is_near(const struct quic_cc *c);
pq_ns quic_cc_grain(pq_ns at);

/* If nothing but an acknowledgement is to go: whether it may wait for an answer to what has come,
 * which takes it along; that is so for a moment, over a short path. */
bool quic_cc_ack_waits(const struct quic_cc *c, pq_ns now);

/* A number that ends as the one in a short header does, which is cut, and begins as `next` does;
 * *span: how far numbers that end so are apart (RFC 9000 A.3). */
int64_t quic_number_beside(int64_t next, struct pq_view head, int64_t *span);

/* By how much an answer was late at most, of the last seconds, beyond the least RTT and what its
 * sender says it has waited on purpose. */
pq_ns quic_cc_late(const struct quic_cc *c, pq_ns now);

/* Since when the oldest packet waits for its acknowledgement; 0 = none does. */
pq_ns quic_cc_waits_since(const struct quic_cc *c);

/* For who reads frames: a variable-length integer (RFC 9000 16); the rest of an ACK frame behind
 * its type. */
uint64_t quic_varint(struct pq_rd *r);
void quic_skip_ack(struct pq_rd *r, bool ecn);
#endif
