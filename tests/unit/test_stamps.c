/* SPDX-License-Identifier: MIT */
/* test_stamps.c - which handshakes a server takes, and that a restart makes no difference [12.2].
 */
#include "base/err.h"
#include "tunnel/stamps.h"
#include "unit.h"

#include <stdlib.h>

#define WALL UINT64_C(1790000000000)
#define ONE  "0100000000000000000000000000000000000000000000000000000000000000"
#define YEAR UINT64_C(31536000000)

static const uint8_t keys[2][32] = {{1}, {2}};

static void on_changed(void *ctx)
{
    ++*(unsigned *)ctx;
}

static unsigned changes;

static struct pq_stamps *table(unsigned n, bool kept)
{
    struct pq_stamps *s;
    assert_int_equal(pq_stamps_new(&s, keys, n), 0);
    if (kept)
        pq_stamps_keep(s, on_changed, &changes);
    return s;
}

static bool take(struct pq_stamps *s, unsigned user, uint64_t instance, uint64_t stamp)
{
    uint64_t ticket;
    return pq_stamps_take(s, user, (struct pq_stamp){instance, stamp}, WALL, 3600000, &ticket);
}

/* Through the file, as a restart does it. */
static struct pq_stamps *restarted(struct pq_stamps *s, unsigned n)
{
    char *text;
    size_t len;
    uint64_t ticket;
    FILE *f = open_memstream(&text, &len);
    assert_true(pq_stamps_write(s, f, &ticket));
    fclose(f);
    pq_stamps_free(&s);
    s = table(n, true);
    f = fmemopen(text, len, "r");
    assert_int_equal(pq_stamps_read(s, f), 0);
    fclose(f);
    free(text);
    return s;
}

/* ---- who looks on takes what the server takes, and is told of all */

static struct {
    unsigned n, taken;
    uint64_t last;
} told;

static void on_seen(void *ctx, struct pq_stamp t, bool taken)
{
    assert_ptr_equal(ctx, &told);
    told.n++;
    told.taken += taken;
    told.last = t.stamp;
}

static void looks_on(void **state)
{
    (void)state;
    static const struct {
        bool kept;
        uint64_t stamp;
        bool taken;
    } t[] = {
        {true, WALL - YEAR, true},     {true, WALL - 1, true},        {true, WALL + YEAR, true},
        {false, WALL - 119000, true},  {false, WALL - 1, true},       {false, WALL + 119000, true},
        {false, WALL - 121000, false}, {false, WALL + 121000, false},
    };
    for (unsigned i = 0; i < COUNT_OF(t); i++) {
        struct pq_stamps *s = table(2, false);
        told.n = told.taken = 0;
        pq_stamps_look_on(s, t[i].kept, on_seen, &told);
        uint64_t ticket = 99; /* whatever when this program was started: just now */
        const bool ok = pq_stamps_take(s, 0, (struct pq_stamp){7, t[i].stamp}, WALL, 0, &ticket);
        assert_int_equal(ok, t[i].taken);
        assert_int_equal(ok ? ticket : 0, 0);
        assert_true(pq_stamps_kept(s, 0)); /* nothing is waited for */
        assert_false(take(s, 0, 7, t[i].stamp));
        assert_int_equal(told.n, 2);
        assert_int_equal(told.taken, t[i].taken);
        assert_true(told.last == t[i].stamp);
        pq_stamps_free(&s);
    }
}

static void once_each(void **state)
{
    (void)state;
    struct pq_stamps *s = table(2, true);
    assert_true(take(s, 0, 7, WALL));
    assert_false(take(s, 0, 7, WALL));
    assert_false(take(s, 0, 7, WALL - 1));
    assert_true(take(s, 0, 7, WALL + 1));
    assert_true(take(s, 1, 7, WALL));     /* another user's */
    assert_true(take(s, 0, 8, WALL - 9)); /* another device of his, whose clock is behind */
    assert_false(take(s, 2, 7, WALL));    /* nobody */
    s = restarted(s, 2);
    assert_false(take(s, 0, 7, WALL + 1));
    assert_false(take(s, 1, 7, WALL));
    assert_false(take(s, 0, 8, WALL - 9));
    assert_true(take(s, 0, 8, WALL - 8));
    pq_stamps_free(&s);
}

