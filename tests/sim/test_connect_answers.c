/* SPDX-License-Identifier: MIT */
/* test_connect_answers.c - which SYNs a server answers: neither a stranger's nor a recording
 * [12.9]. */
#include "tunnel/tunnel_internal.h"
#include "world.h"

#define TCP (14 + 20)

static struct pq_syns *remembered; /* by the server; answers from the start */
static struct link_packet *kept;   /* the client's first SYN */
static unsigned lose_syns;         /* so many of them are lost */
static unsigned wrong_sum;         /* what is played has a wrong checksum */

static struct world_conf connecting(enum pq_system system)
{
    struct world_conf c = world_keyed(10 * PQ_MS);
    world_no_syns(&remembered);
    for (int i = 0; i < 2; i++) {
        c.hub[i].look = i == CLIENT ? PQ_LOOK_CONNECT : PQ_LOOK_PLAUSIBLE;
        c.hub[i].smux.timeout = 60 * PQ_SEC;
        c.hub[i].rmem = 6U << 20;
    }
    c.hub[CLIENT].system = system;
    c.hub[SERVER].syns = remembered;
    return c;
}

static bool is_over(const struct world *w)
{
    return !w->end[CLIENT].hub->n_leaving && !w->end[SERVER].hub->n_leaving;
}

static bool keep_syn(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    (void)from;
    if (k->p[TCP + 13] == PQ_TCP_SYN && !kept)
        kept = link_packet_new(k->p, k->len);
    if (k->p[TCP + 13] == PQ_TCP_SYN && lose_syns) {
        lose_syns--;
        return false;
    }
    return true;
}

static void forget(void)
{
    if (kept)
        link_packet_free(kept);
    kept = NULL;
}

static unsigned
    answers; /* packets of the server but for those of a session, which have a payload */

static bool note_answer(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    answers += from == SERVER && k->len == TCP + (size_t)(k->p[TCP + 12] >> 4) * 4;
    return true;
}

/* From another address, unless it is 0, with this much more time stamp and sequence number.  How
 * many packets the server answers with. */
static unsigned play(struct world *w, uint32_t address, uint32_t later, uint32_t more)
{
    answers = 0;
    struct link_packet *k = link_packet_new(kept->p, kept->len);
    if (address)
        pq_put_be32(k->p + 14 + 12, address);
    pq_put_be32(k->p + TCP + 28, pq_be32(k->p + TCP + 28) + later);
    pq_put_be32(k->p + TCP + 4, pq_be32(k->p + TCP + 4) + more);
    world_make_sound(k->p, k->len);
    k->p[TCP + 16] ^= (uint8_t)wrong_sum;
    w->tap = note_answer;
    world_inject(w, SERVER, k->p, k->len, 0);
    world_run(w, w->now + 15 * PQ_MS, NULL); /* the tap is where the link ends */
    link_packet_free(k);
    return answers;
}

/* A SYN that the server has not seen, and the world in which it may; the client is gone. */
static struct world *with_syn_of(const struct world_conf *c, const char *name, bool arrived)
{
    struct world *w = world_new(c, ut_seed(name));
    w->tap = keep_syn;
    lose_syns = !arrived;
    world_run(w, WORLD_T0 + 500 * PQ_MS, NULL);
    assert_int_equal(w->end[CLIENT].secured, arrived);
    pq_session_end(w->ses, PQ_ECLOSED);
    world_run(w, w->now + 100 * PQ_MS, NULL);
    assert_non_null(kept);
    return w;
}

static struct world *with_syn(const char *name, bool arrived)
{
    const struct world_conf c = connecting(PQ_SYSTEM_HOST);
    return with_syn_of(&c, name, arrived);
}

static struct world *with_plain_syn(const char *name, bool arrived)
{
    const struct world_conf c = connecting(PQ_SYSTEM_WINDOWS);
    return with_syn_of(&c, name, arrived);
}

static void done_with(struct world *w)
{
    forget();
    w->sloppy = true;
    world_free(w);
    pq_syns_free(&remembered);
}

