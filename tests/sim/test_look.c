/* SPDX-License-Identifier: MIT */
/* test_look.c - plausible numbers follow what came new from the peer, and nothing else [1.6]; what
 * is short has no length by which it is known [12.8]. */
#include "base/bytes.h"
#include "flow.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams),
        cmocka_unit_test(lengths),
        cmocka_unit_test(lengths_of_questions),
    };
    return ut_run(tests);
}
