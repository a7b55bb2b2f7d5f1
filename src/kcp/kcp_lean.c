/* SPDX-License-Identifier: MIT */
/* kcp_lean.c - the datagrams of our own wire [12.8]: blocks in place of segments with their 24
 * bytes, and acknowledgements that tell the numbers of transmissions, as ranges.  What is sent
 * when, what counts as lost, and what is done with the bytes is the same: kcp_in.c, kcp_out.c,
 * kcp_loss.c. */
#include "kcp/kcp_internal.h"

#include <stdlib.h>

#define BLOCK_ACK    1
#define BLOCK_DATA   2 /* and one of these bits, or both */
#define BLOCK_PAD    4 /* says nothing, and ends the datagram */
#define DATA_MORE    1 /* its length is told, since other blocks follow */
#define DATA_FRAMES  4 /* whole frames [8.10] */
#define DATA_LAST    8 /* the window is used up: nothing follows before an acknowledgement */
#define ASKS_WINDOW  1 /* flag of an acknowledgement: what is your window? */
#define NUMBERS_MIN  256
#define NUMBERS_MAX  65536 /* transmissions that are remembered */
#define EACH         8     /* arrivals are worth an acknowledgement ... */
#define PER_RTT      32    /* ... so many of which a round trip sees, unless ... */
#define URGENT       8     /* ... so many ranges wait to be told for the first time */
#define WAIT_PART    8     /* of the RTT: so long a lone arrival waits ... */
#define WAIT_MIN     PQ_MS
#define WAIT_MAX     (25 * PQ_MS) /* ... but no longer than this */
#define RTT_GUESS    (20 * PQ_MS)
#define START        64  /* arrivals, the first of a conversation, are acknowledged sooner */
#define OLD          512 /* numbers behind the newest that has arrived, or ... */
#define OLD_RTTS     4   /* ... so long after it went out, nothing more is told of one */
#define OLD_MIN      (200 * PQ_MS)
#define FAR          ((uint32_t)1 << 31)
#define SN_BITS      24
#define FIRST_WINDOW 64 /* segments that a peer takes that has told nothing yet */

/* ---- numbers of transmissions */

static bool grow_numbers(struct pq_kcp_numbers *o)
{
    if (o->cap == NUMBERS_MAX)
        return false;
    const uint32_t cap = o->cap ? o->cap * 2 : NUMBERS_MIN;
    struct pq_kcp_sent *sent = calloc(cap, sizeof *sent);
    if (!sent)
        return false;
    for (uint32_t i = o->first; i != o->next; i++)
        sent[i & (cap - 1)] = o->sent[i & (o->cap - 1)];
    free(o->sent);
    o->sent = sent;
    o->cap = cap;
    return true;
}

int pq_kcp_lean(struct pq_kcp *k, uint16_t least)
{
    if (!grow_numbers(&k->numbers))
        return PQ_ENOMEM;
    k->lean = true;
    k->rack_order = k->numbers.next - 1;
    least = least < k->conf.mtu ? least : k->conf.mtu;
    pq_mtu_init(&k->size, least, k->conf.mtu, true);
    k->mtu = least;
    k->mss = (uint16_t)(least - PQ_LEAN_HEAD);
    k->rmt_wnd = FIRST_WINDOW;
    return 0;
}

bool pq_kcp_is_lean(const struct pq_kcp *k)
{
    return k->lean;
}

uint32_t pq_lean_number(struct pq_kcp *k, uint32_t sn, pq_ns now)
{
    struct pq_kcp_numbers *o = &k->numbers;
    if (o->next - o->first == o->cap && !grow_numbers(o))
        o->first++; /* its acknowledgement would tell nothing: una does, or it goes again */
    o->sent[o->next & (o->cap - 1)] = (struct pq_kcp_sent){.sn = sn, .us = (uint32_t)(now / PQ_US)};
    o->made++;
    return o->next++;
}

struct pq_kcp_sent *pq_lean_sent(const struct pq_kcp *k, uint32_t number)
{
    return &k->numbers.sent[number & (k->numbers.cap - 1)];
}

