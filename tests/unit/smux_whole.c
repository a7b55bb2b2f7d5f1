/* SPDX-License-Identifier: MIT */
/* smux_whole.c - streams whose frames are datagrams: never cut [6.4]; and what of a stream both
 * ends know [8.7]. */
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

/* One data frame is pulled and nothing else: its length, 0 for none. */
static size_t one(void)
{
    size_t n = pull();
    assert_true(n <= 1);
    if (!n)
        return 0;
    assert_int_equal(f[0].cmd, SMUX_PSH);
    return f[0].len;
}

static struct suser *open_whole(void)
{
    struct suser *u = sess_open(&x);
    pq_smux_set_whole(u->st);
    assert_int_equal(pull(), 1);
    assert_int_equal(f[0].cmd, SMUX_SYN);
    return u;
}

/* A frame waits until the window holds all of it, for an UPD that is sure to come. */
static void never_cut(void **state)
{
    (void)state;
    start(true);
    struct suser *u = open_whole();
    for (unsigned i = 0; i < 6; i++)
        sess_send(u, 60000, i);
    assert_int_equal(pull(), 4); /* 262144 at first: 22144 are left, and not used */
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(f[i].len, 60000);
    assert_false(pq_smux_pending(x.s));
    sess_upd(&x, 3, 37855, 262144); /* one byte short */
    assert_int_equal(one(), 0);
    sess_upd(&x, 3, 37856, 262144);
    assert_int_equal(one(), 60000);
    assert_int_equal(f[0].data[0], 4); /* the fifth, of salt 4 */
    sess_upd(&x, 3, 300000, 262144);
    assert_int_equal(one(), 60000);
    sess_fini(&x);
}

/* The largest datagrams, up to what the length of a frame can say. */
static void largest(void **state)
{
    (void)state;
    static const size_t sizes[] = {16385, 65507, 65535};
    start(true);
    struct suser *u = open_whole();
    uint32_t sent = 0;
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        uint8_t *want = malloc(sizes[i]);
        sess_send(u, sizes[i], i);
        assert_int_equal(one(), sizes[i]);
        ut_pattern(want, sizes[i], i);
        assert_memory_equal(f[0].data, want, sizes[i]);
        sent += (uint32_t)sizes[i];
        sess_upd(&x, 3, sent, 262144);
        free(want);
    }
    assert_int_equal(x.chunks.huge.used, 0);
    sess_fini(&x);
}

/* While one stream waits for its window, others go on, and control frames too. */
static void others_go_on(void **state)
{
    (void)state;
    start(true);
    struct suser *u = open_whole(), *bytes = sess_open(&x);
    for (unsigned i = 0; i < 5; i++)
        sess_send(u, 60000, i);
    assert_int_equal(pull(), 1 + 4);
    assert_int_equal(one(), 0);
    sess_send(bytes, 100, 1);
    assert_int_equal(one(), 100);
    assert_int_equal(f[0].id, pq_smux_stream_id(bytes->st));
    pq_smux_tick(x.s, 4 * PQ_SEC);
    sess_give(&x, SMUX_PSH, 3, NULL, 10);
    pq_smux_consumed(u->st, 10);
    assert_int_equal(pull(), 2); /* NOP, and UPD of the stream that waits */
    assert_int_equal(f[0].cmd, SMUX_NOP);
    assert_int_equal(f[1].cmd, SMUX_UPD);
    assert_int_equal(f[1].id, 3);
    struct suser *late = sess_open(&x);
    sess_send(late, 5, 1);
    assert_int_equal(pull(), 2);
    pq_smux_close(late->st);
    assert_int_equal(pull(), 1);
    assert_int_equal(f[0].cmd, SMUX_FIN);
    sess_upd(&x, 3, 60000, 262144);
    sess_send(bytes, 100, 1);
    assert_int_equal(pull(), 2); /* both in turn again */
    sess_fini(&x);
}

/* A stream of datagrams that waits and is closed still sends what it has, then FIN. */
static void close_while_waiting(void **state)
{
    (void)state;
    start(true);
    struct suser *u = open_whole();
    for (unsigned i = 0; i < 5; i++)
        sess_send(u, 60000, i);
    assert_int_equal(pull(), 4);
    pq_smux_close(u->st);
    assert_int_equal(pull(), 0);
    sess_upd(&x, 3, 240000, 262144);
    assert_int_equal(pull(), 2);
    assert_int_equal(f[0].len, 60000);
    assert_int_equal(f[1].cmd, SMUX_FIN);
    assert_int_equal(pq_smux_count(x.s), 0);

    u = sess_open(&x); /* and aborted: FIN at once */
    pq_smux_set_whole(u->st);
    for (unsigned i = 0; i < 5; i++)
        sess_send(u, 60000, i);
    pull();
    pq_smux_abort(u->st);
    assert_int_equal(pull(), 1);
    assert_int_equal(f[0].cmd, SMUX_FIN);
    sess_fini(&x);
}

