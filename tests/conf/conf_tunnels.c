/* SPDX-License-Identifier: MIT */
/* conf_tunnels.c - several tunnels in one file. */
#include "conf_tests.h"

#define HEAD "role: client\ntunnels:\n"
#define ENTRY(name, port)                                                                          \
    "  - name: " name "\n"                                                                         \
    "    server: {addr: '203.0.113.7:9999'}\n"                                                     \
    "    transport: {kcp: {key: " SECRET ", block: aes-128-gcm}}\n"                                \
    "    socks5: [{listen: '127.0.0.1:" port "'}]\n"

#define TUN(name, port, more) ENTRY(name, port) "    tun: {enabled: true, " more "}\n"

static void whole(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, HEAD "  - &a\n"
                   "    name: one\n"
                   "    server: {addr: '203.0.113.7:9999'}\n"
                   "    transport: {protocol: kcp, kcp: {key: " SECRET ", block: aes-128-gcm}}\n"
                   "    performance: {packet_workers: 3}\n"
                   "    socks5: [{listen: '127.0.0.1:1080'}]\n"
                   "  - <<: *a\n"
                   "    name: two\n"
                   "    server: {addr: '203.0.113.8:9998'}\n"
                   "    performance: {packet_workers: 2}\n"
                   "    transport: {protocol: kcp, kcp: {key: another-" SECRET ", block: aes}}\n"
                   "    socks5: []\n"
                   "    forward: [{listen: ':8000-8009', target: 'h:1', protocol: 'tcp,udp'}]\n"
                   "log: {level: debug}\n");
    expect_clean(&p);
    const struct pq_conf *one = &p.c.tunnel[0], *two = &p.c.tunnel[1];
    assert_int_equal(p.c.n_tunnels, 2);
    assert_int_equal(p.c.role, PQ_ROLE_CLIENT);
    assert_int_equal(p.c.log_level, PQ_LOG_DEBUG);
    assert_string_equal(one->name, "one");
    assert_string_equal(two->name, "two");
    assert_int_equal(one->role, PQ_ROLE_CLIENT);
    assert_int_equal(one->cipher, PQ_CIPHER_AES_128_GCM);
    assert_int_not_equal(two->cipher, PQ_CIPHER_AES_128_GCM);
    assert_string_equal(one->kcp.key, SECRET);
    assert_string_equal(two->kcp.key, "another-" SECRET);
    assert_int_equal(two->server[0].ports.from, 9998);
    assert_int_equal(one->n_socks5, 1);
    assert_int_equal(two->n_socks5, 0);
    assert_int_equal(two->n_ports, 20);
    assert_int_equal(one->all_workers, 5); /* which share the memory */
    assert_int_equal(two->all_workers, 5);
    release(&p);
}

static void wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line;
        const char *want;
    } t[] = {
        {HEAD ENTRY("one", "1080") ENTRY("one", "1081"), 7, "tunnels[1].name: tunnels[0] has this"},
        {HEAD ENTRY("one", "1080") ENTRY("two", "1080"), 10,
         "tunnels[1]: tunnels[0] already listens on 127.0.0.1:1080, TCP"},
        {HEAD ENTRY("a b", "1080"), 3, "tunnels[0].name: must be"},
        {HEAD ENTRY("a23456789012345678901234567890123", "1080"), 3, "tunnels[0].name: must be"},
        {HEAD ENTRY("''", "1080"), 3, "tunnels[0].name: is missing"},
        {HEAD ENTRY("one", "70000"), 6, "tunnels[0].socks5[0].listen"},
        {HEAD ENTRY("one", "1080") "    role: client\n", 7, "tunnels[0].role: is for all tunnels"},
        {HEAD ENTRY("one", "1080") "    status: {listen: '127.0.0.1:1'}\n", 7,
         "tunnels[0].status: is for all tunnels"},
        {HEAD ENTRY("one", "1080") "    tunnels: []\n", 7, "tunnels[0].tunnels: a tunnel has none"},
        {HEAD TUN("one", "1080", "addr: 10.0.0.2/24") TUN("two", "1081", "addr: 10.0.1.2/24"), 8,
         "tunnels[1].tun.name: tunnels[0] has this device"},
        {HEAD TUN("one", "1080", "addr: 10.0.0.2/24")
             TUN("two", "1081", "addr: 10.0.0.2/25, name: tun1"),
         8, "tunnels[1].tun.addr: tunnels[0] has this address"},
        {HEAD TUN("one", "1080", "addr: 10.0.0.2/24") TUN(
             "two", "1081", "addr: 10.0.1.2/24, name: tun1, routes: default, kill_switch: 'on'"),
         8, "tunnels[1].tun.kill_switch: would close the device of tunnels[0]"},
        {HEAD TUN("one", "1080", "addr: 10.0.0.2/24, dns: 9.9.9.9")
             TUN("two", "1081", "addr: 10.0.1.2/24, name: tun1, dns: 9.9.9.9"),
         8, "tunnels[1].tun.dns: tunnels[0] answers"},
        {HEAD ENTRY("one", "1080") "spread: true\n", 7, "spread: belongs into the entries"},
        {HEAD ENTRY("one", "1080") "    performance: {packet_workers: 64}\n" ENTRY("two", "1081"),
         2, "tunnels: have 65 packet_workers together"},
        {HEAD "  - one\n", 3, "tunnels[0]: expected a map of keys"},
        {"role: client\ntunnels: []\n", 2, "tunnels: has no entries"},
        {"role: client\ntunnels: 5\n", 2, "tunnels: expected a list"},
        {"role: server\ntunnels:\n" ENTRY("one", "1080"), 2, "tunnels: is for a client only"},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct parsed p;
        bool found = false;
        parse(&p, t[i].text);
        assert_int_equal(p.e, PQ_EINVAL);
        for (unsigned k = 0; k < p.m.n; k++)
            found = found || (p.m.v[k].error && p.m.v[k].line == t[i].line &&
                              strstr(p.m.v[k].text, t[i].want));
        if (!found) {
            pq_conf_msgs_print(&p.m, "text", stdout);
            fail_msg("not said in line %d: %s", t[i].line, t[i].want);
        }
        release(&p);
    }
}

/* One more than there may be. */
static void many(void **state)
{
    (void)state;
    char text[8192] = HEAD;
    struct parsed p;
    for (unsigned i = 0; i <= PQ_CONF_TUNNELS_MAX; i++) {
        const size_t n = strlen(text);
        if (i == PQ_CONF_TUNNELS_MAX) {
            parse(&p, text);
            expect_clean(&p);
            release(&p);
        }
        snprintf(text + n, sizeof text - n,
                 "  - {name: t%u, server: {addr: '203.0.113.7:9999'}, socks5: [{listen: ':%u'}],\n"
                 "     transport: {kcp: {key: " SECRET ", block: aes-128-gcm}}}\n",
                 i, 2000 + i);
    }
    one_error(text, 3 + 2 * PQ_CONF_TUNNELS_MAX, "tunnels: more than 16 entries");
}

int conf_tunnels(void)
{
    const struct CMUnitTest tunnels[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(wrong),
        cmocka_unit_test(many),
    };
    return ut_run(tunnels);
}
