/* SPDX-License-Identifier: MIT */
/* fill.c - what was lost goes again under its numbers, as who watches a TCP connection expects
 * [12.9].  To the session it is lost all the same: KCP sends what was in it in datagrams of their
 * own.  Which ones, and how many, is in wire/fills.c. */
#include "tunnel/tunnel_internal.h"

#define QUIET      (30 * PQ_SEC) /* nothing is kept if the peer has told of no hole for ... */
#define QUIET_SENT ((uint64_t)16 << 20) /* ... so long, in which more bytes than that were sent */
#define TRIM       PQ_SEC

void pq_fill_told(struct pq_session *s, const struct pq_segment *seg, pq_ns now)
{
    struct pq_gap gaps[PQ_SACKS_MAX];
    struct pq_filling *f = &s->filling;
    if (!seg->n_sacks || s->flow.look != PQ_LOOK_CONNECT)
        return;
    const unsigned n = pq_connect_lacks(&s->flow, seg, gaps);
    if (!n)
        return;
    f->sent = 0;
    f->told_at = now;
    if (!f->fills)
        return;
    pq_fills_lack(f->fills, gaps, n, (uint32_t)s->size, now, pq_kcp_srtt(s->kcp) / 4);
    pq_session_wake(s);
}

/* The path has lost nothing for long. */
static bool is_quiet(const struct pq_filling *f, pq_ns now)
{
    return f->sent > QUIET_SENT && now > f->told_at + QUIET;
}

/* Whether copies are made now. */
static bool keeps(struct pq_session *s, pq_ns now)
{
    struct pq_filling *f = &s->filling;
    if (s->flow.look != PQ_LOOK_CONNECT || s->flow.conn.plain)
        return false;
    f->told_at = f->told_at ? f->told_at : now;
    if (is_quiet(f, now)) {
        pq_fills_free(&f->fills);
        return false;
    }
    if (!f->fills)
        f->fills = pq_fills_new(&s->hub->fills);
    if (f->fills && now >= f->trim_at) {
        pq_fills_trim(f->fills);
        f->trim_at = now + TRIM;
    }
    return f->fills;
}

void pq_fill_keep(struct pq_session *s, const struct pq_span *spans, size_t n, pq_ns now)
{
    if (!keeps(s, now))
        return;
    uint32_t seq = s->flow.st.seq;
    for (size_t i = 0; i < n; i++)
        seq -= (uint32_t)spans[i].n;
    for (size_t i = 0; i < n; seq += (uint32_t)spans[i++].n) {
        const struct pq_view datagram = {spans[i].p, spans[i].n};
        pq_fills_keep(s->filling.fills, s->flow.conn.una, seq, datagram);
        s->filling.sent += spans[i].n;
    }
}

size_t pq_fill_pull(struct pq_session *s, struct pq_slot *slots, size_t n, pq_ns now)
{
    size_t done = 0;
    uint32_t seq;
    while (s->filling.fills && done < n) {
        struct pq_slot *slot = &slots[done];
        slot->off = PQ_SLOT_HEAD;
        slot->len = (uint16_t)pq_fills_next(s->filling.fills, s->flow.conn.una, now,
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
    return s->filling.fills ? pq_fills_at(s->filling.fills) : PQ_NEVER;
}

void pq_fill_end(struct pq_session *s)
{
    pq_fills_free(&s->filling.fills);
    s->filling = (struct pq_filling){0};
}
