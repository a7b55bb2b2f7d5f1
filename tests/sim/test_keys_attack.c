/* SPDX-License-Identifier: MIT */
/* test_keys_attack.c - what once kept somebody out of our own wire, or might: recordings that use
 * up what is computed, answers that are spoiled, a disk that hangs, sessions without end [12]. */
#include "header/header.h"
#include "smux/smux_internal.h"
#include "tunnel/stamps.h"
#include "tunnel/tunnel_internal.h"
#include "world.h"

static struct link_packet *kept[2]; /* the first frame of each end */

static bool keep_first(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    if (!kept[from])
        kept[from] = link_packet_new(k->p, k->len);
    return true;
}

static void forget(void)
{
    for (int i = 0; i < 2; i++) {
        if (kept[i])
            link_packet_free(kept[i]);
        kept[i] = NULL;
    }
}

/* A session from its start, recorded and over; the client's next one has not begun yet. */
static struct world *after_one(const char *name, unsigned sessions)
{
    const struct world_conf c = world_keyed(10 * PQ_MS);
    struct world *w = world_new(&c, ut_seed(name));
    for (unsigned i = 0; i < sessions; i++) {
        forget();
        if (i)
            world_connect(w, (uint16_t)(40500 + i));
        w->tap = keep_first;
        world_run(w, w->now + PQ_SEC, NULL);
        w->tap = NULL;
        pq_session_end(w->ses, PQ_ECLOSED);
        world_run(w, w->now + 2 * PQ_SEC, NULL);
    }
    w->end[CLIENT].secured = 0;
    return w;
}

/* One recorded first message, from ever other addresses, 200 times a second. */
static void recording_uses_up_nothing(void **state)
{
    (void)state;
    struct world *w = after_one("uses up nothing", 1);
    for (unsigned i = 0; i < 1000; i++) {
        if (i == 400)
            world_connect(w, 41000);
        pq_put_be32(kept[CLIENT]->p + 14 + 12, 0x0b000000U + i * 7919);
        world_inject(w, SERVER, kept[CLIENT]->p, kept[CLIENT]->len, 0);
        world_run(w, w->now + 5 * PQ_MS, NULL);
    }
    assert_int_equal(w->end[CLIENT].secured, 1);
    assert_int_equal(pq_hub_stats(w->end[SERVER].hub)->drops[PQ_DROP_RATE], 0);
    w->sloppy = true;
    world_free(w);
    forget();
}

static bool spoil(struct world *w, unsigned from, struct link_packet *k)
{
    (void)k;
    for (int i = 0; i < 32 && from == CLIENT && w->ses && w->ses->ask; i++)
        world_inject(w, CLIENT, kept[SERVER]->p, kept[SERVER]->len, 0);
    return true;
}

/* One recorded answer, 32 times after each message of the client. */
static void answers_are_spoiled(void **state)
{
    (void)state;
    struct world *w = after_one("answers are spoiled", 2);
    pq_put_be16(kept[SERVER]->p + 14 + 22, 41000);
    w->tap = spoil;
    world_connect(w, 41000);
    world_run(w, w->now + 2 * PQ_SEC, NULL);
    assert_int_equal(w->end[CLIENT].secured, 1);
    w->sloppy = true;
    world_free(w);
    forget();
}

static void never(void *ctx)
{
    (void)ctx;
}

static bool say_able(struct world *w, struct pq_stream *st)
{
    (void)w;
    (void)pq_stream_own_abilities(st);
    pq_stream_set_abilities(st, PQ_ABLE_ALL);
    return false;
}

/* An answer that waits for the disk holds up no other. */
static void disk_is_full(void **state)
{
    (void)state;
    struct world_conf c = world_keyed(10 * PQ_MS);
    struct pq_stamps *stamps;
    assert_int_equal(pq_stamps_new(&stamps, (const uint8_t(*)[32])world_public[CLIENT], 1), 0);
    pq_stamps_keep(stamps, never, NULL);
    c.server_public = NULL;
    c.hub[SERVER].own.required = false;
    c.hub[SERVER].own.stamps = stamps;
    struct world *w = world_new(&c, ut_seed("disk is full"));
    struct pq_session *old = w->ses;
    w->take = say_able;
    struct half *h = world_open(w, 10, 10);
    (void)pq_stream_own_abilities(h->st);
    pq_stream_set_abilities(h->st, PQ_ABLE_ALL);
    assert_true(world_run(w, w->now + 20 * PQ_SEC, world_closed));
    w->server_public = world_public[SERVER];
    world_connect(w, 41000); /* with keys: waits */
    world_run(w, w->now + 300 * PQ_MS, NULL);
    assert_int_equal(pq_session_upgrade(old, w->now), 0);
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(w->end[CLIENT].secured, 1);
    assert_true(pq_session_secure(old));
    w->sloppy = true;
    world_free(w);
    pq_stamps_free(&stamps);
}

