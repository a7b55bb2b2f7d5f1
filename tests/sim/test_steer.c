/* SPDX-License-Identifier: MIT */
/* test_steer.c - sessions and streams that are looked at and ended, and users who change, while
 * bytes are on their way. */
#include "tunnel/tunnel_internal.h"
#include "world.h"

static const struct pq_hub_stats *stats(const struct world *w, unsigned side)
{
    return pq_hub_stats(w->end[side].hub);
}

static struct pq_session *served(const struct world *w)
{
    struct pq_hub *h = w->end[SERVER].hub;
    return pq_list_empty(&h->sessions) ? NULL : PQ_OF(h->sessions.next, struct pq_session, node);
}

/* ---- what there is to see */

static void counts(void **state)
{
    (void)state;
    for (unsigned loss = 0; loss <= 50; loss += 50) {
        struct world_conf c = world_keyed(20 * PQ_MS);
        c.link[0].loss = c.link[1].loss = loss;
        struct world *w = world_new(&c, ut_seed("counts") + loss);
        world_open(w, 30000, 2000000)->keep_open = true;
        assert_true(world_run(w, WORLD_T0 + 60 * PQ_SEC, world_transferred));
        struct pq_session_info a, b;
        pq_session_info(w->ses, &a);
        pq_session_info(served(w), &b);
        assert_true(a.secure && b.secure && a.cipher && strcmp(a.cipher, b.cipher) == 0);
        assert_int_equal(b.who, 0);
        assert_int_equal(a.streams, 1);
        assert_int_equal(a.out, 30000);
        assert_int_equal(a.in, 2000000);
        assert_int_equal(b.in, 30000);
        assert_int_equal(b.out, 2000000);
        assert_int_equal(stats(w, CLIENT)->in, 2000000);
        assert_true(a.wire_in > 2000000 && a.wire_in < 2400000);
        assert_true(b.wire_out >= a.wire_in);
        assert_true(a.kcp.srtt >= 40 * PQ_MS);
        /* five per cent of what the server sent have not come; without loss all has */
        const unsigned missing = a.expected - a.came;
        assert_true(loss ? missing > a.expected / 40 && missing < a.expected / 10 : missing == 0);
        struct pq_stream_info s;
        pq_stream_info(w->half[CLIENT][0].st, &s);
        assert_int_equal(s.in, 2000000);
        assert_string_equal(s.host, "");
        pq_stream_set_target(w->half[CLIENT][0].st, "tcp", "example.com", 443);
        pq_stream_set_target(w->half[CLIENT][0].st, "tcp", "example.org", 80);
        pq_stream_info(w->half[CLIENT][0].st, &s);
        assert_string_equal(s.host, "example.org");
        assert_int_equal(s.port, 80);
        struct pq_memory_info m;
        pq_hub_memory(w->end[CLIENT].hub, &m);
        assert_true(m.limit > 0 && m.used <= m.limit);
        w->sloppy = true;
        world_free(w);
    }
}

/* ---- one stream is ended */

static bool all_under_way(const struct world *w)
{
    bool all = true;
    for (unsigned k = 0; k < 3; k++)
        all = all && w->half[SERVER][k].rx_at == 1000 && w->half[CLIENT][k].rx_at > 10000;
    return all;
}

