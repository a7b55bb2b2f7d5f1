/* SPDX-License-Identifier: MIT */
/* test_quic_keyring.c - K is being changed at a server of QUIC, which accepts the one before, too
 * [13.1]: what begins with either, changes while sessions live, and recordings under the other. */
#include "quic/quic_seal.h"
#include "quic_ends.h"
#include "tunnel/tunnel_internal.h"

static const uint8_t new_key[PQ_KEY_LEN] = "another key, as long as the last";

static void expect_transfer(struct world *w)
{
    world_open(w, 300000, 300000);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
    world_check(w);
}

/* With keys of their own, or with the common one alone. */
static struct world_conf ends(bool own)
{
    struct world_conf c = quic_ends(20 * PQ_MS);
    c.hub[SERVER].own.required = own;
    c.server_public = own ? c.server_public : NULL;
    return c;
}

static void either(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const bool own = i & 1, before = i & 2;
        struct world_conf c = ends(own);
        struct pq_hub_conf *s = &c.hub[SERVER];
        memcpy(s->key_before, s->key, sizeof s->key);
        memcpy(s->key, new_key, sizeof s->key);
        s->has_before = true;
        if (!before)
            memcpy(c.hub[CLIENT].key, new_key, sizeof new_key);
        struct world *w = quic_ends_new(&c, ut_seed("either"));
        expect_transfer(w);
        assert_int_equal(pq_session_key_before(quic_ends_served(w)), before);
        assert_int_equal(pq_session_who(quic_ends_served(w)), own ? 0 : PQ_NOBODY);
        world_free(w);
    }
}

/* With the one before they go on; without it those end that have no key of their own, the others
 * go on, from another port, too; and nobody gets an answer who comes with it. */
static void while_they_live(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        struct world_conf c = ends(own);
        struct world *w = quic_ends_new(&c, ut_seed("while they live"));
        struct pq_hub *server = w->end[SERVER].hub;
        expect_transfer(w);
        assert_int_equal(pq_hub_set_keys(server, new_key, c.hub[SERVER].key), 0);
        assert_true(pq_session_key_before(quic_ends_served(w)));
        expect_transfer(w);
        assert_int_equal(pq_hub_set_keys(server, new_key, NULL), 0);
        world_run(w, w->now + PQ_MS, NULL);
        assert_int_equal(pq_hub_sessions(server), own);
        if (own) {
            expect_transfer(w);
            w->ses->watch.move_at = w->now;
            pq_session_wake(w->ses);
            world_run(w, w->now + PQ_SEC, NULL);
            assert_int_equal(w->end[CLIENT].moved, 1);
            expect_transfer(w);
            pq_session_end(quic_ends_served(w), PQ_ECLOSED);
        }
        world_run(w, w->now + PQ_SEC, NULL); /* the last words */
        assert_null(w->ses);
        const uint64_t sent = w->end[SERVER].packets;
        world_connect(w, 41000);
        world_run(w, w->now + 5 * PQ_SEC, NULL);
        assert_int_equal(pq_hub_sessions(server), 0);
        assert_int_equal(w->end[SERVER].packets, sent);
        w->sloppy = true;
        world_free(w);
    }
}

/* Whose handshake is under way when its key goes is nobody. */
static void in_the_middle(void **state)
{
    (void)state;
    for (int stays = 0; stays < 2; stays++) {
        struct world_conf c = ends(true);
        struct world *w = quic_ends_new(&c, ut_seed("middle"));
        struct pq_hub *server = w->end[SERVER].hub;
        world_run(w, w->now + 30 * PQ_MS, NULL);
        assert_int_equal(pq_quic_count(server->quic), 1);
        assert_int_equal(pq_hub_set_keys(server, new_key, stays ? c.hub[SERVER].key : NULL), 0);
        world_run(w, w->now + 5 * PQ_SEC, NULL);
        assert_int_equal(w->end[SERVER].proven, stays);
        assert_int_equal(pq_quic_count(server->quic), stays);
        w->sloppy = true;
        world_free(w);
    }
}

/* Takes the datagram out with which the client would end its handshake. */
static bool take_second(struct world *w, unsigned from, struct link_packet *k)
{
    struct quic_recording *r = w->tap_ctx;
    if (from == SERVER || w->end[CLIENT].packets < 2 || r->len)
        return true;
    memcpy(r->frame, k->p, k->len);
    r->len = k->len;
    return false;
}

/* What is sealed with the other key is none of the connection, whatever is inside. */
static void not_with_the_other(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        struct world_conf c = ends(false);
        struct quic_recording r = {.len = 0};
        struct world *w = quic_ends_new(&c, ut_seed("other"));
        const uint8_t *key = c.hub[SERVER].key;
        assert_int_equal(pq_hub_set_keys(w->end[SERVER].hub, new_key, key), 0);
        w->tap = take_second;
        w->tap_ctx = &r;
        world_run(w, w->now + 65 * PQ_MS, NULL);
        assert_true(r.len && !w->end[SERVER].proven);
        quic_seal_with(w, &r, key, other ? new_key : key);
        const uint64_t before = quic_ends_stats(w)->drops[PQ_DROP_AUTH];
        world_inject(w, SERVER, r.frame, r.len, 0);
        assert_int_equal(quic_ends_stats(w)->drops[PQ_DROP_AUTH], before + (unsigned)other);
        assert_int_equal(w->end[SERVER].proven, !other);
        expect_transfer(w);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(either),
        cmocka_unit_test(while_they_live),
        cmocka_unit_test(in_the_middle),
        cmocka_unit_test(not_with_the_other),
    };
    return cmocka_run_group_tests_name("quic keyring", tests, NULL, NULL);
}