/* How long ago it was. */
pq_ns pq_lean_age(const struct pq_kcp *k, uint32_t number, pq_ns now)
{
    return (pq_ns)((uint32_t)(now / PQ_US) - pq_lean_sent(k, number)->us) * PQ_US;
}

/* A number that has been confirmed is marked by a segment that is far off. */
static bool has_arrived(const struct pq_kcp *k, uint32_t number)
{
    return pq_lean_sent(k, number)->sn - k->snd_una + FAR / 2 >= FAR;
}

static void mark_arrived(struct pq_kcp *k, uint32_t number)
{
    pq_lean_sent(k, number)->sn ^= FAR;
}

/* The segment of a transmission, or NULL if that has been confirmed. */
static struct pq_kcp_seg *segment_of(const struct pq_kcp *k, uint32_t number)
{
    const uint32_t sn = pq_lean_sent(k, number)->sn;
    if (sn - k->snd_una >= k->snd_nxt - k->snd_una)
        return NULL;
    struct pq_kcp_seg *s = pq_kcp_seg_at(k, sn);
    return s->state == SEG_ACKED ? NULL : s;
}

/* Of what has arrived, or of which nothing more will be heard; with what became of it. */
static void forget_numbers(struct pq_kcp *k, pq_ns now)
{
    struct pq_kcp_numbers *o = &k->numbers;
    for (; o->first != o->next && !segment_of(k, o->first); o->first++) {
        const bool lost = !has_arrived(k, o->first);
        if (lost && pq_lean_age(k, o->first, now) < OLD_RTTS * k->srtt + OLD_MIN &&
            pq_sn_diff(k->rack_order, o->first) < OLD)
            return;
        if (pq_lean_sent(k, o->first)->bytes)
            pq_copies_fate(k, lost);
    }
}

/* ---- acknowledgements that came in */

void pq_lean_confirmed(struct pq_kcp *k, const struct pq_kcp_seg *s)
{
    if (k->lean && s->id - k->numbers.first < k->numbers.next - k->numbers.first &&
        !has_arrived(k, s->id))
        mark_arrived(k, s->id); /* or its number would count once more */
}

static void take_segment(struct pq_kcp *k, struct pq_kcp_seg *s, uint32_t number, pq_ns now)
{
    const bool last = s->id == number && s->state == SEG_FLIGHT;
    if (!last && !(s->copied && s->state == SEG_FLIGHT)) { /* given up too early */
        k->stats.spurious++;
        if (!s->timed_out)
            pq_kcp_raise_tolerance(k, now);
    }
    pq_kcp_on_acked(k, s, last, 0, now);
}

static void take_number(struct pq_kcp *k, uint32_t number, pq_ns now)
{
    if (has_arrived(k, number))
        return;
    struct pq_kcp_seg *s = segment_of(k, number);
    mark_arrived(k, number);
    pq_size_acked(k, number, now);
    if (s) {
        take_segment(k, s, number, now);
    } else { /* a copy: the path has carried it all the same */
        k->delivered++;
        k->sample.acked++;
    }
    if (pq_sn_diff(number, k->rack_order) > 0) { /* it has overtaken those before it */
        k->rack_order = number;
        k->rack_rtt = pq_lean_age(k, number, now);
        k->rack_sent = now - k->rack_rtt;
    }
}

/* How long the newest that is confirmed was on its way and back; 0 = that cannot be told. */
static pq_ns round_trip(const struct pq_kcp *k, const struct pq_told *t, pq_ns now)
{
    if (!t->n || !t->delay || pq_sn_diff(t->newest, k->numbers.first) < 0 ||
        has_arrived(k, t->newest))
        return 0;
    const pq_ns delay = (pq_ns)(t->delay - 1) * PQ_US, age = pq_lean_age(k, t->newest, now);
    return age > delay ? age - delay : 0;
}

/* The oldest first, so that what was overtaken is not taken for what has overtaken.  Ranges may
 * reach far below what is remembered. */
