/* SPDX-License-Identifier: MIT */
/* kcp_out.c - the sending half: acknowledgements, probes, lost segments, new segments, in this
 * order, into one datagram.  Decide, write, then change state. */
#include "kcp/kcp_internal.h"

#include <assert.h>

#define PROBE_FIRST (500 * PQ_MS) /* [4.5] */
#define PROBE_MAX   (120 * PQ_SEC)

struct writer {
    struct pq_kcp *k;
    uint8_t *p, *end;
    uint8_t *begin;
    size_t cap;
    pq_ns now;
};

static size_t left(const struct writer *w)
{
    return (size_t)(w->end - w->p);
}

/* Every segment carries una and wnd, and both are right at this moment [4.8]. */
static void put_header(struct writer *w, uint8_t cmd, uint32_t ts, uint32_t sn, uint32_t len)
{
    struct pq_kcp *k = w->k;
    pq_put_le32(w->p, k->conf.conv);
    w->p[4] = cmd;
    w->p[5] = 0;
    pq_put_le16(w->p + 6, pq_kcp_rcv_space(k));
    pq_put_le32(w->p + 8, ts);
    pq_put_le32(w->p + 12, sn);
    pq_put_le32(w->p + 16, k->rcv_nxt);
    pq_put_le32(w->p + 20, len);
    w->p += PQ_KCP_HDR_LEN;
}

/* ---- control segments */

/* Whether a segment of n bytes goes into what is left of the datagram. */
static bool fits(const struct writer *w, size_t n)
{
    return left(w) >= n + (w->k->lean ? PQ_LEAN_HEAD : PQ_KCP_HDR_LEN);
}

/* Once more the last out-of-order ACKs, to a peer that does not count them: where one was lost, a
 * segment that has arrived would be sent again. */
static void put_old_acks(struct writer *w)
{
    struct pq_kcp *k = w->k;
    unsigned first = k->next_old - k->n_acks; /* those of this flush have been written */
    for (unsigned i = 1; k->ours && i + k->n_acks <= OLD_ACKS && i <= first; i++) {
        const struct pq_kcp_ack *a = &k->old[(first - i) % OLD_ACKS];
        if (left(w) < PQ_KCP_HDR_LEN || pq_sn_diff(a->sn, k->rcv_nxt) < 0)
            return; /* older ones are covered by una too, or soon will be */
        put_header(w, PQ_KCP_ACK, a->ts, a->sn, 0);
    }
}

/* Out-of-order arrivals each get an ACK; of the in-order ones the last: una tells the rest [4.6].
 */
static void put_acks(struct writer *w)
{
    struct pq_kcp *k = w->k;
    unsigned i = 0;
    if (k->lean) {
        w->p += pq_lean_put_ack(k, w->p, left(w), w->now);
        return;
    }
    for (; i < k->n_acks && left(w) >= (size_t)2 * PQ_KCP_HDR_LEN; i++)
        if (pq_sn_diff(k->acks[i].sn, k->rcv_nxt) >= 0 && k->acks[i].sn != k->last_ack.sn)
            put_header(w, PQ_KCP_ACK, k->acks[i].ts, k->acks[i].sn, 0);
    if (i < k->n_acks) { /* the rest goes into the next datagram */
        k->n_acks -= i;
        memmove(k->acks, k->acks + i, k->n_acks * sizeof k->acks[0]);
        return;
    }
    if (left(w) < PQ_KCP_HDR_LEN)
        return;
    put_header(w, PQ_KCP_ACK, k->last_ack.ts, k->last_ack.sn, 0);
    put_old_acks(w);
    k->n_acks = k->acks_waiting = 0;
    k->ack_at = PQ_NEVER;
}

static void put_probes(struct writer *w)
{
    struct pq_kcp *k = w->k;
    if (k->lean && (k->tell_wnd || k->ask_wnd))
        put_acks(w);
    if (k->lean)
        return;
    if (k->tell_wnd && left(w) >= PQ_KCP_HDR_LEN) {
        put_header(w, PQ_KCP_WINS, 0, 0, 0);
        k->tell_wnd = false;
    }
    if (k->ask_wnd && left(w) >= PQ_KCP_HDR_LEN) {
        put_header(w, PQ_KCP_WASK, 0, 0, 0);
        k->ask_wnd = false;
    }
}

/* While the peer's window is 0, asks for it in growing intervals; also when nothing waits here,
 * because without room the bytes wait in the streams [4.5]. */
