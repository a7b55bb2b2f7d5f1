/* SPDX-License-Identifier: MIT */
/* mtu.h - how large packets of a path may be: a size that passes nearly everywhere at first, then
 * what probes have shown, and again the first one when larger packets stop arriving [12.11] [13.9].
 * Below every transport, which numbers its packets in the order in which they go, and says what
 * became of them.  Pure; sizes are bytes, of whatever the transport counts. */
#ifndef PQ_CC_MTU_H
#define PQ_CC_MTU_H
#include "base/time.h"

#include <stdbool.h>
#include <stdint.h>

enum pq_mtu_kind { PQ_MTU_SHORT, PQ_MTU_LONG, PQ_MTU_KINDS }; /* as long as `least`, as `size` */

struct pq_mtu {
    bool patient;   /* takes what is lost anyway into account */
    uint16_t least; /* passes, it is assumed */
    uint16_t most;  /* what configuration, link and peer allow */
    uint16_t size;  /* in use */
    uint16_t fails; /* one of this size does not pass; most + 1: none is known */
    uint16_t probe_len;
    int64_t probe; /* the number of the probe that is under way; -1 = none is */
    pq_ns ask_at;
    unsigned tries;    /* probes of one size that were lost */
    unsigned careful;  /* packets that are as small as can be, since nothing comes back */
    pq_ns again_at;    /* 0, or when all is tried again */
    pq_ns wait;        /* so long after the probes */
    int64_t since;     /* what is older went over another path */
    int64_t any, full; /* the last ones that have arrived: of any size, of the one in use */
    int64_t hole;      /* the first large one that was lost since `full` ... */
    unsigned lost;     /* ... how many were; 0 = none ... */
    uint16_t hole_len; /* ... and the shortest of them */
    unsigned came,
        gone; /* of the last packets, but for that hole: how many have arrived, and not */
    struct {
        unsigned came, gone;
    } of[PQ_MTU_KINDS]; /* of the last ones; in a trial, of those that have gone since */
    bool trial;         /* every other packet is short: are more of the long ones lost? */
    bool brief;         /* the next one is */
    pq_ns round;        /* the RTT; 0 = more is sent now than the path may carry */
    pq_ns trial_at;     /* no trial, or no end of it, before */
    unsigned tried;     /* of 1000 long ones, lost in the last one */
    int64_t trial_from; /* the first packet that counts: of the trial ... */
    int64_t last;       /* ... and the last that has gone */
    bool unsure;        /* long packets have gone, and nothing tells whether such pass ... */
    pq_ns check_at;     /* ... so one that tells is to go then */
    pq_ns calm_at;      /* until then it is soon that ... */
    unsigned often;     /* ... large packets have stopped arriving again, so many times in a row */
    unsigned falls;     /* how often large packets have stopped arriving */
};

/* `patient`: to fall back costs much, so where the path loses packets of all sizes, more large ones
 * have to be lost in a row. */
void pq_mtu_init(struct pq_mtu *m, uint16_t least, uint16_t most, bool patient);

/* Not more than this: the link is another, or the peer has said so.  `least` at least. */
void pq_mtu_limit(struct pq_mtu *m, uint16_t most);

/* From packet `next` on all go over another path. */
void pq_mtu_path(struct pq_mtu *m, int64_t next);

/* Packet n has gone; and what the next one should have at most.  Who does not tell does
 * not notice that long packets are lost more than short ones.  `round`: the RTT, or 0 while more is
 * sent than the path may carry, which loses packets for that. */
void pq_mtu_went(struct pq_mtu *m, int64_t n, uint16_t bytes, pq_ns round);
uint16_t pq_mtu_next(const struct pq_mtu *m);

/* One of so many bytes has gone whose fate nobody tells.  Where such are long, and nothing else
 * that is, a probe of the size in use asks whether they pass: one a second, and another for each
 * that is lost. */
void pq_mtu_beside(struct pq_mtu *m, uint16_t bytes);
pq_ns pq_mtu_check_at(const struct pq_mtu *m);

/* What the next packet may have; and what it should, as a probe, or 0. */
uint16_t pq_mtu_cap(const struct pq_mtu *m);
uint16_t pq_mtu_probe(struct pq_mtu *m, pq_ns now);
bool pq_mtu_wants(const struct pq_mtu *m); /* a probe, whatever the time is */

/* What a packet may have whose content must not be cut: the largest size, as long as none has
 * failed. */
uint16_t pq_mtu_whole(const struct pq_mtu *m);

/* Whether packet n is the probe: its loss tells nothing of how much the path carries. */
bool pq_mtu_is_probe(const struct pq_mtu *m, int64_t n);

/* One was made that asks for an acknowledgement (the probe, if it is long and none is out), has
 * been acknowledged, or is lost. */
void pq_mtu_sent(struct pq_mtu *m, int64_t n, uint16_t bytes, pq_ns rtt, pq_ns now);
void pq_mtu_acked(struct pq_mtu *m, int64_t n, uint16_t bytes, pq_ns now);
void pq_mtu_lost(struct pq_mtu *m, int64_t n, uint16_t bytes, pq_ns now);

/* When something else has to ask for an acknowledgement, which tells that the probe is lost, and
 * whether that is now. */
pq_ns pq_mtu_ask_at(const struct pq_mtu *m);
bool pq_mtu_ask(struct pq_mtu *m, pq_ns now);

/* Nothing has come back for a probe timeout: perhaps since what was sent was too large. */
void pq_mtu_timeout(struct pq_mtu *m);
/* A packet may have gone since. */
void pq_mtu_pulled(struct pq_mtu *m);
#endif
