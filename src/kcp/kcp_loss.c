/* SPDX-License-Identifier: MIT */
/* kcp_loss.c - RTT, RTO and the decision that a segment is lost.
 *
 * A segment counts as lost when a later transmission has arrived and either
 *   - `resend` newer segments have arrived and no reordering was ever seen on this path, or
 *   - it is overdue: RTT of the newest arrival + reorder_mult/4 of the RTT have passed (RACK),
 * or when its RTO ran out (then it alone goes again, as a probe: its ACK tells about the rest). */
#include "kcp/kcp_internal.h"

#define RTO_MAX       (10 * PQ_SEC)
#define REORDER_LIMIT 4 /* quarters: at most one round trip of tolerance ... */
#define REORDER_KEEP  4 /* ... for so many recoveries after it was last too little */

void pq_kcp_sample_rtt(struct pq_kcp *k, pq_ns rtt)
{
    k->sample.rtt = rtt;
    if (!k->srtt) {
        k->srtt = rtt;
        k->rttvar = rtt / 2;
    } else {
        pq_ns d = rtt > k->srtt ? rtt - k->srtt : k->srtt - rtt;
        k->rttvar = k->rttvar - k->rttvar / 4 + d / 4;
        k->srtt = k->srtt - k->srtt / 8 + rtt / 8;
    }
    if (!k->min_rtt || rtt < k->min_rtt)
        k->min_rtt = rtt;
    pq_ns min_rto = k->conf.nodelay ? 30 * PQ_MS : 100 * PQ_MS;
    pq_ns rto = k->srtt + pq_ns_max(k->conf.interval, 4 * k->rttvar) + pq_lean_patience(k);
    k->rto = pq_ns_min(pq_ns_max(rto, min_rto), RTO_MAX);
}

void pq_kcp_raise_tolerance(struct pq_kcp *k, pq_ns now)
{
    k->reorder_seen = true;
    k->reorder_keep = REORDER_KEEP;
    if (k->reorder_mult < REORDER_LIMIT && now >= k->reorder_raised + k->srtt) {
        k->reorder_mult++; /* once in a round trip at most */
        k->reorder_raised = now;
    }
}

void pq_kcp_on_acked(struct pq_kcp *k, struct pq_kcp_seg *s, bool last, pq_ns rtt, pq_ns now)
{
    if (s->state == SEG_FLIGHT)
        k->n_flight--;
    pq_list_remove(&s->node);
    s->state = SEG_ACKED;
    k->backoff = 0;
    k->delivered++;
    k->delivered_at = now;
    k->sample.acked++;
    const int32_t ahead = pq_sn_diff(pq_kcp_order(k, s), k->rack_order);
    bool newer =
        k->lean ? ahead > 0 : s->sent > k->rack_sent || (s->sent == k->rack_sent && ahead > 0);
    if (rtt)
        pq_kcp_sample_rtt(k, rtt);
    if (last && !newer && s->xmit == 1 && ahead < 0)
        k->reorder_seen = true; /* arrived after one that was sent later */
    /* what is not known to be the last transmission may have been an earlier one */
    if (newer && (last || (s->xmit == 1 && !k->lean))) {
        k->rack_sent = s->sent;
        k->rack_order = pq_kcp_order(k, s);
        k->rack_rtt = now - s->sent;
        /* the rate at which the path delivered between this segment's sending and now; the longer
         * of the two ends' intervals, since bunched acknowledgements would show too much */
        pq_ns acked = now - s->delivered_at, sent = s->sent - s->first_sent;
        k->sample.prior = s->delivered;
        k->sample.interval = acked > sent ? acked : sent;
        k->sample.app_limited = s->app_limited;
        k->first_sent = s->sent;
    }
}

void pq_kcp_report_acks(struct pq_kcp *k, pq_ns now)
{
    if (!k->sample.acked)
        return;
    if (k->app_limited && pq_sn_diff(k->delivered, k->limited_until) >= 0)
        k->app_limited = false;
    k->sample.delivered = k->delivered;
    k->sample.in_flight = k->n_flight;
    k->cc.ops->acked(&k->cc, &k->sample, now);
    k->sample = (struct pq_cc_sample){0};
}

static void mark_lost(struct pq_kcp *k, struct pq_kcp_seg *s, pq_ns now)
{
    pq_list_remove(&s->node);
    k->n_flight--;
    s->state = SEG_LOST;
    pq_list_push(&k->lost, &s->node);
    k->sample.lost += 1U + s->copied;
    pq_size_lost(k, s->id, now);
}

void pq_kcp_detect_loss(struct pq_kcp *k, pq_ns now)
{
    k->reorder_at = PQ_NEVER;
    pq_ns tolerance = k->rack_rtt + k->srtt / 4 * k->reorder_mult;
    uint32_t lost = 0;
    while (!pq_list_empty(&k->flight)) {
        struct pq_kcp_seg *s = PQ_OF(k->flight.next, struct pq_kcp_seg, node);
        int32_t ahead = pq_sn_diff(k->rack_order, pq_kcp_order(k, s));
        if (k->lean ? ahead <= 0
                    : s->sent > k->rack_sent || (s->sent == k->rack_sent && ahead <= 0))
            break; /* nothing sent later has arrived */
        bool counted = k->conf.resend && !k->reorder_seen && (k->lean || s->xmit == 1) &&
                       ahead >= (int32_t)k->conf.resend;
        if (!counted && now < s->sent + tolerance) {
            k->reorder_at = s->sent + tolerance;
            break;
        }
        mark_lost(k, s, now);
        lost++;
    }
    pq_size_judge(k, tolerance, now);
    if (lost && now >= k->recovery_until) {
        k->recovery_until = now + k->srtt;
        if (k->reorder_keep && !--k->reorder_keep)
            k->reorder_mult = 1; /* the path does not overtake so far any more */
        k->cc.ops->lost(&k->cc, k->n_flight + lost);
    }
}

pq_ns pq_kcp_rto_at(const struct pq_kcp *k)
{
    if (pq_list_empty(&k->flight))
        return PQ_NEVER;
    const struct pq_kcp_seg *s = PQ_OF(k->flight.next, struct pq_kcp_seg, node);
    pq_ns step = k->conf.nodelay ? k->rto / 2 : k->rto;
    pq_ns at = pq_ns_max(s->sent, k->timeout_at) + pq_ns_min(k->rto + step * k->backoff, RTO_MAX);
    return k->reorder_at == PQ_NEVER ? at : pq_ns_max(at, k->reorder_at + 1); /* RACK comes first */
}

/* What a time-out gives up: what was sent longest ago.  Where that has not helped, the first that
 * the peer waits for: it may have no memory for any other. */
static struct pq_kcp_seg *most_overdue(const struct pq_kcp *k, pq_ns now)
{
    struct pq_kcp_seg *first = pq_kcp_seg_at(k, k->snd_una);
    if (k->backoff && first->state == SEG_FLIGHT && now >= first->sent + k->rto)
        return first;
    return PQ_OF(k->flight.next, struct pq_kcp_seg, node);
}

void pq_kcp_check_timeout(struct pq_kcp *k, pq_ns now)
{
    if (now >= k->reorder_at)
        pq_kcp_detect_loss(k, now);
    if (now < pq_kcp_rto_at(k))
        return;
    k->stats.timeouts++;
    k->timeout_at = now;
    k->cc.ops->timeout(&k->cc, k->n_flight);
    struct pq_kcp_seg *s = most_overdue(k, now);
    s->timed_out = true;
    mark_lost(k, s, now);
    pq_size_timeout(k, s);
    if (k->backoff < 16)
        k->backoff++;
}
