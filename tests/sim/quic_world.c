/* SPDX-License-Identifier: MIT */
#include "quic_world.h"

#include <string.h>

#define PATTERN (1 << 17)
#define PERIOD  65521
#define TURN    64

static uint8_t pattern[PATTERN];

/* ---- users of streams */

static void expect_pattern(uint64_t at, struct pq_view v)
{
    while (v.n) {
        const size_t off = at % PERIOD, k = v.n < PERIOD ? v.n : PERIOD;
        assert_memory_equal(pattern + off, v.p, k);
        at += k;
        v.p += k;
        v.n -= k;
    }
}

static void feed(struct qw_stream *s)
{
    if (!s->st || s->finished || s->stop)
        return;
    while (s->sent < s->to_send) {
        size_t n = pq_quic_stream_room(s->st);
        if (!n)
            return;
        const uint64_t left = s->to_send - s->sent;
        n = n < PQ_CHUNK_BIG ? n : PQ_CHUNK_BIG;
        n = n < left ? n : (size_t)left;
        struct pq_chunk *c = pq_chunk_new(&s->side->chunks, n);
        if (!c)
            return;
        memcpy(pq_chunk_data(c), pattern + s->sent % PERIOD, n);
        c->len = (uint32_t)n;
        s->sent += n;
        if (pq_quic_stream_send(s->st, c))
            return;
    }
    if (!s->keep_open && !s->finished) {
        s->finished = true;
        pq_quic_stream_finish(s->st);
    }
}

void qw_more(struct qw_stream *s, size_t n)
{
    s->to_send += n;
    feed(s);
}

static void on_data(void *user, struct pq_view v)
{
    struct qw_stream *s = user;
    expect_pattern(s->rx, v);
    s->rx += v.n;
    s->unread += v.n;
    if (s->deaf && s->rx > s->side->deaf_after)
        return;
    pq_quic_stream_consumed(s->st, (size_t)s->unread);
    s->unread = 0;
    if (s->echo) {
        s->to_send = s->rx;
        feed(s);
    }
}

static void on_eof(void *user)
{
    struct qw_stream *s = user;
    assert_false(s->eof || s->reset);
    s->eof = true;
    if (s->echo) {
        s->keep_open = false;
        feed(s);
    }
}

static void on_reset(void *user, uint64_t code)
{
    struct qw_stream *s = user;
    assert_false(s->eof || s->reset);
    s->reset = true;
    s->reset_code = code;
}

static void on_stop(void *user)
{
    struct qw_stream *s = user;
    assert_false(s->stop);
    s->stop = true;
}

static void on_room(void *user)
{
    feed(user);
}

static void on_cut(void *user)
{
    struct qw_stream *s = user;
    s->cut = true;
    pq_quic_stream_abort(s->st, 0);
    s->st = NULL;
}

static void on_acked(void *user, size_t n)
{
    struct qw_stream *s = user;
    s->acked += n;
    assert_true(s->acked <= s->sent);
}

/* ---- users of connections */

static void *on_accept(void *ctx, struct pq_quic *q, const struct pq_quic_path *path)
{
    struct qw_side *e = ctx;
    (void)path;
    e->accepted++;
    if (e->refuse)
        return NULL;
    e->q = q;
    return e;
}

static bool on_psk(void *ctx, struct pq_quic *q, struct pq_view identity,
                   struct pq_quic_claim *claim)
{
    const struct qw_side *e = ctx;
    const struct qw_conf *c = &e->w->conf;
    const char *name = c->name[SERVER];
    assert_int_equal(pq_quic_first_id(q).n, PQ_QUIC_FIRST_LEN);
    memset(claim->psk, c->psk[SERVER], sizeof claim->psk);
    memset(claim->second, 77, sizeof claim->second);
    memset(claim->mix, c->mix[SERVER], sizeof claim->mix);
    return name && identity.n == strlen(name) && memcmp(identity.p, name, identity.n) == 0;
}

