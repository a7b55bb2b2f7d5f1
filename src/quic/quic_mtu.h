/* SPDX-License-Identifier: MIT */
/* quic_mtu.h - how large a connection's packets may be: a size that passes everywhere at first,
 * then what probes have shown, and again the first one when larger packets stop arriving [13.9].
 * Pure; packet numbers are those of 1-RTT packets, sizes are bytes of them. */
#ifndef PQ_QUIC_QUIC_MTU_H
#define PQ_QUIC_QUIC_MTU_H
#include "base/time.h"

#include <stdbool.h>
#include <stdint.h>

#define QUIC_MTU_LEAST 1200 /* what a path must carry for QUIC (RFC 9000 14) */

struct quic_mtu {
    uint16_t most;  /* what configuration, link and peer allow */
    uint16_t size;  /* in use */
    uint16_t fails; /* one of this size does not pass; most + 1: none is known */
    uint16_t probe_len;
    int64_t probe; /* the number of the probe that is under way; -1 = none is */
    pq_ns ask_at;
    unsigned tries;    /* probes of one size that were lost */
    unsigned careful;  /* packets that are as small as can be, since nothing comes back */
    pq_ns again_at;    /* 0, or when all is tried again */
    int64_t since;     /* what is older went over another path */
    int64_t any, full; /* the last ones that have arrived: of any size, of the one in use */
    int64_t hole;      /* the first large one that was lost since `full` ... */
    unsigned lost;     /* ... and how many were; 0 = none */
    unsigned falls;    /* how often large packets have stopped arriving */
};

void quic_mtu_init(struct quic_mtu *m, uint16_t most);

/* Not more than this: the link is another, or the peer has said so.  QUIC_MTU_LEAST at least. */
void quic_mtu_limit(struct quic_mtu *m, uint16_t most);

/* From packet `next` on all go over another path. */
void quic_mtu_path(struct quic_mtu *m, int64_t next);

/* What the next packet may have; and what it should, as a probe, or 0. */
uint16_t quic_mtu_cap(const struct quic_mtu *m);
uint16_t quic_mtu_probe(struct quic_mtu *m, pq_ns now);

/* Whether packet n is the probe: its loss tells nothing of how much the path carries. */
bool quic_mtu_is_probe(const struct quic_mtu *m, int64_t n);

/* One was made that asks for an acknowledgement, has been acknowledged, or is lost. */
void quic_mtu_sent(struct quic_mtu *m, int64_t n, uint16_t bytes, pq_ns rtt, pq_ns now);
void quic_mtu_acked(struct quic_mtu *m, int64_t n, uint16_t bytes, pq_ns now);
void quic_mtu_lost(struct quic_mtu *m, int64_t n, uint16_t bytes, pq_ns now);

/* When something else has to ask for an acknowledgement, which tells that the probe is lost, and
 * whether that is now. */
pq_ns quic_mtu_ask_at(const struct quic_mtu *m);
bool quic_mtu_ask(struct quic_mtu *m, pq_ns now);

/* Nothing has come back for a probe timeout: perhaps since what was sent was too large. */
void quic_mtu_timeout(struct quic_mtu *m);
/* A packet may have gone since. */
void quic_mtu_pulled(struct quic_mtu *m);
#endif
