/* SPDX-License-Identifier: MIT */
/* test_move.c - sessions of our own wire, or over QUIC (built once more with PQ_SIM_QUIC), that
 * change their port: because a box on the path kills flows, one way or both, after a time or so
 * many bytes; without need; and what others can do with it [12.7] [13.8]. */
#include "header/header.h"
#include "tunnel/syns.h"
#include "tunnel/tunnel_internal.h"
#include "world.h"
#ifdef PQ_SIM_QUIC
#include "quic/quic_internal.h"
#endif

#ifdef PQ_SIM_QUIC
static struct world_conf keyed(pq_ns delay)
{
    static const uint8_t key[PQ_QUIC_KEY_LEN] = "a key of thirty-two bytes length";
    struct world_conf c = world_conf(delay);
    for (int i = 0; i < 2; i++) {
        c.hub[i].transport = &pq_transport_quic;
        c.hub[i].quic = (struct pq_quic_conf){.key = key,
                                              .stream_window = 6 << 20,
                                              .stream_window_max = 24 << 20,
                                              .window = 15 << 20,
                                              .window_max = 60 << 20,
                                              .max_streams = 5000,
                                              .datagrams = true,
                                              .idle = 30 * PQ_SEC,
                                              .keepalive = 10 * PQ_SEC};
    }
    return c;
}

/* Under which id the client sends. */
static uint32_t id_of(const struct world *w)
{
    return pq_le32(ngtcp2_conn_get_dcid(w->ses->quic->conn)->data);
}

/* What it does before it knows that it is heard there is told the same way. */
#define MOVED_IN_VAIN 7
#define UNANSWERED    4
#define ASKS_FIRST    1
#define SHORT_LIVES   1.2 /* Mbit/s where flows of 1 MB/s die after 300 kB: none is left before */
#define SENT_ASTRAY   3   /* times what came from there (RFC 9000 8.2) */
#else
static struct world_conf keyed(pq_ns delay)
{
    struct world_conf c = world_keyed(delay);
    for (int i = 0; i < 2; i++) {
        c.hub[i].smux.timeout = 60 * PQ_SEC;
        c.hub[i].kcp.congestion = PQ_CONGESTION_BBR;
    }
    return c;
}

static uint32_t id_of(const struct world *w)
{
    return w->ses->sec->cur.tx_id;
}

#define MOVED_IN_VAIN 0
#define UNANSWERED    8 /* those that begin by a handshake of TCP included */
#define SENT_ASTRAY   1
#define ASKS_FIRST    0
#define SHORT_LIVES   4.0
#endif

/* ---- a box that kills flows, told apart by the client's port */

#define PORTS 512

static struct {
    pq_ns after;    /* of a flow's first packet; 0 = never */
    uint64_t bytes; /* of a flow, both ways; 0 = any */
    bool way[2];    /* what of it is killed: from the client, from the server */
    pq_ns first[PORTS];
    uint64_t seen[PORTS];
    uint64_t killed;
} box;

static unsigned port_of(const struct link_packet *k, unsigned from)
{
    const uint8_t *tcp = k->p + 14 + 20;
    return pq_be16(from == CLIENT ? tcp : tcp + 2) - 40000U;
}

static bool kill_flows(struct world *w, unsigned from, struct link_packet *k)
{
    const unsigned port = port_of(k, from);
    assert_true(port < PORTS);
    if (!box.first[port])
        box.first[port] = w->now;
    box.seen[port] += k->len;
    const bool dead = (box.after && w->now >= box.first[port] + box.after) ||
                      (box.bytes && box.seen[port] >= box.bytes);
    box.killed += dead && box.way[from];
    return !(dead && box.way[from]);
}

static struct world *behind_a_box(const struct world_conf *c, const char *name, bool up, bool down)
{
    struct world *w = world_new(c, ut_seed(name));
    memset(&box, 0, sizeof box);
    box.way[CLIENT] = up;
    box.way[SERVER] = down;
    w->tap = kill_flows;
    return w;
}

static uint64_t received(const struct world *w)
{
    return w->half[CLIENT][0].rx_at + w->half[SERVER][0].rx_at;
}

/* How long at most nothing has come, until `end`. */
static pq_ns longest_pause(struct world *w, pq_ns end)
{
    pq_ns longest = 0, last = w->now;
    uint64_t before = received(w);
    while (w->now < end) {
        world_run(w, w->now + 20 * PQ_MS, NULL);
        if (received(w) != before)
            last = w->now;
        before = received(w);
        longest = pq_ns_max(longest, w->now - last);
    }
    return longest;
}

