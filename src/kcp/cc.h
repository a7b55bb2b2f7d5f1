/* SPDX-License-Identifier: MIT */
/* cc.h - how many segments may be in flight.  A controller is a table of functions over one small
 * state; `none` is the origin's nocongestion = 1, `reno` its nocongestion = 0 [4.5].  For kcp*.c.
 */
#ifndef PQ_KCP_CC_H
#define PQ_KCP_CC_H
#include "base/time.h"

#include <stdint.h>

struct pq_cc;

struct pq_cc_ops {
    void (*acked)(struct pq_cc *c, uint32_t segments);
    void (*lost)(struct pq_cc *c, uint32_t in_flight); /* once per round trip at most */
    void (*timeout)(struct pq_cc *c, uint32_t in_flight);
};

struct pq_cc {
    const struct pq_cc_ops *ops;
    uint32_t cwnd; /* segments */
    uint32_t ssthresh, acked, resend;
};

void pq_cc_init_none(struct pq_cc *c);
void pq_cc_init_reno(struct pq_cc *c, uint32_t resend);
#endif
