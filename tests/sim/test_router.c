/* SPDX-License-Identifier: MIT */
/* test_router.c - connections through a strict router in the middle of a path that loses, doubles
 * and reorders on both of its sides, while flows die, ends move, stop and begin again [12.9]: it
 * finds nothing wrong in any packet of ours. */
#include "router.h"
#include "tunnel/tunnel_internal.h"
#include "world.h"

#define IP          14
#define TCP         (IP + 20)
#define SCENES      (24 / UT_LESS)
#define EVENTS      7
#define KERNEL_TTL  99 /* of what a host's kernel sends, to tell it from ours */
#define LEFT_FOR    (5 * PQ_SEC)
#define SILENCE_MAX (8 * PQ_SEC)
#define LOST_FIRST  8 /* packets of each side */
#define LOSE_ONE    (4 * LOST_FIRST)
#define LOSE_SOME   40
#define FLOWS       256
#define AGAIN       20 /* times */
#define AGAIN_MAX   (4500 * PQ_MS)

struct answer {
    struct pq_stream *st;
    uint64_t left;
    size_t unread;
};

static struct scene {
    struct router router;
    struct world *w;
    uint64_t rng;
    pq_ns kill_after;    /* from a flow's first packet on; 0 = never */
    pq_ns first[FLOWS];  /* by the client's port - 40000 */
    bool over[FLOWS];    /* somebody has sent a reset */
    pq_ns used[FLOWS];   /* when the client's session was on it last */
    unsigned lose[2][2]; /* of the first packets of each side these, as bits, in front of the router
                            and behind it */
    unsigned n[2];       /* packets of each side */
    bool reorders;       /* the path does */
    unsigned wrong;      /* packets of ours */
    unsigned kernel[2];  /* resets of kernels, those in which something was wrong */
    unsigned stops;
    unsigned n_answers;
    struct answer answer[PAIRS_MAX];
    char said[2000]; /* what was wrong first */
} scene;

static const uint32_t rmem[] = {1U << 16, 1U << 17, 1U << 20, 6U << 20, 64U << 20};

static struct pq_syns *remembered; /* by the server; answers from the start */

static uint32_t any(uint32_t n)
{
    return ut_below(&scene.rng, n);
}

static void note(const struct world *w, unsigned from, const struct link_packet *k,
                 enum router_finding f)
{
    const uint8_t *t = k->p + TCP;
    const size_t used = strlen(scene.said), head = (size_t)(t[12] >> 4) * 4;
    scene.wrong++;
    snprintf(scene.said + used, sizeof scene.said - used,
             "%.6f %s port %u: flags %02x seq %u len %zu ack %u win %u head %zu: %s\n",
             (double)(w->now - WORLD_T0) / 1e9, from == CLIENT ? "c>s" : "s>c",
             pq_be16(from == CLIENT ? t : t + 2), t[13], pq_be32(t + 4), k->len - TCP - head,
             pq_be32(t + 8), pq_be16(t + 14), head, router_word(f));
}

static unsigned port_of(unsigned from, const struct link_packet *k)
{
    return pq_be16(k->p + TCP + (from == CLIENT ? 0 : 2)) - 40000U;
}

static bool is_dead(const struct world *w, unsigned from, const struct link_packet *k)
{
    pq_ns *first = &scene.first[port_of(from, k) % FLOWS];
    *first = *first ? *first : w->now;
    return scene.kill_after && w->now > *first + scene.kill_after;
}

/* Which is what a path makes of any connection whose packets it reorders. */
static bool is_late(enum router_finding f)
{
    return f == ROUTER_SEQ_LOW || f == ROUTER_ACK_LOW;
}

static void note_use(const struct world *w)
{
    if (!w->ses)
        return;
    scene.used[(w->ses->local.port - 40000U) % FLOWS] = w->now;
    if (w->ses->path)
        scene.used[(w->ses->path->local.port - 40000U) % FLOWS] = w->now;
}

