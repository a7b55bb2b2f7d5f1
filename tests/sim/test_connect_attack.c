/* SPDX-License-Identifier: MIT */
/* test_connect_attack.c - connections whose handshake somebody on the line disturbs, who sees it
 * and is faster than the server [12.9]; flags that are configured for other packets; clocks that
 * were wrong. */
#include "tunnel/measure.h"
#include "tunnel/syns.h"
#include "tunnel/tunnel_internal.h"
#include "world.h"

#define IP  14
#define TCP (IP + 20)

static struct pq_syns *syns;

static struct world_conf connecting(pq_ns delay)
{
    struct world_conf c = world_keyed(delay);
    assert_int_equal(pq_syns_new(&syns, WORLD_WALL - 3 * PQ_SYN_SLOT, 1), 0);
    for (int i = 0; i < 2; i++) {
        c.hub[i].look = i == CLIENT ? PQ_LOOK_CONNECT : PQ_LOOK_PLAUSIBLE;
        c.hub[i].smux.timeout = 60 * PQ_SEC;
        c.hub[i].rmem = 6U << 20;
    }
    c.hub[SERVER].syns = syns;
    return c;
}

static void finish(struct world *w)
{
    w->sloppy = true;
    world_free(w);
    pq_syns_free(&syns);
}

/* ---- SYN+ACKs that the server has not sent */

static struct link_packet *kept; /* the client's SYN */

static bool keep_syn(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    if (from == CLIENT && k->p[TCP + 13] == PQ_TCP_SYN && !kept)
        kept = link_packet_new(k->p, k->len);
    return true;
}

static void swap(uint8_t *a, uint8_t *b, size_t n)
{
    uint8_t t[4];
    memcpy(t, a, n);
    memcpy(a, b, n);
    memcpy(b, t, n);
}

static void forge_answer(struct world *w, uint32_t isn, uint16_t window, uint16_t mss)
{
    struct link_packet *k = link_packet_new(kept->p, kept->len);
    uint8_t *tcp = k->p + TCP;
    swap(k->p + IP + 12, k->p + IP + 16, 4);
    swap(tcp, tcp + 2, 2);
    pq_put_be32(tcp + 8, pq_be32(tcp + 4) + 1);
    pq_put_be32(tcp + 4, isn);
    tcp[13] = PQ_TCP_SYN | PQ_TCP_ACK;
    pq_put_be16(tcp + 14, window);
    pq_put_be16(tcp + 22, mss);
    world_make_sound(k->p, k->len);
    world_inject(w, CLIENT, k->p, k->len, 0);
    link_packet_free(k);
}

static bool is_secured(const struct world *w)
{
    return w->end[CLIENT].secured > 0;
}

static bool asked(const struct world *w)
{
    (void)w;
    return kept;
}

static void forged_answers(void **state)
{
    (void)state;
    static const struct {
        uint16_t window, mss;
    } forged[] = {{65160, 1460}, {0, 1460}, {1000, 1460}, {65160, 1}, {65160, 200}};
    const size_t n = sizeof forged / sizeof forged[0];
    for (size_t i = 0; i < 2 * n; i++) {
        struct world_conf c = connecting(40 * PQ_MS);
        c.hub[CLIENT].system = i < n ? PQ_SYSTEM_HOST : PQ_SYSTEM_WINDOWS;
        struct world *w = world_new(&c, ut_seed("forged answers"));
        w->tap = keep_syn;
        world_run(w, WORLD_T0 + 45 * PQ_MS, NULL);
        assert_non_null(kept);
        forge_answer(w, 0x12345678, forged[i % n].window, forged[i % n].mss);
        assert_true(world_run(w, WORLD_T0 + 400 * PQ_MS, is_secured));
        world_open(w, 500000, 500000);
        assert_true(world_run(w, w->now + 10 * PQ_SEC, world_closed));
        world_check(w);
        assert_int_equal(w->end[CLIENT].ended, 0);
        assert_int_equal(w->end[CLIENT].moves, 0);
        link_packet_free(kept);
        kept = NULL;
        finish(w);
    }
}

