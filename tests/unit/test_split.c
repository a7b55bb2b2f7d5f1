/* SPDX-License-Identifier: MIT */
/* test_split.c - the client's rules, and the lists that they take. */
#include "base/err.h"
#include "entry/port_spans.h"
#include "entry/split.h"
#include "entry/tun_refuse.h"
#include "unit.h"
#include "wire/csum.h"

#include <stdio.h>
#include <stdlib.h>

static enum pq_target_line add(struct pq_target_set *s, const char *line)
{
    return pq_target_set_add(s, line, strlen(line));
}

static bool has(const struct pq_target_set *s, const char *what)
{
    struct pq_addr a;
    return pq_addr_parse_ip(&a, what) ? pq_target_set_has_name(s, what, strlen(what))
                                      : pq_target_set_has_addr(s, &a);
}

static void lines(void **state)
{
    static const struct {
        const char *line;
        enum pq_target_line what;
    } t[] = {
        {"example.com", PQ_LINE_TAKEN},
        {" Domain:Example.com:@cn ", PQ_LINE_TAKEN},
        {"full:www.example.com @ads # more", PQ_LINE_TAKEN},
        {"ir", PQ_LINE_TAKEN},
        {"xn--mgba3a4f16a", PQ_LINE_TAKEN},
        {"+.example.org\r", PQ_LINE_TAKEN},
        {"keyword:shop", PQ_LINE_TAKEN},
        {"192.0.2.0/24", PQ_LINE_TAKEN},
        {"2001:db8::/32", PQ_LINE_TAKEN},
        {"", PQ_LINE_EMPTY},
        {"  # comment", PQ_LINE_EMPTY},
        {"\r", PQ_LINE_EMPTY},
        {"regexp:^a b#c@[0-9]$", PQ_LINE_REGEXP},
        {"two words", PQ_LINE_WRONG},
        {"192.0.2.256", PQ_LINE_WRONG},
        {"192.0.2.0/33", PQ_LINE_WRONG},
        {"a..b", PQ_LINE_WRONG},
        {"example.com.", PQ_LINE_WRONG},
        {"full:", PQ_LINE_WRONG},
        {"keyword:", PQ_LINE_WRONG},
        {"include:cn", PQ_LINE_WRONG},
        {"http://example.com/", PQ_LINE_WRONG},
        {"\xc3\xbc.example", PQ_LINE_WRONG},
    };
    (void)state;
    struct pq_target_set *s = pq_target_set_new();
    for (size_t i = 0; i < COUNT_OF(t); i++)
        if (add(s, t[i].line) != t[i].what)
            fail_msg("'%s': not %d", t[i].line, t[i].what);
    assert_int_equal(pq_target_set_add(s, "a\0b", 3), PQ_LINE_WRONG);
    pq_target_set_free(s);
}

static void members(void **state)
{
    static const char *const in[] = {"one.example",
                                     "a.one.example",
                                     "b.a.ONE.example",
                                     "full.example",
                                     "x.below.example",
                                     "my-kiosk.test",
                                     "10.0.0.0",
                                     "10.255.255.255",
                                     "11.0.0.0",
                                     "192.0.2.7",
                                     "255.255.255.255",
                                     "2001:db8::1",
                                     "2001:db8:0:ffff:ffff:ffff:ffff:ffff",
                                     "ffff::"};
    static const char *const out[] = {"example",       "none.example",     "a.full.example",
                                      "below.example", "xone.example",     "9.255.255.255",
                                      "11.0.0.1",      "192.0.2.6",        "192.0.2.8",
                                      "2001:db8:1::",  "2001:db7:ffff::1", "fffe::"};
    (void)state;
    struct pq_target_set *s = pq_target_set_new();
    static const char *const all[] = {
        "one.example",   "full:full.example", "*.below.example", "keyword:kiosk", "10.128.0.0/9",
        "10.0.0.0/9",    "11.0.0.0",          "192.0.2.7",       "10.1.2.0/24",   "255.255.255.255",
        "2001:db8::/48", "2001:db8:0:1::/64", "ffff::/16"};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        assert_int_equal(add(s, all[i]), PQ_LINE_TAKEN);
    pq_target_set_seal(s);
    for (size_t i = 0; i < COUNT_OF(in); i++)
        if (!has(s, in[i]))
            fail_msg("%s is missing", in[i]);
    for (size_t i = 0; i < COUNT_OF(out); i++)
        if (has(s, out[i]))
            fail_msg("%s is in", out[i]);
    struct pq_target_count c;
    pq_target_set_count(s, &c);
    assert_int_equal(c.names, 4);
    assert_int_equal(c.networks, 5); /* 10/8 and 11.0.0.0 touch */
    pq_target_set_free(s);
}

