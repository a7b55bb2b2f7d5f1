/* SPDX-License-Identifier: MIT */
/* fuzz_world.c - two hubs without a cipher and a hostile path between them: it loses, copies,
 * reorders, cuts and changes packets as the input says.  The owners of streams read, hold back,
 * send, finish, close and abort, also inside of events, as relay/relay.c may.
 *
 * No event comes for a stream that its owner has closed, memory is all there at the end, and as
 * long as no packet has been changed, each stream's bytes are those that were sent, in order. */
#include "fuzz.h"
#include "header/header.h"
#include "tunnel/hub.h"
#include "tunnel/tunnel_internal.h"

#define OWNERS    48
#define STEPS_MAX 600
#define QUEUE_MAX 64 /* packets on their way in one direction */
#define SLOTS     64
#define PULL_MAX  16
#define HEADERS   (PQ_ETH_LEN + PQ_IP4_LEN + PQ_TCP_LEN)
#define PORT      40000

enum { CLIENT, SERVER };
enum { /* what a byte tells an owner */
       ACT_ABORT = 0xfe,
       ACT_CLOSE = 0xfd,
       ACT_FINISH = 0xfc,
       ACT_SEND = 0xfb,
       ACT_END_OTHER = 0xfa,
};

struct owner {
    struct pq_stream *st; /* NULL: closed */
    unsigned side;
    size_t unread;
    bool used;
    uint32_t id; /* of the stream */
    uint64_t sent, received;
};

struct packet {
    uint8_t *p;
    uint32_t len;
    uint16_t gso; /* not 0: a run of datagrams of that length, glued together */
};

struct side {
    struct pq_hub *hub;
    struct pq_rng rng;
    struct pq_addr addr;
    struct packet queue[QUEUE_MAX]; /* on their way to this side, the oldest first */
    unsigned n;
};

static struct fuzz_in in;
static struct owner owners[OWNERS];
static struct side sides[2];
static struct pq_session *session; /* the client's, NULL when it has ended */
static bool sloppy;                /* the bytes of streams may be any */
static pq_ns now;
static uint8_t slot_memory[SLOTS][PQ_SLOT_SIZE];

/* ---- the bytes of streams: each follows from its stream, its direction and its place */

static uint8_t content(const struct owner *o, unsigned from, uint64_t at)
{
    return (uint8_t)(o->id * 37 + from * 101 + at * 7 + (at >> 8));
}

static struct pq_chunk *chunk_of(struct owner *o, size_t n)
{
    struct pq_chunks *chunks = pq_stream_chunks(o->st);
    struct pq_chunk *c = chunks ? pq_chunk_new(chunks, n) : NULL;
    if (!c)
        return NULL;
    for (size_t i = 0; i < n; i++)
        pq_chunk_data(c)[i] = content(o, o->side, o->sent + i);
    c->len = (uint32_t)n;
    return c;
}

static void send_bytes(struct owner *o, size_t n)
{
    struct pq_chunk *c = chunk_of(o, n);
    if (!c)
        return;
    o->sent += n;
    pq_stream_send(o->st, c);
}

static void check_bytes(struct owner *o, struct pq_view v)
{
    fuzz_touch(v);
    for (size_t i = 0; i < v.n && !sloppy; i++)
        FUZZ_CHECK(v.p[i] == content(o, !o->side, o->received + i));
    o->received += v.n;
}

/* ---- owners of streams */

static struct owner *owner_new(unsigned side)
{
    for (unsigned i = 0; i < OWNERS; i++)
        if (!owners[i].used) {
            owners[i] = (struct owner){.side = side, .used = true};
            return &owners[i];
        }
    return NULL;
}

/* One that has a stream, or NULL. */
static struct owner *owner_pick(void)
{
    struct owner *o = &owners[fuzz_u8(&in) % OWNERS];
    return o->used && o->st ? o : NULL;
}

static void owner_end(struct owner *o, void (*how)(struct pq_stream *))
{
    struct pq_stream *st = o->st;
    *o = (struct owner){.used = false};
    how(st);
}

static void owner_read(struct owner *o)
{
    size_t n = o->unread;
    o->unread = 0;
    if (n)
        pq_stream_consumed(o->st, n);
}

static void owner_act(struct owner *o)
{
    uint8_t what = fuzz_u8(&in);
    struct owner *other;
    if (what == ACT_ABORT)
        owner_end(o, pq_stream_abort);
    else if (what == ACT_CLOSE)
        owner_end(o, pq_stream_close);
    else if (what == ACT_FINISH)
        pq_stream_finish(o->st);
    else if (what == ACT_SEND)
        send_bytes(o, 100);
    else if (what == ACT_END_OTHER && (other = owner_pick()))
        owner_end(other, pq_stream_abort);
    else if (what < 0x80)
        owner_read(o);
}

