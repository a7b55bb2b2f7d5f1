/* SPDX-License-Identifier: MIT */
/* conf_quic.c - transport.quic: defaults by role, what follows, and what is refused. */
#include "conf_tests.h"

#ifdef PQ_WITH_QUIC
#define ROLE_SERVER "role: server\nlisten: {addr: ':9'}\nallow: any\n"
#define ROLE_CLIENT                                                                                \
    "role: client\nserver: {addr: '203.0.113.7:9'}\nsocks5: [{listen: '127.0.0.1:1080'}]\n"

static void expect_no(struct parsed *p)
{
    assert_int_equal(p->m.errors, 0);
    assert_int_equal(p->m.n, 0);
}

static void defaults(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, ROLE_SERVER "transport: {protocol: quic, quic: {key: " SECRET "}}\n");
    expect_no(&p);
    assert_true(p.c.over_quic && !p.c.quic.cubic && !p.c.quic.no_datagrams && !p.c.mtu_set);
    assert_int_equal(p.c.header, PQ_FAMILY_BINARY);
    assert_string_equal(p.c.kcp.key, SECRET);
    assert_null(p.c.quic.key);
    assert_int_equal(p.c.quic.mtu, 1350);
    assert_int_equal(p.c.quic.idle, 60);
    assert_int_equal(p.c.quic.keepalive, 15);
    assert_int_equal(p.c.quic.streams, 50000);
    assert_int_equal(p.c.quic.stream_window, 10 << 20);
    assert_int_equal(p.c.quic.window_max, 100 << 20);
    release(&p);
    parse(&p, ROLE_SERVER "transport:\n"
                          "  protocol: quic\n"
                          "  quic: {key: " SECRET ", key_before: much older than this one}\n");
    expect_no(&p);
    assert_string_equal(p.c.kcp.key_before, "much older than this one");
    release(&p);
    parse(&p, ROLE_CLIENT "transport: {protocol: quic, kcp: {key: " SECRET "}}\n");
    expect_no(&p); /* the other transport's key will do */
    assert_string_equal(p.c.kcp.key, SECRET);
    assert_int_equal(p.c.quic.idle, 30);
    assert_int_equal(p.c.quic.window, 15 << 20);
    release(&p);
}

static void all_keys(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, ROLE_CLIENT "transport:\n"
                          "  protocol: quic\n"
                          "  kcp: {key: not this one}\n"
                          "  quic:\n"
                          "    auth: key\n"
                          "    key: " SECRET "\n"
                          "    congestion: cubic\n"
                          "    mtu: 1300\n"
                          "    max_idle_timeout: 31\n"
                          "    max_incoming_streams: 5001\n"
                          "    max_incoming_uni_streams: 5000\n"
                          "    initial_stream_receive_window: 30000000\n"
                          "    initial_connection_receive_window: 70000000\n"
                          "    keep_alive_period: 11\n"
                          "    enable_datagrams: false\n"
                          "    enable_0rtt: true\n"
                          "    insecure_skip_verify: true\n"
                          "    server_name: server.example\n");
    expect_no(&p);
    assert_string_equal(p.c.kcp.key, SECRET);
    assert_true(p.c.quic.cubic && p.c.quic.no_datagrams && p.c.mtu_set);
    assert_int_equal(p.c.quic.streams, 5001);
    assert_int_equal(p.c.quic.stream_window_max, 30000000); /* a default gives way */
    assert_int_equal(p.c.quic.window_max, 70000000);
    release(&p);
}

