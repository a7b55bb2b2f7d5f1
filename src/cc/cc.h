/* SPDX-License-Identifier: MIT */
/* cc.h - how many segments may be in flight, and how fast they go out.  A controller is a table of
 * functions over one small state: `none` (the windows alone), `reno` (the origin's nocongestion = 0
 * [4.5]) and `bbr`. Below every transport, which says what became of
 * its segments and asks how many may follow.  No system calls; time is passed in. */
#ifndef PQ_CC_CC_H
#define PQ_CC_CC_H
#include "base/time.h"

#include <stdbool.h>
#include <stdint.h>

#define PQ_CC_CWND_MAX 32768 /* segments */
#define PQ_CC_ROUNDS   10    /* round trips over which the rate is the largest seen */

struct pq_cc;

struct pq_cc_sample {   /* what one datagram's acknowledgements tell */
    uint32_t acked;     /* segments */
    uint32_t delivered; /* all acknowledged so far */
    uint32_t prior;     /* `delivered` when the newest of these segments was sent */
    uint32_t lost;      /* segments found lost since the last sample */
    uint32_t in_flight;
    pq_ns interval;   /* in which delivered - prior arrived; 0 = neither is known */
    pq_ns rtt;        /* 0 = no sample */
    bool app_limited; /* there was not enough to send */
};

struct pq_cc_ops {
    void (*acked)(struct pq_cc *c, const struct pq_cc_sample *s, pq_ns now);
    void (*lost)(struct pq_cc *c, uint32_t in_flight); /* once per round trip at most */
    void (*timeout)(struct pq_cc *c, uint32_t in_flight);
};

struct pq_cc {
    const struct pq_cc_ops *ops;
    uint32_t cwnd; /* segments */
    uint64_t pace; /* segments a second; 0 = as fast as cwnd lets them */
    union {
        struct {
            uint32_t ssthresh, acked, resend;
        } reno;
        struct {
            uint64_t rate[PQ_CC_ROUNDS]; /* largest of each round, segments a second */
            /* largest surplus of acknowledgements that came at once */
            uint32_t extra[PQ_CC_ROUNDS];
            uint16_t loss[PQ_CC_ROUNDS], path_loss; /* of 1024 segments; the least of these */
            bool loss_known;                        /* of all these rounds */
            uint16_t start_loss;                    /* the least of the start */
            uint32_t round_acked, round_lost;       /* segments of the round so far */
            uint32_t round, round_end;
            uint32_t rate_round;  /* those in which there was enough to send ... */
            pq_ns rate_at;        /* ... and when the last of them began */
            bool felt, feels;     /* whether the last probe has made packets wait, and this one */
            uint8_t found;        /* probes one after the other that have found more */
            uint8_t phase;        /* which gain is in force */
            uint32_t probe_round; /* in which more was sent, the last time */
            uint8_t drained;      /* rounds of draining so far */
            pq_ns min_rtt, min_rtt_at;    /* and when it was last seen */
            pq_ns recent_rtt, before_rtt; /* smallest of the last samples, and of those before */
            uint32_t recent;              /* how many the last ones are */
            pq_ns round_rtt, last_rtt;    /* smallest of this round, and of the one before */
            pq_ns busy_at;                /* since then each packet has waited ... */
            uint32_t busy_from;           /* ... and so many had arrived before */
            uint64_t carried;    /* what the path carried then, segments a second; 0 = not known */
            bool policed;        /* more than that did not wait, but was dropped */
            pq_ns step_rtt;      /* what the RTT has become from one round to the next ... */
            uint32_t step_round; /* ... then, ... */
            uint64_t step_full;  /* ... and the rate before */
            pq_ns probe_until;   /* not 0: the queue is being emptied to see min_rtt */
            pq_ns late; /* so much too late the sender goes on, on the average of the last times */
            pq_ns epoch;
            uint32_t epoch_acked;
            uint64_t full_rate; /* start-up ends when the rate has stopped growing */
            uint8_t full_rounds;
            bool filled;
            bool prompt; /* the peer acknowledges at once */
            bool stale;  /* nothing has come of what was sent since the path is another */
        } bbr;
    };
};

void pq_cc_init_none(struct pq_cc *c);
void pq_cc_init_reno(struct pq_cc *c, uint32_t resend);
void pq_cc_init_bbr(struct pq_cc *c);

/* The path is another now, after so many segments were acknowledged: bbr begins anew, and learns
 * from what is sent from now on.  The others stay: losses tell them soon enough. */
void pq_cc_new_path(struct pq_cc *c, uint32_t delivered);

/* The RTT of the path without a queue, or 0: not known, since too little has been sent, or to this
 * controller never. */
pq_ns pq_cc_min_rtt(const struct pq_cc *c);

/* A sender that nothing but `pace` held back goes on so much later than it allows: noted once each
 * time, with the first segment that goes. */
void pq_cc_note_late(struct pq_cc *c, pq_ns late);

/* How far behind `pace` a sender that has enough to send may be and still make up for it: what goes
 * at once then. */
pq_ns pq_cc_late(const struct pq_cc *c);
#endif
