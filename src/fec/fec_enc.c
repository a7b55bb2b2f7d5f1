/* SPDX-License-Identifier: MIT */
#include "fec/fec.h"
#include "fec/rs.h"

#include <stdlib.h>

#define GAP_MAX (500 * PQ_MS) /* before the last data packet of a group [3.2] */

struct pq_fec_enc {
    struct pq_rs *rs;
    unsigned d, p;
    uint32_t next, limit; /* id of the next packet; ids wrap at `limit` [3.1] */
    unsigned in_group;    /* data packets of this group so far */
    size_t longest;       /* shard of this group, then of the parity that waits */
    bool started, always;
    pq_ns last;       /* when the last data packet went */
    unsigned waiting; /* parity packets still to send */
    uint8_t **parity; /* p shards of PQ_FEC_PAYLOAD, zero while a group begins */
    uint8_t *memory;
};

int pq_fec_enc_new(struct pq_fec_enc **out, unsigned d, unsigned p)
{
    *out = NULL;
    struct pq_fec_enc *e = calloc(1, sizeof *e);
    if (!e)
        return PQ_ENOMEM;
    int r = pq_rs_new(&e->rs, d, p, true);
    if (r) {
        free(e);
        return r;
    }
    e->d = d;
    e->p = p;
    e->limit = UINT32_MAX / (d + p) * (d + p);
    e->parity = malloc(p * sizeof *e->parity);
    e->memory = calloc(p, PQ_FEC_PAYLOAD);
    if (!e->parity || !e->memory) {
        pq_fec_enc_free(&e);
        return PQ_ENOMEM;
    }
    for (unsigned i = 0; i < p; i++)
        e->parity[i] = e->memory + (size_t)i * PQ_FEC_PAYLOAD;
    *out = e;
    return 0;
}

void pq_fec_enc_free(struct pq_fec_enc **e)
{
    if (!*e)
        return;
    pq_rs_free(&(*e)->rs);
    free((*e)->parity);
    free((*e)->memory);
    free(*e);
    *e = NULL;
}

void pq_fec_enc_set_always(struct pq_fec_enc *e)
{
    e->always = true;
}

static void put_head(struct pq_fec_enc *e, uint8_t *p, uint16_t type)
{
    pq_put_le32(p, e->next);
    pq_put_le16(p + 4, type);
    e->next = (e->next + 1) % e->limit;
}

static void begin_group(struct pq_fec_enc *e)
{
    e->in_group = 0;
    for (unsigned i = 0; i < e->p; i++)
        memset(e->parity[i], 0, e->longest);
    e->longest = 0;
}

size_t pq_fec_enc_data(struct pq_fec_enc *e, uint8_t *p, size_t n, pq_ns now)
{
    put_head(e, p, PQ_FEC_DATA);
    pq_put_le16(p + 6, (uint16_t)(2 + n)); /* the size counts itself */
    size_t shard = 2 + n;
    pq_rs_add(e->rs, e->in_group, p + 6, shard, e->parity);
    if (shard > e->longest)
        e->longest = shard;
    bool prompt = e->always || (e->started && now - e->last < GAP_MAX);
    e->started = true;
    e->last = now;
    if (++e->in_group == e->d) {
        if (prompt) {
            e->waiting = e->p;
        } else { /* no parity, but its ids are spent */
            e->next = (e->next + e->p) % e->limit;
            begin_group(e);
        }
    }
    return PQ_FEC_HEAD + n;
}

size_t pq_fec_enc_parity(struct pq_fec_enc *e, uint8_t *p, size_t cap)
{
    if (!e->waiting || cap < 6 + e->longest)
        return 0;
    size_t n = 6 + e->longest;
    put_head(e, p, PQ_FEC_PARITY);
    memcpy(p + 6, e->parity[e->p - e->waiting], e->longest);
    if (--e->waiting == 0)
        begin_group(e);
    return n;
}
