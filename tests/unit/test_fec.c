/* SPDX-License-Identifier: MIT */
/* test_fec.c - the code and the sending side: fec.json in both directions, the encoder against a
 * second reading of the rules. */
#include "fec_ref.h"
#include "vectors.h"

#define START    (777 * PQ_SEC)
#define MEMORY   (8u << 20)
#define LIVE_MAX 128

static struct fgroup grp;
static struct fend end;

static void settings(void **state)
{
    (void)state;
    static const struct {
        unsigned d, p;
        int want;
    } t[] = {
        {10, 3, 0},   {1, 1, 0},    {255, 1, 0},         {1, 255, 0},  {128, 128, 0},
        {0, 0, -1},   {0, 3, -1},   {10, 0, -1},         {255, 2, -1}, {2, 255, -1},
        {256, 1, -1}, {1, 256, -1}, {0xffffffff, 2, -1}, {256, 0, -1}, {2, 0xffffffff, -1},
    };
    struct pq_chunks chunks;
    pq_chunks_init(&chunks, MEMORY);
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_rs *r;
        struct pq_fec_enc *e;
        struct pq_fec_dec *d;
        int want = t[i].want ? PQ_EINVAL : 0;
        assert_int_equal(pq_rs_new(&r, t[i].d, t[i].p, true), want);
        assert_int_equal(pq_fec_enc_new(&e, t[i].d, t[i].p), want);
        assert_int_equal(pq_fec_dec_new(&d, t[i].d, t[i].p, true, &chunks, NULL, NULL), want);
        assert_int_equal(r && e && d, !want);
        assert_int_equal(r || e || d, !want);
        for (int twice = 0; twice < 2; twice++) {
            pq_rs_free(&r);
            pq_fec_enc_free(&e);
            pq_fec_dec_free(&d);
        }
    }
    pq_chunks_fini(&chunks);
}

/* ---- the code */

/* Every matrix there is in some directions of (D, P), those of fec.json among them. */
static void matrices(void **state)
{
    (void)state;
    static const unsigned shape[][2] = {{1, 1},     {2, 1},    {4, 2},   {10, 3},
                                        {20, 10},   {30, 30},  {255, 1}, {1, 255},
                                        {128, 128}, {70, 186}, {3, 253}};
    for (size_t i = 0; i < COUNT_OF(shape); i++) {
        unsigned d = shape[i][0], p = shape[i][1];
        struct pq_rs *r;
        assert_int_equal(pq_rs_new(&r, d, p, true), 0);
        for (unsigned row = 0; row < p; row++)
            for (unsigned c = 0; c < d; c++)
                assert_int_equal(pq_rs_row(r, row)[c], ref_coef(d, d + row, c));
        pq_rs_free(&r);
    }
}

/* Parity of all lengths, at all offsets in memory; nothing behind the length is touched. */
static void lengths(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec lengths");
    static uint8_t in[1600], out[7][1600], want[7][1600];
    static const unsigned parities[] = {1, 2, 3, 4, 5, 6, 7};
    for (unsigned n = 0; n <= 300; n++) {
        unsigned p = parities[n % 7], d = 1 + ut_below(&seed, 12), off = ut_below(&seed, 33);
        unsigned len = n < 200 ? n : 1500 - (n - 200);
        uint8_t *to[7];
        struct pq_rs *r;
        assert_int_equal(pq_rs_new(&r, d, p, true), 0);
        for (unsigned i = 0; i < p; i++) {
            ut_random(&seed, want[i], sizeof want[i]);
            memset(want[i] + off, 0, len);
            memcpy(out[i], want[i], sizeof out[i]);
            to[i] = out[i] + off;
        }
        for (unsigned c = 0; c < d; c++) {
            size_t part = len ? 1 + ut_below(&seed, len) : 0;
            ut_random(&seed, in, part);
            uint8_t *exact = ut_exact(in, part);
            if (part)
                pq_rs_add(r, c, exact, part, to);
            free(exact);
            for (unsigned i = 0; i < p; i++) {
                uint8_t coef = ref_coef(d, d + i, c);
                for (size_t k = 0; k < part; k++)
                    want[i][off + k] ^= ref_mul(coef, in[k]);
            }
        }
        for (unsigned i = 0; i < p; i++)
            assert_memory_equal(out[i], want[i], sizeof out[i]);
        pq_rs_free(&r);
    }
}

/* ---- fec.json */

static void next_is(struct pq_fec_enc *e, const struct fpkt *want, pq_ns now)
{
    static uint8_t b[FEC_BYTES];
    bool data = want->b[4] == 0xf1;
    size_t n = pq_fec_enc_parity(e, b, sizeof b);
    if (data) { /* all parity is out: the data packet is next */
        assert_int_equal(n, 0);
        memcpy(b + 8, want->b + 8, want->n - 8);
        n = pq_fec_enc_data(e, b, want->n - 8, now);
    }
    assert_int_equal(n, want->n);
    assert_memory_equal(b, want->b, n);
}