/* A download goes on through six deaths of its flow, one way or both, and so does an upload. */
static void killed_after_a_time(void **state)
{
    (void)state;
    static const pq_ns delays[] = {10 * PQ_MS, 50 * PQ_MS, 150 * PQ_MS};
    for (unsigned i = 0; i < 18; i += ut_slow() ? 5 : 1) {
        const pq_ns delay = delays[i / 6];
        const bool up = i % 3 != 1, down = i % 3 != 2, upload = i / 3 % 2;
        struct world_conf c = keyed(delay);
        for (unsigned k = 0; k < 2; k++) {
            c.link[k].rate = 500000;
            c.link[k].queue = 60000;
        }
        struct world *w = behind_a_box(&c, "killed after a time", up, down);
        box.after = 10 * PQ_SEC;
        world_open(w, upload ? 100 << 20 : 100, upload ? 100 : 100 << 20);
        for (unsigned k = 1; k < 11; k++) { /* idle ones */
            world_open(w, 10, 10);
            w->half[CLIENT][k].keep_open = true;
        }
        world_run(w, WORLD_T0 + 2 * PQ_SEC, NULL);
        const pq_ns pause = longest_pause(w, WORLD_T0 + 75 * PQ_SEC);
        if (pause > 2 * PQ_SEC + 5 * delay) /* 2 s from the first that was owed */
            fail_msg("case %u: nothing for %llu ms", i, (unsigned long long)(pause / PQ_MS));
        assert_true(w->end[CLIENT].moved >= 5);
        assert_true(box.killed > 5);
        assert_non_null(w->ses);
        assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 1);
        for (unsigned k = 0; k < 11; k++)
            assert_int_equal(w->half[CLIENT][k].ends, 0);
        assert_true(received(w) > UINT64_C(20) << 20);
        w->sloppy = true;
        world_free(w);
    }
}

static bool has_moved(const struct world *w)
{
    return w->end[CLIENT].moved == w->end[CLIENT].moves;
}

/* Of a server with four workers, and 101 ports, each has the tuples that the kernel gives it:
 * whichever gets a new one hands the datagrams over to the one that has the session.  Nothing is
 * lost, nothing taken twice; answers come from the port that was addressed. */
static void between_workers(void **state)
{
    (void)state;
    struct world_conf c = keyed(20 * PQ_MS);
    c.workers = 4;
    for (unsigned k = 0; k < 2; k++) {
        c.link[k].rate = 2000000;
        c.link[k].queue = 200000;
    }
    struct world *w = world_new(&c, ut_seed("between workers"));
    w->end[CLIENT].server_ports = 101;
    world_open(w, 20 << 20, 20 << 20);
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    for (unsigned i = 1; i <= 50; i++) {
        w->ses->watch.move_at = w->now;
        pq_session_wake(w->ses);
        world_run(w, w->now + PQ_MS, NULL);
        world_run(w, w->now + 2 * PQ_SEC, has_moved);
        assert_int_equal(w->end[CLIENT].moved, i);
        assert_int_equal(w->end[CLIENT].moves, i); /* no port was tried in vain */
    }
    assert_true(world_run(w, w->now + 60 * PQ_SEC, world_closed));
    world_check(w);
    struct pq_kcp_stats k;
    pq_session_stats(w->ses, &k);
    assert_in_range(k.timeouts, 0, 2); /* some probe may go early beside a move */
    assert_true(w->end[SERVER].handed > 1000);
    assert_int_equal(w->end[SERVER].proven, 1);
    for (unsigned i = 1; i < 4; i++) /* it has stayed where it was */
        assert_int_equal(pq_hub_sessions(world_hub(&w->end[SERVER], i)), 0);
    world_free(w);
}

/* ---- before there is a session */

static unsigned blocked; /* of the server's ports, the first ones that the client tries */
static uint16_t tried[8];
static unsigned n_tried;

static bool block_first(struct world *w, unsigned from, struct link_packet *k)
{
    const uint16_t port = pq_be16(k->p + 14 + 20 + 2);
    unsigned i = 0;
    (void)w;
    if (from == SERVER)
        return true;
    while (i < n_tried && tried[i] != port)
        i++;
    if (i == n_tried && i < 8)
        tried[n_tried++] = port;
    return i >= blocked;
}

