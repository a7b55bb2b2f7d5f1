/* SPDX-License-Identifier: MIT */
#include "wire/fills.h"

#include "base/slot.h"

#include <stdlib.h>

#define CAP_MIN   ((size_t)4 << 10)
#define CAP_FAIR  ((size_t)64 << 10) /* a quarter of the memory is for those that have no more */
#define FAIR_PART 4
#define RECORD    256         /* bytes of copies for each datagram that is remembered */
#define LOOK      256         /* datagrams of a gap at which is looked */
#define GAPS_MAX  32          /* that wait to be filled; others are not */
#define SAVED_MAX 24000       /* bytes that may be saved up to go again at once ... */
#define SAVED     12000       /* ... and are there at first */
#define AT_ONCE   2           /* datagrams, then others have a turn, ... */
#define APART     (1 * PQ_MS) /* ... for so long */

struct record { /* a datagram */
    uint32_t seq;
    uint16_t len;
    bool done; /* it has been lacking once: it went again then, or never does */
};

struct waiting {
    struct pq_block lacks;
    pq_ns due;
};

struct pq_fills {
    struct pq_fills_memory *memory;
    uint8_t *ring; /* numbers `from` up to `to`, each at its place modulo cap, a power of two */
    struct record *records; /* cap / RECORD of them, first up to next, modulo that */
    size_t cap;
    uint32_t from, to, first, next;
    size_t most; /* that was in use since it was looked at last */
    struct waiting gaps[GAPS_MAX];
    unsigned n_gaps, in_turn;
    size_t saved; /* PQ_FILLS_PART times as many bytes as may go again */
    pq_ns rests_until;
};

static bool before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static struct record *record_at(const struct pq_fills *f, uint32_t i)
{
    return &f->records[i & (f->cap / RECORD - 1)];
}

static size_t cost_of(size_t cap)
{
    return cap + cap / RECORD * sizeof(struct record);
}

/* n bytes between the ring and p, from the place of `seq` on. */
static void put(uint8_t *ring, size_t cap, uint32_t seq, const uint8_t *p, size_t n)
{
    const size_t at = seq & (cap - 1), first = n < cap - at ? n : cap - at;
    memcpy(ring + at, p, first);
    memcpy(ring, p + first, n - first);
}

static void get(const struct pq_fills *f, uint32_t seq, uint8_t *p, size_t n)
{
    const size_t at = seq & (f->cap - 1), first = n < f->cap - at ? n : f->cap - at;
    memcpy(p, f->ring + at, first);
    memcpy(p + first, f->ring, n - first);
}

/* So much room, for what is kept and more.  False: there is no memory. */
static bool resize(struct pq_fills *f, size_t cap)
{
    struct pq_fills old = *f;
    uint8_t *ring = malloc(cap);
    struct record *records = calloc(cap / RECORD, sizeof *records);
    if (!ring || !records) {
        free(ring);
        free(records);
        return false;
    }
    f->ring = ring;
    f->records = records;
    f->cap = cap;
    f->memory->used += cost_of(cap) - cost_of(old.cap);
    for (uint32_t i = f->first; i != f->next; i++) {
        uint8_t datagram[PQ_DGRAM_MAX];
        const struct record *r = record_at(&old, i);
        get(&old, r->seq, datagram, r->len);
        put(ring, cap, r->seq, datagram, r->len);
        *record_at(f, i) = *r;
    }
    free(old.ring);
    free(old.records);
    return true;
}

/* Twice the room, or the first.  False: there is no more to be had. */
static bool grow(struct pq_fills *f)
{
    const size_t cap = f->cap ? 2 * f->cap : CAP_MIN, more = cost_of(cap) - cost_of(f->cap);
    const size_t apart = cap > CAP_FAIR ? f->memory->max / FAIR_PART : 0;
    if (cap > PQ_FILLS_MAX || f->memory->used + more + apart > f->memory->max)
        return false;
    return resize(f, cap);
}

struct pq_fills *pq_fills_new(struct pq_fills_memory *m)
{
    struct pq_fills *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->memory = m;
    f->saved = (size_t)SAVED * PQ_FILLS_PART;
    if (!grow(f))
        pq_fills_free(&f);
    return f;
}

void pq_fills_free(struct pq_fills **fp)
{
    struct pq_fills *f = *fp;
    if (!f)
        return;
    f->memory->used -= cost_of(f->cap);
    free(f->ring);
    free(f->records);
    free(f);
    *fp = NULL;
}

static void forget_first(struct pq_fills *f)
{
    f->first++;
    f->from = f->first == f->next ? f->to : record_at(f, f->first)->seq;
}

/* With so many bytes more. */
static void note_use(struct pq_fills *f, size_t n)
{
    const size_t bytes = f->to - f->from + n, records = (f->next - f->first + 1) * (size_t)RECORD;
    const size_t use = bytes > records ? bytes : records;
    f->most = use > f->most ? use : f->most;
}

