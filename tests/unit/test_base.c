/* SPDX-License-Identifier: MIT */
/* test_base.c - addresses, flags, bytes, errors, random source, lists, mistyped words.
 */
#include "base/addr.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/flags.h"
#include "base/list.h"
#include "base/near.h"
#include "base/rng.h"
#include "base_tests.h"
#include "unit.h"

#include <errno.h>
#include <netinet/in.h>

static void hostport_good(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
    } t[] = {
        {"example.com:443", "example.com", 443},
        {"1.2.3.4:0", "1.2.3.4", 0},
        {"[::1]:65535", "::1", 65535},
        {"[fe80::1%eth0]:80", "fe80::1%eth0", 80},
        {":8080", "", 8080},
        {"[]:1", "", 1},
        {"[name]:1", "name", 1},
        {"a:00080", "a", 80},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        char host[64];
        uint16_t port = 1;
        assert_int_equal(pq_hostport_split(t[i].text, host, sizeof host, &port), 0);
        assert_string_equal(host, t[i].host);
        assert_int_equal(port, t[i].port);
    }
}

static void hostport_bad(void **state)
{
    (void)state;
    static const char *const t[] = {
        "",         "host",     "host:",      ":",         "host:65536",  "host:000001",
        "host:-1",  "host:+1",  "host: 1",    "host:1 ",   "host:0x10",   "host:http",
        "::1",      "::1:80",   "[::1]",      "[::1]80",   "[::1:80",     "a:b:1",
        "[",        "[:",       "[:1",        "]:1:1",     "host:99999",  "host:1:",
        "[::1] :1", "[::1]x:1", "fe80::1:80", "[::1]:1:2", "1.2.3.4:5:6",
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        char host[64];
        uint16_t port;
        int r = pq_hostport_split(t[i], host, sizeof host, &port);
        if (r != PQ_EINVAL)
            fail_msg("\"%s\" gave %d", t[i], r);
    }
}

static void hostport_capacity(void **state)
{
    (void)state;
    char host[5];
    uint16_t port;
    assert_int_equal(pq_hostport_split("abcd:1", host, sizeof host, &port), 0);
    assert_string_equal(host, "abcd");
    assert_int_equal(pq_hostport_split("abcde:1", host, sizeof host, &port), PQ_EINVAL);
    assert_int_equal(pq_hostport_split("[abcd]:1", host, sizeof host, &port), 0);
    assert_int_equal(pq_hostport_split("[abcde]:1", host, sizeof host, &port), PQ_EINVAL);
    assert_int_equal(pq_hostport_split(":1", host, 1, &port), 0);
    assert_int_equal(pq_hostport_split(":1", host, 0, &port), PQ_EINVAL);
}

static void port_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t first, last;
    } good[] = {
        {"example.com:443", "example.com", 443, 443},
        {":0", "", 0, 0},
        {"a-b.example:20000-20100", "a-b.example", 20000, 20100},
        {"[2001:db8::1]:1-65535", "2001:db8::1", 1, 65535},
        {"1.2.3.4:7-7", "1.2.3.4", 7, 7},
    };
    static const char *const bad[] = {
        "a:5-4",   "a:0-9",  "a:1-",   "a:-1",       "a:1-2-3", "a:1-65536", "a:1--2",   "a:1,2",
        "a:1-2,3", "a-1:2x", "a:1 -2", "a:1-000002", "::1-2",   "1-2",       "[::1]1-2", "a:1-2 "};
    char host[64], text[PQ_RANGE_STRLEN];
    struct pq_range r = {7, 9};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(pq_hostports_split(good[i].text, host, sizeof host, &r), 0);
        assert_string_equal(host, good[i].host);
        assert_int_equal(r.from, good[i].first);
        assert_int_equal(r.to, good[i].last);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (pq_hostports_split(bad[i], host, sizeof host, &r) != PQ_EINVAL)
            fail_msg("\"%s\" was taken", bad[i]);
    uint16_t port = 5;
    assert_int_equal(pq_hostport_split("a:1-2", host, sizeof host, &port), PQ_EINVAL);
    assert_int_equal(port, 5);
    r = (struct pq_range){20000, 20100};
    assert_string_equal(pq_range_str(&r, text), "20000-20100");
    assert_int_equal(pq_range_size(&r), 101);
    assert_true(pq_range_has(&r, 20000) && pq_range_has(&r, 20100));
    assert_false(pq_range_has(&r, 19999) || pq_range_has(&r, 20101));
    r = (struct pq_range){10000, 65535};
    assert_string_equal(pq_range_str(&r, text), "10000-65535");
    r = (struct pq_range){0, 0};
    assert_int_equal(pq_range_size(&r), 0);
    assert_false(pq_range_has(&r, 0));
}

