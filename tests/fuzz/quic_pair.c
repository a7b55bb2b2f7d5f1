/* SPDX-License-Identifier: MIT */
#include "quic_pair.h"

const uint8_t qp_key[PQ_QUIC_KEY_LEN] = {5};

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)(at * 7 + (at >> 8));
}

/* ---- users */

static void *on_accept(void *ctx, struct pq_quic *q, const struct pq_quic_path *path)
{
    struct qp_end *e = ctx;
    (void)path;
    if (e->q)
        return NULL;
    e->q = q;
    e->ready = e->closed = false; /* the one before has ended */
    e->n = 0;
    return e;
}

static void on_ready(void *user)
{
    struct qp_end *e = user;
    FUZZ_CHECK(!e->ready && !e->closed);
    e->ready = true;
}

static void on_closed(void *user, const struct pq_quic_why *why)
{
    struct qp_end *e = user;
    FUZZ_CHECK(!e->closed && strlen(why->reason) < sizeof why->reason);
    e->closed = true;
}

static void *on_open(void *user, struct pq_quic_stream *st)
{
    struct qp_end *e = user;
    FUZZ_CHECK(e->ready && !e->closed);
    if (e->n == QP_STREAMS)
        return NULL;
    struct qp_flow *f = &e->f[e->n++];
    *f = (struct qp_flow){.e = e, .st = st};
    return f;
}

static void on_datagram(void *user, struct pq_view v)
{
    const struct qp_end *e = user;
    FUZZ_CHECK(e->ready && !e->closed);
    for (size_t i = 0; e->trusting && i < v.n; i++)
        FUZZ_CHECK(v.p[i] == (uint8_t)v.n);
}

static void on_data(void *user, struct pq_view v)
{
    struct qp_flow *f = user;
    FUZZ_CHECK(f->st && !f->over && !f->e->closed);
    for (size_t i = 0; f->e->trusting && i < v.n; i++)
        FUZZ_CHECK(v.p[i] == byte_at(f->got + i));
    f->got += v.n;
    if (f->got % 3)
        pq_quic_stream_consumed(f->st, v.n);
}

static void on_eof(void *user)
{
    struct qp_flow *f = user;
    FUZZ_CHECK(f->st && !f->over);
    f->over = true;
}

static void on_reset(void *user, uint64_t code)
{
    (void)code;
    on_eof(user);
}

static void on_st(void *user)
{
    const struct qp_flow *f = user;
    FUZZ_CHECK(f->st && !f->e->closed);
}

static void on_cut(void *user)
{
    struct qp_flow *f = user;
    on_st(user);
    pq_quic_stream_abort(f->st, 0);
    f->st = NULL;
}

static uint64_t on_wall(void *ctx)
{
    struct qp_end *e = ctx;
    return ++e->wall;
}

static void on_flush(void *ctx)
{
    (void)ctx;
}

static const struct pq_quic_events events = {.accept = on_accept,
                                             .wall = on_wall,
                                             .flush = on_flush,
                                             .ready = on_ready,
                                             .closed = on_closed,
                                             .open = on_open,
                                             .datagram = on_datagram,
                                             .data = on_data,
                                             .eof = on_eof,
                                             .reset = on_reset,
                                             .stop = on_st,
                                             .room = on_st,
                                             .cut = on_cut};

/* ---- ends */

static struct pq_quic_path path_of(bool client, uint16_t port)
{
    static const uint8_t ip[2][4] = {{10, 0, 0, 1}, {10, 0, 0, 2}};
    struct pq_quic_path p;
    pq_addr_set4(&p.local, ip[!client], client ? port : 443);
    pq_addr_set4(&p.peer, ip[client], client ? 443 : port);
    return p;
}

void qp_end_init(struct qp_end *e, bool client, bool open)
{
    *e = (struct qp_end){.wall = client ? 1000 : 0, .trusting = true};
    const struct pq_quic_conf c = {.client = client,
                                   .key = client && open ? NULL : qp_key,
                                   .open = open,
                                   .size = 1350,
                                   .stream_window = 10000,
                                   .stream_window_max = 40000,
                                   .window = 20000,
                                   .window_max = 80000,
                                   .max_streams = 4,
                                   .datagrams = true,
                                   .idle = 30 * PQ_SEC,
                                   .max_conns = 4,
                                   .workers = 1};
    pq_chunks_init(&e->chunks, 1 << 20);
    pq_rng_init_seed(&e->rng, client ? 3 : 4);
    FUZZ_CHECK(pq_quic_end_new(&e->end, &c, &events, e, &e->chunks, &e->rng) == 0);
}

void qp_end_fini(struct qp_end *e)
{
    pq_quic_free(&e->q);
    FUZZ_CHECK(pq_quic_count(e->end) == 0 && pq_quic_half_open(e->end) == 0);
    pq_quic_end_free(&e->end);
    FUZZ_CHECK(e->chunks.budget.used == 0);
    pq_chunks_fini(&e->chunks);
}

enum pq_drop qp_input(struct qp_end *e, bool client, struct pq_view v, uint16_t port, pq_ns now)
{
    const struct pq_quic_path path = path_of(client, port);
    struct pq_quic *q;
    uint8_t *p = fuzz_exact(v.p, v.n);
    const enum pq_drop d = pq_quic_input(e->end, &path, p, v.n, &q, now);
    FUZZ_CHECK(!q || q == e->q);
    free(p);
    pq_quic_rx_done(e->end);
    return d;
}

