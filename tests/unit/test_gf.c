/* SPDX-License-Identifier: MIT */
/* test_gf.c - our own arithmetic of GF(2^8) against ISA-L's: each product, each inverse, and rows
 * of all lengths and alignments. */
#include "fec/ec.h"
#include "unit.h"

#include <isa-l/erasure_code.h>

enum { K = 7, ROWS = 5, LEN_MAX = 70 };

static void products_and_inverses(void **state)
{
    (void)state;
    for (int a = 0; a < 256; a++) {
        assert_int_equal(pq_gf_inv((uint8_t)a), gf_inv((uint8_t)a));
        for (int b = 0; b < 256; b++)
            assert_int_equal(pq_gf_mul((uint8_t)a, (uint8_t)b), gf_mul((uint8_t)a, (uint8_t)b));
    }
}

struct rows {
    uint8_t *row[K > ROWS ? K : ROWS];
};

/* Rows of exactly n bytes that begin `skew` bytes behind what malloc gives. */
static struct rows rows_new(uint64_t *seed, size_t n, size_t skew)
{
    struct rows r;
    for (size_t i = 0; i < COUNT_OF(r.row); i++) {
        r.row[i] = malloc(n + skew);
        assert_non_null(r.row[i]);
        r.row[i] += skew;
        ut_random(seed, r.row[i], n);
    }
    return r;
}

static void rows_free(struct rows *r, size_t skew)
{
    for (size_t i = 0; i < COUNT_OF(r->row); i++)
        free(r->row[i] - skew);
}

static void expect_same(const struct rows *a, const struct rows *b, size_t n)
{
    for (size_t i = 0; i < ROWS; i++)
        assert_memory_equal(a->row[i], b->row[i], n);
}

static void rows_of_any_length(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("rows");
    uint8_t matrix[ROWS * K], own[sizeof matrix * PQ_GF_TABLE], theirs[sizeof own];
    ut_random(&seed, matrix, sizeof matrix);
    pq_ec_prepare(K, ROWS, matrix, own);
    ec_init_tables(K, ROWS, matrix, theirs);
    for (size_t n = 1; n < LEN_MAX; n++) {
        const size_t skew = n % 4;
        struct rows from = rows_new(&seed, n, skew);
        struct rows a = rows_new(&seed, n, skew), b = rows_new(&seed, n, 0);
        pq_ec_encode(own, K, ROWS, n, from.row, a.row);
        ec_encode_data((int)n, K, ROWS, theirs, from.row, b.row);
        expect_same(&a, &b, n);
        const unsigned index = ut_below(&seed, K);
        pq_ec_update(own, K, ROWS, n, index, from.row[0], a.row);
        ec_encode_data_update((int)n, K, ROWS, (int)index, theirs, from.row[0], b.row);
        expect_same(&a, &b, n);
        rows_free(&from, skew);
        rows_free(&a, skew);
        rows_free(&b, 0);
    }
}

int main(void)
{
    const struct CMUnitTest gf[] = {
        cmocka_unit_test(products_and_inverses),
        cmocka_unit_test(rows_of_any_length),
    };
    return ut_run(gf);
}
