/* SPDX-License-Identifier: MIT */
/* fuzz_state.c - files that are kept between two starts: which SYNs were answered, and what passed
 * to which server. */
#include "app/passed.h"
#include "fuzz.h"
#include "tunnel/syns.h"

#include <stdlib.h>

static FILE *open_left(struct fuzz_in *in)
{
    return fuzz_left(in) ? fmemopen((void *)(uintptr_t)in->p, fuzz_left(in), "r") : NULL;
}

static void syns(FILE *f)
{
    struct pq_syns *s;
    const struct pq_addr from = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 1}};
    const uint64_t slot = 5, wall = slot * PQ_SYN_SLOT;
    const struct pq_syn syn = {slot, 1, 2, &from, false};
    FUZZ_CHECK(pq_syns_new(&s, 0, 1) == 0);
    pq_syns_read(s, f);
    const bool ok = pq_syns_take(s, &syn, wall);
    FUZZ_CHECK(!ok || !pq_syns_take(s, &syn, wall));
    pq_syns_free(&s);
}

/* What was read is read again as it was written. */
static void passed(FILE *f)
{
    struct pq_passed p, again;
    char *text;
    size_t n;
    if (pq_passed_read(&p, f)) {
        FUZZ_CHECK(p.n == 0);
        return;
    }
    FUZZ_CHECK(p.n <= PQ_PASSED_MAX);
    FILE *m = open_memstream(&text, &n);
    FUZZ_CHECK(m && pq_passed_write(&p, m));
    fclose(m);
    m = fmemopen(text, n, "r");
    FUZZ_CHECK(m && pq_passed_read(&again, m) == 0 && again.n == p.n);
    for (unsigned i = 0; i < p.n; i++)
        FUZZ_CHECK(pq_addr_eq(&p.v[i].server, &again.v[i].server) && p.v[i].how == again.v[i].how &&
                   p.v[i].since == again.v[i].since);
    fclose(m);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_in in = fuzz_in_init(p, n);
    const bool which = fuzz_u8(&in) % 2;
    FILE *f = open_left(&in);
    if (!f)
        return 0;
    if (which)
        passed(f);
    else
        syns(f);
    fclose(f);
    return 0;
}
