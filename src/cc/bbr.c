/* SPDX-License-Identifier: MIT */
/* bbr.c - congestion control by a model of the path, as BBR does: what it delivers at most (the
 * largest rate of ten rounds) and how fast it is when empty (the smallest RTT of ten seconds).  In
 * flight is what fills the path, no more, so queues stay short; loss does not slow it.
 *
 *      rate = what arrived / (1 - what the path loses whatever is sent)
 *
 *      RTT of 5 ms or more:  pace = rate * gain,  cwnd = 2 * rate * min_rtt + what is late
 *                                                        + MIN_CWND
 *      less:                 no pace,             cwnd = rate * min_rtt * gain + rate * SLACK
 *                                                        + what arrives at once anyway + MIN_CWND
 *
 * The gain goes 5/4, 3/4, 1, 1, 1, 1, 1, 1, a round each: more to see whether there is more to
 * have, less to drain what that queued, for some rounds if need be.  Every ten seconds in which
 * min_rtt was not seen again, half of the path is left empty for a round trip.
 *
 * Where the RTT becomes longer from one round to the next, a sixteenth less goes for two rounds:
 * if that waits as long, and as much as before comes through, it is another path, else a queue.
 *
 * At the start the window doubles in each round until packets begin to wait or the rate no longer
 * grows (for three rounds, or one that loses much more than another did); then the queue is
 * drained. */
#include "cc/cc.h"

#define MIN_CWND      16
#define FIRST_CWND    64
#define FIRST_LIMIT   128           /* of the start while nothing is known of the rate */
#define START_PACE    3             /* times the rate so far */
#define SLACK         (500 * PQ_US) /* two machines' turns: neither runs the moment a packet comes */
#define RTT_WINDOW    (10 * PQ_SEC)
#define RATE_WINDOW   PQ_SEC /* of one of the rounds, while there is too little to send */
#define STEP_WINDOW   (300 * PQ_MS)
#define STEP_ROUNDS   2
#define STEP_PART     16  /* of the rate that is not sent in them, to see whether a queue shrinks */
#define FOUND         2   /* probes one after the other that find more: the start goes on */
#define PROBE_FULL    9   /* of 8: the gain that probes a path which is known to be full */
#define MORE_CARRIED  128 /* of that part more in a round in which nothing waits */
#define PACED_RTT     (5 * PQ_MS) /* below it the clock of the acknowledgements is good enough */
#define LATE_MIN      PQ_MS
#define LATE_MAX      (8 * PQ_MS)
/* ... and where it is late each time, twice the average of so long, each time no more than: */
#define LATE_WINDOW   (100 * PQ_MS)
#define LATE_ALWAYS   (100 * PQ_MS)
#define LOSS_SAMPLE   50  /* segments that tell of the loss of a round, at least */
#define LOSS_MAX      512 /* of 1024 */
#define LOSS_UNKNOWN  UINT16_MAX
#define LOSS_START    256         /* of 1024 more than in another round: the start went too far */
#define LOSS_FEW      6           /* segments that are lost by chance */
#define LOSS_MORE     16          /* of 1024, and half of what is lost anyway: more is our doing */
#define QUEUE_SAMPLES 8           /* all of which have waited: there is a queue ... */
#define QUEUE_MIN     (4 * PQ_MS) /* ... so long at least */
#define DRAIN_ROUNDS  4
#define EXTRA_LIMIT                                                                                \
    (100 * PQ_MS) /* acknowledgements that come at once: at most so much of the rate */

enum { /* of the gains; PHASE_START: drains what the start has queued */
       PHASE_PROBE = 0,
       PHASE_DRAIN = 1,
       PHASE_AGAIN = 4, /* a queue that has come since is drained, too */
       PHASE_START = 8,
       PHASES = 9,
};

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
    uint64_t limit =
        in(rate, c->bbr.prompt ? pq_ns_max(c->bbr.min_rtt / 4, SLACK / 4) : EXTRA_LIMIT);
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

/* Of 1024 segments in the round that ends, or LOSS_UNKNOWN: few segments tell nothing. */
static uint16_t round_loss(const struct pq_cc *c)
{
    uint32_t lost = c->bbr.round_lost, all = c->bbr.round_acked + lost;
    return (uint16_t)(all < LOSS_SAMPLE ? LOSS_UNKNOWN : (uint64_t)lost * 1024 / all);
}

