/* SPDX-License-Identifier: MIT */
/* test_keys.c - sessions of our own wire: with keys, after an upgrade, with new keys; and what
 * somebody with recordings, with K, or between the two ends can do [12]. */
#include "header/header.h"
#include "tunnel/stamps.h"
#include "tunnel/tunnel_internal.h"
#include "world.h"

static const struct pq_hub_stats *stats(const struct world *w, unsigned side)
{
    return pq_hub_stats(w->end[side].hub);
}

static struct pq_session *served(const struct world *w)
{
    struct pq_hub *h = w->end[SERVER].hub;
    return pq_list_empty(&h->sessions) ? NULL : PQ_OF(h->sessions.next, struct pq_session, node);
}

/* Bytes both ways, over paths that are long, lose, or both. */
static void transfers(void **state)
{
    (void)state;
    static const struct {
        pq_ns delay;
        unsigned loss;
    } paths[] = {{PQ_MS, 0}, {20 * PQ_MS, 50}, {150 * PQ_MS, 20}, {600 * PQ_MS, 0}};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct world_conf c = world_keyed(paths[i].delay);
        c.link[0].loss = c.link[1].loss = paths[i].loss;
        struct world *w = world_new(&c, ut_seed("keys") + i);
        world_open(w, 300000, 2000000);
        world_open(w, 10, 10);
        assert_true(world_run(w, WORLD_T0 + 60 * PQ_SEC, world_closed));
        world_check(w);
        assert_int_equal(w->end[CLIENT].secured, 1);
        assert_int_equal(w->end[SERVER].secured, 1);
        assert_int_equal(w->end[SERVER].proven, 1);
        assert_int_equal(pq_session_who(served(w)), 0);
        assert_true(pq_session_secure(w->ses));
        assert_true(pq_session_abilities(w->ses) & PQ_ABLE_FRAMES);
        assert_int_equal(w->end[SERVER].hub->n_replies, 0);
        assert_null(w->ses->ask);
        world_free(w);
    }
}

/* Whatever is lost and however long the way is: it begins. */
static void begins(void **state)
{
    (void)state;
    static const pq_ns delays[] = {15 * PQ_MS, 150 * PQ_MS, 500 * PQ_MS, 1250 * PQ_MS};
    for (size_t i = 0; i < 4; i++) {
        unsigned begun = 0;
        for (unsigned k = 0; k < 20; k++) {
            struct world_conf c = world_keyed(delays[i]);
            c.link[0].loss = c.link[1].loss = 400;
            for (int s = 0; s < 2; s++)
                c.hub[s].smux.timeout = 60 * PQ_SEC;
            struct world *w = world_new(&c, ut_seed("begins") + i * 100 + k);
            world_open(w, 100, 100);
            world_run(w, WORLD_T0 + 30 * PQ_SEC, world_transferred);
            begun += w->end[SERVER].secured == 1 && w->end[CLIENT].secured == 1;
            world_free(w);
        }
        assert_true(begun >= 19);
    }
}

/* ---- what the path does to the first datagrams */

static unsigned swallow; /* datagrams of the client after its keys that are lost */

static bool swallow_first(struct world *w, unsigned from, struct link_packet *k)
{
    (void)k;
    if (from != CLIENT || !w->end[CLIENT].secured || !swallow)
        return true;
    swallow--;
    return false;
}

static void first_datagram_is_lost(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 5; n++) {
        struct world_conf c = world_keyed(30 * PQ_MS);
        struct world *w = world_new(&c, ut_seed("first is lost"));
        w->tap = swallow_first;
        swallow = n;
        world_open(w, 1000, 1000);
        assert_true(world_run(w, WORLD_T0 + 9 * PQ_SEC, world_closed));
        world_check(w);
        world_free(w);
    }
}

/* ---- nobody answers */

static void nothing_from(struct world *w, const char *name)
{
    world_run(w, w->now + 20 * PQ_SEC, NULL);
    if (stats(w, SERVER)->tx_packets)
        fail_msg("%s: the server has answered", name);
    assert_int_equal(w->end[SERVER].proven, 0);
    assert_int_equal(w->end[SERVER].ended, 0);
    assert_int_equal(w->end[SERVER].hub->n_replies, 0);
    assert_int_equal(world_chunk_bytes(&w->end[SERVER]), 0);
}