static void addr_text(void **state)
{
    (void)state;
    static const struct {
        const char *in, *ip, *with_port;
        bool is4;
    } t[] = {
        {"10.88.0.1", "10.88.0.1", "10.88.0.1:9999", true},
        {"::ffff:10.88.0.1", "10.88.0.1", "10.88.0.1:9999", true}, /* [1.4] */
        {"fd88::2", "fd88::2", "[fd88::2]:9999", false},
        {"FD88:0:0:0:0:0:0:2", "fd88::2", "[fd88::2]:9999", false},
        {"::", "::", "[::]:9999", false},
        {"255.255.255.255", "255.255.255.255", "255.255.255.255:9999", true},
        {"1111:2222:3333:4444:5555:6666:7777:8888", "1111:2222:3333:4444:5555:6666:7777:8888",
         "[1111:2222:3333:4444:5555:6666:7777:8888]:9999", false},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_addr a;
        char buf[PQ_ADDR_STRLEN];
        memset(&a, 0xee, sizeof a);
        assert_int_equal(pq_addr_parse_ip(&a, t[i].in), 0);
        assert_int_equal(a.port, 0);
        a.port = 9999;
        assert_int_equal(pq_addr_is4(&a), t[i].is4);
        assert_string_equal(pq_addr_ip_str(&a, buf), t[i].ip);
        assert_string_equal(pq_addr_str(&a, buf), t[i].with_port);
    }
    static const char *const bad[] = {
        "",       "1.2.3", "1.2.3.4.5", "256.1.1.1",         "1.2.3.4:5", "[::1]",
        "::1%lo", "host",  " 1.2.3.4",  "1:2:3:4:5:6:7:8:9", ":"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct pq_addr a, before;
        memset(&a, 0xee, sizeof a);
        before = a;
        assert_int_equal(pq_addr_parse_ip(&a, bad[i]), PQ_EINVAL);
        assert_memory_equal(&a, &before, sizeof a);
    }
}

static void addr_compare(void **state)
{
    (void)state;
    struct pq_addr a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0xff, sizeof b);
    const uint8_t v4[4] = {10, 0, 0, 1};
    const uint8_t v6[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1};
    pq_addr_set4(&a, v4, 7);
    pq_addr_set6(&b, v6, 7);
    assert_true(pq_addr_eq(&a, &b)); /* the mapped form is the same address */
    assert_memory_equal(pq_addr_v4(&b), v4, 4);
    b.port = 8;
    assert_false(pq_addr_eq(&a, &b));
    assert_true(pq_addr_eq_ip(&a, &b));
    assert_false(pq_addr_is_any(&a));
    pq_addr_parse_ip(&a, "0.0.0.0");
    assert_true(pq_addr_is_any(&a));
    pq_addr_parse_ip(&a, "::");
    assert_true(pq_addr_is_any(&a));
    pq_addr_parse_ip(&a, "::1");
    assert_false(pq_addr_is_any(&a));
    pq_addr_parse_ip(&a, "0.0.0.1");
    assert_false(pq_addr_is_any(&a));
}

/* Networks and what is in them: at each border, and across the IP versions. */
static void net_members(void **state)
{
    (void)state;
    static const struct {
        const char *net, *in, *out;
    } t[] = {
        {"10.0.0.0/8", "10.0.0.0", "11.0.0.0"},
        {"10.0.0.0/8", "10.255.255.255", "9.255.255.255"},
        {"10.9.8.7/8", "10.0.0.1", "11.9.8.7"}, /* bits of the host part do not count */
        {"172.16.0.0/12", "172.31.255.255", "172.32.0.0"},
        {"172.16.0.0/12", "172.16.0.0", "172.15.255.255"},
        {"192.168.1.128/25", "192.168.1.255", "192.168.1.127"},
        {"192.0.2.1", "192.0.2.1", "192.0.2.0"},
        {"192.0.2.1/32", "192.0.2.1", "192.0.2.3"},
        {"192.0.2.0/31", "192.0.2.1", "192.0.2.2"},
        {"128.0.0.0/1", "255.255.255.255", "127.255.255.255"},
        {"0.0.0.0/0", "255.255.255.255", "::"},
        {"0.0.0.0/0", "::ffff:1.2.3.4", "::1.2.3.4"}, /* mapped: the same address */
        {"::/0", "ffff::", "1.2.3.4"},
        {"::/0", "::", "::ffff:0.0.0.0"},
        {"::/1", "7fff::", "8000::"},
        {"::1", "::1", "::"},
        {"fe80::/10", "febf:ffff::1", "fec0::"},
        {"fc00::/7", "fdff::", "fe00::"},
        {"2001:db8::/127", "2001:db8::1", "2001:db8::2"},
        {"2001:db8::/128", "2001:db8::", "2001:db8::1"},
        {"::fffe:0:0/95", "::fffe:1:1", "::ffff:0.1.0.1"}, /* IPv4 is never in IPv6 */
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_net n;
        struct pq_addr in, out;
        assert_int_equal(pq_net_parse(&n, t[i].net), 0);
        assert_int_equal(n.ip.port, 0);
        assert_int_equal(pq_addr_parse_ip(&in, t[i].in), 0);
        assert_int_equal(pq_addr_parse_ip(&out, t[i].out), 0);
        in.port = out.port = 443; /* ports do not matter */
        if (!pq_net_has(&n, &in) || pq_net_has(&n, &out))
            fail_msg("%s: %s in %d, %s in %d", t[i].net, t[i].in, pq_net_has(&n, &in), t[i].out,
                     pq_net_has(&n, &out));
    }
}