/* What the path loses whatever is sent: the least of ten rounds, one of which sends less than it
 * carries; 0 as long as not all of them are known.  What a full queue or a policer drops is not in
 * it.  A round has ended: `lost` is its. */
static void note_loss(struct pq_cc *c, uint16_t lost)
{
    bool known = true;
    uint16_t min = LOSS_MAX;
    c->bbr.loss[c->bbr.round % PQ_CC_ROUNDS] = lost;
    for (int i = 0; i < PQ_CC_ROUNDS; i++) {
        known = known && c->bbr.loss[i] != LOSS_UNKNOWN;
        min = c->bbr.loss[i] < min ? c->bbr.loss[i] : min;
    }
    c->bbr.loss_known = known;
    c->bbr.path_loss = known ? min : 0;
}

/* What must be sent so that `rate` arrives. */
static uint64_t for_loss(const struct pq_cc *c, uint64_t rate)
{
    return rate * 1024 / (1024 - c->bbr.path_loss);
}

/* What must be sent so that as much as ever has arrived arrives. */
static uint64_t send_rate(const struct pq_cc *c)
{
    return for_loss(c, rate_of(c));
}

/* A policer drops what is too much at once, and nothing waits. */
static bool drops(const struct pq_cc *c)
{
    const uint32_t lost = round_loss(c), always = c->bbr.path_loss;
    const uint32_t few = LOSS_FEW * 1024 / (c->bbr.round_acked + c->bbr.round_lost + 1);
    return c->bbr.filled && c->bbr.loss_known && lost != LOSS_UNKNOWN &&
           lost > always + always / 2 + LOSS_MORE + few;
}

/* The same at the start, of which each round tells what the path loses anyway. */
static bool start_drops(struct pq_cc *c)
{
    const uint16_t lost = round_loss(c);
    if (c->bbr.filled || lost == LOSS_UNKNOWN)
        return false;
    if (lost < c->bbr.start_loss)
        c->bbr.start_loss = lost;
    return lost > c->bbr.start_loss + LOSS_START;
}

/* The time of two: on slow paths they wait for each other. */
static pq_ns two_segments(const struct pq_cc *c, uint64_t rate)
{
    return rate ? pq_ns_min(2 * PQ_SEC / rate, c->bbr.min_rtt / 32) : 0;
}

/* Whether none of the last packets came through without waiting for a part of the RTT. */
static bool waits(const struct pq_cc *c, unsigned part)
{
    pq_ns least = pq_ns_min(c->bbr.recent_rtt, c->bbr.before_rtt);
    return least != PQ_NEVER &&
           least > c->bbr.min_rtt + pq_ns_max(c->bbr.min_rtt / part, QUEUE_MIN);
}

static bool has_queue(const struct pq_cc *c)
{
    return waits(c, 8);
}

/* Two rounds of sending less than arrives have not shortened the wait: it is no queue of ours.  The
 * path itself may be so long now, or others fill it. */
static bool is_longer(const struct pq_cc *c, pq_ns before)
{
    return c->bbr.drained && has_queue(c) && c->bbr.last_rtt != PQ_NEVER && before != PQ_NEVER &&
           c->bbr.last_rtt + c->bbr.min_rtt / 16 >= before;
}

/* On short paths it is the machines that are late now and then.  Queues grow, other ways begin at
 * once; the round in which one does sees both, and the next one too if both directions have become
 * longer. */
static void note_step(struct pq_cc *c, pq_ns before)
{
    const pq_ns least = c->bbr.min_rtt + pq_ns_max(c->bbr.min_rtt / 8, QUEUE_MIN);
    const bool goes_on = c->bbr.step_round + 1 == c->bbr.round && c->bbr.last_rtt > c->bbr.step_rtt;
    if (!c->bbr.filled || c->bbr.min_rtt < PACED_RTT || c->bbr.last_rtt == PQ_NEVER ||
        (before > least && !goes_on) || c->bbr.last_rtt < c->bbr.min_rtt + c->bbr.min_rtt / 4)
        return;
    c->bbr.step_rtt = c->bbr.last_rtt;
    if (goes_on)
        return;
    c->bbr.step_round = c->bbr.round;
    c->bbr.step_full = rate_of(c);
}

/* The RTT has become longer just now: STEP_ROUNDS show what it is.  In the first, cwnd may still
 * have been that of the shorter path. */