/* 200,000 names and networks: each is found, and no other. */
static void many(void **state)
{
    char text[64];
    (void)state;
    struct pq_target_set *s = pq_target_set_new();
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(text, sizeof text, "n%u.example", i * 2);
        assert_int_equal(add(s, text), PQ_LINE_TAKEN);
        snprintf(text, sizeof text, "%u.%u.%u.0/25", 20 + i / 65536, i / 256 % 256, i % 256);
        assert_int_equal(add(s, text), PQ_LINE_TAKEN);
    }
    pq_target_set_seal(s);
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(text, sizeof text, "www.n%u.example", i);
        assert_int_equal(has(s, text), i % 2 == 0);
        snprintf(text, sizeof text, "%u.%u.%u.%u", 20 + i / 65536, i / 256 % 256, i % 256,
                 i % 2 ? 127 : 128);
        assert_int_equal(has(s, text), i % 2);
    }
    struct pq_target_count c;
    pq_target_set_count(s, &c);
    assert_int_equal(c.names + c.networks, 200000);
    assert_true(c.bytes < (size_t)6 << 20);
    pq_target_set_free(s);
}

static void bounds(void **state)
{
    char text[64];
    (void)state;
    struct pq_target_set *s = pq_target_set_new();
    for (unsigned i = 0; i < PQ_TARGET_KEYWORDS; i++) {
        snprintf(text, sizeof text, "keyword:word%u", i);
        assert_int_equal(add(s, text), PQ_LINE_TAKEN);
    }
    assert_int_equal(add(s, "keyword:more"), PQ_LINE_MANY);
    for (unsigned i = 0; i < PQ_TARGET_SET_MAX; i++)
        assert_int_equal(add(s, "192.0.2.1"), PQ_LINE_TAKEN);
    assert_int_equal(add(s, "192.0.2.1"), PQ_LINE_MANY);
    pq_target_set_free(s);
}

/* ---- rules */

static enum pq_way packet(const struct pq_split *s, const char *ip, uint16_t port)
{
    struct pq_addr a;
    assert_int_equal(pq_addr_parse_ip(&a, ip), 0);
    a.port = port;
    return pq_split_addr(s, &a, port, NULL);
}

