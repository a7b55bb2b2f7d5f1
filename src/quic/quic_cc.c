/* SPDX-License-Identifier: MIT */
/* quic_cc.c - ngtcp2 has no place for a congestion controller of somebody else.  But its callbacks
 * for keys see each packet in plain text: `encrypt` the number of one that goes out and whether it
 * asks for an acknowledgement, `decrypt` the ACK frames.  That is all a controller needs, and
 * while ngtcp2's own window is open, what is not written does not go.
 *
 * cc/bbr.c does not slow down for losses.  On long paths this is what it is for; below SHORT_RTT
 * they come from a receiver, or a queue, that is too slow, and KCP's window of the peer, which
 * keeps that away there, has no counterpart here.  So there the packets in flight are bounded, too:
 * a quarter less when a round has lost more than the path always loses, more again when not.
 *
 * Receivers end a connection with a stream that has a thousand holes (ngtcp2, quic-go).  So no more
 * of a stream goes out behind a hole than makes some HOLES of them at the loss that is seen, and
 * before that is known, no more than could be lost in every other packet. */
#include "quic/quic_cc.h"

#include <stdlib.h>

#define RECORDS_MIN   64
#define RECORDS_MAX   65536 /* more than PQ_CC_CWND_MAX with the holes in between */
#define REMEMBERED    64    /* lost ones that may still turn out to have arrived */
#define REORDERED     3     /* later ones that have arrived: it is lost (RFC 9002 6.1.1) */
#define BURST         PQ_MS /* so much late is made up for if the pace was not what held it */
#define SHORT_RTT     (5 * PQ_MS)
#define ROUND_SAMPLE  400 /* packets that tell of the loss of a round, at least */
#define LOSS_NOTABLE  30  /* of 1024 */
#define HOLES         600
#define SPREAD_LEAST  1500
#define SPREAD_MORE   800
#define WINDOW_LEAST  16
#define GRAIN         PQ_MS        /* of timers where the path is short: ... */
#define NEAR          (8 * GRAIN)  /* ... acknowledgements wait for an eighth of the RTT */
#define OWED_MOST     4            /* packets that wait for an acknowledgement */
#define LATE_SPAN     (2 * PQ_SEC) /* what was late counts for one to two of these */
#define ACK_DELAY     (8 * PQ_US) /* of its unit (RFC 9000 18.2: 2^3 us where a peer says nothing) */
#define TAG           16          /* bytes behind the frames, of each cipher */
#define FRAME_PADDING 0x00
#define FRAME_PING    0x01
#define FRAME_ACK     0x02
#define FRAME_ACK_ECN 0x03

enum { UNKNOWN, FLIGHT, LIMBO, LOST };

void quic_cc_init(struct quic_cc *c, uint16_t size)
{
    *c = (struct quic_cc){
        .largest = -1, .most = UINT32_MAX, .known = UINT32_MAX, .spread = SPREAD_LEAST};
    pq_cc_init_bbr(&c->cc);
    pq_mtu_init(&c->mtu, QUIC_MTU_LEAST, size, false);
}

void quic_cc_fini(struct quic_cc *c)
{
    free(c->r);
    c->r = NULL;
}

uint64_t quic_varint(struct pq_rd *r)
{
    const uint8_t first = pq_rd_u8(r);
    uint64_t v = first & 0x3f;
    for (unsigned more = (1U << (first >> 6)) - 1; more; more--)
        v = v << 8 | pq_rd_u8(r);
    return v;
}

static void skip(struct pq_rd *r, uint8_t most)
{
    while (!r->bad && r->p < r->end && *r->p <= most)
        r->p++;
}

static bool at_ack(const struct pq_rd *r)
{
    return r->p < r->end && (*r->p == FRAME_ACK || *r->p == FRAME_ACK_ECN);
}

void quic_skip_ack(struct pq_rd *r, bool ecn)
{
    quic_varint(r);
    quic_varint(r);
    uint64_t numbers = quic_varint(r) * 2 + 1;
    numbers += ecn ? 3 : 0;
    while (numbers-- && !r->bad)
        quic_varint(r);
}

/* Whether a packet holds more than padding and acknowledgements (RFC 9002 2). */
static bool is_eliciting(struct pq_view v)
{
    struct pq_rd r = pq_rd_init(v.p, v.n);
    for (;;) {
        skip(&r, FRAME_PADDING);
        if (!at_ack(&r))
            return pq_rd_left(&r) > 0;
        quic_skip_ack(&r, pq_rd_u8(&r) == FRAME_ACK_ECN);
    }
}

/* ---- what was sent */