static bool has_stepped(const struct pq_cc *c)
{
    return c->bbr.step_rtt && c->bbr.round - c->bbr.step_round <= STEP_ROUNDS;
}

/* Whether the RTT is what it became at once some rounds ago. */
static bool is_step(const struct pq_cc *c)
{
    const pq_ns off = c->bbr.last_rtt > c->bbr.step_rtt ? c->bbr.last_rtt - c->bbr.step_rtt
                                                        : c->bbr.step_rtt - c->bbr.last_rtt;
    return c->bbr.step_rtt && c->bbr.round - c->bbr.step_round <= PQ_CC_ROUNDS &&
           off <= c->bbr.min_rtt / 16;
}

/* What went out after the step, a little less than arrives, took as long, and as much as ever came
 * through: no queue does that, neither ours nor of others. */
static bool is_other_path(const struct pq_cc *c, bool app_limited)
{
    const uint64_t now = c->bbr.rate[c->bbr.rate_round % PQ_CC_ROUNDS];
    return has_stepped(c) && c->bbr.round - c->bbr.step_round == STEP_ROUNDS && !app_limited &&
           c->bbr.last_rtt <= c->bbr.step_rtt + c->bbr.min_rtt / 16 &&
           c->bbr.last_rtt + c->bbr.min_rtt / 32 >= c->bbr.step_rtt &&
           now >= c->bbr.step_full - c->bbr.step_full / 8;
}

/* While each packet waits, or more is lost than the path loses anyway, it is never empty: then it
 * carries what arrives in that time, no matter how late single acknowledgements are.  While none
 * waits it may carry more; where it dropped, only if it did not drop what probed.  Where less is in
 * flight than the path holds nothing waits there: this machine was late. */
static void note_carried(struct pq_cc *c, const struct pq_cc_sample *s, pq_ns now)
{
    const uint64_t rate = rate_of(c), least = rate - rate / 8;
    const pq_ns min = c->bbr.min_rtt, last = c->bbr.last_rtt, spent = now - c->bbr.busy_at;
    const bool waited = last != PQ_NEVER && last > min + two_segments(c, rate) + min / 32 &&
                        s->in_flight >= in(rate, min);
    const bool full = (waited || drops(c)) && !s->app_limited && !has_stepped(c);
    c->bbr.policed = c->bbr.policed && !waited;
    const bool begins = !full || spent >= PQ_CC_ROUNDS * min;
    if (has_stepped(c))
        c->bbr.carried = 0;
    else if (!full && !c->bbr.policed)
        c->bbr.carried += c->bbr.carried / MORE_CARRIED;
    else if (!full && c->bbr.round == c->bbr.probe_round + 1) /* what probed has arrived */
        c->bbr.carried += c->bbr.carried / 8;
    else if (!begins && spent >= 2 * min) {
        c->bbr.carried = (uint64_t)(s->delivered - c->bbr.busy_from) * PQ_SEC / spent;
        c->bbr.policed = !waited;
    }
    if (c->bbr.carried && c->bbr.carried < least)
        c->bbr.carried = least;
    if (begins) {
        c->bbr.busy_at = now;
        c->bbr.busy_from = s->delivered;
    }
}

/* While a start doubles what it sends a queue of ours grows: where each packet of two rounds waits
 * for as long, the path has become longer since its RTT was seen, as while there was little to
 * send.
 */
static bool starts_longer(const struct pq_cc *c, pq_ns before)
{
    const pq_ns last = c->bbr.last_rtt, part = c->bbr.min_rtt / 16;
    const pq_ns least = c->bbr.min_rtt + pq_ns_max(2 * part, QUEUE_MIN);
    return !c->bbr.filled && last != PQ_NEVER && before != PQ_NEVER && last > least &&
           before > least && last <= before + part && before <= last + part;
}

