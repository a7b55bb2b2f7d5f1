/* SPDX-License-Identifier: MIT */
/* kcp_vectors.c - kcp.json: datagrams made by hand, and sessions of the Go library replayed. */
#include "kcp_link.h"
#include "unit.h"
#include "vectors.h"

#define START (5000 * PQ_SEC)

static void give(struct kend *e, const json_t *event, pq_ns now)
{
    size_t n;
    uint8_t *p = vec_bytes(event, "hex", &n);
    assert_int_equal(kend_input(e, p, n, now), PQ_DROP_NONE);
    free(p);
}

/* What a session shows of each segment must be what the vector says of it. */
static void check_segment(const struct kend *e, const json_t *s)
{
    const struct pq_kcp *k = e->k;
    assert_int_equal(k->rmt_wnd, vec_int(s, "wnd"));
    if (vec_int(s, "cmd") == 81) {
        assert_int_equal(k->last_ack.sn, vec_int(s, "sn"));
        assert_int_equal(k->last_ack.ts, vec_int(s, "ts"));
    }
    if (vec_int(s, "cmd") == 83)
        assert_true(k->tell_wnd);
}

static void hand_built(void **state)
{
    (void)state;
    json_t *root = vec_load("kcp.json"), *v;
    size_t i;
    json_array_foreach(vec_get(root, "hand_built"), i, v)
    {
        const json_t *list = vec_get(v, "segments"), *first = json_array_get(list, 0);
        const json_t *last = json_array_get(list, json_array_size(list) - 1);
        struct kend e;
        struct pq_kcp_conf c = kconf();
        c.conv = (uint32_t)vec_int(first, "conv");
        kend_init(&e, &c);
        if (vec_int(last, "cmd") == 81)
            e.k->rcv_nxt = e.k->rcv_read = (uint32_t)vec_int(last, "sn");
        e.k->snd_una = e.k->snd_nxt = (uint32_t)vec_int(last, "una") - 1;
        kend_write(&e, "x", 1); /* one segment is on its way, which `una` acknowledges */
        uint8_t b[1500];
        pq_kcp_pull(e.k, b, sizeof b, START);
        uint32_t conv, sn;
        bool push;
        size_t n, data_len = 0;
        uint8_t *p = vec_bytes(v, "hex", &n);
        assert_true(pq_kcp_peek((struct pq_view){p, n}, &conv, &push, &sn));
        assert_int_equal(conv, vec_int(first, "conv"));
        assert_int_equal(push, vec_int(first, "cmd") == 81);
        assert_int_equal(sn, vec_int(first, "sn"));
        give(&e, v, START);
        check_segment(&e, last);
        assert_int_equal(e.k->snd_una, vec_int(last, "una"));
        if (vec_int(last, "cmd") == 81) {
            uint8_t *data = vec_bytes(last, "data_hex", &data_len);
            assert_memory_equal(e.rx, data, data_len);
            free(data);
        }
        assert_int_equal(e.rx_len, data_len);
        free(p);
        kend_fini(&e);
    }
    json_decref(root);
}

/* All bytes that one side of a trace wrote: writes of these lengths with these salts. */
static size_t written(uint8_t *p, bool client)
{
    static const struct {
        size_t n;
        unsigned salt;
    } w[2][4] = {{{8, 100}, {504, 50}, {8, 101}, {4600, 51}},
                 {{8, 200}, {2552, 60}, {8, 201}, {2552, 61}}};
    size_t at = 0;
    for (size_t i = 0; i < 4; i++) {
        ut_pattern(p + at, w[client ? 0 : 1][i].n, w[client ? 0 : 1][i].salt);
        at += w[client ? 0 : 1][i].n;
    }
    return at;
}

static bool is_dir(const json_t *event, const char *dir)
{
    return strcmp(vec_str(event, "dir"), dir) == 0;
}

/* Receives one direction in `order`: the bytes are those written, una covers what came, each
 * PUSH is acknowledged by number or una, never with a wrong ts. */
