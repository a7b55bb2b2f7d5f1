/* SPDX-License-Identifier: MIT */
/* test_streams.c - streams side by side: back-pressure, many at once, closing and aborting. */
#include "world.h"

#define MIB ((uint64_t)1 << 20)

static bool first_lags(const struct world *w) /* all pairs but the first are through */
{
    for (unsigned k = 1; k < w->pairs; k++)
        for (unsigned i = 0; i < 2; i++)
            if (w->half[i][k].st)
                return false;
    return true;
}

/* Who does not consume stops his own stream, and nobody else's. */
static void slow_reader(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    for (int i = 0; i < 2; i++) {
        c.hub[i].smux.stream_buf = 512 * 1024;
        c.hub[i].smux.session_buf = 4 << 20;
        c.link[i].loss = 10;
    }
    struct world *w = world_new(&c, ut_seed("slow reader"));
    world_open(w, 8 * MIB, 8 * MIB);
    w->half[CLIENT][0].lazy = w->half[SERVER][0].lazy = true;
    for (unsigned i = 1; i < 4; i++)
        world_open(w, 2 * MIB, 2 * MIB);
    assert_true(world_run(w, WORLD_T0 + 30 * PQ_SEC, first_lags));
    for (unsigned i = 0; i < 2; i++) {
        struct half *h = &w->half[i][0];
        /* the window before the first UPD, since nothing was consumed [5.3] */
        assert_int_equal(h->rx_at, PQ_SMUX_WINDOW);
        /* what its peer queued: bounded by the stream's queue and one chunk */
        struct half *p = &w->half[!i][0];
        assert_true(p->tx_at <= PQ_SMUX_WINDOW + ((size_t)4 << 20) + PQ_CHUNK_BIG);
        printf("end %u: chunks in use %zu KiB, at most %zu KiB\n", i,
               world_chunk_bytes(&w->end[i]) / 1024, w->end[i].chunks_high / 1024);
        assert_true(world_chunk_bytes(&w->end[i]) < 8 * MIB);
    }
    world_run(w, w->now + 20 * PQ_SEC, NULL); /* standing still is no reason to end */
    assert_non_null(w->ses);
    for (unsigned i = 0; i < 2; i++) {
        w->half[i][0].lazy = false;
        half_consume(&w->half[i][0]);
    }
    assert_true(world_run(w, w->now + 30 * PQ_SEC, world_closed));
    world_check(w);
    world_free(w);
}

static bool all_stalled(const struct world *w)
{
    (void)w;
    return false;
}

/* All readers stop: the session's buffer is full, KCP's window closes, and opens again. */
static void session_stops(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    for (int i = 0; i < 2; i++) {
        c.hub[i].smux.stream_buf = 300 * 1024;
        c.hub[i].smux.session_buf = (size_t)300 * 1024;
        c.hub[i].kcp.rcv_wnd = 64;
    }
    struct world *w = world_new(&c, ut_seed("session stops"));
    for (unsigned i = 0; i < 6; i++) {
        world_open(w, MIB, 0);
        w->half[SERVER][i].lazy = true;
    }
    world_run(w, WORLD_T0 + 40 * PQ_SEC, all_stalled);
    assert_non_null(w->ses); /* a stopped reader is no dead peer [5.5] */
    assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 1);
    uint64_t unread = 0;
    for (unsigned i = 0; i < 6; i++)
        unread += w->half[SERVER][i].unread;
    assert_true(unread >= (size_t)300 * 1024 && unread < (size_t)300 * 1024 + 2000);
    assert_true(world_chunk_bytes(&w->end[SERVER]) <= (size_t)64 * 2200);
    for (unsigned i = 0; i < 6; i++)
        w->half[SERVER][i].lazy = false;
    pq_ns from = w->now;
    for (unsigned i = 0; i < 6; i++)
        half_consume(&w->half[SERVER][i]);
    assert_true(world_run(w, w->now + 30 * PQ_SEC, world_transferred));
    /* told at once (WINS), not found out by a probe many seconds later */
    assert_true(w->now - from < 8 * PQ_SEC);
    world_free(w);
}

