/* SPDX-License-Identifier: MIT */
/* fill.c - what was lost goes again under its numbers, as who watches a TCP connection expects
 * [12.9].  To the session it is lost all the same: KCP sends what was in it in datagrams of their
 * own.  Which ones, and how many, is in wire/fills.c. */
#include "tunnel/tunnel_internal.h"

#define KEPT (30 * PQ_SEC) /* copies are made so long after the peer has told of a hole */

void pq_fill_told(struct pq_session *s, const struct pq_segment *seg, bool sealed, pq_ns now)
{
    struct pq_gap gaps[PQ_SACKS_MAX];
    if (!seg->n_sacks || s->flow.look != PQ_LOOK_CONNECT || (!sealed && !s->fills))
        return;
    const unsigned n = pq_connect_lacks(&s->flow, seg, gaps);
    if (n && !s->fills)
        s->fills = pq_fills_new(&s->hub->fills);
    if (!n || !s->fills)
        return;
    pq_fills_lack(s->fills, gaps, n, (uint32_t)s->size, now, pq_kcp_srtt(s->kcp) / 4);
    pq_session_wake(s);
}

void pq_fill_keep(struct pq_session *s, const struct pq_span *spans, size_t n, pq_ns now)
{
    if (!s->fills)
        return;
    if (now > pq_fills_told_at(s->fills) + KEPT) {
        pq_fill_end(s);
        return;
    }
    uint32_t seq = s->flow.st.seq;
    for (size_t i = 0; i < n; i++)
        seq -= (uint32_t)spans[i].n;
    for (size_t i = 0; i < n; seq += (uint32_t)spans[i++].n)
        pq_fills_keep(s->fills, s->flow.conn.una, seq, (struct pq_view){spans[i].p, spans[i].n});
}

size_t pq_fill_pull(struct pq_session *s, struct pq_slot *slots, size_t n, pq_ns now)
{
    size_t done = 0;
    uint32_t seq;
    while (s->fills && done < n) {
        struct pq_slot *slot = &slots[done];
        slot->off = PQ_SLOT_HEAD;
        slot->len = (uint16_t)pq_fills_next(s->fills, s->flow.conn.una, now,
                                            slot->buf + PQ_SLOT_HEAD, PQ_DGRAM_MAX, &seq);
        if (!slot->len)
            break;
        s->wire_out += slot->len + (size_t)s->flow.ip_len + PQ_TCP_LEN;
        s->hub->stats.tx_bytes += slot->len;
        pq_connect_send_again(s, slot, seq, true, now);
        done++;
    }
    return done;
}

pq_ns pq_fill_at(const struct pq_session *s)
{
    return s->fills ? pq_fills_at(s->fills) : PQ_NEVER;
}

void pq_fill_end(struct pq_session *s)
{
    pq_fills_free(&s->fills);
}