static void replay(const json_t *trace, const char *dir, int order)
{
    struct kend e;
    struct pq_kcp_conf c = kconf();
    uint8_t want[6000];
    const json_t *list = vec_get(trace, "events"), *event;
    size_t count = json_array_size(list), len = written(want, strcmp(dir, "c2s") == 0);
    c.conv = (uint32_t)vec_int(trace, "conv");
    kend_init(&e, &c);
    pq_ns now = START;
    for (size_t i = 0; i < count; i++) {
        event = json_array_get(list, order > 0 ? i : count - 1 - i);
        if (!is_dir(event, dir) || json_is_true(json_object_get(event, "lost")))
            continue;
        give(&e, event, now += PQ_MS);
        uint8_t b[1500];
        size_t n = pq_kcp_pull(e.k, b, sizeof b, now);
        struct kseg s[SEGS_LIMIT];
        for (size_t k = kseg_parse(b, n, s); k; k--) {
            assert_int_equal(s[k - 1].una, e.k->rcv_nxt);
            assert_int_equal(s[k - 1].conv, c.conv);
        }
    }
    assert_int_equal(e.rx_len, len);
    assert_memory_equal(e.rx, want, len);
    kend_fini(&e);
}

static void traces(void **state)
{
    (void)state;
    json_t *root = vec_load("kcp.json"), *trace;
    size_t i;
    json_array_foreach(vec_get(root, "traces"), i, trace)
    {
        for (int order = -1; order <= 1; order += 2) {
            replay(trace, "c2s", order);
            replay(trace, "s2c", order);
        }
    }
    json_decref(root);
}

/* In stream mode this sender makes the segments of the Go client byte for byte, and the answers
 * of the Go server, ACK thinning included, satisfy it: resends exactly what was lost. */
static void play_client(const json_t *trace)
{
    struct kend e;
    struct pq_kcp_conf c = kconf();
    uint8_t want[6000], b[1500];
    size_t len = written(want, true), at = 0, i;
    const json_t *list = vec_get(trace, "events");
    json_t *event;
    c.conv = (uint32_t)vec_int(trace, "conv");
    c.mtu = (uint16_t)vec_int(trace, "mtu");
    c.rcv_wnd =
        (uint32_t)json_integer_value(json_array_get(vec_get(trace, "client_wnd_snd_rcv"), 1));
    kend_init(&e, &c);
    kend_write(&e, want, len);
    bool lossy = json_is_true(vec_get(trace, "with_loss"));
    json_array_foreach(list, i, event)
    {
        size_t n = 0;
        uint8_t *p = NULL;
        if (is_dir(event, "c2s")) {
            p = vec_bytes(event, "hex", &n);
            struct kseg theirs[SEGS_LIMIT], ours[SEGS_LIMIT];
            kseg_parse(p, n, theirs);
            if (theirs[0].cmd == 81) { /* at the time of their clock: the same bytes */
                size_t k = pq_kcp_pull(e.k, b, c.mtu, theirs[0].ts * PQ_MS);
                assert_int_equal(k, n);
                assert_memory_equal(b, p, n);
                kseg_parse(b, k, ours);
                at += ours[0].len;
            } else {
                pq_kcp_pull(e.k, b, c.mtu, theirs[0].ts * PQ_MS + PQ_SEC);
                assert_true(pq_le32(b + 16) >= theirs[0].una); /* events are in order of sending */
            }
        } else if (is_dir(event, "s2c")) {
            p = vec_bytes(event, "hex", &n);
            kend_input(&e, p, n, (pq_le32(p + 8) + 31) * PQ_MS);
        }
        free(p);
    }
    struct pq_kcp_stats st;
    pq_kcp_get_stats(e.k, &st);
    assert_int_equal(st.resent, lossy ? 1 : 0);
    assert_int_equal(at, len + (lossy ? 1326 : 0));
    assert_true(pq_kcp_idle(e.k));
    kend_fini(&e);
}

static void as_client(void **state)
{
    (void)state;
    json_t *root = vec_load("kcp.json"), *trace;
    size_t i;
    json_array_foreach(vec_get(root, "traces"), i,
                       trace) if (json_is_true(vec_get(trace, "stream_mode"))) play_client(trace);
    json_decref(root);
}

int kcp_vectors(void)
{
    const struct CMUnitTest vectors[] = {
        cmocka_unit_test(hand_built),
        cmocka_unit_test(traces),
        cmocka_unit_test(as_client),
    };
    return ut_run(vectors);
}
