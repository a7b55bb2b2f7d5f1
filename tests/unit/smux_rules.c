/* SPDX-License-Identifier: MIT */
/* smux_rules.c - streams: windows [5.3], closing [5.4], turns, corks, bounds. */
#include "smux_peer.h"
#include "unit.h"

static struct sess x;
static struct sframe f[1200];

static void start(bool client)
{
    struct pq_smux_conf c = sconf(client);
    sess_init(&x, &c);
}

static size_t pull(void)
{
    return sess_pull_all(&x, f, COUNT_OF(f));
}

/* Bytes of PSH in the last `n` frames pulled. */
static size_t pushed(size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += f[i].cmd == SMUX_PSH ? f[i].len : 0;
    return bytes;
}

/* UPD after the first read and whenever half the buffer was read since the last [5.3]. */
static void window_updates(void **state)
{
    (void)state;
    struct pq_smux_conf c = sconf(false);
    c.stream_buf = 65536;
    sess_init(&x, &c);
    sess_give(&x, SMUX_SYN, 3, NULL, 0);
    struct pq_smux_stream *st = x.user[0].st;
    for (int i = 0; i < 4; i++)
        sess_give(&x, SMUX_PSH, 3, NULL, 60000);
    assert_int_equal(pull(), 0); /* nothing was read yet */
    static const struct {
        uint32_t n, upd;
    } t[] = {{1, 1},          {32767, 0}, {1, 32769}, {32767, 0},     {1, 65537},
             {50000, 115537}, {100, 0},   {0, 0},     {70000, 185637}};
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        pq_smux_consumed(st, t[i].n);
        size_t n = pull();
        assert_int_equal(n, t[i].upd ? 1 : 0);
        if (n) {
            assert_int_equal(f[0].cmd, SMUX_UPD);
            assert_int_equal(f[0].id, 3);
            assert_int_equal(f[0].consumed, t[i].upd);
            assert_int_equal(f[0].window, 65536);
        }
    }
    sess_fini(&x);
}

/* A stream that was told of a smaller window, since another fills the session's buffer, is told
 * again before it has used that up, or it would stand still. */
static void small_window_updates(void **state)
{
    (void)state;
    start(false);
    sess_give(&x, SMUX_SYN, 3, NULL, 0);
    sess_give(&x, SMUX_SYN, 5, NULL, 0);
    for (int i = 0; i < 60; i++)
        sess_give(&x, SMUX_PSH, 3, NULL, 60000); /* 3.6 of 4 MB are unread */
    sess_give(&x, SMUX_PSH, 5, NULL, 100);
    pq_smux_consumed(x.user[1].st, 100);
    assert_int_equal(pull(), 1);
    assert_int_equal(f[0].cmd, SMUX_UPD);
    const uint32_t told = f[0].window;
    assert_true(told >= 131072 && told < PQ_SMUX_WINDOW);
    uint32_t sent = 0;
    size_t n = 0;
    while (sent < told && !n) {
        uint32_t k = told - sent < 10000 ? told - sent : 10000;
        sess_give(&x, SMUX_PSH, 5, NULL, k);
        pq_smux_consumed(x.user[1].st, k);
        sent += k;
        n = pull();
    }
    assert_int_equal(n, 1);
    assert_int_equal(f[0].id, 5);
    assert_int_equal(f[0].consumed, 100 + sent);
    sess_fini(&x);
}

#define LENDERS 40

/* Reads a byte of each of the streams 3, 5, ...; the sum of the windows that were told. */
static size_t tell_all(uint32_t told[LENDERS])
{
    size_t sum = 0;
    for (uint32_t i = 0; i < LENDERS; i++)
        pq_smux_consumed(x.user[i].st, 1);
    for (size_t n; (n = pull());)
        for (size_t k = 0; k < n; k++)
            if (f[k].cmd == SMUX_UPD)
                told[(f[k].id - 3) / 2] = f[k].window;
    for (int i = 0; i < LENDERS; i++)
        sum += told[i];
    return sum;
}

/* What streams may have unread together does not exceed the session's buffer by much, however many
 * there are; and who does not use its window gives it back when others want one. */
