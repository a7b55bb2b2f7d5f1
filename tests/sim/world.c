/* SPDX-License-Identifier: MIT */
#include "world.h"

#include "noise/noise.h"
#include "tunnel/homes.h"
#include "tunnel/syns.h"
#include "wire/csum.h"

#include <stdio.h>

bool world_frames;

/* ---- content */

static uint8_t content(unsigned side, unsigned index, uint64_t at)
{
    uint64_t z = (at >> 3) + ((uint64_t)(index * 2 + side + 1) << 40);
    z *= UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 29) * UINT64_C(0xBF58476D1CE4E5B9);
    z ^= z >> 32;
    return (uint8_t)(z >> (at & 7) * 8);
}

static void check_bytes(struct half *h, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!h->w->sloppy && p[i] != content(!h->side, h->index, h->rx_at + i))
            fail_msg("stream %u of side %u: byte %llu is wrong", h->index, h->side,
                     (unsigned long long)(h->rx_at + i));
    h->rx_at += n;
}

/* ---- a stream's owner */

static void pump(struct half *h)
{
    h->starved = false;
    while (h->st && h->tx_at < h->tx_len && pq_stream_room(h->st)) {
        uint64_t left = h->tx_len - h->tx_at;
        size_t n = 1 + (size_t)(h->tx_at * 7919 + (uint64_t)h->index * 4099) % PQ_CHUNK_BIG;
        n = n < left ? n : (size_t)left;
        struct pq_chunk *c = pq_chunk_new(pq_stream_chunks(h->st), n);
        if (!c) {
            h->starved = true;
            return;
        }
        for (size_t i = 0; i < n; i++)
            pq_chunk_data(c)[i] = content(h->side, h->index, h->tx_at + i);
        c->len = (uint32_t)n;
        if (pq_stream_send(h->st, c))
            return;
        h->tx_at += n;
    }
}

void half_close(struct half *h, bool abort)
{
    struct pq_stream *st = h->st;
    h->st = NULL;
    h->n_views = 0;
    if (st && abort)
        pq_stream_abort(st);
    else if (st)
        pq_stream_close(st);
}

static uint64_t expected(const struct half *h)
{
    return h->w->half[!h->side][h->index].tx_len;
}

static void use_views(struct half *h)
{
    unsigned n = h->n_views;
    h->n_views = 0;
    for (unsigned i = 0; i < n; i++) {
        check_bytes(h, h->views[i].p, h->views[i].n);
        h->unread += h->views[i].n;
    }
    if (!h->lazy)
        half_consume(h);
}

void half_consume(struct half *h)
{
    size_t n = (size_t)h->unread;
    h->unread = 0;
    if (h->st && n)
        pq_stream_consumed(h->st, n);
}

static void close_if_done(struct half *h)
{
    if (!h->st)
        return;
    if (h->close_at && h->rx_at >= h->close_at)
        half_close(h, h->abort_then);
    else if (h->side == CLIENT && !h->keep_open && h->tx_at == h->tx_len &&
             h->rx_at == expected(h) && h->rx_at)
        half_close(h, false);
}

void half_feed(struct half *h)
{
    pump(h);
    close_if_done(h);
}

static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct half *h = ctx;
    (void)last;
    assert_non_null(h->st);
    assert_int_equal(h->ends, 0);
    assert_true(v.n > 0);
    if (h->n_views == VIEWS_MAX)
        use_views(h);
    h->views[h->n_views++] = v;
}

static void on_flush(void *ctx)
{
    struct half *h = ctx;
    assert_non_null(h->st);
    if (world_frames) /* the other end has taken the session's first segment, a PUSH */
        pq_stream_send_frames(h->st);
    use_views(h);
    close_if_done(h);
}

static void on_room(void *ctx)
{
    struct half *h = ctx;
    assert_non_null(h->st);
    assert_int_equal(h->ends, 0);
    assert_true(pq_stream_room(h->st) > 0);
    half_feed(h);
}