static void run_probe_timer(struct pq_kcp *k, pq_ns now)
{
    if (k->rmt_wnd) {
        k->probe_at = PQ_NEVER;
    } else if (k->probe_at == PQ_NEVER) {
        k->probe_wait = PROBE_FIRST;
        k->probe_at = now + k->probe_wait;
    } else if (now >= k->probe_at) {
        k->ask_wnd = true;
        k->probe_wait = pq_ns_min(k->probe_wait + k->probe_wait / 2, PROBE_MAX);
        k->probe_at = now + k->probe_wait;
    }
}

/* ---- data segments */

/* It was cut when datagrams were longer [12.11]. */
static bool is_too_long(const struct pq_kcp *k, size_t n)
{
    return k->lean && n > k->mss;
}

/* Such a segment has a datagram to itself, which goes in parts. */
static bool make_room(struct writer *w, size_t n)
{
    if (w->p != w->begin || n + PQ_LEAN_HEAD > w->cap)
        return false;
    w->end = w->begin + n + PQ_LEAN_HEAD;
    w->k->in_parts = w->k->parts && !w->k->untried && n + PQ_LEAN_HEAD > w->k->passes;
    return true;
}

/* Copies a segment's bytes out of the chunks: the one copy on the way out. */
static void copy_out(struct writer *w, const struct pq_kcp_seg *s)
{
    const struct pq_chunk *c = s->chunk;
    uint32_t off = s->off;
    for (size_t n = s->len; n; c = c->next, off = 0) {
        size_t head = s->framed && c->tag ? w->k->prefix_len : 0;
        size_t here = c->len - off < n - head ? c->len - off : n - head;
        if (head)
            w->k->prefix(w->p, c, off, here);
        memcpy(w->p + head, c->data + c->off + off, here);
        w->p += head + here;
        n -= head + here;
    }
}

static void put_data(struct writer *w, const struct pq_kcp_seg *s)
{
    const bool more = left(w) >= (size_t)PQ_LEAN_HEAD_MORE + s->len + PQ_LEAN_ACK_MIN;
    if (w->k->lean)
        w->p += pq_lean_put_head(w->k, w->p, s, more);
    else
        put_header(w, s->framed ? PQ_KCP_FRAMES : PQ_KCP_PUSH, s->id, s->sn, s->len);
    copy_out(w, s);
    if (w->k->lean && !more)
        w->end = w->p;
}

static void put_push(struct writer *w, struct pq_kcp_seg *s)
{
    struct pq_kcp *k = w->k;
    s->id = k->lean ? pq_lean_number(k, s->sn, w->now) : pq_kcp_ts(k, w->now);
    if (k->doubt && k->n_sent_ts < PROOFS_MAX)
        k->sent_ts[k->n_sent_ts++] = s->id;
    s->copied = 0;
    s->sent = w->now;
    s->state = SEG_FLIGHT;
    if (s->xmit < UINT8_MAX)
        s->xmit++;
    if (!k->n_flight) /* the path was empty: its rate is measured from here */
        k->first_sent = k->delivered_at = w->now;
    s->delivered = k->delivered;
    s->delivered_at = k->delivered_at;
    s->first_sent = k->first_sent;
    s->app_limited = k->app_limited;
    pq_list_push(&k->flight, &s->node);
    k->n_flight++;
    pq_kcp_note_paced(k, w->now);
    pq_copies_sent(k, s, w->now);
    put_data(w, s);
}

/* A copy has a number of its own, and counts as the last transmission. */
static void renumber(struct pq_kcp *k, struct pq_kcp_seg *s, pq_ns now)
{
    s->id = pq_lean_number(k, s->sn, now);
    s->sent = now;
    s->copied++;
    pq_list_remove(&s->node);
    pq_list_push(&k->flight, &s->node);
    pq_copies_copied(k, s, now);
}

/* The copy of a transmission: else nothing about the segment changes. */
static bool put_again(struct writer *w)
{
    struct pq_kcp *k = w->k;
    while (k->again_first != k->again_end) {
        const struct pq_kcp_again *a = &k->again[k->again_first % AGAIN_MAX];
        if (w->now < a->at || !pq_kcp_paced(k, w->now))
            return false;
        struct pq_kcp_seg *s = pq_sn_diff(a->sn, k->snd_una) >= 0 ? pq_kcp_seg_at(k, a->sn) : NULL;
        bool wanted = s && s->state == SEG_FLIGHT && s->id == a->id;
        if (wanted && !fits(w, s->len) && !(is_too_long(k, s->len) && make_room(w, s->len)))
            return false;
        k->again_first++;
        if (!wanted)
            continue;
        if (k->lean)
            renumber(k, s, w->now);
        put_data(w, s);
        pq_kcp_note_paced(k, w->now);
        k->stats.copies++;
        return true;
    }
    return false;
}

