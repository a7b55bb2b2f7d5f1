/* SPDX-License-Identifier: MIT */
/* test_quic_keys.c - keys of servers and users over QUIC, and what somebody does without them who
 * has the common key, recordings, or keys of another [13.7]. */
#include "quic_ends.h"
#include "tunnel/tunnel_internal.h"

static void expect_nothing(struct world *w, const char *who)
{
    world_run(w, w->now + 15 * PQ_SEC, NULL);
    if (quic_ends_stats(w)->tx_packets)
        fail_msg("%s: the server has answered", who);
    assert_int_equal(w->end[SERVER].proven, 0);
    assert_int_equal(pq_quic_count(w->end[SERVER].hub->quic), 0);
    assert_int_equal(pq_hub_half_open(w->end[SERVER].hub), 0);
    assert_int_equal(world_chunk_bytes(&w->end[SERVER]), 0);
}

/* ---- users */

static void carries(void **state)
{
    (void)state;
    static const struct {
        pq_ns delay;
        unsigned loss;
    } paths[] = {{PQ_MS, 0}, {20 * PQ_MS, 50}, {150 * PQ_MS, 20}, {400 * PQ_MS, 0}};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct world_conf c = quic_ends(paths[i].delay);
        c.link[0].loss = c.link[1].loss = paths[i].loss;
        struct world *w = quic_ends_new(&c, ut_seed("quic keys") + i);
        world_open(w, 300000, 2000000);
        assert_true(world_run(w, WORLD_T0 + 60 * PQ_SEC, world_transferred));
        assert_int_equal(w->end[SERVER].proven, 1);
        assert_int_equal(pq_session_who(quic_ends_served(w)), 0);
        assert_memory_equal(quic_ends_served(w)->client, world_public[CLIENT], 32);
        assert_memory_equal(quic_ends_served(w)->share->key, world_public[CLIENT], 32);
        world_free(w);
    }
}

static void each_by_his_number(void **state)
{
    (void)state;
    struct world_conf c = quic_ends(10 * PQ_MS);
    uint8_t users[3][32] = {{1}, {2}};
    memcpy(users[2], world_public[CLIENT], 32);
    c.hub[SERVER].own.users = (const uint8_t(*)[32])users;
    c.hub[SERVER].own.n = 3;
    struct world *w = quic_ends_new(&c, ut_seed("number"));
    world_open(w, 1000, 1000);
    assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_transferred));
    assert_int_equal(pq_session_who(quic_ends_served(w)), 2);
    world_free(w);
}

/* Where no users are named all keys are one; the client's is new at each start. */
static void all_are_one(void **state)
{
    (void)state;
    struct world_conf c = quic_ends(10 * PQ_MS);
    c.hub[SERVER].own.n = 0;
    c.hub[CLIENT].own.secret = quic_other;
    struct world *w = quic_ends_new(&c, ut_seed("one"));
    world_open(w, 1000, 1000);
    assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_transferred));
    assert_int_equal(pq_session_who(quic_ends_served(w)), 0);
    assert_memory_equal(quic_ends_served(w)->client, quic_other_public, 32);
    world_free(w);
}

/* Where keys are not required the common one lets in, and makes nobody a user. */
static void beside_the_common_key(void **state)
{
    (void)state;
    struct world_conf c = quic_ends(10 * PQ_MS);
    c.hub[SERVER].own.required = false;
    c.server_public = NULL;
    struct world *w = quic_ends_new(&c, ut_seed("beside"));
    world_open(w, 1000, 1000);
    assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_transferred));
    assert_int_equal(pq_session_who(quic_ends_served(w)), PQ_NOBODY);
    assert_false(pq_session_revoked(quic_ends_served(w), NULL, 0));
    world_free(w);
}

