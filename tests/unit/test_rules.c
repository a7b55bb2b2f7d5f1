/* SPDX-License-Identifier: MIT */
/* test_rules.c - what allow and deny permit, every special network at both of its edges. */
#include "base/err.h"
#include "relay/match.h"
#include "relay/rules.h"
#include "unit.h"

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static unsigned count(const char *const *v)
{
    unsigned n = 0;
    while (v && v[n])
        n++;
    return n;
}

static struct pq_rules *rules(const char *const *allow, const char *const *deny)
{
    struct pq_rules *r;
    assert_int_equal(pq_rules_new(&r, allow, count(allow), deny, count(deny)), 0);
    return r;
}

static struct pq_addr addr(const char *ip, uint16_t port)
{
    struct pq_addr a;
    if (pq_addr_parse_ip(&a, ip))
        fail_msg("%s is no address", ip);
    a.port = port;
    return a;
}

static bool target(const struct pq_rules *r, const char *host, const char *ip, uint16_t port)
{
    const struct pq_addr a = addr(ip, port);
    return pq_rules_target(r, host, &a, true);
}

static const char *const good[] = {
    "any",
    "*",
    "ANY",
    "public",
    "Public:443",
    "*:25",
    "*:1-65535",
    "10.0.0.0/8",
    "10.0.0.0/8:80-90",
    "10.1.2.3",
    "10.1.2.3:65535",
    "0.0.0.0/0",
    "::/0",
    "::1",
    "[::1]",
    "[::1]:22",
    "[2001:db8::/32]:443-444",
    "2001:db8::/32",
    "example.com",
    "example.com.",
    "EXAMPLE.com:443",
    "*.example.com",
    "*.example.com.:1-2",
    "*.com",
    "localhost",
    "a_b.c-d",
    "3com.com",
    "1.example",
};
static const char *const bad[] = {
    "",
    ":",
    ":25",
    "*:",
    "*:0",
    "*:65536",
    "*:100000",
    "*:-2",
    "*:2-",
    "*:2-1",
    "*:1-2-3",
    "*:80x",
    "*:x",
    "10.0.0.0/33",
    "10.0.0/8",
    "10.0.0.256",
    "1.2.3",
    "10",
    "::/129",
    "[::1",
    "[::1]x",
    "[::1]:",
    "[::1]:0",
    "[10.0.0.1]:25",
    "[example.com]:25",
    "[2001:db8::]/32:443",
    "[]:25",
    "2001:db8::g",
    "*.",
    "**",
    "*.*.com",
    "a.*.com",
    "*example.com",
    ".example.com",
    "example..com",
    "exa mple.com",
    "http://example.com",
    "example.com/8",
    "example.com:http",
    "publicc:",
    "*.10",
    "1234567890123456789012345678901234567890123456789012345678901234.com",
};

static void entries(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++)
        if (pq_rules_check_entry(good[i]))
            fail_msg("refused: '%s'", good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (pq_rules_check_entry(bad[i]) != PQ_EINVAL)
            fail_msg("taken: '%s'", bad[i]);
    struct pq_rules *r = NULL;
    assert_int_equal(pq_rules_new(&r, LIST("any", "a..b"), 2, NULL, 0), PQ_EINVAL);
    assert_null(r);
    assert_int_equal(pq_rules_new(&r, NULL, 0, LIST("a.example", "b.example", "x:y"), 3),
                     PQ_EINVAL);
    assert_null(r);
}

