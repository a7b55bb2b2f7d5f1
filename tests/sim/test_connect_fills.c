/* SPDX-License-Identifier: MIT */
/* test_connect_fills.c - what a connection keeps of what it has sent, and when; and that it counts
 * nothing that belongs to another [12.9]. */
#include "tunnel/tunnel_internal.h"
#include "world.h"

#define TCP (14 + 20)

static struct {
    unsigned comb[2],
        gone;         /* after so many payloads each second one of so many is lost; so many are */
    unsigned drop[2]; /* the payload after so many - 1 others of that side is lost; 0 = none */
    struct lost {
        uint32_t seq;
        size_t n;
        uint8_t bytes[1500];
        unsigned again; /* times that it came later, bit for bit */
    } lost[2];
    unsigned old[2]; /* payloads below the highest number */
    uint64_t old_bytes[2], bytes[2];
    uint32_t high[2];
} box;

static bool watch(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    const uint8_t *t = k->p + TCP;
    const size_t head = TCP + (size_t)(t[12] >> 4) * 4, n = k->len - head;
    const uint32_t seq = pq_be32(t + 4);
    struct lost *l = &box.lost[from];
    if (!n)
        return true;
    const bool old = box.high[from] && (int32_t)(seq - box.high[from]) < 0;
    box.old[from] += old;
    box.old_bytes[from] += old ? n : 0;
    box.bytes[from] += n;
    box.high[from] = old ? box.high[from] : seq + (uint32_t)n;
    if (from == SERVER && box.comb[0] && !--box.comb[0]) {
        box.comb[0] = box.comb[1] ? 1 : 0;
        box.comb[1] -= box.comb[1] ? 1 : 0;
        box.gone += box.comb[1] % 2;
        return box.comb[1] % 2 == 0;
    }
    if (box.drop[from] && !--box.drop[from]) {
        assert_true(n <= sizeof l->bytes);
        l->seq = seq;
        l->n = n;
        memcpy(l->bytes, k->p + head, n);
        return false;
    }
    if (l->n && seq == l->seq) {
        assert_true(n == l->n && memcmp(l->bytes, k->p + head, n) == 0);
        l->again++;
    }
    return true;
}

static struct pq_syns *remembered; /* by the server; answers from the start */

static struct world_conf connecting(pq_ns delay)
{
    struct world_conf c = world_keyed(delay);
    memset(&box, 0, sizeof box);
    world_no_syns(&remembered);
    for (int i = 0; i < 2; i++) {
        c.hub[i].look = i == CLIENT ? PQ_LOOK_CONNECT : PQ_LOOK_PLAUSIBLE;
        c.hub[i].smux.timeout = 60 * PQ_SEC;
        c.hub[i].kcp.congestion = PQ_CONGESTION_BBR;
        c.hub[i].rmem = 6U << 20;
        c.link[i].rate = 4000000;
        c.link[i].queue = 400000;
    }
    c.hub[SERVER].syns = remembered;
    return c;
}

static struct world *begin(const struct world_conf *c, const char *name)
{
    struct world *w = world_new(c, ut_seed(name));
    w->tap = watch;
    return w;
}

static void finish(struct world *w)
{
    world_free(w);
    pq_syns_free(&remembered);
}

/* Copies are made from the beginning on, so what is lost first comes again, once, and nothing
 * else. */
static void first_loss(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        const unsigned side = i % 2, number = 2 + i / 2 * 3;
        struct world_conf c = connecting(20 * PQ_MS);
        struct world *w = begin(&c, "first loss");
        box.drop[side] = number;
        world_open(w, 300000, 300000);
        assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_closed));
        world_check(w);
        assert_true(box.lost[side].n > 0);
        assert_int_equal(box.lost[side].again, 1);
        assert_int_equal(box.old[side], 1);
        assert_int_equal(box.old[!side], 0);
        finish(w);
    }
}

/* What comes again counts as lost also where there were more holes at once than are remembered. */
static void more_than_remembered(void **state)
{
    (void)state;
    struct world_conf c = connecting(20 * PQ_MS);
    struct world *w = begin(&c, "more than remembered");
    struct pq_session_info info;
    world_open(w, 100, 4000000);
    box.comb[0] = 500;
    box.comb[1] = 6 * PQ_HOLES_MAX;
    assert_true(world_run(w, WORLD_T0 + 10 * PQ_SEC, world_closed));
    world_run(w, w->now + PQ_SEC, NULL);
    world_check(w);
    pq_session_info(w->ses, &info);
    assert_in_range(box.gone, 2 * PQ_HOLES_MAX, 6 * PQ_HOLES_MAX);
    assert_in_range(box.old[SERVER], 10, box.gone);
    assert_int_equal(info.expected - info.came, box.gone);
    finish(w);
}