static void rules(void **state)
{
    (void)state;
    struct pq_split *s = pq_split_new();
    assert_int_equal(pq_split_rule(s, PQ_WAY_BLOCK), 0);
    assert_int_equal(pq_split_entry(s, "*:25"), 0);
    assert_int_equal(pq_split_entry(s, "domain:ads.example:80-443"), 0);
    assert_int_equal(pq_split_rule(s, PQ_WAY_TUNNEL), 0);
    assert_int_equal(pq_split_entry(s, "10.1.0.0/16"), 0);
    assert_int_equal(pq_split_rule(s, PQ_WAY_DIRECT), 0);
    assert_int_equal(pq_split_entry(s, "Private"), 0);
    assert_int_equal(pq_split_entry(s, "private:1"), 0);
    assert_int_equal(pq_split_entry(s, "*.near.example"), 0);
    assert_int_equal(pq_target_set_add(pq_split_set(s), "ir", 2), PQ_LINE_TAKEN);
    assert_int_equal(pq_split_rule(s, PQ_WAY_BLOCK), 0);
    assert_int_equal(pq_split_entry(s, "2001:db8::/32"), 0);
    static const char *const bad[] = {"private:",      "private:x", "domain:",  "domain:10.0.0.1",
                                      "domain:public", "privat e",  "list:x.y", "private:1-99999"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (pq_split_entry(s, bad[i]) != PQ_EINVAL)
            fail_msg("'%s' was taken", bad[i]);
    pq_split_seal(s);
    assert_int_equal(pq_split_host(s, "a.near.example", 443), PQ_WAY_DIRECT);
    assert_int_equal(pq_split_host(s, "A.Near.Example.", 443), PQ_WAY_DIRECT);
    assert_int_equal(pq_split_host(s, "near.example", 443), PQ_WAY_TUNNEL);
    assert_int_equal(pq_split_host(s, "a.near.example", 25), PQ_WAY_BLOCK);
    assert_int_equal(pq_split_host(s, "x.ads.example", 443), PQ_WAY_BLOCK);
    assert_int_equal(pq_split_host(s, "ads.example", 80), PQ_WAY_BLOCK);
    assert_int_equal(pq_split_host(s, "ads.example", 79), PQ_WAY_TUNNEL);
    assert_int_equal(pq_split_host(s, "shop.ir", 443), PQ_WAY_DIRECT);
    assert_int_equal(pq_split_host(s, "10.1.2.3", 443), PQ_WAY_TUNNEL);
    assert_int_equal(pq_split_host(s, "10.2.2.3", 443), PQ_WAY_DIRECT);
    assert_int_equal(pq_split_host(s, "::1", 443), PQ_WAY_DIRECT);
    assert_int_equal(pq_split_host(s, "192.0.2.1", 443), PQ_WAY_DIRECT);
    assert_int_equal(pq_split_host(s, "8.8.8.8", 443), PQ_WAY_TUNNEL);
    assert_int_equal(packet(s, "8.8.8.8", 25), PQ_WAY_BLOCK);
    assert_int_equal(packet(s, "8.8.8.8", 0), PQ_WAY_TUNNEL);
    assert_int_equal(packet(s, "2001:db8::1", 0), PQ_WAY_DIRECT); /* the first rule that matches */
    assert_int_equal(packet(NULL, "10.2.2.3", 0), PQ_WAY_TUNNEL);
    pq_split_free(&s);
}

/* An address in a form that only resolvers take for one is that address. */
static void other_forms(void **state)
{
    static const char *const private[] = {"127.1",      "0x7f000001", "2130706433", "0177.0.0.1",
                                          "0x7f.1",     "10.1",       "012.0.0.1",  "192.168.257",
                                          "3232235777", "0"};
    static const char *const names[] = {"127.1.", "127.1.example", "256.1.1.1.1", "1.2.3.4.5"};
    (void)state;
    struct pq_split *s = pq_split_new();
    assert_int_equal(pq_split_rule(s, PQ_WAY_BLOCK), 0);
    assert_int_equal(pq_split_entry(s, "private"), 0);
    assert_int_equal(pq_split_rule(s, PQ_WAY_DIRECT), 0);
    assert_int_equal(pq_split_entry(s, "any"), 0);
    pq_split_seal(s);
    for (size_t i = 0; i < COUNT_OF(private); i++)
        if (pq_split_host(s, private[i], 80) != PQ_WAY_BLOCK)
            fail_msg("%s goes past the rule", private[i]);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (pq_split_host(s, names[i], 80) != PQ_WAY_DIRECT)
            fail_msg("%s is no address", names[i]);
    assert_int_equal(pq_split_host(s, "134744072", 80), PQ_WAY_DIRECT); /* 8.8.8.8 */
    pq_split_free(&s);
}

static struct pq_addr ip(const char *text)
{
    struct pq_addr a;
    assert_int_equal(pq_addr_parse_ip(&a, text), 0);
    return a;
}

/* Who asks from another machine does not reach what is here for this machine alone. */
static void limits(void **state)
{
    static const char *const kept[] = {
        "127.0.0.1",        "127.9.9.9",      "::1", "0.0.0.0", "::", "::7f00:1",
        "::ffff:127.0.0.1", "64:ff9b::7f00:1"};
    static const char *const open_to_all[] = {"192.168.1.1", "10.0.0.1", "8.8.8.8", "fd00::1"};
    const struct pq_addr at = ip("192.168.1.1"), far = ip("192.168.1.5"), far6 = ip("fd00::5"),
                         here[] = {ip("127.0.0.1"), ip("127.0.0.9"), ip("::1"), at};
    (void)state;
    struct pq_split *s = pq_split_new();
    for (size_t i = 0; i < COUNT_OF(here); i++)
        assert_null(pq_split_limits(s, &here[i], &at));
    assert_null(pq_split_limits(NULL, &far, &at));
    const struct pq_rules *r = pq_split_limits(s, &far, &at);
    assert_non_null(r);
    assert_ptr_equal(r, pq_split_limits(s, &far6, &at));
    assert_ptr_equal(r, pq_split_limits(s, &at, NULL));
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        const struct pq_addr a = ip(kept[i]);
        if (pq_rules_target(r, "a.example", &a, true))
            fail_msg("%s is reached", kept[i]);
    }
    for (size_t i = 0; i < COUNT_OF(open_to_all); i++) {
        const struct pq_addr a = ip(open_to_all[i]);
        if (!pq_rules_target(r, open_to_all[i], &a, true))
            fail_msg("%s is not reached", open_to_all[i]);
    }
    pq_split_free(&s);
}

