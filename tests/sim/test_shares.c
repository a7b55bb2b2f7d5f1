/* SPDX-License-Identifier: MIT */
/* test_shares.c - where there are users, none of them has all of a server: its memory, its
 * sessions, its streams, whatever he does with any number of sessions. */
#include "tunnel/tunnel_internal.h"
#include "world.h"

static uint8_t secret[2][32] = {{7, 8, 9}, {10, 11, 12}}, users[2][32];
static struct pq_shake *shake[2]; /* by which the client is one of them */
static unsigned taken;            /* streams that the server has */

static void on_data(void *ctx, struct pq_view v, bool last)
{
    (void)ctx;
    (void)v;
    (void)last;
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static void on_end(void *ctx, int err)
{
    (void)err;
    pq_stream_close(ctx);
}

static bool take(struct world *w, struct pq_stream *st)
{
    static const struct pq_stream_events none = {on_data, on_nothing, on_nothing,
                                                 on_end,  NULL,       NULL};
    (void)w;
    pq_stream_own(st, &none, st);
    taken++;
    return true;
}

/* With the first user's session. */
static struct world *begin(const char *name, uint32_t sessions, size_t memory)
{
    struct world_conf c = world_keyed(10 * PQ_MS);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pq_x25519_public(secret[i], users[i]), 0);
    c.hub[CLIENT].own.secret = secret[0];
    c.hub[SERVER].own.users = (const uint8_t(*)[32])users;
    c.hub[SERVER].own.n = 2;
    c.hub[SERVER].max_sessions = sessions;
    c.hub[SERVER].memory = memory;
    for (unsigned i = 0; i < 2; i++)
        c.hub[i].smux.timeout = 3600 * PQ_SEC;
    struct world *w = world_new(&c, ut_seed(name));
    struct pq_ring *ring = &w->end[CLIENT].hub->ring[0];
    const struct pq_shake_conf other = {
        .client = true, .key = ring->key, .own_secret = secret[1], .rng = &w->end[CLIENT].rng};
    shake[0] = ring->shake;
    assert_int_equal(pq_shake_new(&shake[1], &other), 0);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->end[CLIENT].secured, 1);
    return w;
}

static struct pq_session *come(struct world *w, unsigned user, uint16_t port)
{
    w->end[CLIENT].hub->ring[0].shake = shake[user];
    world_connect(w, port);
    world_run(w, w->now + PQ_SEC, NULL);
    return w->ses;
}

static unsigned sessions_of(const struct world *w, unsigned user)
{
    unsigned n = 0;
    const struct pq_hub *h = w->end[SERVER].hub;
    for (struct pq_list *i = h->sessions.next; i != &h->sessions; i = i->next)
        n += memcmp(PQ_OF(i, struct pq_session, node)->client, users[user], 32) == 0;
    return n;
}

static struct pq_session *server_of(const struct world *w, unsigned user)
{
    const struct pq_hub *h = w->end[SERVER].hub;
    for (struct pq_list *i = h->sessions.next; i != &h->sessions; i = i->next)
        if (memcmp(PQ_OF(i, struct pq_session, node)->client, users[user], 32) == 0)
            return PQ_OF(i, struct pq_session, node);
    fail_msg("user %u has no session", user);
    return NULL;
}

static void finish(struct world *w)
{
    w->end[CLIENT].hub->ring[0].shake = shake[0];
    pq_shake_free(&shake[1]);
    w->sloppy = true;
    world_free(w);
}

/* One fills the server with sessions: who comes then has as many of them as he has, in the end. */
static void sessions(void **state)
{
    (void)state;
    struct world *w = begin("shares of sessions", 6, 16 << 20);
    for (uint16_t i = 1; i < 8; i++)
        come(w, 0, (uint16_t)(40500 + i));
    assert_int_equal(sessions_of(w, 0), 6);
    for (uint16_t i = 0; i < 4; i++)
        come(w, 1, (uint16_t)(40600 + i));
    assert_int_equal(sessions_of(w, 0), 3);
    assert_int_equal(sessions_of(w, 1), 3);
    come(w, 0, 40700); /* nor does he get them back */
    assert_int_equal(sessions_of(w, 0), 3);
    assert_int_equal(w->end[SERVER].ended_err, PQ_EREPLACED);
    finish(w);
}

static size_t fill(struct pq_session *s, struct pq_chunkq *q)
{
    struct pq_chunk *c;
    struct pq_stream *st = PQ_OF(s->streams.next, struct pq_stream, node);
    while ((c = pq_chunk_new(pq_stream_chunks(st), PQ_CHUNK_BIG)))
        pq_chunkq_push(q, c);
    return q->n;
}

/* One takes all memory that he gets, with two sessions, and keeps it: a quarter is left, of which
 * another one gets as much again. */
static void memory(void **state)
{
    (void)state;
    struct world *w = begin("shares of memory", 100, 16 << 20);
    struct pq_chunkq q[3] = {{0}};
    taken = 0;
    w->take = take;
    for (unsigned i = 0; i < 3; i++) {
        if (i)
            come(w, i - 1, (uint16_t)(40500 + i));
        world_open(w, 100, 0);
        world_run(w, w->now + PQ_SEC, NULL);
    }
    assert_int_equal(taken, 3);
    const size_t all = (16 << 20) / PQ_CHUNK_BIG, first = fill(server_of(w, 0), &q[0]);
    assert_in_range(first, all * 7 / 10, all * 3 / 4);
    struct pq_session *more = PQ_OF(server_of(w, 0)->node.next, struct pq_session, node);
    assert_memory_equal(more->client, users[0], 32);
    assert_int_equal(fill(more, &q[1]), 0); /* it is the user that counts */
    assert_in_range(fill(server_of(w, 1), &q[2]), all / 6, all / 4);
    for (unsigned i = 0; i < 3; i++)
        pq_chunkq_clear(&q[i]);
    assert_int_equal(server_of(w, 0)->share->chunks.budget.used, 0);
    finish(w);
}

/* Streams that nobody uses have a bound in all, and leave others theirs. */
static void streams(void **state)
{
    (void)state;
    struct world *w = begin("shares of streams", 100, 256 << 10);
    struct pq_hub *h = w->end[SERVER].hub;
    const size_t all = h->streams_max;
    assert_int_equal(all, 256);
    taken = 0;
    w->take = take;
    for (unsigned i = 0; i < 250; i++)
        world_open(w, 10, 0);
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    assert_in_range(taken, all * 7 / 10, all * 3 / 4);
    assert_int_equal(h->n_streams, taken);
    const unsigned before = taken;
    come(w, 1, 40600);
    world_open(w, 10, 0);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(taken, before + 1);
    pq_session_end(server_of(w, 0), PQ_ECLOSED);
    assert_int_equal(h->n_streams, 1);
    finish(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions),
        cmocka_unit_test(memory),
        cmocka_unit_test(streams),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("shares", tests, NULL, NULL);
}
