/* SPDX-License-Identifier: MIT */
/* unit.h - what all unit tests share: cmocka, repeatable random numbers, the byte pattern of the
 * vectors, mutation of inputs. */
#ifndef PQ_TESTS_UNIT_H
#define PQ_TESTS_UNIT_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(a)   (sizeof(a) / sizeof((a)[0]))
#define FUZZ_ROUNDS   (ut_slow() ? 10000 : 100000)
#define UT_LESS       (ut_slow() ? 10U : 1U) /* times less is carried in bulk */
#define ut_run(tests) cmocka_run_group_tests_name(#tests, tests, NULL, NULL)

/* Whether this machine is much slower than others, such as an emulated one: PQ_SLOW=1 in the
 * environment.  Random tests have fewer rounds there, and simulations that carry very much carry a
 * tenth of it; each kind of them runs. */
bool ut_slow(void);

/* The seed of a random test: PQ_SEED of the environment, or a fixed one.  Printed. */
uint64_t ut_seed(const char *what);

uint64_t ut_rand(uint64_t *state);
uint32_t ut_below(uint64_t *state, uint32_t n); /* 0..n-1; 0 for n = 0 */
void ut_random(uint64_t *state, uint8_t *p, size_t n);

/* b[i] = i*i + 7*i + salt, as in the vectors. */
void ut_pattern(uint8_t *p, size_t n, unsigned salt);

/* Damages n bytes in a buffer of `cap`; returns the new length. */
size_t ut_mutate(uint64_t *state, uint8_t *p, size_t n, size_t cap);

/* A heap copy of exactly n bytes, so that a sanitizer sees a read behind its end. */
uint8_t *ut_exact(const uint8_t *p, size_t n);
#endif
