/* SPDX-License-Identifier: MIT */
#include "tunnel/parts.h"

#define SEQID      0xffffffffU /* in no FEC group [3.1] */
#define SIZE_FIELD 2
#define KEPT       PQ_SEC /* a part whose other one is lost */

void pq_parts_done(struct pq_parts *x)
{
    pq_chunkq_clear(&x->whole);
}

static void forget(struct pq_parts *x)
{
    for (unsigned i = 0; i < PQ_PARTS_WAIT; i++) {
        pq_chunk_free(x->wait[i]);
        x->wait[i] = NULL;
    }
    x->newest = 0;
}

void pq_parts_clear(struct pq_parts *x)
{
    forget(x);
    pq_parts_done(x);
    pq_chunk_free(x->rest);
    x->rest = NULL;
}

void pq_parts_tick(struct pq_parts *x, pq_ns now)
{
    if (x->newest && now > x->newest + KEPT)
        forget(x);
}

/* ---- out */

static size_t put_head(uint8_t *p, uint16_t number, uint8_t part, size_t n)
{
    pq_put_le32(p, SEQID);
    pq_put_le16(p + 4, PQ_PART_TYPE);
    pq_put_le16(p + 6, (uint16_t)(PQ_PART_HEAD - 6 + n));
    pq_put_le16(p + 8, number);
    p[10] = part;
    p[11] = 0;
    return PQ_PART_HEAD + n;
}

size_t pq_parts_cut(struct pq_parts *x, struct pq_chunks *chunks, uint8_t *p, size_t n)
{
    const size_t first = n / 2;
    x->rest = n >= (size_t)2 * PQ_PART_HEAD ? pq_chunk_copy(chunks, p + first, n - first) : NULL;
    if (!x->rest)
        return 0;
    memmove(p + PQ_PART_HEAD, p, first);
    return put_head(p, x->next, 0, first);
}

size_t pq_parts_rest(struct pq_parts *x, uint8_t *p, size_t cap)
{
    struct pq_chunk *c = x->rest;
    if (!c || PQ_PART_HEAD + c->len > cap)
        return 0;
    x->rest = NULL;
    const size_t n = put_head(p, x->next++, 1, c->len);
    memcpy(p + PQ_PART_HEAD, pq_chunk_data(c), c->len);
    pq_chunk_free(c);
    return n;
}

/* ---- in */

/* c->tag is the number of what waits, c->at which part of it. */
static bool is_other(const struct pq_chunk *c, uint16_t number, uint8_t part)
{
    return c && c->tag == number && c->at != part;
}

/* A chunk of both. */
static struct pq_chunk *join(struct pq_chunks *chunks, struct pq_view first, struct pq_view second)
{
    struct pq_chunk *c = pq_chunk_new(chunks, first.n + second.n);
    if (!c)
        return NULL;
    memcpy(pq_chunk_data(c), first.p, first.n);
    memcpy(pq_chunk_data(c) + first.n, second.p, second.n);
    c->len = (uint32_t)(first.n + second.n);
    return c;
}

enum pq_drop pq_parts_take(struct pq_parts *x, struct pq_chunks *chunks, struct pq_view inner,
                           struct pq_view *whole, pq_ns now)
{
    struct pq_rd r = pq_rd_init(inner.p, inner.n);
    *whole = (struct pq_view){inner.p, 0};
    const uint32_t seqid = pq_rd_le32(&r);
    const uint16_t type = pq_rd_le16(&r), size = pq_rd_le16(&r), number = pq_rd_le16(&r);
    const uint8_t part = pq_rd_u8(&r), none = pq_rd_u8(&r);
    const struct pq_view v = {r.p, pq_rd_left(&r)};
    if (r.bad || seqid != SEQID || type != PQ_PART_TYPE || part > 1 || none || !v.n ||
        size != PQ_PART_HEAD - 6 + v.n || v.n > PQ_PARTS_MAX)
        return PQ_DROP_OOB;
    struct pq_chunk **wait = &x->wait[number % PQ_PARTS_WAIT], *other = *wait, *c;
    const bool both = is_other(other, number, part);
    if (both && v.n + other->len > PQ_PARTS_MAX)
        return PQ_DROP_OOB;
    if (both) {
        const struct pq_view w = {pq_chunk_data(other), other->len};
        c = part ? join(chunks, w, v) : join(chunks, v, w);
    } else {
        c = pq_chunk_copy(chunks, v.p, v.n);
    }
    if (!c)
        return PQ_DROP_FULL;
    pq_chunk_free(other);
    *wait = both ? NULL : c;
    if (both) {
        pq_chunkq_push(&x->whole, c);
        *whole = (struct pq_view){pq_chunk_data(c), c->len};
    } else {
        c->tag = number;
        c->at = part;
        x->newest = now;
    }
    return PQ_DROP_NONE;
}