/* ---- as ranges */

static bool goes(const struct pq_spans *s, const uint8_t ip[16])
{
    for (size_t i = 0; i < s->n; i++)
        if (memcmp(s->v[i].from, ip, 16) <= 0 && memcmp(ip, s->v[i].to, 16) <= 0)
            return true;
    return false;
}

static struct pq_split *split_of(const char *const *v, size_t n)
{
    struct pq_split *s = pq_split_new();
    for (size_t i = 0; i < n; i++) {
        const enum pq_way way = v[i][0] == 'd'   ? PQ_WAY_DIRECT
                                : v[i][0] == 'b' ? PQ_WAY_BLOCK
                                                 : PQ_WAY_TUNNEL;
        assert_int_equal(pq_split_rule(s, way), 0);
        assert_int_equal(pq_split_entry(s, v[i] + 1), 0);
    }
    pq_split_seal(s);
    return s;
}

/* At the ends of each range, and just beside them, the rules say the same of a packet. */
static void as_ranges(void **state)
{
    static const char *const all[][6] = {
        {"t10.1.0.0/16", "d10.0.0.0/8", "b10.2.0.0/16", "d*:80", "d8.8.8.8", "dname.example"},
        {"b2001:db8::/33", "d2001:db8::/32", "d::/0", "t0.0.0.0/1", "d255.0.0.0/8", "d240.0.0.0/4"},
        {"t192.168.0.0/16", "bfc00::/8", "dprivate", "tany", "dany", "dany"},
        {"t8.8.8.0/24", "b1.1.1.1", "dpublic", "tany", "d10.0.0.0/8", "dany"},
        {"t0.0.0.0/0", "dany", "dany", "dany", "dany", "dany"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct pq_split *s = split_of(all[i], COUNT_OF(all[i]));
        struct pq_spans direct = {.v = NULL};
        assert_int_equal(pq_split_direct(s, 0, &direct, NULL), 0);
        assert_true(direct.n > 0);
        for (size_t k = 0; k < direct.n; k++) {
            struct pq_addr ask[4] = {{.port = 0}};
            memcpy(ask[0].ip, direct.v[k].from, 16);
            memcpy(ask[1].ip, direct.v[k].to, 16);
            ask[2] = ask[0];
            ask[3] = ask[1];
            bool there[4] = {true, true, pq_ip_before(ask[2].ip), pq_ip_next(ask[3].ip)};
            for (int q = 0; q < 4; q++) {
                const bool says = pq_split_addr(s, &ask[q], false, NULL) == PQ_WAY_DIRECT;
                char text[PQ_ADDR_STRLEN];
                const bool rough = (i == 2 || i == 3) && !pq_addr_is4(&ask[q]); /* less, not more */
                if (there[q] && says != goes(&direct, ask[q].ip) && (!says || !rough))
                    fail_msg("rules %zu: %s", i, pq_addr_ip_str(&ask[q], text));
            }
        }
        assert_int_equal(pq_split_has_ports(s), i == 0);
        pq_spans_free(&direct);
        pq_split_free(&s);
    }
}

/* Where a packet goes by the list about ports and, where that says nothing, by its address. */
static bool goes_at(const struct pq_port_spans *p, const struct pq_spans *direct,
                    const struct pq_addr *a)
{
    for (size_t i = 0; i < p->n; i++)
        if (pq_range_has(&p->v[i].ports, a->port) &&
            pq_addr_is4(&p->v[i].net.ip) == pq_addr_is4(a) && pq_net_has(&p->v[i].net, a))
            return p->v[i].direct;
    return goes(direct, a->ip);
}

/* At each port, list and addresses together say the same of a packet as the rules. */
static void by_port(void **state)
{
    static const char *const all[][6] = {
        {"d*:22", "b*:25", "d10.0.0.0/8", "d2001:db8::/32", "b8.0.0.0/8", "d8.8.0.0/16"},
        {"t10.0.0.0/8:443", "d10.0.0.0/8", "b10.1.0.0/16:80", "d*:1-100", "d20.0.0.0/8", "t*:50"},
        {"", "d[2001:db8::/32]:443", "b2001:db8:1::/48", "d*:440-450", "b*:1", "d::/0"},
        {"b10.2.0.0/16", "d10.0.0.0/8:20-30", "t*:443", "d10.0.0.0/7", "b*:65535", "d*:65535"},
    };
    static const char *const ips[] = {"10.1.2.3",      "10.2.3.4",   "11.0.0.1", "8.8.8.8",
                                      "8.1.1.1",       "20.0.0.1",   "1.1.1.1",  "2001:db8::1",
                                      "2001:db8:1::1", "2001:470::1"};
    static const uint16_t ports[] = {1,   19,  20,  22,  25,  30,  31,  50,    80,   100,
                                     101, 439, 440, 443, 450, 451, 999, 65534, 65535};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        const size_t from = i == 2; /* the first of these is none */
        struct pq_split *s = split_of(all[i] + from, COUNT_OF(all[i]) - from);
        struct pq_spans direct = {.v = NULL};
        struct pq_port_spans *p = calloc(1, sizeof *p);
        assert_int_equal(pq_split_direct(s, 0, &direct, NULL), 0);
        assert_int_equal(pq_port_spans_make(s, p), 0);
        assert_true(p->n > 0 && p->n < 40);
        for (size_t k = 0; k < COUNT_OF(ips) * COUNT_OF(ports); k++) {
            struct pq_addr a;
            char text[PQ_ADDR_STRLEN];
            assert_int_equal(pq_addr_parse_ip(&a, ips[k % COUNT_OF(ips)]), 0);
            a.port = ports[k / COUNT_OF(ips)];
            if (goes_at(p, &direct, &a) != (pq_split_addr(s, &a, true, NULL) == PQ_WAY_DIRECT))
                fail_msg("rules %zu: %s", i, pq_addr_str(&a, text));
        }
        free(p);
        pq_spans_free(&direct);
        pq_split_free(&s);
    }
}

