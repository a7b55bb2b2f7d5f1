/* SPDX-License-Identifier: MIT */
/* test_quic_early.c - 0-RTT: what a client that has a ticket sends before the server has answered,
 * what becomes of it, and what somebody does with recordings of it [13.10]. */
#include "quic/quic_internal.h"
#include "quic_ends.h"
#include "tunnel/quic_tickets.h"
#include "tunnel/tickets.h"
#include "tunnel/tunnel_internal.h"

#define DELAY (50 * PQ_MS)

static struct world_conf early(void)
{
    struct world_conf c = quic_ends(DELAY);
    c.hub[CLIENT].quic.early = c.hub[SERVER].quic.early = true;
    return c;
}

static size_t tickets(const struct world *w)
{
    return pq_tickets_count(w->end[SERVER].hub->tickets);
}

static size_t kept(const struct world *w)
{
    return w->end[CLIENT].hub->n_quic_kept;
}

/* A first session, of which the client gets a ticket. */
static struct world *with_ticket(struct world_conf *c, const char *seed)
{
    struct world *w = quic_ends_new(c, ut_seed(seed));
    world_open(w, 1000, 1000);
    assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_transferred));
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(kept(w), c->hub[CLIENT].quic.early && c->hub[SERVER].quic.early);
    pq_session_end(w->ses, 0);
    world_run(w, w->now + PQ_SEC, NULL);
    return w;
}

/* Bytes of early packets that the server has taken in its session. */
static size_t taken(const struct world *w)
{
    struct pq_quic_stats st;
    pq_quic_stats(quic_ends_served(w)->quic, &st);
    return st.early;
}

static bool served(const struct world *w)
{
    const struct half *h = &w->half[SERVER][w->pairs - 1];
    return h->rx_at == w->half[CLIENT][w->pairs - 1].tx_len;
}

/* One request that is answered, in a fresh session; how long it takes. */
static pq_ns request(struct world *w, uint64_t up, uint64_t down)
{
    static uint16_t port = 41000;
    world_connect(w, port++);
    const pq_ns begun = w->now;
    world_open(w, up, down);
    assert_true(world_run(w, begun + 5 * PQ_SEC, world_transferred));
    return w->now - begun;
}

static void a_round_trip_less(void **state)
{
    (void)state;
    pq_ns took[2];
    for (int i = 0; i < 2; i++) {
        struct world_conf c = early();
        c.hub[CLIENT].quic.early = i;
        struct world *w = with_ticket(&c, "less");
        took[i] = request(w, 300, 700);
        assert_int_equal(taken(w) > 0, i);
        assert_int_equal(w->end[SERVER].proven, 2);
        assert_int_equal(pq_session_who(quic_ends_served(w)), 0);
        assert_memory_equal(quic_ends_served(w)->share->key, world_public[CLIENT], 32);
        world_run(w, w->now + PQ_SEC, NULL);
        assert_int_equal(kept(w), i); /* another one has come */
        world_free(w);
    }
    assert_in_range(took[0], 4 * DELAY, 4 * DELAY + 10 * PQ_MS);
    assert_in_range(took[1], 2 * DELAY, 2 * DELAY + 10 * PQ_MS);
}

/* ---- what is not taken goes again */

/* The server forgets what it has given the user. */
static void use_up(struct world *w)
{
    struct pq_ticket what = {.named = true};
    memcpy(what.client, world_public[CLIENT], sizeof what.client);
    for (uint8_t i = 0; i < PQ_TICKETS_OF_ONE; i++)
        pq_tickets_give(w->end[SERVER].hub->tickets, (struct pq_view){&i, 1}, &what, w->now);
    assert_int_equal(tickets(w), PQ_TICKETS_OF_ONE);
}