/* What no window will ever hold goes in pieces rather than never. */
static void larger_than_window(void **state)
{
    (void)state;
    start(true);
    struct suser *u = open_whole();
    sess_send(u, 10, 1);
    pull();
    sess_upd(&x, 3, 10, 20000);
    sess_send(u, 50000, 2);
    size_t sum = 0;
    uint32_t consumed = 10;
    for (unsigned rounds = 0; sum < 50000; rounds++) {
        assert_true(rounds < 20);
        size_t n = pull();
        for (size_t i = 0; i < n; i++) {
            assert_true(f[i].len <= 20000);
            sum += f[i].len;
        }
        consumed = 10 + (uint32_t)sum;
        sess_upd(&x, 3, consumed, 20000);
    }
    assert_int_equal(sum, 50000);
    sess_send(u, 9000, 3);
    assert_int_equal(one(), 9000);
    sess_upd(&x, 3, consumed + 9000, 0); /* a window of nothing lets nothing out */
    sess_send(u, 1, 3);
    assert_int_equal(one(), 0);
    sess_upd(&x, 3, consumed + 9000, 1);
    assert_int_equal(one(), 1);
    sess_fini(&x);
}

/* Takes what may go and answers as a reader that uses all up at once [5.3].  Adds to *total. */
static void read_all(uint32_t window, uint32_t *total, uint32_t *since)
{
    size_t n;
    while ((n = sess_pull(&x, f, COUNT_OF(f)))) {
        bool first = *total == 0;
        assert_int_equal(n, 1);
        assert_int_equal(f[0].cmd, SMUX_PSH);
        *total += f[0].len;
        *since += f[0].len;
        if (first || *since >= window / 2) {
            sess_upd(&x, 3, *total, window);
            *since = 0;
        }
        x.out_len = 0;
    }
}

/* A reader tells of its window only when it has used up half of it [5.3].  Whatever that is, and
 * whatever the sizes of frames: the sender never waits for an UPD that will not come, and a frame
 * that half a window holds is not cut. */
static void no_deadlock(void **state)
{
    (void)state;
    static const uint32_t windows[] = {1024,   4096,   65535,  65536,  100000,
                                       131070, 131072, 200000, 262144, 1 << 20};
    uint64_t seed = ut_seed("whole frames");
    for (size_t w = 0; w < COUNT_OF(windows); w++) {
        uint32_t total = 0, since = 0, sent = 0;
        start(true);
        struct suser *u = open_whole();
        for (unsigned i = 0; i < 400; i++) {
            uint32_t most = ut_below(&seed, 3) ? 2000 : 65507, size = 1 + ut_below(&seed, most);
            sess_send(u, size, i);
            sent += size;
            read_all(windows[w], &total, &since);
            if (total != sent)
                fail_msg("window %u: %u bytes wait for ever, %u were not told", windows[w],
                         sent - total, since);
            if (size <= windows[w] / 2)
                assert_int_equal(f[0].len, size);
        }
        sess_fini(&x);
    }
}

/* Who knows a stream: who opened it, and who has read of it. */
static void known(void **state)
{
    (void)state;
    start(true);
    struct suser *u = sess_open(&x), *v = sess_open(&x);
    assert_false(pq_smux_known(u->st));
    sess_send(u, 100, 1);
    pull();
    assert_false(pq_smux_known(u->st));
    sess_give(&x, SMUX_PSH, 3, NULL, 10); /* data alone does not say that the header was read */
    assert_false(pq_smux_known(u->st));
    sess_upd(&x, 3, 100, 262144);
    assert_true(pq_smux_known(u->st));
    assert_false(pq_smux_known(v->st));
    sess_upd(&x, 5, 1, 262144); /* claims what was never sent: ends the stream */
    assert_false(pq_smux_known(v->st));
    assert_int_equal(v->fins, 1);
    sess_give(&x, SMUX_SYN, 2, NULL, 0);
    assert_true(pq_smux_known(sess_user(&x, 2)->st));
    sess_fini(&x);
}

/* The user of a stream by its id: only while it is open at both ends. */
static void find(void **state)
{
    (void)state;
    start(true);
    assert_null(pq_smux_find(x.s, 3));
    struct suser *u = sess_open(&x), *v = sess_open(&x);
    assert_ptr_equal(pq_smux_find(x.s, 3), u);
    assert_ptr_equal(pq_smux_find(x.s, 5), v);
    assert_null(pq_smux_find(x.s, 0));
    assert_null(pq_smux_find(x.s, 4));
    assert_null(pq_smux_find(x.s, 0xffffffff));
    sess_give(&x, SMUX_SYN, 2, NULL, 0);
    assert_ptr_equal(pq_smux_find(x.s, 2), sess_user(&x, 2));
    pull();
    sess_give(&x, SMUX_FIN, 3, NULL, 0);
    assert_null(pq_smux_find(x.s, 3)); /* closed by the peer */
    sess_send(v, 100, 1);
    pq_smux_close(v->st);
    assert_null(pq_smux_find(x.s, 5)); /* by the user, while data still waits */
    pull();
    assert_null(pq_smux_find(x.s, 5));
    sess_fini(&x);
    start(false);
    x.refuse = true;
    sess_give(&x, SMUX_SYN, 3, NULL, 0);
    assert_null(pq_smux_find(x.s, 3));
    sess_fini(&x);
}

int smux_whole(void)
{
    const struct CMUnitTest whole[] = {
        cmocka_unit_test(never_cut),
        cmocka_unit_test(largest),
        cmocka_unit_test(others_go_on),
        cmocka_unit_test(close_while_waiting),
        cmocka_unit_test(larger_than_window),
        cmocka_unit_test(no_deadlock),
        cmocka_unit_test(known),
        cmocka_unit_test(find),
    };
    return ut_run(whole);
}
