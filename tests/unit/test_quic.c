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
    assert_int_equal(pq_quic_connect(&q, c->end, &path, who, c, w->now), 0);
    const size_t n = pq_quic_pull(q, buf, &to, w->now);
    assert_true(n >= 1200);
    if (keep)
        *keep = q;
    else
        pq_quic_free(&q);
    return n;
}

/* Nothing leaves the server, whatever time passes. */
static void expect_silence(struct qw *w)
{
    qw_run(w, w->now + 15 * PQ_SEC, NULL);
    assert_int_equal(w->side[SERVER].packets_out, 0);
    assert_false(w->side[SERVER].ready);
    assert_int_equal(pq_quic_count(w->side[SERVER].end), 0);
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
    expect_silence(w);
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
    const struct pq_quic_peer wrong = {{(const uint8_t *)"paqet1", 6}, psk};
    const struct pq_quic_peer nobody = {{(const uint8_t *)"somebody", 8}, psk};
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
            n = pq_quic_seal_put(&seal, p, n, &w->side[CLIENT].rng);
            pq_quic_seal_fini(&seal);
        }
        qw_inject(w, SERVER, &w->side[CLIENT].addr, p, n);
        assert_int_equal(w->side[SERVER].drops[PQ_DROP_HANDSHAKE], 1);
        assert_int_equal(w->side[SERVER].accepted, 0);
        expect_silence(w);
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
    expect_silence(w);
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
    expect_silence(w);
    assert_int_equal(w->side[SERVER].accepted, 1); /* its repetitions are replays */
    qw_free(w);
}

/* ---- recordings */

static uint8_t record[64][PQ_QUIC_SIZE_MAX];
static size_t record_len[64], recorded;
static int record_from;

static bool tape(struct qw *w, int from, uint8_t *p, size_t *n)
{
    (void)w;
    if (from == record_from && recorded < COUNT_OF(record)) {
        memcpy(record[recorded], p, *n);
        record_len[recorded++] = *n;
    }
    return true;
}

static struct qw *taped(int from)
{
    struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    recorded = 0;
    record_from = from;
    w->tap = tape;
    qw_up(w);
    qw_run(w, w->now + PQ_SEC, NULL);
    w->tap = NULL;
    return w;
}

static void play(struct qw *w, int to, const struct pq_addr *src)
{
    for (size_t i = 0; i < recorded; i++)
        qw_inject(w, to, src, record[i], record_len[i]);
}

static void replays(void **state)
{
    (void)state;
    struct qw *w = taped(CLIENT);
    struct qw_side *s = &w->side[SERVER];
    struct pq_addr elsewhere = w->side[CLIENT].addr;
    elsewhere.port++;
    const uint64_t before = s->packets_out;
    assert_true(recorded >= 2 && record[0][0] & 0x80);
    play(w, SERVER, &elsewhere); /* its ODCID is forgotten: by the memory */
    play(w, SERVER, &w->side[CLIENT].addr);
    qw_run(w, w->now + 2 * PQ_SEC, NULL);
    assert_int_equal(s->packets_out, before);
    assert_int_equal(s->paths, 0);
    assert_true(s->drops[PQ_DROP_REPLAY] >= 2);

    pq_quic_close(w->side[CLIENT].q, 0); /* the connection has ended */
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_true(s->closed);
    assert_int_equal(s->why.err, 0);
    assert_int_equal(pq_quic_count(s->end), 0);
    const uint64_t then = s->packets_out;
    play(w, SERVER, &elsewhere);
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(s->packets_out, then);
    assert_int_equal(s->accepted, 1);
    qw_free(w);
}

/* The first flight sent again by the client, since the first copy was lost: the other copy, sealed
 * with another nonce, opens nothing later. */
static bool lose_first(struct qw *w, int from, uint8_t *p, size_t *n)
{
    static uint64_t last;
    tape(w, from, p, n);
    if (from == CLIENT && recorded == 1 && last != (uint64_t)(uintptr_t)w) {
        last = (uint64_t)(uintptr_t)w;
        return false;
    }
    return true;
}