static void not_taken(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world_conf c = early();
        struct world *w = with_ticket(&c, "not taken");
        if (i)
            quic_ends_restart(w, 10);
        else
            use_up(w);
        w->pairs = w->end[SERVER].streams = 0;
        world_connect(w, 41000);
        for (unsigned k = 0; k < 20; k++)
            world_open(w, 100 + k * 1000, 2000);
        struct half *stays = &w->half[CLIENT][0], *given_up = world_open(w, 100, 100);
        stays->keep_open = true;
        world_run(w, w->now + PQ_MS, NULL); /* the early packets are on their way */
        half_close(given_up, true);
        w->pairs--;
        assert_true(world_run(w, w->now + 5 * PQ_SEC, world_transferred)); /* in order, as opened */
        assert_int_equal(taken(w), 0);
        assert_int_equal(w->end[SERVER].streams, 20);
        assert_int_equal(pq_quic_stream_waiting(stays->st->q.st), 0);
        world_run(w, w->now + PQ_SEC, NULL);
        assert_int_equal(kept(w), 1);
        world_free(w);
    }
}

static bool lose_first(struct world *w, unsigned from, struct link_packet *k)
{
    unsigned *left = w->tap_ctx;
    (void)k;
    if (from != CLIENT || !*left)
        return true;
    --*left;
    return false;
}

/* Much more than goes early; the first datagrams lost, or some of all. */
static void much(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 24; i++) {
        struct world_conf c = early();
        c.link[0].loss = c.link[1].loss = i < 8 ? 0 : 100;
        c.link[0].reorder = i < 16 ? 0 : 200;
        c.link[0].reorder_by = 20 * PQ_MS;
        struct world *w = with_ticket(&c, "much");
        unsigned lost = i < 8 ? i : 0;
        w->pairs = w->end[SERVER].streams = 0;
        w->tap = lose_first;
        w->tap_ctx = &lost;
        world_connect(w, 41000);
        world_open(w, 300000, 300000);
        assert_true(world_run(w, w->now + 60 * PQ_SEC, world_transferred));
        assert_true(taken(w) <= PQ_QUIC_EARLY_MAX);
        if (i == 0)
            assert_in_range(taken(w), PQ_QUIC_EARLY_MAX - 2400, PQ_QUIC_EARLY_MAX);
        world_free(w);
    }
}

/* Who sends more than he may loses it, until the handshake is done. */
static void too_much(void **state)
{
    (void)state;
    struct world_conf c = early();
    struct world *w = with_ticket(&c, "too much");
    w->pairs = w->end[SERVER].streams = 0;
    world_connect(w, 41000);
    struct half *h = world_open(w, 120000, 1000);
    for (unsigned i = 0; i < 40; i++) {
        w->ses->quic->early_bytes = 0;
        pq_session_wake(w->ses);
        world_run(w, w->now + PQ_MS, NULL);
    }
    assert_true(w->end[CLIENT].packets > 60);
    world_run(w, w->now + DELAY / 2, NULL);
    assert_in_range(taken(w), PQ_QUIC_EARLY_MAX - 1200, PQ_QUIC_EARLY_MAX);
    assert_true(w->half[SERVER][0].rx_at <= PQ_QUIC_EARLY_MAX);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_transferred));
    (void)h;
    world_free(w);
}

/* Only one end is configured so. */
static void one_side_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world_conf c = early();
        c.hub[i].quic.early = false;
        struct world *w = with_ticket(&c, "one side");
        assert_in_range(request(w, 300, 700), 4 * DELAY, 4 * DELAY + 10 * PQ_MS);
        world_free(w);
    }
}

/* He goes away as soon as he has been served. */
static void gone_at_once(void **state)
{
    (void)state;
    struct world_conf c = early();
    struct world *w = with_ticket(&c, "gone");
    world_connect(w, 41000);
    world_open(w, 300, 100000);
    const uint64_t sent = quic_ends_stats(w)->tx_bytes;
    assert_true(world_run(w, w->now + 2 * DELAY, served));
    unsigned all = UINT32_MAX;
    w->tap = lose_first;
    w->tap_ctx = &all;
    assert_int_equal(w->end[SERVER].proven, 2);
    world_run(w, w->now + 15 * PQ_SEC, NULL);
    assert_int_equal(w->end[SERVER].ended, 2);
    assert_int_equal(w->end[SERVER].ended_err, PQ_ETIMEOUT);
    assert_int_equal(pq_quic_count(w->end[SERVER].hub->quic), 0);
    assert_true(quic_ends_stats(w)->tx_bytes - sent <=
                UINT64_C(3) * (1236 + 200)); /* RFC 9000 8.1 */
    w->sloppy = true;
    world_free(w);
}

