/* SPDX-License-Identifier: MIT */
/* test_tickets.c - a server's memory of the tickets that it has given [13.10]. */
#include "base/err.h"
#include "crypt/crypt.h"
#include "quic/quic.h"
#include "tunnel/tickets.h"
#include "unit.h"

#define NOW (1000 * PQ_SEC)

static struct pq_tickets *table(void)
{
    struct pq_rng rng;
    struct pq_tickets *t;
    assert_int_equal(pq_crypt_global_init(), 0);
    pq_rng_init_seed(&rng, 1);
    assert_int_equal(pq_tickets_new(&t, &rng), 0);
    return t;
}

static struct pq_view name(unsigned i)
{
    static uint8_t p[180];
    pq_put_be32(p, i);
    return (struct pq_view){p, sizeof p};
}

static void give(struct pq_tickets *t, unsigned i, unsigned client, pq_ns now)
{
    struct pq_ticket what = {.named = client != 0};
    pq_put_be32(what.client, client);
    pq_put_be32(what.secret, i);
    pq_tickets_give(t, name(i), &what, now);
}

static bool take(struct pq_tickets *t, unsigned i, unsigned client, pq_ns now)
{
    struct pq_ticket what;
    if (!pq_tickets_take(t, name(i), &what, now))
        return false;
    assert_int_equal(what.named, client != 0);
    assert_int_equal(pq_be32(what.client), client);
    assert_int_equal(pq_be32(what.secret), i);
    return true;
}

static void once_each(void **state)
{
    (void)state;
    struct pq_tickets *t = table(), *another = table();
    for (unsigned i = 0; i < 100; i++)
        give(t, i, i / 10, NOW);
    assert_int_equal(pq_tickets_count(t), 100);
    for (unsigned i = 0; i < 100; i++) {
        assert_false(take(another, i, i / 10, NOW));
        assert_true(take(t, i, i / 10, NOW + i));
        assert_false(take(t, i, i / 10, NOW + i));
    }
    assert_int_equal(pq_tickets_count(t), 0);
    give(t, 1, 1, NOW);
    const struct pq_view whole = name(1);
    struct pq_ticket what;
    assert_false(pq_tickets_take(t, (struct pq_view){whole.p, whole.n - 1}, &what, NOW));
    pq_tickets_free(&t);
    pq_tickets_free(&another);
    assert_null(t);
}

static void grow_old(void **state)
{
    (void)state;
    struct pq_tickets *t = table();
    for (unsigned i = 0; i < 10; i++)
        give(t, i, 0, NOW + i * PQ_SEC);
    assert_true(take(t, 5, 0, NOW + 5 * PQ_SEC + PQ_QUIC_TICKET_LIFE));
    assert_int_equal(pq_tickets_count(t), 4);
    assert_false(take(t, 4, 0, NOW + 5 * PQ_SEC));
    pq_tickets_free(&t);
}

/* A user has so many, who has none of his own key shares all that there is; the oldest go. */
static void bounds(void **state)
{
    (void)state;
    struct pq_tickets *t = table();
    give(t, 1000000, 7, NOW);
    for (unsigned i = 0; i < 3 * PQ_TICKETS_OF_ONE; i++) {
        give(t, i, 9, NOW + i);
        assert_true(pq_tickets_count(t) <= PQ_TICKETS_OF_ONE + 1);
    }
    assert_false(take(t, 2 * PQ_TICKETS_OF_ONE - 1, 9, NOW));
    assert_true(take(t, 2 * PQ_TICKETS_OF_ONE, 9, NOW));
    assert_true(take(t, 1000000, 7, NOW));
    for (unsigned i = 0; i < 2 * PQ_TICKETS_MAX; i++)
        give(t, 1000 + i, i % 2 ? 0 : 100 + i, NOW);
    assert_int_equal(pq_tickets_count(t), PQ_TICKETS_MAX);
    assert_false(take(t, 1000 + PQ_TICKETS_MAX - 1, 0, NOW));
    assert_true(take(t, 1000 + PQ_TICKETS_MAX + 1, 0, NOW));
    pq_tickets_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once_each),
        cmocka_unit_test(grow_old),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests_name("tickets", tests, NULL, NULL);
}
