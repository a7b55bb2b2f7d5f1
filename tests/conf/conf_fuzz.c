/* SPDX-License-Identifier: MIT */
/* conf_fuzz.c - damaged files: any verdict, but no crash, no leak, no secret in a message. */
#include "base/text.h"
#include "base/time.h"
#include "conf_tests.h"

#define ROUNDS (ut_slow() ? 4000U : 20000U)

static const char *const words[] = {
    "socks5:",
    "network:",
    "transport:",
    "kcp:",
    "null",
    "\"null\"",
    "[",
    "]",
    "{",
    "}",
    "- ",
    "  ",
    "\n",
    ": ",
    "&a ",
    "*a",
    "!!int ",
    "|\n",
    ">\n",
    "---\n",
    "...\n",
    "<<: *a",
    "? ",
    "\t",
    "\"",
    "'",
    "#",
    "99999999999999999999",
    "-1",
    "0x7fffffff",
    "%YAML 1.1",
    "\xef\xbb",
    "\xff",
    "1e9",
    "true",
    "local_flag: [S, PA]",
    "[::1]:0",
    ":65536",
    "mtu: 1500",
    "[[[[[[[[",
    "{a: {b: {c: ",
    "allow: [public, '*:25']\n",
    "deny: [",
    "tun: {enabled: true, addr: 10.0.0.1/8}\n",
    "routes: [default, 10.1.2.3/9, ::/0]\n",
    "outgoing: {socks5: 'h:1', ipv6: '::1'}\n",
    "protocol: udp",
};

/* Puts a word somewhere, or exchanges, repeats or removes a line. */
static size_t mangle(uint64_t *rng, char *text, size_t n, size_t cap)
{
    size_t at = ut_below(rng, (uint32_t)n + 1);
    uint32_t kind = ut_below(rng, 4);
    if (kind == 0)
        return ut_mutate(rng, (uint8_t *)text, n, cap);
    if (kind == 3) { /* a line less */
        char *end = memchr(text + at, '\n', n - at);
        if (!end)
            return at;
        size_t gone = (size_t)(end - (text + at));
        memmove(text + at, end, n - at - gone);
        return n - gone;
    }
    char line[256];
    const char *w = words[ut_below(rng, COUNT_OF(words))];
    size_t len = strlen(w);
    if (kind == 2) { /* a piece of the text once more */
        size_t from = ut_below(rng, (uint32_t)n + 1);
        len = ut_below(rng, 100);
        len = len < n - from ? len : n - from;
        memcpy(line, text + from, len);
        w = line;
    }
    if (n + len > cap)
        return n;
    memmove(text + at + len, text + at, n - at);
    for (size_t i = 0; i < len; i++) /* a piece of a text, without its end */
        text[at + i] = w[i];
    return n + len;
}

static void no_crash(void **state)
{
    (void)state;
    uint64_t rng = ut_seed("mutated files");
    static const char *const texts[] = {CONF_FAMILY_A, CONF_FAMILY_B, CONF_SERVER};
    unsigned accepted = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char text[8192];
        const char *t = texts[i % COUNT_OF(texts)];
        size_t n = strlen(t);
        for (size_t k = 0; k < n; k++)
            text[k] = t[k];
        for (uint32_t times = 1 + ut_below(&rng, 6); times; times--)
            n = mangle(&rng, text, n, sizeof text);
        uint8_t *exact = ut_exact((const uint8_t *)text, n);
        struct pq_conf c;
        struct pq_conf_msgs m;
        int e = pq_conf_parse(&c, (const char *)exact, n, &m);
        free(exact);
        assert_true(e == 0 || e == PQ_EINVAL);
        assert_true((e == 0) == (m.errors == 0));
        assert_true(e == 0 || m.n > 0);
        accepted += e == 0;
        for (unsigned k = 0; k < m.n; k++) {
            assert_non_null(m.v[k].text);
            assert_true(m.v[k].line >= 0);
        }
        pq_conf_free(&c);
        pq_conf_msgs_free(&m);
    }
    printf("%u of %u damaged files were still accepted\n", accepted, ROUNDS);
    assert_true(accepted > 100);
}

/* Values that point at themselves and values named a thousand times. */
static void anchors(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "&a [*a]\n",
        "&a {role: *a}\n",
        "socks5: &a [*a, *a]\nrole: client\n",
        "network: &n\n  ipv4: *n\n  tcp:\n    local_flag: &f [PA, *f]\n",
        "transport: &t\n  kcp: *t\n  quic: *t\n",
        "role: client\ntunnels: &t\n  - &u {name: a, tunnels: *t}\n  - *u\n",
        "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\nd: &d [*c,*c]\nsocks5: *d\n",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct pq_conf c;
        struct pq_conf_msgs m;
        assert_int_equal(pq_conf_parse(&c, texts[i], strlen(texts[i]), &m), PQ_EINVAL);
        pq_conf_free(&c);
        pq_conf_msgs_free(&m);
    }
}

/* More mistakes than there is room for: the count goes on, and nothing overflows. */
static void too_many(void **state)
{
    (void)state;
    char text[16384] = "role: client\n";
    for (unsigned i = 0; i < 300; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "role: x%u\nunknown%u: 1\n", i,
                 i);
    struct pq_conf c;
    struct pq_conf_msgs m;
    assert_int_equal(pq_conf_parse(&c, text, strlen(text), &m), PQ_EINVAL);
    assert_true(m.n <= PQ_CONF_MSGS_MAX && m.errors >= 300);
    pq_conf_free(&c);
    pq_conf_msgs_free(&m);
}

/* A file may be a stranger's, too: nothing in it is an order to the terminal. */
static void no_orders(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "role: client\n\"k\\e[2J\": 1\nlog:\n  level: \"a\\e[31m\"\nserver:\n"
              "  addr: \"\\u009b2Jx\\u202e:9\"\n\"two\\nlines\": 1\n"
              "transport:\n  protocol: \"k\\x07\"\n");
    assert_true(p.m.n > 4);
    for (unsigned i = 0; i < p.m.n; i++)
        for (const char *t = p.m.v[i].text; *t; t += pq_text_char(t))
            assert_int_not_equal(pq_text_char(t), 0);
    release(&p);
}

/* A megabyte of it would take libyaml half an hour. */
static void deep(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    char *text = malloc(DEEP + 64);
    struct parsed p;
    assert_non_null(text);
    for (int i = 0; i < 2; i++) {
        const size_t head = (size_t)sprintf(text, "role: client\nlog: ");
        memset(text + head, i ? '{' : '[', DEEP);
        text[head + DEEP] = 0;
        const pq_ns begin = pq_clock();
        parse(&p, text);
        assert_true(pq_clock() - begin < 2 * PQ_SEC);
        assert_int_equal(p.m.errors, 1);
        assert_non_null(strstr(p.m.v[0].text, "levels in each other"));
        release(&p);
    }
    free(text);
}

int conf_fuzz(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_crash),  cmocka_unit_test(anchors), cmocka_unit_test(too_many),
        cmocka_unit_test(no_orders), cmocka_unit_test(deep),
    };
    return ut_run(tests);
}
