/* SPDX-License-Identifier: MIT */
/* test_life.c - how sessions begin, end and are replaced; who is answered and who is not [4.7]. */
#include "world.h"

static void expect_silent_server(struct world *w, enum pq_drop why, uint64_t drops)
{
    const struct end *s = &w->end[SERVER];
    assert_int_equal(s->packets, 0);
    assert_int_equal(s->accepts, 0);
    assert_int_equal(s->streams, 0);
    assert_int_equal(pq_hub_sessions(s->hub), 0);
    assert_true(pq_hub_stats(s->hub)->drops[why] >= drops);
    assert_int_equal(pq_hub_deadline(s->hub), PQ_NEVER);
}

/* The link goes silent: every stream hears why, then the session ends, on both sides. */
static void time_out(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("time-out"));
    for (unsigned i = 0; i < 5; i++)
        world_open(w, 100 << 20, 100 << 20);
    world_run(w, WORLD_T0 + 2 * PQ_SEC, NULL);
    w->end[0].out.conf.cut = w->end[1].out.conf.cut = true;
    pq_ns cut = w->now;
    uint64_t packets = w->end[CLIENT].packets;
    while (w->ses && w->now < cut + 60 * PQ_SEC)
        world_run(w, w->now + 10 * PQ_MS, NULL);
    assert_null(w->ses);
    double s = (double)(w->now - cut) / (double)PQ_SEC;
    printf("ended %.2f s after the link went silent, %llu packets in vain\n", s,
           (unsigned long long)(w->end[CLIENT].packets - packets));
    assert_true(s >= 8 && s <= 16.1); /* [5.5] */
    world_run(w, cut + 17 * PQ_SEC, NULL);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(w->end[i].ended, 1);
        assert_int_equal(w->end[i].ended_err, PQ_ETIMEOUT);
        assert_int_equal(pq_hub_sessions(w->end[i].hub), 0);
        assert_int_equal(pq_hub_deadline(w->end[i].hub), PQ_NEVER);
        assert_int_equal(world_chunk_bytes(&w->end[i]), 0);
        for (unsigned k = 0; k < 5; k++) {
            assert_int_equal(w->half[i][k].ends, 1);
            assert_int_equal(w->half[i][k].end_err, PQ_ETIMEOUT);
        }
    }
    world_free(w);
}

/* A short break is survived without loss. */
static void short_break(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("short break"));
    world_open(w, 20 << 20, 20 << 20);
    world_run(w, WORLD_T0 + 200 * PQ_MS, NULL);
    w->end[0].out.conf.cut = w->end[1].out.conf.cut = true;
    world_run(w, w->now + 6 * PQ_SEC, NULL);
    w->end[0].out.conf.cut = w->end[1].out.conf.cut = false;
    pq_ns from = w->now;
    assert_true(world_run(w, w->now + 30 * PQ_SEC, world_closed));
    printf("after a break of 6 s done in %.2f s\n", (double)(w->now - from) / (double)PQ_SEC);
    world_check(w);
    world_free(w);
}

static unsigned wakeups(struct world *w, pq_ns span)
{
    uint64_t before = w->end[0].ticks + w->end[1].ticks;
    world_run(w, w->now + span, NULL);
    return (unsigned)(w->end[0].ticks + w->end[1].ticks - before);
}

/* An idle session sleeps, whatever state it was left in. */
static void idle(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    c.link[0].loss = c.link[1].loss = 10;
    struct world *w = world_new(&c, ut_seed("idle"));
    unsigned fresh = wakeups(w, 60 * PQ_SEC); /* no stream yet: keepalive only */
    assert_non_null(w->ses);
    world_open(w, 1 << 20, 1 << 20)->keep_open = true;
    world_run(w, w->now + 10 * PQ_SEC, NULL);
    uint64_t packets = w->end[0].packets + w->end[1].packets;
    unsigned used = wakeups(w, 60 * PQ_SEC);
    packets = w->end[0].packets + w->end[1].packets - packets;
    w->half[SERVER][0].lazy = true;
    w->half[CLIENT][0].tx_len += 8 << 20; /* more than the reader's buffer */
    half_feed(&w->half[CLIENT][0]);
    world_run(w, w->now + 10 * PQ_SEC, NULL);
    unsigned stopped = wakeups(w, 60 * PQ_SEC);
    printf("wake-ups per second, both sides together: fresh %.2f, idle %.2f (%.2f packets), "
           "reader stopped %.2f\n",
           fresh / 60.0, used / 60.0, (double)packets / 60, stopped / 60.0);
    assert_true(fresh < 60 * 8 && used < 60 * 8 && stopped < 60 * 8);
    assert_non_null(w->ses);
    world_free(w);
}