static void new_round(struct pq_cc *c, const struct pq_cc_sample *s, pq_ns now)
{
    const pq_ns before = c->bbr.last_rtt;
    c->bbr.last_rtt = c->bbr.round_rtt;
    c->bbr.round_rtt = PQ_NEVER;
    note_step(c, before);
    if (is_other_path(c, s->app_limited) || starts_longer(c, before)) {
        c->bbr.min_rtt = c->bbr.last_rtt;
        c->bbr.min_rtt_at = now;
        c->bbr.step_rtt = 0;
    }
    note_carried(c, s, now);
    if (is_longer(c, before) && !c->bbr.probe_until &&
        now > c->bbr.min_rtt_at + (is_step(c) ? STEP_WINDOW : RTT_WINDOW / 2))
        c->bbr.probe_until = now + 2 * c->bbr.last_rtt + 2 * SLACK; /* it looks */
    uint64_t rate = rate_of(c);
    c->bbr.round_end = s->delivered;
    c->bbr.round++;
    if (!s->app_limited ||
        now > c->bbr.rate_at + RATE_WINDOW) { /* else it tells nothing of the path */
        c->bbr.rate[++c->bbr.rate_round % PQ_CC_ROUNDS] = 0;
        c->bbr.rate_at = now;
    }
    c->bbr.extra[c->bbr.round % PQ_CC_ROUNDS] = 0;
    note_loss(c, round_loss(c));
    const bool overshoots = start_drops(c);
    c->bbr.feels = c->bbr.feels || drops(c);
    c->bbr.round_acked = c->bbr.round_lost = 0;
    if (c->bbr.filled || s->app_limited)
        return;
    if (rate >= c->bbr.full_rate + c->bbr.full_rate / 4) {
        c->bbr.full_rate = rate;
        c->bbr.full_rounds = 0;
    } else if (++c->bbr.full_rounds >= 3 || has_queue(c) || overshoots) {
        c->bbr.filled = true;
        c->bbr.phase = PHASE_START;
    }
}

static void note_rtt(struct pq_cc *c, pq_ns rtt, pq_ns now)
{
    if (!rtt)
        return;
    if (++c->bbr.recent > QUEUE_SAMPLES) {
        c->bbr.before_rtt = c->bbr.recent_rtt;
        c->bbr.recent_rtt = PQ_NEVER;
        c->bbr.recent = 1;
    }
    c->bbr.recent_rtt = pq_ns_min(c->bbr.recent_rtt, rtt);
    c->bbr.round_rtt = pq_ns_min(c->bbr.round_rtt, rtt);
    c->bbr.feels = c->bbr.feels || waits(c, 16);
    bool probing = c->bbr.probe_until != 0;
    bool longer = probing && now >= c->bbr.probe_until; /* the path itself has become longer */
    if (!c->bbr.min_rtt || rtt <= c->bbr.min_rtt || longer) {
        c->bbr.min_rtt = rtt;
        c->bbr.min_rtt_at = now;
        c->bbr.probe_until = 0;
    } else if (!probing && rtt <= c->bbr.min_rtt + c->bbr.min_rtt / 32) {
        c->bbr.min_rtt_at = now; /* seen again, as nearly as clocks tell */
    } else if (!probing && now > c->bbr.min_rtt_at + RTT_WINDOW) {
        c->bbr.probe_until = now + 2 * c->bbr.min_rtt + 2 * SLACK;
    }
}

/* Doubles in each round trip, but not far beyond what the path has shown to carry: its rate is that
 * of the round before, so twice as much would not be enough to double. */
static uint64_t start_up(const struct pq_cc *c, uint32_t acked, uint64_t bdp, uint64_t slack)
{
    if (has_queue(c))
        return bdp + bdp / 2 + slack;
    uint64_t want = (uint64_t)c->cwnd + acked, limit = 3 * bdp + slack;
    return want < limit ? want : limit > c->cwnd ? limit : c->cwnd;
}

/* Whether not one packet of the last round came through without waiting. */
static bool round_waited(const struct pq_cc *c)
{
    return c->bbr.last_rtt != PQ_NEVER &&
           c->bbr.last_rtt > c->bbr.min_rtt + pq_ns_max(c->bbr.min_rtt / 8, QUEUE_MIN);
}

static void restart(struct pq_cc *c)
{
    c->bbr.filled = false;
    c->bbr.full_rate = 0;
    c->bbr.full_rounds = 0;
}

/* What probed has arrived.  Whether it found more than was known, and nothing waited or was
 * dropped: it is tried again at once, and where there is still more, the start was cut short (by
 * losses, or since there was too little to send): it goes on.  Once alone may be a policer's
 * bucket. */
