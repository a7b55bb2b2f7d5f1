/* SPDX-License-Identifier: MIT */
/* kcp_in.c - the receiving half: segments in, bytes up, acknowledgements noted [4.6]. */
#include "kcp/kcp_internal.h"

#include <stdlib.h>

#define ACK_BATCH   16 /* so many in-order segments are acknowledged at once in any mode */
#define ACK_DELAY   (10 * PQ_MS)
#define AGAIN_LIMIT 2048 /* stored segments that are looked at again for one batch */

struct header {
    uint32_t conv, ts, sn, una, len;
    uint16_t wnd;
    uint8_t cmd;
};

static void read_header(struct header *h, const uint8_t *p)
{
    h->conv = pq_le32(p);
    h->cmd = p[4]; /* p[5], frg, does not matter: a byte stream has no message borders [4.1] */
    h->wnd = pq_le16(p + 6);
    h->ts = pq_le32(p + 8);
    h->sn = pq_le32(p + 12);
    h->una = pq_le32(p + 16);
    h->len = pq_le32(p + 20);
}

/* ---- acknowledgements that came in */

/* An echo of a time stamp that was sent: no recording has it. */
static bool is_proof(const struct pq_kcp *k, uint32_t sn, uint32_t ts)
{
    for (unsigned i = 0; i < k->n_sent_ts; i++)
        if (k->sent_ts[i] == ts)
            return sn < k->snd_nxt;
    return false;
}

static void take_ack(struct pq_kcp *k, uint32_t sn, uint32_t ts, bool regular, pq_ns now)
{
    k->proven = k->proven || (k->doubt && is_proof(k, sn, ts));
    if (pq_sn_diff(sn, k->snd_una) < 0 || pq_sn_diff(sn, k->snd_nxt) >= 0)
        return;
    struct pq_kcp_seg *s = pq_kcp_seg_at(k, sn);
    if (s->state == SEG_ACKED)
        return;
    bool last_copy = ts == s->id && s->state == SEG_FLIGHT;
    if (!last_copy) { /* given up or sent again, although the first copy had arrived */
        k->stats.spurious++;
        if (!s->timed_out)
            pq_kcp_raise_tolerance(k, now);
    }
    const bool sample = regular && last_copy;
    pq_kcp_on_acked(k, s, sample, sample ? now - s->sent : 0, now);
}

/* Frees all chunks in front of the first byte that may have to be sent again. */
static void free_acked_chunks(struct pq_kcp *k)
{
    const struct pq_chunk *keep =
        k->snd_una == k->snd_nxt ? k->cur : pq_kcp_seg_at(k, k->snd_una)->chunk;
    while (k->tx.head && k->tx.head != keep)
        pq_chunk_free(pq_chunkq_pop(&k->tx));
}

void pq_kcp_take_una(struct pq_kcp *k, uint32_t una, pq_ns now)
{
    if (pq_sn_diff(una, k->snd_una) <= 0 || pq_sn_diff(una, k->snd_nxt) > 0)
        return;
    while (k->snd_una != una) {
        struct pq_kcp_seg *s = pq_kcp_seg_at(k, k->snd_una);
        if (s->state != SEG_ACKED) {
            pq_kcp_on_acked(k, s, false, 0, now);
            pq_lean_confirmed(k, s);
        }
        k->snd_una++;
        if (k->snd_una % SEGS_PER_BLOCK == 0) {
            struct pq_kcp_block **b = &k->blocks[(k->snd_una - 1) / SEGS_PER_BLOCK & k->block_mask];
            pq_pool_put(k->mem.blocks, *b);
            *b = NULL;
        }
    }
    free_acked_chunks(k);
}

/* ---- data that came in */

static int grow_ring(struct pq_kcp *k, uint32_t need)
{
    uint32_t cap = k->ring_cap ? k->ring_cap : 64;
    while (cap < need)
        cap *= 2;
    if (cap == k->ring_cap)
        return 0;
    struct pq_chunk **ring = calloc(cap, sizeof(struct pq_chunk *));
    if (!ring)
        return PQ_ENOMEM;
    for (uint32_t i = 0; i < k->ring_cap; i++) {
        uint32_t sn = k->rcv_read + i;
        ring[sn & (cap - 1)] = k->ring[sn & (k->ring_cap - 1)];
    }
    free(k->ring);
    k->ring = ring;
    k->ring_cap = cap;
    return 0;
}

