/* SPDX-License-Identifier: MIT */
/* smux_early.c - frames in segments that may come out of order [8.10]. */
#include "smux_peer.h"
#include "unit.h"
#include "vectors.h"

static struct sess x;

static void start(bool client)
{
    struct pq_smux_conf c = sconf(client);
    sess_init(&x, &c);
}

/* Appends a frame; returns the new length. */
static size_t put(uint8_t *b, size_t n, uint8_t cmd, uint32_t id, const void *body, size_t len)
{
    b[n] = 2;
    b[n + 1] = cmd;
    pq_put_le16(b + n + 2, (uint16_t)len);
    pq_put_le32(b + n + 4, id);
    if (len)
        memcpy(b + n + 8, body, len);
    return n + 8 + len;
}

static size_t put_data(uint8_t *b, size_t n, uint8_t cmd, uint32_t id, uint32_t place,
                       const char *text)
{
    size_t len = strlen(text);
    n = put(b, n, cmd, id, NULL, 0);
    pq_put_le16(b + n - 6, (uint16_t)(4 + len));
    pq_put_le32(b + n, place);
    for (size_t i = 0; i < len; i++)
        b[n + 4 + i] = (uint8_t)text[i];
    return n + 4 + len;
}

static size_t put_upd(uint8_t *b, size_t n, uint32_t id, uint32_t consumed, uint32_t window)
{
    uint8_t body[8];
    pq_put_le32(body, consumed);
    pq_put_le32(body + 4, window);
    return put(b, n, SMUX_UPD, id, body, sizeof body);
}

static void expect_rx(uint32_t id, const char *text)
{
    const struct suser *u = sess_user(&x, id);
    assert_non_null(u);
    assert_int_equal(u->rx_len, strlen(text));
    assert_memory_equal(u->rx, text, strlen(text));
}

/* An empty frame is no event, neither in its turn nor before it. */
static void empty(void **state)
{
    (void)state;
    uint8_t syn[50], data[50];
    start(false);
    size_t ns = put(syn, 0, SMUX_SYN, 3, NULL, 0), nd = put_data(data, 0, SMUX_DATA, 3, 0, "");
    assert_int_equal(sess_bytes(&x, syn, ns), 1);
    assert_int_equal(sess_bytes(&x, data, nd), 1);
    assert_int_equal(sess_user(&x, 3)->frames, 0);
    assert_int_equal(pq_smux_early(x.s, data, nd), 1);
    assert_int_equal(sess_user(&x, 3)->frames, 0);
    sess_fini(&x);
}

/* What depends on nothing that is missing is used at once, each frame once. */
static void before_its_turn(void **state)
{
    (void)state;
    uint8_t a[200], b[200], c[200];
    start(false);
    size_t na = put_data(a, put(a, 0, SMUX_SYN, 3, NULL, 0), SMUX_DATA, 3, 0, "one ");
    size_t nb = put_data(b, 0, SMUX_DATA, 3, 4, "two ");
    nb = put_data(b, put(b, nb, SMUX_SYN, 5, NULL, 0), SMUX_PART, 5, 0, "five");
    size_t nc = put_data(c, 0, SMUX_DATA, 5, 4, " more");
    nc = put_data(c, nc, SMUX_DATA, 3, 8, "three");

    assert_int_equal(pq_smux_early(x.s, c, nc), 0); /* of streams not known yet */
    assert_int_equal(pq_smux_early(x.s, b, nb), 0); /* stream 3 is not known */
    expect_rx(5, "five");
    assert_int_equal(sess_user(&x, 5)->frames, 0);
    assert_int_equal(pq_smux_early(x.s, c, nc), 0); /* again, as a hole was filled */
    expect_rx(5, "five more");
    assert_int_equal(sess_user(&x, 5)->frames, 1);

    assert_int_equal(sess_bytes(&x, a, na), 1); /* their turns: what was used is skipped */
    expect_rx(3, "one ");
    assert_int_equal(pq_smux_early(x.s, c, nc), 0); /* two is missing */
    assert_int_equal(sess_bytes(&x, b, nb), 1);
    expect_rx(3, "one two ");
    assert_int_equal(pq_smux_early(x.s, c, nc), 1);
    expect_rx(3, "one two three");
    assert_int_equal(pq_smux_early(x.s, c, nc), 1); /* nothing twice */
    assert_int_equal(sess_bytes(&x, c, nc), 1);
    expect_rx(3, "one two three");
    expect_rx(5, "five more");
    assert_int_equal(x.n_users, 2);
    sess_fini(&x);
}

