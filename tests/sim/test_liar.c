/* SPDX-License-Identifier: MIT */
/* test_liar.c - a server that has the keys and lies in whatever it says: of what has come, of
 * windows, of streams that nobody has opened, of moves, keys and trains, under ids of others [12.4]
 * [12.6] to [12.8].  The client holds no more for it than for others, sends nothing to anybody
 * else, and goes on, or ends the session with a reason; its session with an honest server does not
 * notice. */
#include "forged.h"
#include "kcp/kcp_internal.h"
#include "smux/smux_internal.h"
#include "tunnel/tunnel_internal.h"
#include "world.h"

#define HONEST_PORT 40000
#define LIED_PORT   45000
#define AGAIN_PORT  46000
#define EACH        (ut_slow() ? 300U : 1000U)
#define NUMBERS     1000000 /* where those of the liar begin */
#define OPEN        5       /* streams that the client has opened */

struct liar {
    struct world *w;
    struct pq_session *server, *client, *honest;
    struct half *of[OPEN];
    uint32_t i; /* so many times it has lied */
    uint64_t rng;
    enum forged_lie what;
    struct forged as;
};

static struct {
    bool mute;                    /* nothing else of the server's comes to who is lied to */
    uint64_t answered, elsewhere; /* bytes to the liar; frames to anybody else */
} seen;

static bool watch(struct world *w, unsigned from, struct link_packet *k)
{
    const uint8_t *ip = k->p + 14, *tcp = ip + 20;
    const struct pq_addr *server = &w->end[SERVER].addr;
    const uint16_t port = pq_be16(from == CLIENT ? tcp : tcp + 2);
    forged_note(from, k, LIED_PORT);
    if (port == HONEST_PORT)
        return true;
    if (from == SERVER)
        return !seen.mute;
    seen.answered += k->len;
    seen.elsewhere += memcmp(ip + 16, server->ip + 12, 4) != 0 || pq_be16(tcp + 2) != SERVER_PORT;
    return true;
}

/* The client has a session with an honest server, and one with this one, and streams in it
 * that are idle; the second one reads nothing. */
static void begin(struct liar *l, const char *name)
{
    struct world_conf c = world_keyed(10 * PQ_MS);
    for (unsigned i = 0; i < 2; i++) {
        c.link[i].rate = 12500000;
        c.link[i].queue = c.link[i].rate / 10;
        c.hub[i].smux.timeout = 3600 * PQ_SEC;
    }
    struct world *w = world_new(&c, ut_seed(name));
    *l = (struct liar){.w = w, .rng = 5};
    memset(&seen, 0, sizeof seen);
    w->tap = watch;
    w->sloppy = true;
    world_run(w, w->now + PQ_SEC, NULL);
    l->honest = w->ses;
    world_connect(w, LIED_PORT);
    l->client = w->ses;
    world_run(w, w->now + PQ_SEC, NULL);
    assert_true(pq_session_secure(l->client));
    for (unsigned i = 0; i < OPEN; i++) {
        l->of[i] = world_open(w, 100, 100);
        l->of[i]->keep_open = true;
    }
    world_run(w, w->now + PQ_SEC, NULL);
    l->of[1]->lazy = true;
    l->server = forged_peer(w, LIED_PORT);
    assert_non_null(l->server);
    l->as = (struct forged){.s = l->server,
                            .mask = l->server->sec->cur.tx_mask,
                            .port = LIED_PORT,
                            .id = l->server->sec->cur.tx_id};
    w->ses = l->honest;
    world_open(w, 100, (uint64_t)1 << 40);
    world_run(w, w->now + PQ_SEC, NULL); /* until the rate is known */
}

static size_t tell(struct liar *l, const uint8_t *inner, size_t n)
{
    l->i++;
    return forged_send(l->w, SERVER, &l->as, inner, n);
}

/* ---- frames, in their turn */

static size_t put_frame(uint8_t *p, uint8_t cmd, uint16_t len, uint32_t id)
{
    p[0] = 2;
    p[1] = cmd;
    pq_put_le16(p + 2, len);
    pq_put_le32(p + 4, id);
    return PQ_SMUX_HDR_LEN;
}

