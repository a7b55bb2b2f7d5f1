/* SPDX-License-Identifier: MIT */
/* test_connect_first.c - the first payloads of connections and the rule by which some firewalls
 * know what is encrypted from its first byte on, as published (Wu et al., "How the Great Firewall
 * of China Detects and Blocks Fully Encrypted Traffic", USENIX Security 2023) [12.9]. */
#include "tunnel/tunnel_internal.h"
#include "world.h"

#define TCP      (14 + 20)
#define TUPLES   1000
#define SESSIONS 250 /* each of which moves three times */

static bool is_printable(uint8_t c)
{
    return c >= 0x20 && c <= 0x7e;
}

static bool is_known_protocol(const uint8_t *p, size_t n)
{
    static const char *const heads[] = {"GET ", "PUT ", "POST", "HEAD"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        if (n >= 4 && memcmp(p, heads[i], 4) == 0)
            return true;
    return n > 2 && (p[0] == 0x16 || p[0] == 0x17) && p[1] == 3 && p[2] <= 9;
}

/* Whether it is none of what the rule leaves alone. */
static bool rule_fires(const uint8_t *p, size_t n)
{
    size_t ones = 0, printable = 0, run = 0, longest = 0, first = 0;
    for (size_t i = 0; i < n; i++) {
        ones += (size_t)__builtin_popcount(p[i]);
        printable += is_printable(p[i]);
        run = is_printable(p[i]) ? run + 1 : 0;
        longest = run > longest ? run : longest;
        first += first == i && is_printable(p[i]);
    }
    const double mean = (double)ones / (double)n;
    return mean > 3.4 && mean < 4.6 && first < 6 && 2 * printable <= n && longest <= 20 &&
           !is_known_protocol(p, n);
}

static struct {
    bool seen[2][65536]; /* by direction, and the client's port */
    unsigned tuples[2], fired[2];
} watched;

static bool watch(struct world *w, unsigned from, struct link_packet *k)
{
    (void)w;
    const uint8_t *t = k->p + TCP;
    const size_t head = TCP + (size_t)(t[12] >> 4) * 4;
    bool *seen = &watched.seen[from][pq_be16(from == CLIENT ? t : t + 2)];
    if (k->len == head || *seen)
        return true;
    *seen = true;
    watched.tuples[from]++;
    watched.fired[from] += rule_fires(k->p + head, k->len - head);
    return true;
}

static bool is_secured(const struct world *w)
{
    return w->ses && pq_session_secure(w->ses);
}

static bool has_moved(const struct world *w)
{
    return w->end[CLIENT].moved == w->end[CLIENT].moves;
}

static void begin_and_move(struct world *w, uint16_t port)
{
    world_connect(w, port);
    assert_true(world_run(w, w->now + PQ_SEC, is_secured));
    for (unsigned i = 0; i < TUPLES / SESSIONS - 1; i++) {
        world_run(w, w->now + 50 * PQ_MS, NULL);
        w->ses->watch.move_at = w->now;
        pq_session_wake(w->ses);
        world_run(w, w->now + PQ_MS, NULL);
        assert_true(world_run(w, w->now + 2 * PQ_SEC, has_moved));
    }
    pq_session_bye(w->ses);
    world_run(w, w->now + 50 * PQ_MS, NULL);
    pq_session_end(w->ses, PQ_ECLOSED);
}

/* Returns on how many first payloads the rule has fired. */
static unsigned fired(enum pq_look look, enum pq_system system)
{
    struct world_conf c = world_keyed(10 * PQ_MS);
    struct pq_syns *remembered = NULL;
    world_no_syns(&remembered);
    for (int i = 0; i < 2; i++)
        c.hub[i].look = i == CLIENT ? look : PQ_LOOK_PLAUSIBLE;
    c.hub[CLIENT].system = system;
    c.hub[SERVER].syns = remembered;
    memset(&watched, 0, sizeof watched);
    struct world *w = world_new(&c, ut_seed("first payloads"));
    pq_session_end(w->ses, PQ_ECLOSED);
    w->sloppy = true;
    w->tap = watch;
    for (uint16_t i = 0; i < SESSIONS; i++)
        begin_and_move(w, (uint16_t)(20000 + i));
    for (int i = 0; i < 2; i++)
        assert_in_range(watched.tuples[i], TUPLES, TUPLES + 1);
    world_free(w);
    pq_syns_free(&remembered);
    return watched.fired[CLIENT] + watched.fired[SERVER];
}

static void first_payloads(void **state)
{
    (void)state;
    assert_int_equal(fired(PQ_LOOK_CONNECT, PQ_SYSTEM_HOST), 0);
    assert_int_equal(fired(PQ_LOOK_CONNECT, PQ_SYSTEM_WINDOWS), 0);
    assert_true(fired(PQ_LOOK_PLAUSIBLE, PQ_SYSTEM_HOST) >
                TUPLES); /* there it knows most of them */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_payloads),
    };
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("connect first", tests, NULL, NULL);
}