static void many_forged(struct world *w, uint32_t n)
{
    pq_session_wake(w->ses);
    assert_true(world_run(w, w->now + PQ_SEC, asked));
    for (uint32_t i = 1; i <= n; i++)
        forge_answer(w, 0x12345678 * i, 1000, 200);
    world_run(w, w->now + 400 * PQ_MS, NULL);
    assert_true(is_secured(w));
    link_packet_free(kept);
    kept = NULL;
}

/* As many as the client looks at, before the server's; where it begins, or moves to: neither ends
 * anything, or makes packets small for good. */
static void many_forged_answers(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= PQ_ANSWERS + 1; n++) {
        for (unsigned moves = 0; moves < 2; moves++) {
            struct world_conf c = connecting(40 * PQ_MS);
            struct world *w = world_new(&c, ut_seed("many forged answers"));
            if (moves) {
                assert_true(world_run(w, w->now + PQ_SEC, is_secured));
                world_run(w, w->now + PQ_SEC, NULL);
                w->ses->watch.move_at = w->now;
            }
            w->tap = keep_syn;
            many_forged(w, n);
            assert_int_equal(w->ses->moves, moves);
            world_open(w, 500000, 500000);
            assert_true(world_run(w, w->now + 10 * PQ_SEC, world_closed));
            world_check(w);
            assert_int_equal(w->end[CLIENT].ended, 0);
            assert_int_equal(w->end[CLIENT].moves, moves);
            assert_int_equal(w->ses->flow.conn.peer_mss, 1460);
            finish(w);
        }
    }
}

/* Who has the client acknowledge another SYN+ACK, and acknowledges the server's in its name, brings
 * no end about of the connection that begins all the same. */
static unsigned fins;

static bool acknowledge(struct world *w, unsigned from, struct link_packet *k)
{
    const uint8_t *tcp = k->p + TCP;
    keep_syn(w, from, k);
    fins += from == SERVER && tcp[13] & PQ_TCP_FIN;
    if (from != SERVER || tcp[13] != (PQ_TCP_SYN | PQ_TCP_ACK))
        return true;
    struct link_packet *a = link_packet_new(kept->p, kept->len);
    pq_put_be32(a->p + TCP + 4, pq_be32(tcp + 8));
    pq_put_be32(a->p + TCP + 8, pq_be32(tcp + 4) + 1);
    a->p[TCP + 13] = PQ_TCP_ACK;
    world_make_sound(a->p, a->len);
    world_inject(w, SERVER, a->p, a->len, 0);
    link_packet_free(a);
    return true;
}

static void no_end_beside(void **state)
{
    (void)state;
    struct world_conf c = connecting(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("no end beside"));
    assert_true(world_run(w, w->now + PQ_SEC, is_secured));
    world_run(w, w->now + 15 * PQ_SEC, NULL);
    w->tap = acknowledge;
    fins = 0;
    w->ses->watch.move_at = w->now;
    many_forged(w, 1);
    assert_int_equal(w->ses->moves, 1);
    const unsigned before = fins; /* of the tuple that it has left */
    world_run(w, w->now + 15 * PQ_SEC, NULL);
    assert_int_equal(fins, before);
    finish(w);
}

/* ---- another user, who has not seen the SYN+ACK, says that he goes on there, or measures */

static unsigned resets;

static bool count_resets(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    resets += from == SERVER && k->p[TCP + 13] & PQ_TCP_RST;
    return true;
}

static bool has_caller(const struct world *w)
{
    return w->end[SERVER].hub->n_callers > 0;
}