/* What comes next of the session's bytes; frames follow. */
static size_t put_turn(const struct liar *l, uint8_t *p)
{
    return forged_data(p, NUMBERS + l->i, 2, l->client->kcp->rcv_nxt);
}

static uint32_t id_of(const struct liar *l, unsigned i)
{
    return l->of[i]->st ? pq_smux_stream_id(l->of[i]->st->ss) : 3;
}

/* Whatever is sent, there is no room; or more than anybody has. */
static size_t windows(struct liar *l, uint8_t *p)
{
    static const uint16_t wnd[] = {0, 65535, 1};
    return forged_ack(p, l->client->kcp->snd_una, wnd[l->i % 3], 0, 0, 0, 0);
}

/* Nothing that is owed can go: there is no window. */
static size_t no_window(struct liar *l, uint8_t *p)
{
    return forged_ack(p, l->client->kcp->snd_una, 0, 0, 0, 0, 0);
}

/* It opens streams, as only clients do. */
static size_t opens(struct liar *l, uint8_t *p)
{
    if (!l->i)
        return no_window(l, p);
    size_t n = put_turn(l, p);
    for (unsigned k = 0; k < 150; k++)
        n += put_frame(p + n, SMUX_SYN, 0, 1000 + l->i * 150 + k);
    return n;
}

/* Of streams that nobody has opened. */
static size_t of_none(struct liar *l, uint8_t *p)
{
    static const uint8_t cmds[] = {SMUX_PSH,  SMUX_FIN,   SMUX_UPD, SMUX_EOF, SMUX_DATA,
                                   SMUX_PART, SMUX_CLOSE, SMUX_END, SMUX_NOP};
    size_t n = put_turn(l, p);
    for (unsigned k = 0; k < 40; k++) {
        const uint8_t cmd = cmds[ut_below(&l->rng, sizeof cmds)];
        const bool bytes = cmd == SMUX_PSH || cmd == SMUX_DATA || cmd == SMUX_PART;
        const uint16_t rest = cmd == SMUX_UPD ? 8 : cmd >= SMUX_DATA ? 4 : 0;
        const uint16_t len = (uint16_t)(rest + (bytes ? 1 + ut_below(&l->rng, 8) : 0));
        n += put_frame(p + n, cmd, cmd == SMUX_UPD ? 8 : len, 100001 + ut_below(&l->rng, 5000) * 2);
        ut_random(&l->rng, p + n, len);
        n += len;
    }
    return n;
}

/* Streams of the client have room for 4 GB; or it has read what was never sent. */
static size_t updates(struct liar *l, uint8_t *p)
{
    size_t n = put_turn(l, p);
    for (unsigned k = 0; k < OPEN; k++) {
        n += put_frame(p + n, SMUX_UPD, 8, id_of(l, k));
        pq_put_le32(p + n, k == OPEN - 1 ? (uint32_t)ut_rand(&l->rng) : 100);
        pq_put_le32(p + n + 4, k % 2 ? UINT32_MAX : (uint32_t)ut_rand(&l->rng));
        n += 8;
    }
    return n;
}

/* More than any window, on a stream that nobody reads. */
static size_t unread(struct liar *l, uint8_t *p)
{
    size_t n = put_turn(l, p);
    n += put_frame(p + n, SMUX_PSH, 1200, id_of(l, 1));
    memset(p + n, 'x', 1200);
    return n + 1200;
}

/* Frames of 64 KB, of which only the last bytes would do anything. */
static size_t endless(struct liar *l, uint8_t *p)
{
    const unsigned turn = l->i % 66;
    const size_t bytes = turn == 65 ? UINT16_MAX % 1000 : 1000;
    size_t n = put_turn(l, p);
    if (turn == 0)
        n += put_frame(p + n, SMUX_PSH, UINT16_MAX, 999999);
    memset(p + n, 0, bytes);
    return n + bytes;
}

