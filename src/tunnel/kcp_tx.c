/* SPDX-License-Identifier: MIT */
/* kcp_tx.c - the way of a byte from a stream to the wire where KCP carries it, top to bottom:
 *
 *   a session's turn (hub.c) -> smux frame of the next stream (only when KCP can send it) -> KCP
 * writes the datagram into a slot -> seal all slots of the turn in place -> forge the headers or a
 * datagram that goes beside the stream
 *
 * KCP's write into the slot is the only copy.  A slot leaves room in front for every header:
 *
 *   [ link, IP, TCP ... PQ_SLOT_HEAD ][ nonce, crc ][ FEC ][ KCP segments ][ tag ]
 *
 * or, on our own wire [12.3], id and counter in place of nonce and crc. */
#include "tunnel/tunnel_internal.h"

#define STREAM_QUEUE_MAX ((size_t)4 << 20)
#define SHORT            64 /* bytes of a datagram that fits where no full one does any more */
#define FRAME_MS         4
#define TURN_MIN         16 /* packets of one session before the next has its turn ... */
#define TURN_MAX         48 /* ... and at most one run of a full frame */

/* Moves frames from the streams into KCP while KCP could send them at once. */
static void feed_kcp(struct pq_session *s, pq_ns now)
{
    while (pq_kcp_room(s->kcp, now)) {
        struct pq_chunk *frame = pq_smux_pull(s->smux);
        if (!frame)
            return;
        pq_kcp_send(s->kcp, frame);
    }
}

/* The next KCP datagram, behind its FEC header if it gets one: then *p moves forward over it. */
static size_t fill_kcp(struct pq_session *s, uint8_t **p, size_t cap, pq_ns now)
{
    feed_kcp(s, now);
    size_t n = pq_kcp_pull(s->kcp, *p, cap, now);
    s->in_parts = n && pq_kcp_in_parts(s->kcp);
    s->whole = n && !s->in_parts;
    if (n && !pq_kcp_backlog(s->kcp) && !pq_smux_pending(s->smux))
        pq_kcp_burst_over(s->kcp, now);
    if (n)
        n = pq_kcp_pad(s->kcp, *p, n, cap - n, s->hub->rng, now);
    if (!n || !pq_session_fec_wants(s))
        return n;
    *p -= PQ_FEC_HEAD;
    return pq_session_fec_data(s, *p, n, now);
}

/* Writes what is between nonce and tag at *p, in one piece: what is about keys [12.6] and parity of
 * a completed group first, else datagrams beside the stream and those of KCP in turn, but none
 * after the FIN of its stream.  Returns its bytes; 0 = nothing is due. */
static size_t fill_whole(struct pq_session *s, uint8_t **p, size_t cap, pq_ns now)
{
    s->in_parts = s->whole = false;
    size_t n = s->sec ? pq_secure_control_fill(s, *p, cap, now) : 0;
    if (!n)
        n = pq_session_fec_parity(s, *p, cap);
    if (n)
        return n;
    if ((s->dgram_turn || s->dgram_first) && (n = pq_session_dgram(s, *p, cap))) {
        s->dgram_turn = false;
        return n;
    }
    s->dgram_turn = true;
    n = fill_kcp(s, p, cap, now);
    return n ? n : pq_session_dgram(s, *p, cap);
}

/* Longer than what the path carries, and the peer takes it in parts [12.11].  Of its own KCP knows
 * more. */
static bool is_too_long(const struct pq_session *s, size_t n)
{
    return s->in_parts || (!s->whole && pq_kcp_parts(s->kcp) &&
                           n > (size_t)pq_kcp_size(s->kcp) + s->hub->fec_head);
}

/* The same, or a part of it; or, before all else, the other part of what went last, or what asks
 * how much the path carries. */
static size_t fill_inner(struct pq_session *s, uint8_t **p, size_t cap, pq_ns now)
{
    size_t n = pq_parts_rest(&s->parts, *p, cap);
    if (!n)
        n = pq_kcp_probe(s->kcp, *p, cap, s->hub->fec_head, now);
    if (n)
        return n;
    n = fill_whole(s, p, cap, now);
    return is_too_long(s, n) ? pq_parts_cut(&s->parts, &s->share->chunks, *p, n) : n;
}