/* A flight that was lost with all that follows leaves its ticket for the next one; once somebody
 * has answered it is not used again. */
static void in_the_dark(void **state)
{
    (void)state;
    struct world_conf c = early();
    struct world *w = with_ticket(&c, "dark");
    unsigned all = UINT32_MAX;
    w->tap = lose_first;
    w->tap_ctx = &all;
    for (uint16_t i = 0; i < 3; i++) {
        world_connect(w, (uint16_t)(42000 + i));
        assert_int_equal(kept(w), 0);
        world_run(w, w->now + PQ_SEC, NULL);
        pq_session_end(w->ses, PQ_ETIMEOUT);
        world_run(w, w->now + PQ_MS, NULL);
        assert_int_equal(kept(w), 1);
    }
    w->tap = NULL;
    assert_in_range(request(w, 300, 700), 2 * DELAY, 2 * DELAY + 10 * PQ_MS);
    assert_null(w->ses->ticket);
    world_free(w);
}

/* ---- whose a ticket is */

static void revoked(void **state)
{
    (void)state;
    struct world_conf c = early();
    struct world *w = with_ticket(&c, "revoked");
    pq_hub_set_users(w->end[SERVER].hub, (const uint8_t(*)[32])quic_other_public, 1);
    const uint64_t sent = quic_ends_stats(w)->tx_packets;
    world_connect(w, 41000);
    world_open(w, 300, 100);
    world_run(w, w->now + 15 * PQ_SEC, NULL);
    assert_int_equal(quic_ends_stats(w)->tx_packets, sent);
    assert_int_equal(w->end[SERVER].proven, 1);
    assert_int_equal(w->end[SERVER].streams, 1);
    assert_int_equal(tickets(w), 0);
    w->sloppy = true;
    world_free(w);
}

/* Who came with the common key alone comes early as that, and not where keys are required since. */
static void with_the_common_key(void **state)
{
    (void)state;
    for (int required = 0; required < 2; required++) {
        struct world_conf c = early();
        c.hub[SERVER].own.required = false;
        c.server_public = NULL;
        struct world *w = with_ticket(&c, "common");
        w->end[SERVER].hub->conf.own.required = required;
        const pq_ns took = request(w, 300, 700);
        assert_int_equal(taken(w) > 0, !required);
        assert_int_equal(took < 3 * DELAY, !required);
        assert_int_equal(pq_session_who(quic_ends_served(w)), PQ_NOBODY);
        world_free(w);
    }
}

/* A user's ticket that TLS does not take, since its age is wrong or as here its key, is nothing to
 * who comes with it and the common key. */
static void with_anothers_ticket(void **state)
{
    (void)state;
    struct world_conf c = early();
    c.hub[SERVER].own.required = false;
    struct world *w = with_ticket(&c, "another's");
    unsigned all = UINT32_MAX;
    w->tap = lose_first;
    w->tap_ctx = &all;
    world_connect(w, 41000);
    struct pq_quic_ticket *t = w->ses->ticket;
    assert_non_null(t);
    w->ses->ticket = NULL;
    memset(w->ses->server_public, 0, sizeof w->ses->server_public);
    pq_quic_tickets_keep(w->ses, t); /* it goes with the common key from now on */
    pq_session_end(w->ses, PQ_ETIMEOUT);
    world_run(w, w->now + PQ_MS, NULL);
    w->tap = NULL;
    w->server_public = NULL;
    w->end[SERVER].hub->quic->ticket_key[0] ^= 1;
    w->end[SERVER].streams = w->pairs = 0;
    request(w, 300, 700);
    assert_int_equal(taken(w), 0);
    assert_int_equal(tickets(w), 0);
    assert_int_equal(pq_session_who(quic_ends_served(w)), PQ_NOBODY);
    assert_ptr_equal(quic_ends_served(w)->share, &w->end[SERVER].hub->rest);
    world_free(w);
}