static bool on_second(void *user, const uint8_t second[PQ_QUIC_SECOND_LEN],
                      uint8_t mix[PQ_QUIC_PSK_LEN])
{
    const struct qw_side *e = user;
    memset(mix, e->w->conf.mix[CLIENT], PQ_QUIC_PSK_LEN);
    return second[0] == 77 && second[PQ_QUIC_SECOND_LEN - 1] == 77;
}

static void on_ready(void *user)
{
    struct qw_side *e = user;
    e->ready = true;
}

static void on_closed(void *user, const struct pq_quic_why *why)
{
    struct qw_side *e = user;
    e->closed = true;
    e->why = *why;
}

static void *on_open(void *user, struct pq_quic_stream *st)
{
    struct qw_side *e = user;
    if (e->n == QW_STREAMS)
        return NULL;
    struct qw_stream *s = &e->s[e->n++];
    *s = (struct qw_stream){.side = e, .st = st, .deaf = e->deaf, .echo = e->echo};
    s->keep_open = true;
    return s;
}

static void on_datagram(void *user, struct pq_view v)
{
    struct qw_side *e = user;
    e->datagrams++;
    e->datagram_bytes += v.n;
    for (size_t i = 1; i < v.n; i++)
        e->datagram_bad += v.p[i] != (uint8_t)v.n;
}

static void on_path(void *user, const struct pq_quic_path *path)
{
    struct qw_side *e = user;
    (void)path;
    e->paths++;
}

static uint64_t on_wall(void *ctx)
{
    const struct qw_side *e = ctx;
    const int64_t skew = e->w->conf.skew[e->client ? CLIENT : SERVER];
    return (uint64_t)((int64_t)(e->w->now / PQ_MS) + skew);
}

static void on_flush(void *ctx)
{
    struct qw_side *e = ctx;
    e->flushes++;
}

static const struct pq_quic_events events = {.accept = on_accept,
                                             .psk = on_psk,
                                             .second = on_second,
                                             .wall = on_wall,
                                             .flush = on_flush,
                                             .ready = on_ready,
                                             .closed = on_closed,
                                             .open = on_open,
                                             .datagram = on_datagram,
                                             .path = on_path,
                                             .data = on_data,
                                             .eof = on_eof,
                                             .reset = on_reset,
                                             .stop = on_stop,
                                             .room = on_room,
                                             .cut = on_cut,
                                             .acked = on_acked};

/* ---- the world */

struct qw_conf qw_conf(void)
{
    struct qw_conf c = {.seed = 1, .start = QW_T0, .memory = (size_t)512 << 20};
    for (int i = 0; i < 2; i++) {
        c.end[i] = (struct pq_quic_conf){.client = i == CLIENT,
                                         .size = 1350,
                                         .stream_window = 6 << 20,
                                         .stream_window_max = 24 << 20,
                                         .window = 15 << 20,
                                         .window_max = 60 << 20,
                                         .max_streams = 1000,
                                         .datagrams = true,
                                         .idle = 30 * PQ_SEC,
                                         .keepalive = 10 * PQ_SEC,
                                         .max_conns = 1000,
                                         .workers = 1};
        c.link[i].delay = PQ_MS;
        memset(c.key[i], 7, sizeof c.key[i]);
    }
    return c;
}

struct qw *qw_new(const struct qw_conf *c)
{
    struct qw *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->conf = *c;
    w->now = c->start;
    for (size_t i = 0; i < PATTERN; i++)
        pattern[i] = (uint8_t)(i % PERIOD * 31 + (i % PERIOD >> 8) * 7);
    for (int i = 0; i < 2; i++) {
        struct qw_side *e = &w->side[i];
        const uint8_t ip[4] = {10, 0, 0, (uint8_t)(i + 1)};
        struct pq_quic_conf ec = c->end[i];
        ec.key = c->no_key[i] ? NULL : c->key[i];
        e->w = w;
        e->client = i == CLIENT;
        pq_addr_set4(&e->addr, ip, (uint16_t)(i == CLIENT ? 40000 : 9999));
        pq_rng_init_seed(&e->rng, c->seed + (uint64_t)i + 1);
        pq_chunks_init(&e->chunks, c->memory);
        link_init(&e->out, &c->link[i], c->seed * 2 + (uint64_t)i + 5);
        assert_int_equal(pq_quic_end_new(&e->end, &ec, &events, e, &e->chunks, &e->rng), 0);
    }
    return w;
}

