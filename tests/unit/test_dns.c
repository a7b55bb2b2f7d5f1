/* SPDX-License-Identifier: MIT */
/* test_dns.c - DNS messages that are passed on, and the answers that are kept. */
#include "base/err.h"
#include "entry/dns_cache.h"
#include "header/dns.h"
#include "unit.h"

#define QUESTION                "\1a\7example\0\0\1\0\1"
#define HEAD(id, flags, an, ar) id flags "\0\1" an "\0\0" ar
#define QUERY(id)               HEAD(id, "\1\0", "\0\0", "\0\0") QUESTION
#define RECORD(ttl)             "\xc0\x0c\0\1\0\1" ttl "\0\4\1\2\3\4"
#define ANSWER(id, ttl)         HEAD(id, "\x81\x80", "\0\1", "\0\0") QUESTION RECORD(ttl)
#define OPT                     "\0\0\x29\x10\0\x80\0\0\1\0\0"
#define BYTES(text)             ((struct pq_view){(const uint8_t *)(text), sizeof(text) - 1})

static int read_query(struct pq_view v, struct pq_dns_query *q)
{
    return pq_dns_read_query(v.p, v.n, q);
}

static void queries(void **state)
{
    struct pq_dns_query q;
    (void)state;
    const struct pq_view good = BYTES(QUERY("\x12\x34"));
    assert_int_equal(read_query(good, &q), 0);
    assert_int_equal(q.question, good.n);
    assert_int_equal(q.udp_max, 512);
    assert_int_equal(pq_dns_id(good.p), 0x1234);
    assert_int_equal(read_query(BYTES(HEAD("\0\1", "\1\0", "\0\0", "\0\1") QUESTION OPT), &q), 0);
    assert_int_equal(q.udp_max, 4096);
    assert_int_equal(read_query(BYTES(HEAD("\0\1", "\1\0", "\0\0", "\0\1") QUESTION
                                      "\0\0\x29\xff\xff\0\0\0\0\0\0"),
                                &q),
                     0);
    assert_int_equal(q.udp_max, PQ_DNS_UDP_MAX);
    for (size_t n = 0; n < good.n; n++)
        assert_int_equal(pq_dns_read_query(good.p, n, &q), PQ_EPROTO);
    const struct pq_view bad[] = {
        BYTES(ANSWER("\0\1", "\0\0\0\1")),
        BYTES("\0\1\1\0\0\2\0\0\0\0\0\0" QUESTION QUESTION),  /* two questions */
        BYTES("\0\1\x28\0\0\1\0\0\0\0\0\0" QUESTION),         /* an update */
        BYTES(HEAD("\0\1", "\1\0", "\0\0", "\0\1") QUESTION), /* cut off */
        BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\x40"
              "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
              "aa\0\0\1\0\1"),
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(read_query(bad[i], &q), PQ_EPROTO);
}

static bool answers(struct pq_view answer)
{
    const struct pq_view query = BYTES(QUERY("\0\1"));
    struct pq_dns_query q;
    assert_int_equal(read_query(query, &q), 0);
    return pq_dns_answers(answer.p, answer.n, query.p, &q);
}

static void answers_to_it(void **state)
{
    (void)state;
    const struct pq_view good = BYTES(ANSWER("\0\1", "\0\0\0\1"));
    assert_true(answers(good));
    for (size_t n = 0; n < good.n; n++)
        assert_false(answers((struct pq_view){good.p, n}));
    assert_false(answers(BYTES(QUERY("\0\1"))));
    assert_false(answers(BYTES(HEAD("\0\1", "\x81\x80", "\0\0", "\0\0") "\1b\7example\0\0\1\0\1")));
    assert_false(
        answers(BYTES(HEAD("\0\1", "\x81\x80", "\0\0", "\0\0") "\1a\7example\0\0\x1c\0\1")));
    assert_false(answers(BYTES(HEAD("\0\1", "\x81\x80", "\0\0", "\0\0") "\xc0\x0c\0\1\0\1")));
}

static uint32_t ttl(struct pq_view v)
{
    return pq_dns_ttl(v.p, v.n);
}

