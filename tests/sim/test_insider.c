/* SPDX-License-Identifier: MIT */
/* test_insider.c - what a user can do with his own key and a raw socket who also has K: name the
 * session of somebody else, or lie in what his own session says, of probes, and at the end of his
 * connection [12.4] [12.8] [12.9] [12.11].  It is counted, it is answered with less than came, or
 * as often as is written there, nothing grows, and nobody else notices. */
#include "flow.h"
#include "forged.h"
#include "kcp/kcp_internal.h"
#include "tunnel/syns.h"
#include "tunnel/tunnel_internal.h"
#include "world.h"

#define OTHERS_PORT 40000
#define OWN_PORT    40001
#define EACH        (ut_slow() ? 300U : 1000U)

static uint8_t secret[2][32] = {{7, 8, 9}, {10, 11, 12}}, users[2][32];
static struct pq_shake *shake[2];
static struct pq_syns *syns;

static struct {
    uint64_t bytes;              /* of frames to him */
    unsigned fins, copies, bare; /* of connections: what has a FIN, or payload, or neither */
    bool mute;                   /* his own program says nothing more */
} seen;

static bool look(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    const uint8_t *tcp = k->p + 14 + 20;
    const bool payload = k->len > (size_t)14 + 20 + (size_t)(tcp[12] >> 4) * 4;
    forged_note(from, k, OWN_PORT);
    if (pq_be16(from == SERVER ? tcp + 2 : tcp) != OWN_PORT)
        return true;
    if (from == CLIENT)
        return !seen.mute;
    seen.bytes += k->len;
    seen.fins += (tcp[13] & PQ_TCP_FIN) != 0;
    seen.copies += payload;
    seen.bare += !payload && !(tcp[13] & PQ_TCP_FIN);
    return true;
}

static struct pq_session *come(struct world *w, unsigned user, uint16_t port)
{
    w->end[CLIENT].hub->ring[0].shake = shake[user];
    world_connect(w, port);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_true(pq_session_secure(w->ses));
    return w->ses;
}

/* A session of the first user. */
static struct world *begin(const char *name, enum pq_look as, struct pq_session **others)
{
    struct world_conf c = world_keyed(10 * PQ_MS);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pq_x25519_public(secret[i], users[i]), 0);
        c.link[i].rate = 12500000;
        c.link[i].queue = c.link[i].rate / 10;
        c.hub[i].smux.timeout = 3600 * PQ_SEC;
        c.hub[i].rmem = 65535;
    }
    world_no_syns(&syns);
    c.hub[SERVER].syns = syns;
    c.hub[CLIENT].look = as;
    c.hub[SERVER].look = as == PQ_LOOK_CONNECT ? PQ_LOOK_PLAUSIBLE : as;
    c.hub[CLIENT].own.secret = secret[0];
    c.hub[SERVER].own.users = (const uint8_t(*)[32])users;
    c.hub[SERVER].own.n = 2;
    struct world *w = world_new(&c, ut_seed(name));
    struct pq_ring *ring = &w->end[CLIENT].hub->ring[0];
    const struct pq_shake_conf other = {
        .client = true, .key = ring->key, .own_secret = secret[1], .rng = &w->end[CLIENT].rng};
    shake[0] = ring->shake;
    assert_int_equal(pq_shake_new(&shake[1], &other), 0);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_true(pq_session_secure(w->ses));
    *others = w->ses;
    memset(&seen, 0, sizeof seen);
    w->tap = look;
    w->end[CLIENT].stays = true;
    return w;
}

static void finish(struct world *w)
{
    w->end[CLIENT].hub->ring[0].shake = shake[0];
    pq_shake_free(&shake[1]);
    w->sloppy = true;
    world_free(w);
    pq_syns_free(&syns);
    forged_forget();
}

/* ---- the id of somebody else's session */

