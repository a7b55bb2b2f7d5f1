/* SPDX-License-Identifier: MIT */
/* test_measure.c - trains of datagrams that tell what passes between two ends, and how: whatever
 * the path lets through of looks, flags and sizes is found out, and nobody gets more of a server by
 * them than he puts in [12.10]. */
#include "tunnel/measure.h"
#include "tunnel/tunnel_internal.h"
#include "world.h"

#define PA (PQ_TCP_PSH | PQ_TCP_ACK)

static struct pq_flow_conf tuple(const struct world *w, uint16_t port, enum pq_look look)
{
    struct pq_flow_conf fc = {.link_len = 14, .look = look, .t0 = 7};
    fc.local = w->end[CLIENT].addr;
    fc.local.port = port;
    fc.peer = w->end[SERVER].addr;
    return fc;
}

static struct pq_syns *remembered; /* by the server: it answers SYNs from the start */

static void remember(struct world_conf *c)
{
    static const char text[] = "paqet syns 1\nfrom 0\nend\n";
    pq_syns_free(&remembered);
    assert_int_equal(pq_syns_new(&remembered, 0, 1), 0);
    FILE *f = fmemopen((void *)(uintptr_t)text, sizeof text - 1, "r");
    assert_non_null(f);
    assert_int_equal(pq_syns_read(remembered, f), 0);
    fclose(f);
    c->hub[SERVER].syns = remembered;
    c->hub[CLIENT].look = c->hub[SERVER].look = PQ_LOOK_PLAUSIBLE;
    c->hub[CLIENT].rmem = c->hub[SERVER].rmem = 6U << 20;
}

static struct world *measuring(pq_ns delay, const char *name)
{
    struct world_conf c = world_keyed(delay);
    c.hub[0].mtu = c.hub[1].mtu = PQ_DGRAM_MAX;
    remember(&c);
    struct world *w = world_new(&c, ut_seed(name));
    world_open(w, 10, 10);
    assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_transferred));
    return w;
}

static void begin(struct world *w, unsigned i, enum pq_look look, uint16_t flags)
{
    const struct pq_flow_conf fc = tuple(w, (uint16_t)(41000 + i), look);
    assert_int_equal(pq_train_begin(w->ses, i, &fc, flags, w->now), 0);
    world_run(w, w->now + PQ_SEC, NULL);
}

static struct pq_train_seen seen(const struct world *w, unsigned i)
{
    struct pq_train_seen s;
    pq_train_seen(w->ses, i, &s);
    return s;
}

/* n datagrams, 10 ms apart, then what the server says of them. */
static struct pq_train_seen run(struct world *w, unsigned i, unsigned n,
                                const struct pq_train_order *o)
{
    pq_train_run(w->ses, i);
    for (unsigned k = 0; k < n; k++) {
        assert_int_equal(pq_train_send(w->ses, i, o), 0);
        world_run(w, w->now + 10 * PQ_MS, NULL);
    }
    world_run(w, w->now + PQ_SEC, NULL);
    for (unsigned k = 0; k < 5 && !seen(w, i).counted; k++) {
        pq_train_count(w->ses, i);
        world_run(w, w->now + PQ_SEC, NULL);
    }
    assert_true(seen(w, i).counted);
    return seen(w, i);
}

static const struct pq_train_order there_and_back = {
    .size = 200, .answered = true, .look = PQ_LOOK_PLAUSIBLE, .flags = PA, .answer = 200};

/* On a path that takes all, all comes; streams do not notice. */
static void all_looks(void **state)
{
    (void)state;
    struct world *w = measuring(20 * PQ_MS, "all looks");
    static const enum pq_look looks[] = {PQ_LOOK_CLASSIC, PQ_LOOK_PLAUSIBLE, PQ_LOOK_CONNECT};
    for (unsigned i = 0; i < 3; i++) {
        begin(w, i, looks[i], PA);
        assert_true(seen(w, i).open);
        struct pq_train_order o = there_and_back;
        o.look = i ? PQ_LOOK_PLAUSIBLE : PQ_LOOK_CLASSIC;
        const struct pq_train_seen s = run(w, i, 20, &o);
        assert_int_equal(s.sent, 20);
        assert_int_equal(s.arrived, 20);
        assert_int_equal(s.answered, 20);
        assert_int_equal(s.back, 20);
        assert_true(s.rtt >= 40 * PQ_MS && s.rtt < 45 * PQ_MS);
        for (unsigned k = 0; k < 20; k++)
            assert_true(s.came[k] && s.came_back[k]);
        assert_false(s.came[20]);
    }
    world_open(w, 1 << 20, 1 << 20);
    assert_true(world_run(w, w->now + 60 * PQ_SEC, world_closed));
    assert_int_equal(w->end[CLIENT].moves, 0);
    world_check(w);
    world_free(w);
}