/* A first message that nobody answers is tried at another port; a slow path is no blocked one. */
static void unanswered(void **state)
{
    (void)state;
    for (unsigned i = 0; i < UNANSWERED; i++) {
        const bool slow = i % 4 == 3, connects = i >= 4;
        struct pq_syns *syns;
        struct world_conf c = keyed(slow ? 800 * PQ_MS : 30 * PQ_MS);
        assert_int_equal(pq_syns_new(&syns, WORLD_WALL - 3 * PQ_SYN_SLOT, 1), 0);
        c.hub[SERVER].syns = syns;
        c.hub[SERVER].look = PQ_LOOK_PLAUSIBLE;
        c.hub[CLIENT].look = connects ? PQ_LOOK_CONNECT : PQ_LOOK_PLAUSIBLE;
        c.hub[0].rmem = c.hub[1].rmem = 6U << 20;
        struct world *w = world_new(&c, ut_seed("unanswered"));
        n_tried = 0;
        blocked = slow ? 0 : i % 4;
        w->end[CLIENT].server_ports = 101;
        w->tap = block_first;
        world_open(w, 1000, 100000); /* waits for the session */
        assert_true(world_run(w, WORLD_T0 + 30 * PQ_SEC, world_closed));
        assert_int_equal(w->end[SERVER].proven, 1);
        if (!slow)
            assert_int_equal(n_tried, blocked + 1);
        assert_in_range(w->now, WORLD_T0, WORLD_T0 + (slow ? 30 : 2 + blocked) * PQ_SEC);
        world_check(w);
        world_free(w);
        pq_syns_free(&syns);
    }
}
static bool has_moved_once(const struct world *w)
{
    return w->end[CLIENT].moved == 1;
}

/* From a fast network to a slow one: what the old one carried is not poured into the new one, nor
 * forgotten where only a port changes. */
static void to_a_slower_network(void **state)
{
    (void)state;
    uint64_t lost[2];
    for (unsigned roams = 0; roams < 2; roams++) {
        struct world_conf c = keyed(25 * PQ_MS);
        c.link[SERVER].rate = 12500000;
        c.link[SERVER].queue = 300000;
        struct world *w = world_new(&c, ut_seed("to a slower network"));
        w->end[CLIENT].roams = roams;
        world_open(w, 100, 300 << 20);
        world_run(w, WORLD_T0 + 4 * PQ_SEC, NULL);
        assert_true(received(w) > 30 << 20);
        w->ses->watch.move_at = w->now;
        pq_session_wake(w->ses);
        if (ASKS_FIRST) /* meanwhile all goes on over the old one */
            assert_true(world_run(w, w->now + PQ_SEC, has_moved_once));
        struct link *down = &w->end[SERVER].out;
        const uint64_t before = down->stats.overflow;
        down->conf.rate = 500000;
        down->conf.queue = 60000;
        world_run(w, w->now + 5 * PQ_SEC, NULL);
        assert_int_equal(w->end[CLIENT].moved, 1);
        lost[roams] = down->stats.overflow - before;
        w->sloppy = true;
        world_free(w);
    }
    print_message("lost: %llu, %llu where the address has changed\n", (unsigned long long)lost[0],
                  (unsigned long long)lost[1]);
    assert_true(lost[1] < lost[0] / 3);
}

/* A download of 8 Mbit/s whose flows die after so many bytes. */
static struct world *flows_of_300_kb(struct world_conf *c, const char *name)
{
    c->link[SERVER].rate = 1000000;
    c->link[SERVER].queue = 60000;
    struct world *w = behind_a_box(c, name, true, true);
    box.bytes = 300000;
    world_open(w, 100, 200 << 20);
    return w;
}

/* Once some have died the next ones are left before, and no longer than that goes on. */
static void killed_after_bytes(void **state)
{
    (void)state;
    struct world_conf c = keyed(25 * PQ_MS);
    struct world *w = flows_of_300_kb(&c, "killed after bytes");
    const pq_ns pause = longest_pause(w, WORLD_T0 + 20 * PQ_SEC);
    assert_true(pause < 5 * PQ_SEC);
    const uint64_t before = received(w);
    unsigned moved = w->end[CLIENT].moved;
    world_run(w, w->now + 10 * PQ_SEC, NULL);
    moved = w->end[CLIENT].moved - moved;
    const double mbit = (double)(received(w) - before) * 8 / 10 / 1e6;
    print_message("flows of 300 kB: %.2f of 8 Mbit/s, %u moves in 10 s\n", mbit, moved);
    assert_true(mbit >= SHORT_LIVES);
    assert_true(received(w) - before > UINT64_C(120000) * moved);
    box.bytes = 0; /* none is killed any more */
    world_run(w, w->now + 10 * PQ_SEC, NULL);
    moved = w->end[CLIENT].moved;
    world_run(w, w->now + 30 * PQ_SEC, NULL);
    assert_int_equal(w->end[CLIENT].moved, moved);
    assert_int_equal(w->end[CLIENT].ended, 0);
    w->sloppy = true;
    world_free(w);
}

