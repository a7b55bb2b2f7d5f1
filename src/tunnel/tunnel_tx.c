/* SPDX-License-Identifier: MIT */
/* tunnel_tx.c - the way of a byte from a stream to the wire, top to bottom:
 *
 *   sessions in turn -> smux frame of the next stream (only when KCP can send it) -> KCP writes
 *   the datagram into a slot -> seal all slots of the turn in place -> forge the headers
 *
 * KCP's write into the slot is the only copy.  A slot leaves room in front for every header:
 *
 *   [ link, IP, TCP ... PQ_SLOT_HEAD ][ nonce, crc ][ FEC ][ KCP segments ][ tag ] */
#include "tunnel/tunnel_internal.h"

#define STREAM_QUEUE_MAX ((size_t)4 << 20)
#define TURN_MAX         16 /* packets of one session before the next has its turn */

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

/* Writes what is between nonce and tag at p: parity of a completed group first, else the next KCP
 * datagram, behind its FEC header if it gets one: then *p moves forward over it.  Returns its
 * bytes; 0 = nothing is due. */
static size_t fill_inner(struct pq_session *s, uint8_t **p, size_t cap, pq_ns now)
{
    size_t n = pq_session_fec_parity(s, *p, cap);
    if (n)
        return n;
    feed_kcp(s, now);
    n = pq_kcp_pull(s->kcp, *p, cap, now);
    if (!n || !pq_session_fec_wants(s))
        return n;
    *p -= PQ_FEC_HEAD;
    return pq_session_fec_data(s, *p, n, now);
}

/* Writes one datagram into the slot.  Returns false if nothing is due. */
static bool fill_slot(struct pq_session *s, struct pq_slot *slot, pq_ns now)
{
    struct pq_hub *h = s->hub;
    uint8_t *p = slot->buf + PQ_SLOT_HEAD + h->fec_head + h->crypt_head;
    size_t cap = (size_t)(slot->buf + PQ_SLOT_SIZE - p) - h->crypt_tail;
    size_t n = fill_inner(s, &p, cap, now);
    if (!n)
        return false;
    slot->off = (uint16_t)(p - slot->buf - h->crypt_head);
    slot->len = (uint16_t)(h->crypt_head + n + h->crypt_tail);
    h->stats.tx_packets++;
    h->stats.tx_bytes += slot->len;
    return true;
}

static size_t pull_session(struct pq_session *s, struct pq_slot *slots, size_t max, pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_span spans[TURN_MAX];
    size_t n = 0;
    while (n < max && fill_slot(s, &slots[n], now)) {
        spans[n] = (struct pq_span){slots[n].buf + slots[n].off, slots[n].len};
        n++;
    }
    pq_crypt_seal(h->crypt, spans, n, h->rng);
    for (size_t i = 0; i < n; i++)
        pq_flow_craft(&s->flow, &slots[i]);
    return n;
}

/* A stream alone must be able to fill the path. */
static size_t stream_queue(const struct pq_session *s)
{
    size_t n = pq_kcp_flight_max(s->kcp);
    return n < STREAM_QUEUE_MAX ? n : STREAM_QUEUE_MAX;
}

size_t pq_hub_pull(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now)
{
    size_t done = 0;
    while (done < n && !pq_list_empty(&h->ready)) {
        struct pq_session *s = PQ_OF(pq_list_pop(&h->ready), struct pq_session, ready);
        size_t max = n - done < TURN_MAX ? n - done : TURN_MAX;
        pq_session_resume(s);
        if (s->dead) {
            pq_session_end(s, s->dead);
            continue;
        }
        pq_smux_set_queue(s->smux, stream_queue(s));
        size_t k = pull_session(s, slots + done, max, now);
        done += k;
        if (k == max)
            pq_session_wake(s); /* it may have more: to the end of the row */
        else
            pq_heap_set(&h->timers, &s->timer,
                        pq_ns_min(pq_kcp_deadline(s->kcp, now), pq_smux_deadline(s->smux)));
    }
    return done;
}

bool pq_hub_ready(const struct pq_hub *h)
{
    return !pq_list_empty(&h->ready);
}