static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct owner *o = ctx;
    (void)last;
    FUZZ_CHECK(o->used && o->st);
    check_bytes(o, v);
    o->unread += v.n;
    uint8_t what = fuzz_u8(&in);
    if (what == ACT_ABORT)
        owner_end(o, pq_stream_abort);
    else if (what == ACT_CLOSE)
        owner_end(o, pq_stream_close);
}

static void on_event(void *ctx)
{
    struct owner *o = ctx;
    FUZZ_CHECK(o->used && o->st);
    owner_act(o);
}

static void on_end(void *ctx, int err)
{
    struct owner *o = ctx;
    (void)err;
    FUZZ_CHECK(o->used && o->st);
    owner_end(o, pq_stream_close);
}

static void on_datagram(void *ctx, struct pq_view v)
{
    fuzz_touch(v);
    on_event(ctx);
}

static const struct pq_stream_events stream_events = {
    .data = on_data,
    .flush = on_event,
    .room = on_event,
    .end = on_end,
    .eof = on_event,
    .datagram = on_datagram,
};

/* ---- what hubs call */

/* What the other side announces, if it has a stream to say so; what all can do, if not [8.2]. */
static uint32_t abilities_of_other(unsigned side)
{
    for (unsigned i = 0; i < OWNERS; i++)
        if (owners[i].used && owners[i].st && owners[i].side != side)
            return pq_stream_own_abilities(owners[i].st);
    return PQ_ABLE_ALL & ~(uint32_t)PQ_ABLE_COPIES;
}

static void on_stream(void *ctx, struct pq_stream *st)
{
    const struct side *s = ctx;
    struct owner *o = owner_new((unsigned)(s - sides));
    if (!o)
        return;
    o->st = st;
    o->id = pq_smux_stream_id(st->ss);
    pq_stream_own(st, &stream_events, o);
    if (fuzz_u8(&in) & 1)
        pq_stream_set_datagrams(st, PQ_CHUNK_HUGE);
    pq_stream_set_abilities(st, abilities_of_other(o->side));
    if (fuzz_u8(&in) & 1)
        pq_stream_send_frames(st);
}

static bool on_accept(void *ctx, const struct pq_segment *seg, struct pq_flow_conf *fc)
{
    (void)ctx;
    (void)seg;
    (void)fc;
    return true;
}

static void on_ended(void *ctx, struct pq_session *s, int err)
{
    (void)ctx;
    (void)err;
    if (session == s)
        session = NULL;
}

static void on_proven(void *ctx, struct pq_session *s)
{
    (void)ctx;
    FUZZ_CHECK(pq_session_streams(s) == 0); /* nothing was served before */
}

static void on_secured(void *ctx, struct pq_session *s)
{
    (void)ctx;
    FUZZ_CHECK(pq_session_secure(s));
}

static uint64_t on_wall(void *ctx)
{
    (void)ctx;
    return UINT64_C(1790000000000) + now / PQ_MS;
}

static bool on_move(void *ctx, struct pq_session *s, struct pq_flow_conf *fc)
{
    const struct side *at = ctx;
    (void)s;
    FUZZ_CHECK(at == &sides[CLIENT]);
    fc->local.port = (uint16_t)(PORT + 100 + fuzz_u8(&in) % 4);
    return fc->local.port % 4 != 3;
}

static void on_moved(void *ctx, struct pq_session *s, bool ok)
{
    const struct side *at = ctx;
    (void)ok;
    FUZZ_CHECK(at == &sides[CLIENT] || pq_session_secure(s)); /* clients also begin elsewhere */
}

static const struct pq_hub_events hub_events = {
    .stream = on_stream,
    .accept = on_accept,
    .proven = on_proven,
    .secured = on_secured,
    .move = on_move,
    .moved = on_moved,
    .wall = on_wall,
    .ended = on_ended,
};

/* ---- the path */

static void queue_take(struct side *s, unsigned i)
{
    free(s->queue[i].p);
    s->n--;
    memmove(&s->queue[i], &s->queue[i + 1], (s->n - i) * sizeof s->queue[0]);
}

/* One packet, or a run, which arrives in one piece. */
static struct packet packet_of(const struct pq_slot *slot)
{
    struct packet k = {.gso = slot->gso};
    for (unsigned i = 0; i <= slot->more; i++)
        k.len += slot[i].len;
    k.p = malloc(k.len);
    FUZZ_CHECK(k.p);
    for (unsigned i = 0, at = 0; i <= slot->more; i++) {
        FUZZ_CHECK((unsigned)slot[i].off + slot[i].len <= PQ_SLOT_SIZE);
        memcpy(k.p + at, slot[i].buf + slot[i].off, slot[i].len);
        at += slot[i].len;
    }
    return k;
}