static struct {
    uint16_t flags; /* that the box drops ... */
    unsigned from;  /* ... of this side, or ... */
    uint32_t most;  /* ... frames that are longer */
} box;

static bool drop(struct world *w, unsigned from, struct link_packet *k)
{
    const uint8_t *tcp = k->p + 14 + 20;
    (void)w;
    return from != box.from ||
           !((box.flags && tcp[13] == box.flags) || (box.most && k->len > box.most));
}

/* What the path drops in one direction shows in that one alone. */
static void one_way(void **state)
{
    (void)state;
    for (unsigned side = 0; side < 2; side++) {
        struct world *w = measuring(20 * PQ_MS, "one way");
        box.from = side;
        box.flags = PQ_TCP_SYN;
        box.most = 0;
        w->tap = drop;
        struct pq_train_order o = there_and_back;
        o.flags = PQ_TCP_SYN;
        begin(w, 0, PQ_LOOK_CLASSIC, PQ_TCP_SYN);
        const struct pq_train_seen s = run(w, 0, 10, &o);
        assert_int_equal(s.arrived, side == CLIENT ? 0 : 10);
        assert_int_equal(s.answered, s.arrived);
        assert_int_equal(s.back, 0);
        o.size = 220;                       /* a SYN has longer headers */
        begin(w, 1, PQ_LOOK_PLAUSIBLE, PA); /* the way back by itself */
        assert_int_equal(run(w, 1, 10, &o).back, side == CLIENT ? 10 : 0);
        w->tap = NULL;
        w->sloppy = true;
        world_free(w);
    }
}

/* How long packets may be, each way: the numbers tell which ones came. */
static void sizes(void **state)
{
    (void)state;
    static const uint16_t size[] = {400, 800, 1200, 1250, 1300, 1448};
    for (unsigned side = 0; side < 2; side++) {
        struct world *w = measuring(20 * PQ_MS, "sizes");
        begin(w, 0, PQ_LOOK_PLAUSIBLE, PA);
        box.from = side;
        box.flags = 0;
        box.most = 14 + 20 + 32 + 1250;
        w->tap = drop;
        pq_train_run(w->ses, 0);
        for (unsigned k = 0; k < 12; k++) {
            struct pq_train_order o = there_and_back;
            o.size = k < 6 ? size[k] : 1200;
            o.answered = k >= 6;
            o.answer = size[k % 6];
            assert_int_equal(pq_train_send(w->ses, 0, &o), 0);
            world_run(w, w->now + 10 * PQ_MS, NULL);
        }
        world_run(w, w->now + PQ_SEC, NULL);
        pq_train_count(w->ses, 0);
        world_run(w, w->now + PQ_SEC, NULL);
        const struct pq_train_seen s = seen(w, 0);
        for (unsigned k = 0; k < 6; k++) {
            assert_int_equal(s.came[k], side == SERVER || size[k] <= 1250);
            assert_int_equal(s.came_back[6 + k], side == CLIENT || size[k] <= 1250);
        }
        w->tap = NULL;
        w->sloppy = true;
        world_free(w);
    }
}

static uint64_t passed[2]; /* bytes over the train's tuple */

static bool note(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    if (pq_be16(k->p + 14 + 20 + (from == SERVER ? 2 : 0)) == 41000)
        passed[from] += k->len;
    return true;
}

/* Over a tuple the server never sends more bytes than came: who lets datagrams come from another's
 * address has no gain. */
