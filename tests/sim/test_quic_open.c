/* SPDX-License-Identifier: MIT */
/* test_quic_open.c - a server that lets strangers in (`auth: none`), and many who begin with it and
 * do not go on [13.3]. */
#include "quic_ends.h"
#include "tunnel/tunnel_internal.h"

#define RETRY_MAX 300 /* bytes of its frame, headers and all */

struct seen { /* of what the server sends */
    unsigned packets, retries;
    bool cut; /* nothing of it arrives */
};

static bool look(struct world *w, unsigned from, struct link_packet *k)
{
    struct seen *s = w->tap_ctx;
    struct pq_segment seg;
    if (from != SERVER)
        return true;
    assert_int_equal(pq_segment_parse(&seg, k->p, k->len, 14), PQ_DROP_NONE);
    s->packets++;
    if (seg.len && (seg.data[0] & 0xf0) == 0xf0) { /* a long header, of the type of Retry */
        assert_true(k->len < RETRY_MAX);
        s->retries++;
    }
    return !s->cut;
}

static struct world *open_world(struct world_conf *c, struct seen *s, const char *seed)
{
    *c = quic_ends(10 * PQ_MS);
    c->server_public = NULL;
    c->hub[SERVER].own.required = false;
    c->hub[SERVER].quic.open = true;
    c->hub[CLIENT].quic.key = NULL;
    struct world *w = world_new(c, ut_seed(seed));
    quic_ends_restart(w, 10);
    w->tap = look;
    w->tap_ctx = s;
    return w;
}

/* So many begin, from ports of their own, and get no answer. */
static void begin(struct world *w, struct seen *s, unsigned n)
{
    s->cut = true;
    for (unsigned i = 0; i < n; i++) {
        world_connect(w, (uint16_t)(20000 + i));
        world_run(w, w->now + PQ_MS, NULL);
    }
    world_run(w, w->now + 20 * PQ_MS, NULL);
}

/* The next one is asked to show that he is there, and is let in when he does. */
static void one_more_is_asked(void **state)
{
    (void)state;
    struct seen s = {0};
    struct world_conf c;
    struct world *w = open_world(&c, &s, "one more");
    begin(w, &s, PQ_QUIC_HALF_RETRY - 1); /* beside the world's own session */
    assert_int_equal(pq_quic_half_open(w->end[SERVER].hub->quic), PQ_QUIC_HALF_RETRY);
    assert_int_equal(s.retries, 0);
    s = (struct seen){0};
    world_connect(w, 30000);
    world_open(w, 1000, 100000);
    assert_true(world_run(w, w->now + 5 * PQ_SEC, world_transferred));
    assert_true(s.retries > 0);
    world_free(w);
}

/* Who never answers gets at most what he sends, in much fewer bytes, and holds no memory. */
static void flood(void **state)
{
    (void)state;
    struct seen s = {0};
    struct world_conf c;
    struct world *w = open_world(&c, &s, "flood");
    begin(w, &s, PQ_QUIC_HALF_RETRY - 1);
    s = (struct seen){0};
    const uint64_t before = w->end[CLIENT].packets;
    begin(w, &s, 500);
    struct pq_hub *h = w->end[SERVER].hub;
    assert_in_range(pq_quic_half_open(h->quic), 1, PQ_QUIC_HALF_RETRY);
    assert_in_range(s.retries, 1, w->end[CLIENT].packets - before);
    assert_int_equal(h->n_retries, 0);
    world_run(w, w->now + 60 * PQ_SEC, NULL);
    assert_int_equal(pq_quic_count(h->quic), 0);
    assert_int_equal(pq_hub_half_open(h), 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_more_is_asked),
                                       cmocka_unit_test(flood)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