static void on_end(void *ctx, int err)
{
    struct half *h = ctx;
    assert_non_null(h->st);
    use_views(h); /* they stay until the flush event, which closing takes away */
    h->ends++;
    h->end_err = err;
    if (!h->keep_open)
        half_close(h, false);
}

static void on_eof(void *ctx)
{
    on_end(ctx, 0); /* where peers are able to end one half: nobody here goes on with the other */
}

static const struct pq_stream_events stream_events = {on_data, on_flush, on_room,
                                                      on_end,  on_eof,   NULL};

/* ---- a hub's owner */

static void on_stream(void *ctx, struct pq_stream *st)
{
    struct end *e = ctx;
    assert_int_equal(e->side, SERVER);
    if (e->w->take && e->w->take(e->w, st))
        return;
    if (e->streams >= PAIRS_MAX)
        return; /* not owned: the hub closes it */
    struct half *h = &e->w->half[SERVER][e->streams++];
    h->w = e->w;
    h->side = SERVER;
    h->st = st;
    pq_stream_own(st, &stream_events, h);
    if (world_frames)
        pq_stream_send_frames(st);
    pump(h);
}

static bool on_accept(void *ctx, const struct pq_segment *seg, struct pq_flow_conf *fc)
{
    struct end *e = ctx;
    assert_int_equal(e->side, SERVER);
    assert_true(pq_addr_eq(&fc->peer, &seg->src) && pq_addr_eq(&fc->local, &seg->dst));
    e->accepts++;
    return true;
}

static void on_ended(void *ctx, struct pq_session *s, int err)
{
    struct end *e = ctx;
    e->ended++;
    e->ended_err = err;
    if (e->w->ses == s)
        e->w->ses = NULL;
}

static void on_proven(void *ctx, struct pq_session *s)
{
    struct end *e = ctx;
    assert_int_equal(e->side, SERVER);
    assert_int_equal(pq_session_streams(s), 0); /* nothing was served before */
    e->proven++;
}

static void on_secured(void *ctx, struct pq_session *s)
{
    struct end *e = ctx;
    assert_true(pq_session_secure(s));
    e->secured++;
}

/* The client goes on from the next port. */
static bool on_move(void *ctx, struct pq_session *s, struct pq_flow_conf *fc)
{
    struct end *e = ctx;
    assert_int_equal(e->side, CLIENT);
    if (e->stays || (!pq_session_moves(s) && !e->server_ports))
        return false;
    fc->local.port = (uint16_t)(40001 + e->moves++);
    if (e->roams)
        fc->local.ip[15]++;
    if (e->server_ports) /* the next one that is not the same */
        fc->peer.port = (uint16_t)(SERVER_PORT + e->moves * 37 % e->server_ports);
    return true;
}

static void on_moved(void *ctx, struct pq_session *s, bool ok)
{
    struct end *e = ctx;
    (void)s;
    e->moved += ok;
}

/* Its clock: what the world's is, and how wrong it goes. */
static uint64_t on_wall(void *ctx)
{
    const struct end *e = ctx;
    return (uint64_t)((int64_t)(WORLD_WALL + e->w->now / PQ_MS) + e->wall_off);
}

struct pq_hub *world_hub(const struct end *e, unsigned worker)
{
    return worker > e->n_more ? NULL : worker ? e->more[worker - 1] : e->hub;
}

static void on_elsewhere(void *ctx, unsigned worker, const struct pq_frame *f)
{
    struct end *e = ctx;
    struct pq_frame copy = *f;
    struct pq_hub *h = world_hub(e, worker);
    assert_non_null(h);
    copy.p = ut_exact(f->p, f->len);
    e->handed++;
    pq_hub_input_handed(h, &copy, e->w->now);
    pq_hub_rx_end(h, e->w->now);
    free(copy.p);
}

static const struct pq_hub_events hub_events = {.stream = on_stream,
                                                .accept = on_accept,
                                                .proven = on_proven,
                                                .secured = on_secured,
                                                .elsewhere = on_elsewhere,
                                                .wall = on_wall,
                                                .move = on_move,
                                                .moved = on_moved,
                                                .ended = on_ended};

