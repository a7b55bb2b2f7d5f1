/* SPDX-License-Identifier: MIT */
/* test_quic.c - who may open a connection and what strangers see; streams, their ends, datagrams,
 * ids and bounds. */
#include "../sim/quic_world.h"
#include "quic/quic_seal.h"
#include "quic_tests.h"

/* ---- what a client sends first */

/* Pulls one datagram of a new client that is nobody else's. */
static size_t first_datagram(struct qw *w, const struct pq_quic_peer *who,
                             const struct pq_addr *from, uint8_t *buf, struct pq_quic **keep)
{
    struct qw_side *c = &w->side[CLIENT];
    const struct pq_quic_path path = {*from, w->side[SERVER].addr};
    struct pq_quic_path to;
    struct pq_quic *q;
    w->now += PQ_MS;
    assert_int_equal(pq_quic_connect(&q, c->end, &path, who, c, w->now), 0);
    const size_t n = pq_quic_pull(q, buf, &to, w->now);
    assert_true(n >= 1200);
    if (keep)
        *keep = q;
    else
        pq_quic_free(&q);
    return n;
}

/* ---- tests */

static void echo(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    w->side[SERVER].echo = true;
    qw_connect(w);
    struct qw_stream *s = qw_open(&w->side[CLIENT], 3000000); /* before anybody has answered */
    assert_int_equal(pq_quic_stream_id(s->st), -1);
    assert_true(qw_run(w, w->now + 5 * PQ_SEC, qw_both_got_all));
    assert_int_equal(s->rx, 3000000);
    assert_int_equal(pq_quic_stream_id(s->st), 0);
    struct pq_quic_stats st;
    pq_quic_stats(w->side[CLIENT].q, &st);
    assert_true(st.keyed);
    assert_string_equal(st.cipher, "AES-128-GCM");
    assert_int_equal(st.in, 3000000);
    assert_int_equal(st.out, 3000000);
    qw_free(w);
}

static void plain(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    c.no_key[CLIENT] = c.no_key[SERVER] = true;
    c.end[SERVER].open = true;
    struct qw *w = qw_new(&c);
    w->side[SERVER].echo = true;
    qw_connect(w);
    qw_open(&w->side[CLIENT], 100000);
    assert_true(qw_run(w, w->now + 5 * PQ_SEC, qw_both_got_all));
    struct pq_quic_stats st;
    pq_quic_stats(w->side[CLIENT].q, &st);
    assert_false(st.keyed);
    qw_free(w);
}

/* A server that lets both in; who has the key is known. */
static void key_at_an_open_server(void **state)
{
    (void)state;
    for (int key = 0; key < 2; key++) {
        struct qw_conf c = qw_conf();
        c.no_key[CLIENT] = !key;
        c.end[SERVER].open = true;
        struct qw *w = qw_new(&c);
        qw_up(w);
        struct pq_quic_stats st;
        pq_quic_stats(w->side[SERVER].q, &st);
        assert_int_equal(st.keyed, key);
        qw_free(w);
    }
}

static void other_key(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    c.key[CLIENT][0] ^= 1;
    struct qw *w = qw_new(&c);
    qw_connect(w);
    qw_expect_silence(w);
    assert_true(w->side[SERVER].drops[PQ_DROP_AUTH] > 2);
    assert_int_equal(w->side[SERVER].accepted, 0);
    assert_true(w->side[CLIENT].closed);
    assert_int_equal(w->side[CLIENT].why.err, PQ_ETIMEOUT);
    qw_free(w);
}

/* The seal is right, but not what TLS is to be sure of: another PSK, nobody's name, certificates.
 */
static void seal_without_psk(void **state)
{
    (void)state;
    static const uint8_t psk[PQ_QUIC_PSK_LEN] = {1};
    const struct pq_quic_peer wrong = {.identity = {(const uint8_t *)"paqet1", 6}, .psk = psk};
    const struct pq_quic_peer nobody = {.identity = {(const uint8_t *)"somebody", 8}, .psk = psk};
    const struct pq_quic_peer *who[] = {&wrong, &nobody, NULL};
    for (int i = 0; i < 3; i++) {
        struct qw_conf c = qw_conf();
        uint8_t p[PQ_QUIC_SIZE_MAX];
        c.no_key[CLIENT] = !who[i];
        struct qw *w = qw_new(&c);
        size_t n = first_datagram(w, who[i], &w->side[CLIENT].addr, p, NULL);
        if (!who[i]) {
            struct pq_quic_keys k;
            struct pq_quic_seal seal;
            assert_int_equal(pq_quic_keys_make(&k, c.key[SERVER]), 0);
            assert_int_equal(pq_quic_seal_init(&seal, k.c2s), 0);
            const uint64_t stamp = w->now / PQ_MS;
            n = pq_quic_seal_put(&seal, p, n, &stamp, &w->side[CLIENT].rng);
            pq_quic_seal_fini(&seal);
        }
        qw_inject(w, SERVER, &w->side[CLIENT].addr, p, n);
        assert_int_equal(w->side[SERVER].drops[PQ_DROP_HANDSHAKE], 1);
        assert_int_equal(w->side[SERVER].accepted, 0);
        qw_expect_silence(w);
        qw_free(w);
    }
}

