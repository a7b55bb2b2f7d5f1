/* SPDX-License-Identifier: MIT */
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void pq_rng_init(struct pq_rng *r)
{
    r->left = 0;
    r->seed = 0;
}

void pq_rng_init_seed(struct pq_rng *r, uint64_t seed)
{
    r->left = 0;
    r->seed = seed;
}

static void refill(struct pq_rng *r)
{
    if (r->seed) {
        for (size_t i = 0; i < sizeof r->buf; i++) {
            r->seed ^= r->seed << 13;
            r->seed ^= r->seed >> 7;
            r->seed ^= r->seed << 17;
            r->buf[i] = (uint8_t)(r->seed >> 32);
        }
    } else {
        for (size_t have = 0; have < sizeof r->buf;) {
            ssize_t k = getrandom(r->buf + have, sizeof r->buf - have, 0);
            if (k > 0)
                have += (size_t)k; /* interrupted by a signal: go on */
        }
    }
    r->left = sizeof r->buf;
}

void pq_rng_fill(struct pq_rng *r, void *p, size_t n)
{
    uint8_t *out = p;
    while (n) {
        if (!r->left)
            refill(r);
        size_t k = n < r->left ? n : r->left;
        uint8_t *src = r->buf + sizeof r->buf - r->left;
        memcpy(out, src, k);
        memset(src, 0, k);
        r->left -= k;
        out += k;
        n -= k;
    }
}

void pq_rng_renew(struct pq_rng *r)
{
    if (!r->seed)
        r->left = 0;
}

uint32_t pq_rng_u32(struct pq_rng *r)
{
    uint32_t v;
    pq_rng_fill(r, &v, sizeof v);
    return v;
}

uint64_t pq_rng_u64(struct pq_rng *r)
{
    uint64_t v;
    pq_rng_fill(r, &v, sizeof v);
    return v;
}
