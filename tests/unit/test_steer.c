/* SPDX-License-Identifier: MIT */
/* test_steer.c - addresses that go where the names that led to them go. */
#include "entry/steer.h"
#include "unit.h"

#include <stdio.h>

#define BEGIN (1000 * PQ_SEC)

struct world {
    struct pq_steer *steer;
    struct pq_split *split;
    unsigned changes;
    bool fails;
    enum pq_steered last;
};

static int on_change(void *ctx, const struct pq_addr *ip, enum pq_steered was, enum pq_steered to)
{
    struct world *w = ctx;
    assert_true(was != to && ip->port == 0);
    if (w->fails)
        return -1;
    w->changes++;
    w->last = to;
    return 0;
}

/* Rules: "d", "t" or "b", and an entry. */
static struct pq_split *rules_of(const char *const *v, size_t n)
{
    struct pq_split *s = pq_split_new();
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(pq_split_rule(s, v[i][0] == 'd'   ? PQ_WAY_DIRECT
                                          : v[i][0] == 'b' ? PQ_WAY_BLOCK
                                                           : PQ_WAY_TUNNEL),
                         0);
        assert_int_equal(pq_split_entry(s, v[i] + 1), 0);
    }
    pq_split_seal(s);
    return s;
}

#define RULES(...)                                                                                 \
    rules_of((const char *const[]){__VA_ARGS__},                                                   \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static struct pq_addr addr(const char *text)
{
    struct pq_addr a;
    assert_int_equal(pq_addr_parse_ip(&a, text), 0);
    return a;
}

static void begin(struct world *w, struct pq_split *split)
{
    *w = (struct world){.split = split};
    w->steer = pq_steer_new(1, on_change, w);
}

static void end(struct world *w)
{
    pq_steer_free(&w->steer);
    pq_split_free(&w->split);
}

static void learn(struct world *w, const char *name, const char *ip, uint32_t ttl, pq_ns now)
{
    const struct pq_addr a = addr(ip);
    pq_steer_learn(w->steer, w->split, name, pq_split_name(w->split, name, NULL), &a, ttl, now);
}

static enum pq_steered goes(const struct world *w, const char *ip)
{
    const struct pq_addr a = addr(ip);
    return pq_steer_find(w->steer, &a, NULL);
}

/* The first rule that matches decides, be it about the name or about the address. */
static void first_match(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RULES("t10.0.0.0/8", "ddomain:ir", "tdomain:shop.ex", "d20.0.0.0/8", "b30.0.0.0/8",
                    "d*.late:443"));
    learn(&w, "a.ir", "192.0.2.1", 60, BEGIN);
    assert_int_equal(goes(&w, "192.0.2.1"), PQ_STEERED_DIRECT);
    learn(&w, "b.ir", "10.1.1.1", 60, BEGIN); /* the network comes first */
    assert_int_equal(goes(&w, "10.1.1.1"), PQ_STEERED_NOT);
    learn(&w, "c.ir", "20.1.1.1", 60, BEGIN); /* goes directly anyway */
    assert_int_equal(goes(&w, "20.1.1.1"), PQ_STEERED_NOT);
    learn(&w, "d.ir", "30.1.1.1", 60, BEGIN);
    assert_int_equal(goes(&w, "30.1.1.1"), PQ_STEERED_DIRECT);
    learn(&w, "www.shop.ex", "20.2.2.2", 60, BEGIN); /* against a network that comes later */
    learn(&w, "www.shop.ex", "30.2.2.2", 60, BEGIN);
    assert_int_equal(goes(&w, "20.2.2.2"), PQ_STEERED_TUNNEL);
    assert_int_equal(goes(&w, "30.2.2.2"), PQ_STEERED_TUNNEL);
    learn(&w, "other.ex", "20.3.3.3", 60, BEGIN); /* no rule about it: the network decides */
    learn(&w, "x.late", "192.0.2.2", 60, BEGIN);  /* of a name no port is known */
    learn(&w, "", "192.0.2.3", 60, BEGIN);
    assert_int_equal(goes(&w, "20.3.3.3"), PQ_STEERED_NOT);
    assert_int_equal(goes(&w, "192.0.2.2"), PQ_STEERED_NOT);
    assert_int_equal(goes(&w, "192.0.2.3"), PQ_STEERED_NOT);
    size_t all, direct;
    pq_steer_count(w.steer, &all, &direct);
    assert_int_equal(all, 9);
    assert_int_equal(direct, 2);
    const unsigned before = w.changes;
    pq_steer_free(&w.steer);
    assert_int_equal(w.changes, before + 4); /* all of it is undone */
    assert_int_equal(w.last, PQ_STEERED_NOT);
    end(&w);
}