static struct quic_record *record(const struct quic_cc *c, int64_t n)
{
    return &c->r[(uint64_t)n & (c->cap - 1)];
}

/* Makes room for packet n.  Returns false if there is none: it is not followed. */
static bool make_room(struct quic_cc *c, int64_t n)
{
    uint32_t cap = c->cap ? c->cap : RECORDS_MIN;
    while (n - c->first >= cap && cap < RECORDS_MAX)
        cap *= 2;
    if (n - c->first >= cap)
        return false;
    if (cap == c->cap)
        return true;
    struct quic_record *r = calloc(cap, sizeof *r);
    if (!r)
        return false;
    for (int64_t i = c->first; i < c->next; i++)
        r[(uint64_t)i & (cap - 1)] = *record(c, i);
    free(c->r);
    c->r = r;
    c->cap = cap;
    return true;
}

int64_t quic_number_beside(int64_t next, struct pq_view head, int64_t *span)
{
    const unsigned n = (head.p[0] & 3) + 1U;
    int64_t cut = 0;
    for (unsigned i = 0; i < n; i++)
        cut = cut << 8 | head.p[head.n - n + i];
    *span = INT64_C(1) << 8 * n;
    return (next & ~(*span - 1)) | cut;
}

/* The number in the header is cut; it is the next one that ends so. */
static int64_t whole_number(const struct quic_cc *c, struct pq_view head)
{
    int64_t span;
    const int64_t pn = quic_number_beside(c->next, head, &span);
    return pn < c->next ? pn + span : pn;
}

void quic_cc_sent(struct quic_cc *c, struct pq_view head, struct pq_view frames, pq_ns now)
{
    const int64_t pn = whole_number(c, head);
    c->number_len = (head.p[0] & 3) + 1U;
    const bool eliciting = is_eliciting(frames);
    c->owed = 0;
    if (!c->flight && !c->limbo) /* nothing before it matters any more */
        c->first = c->next = eliciting ? pn : pn + 1;
    if (!eliciting && !c->flight)
        return;
    if (!make_room(c, pn)) {
        c->probes -= c->probes > 0;
        return;
    }
    for (; c->next <= pn; c->next++) /* numbers may be left out */
        record(c, c->next)->state = UNKNOWN;
    if (!eliciting)
        return;
    const uint16_t bytes = (uint16_t)(head.n + frames.n + TAG);
    pq_mtu_sent(&c->mtu, pn, bytes, c->srtt, now);
    if (!c->flight)
        c->first_sent = c->delivered_at = now;
    *record(c, pn) = (struct quic_record){.sent = now,
                                          .delivered_at = c->delivered_at,
                                          .first_sent = c->first_sent,
                                          .delivered = c->delivered,
                                          .bytes = bytes,
                                          .state = FLIGHT,
                                          .app_limited = c->app_limited};
    c->flight++;
    c->sent++;
    c->probes -= c->probes > 0;
    if (c->cc.pace) {
        if (c->held && !c->resumed && now > c->pace_at)
            pq_cc_note_late(&c->cc, now - c->pace_at);
        c->resumed = true;
        const pq_ns late = c->held ? pq_cc_late(&c->cc) : BURST;
        c->pace_at = pq_ns_max(c->pace_at + late, now) - late + PQ_SEC / c->cc.pace;
    }
}

/* ---- what has arrived */

static void was_acked(struct quic_cc *c, int64_t n, pq_ns now)
{
    struct quic_record *r = record(c, n);
    if (r->state == UNKNOWN)
        return;
    pq_mtu_acked(&c->mtu, n, r->bytes, now);
    c->acked++;
    if (r->state == LIMBO) { /* else many come at once, and seem to be what this path carries */
        c->limbo--;
        r->state = UNKNOWN;
        return;
    }
    c->flight -= r->state == FLIGHT;
    c->delivered++;
    c->delivered_at = now;
    c->sample.acked++;
    if (n > c->largest) {
        c->sample.prior = r->delivered;
        c->sample.interval = pq_ns_max(now - r->delivered_at, r->sent - r->first_sent);
        c->sample.app_limited = r->app_limited;
        c->first_sent = r->sent;
    }
    r->state = UNKNOWN;
}

static void note_late(struct quic_cc *c, pq_ns late, pq_ns now)
{
    if (now >= c->late_since + LATE_SPAN) {
        c->late[1] = now < c->late_since + 2 * LATE_SPAN ? c->late[0] : 0;
        c->late[0] = 0;
        c->late_since = now;
    }
    c->late[0] = pq_ns_max(c->late[0], late);
}