static void no_more_than_came(void **state)
{
    (void)state;
    struct world *w = measuring(20 * PQ_MS, "no more than came");
    begin(w, 0, PQ_LOOK_CLASSIC, PA);
    w->tap = note;
    struct pq_train_order o = there_and_back;
    o.size = PQ_TRAIN_LEAST;
    o.answer = PQ_DGRAM_MAX;
    o.look = PQ_LOOK_CLASSIC;
    o.flags = PQ_TCP_SYN; /* longer headers */
    unsigned back = 0;
    for (unsigned k = 0; k < 50; k++)
        back += run(w, 0, 8, &o).back;
    assert_true(back > 0); /* it does answer, with what there is */
    assert_true(passed[SERVER] > 0 && passed[SERVER] <= passed[CLIENT]);
    w->tap = NULL;
    w->sloppy = true;
    world_free(w);
}

/* Many at once: so many answers a second, so many sessions, and nothing is left after a while. */
static void bounded(void **state)
{
    (void)state;
    struct world *w = measuring(PQ_MS, "bounded");
    begin(w, 0, PQ_LOOK_PLAUSIBLE, PA);
    pq_train_run(w->ses, 0);
    world_run(w, w->now + 2 * PQ_SEC, NULL);
    const pq_ns start = w->now;
    for (unsigned k = 0; k < 20000; k++) {
        pq_train_send(w->ses, 0, &there_and_back);
        world_run(w, w->now + 100 * PQ_US, NULL);
    }
    const uint64_t seconds = (w->now - start) / PQ_SEC + 1;
    world_run(w, w->now + PQ_SEC, NULL);
    const struct pq_train_seen s = seen(w, 0);
    assert_true(s.sent >= 9000);
    assert_true(s.back >= 900 && s.back <= 1000 * (seconds + 1));
    struct pq_hub *h = w->end[SERVER].hub;
    assert_int_equal(h->n_measures, 1);
    world_run(w, w->now + 20 * PQ_SEC, NULL);
    assert_int_equal(h->n_measures, 0);
    h->n_measures = 16; /* as many measure as may */
    pq_train_run(w->ses, 0);
    pq_train_send(w->ses, 0, &there_and_back);
    world_run(w, w->now + PQ_SEC, NULL);
    pq_train_count(w->ses, 0);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(seen(w, 0).back, 0);
    assert_false(seen(w, 0).counted);
    assert_true(w->end[SERVER].hub->stats.drops[PQ_DROP_FULL] >= 2);
    h->n_measures = 0;
    world_open(w, 1000, 1000);
    assert_true(world_run(w, w->now + 60 * PQ_SEC, world_closed));
    world_free(w);
}

/* A tuple of a train is none of the session's: what a stranger sends there, or plays again, is
 * nothing; nor is there a train without keys of the session's own. */
static bool copy_all(struct world *w, unsigned from, struct link_packet *k)
{
    if (from == CLIENT && pq_be16(k->p + 14 + 20) == 41000)
        world_inject(w, SERVER, k->p, k->len, 0); /* it comes twice */
    return true;
}

static void strangers(void **state)
{
    (void)state;
    struct world *w = measuring(20 * PQ_MS, "strangers");
    begin(w, 0, PQ_LOOK_PLAUSIBLE, PA);
    w->tap = copy_all;
    const struct pq_train_seen s = run(w, 0, 20, &there_and_back);
    assert_int_equal(s.arrived, 20);
    assert_int_equal(s.back, 20);
    assert_true(w->end[SERVER].hub->stats.drops[PQ_DROP_AUTH] >= 20);
    w->tap = NULL;
    world_free(w);
    struct world_conf c = world_conf(20 * PQ_MS);
    w = world_new(&c, ut_seed("no keys"));
    const struct pq_flow_conf fc = tuple(w, 41000, PQ_LOOK_PLAUSIBLE);
    assert_int_equal(pq_train_begin(w->ses, 0, &fc, PA, w->now), PQ_ENOTSUP);
    assert_int_equal(pq_train_send(w->ses, 0, &there_and_back), PQ_EAGAIN);
    w->sloppy = true;
    world_free(w);
}

static unsigned resets; /* that the server has sent to another session */

static bool count_resets(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    const uint8_t *tcp = k->p + 14 + 20;
    if (from == SERVER && tcp[13] & PQ_TCP_RST && pq_be16(tcp + 2) != 41001)
        resets++;
    return true;
}