static void lent_windows(void **state)
{
    (void)state;
    const uint32_t least = 163840;
    uint32_t told[LENDERS] = {0};
    pq_ns now = PQ_SEC;
    start(false);
    pq_smux_clock(x.s, now, 100 * PQ_MS);
    for (uint32_t i = 0; i < LENDERS; i++) {
        sess_give(&x, SMUX_SYN, 3 + 2 * i, NULL, 0);
        sess_give(&x, SMUX_PSH, 3 + 2 * i, NULL, 2);
    }
    const size_t sum = tell_all(told);
    assert_true(told[0] > (2 << 20) - 1000); /* half of all */
    assert_int_equal(told[LENDERS - 1], least);
    assert_true(sum < (4 << 20) + LENDERS * least);
    assert_int_equal(pull(), 0);

    now += 3 * PQ_SEC; /* none of them was used: the last one, which is, gets more at once */
    pq_smux_clock(x.s, now, 100 * PQ_MS);
    struct pq_smux_stream *busy = x.user[LENDERS - 1].st;
    uint32_t had = 0, back = 0;
    for (int i = 0; i < 20; i++) {
        sess_give(&x, SMUX_PSH, 3 + 2 * (LENDERS - 1), NULL, 60000);
        pq_smux_consumed(busy, 60000);
        for (size_t n; (n = pull());)
            for (size_t k = 0; k < n; k++) {
                had = f[k].cmd == SMUX_UPD && f[k].id > 2 * LENDERS ? f[k].window : had;
                back += f[k].cmd == SMUX_UPD && f[k].id == 3 && f[k].window == least;
            }
    }
    assert_int_equal(back, 1);
    assert_true(had > (1 << 20));
    sess_fini(&x);
}

/* Streams that nobody reads fill the session's buffer, so that nothing comes for the others: after
 * a while they are cut, those with most first, and no more of them than is needed. */
static void unread_streams(void **state)
{
    (void)state;
    pq_ns now = PQ_SEC;
    start(false);
    pq_smux_clock(x.s, now, 100 * PQ_MS);
    for (uint32_t id = 3; id <= 13; id += 2)
        sess_give(&x, SMUX_SYN, id, NULL, 0);
    for (uint32_t id = 3; id <= 11; id += 2)
        for (uint32_t i = 0; i < 7 + id; i++)
            sess_give(&x, SMUX_PSH, id, NULL, 60000);
    assert_true(x.s->unread >= 4 << 20);
    uint32_t cuts = 0;
    for (; now < 5 * PQ_SEC; now += PQ_SEC) {
        assert_int_equal(pq_smux_tick(x.s, now), 0);
        for (int i = 0; i < 6; i++)
            cuts += x.user[i].cuts;
        assert_int_equal(cuts, 0);
    }
    assert_int_equal(pq_smux_tick(x.s, now + PQ_SEC), 0);
    assert_int_equal(x.user[4].cuts, 1); /* stream 11, which has most */
    for (int i = 0; i < 6; i++)
        cuts += x.user[i].cuts;
    assert_true(x.s->unread <= 3 << 20 && cuts < 3);
    assert_int_equal(x.user[5].cuts, 0);
    sess_give(&x, SMUX_PSH, 13, NULL, 10);
    assert_int_equal(x.user[5].rx_len, 10);
    sess_fini(&x);
}

/* 262144 bytes before the first UPD; then what the peer says. */
static void send_window(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x);
    for (int i = 0; i < 20; i++)
        assert_int_equal(sess_send(u, 16000, 1), 0);
    size_t n = pull();
    assert_int_equal(f[0].cmd, SMUX_SYN);
    assert_int_equal(pushed(n), 262144); /* the last frame is cut to the credit */
    assert_int_equal(f[n - 1].len, 262144 - 16 * 16000);
    assert_false(pq_smux_pending(x.s));
    sess_upd(&x, 3, 100, 262144);
    assert_int_equal(pushed(pull()), 100);
    sess_upd(&x, 3, 100, 262145);
    assert_int_equal(pushed(pull()), 1);
    sess_upd(&x, 3, 262245, 65536); /* all read, smaller window */
    assert_int_equal(pushed(pull()), 320000 - 262245);
    sess_fini(&x);
}

