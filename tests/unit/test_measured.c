/* SPDX-License-Identifier: MIT */
/* test_measured.c - what check says of the figures that were measured, and what it advises. */
#include "setup/check.h"
#include "unit.h"

static const struct pq_check_about about = {.seconds = 4, .idle = 40, .models = true};

/* Everything passes. */
static struct pq_measured good(void)
{
    struct pq_measured m = {.speed_able = true, .trains_able = true, .over = true, .n_looks = 3};
    m.look[0] =
        (struct pq_measured_look){.look = PQ_LOOK_PLAUSIBLE, .flags = PQ_TCP_PSH | PQ_TCP_ACK};
    m.look[1] =
        (struct pq_measured_look){.look = PQ_LOOK_CONNECT, .flags = PQ_TCP_PSH | PQ_TCP_ACK};
    m.look[2] = (struct pq_measured_look){.look = PQ_LOOK_CLASSIC, .flags = PQ_TCP_SYN};
    for (unsigned i = 0; i < 3; i++) {
        m.look[i].open = m.look[i].known = true;
        for (unsigned k = 0; k < 2; k++)
            m.look[i].sent[k] = m.look[i].arrived[k] = 10;
    }
    m.most[0] = m.most[1] = m.tried = 1500;
    m.mtu = 1402;
    m.datagram = 1350;
    m.lost_known = true;
    for (unsigned k = 0; k < 2; k++) {
        m.sent[k] = m.came[k] = 120;
        m.speed[k] =
            (struct pq_measured_speed){.done = true, .rate = 5e6, .pings = 20, .loaded = 45};
    }
    return m;
}

static struct pq_findings say(const struct pq_measured *m)
{
    struct pq_findings f = {.n = 0};
    pq_check_measured(m, &about, &f);
    return f;
}

/* The n-th of a topic. */
static const struct pq_finding *of(const struct pq_findings *f, const char *topic, unsigned n)
{
    for (unsigned i = 0; i < f->n; i++)
        if (strcmp(f->v[i].topic, topic) == 0 && n-- == 0)
            return &f->v[i];
    fail_msg("no more of %s", topic);
    abort(); /* the analyzer does not know that it does not return */
}

static void all_is_well(void **state)
{
    (void)state;
    const struct pq_measured m = good();
    const struct pq_findings f = say(&m);
    assert_int_equal(f.bad, 0);
    for (unsigned i = 0; i < f.n; i++) {
        assert_int_equal(f.v[i].level, PQ_FINDING_OK);
        assert_string_equal(f.v[i].remedy, "");
    }
    assert_non_null(strstr(of(&f, "look", 0)->text, "in use"));
    assert_non_null(strstr(of(&f, "speed", 0)->text, "40.0 Mbit/s from the server"));
}

static void looks(void **state)
{
    (void)state;
    struct pq_measured m = good();
    m.look[2].arrived[PQ_UP] = 0; /* one that is not in use: only said */
    struct pq_findings f = say(&m);
    assert_int_equal(f.bad, 0);
    assert_non_null(strstr(of(&f, "look", 2)->text, "only back"));
    m.look[0].arrived[PQ_DOWN] = 1;
    f = say(&m);
    assert_int_equal(f.bad, 1);
    assert_non_null(strstr(of(&f, "look", 0)->text, "way back"));
    assert_string_equal(of(&f, "look", 0)->remedy, "network.tcp.look: connect, at this end");
    m.look[1].open = false;
    m.look[1].arrived[0] = m.look[1].arrived[1] = m.look[1].sent[0] = 0;
    m.look[2].arrived[PQ_UP] = 9;
    f = say(&m);
    assert_non_null(strstr(of(&f, "look", 0)->remedy, "network.tcp.look: classic"));
    assert_non_null(strstr(of(&f, "look", 0)->remedy, "[\"S\"]"));
    assert_non_null(strstr(of(&f, "look", 1)->text, "handshake is not answered"));
    m.look[2].arrived[PQ_UP] = 0;
    f = say(&m);
    assert_non_null(strstr(of(&f, "look", 0)->remedy, "another port"));
}

/* The server is gone half way: that is said, and no look is blamed for it; nor is the one in use
 * for a handshake that was lost. */
static void gone(void **state)
{
    (void)state;
    struct pq_measured m = good();
    m.over = false;
    for (unsigned i = 0; i < m.n_looks; i++)
        m.look[i].arrived[0] = m.look[i].arrived[1] = 0;
    struct pq_findings f = say(&m);
    assert_int_equal(f.bad, 1);
    assert_non_null(strstr(of(&f, "measure", 0)->text, "the server answers no more"));
    for (unsigned i = 0; i < f.n; i++)
        assert_string_not_equal(f.v[i].topic, "look");
    m.look[1].arrived[PQ_UP] = 1; /* it was there then */
    f = say(&m);
    assert_non_null(of(&f, "look", 2));
    m = good();
    m.look[0].look = PQ_LOOK_CONNECT;
    m.look[0].open = false;
    m.look[0].arrived[0] = m.look[0].arrived[1] = m.look[0].sent[0] = m.look[0].sent[1] = 0;
    f = say(&m);
    assert_int_equal(f.bad, 0);
    assert_int_equal(of(&f, "look", 0)->level, PQ_FINDING_NOTE);
    assert_non_null(strstr(of(&f, "look", 0)->text, "beside that of the session"));
}