/* Returns the session of a client whose connection has just begun. */
static struct pq_session *in_its_name(struct world *w, bool measures)
{
    struct pq_session *other = w->ses;
    struct pq_flow_conf fc = {.link_len = 14, .look = PQ_LOOK_PLAUSIBLE};
    const struct pq_train_order o = {.size = 200,
                                     .answered = true,
                                     .look = PQ_LOOK_PLAUSIBLE,
                                     .flags = PQ_TCP_RST,
                                     .answer = 44};
    fc.peer = w->end[SERVER].addr;
    fc.local = w->end[CLIENT].addr;
    fc.local.port = 40700;
    w->end[CLIENT].conf.look = PQ_LOOK_CONNECT;
    world_connect(w, fc.local.port);
    assert_true(world_run(w, w->now + PQ_SEC, has_caller));
    w->end[CLIENT].moves = 699; /* the next one goes there */
    if (measures) {
        assert_int_equal(pq_train_begin(other, 0, &fc, PQ_TCP_PSH | PQ_TCP_ACK, w->now), 0);
        assert_int_equal(pq_train_send(other, 0, &o), 0);
    } else {
        other->watch.move_at = w->now;
        pq_session_wake(other);
    }
    const uint64_t sent = w->end[CLIENT].packets;
    world_run(w, w->now + 2 * PQ_MS, NULL);
    assert_int_equal(w->end[CLIENT].packets, sent + 1);
    if (!measures)
        pq_move_end(other); /* who lies about his address does not hear the answer */
    return w->ses;
}

static const struct pq_session *server_of(const struct world *w, const struct pq_session *client)
{
    for (unsigned k = 0; world_hub(&w->end[SERVER], k); k++) {
        struct pq_hub *h = world_hub(&w->end[SERVER], k);
        for (struct pq_list *i = h->sessions.next; i != &h->sessions; i = i->next)
            if (pq_addr_eq(&PQ_OF(i, struct pq_session, node)->peer, &client->local))
                return PQ_OF(i, struct pq_session, node);
    }
    return NULL;
}

static void in_anothers_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct world_conf c = connecting(20 * PQ_MS);
        c.hub[CLIENT].look = PQ_LOOK_PLAUSIBLE;
        c.workers = i < 2 ? 1 : 4;
        struct world *w = world_new(&c, ut_seed("in another's name"));
        pq_session_end(w->ses, PQ_ECLOSED);
        world_connect(w, 40501); /* of another worker than 40700, if there are several */
        assert_true(world_run(w, w->now + PQ_SEC, is_secured));
        world_run(w, w->now + 3 * PQ_SEC, NULL);
        w->tap = count_resets;
        resets = 0;
        struct pq_session *client = in_its_name(w, i % 2);
        assert_true(world_run(w, w->now + 150 * PQ_MS, world_closed));
        world_open(w, 50000, 50000);
        assert_true(world_run(w, w->now + 10 * PQ_SEC, world_closed));
        assert_int_equal(resets, 0);
        const struct pq_session *s = server_of(w, client);
        assert_non_null(s);
        assert_int_equal(s->flow.look, PQ_LOOK_CONNECT);
        assert_int_equal(s->flow.conn.first, client->flow.conn.peer_first);
        assert_int_equal(client->flow.conn.n_answers, 1);
        for (unsigned k = 0; k < c.workers; k++)
            assert_int_equal(world_hub(&w->end[SERVER], k)->n_callers, 0);
        w->tap = NULL;
        finish(w);
    }
}

/* ---- flags of other packets */

static unsigned segments, odd;

static bool see_flags(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    const uint8_t *tcp = k->p + TCP;
    if (from == CLIENT && k->len > TCP + (size_t)(tcp[12] >> 4) * 4) {
        segments++;
        odd += (tcp[13] & ~PQ_TCP_PSH) != PQ_TCP_ACK;
    }
    return true;
}

