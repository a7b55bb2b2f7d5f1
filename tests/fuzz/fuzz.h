/* SPDX-License-Identifier: MIT */
/* fuzz.h - what the harnesses share: an input that is read byte by byte, and checks that abort.
 *
 * A harness is one file with LLVMFuzzerTestOneInput.  script/fuzz links it with libFuzzer, which
 * makes inputs up; script/test links it with replay.c, which reads those in corpus/. */
#ifndef PQ_TESTS_FUZZ_H
#define PQ_TESTS_FUZZ_H
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* Runs one input; always returns 0.  Aborts if what it fuzzes breaks a promise. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define FUZZ_CHECK(what)                                                                           \
    do {                                                                                           \
        if (!(what))                                                                               \
            fuzz_fail(__FILE__, __LINE__, #what);                                                  \
    } while (0)

static inline _Noreturn void fuzz_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, what);
    abort();
}

struct fuzz_in {
    const uint8_t *p, *end;
};

static inline struct fuzz_in fuzz_in_init(const uint8_t *p, size_t n)
{
    return (struct fuzz_in){.p = p, .end = p + n};
}

static inline size_t fuzz_left(const struct fuzz_in *in)
{
    return (size_t)(in->end - in->p);
}

/* The next byte; 0 behind the end, so that an input may stop anywhere. */
static inline uint8_t fuzz_u8(struct fuzz_in *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

/* The next byte as a number from -128 to 127. */
static inline int fuzz_s8(struct fuzz_in *in)
{
    return (fuzz_u8(in) ^ 0x80) - 0x80;
}

static inline uint16_t fuzz_u16(struct fuzz_in *in)
{
    unsigned low = fuzz_u8(in);
    return (uint16_t)(low | (unsigned)fuzz_u8(in) << 8);
}

/* The next bytes, n at most. */
static inline struct pq_view fuzz_bytes(struct fuzz_in *in, size_t n)
{
    struct pq_view v = {in->p, n < fuzz_left(in) ? n : fuzz_left(in)};
    in->p += v.n;
    return v;
}

/* A heap copy of exactly n bytes, so that a sanitizer sees a read behind its end. */
static inline uint8_t *fuzz_exact(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    FUZZ_CHECK(copy);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

/* Reads all bytes, so that a sanitizer sees those that are not there. */
static inline void fuzz_touch(struct pq_view v)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < v.n; i++)
        sum = sum ^ v.p[i];
}

/* Whether a view lies in the n bytes at p. */
static inline bool fuzz_inside(struct pq_view v, const uint8_t *p, size_t n)
{
    return v.p >= p && v.n <= n && (size_t)(v.p - p) <= n - v.n;
}
#endif