static bool pass(struct world *w, unsigned from, struct link_packet *k)
{
    bool passes;
    const unsigned bit = scene.n[from]++;
    const bool front = bit < LOST_FIRST && scene.lose[from][0] >> bit & 1,
               behind = bit < LOST_FIRST && scene.lose[from][1] >> bit & 1;
    if (is_dead(w, from, k) || front)
        return false;
    const enum router_finding f = router_see(&scene.router, k->p, k->len, w->now, &passes);
    const bool kernel = k->p[IP + 8] == KERNEL_TTL;
    bool *over = &scene.over[port_of(from, k) % FLOWS];
    note_use(w);
    if (kernel)
        scene.kernel[f > ROUTER_IGNORED]++;
    else if (f > ROUTER_IGNORED && !*over && !(scene.reorders && is_late(f)) &&
             w->now < scene.used[port_of(from, k) % FLOWS] + LEFT_FOR)
        note(w, from, k, f);
    if (passes && k->p[TCP + 13] & PQ_TCP_RST)
        *over = true;
    if (passes && from == CLIENT && k->p[TCP + 13] & PQ_TCP_SYN)
        *over = false;
    return passes && !behind;
}

/* Where no program is the kernel says so. */
static void refuse(struct world *w, unsigned side, const struct link_packet *k)
{
    const uint8_t *t = k->p + TCP;
    const size_t head = (size_t)(t[12] >> 4) * 4;
    const uint32_t end = pq_be32(t + 4) + (uint32_t)(k->len - TCP - head) +
                         (t[13] & (PQ_TCP_SYN | PQ_TCP_FIN) ? 1 : 0);
    uint8_t f[TCP + 20] = {0};
    if (t[13] & PQ_TCP_RST)
        return;
    memcpy(f, k->p, TCP);
    f[IP + 3] = 40;
    f[IP + 8] = KERNEL_TTL;
    memcpy(f + IP + 12, k->p + IP + 16, 4);
    memcpy(f + IP + 16, k->p + IP + 12, 4);
    memcpy(f + TCP, t + 2, 2);
    memcpy(f + TCP + 2, t, 2);
    if (t[13] & PQ_TCP_ACK)
        memcpy(f + TCP + 4, t + 8, 4);
    else
        pq_put_be32(f + TCP + 8, end);
    f[TCP + 12] = 5 << 4;
    f[TCP + 13] = t[13] & PQ_TCP_ACK ? PQ_TCP_RST : PQ_TCP_RST | PQ_TCP_ACK;
    world_make_sound(f, sizeof f);
    link_send(&w->end[side].out, f, sizeof f, w->now);
}

/* ---- what the server answers: some bytes to each stream, whatever was asked */

static void answer_more(struct answer *a)
{
    while (a->st && a->left && pq_stream_room(a->st)) {
        const size_t n = a->left < PQ_CHUNK_BIG ? (size_t)a->left : PQ_CHUNK_BIG;
        struct pq_chunk *c = pq_chunk_new(pq_stream_chunks(a->st), n);
        if (!c)
            return;
        memset(pq_chunk_data(c), 1, n);
        c->len = (uint32_t)n;
        if (pq_stream_send(a->st, c))
            return;
        a->left -= n;
    }
}

static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct answer *a = ctx;
    (void)last;
    a->unread += v.n;
}

static void on_flush(void *ctx)
{
    struct answer *a = ctx;
    const size_t n = a->unread;
    a->unread = 0;
    if (a->st && n)
        pq_stream_consumed(a->st, n);
}

static void on_room(void *ctx)
{
    answer_more(ctx);
}

static void let_go(struct answer *a)
{
    struct pq_stream *st = a->st;
    a->st = NULL;
    if (st)
        pq_stream_close(st);
}

static void on_eof(void *ctx)
{
    let_go(ctx);
}

static void on_end(void *ctx, int err)
{
    (void)err;
    let_go(ctx);
}

static const struct pq_stream_events answers = {on_data, on_flush, on_room, on_end, on_eof, NULL};

static bool take(struct world *w, struct pq_stream *st)
{
    (void)w;
    assert_true(scene.n_answers < COUNT_OF(scene.answer));
    struct answer *a = &scene.answer[scene.n_answers++];
    *a = (struct answer){.st = st, .left = 1000 + any(1U << any(21))};
    pq_stream_own(st, &answers, a);
    answer_more(a);
    return true;
}

/* ---- a path and two ends, by chance */

static void lossy(struct link_conf *c, unsigned kind)
{
    static const unsigned loss[] = {0, 10, 50, 100, 200};
    c->delay = (1 + any(60)) * PQ_MS;
    c->loss = loss[kind];
    if (any(3) == 0) {
        scene.reorders = true;
        c->reorder = 5 + any(30);
        c->reorder_by = (100 + any(4000)) * PQ_US;
    }
    c->dup = any(4) ? 0 : 5;
    c->bursts = any(6) == 0;
}