/* What was given up goes in parts behind what goes as it was. */
static bool put_careful(struct writer *w)
{
    struct pq_kcp *k = w->k;
    if (!k->careful)
        return false;
    const bool out = k->careful_sn - k->snd_una < k->snd_nxt - k->snd_una;
    struct pq_kcp_seg *s = out ? pq_kcp_seg_at(k, k->careful_sn) : NULL;
    if (s && s->state == SEG_LOST)
        return false; /* it has not gone again yet */
    k->careful = false;
    if (!s || s->state != SEG_FLIGHT || !make_room(w, s->len))
        return false;
    k->in_parts = true;
    renumber(k, s, w->now);
    put_data(w, s);
    k->stats.copies++;
    return true;
}

static bool put_lost(struct writer *w)
{
    struct pq_kcp *k = w->k;
    if (pq_list_empty(&k->lost) || !pq_kcp_paced(k, w->now))
        return false;
    struct pq_kcp_seg *s = PQ_OF(k->lost.next, struct pq_kcp_seg, node);
    if (!fits(w, s->len) && !(is_too_long(k, s->len) && make_room(w, s->len)))
        return false;
    pq_list_remove(&s->node);
    put_push(w, s);
    k->stats.resent++;
    return true;
}

/* Bytes on the wire of the next new segment as a stream of bytes. */
static size_t bytes_len(const struct pq_kcp *k)
{
    size_t n = k->prefix ? k->unframed : k->unsent;
    return n < k->mss ? n : k->mss;
}

/* The same for whole frames: as many chunks as fit, one at least, and of a tagged one a part. Small
 * ones are left to themselves where a copy of them is worth its bytes. */
static size_t frames_len(const struct pq_kcp *k)
{
    const bool apart = pq_copies_pay(k);
    bool small = false;
    size_t n = 0;
    uint32_t off = k->cur_off;
    for (const struct pq_chunk *c = k->cur; c; c = c->next, off = 0) {
        size_t head = c->tag ? k->prefix_len : 0, here = head + c->len - off;
        const bool other = apart && n && small != (!off && here <= PQ_COPY_SMALL);
        small = !off && here <= PQ_COPY_SMALL;
        if (other || (apart && small && n + here > PQ_COPY_SMALL))
            return n;
        if (here > k->mss - n)
            return c->tag && k->mss - n > head ? k->mss : n ? n : here;
        n += here;
    }
    return n;
}

/* Bytes of the next new segment, 0 = there is nothing to send. */
static size_t next_len(const struct pq_kcp *k)
{
    if (!k->unsent)
        return 0;
    return k->prefix && !k->unframed ? frames_len(k) : bytes_len(k);
}

/* Goes over the chunks that the segment at the front takes n bytes of on the wire. */
static void take_bytes(struct pq_kcp *k, size_t n, bool framed)
{
    while (n) {
        size_t head = framed && k->cur->tag ? k->prefix_len : 0, left = k->cur->len - k->cur_off;
        size_t here = left < n - head ? left : n - head;
        n -= head + here;
        k->unsent -= here;
        k->unframed -= framed || !k->prefix ? 0 : here;
        k->cur_off += (uint32_t)here;
        if (here == left) {
            k->cur = k->cur->next;
            k->cur_off = 0;
        }
    }
}

/* Makes the record of the next new segment of n bytes; NULL if memory is short. */
static struct pq_kcp_seg *cut_segment(struct pq_kcp *k, size_t n)
{
    assert(n); /* an empty PUSH stalls a Go reader [4.1] */
    struct pq_kcp_block **b = &k->blocks[k->snd_nxt / SEGS_PER_BLOCK & k->block_mask];
    if (!*b && !(*b = pq_pool_get(k->mem.blocks)))
        return NULL;
    struct pq_kcp_seg *s = &(*b)->seg[k->snd_nxt % SEGS_PER_BLOCK];
    *s = (struct pq_kcp_seg){.sn = k->snd_nxt,
                             .chunk = k->cur,
                             .off = k->cur_off,
                             .len = (uint16_t)n,
                             .framed = k->prefix && !k->unframed};
    k->snd_nxt++;
    take_bytes(k, n, s->framed);
    return s;
}