static void wrong_key(void **state)
{
    (void)state;
    for (int id = 0; id < PQ_CIPHER_COUNT; id++) {
        struct world_conf c = world_conf(20 * PQ_MS);
        c.hub[0].cipher = c.hub[1].cipher = (enum pq_cipher)id;
        c.hub[CLIENT].key[0] ^= 2; /* bit 0 is a parity bit in DES */
        if (!pq_cipher_needs_key((enum pq_cipher)id))
            c.hub[SERVER].cipher = PQ_CIPHER_AES;
        struct world *w = world_new(&c, 1 + (uint64_t)id);
        world_open(w, 100000, 0);
        world_run(w, WORLD_T0 + 20 * PQ_SEC, NULL);
        expect_silent_server(w, PQ_DROP_AUTH, 10);
        assert_int_equal(w->end[CLIENT].ended_err, PQ_ETIMEOUT);
        assert_int_equal(w->half[CLIENT][0].end_err, PQ_ETIMEOUT);
        world_free(w);
    }
}

/* Frames of the client, kept for later. */
struct kept {
    uint8_t *p[64];
    size_t len[64];
    unsigned n;
};

static bool keep(struct world *w, unsigned from, struct link_packet *k)
{
    struct kept *kept = w->tap_ctx;
    if (from == CLIENT && kept->n < 64) {
        kept->p[kept->n] = ut_exact(k->p, k->len);
        kept->len[kept->n++] = k->len;
    }
    return true;
}

static void kept_free(struct kept *k)
{
    for (unsigned i = 0; i < k->n; i++)
        free(k->p[i]);
}

/* After a restart the server knows nothing of the session, and says nothing. */
static void restart(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("restart"));
    world_open(w, 100 << 20, 0);
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    assert_true(w->half[SERVER][0].rx_at > 100000);
    world_restart_server(w);
    assert_int_equal(w->half[SERVER][0].ends, 1);
    assert_int_equal(w->half[SERVER][0].end_err, PQ_ECLOSED);
    link_fini(&w->end[SERVER].out);
    w->end[SERVER].packets = 0;
    w->half[SERVER][0].ends = 0;
    world_run(w, w->now + 20 * PQ_SEC, NULL);
    expect_silent_server(w, PQ_DROP_NO_SESSION, 10);
    assert_int_equal(w->half[CLIENT][0].end_err, PQ_ETIMEOUT);
    assert_null(w->ses);
    world_connect(w, 40001); /* and so to a new session */
    world_open(w, 1000, 1000);
    w->half[SERVER][0] = w->half[SERVER][1]; /* the new server counts from 0 */
    w->half[SERVER][0].index = 1;
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->half[CLIENT][1].rx_at, 1000);
    assert_int_equal(w->end[SERVER].accepts, 1);
    world_free(w);
}

/* Puts another source address and port into a frame, as somebody would who recorded it. */
static void from_elsewhere(uint8_t *p, uint8_t host, uint16_t port)
{
    p[14 + 12 + 3] = host;
    pq_put_be16(p + 14 + 20, port);
}

static void replay(void **state)
{
    (void)state;
    struct kept k = {.n = 0};
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("replay"));
    w->tap = keep;
    w->tap_ctx = &k;
    world_open(w, 50000, 1000);
    assert_true(world_run(w, WORLD_T0 + 10 * PQ_SEC, world_closed));
    world_run(w, w->now + PQ_SEC, NULL);
    assert_true(k.n > 20);
    uint64_t packets = w->end[SERVER].packets, drops = world_drops(&w->end[SERVER]);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < k.n; i++) {
            from_elsewhere(k.p[i], (uint8_t)(77 + round), (uint16_t)(1000 + i));
            world_inject(w, SERVER, k.p[i], k.len[i], 0);
        }
    const struct pq_hub_stats *st = pq_hub_stats(w->end[SERVER].hub);
    assert_int_equal(world_drops(&w->end[SERVER]) - drops, 3 * k.n);
    assert_true(st->drops[PQ_DROP_REPLAY] >= 3);
    assert_int_equal(w->end[SERVER].accepts, 1);
    assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 1);
    world_run(w, w->now, NULL);
    assert_int_equal(w->end[SERVER].packets, packets);
    world_free(w);
    kept_free(&k);
}