/* As the Go programs speak it: without a key, and with a warning at each start. */
static void open_to_all(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } t[] = {
        {ROLE_SERVER "transport: {protocol: quic, quic: {auth: none}}\n", "whoever finds the port"},
        {ROLE_CLIENT "transport: {protocol: quic, quic: {auth: none}}\n", "a certificate that"},
        {ROLE_CLIENT "transport: {protocol: quic, quic: {auth: none, insecure_skip_verify: true, "
                     "server_name: a.example}}\n",
         "whoever is on the way"},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct parsed p;
        parse(&p, t[i].text);
        assert_int_equal(p.m.errors, 0);
        assert_int_equal(p.m.n, 1);
        assert_non_null(strstr(p.m.v[0].text, t[i].want));
        assert_true(p.c.quic.open);
        assert_int_equal(p.c.header, PQ_FAMILY_NONE);
        assert_true(i != 2 || (p.c.quic.skip_verify && p.c.quic.server_name));
        release(&p);
    }
}

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* Keys of servers and users, as with the other transport. */
static void own_keys(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, ROLE_SERVER "transport:\n"
                          "  protocol: quic\n"
                          "  private_key: " HEX "\n"
                          "  require: keys\n"
                          "  quic: {key: " SECRET "}\n"
                          "users: [{name: ali, public_key: " HEX "}]\n");
    expect_no(&p);
    assert_true(p.c.has_secret && p.c.require_keys);
    assert_int_equal(p.c.n_users, 1);
    release(&p);
    parse(&p, "role: client\n"
              "server: {addr: '203.0.113.7:9', public_key: " HEX "}\n"
              "socks5: [{listen: '127.0.0.1:1080'}]\n"
              "transport: {protocol: quic, private_key: " HEX ", quic: {key: " SECRET "}}\n");
    expect_no(&p);
    assert_true(p.c.has_secret && p.c.server[0].has_key);
    release(&p);
}

#define IN_QUIC(keys) ROLE_SERVER "transport:\n  protocol: quic\n  quic: {" keys "}\n"

static void wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } t[] = {
        {IN_QUIC("mtu: 1300"), "transport.quic.key: is missing"},
        {IN_QUIC("key: " SECRET ", auth: keys"), "transport.quic.auth: 'keys'"},
        {IN_QUIC("key: " SECRET ", mtu: 1227"), "transport.quic.mtu"},
        {IN_QUIC("key: " SECRET ", mtu: 1453"), "transport.quic.mtu"},
        {IN_QUIC("key: " SECRET ", congestion: reno"), "transport.quic.congestion: 'reno'"},
        {IN_QUIC("key: " SECRET ", max_idle_timeout: 601"), "transport.quic.max_idle_timeout"},
        {IN_QUIC("key: " SECRET ", initial_stream_receive_window: 3000000, "
                 "max_stream_receive_window: 2000000"),
         "transport.quic.max_stream_receive_window: 2000000 is less"},
        {IN_QUIC("key: " SECRET ", initial_connection_receive_window: 3000000, "
                 "max_connection_receive_window: 2000000"),
         "transport.quic.max_connection_receive_window: 2000000 is less"},
        {IN_QUIC("auth: none") "  private_key: " HEX "\n",
         "transport.quic.auth: none lets everybody"},
        {IN_QUIC("key: " SECRET ", auth: none, early: true"), "transport.quic.early: is for"},
        {IN_QUIC("key: " SECRET) "  require: keys\n", "transport.private_key: is missing"},
        {IN_QUIC("key: " SECRET) "network: {tcp: {look: connect}}\n",
         "network.tcp.look: connect is not"},
        {"role: server\nlisten: {addr: ':9-12'}\nallow: any\ntransport: {protocol: quic, quic: "
         "{auth: none}}\n",
         "listen.addr: quic with auth: none takes no range"},
        {"role: client\nserver: {addr: '203.0.113.7:9-12'}\n"
         "socks5: [{listen: '127.0.0.1:1080'}]\ntransport: {protocol: quic, quic: {auth: none}}\n",
         "server.addr: quic with auth: none takes no range"},
        {IN_QUIC("auth: none, key_before: " SECRET),
         "transport.quic.key_before: is accepted besides transport.quic.key, which is missing"},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct parsed p;
        parse(&p, t[i].text);
        bool found = false;
        for (unsigned k = 0; k < p.m.n; k++)
            found = found || (p.m.v[k].error && strstr(p.m.v[k].text, t[i].want));
        if (!found)
            print_error("no error '%s'\n", t[i].want);
        assert_true(found);
        release(&p);
    }
}

int conf_quic(void)
{
    const struct CMUnitTest quic[] = {
        cmocka_unit_test(defaults), cmocka_unit_test(all_keys), cmocka_unit_test(open_to_all),
        cmocka_unit_test(own_keys), cmocka_unit_test(wrong),
    };
    return ut_run(quic);
}

#else

static void refused(void **state)
{
    (void)state;
    one_error(CONF_SERVER "  protocol: quic\n", 7, "transport.protocol: quic is not in this build");
}

int conf_quic(void)
{
    const struct CMUnitTest quic[] = {cmocka_unit_test(refused)};
    return ut_run(quic);
}
#endif