static void ends_one(void **state)
{
    (void)state;
    for (unsigned side = 0; side < 2; side++) {
        struct world_conf c = world_keyed(10 * PQ_MS);
        struct world *w = world_new(&c, ut_seed("ends one") + side);
        world_open(w, 1000, 3000000);
        world_open(w, 1000, 3000000);
        world_open(w, 1000, 3000000);
        assert_true(world_run(w, WORLD_T0 + 9 * PQ_SEC, all_under_way));
        struct half *victim = &w->half[side][1];
        struct pq_stream_info s;
        assert_non_null(victim->st);
        pq_stream_info(victim->st, &s);
        assert_true(s.in + s.out > 0);
        assert_false(pq_hub_end_stream(w->end[side].hub, 0));
        assert_false(pq_hub_end_stream(w->end[side].hub, s.serial + 1000));
        assert_true(pq_hub_end_stream(w->end[side].hub, s.serial));
        assert_int_equal(victim->ends, 1);
        assert_int_equal(victim->end_err, PQ_ECLOSED);
        if (victim->st)
            half_close(victim, false);
        assert_false(pq_hub_end_stream(w->end[side].hub, s.serial));
        world_run(w, WORLD_T0 + 20 * PQ_SEC, NULL);
        assert_int_equal(w->half[1 - side][1].ends, 1); /* its peer has heard of it */
        assert_int_equal(w->half[CLIENT][0].rx_at, 3000000);
        assert_int_equal(w->half[CLIENT][2].rx_at, 3000000);
        assert_non_null(w->ses);
        w->sloppy = true;
        world_free(w);
    }
}

/* ---- users */

static const uint8_t nobody[2][32] = {{7, 7, 7}, {8, 8, 8}};

static void revokes(void **state)
{
    (void)state;
    struct world_conf c = world_keyed(10 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("revokes"));
    struct pq_hub *h = w->end[SERVER].hub;
    world_open(w, 1000, 100000)->keep_open = true;
    world_run(w, WORLD_T0 + 2 * PQ_SEC, NULL);
    struct pq_session *s = served(w);
    const uint8_t(*same)[32] = h->conf.own.users;
    uint8_t moved[2][32];
    assert_false(pq_session_revoked(s, same, 1));
    assert_true(pq_session_revoked(s, same, 0));
    assert_true(pq_session_revoked(s, nobody, 2));
    memcpy(moved[0], nobody[0], 32);
    memcpy(moved[1], same[0], 32); /* numbers must not change: another's place is not his */
    assert_true(pq_session_revoked(s, (const uint8_t(*)[32])moved, 2));
    pq_hub_set_users(h, nobody, 2);
    pq_session_end(s, PQ_EREVOKED);
    assert_int_equal(w->end[SERVER].ended_err, PQ_EREVOKED);
    const uint64_t sent = stats(w, SERVER)->tx_packets;
    world_connect(w, 4711);
    world_run(w, w->now + 10 * PQ_SEC, NULL);
    assert_true(stats(w, SERVER)->drops[PQ_DROP_USER] > 0);
    assert_int_equal(stats(w, SERVER)->tx_packets, sent); /* not a word */
    assert_null(served(w));
    w->sloppy = true;
    world_free(w);
}

static bool hold;

/* What the client says under its new keys is lost for a while. */
static bool hold_first(struct world *w, unsigned from, struct link_packet *k)
{
    (void)k;
    return from != CLIENT || !w->end[CLIENT].secured || !hold;
}

static bool client_has_keys(const struct world *w)
{
    return w->end[CLIENT].secured;
}

/* Who had an answer already, but no session yet, gets none. */
static void revokes_half_way(void **state)
{
    (void)state;
    for (unsigned gone = 0; gone < 2; gone++) {
        struct world_conf c = world_keyed(10 * PQ_MS);
        struct world *w = world_new(&c, ut_seed("half way") + gone);
        struct pq_hub *h = w->end[SERVER].hub;
        w->tap = hold_first;
        hold = true;
        world_open(w, 1000, 1000);
        assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, client_has_keys));
        assert_int_equal(h->n_replies, 1);
        assert_null(served(w));
        if (gone)
            pq_hub_set_users(h, nobody, 2);
        else
            pq_hub_set_users(h, h->conf.own.users, 1);
        assert_int_equal(h->n_replies, gone ? 0 : 1);
        hold = false;
        world_run(w, w->now + 9 * PQ_SEC, NULL);
        assert_int_equal(w->end[SERVER].proven, gone ? 0 : 1);
        w->sloppy = true;
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(ends_one),
        cmocka_unit_test(revokes),
        cmocka_unit_test(revokes_half_way),
    };
    if (pq_crypt_global_init())
        return 1;
    return ut_run(tests);
}