#ifndef PQ_SIM_QUIC
/* Where each move costs one of the SYNs that a server answers of a network: one a second. */
static void connections_killed_after_bytes(void **state)
{
    (void)state;
    static struct pq_syns *syns;
    struct world_conf c = keyed(25 * PQ_MS);
    world_no_syns(&syns);
    c.hub[SERVER].syns = syns;
    c.hub[SERVER].look = PQ_LOOK_PLAUSIBLE;
    c.hub[CLIENT].look = PQ_LOOK_CONNECT;
    struct world *w = flows_of_300_kb(&c, "connections killed after bytes");
    world_run(w, WORLD_T0 + 10 * PQ_SEC, NULL);
    const unsigned moved = w->end[CLIENT].moved;
    world_run(w, w->now + 20 * PQ_SEC, NULL);
    print_message("connections of 300 kB: %u moves in 20 s\n", w->end[CLIENT].moved - moved);
    assert_in_range(w->end[CLIENT].moved - moved, 10, 21);
    assert_int_equal(w->end[CLIENT].ended, 0);
    w->sloppy = true;
    world_free(w);
}
#endif

static bool have_come(const struct world *w)
{
    return w->end[SERVER].streams == w->pairs;
}

/* Nothing is sent twice over, and everything is right, when loss and moves come together. */
static void bytes_are_right(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct world_conf c = keyed(30 * PQ_MS);
        c.link[0].loss = c.link[1].loss = 30 * i;
        struct world *w = behind_a_box(&c, "bytes are right", true, i % 2);
        box.after = 3 * PQ_SEC;
        for (unsigned k = 0; k < 5; k++) { /* over QUIC a later one might be the first to come */
            world_open(w, 3000000, 3000000);
            assert_true(world_run(w, w->now + 20 * PQ_SEC, have_come));
        }
        c.link[0].rate = c.link[1].rate = 2000000;
        assert_true(world_run(w, WORLD_T0 + 200 * PQ_SEC, world_closed));
        world_check(w);
        world_free(w);
    }
}

/* A path that is only lossy, or slow for a while, is not left. */
static void not_without_need(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct world_conf c = keyed(i == 1 ? 400 * PQ_MS : 60 * PQ_MS);
        c.link[0].loss = c.link[1].loss = i == 0 ? 200 : 20;
        struct world *w = behind_a_box(&c, "not without need", false, false);
        world_open(w, 100, 3000000);
        world_run(w, WORLD_T0 + 40 * PQ_SEC, NULL);
        assert_int_equal(w->end[CLIENT].moves, 0);
        w->sloppy = true;
        world_free(w);
    }
}

/* An idle session moves at random, each time with other ids, and never loses its place. */
static void moves_by_itself(void **state)
{
    (void)state;
    struct world_conf c = keyed(40 * PQ_MS);
    struct world *w = behind_a_box(&c, "moves by itself", false, false);
    struct half *h = world_open(w, 0, 0);
    h->keep_open = true;
    uint32_t ids[8] = {0};
    for (unsigned hour = 1; hour <= 4; hour++) {
        world_run(w, WORLD_T0 + hour * (3600 * PQ_SEC), NULL);
        ids[hour] = id_of(w);
        assert_int_not_equal(ids[hour], ids[hour - 1]);
        h->tx_len += 1000;
        half_feed(h);
    }
    world_run(w, w->now + PQ_SEC, NULL);
    assert_in_range(w->end[CLIENT].moved, 5, 12);
    assert_int_equal(w->end[CLIENT].moved, w->end[CLIENT].moves);
    assert_int_equal(w->half[SERVER][0].rx_at, 4000);
    assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 1);
    w->sloppy = true;
    world_free(w);
}

/* No other port, or no answer on any: the session goes on where it is, or ends in its time. */
static void nowhere_to_go(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct world_conf c = keyed(20 * PQ_MS);
        struct world *w = behind_a_box(&c, "nowhere to go", true, true);
        w->end[CLIENT].stays = i == 0;
        world_open(w, 100, 1000);
        world_run(w, WORLD_T0 + 2 * PQ_SEC, NULL);
        box.after = 1; /* from now on nothing passes */
        world_run(w, WORLD_T0 + 300 * PQ_SEC, NULL);
        assert_int_equal(w->end[CLIENT].ended, 1);
        assert_int_equal(w->end[SERVER].ended, 1);
        assert_int_equal(w->end[CLIENT].ended_err, PQ_ETIMEOUT);
        assert_true(w->end[CLIENT].moves < 20);
        assert_true(w->end[CLIENT].moved <= MOVED_IN_VAIN);
        w->sloppy = true;
        world_free(w);
    }
}