static void sizes_losses_speed(void **state)
{
    (void)state;
    struct pq_measured m = good();
    m.most[PQ_DOWN] = 1300;
    m.cut = true;
    struct pq_findings f = say(&m);
    assert_int_equal(of(&f, "size", 0)->level, PQ_FINDING_BAD);
    assert_string_equal(of(&f, "size", 0)->remedy, "transport.kcp.mtu: 1248, at both ends");
    assert_non_null(strstr(of(&f, "speed", 0)->text, "not measured"));
    m.adapts = true;
    m.cut = false;
    f = say(&m);
    assert_int_equal(of(&f, "size", 0)->level, PQ_FINDING_OK);
    assert_string_equal(of(&f, "size", 0)->remedy, "");
    assert_non_null(strstr(of(&f, "size", 0)->text, "both ends find it out"));
    assert_null(strstr(of(&f, "speed", 0)->text, "not measured"));
    m = good();
    m.came[PQ_DOWN] = 100;
    m.speed[PQ_UP].loaded = 900;
    m.speed[PQ_DOWN].done = false;
    f = say(&m);
    assert_int_equal(f.bad, 0);
    assert_int_equal(of(&f, "loss", 0)->level, PQ_FINDING_NOTE);
    assert_non_null(strstr(of(&f, "loss", 0)->text, "16.7 % of 120 on the way back"));
    assert_non_null(strstr(of(&f, "speed", 0)->text, "could not be measured"));
    assert_int_equal(of(&f, "speed", 1)->level, PQ_FINDING_NOTE);
    assert_non_null(strstr(of(&f, "speed", 1)->text, "900.0 ms meanwhile, 40.0 without"));
    m.speed[PQ_UP].pings = 0; /* so fast that it was over before */
    f = say(&m);
    assert_string_equal(of(&f, "speed", 1)->text, "40.0 Mbit/s to the server");
}

static bool is_said(const struct pq_findings *f, const char *topic, const char *words)
{
    bool said = false;
    for (unsigned i = 0; i < f->n; i++)
        said |= strcmp(f->v[i].topic, topic) == 0 && strstr(f->v[i].text, words);
    return said;
}

/* What a server says that cannot be is named as that, once, and no figure is made of it. */
static void impossible(void **state)
{
    (void)state;
    static const char words[] = "the server's figures cannot be true";
    for (unsigned how = 0; how < 4; how++) {
        struct pq_measured m = good();
        m.look[1].impossible = how == 0;
        m.size_impossible = how == 1;
        m.lost_impossible = how == 2;
        m.lost_known = how != 2;
        m.speed[PQ_UP].impossible = how == 3;
        m.speed[PQ_UP].done = how != 3;
        const struct pq_findings f = say(&m);
        assert_int_equal(f.bad, 1);
        assert_int_equal(of(&f, "measure", 0)->level, PQ_FINDING_BAD);
        assert_true(is_said(&f, "measure", words));
        assert_int_equal(is_said(&f, "look", "what the server says of it cannot be true"),
                         how == 0);
        assert_int_equal(is_said(&f, "loss", "packets are lost"), how != 2);
        assert_int_equal(is_said(&f, "speed", "Mbit/s to the server"), how != 3);
        assert_int_equal(is_said(&f, "speed", words), how == 3);
    }
    struct pq_measured m = good();
    m.speed[PQ_DOWN].cut = true;
    m.speed[PQ_DOWN].done = false;
    const struct pq_findings f = say(&m);
    assert_int_equal(f.bad, 0);
    assert_true(is_said(&f, "speed", "the server ended it before its time"));
    assert_false(is_said(&f, "speed", "Mbit/s from the server"));
    assert_true(pq_measured_may_be(120, 120, 120) && pq_measured_may_be(0, 0, 0));
    assert_false(pq_measured_may_be(120, 121, 3) || pq_measured_may_be(120, 5, 6));
}

/* An old server, a Go server, the classic wire, a session that was cut short. */
static void not_able(void **state)
{
    (void)state;
    struct pq_measured m = {.over = true};
    struct pq_findings f = say(&m);
    assert_int_equal(f.n, 1);
    assert_non_null(strstr(of(&f, "measure", 0)->text, "another program, or an older one"));
    const struct pq_check_about quic = {.quic = true, .seconds = 4, .idle = 5};
    f = (struct pq_findings){.n = 0};
    pq_check_measured(&m, &quic, &f);
    assert_int_equal(f.n, 1);
    assert_non_null(strstr(f.v[0].text, "another program, or an older one"));
    m = good();
    m.trains_able = false;
    m.n_looks = 0;
    m.came[PQ_UP] = 100;
    m.speed[PQ_UP].loaded = 200;
    f = (struct pq_findings){.n = 0};
    pq_check_measured(&m, &quic, &f);
    assert_non_null(strstr(of(&f, "measure", 0)->text, "over QUIC losses and the speed"));
    assert_non_null(strstr(of(&f, "loss", 0)->text, "16.7 % of 120 small packets"));
    assert_null(strstr(of(&f, "loss", 0)->remedy, "a look above"));
    assert_string_equal(of(&f, "speed", 1)->remedy,
                        "transport.quic.congestion: bbr, which fills no queues");
    m = (struct pq_measured){.speed_able = true};
    f = say(&m);
    assert_non_null(strstr(of(&f, "measure", 0)->text, "classic wire"));
    assert_int_equal(of(&f, "measure", 1)->level, PQ_FINDING_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_well),
        cmocka_unit_test(looks),
        cmocka_unit_test(sizes_losses_speed),
        cmocka_unit_test(impossible),
        cmocka_unit_test(gone),
        cmocka_unit_test(not_able),
    };
    return cmocka_run_group_tests_name("measured", tests, NULL, NULL);
}