static void revoked(void **state)
{
    (void)state;
    struct world_conf c = quic_ends(10 * PQ_MS);
    struct world *w = quic_ends_new(&c, ut_seed("revoked"));
    struct pq_hub *h = w->end[SERVER].hub;
    world_open(w, 1000, 1000)->keep_open = true;
    assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_transferred));
    assert_false(pq_session_revoked(quic_ends_served(w), c.hub[SERVER].own.users, 1));
    assert_true(
        pq_session_revoked(quic_ends_served(w), (const uint8_t(*)[32])quic_other_public, 1));
    pq_hub_set_users(h, (const uint8_t(*)[32])quic_other_public, 1);
    pq_session_end(quic_ends_served(w), PQ_EREVOKED);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->end[SERVER].ended_err, PQ_EREVOKED);
    assert_int_equal(w->end[CLIENT].ended, 1); /* it was told */
    const uint64_t sent = quic_ends_stats(w)->tx_packets;
    world_connect(w, 40001);
    world_run(w, w->now + 15 * PQ_SEC, NULL);
    assert_int_equal(quic_ends_stats(w)->tx_packets, sent);
    assert_int_equal(w->end[SERVER].proven, 1);
    world_free(w);
}

/* ---- others */

static void nobody(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        static const char *const who[] = {"another common key", "no user", "another server's key",
                                          "the common key alone", "a server without keys"};
        struct world_conf c = quic_ends(10 * PQ_MS);
        if (i == 0)
            c.hub[CLIENT].key[0] ^= 1;
        else if (i == 1)
            c.hub[CLIENT].own.secret = quic_other;
        else if (i == 2)
            c.server_public = quic_other_public;
        else if (i == 3)
            c.server_public = NULL;
        else
            c.hub[SERVER].own.secret = NULL;
        struct world *w = quic_ends_new(&c, ut_seed("nobody") + i);
        expect_nothing(w, who[i]);
        world_free(w);
    }
}

/* What a client says [13.7], made here once more; and the client's connection says so. */
struct message {
    uint8_t first[PQ_QUIC_FIRST_LEN], version;
    uint64_t stamp;
    const uint8_t *secret, *server;
    size_t more; /* bytes behind the stamp */
    uint8_t p[256], psk[32];
    size_t n;
};

static void write_message(struct message *m)
{
    static const uint8_t ephemeral[32] = {5, 5, 5};
    uint8_t prk[32], psk[32], prologue[12 + PQ_QUIC_FIRST_LEN] = "paqet quic 1", pub[32], said[64];
    uint8_t known[64];
    struct pq_noise n;
    const struct world_conf c = world_conf(0);
    memcpy(prologue + 12, m->first, sizeof m->first);
    assert_int_equal(pq_x25519_public(m->secret, pub), 0);
    assert_int_equal(
        pq_hkdf_extract((struct pq_view){prologue, 12}, (struct pq_view){c.hub[0].key, 32}, prk),
        0);
    assert_int_equal(pq_hkdf_label(prk, "keys", psk, 32), 0);
    const struct pq_noise_conf nc = {.pattern = PQ_NOISE_IKPSK2,
                                     .initiator = true,
                                     .prologue = {prologue, sizeof prologue},
                                     .psk = psk,
                                     .own_secret = m->secret,
                                     .own_public = pub,
                                     .remote_public = m->server};
    assert_int_equal(pq_noise_init(&n, &nc), 0);
    memset(said, 0, sizeof said);
    said[0] = m->version;
    for (unsigned i = 0; i < 8; i++)
        said[1 + i] = (uint8_t)(m->stamp >> 8 * i);
    assert_int_equal(pq_noise_write(&n, ephemeral, (struct pq_view){said, 9 + m->more}, m->p,
                                    sizeof m->p, &m->n),
                     0);
    memcpy(known, n.ck, 32);
    memcpy(known + 32, n.h, 32);
    assert_int_equal(pq_hkdf_extract((struct pq_view){psk, 32}, (struct pq_view){known, 64}, prk),
                     0);
    assert_int_equal(pq_hkdf_label(prk, "tls psk", m->psk, 32), 0);
    pq_noise_wipe(&n);
}