/* Goes on with what it has ended. */
static size_t after_end(struct liar *l, uint8_t *p)
{
    const uint32_t id = id_of(l, 2);
    size_t n = put_turn(l, p);
    n += put_frame(p + n, SMUX_EOF, 0, id);
    n += put_frame(p + n, SMUX_PSH, 3, id);
    memset(p + n, 'e', 3);
    return n + 3;
}

static size_t nothing(struct liar *l, uint8_t *p)
{
    size_t n = put_turn(l, p);
    for (unsigned k = 0; k < 150; k++)
        n += put_frame(p + n, SMUX_NOP, 0, l->i);
    return n;
}

/* ---- out of band, and under other numbers */

/* He may go on there, says another address. */
static size_t moved(struct liar *l, uint8_t *p)
{
    const uint8_t body[16] = {(uint8_t)l->i};
    l->as.from = l->i % 2 ? 0x0b000000U + l->i : 0;
    l->as.port = l->i % 4 == 2 ? (uint16_t)l->i : LIED_PORT;
    return forged_control(p, PQ_KIND_MOVED, 0, body, sizeof body);
}

/* What is his own, under the id of the client's other session, to either tuple. */
static size_t ids(struct liar *l, uint8_t *p)
{
    l->as.id = l->honest->sec->cur.rx_id;
    l->as.port = l->i % 2 ? LIED_PORT : HONEST_PORT;
    l->as.mask = l->i % 3 ? l->server->sec->cur.tx_mask : l->server->hub->ring[0].first_mask;
    ut_random(&l->rng, p, 400);
    return 400;
}

/* Counters that jump, up to the last that there is, and beyond. */
static size_t counters(struct liar *l, uint8_t *p)
{
    l->as.counter =
        l->i < EACH / 2 ? (uint32_t)ut_rand(&l->rng) >> 4 : PQ_SEAL_LIMIT - 1 - l->i % 7;
    return forged_ack(p, l->client->kcp->snd_una, 65535, 0, 0, 0, 0);
}

struct lie {
    const char *name;
    size_t (*next)(struct liar *l, uint8_t *p); /* what is inside of a datagram */
    bool bad;                                   /* they are wrong as they are */
    bool uploads;                               /* meanwhile there is much to send to the liar */
    unsigned times;                             /* 0: EACH */
    size_t memory;                              /* KB that it may take, beside 1 MB */
    enum forged_lie what;                       /* of those that clients may tell, too */
};

static void expect_honest(struct liar *l, const struct lie *lie, uint64_t had, pq_ns since)
{
    const struct half *h = &l->w->half[CLIENT][OPEN];
    const double mbit =
        (double)(h->rx_at - had) * 8e-6 / ((double)(l->w->now - since) / (double)PQ_SEC);
    const struct end *client = &l->w->end[CLIENT];
    printf("%-12s %6.0f KB answered, %llu dropped, %zu streams, the honest one %.1f Mbit/s\n",
           lie->name, (double)seen.answered / 1e3, (unsigned long long)world_drops(client),
           pq_session_streams(l->client), mbit);
    assert_true(mbit >= (lie->uploads ? 60 : 80));
}

/* What the client knows of the session is what can be. */
static void expect_sane(const struct liar *l)
{
    struct pq_session_info info;
    pq_session_info(l->client, &info);
    assert_true(info.came <= info.expected);
    assert_true(info.kcp.srtt <= 10 * PQ_SEC);
    assert_true(info.kcp.resent <= info.kcp.sent);
    assert_true(pq_session_streams(l->client) <= OPEN);
    assert_true(l->client->smux->n_refused <= 65536);
}

/* After all that another session with the same server works. */
static void expect_another(struct liar *l)
{
    struct world *w = l->w;
    seen.mute = false;
    world_connect(w, AGAIN_PORT);
    struct half *h = world_open(w, 10000, 10000);
    h->keep_open = true;
    const pq_ns end = w->now + 5 * PQ_SEC;
    while (!h->rx_at && w->now < end)
        world_run(w, w->now + 10 * PQ_MS, NULL);
    assert_true(h->rx_at > 0); /* of which stream the server takes it for does not matter */
}

static void finish(struct liar *l)
{
    assert_int_equal(seen.elsewhere, 0);
    world_free(l->w);
    forged_forget();
}