/* Clocks in the future, at 1970, and right again. */
static void clocks(void **state)
{
    (void)state;
    struct pq_stamps *s = table(1, true);
    assert_true(take(s, 0, 1, WALL + 10 * YEAR));
    assert_true(take(s, 0, 2, WALL));
    assert_true(take(s, 0, 3, 5000));
    assert_true(take(s, 0, 1, WALL + 10 * YEAR + 1));
    assert_false(take(s, 0, 1, WALL)); /* the same run of the program goes on from its last */
    assert_false(take(s, 0, 4, UINT64_C(1) << 63));
    assert_false(take(s, 0, 4, UINT64_MAX));
    s = restarted(s, 1);
    assert_true(take(s, 0, 4, WALL));
    assert_true(take(s, 0, 5, 6000));
    pq_stamps_free(&s);
}

/* Who has a key can lock out nobody, himself neither. */
static void floods(void **state)
{
    (void)state;
    struct pq_stamps *s = table(2, true);
    unsigned ahead = 0;
    for (uint64_t i = 0; i < 2000; i++)
        ahead += take(s, 0, 1000 + i, (UINT64_C(1) << 63) - 1 - i);
    assert_int_equal(ahead, PQ_STAMPS_AHEAD);
    assert_true(take(s, 0, 1, WALL));
    for (uint64_t i = 0; i < 2000; i++)
        take(s, 0, 5000 + i, WALL - 5000 + i);
    assert_true(take(s, 0, 2, WALL)); /* a device with the right time */
    assert_false(take(s, 0, 5001, WALL - 4999));
    assert_true(take(s, 1, 1, 1)); /* the other user */
    s = restarted(s, 2);
    assert_true(take(s, 0, 3, WALL + 1));
    for (uint64_t i = 0; i < 2000; i++) /* nothing that was taken is taken again */
        assert_false(take(s, 0, 5000 + i, WALL - 5000 + i));
    pq_stamps_free(&s);
}

/* Nobody keeps the table, or all are one user without a name. */
static void near_the_clock(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 2; n++) {
        struct pq_stamps *s = table(n, n == 0); /* for the nameless one keeping changes nothing */
        uint64_t ticket = 77;
        const struct pq_stamp t = {9, WALL};
        changes = 0;
        assert_false(take(s, 0, 1, WALL - 120001));
        assert_false(take(s, 0, 1, WALL + 120001));
        assert_true(take(s, 0, 1, WALL - 119999));
        assert_true(take(s, 0, 2, WALL + 119999));
        assert_false(take(s, 0, 2, WALL));
        /* sent before this program was started */
        assert_false(pq_stamps_take(s, 0, (struct pq_stamp){3, WALL - 1000}, WALL, 1000, &ticket));
        assert_true(pq_stamps_take(s, 0, t, WALL, 1000, &ticket));
        assert_true(pq_stamps_kept(s, ticket));
        assert_int_equal(changes, 0);
        /* where there is no room nobody new is taken, rather than somebody twice */
        for (uint64_t i = 0; i < UINT64_C(2) * PQ_STAMPS_ALL; i++)
            take(s, 0, 100 + i, WALL - 100);
        assert_false(take(s, 0, 9, WALL));
        assert_false(take(s, 0, 99999, WALL));
        /* which passes */
        assert_true(pq_stamps_take(s, 0, (struct pq_stamp){4, WALL + 250000}, WALL + 250000,
                                   3600000, &ticket));
        pq_stamps_free(&s);
    }
}

static void tickets(void **state)
{
    (void)state;
    struct pq_stamps *s = table(1, true);
    uint64_t a, b;
    changes = 0;
    assert_true(pq_stamps_take(s, 0, (struct pq_stamp){1, 1}, WALL, 1, &a));
    assert_true(pq_stamps_take(s, 0, (struct pq_stamp){1, 2}, WALL, 1, &b));
    assert_int_equal(changes, 2);
    assert_false(pq_stamps_kept(s, a));
    pq_stamps_note_kept(s, a);
    assert_true(pq_stamps_kept(s, a));
    assert_false(pq_stamps_kept(s, b));
    pq_stamps_note_kept(s, b);
    assert_true(pq_stamps_kept(s, b));
    pq_stamps_free(&s);
}