static struct world_conf conf(void)
{
    static const enum pq_system systems[] = {PQ_SYSTEM_HOST,    PQ_SYSTEM_HOST,    PQ_SYSTEM_HOST,
                                             PQ_SYSTEM_ANDROID, PQ_SYSTEM_WINDOWS, PQ_SYSTEM_APPLE};
    struct world_conf c = world_keyed(PQ_MS);
    const unsigned kind = any(5);
    world_no_syns(&remembered);
    c.routed = true;
    c.workers = any(3) ? 1 : 4;
    for (unsigned i = 0; i < 2; i++) {
        c.hub[i].look = i == CLIENT ? PQ_LOOK_CONNECT : PQ_LOOK_PLAUSIBLE;
        c.hub[i].smux.keepalive = (2 + any(12)) * PQ_SEC;
        c.hub[i].smux.timeout = 30 * PQ_SEC;
        c.hub[i].kcp.congestion = PQ_CONGESTION_BBR;
        c.hub[i].rmem = rmem[any(COUNT_OF(rmem))];
        lossy(&c.link[i], kind);
        lossy(&c.far[i], kind);
        c.link[i].rate = 50000ULL << any(7);
        c.link[i].queue = c.link[i].rate / 5;
    }
    c.hub[CLIENT].system = systems[any(COUNT_OF(systems))];
    c.hub[SERVER].syns = remembered;
    return c;
}

/* ---- what happens */

static void connect_again(struct world *w, bool same)
{
    if (!same)
        w->end[CLIENT].moves++;
    world_connect(w, (uint16_t)(40000 + w->end[CLIENT].moves));
}

/* As app/client_session.c finds. */
static bool is_silent(const struct pq_session *s, pq_ns now)
{
    const pq_ns moving = pq_session_moving(s);
    return pq_session_silent(s, now, SILENCE_MAX) || (moving && now > moving + SILENCE_MAX) ||
           now > pq_session_heard(s) + SILENCE_MAX + 15 * PQ_SEC;
}

/* A client that has lost its session begins anew. */
static void go_on(struct world *w, pq_ns for_so_long)
{
    for (const pq_ns end = w->now + for_so_long; w->now < end;) {
        world_run(w, pq_ns_min(w->now + 50 * PQ_MS, end), NULL);
        if (w->ses && is_silent(w->ses, w->now))
            pq_session_end(w->ses, PQ_ETIMEOUT);
        if (!w->ses && w->end[CLIENT].hub)
            connect_again(w, false);
    }
}

static void ask(struct world *w)
{
    for (unsigned i = any(w->pairs + 1); i < w->pairs; i++)
        half_close(&w->half[CLIENT][i], any(2));
    for (unsigned i = any(3); w->ses && i < 3; i++)
        world_open(w, 1 + any(1U << any(21)), UINT64_MAX); /* it does not count what comes */
}

static void move(struct world *w)
{
    if (!w->ses)
        return;
    w->ses->watch.move_at = w->now;
    pq_session_wake(w->ses);
}

static void silence(struct world *w)
{
    const unsigned which = 1 + any(3);
    for (unsigned i = 0; i < 2; i++)
        w->end[i].out.conf.cut = which >> i & 1;
    go_on(w, (200 + any(9000)) * PQ_MS);
    for (unsigned i = 0; i < 2; i++)
        w->end[i].out.conf.cut = false;
}

static size_t sessions_of(const struct end *e)
{
    size_t n = 0;
    for (unsigned i = 0; e->hub && i <= e->n_more; i++)
        n += pq_hub_sessions(world_hub(e, i));
    return n;
}

static void begin_again(struct world *w, unsigned side)
{
    scene.stops++;
    world_stop(w, side, any(3));
    go_on(w, any(3) ? any(3000) * PQ_MS : 0);
    world_start(w, side);
    if (side == CLIENT)
        connect_again(w, w->end[CLIENT].stays && any(2) && !sessions_of(&w->end[SERVER]));
}

static void happen(struct world *w)
{
    const unsigned what = any(9);
    switch (what) {
    case 0:
        move(w);
        break;
    case 1:
        begin_again(w, SERVER);
        break;
    case 2:
        begin_again(w, CLIENT);
        break;
    case 3:
        silence(w);
        break;
    case 4:
        if (w->ses)
            pq_session_end(w->ses, any(2) ? PQ_ETIMEOUT : PQ_ECLOSED);
        break;
    case 5:
        go_on(w, (10 + any(60)) * PQ_SEC);
        break;
    default:
        break;
    }
}