/* ---- others */

#define TAPE 32

static struct {
    uint8_t frame[TAPE][1514];
    size_t len[TAPE];
    unsigned n;
    bool cut;
} tape;

/* Keeps the last frames of the server's, until nothing passes any more. */
static bool record(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    if (tape.cut)
        return false;
    if (from == SERVER && k->len <= sizeof tape.frame[0]) {
        memcpy(tape.frame[tape.n % TAPE], k->p, k->len);
        tape.len[tape.n++ % TAPE] = k->len;
    }
    return true;
}

/* Somebody plays what the server has sent to wherever the client is.  It has come before, so it is
 * neither life of the server's nor an answer over a new tuple: all goes as it does in silence. */
static void recordings_of_the_server(void **state)
{
    (void)state;
    struct world_conf c = keyed(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("recordings"));
    memset(&tape, 0, sizeof tape);
    w->tap = record;
    world_open(w, 100, 100000)->keep_open = true;
    world_run(w, WORLD_T0 + 2 * PQ_SEC, NULL);
    assert_true(tape.n > TAPE);
    tape.cut = true;
    const pq_ns heard = pq_session_heard(w->ses);
    for (int i = 0; i < 3000 && w->ses; i++) {
        if (i % 10 == 0)
            half_feed(&w->half[CLIENT][0]);
        for (unsigned k = 0; k < TAPE && w->ses; k++) {
            pq_put_be16(tape.frame[k] + 14 + 20 + 2, w->ses->local.port);
            world_make_sound(tape.frame[k], tape.len[k]);
            world_inject(w, CLIENT, tape.frame[k], tape.len[k], 0);
        }
        if (w->ses)
            assert_int_equal(pq_session_heard(w->ses), heard);
        world_run(w, w->now + 100 * PQ_MS, NULL);
    }
    assert_null(w->ses);
    assert_true(w->end[CLIENT].moves < 20);
    assert_true(w->end[CLIENT].moved <= MOVED_IN_VAIN);
    w->sloppy = true;
    world_free(w);
}

static struct {
    unsigned every, n;
    uint64_t from_elsewhere, to_elsewhere;
} divert;

/* Each so-and-so-many-th datagram of the client's session comes from another address. */
static bool divert_some(struct world *w, unsigned from, struct link_packet *k)
{
    if (from == CLIENT && ++divert.n > 8 && divert.n % divert.every == 0) {
        memcpy(k->p + 14 + 12, (const uint8_t[]){203, 0, 113, 9}, 4);
        divert.from_elsewhere += k->len;
    }
    if (from == SERVER && memcmp(k->p + 14 + 16, (const uint8_t[]){203, 0, 113, 9}, 4) == 0) {
        divert.to_elsewhere += k->len;
        return false;
    }
    (void)w;
    return true;
}

static void diverted(void **state)
{
    (void)state;
    static const unsigned every[] = {100, 10, 2};
    for (unsigned i = 0; i < 3; i++) {
        struct world_conf c = keyed(20 * PQ_MS);
        struct world *w = world_new(&c, ut_seed("diverted"));
        memset(&divert, 0, sizeof divert);
        divert.every = every[i];
        w->tap = divert_some;
        world_open(w, 300000, 10 << 20);
        assert_true(world_run(w, WORLD_T0 + 100 * PQ_SEC, world_closed));
        world_check(w);
        assert_true(divert.from_elsewhere > 0);
        assert_true(divert.to_elsewhere <= SENT_ASTRAY * divert.from_elsewhere);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef PQ_SIM_QUIC
        cmocka_unit_test(connections_killed_after_bytes),
#endif
        cmocka_unit_test(killed_after_a_time),
        cmocka_unit_test(killed_after_bytes),
        cmocka_unit_test(between_workers),
        cmocka_unit_test(bytes_are_right),
        cmocka_unit_test(not_without_need),
        cmocka_unit_test(moves_by_itself),
        cmocka_unit_test(unanswered),
        cmocka_unit_test(nowhere_to_go),
        cmocka_unit_test(recordings_of_the_server),
        cmocka_unit_test(diverted),
        cmocka_unit_test(to_a_slower_network)};
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("move", tests, NULL, NULL);
}