static void no_configured_flags(void **state)
{
    (void)state;
    struct world_conf c = connecting(10 * PQ_MS);
    c.hub[CLIENT].flags = (struct pq_flags){{PQ_TCP_SYN}, 1};
    struct world *w = world_new(&c, ut_seed("no configured flags"));
    w->tap = see_flags;
    world_run(w, WORLD_T0 + 3 * PQ_SEC, NULL);
    assert_true(is_secured(w) && segments > 2);
    assert_int_equal(odd, 0);
    finish(w);
}

/* ---- a clock that was hours ahead when the server started: it is not silent for as long */

static void clock_was_ahead(void **state)
{
    (void)state;
    struct pq_syns *s;
    const uint64_t right = WORLD_WALL, hour = 3600000;
    uint64_t slots[2], wall = right;
    assert_int_equal(pq_syns_new(&s, right + 8 * hour, 1), 0);
    for (uint32_t n = 1; wall < right + hour; wall += 10000, n++) {
        pq_syns_slots(wall, slots);
        const struct pq_addr from = {.port = 1};
        const struct pq_syn syn = {slots[1], n, n, &from, false};
        if (pq_syns_take(s, &syn, wall))
            break;
    }
    assert_true(wall < right + 5 * PQ_SYN_SLOT);
    pq_syns_free(&s);
}

/* Clocks differ by at most half a slot. */
static void clocks(void **state)
{
    (void)state;
    static const int off[] = {0, -59900, 59900, -180100, 180100};
    for (unsigned i = 0; i < 5; i++) {
        struct world_conf c = connecting(10 * PQ_MS);
        struct world *w = world_new(&c, ut_seed("clocks"));
        pq_session_end(w->ses, PQ_ECLOSED);
        /* what is older than its start it does not take */
        world_run(w, WORLD_T0 + 60 * PQ_SEC, NULL);
        w->end[CLIENT].wall_off = off[i];
        world_connect(w, 40001);
        world_run(w, w->now + PQ_SEC, NULL);
        assert_int_equal(w->end[CLIENT].secured, i < 3);
        finish(w);
    }
}

/* ---- acknowledgements that the client has not sent */

static void put_ack(struct world *w, uint32_t ack, bool full)
{
    struct pq_slot slot = {.buf = calloc(1, PQ_SLOT_SIZE), .off = PQ_SLOT_HEAD};
    struct pq_flow forger = w->ses->flow;
    assert_non_null(slot.buf);
    forger.st.ack = ack;
    forger.conn.window = full ? 0 : forger.conn.window;
    pq_connect_ack(&forger, &slot, w->now);
    world_inject(w, SERVER, slot.buf + slot.off, slot.len, 0);
    free(slot.buf);
}

enum { NOBODY, ALL_HAS_COME, ALL_AND_NO_MORE, NOTHING_COMES, KINDS };

/* How long 20 Mbit at 40 Mbit/s and 2 % of loss take, while somebody says so each millisecond. */
static pq_ns download(unsigned kind, uint64_t *packets)
{
    struct world_conf c = connecting(20 * PQ_MS);
    for (int i = 0; i < 2; i++) {
        c.link[i].rate = 5000000;
        c.link[i].queue = 100000;
        c.link[i].loss = 20;
        c.hub[i].kcp.congestion = PQ_CONGESTION_BBR;
    }
    struct world *w = world_new(&c, ut_seed("forged acknowledgements"));
    w->end[CLIENT].stays = true;
    assert_true(world_run(w, w->now + 3 * PQ_SEC, is_secured));
    world_run(w, w->now + PQ_SEC, NULL);
    const pq_ns began = w->now;
    world_open(w, 1000, 5000000);
    while (!world_run(w, w->now + PQ_MS, world_closed)) {
        const struct pq_session *s = server_of(w, w->ses);
        assert_true(w->now < began + 20 * PQ_SEC);
        if (kind == ALL_HAS_COME || kind == ALL_AND_NO_MORE)
            put_ack(w, s->flow.st.seq, kind == ALL_AND_NO_MORE);
        else if (kind == NOTHING_COMES)
            put_ack(w, s->flow.conn.una, true);
    }
    const pq_ns took = w->now - began;
    world_check(w);
    assert_int_equal(w->end[CLIENT].ended, 0);
    *packets = w->end[SERVER].packets;
    finish(w);
    return took;
}