void qw_free(struct qw *w)
{
    for (int i = 0; i < 2; i++) {
        struct qw_side *e = &w->side[i];
        pq_quic_free(&e->q);
        assert_int_equal(pq_quic_count(e->end), 0);
        pq_quic_end_free(&e->end);
        assert_int_equal(e->chunks.budget.used, 0);
        pq_chunks_fini(&e->chunks);
        link_fini(&e->out);
    }
    free(w);
}

void qw_connect(struct qw *w)
{
    struct qw_side *e = &w->side[CLIENT];
    const struct pq_quic_path path = {e->addr, w->side[SERVER].addr};
    uint8_t psk[PQ_QUIC_PSK_LEN];
    const char *name = w->conf.name[CLIENT];
    struct pq_quic_peer who = {.psk = psk};
    memset(psk, w->conf.psk[CLIENT], sizeof psk);
    if (name)
        who.identity = (struct pq_view){(const uint8_t *)name, strlen(name)};
    w->now += PQ_MS; /* later than the server's start */
    assert_int_equal(pq_quic_connect(&e->q, e->end, &path, name ? &who : NULL, e, w->now), 0);
}

void qw_inject(struct qw *w, int to, const struct pq_addr *src, const uint8_t *p, size_t n)
{
    struct qw_side *e = &w->side[to];
    const struct pq_quic_path path = {e->addr, *src};
    struct pq_quic *q;
    uint8_t *copy = ut_exact(p, n);
    e->drops[pq_quic_input(e->end, &path, copy, n, &q, w->now)]++;
    free(copy);
}

static void put(struct qw *w, int from, uint8_t *buf, size_t n, const struct pq_quic_path *path)
{
    struct qw_side *e = &w->side[from];
    if (w->tap && !w->tap(w, from, buf + QW_HEAD, &n))
        return;
    if (w->nowhere.port && pq_addr_eq(&path->peer, &w->nowhere)) {
        w->astray += n;
        return;
    }
    struct pq_addr src = path->local;
    src.port = e->nat_port ? e->nat_port : src.port;
    memcpy(buf, &src, sizeof src);
    memcpy(buf + 26, &path->peer, sizeof path->peer);
    e->packets_out++;
    e->bytes_out += n;
    e->last = *path;
    link_send(&e->out, buf, n + QW_HEAD, w->now);
}

static void deliver(struct qw *w, int to)
{
    struct qw_side *e = &w->side[to];
    struct link_packet *k;
    while ((k = link_recv(&w->side[!to].out, w->now))) {
        struct pq_quic_path path;
        struct pq_quic *q;
        memcpy(&path.peer, k->p, sizeof path.peer);
        memcpy(&path.local, k->p + 26, sizeof path.local);
        if (e->nat_port)
            path.local.port = e->addr.port;
        uint8_t *copy = ut_exact(k->p + QW_HEAD, k->len - QW_HEAD);
        e->drops[pq_quic_input(e->end, &path, copy, k->len - QW_HEAD, &q, w->now)]++;
        free(copy);
        link_packet_free(k);
    }
    pq_quic_rx_done(e->end);
}