/* A user who sends in another client's name has no answers sent there, with flags that end what
 * boxes know of a connection, for instance. */
static void names_another(unsigned workers)
{
    struct world_conf c = world_keyed(20 * PQ_MS);
    c.workers = workers;
    remember(&c);
    struct world *w = world_new(&c, ut_seed("not to another"));
    world_open(w, 10, 10);
    assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_transferred));
    const uint16_t other = w->ses->local.port;
    const struct pq_session *victim = w->ses;
    world_connect(w, 40501); /* the attacker's: with another worker, if there are several */
    world_open(w, 1000, 1000);
    assert_true(world_run(w, w->now + 5 * PQ_SEC, world_transferred));
    assert_ptr_not_equal(w->ses, victim);
    struct pq_train_order o = there_and_back;
    o.flags = PQ_TCP_RST;
    w->tap = count_resets;
    resets = 0;
    for (unsigned i = 0; i < 2; i++) { /* 1: an address where nobody is */
        const struct pq_flow_conf fc = tuple(w, i ? 41001 : other, PQ_LOOK_PLAUSIBLE);
        assert_int_equal(pq_train_begin(w->ses, i, &fc, PA, w->now), 0);
        for (unsigned k = 0; k < 10; k++) {
            assert_int_equal(pq_train_send(w->ses, i, &o), 0);
            world_run(w, w->now + 10 * PQ_MS, NULL);
        }
    }
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(resets, 0);
    assert_int_equal(seen(w, 1).back, 10);
    w->tap = NULL;
    w->sloppy = true;
    world_free(w);
}

static void not_to_another(void **state)
{
    (void)state;
    names_another(1);
    names_another(4);
}

/* ---- a server that tells what cannot be */

/* Of train 0, as the client asks for its counts. */
static uint16_t run_of(const struct world *w)
{
    uint8_t asked[64];
    pq_train_count(w->ses, 0);
    assert_true(pq_measure_ask(w->ses, asked, sizeof asked) > 12);
    return pq_le16(asked + 10);
}

struct lie {
    uint8_t kind;
    uint16_t numbers[2]; /* BACK: number, arrived; COUNTED: arrived, answered */
    uint16_t bytes;      /* BACK: of the answer; COUNTED: so many are marked in the map ... */
    uint16_t from;       /* ... from this one on */
    bool true_;          /* it may be */
};

static void tell(const struct world *w, const struct lie *lie)
{
    uint8_t body[PQ_DGRAM_MAX] = {0};
    const size_t around = 10 + PQ_SEAL_HEAD + PQ_SEAL_TAIL;
    const bool back = lie->kind == PQ_KIND_BACK;
    const struct pq_flow_conf fc = tuple(w, 41000, PQ_LOOK_CLASSIC);
    const struct pq_segment seg = {.src = fc.peer, .dst = fc.local};
    struct pq_message m = {.kind = lie->kind, .attempt = 0};
    pq_put_le16(body, run_of(w));
    pq_put_le16(body + 2, lie->numbers[0]);
    pq_put_le16(body + 4, lie->numbers[1]);
    for (unsigned k = lie->from; !back && k < lie->from + lie->bytes; k++)
        body[6 + k / 8] |= (uint8_t)(1U << k % 8);
    m.noise = (struct pq_view){body, back ? lie->bytes - around : 6 + PQ_TRAIN_CARS / 8};
    pq_measure_take(w->ses, &seg, &m, w->now);
}

/* Of ten datagrams that went out, of which the first was to be answered with 200 bytes. */
static struct pq_train_seen told(const struct lie *lie)
{
    struct world *w = measuring(20 * PQ_MS, "told");
    begin(w, 0, PQ_LOOK_CLASSIC, PA);
    struct pq_train_order o = there_and_back;
    o.look = PQ_LOOK_CLASSIC;
    box.from = CLIENT; /* none of them arrives */
    box.flags = 0;
    box.most = 1;
    w->tap = drop;
    pq_train_run(w->ses, 0);
    for (unsigned k = 0; k < 10; k++) {
        o.answered = k == 0;
        assert_int_equal(pq_train_send(w->ses, 0, &o), 0);
        world_run(w, w->now + PQ_MS, NULL);
    }
    assert_int_equal(seen(w, 0).sent, 10);
    tell(w, lie);
    const struct pq_train_seen s = seen(w, 0);
    if (lie->kind == PQ_KIND_BACK) {
        tell(w, lie); /* and again: no second answer to one datagram counts */
        assert_int_equal(seen(w, 0).back, s.back);
        assert_true(seen(w, 0).impossible);
    }
    w->tap = NULL;
    w->sloppy = true;
    world_free(w);
    return s;
}