static void net_edges(void **state)
{
    (void)state;
    static const struct {
        const char *net, *addr;
        bool edge;
    } t[] = {
        {"10.9.0.1/24", "10.9.0.0", true},      {"10.9.0.1/24", "10.9.0.255", true},
        {"10.9.0.1/24", "10.9.0.1", false},     {"10.9.0.1/24", "10.9.1.0", false},
        {"10.9.0.1/16", "10.9.0.255", false},   {"10.9.0.4/30", "10.9.0.7", true},
        {"10.9.0.4/31", "10.9.0.4", false},     {"10.9.0.4/32", "10.9.0.4", false},
        {"0.0.0.0/0", "255.255.255.255", true}, {"0.0.0.0/0", "0.0.0.0", true},
        {"fd09::1/64", "fd09::", true},         {"fd09::1/64", "fd09::ffff:ffff:ffff:ffff", false},
        {"fd09::1/64", "fd09:0:0:1::", false},  {"fd09::/127", "fd09::", false},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_net n;
        struct pq_addr a;
        assert_int_equal(pq_net_parse(&n, t[i].net), 0);
        assert_int_equal(pq_addr_parse_ip(&a, t[i].addr), 0);
        if (pq_net_is_edge(&n, &a) != t[i].edge)
            fail_msg("%s in %s", t[i].addr, t[i].net);
    }
}

static void net_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/256",
        "10.0.0.0/4294967304",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/8 ",
        "10.0.0.0/ 8",
        "10.0.0.0/8/8",
        "10.0.0.0/0x8",
        " 10.0.0.0/8",
        "10.0.0/8",
        "::/129",
        "fd00::/",
        "[fd00::]/8",
        "fe80::1%eth0/64",
        "example.com/8",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc/8"};
    struct pq_net n, before;
    memset(&n, 0x5a, sizeof n);
    before = n;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (pq_net_parse(&n, bad[i]) != PQ_EINVAL)
            fail_msg("\"%s\" is taken for a network", bad[i]);
        assert_memory_equal(&n, &before, sizeof n);
    }
    static const struct {
        const char *net;
        int bits;
    } good[] = {{"0.0.0.0/0", 96}, {"10.0.0.0/8", 104}, {"1.2.3.4", 128}, {"::/0", 0}, {"::", 128}};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(pq_net_parse(&n, good[i].net), 0);
        assert_int_equal(n.bits, good[i].bits);
    }
}

static void addr_sockaddr(void **state)
{
    (void)state;
    static const char *const t[] = {"1.2.3.4", "fd88::2", "::", "0.0.0.0"};
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_addr a, b;
        struct sockaddr_storage ss;
        pq_addr_parse_ip(&a, t[i]);
        a.port = 0x1234;
        socklen_t n = pq_addr_to_sock(&a, &ss);
        bool is4 = ss.ss_family == AF_INET;
        assert_int_equal(is4, pq_addr_is4(&a));
        assert_int_equal(n, is4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        assert_int_equal(pq_addr_from_sock(&b, (const struct sockaddr *)&ss), 0);
        assert_true(pq_addr_eq(&a, &b));
        const uint8_t *raw = (const uint8_t *)&ss;
        assert_int_equal(raw[2], 0x12); /* the port in network order */
        assert_int_equal(raw[3], 0x34);
    }
    struct sockaddr sa = {.sa_family = AF_UNIX};
    struct pq_addr a;
    assert_int_equal(pq_addr_from_sock(&a, &sa), PQ_EINVAL);
}