static void strangers(void **state)
{
    (void)state;
    struct world *w = with_syn("strangers", false);
    for (uint32_t i = 1; i < 2000; i++)
        assert_int_equal(play(w, 0x0b000000 + i, 0, i * 2654435761U), 0);
    assert_int_equal(play(w, 0x0b000000, 1, 0), 0);
    assert_int_equal(play(w, 0x0b000000, pq_syn_after(pq_be32(kept->p + TCP + 4), 1) + 1, 0), 0);
    kept->p[TCP + 28 - 2] = 1; /* no time stamps */
    assert_int_equal(play(w, 0x0b000000, 0, 0), 0);
    kept->p[TCP + 28 - 2] = 8;
    kept->p[TCP + 13] = PQ_TCP_SYN | PQ_TCP_ACK;
    assert_int_equal(play(w, 0x0b000000, 0, 0), 0);
    kept->p[TCP + 13] = PQ_TCP_SYN;
    wrong_sum = 0x55; /* a kernel would not answer it */
    assert_int_equal(play(w, 0x0b000001, 0, 0), 0);
    wrong_sum = 0;
    /* held back on its way until now, from wherever it comes: once */
    assert_int_equal(play(w, 0x0b000001, 0, 0), 1);
    assert_int_equal(play(w, 0x0b000002, 0, 0), 0);
    done_with(w);
}

/* Without time stamps: the same, but a repetition has nothing to be known by than that it comes
 * later, and few do. */
static void plain_strangers(void **state)
{
    (void)state;
    struct world *w = with_plain_syn("plain strangers", false);
    for (uint32_t i = 1; i < 2000; i++)
        assert_int_equal(play(w, 0x0b000000 + i, 0, i * 2654435761U), 0);
    kept->p[TCP + 13] = PQ_TCP_SYN | PQ_TCP_ACK;
    assert_int_equal(play(w, 0x0b000000, 0, 0), 0);
    kept->p[TCP + 13] = PQ_TCP_SYN;
    assert_int_equal(play(w, 0x0b000001, 0, 0), 1); /* held back until now */
    assert_int_equal(play(w, 0x0b000002, 0, 0), 0);
    assert_int_equal(play(w, 0x0b000001, 0, 0), 0);
    for (unsigned i = 1; i < 6; i++) {
        world_run(w, w->now + PQ_SEC, NULL);
        assert_int_equal(play(w, 0x0b000002, 0, 0), 0);
        assert_int_equal(play(w, 0x0b000001, 0, 0), i < PQ_SYNS);
    }
    done_with(w);
}

static void recorded(struct world *w)
{
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(play(w, 0x0b000000 + i, 0, 0), 0);
        for (unsigned k = 1; k < PQ_SYN_TIMES; k++)
            assert_int_equal(
                play(w, 0x0b000000 + i, pq_syn_after(pq_be32(kept->p + TCP + 4), k), 0), 0);
        assert_int_equal(play(w, 0, 0, 0), 0);
        world_run(w, w->now + 2 * PQ_SEC, NULL);
    }
    done_with(w);
}

static void recordings(void **state)
{
    (void)state;
    recorded(with_syn("recordings", true));
    recorded(with_plain_syn("recordings", true));
}

/* The server has forgotten: it says nothing while it cannot know, and then the slot is over. */
static void recordings_after_restart(void **state)
{
    (void)state;
    static struct world *(*const with[])(const char *name, bool arrived) = {with_syn,
                                                                            with_plain_syn};
    for (unsigned i = 0; i < 4; i++) {
        const bool arrived = i % 2;
        struct world *w = with[i / 2]("recordings after a restart", arrived);
        w->end[SERVER].conf.syns = NULL;
        world_restart_server(w);
        for (uint32_t k = 0; k < 200; k++) {
            assert_int_equal(play(w, 0x0b000000 + k, 0, 0), 0);
            world_run(w, w->now + PQ_SEC, NULL);
        }
        world_connect(w, 40001); /* who comes then is let in */
        world_run(w, w->now + PQ_SEC, NULL);
        assert_int_equal(w->end[CLIENT].secured, arrived + 1);
        done_with(w);
    }
}

/* ---- bounds */