/* In the end nothing is lost any more, and it works. */
static void expect_working(struct world *w)
{
    scene.kill_after = 0;
    for (unsigned i = 0; i < 2; i++) {
        w->end[i].out.conf.loss = w->end[i].far.conf.loss = 0;
        w->end[i].out.conf.rate = 0;
    }
    go_on(w, 40 * PQ_SEC);
    const unsigned k = w->pairs;
    assert_non_null(w->ses);
    world_open(w, 1000, UINT64_MAX);
    go_on(w, 10 * PQ_SEC);
    assert_in_range(w->half[CLIENT][k].rx_at, 1000, 4 << 20);
}

static void play(uint64_t seed)
{
    memset(&scene, 0, sizeof scene);
    scene.rng = seed;
    const struct world_conf c = conf();
    struct world *w = world_new(&c, seed);
    w->tap = pass;
    w->take = take;
    w->absent = refuse;
    w->sloppy = true;
    scene.router.old = any(2);
    scene.kill_after = any(3) ? 0 : (500 + any(5000)) * PQ_MS;
    w->end[CLIENT].stays = any(4) == 0;
    for (unsigned i = 0; i < EVENTS; i++) {
        go_on(w, any(2000) * PQ_MS);
        ask(w);
        go_on(w, any(3000) * PQ_MS);
        happen(w);
    }
    expect_working(w);
    for (unsigned i = 0; i < 2; i++)
        if (w->end[i].hub)
            world_stop(w, i, true);
    for (unsigned i = 0; i < scene.n_answers; i++)
        let_go(&scene.answer[i]);
    world_free(w);
    pq_syns_free(&remembered);
    if (scene.wrong)
        fail_msg("seed %llu: %u packets\n%s", (unsigned long long)seed, scene.wrong, scene.said);
}

/* Some of a connection's first packets are lost, in front of the router or behind it: it goes on
 * all the same, without a move. */
static void loses(struct world_conf *c, unsigned number)
{
    memset(&scene, 0, sizeof scene);
    scene.rng = number;
    for (unsigned i = 0; i < LOST_FIRST && number >= LOSE_ONE; i++)
        if (any(4) == 0)
            scene.lose[any(2)][any(2)] |= 1U << i;
    if (number < LOSE_ONE)
        scene.lose[number % 2][number / 2 % 2] = 1U << number / 4;
    world_no_syns(&remembered);
    c->hub[SERVER].syns = remembered;
    struct world *w = world_new(c, number);
    w->tap = pass;
    w->end[CLIENT].stays = true;
    world_open(w, 60000, 60000);
    const bool done = world_run(w, WORLD_T0 + 20 * PQ_SEC, world_closed);
    const bool began = w->end[CLIENT].secured; /* not if each SYN, or its answer, is lost */
    if (scene.wrong || (began && (!done || w->end[CLIENT].ended)))
        fail_msg("%u, which loses %02x and %02x, %02x and %02x: %s", number, scene.lose[0][0],
                 scene.lose[0][1], scene.lose[1][0], scene.lose[1][1], scene.said);
    if (began)
        world_check(w);
    world_free(w);
    pq_syns_free(&remembered);
}

static void loses_some_of_the_first(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * PQ_SYSTEMS; i++) {
        struct world_conf c = world_keyed(10 * PQ_MS);
        c.routed = true;
        for (unsigned k = 0; k < 2; k++) {
            c.hub[k].look = k == CLIENT ? PQ_LOOK_CONNECT : PQ_LOOK_PLAUSIBLE;
            c.hub[k].smux.timeout = 60 * PQ_SEC;
            c.hub[k].rmem = i < PQ_SYSTEMS ? 1U << 17 : 64U << 20;
            c.far[k].delay = 10 * PQ_MS;
        }
        c.hub[CLIENT].system = (enum pq_system)(i % PQ_SYSTEMS);
        for (unsigned k = 0; k < LOSE_ONE + LOSE_SOME; k++)
            loses(&c, k);
    }
}

static void finds_nothing_wrong(void **state)
{
    (void)state;
    const uint64_t seed = ut_seed("router");
    for (unsigned i = 0; i < SCENES; i++)
        play(seed + i);
}