/* ---- making */

struct world_conf world_conf(pq_ns delay)
{
    struct world_conf c = {0};
    for (int i = 0; i < 2; i++) {
        c.hub[i] = (struct pq_hub_conf){
            .client = i == CLIENT,
            .cipher = PQ_CIPHER_AES,
            .key = "a key of thirty-two bytes length",
            .mtu = 1350,
            .kcp = {.snd_wnd = 1024, .rcv_wnd = 2048, .resend = 2, .interval = 30 * PQ_MS},
            .smux = {.session_buf = 8 << 20,
                     .stream_buf = 4 << 20,
                     .max_streams = 65536,
                     .keepalive = 2 * PQ_SEC,
                     .timeout = 8 * PQ_SEC},
            .link_len = 14,
            .max_sessions = 1000,
            .memory = (size_t)64 << 20};
        c.link[i] = (struct link_conf){.delay = delay};
    }
    return c;
}

uint8_t world_secret[2][32] = {{1, 2, 3}, {4, 5, 6}}, world_public[2][32];

struct world_conf world_keyed(pq_ns delay)
{
    struct world_conf c = world_conf(delay);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pq_x25519_public(world_secret[i], world_public[i]), 0);
        c.hub[i].own = (struct pq_own_conf){.on = true, .secret = world_secret[i]};
    }
    c.hub[SERVER].own.users = (const uint8_t(*)[32])world_public[CLIENT];
    c.hub[SERVER].own.n = 1;
    c.hub[SERVER].own.required = true;
    c.server_public = world_public[SERVER];
    return c;
}

static void end_init(struct end *e, const struct pq_hub_conf *c, unsigned workers, uint64_t seed)
{
    e->conf = *c;
    e->conf.workers = workers;
    pq_rng_init_seed(&e->rng, seed);
    if (workers > 1) {
        assert_int_equal(pq_homes_new(&e->w->homes, seed), 0);
        e->conf.homes = e->w->homes;
    }
    assert_int_equal(pq_hub_new(&e->hub, &e->conf, &hub_events, e, &e->rng, e->w->now), 0);
    for (unsigned i = 1; i < workers; i++) {
        struct pq_hub_conf more = e->conf;
        more.worker = i;
        assert_int_equal(
            pq_hub_new(&e->more[e->n_more++], &more, &hub_events, e, &e->rng, e->w->now), 0);
    }
}

struct world *world_new(const struct world_conf *c, uint64_t seed)
{
    static const uint8_t ip[2][4] = {{192, 0, 2, 1}, {198, 51, 100, 2}};
    assert_int_equal(pq_crypt_global_init(), 0);
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->now = WORLD_T0;
    w->server_public = c->server_public;
    w->routed = c->routed;
    for (unsigned i = 0; i < 2; i++) {
        struct end *e = &w->end[i];
        e->w = w;
        e->side = i;
        pq_addr_set4(&e->addr, ip[i], i == SERVER ? SERVER_PORT : 0);
        link_init(&e->out, &c->link[i], seed * 2 + i + 1);
        link_init(&e->far, &c->far[i], seed * 2 + i + 501);
        end_init(e, &c->hub[i], i == SERVER ? c->workers : 1, seed * 2 + i + 1001);
    }
    world_connect(w, 40000);
    return w;
}

void world_connect(struct world *w, uint16_t port)
{
    struct end *e = &w->end[CLIENT];
    struct pq_flow_conf fc = {.local = e->addr,
                              .peer = w->end[SERVER].addr,
                              .link_len = 14,
                              .t0 = 12345,
                              .look = e->conf.look};
    fc.local.port = port;
    assert_int_equal(pq_hub_connect(e->hub, &w->ses, &fc, w->server_public, w, w->now), 0);
    assert_ptr_equal(pq_session_user(w->ses), w);
}

