/* SPDX-License-Identifier: MIT */
/* ec.h - the heavy part of Reed-Solomon: many rows of bytes times many coefficients.  Which file
 * does it is the build's choice: ec_isal.c with ISA-L, ec_own.c without. */
#ifndef PQ_FEC_EC_H
#define PQ_FEC_EC_H
#include "fec/gf.h"

/* Prepares a matrix of `rows` rows with k coefficients each; `tables` has PQ_GF_TABLE bytes for
 * each coefficient.  What they hold is known here alone. */
void pq_ec_prepare(unsigned k, unsigned rows, const uint8_t *matrix, uint8_t *tables);

/* Writes the product of the matrix and k rows of n bytes each into `rows` rows. */
void pq_ec_encode(const uint8_t *tables, unsigned k, unsigned rows, size_t n, uint8_t **from,
                  uint8_t **to);

/* Adds to `rows` rows what row `index` of the k rows has to give. */
void pq_ec_update(const uint8_t *tables, unsigned k, unsigned rows, size_t n, unsigned index,
                  const uint8_t *from, uint8_t **to);
#endif