/* The peer's buffer is smaller than the initial window: while more is on its way than the window
 * it tells, nothing more may go, also not for a stream that already has its turn. */
static void shrinking_window(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x);
    for (int i = 0; i < 8; i++)
        sess_send(u, 16000, 1);
    for (int i = 0; i < 7; i++) /* SYN, and six of the eight */
        sess_pull(&x, f, COUNT_OF(f));
    sess_upd(&x, 3, 100, 65536);
    assert_int_equal(pull(), 0);
    sess_upd(&x, 3, 96000 - 65536, 65536); /* exactly full */
    assert_int_equal(pull(), 0);
    sess_upd(&x, 3, 96000 - 65536 + 5, 65536);
    assert_int_equal(pushed(pull()), 5);
    sess_upd(&x, 3, 96005, 0);
    assert_int_equal(pull(), 0);
    sess_upd(&x, 3, 96005, 65536);
    assert_int_equal(pushed(pull()), 8 * 16000 - 96005);
    sess_fini(&x);
}

/* A peer that claims more than was sent: writes fail [5.3]. */
static void false_claim(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x);
    sess_send(u, 100, 1);
    pull();
    assert_int_equal(sess_upd(&x, 3, 100, 1000), 1);
    assert_int_equal(sess_send(u, 100, 1), 0);
    assert_int_equal(sess_upd(&x, 3, 201, 1000), 1);
    assert_int_equal(sess_send(u, 100, 1), PQ_ECLOSED);
    sess_fini(&x);
}

/* The counter of bytes wraps at 2^32. */
static void counters_wrap(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x);
    pull();
    u->st->sent = u->st->peer_consumed = 0xffffff00;
    sess_send(u, 1000, 1);
    assert_int_equal(pushed(pull()), 1000);
    sess_upd(&x, 3, 0xffffff80, 900);
    sess_send(u, 1000, 1);
    assert_int_equal(pushed(pull()), 900 - (1000 - 128));
    sess_upd(&x, 3, 772, 100);
    assert_int_equal(pushed(pull()), 100);
    sess_fini(&x);
}

static void own_close(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x);
    sess_send(u, 10, 1);
    sess_send(u, 20, 2);
    pq_smux_close(u->st);
    assert_int_equal(pull(), 4); /* SYN, two frames, then FIN [5.4] */
    static const uint8_t want[] = {SMUX_SYN, SMUX_PSH, SMUX_PSH, SMUX_FIN};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(f[i].cmd, want[i]);
    assert_int_equal(pq_smux_count(x.s), 0);
    sess_give(&x, SMUX_PSH, 3, NULL, 100); /* what still arrives is dropped */
    sess_give(&x, SMUX_FIN, 3, NULL, 0);
    assert_int_equal(u->rx_len + u->fins, 0);

    u = sess_open(&x); /* data in the middle of a frame, when the stream closes */
    pull();
    sess_bytes(&x, (const uint8_t *)"\2\2\12\0\5\0\0\0abcd", 12);
    assert_int_equal(u->rx_len, 4);
    pq_smux_close(u->st);
    assert_int_equal(pull(), 1);
    assert_int_equal(sess_bytes(&x, (const uint8_t *)"efghij", 6), 1);
    assert_int_equal(u->rx_len, 4);
    assert_int_equal(x.s->unread, 0);
    u = sess_open(&x); /* dropped instead of sent */
    pull();
    sess_send(u, 10, 1);
    pq_smux_abort(u->st);
    assert_int_equal(pull(), 1);
    assert_int_equal(f[0].cmd, SMUX_FIN);
    u = sess_open(&x); /* the peer has not even heard of it */
    sess_send(u, 10, 1);
    pq_smux_abort(u->st);
    assert_int_equal(pull(), 0);
    assert_int_equal(pq_smux_count(x.s), 0);
    sess_fini(&x);
}