static void special_networks(void **state)
{
    (void)state;
    struct pq_rules *r = rules(LIST("public"), NULL);
    static const struct {
        const char *below, *first, *last, *above; /* NULL: not public either, for another reason */
    } t[] = {
        {NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0"},
        {"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
        {"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
        {"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
        {"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
        {"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
        {"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
        {"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
        {"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
        {"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
        {"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
        {"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
        {"223.255.255.255", "224.0.0.0", "239.255.255.255", NULL},
        {NULL, "240.0.0.0", "255.255.255.255", NULL},
        {NULL, "::", "::1", NULL},
        {NULL, "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", NULL},
        {NULL, "100::", "100::ffff:ffff:ffff:ffff", NULL},
        {NULL, "1fff:ffff::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"},
        {"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:1ff:ffff::1", "2001:200::"},
        {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
         "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"},
        {"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
         "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"},
        {"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "5f00::1", NULL},
        {NULL, "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
        {NULL, "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
        {NULL, "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
        {NULL, "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        if (t[i].below && !target(r, NULL, t[i].below, 80))
            fail_msg("%s is public", t[i].below);
        if (target(r, NULL, t[i].first, 80) || target(r, NULL, t[i].last, 80))
            fail_msg("%s to %s is not public", t[i].first, t[i].last);
        if (t[i].above && !target(r, NULL, t[i].above, 80))
            fail_msg("%s is public", t[i].above);
    }
    pq_rules_free(&r);
    assert_null(r);
}

/* IPv6 forms that lead to an IPv4 address are what that one is. */
static void inner_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *ip;
        bool public;
    } t[] = {
        {"::ffff:8.8.8.8", true},
        {"::ffff:127.0.0.1", false},
        {"::ffff:169.254.169.254", false},
        {"::8.8.8.8", true},
        {"::10.0.0.1", false},
        {"64:ff9b::8.8.8.8", true},
        {"64:ff9b::127.0.0.1", false},
        {"64:ff9b::c0a8:101", false},
        {"64:ff9b::1:0:808:808", false},
        {"2002:808:808::1", true},
        {"2002:7f00:1::1", false},
        {"2002:c0a8:101::1", false},
        {"2001:0:808:808:0:0:f7f7:f7f7", true},  /* 8.8.8.8 and 8.8.8.8 */
        {"2001:0:808:808:0:0:80ff:fffe", false}, /* 127.0.0.1 */
        {"2001:0:7f00:1:0:0:f7f7:f7f7", false},
        {"2a00:1450::1", true},
        {"64:ff9b::5.5.5.5", false}, /* own */
        {"5.5.5.5", false},
        {"5.5.5.6", true},
        {"2a00::5", false},
        {"2a00::6", true},
    };
    struct pq_rules *r = rules(LIST("public"), NULL);
    const struct pq_addr own[] = {addr("5.5.5.5", 9), addr("2a00::5", 0)};
    assert_true(target(r, NULL, "5.5.5.5", 80));
    assert_int_equal(pq_rules_add_own(r, own, 1), 0);
    assert_true(target(r, NULL, "2a00::5", 80));
    assert_int_equal(pq_rules_add_own(r, own + 1, 1), 0);
    assert_int_equal(pq_rules_add_own(r, NULL, 0), 0);
    for (size_t i = 0; i < COUNT_OF(t); i++)
        if (target(r, "name.example", t[i].ip, 443) != t[i].public)
            fail_msg("%s: not %d", t[i].ip, t[i].public);
    pq_rules_free(&r);
}

struct step {
    const char *host, *ip;
    uint16_t port;
    bool name, target; /* what pq_rules_name and pq_rules_target say */
};

static void run(struct pq_rules *r, const struct step *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *host = t[i].host ? t[i].host : "a.name";
        if (pq_rules_name(r, host, t[i].port) != t[i].name)
            fail_msg("row %zu: name %s:%u", i, host, t[i].port);
        if (target(r, t[i].host, t[i].ip, t[i].port) != t[i].target)
            fail_msg("row %zu: target %s:%u", i, t[i].ip, t[i].port);
    }
    pq_rules_free(&r);
}

static void names(void **state)
{
    (void)state;
    static const struct step t[] = {
        {"example.com", "10.0.0.1", 80, true, true},
        {"EXAMPLE.com.", "127.0.0.1", 80, true, true},
        {"www.example.com", "10.0.0.1", 80, false, false},
        {"xexample.com", "10.0.0.1", 80, false, false},
        {"a.sub.test", "10.0.0.1", 443, true, true},
        {"a.b.sub.test.", "10.0.0.1", 443, true, true},
        {"a.sub.test", "10.0.0.1", 80, false, false},
        {"sub.test", "10.0.0.1", 443, false, false},
        {".sub.test", "10.0.0.1", 443, false, false},
        {"asub.test", "10.0.0.1", 443, false, false},
        {"bad.sub.test", "10.0.0.1", 443, false, false},
        {"a.sub.test", "10.9.0.1", 443, true, false}, /* deny wins, after DNS */
        {"", "10.0.0.1", 443, false, false},
        {NULL, "10.0.0.1", 443, false, false},
    };
    run(rules(LIST("example.com", "*.SUB.test:443"), LIST("bad.sub.test.", "10.9.0.0/16")), t,
        COUNT_OF(t));
}

/* What resolvers would take for another name than the one that entries are compared with. */
static void other_spellings(void **state)
{
    (void)state;
    static const char *const yes[] = {"a", "a.", "A-b_c.3.example", "xn--bcher-kva.example.",
                                      "1.2"};
    static const char *const no[] = {"",
                                     ".",
                                     "..",
                                     ".a",
                                     "a..",
                                     "a..b",
                                     "a b",
                                     "a\tb",
                                     "a\\046b",
                                     "a\\.b",
                                     "a\xe3\x80\x82x",
                                     "a\xef\xbc\x8ex",
                                     "b\xc3\xbc.example",
                                     "b\xfc.example",
                                     "a%b",
                                     "a:1",
                                     "[::1]",
                                     "fe80::1%eth0",
                                     "a/b",
                                     "a*",
                                     "a\x7f"};
    for (size_t i = 0; i < COUNT_OF(yes); i++)
        if (!pq_match_is_name(yes[i]))
            fail_msg("refused: '%s'", yes[i]);
    for (size_t i = 0; i < COUNT_OF(no); i++)
        if (pq_match_is_name(no[i]))
            fail_msg("taken: '%s'", no[i]);
}

static void need_name(void **state)
{
    (void)state;
    struct pq_rules *r = rules(LIST("public", "10.0.0.0/8:80"), LIST("any:25"));
    assert_false(pq_rules_need_name(r));
    pq_rules_free(&r);
    r = rules(NULL, LIST("any:25", "a.example"));
    assert_true(pq_rules_need_name(r));
    pq_rules_free(&r);
    r = rules(LIST("*.example:80"), NULL);
    assert_true(pq_rules_need_name(r));
    pq_rules_free(&r);
    assert_false(pq_rules_need_name(NULL));
}

static void deny_alone(void **state)
{
    (void)state;
    static const struct step t[] = {
        {"a.example", "8.8.8.8", 80, true, true},
        {"a.example", "8.8.8.8", 25, false, false},
        {NULL, "8.8.8.8", 25, false, false},
        {NULL, "127.0.0.1", 80, true, false},
        {NULL, "0.0.0.0", 80, true, false}, /* which is connected to 127.0.0.1 */
        {NULL, "::", 80, true, false},
        {NULL, "::1", 80, true, true},
        {NULL, "10.1.1.1", 79, true, true},
        {NULL, "10.1.1.1", 80, true, false},
        {NULL, "10.1.1.1", 90, true, false},
        {NULL, "10.1.1.1", 91, true, true},
        {NULL, "64:ff9b::10.1.1.1", 80, true, false},
        {NULL, "2002:a01:101::", 80, true, false},
        {NULL, "::127.0.0.1", 80, true, false},
        {NULL, "2a00::1", 80, true, true},
        {NULL, "2a01::1", 22, true, false},
        {NULL, "2a01::1", 23, true, true},
    };
    struct pq_rules *r =
        rules(NULL, LIST("*:25", "127.0.0.0/8", "10.0.0.0/8:80-90", "[2a01::/16]:22"));
    assert_false(pq_rules_has_allow(r));
    assert_true(pq_rules_need_addr(r));
    run(r, t, COUNT_OF(t));
}

static void allow_and_deny(void **state)
{
    (void)state;
    static const struct step t[] = {
        {NULL, "8.8.8.8", 443, true, true},
        {NULL, "8.8.8.8", 80, false, false}, /* no entry has this port */
        {NULL, "10.0.0.7", 443, true, false},
        {NULL, "10.0.0.7", 22, true, true},
        {NULL, "10.0.0.8", 22, true, false},
        {"intern.example", "10.0.0.8", 443, true, false},
    };
    struct pq_rules *r = rules(LIST("public:443", "10.0.0.7:22"), NULL);
    assert_true(pq_rules_has_allow(r));
    run(r, t, COUNT_OF(t));

    static const struct step all[] = {
        {NULL, "0.0.0.0", 1, true, true},
        {NULL, "ff02::1", 65535, true, true},
        {"x", "8.8.8.8", 80, true, false},
        {"x", "10.0.0.1", 80, true, true},
    };
    run(rules(LIST("any"), LIST("public")), all, COUNT_OF(all));

    static const struct step none[] = {{"x", "8.8.8.8", 80, false, false}};
    run(rules(LIST(NULL), NULL), none, COUNT_OF(none));
    run(rules(LIST("any"), LIST("*")), none, COUNT_OF(none));
}

/* Packets of a TUN: no name, perhaps no port. */
static void packets(void **state)
{
    (void)state;
    const struct pq_addr a = addr("8.8.8.8", 0), b = addr("9.9.9.9", 0);
    struct pq_rules *r = rules(LIST("public:443", "9.9.9.9", "a.example"), LIST("*:25"));
    assert_false(pq_rules_target(r, NULL, &a, false));
    assert_true(pq_rules_target(r, NULL, &b, false));
    assert_true(target(r, NULL, "8.8.8.8", 443));
    assert_false(target(r, NULL, "9.9.9.9", 25));
    pq_rules_free(&r);

    r = rules(LIST("a.example:80", "any:443"), LIST("b.example"));
    assert_false(pq_rules_need_addr(r));
    assert_false(pq_rules_target(r, NULL, &a, false));
    pq_rules_free(&r);

    assert_true(pq_rules_target(NULL, NULL, &a, false));
    assert_true(pq_rules_name(NULL, "x", 25));
    assert_false(pq_rules_need_addr(NULL));
    assert_false(pq_rules_has_allow(NULL));
    pq_rules_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries),         cmocka_unit_test(special_networks),
        cmocka_unit_test(inner_addresses), cmocka_unit_test(names),
        cmocka_unit_test(deny_alone),      cmocka_unit_test(allow_and_deny),
        cmocka_unit_test(packets),         cmocka_unit_test(other_spellings),
        cmocka_unit_test(need_name),
    };
    return ut_run(tests);
}
