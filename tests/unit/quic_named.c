/* SPDX-License-Identifier: MIT */
/* quic_named.c - clients that say who they are: what the server has to know of them, and what goes
 * into the keys behind the handshake [13.7]. */
#include "../sim/quic_world.h"
#include "quic/quic_internal.h"
#include "quic_tests.h"

static struct qw_conf named(void)
{
    struct qw_conf c = qw_conf();
    for (int i = 0; i < 2; i++) {
        c.name[i] = "ali";
        c.psk[i] = 3;
        c.mix[i] = 4;
    }
    return c;
}

static void known(void **state)
{
    (void)state;
    for (int required = 0; required < 2; required++) {
        struct qw_conf c = named();
        c.end[SERVER].named = required;
        struct qw *w = qw_new(&c);
        w->side[SERVER].echo = true;
        qw_connect(w);
        struct qw_stream *s = qw_open(&w->side[CLIENT], 3000000);
        assert_true(qw_run(w, w->now + 5 * PQ_SEC, qw_both_got_all));
        assert_int_equal(s->rx, 3000000);
        struct pq_quic_stats st;
        pq_quic_stats(w->side[SERVER].q, &st);
        assert_true(st.keyed);
        qw_free(w);
    }
}

/* Packets come in any order, and are lost, while it begins. */
static void on_bad_paths(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 40; i++) {
        struct qw_conf c = named();
        c.seed = i + 1;
        for (int k = 0; k < 2; k++) {
            c.link[k].delay = 20 * PQ_MS;
            c.link[k].loss = i % 2 ? 200 : 0;
            c.link[k].reorder = i % 3 ? 300 : 0;
            c.link[k].reorder_by = 30 * PQ_MS;
        }
        struct qw *w = qw_new(&c);
        w->side[SERVER].echo = true;
        qw_connect(w);
        qw_open(&w->side[CLIENT], 20000);
        assert_true(qw_run(w, w->now + 20 * PQ_SEC, qw_both_got_all));
        qw_free(w);
    }
}

/* Who knows the PSK, but not what the one has whom it was made for, gets no further than the
 * handshake: nothing that it sends is taken, and nothing that it is sent can be read. */
static void psk_alone(void **state)
{
    (void)state;
    struct qw_conf c = named();
    c.mix[CLIENT] ^= 1;
    struct qw *w = qw_new(&c);
    w->side[SERVER].echo = true;
    qw_connect(w);
    struct qw_stream *s = qw_open(&w->side[CLIENT], 1000);
    qw_run(w, w->now + 5 * PQ_SEC, NULL);
    assert_true(w->side[CLIENT].ready); /* it has seen that the server has the PSK */
    assert_int_equal(w->side[SERVER].accepted, 1);
    assert_false(w->side[SERVER].ready);
    assert_false(pq_quic_is_ready(w->side[SERVER].q));
    assert_int_equal(pq_quic_half_open(w->side[SERVER].end), 1);
    assert_int_equal(w->side[SERVER].n, 0); /* streams */
    assert_int_equal(s->acked, 0);
    struct pq_quic_stats st;
    pq_quic_stats(w->side[SERVER].q, &st);
    assert_false(st.keyed);
    qw_run(w, w->now + 60 * PQ_SEC, NULL);
    assert_true(w->side[SERVER].closed);
    assert_false(w->side[SERVER].ready);
    qw_free(w);
}

static void nobody(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct qw_conf c = named();
        c.end[SERVER].named = i == 3;
        if (i == 0)
            c.name[CLIENT] = "sara";
        else if (i == 1)
            c.psk[CLIENT] ^= 1;
        else if (i == 2)
            c.name[SERVER] = NULL;
        else
            c.name[CLIENT] = NULL; /* the key alone */
        struct qw *w = qw_new(&c);
        qw_connect(w);
        qw_expect_silence(w);
        assert_true(w->side[SERVER].drops[PQ_DROP_HANDSHAKE] > 0);
        assert_int_equal(w->side[SERVER].accepted, 0);
        qw_free(w);
    }
}

/* A ClientHello whose key shares are of no group of ours would be asked for others: nobody is,
 * whoever he says to be, or says nowhere. */
static void nobody_is_asked_again(void **state)
{
    (void)state;
    static const char suites[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:"
                                 "-GROUP-ALL:+GROUP-SECP384R1:+GROUP-SECP521R1:+GROUP-SECP256R1:"
                                 "%DISABLE_TLS13_COMPAT_MODE";
    static const char psk_suites[] = "-KX-ALL:+ECDHE-PSK";
    for (int i = 0; i < 4; i++) {
        struct qw_conf c = named();
        char text[400];
        c.end[SERVER].named = true;
        if (i == 1)
            c.name[CLIENT] = "sara";
        else if (i == 2)
            c.name[CLIENT] = NULL;
        struct qw *w = qw_new(&c);
        struct pq_quic_end *e = w->side[CLIENT].end;
        snprintf(text, sizeof text, "%s:%s", suites, i < 3 ? psk_suites : "-KX-ALL:+ECDHE-RSA");
        gnutls_priority_deinit(e->with_key);
        assert_int_equal(gnutls_priority_init(&e->with_key, text, NULL), 0);
        qw_connect(w);
        qw_expect_silence(w);
        assert_true(w->side[SERVER].drops[PQ_DROP_HANDSHAKE] > 0);
        qw_free(w);
    }
}

/* The key alone is enough where the server does not ask for more, and names nobody. */
static void key_alone(void **state)
{
    (void)state;
    struct qw_conf c = named();
    c.name[CLIENT] = NULL;
    struct qw *w = qw_new(&c);
    qw_up(w);
    assert_false(w->side[SERVER].q->named);
    qw_free(w);
}

int quic_named_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known),     cmocka_unit_test(on_bad_paths),
        cmocka_unit_test(psk_alone), cmocka_unit_test(nobody),
        cmocka_unit_test(key_alone), cmocka_unit_test(nobody_is_asked_again),
    };
    return ut_run(tests);
}