static struct message message(const struct world *w)
{
    return (struct message){.version = 1,
                            .stamp = WORLD_WALL + w->now / PQ_MS,
                            .secret = world_secret[CLIENT],
                            .server = world_public[SERVER]};
}

/* The client's session begins with this message; its first id may be another than said there. */
static void connect_with(struct world *w, const struct message *m, const uint8_t *first)
{
    struct pq_session *s = w->ses;
    const struct pq_quic_path path = {s->local, s->peer};
    const struct pq_quic_peer who = {.identity = {m->p, m->n}, .psk = m->psk, .first = first};
    pq_quic_free(&s->quic);
    assert_int_equal(pq_quic_connect(&s->quic, s->hub->quic, &path, &who, s, w->now), 0);
}

static void bytes_are_as_specified(void **state)
{
    (void)state;
    struct world_conf c = quic_ends(10 * PQ_MS);
    struct world *w = quic_ends_new(&c, ut_seed("bytes"));
    struct message m = message(w);
    write_message(&m);
    assert_int_equal(m.n, 105);
    connect_with(w, &m, m.first);
    world_open(w, 1000, 1000);
    assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_transferred));
    world_free(w);
}

/* Even who knew all secrets that belong to it cannot use what was said once for anything else. */
static void messages_that_are_refused(void **state)
{
    (void)state;
    static const uint8_t another[PQ_QUIC_FIRST_LEN] = {1};
    for (unsigned i = 0; i < 7; i++) {
        static const char *const what[] = {
            "said for another first id", "late",   "early",  "older than the server",
            "another version",           "longer", "changed"};
        struct world_conf c = quic_ends(10 * PQ_MS);
        struct world *w = quic_ends_new(&c, ut_seed("refused") + i);
        quic_ends_restart(w, 300000);
        struct message m = message(w);
        m.stamp += i == 2 ? 121000 : 0;
        m.stamp -= i == 1 ? 120001 : i == 3 ? 1000 : 0;
        m.version = i == 4 ? 2 : 1;
        m.more = i == 5;
        write_message(&m);
        m.p[i == 6 ? 40 : 255] ^= 1;
        if (i == 3)
            quic_ends_restart(w, 1000);
        connect_with(w, &m, i == 0 ? another : m.first);
        world_run(w, w->now + 3 * PQ_SEC, NULL);
        if (quic_ends_stats(w)->tx_packets)
            fail_msg("%s: the server has answered", what[i]);
        assert_int_equal(quic_ends_stats(w)->drops[PQ_DROP_HANDSHAKE], 1);
        world_free(w);
    }
}

static void recordings(void **state)
{
    (void)state;
    static const struct {
        unsigned seconds;
        bool anew, restart;
        enum pq_drop why;
    } how[] = {{1, false, false, PQ_DROP_REPLAY},    {1, true, false, PQ_DROP_REPLAY},
               {60, true, false, PQ_DROP_REPLAY},    {500, false, false, PQ_DROP_STAMP},
               {1, false, true, PQ_DROP_STAMP},      {1, true, true, PQ_DROP_HANDSHAKE},
               {500, true, true, PQ_DROP_HANDSHAKE}, {500, true, false, PQ_DROP_REPLAY}};
    for (size_t i = 0; i < COUNT_OF(how); i++) {
        struct world_conf c = quic_ends(10 * PQ_MS);
        struct quic_recording r = {.len = 0};
        struct world *w = quic_ends_new(&c, ut_seed("recordings"));
        w->tap = quic_record;
        w->tap_ctx = &r;
        world_open(w, 1000, 1000);
        assert_true(world_run(w, WORLD_T0 + 5 * PQ_SEC, world_transferred));
        w->tap = NULL;
        pq_session_end(w->ses, 0);
        world_run(w, w->now + how[i].seconds * PQ_SEC, NULL);
        if (how[i].restart)
            quic_ends_restart(w, 10);
        if (how[i].anew)
            quic_seal_anew(w, &r);
        const uint64_t sent = quic_ends_stats(w)->tx_packets;
        world_inject(w, SERVER, r.frame, r.len, 0);
        world_run(w, w->now + 5 * PQ_SEC, NULL);
        assert_int_equal(quic_ends_stats(w)->tx_packets, sent);
        assert_int_equal(quic_ends_stats(w)->drops[how[i].why], 1);
        assert_int_equal(pq_quic_count(w->end[SERVER].hub->quic), 0);
        world_free(w);
    }
}