static void take_ranges(struct pq_kcp *k, const struct pq_told *t, pq_ns now)
{
    for (unsigned i = t->n; i-- > 0;) {
        const struct pq_seq_range *r = &t->r[i];
        const uint32_t first = k->numbers.first;
        if (pq_sn_diff(r->hi, first) < 0)
            continue;
        uint32_t number = r->hi - r->lo > r->hi - first ? first : r->lo;
        for (; pq_sn_diff(number, r->hi) <= 0; number++)
            take_number(k, number, now);
    }
}

/* Returns false if it is malformed, or confirms what was never sent: then nothing has changed. */
static bool take_ack(struct pq_kcp *k, uint32_t una, struct pq_rd *rd, bool regular, pq_ns now)
{
    struct pq_told t;
    const uint8_t flags = pq_rd_u8(rd);
    const uint16_t wnd = pq_rd_le16(rd);
    if (!pq_ranges_read(rd, &t) || pq_sn_diff(una, k->snd_nxt) > 0 ||
        (t.n && k->numbers.next - 1 - t.newest >= FAR / 2))
        return false;
    const pq_ns rtt = regular ? round_trip(k, &t, now) : 0;
    if (regular && pq_sn_diff(una, k->snd_una) >= 0) { /* else it is an old one */
        k->rmt_wnd = wnd;
        if (wnd)
            k->probe_at = PQ_NEVER;
    }
    if (rtt)
        pq_kcp_sample_rtt(k, rtt);
    take_ranges(k, &t, now);
    pq_kcp_take_una(k, una, now);
    forget_numbers(k, now);
    k->tell_wnd = k->tell_wnd || flags & ASKS_WINDOW;
    return true;
}

/* ---- data that came in, and when it is acknowledged */

static pq_ns round_trip_guess(const struct pq_kcp *k)
{
    return k->srtt ? k->srtt : RTT_GUESS;
}

pq_ns pq_lean_patience(const struct pq_kcp *k)
{
    if (!k->lean)
        return 0;
    return pq_ns_min(pq_ns_max(round_trip_guess(k) / WAIT_PART, WAIT_MIN), WAIT_MAX);
}

static void note_arrival(struct pq_kcp *k, uint32_t number, bool regular, bool last, pq_ns now)
{
    const enum pq_arrived a = pq_ranges_add(&k->came, number);
    if (a == PQ_ARRIVED_NEXT || a == PQ_ARRIVED_GAP)
        k->newest_at = regular ? now : 0;
    pq_copies_came(k, k->came.r[0].hi);
    pq_ns due = now + pq_lean_patience(k);
    if (++k->acks_waiting >= EACH || a != PQ_ARRIVED_NEXT || k->stats.received < START)
        due = pq_ns_min(due, k->acked_at + round_trip_guess(k) / PER_RTT);
    if (last || pq_ranges_untold(&k->came) >= URGENT)
        due = now;
    k->ack_at = pq_ns_min(k->ack_at, pq_ns_max(due, now));
}

/* The number whose low bits these are, next to what is expected. */
static uint32_t whole_sn(const struct pq_kcp *k, uint32_t low)
{
    const uint32_t up = 32 - SN_BITS;
    return k->rcv_nxt + (uint32_t)((int32_t)((low - k->rcv_nxt) << up) >> up);
}

static bool take_data(struct pq_kcp *k, uint32_t number, uint8_t kind, struct pq_rd *rd,
                      bool regular, pq_ns now)
{
    const uint8_t *low = pq_rd_bytes(rd, SN_BITS / 8);
    const size_t n = kind & DATA_MORE ? pq_rd_le16(rd) : pq_rd_left(rd);
    const uint8_t *p = pq_rd_bytes(rd, n);
    if (!low || !p || !n || n > PQ_CHUNK_BIG)
        return false;
    const uint32_t sn =
        whole_sn(k, (uint32_t)low[0] | (uint32_t)low[1] << 8 | (uint32_t)low[2] << 16);
    if (pq_kcp_take_data(k, sn, kind & DATA_FRAMES, (struct pq_view){p, n}) && !k->late)
        note_arrival(k, number, regular, kind & DATA_LAST, now);
    return true;
}

