/* SPDX-License-Identifier: MIT */
/* test_keyring.c - K is being changed: a server that accepts the one before, too, on the old wire
 * and for what begins sessions of our own; changes while sessions live; and who has the one K takes
 * no part in sessions with the other [12.1]. */
#include "tunnel/syns.h"
#include "tunnel/tunnel_internal.h"
#include "world.h"

static const uint8_t new_key[PQ_KEY_LEN] = "another key, as long as the last";

/* The client has the key before. */
static void change_server(struct world_conf *c)
{
    struct pq_hub_conf *s = &c->hub[SERVER];
    memcpy(s->key_before, s->key, sizeof s->key);
    memcpy(s->key, new_key, sizeof s->key);
    s->has_before = true;
}

static struct pq_session *session_of_server(struct world *w)
{
    struct pq_hub *h = w->end[SERVER].hub;
    assert_int_equal(pq_hub_sessions(h), 1);
    return PQ_OF(h->sessions.next, struct pq_session, node);
}

static bool has_moved(const struct world *w)
{
    return w->end[CLIENT].moved > 0;
}

static void expect_transfer(struct world *w)
{
    world_open(w, 300000, 300000);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
    world_check(w);
}

/* A client that has not heard of the new K yet: handshake, move to another worker, SYN. */
static void own_wire(void **state)
{
    (void)state;
    for (unsigned connects = 0; connects < 2; connects++) {
        struct world_conf c = world_keyed(20 * PQ_MS);
        struct pq_syns *syns;
        assert_int_equal(pq_syns_new(&syns, WORLD_WALL - 3 * PQ_SYN_SLOT, 1), 0);
        change_server(&c);
        c.workers = 4;
        c.hub[SERVER].syns = syns;
        c.hub[SERVER].look = PQ_LOOK_PLAUSIBLE;
        c.hub[CLIENT].look = connects ? PQ_LOOK_CONNECT : PQ_LOOK_PLAUSIBLE;
        c.hub[0].rmem = c.hub[1].rmem = 6U << 20;
        struct world *w = world_new(&c, ut_seed("own wire"));
        world_run(w, w->now + PQ_SEC, NULL);
        assert_int_equal(w->end[CLIENT].secured, 1);
        expect_transfer(w);
        w->ses->watch.move_at = w->now;
        pq_session_wake(w->ses);
        assert_true(world_run(w, w->now + 5 * PQ_SEC, has_moved));
        expect_transfer(w);
        assert_int_equal(w->end[SERVER].secured, 1);
        assert_true(w->end[SERVER].handed > 0);
        world_free(w);
        pq_syns_free(&syns);
    }
}

static void old_wire(void **state)
{
    (void)state;
    static const enum pq_cipher ciphers[] = {PQ_CIPHER_AES, PQ_CIPHER_AES_128_GCM, PQ_CIPHER_XOR};
    for (unsigned i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++) {
        struct world_conf c = world_conf(20 * PQ_MS);
        c.hub[0].cipher = c.hub[1].cipher = ciphers[i];
        change_server(&c);
        struct world *w = world_new(&c, ut_seed("old wire"));
        expect_transfer(w);
        assert_true(pq_session_key_before(session_of_server(w)));
        world_free(w);
    }
}

/* It is changed while sessions live: with the one before they go on; without it those of the old
 * wire end, those with keys of their own do not, and nobody gets an answer any more. */
static void while_they_live(void **state)
{
    (void)state;
    for (unsigned own = 0; own < 2; own++) {
        const struct world_conf c = own ? world_keyed(20 * PQ_MS) : world_conf(20 * PQ_MS);
        struct world *w = world_new(&c, ut_seed("while they live"));
        struct pq_hub *server = w->end[SERVER].hub;
        expect_transfer(w);
        assert_int_equal(pq_hub_set_keys(server, new_key, c.hub[SERVER].key), 0);
        assert_true(pq_session_key_before(session_of_server(w)));
        expect_transfer(w);
        assert_int_equal(pq_hub_set_keys(server, new_key, NULL), 0);
        assert_int_equal(pq_hub_sessions(server), own);
        if (own)
            expect_transfer(w);
        if (own)
            pq_session_end(session_of_server(w), PQ_ECLOSED);
        if (w->ses)
            pq_session_end(w->ses, PQ_ECLOSED);
        world_run(w, w->now + PQ_SEC, NULL); /* the last words */
        const uint64_t sent = w->end[SERVER].packets;
        world_connect(w, 41000);
        world_run(w, w->now + 5 * PQ_SEC, NULL);
        assert_int_equal(pq_hub_sessions(server), 0);
        assert_int_equal(w->end[SERVER].packets, sent);
        w->sloppy = true;
        world_free(w);
    }
}

/* ---- with the one K into a session with the other */

static struct pq_crypt *have, *want;

/* Each datagram of the client comes once more, under the other key. */
static bool seal_anew(struct world *w, unsigned from, struct link_packet *k)
{
    static struct pq_rng rng;
    const size_t head = 14 + 20 + 32;
    struct pq_view inner;
    if (from == SERVER || k->len < head + 24 || !pq_hub_sessions(w->end[SERVER].hub))
        return true;
    struct link_packet *copy = link_packet_new(k->p, k->len);
    if (!pq_crypt_open(have, copy->p + head, copy->len - head, &inner)) {
        const struct pq_span span = {copy->p + head, copy->len - head};
        pq_rng_init_seed(&rng, w->now);
        pq_crypt_seal(want, &span, 1, &rng);
        world_inject(w, SERVER, copy->p, copy->len, 0);
    }
    link_packet_free(copy);
    return true;
}

static void not_with_the_other(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) { /* into a session with the key before; with the new one */
        struct world_conf c = world_conf(20 * PQ_MS);
        c.hub[0].cipher = c.hub[1].cipher = PQ_CIPHER_AES_128_GCM;
        change_server(&c);
        const uint8_t *before = c.hub[SERVER].key_before;
        if (i)
            memcpy(c.hub[CLIENT].key, new_key, sizeof new_key);
        assert_int_equal(pq_crypt_new(&have, PQ_CIPHER_AES_128_GCM, i ? new_key : before), 0);
        assert_int_equal(pq_crypt_new(&want, PQ_CIPHER_AES_128_GCM, i ? before : new_key), 0);
        pq_crypt_set_role(want, true, i ? before : new_key);
        struct world *w = world_new(&c, ut_seed("not with the other"));
        w->tap = seal_anew;
        expect_transfer(w);
        const uint64_t *drops = pq_hub_stats(w->end[SERVER].hub)->drops;
        assert_true(drops[PQ_DROP_AUTH] > 50);
        assert_int_equal(pq_session_key_before(session_of_server(w)), i == 0);
        struct pq_kcp_stats st;
        pq_session_stats(session_of_server(w), &st);
        assert_true(st.duplicate < 5);
        world_free(w);
        pq_crypt_free(&have);
        pq_crypt_free(&want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_wire),
        cmocka_unit_test(old_wire),
        cmocka_unit_test(while_they_live),
        cmocka_unit_test(not_with_the_other),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("keyring", tests, NULL, NULL);
}