/* The end of a stream waits for its bytes, not for those of others; BYE waits for its turn. */
static void ends(void **state)
{
    (void)state;
    uint8_t b[200];
    start(false);
    pq_smux_extend(x.s, 60 * PQ_SEC);
    sess_give(&x, SMUX_SYN, 3, NULL, 0);
    sess_give(&x, SMUX_SYN, 5, NULL, 0);
    size_t n = put_data(b, 0, SMUX_CLOSE, 3, 4, "");
    assert_int_equal(pq_smux_early(x.s, b, n), 0);
    assert_int_equal(sess_user(&x, 3)->fins, 0);
    uint8_t d[100];
    size_t nd = put_data(d, 0, SMUX_DATA, 3, 0, "data");
    assert_int_equal(pq_smux_early(x.s, d, nd), 1);
    assert_int_equal(pq_smux_early(x.s, b, n), 1);
    assert_int_equal(sess_user(&x, 3)->fins, 1);
    assert_int_equal(sess_bytes(&x, d, nd), 1);
    assert_int_equal(sess_bytes(&x, b, n), 1);
    assert_int_equal(sess_user(&x, 3)->fins, 1);

    n = put(b, 0, SMUX_BYE, 0, NULL, 0);
    n = put(b, n, SMUX_NOP, 0, NULL, 0);
    assert_int_equal(pq_smux_early(x.s, b, n), 0);
    assert_int_equal(x.byes, 0);
    assert_int_equal(sess_bytes(&x, b, n), 1);
    assert_int_equal(x.byes, 1);
    sess_fini(&x);
}

/* A stream that was closed at this end is not opened again by its SYN's turn. */
static void syn_once(void **state)
{
    (void)state;
    uint8_t b[100];
    struct sframe f[8];
    start(false);
    size_t n = put(b, 0, SMUX_SYN, 3, NULL, 0);
    assert_int_equal(pq_smux_early(x.s, b, n), 1);
    pq_smux_close(sess_user(&x, 3)->st);
    sess_pull_all(&x, f, COUNT_OF(f));
    assert_int_equal(pq_smux_count(x.s), 0);
    assert_int_equal(sess_bytes(&x, b, n), 1);
    assert_int_equal(x.n_users, 1);
    sess_fini(&x);
}

/* An UPD that comes late takes nothing back. */
static void late_upd(void **state)
{
    (void)state;
    uint8_t a[100], b[100];
    start(true);
    struct suser *u = sess_open(&x);
    sess_send(u, 10000, 1);
    struct sframe f[8];
    sess_pull_all(&x, f, COUNT_OF(f));
    size_t na = put_upd(a, 0, 3, 5000, 100000), nb = put_upd(b, 0, 3, 10000, 200000);
    assert_int_equal(pq_smux_early(x.s, b, nb), 1);
    assert_int_equal(sess_bytes(&x, a, na), 1);
    assert_int_equal(sess_bytes(&x, b, nb), 1);
    assert_int_equal(u->st->peer_consumed, 10000);
    assert_int_equal(u->st->peer_window, 200000);
    sess_fini(&x);
}

/* In its turn a frame must be at its place; and a segment must be whole frames. */
static void lies(void **state)
{
    (void)state;
    uint8_t b[100];
    static const uint32_t places[] = {1, 0xffffffff, 0x80000000};
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        start(false);
        sess_give(&x, SMUX_SYN, 3, NULL, 0);
        size_t n = put_data(b, 0, SMUX_DATA, 3, places[i], "x");
        assert_int_equal(pq_smux_early(x.s, b, n), 0);
        assert_int_equal(sess_bytes(&x, b, n), PQ_EPROTO);
        sess_fini(&x);
    }
    for (uint16_t len = 0; len < 4; len++) { /* no room for the place */
        start(false);
        sess_give(&x, SMUX_SYN, 3, NULL, 0);
        size_t n = put(b, 0, SMUX_DATA, 3, "\0\0\0", len);
        uint8_t *copy = ut_exact(b, n);
        assert_int_equal(pq_smux_early(x.s, copy, n), 0);
        free(copy);
        memset(b + n, 0, 4);
        assert_int_equal(sess_bytes(&x, b, 12), PQ_EPROTO);
        sess_fini(&x);
    }
    start(false);
    size_t n = put_data(b, 0, SMUX_DATA, 3, 0, "data");
    for (size_t cut = 1; cut < n; cut++) {
        uint8_t *copy = ut_exact(b, cut);
        assert_int_equal(pq_smux_early(x.s, copy, cut), PQ_EPROTO);
        free(copy);
    }
    b[0] = 1;
    assert_int_equal(pq_smux_early(x.s, b, n), PQ_EPROTO);
    sess_fini(&x);
}