/* Nobody seals them: so they end nothing, stop nothing, and bring nothing about. */
static void forged_acks(void **state)
{
    (void)state;
    uint64_t alone, packets;
    const pq_ns took = download(NOBODY, &alone);
    printf("%.2f s, %llu packets\n", (double)took / (double)PQ_SEC, (unsigned long long)alone);
    for (unsigned kind = ALL_HAS_COME; kind < KINDS; kind++) {
        const pq_ns t = download(kind, &packets);
        printf("%u: %.2f s, %llu packets\n", kind, (double)t / (double)PQ_SEC,
               (unsigned long long)packets);
        assert_true(t < took + took / 4);
        assert_true(packets < alone + alone / 8);
    }
}

/* ---- numbers that somebody has changed on their way, of one packet with data */

static unsigned change_of, change_at;

static bool change_one(struct world *w, unsigned from, struct link_packet *k)
{
    if (from != change_of || k->len < 1000 || !change_at || --change_at)
        return true;
    const struct pq_flow *f = from == SERVER ? &w->ses->flow : &server_of(w, w->ses)->flow;
    const uint32_t len = (uint32_t)(k->len - TCP) - PQ_TCP_LEN;
    pq_put_be32(k->p + TCP + 4, f->st.ack + f->conn.window - len);
    world_make_sound(k->p, k->len);
    return true;
}

/* Where all of a small window goes, what is acknowledged then was not sent yet: it is, all the
 * same. */
static void changed_numbers(void **state)
{
    (void)state;
    for (change_of = 0; change_of < 2; change_of++) {
        struct world_conf c = connecting(20 * PQ_MS);
        c.hub[!change_of].rmem = 65535;
        struct world *w = world_new(&c, ut_seed("changed numbers"));
        w->end[CLIENT].stays = true;
        assert_true(world_run(w, w->now + 3 * PQ_SEC, is_secured));
        world_run(w, w->now + PQ_SEC, NULL);
        change_at = 3;
        w->tap = change_one;
        world_open(w, 500000, 500000);
        assert_true(world_run(w, w->now + 5 * PQ_SEC, world_closed));
        assert_int_equal(change_at, 0);
        world_check(w);
        finish(w);
    }
}

/* ---- ends */

static bool is_over(const struct world *w)
{
    return !w->end[CLIENT].hub->n_leaving && !w->end[SERVER].hub->n_leaving;
}

/* A FIN that somebody on the line puts in ends nothing, and is not acknowledged; of a connection
 * that has ended it gets some answers, but not any number of them. */
static uint64_t put_fin(struct world *w, uint32_t seq)
{
    const struct pq_flow *f = &w->ses->flow;
    struct pq_slot slot = {.buf = calloc(1, PQ_SLOT_SIZE), .off = PQ_SLOT_HEAD};
    struct pq_flow forger = *f;
    const uint64_t before = w->end[SERVER].packets;
    assert_non_null(slot.buf);
    forger.st.seq = seq;
    pq_connect_fin(&forger, &slot, w->now);
    world_inject(w, SERVER, slot.buf + slot.off, slot.len, 0);
    world_run(w, w->now + 5 * PQ_MS, NULL);
    free(slot.buf);
    return w->end[SERVER].packets - before;
}

static void foreign_fins(void **state)
{
    (void)state;
    struct world_conf c = connecting(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("foreign FINs"));
    w->end[CLIENT].stays = true;
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    assert_int_equal(put_fin(w, w->ses->flow.st.seq), 0);
    world_open(w, 100000, 100000);
    assert_true(world_run(w, w->now + 10 * PQ_SEC, world_closed));
    world_check(w);
    struct pq_hub *server = w->end[SERVER].hub;
    pq_session_end(PQ_OF(server->sessions.next, struct pq_session, node), PQ_ECLOSED);
    w->end[SERVER].out.conf.cut = true;
    uint64_t answers = 0;
    for (unsigned i = 0; i < 100; i++)
        answers += put_fin(w, w->ses->flow.st.seq + i);
    assert_in_range(answers, 1, 4 + 8);
    finish(w);
}