pq_ns quic_cc_late(const struct quic_cc *c, pq_ns now)
{
    return now < c->late_since + 2 * LATE_SPAN ? pq_ns_max(c->late[0], c->late[1]) : 0;
}

/* Packet n is the largest that is acknowledged now, after `waited`. */
static void note_rtt(struct quic_cc *c, int64_t n, pq_ns waited, pq_ns now)
{
    const struct quic_record *r = record(c, n);
    if (n <= c->largest || r->state == UNKNOWN || r->state == LIMBO)
        return;
    const pq_ns rtt = now > r->sent ? now - r->sent : 1;
    c->sample.rtt = c->latest = rtt;
    c->min_rtt = c->min_rtt ? pq_ns_min(c->min_rtt, rtt) : rtt;
    note_late(c, rtt - c->min_rtt > waited ? rtt - c->min_rtt - waited : 0, now);
    c->srtt = c->srtt ? c->srtt - c->srtt / 8 + rtt / 8 : rtt;
}

/* Those before the largest which are overdue (RFC 9002 6.1). */
static void find_lost(struct quic_cc *c, pq_ns now)
{
    const pq_ns late = pq_ns_max(c->latest, c->srtt) * 9 / 8;
    int64_t i = c->first;
    for (; i <= c->largest; i++) {
        struct quic_record *r = record(c, i);
        if (r->state != FLIGHT && r->state != LIMBO)
            continue;
        if (c->largest - i < REORDERED && now < r->sent + late)
            break;
        c->flight -= r->state == FLIGHT;
        c->limbo -= r->state == LIMBO;
        if (!pq_mtu_is_probe(&c->mtu, i)) {
            c->lost++;
            c->sample.lost += r->state == FLIGHT;
        }
        pq_mtu_lost(&c->mtu, i, r->bytes, now);
        r->state = LOST;
    }
    if (i - REMEMBERED > c->first)
        c->first = i - REMEMBERED;
}

/* An ACK frame (RFC 9000 19.3), of numbers that were sent. */
static void take_ack(struct quic_cc *c, struct pq_rd *r, pq_ns now)
{
    pq_rd_u8(r);
    const uint64_t top = quic_varint(r);
    const uint64_t delay = quic_varint(r); /* it is part of the path */
    uint64_t more = quic_varint(r), len = quic_varint(r);
    if (r->bad || top >= (uint64_t)c->next || (int64_t)top < c->first)
        return;
    int64_t hi = (int64_t)top;
    note_rtt(c, hi, delay < PQ_SEC / ACK_DELAY ? delay * ACK_DELAY : PQ_SEC, now);
    for (;;) {
        const int64_t lo = len < (uint64_t)(hi - c->first) ? hi - (int64_t)len : c->first;
        for (int64_t i = hi; i >= lo; i--)
            was_acked(c, i, now);
        const uint64_t gap = quic_varint(r) + 2;
        len = quic_varint(r);
        if (!more-- || r->bad || gap > (uint64_t)(lo - c->first))
            break;
        hi = lo - (int64_t)gap;
    }
    if ((int64_t)top > c->largest)
        c->largest = (int64_t)top;
    find_lost(c, now);
}

void quic_cc_received(struct quic_cc *c, struct pq_view frames, pq_ns now)
{
    struct pq_rd r = pq_rd_init(frames.p, frames.n);
    skip(&r, FRAME_PING);
    if (at_ack(&r)) /* it is the first in packets of ngtcp2 and of quic-go */
        take_ack(c, &r, now);
    if (!is_eliciting(frames))
        return;
    c->ack_due = true;
    c->owed_since = c->owed++ ? c->owed_since : now;
}

void quic_cc_timer(struct quic_cc *c, pq_ns now)
{
    c->ack_due = true;
    if (quic_cc_next(c) == PQ_NEVER)
        c->probes = 2; /* if all was lost, only something new brings an acknowledgement */
    if (c->flight && now > c->delivered_at + c->srtt + c->srtt / 4)
        pq_mtu_timeout(&c->mtu);
}

void quic_cc_retry(struct quic_cc *c)
{
    for (int64_t i = c->first; c->flight && i < c->next; i++) {
        struct quic_record *r = record(c, i);
        if (r->state != FLIGHT)
            continue;
        r->state = LIMBO;
        c->flight--;
        c->limbo++;
    }
    c->pace_at = 0;
}

void quic_cc_new_path(struct quic_cc *c)
{
    pq_cc_new_path(&c->cc, c->delivered);
    c->srtt = c->latest = c->min_rtt = 0;
    c->late[0] = c->late[1] = 0;
    c->most = c->known = UINT32_MAX;
    c->spread = SPREAD_LEAST;
    c->rounds = 0;
    c->round_acked = c->round_lost = 0;
}