static void lifetimes(void **state)
{
    (void)state;
    assert_int_equal(ttl(BYTES(ANSWER("\0\1", "\0\0\1\x2c"))), 300);
    assert_int_equal(ttl(BYTES(ANSWER("\0\1", "\x7f\0\0\0"))), 86400);
    assert_int_equal(ttl(BYTES(ANSWER("\0\1", "\0\0\0\0"))), 0);
    assert_int_equal(ttl(BYTES(HEAD("\0\1", "\x81\x80", "\0\0", "\0\1") QUESTION OPT)), 0);
    assert_int_equal(
        ttl(BYTES(HEAD("\0\1", "\x81\x82", "\0\1", "\0\0") QUESTION RECORD("\0\0\0\1"))), 0);
    assert_int_equal(
        ttl(BYTES(HEAD("\0\1", "\x81\x83", "\0\1", "\0\0") QUESTION RECORD("\0\0\0\1"))), 1);
    assert_int_equal(
        ttl(BYTES(HEAD("\0\1", "\x83\x80", "\0\1", "\0\0") QUESTION RECORD("\0\0\0\1"))), 0);
    const struct pq_view both = BYTES(HEAD("\0\1", "\x81\x80", "\0\2", "\0\1")
                                          QUESTION RECORD("\0\0\0\x64") RECORD("\0\0\0\x0a") OPT);
    uint8_t copy[128];
    memcpy(copy, both.p, both.n);
    pq_dns_age(copy, both.n, 20);
    const struct pq_view aged = BYTES(HEAD("\0\1", "\x81\x80", "\0\2", "\0\1")
                                          QUESTION RECORD("\0\0\0\x50") RECORD("\0\0\0\0") OPT);
    assert_memory_equal(copy, aged.p, aged.n);
}

static void empty(void **state)
{
    const struct pq_view query = BYTES(HEAD("\0\1", "\1\0", "\0\0", "\0\1") QUESTION OPT);
    struct pq_dns_query q;
    uint8_t out[64];
    (void)state;
    assert_int_equal(read_query(query, &q), 0);
    pq_dns_write_empty(out, query.p, &q, PQ_DNS_TRUNCATED);
    const struct pq_view cut = BYTES(HEAD("\0\1", "\x83\x80", "\0\0", "\0\0") QUESTION);
    assert_int_equal(q.question, cut.n);
    assert_memory_equal(out, cut.p, cut.n);
    pq_dns_write_empty(out, query.p, &q, PQ_DNS_FAILED);
    assert_int_equal(out[3], 0x82);
    pq_dns_write_empty(out, query.p, &q, PQ_DNS_NO_NAME);
    assert_int_equal(out[2], 0x81);
    assert_int_equal(out[3], 0x83);
}

static const char *name_of(struct pq_view v)
{
    static char name[PQ_DNS_NAME_MAX + 1];
    struct pq_dns_query q;
    assert_int_equal(read_query(v, &q), 0);
    const bool is = pq_dns_name(v.p, &q, name);
    assert_int_equal(is, *name != 0);
    return name;
}

#define ASK(name) BYTES(HEAD("\0\1", "\1\0", "\0\0", "\0\0") name "\0\0\1\0\1")

static void names(void **state)
{
    (void)state;
    assert_string_equal(name_of(ASK("\3wWw\7Example\3co_\2-1")), "www.example.co_.-1");
    assert_string_equal(name_of(ASK("\1a")), "a");
    assert_string_equal(name_of(ASK("")), ""); /* the root */
    assert_string_equal(name_of(ASK("\3a.b\2ex")), "");
    assert_string_equal(name_of(ASK("\3a\0b\2ex")), "");
    assert_string_equal(name_of(ASK("\3a\xe9"
                                    "b\2ex")),
                        "");
    assert_string_equal(name_of(BYTES(HEAD("\0\1", "\1\0", "\0\0", "\0\0") "\1a\xc0\x0c\0\1\0\1")),
                        "");
    uint8_t longest[PQ_DNS_HEAD + 261] = {0, 1, 1, 0, 0, 1};
    struct pq_dns_query q;
    char name[PQ_DNS_NAME_MAX + 1];
    static const uint8_t label[] = {1, 'a'}, three[] = {3, 'a', 'a', 'a'}, tail[] = {0, 0, 1, 0, 1};
    for (size_t labels = 126; labels <= 127; labels++) { /* of one letter: 251 and 253 characters */
        for (size_t i = 0; i < labels; i++)
            memcpy(longest + PQ_DNS_HEAD + 2 * i, label, 2);
        memcpy(longest + PQ_DNS_HEAD + 2 * labels, tail, 5);
        assert_int_equal(pq_dns_read_query(longest, PQ_DNS_HEAD + 2 * labels + 5, &q), 0);
        assert_true(pq_dns_name(longest, &q, name));
        assert_int_equal(strlen(name), 2 * labels - 1);
    }
    memmove(longest + PQ_DNS_HEAD + 2, longest + PQ_DNS_HEAD, 2 * 127 + 5);
    memcpy(longest + PQ_DNS_HEAD, three, 4);
    assert_int_equal(pq_dns_read_query(longest, PQ_DNS_HEAD + 2 + 2 * 127 + 5, &q), 0);
    assert_false(pq_dns_name(longest, &q, name)); /* one too many */
}