/* An address of two names goes through the tunnel as long as one of them is to. */
static void shared(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RULES("ddomain:ir"));
    learn(&w, "a.ir", "192.0.2.1", 3000, BEGIN);
    assert_int_equal(goes(&w, "192.0.2.1"), PQ_STEERED_DIRECT);
    learn(&w, "news.ex", "192.0.2.1", 1000, BEGIN + PQ_SEC);
    assert_int_equal(goes(&w, "192.0.2.1"), PQ_STEERED_NOT);
    learn(&w, "a.ir", "192.0.2.1", 3000, BEGIN + 2 * PQ_SEC);
    assert_int_equal(goes(&w, "192.0.2.1"), PQ_STEERED_NOT);
    pq_steer_expire(w.steer, w.split, BEGIN + 1001 * PQ_SEC);
    assert_int_equal(goes(&w, "192.0.2.1"), PQ_STEERED_DIRECT);
    pq_steer_expire(w.steer, w.split, BEGIN + 3003 * PQ_SEC);
    assert_int_equal(goes(&w, "192.0.2.1"), PQ_STEERED_NOT);
    size_t all, direct;
    pq_steer_count(w.steer, &all, &direct);
    assert_int_equal(all + direct, 0);
    end(&w);
}

static void times(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RULES("ddomain:ir"));
    learn(&w, "short.ir", "192.0.2.1", 1, BEGIN);
    learn(&w, "long.ir", "192.0.2.2", 1000000, BEGIN);
    pq_steer_expire(w.steer, w.split, BEGIN + PQ_STEER_LEAST - 1);
    assert_int_equal(goes(&w, "192.0.2.1"), PQ_STEERED_DIRECT);
    pq_steer_expire(w.steer, w.split, BEGIN + PQ_STEER_LEAST);
    assert_int_equal(goes(&w, "192.0.2.1"), PQ_STEERED_NOT);
    pq_steer_expire(w.steer, w.split, BEGIN + 86399 * PQ_SEC);
    assert_int_equal(goes(&w, "192.0.2.2"), PQ_STEERED_DIRECT);
    pq_steer_expire(w.steer, w.split, BEGIN + 86400 * PQ_SEC);
    assert_int_equal(goes(&w, "192.0.2.2"), PQ_STEERED_NOT);
    end(&w);
}

/* Other rules hold for names that are known, too. */
static void renewed(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RULES("ddomain:ir"));
    learn(&w, "a.ir", "192.0.2.1", 60, BEGIN);
    learn(&w, "a.ex", "192.0.2.2", 60, BEGIN);
    learn(&w, "b.ir", "192.0.2.3", 60, BEGIN);
    learn(&w, "b.ex", "192.0.2.3", 60, BEGIN);
    pq_split_free(&w.split);
    w.split = RULES("ddomain:ex", "bdomain:b.ir");
    pq_steer_renew(w.steer, w.split, BEGIN + PQ_SEC);
    assert_int_equal(goes(&w, "192.0.2.1"), PQ_STEERED_NOT);
    assert_int_equal(goes(&w, "192.0.2.2"), PQ_STEERED_DIRECT);
    assert_int_equal(goes(&w, "192.0.2.3"), PQ_STEERED_DIRECT);
    pq_split_free(&w.split);
    pq_steer_renew(w.steer, NULL, BEGIN + PQ_SEC);
    assert_int_equal(goes(&w, "192.0.2.2"), PQ_STEERED_NOT);
    end(&w);
}

/* Never more than the bound; the ones told last stay.  What the system refuses stays as it was. */
static void bounds(void **state)
{
    struct world w;
    char ip[32];
    size_t all, direct;
    (void)state;
    begin(&w, RULES("ddomain:ir"));
    for (unsigned i = 0; i < PQ_STEER_MAX + 1000; i++) {
        snprintf(ip, sizeof ip, "198.18.%u.%u", i / 256, i % 256);
        learn(&w, "a.ir", ip, 60, BEGIN);
        pq_steer_count(w.steer, &all, &direct);
        assert_true(all <= PQ_STEER_MAX && direct == all);
    }
    assert_int_equal(goes(&w, "198.18.0.0"), PQ_STEERED_NOT);
    assert_int_equal(goes(&w, ip), PQ_STEERED_DIRECT);
    w.fails = true;
    learn(&w, "a.ir", "192.0.2.1", 60, BEGIN);
    assert_int_equal(goes(&w, "192.0.2.1"), PQ_STEERED_NOT);
    w.fails = false;
    learn(&w, "a.ir", "192.0.2.1", 60, BEGIN);
    assert_int_equal(goes(&w, "192.0.2.1"), PQ_STEERED_DIRECT);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_match), cmocka_unit_test(shared), cmocka_unit_test(times),
        cmocka_unit_test(renewed),     cmocka_unit_test(bounds),
    };
    return ut_run(tests);
}