static void ids_of_others(void **state)
{
    (void)state;
    static const uint16_t ports[] = {OWN_PORT, OTHERS_PORT, 45000};
    struct pq_session *others, *own;
    struct world *w = begin("ids of others", PQ_LOOK_CLASSIC, &others);
    struct pq_hub *h = w->end[SERVER].hub;
    own = come(w, 1, OWN_PORT);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(pq_hub_sessions(h), 2);
    struct pq_mask *masks[] = {own->sec->cur.tx_mask, h->ring[0].first_mask};
    const uint64_t out = pq_hub_stats(h)->tx_packets, bad = world_drops(&w->end[SERVER]);
    const uint64_t auth = pq_hub_stats(h)->drops[PQ_DROP_AUTH];
    const size_t memory = world_chunk_bytes(&w->end[SERVER]);
    uint64_t rng = 7;
    unsigned sent = 0;
    for (unsigned i = 0; i < 600; i++) {
        uint8_t inner[300];
        const size_t n = 12 + ut_below(&rng, sizeof inner - 12);
        for (size_t k = 0; k < n; k++)
            inner[k] = (uint8_t)ut_below(&rng, 256);
        const struct forged as = {own, masks[i / 3 % 2], ports[i % 3], others->sec->cur.tx_id, 0,
                                  0};
        forged_send(w, CLIENT, &as, inner, n);
        sent++;
    }
    assert_int_equal(pq_hub_stats(h)->tx_packets, out);
    assert_int_equal(world_drops(&w->end[SERVER]), bad + sent);
    assert_int_equal(pq_hub_stats(h)->drops[PQ_DROP_AUTH], auth + sent);
    assert_int_equal(world_chunk_bytes(&w->end[SERVER]), memory);
    assert_int_equal(h->n_replies, 0);
    assert_int_equal(pq_hub_sessions(h), 2);
    for (unsigned i = 0; i < 2; i++) { /* both go on */
        w->ses = i ? own : others;
        world_open(w, 20000, 200000);
        assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
    }
    world_check(w);
    finish(w);
}

/* A new session that says it takes the place of somebody else's. */
static void in_place_of_others(void **state)
{
    (void)state;
    struct pq_session *others;
    struct world *w = begin("in place of others", PQ_LOOK_CLASSIC, &others);
    for (unsigned i = 0; i < 4; i++) {
        w->end[CLIENT].hub->replaces = others->sec->cur.tx_id;
        come(w, 1, (uint16_t)(OWN_PORT + i));
        assert_int_equal(w->end[CLIENT].hub->replaces, 0); /* it was said */
        assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 2 + i);
    }
    assert_int_equal(w->end[SERVER].ended, 0);
    w->ses = others;
    world_open(w, 1000, 1000);
    assert_true(world_run(w, w->now + 5 * PQ_SEC, world_closed));
    finish(w);
}

/* ---- lies inside his own session */

static void lie(enum forged_lie what)
{
    struct pq_session *others;
    struct world *w = begin(forged_name(what), PQ_LOOK_CLASSIC, &others);
    struct end *server = &w->end[SERVER];
    struct pq_session *own = come(w, 1, OWN_PORT);
    world_run(w, w->now + PQ_SEC, NULL);
    w->ses = others;
    struct half *h = world_open(w, 100, (uint64_t)1 << 40);
    w->sloppy = true;
    world_run(w, w->now + PQ_SEC, NULL); /* until the rate is known */
    const uint64_t had = h->rx_at, bad = world_drops(server);
    const pq_ns since = w->now;
    const size_t memory = server->chunks_high;
    uint64_t rng = 11, told = 0;
    seen.bytes = 0;
    for (unsigned i = 0; i < EACH; i++) {
        uint8_t inner[1400];
        const size_t n = forged_tell(what, i, &rng, inner);
        const struct forged as = {own, own->sec->cur.tx_mask, OWN_PORT, own->sec->cur.tx_id, 0, 0};
        told += forged_send(w, CLIENT, &as, inner, n);
        world_run(w, w->now + PQ_MS, NULL);
    }
    const double seconds = (double)(w->now - since) / PQ_SEC;
    const double mbit = (double)(h->rx_at - had) * 8 / 1e6 / seconds;
    printf(
        "%-13s %7.0f KB told, %4.0f KB answered, %5llu dropped, %3zu KB more, others %.1f Mbit/s\n",
        forged_name(what), (double)told / 1e3, (double)seen.bytes / 1e3,
        (unsigned long long)(world_drops(server) - bad), (server->chunks_high - memory) >> 10,
        mbit);
    assert_true(seen.bytes <= told);
    assert_true(!forged_is_bad(what) || world_drops(server) - bad >= EACH / 4);
    assert_true(server->chunks_high - memory <= (size_t)1 << 20);
    assert_true(mbit >= 80);
    assert_int_equal(server->hub->n_replies, 0);
    assert_true(pq_hub_sessions(server->hub) <= 2);
    finish(w);
}