/* Sending: each chunk is whole frames of at most so many bytes, or one frame's data, tagged. */
static void sending(void **state)
{
    (void)state;
    uint8_t p[PQ_SMUX_PREFIX];
    start(true);
    pq_smux_frames(x.s, 40);
    struct suser *u[5];
    for (size_t i = 0; i < COUNT_OF(u); i++)
        u[i] = sess_open(&x);
    for (size_t i = 0; i < COUNT_OF(u); i += 3) {
        struct pq_chunk *c = pq_smux_pull(x.s); /* three SYN, two SYN: 24 bytes are kept for each */
        assert_int_equal(c->tag, 0);
        assert_true(c->len <= 40);
        pq_chunk_free(c);
    }
    sess_send(u[1], 3000, 1);
    pq_smux_close(u[1]->st);
    struct pq_chunk *c = pq_smux_pull(x.s);
    assert_int_equal(c->tag, 5);
    assert_int_equal(c->len, 3000);
    pq_smux_prefix(p, c, 0, 1294);
    assert_memory_equal(p, "\2\10\22\5\5\0\0\0\0\0\0\0", 12); /* PART, 1298 */
    pq_smux_prefix(p, c, 1294, 1706);
    assert_memory_equal(p, "\2\7\256\6\5\0\0\0\16\5\0\0", 12); /* DATA, 1710, at 1294 */
    pq_chunk_free(c);
    c = pq_smux_pull(x.s);
    assert_int_equal(c->tag, 0);
    assert_int_equal(c->len, 12);
    assert_memory_equal(pq_chunk_data(c), "\2\11\4\0\5\0\0\0\270\13\0\0", 12); /* CLOSE at 3000 */
    pq_chunk_free(c);
    sess_fini(&x);
}

/* What KCP does: gives a segment early, those behind it again, and all in their turn. */
static void come(uint8_t **p, const size_t *len, bool *here, size_t n, size_t sn)
{
    static size_t next;
    next = sn == n ? 0 : next;
    if (sn == n)
        return;
    here[sn] = true;
    for (size_t i = sn; i < n; i++)
        if (here[i] && i > next)
            assert_true(pq_smux_early(x.s, p[i], len[i]) >= 0);
    for (; next < n && here[next]; next++)
        assert_int_equal(pq_smux_input(x.s, (struct pq_view){p[next], len[next]}), 1);
}

static void check_streams(const json_t *streams)
{
    size_t i, n;
    json_t *m;
    json_array_foreach(streams, i, m)
    {
        const struct suser *u = sess_user(&x, (uint32_t)vec_int(m, "id"));
        uint8_t *want = vec_bytes(m, "data", &n);
        assert_int_equal(u->rx_len, n);
        assert_memory_equal(u->rx, want, n);
        assert_int_equal(u->frames, vec_int(m, "frames"));
        assert_int_equal(u->fins, json_is_true(vec_get(m, "closed")));
        assert_int_equal(u->eofs, !u->fins);
        free(want);
    }
}

/* The same segments in any order are the same streams. */
static void vectors(void **state)
{
    (void)state;
    json_t *root = vec_load("frames.json"), *order, *m;
    const json_t *segments = vec_get(root, "segments");
    size_t i, k, n = json_array_size(segments);
    assert_int_equal(n, 4);
    json_array_foreach(vec_get(root, "orders"), i, order)
    {
        uint8_t *p[4] = {0};
        size_t len[4] = {0};
        bool here[4] = {0};
        start(false);
        json_array_foreach(segments, k, m) p[k] = vec_bytes(m, "payload", &len[k]);
        come(p, len, here, n, n);
        json_array_foreach(order, k, m) come(p, len, here, n, (size_t)json_integer_value(m));
        check_streams(vec_get(root, "streams"));
        sess_fini(&x);
        for (k = 0; k < n; k++)
            free(p[k]);
    }
    json_decref(root);
}

int smux_early(void)
{
    const struct CMUnitTest early[] = {
        cmocka_unit_test(empty),    cmocka_unit_test(before_its_turn), cmocka_unit_test(ends),
        cmocka_unit_test(syn_once), cmocka_unit_test(late_upd),        cmocka_unit_test(lies),
        cmocka_unit_test(sending),  cmocka_unit_test(vectors),
    };
    return ut_run(early);
}