static void many(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    c.link[0].loss = c.link[1].loss = 10;
    struct world *w = world_new(&c, ut_seed("200 streams"));
    for (unsigned i = 0; i < 200; i++)
        world_open(w, 1 + i * 321, 1 + i * 123);
    assert_int_equal(pq_session_streams(w->ses), 200);
    assert_true(world_run(w, WORLD_T0 + 30 * PQ_SEC, world_closed));
    world_check(w);
    assert_int_equal(w->end[SERVER].streams, 200);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(pq_session_streams(w->ses), 0);
    assert_int_equal(world_chunk_bytes(&w->end[0]) + world_chunk_bytes(&w->end[1]), 0);
    world_free(w);
}

/* A keystroke does not wait behind the downloads of others [5.5]. */
static void fair(void **state)
{
    (void)state;
    struct world_conf c = world_conf(10 * PQ_MS);
    for (int i = 0; i < 2; i++) {
        c.link[i].rate = 100000000 / 8;
        c.link[i].queue = 4 * MIB;
        c.hub[i].kcp.snd_wnd = 256; /* some 330 KB under way: 27 ms of this link */
    }
    struct world *w = world_new(&c, ut_seed("fair"));
    for (unsigned i = 0; i < 20; i++)
        world_open(w, 8 * MIB, 0);
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    pq_ns from = w->now;
    struct half *key = world_open(w, 1, 1);
    while (!key->rx_at && w->now < from + 5 * PQ_SEC)
        world_run(w, w->now + PQ_MS, NULL);
    double ms = (double)(w->now - from) / (double)PQ_MS;
    printf("one byte there and back beside 20 uploads: %.0f ms\n", ms);
    /* RTT 20 ms + what is under way + a frame of 16 KB of each of the 20 */
    assert_true(ms < 150);
    world_free(w);
}

static bool gone(const struct world *w)
{
    return !w->half[CLIENT][0].st && !w->half[SERVER][0].st;
}

/* Closed in mid-transfer by one side: the other gets the end event once; streams beside it go on,
 * nothing is left behind. */
static void cut_short(unsigned side, bool abort)
{
    struct world_conf c = world_conf(20 * PQ_MS);
    c.link[0].loss = c.link[1].loss = 20;
    struct world *w = world_new(&c, ut_seed("cut short"));
    world_open(w, 4 * MIB, 4 * MIB);
    w->half[side][0].close_at = 100000;
    w->half[side][0].abort_then = abort;
    world_open(w, MIB, MIB);
    assert_true(world_run(w, WORLD_T0 + 20 * PQ_SEC, gone));
    const struct half *closer = &w->half[side][0], *other = &w->half[!side][0];
    assert_int_equal(closer->ends, 0);
    assert_int_equal(other->ends, 1);
    assert_int_equal(other->end_err, 0);
    if (!abort) /* what was queued before the close arrives before the end */
        assert_true(other->rx_at <= closer->tx_at && other->rx_at + 65536 >= closer->tx_at);
    w->half[CLIENT][0].tx_len = w->half[SERVER][0].tx_len = 0;
    w->half[CLIENT][0].rx_at = w->half[SERVER][0].rx_at = 0;
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(pq_session_streams(w->ses), 0);
    assert_int_equal(world_chunk_bytes(&w->end[0]) + world_chunk_bytes(&w->end[1]), 0);
    world_free(w);
}

static void closing(void **state)
{
    (void)state;
    for (unsigned side = 0; side < 2; side++) {
        cut_short(side, false);
        cut_short(side, true);
    }
}

/* All that was queued before pq_stream_close comes before the end, byte for byte. */
static void close_flushes(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    c.link[0].loss = c.link[1].loss = 50;
    struct world *w = world_new(&c, ut_seed("close flushes"));
    for (unsigned i = 0; i < 20; i++) {
        struct half *h = world_open(w, 100000, 0);
        assert_int_equal(h->tx_at, h->tx_len);
        half_close(h, false);
    }
    assert_true(world_run(w, WORLD_T0 + 20 * PQ_SEC, world_closed));
    world_check(w);
    world_free(w);
}