static void certificate_at_a_keyed_server(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    c.no_key[CLIENT] = true;
    struct qw *w = qw_new(&c);
    qw_connect(w);
    qw_expect_silence(w);
    assert_true(w->side[SERVER].drops[PQ_DROP_AUTH] > 2);
    qw_free(w);
}

static void not_wanted(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    w->side[SERVER].refuse = true;
    qw_connect(w);
    qw_expect_silence(w);
    assert_int_equal(w->side[SERVER].accepted, 1); /* its repetitions are replays */
    qw_free(w);
}

static void garbage(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    uint64_t rng = ut_seed("garbage");
    uint8_t p[1350];
    struct pq_addr from = w->side[CLIENT].addr;
    for (int i = 0; i < 100000; i++) {
        const size_t n = i % 2 ? sizeof p : ut_below(&rng, sizeof p);
        ut_random(&rng, p, i % 16 ? 32 : n);
        if (i % 3)
            memcpy(p, "\xc3\0\0\0\1\x08", i % 9 ? 6 : 5); /* looks like an Initial */
        from.port = (uint16_t)(i * 7);
        qw_inject(w, SERVER, &from, p, n);
    }
    assert_int_equal(w->side[SERVER].drops[PQ_DROP_NONE], 0);
    assert_int_equal(w->side[SERVER].accepted, 0);
    qw_expect_silence(w);
    qw_free(w);
}

/* The same, open to all: no Version Negotiation, no stateless reset. */
static void garbage_at_an_open_server(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    c.no_key[CLIENT] = true;
    c.end[SERVER].open = true;
    struct qw *w = qw_new(&c);
    uint8_t p[PQ_QUIC_SIZE_MAX];
    const size_t n = first_datagram(w, NULL, &w->side[CLIENT].addr, p, NULL);
    memset(p + 1, 0x1a, 4); /* a version that nobody has */
    qw_inject(w, SERVER, &w->side[CLIENT].addr, p, n);
    for (int i = 0; i < 1000; i++) {
        p[0] = (uint8_t)(i & 0x7f); /* of nobody's connection */
        p[3] = (uint8_t)i;
        qw_inject(w, SERVER, &w->side[CLIENT].addr, p, n);
    }
    qw_expect_silence(w);
    qw_free(w);
}

/* ---- bounds */

static void half_open(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    struct qw_side *s = &w->side[SERVER];
    struct pq_addr from = w->side[CLIENT].addr;
    uint8_t p[PQ_QUIC_SIZE_MAX];
    struct pq_quic *mine[PQ_QUIC_HALF_MAX + 50];
    for (size_t i = 0; i < COUNT_OF(mine); i++) {
        from.port++;
        const size_t n = first_datagram(w, NULL, &from, p, NULL);
        s->closed = false;
        s->q = NULL;
        const size_t before = pq_quic_half_open(s->end);
        qw_inject(w, SERVER, &from, p, n);
        assert_non_null(s->q);
        mine[i] = s->q;
        assert_int_equal(s->closed, before == PQ_QUIC_HALF_MAX); /* another has made room */
        assert_int_equal(s->why.err, s->closed ? PQ_EREPLACED : 0);
    }
    assert_int_equal(pq_quic_half_open(s->end), PQ_QUIC_HALF_MAX);
    for (size_t i = 0; i < COUNT_OF(mine); i++)
        pq_quic_free(&mine[i]);
    s->q = NULL;
    qw_free(w);
}

static void too_many(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    c.end[SERVER].max_conns = 1;
    struct qw *w = qw_new(&c);
    struct pq_addr from = w->side[CLIENT].addr;
    uint8_t p[PQ_QUIC_SIZE_MAX];
    qw_up(w);
    from.port++;
    const size_t n = first_datagram(w, NULL, &from, p, NULL);
    const uint64_t out = w->side[SERVER].packets_out;
    qw_inject(w, SERVER, &from, p, n);
    assert_int_equal(w->side[SERVER].drops[PQ_DROP_FULL], 1);
    assert_int_equal(w->side[SERVER].packets_out, out);
    qw_free(w);
}

/* Where strangers are let in, many that wait make the next ones show that they are there. */
static void retry(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    c.no_key[CLIENT] = true;
    c.end[SERVER].open = true;
    struct qw *w = qw_new(&c);
    struct qw_side *s = &w->side[SERVER];
    struct pq_addr from = w->side[CLIENT].addr;
    struct pq_quic *mine[PQ_QUIC_HALF_RETRY];
    struct pq_quic_path path;
    uint8_t p[PQ_QUIC_SIZE_MAX];
    for (size_t i = 0; i < COUNT_OF(mine); i++) {
        from.port++;
        const size_t n = first_datagram(w, NULL, &from, p, NULL);
        qw_inject(w, SERVER, &from, p, n);
        mine[i] = s->q;
        assert_int_equal(pq_quic_answer(s->end, p, &path), 0);
    }
    s->q = NULL;
    for (int i = 0; i < 100; i++) { /* no more than wait for a moment */
        from.port++;
        const size_t n = first_datagram(w, NULL, &from, p, NULL);
        qw_inject(w, SERVER, &from, p, n);
    }
    assert_int_equal(pq_quic_half_open(s->end), PQ_QUIC_HALF_RETRY);
    int answers = 0;
    size_t n;
    while ((n = pq_quic_answer(s->end, p, &path))) {
        assert_true((p[0] & 0xf0) == 0xf0 && n < 200);
        answers++;
    }
    assert_in_range(answers, 1, 16);
    qw_up(w); /* by a Retry */
    assert_int_equal(pq_quic_half_open(s->end), PQ_QUIC_HALF_RETRY);
    for (size_t i = 0; i < COUNT_OF(mine); i++)
        pq_quic_free(&mine[i]);
    qw_free(w);
}