static void lie_to(const struct lie *lie)
{
    struct liar l;
    begin(&l, lie->name);
    struct world *w = l.w;
    l.what = lie->what;
    if (lie->uploads) {
        l.of[0]->tx_len = (uint64_t)1 << 30;
        half_feed(l.of[0]);
    }
    struct end *client = &w->end[CLIENT];
    const uint64_t had = w->half[CLIENT][OPEN].rx_at, bad = world_drops(client);
    const size_t memory = client->chunks_high;
    const pq_ns since = w->now;
    const unsigned times = lie->times ? lie->times : EACH;
    uint64_t told = 0;
    seen.answered = 0;
    seen.mute = true;
    for (unsigned i = 0; i < times; i++) {
        uint8_t inner[FORGED_MAX];
        told += tell(&l, inner, lie->next(&l, inner));
        if (i % (times / EACH + 1) == 0)
            world_run(w, w->now + PQ_MS, NULL);
        assert_int_equal(client->ended, 0);
    }
    expect_honest(&l, lie, had, since);
    expect_sane(&l);
    assert_true(lie->uploads || seen.answered <= told);
    assert_true(!lie->bad || world_drops(client) - bad >= times / 4);
    assert_true(client->chunks_high - memory <= lie->memory * 1000 + 1000000);
    assert_int_equal(client->ended, 0);
    expect_another(&l);
    finish(&l);
}

static size_t common(struct liar *l, uint8_t *p)
{
    return forged_tell(l->what, l->i, &l->rng, p);
}

/* Of acknowledgements, data and parts, as a client may tell them, too. */
static void of_what_has_come(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FORGED_LIES; i++) {
        const enum forged_lie what = (enum forged_lie)i;
        const struct lie lie = {
            .name = forged_name(what), .next = common, .bad = forged_is_bad(what), .what = what};
        lie_to(&lie);
    }
}

static void of_the_rest(void **state)
{
    (void)state;
    static const struct lie all[] = {
        {"windows", windows, .uploads = true, .memory = 8000},
        {"opens", opens, .bad = false},
        {"of none", of_none, .bad = false},
        {"updates", updates, .bad = false},
        {"unread", unread, .times = 12000, .memory = 11000}, /* the session's 8 MiB, and heads */
        {"after end", after_end, .bad = false},
        {"endless", endless, .bad = false},
        {"nothing", nothing, .bad = false},
        {"moved", moved, .bad = true},
        {"ids", ids, .bad = true},
        {"counters", counters, .bad = true},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        lie_to(&all[i]);
}

/* Its answer to the handshake, again and again. */
static void answers_again(void **state)
{
    (void)state;
    struct liar l;
    begin(&l, "answers again");
    struct world *w = l.w;
    const struct end *client = &w->end[CLIENT];
    const uint64_t bad = world_drops(client), packets = client->packets;
    struct half *h = &w->half[CLIENT][OPEN];
    half_close(h, true);
    world_run(w, w->now + 3 * PQ_SEC, NULL);
    const uint64_t quiet = client->packets - packets;
    for (unsigned i = 0; i < EACH; i++) {
        const struct link_packet *answer = forged_model(SERVER);
        world_inject(w, CLIENT, answer->p, answer->len, 0);
        world_run(w, w->now + 3 * PQ_MS, NULL);
    }
    assert_int_equal(world_drops(client) - bad, EACH);
    assert_true(client->packets - packets <= 2 * quiet + 20);
    assert_int_equal(client->ended, 0);
    w->ses = l.client;
    struct half *other = world_open(w, 5000, 5000);
    world_run(w, w->now + 3 * PQ_SEC, NULL);
    assert_int_equal(other->rx_at, 5000);
    expect_another(&l);
    finish(&l);
}

/* ---- what ends a session */

static size_t version(struct liar *l, uint8_t *p)
{
    const size_t n = put_turn(l, p);
    const size_t more = put_frame(p + n, SMUX_NOP, 0, 0);
    p[n] = 1;
    return n + more;
}

static size_t command(struct liar *l, uint8_t *p)
{
    const size_t n = put_turn(l, p);
    return n + put_frame(p + n, 0x55, 0, id_of(l, 0));
}

static size_t place(struct liar *l, uint8_t *p)
{
    size_t n = put_turn(l, p);
    n += put_frame(p + n, SMUX_DATA, 5, id_of(l, 0));
    memset(p + n, 0x77, 5);
    return n + 5;
}

static size_t end_with_bytes(struct liar *l, uint8_t *p)
{
    size_t n = put_turn(l, p);
    n += put_frame(p + n, SMUX_CLOSE, 9, id_of(l, 0));
    memset(p + n, 0, 9);
    return n + 9;
}

static size_t half_a_frame(struct liar *l, uint8_t *p)
{
    const size_t n = forged_data(p, NUMBERS + l->i, 6, l->client->kcp->rcv_nxt + 3);
    put_frame(p + n, SMUX_DATA, 2000, id_of(l, 0));
    return n + 30;
}

static size_t goodbye(struct liar *l, uint8_t *p)
{
    const size_t n = put_turn(l, p);
    return n + put_frame(p + n, SMUX_BYE, 0, 0);
}

static void ends(void **state)
{
    (void)state;
    static const struct {
        size_t (*next)(struct liar *l, uint8_t *p);
        int err;
    } all[] = {{version, PQ_EPROTO},        {command, PQ_EPROTO},      {place, PQ_EPROTO},
               {end_with_bytes, PQ_EPROTO}, {half_a_frame, PQ_EPROTO}, {goodbye, PQ_ECLOSED}};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct liar l;
        uint8_t inner[FORGED_MAX];
        begin(&l, "ends");
        const struct end *client = &l.w->end[CLIENT];
        tell(&l, inner, all[i].next(&l, inner));
        world_run(l.w, l.w->now + 10 * PQ_MS, NULL);
        assert_int_equal(client->ended, 1);
        assert_int_equal(client->ended_err, all[i].err);
        for (unsigned k = 0; k < OPEN; k++) {
            assert_int_equal(l.of[k]->ends, 1);
            assert_int_equal(l.of[k]->end_err, all[i].err);
        }
        expect_another(&l);
        finish(&l);
    }
}

