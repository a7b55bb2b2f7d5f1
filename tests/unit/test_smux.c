/* SPDX-License-Identifier: MIT */
/* test_smux.c - sessions: settings, ids, reading of frames, keepalive, random input. */
#include "smux_peer.h"
#include "unit.h"

static void settings(void **state)
{
    (void)state;
    struct pq_smux *s;
    struct pq_smux_conf c = sconf(true);
    const struct pq_smux_events ev = {0};
    c.stream_buf = (uint32_t)c.session_buf + 1;
    assert_int_equal(pq_smux_new(&s, &c, &ev, NULL, NULL, 0), PQ_EINVAL);
    assert_null(s);
    c = sconf(true);
    c.timeout = c.keepalive - 1;
    assert_int_equal(pq_smux_new(&s, &c, &ev, NULL, NULL, 0), PQ_EINVAL);
    assert_null(s);
}

static void ids(void **state)
{
    (void)state;
    for (int client = 0; client < 2; client++) {
        struct sess x;
        struct sframe f[10];
        struct pq_smux_conf c = sconf(client);
        sess_init(&x, &c);
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(pq_smux_stream_id(sess_open(&x)->st), (client ? 3 : 2) + 2 * i);
        assert_int_equal(pq_smux_count(x.s), 4);
        assert_int_equal(sess_pull_all(&x, f, 10), 4);
        for (uint32_t i = 0; i < 4; i++) {
            assert_int_equal(f[i].cmd, SMUX_SYN);
            assert_int_equal(f[i].id, (client ? 3 : 2) + 2 * i);
        }
        x.s->next_id = client ? 0xffffffff : 0xfffffffe; /* the ids end [5.2] */
        sess_open(&x);
        assert_null(pq_smux_open(x.s, &x));
        assert_null(pq_smux_open(x.s, &x));
        sess_fini(&x);
    }
}

/* A SYN of an id in use is ignored; frames of unknown ids are read and ignored [5.2] [5.4]. */
static void odd_frames(void **state)
{
    (void)state;
    struct sess x;
    struct sframe f[10];
    struct pq_smux_conf c = sconf(false);
    sess_init(&x, &c);
    assert_int_equal(sess_give(&x, SMUX_PSH, 3, NULL, 1000), 1);
    assert_int_equal(sess_give(&x, SMUX_FIN, 3, NULL, 0), 1);
    assert_int_equal(sess_upd(&x, 3, 9, 9), 1);
    assert_int_equal(x.n_users, 0);
    sess_give(&x, SMUX_SYN, 3, NULL, 0);
    sess_give(&x, SMUX_SYN, 3, NULL, 0);
    assert_int_equal(x.n_users, 1);
    sess_give(&x, SMUX_SYN, 8, NULL, 0); /* the reader checks no parity */
    assert_int_equal(x.n_users, 2);
    sess_give(&x, SMUX_PSH, 3, NULL, 0); /* empty: ignored */
    assert_int_equal(x.user[0].frames, 0);
    sess_give(&x, SMUX_PSH, 3, NULL, 65535);
    assert_int_equal(x.user[0].rx_len, 65535);
    assert_int_equal(x.user[0].frames, 1);
    const uint8_t upd[] = {2, 4, 99, 0, 3, 0, 0, 0,
                           0, 0, 0,  0, 0, 0, 1, 0}; /* length 99: 8 bytes */
    assert_int_equal(sess_bytes(&x, upd, sizeof upd), 1);
    assert_int_equal(sess_user(&x, 3)->st->peer_window, 65536);
    const uint8_t nop[] = {2, 3, 5, 0, 0, 0, 0, 0}; /* length in a NOP: no payload is skipped */
    assert_int_equal(sess_bytes(&x, nop, sizeof nop), 1);
    assert_int_equal(sess_give(&x, SMUX_SYN, 9, NULL, 0), 1);
    assert_int_equal(x.n_users, 3);
    assert_int_equal(sess_pull_all(&x, f, 10), 0); /* none of it is answered */
    sess_fini(&x);
}