/* After the peer's FIN: one event, no more data of ours, but our FIN when we close. */
static void peer_close(void **state)
{
    (void)state;
    start(false);
    sess_give(&x, SMUX_SYN, 3, NULL, 0);
    struct suser *u = &x.user[0];
    sess_send(u, 100, 1);
    sess_give(&x, SMUX_PSH, 3, NULL, 50);
    sess_give(&x, SMUX_FIN, 3, NULL, 0);
    sess_give(&x, SMUX_FIN, 3, NULL, 0);
    assert_int_equal(u->fins, 1);
    assert_int_equal(u->rx_len, 50);
    assert_int_equal(pull(), 0); /* what was queued is not sent */
    assert_int_equal(sess_send(u, 10, 1), PQ_ECLOSED);
    sess_give(&x, SMUX_PSH, 3, NULL, 50);
    assert_int_equal(u->rx_len, 50);
    pq_smux_consumed(u->st, 50); /* no UPD for a peer that forgot the stream */
    assert_int_equal(pull(), 0);
    pq_smux_cork(u->st, true);
    pq_smux_send_first(u->st, pq_chunk_copy(&x.chunks, "header", 6));
    pq_smux_cork(u->st, false);
    assert_int_equal(pull(), 0);
    pq_smux_close(u->st);
    assert_int_equal(pull(), 1);
    assert_int_equal(f[0].cmd, SMUX_FIN);
    assert_int_equal(pq_smux_count(x.s), 0);
    sess_fini(&x);
}

/* UPD that waits when the stream closes does not go out; no empty chunk comes instead. */
static void close_with_update(void **state)
{
    (void)state;
    start(false);
    sess_give(&x, SMUX_SYN, 3, NULL, 0);
    sess_give(&x, SMUX_PSH, 3, NULL, 50);
    pq_smux_consumed(x.user[0].st, 50);
    pq_smux_close(x.user[0].st);
    size_t n = pull();
    assert_int_equal(f[n - 1].cmd, SMUX_FIN);
    assert_int_equal(n, 1);
    sess_fini(&x);
}

static void cork(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x);
    pq_smux_cork(u->st, true);
    sess_send(u, 10, 1);
    assert_int_equal(pull(), 1);
    assert_int_equal(f[0].cmd, SMUX_SYN);
    sess_send(u, 20, 1);
    sess_upd(&x, 3, 0, 1000); /* does not lift it */
    assert_int_equal(pull(), 0);
    pq_smux_send_first(u->st, pq_chunk_copy(&x.chunks, "header", 6));
    assert_int_equal(pull(), 0);
    pq_smux_cork(u->st, false);
    assert_int_equal(pull(), 3);
    assert_int_equal(f[0].len, 6); /* a frame of its own, in front [6.2] */
    assert_int_equal(f[1].len, 10);
    assert_int_equal(f[2].len, 20);
    pq_smux_cork(u->st,
                 true); /* closing lifts it, but bytes without what was to go in front stay */
    sess_send(u, 30, 1);
    pq_smux_close(u->st);
    assert_int_equal(pull(), 1);
    assert_int_equal(f[0].cmd, SMUX_FIN);
    u = sess_open(&x);
    pq_smux_cork(u->st, true);
    sess_send(u, 40, 1);
    pq_smux_close(u->st);
    assert_int_equal(pull(), 0);
    assert_int_equal(pq_smux_count(x.s), 0);
    sess_fini(&x);
}

/* One frame of each stream in turn; a small one does not wait behind a large queue. */
static void turns(void **state)
{
    (void)state;
    start(true);
    struct suser *u[5];
    for (int i = 0; i < 5; i++) {
        u[i] = sess_open(&x);
        for (int k = 0; k < 6; k++)
            sess_send(u[i], 1000, 1);
    }
    sess_pull(&x, f, COUNT_OF(f)); /* all SYN */
    for (uint32_t i = 0; i < 15; i++) {
        assert_int_equal(sess_pull(&x, f, COUNT_OF(f)), 1);
        assert_int_equal(f[0].id, 3 + 2 * (i % 5));
    }
    struct suser *late = sess_open(&x);
    sess_send(late, 1, 1);
    size_t before = 0;
    while (sess_pull(&x, f, COUNT_OF(f)) && !(f[0].id == 13 && f[0].cmd == SMUX_PSH))
        before++;
    assert_true(before <= 6); /* its SYN, and each other stream once */
    assert_int_equal(f[0].id, 13);
    sess_fini(&x);
}