/* A new file; users that go and come back; files that are none. */
static void files(void **state)
{
    (void)state;
    struct pq_stamps *s = table(1, true);
    pq_stamps_floor(s, WALL);
    assert_false(take(s, 0, 1, WALL));
    assert_true(take(s, 0, 1, WALL + 1));
    pq_stamps_free(&s);

    s = table(2, true);
    assert_true(take(s, 1, 1, WALL));
    s = restarted(s, 1); /* without the second user ... */
    s = restarted(s, 1);
    s = restarted(s, 2); /* ... who is back */
    assert_false(take(s, 1, 1, WALL));
    pq_stamps_free(&s);

    static const char *const bad[] = {
        "",
        "paqet stamps 2\nend\n",
        "paqet stamps 1\n",
        "paqet stamps 1\n0000000000000001 5\nend\n",
        "paqet stamps 1\nuser 01 0\nend\n",
        "paqet stamps 1\nend\nuser",
        "paqet stamps 1\nrubbish\nend\n",
        ("paqet stamps 1\nuser " ONE " 0\n0000000000000001\nend\n"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        s = table(1, true);
        FILE *f = tmpfile();
        fputs(bad[i], f);
        rewind(f);
        assert_int_equal(pq_stamps_read(s, f), PQ_EPROTO);
        fclose(f);
        pq_stamps_free(&s);
    }
}

/* Users come, go and come back while it runs: what they have sent stays known. */
static void other_users(void **state)
{
    (void)state;
    static const uint8_t three[3][32] = {{1}, {3}, {2}}, two[2][32] = {{3}, {2}};
    struct pq_stamps *s = table(2, true);
    assert_true(take(s, 0, 7, WALL));
    assert_true(take(s, 1, 7, WALL + 5));
    assert_int_equal(pq_stamps_set_users(s, three, 3), 0);
    assert_false(take(s, 0, 7, WALL));
    assert_true(take(s, 1, 7, WALL)); /* is new */
    assert_false(take(s, 2, 7, WALL + 5));
    assert_true(take(s, 2, 7, WALL + 6));
    assert_int_equal(pq_stamps_set_users(s, two, 2), 0); /* without the first one */
    assert_false(take(s, 0, 7, WALL));
    assert_false(take(s, 2, 7, WALL + 9));
    s = restarted(s, 2); /* users 1 and 2 again, and 3 is gone */
    assert_false(take(s, 0, 7, WALL));
    assert_false(take(s, 1, 7, WALL + 6));
    assert_int_equal(pq_stamps_set_users(s, three, 3), 0);
    assert_false(take(s, 1, 7, WALL));
    assert_true(take(s, 1, 7, WALL + 1));
    pq_stamps_free(&s);
    s = table(1, true);
    pq_stamps_floor(s, WALL);
    assert_int_equal(pq_stamps_set_users(s, three, 3), 0);
    assert_false(take(s, 2, 7, WALL)); /* who comes later is not believed more */
    assert_true(take(s, 2, 7, WALL + 1));
    pq_stamps_free(&s);
}

/* Those who are no more are remembered, but not without end: who went last is remembered longest.
 */
static void many_gone(void **state)
{
    (void)state;
    enum { MOST = 4096, MORE = 10 };
    static uint8_t all[MOST + MORE][32];
    for (unsigned i = 0; i < MOST + MORE; i++)
        pq_put_be32(all[i], i + 10);
    struct pq_stamps *s = table(1, true);
    for (unsigned i = 0; i < MOST + MORE; i++) { /* one after the other */
        assert_int_equal(pq_stamps_set_users(s, &all[i], 1), 0);
        assert_true(take(s, 0, 7, WALL));
    }
    assert_int_equal(pq_stamps_set_users(s, &all[MORE + 5], 1), 0);
    assert_false(take(s, 0, 7, WALL));
    assert_int_equal(pq_stamps_set_users(s, &all[0], 1), 0);
    assert_true(take(s, 0, 7, WALL)); /* long gone */
    pq_stamps_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looks_on), cmocka_unit_test(once_each),      cmocka_unit_test(clocks),
        cmocka_unit_test(floods),   cmocka_unit_test(near_the_clock), cmocka_unit_test(tickets),
        cmocka_unit_test(files),    cmocka_unit_test(other_users),    cmocka_unit_test(many_gone),
    };
    return cmocka_run_group_tests_name("stamps", tests, NULL, NULL);
}