static void lies(void **state)
{
    (void)state;
    static const struct lie all[] = {
        {PQ_KIND_BACK, {0, 10}, 200, 0, true},
        {PQ_KIND_BACK, {0, 11}, 200, 0, false}, /* more than there were */
        {PQ_KIND_BACK, {0, 65535}, 200, 0, false},
        {PQ_KIND_BACK, {0, 1}, 199, 0, false}, /* another answer than was asked for */
        {PQ_KIND_BACK, {0, 1}, 1400, 0, false},
        {PQ_KIND_BACK, {3, 4}, 200, 0, false},  /* to what asked for none */
        {PQ_KIND_BACK, {10, 4}, 200, 0, false}, /* to what was never sent */
        {PQ_KIND_BACK, {200, 4}, 200, 0, false},
        {PQ_KIND_COUNTED, {10, 1}, 10, 0, true},
        {PQ_KIND_COUNTED, {0, 0}, 0, 0, true},
        {PQ_KIND_COUNTED, {3, 3}, 3, 7, true},
        {PQ_KIND_COUNTED, {11, 1}, 11, 0, false},
        {PQ_KIND_COUNTED, {65535, 1}, 10, 0, false},
        {PQ_KIND_COUNTED, {3, 4}, 3, 0, false}, /* more answers than datagrams */
        {PQ_KIND_COUNTED, {3, 65535}, 3, 0, false},
        {PQ_KIND_COUNTED, {3, 1}, 4, 0, false}, /* others than it counts */
        {PQ_KIND_COUNTED, {3, 1}, 2, 0, false},
        {PQ_KIND_COUNTED, {3, 1}, 3, 8, false}, /* which were never sent */
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        const struct lie *lie = &all[i];
        const struct pq_train_seen s = told(lie);
        const bool back = lie->kind == PQ_KIND_BACK;
        assert_int_equal(s.impossible, !lie->true_);
        assert_int_equal(s.back, back && lie->true_);
        assert_int_equal(s.arrived, lie->true_ ? lie->numbers[back] : 0);
        assert_int_equal(s.answered, !lie->true_ ? 0 : back ? 1 : lie->numbers[1]);
        assert_int_equal(s.counted, !back);
        for (unsigned k = 0; k < PQ_TRAIN_CARS; k++)
            assert_int_equal(s.came[k], !back && lie->true_ && k >= lie->from &&
                                            k < (unsigned)lie->from + lie->bytes);
    }
}

/* Of a server with four workers whichever gets a train hands it over. */
static void between_workers(void **state)
{
    (void)state;
    struct world_conf c = world_keyed(20 * PQ_MS);
    c.workers = 4;
    remember(&c);
    struct world *w = world_new(&c, ut_seed("trains between workers"));
    world_open(w, 10, 10);
    assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_transferred));
    for (unsigned i = 0; i < PQ_TRAINS; i++) {
        begin(w, i, i % 2 ? PQ_LOOK_CONNECT : PQ_LOOK_PLAUSIBLE, PA);
        const struct pq_train_seen s = run(w, i, 10, &there_and_back);
        assert_int_equal(s.arrived, 10);
        assert_int_equal(s.back, 10);
    }
    assert_true(w->end[SERVER].handed > 10);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_looks),
        cmocka_unit_test(one_way),
        cmocka_unit_test(sizes),
        cmocka_unit_test(no_more_than_came),
        cmocka_unit_test(bounded),
        cmocka_unit_test(strangers),
        cmocka_unit_test(between_workers),
        cmocka_unit_test(not_to_another),
        cmocka_unit_test(lies),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("measure", tests, NULL, NULL);
}
