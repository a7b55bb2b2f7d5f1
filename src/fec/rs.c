/* SPDX-License-Identifier: MIT */
#include "fec/rs.h"

#include "base/err.h"

#include <isa-l/erasure_code.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_LEN 32 /* bytes of ISA-L's table for one coefficient */

struct pq_rs {
    unsigned data, parity;
    uint8_t *matrix; /* (data + parity) rows of `data` coefficients; the first `data` rows are the
                        identity */
    uint8_t *tables; /* of the parity rows */
};

/* M = V * inverse(top of V) with V[r][c] = r^c [3.3]. */
static int make_matrix(struct pq_rs *r)
{
    unsigned k = r->data, rows = k + r->parity;
    uint8_t *v = calloc((size_t)rows * k, 1), *top = malloc((size_t)k * k),
            *inv = malloc((size_t)k * k);
    int e = v && top && inv ? 0 : PQ_ENOMEM;
    for (unsigned i = 0; !e && i < rows; i++) {
        uint8_t p = 1;
        for (unsigned j = 0; j < k; j++, p = gf_mul(p, (uint8_t)i))
            v[i * k + j] = p;
    }
    if (!e) {
        memcpy(top, v, (size_t)k * k);
        e = gf_invert_matrix(top, inv, (int)k) ? PQ_EINVAL : 0;
    }
    for (unsigned i = 0; !e && i < rows; i++) {
        for (unsigned j = 0; j < k; j++) {
            uint8_t sum = 0;
            for (unsigned l = 0; l < k; l++)
                sum ^= gf_mul(v[i * k + l], inv[l * k + j]);
            r->matrix[i * k + j] = sum;
        }
    }
    free(v);
    free(top);
    free(inv);
    return e;
}

int pq_rs_new(struct pq_rs **out, unsigned data, unsigned parity)
{
    *out = NULL;
    if (!data || !parity || data > PQ_RS_SHARDS_MAX || parity > PQ_RS_SHARDS_MAX - data)
        return PQ_EINVAL;
    struct pq_rs *r = calloc(1, sizeof *r);
    if (!r)
        return PQ_ENOMEM;
    r->data = data;
    r->parity = parity;
    r->matrix = malloc((size_t)(data + parity) * data);
    r->tables = malloc((size_t)TABLE_LEN * data * parity);
    int e = r->matrix && r->tables ? make_matrix(r) : PQ_ENOMEM;
    if (e) {
        pq_rs_free(&r);
        return e;
    }
    ec_init_tables((int)data, (int)parity, r->matrix + (size_t)data * data, r->tables);
    *out = r;
    return 0;
}

void pq_rs_free(struct pq_rs **r)
{
    if (!*r)
        return;
    free((*r)->matrix);
    free((*r)->tables);
    free(*r);
    *r = NULL;
}

const uint8_t *pq_rs_row(const struct pq_rs *r, unsigned i)
{
    return r->matrix + (size_t)(r->data + i) * r->data;
}

/* ISA-L takes pointers to non-const for what it only reads. */
static uint8_t *unconst(const uint8_t *p)
{
    uint8_t *q;
    memcpy(&q, &p, sizeof q);
    return q;
}

void pq_rs_add(const struct pq_rs *r, unsigned index, const uint8_t *shard, size_t n,
               uint8_t *const *parity)
{
    uint8_t *out[PQ_RS_SHARDS_MAX];
    for (unsigned i = 0; i < r->parity; i++)
        out[i] = parity[i];
    ec_encode_data_update((int)n, (int)r->data, (int)r->parity, (int)index, r->tables,
                          unconst(shard), out);
}

int pq_rs_rebuild(const struct pq_rs *r, uint8_t *const *shard, size_t n, uint8_t *const *out)
{
    unsigned k = r->data, have = 0, missing = 0;
    uint8_t *from[PQ_RS_SHARDS_MAX], *to[PQ_RS_SHARDS_MAX];
    uint8_t *rows = malloc((size_t)3 * k * k), *tables = NULL;
    if (!rows)
        return PQ_ENOMEM;
    uint8_t *inv = rows + (size_t)k * k, *want = inv + (size_t)k * k;
    for (unsigned i = 0; i < k + r->parity && have < k; i++) {
        if (!shard[i])
            continue;
        memcpy(rows + (size_t)have * k, r->matrix + (size_t)i * k, k);
        from[have++] = shard[i];
    }
    int e = have < k || gf_invert_matrix(rows, inv, (int)k) ? PQ_EINVAL : 0;
    for (unsigned i = 0; !e && i < k; i++) {
        if (shard[i])
            continue;
        memcpy(want + (size_t)missing * k, inv + (size_t)i * k, k);
        to[missing++] = out[i];
    }
    if (!e && missing && !(tables = malloc((size_t)TABLE_LEN * k * missing)))
        e = PQ_ENOMEM;
    if (!e && missing) {
        ec_init_tables((int)k, (int)missing, want, tables);
        ec_encode_data((int)n, (int)k, (int)missing, tables, from, to);
    }
    free(tables);
    free(rows);
    return e;
}
