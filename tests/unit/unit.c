/* SPDX-License-Identifier: MIT */
#include "unit.h"

bool ut_slow(void)
{
    const char *env = getenv("PQ_SLOW");
    return env && strcmp(env, "1") == 0;
}

uint64_t ut_seed(const char *what)
{
    const char *env = getenv("PQ_SEED");
    uint64_t seed = env ? strtoull(env, NULL, 0) : UINT64_C(20260117);
    printf("%s: PQ_SEED=%llu\n", what, (unsigned long long)seed);
    return seed;
}

uint64_t ut_rand(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

uint32_t ut_below(uint64_t *state, uint32_t n)
{
    return n ? (uint32_t)(ut_rand(state) % n) : 0;
}

void ut_random(uint64_t *state, uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)ut_rand(state);
}

void ut_pattern(uint8_t *p, size_t n, unsigned salt)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * i + 7 * i + salt);
}

static size_t mutate_once(uint64_t *s, uint8_t *p, size_t n, size_t cap)
{
    static const uint8_t edges[] = {0, 1, 2, 3, 4, 5, 0x7f, 0x80, 0xf8, 0xfe, 0xff};
    uint32_t at = ut_below(s, (uint32_t)n);
    switch (ut_below(s, 5)) {
    case 0:
        p[at] = (uint8_t)(p[at] ^ 1u << ut_below(s, 8));
        return n;
    case 1:
        p[at] = edges[ut_below(s, sizeof edges)];
        return n;
    case 2: /* cut */
        return at;
    case 3: /* repeat a piece */
        if (n < cap) {
            memmove(p + at + 1, p + at, n - at);
            return n + 1;
        }
        return n;
    default: /* take a byte out */
        memmove(p + at, p + at + 1, n - at - 1);
        return n - 1;
    }
}

size_t ut_mutate(uint64_t *s, uint8_t *p, size_t n, size_t cap)
{
    for (uint32_t times = 1 + ut_below(s, 4); times && n; times--)
        n = mutate_once(s, p, n, cap);
    return n;
}

uint8_t *ut_exact(const uint8_t *p, size_t n)
{
    uint8_t *q = malloc(n ? n : 1);
    if (!q)
        abort();
    if (n)
        memcpy(q, p, n);
    return q;
}