static void strangers(void **state)
{
    (void)state;
    static const enum pq_drop why[] = {PQ_DROP_AUTH, PQ_DROP_USER, PQ_DROP_HANDSHAKE, PQ_DROP_AUTH};
    for (unsigned i = 0; i < 4; i++) {
        struct world_conf c = world_keyed(10 * PQ_MS);
        uint8_t other[32] = {9, 9}, other_public[32];
        pq_x25519_public(other, other_public);
        if (i == 0)
            c.hub[CLIENT].key[0] ^= 1; /* another K */
        if (i == 1)
            c.hub[CLIENT].own.secret = other; /* nobody's key */
        if (i == 2)
            c.server_public = other_public; /* another server */
        if (i == 3)
            c.server_public = NULL; /* the old wire, which is not served */
        struct world *w = world_new(&c, ut_seed("strangers") + i);
        world_open(w, 100, 0);
        nothing_from(w, "a stranger");
        assert_true(stats(w, SERVER)->drops[why[i]] > 0);
        w->sloppy = true;
        world_free(w);
    }
}

/* ---- recordings */

#define KEPT_MAX 3000

static struct {
    uint8_t *p[KEPT_MAX];
    size_t len[KEPT_MAX];
    unsigned from[KEPT_MAX];
    size_t n;
} kept;

static bool keep(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    if (kept.n < KEPT_MAX) {
        kept.p[kept.n] = ut_exact(k->p, k->len);
        kept.from[kept.n] = from;
        kept.len[kept.n++] = k->len;
    }
    return true;
}

static void forget(void)
{
    while (kept.n)
        free(kept.p[--kept.n]);
}

static struct world *recorded(struct world_conf *c, const char *name)
{
    struct world *w = world_new(c, ut_seed(name));
    w->tap = keep;
    world_open(w, 50000, 300000);
    assert_true(world_run(w, WORLD_T0 + 10 * PQ_SEC, world_closed));
    world_check(w);
    w->tap = NULL;
    assert_true(kept.n > 100);
    return w;
}

/* Throws everything that was recorded at the server: from where it came, and from elsewhere. */
static void throw_all(struct world *w, unsigned side)
{
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < kept.n; i++) {
            if (round) {
                pq_put_be16(kept.p[i] + 14 + 20, 50000);
                pq_put_be16(kept.p[i] + 14 + 22, kept.from[i] == CLIENT ? 9999 : 40000);
            }
            world_inject(w, side, kept.p[i], kept.len[i], 0);
            if (i % 50 == 0)
                world_run(w, w->now + 10 * PQ_MS, NULL);
        }
    }
}

/* To a server that was restarted and has kept the stamps; and to one that has kept nothing. */
static void after_restart(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct world_conf c = world_keyed(10 * PQ_MS);
        struct pq_stamps *stamps;
        assert_int_equal(pq_stamps_new(&stamps, (const uint8_t(*)[32])world_public[CLIENT], 1), 0);
        if (keeps)
            c.hub[SERVER].own.stamps = stamps;
        struct world *w = recorded(&c, "keys, after a restart");
        world_restart_server(w);
        pq_session_end(w->ses, PQ_ECLOSED);
        throw_all(w, SERVER);
        nothing_from(w, "a recording");
        assert_true(stats(w, SERVER)->drops[PQ_DROP_STAMP] > 0);
        /* and the client itself gets in */
        memset(w->half, 0, sizeof w->half);
        w->pairs = 0;
        world_connect(w, 41000);
        world_open(w, 1000, 1000);
        assert_true(world_run(w, w->now + 10 * PQ_SEC, world_closed));
        world_check(w);
        world_free(w);
        pq_stamps_free(&stamps);
        forget();
    }
}

/* To the living session, whose own datagrams they are: nothing is used twice. */
static void beside_a_living_one(void **state)
{
    (void)state;
    struct world_conf c = world_keyed(10 * PQ_MS);
    struct world *w = recorded(&c, "keys, beside a living session");
    const uint64_t sessions = stats(w, SERVER)->sessions;
    const uint64_t tx[2] = {stats(w, CLIENT)->tx_packets, stats(w, SERVER)->tx_packets};
    throw_all(w, SERVER);
    for (size_t i = 0; i < kept.n; i++)
        pq_put_be16(kept.p[i] + 14 + 20, kept.from[i] == CLIENT ? 40000 : 9999);
    throw_all(w, CLIENT);
    assert_int_equal(stats(w, SERVER)->sessions, sessions);
    assert_true(stats(w, SERVER)->drops[PQ_DROP_REPLAY] > 20);
    /* keepalives alone */
    assert_in_range(stats(w, SERVER)->tx_packets - tx[1], 0, 10);
    assert_in_range(stats(w, CLIENT)->tx_packets - tx[0], 0, 10);
    world_open(w, 1000, 1000);
    assert_true(world_run(w, w->now + 10 * PQ_SEC, world_closed));
    world_check(w);
    world_free(w);
    forget();
}

