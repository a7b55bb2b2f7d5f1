/* SPDX-License-Identifier: MIT */
#include "cc/cc.h"

static void none_acked(struct pq_cc *c, const struct pq_cc_sample *s, pq_ns now)
{
    (void)c;
    (void)s;
    (void)now;
}

static void none_event(struct pq_cc *c, uint32_t in_flight)
{
    (void)c;
    (void)in_flight;
}

static void reno_acked(struct pq_cc *c, const struct pq_cc_sample *s, pq_ns now)
{
    (void)now;
    if (c->cwnd < c->reno.ssthresh) {
        c->cwnd += s->acked;
    } else if ((c->reno.acked += s->acked) >= c->cwnd) {
        c->reno.acked -= c->cwnd;
        c->cwnd++;
    }
    if (c->cwnd > PQ_CC_CWND_MAX)
        c->cwnd = PQ_CC_CWND_MAX;
}

static void reno_halve(struct pq_cc *c, uint32_t in_flight)
{
    c->reno.ssthresh = in_flight / 2 > 2 ? in_flight / 2 : 2;
    c->reno.acked = 0;
}

static void reno_lost(struct pq_cc *c, uint32_t in_flight)
{
    reno_halve(c, in_flight);
    c->cwnd = c->reno.ssthresh + c->reno.resend;
}

static void reno_timeout(struct pq_cc *c, uint32_t in_flight)
{
    reno_halve(c, in_flight);
    c->cwnd = 1;
}

static const struct pq_cc_ops none_ops = {none_acked, none_event, none_event};
static const struct pq_cc_ops reno_ops = {reno_acked, reno_lost, reno_timeout};

void pq_cc_init_none(struct pq_cc *c)
{
    *c = (struct pq_cc){.ops = &none_ops, .cwnd = UINT32_MAX};
}

void pq_cc_init_reno(struct pq_cc *c, uint32_t resend)
{
    *c = (struct pq_cc){.ops = &reno_ops, .cwnd = 2};
    c->reno.ssthresh = PQ_CC_CWND_MAX;
    c->reno.resend = resend;
}