/* Who has shown so that he is there, and gets no further, does not fill the server either. */
static void half_open_without_a_key(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    c.no_key[CLIENT] = true;
    c.end[SERVER].open = true;
    struct qw *w = qw_new(&c);
    struct qw_side *s = &w->side[SERVER];
    struct pq_quic_path at = {w->side[CLIENT].addr, s->addr}, to;
    struct pq_quic *mine[PQ_QUIC_HALF_MAX + 50], *client, *of;
    uint8_t p[PQ_QUIC_SIZE_MAX];
    for (size_t i = 0; i < COUNT_OF(mine); i++) {
        at.local.port++;
        s->closed = false;
        s->q = NULL;
        size_t n = first_datagram(w, NULL, &at.local, p, &client);
        qw_inject(w, SERVER, &at.local, p, n);
        assert_int_equal(!s->q, i >= PQ_QUIC_HALF_RETRY);
        if (!s->q) {
            n = pq_quic_answer(s->end, p, &to);
            assert_int_equal(pq_quic_input(w->side[CLIENT].end, &at, p, n, &of, w->now), 0);
            n = pq_quic_pull(client, p, &to, w->now);
            qw_inject(w, SERVER, &at.local, p, n);
        }
        pq_quic_free(&client);
        mine[i] = s->q;
        assert_non_null(mine[i]);
        assert_int_equal(s->closed, i >= PQ_QUIC_HALF_MAX);
        assert_true(pq_quic_half_open(s->end) <= PQ_QUIC_HALF_MAX);
    }
    for (size_t i = 0; i < COUNT_OF(mine); i++)
        pq_quic_free(&mine[i]);
    s->q = NULL;
    qw_free(w);
}

/* ---- what is configured wrongly */

static uint64_t no_clock(void *ctx)
{
    (void)ctx;
    return 1;
}

static void settings(void **state)
{
    (void)state;
    static const struct pq_quic_events ev = {.wall = no_clock};
    static const uint8_t key[PQ_QUIC_KEY_LEN] = {1};
    struct pq_chunks chunks;
    struct pq_rng rng;
    struct pq_quic_end *e;
    pq_rng_init_seed(&rng, 1);
    pq_chunks_init(&chunks, 1 << 20);
    const struct pq_quic_conf good = qw_conf().end[SERVER];
    struct pq_quic_conf c = good;
    assert_int_equal(pq_quic_end_new(&e, &c, &ev, NULL, &chunks, &rng), PQ_EINVAL); /* no key */
    c.key = key;
    c.size = PQ_QUIC_SIZE_MIN - 1;
    assert_int_equal(pq_quic_end_new(&e, &c, &ev, NULL, &chunks, &rng), PQ_EINVAL);
    c.size = PQ_QUIC_SIZE_MAX + 1;
    assert_int_equal(pq_quic_end_new(&e, &c, &ev, NULL, &chunks, &rng), PQ_EINVAL);
    c.size = good.size;
    c.window = c.window_max + 1;
    assert_int_equal(pq_quic_end_new(&e, &c, &ev, NULL, &chunks, &rng), PQ_EINVAL);
    c.window = good.window;
    c.workers = 0;
    assert_int_equal(pq_quic_end_new(&e, &c, &ev, NULL, &chunks, &rng), PQ_EINVAL);
    assert_null(e);
    c.workers = 1;
    assert_int_equal(pq_quic_end_new(&e, &c, &ev, NULL, &chunks, &rng), 0);
    pq_quic_end_free(&e);
    pq_chunks_fini(&chunks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo),
        cmocka_unit_test(plain),
        cmocka_unit_test(key_at_an_open_server),
        cmocka_unit_test(other_key),
        cmocka_unit_test(seal_without_psk),
        cmocka_unit_test(certificate_at_a_keyed_server),
        cmocka_unit_test(not_wanted),
        cmocka_unit_test(garbage),
        cmocka_unit_test(garbage_at_an_open_server),
        cmocka_unit_test(half_open),
        cmocka_unit_test(too_many),
        cmocka_unit_test(retry),
        cmocka_unit_test(half_open_without_a_key),
        cmocka_unit_test(settings),
    };
    return ut_run(tests) + quic_named_tests() + quic_recordings_tests() + quic_streams_tests() +
           quic_frames_tests() + quic_go_tests() + quic_memory_tests() + quic_tickets_tests();
}