/* Too much for the system is told, and what names need is there. */
static void by_port_bounds(void **state)
{
    static const char *const names[] = {"ddomain:ir", "b*:25", "t10.0.0.0/8:443"};
    struct pq_port_spans *p = calloc(1, sizeof *p);
    struct pq_split *s = split_of(names, 3);
    (void)state;
    assert_int_equal(pq_port_spans_make(s, p), 0);
    assert_int_equal(p->n, 3); /* IPv4 and IPv6 at 25, a network at 443 */
    for (size_t i = 0; i < p->n; i++)
        assert_false(p->v[i].direct);
    pq_split_free(&s);
    s = split_of(names + 1, 2);
    assert_int_equal(pq_port_spans_make(s, p), 0);
    assert_int_equal(p->n, 0);
    pq_split_free(&s);
    s = pq_split_new();
    assert_int_equal(pq_split_rule(s, PQ_WAY_BLOCK), 0);
    for (unsigned i = 0; i < 2 * PQ_PORT_SPANS_MAX; i++) {
        char text[32];
        snprintf(text, sizeof text, "10.%u.%u.0/25", i / 256, i % 256);
        assert_int_equal(pq_split_entry(s, text), 0);
    }
    assert_int_equal(pq_split_rule(s, PQ_WAY_DIRECT), 0);
    assert_int_equal(pq_split_entry(s, "*:22"), 0);
    pq_split_seal(s);
    assert_int_equal(pq_port_spans_make(s, p), PQ_EINVAL);
    assert_int_equal(p->n, 0);
    for (unsigned port = 100; port < 100 + PQ_PORT_POINTS; port++) {
        char text[32];
        snprintf(text, sizeof text, "*:%u", port);
        assert_int_equal(pq_split_entry(s, text), 0);
    }
    assert_int_equal(pq_port_spans_make(s, p), PQ_EINVAL);
    pq_split_free(&s);
    free(p);
}

