/* SPDX-License-Identifier: MIT */
/* copies.c - what goes twice, since much waits for it: in another datagram, a little later, to our
 * kind only.  Others acknowledge once, so that many a segment goes again although it has arrived.
 *
 *   - a segment that was lost twice: it holds up everything behind it, and takes two losses more,
 * not one, from its third transmission on
 *   - where the path loses and nothing waits on it, to a peer that speaks 12.8: small ones
 * (keystrokes, questions, handshakes), and the last of a burst, whose loss nothing sent later would
 * show
 *
 * The latter for a twentieth of the bytes that are sent, and COPY_RATE in addition. */
#include "kcp/kcp_internal.h"

#define AFTER       2   /* losses ... */
#define AFTER_HIGH  1   /* ... or after the first, where so much is lost: ... */
#define LOSS_HIGH   900 /* ... of 1000 */
#define LOSS_MIN    5   /* per thousand: below, a copy is not worth its bytes */
#define LOSS_MUCH   40  /* from here on there are two copies ... */
#define LOSS_MOST   80  /* ... and three, ... */
#define LOSS_WORST  250 /* ... and four */
#define BACKOFF_MAX 2   /* time-outs in a row */
#define LOSS_SPAN   64  /* transmissions between two measurements */
#define SPAN        PQ_SEC
#define LATER_PART  16 /* of the RTT */
#define LATER_MIN   (5 * PQ_MS)
#define LATER_MAX   (20 * PQ_MS)
#define COPY_RATE   8000 /* bytes a second */
#define COPY_PART   20
#define CREDIT_MAX  16384
#define AROUND      100 /* bytes of headers of a datagram */

static uint32_t smooth(uint32_t before, uint64_t lost, uint64_t all)
{
    return (uint32_t)((3 * (uint64_t)before + 1000 * lost / all) / 4);
}

void pq_copies_fate(struct pq_kcp *k, bool lost)
{
    k->out_lost += lost;
    if (++k->out_all < LOSS_SPAN)
        return;
    k->loss = smooth(k->loss, k->out_lost, k->out_all);
    k->out_all = k->out_lost = 0;
}

void pq_copies_came(struct pq_kcp *k, uint32_t newest)
{
    const uint32_t sent = newest - k->in_from;
    if (++k->in_came < LOSS_SPAN)
        return;
    if (sent >= k->in_came)
        k->loss_in = smooth(k->loss_in, sent - k->in_came, sent);
    k->in_from = newest;
    k->in_came = 0;
}

static void earn(struct pq_kcp *k, size_t bytes, pq_ns now)
{
    const pq_ns idle = pq_ns_min(now - k->copy_at, 2 * PQ_SEC);
    k->copy_credit += bytes / COPY_PART + (size_t)(idle * COPY_RATE / PQ_SEC);
    k->copy_credit = k->copy_credit < CREDIT_MAX ? k->copy_credit : CREDIT_MAX;
    k->copy_at = now;
}

static void note(struct pq_kcp *k, const struct pq_kcp_seg *s, pq_ns later, pq_ns now)
{
    if (k->again_end - k->again_first < AGAIN_MAX)
        k->again[k->again_end++ % AGAIN_MAX] =
            (struct pq_kcp_again){.sn = s->sn, .id = s->id, .at = now + later};
}

/* The RTT of the path as it is now; one that has become longer is known after two spans. */
static pq_ns least_rtt(const struct pq_kcp *k)
{
    const pq_ns known = pq_cc_min_rtt(&k->cc);
    return known ? known : pq_ns_min(k->least_rtt, k->least_before);
}

static uint32_t worse_loss(const struct pq_kcp *k)
{
    return k->loss > k->loss_in ? k->loss : k->loss_in;
}

/* Losses that come now and then, as a policer's do, come again. */
static void note_path(struct pq_kcp *k, pq_ns now)
{
    const uint32_t loss = worse_loss(k);
    if (now >= k->span_at + SPAN) {
        k->least_before = k->least_rtt ? k->least_rtt : k->srtt;
        k->least_rtt = k->srtt;
        k->most_before = k->most_loss;
        k->most_loss = loss;
        k->span_at = now;
    }
    k->least_rtt = pq_ns_min(k->least_rtt, k->srtt);
    k->most_loss = loss > k->most_loss ? loss : k->most_loss;
}

bool pq_copies_pay(const struct pq_kcp *k)
{
    const pq_ns least = least_rtt(k);
    const bool queue = k->srtt > least + least / 2 + LATER_MIN;
    return k->lean && !queue && (k->most_loss >= LOSS_MIN || k->most_before >= LOSS_MIN);
}

/* Whether a copy for a fast answer is worth its bytes, which are paid then. */
static bool pays(struct pq_kcp *k, const struct pq_kcp_seg *s)
{
    const size_t cost = AROUND + (size_t)s->len;
    if (!pq_copies_pay(k) || k->copy_credit < cost)
        return false;
    k->copy_credit -= cost;
    return true;
}

static pq_ns later(const struct pq_kcp *k)
{
    const pq_ns t = pq_ns_min(pq_ns_max(k->srtt / LATER_PART, LATER_MIN), LATER_MAX);
    return pq_ns_min(t, k->srtt / 4);
}

void pq_copies_sent(struct pq_kcp *k, const struct pq_kcp_seg *s, pq_ns now)
{
    earn(k, s->len, now);
    note_path(k, now);
    const bool small = s->len <= PQ_COPY_SMALL && k->lean;
    if (!k->ours || k->backoff > (small ? BACKOFF_MAX : 0)) /* it may have fallen silent */
        return;
    if (s->xmit > (k->loss >= LOSS_HIGH ? AFTER_HIGH : AFTER))
        note(k, s, k->srtt / LATER_PART, now);
    else if (small && pays(k, s))
        note(k, s, later(k), now);
}

/* Of a small segment, so that about one in a thousand needs a round trip more. */
static unsigned copies(const struct pq_kcp *k)
{
    const uint32_t loss = worse_loss(k);
    return 1u + (loss >= LOSS_MUCH) + (loss >= LOSS_MOST) + (loss >= LOSS_WORST);
}

void pq_copies_copied(struct pq_kcp *k, const struct pq_kcp_seg *s, pq_ns now)
{
    if (s->len <= PQ_COPY_SMALL && s->copied < copies(k) && pays(k, s))
        note(k, s, later(k), now);
}

void pq_kcp_burst_over(struct pq_kcp *k, pq_ns now)
{
    if (!k->lean || pq_list_empty(&k->flight) || k->backoff)
        return;
    const struct pq_kcp_seg *s = PQ_OF(k->flight.prev, struct pq_kcp_seg, node);
    if (s->sent == now && s->xmit <= AFTER && s->len > PQ_COPY_SMALL && !s->copied && pays(k, s))
        note(k, s, later(k), now);
}