static bool put_new(struct writer *w)
{
    struct pq_kcp *k = w->k;
    if (!k->unsent || !pq_kcp_window(k, w->now))
        return false;
    size_t n = next_len(k);
    if (!fits(w, n) && !(is_too_long(k, n) && make_room(w, n)))
        return false; /* a whole segment in the next datagram, not a piece in this one */
    struct pq_kcp_seg *s = cut_segment(k, n);
    if (!s) {
        k->memory_at = w->now + 10 * PQ_MS;
        return false;
    }
    put_push(w, s);
    k->stats.sent++;
    return true;
}

/* Where every other datagram is to be a short one [12.11], it is one with something new. */
static bool lost_is_longer(const struct pq_kcp *k)
{
    return k->mss + PQ_LEAN_HEAD < k->mtu && !pq_list_empty(&k->lost) &&
           is_too_long(k, PQ_OF(k->lost.next, struct pq_kcp_seg, node)->len);
}

/* Whether there is something to acknowledge; what is only told once more goes by itself. */
static bool ack_waits(const struct pq_kcp *k)
{
    return k->lean ? k->acks_waiting : k->ack_at != PQ_NEVER;
}

/* Whether an acknowledgement that is not due yet fits in front of the next data segment.  In front,
 * because a peer samples the RTT only from an ACK that comes before una has told the same. */
static bool ack_fits(const struct pq_kcp *k, size_t size, pq_ns now)
{
    size_t n = 0;
    if (!pq_list_empty(&k->lost))
        n = PQ_OF(k->lost.next, struct pq_kcp_seg, node)->len;
    else if (k->unsent && pq_kcp_window(k, now))
        n = next_len(k);
    const size_t heads = k->lean ? PQ_LEAN_HEAD_MORE + PQ_LEAN_ACK_MIN : (size_t)2 * PQ_KCP_HDR_LEN;
    return ack_waits(k) && n && heads + n <= size;
}

/* Nothing more to send although it could go out, in this datagram even: what is in flight now shows
 * what there was to send, not what the path can carry. */
static void note_app_limit(struct pq_kcp *k, size_t room, pq_ns now)
{
    if (room <= PQ_KCP_HDR_LEN || k->unsent || !pq_list_empty(&k->lost) || !pq_kcp_window(k, now))
        return;
    k->app_limited = true;
    k->limited_until = k->delivered + k->n_flight + 1;
}

/* `first`: the number of the first transmission in it. */
static size_t end_datagram(const struct writer *w, uint32_t first)
{
    const size_t n = (size_t)(w->p - w->begin);
    w->k->room = left(w);
    if (w->k->lean)
        pq_size_wrote(w->k, first, w->k->in_parts ? n / 2 : n);
    return n;
}

size_t pq_kcp_pull(struct pq_kcp *k, uint8_t *dst, size_t cap, pq_ns now)
{
    pq_kcp_check_timeout(k, now);
    run_probe_timer(k, now);
    const uint16_t most = pq_size_next(k);
    const size_t size = cap < most ? cap : most;
    struct writer w = {.k = k, .p = dst, .end = dst + size, .begin = dst, .cap = cap, .now = now};
    const uint32_t first = k->numbers.next;
    k->in_parts = false;
    if (put_careful(&w))
        return end_datagram(&w, first);
    if (!k->doubt && (now >= k->ack_at || ack_fits(k, size, now)))
        put_acks(&w);
    put_probes(&w);
    while (put_again(&w) || (lost_is_longer(k) && put_new(&w)) || put_lost(&w) || put_new(&w))
        continue;
    note_app_limit(k, left(&w), now);
    /* an acknowledgement that is not due yet rides along where there is room */
    const size_t ack_min = k->lean ? PQ_LEAN_ACK_MIN : PQ_KCP_HDR_LEN;
    if (!k->doubt && w.p != dst && ack_waits(k) && left(&w) >= ack_min)
        put_acks(&w);
    if (w.p == dst) {
        k->held = !pq_kcp_paced(k, now) && k->n_flight < k->cc.cwnd;
        k->resumed = false;
    }
    return end_datagram(&w, first);
}
