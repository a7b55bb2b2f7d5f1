/* SPDX-License-Identifier: MIT */
/* gf.h - arithmetic in GF(2^8) with the polynomial 0x11d [3.3], in plain C.
 * Knows: bytes and rows of bytes.  Does not know: shards, matrices. */
#ifndef PQ_FEC_GF_H
#define PQ_FEC_GF_H
#include <stddef.h>
#include <stdint.h>

#define PQ_GF_TABLE 32 /* bytes of the table of one coefficient */

uint8_t pq_gf_mul(uint8_t a, uint8_t b);
uint8_t pq_gf_inv(uint8_t a); /* 0 for 0, which has none */

/* Writes c times each value of a low, then of a high half of a byte. */
void pq_gf_table(uint8_t c, uint8_t table[PQ_GF_TABLE]);

/* Adds c * from[i], with the table of c, to to[i] for n bytes. */
void pq_gf_add(const uint8_t table[PQ_GF_TABLE], const uint8_t *from, uint8_t *to, size_t n);
#endif