/* A disk on which something is safe only so much later. */
struct disk {
    struct pq_stamps *stamps;
    pq_ns late;
    size_t n, safe;
    struct {
        uint64_t ticket;
        pq_ns at;
    } taken[8192];
};

static void run_with_disk(struct world *w, struct disk *d, pq_ns until)
{
    while (w->now < until) {
        char text[8192];
        FILE *f = fmemopen(text, sizeof text, "w");
        assert_non_null(f);
        assert_true(d->n < sizeof d->taken / sizeof d->taken[0]);
        assert_true(pq_stamps_write(d->stamps, f, &d->taken[d->n].ticket));
        fclose(f);
        d->taken[d->n++].at = w->now + d->late;
        for (; d->safe < d->n && d->taken[d->safe].at <= w->now; d->safe++)
            pq_stamps_note_kept(d->stamps, d->taken[d->safe].ticket);
        world_run(w, w->now + 5 * PQ_MS, NULL);
    }
}

/* Many sessions of one user, as his client begins them, while the disk is slow: whoever gets an
 * answer is known to the server afterwards. */
static void disk_is_slow(void **state)
{
    (void)state;
    static const pq_ns late[] = {50 * PQ_MS, 300 * PQ_MS, 550 * PQ_MS, 3 * PQ_SEC};
    for (unsigned k = 0; k < sizeof late / sizeof late[0]; k++) {
        struct world_conf c = world_keyed(20 * PQ_MS);
        struct disk d = {.late = late[k]};
        assert_int_equal(pq_stamps_new(&d.stamps, (const uint8_t(*)[32])world_public[CLIENT], 1),
                         0);
        pq_stamps_keep(d.stamps, never, NULL);
        c.hub[SERVER].own.stamps = d.stamps;
        struct world *w = world_new(&c, ut_seed("disk is slow"));
        const unsigned at_once = k < 3 ? 40 : 8; /* else more are under way than are kept */
        for (unsigned i = 1; i < 40; i++) {
            do
                run_with_disk(w, &d, i < 8 ? 0 : w->now + 30 * PQ_MS);
            while (i >= w->end[CLIENT].secured + at_once);
            world_connect(w, (uint16_t)(40000 + i));
        }
        run_with_disk(w, &d, w->now + 2 * d.late + 4 * PQ_SEC);
        assert_int_equal(w->end[CLIENT].secured, 40);
        assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 40);
        w->sloppy = true;
        world_free(w);
        pq_stamps_free(&d.stamps);
    }
}

/* A user who opens session after session on one tuple has eight. */
static void many_on_a_tuple(void **state)
{
    (void)state;
    const struct world_conf c = world_keyed(PQ_MS);
    struct world *w = world_new(&c, ut_seed("many on a tuple"));
    for (unsigned i = 0; i < 30; i++) {
        world_run(w, w->now + 110 * PQ_MS, NULL);
        world_connect(w, 40000);
    }
    world_run(w, w->now + PQ_SEC, NULL);
    assert_int_equal(pq_hub_sessions(w->end[SERVER].hub), 8);
    w->sloppy = true;
    world_free(w);
}

/* Streams do not wait for each other, from the first datagram on [8.10]. */
static void frames_at_once(void **state)
{
    (void)state;
    const struct world_conf c = world_keyed(10 * PQ_MS);
    struct world *w = world_new(&c, ut_seed("frames at once"));
    world_run(w, w->now + PQ_SEC, NULL);
    struct pq_hub *h = w->end[SERVER].hub;
    assert_true(w->ses->smux->framed > 0);
    assert_true(PQ_OF(h->sessions.next, struct pq_session, node)->smux->framed > 0);
    world_free(w);
}

static size_t longest;

static bool measure(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    (void)from;
    longest = k->len > longest ? k->len : longest;
    return true;
}

/* No message is longer than the mtu. */
static void small_mtu(void **state)
{
    (void)state;
    struct world_conf c = world_keyed(10 * PQ_MS);
    c.hub[0].mtu = c.hub[1].mtu = PQ_OWN_MTU_MIN;
    struct world *w = world_new(&c, ut_seed("small mtu"));
    w->tap = measure;
    for (int i = 0; i < 20; i++) {
        world_run(w, w->now + PQ_SEC, NULL);
        w->ses->sec->renew_at = w->now;
        pq_secure_tick(w->ses, w->now);
    }
    assert_in_range(longest, 14 + 52 + 300, 14 + 52 + PQ_OWN_MTU_MIN);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recording_uses_up_nothing),
        cmocka_unit_test(answers_are_spoiled),
        cmocka_unit_test(disk_is_full),
        cmocka_unit_test(disk_is_slow),
        cmocka_unit_test(many_on_a_tuple),
        cmocka_unit_test(frames_at_once),
        cmocka_unit_test(small_mtu),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("keys attack", tests, NULL, NULL);
}
