/* SPDX-License-Identifier: MIT */
#include "fec/ec.h"

#include <string.h>

void pq_ec_prepare(unsigned k, unsigned rows, const uint8_t *matrix, uint8_t *tables)
{
    for (size_t i = 0; i < (size_t)k * rows; i++)
        pq_gf_table(matrix[i], tables + PQ_GF_TABLE * i);
}

void pq_ec_update(const uint8_t *tables, unsigned k, unsigned rows, size_t n, unsigned index,
                  const uint8_t *from, uint8_t **to)
{
    for (unsigned r = 0; r < rows; r++)
        pq_gf_add(tables + PQ_GF_TABLE * ((size_t)r * k + index), from, to[r], n);
}

void pq_ec_encode(const uint8_t *tables, unsigned k, unsigned rows, size_t n, uint8_t **from,
                  uint8_t **to)
{
    for (unsigned r = 0; r < rows; r++)
        memset(to[r], 0, n);
    for (unsigned i = 0; i < k; i++)
        pq_ec_update(tables, k, rows, n, i, from[i], to);
}