static void end_free(struct end *e)
{
    pq_hub_free(&e->hub); /* NULL is fine */
    assert_null(e->hub);
    while (e->n_more)
        pq_hub_free(&e->more[--e->n_more]);
}

void world_restart_server(struct world *w)
{
    struct end *e = &w->end[SERVER];
    end_free(e);
    e->accepts = e->proven = e->secured = e->streams = e->ended = 0;
    end_init(e, &e->conf, 1, w->now);
}

static void say_bye(void *ctx, struct pq_session *s)
{
    (void)ctx;
    pq_session_bye(s);
}

static bool all_left(const struct world *w)
{
    for (unsigned i = 0; i < 2; i++)
        for (unsigned k = 0; w->end[i].leaves && k <= w->end[i].n_more; k++)
            if (!pq_hub_left(world_hub(&w->end[i], k), w->now))
                return false;
    return true;
}

void world_stop(struct world *w, unsigned side, bool in_order)
{
    struct end *e = &w->end[side];
    const pq_ns latest = w->now + PQ_SEC; /* as in worker.c */
    if (in_order) {
        for (unsigned k = 0; k <= e->n_more; k++)
            pq_hub_each(world_hub(e, k), say_bye, NULL);
        world_run(w, w->now, NULL);
        for (unsigned k = 0; k <= e->n_more; k++)
            pq_hub_leave(world_hub(e, k), w->now);
        e->leaves = true;
        world_run(w, latest, all_left);
        e->leaves = false;
    }
    end_free(e);
    for (unsigned k = 0; k < PAIRS_MAX; k++)
        half_close(&w->half[side][k], false);
    w->ses = side == CLIENT ? NULL : w->ses;
}

void world_start(struct world *w, unsigned side)
{
    struct end *e = &w->end[side];
    if (side == SERVER)
        pq_homes_free(&w->homes);
    end_init(e, &e->conf, e->conf.workers, ++w->starts * 1000003 + w->now);
}

void world_free(struct world *w)
{
    for (unsigned i = 0; i < 2; i++) {
        end_free(&w->end[i]);
        for (unsigned k = 0; k < PAIRS_MAX; k++)
            half_close(&w->half[i][k], false); /* of a session that has ended */
    }
    for (unsigned i = 0; i < 2; i++) {
        link_fini(&w->end[i].out);
        link_fini(&w->end[i].far);
    }
    pq_homes_free(&w->homes);
    free(w);
}

struct half *world_open(struct world *w, uint64_t up, uint64_t down)
{
    assert_true(w->pairs < PAIRS_MAX);
    unsigned k = w->pairs++;
    for (unsigned i = 0; i < 2; i++)
        w->half[i][k] =
            (struct half){.w = w, .side = i, .index = k, .tx_len = i == CLIENT ? up : down};
    struct half *h = &w->half[CLIENT][k];
    h->st = pq_session_open(w->ses, &stream_events, h);
    assert_non_null(h->st);
    pump(h);
    return h;
}

void world_no_syns(struct pq_syns **s)
{
    static const char text[] = "paqet syns 1\nfrom 0\nend\n";
    pq_syns_free(s);
    assert_int_equal(pq_syns_new(s, 0, 1), 0);
    FILE *f = fmemopen((void *)(uintptr_t)text, sizeof text - 1, "r");
    assert_int_equal(pq_syns_read(*s, f), 0);
    fclose(f);
}

void world_make_sound(uint8_t *frame, size_t n)
{
    uint8_t *ip = frame + 14, *tcp = ip + 20;
    const size_t len = n - 34;
    const uint8_t protocol[4] = {0, 6, (uint8_t)(len >> 8), (uint8_t)len};
    memset(tcp + 16, 0, 2);
    uint64_t sum = pq_csum_add(0, ip + 12, 8);
    sum = pq_csum_add(sum, protocol, sizeof protocol);
    const uint16_t c = pq_csum_fold(pq_csum_add(sum, tcp, len));
    memcpy(tcp + 16, &c, 2);
}