/* Who is between the ends sends each packet back to where it came from. */
static bool mirror(struct world *w, unsigned from, struct link_packet *k)
{
    uint8_t *p = ut_exact(k->p, k->len), t[4];
    memcpy(t, p + 14 + 12, 4); /* addresses and ports change places */
    memcpy(p + 14 + 12, p + 14 + 16, 4);
    memcpy(p + 14 + 16, t, 4);
    memcpy(t, p + 14 + 20, 2);
    memcpy(p + 14 + 20, p + 14 + 22, 2);
    memcpy(p + 14 + 22, t, 2);
    world_inject(w, from, p, k->len, 0);
    free(p);
    return true;
}

static void reflected(void **state)
{
    (void)state;
    struct world_conf c = world_keyed(10 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("keys, reflected"));
    w->tap = mirror;
    world_open(w, 50000, 300000);
    assert_true(world_run(w, WORLD_T0 + 10 * PQ_SEC, world_closed));
    world_check(w);
    assert_true(stats(w, CLIENT)->drops[PQ_DROP_AUTH] > 20);
    assert_true(stats(w, SERVER)->drops[PQ_DROP_AUTH] > 100);
    world_free(w);
}

/* ---- new keys */

/* Hours of a session that is used now and then: the keys change, and no byte is lost. */
static void renews(void **state)
{
    (void)state;
    for (unsigned loss = 0; loss <= 300; loss += 100) {
        struct world_conf c = world_keyed(40 * PQ_MS);
        c.link[0].loss = c.link[1].loss = loss;
        for (int i = 0; i < 2; i++)
            c.hub[i].smux.timeout = 60 * PQ_SEC;
        struct world *w = world_new(&c, ut_seed("renews"));
        struct half *h = world_open(w, 0, 0);
        unsigned changes = 0;
        uint32_t id = 0;
        for (unsigned minute = 0; minute < 300; minute++) {
            h->tx_len += 3000;
            half_feed(h);
            world_run(w, WORLD_T0 + (minute + 1) * (60 * PQ_SEC), NULL);
            assert_non_null(w->ses);
            changes += w->ses->sec->cur.rx_id != id;
            id = w->ses->sec->cur.rx_id;
            assert_int_equal(w->half[SERVER][0].rx_at, h->tx_len);
            if (w->ses->sec->old.tx || served(w)->sec->old.tx) /* just now */
                world_run(w, w->now + 20 * PQ_SEC, NULL);
            assert_null(w->ses->sec->old.tx); /* wiped */
            assert_null(served(w)->sec->old.tx);
        }
        assert_in_range(changes, 4, 120); /* new ids follow each move, too */
        assert_int_equal(stats(w, SERVER)->sessions, 1);
        assert_int_equal(w->end[CLIENT].ended, 0);
        half_close(h, false);
        world_run(w, w->now + PQ_SEC, NULL);
        w->sloppy = true;
        world_free(w);
    }
}

static bool asks(const struct world *w)
{
    return w->ses->ask;
}

/* While much is on its way, and the server's first datagram under the new keys overtakes others. */
static void renews_under_way(void **state)
{
    (void)state;
    struct world_conf c = world_keyed(20 * PQ_MS);
    for (int i = 0; i < 2; i++) {
        c.link[i].rate = 2000000;
        c.link[i].queue = 200000;
        c.link[i].loss = 20;
        c.link[i].reorder = 50;
        c.link[i].reorder_by = 15 * PQ_MS;
    }
    struct world *w = world_new(&c, ut_seed("renews under way"));
    world_open(w, 5000000, 20000000);
    for (unsigned i = 0; i < 8; i++) {
        world_run(w, w->now + PQ_SEC, NULL);
        w->ses->sec->renew_at = w->now; /* or when something has come under the last new keys */
        assert_true(world_run(w, w->now + PQ_SEC, asks));
    }
    assert_true(world_run(w, w->now + 60 * PQ_SEC, world_closed));
    world_check(w);
    assert_null(w->ses->ask);
    world_free(w);
}