/* A handshake after which nothing comes that counts: the server's connection ends as one that was
 * idle, four FINs if nobody acknowledges them; but none to who has not shown that he hears. */
static unsigned fins;

static bool keep_back(struct world *w, unsigned from, struct link_packet *k)
{
    const bool *all = w->tap_ctx;
    fins += from == SERVER && k->p[TCP + 13] & PQ_TCP_FIN;
    return from == SERVER || k->p[TCP + 13] == PQ_TCP_SYN || (!*all && k->len == TCP + PQ_TCP_LEN);
}

static void nothing_came_of_it(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        bool all = i;
        struct world_conf c = connecting(20 * PQ_MS);
        struct world *w = world_new(&c, ut_seed("nothing came of it"));
        fins = 0;
        w->tap = keep_back;
        w->tap_ctx = &all;
        world_run(w, WORLD_T0 + PQ_SEC / 2, NULL);
        assert_int_equal(w->end[SERVER].hub->n_callers, 1);
        w->end[CLIENT].out.conf.cut = true;
        world_run(w, WORLD_T0 + 30 * PQ_SEC, NULL);
        assert_int_equal(w->end[SERVER].hub->n_callers, 0);
        assert_int_equal(w->end[SERVER].hub->n_leaving, 0);
        assert_int_equal(fins, all ? 0 : 4);
        finish(w);
    }
}

static void ends_are_bounded(void **state)
{
    (void)state;
    struct world_conf c = connecting(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("bounded ends"));
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    struct pq_hub *client = w->end[CLIENT].hub;
    for (uint16_t i = 0; i < 3000; i++) {
        struct pq_flow f = w->ses->flow;
        f.sport = i;
        pq_leave(client, &f, true);
        assert_true(client->n_leaving <= 1024);
    }
    assert_int_equal(client->n_leaving, 1024);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, is_over));
    finish(w);
}

/* ---- a flood of wrong SYNs: who has come before comes again, also from another port */

static void through_a_flood(void **state)
{
    (void)state;
    for (unsigned before = 0; before < 2; before++) {
        struct world_conf c = connecting(10 * PQ_MS);
        struct world *w = world_new(&c, ut_seed("through a flood"));
        const struct pq_addr stranger = {.ip = {[10] = 0xff, 0xff, 11, 2, 3, 4}, .port = 5};
        if (!before) {
            pq_session_end(w->ses, PQ_ECLOSED);
            w->ses = NULL;
        }
        world_run(w, WORLD_T0 + PQ_SEC, NULL);
        for (uint32_t i = 0; i < PQ_SYNS_WRONG; i++)
            pq_syns_note_wrong(syns, &stranger, false, WORLD_WALL + w->now / PQ_MS);
        world_connect(w, 40002);
        world_run(w, w->now + PQ_SEC, NULL);
        assert_int_equal(w->end[CLIENT].secured, 2 * before);
        finish(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks),
        cmocka_unit_test(through_a_flood),
        cmocka_unit_test(forged_answers),
        cmocka_unit_test(many_forged_answers),
        cmocka_unit_test(no_end_beside),
        cmocka_unit_test(forged_acks),
        cmocka_unit_test(changed_numbers),
        cmocka_unit_test(no_configured_flags),
        cmocka_unit_test(clock_was_ahead),
        cmocka_unit_test(foreign_fins),
        cmocka_unit_test(ends_are_bounded),
        cmocka_unit_test(in_anothers_name),
        cmocka_unit_test(nothing_came_of_it),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("connect attack", tests, NULL, NULL);
}