static void lies(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FORGED_LIES; i++)
        lie((enum forged_lie)i);
}

/* Counters that jump, to the last that there is: nothing more is taken under these keys, and nobody
 * else notices. */
static void counters(void **state)
{
    (void)state;
    struct pq_session *others;
    struct world *w = begin("counters", PQ_LOOK_CLASSIC, &others);
    struct end *server = &w->end[SERVER];
    struct pq_session *own = come(w, 1, OWN_PORT), *s = forged_peer(w, OWN_PORT);
    const uint32_t jumps[] = {5000,     1U << 20,          70000, PQ_SEAL_LIMIT - 1,
                              1U << 20, PQ_SEAL_LIMIT - 1, 1,     PQ_SEAL_LIMIT - 2};
    const bool good[] = {true, true, false, true, false, false, false, true};
    seen.mute = true;
    for (unsigned i = 0; i < COUNT_OF(jumps); i++) {
        const struct forged as = {own,     own->sec->cur.tx_mask, OWN_PORT, own->sec->cur.tx_id, 0,
                                  jumps[i]};
        const uint64_t bad = pq_hub_stats(server->hub)->drops[PQ_DROP_REPLAY];
        uint8_t inner[20];
        forged_send(w, CLIENT, &as, inner, forged_ack(inner, s->kcp->snd_una, 9, 0, 0, 0, 0));
        assert_int_equal(pq_hub_stats(server->hub)->drops[PQ_DROP_REPLAY] - bad, !good[i]);
        world_run(w, w->now + PQ_MS, NULL);
    }
    assert_true(pq_seal_used(s->sec->cur.rx) == PQ_SEAL_LIMIT);
    w->ses = others;
    world_open(w, 20000, 200000);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
    finish(w);
}

/* ---- probes for UDP alone [12.11]: he says that they are lost, all of them or nearly so */

enum teller { HONEST, SILENT, ALL_LOST, SOME_LOST, OF_THE_FUTURE, TELLERS };

/* What he says of them.  Of all else he says the truth, each time, or he would get less. */
static size_t tell_of_probes(enum teller who, const struct pq_kcp *k, uint32_t *lost, uint8_t *p)
{
    const uint32_t last = k->numbers.next - 1;
    size_t n = 0;
    if (who == OF_THE_FUTURE)
        return forged_ack(p, k->snd_nxt, 65535, last + 1 + *lost % 9, 1, 0, 100 + *lost % 9);
    if (who == SILENT)
        return 0;
    if (k->size.probe < 0) {
        n = forged_ack(p, k->snd_nxt, 65535, last, 1, 0, 0);
    } else if (k->probe != last) {
        ++*lost;
        n = forged_ack(p, k->snd_nxt, 65535, last, 1, 0, last - k->probe - 1);
    } else if (who == SOME_LOST && *lost % 4 == 3) {
        ++*lost;
        n = forged_ack(p, k->snd_nxt, 65535, last, 1, 0, 0);
    }
    p[5] = 0; /* the window is known */
    return n;
}

