/* SPDX-License-Identifier: MIT */
/* test_look.c - plausible numbers follow what came new from the peer, and nothing else [1.6]; what
 * is short has no length by which it is known [12.8]. */
#include "base/bytes.h"
#include "flow.h"
#include "tunnel/tunnel_internal.h"

#define TCP     (14 + 20) /* where the TCP header is */
#define HEADERS (TCP + 32)

struct seen { /* of each end's last packet */
    uint32_t end[2], ack[2];
    uint8_t *last; /* the client's, a copy */
    size_t len;
};

static bool watch(struct world *w, unsigned from, struct link_packet *k)
{
    struct seen *s = w->tap_ctx;
    s->end[from] = pq_be32(k->p + TCP + 4) + k->len - HEADERS;
    s->ack[from] = pq_be32(k->p + TCP + 8);
    if (from == CLIENT) {
        free(s->last);
        s->last = malloc(k->len);
        assert_non_null(s->last);
        memcpy(s->last, k->p, k->len);
        s->len = k->len;
    }
    return true;
}

/* Datagrams beside the stream alone, each way, for half a second: what is acknowledged is what has
 * had the time to come. */
static void datagrams(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct seen s = {.last = NULL};
    c.hub[CLIENT].look = c.hub[SERVER].look = PQ_LOOK_PLAUSIBLE;
    struct world *w = world_new(&c, ut_seed("look of datagrams"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    flow_settle(f);
    w->tap = watch;
    w->tap_ctx = &s;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(flow_send(&f->end[CLIENT], 400), 0);
        assert_int_equal(flow_send(&f->end[SERVER], 400), 0);
        world_run(w, w->now + 5 * PQ_MS, NULL);
    }
    for (unsigned k = 0; k < 2; k++)
        assert_in_range(s.end[!k] - s.ack[k], 0, 6 * 500); /* 20 ms, and a little */

    /* a recording under another sequence number moves nothing */
    world_run(w, w->now + 100 * PQ_MS, NULL);
    pq_put_be32(s.last + TCP + 4, s.end[CLIENT] + 1000000);
    world_inject(w, SERVER, s.last, s.len, 0);
    assert_int_equal(flow_send(&f->end[SERVER], 400), 0);
    world_run(w, w->now + 50 * PQ_MS, NULL);
    assert_int_equal(s.ack[SERVER], s.end[CLIENT]);
    free(s.last);
    world_free(w);
    flow_free(f);
}

static bool note_length(struct world *w, unsigned from, struct link_packet *k)
{
    unsigned(*seen)[2000] = w->tap_ctx;
    seen[from][k->len < 1999 ? k->len : 1999]++;
    return true;
}

/* Keystrokes, their echo, and what acknowledges them. */
static void lengths(void **state)
{
    (void)state;
    static unsigned seen[2][2000];
    struct world_conf c = world_keyed(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("lengths"));
    memset(seen, 0, sizeof seen);
    world_open(w, 300, 1)->keep_open = true;
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_transferred));
    w->tap = note_length;
    w->tap_ctx = seen;
    for (unsigned i = 0; i < 100; i++) {
        world_open(w, 1, 1);
        world_run(w, w->now + 500 * PQ_MS, NULL);
    }
    for (unsigned side = 0; side < 2; side++) {
        unsigned all = 0, most = 0, lengths = 0;
        for (size_t n = 0; n < COUNT_OF(seen[side]); n++) {
            all += seen[side][n];
            lengths += seen[side][n] > 0;
            most = seen[side][n] > most ? seen[side][n] : most;
        }
        printf("%u datagrams of %u lengths, %u of one\n", all, lengths, most);
        assert_true(lengths > 60 && most * 6 < all);
    }
    world_free(w);
}

/* A download, in which the client asks now and then whether its flow is alive, and is answered. */
static void lengths_of_questions(void **state)
{
    (void)state;
    static unsigned seen[2][2000];
    struct world_conf c = world_keyed(40 * PQ_MS);
    c.link[SERVER].rate = 500000;
    c.link[SERVER].queue = 50000;
    struct world *w = world_new(&c, ut_seed("questions"));
    memset(seen, 0, sizeof seen);
    world_open(w, 300, 1)->keep_open = true;
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_transferred));
    w->sloppy = true;
    w->tap = note_length;
    w->tap_ctx = seen;
    world_open(w, 1, (uint64_t)1 << 30);
    world_run(w, w->now + 60 * PQ_SEC, NULL);
    unsigned all = 0, most = 0, lengths = 0;
    for (size_t n = 0; n < 300; n++) { /* the data are longer */
        all += seen[SERVER][n];
        lengths += seen[SERVER][n] > 0;
        most = seen[SERVER][n] > most ? seen[SERVER][n] : most;
    }
    printf("%u answers of %u lengths, %u of one\n", all, lengths, most);
    assert_true(all > 100 && lengths > 50 && most * 6 < all);
    world_free(w);
}

#define TUPLES 64

/* Payloads' lengths: of the first of each flow, both ways. */
static struct {
    size_t first[TUPLES][2];
} moved;

static bool note_first(struct world *w, unsigned from, struct link_packet *k)
{
    const unsigned port = pq_be16(k->p + TCP + (from == CLIENT ? 0 : 2)) - 40000U;
    const size_t n = k->len - TCP - (size_t)(k->p[TCP + 12] >> 4) * 4;
    (void)w;
    assert_true(port < TUPLES);
    if (!moved.first[port][from])
        moved.first[port][from] = n;
    return true;
}

/* What begins on another tuple has no length of its own, and no answer is longer than what it
 * answers. */
static void lengths_of_moves(void **state)
{
    (void)state;
    struct world_conf c = world_keyed(20 * PQ_MS);
    c.hub[CLIENT].smux.timeout = c.hub[SERVER].smux.timeout = 60 * PQ_SEC;
    struct world *w = world_new(&c, ut_seed("lengths of moves"));
    struct half *h = world_open(w, 100, 100);
    h->keep_open = true;
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    memset(&moved, 0, sizeof moved);
    w->tap = note_first;
    unsigned differ[2] = {0};
    for (unsigned i = 1; i < TUPLES - 1; i++) {
        w->ses->watch.move_at = w->now;
        pq_session_wake(w->ses);
        world_run(w, w->now + PQ_SEC, NULL);
        assert_int_equal(w->end[CLIENT].moved, i);
        assert_in_range(moved.first[i][CLIENT], 50, 50 + 127);
        assert_in_range(moved.first[i][SERVER], 50, moved.first[i][CLIENT]);
        for (int k = 0; k < 2; k++)
            differ[k] += moved.first[i][k] != moved.first[i - 1][k];
    }
    assert_true(differ[CLIENT] > TUPLES * 3 / 4 && differ[SERVER] > TUPLES / 4);
    w->sloppy = true;
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams),
        cmocka_unit_test(lengths),
        cmocka_unit_test(lengths_of_questions),
        cmocka_unit_test(lengths_of_moves),
    };
    return ut_run(tests);
}
