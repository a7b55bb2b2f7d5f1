/* SPDX-License-Identifier: MIT */
#include "fec/rs.h"

#include "base/err.h"
#include "fec/ec.h"

#include <stdlib.h>
#include <string.h>

struct pq_rs {
    unsigned data, parity;
    uint8_t *matrix; /* rows of the parity shards, `data` coefficients each; NULL without `adds` */
    uint8_t *tables; /* of these rows */
};

/* ---- Lagrange polynomials; in this field minus is plus, and both are exclusive or */

/* weight[j] = 1 / product of (from[j] - from[m]) over all m but j. */
static void weights(const uint8_t *from, unsigned k, uint8_t *weight)
{
    for (unsigned j = 0; j < k; j++) {
        uint8_t product = 1;
        for (unsigned m = 0; m < k; m++)
            if (m != j)
                product = pq_gf_mul(product, from[j] ^ from[m]);
        weight[j] = pq_gf_inv(product);
    }
}

/* row[j] = by how much the value at from[j] counts in the value at x, which is none of them. */
static void coefficients(const uint8_t *from, const uint8_t *weight, unsigned k, uint8_t x,
                         uint8_t *row)
{
    uint8_t product = 1;
    for (unsigned m = 0; m < k; m++)
        product = pq_gf_mul(product, x ^ from[m]);
    for (unsigned j = 0; j < k; j++)
        row[j] = pq_gf_mul(pq_gf_mul(product, pq_gf_inv(x ^ from[j])), weight[j]);
}

/* ---- the code */

static int prepare_adds(struct pq_rs *r)
{
    uint8_t from[PQ_RS_SHARDS_MAX], weight[PQ_RS_SHARDS_MAX];
    r->matrix = malloc((size_t)r->parity * r->data);
    r->tables = malloc((size_t)PQ_GF_TABLE * r->data * r->parity);
    if (!r->matrix || !r->tables)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < r->data; i++)
        from[i] = (uint8_t)i;
    weights(from, r->data, weight);
    for (unsigned i = 0; i < r->parity; i++)
        coefficients(from, weight, r->data, (uint8_t)(r->data + i),
                     r->matrix + (size_t)i * r->data);
    pq_ec_prepare(r->data, r->parity, r->matrix, r->tables);
    return 0;
}

int pq_rs_new(struct pq_rs **out, unsigned data, unsigned parity, bool adds)
{
    *out = NULL;
    if (!data || !parity || data > PQ_RS_SHARDS_MAX || parity > PQ_RS_SHARDS_MAX - data)
        return PQ_EINVAL;
    struct pq_rs *r = calloc(1, sizeof *r);
    if (!r)
        return PQ_ENOMEM;
    r->data = data;
    r->parity = parity;
    int e = adds ? prepare_adds(r) : 0;
    if (e)
        pq_rs_free(&r);
    *out = r;
    return e;
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
    return r->matrix + (size_t)i * r->data;
}

void pq_rs_add(const struct pq_rs *r, unsigned index, const uint8_t *shard, size_t n,
               uint8_t *const *parity)
{
    uint8_t *out[PQ_RS_SHARDS_MAX];
    for (unsigned i = 0; i < r->parity; i++)
        out[i] = parity[i];
    pq_ec_update(r->tables, r->data, r->parity, n, index, shard, out);
}

/* The first `data` shards that are there, and their points.  Returns how many. */
static unsigned collect(const struct pq_rs *r, uint8_t *const *shard, uint8_t **from,
                        uint8_t *point)
{
    unsigned have = 0;
    for (unsigned i = 0; i < r->data + r->parity && have < r->data; i++) {
        if (shard[i]) {
            point[have] = (uint8_t)i;
            from[have++] = shard[i];
        }
    }
    return have;
}

int pq_rs_rebuild(const struct pq_rs *r, uint8_t *const *shard, size_t n, uint8_t *const *out)
{
    const unsigned k = r->data;
    uint8_t *from[PQ_RS_SHARDS_MAX], *to[PQ_RS_SHARDS_MAX];
    uint8_t point[PQ_RS_SHARDS_MAX], weight[PQ_RS_SHARDS_MAX];
    unsigned missing = 0;
    if (collect(r, shard, from, point) < k)
        return PQ_EINVAL;
    for (unsigned i = 0; i < k; i++)
        missing += !shard[i];
    if (!missing)
        return 0;
    uint8_t *tables = malloc((size_t)PQ_GF_TABLE * k * missing);
    uint8_t *matrix = malloc((size_t)k * missing);
    if (!tables || !matrix) {
        free(tables);
        free(matrix);
        return PQ_ENOMEM;
    }
    weights(point, k, weight);
    unsigned n_to = 0;
    for (unsigned i = 0; i < k; i++) {
        if (shard[i])
            continue;
        coefficients(point, weight, k, (uint8_t)i, matrix + (size_t)n_to * k);
        to[n_to++] = out[i];
    }
    pq_ec_prepare(k, n_to, matrix, tables);
    free(matrix);
    pq_ec_encode(tables, k, n_to, n, from, to);
    free(tables);
    return 0;
}
