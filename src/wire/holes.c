/* SPDX-License-Identifier: MIT */
#include "wire/holes.h"

#include "base/bytes.h"

#include <string.h>

static bool before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

uint32_t pq_holes_high(const struct pq_holes *h, uint32_t ack)
{
    return h->n ? h->r[h->n - 1].have.to : ack;
}

bool pq_holes_repeated(const struct pq_holes *h, uint32_t ack, uint32_t from, uint32_t ts)
{
    unsigned i = 0;
    if (before(from, ack))
        return h->given_up && before(h->given_ts, ts);
    while (i < h->n && !before(from, h->r[i].have.to))
        i++;
    return i < h->n && before(from, h->r[i].have.from) && before(h->r[i].ts, ts);
}

static void drop(struct pq_holes *h, unsigned at, unsigned n)
{
    memmove(h->r + at, h->r + at + n, (h->n - at - n) * sizeof h->r[0]);
    h->n = (uint8_t)(h->n - n);
    if (h->last >= at + n)
        h->last = (uint8_t)(h->last - n);
    else if (h->last >= at)
        h->last = (uint8_t)(h->n ? h->n - 1 : 0);
}

/* Blocks that the acknowledgement has reached are none any more. */
static uint32_t absorb(struct pq_holes *h, uint32_t ack)
{
    unsigned i = 0;
    for (; i < h->n && !before(ack, h->r[i].have.from); i++)
        if (before(ack, h->r[i].have.to))
            ack = h->r[i].have.to;
    if (i)
        drop(h, 0, i);
    return ack;
}

uint32_t pq_holes_jump(struct pq_holes *h, uint32_t ack)
{
    if (!h->n)
        return ack;
    h->given_up = true;
    h->given_ts = h->r[0].ts;
    return absorb(h, h->r[0].have.to);
}

/* Blocks from i up to j are one with b. */
static void join(struct pq_holes *h, unsigned i, unsigned j, struct pq_block b)
{
    struct pq_block *have = &h->r[i].have;
    if (before(b.from, have->from))
        have->from = b.from;
    have->to = before(b.to, h->r[j - 1].have.to) ? h->r[j - 1].have.to : b.to;
    if (j > i + 1)
        drop(h, i + 1, j - i - 1);
    h->last = (uint8_t)i;
}

uint32_t pq_holes_take(struct pq_holes *h, uint32_t ack, struct pq_block b, uint32_t ts)
{
    unsigned i = 0, j;
    if (!before(ack, b.from))
        return absorb(h, before(ack, b.to) ? b.to : ack);
    while (i < h->n && before(h->r[i].have.to, b.from))
        i++;
    for (j = i; j < h->n && !before(b.to, h->r[j].have.from);)
        j++;
    if (j > i) {
        join(h, i, j, b);
        return ack;
    }
    if (h->n == PQ_HOLES_MAX) {
        ack = pq_holes_jump(h, ack);
        return pq_holes_take(h, ack, b, ts);
    }
    memmove(h->r + i + 1, h->r + i, (h->n - i) * sizeof h->r[0]);
    h->r[i] = (struct pq_hole){.have = b, .ts = ts};
    if (i < h->n) { /* what is below it was a hole before it came */
        h->r[i].ts = h->r[i + 1].ts;
        h->r[i].since = h->r[i + 1].since;
    }
    h->n++;
    h->last = (uint8_t)i;
    return ack;
}

uint32_t pq_holes_expire(struct pq_holes *h, uint32_t ack, uint32_t now, uint32_t patience)
{
    now |= 1; /* 0 says that it is not known */
    for (unsigned i = 0; i < h->n; i++)
        h->r[i].since = h->r[i].since ? h->r[i].since : now;
    while (h->n && (int32_t)(now - h->r[0].since) >= (int32_t)patience)
        ack = pq_holes_jump(h, ack);
    return ack;
}

void pq_holes_cut(struct pq_holes *h, uint32_t high)
{
    while (h->n && !before(h->r[h->n - 1].have.from, high))
        drop(h, h->n - 1U, 1);
    if (h->n && before(high, h->r[h->n - 1].have.to))
        h->r[h->n - 1].have.to = high;
}

unsigned pq_holes_tell(const struct pq_holes *h, struct pq_block out[PQ_SACKS_MAX])
{
    unsigned n = 0;
    if (!h->n)
        return 0;
    out[n++] = h->r[h->last].have;
    for (unsigned i = h->n; i-- > 0 && n < PQ_SACKS_MAX;)
        if (i != h->last)
            out[n++] = h->r[i].have;
    return n;
}

/* ---- who is told */

/* Puts a block among those below it. */
static void sort_in(struct pq_block *b, unsigned n, struct pq_block one)
{
    for (; n && before(one.from, b[n - 1].from); n--)
        b[n] = b[n - 1];
    b[n] = one;
}

/* Blocks in order, of which `first` was told first.  The highest ones are told, so no other is
 * between them; but the first may be any. */
static unsigned gaps_between(const struct pq_block *b, unsigned n, uint32_t first, uint32_t ack,
                             struct pq_gap *out)
{
    unsigned found = 0;
    uint32_t above = 0;
    for (unsigned i = n; i-- > 0;) { /* the highest first */
        const bool below = !i,
                   doubt = n == PQ_SACKS_MAX && (below || (i == 1 && b[0].from == first));
        above += b[i].to - b[i].from;
        if (!doubt)
            out[found++] =
                (struct pq_gap){.lacks = {below ? ack : b[i - 1].to, b[i].from}, .above = above};
    }
    for (unsigned i = 0; i < found / 2; i++) {
        const struct pq_gap g = out[i];
        out[i] = out[found - 1 - i];
        out[found - 1 - i] = g;
    }
    return found;
}

unsigned pq_holes_read(const uint8_t *p, unsigned n, uint32_t ack, uint32_t end,
                       struct pq_gap out[PQ_SACKS_MAX])
{
    struct pq_block b[PQ_SACKS_MAX];
    if (!n || n > PQ_SACKS_MAX)
        return 0;
    for (unsigned i = 0; i < n; i++) {
        const struct pq_block one = {pq_be32(p + (size_t)PQ_SACK_LEN * i),
                                     pq_be32(p + (size_t)PQ_SACK_LEN * i + 4)};
        const uint32_t from = one.from - ack, to = one.to - ack;
        if (!from || from >= to || to > end - ack)
            return 0;
        sort_in(b, i, one);
    }
    for (unsigned i = 1; i < n; i++)
        if (!before(b[i - 1].to, b[i].from))
            return 0;
    return gaps_between(b, n, pq_be32(p), ack, out);
}