static void empty_writes(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x);
    pull();
    assert_int_equal(pq_smux_send(u->st, pq_chunk_new(&x.chunks, 0)), 0);
    assert_int_equal(pull(), 0);
    pq_smux_send_first(u->st, pq_chunk_new(&x.chunks, 0));
    assert_int_equal(pull(), 0);
    sess_fini(&x);
}

/* The room event comes once after room was 0, not otherwise. */
static void room(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x);
    sess_send(u, 1000, 1);
    pull();
    assert_int_equal(u->rooms, 0);
    while (pq_smux_room(u->st))
        sess_send(u, 16000, 1);
    while (!u->rooms)
        assert_true(sess_pull(&x, f, COUNT_OF(f)) > 0);
    assert_true(pq_smux_room(u->st) >= PQ_SMUX_QUEUE_MAX / 4);
    pull();
    assert_int_equal(u->rooms, 1);
    sess_fini(&x);
}

/* Nor is it lost when the bound sinks below what is queued, and nothing is queued after that. */
static void room_shrinks(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x);
    pq_smux_set_queue(x.s, (size_t)2 * PQ_SMUX_QUEUE_MAX, UINT32_MAX);
    while (pq_smux_room(u->st) > PQ_SMUX_QUEUE_MAX / 2)
        sess_send(u, 16000, 1);
    pq_smux_set_queue(x.s, 0, UINT32_MAX);
    assert_int_equal(pq_smux_room(u->st), 0);
    assert_int_equal(u->rooms, 0);
    pull();
    assert_int_equal(u->rooms, 1);
    sess_fini(&x);
}

static void max_streams(void **state)
{
    (void)state;
    struct pq_smux_conf c = sconf(false);
    c.max_streams = 3;
    sess_init(&x, &c);
    for (uint32_t i = 0; i < 5; i++)
        sess_give(&x, SMUX_SYN, 3 + 2 * i, NULL, 0);
    assert_int_equal(x.n_users, 3);
    assert_int_equal(pull(), 2); /* the others are closed at once */
    assert_true(f[0].cmd == SMUX_FIN && f[1].cmd == SMUX_FIN);
    assert_int_equal(f[0].id + f[1].id, 9 + 11);
    assert_int_equal(pq_smux_count(x.s), 3);
    pq_smux_close(x.user[0].st);
    pull();
    sess_give(&x, SMUX_SYN, 21, NULL, 0); /* there is room again */
    assert_int_equal(x.n_users, 4);
    assert_null(pq_smux_open(x.s, &x));   /* the limit is for both sides together */
    for (uint32_t i = 0; i < 100000; i++) /* a peer that opens and never reads */
        sess_give(&x, SMUX_SYN, 101 + 2 * i, NULL, 0);
    assert_int_equal(pq_smux_count(x.s), 3);
    assert_int_equal(x.s->n_refused, 65536);
    size_t fins = 0, k;
    while ((k = sess_pull(&x, f, COUNT_OF(f))))
        fins += k;
    assert_int_equal(fins, 65536); /* each is told, in many chunks */
    sess_fini(&x);
}

/* Input stops while the unread bytes of all streams reach the session buffer [5.3]. */
static void session_buffer(void **state)
{
    (void)state;
    struct pq_smux_conf c = sconf(false);
    c.session_buf = 10000;
    c.stream_buf = 5000;
    sess_init(&x, &c);
    sess_give(&x, SMUX_SYN, 3, NULL, 0);
    sess_give(&x, SMUX_SYN, 5, NULL, 0);
    assert_int_equal(sess_give(&x, SMUX_PSH, 3, NULL, 9999), 1);
    assert_false(pq_smux_resume(x.s));
    assert_int_equal(sess_give(&x, SMUX_PSH, 5, NULL, 1), 1);
    assert_int_equal(sess_give(&x, SMUX_PSH, 5, NULL, 1), 0);
    assert_int_equal(x.user[1].rx_len, 1);
    assert_false(pq_smux_resume(x.s));
    pq_smux_consumed(x.user[0].st, 1);
    assert_true(pq_smux_resume(x.s));
    assert_int_equal(sess_give(&x, SMUX_PSH, 5, NULL, 1), 1);
    assert_false(pq_smux_resume(x.s));
    assert_int_equal(sess_give(&x, SMUX_NOP, 0, NULL, 0), 0);
    pq_smux_close(x.user[0].st); /* what nobody will read does not count */
    assert_true(pq_smux_resume(x.s));
    assert_int_equal(sess_give(&x, SMUX_NOP, 0, NULL, 0), 1);
    sess_fini(&x);
}