static void step_pull(unsigned from)
{
    static struct pq_slot slots[SLOTS];
    struct side *to = &sides[!from];
    for (unsigned i = 0; i < SLOTS; i++)
        slots[i] = (struct pq_slot){.buf = slot_memory[i]};
    size_t n = pq_hub_pull(sides[from].hub, slots, PULL_MAX, now);
    FUZZ_CHECK(n <= PULL_MAX);
    for (size_t i = 0; i < n; i += 1u + slots[i].more) {
        FUZZ_CHECK(i + slots[i].more < n && !slots[i].gso == !slots[i].more);
        if (to->n == QUEUE_MAX)
            queue_take(to, 0);
        to->queue[to->n++] = packet_of(&slots[i]);
    }
}

/* Changes some bytes behind the headers, or cuts some off at the end; returns the new length. */
static uint32_t damage(uint8_t *p, uint32_t len, uint8_t how)
{
    if ((how & 0x30) == 0x30 && len > HEADERS) {
        sloppy = true;
        for (int i = 0; i < 1 + (how & 3); i++) {
            uint32_t at = HEADERS + fuzz_u16(&in) % (len - HEADERS);
            p[at] = fuzz_u8(&in);
        }
    }
    if ((how & 0xc0) == 0xc0 && len > HEADERS + 8) {
        sloppy = true;
        len -= 1 + fuzz_u8(&in) % 8u;
        pq_put_be16(p + PQ_ETH_LEN + 2, (uint16_t)(len - PQ_ETH_LEN));
    }
    return len;
}

static void deliver(struct side *s)
{
    uint8_t which = fuzz_u8(&in), how = fuzz_u8(&in);
    unsigned i = which & 0x80 ? which % s->n : 0;
    struct packet k = s->queue[i];
    uint8_t *p = fuzz_exact(k.p, k.len);
    uint32_t len = damage(p, k.len, how);
    uint8_t *exact = fuzz_exact(p, len);
    free(p);
    if (!(how & 4)) /* else it comes again */
        queue_take(s, i);
    struct pq_frame f = {.p = exact, .len = len, .wire_len = len, .gso_size = k.gso};
    if (!(how & 8))
        pq_hub_input(s->hub, &f, now);
    pq_hub_rx_end(s->hub, now);
    free(exact);
}

/* ---- steps */

static const uint8_t secret[2][32] = {{1, 2}, {3, 4}}; /* of our own wire */
static bool by_keys;

static const uint8_t *server_public(void)
{
    static uint8_t key[32];
    if (!key[0])
        FUZZ_CHECK(pq_x25519_public(secret[SERVER], key) == 0);
    return key;
}

static void client_connect(uint16_t port)
{
    struct pq_flow_conf fc = {
        .local = sides[CLIENT].addr, .peer = sides[SERVER].addr, .link_len = PQ_ETH_LEN, .t0 = 1};
    fc.local.port = port;
    pq_hub_connect(sides[CLIENT].hub, &session, &fc, by_keys ? server_public() : NULL, NULL, now);
}

static void step_open(uint8_t op)
{
    struct owner *o = session ? owner_new(CLIENT) : NULL;
    if (!o)
        return;
    o->st = pq_session_open(session, &stream_events, o);
    if (!o->st) {
        o->used = false;
        return;
    }
    o->id = pq_smux_stream_id(o->st->ss);
    if (op & 0x80)
        pq_stream_set_abilities(o->st, abilities_of_other(CLIENT));
    if (op & 0x40)
        pq_stream_send_frames(o->st);
    if (op & 0x20)
        pq_stream_set_datagrams(o->st, PQ_CHUNK_HUGE);
}

static void step_send(struct owner *o, uint8_t op)
{
    size_t n = 1 + fuzz_u8(&in) * (op & 0x80 ? 60u : 3u);
    if (!pq_stream_room(o->st))
        return;
    if (!(op & 0x40)) {
        send_bytes(o, n);
        return;
    }
    struct pq_chunk *c = chunk_of(o, n);
    sloppy = true; /* it may go through the stream */
    if (c)
        pq_stream_send_datagram(o->st, c);
}

static void step_end(struct owner *o, uint8_t op)
{
    if (op & 0x80)
        owner_end(o, pq_stream_close);
    else if (op & 0x40)
        owner_end(o, pq_stream_abort);
    else
        pq_stream_finish(o->st);
}

static void step_cork(const struct owner *o)
{
    if (pq_stream_corked(o->st))
        pq_stream_uncork(o->st, NULL);
    else
        pq_stream_cork(o->st);
}

static void step_time(uint8_t op)
{
    now += (pq_ns)(1 + fuzz_u8(&in)) * (op & 0x80 ? 40 : 1) * PQ_MS;
    for (unsigned i = 0; i < 2; i++)
        pq_hub_tick(sides[i].hub, now);
}

