/* SPDX-License-Identifier: MIT */
/* test_way.c - the link below a session that is there changes. */
#include "header/header.h"
#include "world.h"

#include <errno.h>

#define SLOTS 64

/* A client that knows the path to a peer that reads runs. */
static struct world *settled(const char *name)
{
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed(name));
    world_open(w, 4 << 20, 0);
    pq_stream_set_abilities(w->half[CLIENT][0].st, PQ_ABLE_ALL);
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    assert_true(world_transferred(w));
    return w;
}

/* Has much to send and pulls packets, which are lost.  Returns how many of them begin a run. */
static unsigned pull(struct world *w)
{
    static uint8_t memory[SLOTS][PQ_SLOT_SIZE];
    struct pq_slot slots[SLOTS];
    unsigned runs = 0;
    world_open(w, 4 << 20, 0);
    for (unsigned i = 0; i < SLOTS; i++)
        slots[i] = (struct pq_slot){.buf = memory[i]};
    size_t n = pq_hub_pull(w->end[CLIENT].hub, slots, SLOTS, w->now);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i += 1u + slots[i].more)
        runs += slots[i].more > 0;
    return runs;
}

static void change(struct world *w, uint32_t mtu, bool runs)
{
    const struct pq_link link = {
        .to.link_len = 14, .mtu = mtu, .runs = runs, .own = &w->end[CLIENT].addr, .n = 1};
    pq_hub_change_link(w->end[CLIENT].hub, &link);
}

/* Runs go only over links that take them. */
static void runs(void **state)
{
    (void)state;
    struct world *w = settled("runs");
    change(w, 1500, true);
    assert_true(pull(w) > 0);
    change(w, 1500, false);
    world_run(w, w->now + 2 * PQ_SEC, NULL);
    assert_int_equal(pull(w), 0);
    world_free(w);
}

/* A session whose packets are too long for the link now ends; one that fits goes on. */
static void lower_mtu(void **state)
{
    (void)state;
    const uint32_t fits = 1350 + 20 + 40; /* with the longest header */
    struct world *w = settled("lower MTU");
    struct pq_hub *h = w->end[CLIENT].hub;
    assert_false(pq_hub_set_mtu(h, 0));
    assert_true(pq_hub_set_mtu(h, fits));
    assert_false(pq_hub_set_mtu(h, fits));
    world_open(w, 1 << 20, 1 << 20);
    world_run(w, w->now + 2 * PQ_SEC, NULL);
    assert_true(world_transferred(w));
    struct half *half = world_open(w, 1 << 20, 0);
    assert_true(pq_hub_set_mtu(h, fits - 1));
    world_run(w, w->now + PQ_SEC, NULL);
    assert_null(w->ses);
    assert_int_equal(w->end[CLIENT].ended_err, -EMSGSIZE);
    assert_int_equal(half->end_err, -EMSGSIZE);
    world_connect(w, 40001);
    assert_true(pq_hub_set_mtu(h, 30)); /* nothing fits: the smallest packets are sent */
    world_run(w, w->now + PQ_SEC, NULL);
    assert_null(w->ses);
    world_connect(w, 40002);
    assert_true(pq_hub_set_mtu(h, 20));
    world_run(w, w->now + PQ_SEC, NULL);
    assert_non_null(w->ses);
    world_free(w);
}

/* The same when the link is another; what is away sends nothing, and stays. */
static void smaller_link(void **state)
{
    (void)state;
    struct world *w = settled("smaller link");
    struct pq_link link = {.to.link_len = 14, .mtu = 1280};
    pq_hub_change_link(w->end[CLIENT].hub, &link);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_non_null(w->ses);
    change(w, 1280, false);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_null(w->ses);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs),
        cmocka_unit_test(lower_mtu),
        cmocka_unit_test(smaller_link),
    };
    return ut_run(tests);
}