static void read_packet(struct fpkt *k, const char *hex)
{
    size_t n;
    uint8_t *p = vec_hex(hex, &n);
    assert_in_range(n, 8, FEC_BYTES);
    memcpy(k->b, p, n);
    k->n = n;
    free(p);
}

static void check_matrix(const json_t *set, unsigned d, unsigned p)
{
    struct pq_rs *r;
    assert_int_equal(pq_rs_new(&r, d, p, true), 0);
    for (unsigned i = 0; i < p; i++) {
        const json_t *row = json_array_get(vec_get(set, "parity_matrix"), i);
        assert_int_equal(json_array_size(row), d);
        for (unsigned c = 0; c < d; c++) {
            assert_int_equal(json_integer_value(json_array_get(row, c)), pq_rs_row(r, i)[c]);
            assert_int_equal(pq_rs_row(r, i)[c], ref_coef(d, d + i, c));
        }
    }
    pq_rs_free(&r);
}

/* Groups of which the last data packet is late bring the encoder to an id.  Returns the time. */
static pq_ns advance_to(struct pq_fec_enc *e, unsigned d, unsigned p, uint32_t id)
{
    uint8_t b[FEC_BYTES] = {0};
    pq_ns now = START;
    for (uint32_t at = 0; at < id; at += d + p) {
        for (unsigned i = 0; i < d; i++) {
            size_t n = pq_fec_enc_data(e, b, at % 90, now += 500 * PQ_MS);
            assert_int_equal(n, 8 + at % 90);
            assert_int_equal(pq_le32(b), at + i);
        }
        assert_int_equal(pq_fec_enc_parity(e, b, sizeof b), 0);
    }
    return now;
}

static void check_static(const json_t *set, unsigned d, unsigned p)
{
    const json_t *s = vec_get(set, "static"), *packets = vec_get(s, "packets");
    uint32_t first = (uint32_t)vec_int(s, "first_seqid");
    static struct fgroup built;
    struct pq_fec_enc *e;
    assert_int_equal(json_array_size(packets), d + p);
    built.d = grp.d = d;
    built.p = grp.p = p;
    for (unsigned i = 0; i < d + p; i++)
        read_packet(&grp.pkt[i], json_string_value(json_array_get(packets, i)));
    for (unsigned i = 0; i < d; i++)
        ref_data(&built.pkt[i], first + i, grp.pkt[i].b + 8, grp.pkt[i].n - 8);
    ref_parity(&built, first);
    assert_int_equal(built.longest, vec_int(s, "shard_len"));
    assert_int_equal(pq_fec_enc_new(&e, d, p), 0);
    pq_ns now = advance_to(e, d, p, first);
    for (unsigned i = 0; i < d + p; i++) {
        assert_int_equal(built.pkt[i].n, grp.pkt[i].n);
        assert_memory_equal(built.pkt[i].b, grp.pkt[i].b, grp.pkt[i].n);
        next_is(e, &grp.pkt[i], now + i);
    }
    pq_fec_enc_free(&e);
    for (unsigned mask = 0; mask < 1u << (d + p); mask++) { /* and back, every loss there is */
        bool lost[PQ_RS_SHARDS_MAX];
        for (unsigned i = 0; i < d + p; i++)
            lost[i] = mask >> i & 1;
        fend_init(&end, d, p, MEMORY);
        fend_group(&end, &grp, lost, NULL);
        fend_fini(&end);
    }
}

static size_t read_live(struct fpkt *k, pq_ns *at, const json_t *set, const char *dir)
{
    size_t i, n = 0;
    json_t *event;
    json_array_foreach(vec_get(set, "live"), i, event)
    {
        if (strcmp(vec_str(event, "dir"), dir) != 0)
            continue;
        assert_in_range(n, 0, LIVE_MAX - 1);
        read_packet(&k[n], vec_str(event, "hex"));
        at[n++] = START + (pq_ns)(json_number_value(vec_get(event, "ms")) * 1e6);
    }
    return n;
}

/* A receiver that misses some packets of a session. */
static void lose_live(const struct fpkt *k, size_t n, unsigned d, unsigned p, uint64_t *seed)
{
    unsigned here[LIVE_MAX] = {0}, missing[LIVE_MAX] = {0}, want = 0, size = d + p ? d + p : 1;
    bool lost[LIVE_MAX];
    fend_init(&end, d, p, MEMORY);
    for (size_t i = 0; i < n; i++) {
        unsigned group = pq_le32(k[i].b) / size;
        lost[i] = ut_below(seed, 6) == 0;
        if (!lost[i])
            here[group]++;
        else if (k[i].b[4] == 0xf1)
            missing[group]++;
        if (!lost[i])
            assert_int_equal(fend_give(&end, &k[i]), PQ_DROP_NONE);
    }
    for (unsigned g = 0; g < LIVE_MAX; g++)
        want += here[g] >= d ? missing[g] : 0;
    assert_int_equal(end.n_got, want);
    for (size_t i = 0; i < n; i++)
        if (lost[i] && k[i].b[4] == 0xf1 && here[pq_le32(k[i].b) / size] >= d)
            assert_true(fend_has(&end, &k[i]));
    fend_fini(&end);
}

