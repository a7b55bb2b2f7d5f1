/* SPDX-License-Identifier: MIT */
/* rng.h - random bytes, handed to the cores as an object so that tests can fix them. */
#ifndef PQ_BASE_RNG_H
#define PQ_BASE_RNG_H
#include <stddef.h>
#include <stdint.h>

struct pq_rng {
    size_t left;       /* unused bytes at the end of buf */
    uint64_t seed;     /* not 0: a repeatable sequence, for tests only */
    uint8_t buf[4096]; /* one system call fills it for some 256 nonces */
};

/* Prepares a source that draws from the kernel (getrandom). */
void pq_rng_init(struct pq_rng *r);

/* Prepares a repeatable source for tests; seed != 0. */
void pq_rng_init_seed(struct pq_rng *r, uint64_t seed);

/* Fills n bytes.  Each byte is handed out once.  Cannot fail (getrandom without flags only waits,
 * early at boot). */
void pq_rng_fill(struct pq_rng *r, void *p, size_t n);

/* Forgets bytes that were drawn ahead: what comes next is drawn now.  For keys: a machine that was
 * copied while it ran has the same bytes ahead as its copy. */
void pq_rng_renew(struct pq_rng *r);

uint32_t pq_rng_u32(struct pq_rng *r);
uint64_t pq_rng_u64(struct pq_rng *r);
#endif