/* A holder of the keys has as many tuples as he likes. */
static void callers_are_bounded(void **state)
{
    (void)state;
    struct world_conf c = connecting(PQ_SYSTEM_HOST);
    struct world *w = world_new(&c, ut_seed("bounded callers"));
    struct pq_hub *server = w->end[SERVER].hub;
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    pq_session_bye(w->ses);
    world_run(w, w->now + PQ_SEC, NULL);
    pq_session_end(w->ses, PQ_ECLOSED);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, is_over));
    for (unsigned i = 0; i < 600; i++) {
        forget();
        w->tap = keep_syn;
        lose_syns = 1;
        world_connect(w, 40001);
        for (unsigned k = 0; k < 100 && !kept; k++) /* its number is behind the last one's */
            world_run(w, w->now + 2 * PQ_MS, NULL);
        assert_non_null(kept);
        pq_session_end(w->ses, PQ_ECLOSED);
        assert_int_equal(play(w, 0x0b000000 + i, 0, 0), 1);
        assert_true(server->n_callers <= 256);
    }
    assert_int_equal(server->n_callers, 256);
    world_run(w, w->now + 11 * PQ_SEC, NULL);
    assert_int_equal(server->n_callers, 0);
    done_with(w);
}

/* Who guesses has only so many tries in a slot, at whichever port. */
static void guess(struct world *w, unsigned most)
{
    struct pq_segment s;
    uint8_t *copy = malloc(kept->len);
    assert_non_null(copy);
    memcpy(copy, kept->p, kept->len);
    assert_int_equal(pq_segment_parse(&s, copy, kept->len, 14), PQ_DROP_NO_PAYLOAD);
    for (unsigned i = 0; i < most; i++) {
        s.dst.port = (uint16_t)(SERVER_PORT + i % 2);
        s.seq += 2654435761U;
        assert_int_equal(pq_connect_take(w->end[SERVER].hub, &s, w->now), PQ_DROP_NO_PAYLOAD);
    }
    assert_int_equal(play(w, 0, 0, 0), 0);
    free(copy);
    done_with(w);
}

static void guesses_are_bounded(void **state)
{
    (void)state;
    guess(with_syn("bounded guesses", false), PQ_SYNS_WRONG);
    guess(with_plain_syn("bounded plain guesses", false), PQ_SYNS_WRONG_PLAIN);
}

/* ---- a client that waits for its answer */

/* Whoever sends it segments of a connection that there is not: it resets them a few times, as if it
 * had been there, if its port may have had one, and has its own connection all the same. */
static void told_of_another(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t step = i % 3; /* what they acknowledge: the same, or more */
        struct world_conf c = connecting(step == 2 ? PQ_SYSTEM_WINDOWS : PQ_SYSTEM_HOST);
        c.hub[CLIENT].port_fixed = i < 3;
        struct world *w = world_new(&c, ut_seed("told of another"));
        unsigned resets = 0;
        w->tap = keep_syn;
        lose_syns = 0;
        world_run(w, WORLD_T0 + 15 * PQ_MS, NULL);
        assert_non_null(kept);
        struct link_packet *k = link_packet_new(kept->p, TCP + 20);
        k->p[14 + 3] = 40;
        memcpy(k->p + 14 + 12, kept->p + 14 + 16, 4);
        memcpy(k->p + 14 + 16, kept->p + 14 + 12, 4);
        memcpy(k->p + TCP, kept->p + TCP + 2, 2);
        memcpy(k->p + TCP + 2, kept->p + TCP, 2);
        k->p[TCP + 12] = 5 << 4;
        k->p[TCP + 13] = PQ_TCP_ACK;
        while (!w->end[CLIENT].secured && w->now < WORLD_T0 + 5 * PQ_SEC) {
            pq_put_be32(k->p + TCP + 8, pq_be32(k->p + TCP + 8) + step);
            world_make_sound(k->p, k->len);
            world_inject(w, CLIENT, k->p, k->len, 0);
            world_run(w, w->now + PQ_MS, NULL);
            resets = w->ses ? w->ses->flow.conn.n_refused : resets;
        }
        assert_in_range(resets, i < 3, i < 3 ? 3 : 0);
        assert_true(w->now < WORLD_T0 + PQ_SEC);
        link_packet_free(k);
        done_with(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers),           cmocka_unit_test(plain_strangers),
        cmocka_unit_test(recordings),          cmocka_unit_test(recordings_after_restart),
        cmocka_unit_test(callers_are_bounded), cmocka_unit_test(guesses_are_bounded),
        cmocka_unit_test(told_of_another),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("connect answers", tests, NULL, NULL);
}