/* Writes one datagram into the slot.  Returns false if nothing is due. */
static bool fill_slot(struct pq_session *s, struct pq_slot *slot, pq_ns now)
{
    struct pq_hub *h = s->hub;
    const size_t head = s->sec ? PQ_SEAL_HEAD : h->crypt_head;
    const size_t tail = s->sec ? PQ_SEAL_TAIL : h->crypt_tail;
    uint8_t *p = slot->buf + PQ_SLOT_HEAD + h->fec_head + head;
    size_t cap = (size_t)(slot->buf + PQ_SLOT_SIZE - p) - tail;
    const size_t around =
        head + (s->fec_tx ? h->fec_head : 0) + tail + s->flow.ip_len + pq_flow_tcp_len(&s->flow);
    if (s->half && s->credit < cap + around)
        cap = s->credit > around ? s->credit - around : 0;
    size_t n = fill_inner(s, &p, cap, now);
    if (!n)
        return false;
    slot->off = (uint16_t)(p - slot->buf - (ptrdiff_t)head);
    slot->len = (uint16_t)(head + n + tail);
    if (s->half)
        s->credit -= around + n > s->credit ? s->credit : around + n;
    h->stats.tx_packets++;
    h->stats.tx_bytes += slot->len;
    return true;
}

/* The client's next handshake message, which is sealed already [12.2].  Returns false if none is
 * due. */
static bool fill_ask(struct pq_session *s, struct pq_slot *slot, pq_ns now)
{
    slot->off = PQ_SLOT_HEAD;
    size_t most = s->size;
    if (s->flow.look == PQ_LOOK_CONNECT && most >= PQ_OWN_MTU_MIN + PQ_LEAD_MAX)
        most -= PQ_LEAD_MAX;
    slot->len = (uint16_t)pq_ask_fill(s, slot->buf + slot->off, most, now);
    if (!slot->len)
        return false;
    s->hub->stats.tx_packets++;
    s->hub->stats.tx_bytes += slot->len;
    return true;
}

/* Whether these use the connection's window up, but for a short one. */
static bool use_up(const struct pq_session *s, const struct pq_span *spans, size_t n)
{
    size_t room = pq_connect_room(&s->flow);
    for (size_t i = 0; i < n; i++)
        room -= spans[i].n < room ? spans[i].n : room;
    return s->flow.look == PQ_LOOK_CONNECT && s->sec && room < s->size && room >= SHORT;
}

/* What goes last before nothing more may is short: so it comes even if all before it have become
 * too long, and what is acknowledged of it opens the window again [12.11]. */
static bool fill_short(struct pq_session *s, struct pq_slot *slot, pq_ns now)
{
    slot->off = PQ_SLOT_HEAD;
    const size_t n =
        pq_kcp_ask(s->kcp, slot->buf + PQ_SLOT_HEAD + PQ_SEAL_HEAD, SHORT - PQ_SEAL_TAIL, now);
    slot->len = (uint16_t)(PQ_SEAL_HEAD + n + PQ_SEAL_TAIL);
    s->hub->stats.tx_packets += n > 0;
    s->hub->stats.tx_bytes += n ? slot->len : 0;
    return n;
}

/* At most `max` that are as long as may be, and `cap` in all. */
static size_t pull_data(struct pq_session *s, struct pq_slot *slots, size_t max, size_t cap,
                        pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_span spans[TURN_MAX];
    size_t n = 0;
    if (s->ask && !s->sec && fill_ask(s, &slots[0], now)) {
        pq_session_forge(s, slots, 1, false, now);
        return 1;
    }
    if (s->by_keys && !s->sec)
        return 0;
    while ((n < max && fill_slot(s, &slots[n], now)) ||
           (n == max && n < cap && use_up(s, spans, n) && fill_short(s, &slots[n], now))) {
        spans[n] = (struct pq_span){slots[n].buf + slots[n].off, slots[n].len};
        s->wire_out += slots[n++].len + s->flow.ip_len + pq_flow_tcp_len(&s->flow);
    }
    if (s->sec)
        pq_secure_seal(s, spans, n);
    else
        pq_crypt_seal(h->ring[s->ring].crypt, spans, n, h->rng);
    pq_session_forge(s, slots, n, n >= max, now);
    if (n)
        pq_connect_keep(s, &spans[n - 1], now);
    pq_fill_keep(s, spans, n, now);
    return n;
}