static void broken_frames(void **state)
{
    (void)state;
    static const uint8_t bad[][2] = {{1, 0}, {0, 0}, {3, 2}, {2, 5}, {2, 11}, {2, 254}, {0x50, 1}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct sess x;
        struct pq_smux_conf c = sconf(false);
        uint8_t b[8] = {bad[i][0], bad[i][1], 0, 0, 3, 0, 0, 0};
        sess_init(&x, &c);
        assert_int_equal(sess_bytes(&x, b, 7), 1);
        assert_int_equal(sess_bytes(&x, b + 7, 1), PQ_EPROTO);
        sess_fini(&x);
    }
}

/* Bytes that come in any pieces are the same frames. */
static void pieces(void **state)
{
    (void)state;
    uint8_t b[400];
    size_t n = 0;
    static const uint16_t len[] = {1, 100, 7, 0, 60};
    for (uint32_t i = 0; i < 5; i++) {
        const uint8_t syn[8] = {2, SMUX_SYN, 0, 0, (uint8_t)(3 + i)};
        const uint8_t psh[8] = {2, SMUX_PSH, (uint8_t)len[i], 0, (uint8_t)(3 + i)};
        memcpy(b + n, syn, 8);
        memcpy(b + n + 8, psh, 8);
        ut_pattern(b + n + 16, len[i], i);
        n += 16u + len[i];
    }
    for (size_t piece = 1; piece <= n; piece++) {
        struct sess x;
        struct pq_smux_conf c = sconf(false);
        sess_init(&x, &c);
        for (size_t at = 0; at < n; at += piece)
            assert_int_equal(sess_bytes(&x, b + at, piece < n - at ? piece : n - at), 1);
        assert_int_equal(x.n_users, 5);
        for (uint32_t i = 0; i < 5; i++) {
            uint8_t want[100];
            ut_pattern(want, len[i], i);
            assert_int_equal(x.user[i].rx_len, len[i]);
            assert_int_equal(x.user[i].frames, len[i] > 0); /* one end, at the last part */
            assert_false(x.user[i].mid_frame);
            if (len[i])
                assert_memory_equal(x.user[i].rx, want, len[i]);
        }
        sess_fini(&x);
    }
}

static void keepalive(void **state)
{
    (void)state;
    struct sess x;
    struct sframe f[4];
    struct pq_smux_conf c = sconf(true);
    sess_init(&x, &c); /* made at 1 s */
    unsigned nops = 0, quick = 0;
    pq_ns now = PQ_SEC, last = now;
    for (int i = 0; i < 400; i++) {
        pq_ns at = pq_smux_deadline(x.s);
        assert_true(at > now && at <= now + 2 * PQ_SEC);
        now = at;
        sess_give(&x, SMUX_NOP, 0, NULL, 0);
        assert_int_equal(pq_smux_tick(x.s, now), 0);
        size_t n = sess_pull_all(&x, f, 4);
        nops += (unsigned)n;
        for (size_t k = 0; k < n; k++)
            assert_int_equal(f[k].cmd, SMUX_NOP);
        if (n) {
            assert_in_range(now - last, PQ_SEC, 2 * PQ_SEC); /* half to all of the interval */
            quick += now - last < 3 * PQ_SEC / 2;
            last = now;
        }
    }
    assert_in_range(quick * 100 / nops, 40, 60); /* at random */
    sess_fini(&x);
}

/* Silence is noticed after one to two time-outs; any header is a sign of life, payload is not;
 * a reader stopped by a full session buffer is not silence [5.5]. */