void pq_fills_trim(struct pq_fills *f)
{
    size_t cap = CAP_MIN;
    while (cap < 2 * f->most)
        cap *= 2;
    f->most = 0;
    note_use(f, 0);
    if (cap < f->cap)
        resize(f, cap);
}

void pq_fills_keep(struct pq_fills *f, uint32_t una, uint32_t seq, struct pq_view datagram)
{
    if (datagram.n > PQ_DGRAM_MAX)
        return;
    if (f->first != f->next && seq != f->to) {
        f->first = f->next;
        f->n_gaps = 0;
    }
    if (f->first == f->next)
        f->from = f->to = seq;
    f->saved += datagram.n;
    if (f->saved > (size_t)SAVED_MAX * PQ_FILLS_PART)
        f->saved = (size_t)SAVED_MAX * PQ_FILLS_PART;
    while (f->first != f->next && before(record_at(f, f->first)->seq, una))
        forget_first(f);
    note_use(f, datagram.n);
    while (f->to - f->from + datagram.n > f->cap || f->next - f->first == f->cap / RECORD) {
        if (!grow(f))
            forget_first(f);
    }
    put(f->ring, f->cap, seq, datagram.p, datagram.n);
    *record_at(f, f->next++) = (struct record){.seq = seq, .len = (uint16_t)datagram.n};
    f->to = seq + (uint32_t)datagram.n;
}

/* The first datagram that begins at `seq` or behind it. */
static uint32_t find(const struct pq_fills *f, uint32_t seq)
{
    uint32_t low = f->first, high = f->next;
    while (low != high) {
        const uint32_t middle = low + (high - low) / 2;
        if (before(record_at(f, middle)->seq, seq))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first whole datagram of it that has not been lacking before, or NULL; not far from its
 * beginning, since anybody on the line may say how long it is. */
static struct record *find_in(const struct pq_fills *f, struct pq_block b)
{
    const uint32_t first = find(f, b.from);
    for (uint32_t i = first; i != f->next && i - first < LOOK; i++) {
        struct record *r = record_at(f, i);
        if (before(b.to, r->seq + r->len))
            return NULL;
        if (!r->done)
            return r;
    }
    return NULL;
}

static void lack(struct pq_fills *f, struct pq_block b, pq_ns due)
{
    unsigned i = 0;
    while (i < f->n_gaps && f->gaps[i].lacks.to != b.to)
        i++;
    if (i == f->n_gaps) {
        if (i == GAPS_MAX || !find_in(f, b))
            return;
        f->gaps[f->n_gaps++] = (struct waiting){.lacks = b, .due = due};
    }
    f->gaps[i].lacks = b;
    f->gaps[i].due = pq_ns_min(f->gaps[i].due, due);
}

void pq_fills_lack(struct pq_fills *f, const struct pq_gap *gaps, unsigned n, uint32_t mss,
                   pq_ns now, pq_ns patience)
{
    for (unsigned i = 0; i < n; i++)
        lack(f, gaps[i].lacks, gaps[i].above > 2 * mss ? now : now + patience);
}

pq_ns pq_fills_at(const struct pq_fills *f)
{
    pq_ns at = PQ_NEVER;
    for (unsigned i = 0; i < f->n_gaps; i++)
        at = pq_ns_min(at, f->gaps[i].due);
    return at == PQ_NEVER ? at : pq_ns_max(at, f->rests_until);
}

static void forget_gap(struct pq_fills *f, unsigned i)
{
    memmove(f->gaps + i, f->gaps + i + 1, (--f->n_gaps - i) * sizeof f->gaps[0]);
}

static bool may_go(struct pq_fills *f, const struct record *r, uint32_t una)
{
    const size_t price = (size_t)r->len * PQ_FILLS_PART;
    if (before(r->seq, una) || f->saved < price)
        return false;
    f->saved -= price;
    return true;
}

/* The next datagram of a gap, which it leaves; NULL: there is none. */
static const struct record *take(struct pq_fills *f, struct waiting *w)
{
    struct record *r = find_in(f, w->lacks);
    if (!r)
        return NULL;
    r->done = true;
    w->lacks.from = r->seq + r->len;
    return r;
}

size_t pq_fills_next(struct pq_fills *f, uint32_t una, pq_ns now, uint8_t *out, size_t cap,
                     uint32_t *seq)
{
    if (now < f->rests_until)
        return 0;
    for (unsigned i = 0; i < f->n_gaps;) {
        const bool due = f->gaps[i].due <= now;
        const struct record *r = due ? take(f, &f->gaps[i]) : NULL;
        if (!due)
            i++;
        else if (!r)
            forget_gap(f, i);
        else if (r->len <= cap && may_go(f, r, una)) {
            f->in_turn = (f->in_turn + 1) % AT_ONCE;
            f->rests_until = f->in_turn ? now : now + APART;
            get(f, r->seq, out, r->len);
            *seq = r->seq;
            return r->len;
        }
    }
    return 0;
}