/* A ticket of one worker is good for all. */
static void of_another_worker(void **state)
{
    (void)state;
    struct world_conf c = early();
    struct pq_rng rng;
    struct pq_tickets *t;
    pq_rng_init_seed(&rng, 1);
    assert_int_equal(pq_tickets_new(&t, &rng), 0);
    c.hub[SERVER].tickets = t;
    c.workers = 3;
    struct world *w = with_ticket(&c, "workers");
    for (unsigned i = 0; i < 6; i++) {
        const pq_ns took = request(w, 300, 700);
        assert_in_range(took, 2 * DELAY, 2 * DELAY + 10 * PQ_MS);
        world_run(w, w->now + PQ_SEC, NULL);
    }
    world_free(w);
    assert_int_equal(pq_tickets_count(t), 1);
    pq_tickets_free(&t);
}

/* ---- recordings of the first flight */

static void recordings(void **state)
{
    (void)state;
    static const struct {
        unsigned seconds;
        bool anew, restart, forget;
    } how[] = {{0, false, false, false},   {1, false, false, false},  {1, true, false, false},
               {500, false, false, false}, {500, true, false, false}, {1, false, true, false},
               {1, true, true, false},     {500, true, true, false},  {1, true, false, true},
               {200, true, false, true}};
    for (size_t i = 0; i < COUNT_OF(how); i++) {
        for (int common = 0; common < 2; common++) {
            struct world_conf c = early();
            c.hub[SERVER].own.required = !common;
            c.server_public = common ? NULL : c.server_public;
            struct quic_recording r = {.len = 0};
            struct world *w = with_ticket(&c, "recordings");
            w->tap = quic_record;
            w->tap_ctx = &r;
            request(w, 300, 700);
            assert_true(taken(w) > 0);
            w->tap = NULL;
            if (how[i].seconds)
                pq_session_end(w->ses, 0);
            world_run(w, w->now + how[i].seconds * PQ_SEC, NULL);
            const unsigned streams = w->end[SERVER].streams, proven = w->end[SERVER].proven;
            if (how[i].restart) {
                quic_ends_restart(w, 10);
                w->end[SERVER].streams = streams;
                w->end[SERVER].proven = proven;
            }
            if (how[i].forget) { /* so many others have begun since that the id is forgotten */
                struct pq_hub *h = w->end[SERVER].hub;
                pq_replay_free(&h->own_replay);
                assert_int_equal(pq_replay_new(&h->own_replay, 1), 0);
                h->replay = h->own_replay;
            }
            if (how[i].anew)
                quic_seal_anew(w, &r);
            const uint64_t sent = quic_ends_stats(w)->tx_packets;
            world_inject(w, SERVER, r.frame, r.len, 0);
            world_run(w, w->now + (how[i].seconds ? 5 * PQ_SEC : PQ_MS), NULL);
            assert_int_equal(w->end[SERVER].streams, streams); /* nothing is dialled again */
            assert_int_equal(w->end[SERVER].proven, proven);
            /* Who has the common key can have a handshake answered, and no more [13.7]. */
            const bool unknown = how[i].restart || how[i].forget;
            const bool timely = common || (how[i].forget && how[i].seconds < 120);
            if (!(how[i].anew && unknown && timely))
                assert_int_equal(quic_ends_stats(w)->tx_packets, sent);
            w->sloppy = true;
            world_free(w);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_trip_less),
        cmocka_unit_test(not_taken),
        cmocka_unit_test(much),
        cmocka_unit_test(too_much),
        cmocka_unit_test(one_side_alone),
        cmocka_unit_test(gone_at_once),
        cmocka_unit_test(in_the_dark),
        cmocka_unit_test(revoked),
        cmocka_unit_test(with_the_common_key),
        cmocka_unit_test(with_anothers_ticket),
        cmocka_unit_test(of_another_worker),
        cmocka_unit_test(recordings),
    };
    return cmocka_run_group_tests_name("quic early", tests, NULL, NULL);
}
