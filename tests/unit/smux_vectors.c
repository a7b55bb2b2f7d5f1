/* SPDX-License-Identifier: MIT */
/* smux_vectors.c - smux.json: the bytes of the Go library cut in every way, and its session played
 * again by ours, the frames of both compared. */
#include "smux_peer.h"
#include "unit.h"
#include "vectors.h"

#define FRAMES_MAX 64

struct run { /* one run of smux.json; the bytes of c2s are those of the first run in all */
    json_t *root;
    const json_t *run;
    uint8_t *c2s, *s2c;
    size_t c2s_len, s2c_len;
    struct sframe up[FRAMES_MAX], down[FRAMES_MAX];
    size_t n_up, n_down;
    uint32_t buffer;
};

static struct run load(size_t index)
{
    struct run r = {.root = vec_load("smux.json")};
    const json_t *runs = vec_get(r.root, "runs");
    r.run = json_array_get(runs, index);
    r.buffer = (uint32_t)vec_int(r.run, "max_stream_buffer");
    r.c2s = vec_bytes(json_array_get(runs, 0), "c2s_hex", &r.c2s_len);
    r.s2c = vec_bytes(r.run, "s2c_hex", &r.s2c_len);
    r.n_up = sframe_parse(r.c2s, r.c2s_len, r.up, FRAMES_MAX);
    r.n_down = sframe_parse(r.s2c, r.s2c_len, r.down, FRAMES_MAX);
    return r;
}

static void unload(struct run *r)
{
    free(r->c2s);
    free(r->s2c);
    json_decref(r->root);
}

static struct pq_smux_conf conf_of(const struct run *r, bool client)
{
    struct pq_smux_conf c = sconf(client);
    c.stream_buf = r->buffer;
    c.session_buf = 64 << 20; /* none has to be told of less */
    return c;
}

/* Our reading of the bytes is the reading in the file. */
static void parses(void **state)
{
    (void)state;
    static const char *const names[] = {"SYN", "FIN", "PSH", "NOP", "UPD"};
    for (size_t i = 0; i < 2; i++) {
        struct run r = load(i);
        const json_t *list = vec_get(r.run, "s2c_frames"), *v;
        assert_int_equal(json_array_size(list), r.n_down);
        for (size_t k = 0; k < r.n_down; k++) {
            v = json_array_get(list, k);
            assert_string_equal(vec_str(v, "cmd"), names[r.down[k].cmd]);
            assert_int_equal(vec_int(v, "sid"), r.down[k].id);
            assert_int_equal(vec_int(v, "len"), r.down[k].len);
            assert_int_equal(vec_int(v, "consumed"), r.down[k].consumed);
            assert_int_equal(vec_int(v, "window"), r.down[k].window);
        }
        unload(&r);
    }
}

static void check_rx(const struct suser *u, size_t n, unsigned salt)
{
    uint8_t *want = malloc(n + 1);
    ut_pattern(want, n, salt);
    assert_int_equal(u->rx_len, n);
    assert_memory_equal(u->rx, want, n);
    free(want);
}

static void feed_cut(struct sess *x, const uint8_t *p, size_t n, size_t piece, uint64_t *seed)
{
    for (size_t at = 0, k; at < n; at += k) {
        k = piece ? piece : 1 + ut_below(seed, 3000);
        if (k > n - at)
            k = n - at;
        assert_int_equal(sess_bytes(x, p + at, k), 1);
    }
}

static const size_t cuts[] = {0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 1000, 1306, 65535, 1u << 20};

static void server_reads(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("smux cuts");
    struct run r = load(0);
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        struct sess x;
        struct pq_smux_conf c = conf_of(&r, false);
        sess_init(&x, &c);
        feed_cut(&x, r.c2s, r.c2s_len, cuts[i], &seed);
        assert_int_equal(x.n_users, 3);
        check_rx(sess_user(&x, 3), 3072, 1);
        check_rx(sess_user(&x, 5), 71680, 2);
        assert_int_equal(sess_user(&x, 3)->frames, 1);
        assert_int_equal(sess_user(&x, 5)->frames, 2);
        assert_int_equal(sess_user(&x, 7)->rx_len, 0);
        for (uint32_t id = 3; id <= 7; id += 2)
            assert_int_equal(sess_user(&x, id)->fins, 1);
        sess_fini(&x);
    }
    unload(&r);
}

static void client_reads(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("smux cuts");
    struct run r = load(1);
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        struct sess x;
        struct sframe f[FRAMES_MAX];
        struct pq_smux_conf c = conf_of(&r, true);
        sess_init(&x, &c);
        struct suser *a = sess_open(&x), *b = sess_open(&x);
        sess_send(a, 3072, 1);
        for (int k = 0; k < 5; k++)
            sess_send(b, 14336, 2);
        sess_pull_all(&x, f, FRAMES_MAX);
        feed_cut(&x, r.s2c, r.s2c_len, cuts[i], &seed);
        check_rx(a, 3072, 3);
        assert_int_equal(a->fins, 1);
        assert_int_equal(b->rx_len, 15);
        assert_memory_equal(b->rx + 10, "12345", 5);
        assert_int_equal(b->fins, 1);
        assert_int_equal(a->st->peer_consumed, 100);
        assert_int_equal(a->st->peer_window, r.buffer);
        sess_fini(&x);
    }
    unload(&r);
}