static void send_all(struct qw *w, int from)
{
    struct qw_side *e = &w->side[from];
    uint8_t buf[QW_HEAD + PQ_QUIC_SIZE_MAX];
    struct pq_quic_path path;
    size_t n;
    for (size_t i = 0; i < e->n; i++)
        feed(&e->s[i]);
    while ((n = pq_quic_answer(e->end, buf + QW_HEAD, &path)))
        put(w, from, buf, n, &path);
    if (!e->q)
        return;
    while ((n = pq_quic_pull(e->q, buf + QW_HEAD, &path, w->now))) {
        assert_true(n <= w->conf.end[from].size);
        put(w, from, buf, n, &path);
    }
    if (pq_quic_is_closed(e->q)) {
        for (size_t i = 0; i < e->n; i++)
            e->s[i].st = NULL;
        pq_quic_free(&e->q);
        e->gone++;
    }
}

/* When a machine gets to what is due then. */
static pq_ns awake(const struct qw_side *e, pq_ns at)
{
    const pq_ns in = e->period && at != PQ_NEVER ? at % e->period : e->stopped;
    return in < e->stopped ? at - in + e->stopped : at;
}

static void turn(struct qw *w, int i)
{
    struct qw_side *e = &w->side[i];
    if (awake(e, w->now) != w->now)
        return;
    deliver(w, i);
    if (e->q && pq_quic_deadline(e->q) <= w->now)
        pq_quic_tick(e->q, w->now);
    send_all(w, i);
}

static pq_ns step(struct qw *w)
{
    pq_ns next = PQ_NEVER;
    for (int i = 0; i < 2; i++)
        turn(w, i);
    for (int i = 0; i < 2; i++) {
        const struct qw_side *e = &w->side[i];
        pq_ns at = link_next(&w->side[!i].out);
        if (e->q)
            at = pq_ns_min(at, pq_quic_deadline(e->q));
        if (awake(e, w->now) != w->now) /* there may be something to send */
            at = w->now;
        next = pq_ns_min(next, awake(e, at));
    }
    return next;
}

bool qw_run(struct qw *w, pq_ns until, bool (*done)(const struct qw *w))
{
    for (;;) {
        const pq_ns next = step(w);
        if (done && done(w))
            return true;
        if (next >= until) {
            w->now = pq_ns_max(until, w->now); /* ngtcp2 1.x bears no time that goes back */
            return false;
        }
        w->now = pq_ns_max(next, w->now + PQ_US);
    }
}

bool qw_both_ready(const struct qw *w)
{
    return w->side[CLIENT].ready && w->side[SERVER].ready;
}

bool qw_both_got_all(const struct qw *w)
{
    const struct qw_stream *a = &w->side[CLIENT].s[0], *b = &w->side[SERVER].s[0];
    return a->eof && b->eof && a->acked == a->to_send && b->acked == a->to_send;
}

/* Nothing leaves the server, whatever time passes. */
void qw_expect_silence(struct qw *w)
{
    qw_run(w, w->now + 15 * PQ_SEC, NULL);
    assert_int_equal(w->side[SERVER].packets_out, 0);
    assert_false(w->side[SERVER].ready);
    assert_int_equal(pq_quic_count(w->side[SERVER].end), 0);
}

void qw_up(struct qw *w)
{
    qw_connect(w);
    assert_true(qw_run(w, w->now + 9 * PQ_SEC, qw_both_ready));
}

struct qw_stream *qw_open(struct qw_side *e, uint64_t n)
{
    struct qw_stream *s = qw_hold(e, n);
    s->keep_open = false;
    feed(s);
    return s;
}

struct qw_stream *qw_hold(struct qw_side *e, uint64_t n)
{
    assert_true(e->n < QW_STREAMS);
    struct qw_stream *s = &e->s[e->n++];
    *s = (struct qw_stream){.side = e, .to_send = n, .keep_open = true};
    s->st = pq_quic_open(e->q, s);
    assert_non_null(s->st);
    feed(s);
    return s;
}

uint64_t qw_received(const struct qw_side *e)
{
    uint64_t all = 0;
    for (size_t i = 0; i < e->n; i++)
        all += e->s[i].rx;
    return all;
}