static void add_span(struct pq_spans *s, const char *from, const char *to)
{
    struct pq_addr a, b;
    assert_int_equal(pq_addr_parse_ip(&a, from), 0);
    assert_int_equal(pq_addr_parse_ip(&b, to), 0);
    assert_int_equal(pq_spans_add(s, a.ip, b.ip), 0);
}

/* A range as networks. */
static void as_networks(void **state)
{
    static const struct {
        const char *from, *to, *nets;
    } t[] = {
        {"0.0.0.0", "255.255.255.255", "0.0.0.0/96 "},
        {"10.0.0.1", "10.0.0.6", "10.0.0.1/128 10.0.0.2/127 10.0.0.4/127 10.0.0.6/128 "},
        {"255.255.255.254", "255.255.255.255", "255.255.255.254/127 "},
        {"2001:db8::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", "2001:db8::/47 "},
        {"fffe::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fffe::/15 "},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_spans s = {.v = NULL};
        char got[200] = "", ip[PQ_ADDR_STRLEN];
        struct pq_net net;
        bool more = true;
        add_span(&s, t[i].from, t[i].to);
        assert_int_equal(s.n, 1);
        while (more) {
            const size_t at = strlen(got);
            more = pq_span_net(&s.v[0], &net);
            snprintf(got + at, sizeof got - at, "%s/%u ", pq_addr_ip_str(&net.ip, ip), net.bits);
        }
        assert_string_equal(got, t[i].nets);
        pq_spans_free(&s);
    }
}

