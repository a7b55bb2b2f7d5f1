/* SPDX-License-Identifier: MIT */
/* test_ports_attack.c - a server with 101 ports, and somebody with recordings and a raw socket, or
 * with the keys of a user: what one port does not answer, a hundred others do not, and no table
 * grows with them [12.2] [12.7] [12.9]. */
#include "tunnel/syns.h"
#include "tunnel/tunnel_internal.h"
#include "world.h"

#define PORTS 101
#define IP    14
#define TCP   (IP + 20)

static struct link_packet *kept;

static void forget(void)
{
    if (kept)
        link_packet_free(kept);
    kept = NULL;
}

static uint16_t held_port; /* of the client: nothing from it arrives */

/* Keeps a copy of the client's first packet, or of the first from that port. */
static bool keep(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    const bool held = from == CLIENT && pq_be16(k->p + TCP) == held_port;
    if (from == CLIENT && !kept && (held || !held_port))
        kept = link_packet_new(k->p, k->len);
    return !held;
}

/* What was kept comes to each port of the server: from one address, or each from another. */
static void to_all_ports(struct world *w, bool others)
{
    for (unsigned i = 0; i < PORTS; i++) {
        struct link_packet *k = link_packet_new(kept->p, kept->len);
        pq_put_be16(k->p + TCP + 2, (uint16_t)(SERVER_PORT + i));
        if (others)
            pq_put_be32(k->p + IP + 12, 0xcb007100U + i);
        world_make_sound(k->p, k->len);
        world_inject(w, SERVER, k->p, k->len, 0);
        link_packet_free(k);
        world_run(w, w->now + PQ_MS, NULL);
    }
}

/* ---- a recording of a first message, and of a SYN */

static struct world_conf with_connections(struct pq_syns **syns)
{
    struct world_conf c = world_keyed(10 * PQ_MS);
    assert_int_equal(pq_syns_new(syns, WORLD_WALL - 3 * PQ_SYN_SLOT, 1), 0);
    c.hub[SERVER].syns = *syns;
    c.hub[SERVER].look = PQ_LOOK_PLAUSIBLE;
    c.hub[CLIENT].look = PQ_LOOK_CONNECT;
    c.hub[0].rmem = c.hub[1].rmem = 6U << 20;
    return c;
}

static void recordings(void **state)
{
    (void)state;
    for (unsigned syn = 0; syn < 2; syn++) {
        struct pq_syns *syns = NULL;
        const struct world_conf c = syn ? with_connections(&syns) : world_keyed(10 * PQ_MS);
        struct world *w = world_new(&c, ut_seed("recordings"));
        held_port = 0;
        w->tap = keep;
        world_run(w, w->now + PQ_SEC, NULL);
        w->tap = NULL;
        assert_int_equal(w->end[SERVER].secured, 1);
        pq_session_end(w->ses, PQ_ECLOSED);
        world_run(w, w->now + 2 * PQ_SEC, NULL);
        struct pq_hub *h = w->end[SERVER].hub;
        while (!pq_list_empty(&h->sessions))
            pq_session_end(PQ_OF(h->sessions.next, struct pq_session, node), PQ_ECLOSED);
        world_run(w, w->now + 15 * PQ_SEC, NULL);
        const uint64_t sent = w->end[SERVER].packets, rate = h->stats.drops[PQ_DROP_RATE];
        for (int others = 0; others < 2; others++)
            to_all_ports(w, others);
        assert_int_equal(w->end[SERVER].packets, sent);
        assert_int_equal(h->n_replies + h->n_callers + h->by_peer.n, 0);
        assert_int_equal(h->stats.drops[PQ_DROP_RATE], rate); /* nothing was computed for it */
        w->sloppy = true;
        world_free(w);
        pq_syns_free(&syns);
        forget();
    }
}

/* A SYN that never came to the server, at all of its ports: one is answered. */
static void held_back_syn(void **state)
{
    (void)state;
    struct pq_syns *syns;
    const struct world_conf c = with_connections(&syns);
    struct world *w = world_new(&c, ut_seed("held back"));
    held_port = 40000;
    w->tap = keep;
    world_run(w, w->now + 20 * PQ_MS, NULL);
    assert_non_null(kept);
    pq_session_end(w->ses, PQ_ECLOSED);
    to_all_ports(w, true);
    assert_int_equal(w->end[SERVER].packets, 1);
    assert_int_equal(w->end[SERVER].hub->n_callers, 1);
    w->sloppy = true;
    world_free(w);
    pq_syns_free(&syns);
    forget();
}

/* ---- MOVE */

/* One that was held back, to all ports from elsewhere, again and again: it is answered once, with
 * no more than it has, and the session stays where it is. */
static void held_back_move(void **state)
{
    (void)state;
    const struct world_conf c = world_keyed(10 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("held back move"));
    world_open(w, 100000, 100000);
    assert_true(world_run(w, w->now + 10 * PQ_SEC, world_closed));
    world_run(w, w->now + PQ_SEC, NULL);
    held_port = 40001; /* that it moves to */
    w->end[CLIENT].server_ports = PORTS;
    w->ses->watch.move_at = w->now;
    pq_session_wake(w->ses);
    w->tap = keep;
    world_run(w, w->now + 12 * PQ_MS, NULL);
    assert_non_null(kept);
    struct pq_hub *h = w->end[SERVER].hub;
    const uint64_t sent = h->stats.tx_bytes, tuples = h->by_peer.n;
    for (int i = 0; i < 3; i++)
        to_all_ports(w, true);
    const uint64_t idle =
        UINT64_C(3) * 64; /* acknowledgements of what the client sends meanwhile */
    assert_in_range(h->stats.tx_bytes - sent, 1, kept->len + idle);
    assert_true(h->by_peer.n <= tuples + 1);
    assert_int_equal(w->end[SERVER].moved, 0);
    w->tap = NULL;
    world_open(w, 100000, 100000);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
    assert_int_equal(pq_hub_sessions(h), 1);
    world_check(w);
    world_free(w);
    forget();
}

/* ---- a user, with his keys, from and to all ports */

static void many_handshakes(void **state)
{
    (void)state;
    const struct world_conf c = world_keyed(PQ_MS);
    struct world *w = world_new(&c, ut_seed("many handshakes"));
    struct pq_hub *h = w->end[SERVER].hub;
    size_t replies = 0;
    for (unsigned i = 0; i < 5 * PORTS; i++) {
        w->end[SERVER].addr.port = (uint16_t)(SERVER_PORT + i % PORTS);
        world_connect(w, (uint16_t)(41000 + i));
        world_run(w, w->now + 2 * PQ_MS, NULL);
        pq_session_end(w->ses, PQ_ECLOSED); /* he never uses the answer */
        replies = h->n_replies > replies ? h->n_replies : replies;
    }
    assert_in_range(replies, 5, 32);
    assert_true(h->stats.drops[PQ_DROP_RATE] > 300);
    assert_true(pq_hub_sessions(h) <= 1);
    world_run(w, w->now + 15 * PQ_SEC, NULL);
    assert_int_equal(h->n_replies, 0);
    w->sloppy = true;
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recordings),
        cmocka_unit_test(held_back_syn),
        cmocka_unit_test(held_back_move),
        cmocka_unit_test(many_handshakes),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("ports attack", tests, NULL, NULL);
}
