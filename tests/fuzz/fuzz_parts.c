/* SPDX-License-Identifier: MIT */
/* fuzz_parts.c - datagrams in two parts [12.11]: what comes, genuine parts in any order among any
 * bytes.  What is put together is what was cut, no more waits than may, and all memory comes back.
 */
#include "fuzz.h"
#include "tunnel/parts.h"

#define MEMORY (1U << 20)
#define MAKES  8 /* pairs from which parts come */

struct pair {
    uint8_t part[2][PQ_PARTS_MAX + PQ_PART_HEAD];
    size_t n[2], all;
    uint8_t fill;
    uint16_t number;
};

static struct pair pairs[MAKES];

/* Cuts one, so that its parts may come. */
static void make(struct pq_parts *out, struct pq_chunks *chunks, struct fuzz_in *in)
{
    struct pair *k = &pairs[fuzz_u8(in) % MAKES];
    const size_t n = fuzz_u16(in) % (PQ_PARTS_MAX + 1);
    k->fill = fuzz_u8(in);
    k->number = out->next;
    k->all = n;
    memset(k->part[0], k->fill, n);
    k->n[0] = pq_parts_cut(out, chunks, k->part[0], n);
    k->n[1] = pq_parts_rest(out, k->part[1], sizeof k->part[1]);
    FUZZ_CHECK(!k->n[0] == !k->n[1]);
    FUZZ_CHECK(!k->n[0] || k->n[0] + k->n[1] == n + (size_t)2 * PQ_PART_HEAD);
}

static void take(struct pq_parts *x, struct pq_chunks *chunks, struct pq_view v, pq_ns now)
{
    struct pq_view whole;
    uint8_t *p = fuzz_exact(v.p, v.n);
    const enum pq_drop d = pq_parts_take(x, chunks, (struct pq_view){p, v.n}, &whole, now);
    FUZZ_CHECK(d == PQ_DROP_NONE || d == PQ_DROP_OOB || d == PQ_DROP_FULL);
    FUZZ_CHECK(!whole.n || (!d && whole.n <= PQ_PARTS_MAX));
    fuzz_touch(whole);
    free(p);
}

static void take_genuine(struct pq_parts *x, struct pq_chunks *chunks, struct fuzz_in *in,
                         pq_ns now)
{
    const uint8_t which = fuzz_u8(in);
    const struct pair *k = &pairs[which / 2 % MAKES];
    const unsigned part = which & 1;
    if (!k->n[part])
        return;
    const struct pq_chunk *waits = x->wait[k->number % PQ_PARTS_WAIT];
    const bool other = waits && waits->tag == k->number && waits->at != part &&
                       waits->len == k->n[!part] - PQ_PART_HEAD;
    struct pq_view whole;
    const enum pq_drop d =
        pq_parts_take(x, chunks, (struct pq_view){k->part[part], k->n[part]}, &whole, now);
    FUZZ_CHECK(d == PQ_DROP_FULL || d == PQ_DROP_NONE || (d == PQ_DROP_OOB && waits));
    FUZZ_CHECK(d || !other || whole.n == k->all);
}

static void check_bound(const struct pq_parts *x, const struct pq_chunks *chunks)
{
    unsigned n = 0;
    for (unsigned i = 0; i < PQ_PARTS_WAIT; i++)
        n += x->wait[i] != NULL;
    FUZZ_CHECK(n <= PQ_PARTS_WAIT && chunks->budget.used <= MEMORY);
    FUZZ_CHECK(!n || x->newest);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_in in = fuzz_in_init(p, n);
    struct pq_chunks chunks;
    struct pq_parts rx = {0}, tx = {0};
    pq_ns now = PQ_SEC;
    memset(pairs, 0, sizeof pairs);
    pq_chunks_init(&chunks, MEMORY);
    while (fuzz_left(&in)) {
        const uint8_t op = fuzz_u8(&in);
        if (op % 8 == 0) {
            take(&rx, &chunks, fuzz_bytes(&in, op), now);
        } else if (op % 8 < 3) {
            make(&tx, &chunks, &in);
        } else if (op % 8 < 6) {
            take_genuine(&rx, &chunks, &in, now);
        } else if (op % 8 == 6) {
            pq_parts_done(&rx);
        } else {
            now += op * (pq_ns)10 * PQ_MS;
            pq_parts_tick(&rx, now);
        }
        check_bound(&rx, &chunks);
    }
    pq_parts_clear(&rx);
    pq_parts_clear(&tx);
    FUZZ_CHECK(chunks.budget.used == 0);
    pq_chunks_fini(&chunks);
    return 0;
}