/* ---- of a stream whose SYN has not gone out yet, since there is no window */

static size_t before_its_syn(struct liar *l, uint8_t *p)
{
    const uint32_t last = l->client->smux->next_id;
    size_t n = put_turn(l, p);
    for (uint32_t id = last - 8; id != last + 8; id++) {
        n += put_frame(p + n, SMUX_PSH, 5, id);
        memset(p + n, 'h', 5);
        n += 5;
        n += put_frame(p + n, SMUX_UPD, 8, id);
        memset(p + n, 0, 8);
        n += 8;
        n += put_frame(p + n, l->i % 2 ? SMUX_EOF : SMUX_FIN, 0, id);
    }
    return n;
}

/* It answers what it cannot know of; its programs go away meanwhile. */
static void not_heard_of(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        struct liar l;
        uint8_t inner[FORGED_MAX];
        begin(&l, "not heard of");
        struct world *w = l.w;
        seen.mute = true;
        tell(&l, inner, no_window(&l, inner));
        w->ses = l.client;
        struct half *h[3];
        for (unsigned i = 0; i < 3; i++)
            h[i] = world_open(w, 100, 100);
        world_run(w, w->now + 20 * PQ_MS, NULL);
        for (unsigned i = 0; i < 20; i++) {
            tell(&l, inner, before_its_syn(&l, inner));
            for (unsigned k = 0; k < 3; k++) {
                assert_int_equal(h[k]->rx_at, 0);
                assert_int_equal(h[k]->ends, 0);
            }
            if (how && i == 5)
                half_close(h[1], how == 2);
            world_run(w, w->now + PQ_MS, NULL);
        }
        assert_int_equal(w->end[CLIENT].ended, 0);
        expect_another(&l);
        finish(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_what_has_come), cmocka_unit_test(of_the_rest),
        cmocka_unit_test(answers_again),    cmocka_unit_test(ends),
        cmocka_unit_test(not_heard_of),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("liar", tests, NULL, NULL);
}