/* ---- two ends */

/* What becomes of a datagram: usually it arrives. */
static void carry(struct qp *w, int from, uint8_t *p, size_t n)
{
    const uint8_t fate = fuzz_u8(w->in);
    const int to = !from;
    size_t slot = 0;
    switch (fate) {
    case 1:
        return; /* lost */
    case 2:
        qp_input(&w->e[to], to == 0, (struct pq_view){p, n}, w->port, w->now);
        break; /* twice */
    case 3:
        p[fuzz_u16(w->in) % n] ^= (uint8_t)(1 + fuzz_u8(w->in) % 255);
        break;
    case 4:
        n = fuzz_u16(w->in) % n;
        break;
    case 5: /* for later, to either side */
        slot = w->n_held++ % QP_HELD;
        memcpy(w->held[slot], p, n);
        w->held_len[slot] = n;
        return;
    case 6:
        w->port++;
        break;
    case 7:
        if (w->n_held) {
            slot = fuzz_u8(w->in) % (w->n_held < QP_HELD ? w->n_held : QP_HELD);
            const int whose = fuzz_u8(w->in) & 1;
            qp_input(&w->e[whose], whose == 0, (struct pq_view){w->held[slot], w->held_len[slot]},
                     w->port, w->now);
        }
        break;
    default:
        break;
    }
    qp_input(&w->e[to], to == 0, (struct pq_view){p, n}, w->port, w->now);
}

static void turn(struct qp *w)
{
    uint8_t p[PQ_QUIC_SIZE_MAX];
    struct pq_quic_path path;
    for (int i = 0; i < 2; i++) {
        struct qp_end *e = &w->e[i];
        if (w->before)
            w->before(w, i);
        if (e->q && pq_quic_deadline(e->q) <= w->now)
            pq_quic_tick(e->q, w->now);
        size_t n;
        for (int k = 0; e->q && k < 32 && (n = pq_quic_pull(e->q, p, &path, w->now)); k++) {
            FUZZ_CHECK(n <= 1350);
            e->out += n;
            carry(w, i, p, n);
        }
        if (e->q && pq_quic_is_closed(e->q)) {
            for (size_t k = 0; k < e->n; k++)
                e->f[k].st = NULL;
            pq_quic_free(&e->q);
        }
    }
    w->now += PQ_MS;
}

static void send_some(struct qp_flow *f, size_t n)
{
    struct pq_chunk *c = pq_chunk_new(&f->e->chunks, n);
    if (!c)
        return;
    for (size_t i = 0; i < n; i++)
        pq_chunk_data(c)[i] = byte_at(f->sent + i);
    c->len = (uint32_t)n;
    if (pq_quic_stream_send(f->st, c) == 0)
        f->sent += n;
}

static void on_stream(struct qp *w, struct qp_flow *f, uint8_t what)
{
    switch (what % 8) {
    case 0:
        pq_quic_stream_finish(f->st);
        break;
    case 1:
        pq_quic_stream_close(f->st);
        f->st = NULL;
        break;
    case 2:
        pq_quic_stream_abort(f->st, fuzz_u8(w->in));
        f->st = NULL;
        break;
    default:
        if (pq_quic_stream_room(f->st))
            send_some(f, fuzz_u16(w->in) % PQ_CHUNK_BIG + 1);
    }
}

static void act(struct qp *w)
{
    const uint8_t op = fuzz_u8(w->in);
    struct qp_end *e = &w->e[op & 1];
    struct qp_flow *f = &e->f[op >> 1 & (QP_STREAMS - 1)];
    if (!e->q) {
        w->now += PQ_SEC;
    } else if (op >= 0xf0 && op < 0xf4) {
        pq_quic_close(e->q, op);
    } else if (op >= 0xe0) {
        w->now += (pq_ns)(op & 0x1f) * PQ_SEC / 4;
    } else if (op >= 0xc0) {
        struct pq_chunk *c = pq_chunk_new(&e->chunks, op);
        if (c) {
            memset(pq_chunk_data(c), op, op);
            c->len = op;
            pq_quic_datagram(e->q, c);
        }
    } else if (f->st) {
        on_stream(w, f, fuzz_u8(w->in));
    } else if (e->n < QP_STREAMS && e->ready) {
        f = &e->f[e->n];
        *f = (struct qp_flow){.e = e};
        f->st = pq_quic_open(e->q, f);
        e->n += f->st != NULL;
    }
}

void qp_run(struct fuzz_in *in, bool open, void (*before)(struct qp *w, int side))
{
    struct qp *w = calloc(1, sizeof *w);
    FUZZ_CHECK(w);
    w->in = in;
    w->port = 1000;
    w->now = 10 * PQ_SEC;
    qp_end_init(&w->e[0], true, open);
    qp_end_init(&w->e[1], false, open);
    w->before = before;
    w->e[0].trusting = w->e[1].trusting = !before;
    const struct pq_quic_path path = path_of(true, w->port);
    FUZZ_CHECK(pq_quic_connect(&w->e[0].q, w->e[0].end, &path, NULL, &w->e[0], w->now) == 0);
    while (fuzz_left(in)) {
        turn(w);
        act(w);
    }
    for (int i = 0; i < 50; i++)
        turn(w);
    qp_end_fini(&w->e[0]);
    qp_end_fini(&w->e[1]);
    free(w);
}