/* A peer cannot know a stream whose SYN has not gone out: what it says of one makes no event, in
 * which the owner could abort the stream under the hands of who reports it. */
static void not_told_yet(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x);
    const uint32_t id = pq_smux_stream_id(u->st);
    assert_int_equal(sess_give(&x, SMUX_PSH, id, NULL, 10), 1);
    assert_int_equal(sess_upd(&x, id, 1000, 5), 1);
    assert_int_equal(sess_give(&x, SMUX_FIN, id, NULL, 0), 1);
    assert_int_equal(u->rx_len + u->fins + u->eofs, 0);
    sess_send(u, 100, 1);
    assert_int_equal(pull(), 2); /* as if nothing had been said */
    assert_int_equal(f[0].cmd, SMUX_SYN);
    assert_int_equal(f[1].len, 100);
    assert_int_equal(sess_give(&x, SMUX_FIN, id, NULL, 0), 1);
    assert_int_equal(u->fins, 1);
    pq_smux_close(u->st);
    sess_fini(&x);
}

/* Without memory no frame is cut, but what carries no data comes out: others wait for it. */
static void short_of_memory(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x), *v = sess_open(&x);
    sess_send(u, 3000, 1);
    sess_send(v, 3000, 1);
    sess_pull(&x, f, COUNT_OF(f));
    sess_upd(&x, 3, 0, 1000);
    pq_smux_abort(v->st);
    x.chunks.small.limit = 1;
    void *hold = pq_pool_get(&x.chunks.small);
    struct pq_chunk *c = NULL;
    for (int i = 0; i < 2 && !c; i++)
        c = pq_smux_pull(x.s); /* not the cut of 1000, but the FIN */
    assert_int_equal(pq_chunk_data(c)[1], SMUX_FIN);
    pq_chunk_free(c);
    assert_true(pq_smux_pending(x.s));
    sess_open(&x);
    c = pq_smux_pull(x.s);
    assert_int_equal(pq_chunk_data(c)[1], SMUX_SYN);
    pq_chunk_free(c);
    assert_null(pq_smux_pull(x.s));
    pq_pool_put(&x.chunks.small, hold);
    size_t n = pull();
    assert_int_equal(n, 1);
    assert_int_equal(pushed(n), 1000);
    sess_fini(&x);
}

/* Hundreds of control frames at once: all come, in chunks, before any data. */
static void many_controls(void **state)
{
    (void)state;
    start(true);
    for (int i = 0; i < 300; i++)
        sess_send(sess_open(&x), 1, 1);
    size_t n = pull();
    assert_int_equal(n, 600);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(f[i].cmd, i < 300 ? SMUX_SYN : SMUX_PSH);
    sess_fini(&x);
}

int smux_rules(void)
{
    const struct CMUnitTest rules[] = {
        cmocka_unit_test(window_updates), cmocka_unit_test(small_window_updates),
        cmocka_unit_test(lent_windows),   cmocka_unit_test(unread_streams),
        cmocka_unit_test(send_window),    cmocka_unit_test(shrinking_window),
        cmocka_unit_test(false_claim),    cmocka_unit_test(counters_wrap),
        cmocka_unit_test(own_close),      cmocka_unit_test(peer_close),
        cmocka_unit_test(cork),           cmocka_unit_test(close_with_update),
        cmocka_unit_test(turns),          cmocka_unit_test(empty_writes),
        cmocka_unit_test(room),           cmocka_unit_test(room_shrinks),
        cmocka_unit_test(max_streams),    cmocka_unit_test(session_buffer),
        cmocka_unit_test(not_told_yet),   cmocka_unit_test(short_of_memory),
        cmocka_unit_test(many_controls),
    };
    return ut_run(rules);
}