/* What differs, and what two have in common. */
static void of_two(void **state)
{
    struct pq_spans a = {.v = NULL}, b = {.v = NULL}, out = {.v = NULL};
    (void)state;
    add_span(&a, "10.0.0.0", "10.0.0.9");
    add_span(&a, "10.0.0.10", "10.0.0.20"); /* they touch */
    add_span(&a, "2001:db8::", "2001:db8::9");
    add_span(&b, "10.0.0.5", "10.0.0.30");
    add_span(&b, "2001:db8::", "2001:db8::9");
    pq_spans_seal(&a);
    pq_spans_seal(&b);
    assert_int_equal(a.n, 2);
    assert_int_equal(pq_spans_minus(&out, &a, &b), 0);
    assert_true(out.n == 1 && out.v[0].to[15] == 4);
    pq_spans_free(&out);
    assert_int_equal(pq_spans_and(&out, &a, &b), 0);
    assert_true(out.n == 2 && out.v[0].from[15] == 5 && out.v[0].to[15] == 20);
    pq_spans_free(&out);
    assert_int_equal(pq_spans_new(&out, &a, &b), 0);
    assert_true(out.n == 1 && out.v[0].to[15] == 20);
    pq_spans_free(&out);
    pq_spans_free(&a);
    pq_spans_free(&b);
}

/* ---- what is blocked */

static size_t answer(uint8_t out[PQ_TUN_REFUSAL_MAX], const uint8_t *packet, size_t n)
{
    uint8_t copy[128];
    struct pq_tun_packet pkt = {.p = copy, .n = n};
    memcpy(copy, packet, n);
    assert_int_equal(pq_ip_parse(&pkt.ip, (struct pq_view){copy, n}), 0);
    return pq_tun_refuse(out, &pkt);
}

static void expect_checksums(const uint8_t *p)
{
    static const uint8_t pseudo[4] = {0, PQ_IPPROTO_TCP, 0, 20};
    assert_int_equal(pq_csum_fold(pq_csum_add(0, p, 20)), 0);
    const uint64_t sum = pq_csum_add(pq_csum_add(0, pseudo, sizeof pseudo), p + 12, 8);
    assert_int_equal(pq_csum_fold(pq_csum_add(sum, p + 20, 20)), 0);
}

/* To a SYN of 10.9.0.2:1000 with two bytes; the same with ACK; a reset; what is cut off. */
static void refusals(void **state)
{
    (void)state;
    uint8_t out[PQ_TUN_REFUSAL_MAX],
        in[42] = {0x45, 0, 0,   42, 0,    0,    0,    0,   64, 6,  0,   0,   10,  9,
                  0,    2, 198, 51, 100,  7,    3,    232, 0,  25, 255, 255, 255, 255,
                  1,    2, 3,   4,  0x50, 0x02, 0x10, 0,   0,  0,  0,   0};
    static const uint8_t reset[] = {0x45, 0,  0,   40, 0,  0, 0, 0, 64,   6,    0x1a, 0x50,
                                    198,  51, 100, 7,  10, 9, 0, 2, 0,    25,   3,    232,
                                    0,    0,  0,   0,  0,  0, 0, 2, 0x50, 0x14, 0,    0};
    assert_int_equal(answer(out, in, sizeof in), 40);
    assert_memory_equal(out, reset, 10);
    assert_memory_equal(out + 12, reset + 12, sizeof reset - 12);
    expect_checksums(out);
    in[33] = 0x18;
    assert_int_equal(answer(out, in, sizeof in), 40);
    assert_memory_equal(out + 24, in + 28, 4);
    assert_int_equal(out[33], 0x04);
    in[33] = 0x14;
    assert_int_equal(answer(out, in, sizeof in), 0);
    assert_int_equal(
        answer(out, (uint8_t[24]){[0] = 0x45, [3] = 24, [8] = 1, [9] = 6, [12] = 10}, 24),
        0); /* ports alone */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),    cmocka_unit_test(members),   cmocka_unit_test(many),
        cmocka_unit_test(bounds),   cmocka_unit_test(rules),     cmocka_unit_test(other_forms),
        cmocka_unit_test(limits),   cmocka_unit_test(as_ranges), cmocka_unit_test(as_networks),
        cmocka_unit_test(of_two),   cmocka_unit_test(by_port),   cmocka_unit_test(by_port_bounds),
        cmocka_unit_test(refusals),
    };
    return ut_run(tests);
}