static void timeouts(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct sess x;
        struct pq_smux_conf c = sconf(false);
        uint8_t byte = 0;
        c.session_buf = c.stream_buf = 1000;
        sess_init(&x, &c);
        sess_give(&x, SMUX_SYN, 3, NULL, 0);
        if (kind == 1)
            sess_bytes(&x, (const uint8_t *)"\2\2\xff\xff\3\0\0\0", 8);
        if (kind == 2) {
            sess_give(&x, SMUX_PSH, 3, NULL, 1000);
            assert_int_equal(sess_give(&x, SMUX_NOP, 0, NULL, 0), 0);
        }
        pq_ns end = PQ_SEC, closed = 0;
        while (!closed && end < 60 * PQ_SEC) {
            end = pq_smux_deadline(x.s);
            if (kind == 1)
                sess_bytes(&x, &byte, 1);
            int r = pq_smux_tick(x.s, end);
            assert_true(r == 0 || r == PQ_ETIMEOUT);
            if (r)
                closed = end - PQ_SEC;
        }
        if (kind == 2)
            assert_int_equal(closed, 0);
        else
            assert_true(closed >= 8 * PQ_SEC && closed <= 16 * PQ_SEC);
        sess_fini(&x);
    }
}

static size_t random_frame(uint64_t *seed, uint8_t *b)
{
    uint16_t len = 0;
    b[0] = 2;
    b[1] = (uint8_t)ut_below(seed, 5);
    if (b[1] == SMUX_PSH)
        len = (uint16_t)ut_below(seed, 40);
    else if (b[1] == SMUX_UPD)
        len = 8;
    pq_put_le16(b + 2, len);
    pq_put_le32(b + 4, b[1] == SMUX_NOP ? 0 : 2 + ut_below(seed, 12));
    ut_random(seed, b + 8, len);
    if (b[1] == SMUX_UPD) {
        pq_put_le32(b + 8, ut_below(seed, 3000));
        pq_put_le32(b + 12, ut_below(seed, 3000));
    }
    return 8 + (size_t)len;
}

static void fuzz_step(struct sess *x, uint64_t *seed)
{
    struct suser *u = x->n_users ? &x->user[ut_below(seed, (uint32_t)x->n_users)] : NULL;
    struct sframe f[64];
    switch (ut_below(seed, 8)) {
    case 0:
        if (x->n_users < USERS_MAX - 1 && pq_smux_count(x->s) < x->s->conf.max_streams)
            sess_open(x);
        break;
    case 1:
    case 2:
        if (u && u->st)
            sess_send(u, 1 + ut_below(seed, 900), 1);
        break;
    case 3:
        if (u && u->st) {
            if (ut_below(seed, 2))
                pq_smux_close(u->st);
            else
                pq_smux_abort(u->st);
            u->st = NULL;
        }
        break;
    case 4:
        if (u && u->st)
            pq_smux_cork(u->st, ut_below(seed, 3) == 0);
        break;
    default:
        sess_pull(x, f, 64);
        x->out_len = 0;
    }
}

static void fuzz(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("smux");
    static struct sess x;
    bool up = false;
    for (int i = 0; i < FUZZ_ROUNDS; i++) {
        uint8_t b[200];
        if (!up || x.n_users > USERS_MAX - 8) {
            struct pq_smux_conf c = sconf(i & 1);
            c.max_streams = 8;
            if (up)
                sess_fini(&x);
            sess_init(&x, &c);
            x.eat = true;
            up = true;
        }
        size_t n = random_frame(&seed, b);
        if (ut_below(&seed, 50) == 0)
            n = ut_mutate(&seed, b, n, sizeof b);
        x.refuse = i % 7 == 0;
        if (sess_bytes(&x, b, n) < 0) {
            sess_fini(&x);
            up = false;
            continue;
        }
        fuzz_step(&x, &seed);
    }
    if (up)
        sess_fini(&x);
}

int main(void)
{
    const struct CMUnitTest smux[] = {
        cmocka_unit_test(settings),      cmocka_unit_test(ids),    cmocka_unit_test(odd_frames),
        cmocka_unit_test(broken_frames), cmocka_unit_test(pieces), cmocka_unit_test(keepalive),
        cmocka_unit_test(timeouts),      cmocka_unit_test(fuzz),
    };
    return ut_run(smux) + smux_rules() + smux_whole() + smux_early() + smux_vectors();
}