/* A new conv on the same address with sn 0 replaces the session; an old datagram does not. */
static void replaced(void **state)
{
    (void)state;
    struct kept k = {.n = 0};
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("replaced"));
    w->tap = keep;
    w->tap_ctx = &k;
    world_open(w, 1000, 1000)->keep_open = true;
    w->half[SERVER][0].keep_open = true;
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    assert_int_equal(w->half[SERVER][0].rx_at, 1000);
    w->tap = NULL;
    pq_session_end(w->ses, PQ_ECLOSED); /* the peer is not told */
    assert_null(w->ses);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->end[SERVER].ended, 0);
    world_connect(w, 40000); /* the same port */
    world_open(w, 5000, 5000)->keep_open = true;
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->end[SERVER].ended, 1);
    assert_int_equal(w->end[SERVER].accepts, 2);
    assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 1);
    assert_int_equal(w->half[SERVER][0].ends, 1);
    assert_int_equal(w->half[SERVER][0].end_err, PQ_ECLOSED);
    assert_int_equal(w->half[SERVER][1].rx_at, 5000);
    assert_int_equal(w->half[CLIENT][1].rx_at, 5000);
    for (unsigned i = 0; i < k.n; i++) /* the old session's datagrams, opening one included */
        world_inject(w, SERVER, k.p[i], k.len[i], 0);
    assert_int_equal(w->end[SERVER].ended, 1);
    assert_int_equal(w->end[SERVER].accepts, 2);
    const struct pq_hub_stats *st = pq_hub_stats(w->end[SERVER].hub);
    assert_true(st->drops[PQ_DROP_REPLAY] > 0 && st->drops[PQ_DROP_NO_SESSION] > 0);
    world_open(w, 100, 100);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->half[CLIENT][2].rx_at, 100);
    world_free(w);
    kept_free(&k);
}

/* The opening datagram is lost: the next with sn 0 opens. */
static bool drop_first(struct world *w, unsigned from, struct link_packet *k)
{
    unsigned *n = w->tap_ctx;
    (void)k;
    return from != CLIENT || ++*n > 30;
}

static void opening_lost(void **state)
{
    (void)state;
    unsigned n = 0;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("opening lost"));
    w->tap = drop_first;
    w->tap_ctx = &n;
    world_open(w, 100000, 1000);
    assert_true(world_run(w, WORLD_T0 + 10 * PQ_SEC, world_closed));
    world_check(w);
    assert_int_equal(w->end[SERVER].accepts, 1);
    printf("30 first packets lost: done in %.2f s\n", (double)(w->now - WORLD_T0) / 1e9);
    world_free(w);
}

static bool spoof(struct world *w, unsigned from, struct link_packet *k)
{
    unsigned *n = w->tap_ctx;
    if (from == SERVER) { /* the same bytes once more, from another port and another host first */
        struct link_packet *x = link_packet_new(k->p, k->len);
        from_elsewhere(x->p, *n % 2 ? 9 : k->p[29], *n % 2 ? 9999 : 12);
        struct pq_frame f = {x->p, x->len, x->len, 0};
        pq_hub_input(w->end[CLIENT].hub, &f, w->now);
        pq_hub_rx_end(w->end[CLIENT].hub, w->now);
        link_packet_free(x);
        ++*n;
    }
    return true;
}

/* A client takes nothing from another source. */
static void not_peer(void **state)
{
    (void)state;
    unsigned n = 0;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("not peer"));
    w->tap = spoof;
    w->tap_ctx = &n;
    world_open(w, 100000, 1000000);
    assert_true(world_run(w, WORLD_T0 + 10 * PQ_SEC, world_closed));
    world_check(w);
    assert_true(n > 100);
    assert_int_equal(pq_hub_stats(w->end[CLIENT].hub)->drops[PQ_DROP_NOT_PEER], n);
    assert_int_equal(pq_hub_stats(w->end[CLIENT].hub)->drops[PQ_DROP_NONE] + n,
                     pq_hub_stats(w->end[CLIENT].hub)->rx_packets);
    world_free(w);
}

/* max_sessions holds, and the refused are not answered. */
static void full(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    c.hub[SERVER].max_sessions = 3;
    struct world *w = world_new(&c, ut_seed("full"));
    w->sloppy = true; /* which three get in does not matter */
    world_open(w, 10, 0);
    for (uint16_t i = 1; i < 6; i++) {
        world_connect(w, (uint16_t)(40000 + i));
        world_open(w, 10, 0);
    }
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    assert_int_equal(w->end[SERVER].proven, 3);
    assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 3);
    assert_true(pq_hub_stats(w->end[SERVER].hub)->drops[PQ_DROP_FULL] >= 3);
    world_run(w, w->now + 30 * PQ_SEC, NULL); /* the others time out, their places are free */
    assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 3);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_out),  cmocka_unit_test(short_break),  cmocka_unit_test(idle),
        cmocka_unit_test(wrong_key), cmocka_unit_test(restart),      cmocka_unit_test(replay),
        cmocka_unit_test(replaced),  cmocka_unit_test(opening_lost), cmocka_unit_test(not_peer),
        cmocka_unit_test(full),
    };
    return ut_run(tests);
}