static void udp_alone(enum teller who)
{
    static const char *const names[] = {"honest", "silent", "all lost", "some lost", "future"};
    const unsigned seconds = ut_slow() ? 5 : 20;
    struct pq_session *others;
    struct world *w = begin(names[who], PQ_LOOK_CLASSIC, &others);
    struct end *server = &w->end[SERVER];
    struct pq_session *own = come(w, 1, OWN_PORT), *s = forged_peer(w, OWN_PORT);
    struct flow *f = flow_open(w, ABLE, ABLE);
    flow_settle(f);
    f->end[CLIENT].sloppy = true;
    assert_true(s->kcp->mtu > s->kcp->size.least);
    w->ses = others;
    struct half *h = world_open(w, 100, (uint64_t)1 << 40);
    w->sloppy = true;
    world_run(w, w->now + PQ_SEC, NULL);
    const uint64_t had = h->rx_at;
    const size_t memory = server->chunks_high;
    uint64_t told = 0, sent = 0, packets = 0;
    uint32_t lost = 0;
    seen.bytes = seen.copies = 0;
    seen.mute = who != HONEST;
    for (unsigned i = 0; i < seconds * 1000; i++) {
        uint8_t inner[FORGED_MAX];
        if (i % 10 == 0) {
            assert_int_equal(flow_send(&f->end[SERVER], 1250), 0);
            sent++;
            packets += s->kcp->mtu > s->kcp->size.least ? 1 : 2; /* in two parts */
        }
        const size_t n = who == HONEST ? 0 : tell_of_probes(who, s->kcp, &lost, inner);
        const struct forged as = {own, own->sec->cur.tx_mask, OWN_PORT, own->sec->cur.tx_id, 0, 0};
        if (n)
            told += forged_send(w, CLIENT, &as, inner, n);
        world_run(w, w->now + PQ_MS, NULL);
    }
    const double mbit = (double)(h->rx_at - had) * 8e-6 / seconds;
    printf(
        "UDP alone, %-9s %llu packets for %llu datagrams, %u told of, %llu KB told; %zu KB more, "
        "others %.1f Mbit/s\n",
        names[who], (unsigned long long)seen.copies, (unsigned long long)sent, lost,
        (unsigned long long)told / 1000, (server->chunks_high - memory) >> 10, mbit);
    assert_true(seen.copies <= packets + (uint64_t)10 * seconds);
    assert_true(server->chunks_high - memory <= (size_t)1 << 20);
    assert_true(mbit >= 80);
    assert_int_equal(pq_hub_sessions(server->hub), 2);
    flow_free(f);
    finish(w);
}

static void probes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TELLERS; i++)
        udp_alone((enum teller)i);
}

/* ---- ends of connections [12.9]: the last datagram goes again before a FIN that does */

enum ender { WAITS, ACKS_LESS, ACKS_ALL, ACKS_NEVER_SENT, ENDS, RESETS, REPEATS, ENDERS };

/* A segment without payload of his, in the name of his connection. */
static void put_bare(struct world *w, const struct pq_session *own, enum ender how, uint32_t ack)
{
    struct pq_slot slot = {.buf = calloc(1, PQ_SLOT_SIZE), .off = PQ_SLOT_HEAD};
    struct pq_flow forger = own->flow;
    assert_non_null(slot.buf);
    forger.st.ack = ack;
    if (how == ENDS)
        pq_connect_fin(&forger, &slot, w->now);
    else
        pq_connect_ack(&forger, &slot, w->now);
    uint8_t *frame = slot.buf + slot.off;
    if (how == RESETS)
        frame[14 + 20 + 13] |= PQ_TCP_RST;
    world_make_sound(frame, slot.len);
    world_inject(w, SERVER, frame, slot.len, 0);
    free(slot.buf);
}

