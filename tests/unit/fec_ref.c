/* SPDX-License-Identifier: MIT */
#include "fec_ref.h"

/* ---- the field and the code */

uint8_t ref_mul(uint8_t a, uint8_t b)
{
    static uint8_t table[256][256];
    static bool ready;
    for (unsigned x = 0; !ready && x < 256; x++) {
        for (unsigned y = 0; y < 256; y++) {
            unsigned product = 0;
            for (unsigned bit = 0; bit < 8; bit++)
                if (y >> bit & 1)
                    product ^= x << bit;
            for (unsigned bit = 15; bit >= 8; bit--)
                if (product >> bit & 1)
                    product ^= 0x11du << (bit - 8);
            table[x][y] = (uint8_t)product;
        }
    }
    ready = true;
    return table[a][b];
}

static uint8_t inverse(uint8_t a) /* a^254 */
{
    uint8_t r = 1;
    for (int i = 0; i < 254; i++)
        r = ref_mul(r, a);
    return r;
}

uint8_t ref_coef(unsigned d, unsigned row, unsigned c)
{
    uint8_t above = 1, below = 1;
    for (unsigned j = 0; j < d; j++) {
        if (j == c)
            continue;
        above = ref_mul(above, (uint8_t)(row ^ j));
        below = ref_mul(below, (uint8_t)(c ^ j));
    }
    return ref_mul(above, inverse(below));
}

/* ---- packets */

uint32_t ref_limit(unsigned g)
{
    return 0xffffffffu / g * g;
}

void ref_head(struct fpkt *k, uint32_t id, uint16_t type)
{
    for (unsigned i = 0; i < 4; i++)
        k->b[i] = (uint8_t)(id >> 8 * i);
    k->b[4] = (uint8_t)type;
    k->b[5] = (uint8_t)(type >> 8);
}

void ref_data(struct fpkt *k, uint32_t id, const void *p, size_t n)
{
    ref_head(k, id, 0xf1);
    k->b[6] = (uint8_t)(n + 2);
    k->b[7] = (uint8_t)((n + 2) >> 8);
    if (n)
        memcpy(k->b + 8, p, n);
    k->n = 8 + n;
}

void ref_parity(struct fgroup *g, uint32_t first_id)
{
    g->longest = 0;
    for (unsigned c = 0; c < g->d; c++)
        if (g->pkt[c].n - 6 > g->longest)
            g->longest = g->pkt[c].n - 6;
    for (unsigned r = g->d; r < g->d + g->p; r++) {
        struct fpkt *k = &g->pkt[r];
        ref_head(k, first_id + r, 0xf2);
        k->n = 6 + g->longest;
        memset(k->b + 6, 0, g->longest);
        for (unsigned c = 0; c < g->d; c++) {
            uint8_t coef = ref_coef(g->d, r, c);
            for (size_t i = 6; i < g->pkt[c].n; i++)
                k->b[i] ^= ref_mul(coef, g->pkt[c].b[i]);
        }
    }
}

void ref_group(struct fgroup *g, unsigned d, unsigned p, uint32_t first_id, uint64_t *seed,
               uint32_t max)
{
    uint8_t b[FEC_MAX];
    g->d = d;
    g->p = p;
    for (unsigned c = 0; c < d; c++) {
        size_t n = ut_below(seed, max + 1);
        ut_random(seed, b, n);
        ref_data(&g->pkt[c], first_id + c, b, n);
    }
    ref_parity(g, first_id);
}

/* ---- a decoder */

static void on_rebuilt(void *ctx, struct pq_view datagram)
{
    struct fend *e = ctx;
    assert_in_range(datagram.n, 0, FEC_MAX);
    for (size_t i = 0; i < datagram.n; i++)
        e->sum += datagram.p[i];
    if (e->n_got < COUNT_OF(e->got)) {
        e->got[e->n_got].n = datagram.n;
        if (datagram.n)
            memcpy(e->got[e->n_got].b, datagram.p, datagram.n);
    }
    e->n_got++;
}

void fend_init(struct fend *e, unsigned d, unsigned p, size_t memory)
{
    pq_chunks_init(&e->chunks, memory);
    e->n_got = 0;
    e->sum = 0;
    assert_int_equal(pq_fec_dec_new(&e->d, d, p, true, &e->chunks, on_rebuilt, e), 0);
}

void fend_doubt(struct fend *e, unsigned d, unsigned p)
{
    pq_fec_dec_free(&e->d);
    e->n_got = 0;
    assert_int_equal(pq_fec_dec_new(&e->d, d, p, false, &e->chunks, on_rebuilt, e), 0);
}

void fend_fini(struct fend *e)
{
    pq_fec_dec_free(&e->d);
    assert_null(e->d);
    pq_fec_dec_free(&e->d);
    assert_int_equal(fend_held(e), 0);
    pq_chunks_fini(&e->chunks);
}

size_t fend_held(const struct fend *e)
{
    return e->chunks.small.used + e->chunks.big.used;
}

enum pq_drop fend_give(struct fend *e, const struct fpkt *k)
{
    uint8_t *copy = ut_exact(k->b, k->n);
    enum pq_drop d = pq_fec_dec_input(e->d, (struct pq_view){copy, k->n});
    free(copy);
    return d;
}

void fend_done(struct fend *e)
{
    pq_fec_dec_done(e->d);
    e->n_got = 0;
}

bool fend_has(const struct fend *e, const struct fpkt *data)
{
    for (unsigned i = 0; i < e->n_got && i < COUNT_OF(e->got); i++)
        if (e->got[i].n == data->n - 8 && memcmp(e->got[i].b, data->b + 8, data->n - 8) == 0)
            return true;
    return false;
}

void fend_learned(const struct fend *e, unsigned *d, unsigned *p)
{
    struct pq_fec_stats st;
    pq_fec_dec_stats(e->d, &st);
    *d = st.d;
    *p = st.p;
}

bool fend_group(struct fend *e, const struct fgroup *g, const bool *lost, const unsigned *order)
{
    bool here[PQ_RS_SHARDS_MAX] = {false};
    unsigned have = 0, missing = g->d;
    size_t held = fend_held(e);
    assert_int_equal(e->n_got, 0);
    for (unsigned i = 0; i < g->d + g->p; i++) {
        unsigned at = order ? order[i] : i;
        if (lost && lost[at])
            continue;
        assert_int_equal(fend_give(e, &g->pkt[at]), PQ_DROP_NONE);
        if (have == g->d)
            continue; /* nothing is missing any more */
        here[at] = true;
        have++;
        missing -= at < g->d;
        assert_int_equal(e->n_got, have == g->d ? missing : 0);
    }
    bool rebuilt = have == g->d && missing;
    assert_int_equal(e->n_got, rebuilt ? missing : 0);
    for (unsigned c = 0; rebuilt && c < g->d; c++)
        if (!here[c])
            assert_true(fend_has(e, &g->pkt[c]));
    fend_done(e); /* what is left is of groups that miss too much; an older one may have gone */
    assert_in_range(fend_held(e), 0, held + (have < g->d ? have : 0));
    return rebuilt;
}

void shuffle(uint64_t *seed, unsigned *order, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned j = ut_below(seed, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}