/* Reads n bytes as an application with a buffer of 4096 does: never across two frames. */
static void read_4096(struct sess *x, struct suser *u, size_t n)
{
    struct sframe f[4];
    while (n) {
        size_t k = n < 4096 ? n : 4096;
        pq_smux_consumed(u->st, k);
        sess_pull_all(x, f, 4);
        n -= k;
    }
}

static void feed_frames(struct sess *x, const struct sframe *f, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        size_t n = 8 + (size_t)f[i].len;
        assert_int_equal(sess_bytes(x, f[i].data - 8, n), 1);
    }
}

/* The server of the file, call by call: its bytes are ours. */
static void play_server(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct run r = load(i);
        struct sess x;
        struct sframe f[FRAMES_MAX];
        struct pq_smux_conf c = conf_of(&r, false);
        sess_init(&x, &c);
        feed_frames(&x, r.up, 0, 2);
        struct suser *a = sess_user(&x, 3);
        pq_smux_consumed(a->st, 100);
        assert_int_equal(sess_pull_all(&x, f, FRAMES_MAX), 1);
        pq_smux_consumed(a->st, 2972);
        assert_int_equal(sess_pull_all(&x, f, FRAMES_MAX), 0);
        feed_frames(&x, r.up, 2, 5);
        struct suser *b = sess_user(&x, 5);
        read_4096(&x, b, 65535);
        read_4096(&x, b, 6145);
        sess_send(a, 3072, 3);
        sess_pull_all(&x, f, FRAMES_MAX);
        sess_send(b, 10, 4);
        sess_pull_all(&x, f, FRAMES_MAX);
        feed_frames(&x, r.up, 5, 8);
        assert_int_equal(a->fins, 1);
        assert_int_equal(sess_send(a, 10, 1), PQ_ECLOSED);
        pq_smux_close(a->st);
        sess_pull_all(&x, f, FRAMES_MAX);
        assert_int_equal(pq_smux_send(b->st, pq_chunk_copy(&x.chunks, "12345", 5)), 0);
        pq_smux_close(b->st);
        sess_pull_all(&x, f, FRAMES_MAX);
        feed_frames(&x, r.up, 8, r.n_up);
        assert_int_equal(pq_smux_tick(x.s, 3 * PQ_SEC), 0);
        sess_pull_all(&x, f, FRAMES_MAX);
        assert_int_equal(x.out_len, r.s2c_len);
        assert_memory_equal(x.out, r.s2c, r.s2c_len);
        sess_fini(&x);
        unload(&r);
    }
}

/* Our frames are those of the file, but for the sizes of PSH. */
static void same_frames(const struct sess *x, const json_t *list)
{
    struct sframe f[FRAMES_MAX];
    static const char *const names[] = {"SYN", "FIN", "PSH", "NOP", "UPD"};
    size_t n = sframe_parse(x->out, x->out_len, f, FRAMES_MAX), at = 0;
    long long theirs = 0, ours = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (strcmp(vec_str(v, "cmd"), "PSH") == 0) {
            theirs += vec_int(v, "len");
            continue;
        }
        for (; at < n && f[at].cmd == SMUX_PSH; at++)
            ours += f[at].len;
        assert_true(at < n);
        assert_int_equal(ours, theirs);
        assert_string_equal(vec_str(v, "cmd"), names[f[at].cmd]);
        assert_int_equal(vec_int(v, "sid"), f[at].id);
        assert_int_equal(vec_int(v, "consumed"), f[at].consumed);
        assert_int_equal(vec_int(v, "window"), f[at].window);
        at++;
    }
    assert_int_equal(at, n);
}

static void play_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct run r = load(i);
        struct sess x;
        struct sframe f[FRAMES_MAX];
        struct pq_smux_conf c = conf_of(&r, true);
        size_t down = r.n_down - 6; /* all UPD before PSH of stream 3 */
        sess_init(&x, &c);
        struct suser *a = sess_open(&x);
        sess_send(a, 3072, 1);
        sess_pull_all(&x, f, FRAMES_MAX);
        struct suser *b = sess_open(&x);
        for (int k = 0; k < 5; k++)
            sess_send(b, 14336, 2);
        sess_pull_all(&x, f, FRAMES_MAX);
        feed_frames(&x, r.down, 0, down + 2);
        pq_smux_consumed(a->st, 3072);
        pq_smux_consumed(b->st, 10);
        sess_pull_all(&x, f, FRAMES_MAX);
        pq_smux_close(a->st);
        sess_pull_all(&x, f, FRAMES_MAX);
        feed_frames(&x, r.down, down + 2, down + 5);
        pq_smux_consumed(b->st, 5);
        assert_int_equal(b->fins, 1);
        pq_smux_close(b->st);
        sess_pull_all(&x, f, FRAMES_MAX);
        pq_smux_close(sess_open(&x)->st); /* the liveness check of the clients [6] */
        sess_pull_all(&x, f, FRAMES_MAX);
        assert_int_equal(pq_smux_tick(x.s, 3 * PQ_SEC), 0);
        sess_pull_all(&x, f, FRAMES_MAX);
        same_frames(&x, vec_get(r.run, "c2s_frames"));
        sess_fini(&x);
        unload(&r);
    }
}

int smux_vectors(void)
{
    const struct CMUnitTest vectors[] = {
        cmocka_unit_test(parses),       cmocka_unit_test(server_reads),
        cmocka_unit_test(client_reads), cmocka_unit_test(play_server),
        cmocka_unit_test(play_client),
    };
    return ut_run(vectors);
}
