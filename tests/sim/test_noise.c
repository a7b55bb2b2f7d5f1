/* SPDX-License-Identifier: MIT */
/* test_noise.c - frames that nobody should send: random ones, damaged real ones, in both
 * directions.  They may count, and nothing else. */
#include "world.h"

#define ROUNDS  (ut_slow() ? 10000U : 100000U)
#define SAMPLES 200

struct samples {
    uint8_t p[2][SAMPLES][PQ_SLOT_SIZE];
    size_t len[2][SAMPLES];
    unsigned n[2];
};

static bool sample(struct world *w, unsigned from, struct link_packet *k)
{
    struct samples *s = w->tap_ctx;
    unsigned n = s->n[from];
    if (n == SAMPLES) /* the newest stays */
        n = --s->n[from];
    if (n < SAMPLES && k->len <= PQ_SLOT_SIZE) {
        memcpy(s->p[from][n], k->p, k->len);
        s->len[from][n] = k->len;
        s->n[from]++;
    }
    return true;
}

/* A session in use whose packets of both directions are at hand, and in which now all is quiet. */
static struct world *prepare(const struct world_conf *c, struct samples *s, uint64_t seed)
{
    struct world *w = world_new(c, seed);
    w->tap = sample;
    w->tap_ctx = s;
    s->n[0] = s->n[1] = 0;
    world_open(w, 300000, 300000)->keep_open = true;
    world_run(w, WORLD_T0 + 3 * PQ_SEC, NULL);
    assert_true(world_transferred(w));
    assert_true(s->n[0] > 50 && s->n[1] > 50);
    w->tap = NULL;
    return w;
}

/* A frame of noise in buf; its length. */
static size_t noise(uint64_t *rng, const struct samples *s, unsigned side, uint8_t *buf)
{
    uint32_t kind = ut_below(rng, 4);
    size_t n;
    if (kind == 0) { /* nothing but noise */
        n = ut_below(rng, 200);
        ut_random(rng, buf, n);
        return n;
    }
    unsigned from = kind == 3 ? side : !side; /* 3: reflected */
    unsigned i = ut_below(rng, s->n[from]);
    n = s->len[from][i];
    memcpy(buf, s->p[from][i], n);
    if (kind == 1) { /* the headers are whole, so that it gets far */
        size_t at = 14 + 20 + 32;
        n = at + ut_below(rng, 1400);
        ut_random(rng, buf + at, n - at);
        pq_put_be16(buf + 16, (uint16_t)(n - 14));
        return n;
    }
    return ut_mutate(rng, buf, n, PQ_SLOT_SIZE);
}

static void inject_cut(struct world *w, unsigned side, const uint8_t *p, size_t n, uint64_t *rng)
{
    struct link_packet *k = link_packet_new(p, n);
    struct pq_frame f = {k->p, k->len, k->len + ut_below(rng, 100),
                         (uint16_t)ut_below(rng, 3 + 1400 * ut_below(rng, 2))};
    pq_hub_input(w->end[side].hub, &f, w->now);
    pq_hub_rx_end(w->end[side].hub, w->now);
    link_packet_free(k);
}

static void authenticated(void **state)
{
    (void)state;
    static struct samples s;
    static uint8_t buf[PQ_SLOT_SIZE];
    uint64_t rng = ut_seed("noise");
    for (int gcm = 0; gcm < 2; gcm++) {
        struct world_conf c = world_conf(5 * PQ_MS);
        c.hub[0].cipher = c.hub[1].cipher = gcm ? PQ_CIPHER_AES_128_GCM : PQ_CIPHER_AES;
        struct world *w = prepare(&c, &s, rng);
        uint64_t packets = w->end[SERVER].packets;
        for (unsigned i = 0; i < ROUNDS; i++) {
            unsigned side = i & 1;
            size_t n = noise(&rng, &s, side, buf);
            if (i & 2)
                world_inject(w, side, buf, n, 0);
            else
                inject_cut(w, side, buf, n, &rng);
        }
        printf("dropped by the server: ");
        for (int d = 1; d < PQ_DROP_COUNT; d++)
            if (pq_hub_stats(w->end[SERVER].hub)->drops[d])
                printf("%llu %s, ", (unsigned long long)pq_hub_stats(w->end[SERVER].hub)->drops[d],
                       pq_drop_name((enum pq_drop)d));
        printf("\n");
        assert_int_equal(w->end[SERVER].accepts, 1);
        assert_int_equal(w->end[SERVER].streams, 1);
        assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 1);
        assert_int_equal(w->half[CLIENT][0].ends + w->half[SERVER][0].ends, 0);
        /* a repeated packet whose headers alone were damaged is a duplicate, which is acknowledged
         * once for all of a turn; noise is not answered */
        world_run(w, w->now, NULL);
        assert_true(w->end[SERVER].packets - packets < 20);
        world_open(w, 100000, 100000);
        world_run(w, w->now + 2 * PQ_SEC, NULL);
        assert_true(world_transferred(w));
        world_free(w);
    }
}