static void step_session(uint8_t op)
{
    if (session && op & 0x80)
        pq_session_bye(session);
    else if (session && op & 0x40)
        pq_session_upgrade(session, now);
    else if (!session)
        client_connect((uint16_t)(PORT + (op >> 6)));
}

static void step_owner(uint8_t kind, uint8_t op)
{
    struct owner *o = owner_pick();
    if (!o)
        return;
    if (kind <= 2)
        step_send(o, op);
    else if (kind == 3)
        step_end(o, op);
    else if (kind == 4)
        owner_read(o);
    else
        step_cork(o);
}

static void step(uint8_t op)
{
    unsigned side = op & 1;
    uint8_t kind = op >> 1 & 15;
    if (kind == 0)
        step_open(op);
    else if (kind <= 5)
        step_owner(kind, op);
    else if (kind <= 7)
        step_pull(side);
    else if (kind == 8)
        step_time(op);
    else if (kind == 9)
        step_session(op);
    else if (kind == 10 && op & 0x80)
        pq_hub_set_mtu(sides[side].hub, 300 + fuzz_u8(&in) * 8u);
    else if (kind > 10)
        for (unsigned i = 0; i < 1u + (op >> 5 & 3) && sides[side].n; i++)
            deliver(&sides[side]);
}

/* ---- a run */

static struct pq_hub_conf hub_conf(unsigned side, uint8_t a, uint8_t b)
{
    struct pq_hub_conf c = {
        .client = side == CLIENT,
        .cipher = PQ_CIPHER_NULL,
        .mtu = a & 1 ? 1350 : 200,
        .kcp = {.snd_wnd = a & 2 ? 1024 : 32,
                .rcv_wnd = a & 4 ? 1024 : 16,
                .resend = 2,
                .interval = 30 * PQ_MS,
                .congestion = (enum pq_congestion)((a >> 3) % 3)},
        .smux = {.session_buf = a & 0x40 ? 1 << 20 : 4096,
                 .stream_buf = a & 0x40 ? 1 << 19 : 2048,
                 .max_streams = a & 0x80 ? 65536 : 8,
                 .keepalive = 2 * PQ_SEC,
                 .timeout = 8 * PQ_SEC},
        .link_len = PQ_ETH_LEN,
        .max_sessions = 8,
        .memory = b & 1 ? 4 << 20 : 200000,
        .fec_auto = b & 2,
        .runs = b & 4,
        .splits = b & 8,
    };
    if (b >> 4 >= 8 && a & 1)
        c.own = (struct pq_own_conf){.on = true, .secret = secret[side], .required = by_keys};
    if (b >> 4 == 3 + (int)side) {
        c.dshard = 3;
        c.pshard = 2;
    }
    return c;
}

static void world_init(void)
{
    static const uint8_t ip[2][4] = {{192, 0, 2, 1}, {198, 51, 100, 2}};
    FUZZ_CHECK(pq_crypt_global_init() == 0);
    memset(owners, 0, sizeof owners);
    sloppy = false;
    session = NULL;
    now = 1000 * PQ_SEC;
    uint8_t a = fuzz_u8(&in), b = fuzz_u8(&in);
    for (unsigned i = 0; i < 2; i++) {
        struct side *s = &sides[i];
        by_keys = b >> 4 >= 12 && a & 1; /* 8 to 11: sessions that may be upgraded */
        struct pq_hub_conf c = hub_conf(i, a, b);
        s->n = 0;
        pq_rng_init_seed(&s->rng, 77 + i);
        pq_addr_set4(&s->addr, ip[i], i == SERVER ? 9999 : 0);
        FUZZ_CHECK(pq_hub_new(&s->hub, &c, &hub_events, s, &s->rng, now) == 0);
    }
    client_connect(PORT);
}

static void end_session(void *ctx, struct pq_session *s)
{
    (void)ctx;
    pq_session_end(s, PQ_ECLOSED);
}

static void world_fini(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct side *s = &sides[i];
        pq_hub_each(s->hub, end_session, NULL);
        FUZZ_CHECK(pq_hub_sessions(s->hub) == 0 && s->hub->blocks.used == 0);
        FUZZ_CHECK(s->hub->chunks.budget.used == 0 && s->hub->chunks.control.used == 0);
        pq_hub_free(&s->hub);
        while (s->n)
            queue_take(s, s->n - 1);
    }
    for (unsigned i = 0; i < OWNERS; i++)
        FUZZ_CHECK(!owners[i].used); /* each was told that it is over */
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    in = fuzz_in_init(p, n);
    world_init();
    for (int i = 0; fuzz_left(&in) && i < STEPS_MAX; i++)
        step(fuzz_u8(&in));
    world_fini();
    return 0;
}
