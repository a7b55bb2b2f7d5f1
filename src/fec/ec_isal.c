/* SPDX-License-Identifier: MIT */
#include "fec/ec.h"

#include <isa-l/erasure_code.h>
#include <string.h>

/* ISA-L takes pointers to non-const for what it only reads. */
static uint8_t *unconst(const uint8_t *p)
{
    uint8_t *q;
    memcpy(&q, &p, sizeof q);
    return q;
}

/* All rows at once: how long the table of one is depends on the processor (8 bytes with GFNI). */
void pq_ec_prepare(unsigned k, unsigned rows, const uint8_t *matrix, uint8_t *tables)
{
    ec_init_tables((int)k, (int)rows, unconst(matrix), tables);
}

void pq_ec_encode(const uint8_t *tables, unsigned k, unsigned rows, size_t n, uint8_t **from,
                  uint8_t **to)
{
    ec_encode_data((int)n, (int)k, (int)rows, unconst(tables), from, to);
}

void pq_ec_update(const uint8_t *tables, unsigned k, unsigned rows, size_t n, unsigned index,
                  const uint8_t *from, uint8_t **to)
{
    ec_encode_data_update((int)n, (int)k, (int)rows, (int)index, unconst(tables), unconst(from),
                          to);
}
