/* SPDX-License-Identifier: MIT */
/* fuzz_ranges.c - what acknowledgements of our own wire tell [12.8].  The first half of the input
 * is read as one: the ranges that it has are in order, apart from each other, and within 2^31.  The
 * second half is numbers that arrive: what is told of them has arrived, and all of it is told. */
#include "fuzz.h"
#include "kcp/ranges.h"

#define SPAN 1024 /* of the numbers that arrive */

static void read_one(struct pq_view v)
{
    struct pq_told t;
    uint8_t *p = fuzz_exact(v.p, v.n);
    struct pq_rd rd = pq_rd_init(p, v.n);
    if (pq_ranges_read(&rd, &t)) {
        FUZZ_CHECK(!rd.bad && t.n <= PQ_RANGES_TOLD);
        for (unsigned i = 0; i < t.n; i++) {
            FUZZ_CHECK(t.newest - t.r[i].hi <= t.newest - t.r[i].lo);
            FUZZ_CHECK(t.newest - t.r[i].lo < (uint32_t)1 << 31);
            if (i)
                FUZZ_CHECK(t.newest - t.r[i].hi >= t.newest - t.r[i - 1].lo + 2);
        }
    }
    free(p);
}

/* Tells what waits, with `room` bytes for it, and notes in `told` what the other end knows then. */
static void tell(struct pq_ranges *s, uint32_t base, size_t room, const bool *came, bool *told)
{
    uint8_t buf[400];
    struct pq_wr w = pq_wr_init(buf, room);
    struct pq_told t;
    pq_ranges_put(s, 1, &w);
    if (w.bad)
        return;
    struct pq_rd rd = pq_rd_init(buf, pq_wr_len(&w));
    FUZZ_CHECK(pq_ranges_read(&rd, &t) && pq_rd_left(&rd) == 0);
    for (unsigned i = 0; i < t.n; i++)
        for (uint32_t k = t.r[i].lo - base; k != t.r[i].hi - base + 1; k++) {
            FUZZ_CHECK(k < SPAN && came[k]);
            told[k] = true;
        }
}

static void arrive(struct fuzz_in *in)
{
    static bool came[SPAN], told[SPAN];
    struct pq_ranges s = {0};
    const uint32_t base = (uint32_t)fuzz_u8(in) << 24;
    uint32_t at = SPAN / 2, n = 0;
    memset(came, 0, sizeof came);
    memset(told, 0, sizeof told);
    while (fuzz_left(in) && n < PQ_RANGES_MAX) {
        const uint8_t op = fuzz_u8(in);
        if (op >= 0xf0) {
            tell(&s, base, op == 0xff ? sizeof(uint8_t[400]) : 8 + 4U * (op & 15), came, told);
            continue;
        }
        at = (at + op - 100) % SPAN;
        const bool had = came[at];
        came[at] = true;
        told[at] = told[at] && had;
        const enum pq_arrived a = pq_ranges_add(&s, base + at);
        FUZZ_CHECK(had == (a == PQ_ARRIVED_SEEN));
        n += !had;
    }
    for (int i = 0; pq_ranges_untold(&s) && i < PQ_RANGES_MAX; i++)
        tell(&s, base, 400, came, told);
    FUZZ_CHECK(pq_ranges_untold(&s) == 0);
    for (uint32_t k = 0; k < SPAN; k++)
        FUZZ_CHECK(told[k] == came[k]);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_in in = fuzz_in_init(p, n);
    read_one(fuzz_bytes(&in, n / 2));
    arrive(&in);
    return 0;
}