/* They end where a path has lost nothing for 30 s and 16 MiB, and begin again with the next loss;
 * what is not needed is given back. */
static void copies_end(void **state)
{
    (void)state;
    struct world_conf c = connecting(20 * PQ_MS);
    struct world *w = begin(&c, "copies end");
    w->end[CLIENT].stays = true;
    world_open(w, 100, 20 << 20);
    const struct pq_hub *h = w->end[SERVER].hub;
    world_run(w, WORLD_T0 + PQ_SEC, NULL);
    assert_in_range(h->fills.used, 50000, 4 << 20);
    assert_true(world_run(w, WORLD_T0 + 25 * PQ_SEC, world_closed));
    world_run(w, WORLD_T0 + 29 * PQ_SEC, NULL);
    assert_in_range(h->fills.used, 1, 8192);
    world_run(w, WORLD_T0 + 45 * PQ_SEC, NULL);
    assert_int_equal(h->fills.used, 0);
    box.drop[SERVER] = 1;
    world_run(w, w->now + 30 * PQ_SEC, NULL);
    assert_true(box.lost[SERVER].n > 0);
    assert_int_equal(box.lost[SERVER].again, 0);
    assert_in_range(h->fills.used, 1, 8192);
    box.drop[SERVER] = 1;
    world_run(w, w->now + 30 * PQ_SEC, NULL);
    assert_int_equal(box.lost[SERVER].again, 1);
    world_check(w);
    finish(w);
}

/* The message that asks for another tuple has numbers of the connection there.  They say nothing of
 * the one that is left, also where both are near each other. */
static void numbers_of_another(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        struct world_conf c = connecting(20 * PQ_MS);
        c.hub[CLIENT].system = plain ? PQ_SYSTEM_WINDOWS : PQ_SYSTEM_HOST;
        struct world *w = begin(&c, "numbers of another");
        world_open(w, 3000000, 3000000);
        assert_true(world_run(w, WORLD_T0 + 20 * PQ_SEC, world_closed));
        struct pq_session *s = PQ_OF(w->end[SERVER].hub->sessions.next, struct pq_session, node);
        w->ses->watch.move_at = w->now;
        pq_session_wake(w->ses);
        world_run(w, w->now + PQ_MS, NULL);
        assert_true(w->ses->path && !s->path);
        const uint32_t near = w->ses->path->flow.conn.first - 50000;
        s->flow.st.ack = near;
        while (!s->path)
            world_run(w, w->now + PQ_MS, NULL);
        assert_true(s->flow.st.ack == near && !s->flow.conn.holes.n);
        world_run(w, w->now + PQ_SEC, NULL);
        assert_int_equal(w->end[CLIENT].moved, 1);
        finish(w);
    }
}

/* Of somebody on the line who sees all numbers: that all lacks but the last bytes. */
static void forge_sack(struct world *w, const struct pq_session *server)
{
    uint8_t buf[PQ_SLOT_SIZE];
    struct pq_slot slot = {.buf = buf};
    struct pq_flow forger = w->ses->flow;
    const uint32_t una = server->flow.conn.una, end = server->flow.st.seq;
    if (end - una < 4000)
        return;
    forger.st.ack = una;
    forger.conn.holes = (struct pq_holes){.n = 1};
    forger.conn.holes.r[0].have = (struct pq_block){end - 3000, end};
    pq_connect_ack(&forger, &slot, w->now);
    world_inject(w, SERVER, slot.buf + slot.off, slot.len, 0);
}

/* Nobody proves who tells of holes.  What he gets is that datagrams go again to the true peer, for
 * no more than a part of what goes there; they change nothing for it. */
static void forged_sacks(void **state)
{
    (void)state;
    struct world_conf c = connecting(20 * PQ_MS);
    struct world *w = begin(&c, "forged sacks");
    w->end[CLIENT].stays = true;
    world_open(w, 100, 12000000);
    while (!world_closed(w)) {
        assert_true(w->now < WORLD_T0 + 15 * PQ_SEC);
        world_run(w, w->now + PQ_MS, NULL);
        const struct pq_list *i = &w->end[SERVER].hub->sessions;
        if (!pq_list_empty(i))
            forge_sack(w, PQ_OF(i->next, struct pq_session, node));
    }
    world_check(w);
    assert_in_range(box.old_bytes[SERVER], 12000, 12000 + box.bytes[SERVER] / PQ_FILLS_PART);
    assert_int_equal(w->end[CLIENT].ended, 0);
    assert_int_equal(w->end[CLIENT].moves, 0);
    finish(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_loss),   cmocka_unit_test(more_than_remembered),
        cmocka_unit_test(copies_end),   cmocka_unit_test(numbers_of_another),
        cmocka_unit_test(forged_sacks),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("connect fills", tests, NULL, NULL);
}