enum { STORED_BYTES = 0, STORED_FRAMES, STORED_USED }; /* tags of stored segments */

/* Keeps a copy of a segment.  Returns false if memory is short: then it counts as not received. */
static bool store(struct pq_kcp *k, uint32_t sn, struct pq_view v)
{
    if (grow_ring(k, sn - k->rcv_read + 1))
        return false;
    struct pq_chunk *c = pq_chunk_copy(k->mem.chunks, v.p, v.n);
    if (!c)
        return false;
    k->ring[sn & (k->ring_cap - 1)] = c;
    return true;
}

static struct pq_chunk *stored(const struct pq_kcp *k, uint32_t sn)
{
    if (!k->ring_cap || sn - k->rcv_read >= k->ring_cap)
        return NULL;
    return k->ring[sn & (k->ring_cap - 1)];
}

/* Delivers stored segments below rcv_nxt, in order, as far as the consumer takes them. */
static void deliver_stored(struct pq_kcp *k)
{
    while (k->rcv_read != k->rcv_nxt) {
        struct pq_chunk *c = stored(k, k->rcv_read);
        if (c->len && !k->on_data(k->ctx, (struct pq_view){pq_chunk_data(c), c->len}))
            return;
        k->ring[k->rcv_read & (k->ring_cap - 1)] = NULL;
        pq_chunkq_push(&k->spent, c);
        k->rcv_read++;
    }
}

/* Moves rcv_nxt over segments that are there already. */
static void advance(struct pq_kcp *k)
{
    while (stored(k, k->rcv_nxt))
        k->rcv_nxt++;
    deliver_stored(k);
}

/* Takes the segment rcv_nxt: delivers it at once if nothing waits before it, else keeps it.
 * Returns false if memory is short: nothing changed then. */
static bool take_in_order(struct pq_kcp *k, struct pq_view v)
{
    if (k->rcv_read == k->rcv_nxt && (!v.n || k->on_data(k->ctx, v)))
        k->rcv_read++;
    else if (!store(k, k->rcv_nxt, v))
        return false;
    k->rcv_nxt++;
    return true;
}

/* ---- whole frames, which need not wait for their turn [8.10] */

static void give_frames(struct pq_kcp *k, uint32_t sn)
{
    struct pq_chunk *c = stored(k, sn);
    if (c && c->tag == STORED_FRAMES && k->on_frames &&
        k->on_frames(k->ctx, pq_chunk_data(c), c->len))
        c->tag = STORED_USED;
}

/* What has filled a hole may be what later segments waited for. */
static void note_frames(struct pq_kcp *k, uint32_t sn)
{
    if (pq_sn_diff(sn + 1, k->rcv_high) >= 0) {
        k->rcv_high = sn + 1;
        return;
    }
    if (!k->frames_again || pq_sn_diff(sn + 1, k->again_from) < 0)
        k->again_from = sn + 1;
    k->frames_again = true;
}

void pq_kcp_take_frames(struct pq_kcp *k, pq_kcp_frames_fn fn)
{
    k->on_frames = fn;
}

void pq_kcp_frames_again(struct pq_kcp *k)
{
    if (!k->frames_again)
        return;
    k->frames_again = false;
    if (pq_sn_diff(k->again_from, k->rcv_nxt) < 0)
        k->again_from = k->rcv_nxt;
    for (unsigned i = 0; i < AGAIN_LIMIT && pq_sn_diff(k->again_from, k->rcv_high) < 0; i++)
        give_frames(k, k->again_from++);
}

static void note_ack(struct pq_kcp *k, uint32_t sn, uint32_t ts, pq_ns now)
{
    bool in_order = pq_sn_diff(sn, k->rcv_nxt) < 0;
    if (!in_order && k->n_acks < ACKS_MAX)
        k->old[k->next_old++ % OLD_ACKS] = k->acks[k->n_acks++] = (struct pq_kcp_ack){sn, ts};
    k->last_ack = (struct pq_kcp_ack){sn, ts};
    k->acks_waiting++;
    pq_ns delay = pq_ns_min(k->conf.interval, ACK_DELAY);
    if (k->conf.ack_now || !in_order || k->acks_waiting >= ACK_BATCH)
        delay = 0;
    k->ack_at = pq_ns_min(k->ack_at, now + delay);
}