/* ---- rounds */

#define ROUNDS (sizeof(((struct quic_cc *)0)->loss) / sizeof(uint16_t))

/* What the path loses whatever is sent: the least of the last rounds. */
static unsigned usual_loss(const struct quic_cc *c)
{
    const unsigned n = c->rounds < ROUNDS ? c->rounds : ROUNDS;
    unsigned least = 1024;
    for (unsigned i = 0; i < n; i++)
        least = c->loss[i] < least ? c->loss[i] : least;
    return least;
}

static void bound_short(struct quic_cc *c, unsigned loss)
{
    const unsigned usual = usual_loss(c);
    if (c->min_rtt >= SHORT_RTT) {
        c->most = c->known = UINT32_MAX;
    } else if (loss > usual + usual / 2 + LOSS_NOTABLE) {
        c->known = c->most < c->cc.cwnd ? c->most : c->cc.cwnd;
        c->most = c->known * 3 / 4 > WINDOW_LEAST ? c->known * 3 / 4 : WINDOW_LEAST;
    } else if (c->most < c->cc.cwnd) {
        const bool close = c->most > c->known - c->known / 8;
        c->most += c->most / (close ? 64 : 8) + 1;
    }
}

static void bound_spread(struct quic_cc *c, unsigned loss)
{
    const uint32_t holds = HOLES * 1024 / (loss + 1);
    c->spread += SPREAD_MORE;
    if (c->spread > holds)
        c->spread = holds > SPREAD_LEAST ? holds : SPREAD_LEAST;
    if (c->spread > PQ_CC_CWND_MAX)
        c->spread = PQ_CC_CWND_MAX;
}

static void note_round(struct quic_cc *c)
{
    c->round_acked += c->sample.acked;
    c->round_lost += c->sample.lost;
    const uint32_t all = c->round_acked + c->round_lost;
    if ((int32_t)(c->delivered - c->round_end) < 0)
        return;
    if (all >= ROUND_SAMPLE) {
        const unsigned loss = (unsigned)((uint64_t)c->round_lost * 1024 / all);
        c->loss[c->rounds++ % ROUNDS] = (uint16_t)loss;
        bound_short(c, loss);
        bound_spread(c, loss);
        c->round_acked = c->round_lost = 0;
    }
    c->round_end = c->delivered + c->flight;
}

static uint32_t window(const struct quic_cc *c)
{
    return c->most < c->cc.cwnd ? c->most : c->cc.cwnd;
}

/* ---- what may go */

void quic_cc_report(struct quic_cc *c, pq_ns now)
{
    if (!c->sample.acked)
        return;
    if (c->app_limited && (int32_t)(c->delivered - c->limited_until) >= 0)
        c->app_limited = false;
    c->sample.delivered = c->delivered;
    c->sample.in_flight = c->flight;
    c->cc.ops->acked(&c->cc, &c->sample, now);
    note_round(c);
    c->sample = (struct pq_cc_sample){0};
}

bool quic_cc_may_send(const struct quic_cc *c, pq_ns now)
{
    if (c->probes)
        return true;
    return c->flight < window(c) && c->next - c->first < RECORDS_MAX &&
           (!c->cc.pace || now >= c->pace_at);
}

pq_ns quic_cc_next(const struct quic_cc *c)
{
    return c->flight < window(c) ? c->pace_at : PQ_NEVER;
}

void quic_cc_stopped(struct quic_cc *c, pq_ns now)
{
    c->held = c->flight < window(c) && c->cc.pace && now < c->pace_at;
    c->resumed = false;
    if (!quic_cc_may_send(c, now))
        return;
    c->app_limited = true;
    c->limited_until = c->delivered + c->flight + 1;
}

bool quic_cc_is_near(const struct quic_cc *c)
{
    return c->srtt && c->srtt < NEAR;
}

pq_ns quic_cc_grain(pq_ns at)
{
    return at == PQ_NEVER ? at : (at + GRAIN - 1) / GRAIN * GRAIN;
}

bool quic_cc_ack_waits(const struct quic_cc *c, pq_ns now)
{
    return quic_cc_is_near(c) && !c->probes && c->owed && c->owed < OWED_MOST &&
           now < quic_cc_grain(c->owed_since);
}

pq_ns quic_cc_waits_since(const struct quic_cc *c)
{
    for (int64_t i = c->first; c->flight && i < c->next; i++)
        if (record(c, i)->state == FLIGHT)
            return record(c, i)->sent;
    return 0;
}