static void drop_halves(struct world *w)
{
    for (unsigned i = 0; i < 2; i++)
        for (unsigned k = 0; k < PAIRS_MAX; k++)
            half_close(&w->half[i][k], false);
}

/* Without a cipher damaged datagrams reach KCP and smux.  Whatever they do to the session, nothing
 * is read or written where it should not be, no timer spins, all memory comes back. */
static void null_cipher(void **state)
{
    (void)state;
    static struct samples s;
    static uint8_t buf[PQ_SLOT_SIZE];
    uint64_t rng = ut_seed("noise without cipher");
    for (unsigned round = 0; round < 40; round++) {
        struct world_conf c = world_conf(5 * PQ_MS);
        c.hub[0].cipher = c.hub[1].cipher = PQ_CIPHER_NULL;
        c.hub[0].kcp.rcv_wnd = c.hub[1].kcp.rcv_wnd = 1 + ut_below(&rng, 2000);
        struct world *w = prepare(&c, &s, rng);
        w->sloppy = true;
        for (unsigned i = 0; i < ROUNDS / 40; i++) {
            unsigned side = i & 1;
            size_t n = noise(&rng, &s, side, buf);
            world_inject(w, side, buf, n, 0);
            if (i % 50 == 0)
                world_run(w, w->now + PQ_MS * ut_below(&rng, 100), NULL);
        }
        world_run(w, w->now + 20 * PQ_SEC, NULL);
        drop_halves(w);
        world_free(w);
    }
}

/* What the server expects next, from the last una it sent. */
static uint32_t next_sn(const struct samples *s)
{
    uint32_t una = 0;
    for (unsigned i = 0; i < s->n[SERVER]; i++) {
        uint32_t u = pq_le32(s->p[SERVER][i] + 14 + 20 + 32 + 16);
        una = u > una ? u : una;
    }
    return una;
}

/* A peer with the key may send anything as smux and KCP: the bytes behind the CRC are damaged. */
static void evil_peer(void **state)
{
    (void)state;
    static struct samples s;
    uint64_t rng = ut_seed("evil peer");
    for (unsigned round = 0; round < 40; round++) {
        struct world_conf c = world_conf(5 * PQ_MS);
        c.hub[0].cipher = c.hub[1].cipher = PQ_CIPHER_NULL;
        struct world *w = prepare(&c, &s, rng);
        w->sloppy = true;
        uint32_t sn = next_sn(&s);
        for (unsigned i = 0; i < 500 && pq_hub_sessions(w->end[SERVER].hub); i++) {
            /* the next segments, some out of order, with random smux frames in them */
            uint8_t f[14 + 20 + 32 + 24 + 600];
            const size_t at = 14 + 20 + 32, len = 8 + ut_below(&rng, 600 - 8);
            memcpy(f, s.p[CLIENT][0], at + 4); /* headers and conv */
            uint8_t *k = f + at;
            k[4] = i & 1 ? 81 : 85;
            k[5] = 0;
            pq_put_le16(k + 6, (uint16_t)ut_below(&rng, 3000));
            pq_put_le32(k + 8, (uint32_t)ut_rand(&rng));
            pq_put_le32(k + 12, sn++ + (ut_below(&rng, 8) ? 0 : ut_below(&rng, 4)));
            pq_put_le32(k + 16, 0);
            pq_put_le32(k + 20, (uint32_t)len);
            ut_random(&rng, k + 24, len);
            for (size_t o = 0; o + 8 <= len; o += 8 + ut_below(&rng, 3)) {
                k[24 + o] = 2;
                k[25 + o] = (uint8_t)ut_below(&rng, 11);
                pq_put_le16(k + 26 + o, (uint16_t)(ut_below(&rng, 8)));
                pq_put_le32(k + 28 + o, ut_below(&rng, 20));
            }
            pq_put_be16(f + 16, (uint16_t)(20 + 32 + 24 + len));
            world_inject(w, SERVER, f, at + 24 + len, 0);
            if (i % 20 == 0)
                world_run(w, w->now + PQ_MS * ut_below(&rng, 50), NULL);
        }
        world_run(w, w->now + 20 * PQ_SEC, NULL);
        drop_halves(w);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(authenticated),
        cmocka_unit_test(null_cipher),
        cmocka_unit_test(evil_peer),
    };
    return ut_run(tests);
}
