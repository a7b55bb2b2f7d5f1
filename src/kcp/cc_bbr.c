/* SPDX-License-Identifier: MIT */
/* cc_bbr.c - congestion control by a model of the path, as BBR does: what it delivers at most (the
 * largest rate of ten rounds) and how fast it is when empty (the smallest RTT of ten seconds).  In
 * flight is what fills the path, no more, so queues stay short; loss does not slow it.
 *
 *      cwnd = rate * min_rtt * gain + rate * SLACK + what arrives at once anyway + MIN_CWND
 *
 * The gain goes 5/4, 3/4, 1, 1, 1, 1, 1, 1, a round each: more to see whether there is more to
 * have, less to drain what that queued.  Every ten seconds in which min_rtt was not seen again,
 * half of the path is left empty for a round trip. */
#include "kcp/cc.h"
#include "kcp/kcp.h"

#define MIN_CWND   16
#define FIRST_CWND 32
#define SLACK      (500 * PQ_US) /* two machines' turns: neither runs the moment a packet comes */
#define RTT_WINDOW (10 * PQ_SEC)
#define EXTRA_LIMIT                                                                                \
    (100 * PQ_MS) /* acknowledgements that come at once: at most so much of the rate */

static uint64_t rate_of(const struct pq_cc *c)
{
    uint64_t max = 0;
    for (int i = 0; i < PQ_CC_ROUNDS; i++)
        max = c->bbr.rate[i] > max ? c->bbr.rate[i] : max;
    return max;
}

static uint64_t in(uint64_t rate, pq_ns time)
{
    return rate * (time / PQ_US) / 1000000;
}

/* Acknowledgements come in bunches (delays of the peer, radio links): the surplus over the rate
 * must be in flight too, or the path runs dry between two bunches. */
static void note_extra(struct pq_cc *c, uint32_t acked, uint64_t rate, pq_ns now)
{
    uint64_t expected = in(rate, now - c->bbr.epoch);
    if (c->bbr.epoch_acked <= expected) {
        c->bbr.epoch = now;
        c->bbr.epoch_acked = 0;
        expected = 0;
    }
    c->bbr.epoch_acked += acked;
    uint64_t extra = c->bbr.epoch_acked - expected;
    uint64_t limit = in(rate, c->bbr.prompt ? c->bbr.min_rtt / 4 : EXTRA_LIMIT);
    extra = extra < limit ? extra : limit;
    uint32_t *slot = &c->bbr.extra[c->bbr.round % PQ_CC_ROUNDS];
    if (extra > *slot)
        *slot = (uint32_t)extra;
}

static uint32_t extra_of(const struct pq_cc *c)
{
    uint32_t max = 0;
    for (int i = 0; i < PQ_CC_ROUNDS; i++)
        max = c->bbr.extra[i] > max ? c->bbr.extra[i] : max;
    return max;
}

static void new_round(struct pq_cc *c, uint32_t delivered, bool app_limited)
{
    uint64_t rate = rate_of(c);
    c->bbr.round_end = delivered;
    c->bbr.round++;
    c->bbr.rate[c->bbr.round % PQ_CC_ROUNDS] = 0;
    c->bbr.extra[c->bbr.round % PQ_CC_ROUNDS] = 0;
    if (c->bbr.filled || app_limited)
        return;
    if (rate >= c->bbr.full_rate + c->bbr.full_rate / 4) {
        c->bbr.full_rate = rate;
        c->bbr.full_rounds = 0;
    } else if (++c->bbr.full_rounds >= 3) {
        c->bbr.filled = true;
    }
}

static void note_rtt(struct pq_cc *c, pq_ns rtt, pq_ns now)
{
    if (!rtt)
        return;
    bool probing = c->bbr.probe_until != 0;
    bool longer = probing && now >= c->bbr.probe_until; /* the path itself has become longer */
    if (!c->bbr.min_rtt || rtt <= c->bbr.min_rtt || longer) {
        c->bbr.min_rtt = rtt;
        c->bbr.min_rtt_at = now;
        c->bbr.probe_until = 0;
    } else if (!probing && now > c->bbr.min_rtt_at + RTT_WINDOW) {
        c->bbr.probe_until = now + 2 * c->bbr.min_rtt + 2 * SLACK;
    }
}

/* Doubles in each round trip, but not beyond twice what the path has shown to carry. */
static uint64_t start_up(const struct pq_cc *c, uint32_t acked, uint64_t limit)
{
    uint64_t want = (uint64_t)c->cwnd + acked;
    return want < limit ? want : limit > c->cwnd ? limit : c->cwnd;
}

static void set_cwnd(struct pq_cc *c, uint32_t acked)
{
    static const uint8_t gain[8] = {10, 6, 8, 8, 8, 8, 8, 8};
    uint64_t rate = rate_of(c), bdp = in(rate, c->bbr.min_rtt);
    uint64_t want = bdp * gain[c->bbr.round % 8] / 8 + in(rate, SLACK) + extra_of(c) + MIN_CWND;
    if (c->bbr.probe_until)
        want = bdp / 2 + MIN_CWND;
    else if (!c->bbr.filled)
        want = start_up(c, acked, 2 * bdp + in(rate, SLACK) + extra_of(c) + FIRST_CWND);
    c->cwnd = (uint32_t)(want < PQ_KCP_WND_MAX ? want : PQ_KCP_WND_MAX);
}

static void bbr_acked(struct pq_cc *c, const struct pq_cc_sample *s, pq_ns now)
{
    note_rtt(c, s->rtt, now);
    if ((int32_t)(s->prior - c->bbr.round_end) >= 0)
        new_round(c, s->delivered, s->app_limited);
    if (s->interval) {
        uint64_t rate = (uint64_t)(s->delivered - s->prior) * PQ_SEC / s->interval;
        uint64_t *slot = &c->bbr.rate[c->bbr.round % PQ_CC_ROUNDS];
        if (rate > *slot && (!s->app_limited || rate > rate_of(c)))
            *slot = rate;
    }
    note_extra(c, s->acked, rate_of(c), now);
    set_cwnd(c, s->app_limited ? 0 : s->acked);
}

static void bbr_event(struct pq_cc *c, uint32_t in_flight)
{
    (void)c; /* loss says nothing about the rate: it is what this program is for */
    (void)in_flight;
}

static const struct pq_cc_ops bbr_ops = {bbr_acked, bbr_event, bbr_event};

void pq_cc_init_bbr(struct pq_cc *c)
{
    *c = (struct pq_cc){.ops = &bbr_ops, .cwnd = FIRST_CWND};
}