/* ---- upgrade of a session of the old wire [12.5] */

static bool probed; /* the server's half of what serve.c does */

static bool answer_probe(struct world *w, struct pq_stream *st)
{
    if (pq_session_secure(pq_stream_session(st))) {
        w->end[SERVER].streams = 1; /* the stream that was carried over comes again */
        w->half[SERVER][1].ends = 0;
        return false;
    }
    (void)pq_stream_own_abilities(st);
    pq_stream_set_abilities(st, PQ_ABLE_ALL);
    probed = true;
    return false; /* a stream of the world */
}

/* Both sides know each other's abilities, as after PING and PONG. */
static struct world *old_pair(const struct world_conf *c, const char *name)
{
    struct world *w = world_new(c, ut_seed(name));
    w->take = answer_probe;
    probed = false;
    struct half *h = world_open(w, 10, 10);
    (void)pq_stream_own_abilities(h->st);
    pq_stream_set_abilities(h->st, PQ_ABLE_ALL);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
    assert_true(probed);
    return w;
}

static struct world_conf upgradable(pq_ns delay, enum pq_cipher cipher)
{
    struct world_conf c = world_keyed(delay);
    c.server_public = NULL;
    c.hub[SERVER].own.required = false;
    c.hub[SERVER].own.secret = NULL;
    c.hub[SERVER].own.n = 0;
    c.hub[CLIENT].cipher = c.hub[SERVER].cipher = cipher;
    return c;
}

static bool client_secured(const struct world *w)
{
    return w->end[CLIENT].secured;
}

static void upgrades(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct world_conf c =
            upgradable(i * (60 * PQ_MS) + PQ_MS, i % 2 ? PQ_CIPHER_AES : PQ_CIPHER_AES_128_GCM);
        c.link[0].loss = c.link[1].loss = i * 50;
        struct world *w = old_pair(&c, "upgrades");
        assert_int_equal(w->end[SERVER].proven, 1);
        assert_int_equal(pq_session_upgrade(w->ses, w->now), 0);
        struct half *h = world_open(w, 100000, 0);
        pq_stream_cork(h->st); /* as long as there are no keys */
        assert_true(world_run(w, w->now + 60 * PQ_SEC, client_secured));
        pq_stream_uncork(h->st, NULL);
        assert_true(world_run(w, w->now + 60 * PQ_SEC, world_transferred));
        assert_int_equal(h->ends, 0);
        assert_int_equal(w->end[CLIENT].secured, 1);
        assert_int_equal(w->end[SERVER].secured, 1);
        assert_true(pq_session_secure(served(w)));
        assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 1); /* the old one is over */
        assert_int_equal(pq_session_who(served(w)), PQ_NOBODY);
        w->sloppy = true;
        world_free(w);
    }
}

/* What was recorded of the old wire, thrown at both ends of a session that has keys by now. */
static void old_wire_is_over(void **state)
{
    (void)state;
    struct world_conf c = upgradable(10 * PQ_MS, PQ_CIPHER_AES);
    for (int i = 0; i < 2; i++)
        c.hub[i].smux.keepalive = c.hub[i].smux.timeout; /* no NOP in the half second at the end */
    struct world *w = world_new(&c, ut_seed("old wire is over"));
    w->take = answer_probe;
    w->tap = keep;
    struct half *h = world_open(w, 10, 10);
    (void)pq_stream_own_abilities(h->st);
    pq_stream_set_abilities(h->st, PQ_ABLE_ALL);
    world_run(w, w->now + 2 * PQ_SEC, world_closed);
    const size_t old = kept.n;
    assert_int_equal(pq_session_upgrade(w->ses, w->now), 0);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->end[SERVER].secured, 1);
    w->tap = NULL;
    const uint64_t drops = world_drops(&w->end[SERVER]), tx = stats(w, SERVER)->tx_packets;
    const uint64_t auth = stats(w, CLIENT)->drops[PQ_DROP_AUTH];
    unsigned thrown[2] = {0, 0};
    for (size_t i = 0; i < old; i++) {
        world_inject(w, !kept.from[i], kept.p[i], kept.len[i], 0);
        thrown[!kept.from[i]]++;
    }
    assert_int_equal(stats(w, CLIENT)->drops[PQ_DROP_AUTH] - auth, thrown[CLIENT]);
    assert_int_equal(world_drops(&w->end[SERVER]) - drops, thrown[SERVER]);
    world_run(w, w->now + 500 * PQ_MS, NULL);
    assert_int_equal(stats(w, SERVER)->tx_packets, tx);
    assert_int_equal(stats(w, SERVER)->sessions, 2);
    assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 1);
    w->sloppy = true;
    world_free(w);
    forget();
}