/* ---- how much of it is computed */

static void many_at_once(void **state)
{
    (void)state;
    struct world_conf c = quic_ends(PQ_MS);
    c.server_public = NULL; /* the common key alone, from one address: each is refused, but costs */
    struct world *w = quic_ends_new(&c, ut_seed("many"));
    for (uint16_t i = 1; i < 300; i++)
        world_connect(w, (uint16_t)(40000 + i));
    world_run(w, w->now + 100 * PQ_MS, NULL);
    const uint64_t *drops = quic_ends_stats(w)->drops;
    const uint64_t computed = drops[PQ_DROP_HANDSHAKE];
    assert_in_range(computed, 40, 60);
    assert_int_equal(computed + drops[PQ_DROP_RATE], 300);
    assert_int_equal(drops[PQ_DROP_REPLAY], 0);
    /* what came too early comes again, and is not taken for a recording */
    world_run(w, w->now + 3 * PQ_SEC, NULL);
    assert_true(drops[PQ_DROP_HANDSHAKE] > 2 * computed);
    assert_true(drops[PQ_DROP_HANDSHAKE] < 450);
    assert_int_equal(quic_ends_stats(w)->tx_packets, 0);
    world_free(w);
}

/* One fills the server with sessions; another one gets as many, and what they hold is his. */
static void shared_by_user(void **state)
{
    (void)state;
    struct world_conf c = quic_ends(10 * PQ_MS);
    uint8_t both[2][32];
    memcpy(both[0], world_public[CLIENT], sizeof both[0]);
    memcpy(both[1], quic_other_public, sizeof both[1]);
    c.hub[SERVER].own.users = (const uint8_t(*)[32])both;
    c.hub[SERVER].own.n = 2;
    c.hub[SERVER].max_sessions = 4;
    struct world *w = quic_ends_new(&c, ut_seed("shared by user"));
    struct pq_hub *server = w->end[SERVER].hub, *client = w->end[CLIENT].hub;
    for (uint16_t i = 0; i < 8; i++) {
        if (i == 5) { /* from now on it is the other one */
            memcpy(client->quic_own.secret, quic_other, sizeof quic_other);
            memcpy(client->quic_own.pub, quic_other_public, sizeof quic_other_public);
        }
        world_connect(w, (uint16_t)(40500 + i));
        world_run(w, w->now + PQ_SEC, NULL);
    }
    unsigned n[2] = {0};
    assert_int_equal(pq_hub_sessions(server), 4);
    for (struct pq_list *i = server->sessions.next; i != &server->sessions; i = i->next) {
        const struct pq_session *s = PQ_OF(i, struct pq_session, node);
        assert_memory_equal(s->share->key, s->client, sizeof s->client);
        n[memcmp(s->client, quic_other_public, sizeof quic_other_public) == 0]++;
    }
    assert_int_equal(n[0], 2);
    assert_int_equal(n[1], 2);
    w->sloppy = true;
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries),
        cmocka_unit_test(each_by_his_number),
        cmocka_unit_test(all_are_one),
        cmocka_unit_test(beside_the_common_key),
        cmocka_unit_test(revoked),
        cmocka_unit_test(nobody),
        cmocka_unit_test(bytes_are_as_specified),
        cmocka_unit_test(messages_that_are_refused),
        cmocka_unit_test(recordings),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(shared_by_user),
    };
    return cmocka_run_group_tests_name("quic keys", tests, NULL, NULL);
}
