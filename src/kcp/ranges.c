/* SPDX-License-Identifier: MIT */
#include "kcp/ranges.h"

#define TOLD_ENOUGH 3 /* times: acknowledgements get lost, too */
#define SPAN_MAX    ((uint32_t)1 << 31)
#define VARINT_MAX  5 /* bytes of 7 bits */

static int32_t diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static void forget_oldest(struct pq_ranges *s)
{
    s->untold -= s->r[s->n - 1].told == 0;
    s->n--;
}

static void insert(struct pq_ranges *s, unsigned at, uint32_t number)
{
    if (s->n == PQ_RANGES_MAX) {
        if (at == s->n)
            at--;
        forget_oldest(s);
    }
    memmove(s->r + at + 1, s->r + at, (s->n - at) * sizeof s->r[0]);
    s->r[at] = (struct pq_seq_range){number, number, 0};
    s->n++;
    s->untold++;
}

/* The range has grown: it is to be told again. */
static void grown(struct pq_ranges *s, unsigned at)
{
    s->untold += s->r[at].told != 0;
    s->r[at].told = 0;
}

/* The hole between a range and the next older one is closed. */
static void join(struct pq_ranges *s, unsigned at)
{
    if (at + 1 >= s->n || s->r[at].lo != s->r[at + 1].hi + 1)
        return;
    s->untold -= s->r[at + 1].told == 0;
    s->r[at].lo = s->r[at + 1].lo;
    memmove(s->r + at + 1, s->r + at + 2, (s->n - at - 2) * sizeof s->r[0]);
    s->n--;
}

enum pq_arrived pq_ranges_add(struct pq_ranges *s, uint32_t number)
{
    while (s->n && number - s->r[s->n - 1].lo >= SPAN_MAX / 2 &&
           diff(number, s->r[s->n - 1].lo) > 0)
        forget_oldest(s); /* before its distance wraps */
    for (unsigned i = 0; i < s->n; i++) {
        struct pq_seq_range *r = &s->r[i];
        if (diff(number, r->hi) > 1) { /* between this one and the one before */
            insert(s, i, number);
            return i ? PQ_ARRIVED_LATE : PQ_ARRIVED_GAP;
        }
        if (number == r->hi + 1) {
            r->hi = number;
            grown(s, i);
            if (i)
                join(s, i - 1);
            return i ? PQ_ARRIVED_LATE : PQ_ARRIVED_NEXT;
        }
        if (diff(number, r->lo) >= 0)
            return PQ_ARRIVED_SEEN;
        if (number + 1 == r->lo) {
            r->lo = number;
            grown(s, i);
            join(s, i);
            return PQ_ARRIVED_LATE;
        }
    }
    insert(s, s->n, number);
    return s->n == 1 ? PQ_ARRIVED_NEXT : PQ_ARRIVED_LATE;
}

unsigned pq_ranges_untold(const struct pq_ranges *s)
{
    return s->untold;
}

bool pq_ranges_repeat(const struct pq_ranges *s)
{
    return s->n > 1 && s->r[1].told < TOLD_ENOUGH;
}

/* ---- on the wire [12.8] */

static size_t varint_len(uint32_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

static void put_varint(struct pq_wr *w, uint32_t v)
{
    for (; v >= 0x80; v >>= 7)
        pq_wr_u8(w, (uint8_t)(v | 0x80));
    pq_wr_u8(w, (uint8_t)v);
}

static uint32_t read_varint(struct pq_rd *rd)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < VARINT_MAX; i++) {
        uint8_t b = pq_rd_u8(rd);
        v |= (uint64_t)(b & 0x7f) << 7 * i;
        if (b < 0x80)
            break;
        rd->bad = rd->bad || i + 1 == VARINT_MAX;
    }
    rd->bad = rd->bad || v > UINT32_MAX;
    return rd->bad ? 0 : (uint32_t)v;
}

/* Marks what is to be told: first what nobody has heard of, of more than fit the oldest, since what
 * is between would look lost; then the newest that were not told often enough. */
static void mark(const struct pq_ranges *s, bool told[PQ_RANGES_MAX])
{
    const bool all = s->untold <= PQ_RANGES_TOLD;
    unsigned skip = all ? 0 : s->untold - PQ_RANGES_TOLD, n = all ? s->untold : PQ_RANGES_TOLD;
    for (unsigned i = 0; i < s->n; i++) {
        told[i] = s->r[i].told == 0 && !skip;
        skip -= s->r[i].told == 0 && skip;
    }
    for (unsigned i = 0; i < s->n && n < PQ_RANGES_TOLD; i++)
        if (!told[i] && (i == 0 || s->r[i].told < TOLD_ENOUGH)) {
            told[i] = true;
            n++;
        }
}

/* Those that are to be told and have room, the newest first. */
static unsigned choose(const struct pq_ranges *s, size_t room, uint8_t at[PQ_RANGES_TOLD])
{
    bool told[PQ_RANGES_MAX];
    unsigned n = 0;
    mark(s, told);
    for (unsigned i = 0; i < s->n && n < PQ_RANGES_TOLD; i++) {
        const struct pq_seq_range *r = &s->r[i];
        if (!told[i])
            continue;
        size_t here = varint_len(r->hi - r->lo);
        here += n ? varint_len(s->r[at[n - 1]].lo - r->hi - 2) : 0;
        if (here > room)
            break;
        room -= here;
        at[n++] = (uint8_t)i;
    }
    return n;
}

void pq_ranges_put(struct pq_ranges *s, uint32_t delay, struct pq_wr *w)
{
    const size_t head = 4 + varint_len(delay) + 1, left = (size_t)(w->end - w->p);
    uint8_t at[PQ_RANGES_TOLD];
    const unsigned n = left > head ? choose(s, left - head, at) : 0;
    const uint32_t said = n && at[0] ? 0 : delay; /* it is that of the newest */
    w->bad = w->bad || left < head || (s->n && !n);
    pq_wr_le32(w, n ? s->r[at[0]].hi : 0);
    put_varint(w, said);
    pq_wr_u8(w, (uint8_t)n);
    for (unsigned i = 0; i < n && !w->bad; i++) {
        struct pq_seq_range *r = &s->r[at[i]];
        if (i)
            put_varint(w, s->r[at[i - 1]].lo - r->hi - 2);
        put_varint(w, r->hi - r->lo);
        s->untold -= r->told == 0;
        r->told = (uint8_t)(r->told + (r->told < UINT8_MAX));
    }
}

bool pq_ranges_read(struct pq_rd *rd, struct pq_told *out)
{
    out->newest = pq_rd_le32(rd);
    out->delay = read_varint(rd);
    out->n = pq_rd_u8(rd);
    if (out->n > PQ_RANGES_TOLD)
        return false;
    uint64_t below = 0; /* how far the next range's upper end is below the newest */
    for (unsigned i = 0; i < out->n; i++) {
        if (i)
            below += (uint64_t)read_varint(rd) + 2;
        const uint32_t more = read_varint(rd);
        if (rd->bad || below + more >= SPAN_MAX)
            return false;
        out->r[i] = (struct pq_seq_range){.lo = out->newest - (uint32_t)below - more,
                                          .hi = out->newest - (uint32_t)below};
        below += more;
    }
    return !rd->bad;
}
