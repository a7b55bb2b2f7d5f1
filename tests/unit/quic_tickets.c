/* SPDX-License-Identifier: MIT */
/* quic_tickets.c - where tickets are in TLS's messages [13.10]. */
#include "quic/quic_ticket.h"
#include "quic_tests.h"
#include "unit.h"

static void asked(void **state)
{
    (void)state;
    static const uint8_t good[] = {0, 15, 0, 3, 'a', 'b', 'c', 1,  2,  3, 4,
                                   0, 0,  0, 0, 0,   0,   0,   33, 32, 9};
    const struct pq_view t = quic_ticket_asked((struct pq_view){good, sizeof good});
    assert_int_equal(t.n, 3);
    assert_memory_equal(t.p, "abc", 3);
    for (size_t n = 0; n < 17; n++) { /* all of the identities have to be there */
        uint8_t *p = ut_exact(good, n);
        assert_int_equal(quic_ticket_asked((struct pq_view){p, n}).n, 0);
        free(p);
    }
    static const uint8_t none[] = {0, 0, 0, 0}, longer[] = {0, 4, 0, 3, 'a', 'b', 'c', 'd'};
    assert_int_equal(quic_ticket_asked((struct pq_view){none, sizeof none}).n, 0);
    assert_int_equal(quic_ticket_asked((struct pq_view){longer, sizeof longer}).n, 0);
}

static void given(void **state)
{
    (void)state;
    static const uint8_t good[] = {0, 0, 1, 0, 5, 6, 7, 8, 2, 1, 1, 0, 4, 't', 'i', 'c', 'k', 0, 0};
    const struct pq_view t = quic_ticket_given((struct pq_view){good, sizeof good});
    assert_int_equal(t.n, 4);
    assert_memory_equal(t.p, "tick", 4);
    for (size_t n = 0; n < 17; n++) {
        uint8_t *p = ut_exact(good, n);
        assert_int_equal(quic_ticket_given((struct pq_view){p, n}).n, 0);
        free(p);
    }
}

int quic_tickets_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked),
        cmocka_unit_test(given),
    };
    return ut_run(tests);
}