/* The sender's packets again, from its datagrams and times; then without some of them. */
static void check_live(const json_t *set, const char *dir, unsigned d, unsigned p)
{
    static struct fpkt k[LIVE_MAX];
    pq_ns at[LIVE_MAX];
    size_t n = read_live(k, at, set, dir);
    struct pq_fec_enc *e;
    assert_int_equal(pq_fec_enc_new(&e, d, p), 0);
    for (size_t i = 0; i < n; i++)
        next_is(e, &k[i], at[i]);
    uint8_t b[FEC_BYTES];
    assert_int_equal(pq_fec_enc_parity(e, b, sizeof b), 0);
    pq_fec_enc_free(&e);
    uint64_t seed = ut_seed("fec live");
    for (unsigned round = 0; round < 200; round++)
        lose_live(k, n, d, p, &seed);
}

static void vectors(void **state)
{
    (void)state;
    json_t *root = vec_load("fec.json"), *set;
    size_t i;
    assert_int_equal(json_array_size(vec_get(root, "sets")), 3);
    json_array_foreach(vec_get(root, "sets"), i, set)
    {
        unsigned d = (unsigned)vec_int(set, "data_shards"),
                 p = (unsigned)vec_int(set, "parity_shards");
        check_matrix(set, d, p);
        check_static(set, d, p);
        check_live(set, "c2s", d, p);
        check_live(set, "s2c", d, p);
    }
    json_decref(root);
}

/* ---- the encoder */

/* Random lengths and pauses against the reference, edges of the gap rule among them [3.2]. */
static void against_reference(unsigned d, unsigned p, unsigned groups, uint64_t *seed, uint32_t max)
{
    static const pq_ns gaps[] = {0,     1, PQ_MS, 500 * PQ_MS - 1, 500 * PQ_MS, 500 * PQ_MS + 1,
                                 PQ_SEC};
    struct pq_fec_enc *e;
    uint8_t b[FEC_BYTES];
    pq_ns now = 0, last_gap = PQ_NEVER;
    assert_int_equal(pq_fec_enc_new(&e, d, p), 0);
    for (uint32_t group = 0; group < groups; group++) {
        ref_group(&grp, d, p, group * (d + p), seed, max);
        for (unsigned i = 0; i < d; i++) {
            if (group || i)
                now += last_gap = gaps[ut_below(seed, COUNT_OF(gaps))];
            next_is(e, &grp.pkt[i], now);
        }
        for (unsigned i = d; i < d + p && last_gap < 500 * PQ_MS; i++) {
            assert_int_equal(pq_fec_enc_parity(e, b, 6 + grp.longest - 1), 0); /* no room */
            next_is(e, &grp.pkt[i], now);
        }
        assert_int_equal(pq_fec_enc_parity(e, b, sizeof b), 0);
    }
    pq_fec_enc_free(&e);
}

static void encoder(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("fec encoder");
    against_reference(10, 3, 100, &seed, FEC_MAX);
    against_reference(4, 2, 200, &seed, 300);
    against_reference(1, 1, 200, &seed, FEC_MAX);
    against_reference(1, 3, 200, &seed, 40);
    against_reference(3, 1, 200, &seed, 1);
    against_reference(128, 128, 6, &seed, 60);
    against_reference(255, 1, 20, &seed, 300);
    against_reference(1, 255, 40, &seed, 300);
}

static void speed(void **state)
{
    (void)state;
    static uint8_t b[FEC_BYTES];
    const unsigned rounds = 20000;
    struct pq_fec_enc *e;
    assert_int_equal(pq_fec_enc_new(&e, 10, 3), 0);
    ut_pattern(b, sizeof b, 1);
    pq_ns begin = pq_clock();
    unsigned parity = 0;
    for (unsigned i = 0; i < rounds; i++) {
        pq_fec_enc_data(e, b, 1330, START);
        while (pq_fec_enc_parity(e, b, sizeof b))
            parity++;
    }
    print_message("fec 10+3: %llu ns per data packet of 1330 bytes\n",
                  (unsigned long long)((pq_clock() - begin) / rounds));
    assert_int_equal(parity, rounds / 10 * 3);
    pq_fec_enc_free(&e);
}

int main(void)
{
    const struct CMUnitTest fec[] = {
        cmocka_unit_test(settings), cmocka_unit_test(matrices), cmocka_unit_test(lengths),
        cmocka_unit_test(vectors),  cmocka_unit_test(encoder),  cmocka_unit_test(speed),
    };
    return ut_run(fec) + fec_rules() + fec_learn() + fec_wrap();
}