static bool found_more(struct pq_cc *c, uint64_t rate)
{
    if (c->bbr.round != c->bbr.probe_round + 2)
        return false;
    const bool more = rate > c->bbr.full_rate + c->bbr.full_rate / 16 && !c->bbr.feels;
    c->bbr.found = more ? c->bbr.found + 1 : 0;
    if (c->bbr.found < FOUND)
        return more;
    c->bbr.found = 0;
    restart(c);
    return false;
}

/* A round has ended: what comes next.  Queues are drained to the end, unless they do not end:
 * others fill them, or the path has become longer. */
static void next_phase(struct pq_cc *c, uint32_t in_flight)
{
    if (!c->bbr.filled)
        return;
    if (has_stepped(c)) {
        c->bbr.phase = PHASE_DRAIN + 1;
        c->bbr.drained = 0;
        return;
    }
    bool drain = c->bbr.phase == PHASE_DRAIN || c->bbr.phase == PHASE_START;
    bool queued = in_flight > in(send_rate(c), c->bbr.min_rtt + SLACK) + MIN_CWND;
    if (drain && queued && ++c->bbr.drained < DRAIN_ROUNDS)
        return;
    c->bbr.drained = 0;
    uint64_t rate = rate_of(c);
    const bool again = found_more(c, rate);
    c->bbr.phase = (uint8_t)(again   ? PHASE_PROBE
                             : drain ? PHASE_DRAIN + 1
                                     : (c->bbr.phase + 1) % PHASE_START);
    const bool may =
        c->bbr.phase == PHASE_AGAIN || c->bbr.round == c->bbr.step_round + STEP_ROUNDS + 1;
    if (!drain && may && c->bbr.min_rtt >= PACED_RTT && round_waited(c))
        c->bbr.phase = PHASE_DRAIN; /* once a cycle: others may keep the queue */
    if (c->bbr.phase == PHASE_PROBE) {
        c->bbr.full_rate = rate;
        c->bbr.probe_round = c->bbr.round;
        c->bbr.felt = c->bbr.feels;
        c->bbr.feels = false;
    }
}

/* The largest rate of ten rounds is more than the path carries, by as much as clocks err, so a
 * queue would grow between two probes: what the path was seen to carry is sent, if it is not much
 * less, and less than that while each packet of the last round waited a little.  Where they waited
 * long it is for others, or the path has become longer. */
static uint64_t paced_rate(const struct pq_cc *c, uint64_t rate, unsigned gain)
{
    const pq_ns min = c->bbr.min_rtt, last = c->bbr.last_rtt, none = min + two_segments(c, rate);
    if (gain != 8 || last == PQ_NEVER || last > none + min / 8)
        return rate * gain / 8;
    const uint64_t carried = for_loss(c, c->bbr.carried);
    const uint64_t pace = carried && carried < rate ? carried : rate;
    const pq_ns waited = last > none ? pq_ns_min(last - none, min / 16) : 0;
    return pace - pace * (waited / PQ_US) / (2 * min / PQ_US);
}

static void set_cwnd(struct pq_cc *c, uint32_t acked)
{
    static const uint8_t gain[PHASES] = {10, 6, 8, 8, 8, 8, 8, 8, 4};
    unsigned g = c->bbr.phase == PHASE_PROBE && c->bbr.felt ? PROBE_FULL : gain[c->bbr.phase];
    uint64_t rate = send_rate(c);
    uint64_t bdp = in(rate, has_stepped(c) ? c->bbr.step_rtt : c->bbr.min_rtt);
    uint64_t want = bdp * g / 8 + in(rate, SLACK) + extra_of(c) + MIN_CWND;
    bool paced = c->bbr.min_rtt >= PACED_RTT;
    c->pace = 0;
    if (paced) {
        want = bdp * 2 + in(rate, 2 * c->bbr.late) + MIN_CWND;
        c->pace = c->bbr.filled ? paced_rate(c, rate, g) + 1
                                : START_PACE * (rate + FIRST_CWND * PQ_SEC / c->bbr.min_rtt);
    }
    if (has_stepped(c))
        c->pace -= c->pace / STEP_PART;
    if (c->bbr.probe_until)
        want = bdp / 2 + MIN_CWND;
    else if (!c->bbr.filled)
        want = start_up(c, acked, bdp, in(rate, SLACK) + extra_of(c) + FIRST_LIMIT);
    c->cwnd = (uint32_t)(want < PQ_CC_CWND_MAX ? want : PQ_CC_CWND_MAX);
}