/* Whose server has no wire of our own, or will not have it, stays where he is. */
static void no_upgrade(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct world_conf c = upgradable(10 * PQ_MS, PQ_CIPHER_AES);
        c.hub[i].own.no_upgrade = true;
        struct world *w = old_pair(&c, "no upgrade");
        if (i == CLIENT) {
            assert_int_equal(pq_session_upgrade(w->ses, w->now), PQ_ENOTSUP);
        } else { /* the client was told a lie */
            assert_int_equal(pq_session_upgrade(w->ses, w->now), 0);
            world_run(w, w->now + 3 * PQ_SEC, NULL);
            assert_true(stats(w, SERVER)->drops[PQ_DROP_HANDSHAKE] > 0);
        }
        assert_int_equal(w->end[SERVER].secured, 0);
        w->sloppy = true;
        world_free(w);
    }
}

/* ---- bounds */

/* A user who asks from many ports, and never goes on: so many wait, and they go. */
static void flood(void **state)
{
    (void)state;
    struct world_conf c = world_keyed(10 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("keys, flood"));
    struct pq_hub *h = w->end[SERVER].hub;
    size_t most = 0;
    uint64_t rx = 0;
    const unsigned asks = ut_slow() ? 1000 : 3000;
    for (unsigned i = 0; i < asks; i++) {
        struct pq_shake *sh;
        const struct pq_shake_conf sc = {.client = true,
                                         .key = c.hub[CLIENT].key,
                                         .own_secret = world_secret[CLIENT],
                                         .rng = &w->end[CLIENT].rng};
        const struct pq_shake_context about = {.kind = PQ_KIND_KEYS,
                                               .server_public = world_public[SERVER]};
        const struct pq_said said = {.ciphers = 3,
                                     .id = 1 + i,
                                     .stamp = WORLD_WALL + w->now / PQ_MS + 1,
                                     .instance = i / 3,
                                     .abilities = PQ_ABLE_ALL};
        struct pq_noise n;
        uint8_t buf[PQ_SLOT_SIZE];
        struct pq_slot slot = {.buf = buf, .off = PQ_SLOT_HEAD};
        struct pq_buf out = {buf + slot.off, 1350, 0};
        assert_int_equal(pq_shake_new(&sh, &sc), 0);
        assert_int_equal(pq_shake_ask(sh, &n, &about, &said, &out), 0);
        slot.len = (uint16_t)out.len;
        struct pq_flow f;
        struct pq_flow_conf fc = {
            .local = w->end[CLIENT].addr, .peer = w->end[SERVER].addr, .link_len = 14};
        fc.local.port = (uint16_t)(1000 + i);
        pq_flow_init(&f, &fc);
        pq_flow_craft(&f, &slot, false, w->now);
        world_inject(w, SERVER, buf + slot.off, slot.len, 0);
        rx += slot.len - 14U;
        world_run(w, w->now + 3 * PQ_MS, NULL);
        most = h->n_replies > most ? h->n_replies : most;
        assert_true(stats(w, SERVER)->tx_bytes + stats(w, SERVER)->tx_packets * 52 <= rx);
        pq_shake_free(&sh);
    }
    assert_int_equal(most, 32);
    assert_true(stats(w, SERVER)->drops[PQ_DROP_RATE] > asks / 3);
    assert_in_range(stats(w, SERVER)->tx_packets, asks / 50, 1200);
    world_run(w, w->now + 15 * PQ_SEC, NULL);
    assert_int_equal(h->n_replies, 0);
    w->sloppy = true;
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers),
        cmocka_unit_test(begins),
        cmocka_unit_test(first_datagram_is_lost),
        cmocka_unit_test(strangers),
        cmocka_unit_test(after_restart),
        cmocka_unit_test(beside_a_living_one),
        cmocka_unit_test(reflected),
        cmocka_unit_test(renews),
        cmocka_unit_test(renews_under_way),
        cmocka_unit_test(upgrades),
        cmocka_unit_test(old_wire_is_over),
        cmocka_unit_test(no_upgrade),
        cmocka_unit_test(flood),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