/* ---- a port that is used again at once */

static bool is_secured(const struct world *w)
{
    return w->end[CLIENT].secured > 0;
}

/* How long it takes from now on until there is a session, on the same port always. */
static pq_ns again_after(struct world *w)
{
    const pq_ns from = w->now;
    w->end[CLIENT].secured = 0;
    while (!is_secured(w) && w->now < from + 60 * PQ_SEC) {
        if (w->ses && is_silent(w->ses, w->now))
            pq_session_end(w->ses, PQ_ETIMEOUT);
        if (!w->ses)
            connect_again(w, true);
        world_run(w, w->now + 50 * PQ_MS, is_secured);
    }
    return w->now - from;
}

static struct world *fixed_port(unsigned number)
{
    memset(&scene, 0, sizeof scene);
    scene.rng = number;
    struct world_conf c = world_keyed((5 + number % 40) * PQ_MS);
    c.routed = true;
    world_no_syns(&remembered);
    c.hub[CLIENT].port_fixed = true;
    for (unsigned k = 0; k < 2; k++) {
        c.hub[k].look = k == CLIENT ? PQ_LOOK_CONNECT : PQ_LOOK_PLAUSIBLE;
        c.hub[k].smux.timeout = 60 * PQ_SEC;
        c.hub[k].kcp.congestion = PQ_CONGESTION_BBR;
        c.hub[k].rmem = 6U << 20;
        c.link[k].rate = 2500000;
        c.link[k].queue = 200000;
        c.far[k].delay = (1 + number % 7) * PQ_MS;
    }
    c.hub[SERVER].syns = remembered;
    c.hub[CLIENT].system = number % 4 ? PQ_SYSTEM_HOST : PQ_SYSTEM_WINDOWS;
    struct world *w = world_new(&c, number);
    w->tap = pass;
    w->take = take;
    w->sloppy = true;
    w->end[CLIENT].stays = true;
    scene.router.old = number % 2;
    return w;
}

static void let_all_go(struct world *w)
{
    for (unsigned i = 0; i < scene.n_answers; i++)
        let_go(&scene.answer[i]);
    world_free(w);
    pq_syns_free(&remembered);
}

/* A client is killed and comes back on the same port, while the server sends to the one before. */
static void comes_back_while_the_old_one_sends(void **state)
{
    (void)state;
    for (unsigned i = 0; i < AGAIN / UT_LESS; i++) {
        struct world *w = fixed_port(i);
        for (unsigned k = 0; k < 3; k++)
            world_open(w, 1000, UINT64_MAX);
        world_run(w, WORLD_T0 + PQ_SEC, NULL);
        for (unsigned k = 0; k < scene.n_answers; k++) {
            scene.answer[k].left = 64 << 20;
            answer_more(&scene.answer[k]);
        }
        world_run(w, w->now + PQ_SEC, NULL);
        world_stop(w, CLIENT, false);
        world_run(w, w->now + any(150) * PQ_MS, NULL);
        world_start(w, CLIENT);
        connect_again(w, true);
        const pq_ns took = again_after(w);
        if (took > PQ_SEC)
            fail_msg("%u: it took %llu ms", i, (unsigned long long)(took / PQ_MS));
        let_all_go(w);
    }
}

/* Nobody answers for a while, and then somebody does: a router keeps the first SYN. */
static void comes_back_after_silence(void **state)
{
    (void)state;
    for (unsigned i = 0; i < AGAIN / UT_LESS; i++) {
        struct world *w = fixed_port(i);
        w->end[SERVER].out.conf.cut = true;
        w->end[CLIENT].out.conf.cut = false;
        for (const pq_ns end = w->now + (8 + any(10)) * PQ_SEC; w->now < end;) {
            if (!w->ses)
                connect_again(w, true);
            world_run(w, w->now + 50 * PQ_MS, NULL);
        }
        w->end[SERVER].out.conf.cut = false;
        const pq_ns took = again_after(w); /* until the next SYN is due, and one that passes */
        if (took > AGAIN_MAX)
            fail_msg("%u: it took %llu ms", i, (unsigned long long)(took / PQ_MS));
        let_all_go(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loses_some_of_the_first),
        cmocka_unit_test(finds_nothing_wrong),
        cmocka_unit_test(comes_back_while_the_old_one_sends),
        cmocka_unit_test(comes_back_after_silence),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("router", tests, NULL, NULL);
}
