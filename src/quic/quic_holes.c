/* SPDX-License-Identifier: MIT */
/* quic_holes.c - ngtcp2 ends a connection when a stream has a thousand holes.  A queue that drops
 * every other packet for a moment, or somebody who wants to, makes as many.  So the frames of a
 * packet are looked at before ngtcp2 has them, and one that makes a hole too many is taken as if it
 * had been lost: it comes again.  The same befalls a packet that takes ids back: no peer does
 * (ngtcp2, quic-go), and ngtcp2 0.12 ends the whole program when an id is taken back twice; and one
 * with an answer to PATH_CHALLENGE from elsewhere (quic_path.c). */
#include "quic/quic_internal.h"

#include <stdlib.h>

#define HOLES_MAX 900

/* How many variable-length integers are in a frame of this type, and nothing else (RFC 9000 19). */
static int plain_frame(uint64_t type)
{
    static const int8_t n[0x20] = {
        [0x00] = 0,  [0x01] = 0,  [0x04] = 3,  [0x05] = 2,  [0x10] = 1,  [0x11] = 2,  [0x12] = 1,
        [0x13] = 1,  [0x14] = 1,  [0x15] = 2,  [0x16] = 1,  [0x17] = 1,  [0x19] = 1,  [0x1e] = 0,
        [0x02] = -1, [0x03] = -1, [0x06] = -1, [0x07] = -1, [0x08] = -1, [0x09] = -1, [0x0a] = -1,
        [0x0b] = -1, [0x0c] = -1, [0x0d] = -1, [0x0e] = -1, [0x0f] = -1, [0x18] = -1, [0x1a] = -1,
        [0x1b] = -1, [0x1c] = -1, [0x1d] = -1, [0x1f] = -1};
    return type < sizeof n ? n[type] : -1;
}

static void skip_bytes(struct pq_rd *r, uint64_t n)
{
    if (n > pq_rd_left(r))
        r->bad = true;
    else
        r->p += n;
}

/* NEW_CONNECTION_ID.  Returns false if it takes others back. */
static bool id_frame(struct pq_rd *r)
{
    quic_varint(r);
    const uint64_t taken_back = quic_varint(r);
    skip_bytes(r, (uint64_t)pq_rd_u8(r) + NGTCP2_STATELESS_RESET_TOKENLEN);
    return !taken_back;
}

/* Skips a frame of another type; what is not known ends the reading, as it does ngtcp2's. */
static void skip_frame(struct pq_rd *r, uint64_t type)
{
    int plain = plain_frame(type);
    if (type == 0x02 || type == 0x03) {
        quic_skip_ack(r, type == 0x03);
    } else if (type == 0x06) { /* CRYPTO */
        quic_varint(r);
        skip_bytes(r, quic_varint(r));
    } else if (type == 0x07 || type == 0x31) { /* NEW_TOKEN, DATAGRAM with its length */
        skip_bytes(r, quic_varint(r));
    } else if (type == 0x1c || type == 0x1d) { /* CONNECTION_CLOSE, behind which more is read */
        quic_varint(r);
        if (type == 0x1c)
            quic_varint(r);
        skip_bytes(r, quic_varint(r));
    } else if (type == 0x1a || type == 0x1b) { /* PATH_CHALLENGE, PATH_RESPONSE */
        skip_bytes(r, 8);
    } else if (plain < 0) {
        r->bad = true;
    }
    while (plain-- > 0)
        quic_varint(r);
}

/* The first hole that ends behind `at`. */
static uint32_t find(const struct pq_quic_stream *st, uint64_t at)
{
    uint32_t lo = 0, hi = st->n_holes;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (st->holes[mid].to > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static void erase(struct pq_quic_stream *st, uint32_t i, uint32_t n)
{
    if (n)
        memmove(st->holes + i, st->holes + i + n, (st->n_holes - i - n) * sizeof *st->holes);
    st->n_holes -= n;
}

/* Puts a hole at i.  Returns false if there are too many, or memory is short. */
static bool insert(struct pq_quic_stream *st, uint32_t i, uint64_t from, uint64_t to)
{
    if (st->n_holes == HOLES_MAX)
        return false;
    if (st->n_holes == st->holes_cap) {
        const uint32_t cap = st->holes_cap ? st->holes_cap * 2 : 16;
        struct quic_hole *holes = realloc(st->holes, cap * sizeof *holes);
        if (!holes)
            return false;
        st->holes = holes;
        st->holes_cap = cap;
    }
    memmove(st->holes + i + 1, st->holes + i, (st->n_holes - i) * sizeof *st->holes);
    st->holes[i] = (struct quic_hole){from, to};
    st->n_holes++;
    return true;
}

/* Bytes from .. to have come.  Returns false if they make a hole too many. */
static bool fill(struct pq_quic_stream *st, uint64_t from, uint64_t to)
{
    erase(st, 0, find(st, st->came)); /* all of these were delivered */
    st->top = st->top > st->came ? st->top : st->came;
    if (from > st->top && !insert(st, st->n_holes, st->top, from))
        return false;
    uint32_t i = find(st, from);
    if (i < st->n_holes && st->holes[i].from < from) {
        if (st->holes[i].to > to && !insert(st, i, st->holes[i].from, from))
            return false;
        if (st->holes[i].to > to)
            st->holes[i + 1].from = to;
        else if (st->holes[i].to > from)
            st->holes[i].to = from;
        i++;
    }
    uint32_t n = 0;
    while (i + n < st->n_holes && st->holes[i + n].to <= to)
        n++;
    erase(st, i, n);
    if (i < st->n_holes && st->holes[i].from < to)
        st->holes[i].from = to;
    st->top = st->top > to ? st->top : to;
    return true;
}

static bool stream_frame(struct pq_quic *q, struct pq_rd *r, uint64_t type)
{
    const int64_t id = (int64_t)quic_varint(r);
    const uint64_t at = type & 4 ? quic_varint(r) : 0;
    const uint64_t n = type & 2 ? quic_varint(r) : pq_rd_left(r);
    skip_bytes(r, n);
    struct pq_quic_stream *st = r->bad ? NULL : pq_quic_stream_by_id(q, id);
    return !st || !n || fill(st, at, at + n);
}

bool pq_quic_takes(struct pq_quic *q, struct pq_view frames)
{
    struct pq_rd r = pq_rd_init(frames.p, frames.n);
    bool ok = true;
    while (ok && pq_rd_left(&r)) {
        const uint64_t type = quic_varint(&r);
        if (type >= 0x08 && type <= 0x0f)
            ok = stream_frame(q, &r, type);
        else if (type == 0x18)
            ok = id_frame(&r);
        else if (type == 0x1b && pq_quic_is_away(q, q->from)) /* PATH_RESPONSE */
            ok = false;
        else
            skip_frame(&r, type);
    }
    return ok;
}