static void other_copy(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    struct qw *w = qw_new(&c);
    recorded = 0;
    record_from = CLIENT;
    w->tap = lose_first;
    qw_up(w);
    w->tap = NULL;
    assert_true(memcmp(record[0], record[1], 12) != 0);
    qw_run(w, w->now + PQ_SEC, NULL);
    const uint64_t before = w->side[SERVER].packets_out;
    qw_inject(w, SERVER, &w->side[CLIENT].addr, record[0], record_len[0]);
    assert_int_equal(w->side[SERVER].drops[PQ_DROP_REPLAY], 1);
    qw_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->side[SERVER].packets_out, before);
    qw_free(w);
}

static void damaged(void **state)
{
    (void)state;
    struct qw *w = taped(CLIENT), *fresh;
    struct qw_conf c = qw_conf();
    uint8_t p[PQ_QUIC_SIZE_MAX];
    fresh = qw_new(&c); /* knows nothing of it */
    const size_t n = record_len[0];
    for (size_t len = 0; len < n; len++)
        qw_inject(fresh, SERVER, &w->side[CLIENT].addr, record[0], len);
    for (size_t bit = 0; bit < n * 8; bit++) {
        memcpy(p, record[0], n);
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        qw_inject(fresh, SERVER, &w->side[CLIENT].addr, p, n);
    }
    assert_int_equal(fresh->side[SERVER].accepted, 0);
    assert_int_equal(fresh->side[SERVER].drops[PQ_DROP_NONE], 0);
    expect_silence(fresh);
    qw_inject(fresh, SERVER, &w->side[CLIENT].addr, record[0], n); /* as it is, it does */
    assert_int_equal(fresh->side[SERVER].accepted, 1);
    qw_free(fresh);
    qw_free(w);
}

static void reflected(void **state)
{
    (void)state;
    struct qw *w = taped(SERVER);
    const uint64_t out = w->side[SERVER].packets_out;
    assert_true(record[0][0] & 0x80);
    qw_inject(w, SERVER, &w->side[CLIENT].addr, record[0], record_len[0]);
    assert_int_equal(w->side[SERVER].drops[PQ_DROP_AUTH], 1);
    qw_free(w);
    w = taped(CLIENT);
    qw_inject(w, CLIENT, &w->side[SERVER].addr, record[0], record_len[0]);
    assert_int_equal(w->side[CLIENT].drops[PQ_DROP_AUTH], 1);
    assert_true(out > 0);
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
    expect_silence(w);
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
    expect_silence(w);
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

/* ---- ids */

static void workers(void **state)
{
    (void)state;
    struct qw_conf c = qw_conf();
    c.end[SERVER].worker = 2;
    c.end[SERVER].workers = 5;
    struct qw *w = qw_new(&c);
    recorded = 0;
    record_from = CLIENT;
    w->tap = tape;
    qw_up(w);
    qw_open(&w->side[CLIENT], 1000);
    qw_run(w, w->now + PQ_SEC, NULL);
    unsigned some = 0;
    for (size_t i = 0; i < recorded; i++) {
        if (record[i][0] & 0x80)
            continue;
        assert_int_equal(pq_quic_worker(w->side[SERVER].end, record[i], record_len[i]), 2);
        record[i][1]++;
        qw_inject(w, SERVER, &w->side[CLIENT].addr, record[i], record_len[i]);
        some++;
    }
    assert_true(some > 0);
    assert_int_equal(w->side[SERVER].drops[PQ_DROP_ELSEWHERE], some);
    qw_free(w);
}

/* ---- what is configured wrongly */

static void settings(void **state)
{
    (void)state;
    static const struct pq_quic_events ev = {0};
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
        cmocka_unit_test(replays),
        cmocka_unit_test(other_copy),
        cmocka_unit_test(damaged),
        cmocka_unit_test(reflected),
        cmocka_unit_test(garbage),
        cmocka_unit_test(garbage_at_an_open_server),
        cmocka_unit_test(half_open),
        cmocka_unit_test(too_many),
        cmocka_unit_test(retry),
        cmocka_unit_test(workers),
        cmocka_unit_test(settings),
    };
    return ut_run(tests) + quic_streams_tests();
}