static void flags_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned bits;
    } t[] = {
        {"", 0},
        {"F", 1},
        {"S", 2},
        {"R", 4},
        {"P", 8},
        {"A", 16},
        {"U", 32},
        {"E", 64},
        {"C", 128},
        {"N", 256},
        {"PA", 0x18},
        {"AP", 0x18},
        {"FSRPAUECN", 0x1ff},
        {"PPPP", 8},
        {"SA", 0x12},
    };
    uint16_t v;
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        v = 0xffff;
        assert_int_equal(pq_flags_parse(t[i].text, &v), 0);
        assert_int_equal(v, t[i].bits);
    }
    static const char *const bad[] = {"p", "X", "P A", "PA ", "P,A", "\xff", "PAx"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        v = 0xabcd;
        assert_int_equal(pq_flags_parse(bad[i], &v), PQ_EINVAL);
        assert_int_equal(v, 0xabcd);
    }
}

static void reader(void **state)
{
    (void)state;
    const uint8_t b[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct pq_rd r = pq_rd_init(b, sizeof b);
    assert_int_equal(pq_rd_u8(&r), 1);
    assert_int_equal(pq_rd_be16(&r), 0x0203);
    assert_int_equal(pq_rd_le16(&r), 0x0504);
    assert_int_equal(pq_rd_left(&r), 4);
    assert_int_equal(pq_rd_le32(&r), 0x09080706);
    assert_ptr_equal(pq_rd_bytes(&r, 0), b + sizeof b); /* nothing, at the end, is no error */
    assert_false(r.bad);
    r = pq_rd_init(b, 3);
    assert_int_equal(pq_rd_le32(&r), 0);
    assert_true(r.bad);
    assert_int_equal(pq_rd_u8(&r), 0); /* latched, although bytes are left */
    assert_int_equal(pq_rd_left(&r), 0);
    assert_null(pq_rd_bytes(&r, 0));
    r = pq_rd_init(b, 3);
    assert_null(pq_rd_bytes(&r, SIZE_MAX));
}

static void writer(void **state)
{
    (void)state;
    uint8_t b[4] = {0xee, 0xee, 0xee, 0xee};
    struct pq_wr w = pq_wr_init(b, 3);
    pq_wr_u8(&w, 1);
    pq_wr_be16(&w, 0x0203);
    assert_false(w.bad);
    pq_wr_bytes(&w, b, 0);
    assert_false(w.bad);
    pq_wr_u8(&w, 9);
    assert_true(w.bad);
    assert_int_equal(pq_wr_len(&w), 3);
    assert_int_equal(b[3], 0xee);
    w = pq_wr_init(b, 2);
    pq_wr_bytes(&w, "xyz", 3);
    pq_wr_u8(&w, 7);
    assert_true(w.bad);
    assert_int_equal(pq_wr_len(&w), 0);
    assert_int_equal(b[0], 1); /* unchanged */
}

static void writer_le(void **state)
{
    (void)state;
    static const uint8_t want[] = {0xdc, 0xfe, 0x98, 0xba, 0xdc, 0xfe};
    for (size_t cap = 0; cap <= sizeof want; cap++) { /* whole fields or nothing */
        uint8_t *b = malloc(cap ? cap : 1);
        struct pq_wr w = pq_wr_init(b, cap);
        pq_wr_le16(&w, 0xfedc);
        pq_wr_le32(&w, 0xfedcba98);
        assert_int_equal(w.bad, cap < sizeof want);
        size_t n = cap == sizeof want ? 6 : cap >= 2 ? 2 : 0;
        assert_int_equal(pq_wr_len(&w), n);
        assert_memory_equal(b, want, n);
        free(b);
    }
}

static void stores(void **state)
{
    (void)state;
    uint8_t b[4];
    pq_put_le16(b, 0xfedc);
    assert_int_equal(b[0], 0xdc);
    assert_int_equal(pq_le16(b), 0xfedc);
    pq_put_be16(b, 0xfedc);
    assert_int_equal(b[0], 0xfe);
    assert_int_equal(pq_be16(b), 0xfedc);
    pq_put_le32(b, 0xfedcba98);
    assert_int_equal(b[0], 0x98);
    assert_int_equal(pq_le32(b), 0xfedcba98);
    pq_put_be32(b, 0xfedcba98);
    assert_int_equal(b[0], 0xfe);
    assert_int_equal(pq_be32(b), 0xfedcba98);
}

static void error_texts(void **state)
{
    (void)state;
    for (int e = -10020; e <= 0; e++)
        assert_non_null(pq_strerror(e));
    assert_string_equal(pq_strerror(-ENOENT), pq_strerror(ENOENT));
    for (int e = PQ_EDENIED; e <= PQ_EINVAL; e++) /* each has a text of its own */
        for (int other = PQ_EDENIED; other <= PQ_EINVAL; other++)
            assert_int_equal(strcmp(pq_strerror(e), pq_strerror(other)) == 0, e == other);
    for (int d = -1; d <= PQ_DROP_COUNT; d++) {
        const char *name = pq_drop_name((enum pq_drop)d);
        assert_non_null(name);
        assert_int_not_equal(name[0], 0);
    }
}

static void random_source(void **state)
{
    (void)state;
    struct pq_rng a, b;
    uint8_t x[5000], y[5000];
    pq_rng_init_seed(&a, 1);
    pq_rng_init_seed(&b, 1);
    pq_rng_fill(&a, x, sizeof x);
    for (size_t i = 0; i < sizeof y; i += 50) /* the same bytes, however they are taken */
        pq_rng_fill(&b, y + i, 50);
    assert_memory_equal(x, y, sizeof x);
    assert_memory_not_equal(x, x + 2048, 2048);
    pq_rng_init(&a);
    pq_rng_init(&b);
    assert_true(pq_rng_u64(&a) != pq_rng_u64(&b) || pq_rng_u64(&a) != pq_rng_u64(&b));
    memset(b.buf, 7, sizeof b.buf); /* a prefilled buffer is what comes out */
    b.buf[sizeof b.buf - 1] = 9;
    b.left = 5;
    assert_int_equal(pq_rng_u32(&b), 0x07070707);
    pq_rng_fill(&b, x, 1);
    assert_int_equal(x[0], 9);
    for (size_t i = sizeof b.buf - 5; i < sizeof b.buf; i++)
        assert_int_equal(b.buf[i], 0); /* bytes handed out do not stay */
}

static void lists(void **state)
{
    (void)state;
    struct node {
        int v;
        struct pq_list link;
    } n[3];
    struct pq_list l;
    pq_list_init(&l);
    assert_null(pq_list_pop(&l));
    for (int i = 0; i < 3; i++) {
        n[i].v = i;
        pq_list_push(&l, &n[i].link);
    }
    pq_list_remove(&n[1].link);
    pq_list_remove(&n[1].link); /* twice does nothing */
    assert_int_equal(PQ_OF(pq_list_pop(&l), struct node, link)->v, 0);
    assert_int_equal(PQ_OF(pq_list_pop(&l), struct node, link)->v, 2);
    assert_true(pq_list_empty(&l));
}

/* Edits from one word to another, both ways. */
static void distances(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        unsigned n;
    } t[] = {
        {"", "", 0},
        {"ping", "ping", 0},
        {"", "ping", 4},
        {"pig", "ping", 1},
        {"pong", "ping", 1},
        {"pnig", "ping", 1},
        {"pnig", "init", 2},
        {"chekc", "check", 1},
        {"gnip", "ping", 3},
        {"status", "tsatus", 1},
        {"statsu", "status", 1},
        {"abc", "cab", 2},
    };
    char long_word[65];
    memset(long_word, 'x', sizeof long_word);
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        assert_int_equal(pq_text_distance(t[i].a, t[i].b), t[i].n);
        assert_int_equal(pq_text_distance(t[i].b, t[i].a), t[i].n);
    }
    long_word[64] = 0;
    assert_int_equal(pq_text_distance(long_word, "x"), 64);
    long_word[63] = 0;
    assert_int_equal(pq_text_distance(long_word, "x"), 62);
}

int main(void)
{
    const struct CMUnitTest base[] = {
        cmocka_unit_test(hostport_good),
        cmocka_unit_test(hostport_bad),
        cmocka_unit_test(hostport_capacity),
        cmocka_unit_test(port_ranges),
        cmocka_unit_test(addr_text),
        cmocka_unit_test(addr_compare),
        cmocka_unit_test(net_members),
        cmocka_unit_test(net_edges),
        cmocka_unit_test(net_bad),
        cmocka_unit_test(addr_sockaddr),
        cmocka_unit_test(flags_parse),
        cmocka_unit_test(reader),
        cmocka_unit_test(writer),
        cmocka_unit_test(writer_le),
        cmocka_unit_test(stores),
        cmocka_unit_test(error_texts),
        cmocka_unit_test(random_source),
        cmocka_unit_test(lists),
        cmocka_unit_test(distances),
    };
    return ut_run(base) + base_tables() + base_log();
}