bool pq_kcp_take_data(struct pq_kcp *k, uint32_t sn, bool framed, struct pq_view v)
{
    int32_t ahead = pq_sn_diff(sn, k->rcv_nxt);
    if (ahead >= (int32_t)pq_kcp_rcv_space(k))
        return false; /* beyond the window: as if it had not come [4.4] */
    bool have = ahead < 0 || stored(k, sn);
    if (have) {
        k->stats.duplicate++;
    } else if (ahead == 0) {
        if (!take_in_order(k, v))
            return false;
        advance(k);
    } else if (!store(k, sn, v)) {
        return false;
    } else if (framed) {
        stored(k, sn)->tag = STORED_FRAMES;
        give_frames(k, sn);
    }
    note_frames(k, sn);
    k->stats.received += !have;
    return true;
}

/* ---- datagrams */

static void take_segment(struct pq_kcp *k, const struct header *h, struct pq_view v, bool regular,
                         pq_ns now)
{
    if (regular &&
        pq_sn_diff(h->una, k->snd_una) >= 0) { /* else it is an old one, or was replayed */
        k->rmt_wnd = h->wnd;
        if (h->wnd)
            k->probe_at = PQ_NEVER;
    }
    if (h->cmd == PQ_KCP_ACK)
        take_ack(k, h->sn, h->ts, regular, now);
    pq_kcp_take_una(k, h->una, now);
    const bool framed = h->cmd == PQ_KCP_FRAMES;
    if ((h->cmd == PQ_KCP_PUSH || framed) && pq_kcp_take_data(k, h->sn, framed, v))
        note_ack(k, h->sn, h->ts, now);
    else if (h->cmd == PQ_KCP_WASK)
        k->tell_wnd = true;
}

static enum pq_drop take_segments(struct pq_kcp *k, struct pq_view v, bool regular, pq_ns now)
{
    enum pq_drop d = v.n < PQ_KCP_HDR_LEN ? PQ_DROP_SHORT : PQ_DROP_NONE;
    while (v.n >= PQ_KCP_HDR_LEN) {
        struct header h;
        read_header(&h, v.p);
        v.p += PQ_KCP_HDR_LEN;
        v.n -= PQ_KCP_HDR_LEN;
        if (h.conv != k->conf.conv)
            d = PQ_DROP_CONV;
        else if (h.len > v.n || h.len > PQ_CHUNK_BIG || h.cmd < PQ_KCP_PUSH ||
                 h.cmd > PQ_KCP_FRAMES)
            d = PQ_DROP_SEGMENT;
        if (d)
            break;
        take_segment(k, &h, (struct pq_view){v.p, h.len}, regular, now);
        v.p += h.len;
        v.n -= h.len;
    }
    return d;
}

enum pq_drop pq_kcp_input(struct pq_kcp *k, struct pq_view v, bool regular, pq_ns now)
{
    enum pq_drop d =
        k->lean ? pq_lean_input(k, v, regular, now) : take_segments(k, v, regular, now);
    pq_kcp_report_acks(k, now);
    pq_kcp_detect_loss(k, now);
    return d;
}

enum pq_drop pq_kcp_input_again(struct pq_kcp *k, struct pq_view v, pq_ns now)
{
    k->late = true;
    const enum pq_drop d = pq_kcp_input(k, v, false, now);
    k->late = false;
    return d;
}

void pq_kcp_resume(struct pq_kcp *k)
{
    bool was_closed = pq_kcp_rcv_space(k) == 0;
    deliver_stored(k);
    if (was_closed && pq_kcp_rcv_space(k))
        k->tell_wnd = true; /* unasked, so that the peer need not probe [4.5] */
}

void pq_kcp_rx_done(struct pq_kcp *k)
{
    pq_chunkq_clear(&k->spent);
}