/* Nobody takes what he is sent, until there is no more room: then the session ends in order. */
static struct pq_session *stall(struct world *w, uint32_t *first, uint32_t *end)
{
    struct pq_session *own = come(w, 1, OWN_PORT), *s = forged_peer(w, OWN_PORT);
    world_open(w, 100, (uint64_t)1 << 30);
    world_run(w, w->now + 100 * PQ_MS, NULL);
    seen.mute = true;
    world_run(w, w->now + 300 * PQ_MS, NULL);
    assert_non_null(s->stalled.copy);
    *first = s->stalled.seq;
    *end = s->flow.st.seq;
    pq_session_end(s, PQ_ECLOSED);
    return own;
}

static void end_with(enum ender how)
{
    static const char *const names[] = {"waits", "less",   "all",    "never sent",
                                        "ends",  "resets", "repeats"};
    struct pq_session *others;
    uint32_t first, end;
    struct world *w = begin(names[how], PQ_LOOK_CONNECT, &others);
    struct end *server = &w->end[SERVER];
    w->ses = others;
    const struct pq_session *own = stall(w, &first, &end);
    const size_t memory = world_chunk_bytes(server);
    seen.bytes = seen.fins = seen.copies = seen.bare = 0;
    for (unsigned i = 0; i < 4000; i++) {
        const uint32_t acks[ENDERS] = {0, first + 1, end + 1, end + 2 + i, end, end, 0};
        const struct link_packet *k = forged_model(CLIENT);
        world_run(w, w->now + 5 * PQ_MS, NULL);
        if (how == REPEATS)
            world_inject(w, SERVER, k->p, k->len, 0);
        else if (how != WAITS)
            put_bare(w, own, how, acks[how]);
    }
    printf("end, %-10s %u FINs, %u copies, %u bare, %llu bytes\n", names[how], seen.fins,
           seen.copies, seen.bare, (unsigned long long)seen.bytes);
    assert_in_range(seen.fins, 1, 4);
    assert_in_range(seen.copies, 0, how == ACKS_ALL ? 0 : 3);
    assert_in_range(seen.bare, 0, 8);
    assert_int_equal(server->hub->n_leaving, 0);
    assert_true(world_chunk_bytes(server) <= memory);
    assert_int_equal(pq_hub_sessions(server->hub), 1);
    w->ses = others;
    struct half *h = world_open(w, 1000, 100000);
    h->keep_open = true;
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    assert_int_equal(h->rx_at, 100000);
    finish(w);
}

static void ends(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ENDERS; i++)
        end_with((enum ender)i);
}

/* As many as he likes: of so many the last datagram is kept, and of others nothing. */
static void ends_are_bounded(void **state)
{
    (void)state;
    struct pq_session *others;
    struct world *w = begin("bounded ends", PQ_LOOK_CONNECT, &others);
    come(w, 1, OWN_PORT);
    struct pq_session *s = forged_peer(w, OWN_PORT);
    struct pq_hub *hub = w->end[SERVER].hub;
    for (uint16_t i = 1; i < 3000; i++) {
        s->stalled = (struct pq_stalled){.copy = calloc(1, 1300), .len = 1300};
        assert_non_null(s->stalled.copy);
        s->flow.dport = i;
        s->flow.conn.gone = false;
        pq_leave_session(s, true);
        assert_null(s->stalled.copy);
        assert_in_range(hub->n_leaving, 1, 1024);
    }
    assert_int_equal(hub->n_leaving, 1024);
    world_run(w, w->now + 30 * PQ_SEC, NULL);
    assert_int_equal(hub->n_leaving, 0);
    finish(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_others),
        cmocka_unit_test(in_place_of_others),
        cmocka_unit_test(lies),
        cmocka_unit_test(counters),
        cmocka_unit_test(probes),
        cmocka_unit_test(ends),
        cmocka_unit_test(ends_are_bounded),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("insider", tests, NULL, NULL);
}