static void addresses(void **state)
{
    (void)state;
    const struct pq_view v = BYTES(HEAD("\0\1", "\x81\x80", "\0\5", "\0\1") QUESTION
                                   "\xc0\x0c\0\5\0\1\0\0\0\1\0\3\1b\0"   /* CNAME */
                                   "\1b\0\0\1\0\1\0\0\1\x2c\0\4\1\2\3\4" /* A */
                                   "\1b\0\0\x1c\0\1\0\0\0\7\0\x10 \1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                                   "\1b\0\0\1\0\1\0\0\1\x2c\0\3\1\2\3"     /* too short */
                                   "\1b\0\0\1\0\3\0\0\1\x2c\0\4\1\2\3\4"   /* CHAOS */
                                   "\1b\0\0\1\0\1\0\0\1\x2c\0\4\7\7\7\7"); /* not the answer */
    struct pq_dns_addr a[PQ_DNS_ADDRS_MAX];
    char text[PQ_ADDR_STRLEN];
    assert_int_equal(pq_dns_addrs(v.p, v.n, a), 2);
    assert_string_equal(pq_addr_ip_str(&a[0].ip, text), "1.2.3.4");
    assert_int_equal(a[0].ttl, 300);
    assert_string_equal(pq_addr_ip_str(&a[1].ip, text), "2001:db8::1");
    assert_int_equal(a[1].ttl, 7);
    uint8_t many[PQ_DNS_HEAD + 32 + 100 * 16];
    size_t n = sizeof(HEAD("\0\1", "\x81\x80", "\0\x64", "\0\0") QUESTION) - 1;
    memcpy(many, HEAD("\0\1", "\x81\x80", "\0\x64", "\0\0") QUESTION, n);
    for (int i = 0; i < 100; i++, n += sizeof RECORD("\0\0\0\1") - 1)
        memcpy(many + n, RECORD("\0\0\0\1"), sizeof RECORD("\0\0\0\1") - 1);
    assert_int_equal(pq_dns_addrs(many, n, a), PQ_DNS_ADDRS_MAX);
}

/* ---- the cache */

static void expiry(void **state)
{
    struct pq_dns_cache c = {.seed = 1};
    (void)state;
    pq_list_init(&c.used);
    const pq_ns begin = 1000 * PQ_SEC;
    pq_dns_cache_add(&c, BYTES(QUERY("\0\1")), BYTES(ANSWER("\0\1", "\0\0\0\x0a")), begin);
    assert_null(
        pq_dns_cache_find(&c, BYTES(HEAD("\0\1", "\0\0", "\0\0", "\0\0") QUESTION), begin).p);
    for (unsigned at = 0; at < 10; at += 3) {
        const struct pq_view v = pq_dns_cache_find(&c, BYTES(QUERY("\7\7")), begin + at * PQ_SEC);
        assert_non_null(v.p);
        assert_int_equal(ttl(v), 10 - at);
    }
    assert_null(pq_dns_cache_find(&c, BYTES(QUERY("\0\1")), begin + 10 * PQ_SEC).p);
    assert_int_equal(c.n, 0);
    assert_int_equal(c.bytes, 0);
    pq_dns_cache_clear(&c);
}

/* Many names: never more than the bounds, and the ones used last stay. */
static void bounds(void **state)
{
    struct pq_dns_cache c = {.seed = 1};
    uint8_t query[sizeof QUERY("\0\1") - 1], answer[4096] = {0};
    (void)state;
    pq_list_init(&c.used);
    memcpy(query, QUERY("\0\1"), sizeof query);
    for (unsigned size = 64; size <= sizeof answer; size += sizeof answer - 64) {
        memcpy(answer, ANSWER("\0\1", "\0\0\0\x0a"), sizeof ANSWER("\0\1", "\0\0\0\x0a") - 1);
        for (unsigned i = 0; i < 3 * PQ_DNS_CACHE_MAX; i++) {
            query[13] = answer[13] = (uint8_t)i;
            query[15] = answer[15] = (uint8_t)(i >> 8);
            pq_dns_cache_add(&c, (struct pq_view){query, sizeof query},
                             (struct pq_view){answer, size}, PQ_SEC);
            assert_true(c.n <= PQ_DNS_CACHE_MAX && c.bytes <= PQ_DNS_CACHE_BYTES);
        }
        assert_non_null(pq_dns_cache_find(&c, (struct pq_view){query, sizeof query}, PQ_SEC).p);
        query[15] = 0;
        assert_null(pq_dns_cache_find(&c, (struct pq_view){query, sizeof query}, PQ_SEC).p);
    }
    pq_dns_cache_clear(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries), cmocka_unit_test(answers_to_it), cmocka_unit_test(lifetimes),
        cmocka_unit_test(empty),   cmocka_unit_test(names),         cmocka_unit_test(addresses),
        cmocka_unit_test(expiry),  cmocka_unit_test(bounds),
    };
    return ut_run(tests);
}