/* Aborted before anything went out: the peer never hears of it. */
static void abort_drops(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("abort drops"));
    struct half *h = world_open(w, 100000, 0);
    half_close(h, true);
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    assert_int_equal(w->end[SERVER].streams, 0);
    assert_int_equal(pq_session_streams(w->ses), 0);
    assert_int_equal(world_chunk_bytes(&w->end[0]), 0);
    world_free(w);
}

/* A stream that its owner does not close hears nothing after its end, whatever happens. */
static void one_end_only(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("one end"));
    struct half *h = world_open(w, 1000, 0);
    w->half[SERVER][0].keep_open = true;
    half_close(h, false);
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    assert_int_equal(w->half[SERVER][0].ends, 1);
    assert_int_equal(w->half[SERVER][0].end_err, 0);
    struct half *s = &w->half[SERVER][0];
    struct pq_chunk *c1 = pq_chunk_copy(pq_stream_chunks(s->st), "x", 1);
    assert_int_equal(pq_stream_send(s->st, c1), PQ_ECLOSED);
    w->end[CLIENT].out.conf.cut = true; /* the session dies under it */
    world_run(w, w->now + 30 * PQ_SEC, NULL);
    assert_int_equal(w->end[SERVER].ended, 1);
    assert_int_equal(s->ends, 1); /* stream.h: no more events */
    assert_non_null(s->st);
    assert_int_equal(pq_stream_room(s->st), 0);
    half_close(s, false);
    world_free(w);
}

/* Streams that nobody takes, and those beyond max_streams, are closed at once. */
static void refused(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    c.hub[SERVER].smux.max_streams = 5;
    struct world *w = world_new(&c, ut_seed("refused"));
    for (unsigned i = 0; i < 20; i++)
        world_open(w, 10, 0)->keep_open = true;
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    assert_int_equal(w->end[SERVER].streams, 5);
    unsigned ended = 0;
    for (unsigned i = 0; i < 20; i++)
        ended += w->half[CLIENT][i].ends;
    assert_int_equal(ended, 15);
    for (unsigned i = 0; i < 20; i++)
        half_close(&w->half[CLIENT][i], false);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(pq_session_streams(w->ses), 0);
    world_free(w);
}

static void count_and_close(void *ctx, struct pq_stream *st)
{
    struct world *w = ctx;
    for (unsigned k = 0; k < w->pairs; k++)
        if (w->half[CLIENT][k].st == st && k % 2 == 0)
            half_close(&w->half[CLIENT][k], true);
    w->end[CLIENT].streams++;
}

/* pq_session_each, tags, corks, the peer's address. */
static void small_things(void **state)
{
    (void)state;
    struct world_conf c = world_conf(10 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("small things"));
    struct half *h = world_open(w, 0, 0);
    assert_true(pq_addr_eq(pq_stream_peer(h->st), &w->end[SERVER].addr));
    assert_true(pq_addr_eq(pq_session_peer(w->ses), &w->end[SERVER].addr));
    pq_stream_set_tag(h->st, calloc(1, 10));
    pq_stream_set_tag(h->st, calloc(1, 20));
    assert_non_null(pq_stream_tag(h->st));
    pq_stream_cork(h->st);
    h->tx_len = 50000;
    half_feed(h);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->end[SERVER].streams, 1); /* the SYN goes out */
    assert_int_equal(w->half[SERVER][0].rx_at, 0);
    pq_stream_uncork(h->st, NULL);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->half[SERVER][0].rx_at, 50000);
    for (unsigned i = 1; i < 10; i++)
        world_open(w, 0, 0);
    pq_session_each(w->ses, count_and_close, w);
    assert_int_equal(w->end[CLIENT].streams, 10);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(pq_session_streams(w->ses), 5);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_reader), cmocka_unit_test(session_stops),
        cmocka_unit_test(many),        cmocka_unit_test(fair),
        cmocka_unit_test(closing),     cmocka_unit_test(close_flushes),
        cmocka_unit_test(abort_drops), cmocka_unit_test(one_end_only),
        cmocka_unit_test(refused),     cmocka_unit_test(small_things),
    };
    int failed = ut_run(tests);
    world_frames = true;
    return failed + ut_run(tests);
}
