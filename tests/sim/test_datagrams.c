/* SPDX-License-Identifier: MIT */
/* test_datagrams.c - datagrams between two ends, beside the stream and through it [6.4] [8.7]. */
#include "flow.h"

#define HEADERS (14 + 20 + 32) /* in front of what is sealed */
#define BESIDE  1310           /* mtu 1350 - nonce and CRC - 20 */

static uint64_t drops(const struct world *w, unsigned side, enum pq_drop d)
{
    return pq_hub_stats(w->end[side].hub)->drops[d];
}

static void finish(struct world *w, struct flow *f)
{
    world_free(w);
    flow_free(f);
}

/* With the null cipher: whether a frame holds a datagram beside the stream. */
static bool is_beside(const uint8_t *p, size_t n)
{
    static const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 0xf3, 0};
    return n > HEADERS + sizeof head && memcmp(p + HEADERS, head, sizeof head) == 0;
}

/* ---- which way they take, and when they come */

/* A lost packet delays no other: what comes at all comes after the time of the way, exactly, and
 * once. */
static void loss_delays_none(void **state)
{
    (void)state;
    struct world_conf c = world_conf(50 * PQ_MS);
    c.link[0].loss = c.link[1].loss = 50;
    struct world *w = world_new(&c, ut_seed("datagrams, loss 5 %"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    flow_settle(f);
    world_open(w, 4 << 20, 4 << 20); /* a download beside them */
    for (unsigned i = 0; i < 2000; i++) {
        for (unsigned k = 0; k < 2; k++)
            assert_int_equal(flow_send(&f->end[k], 4 + i * 7 % (BESIDE - 3)), 0);
        world_run(w, w->now + 20 * PQ_MS, NULL);
    }
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    for (unsigned k = 0; k < 2; k++) {
        const struct flow_end *e = &f->end[k];
        printf("%u of 2000 came, late %u\n", e->beside, e->late);
        assert_int_equal(e->framed, k == SERVER);
        assert_int_equal(e->late, 0);
        assert_int_equal(e->twice, 0);
        assert_true(e->beside >= 1850 && e->beside <= 1940); /* 5 % lost, 3 sigma = 1.5 % */
    }
    assert_true(world_transferred(w));
    finish(w, f);
}

/* The side that opened the stream sends through it until the peer has told that it reads; the other
 * side beside it at once. */
static void first_through_stream(void **state)
{
    (void)state;
    struct world_conf c = world_conf(50 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("first datagrams"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    struct flow_end *client = &f->end[CLIENT], *server = &f->end[SERVER];
    server->lazy = true; /* the header is not read yet */
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(flow_send(client, 100), 0);
        assert_int_equal(flow_send(server, 100), 0);
        world_run(w, w->now + 20 * PQ_MS, NULL);
    }
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(server->framed, 50);
    assert_int_equal(server->beside, 0);
    assert_int_equal(client->framed, 0);
    assert_int_equal(client->beside, 50);
    server->lazy = false;
    pq_ns read = w->now;
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(flow_send(client, 100), 0);
        world_run(w, w->now + 20 * PQ_MS, NULL);
    }
    world_run(w, w->now + PQ_SEC, NULL);
    /* the first is read after 50 ms, the UPD comes after 100 ms */
    assert_true(w->now - read > PQ_SEC);
    assert_int_equal(server->framed + server->beside, 100);
    assert_in_range(server->framed, 50 + 5, 50 + 7);
    assert_int_equal(flow_came(server), 100);
    assert_int_equal(server->late + client->late, 0);
    finish(w, f);
}

/* All sizes, with each kind of sealing and with FEC: beside the stream what fits into one packet,
 * which is mtu - overhead - 20; larger ones through it, in one piece, also when packets are lost.
 */
static void sizes(void **state)
{
    (void)state;
    static const struct {
        enum pq_cipher cipher;
        uint16_t mtu, beside;
        bool fec, glue;
    } t[] = {{PQ_CIPHER_AES, 1350, BESIDE, false, false},
             {PQ_CIPHER_AES, 1350, BESIDE, true, false},
             {PQ_CIPHER_AES, 1350, BESIDE, false, true},
             {PQ_CIPHER_AES_128_GCM, 1350, 1350 - 28 - 20, false, false},
             {PQ_CIPHER_NULL, 1500, 1480, false, false},
             {PQ_CIPHER_NULL, 50, 30, false, false}};
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        const size_t b = t[i].beside;
        const size_t n[] = {1,     2,     3,     4,     5,     b - 1, b,     b + 1,
                            b + 6, b + 8, 1984,  1985,  9000,  16383, 16384, 16385,
                            65506, 65507, 65535, b - 2, b + 7, 30000, 1};
        struct world_conf c = world_conf(10 * PQ_MS);
        for (unsigned k = 0; k < 2; k++) {
            c.hub[k].cipher = t[i].cipher;
            c.hub[k].mtu = t[i].mtu;
#ifdef PQ_WITH_FEC
            c.hub[k].dshard = t[i].fec ? 10 : 0;
            c.hub[k].pshard = t[i].fec ? 3 : 0;
#endif
        }
        struct world *w = world_new(&c, ut_seed("sizes of datagrams"));
        struct flow *f = flow_open(w, ABLE, ABLE);
        w->end[0].glue = w->end[1].glue = t[i].glue;
        flow_settle(f);
        unsigned small = 0;
        for (size_t k = 0; k < COUNT_OF(n); k++) {
            small += n[k] <= b;
            for (unsigned side = 0; side < 2; side++) {
                w->end[side].out.conf.loss = n[k] > b ? 20 : 0;
                assert_int_equal(flow_send(&f->end[side], n[k]), 0);
            }
            world_run(w, w->now + (t[i].mtu < 100 ? 20 : 2) * PQ_SEC, NULL);
        }
        for (unsigned side = 0; side < 2; side++) {
            const struct flow_end *e = &f->end[side];
            assert_int_equal(e->beside, small);
            assert_int_equal(e->framed, COUNT_OF(n) - small + (side == SERVER));
            assert_int_equal(flow_came(e), f->end[!side].sent);
            assert_int_equal(e->late + e->twice, 0);
        }
        finish(w, f);
    }
}

/* Nothing at all is a datagram too, but only beside the stream [6.4]. */
static void empty(void **state)
{
    (void)state;
    struct world_conf c = world_conf(10 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("empty datagrams"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    struct flow_end *client = &f->end[CLIENT], *server = &f->end[SERVER];
    server->sloppy = true;
    assert_int_equal(flow_send(client, 0), 0); /* through the stream: vanishes */
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(server->framed + server->beside, 0);
    flow_settle(f);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(flow_send(client, 0), 0);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(server->framed, 1);
    assert_int_equal(server->beside, 3);
    finish(w, f);
}

/* A peer that has not said that it is able to gets all through the stream: none is lost. */
static void not_able(void **state)
{
    (void)state;
    static const uint32_t able[] = {0, PQ_ABLE_HELLO, PQ_ABLE_ALL & ~(uint32_t)PQ_ABLE_DATAGRAMS};
    for (size_t i = 0; i < COUNT_OF(able); i++) {
        struct world_conf c = world_conf(20 * PQ_MS);
        c.link[0].loss = c.link[1].loss = 50;
        struct world *w = world_new(&c, ut_seed("not able to take datagrams"));
        struct flow *f = flow_open(w, able[i], able[i]);
        for (unsigned k = 0; k < 300; k++) {
            for (unsigned side = 0; side < 2; side++)
                assert_int_equal(flow_send(&f->end[side], 4 + k * 41 % 9000), 0);
            world_run(w, w->now + 20 * PQ_MS, NULL);
        }
        world_run(w, w->now + 20 * PQ_SEC, NULL);
        for (unsigned side = 0; side < 2; side++) {
            assert_int_equal(f->end[side].beside, 0);
            assert_int_equal(f->end[side].framed, 300);
            assert_int_equal(flow_came(&f->end[side]), 300);
            assert_int_equal(drops(w, side, PQ_DROP_OOB), 0);
        }
        unsigned taken = 0;
        for (unsigned k = 0; k < 20000; k++) /* nothing is pulled: small ones take memory, too */
            taken += flow_send(&f->end[CLIENT], 4) == 0;
        assert_int_equal(taken, 1024);
        finish(w, f);
    }
}

/* The server has read PING, its PONG is lost: who has announced that it takes them, takes them. */
static void pong_on_its_way(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("PONG on its way"));
    struct flow *f = flow_open(w, 0, ABLE);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(flow_send(&f->end[SERVER], 500), 0);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(f->end[CLIENT].beside, 10);
    assert_int_equal(drops(w, CLIENT, PQ_DROP_OOB), 0);
    finish(w, f);
}

/* What the peer does not take is refused, and a stream of bytes takes none. */
static void too_large(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("too large"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    flow_settle(f);
    pq_stream_set_datagrams(f->end[CLIENT].st, 4096);
    assert_int_equal(flow_send(&f->end[CLIENT], 4096), 0);
    assert_int_equal(flow_send(&f->end[CLIENT], 4097), PQ_EINVAL);
    pq_stream_set_datagrams(f->end[CLIENT].st, 1000);
    assert_int_equal(flow_send(&f->end[CLIENT], 1001), PQ_EINVAL);
    pq_stream_set_datagrams(f->end[CLIENT].st, 0);
    assert_int_equal(flow_send(&f->end[CLIENT], 1), PQ_EINVAL);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(f->end[SERVER].framed, 2);
    assert_int_equal(f->end[SERVER].beside, 0);
    finish(w, f);
}

/* ---- ends */

static void end_session(void *ctx, struct pq_session *s)
{
    (void)ctx;
    pq_session_end(s, PQ_ETIMEOUT);
}

/* The session ends while datagrams wait, some of them in huge chunks: all memory comes back. */
static void session_ends(void **state)
{
    (void)state;
    for (unsigned side = 0; side < 2; side++) {
        struct world_conf c = world_conf(20 * PQ_MS);
        struct world *w = world_new(&c, ut_seed("session ends with datagrams"));
        struct flow *f = flow_open(w, ABLE, ABLE);
        struct flow_end *e = &f->end[side];
        flow_settle(f);
        unsigned good = 0;
        for (unsigned i = 0; i < 900; i++)
            good += flow_send(e, i % 10 ? 1300 : 60000) == 0;
        assert_true(good > 500);
        assert_true(world_chunk_bytes(&w->end[side]) > 1 << 20);
        pq_hub_each(w->end[side].hub, end_session, NULL);
        assert_int_equal(e->ends, 1);
        assert_int_equal(world_chunk_bytes(&w->end[side]), 0);
        assert_int_equal(flow_send(e, 10), PQ_ECLOSED);
        finish(w, f);
    }
}

/* The owner may close its stream inside the event: the rest of the batch is of no use, and the
 * session goes on. */
static void close_in_event(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("closed in its event"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    struct flow_end *client = &f->end[CLIENT], *server = &f->end[SERVER];
    flow_settle(f);
    server->close_in_event = true;
    assert_int_equal(flow_send(client, 60000), 0); /* some of it comes in the same batch */
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(flow_send(client, 1000), 0);
    world_run(w, w->now + 30 * PQ_MS, NULL);
    assert_null(server->st);
    assert_int_equal(server->beside, 1);
    assert_int_equal(drops(w, SERVER, PQ_DROP_OOB), 9);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(client->ends, 1);
    uint64_t packets = w->end[CLIENT].packets;
    assert_int_equal(flow_send(client, 10), PQ_ECLOSED); /* nothing after FIN [5.4] */
    world_run(w, w->now, NULL);
    assert_int_equal(w->end[CLIENT].packets, packets);
    world_open(w, 100000, 100000);
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    assert_true(world_transferred(w));
    flow_close(client);
    world_run(w, w->now + 500 * PQ_MS, NULL); /* no NOP is on its way then */
    assert_int_equal(world_chunk_bytes(&w->end[0]) + world_chunk_bytes(&w->end[1]), 0);
    finish(w, f);
}

/* What was sent before the stream is closed comes before its end, as pq_stream_close promises. */
static void close_behind(void **state)
{
    (void)state;
    static const unsigned counts[] = {1, 2, 3, 40, 700};
    for (size_t i = 0; i < 2 * COUNT_OF(counts); i++) {
        struct world_conf c = world_conf(20 * PQ_MS);
        struct world *w = world_new(&c, ut_seed("closed behind datagrams"));
        struct flow *f = flow_open(w, ABLE, ABLE);
        struct flow_end *from = &f->end[i % 2], *to = &f->end[!(i % 2)];
        flow_settle(f);
        for (unsigned k = 0; k < counts[i / 2]; k++)
            assert_int_equal(flow_send(from, 1000), 0);
        flow_close(from);
        world_run(w, w->now + PQ_SEC, NULL);
        assert_int_equal(to->beside, counts[i / 2]);
        assert_int_equal(to->ends, 1);
        finish(w, f);
    }
}

/* ---- packets that nobody should send */

struct record {
    uint8_t p[3000][PQ_SLOT_SIZE];
    size_t len[3000];
    unsigned n;
};

static bool record(struct world *w, unsigned from, struct link_packet *k)
{
    struct record *r = w->tap_ctx;
    if (from == CLIENT && r->n < COUNT_OF(r->len)) {
        memcpy(r->p[r->n], k->p, k->len);
        r->len[r->n++] = k->len;
    }
    return true;
}

/* Each packet is used once, whether the link doubles it or someone repeats it later. */
static void replays(void **state)
{
    (void)state;
    static struct record r;
    struct world_conf c = world_conf(20 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("replayed datagrams"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    struct flow_end *client = &f->end[CLIENT], *server = &f->end[SERVER];
    flow_settle(f);
    w->end[CLIENT].out.conf.dup = 1000;
    for (unsigned i = 0; i < 100; i++) {
        flow_send(client, 100);
        world_run(w, w->now + 5 * PQ_MS, NULL);
    }
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(server->beside, 100);
    assert_int_equal(drops(w, SERVER, PQ_DROP_REPLAY), 100);
    w->end[CLIENT].out.conf.dup = 0;
    w->tap = record;
    w->tap_ctx = &r;
    r.n = 0;
    for (unsigned i = 0; i < 2000; i++) { /* more than the receiver remembers */
        flow_send(client, 100);
        world_run(w, w->now + PQ_MS, NULL);
    }
    world_run(w, w->now + PQ_SEC, NULL);
    w->tap = NULL;
    assert_int_equal(server->beside, 2100);
    for (unsigned i = 0; i < r.n; i++)
        world_inject(w, SERVER, r.p[i], r.len[i], 0);
    assert_int_equal(server->beside, 2100);
    assert_int_equal(server->twice, 0);
    assert_int_equal(drops(w, SERVER, PQ_DROP_REPLAY), 100 + 2000);
    assert_int_equal(flow_send(client, 100), 0); /* and the next is new */
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(server->beside, 2101);
    finish(w, f);
}

/* What one end has sent is not taken by the same end when someone throws it back. */
static void reflected(void **state)
{
    (void)state;
    static struct record r;
    struct world_conf c = world_conf(20 * PQ_MS);
    c.hub[CLIENT].cipher = c.hub[SERVER].cipher = PQ_CIPHER_NONE; /* others know it by its nonce */
    struct world *w = world_new(&c, ut_seed("reflected datagrams"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    flow_settle(f);
    w->tap = record;
    w->tap_ctx = &r;
    r.n = 0;
    for (unsigned i = 0; i < 20; i++)
        flow_send(&f->end[CLIENT], 100);
    world_run(w, w->now + PQ_SEC, NULL);
    w->tap = NULL;
    f->end[CLIENT].sloppy = true;
    for (unsigned i = 0; i < r.n; i++) {
        uint8_t *ip = r.p[i] + 14 + 12, t[12];
        memcpy(t, ip, sizeof t);
        memcpy(ip, t + 4, 4); /* addresses and ports change places */
        memcpy(ip + 4, t, 4);
        memcpy(ip + 8, t + 10, 2);
        memcpy(ip + 10, t + 8, 2);
        world_inject(w, CLIENT, r.p[i], r.len[i], 0);
    }
    assert_int_equal(f->end[CLIENT].beside, 0);
    assert_int_equal(drops(w, CLIENT, PQ_DROP_CONV), 20);
    assert_int_equal(flow_send(&f->end[SERVER], 100), 0);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(f->end[CLIENT].beside, 1);
    finish(w, f);
}

/* To a stranger, to another session, to a stream that takes none or is none: counted, no answer. */
static void of_no_use(void **state)
{
    (void)state;
    static struct record r;
    struct world_conf c = world_conf(20 * PQ_MS);
    c.hub[0].cipher = c.hub[1].cipher = PQ_CIPHER_NULL;
    struct world *w = world_new(&c, ut_seed("datagrams of no use"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    flow_settle(f);
    world_open(w, 1000, 1000)->keep_open = true; /* a stream of bytes, id 5 */
    world_run(w, w->now + PQ_SEC, NULL);
    w->tap = record;
    w->tap_ctx = &r;
    r.n = 0;
    flow_send(&f->end[CLIENT], 100);
    world_run(w, w->now + 30 * PQ_MS, NULL);
    w->tap = NULL;
    unsigned k = 0; /* it may have been time for something else, too */
    while (k < r.n && !is_beside(r.p[k], r.len[k]))
        k++;
    assert_true(k < r.n);
    uint8_t *inner = r.p[k] + HEADERS;
    uint64_t packets = w->end[SERVER].packets;
    const uint32_t ids[] = {5, 4, 0, 7, 0xffffffff};
    for (uint32_t i = 0; i < COUNT_OF(ids); i++) {
        pq_put_le32(inner + 12, 100 + i); /* a new number */
        pq_put_le32(inner + 16, ids[i]);
        world_inject(w, SERVER, r.p[k], r.len[k], 0);
    }
    assert_int_equal(drops(w, SERVER, PQ_DROP_OOB), COUNT_OF(ids));
    pq_put_le32(inner + 16, 3);
    pq_put_le32(inner + 8, pq_le32(inner + 8) + 1);
    world_inject(w, SERVER, r.p[k], r.len[k], 0);
    assert_int_equal(drops(w, SERVER, PQ_DROP_CONV), 1);
    r.p[k][14 + 20 + 1] ^= 1; /* another source port */
    world_inject(w, SERVER, r.p[k], r.len[k], 0);
    assert_int_equal(drops(w, SERVER, PQ_DROP_NO_SESSION), 1);
    assert_int_equal(w->end[SERVER].accepts, 1);
    assert_int_equal(w->end[SERVER].packets, packets);
    assert_int_equal(f->end[SERVER].beside, 1);
    finish(w, f);
}

/* Damaged in every way behind the type. */
static void noise(void **state)
{
    (void)state;
    static struct record r;
    uint64_t seed = ut_seed("damaged datagrams");
    struct world_conf c = world_conf(20 * PQ_MS);
    c.hub[0].cipher = c.hub[1].cipher = PQ_CIPHER_NULL;
    struct world *w = world_new(&c, seed);
    struct flow *f = flow_open(w, ABLE, ABLE);
    flow_settle(f);
    w->tap = record;
    w->tap_ctx = &r;
    r.n = 0;
    for (unsigned i = 0; i < 50; i++)
        flow_send(&f->end[CLIENT], 1 + i * 20);
    world_run(w, w->now + PQ_SEC, NULL);
    w->tap = NULL;
    assert_true(r.n >= 50);
    f->end[SERVER].sloppy = true;
    for (unsigned i = 0; i < FUZZ_ROUNDS; i++) {
        uint8_t b[PQ_SLOT_SIZE];
        unsigned k = ut_below(&seed, r.n);
        const size_t at = HEADERS + 6;
        if (!is_beside(r.p[k], r.len[k]))
            continue;
        memcpy(b, r.p[k], r.len[k]);
        pq_put_le32(b + HEADERS + 12, i);
        size_t n = at + ut_mutate(&seed, b + at, r.len[k] - at, sizeof b - at);
        pq_put_be16(b + 16, (uint16_t)(n - 14));
        world_inject(w, SERVER, b, n, 0);
    }
    printf("%u came of the damaged ones\n", f->end[SERVER].beside);
    f->end[SERVER].sloppy = false;
    world_open(w, 100000, 100000);
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    assert_true(world_transferred(w));
    assert_int_equal(f->end[SERVER].ends + f->end[CLIENT].ends, 0);
    finish(w, f);
}

/* ---- turns */

/* Pulls n packets and sends them.  Returns how many are beside the stream. */
static unsigned pull(struct world *w, unsigned n)
{
    static uint8_t memory[64][PQ_SLOT_SIZE];
    struct pq_slot slots[64];
    unsigned beside = 0;
    struct end *e = &w->end[CLIENT];
    for (unsigned i = 0; i < n; i++)
        slots[i] = (struct pq_slot){.buf = memory[i]};
    size_t k = pq_hub_pull(e->hub, slots, n, w->now);
    assert_int_equal(k, n);
    for (size_t i = 0; i < k; i++) {
        const uint8_t *p = slots[i].buf + slots[i].off;
        beside += is_beside(p, slots[i].len);
        link_send(&e->out, p, slots[i].len, w->now);
    }
    return beside;
}

/* Where both wait for the kernel, packets alternate: neither starves the other. */
static void turns(void **state)
{
    (void)state;
    struct world_conf c = world_conf(20 * PQ_MS);
    c.hub[0].cipher = c.hub[1].cipher = PQ_CIPHER_NULL;
    struct world *w = world_new(&c, ut_seed("turns"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    flow_settle(f);
    world_open(w, 4 << 20, 0);
    world_run(w, w->now + 3 * PQ_SEC, NULL); /* KCP knows the path */
    assert_true(world_transferred(w));
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(flow_send(&f->end[CLIENT], 1300), 0);
    world_open(w, 4 << 20, 0); /* and both have much to send */
    for (unsigned round = 0; round < 3; round++) {
        unsigned beside = pull(w, 16);
        printf("%u of 16 packets are beside the stream\n", beside);
        assert_in_range(beside, 7, 9);
    }
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    assert_true(world_transferred(w));
    assert_int_equal(f->end[SERVER].beside, 500);
    finish(w, f);
}

/* A flood of more than the link takes, for seconds, and a transfer beside it: both get through. */
static void flood(void **state)
{
    (void)state;
    struct world_conf c = world_conf(10 * PQ_MS);
    for (unsigned i = 0; i < 2; i++) {
        c.link[i].rate = 100000000 / 8;
        c.link[i].queue = 1 << 20;
    }
    struct world *w = world_new(&c, ut_seed("flood"));
    struct flow *f = flow_open(w, ABLE, ABLE);
    flow_settle(f);
    world_open(w, 4 << 20, 4 << 20);
    unsigned refused = 0, sent = 0;
    for (unsigned ms = 0; ms < 4000; ms++) {
        for (unsigned i = 0; i < 5; i++, sent++) /* 52 Mbit/s */
            refused += flow_send(&f->end[CLIENT], 1300) != 0;
        world_run(w, w->now + PQ_MS, NULL);
    }
    assert_true(world_transferred(w)); /* while the flood went on */
    assert_int_equal(refused, 0);
    world_run(w, w->now + PQ_SEC, NULL);
    printf("%u of %u came\n", f->end[SERVER].beside, sent);
    assert_true(f->end[SERVER].beside > sent / 2);
    for (unsigned i = 0; i < 2000; i++) /* without any pull between: bounded */
        refused += flow_send(&f->end[CLIENT], 1300) == PQ_EAGAIN;
    assert_true(refused > 1000);
    assert_true(world_chunk_bytes(&w->end[CLIENT]) < 4 << 20);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_non_null(w->ses);
    finish(w, f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_delays_none),
        cmocka_unit_test(first_through_stream),
        cmocka_unit_test(sizes),
        cmocka_unit_test(empty),
        cmocka_unit_test(not_able),
        cmocka_unit_test(pong_on_its_way),
        cmocka_unit_test(too_large),
        cmocka_unit_test(session_ends),
        cmocka_unit_test(close_in_event),
        cmocka_unit_test(close_behind),
        cmocka_unit_test(replays),
        cmocka_unit_test(reflected),
        cmocka_unit_test(of_no_use),
        cmocka_unit_test(noise),
        cmocka_unit_test(turns),
        cmocka_unit_test(flood),
    };
    return ut_run(tests);
}