/* The path is as full as it was meant to be: nothing is to be drained any more. */
static void end_drain(struct pq_cc *c, uint32_t in_flight)
{
    if (!c->bbr.filled || (c->bbr.phase != PHASE_DRAIN && c->bbr.phase != PHASE_START))
        return;
    const uint64_t rate = send_rate(c);
    const pq_ns full = c->bbr.min_rtt + c->bbr.min_rtt / 64 + two_segments(c, rate) + SLACK;
    if (in_flight <= in(rate, full))
        c->bbr.phase = PHASE_DRAIN + 1;
}

static void bbr_acked(struct pq_cc *c, const struct pq_cc_sample *s, pq_ns now)
{
    if (c->bbr.stale && (!s->interval || (int32_t)(s->prior - c->bbr.round_end) < 0))
        return; /* what was sent over the path before tells nothing of this one */
    c->bbr.stale = false;
    note_rtt(c, s->rtt, now);
    end_drain(c, s->in_flight);
    if (s->interval && (int32_t)(s->prior - c->bbr.round_end) >= 0) {
        new_round(c, s, now);
        next_phase(c, s->in_flight);
    }
    if (s->interval) {
        uint64_t rate = (uint64_t)(s->delivered - s->prior) * PQ_SEC / s->interval;
        uint64_t *slot = &c->bbr.rate[c->bbr.rate_round % PQ_CC_ROUNDS];
        if (rate > *slot && (!s->app_limited || rate > rate_of(c)))
            *slot = rate;
    }
    c->bbr.round_acked += s->acked;
    c->bbr.round_lost += s->lost;
    note_extra(c, s->acked, rate_of(c), now);
    const bool unused = s->app_limited && 2 * (s->in_flight + s->acked + s->lost) < c->cwnd;
    set_cwnd(c, unused ? 0 : s->acked);
}

static void bbr_event(struct pq_cc *c, uint32_t in_flight)
{
    (void)c; /* loss says nothing about the rate: it is what this program is for */
    (void)in_flight;
}

static const struct pq_cc_ops bbr_ops = {bbr_acked, bbr_event, bbr_event};

pq_ns pq_cc_min_rtt(const struct pq_cc *c)
{
    return c->ops == &bbr_ops && c->bbr.filled ? c->bbr.min_rtt : 0;
}

/* Each counts for as long as it took: between two long waits there may be many that are no longer
 * than a timer is late. */
void pq_cc_note_late(struct pq_cc *c, pq_ns late)
{
    if (c->ops != &bbr_ops)
        return;
    const pq_ns took = late + (c->pace ? PQ_SEC / c->pace : PQ_MS), all = took + LATE_WINDOW;
    late = pq_ns_min(late, LATE_ALWAYS);
    c->bbr.late = (c->bbr.late * (LATE_WINDOW / PQ_US) + late * (took / PQ_US)) / (all / PQ_US);
}

/* A busy machine does not run a thread when it should; the path must not be empty for that.  Where
 * it is late each time what goes is what is measured next, so it would go slower and slower. */
pq_ns pq_cc_late(const struct pq_cc *c)
{
    const pq_ns part = pq_cc_min_rtt(c) / 16, most = part < LATE_MAX ? part : LATE_MAX;
    const pq_ns each = c->ops == &bbr_ops ? 2 * c->bbr.late : 0;
    return pq_ns_max(pq_ns_max(most, LATE_MIN), each);
}

void pq_cc_new_path(struct pq_cc *c, uint32_t delivered)
{
    const bool prompt = c->bbr.prompt;
    const pq_ns late = c->bbr.late; /* this machine is the same */
    if (c->ops != &bbr_ops)
        return;
    pq_cc_init_bbr(c);
    c->bbr.prompt = prompt;
    c->bbr.late = late;
    c->bbr.round_end = delivered;
    c->bbr.stale = true;
}

void pq_cc_init_bbr(struct pq_cc *c)
{
    *c = (struct pq_cc){.ops = &bbr_ops, .cwnd = FIRST_CWND};
    c->bbr.start_loss = LOSS_MAX;
    for (int i = 0; i < PQ_CC_ROUNDS; i++)
        c->bbr.loss[i] = LOSS_UNKNOWN;
    c->bbr.recent_rtt = c->bbr.before_rtt = c->bbr.round_rtt = c->bbr.last_rtt = PQ_NEVER;
}