/* A connection begins with its handshake, sends no more than the peer allows (but may ask to go on
 * elsewhere), and acknowledges without data where there is none [12.9]. */
static size_t pull(struct pq_session *s, struct pq_slot *slots, size_t max, pq_ns now)
{
    size_t n = pq_connect_head(s, &s->flow, slots, now);
    if (max > n && s->path && pq_move_fill(s, slots + n, now))
        return n + 1;
    if (max > n && s->measure && pq_measure_fill(s, slots + n, now)) {
        pq_session_wake(s); /* there may be another one */
        return n + 1;
    }
    n += pq_connect_show(s, slots + n, max - n, now);
    n += pq_fill_pull(s, slots + n, max - n, now);
    const size_t may = s->flow.look == PQ_LOOK_CONNECT ? pq_connect_packets(s) : max;
    if (max > n && may)
        n += pull_data(s, slots + n, may < max - n ? may : max - n, max - n, now);
    if (!n)
        n = pq_connect_tail(s, slots, now);
    return n;
}

/* On a fast path a turn is one run; a slower one gets no longer bursts than its millisecond. */
size_t pq_kcp_session_turn(const struct pq_session *s)
{
    uint32_t n = pq_kcp_per_ms(s->kcp);
    return n < TURN_MIN ? TURN_MIN : n < TURN_MAX ? n : TURN_MAX;
}

/* A stream alone must be able to fill the path. */
static size_t stream_queue(const struct pq_session *s)
{
    size_t n = pq_kcp_flight_max(s->kcp);
    return n < STREAM_QUEUE_MAX ? n : STREAM_QUEUE_MAX;
}

/* On a slow path a stream has no more in its turn than goes in some milliseconds. */
static uint32_t frame_max(const struct pq_session *s)
{
    const uint32_t n = FRAME_MS * pq_kcp_per_ms(s->kcp) * (uint32_t)pq_kcp_mss(s->kcp);
    return n < PQ_CHUNK_BIG ? n : UINT32_MAX;
}

size_t pq_kcp_session_pull(struct pq_session *s, struct pq_slot *slots, size_t max, pq_ns now)
{
    if (s->sec)
        pq_move_tick(s, now);
    pq_measure_tick(s, now);
    pq_smux_set_queue(s->smux, stream_queue(s), frame_max(s));
    pq_smux_clock(s->smux, now, pq_kcp_srtt(s->kcp));
    return pull(s, slots, max, now);
}

/* When to try again.  What is due and did not go out, since a half-open session may answer with no
 * more bytes than it got, waits until it hears more. */
pq_ns pq_kcp_session_deadline(struct pq_session *s, pq_ns now)
{
    const bool waits = s->by_keys && !s->sec;
    const bool may = pq_connect_packets(s) > 0;
    pq_ns kcp = waits || !may ? PQ_NEVER : pq_kcp_deadline(s->kcp, now);
    pq_ns other = pq_ns_min(pq_smux_deadline(s->smux), pq_connect_wait(s, now));
    other = pq_ns_min(other, pq_measure_deadline(s, now));
    other = pq_ns_min(other, pq_fill_at(s));
    if (may)
        other = pq_ns_min(other, pq_secure_deadline(s));
    else if (s->sec)
        other = pq_ns_min(other, pq_move_deadline(s));
    other = pq_ns_min(other, pq_move_unanswered_at(s));
    if (s->half)
        other = pq_ns_min(other, s->opened + PQ_HALF_WAIT);
    return s->half && kcp <= now ? other : pq_ns_min(kcp, other);
}