enum pq_drop pq_lean_input(struct pq_kcp *k, struct pq_view v, bool regular, pq_ns now)
{
    struct pq_rd rd = pq_rd_init(v.p, v.n);
    bool acked = false;
    while (rd.p < rd.end) {
        const uint32_t first = pq_rd_le32(&rd);
        const uint8_t kind = pq_rd_u8(&rd);
        bool good = false;
        if (kind == BLOCK_ACK && !acked) /* a second one would tell nothing, but cost as much */
            good = acked = take_ack(k, first, &rd, regular, now);
        else if ((kind & ~(DATA_MORE | DATA_FRAMES | DATA_LAST)) == BLOCK_DATA)
            good = take_data(k, first, kind, &rd, regular, now);
        else if (kind == BLOCK_PAD)
            return PQ_DROP_NONE;
        if (!good)
            return PQ_DROP_SEGMENT;
    }
    return PQ_DROP_NONE;
}

/* ---- what goes out */

/* Windows that large see acknowledgements in time anyway. */
static bool uses_up(const struct pq_kcp *k)
{
    uint32_t wnd = k->conf.snd_wnd < k->rmt_wnd ? k->conf.snd_wnd : k->rmt_wnd;
    wnd = k->cc.cwnd < wnd ? k->cc.cwnd : wnd;
    return wnd <= 2 * EACH && k->n_flight >= wnd;
}

size_t pq_lean_put_head(const struct pq_kcp *k, uint8_t *p, const struct pq_kcp_seg *s, bool more)
{
    pq_put_le32(p, s->id);
    p[4] = (uint8_t)(BLOCK_DATA | (s->framed ? DATA_FRAMES : 0) | (more ? DATA_MORE : 0) |
                     (uses_up(k) ? DATA_LAST : 0));
    pq_put_le16(p + 5, (uint16_t)s->sn);
    p[7] = (uint8_t)(s->sn >> 16);
    if (!more)
        return PQ_LEAN_HEAD;
    pq_put_le16(p + PQ_LEAN_HEAD, s->len);
    return PQ_LEAN_HEAD_MORE;
}

void pq_lean_put_pad(uint8_t *p, size_t n)
{
    memset(p, 0, n);
    p[4] = BLOCK_PAD;
}

void pq_lean_put_stale(const struct pq_kcp *k, uint8_t *p, uint32_t number)
{
    const uint32_t sn = k->snd_una - 1;
    pq_put_le32(p, number);
    p[4] = BLOCK_DATA;
    pq_put_le16(p + 5, (uint16_t)sn);
    p[7] = (uint8_t)(sn >> 16);
}

size_t pq_lean_put_ack(struct pq_kcp *k, uint8_t *p, size_t cap, pq_ns now)
{
    struct pq_wr w = pq_wr_init(p, cap);
    const pq_ns held = now - k->newest_at; /* the RTT is what is left without it */
    const uint32_t delay = k->newest_at && held < PQ_SEC ? (uint32_t)(held / PQ_US) + 1 : 0;
    pq_wr_le32(&w, k->rcv_nxt);
    pq_wr_u8(&w, BLOCK_ACK);
    pq_wr_u8(&w, k->ask_wnd ? ASKS_WINDOW : 0);
    pq_wr_le16(&w, pq_kcp_rcv_space(k));
    pq_ranges_put(&k->came, delay, &w);
    if (w.bad)
        return 0;
    k->tell_wnd = k->ask_wnd = false;
    k->acks_waiting = 0;
    k->ack_at = PQ_NEVER;
    if (pq_ranges_untold(&k->came))
        k->ack_at = now; /* one more, for the rest */
    else if (pq_ranges_repeat(&k->came))
        k->ack_at = now + pq_lean_patience(k);
    k->acked_at = now;
    return pq_wr_len(&w);
}
