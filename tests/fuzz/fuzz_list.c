/* SPDX-License-Identifier: MIT */
/* fuzz_list.c - files with lists of names and networks: whatever they hold, a name or network that
 * was taken is found again, and the ranges are in order and apart. */
#include "entry/target_set.h"
#include "fuzz.h"

struct last {
    struct pq_addr to;
    bool any;
};

static void in_order(void *ctx, const struct pq_addr *from, const struct pq_addr *to)
{
    struct last *l = ctx;
    FUZZ_CHECK(memcmp(from->ip, to->ip, 16) <= 0);
    if (l->any && pq_addr_is4(&l->to) == pq_addr_is4(from))
        FUZZ_CHECK(memcmp(l->to.ip, from->ip, 16) < 0);
    *l = (struct last){.to = *to, .any = true};
}

/* A plain line that was taken is in the set. */
static void ask(const struct pq_target_set *s, const char *p, size_t n)
{
    char text[64];
    struct pq_net net;
    if (n >= sizeof text)
        return;
    memcpy(text, p, n);
    text[n] = 0;
    if (pq_net_parse(&net, text) == 0)
        FUZZ_CHECK(pq_target_set_has_addr(s, &net.ip));
    else if (!strpbrk(text, ":*+# @\t\r\v\f") && text[0] != '.')
        FUZZ_CHECK(pq_target_set_has_name(s, text, n));
    pq_target_set_has_name(s, text, n);
}

static void each(const char *p, size_t n, struct pq_target_set *s, bool add)
{
    const char *end = p + n;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop : end;
        struct pq_target_set *alone = pq_target_set_new();
        FUZZ_CHECK(alone);
        const enum pq_target_line what = pq_target_set_add(alone, p, (size_t)(stop - p));
        pq_target_set_free(alone);
        FUZZ_CHECK(what != PQ_LINE_NO_MEMORY && what != PQ_LINE_MANY);
        if (add)
            FUZZ_CHECK(pq_target_set_add(s, p, (size_t)(stop - p)) == what);
        else if (what == PQ_LINE_TAKEN)
            ask(s, p, (size_t)(stop - p));
        p = stop + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    char *exact = (char *)fuzz_exact(p, n);
    struct pq_target_set *s = pq_target_set_new();
    struct last l = {.any = false};
    FUZZ_CHECK(s);
    each(exact, n, s, true);
    pq_target_set_seal(s);
    each(exact, n, s, false);
    pq_target_set_each(s, in_order, &l);
    pq_target_set_free(s);
    free(exact);
    return 0;
}
