/* SPDX-License-Identifier: MIT */
/* test_conf.c - the configuration against docs/configuration.md: what is accepted, with which
 * values, and what is said about mistakes. */
#include "conf_tests.h"

/* ---- accepted */

static void minimal(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, CONF_CLIENT);
    expect_clean(&p);
    assert_int_equal(p.c.role, PQ_ROLE_CLIENT);
    assert_string_equal(p.c.server[0].host, "203.0.113.7");
    assert_int_equal(p.c.server[0].ports.from, 9999);
    assert_int_equal(p.c.own_port, 0);
    assert_int_equal(p.c.n_socks5, 1);
    assert_int_equal(p.c.socks5[0].addr.port, 1080);
    assert_int_equal(p.c.header, PQ_FAMILY_NONE);
    assert_int_equal(p.c.backend, PQ_BACKEND_AUTO);
    release(&p);
    parse(&p, CONF_SERVER);
    expect_clean(&p);
    assert_int_equal(p.c.role, PQ_ROLE_SERVER);
    assert_int_equal(p.c.own_port, 9999);
    release(&p);
}

/* The column "here" of the tables. */
static void defaults(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, CONF_SERVER);
    const struct pq_conf_kcp *k = &p.c.kcp;
    assert_int_equal(p.c.log_level, PQ_LOG_INFO);
    assert_int_equal(p.c.cipher, PQ_CIPHER_AES);
    assert_int_equal(k->nodelay, 0); /* mode fast [4.3] */
    assert_int_equal(k->interval, 30);
    assert_int_equal(k->resend, 2);
    assert_int_equal(k->nocongestion, 1);
    assert_true(k->wdelay && !k->acknodelay);
    assert_int_equal(k->mtu, 1350);
    assert_false(p.c.mtu_set);
    assert_int_equal(k->rcvwnd, 16384);
    assert_int_equal(k->sndwnd, 16384);
    assert_int_equal(k->smuxbuf, 64 << 20);
    assert_int_equal(k->streambuf, 32 << 20);
    assert_int_equal(k->smuxkalive, 2);
    assert_int_equal(k->smuxktimeout, 8);
    assert_int_equal(k->dshard + k->pshard, 0);
    assert_int_equal(p.c.sockbuf, 8 << 20);
    assert_int_equal(p.c.conn, 1);
    assert_int_equal(p.c.packet_workers, 1);
    assert_int_equal(p.c.max_streams, 65536);
    assert_int_equal(p.c.local_flag.n, 1);
    assert_int_equal(p.c.local_flag.v[0], PQ_TCP_PSH | PQ_TCP_ACK);
    assert_int_equal(p.c.remote_flag.n, 1);
    release(&p);
}

static void family_a(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, CONF_FAMILY_A);
    expect_clean(&p);
    assert_int_equal(p.c.log_level, PQ_LOG_DEBUG);
    assert_string_equal(p.c.socks5[0].password, SECRET);
    assert_string_equal(p.c.ifname, "eth0");
    assert_true(p.c.v4.has_ip && p.c.v4.has_mac && p.c.v6.has_ip && p.c.v6.has_mac);
    assert_memory_equal(p.c.v6.mac, "\x02\x00\x5e\x10\x00\x0a", 6);
    assert_int_equal(p.c.local_flag.n, 2);
    assert_int_equal(p.c.local_flag.v[1], PQ_TCP_ACK);
    assert_int_equal(p.c.remote_flag.n, 3);
    assert_int_equal(p.c.remote_flag.v[0], 0);
    assert_int_equal(p.c.remote_flag.v[1], PQ_TCP_ALL);
    assert_int_equal(p.c.conn, 4);
    assert_int_equal(p.c.cipher, PQ_CIPHER_SALSA20);
    assert_int_equal(p.c.kcp.interval, 20);
    assert_int_equal(p.c.kcp.resend, 3);
    assert_true(p.c.kcp.acknodelay && p.c.kcp.wdelay && p.c.kcp.nodelay);
    assert_true(p.c.mtu_set);
    assert_int_equal(p.c.kcp.rcvwnd, 4096);
    assert_int_equal(p.c.packet_workers, 4);
    assert_int_equal(p.c.max_streams, 5000);
    assert_int_equal(p.c.sockbuf, 16777216);
    release(&p);
}

static void family_b(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, CONF_FAMILY_B);
    expect_clean(&p);
    assert_string_equal(p.c.server[0].host, "server.example");
    assert_int_equal(p.c.header, PQ_FAMILY_BINARY);
    assert_int_equal(p.c.backend, PQ_BACKEND_PCAP);
    assert_int_equal(p.c.own_port, 7777);
    assert_int_equal(p.c.n_socks5, 2);
    assert_false(pq_addr_is4(&p.c.socks5[0].addr));
    assert_true(pq_addr_is_any(&p.c.socks5[1].addr));
    assert_int_equal(p.c.socks5[1].addr.port, 1081);
    assert_int_equal(p.c.kcp.interval, 10);
    assert_int_equal(p.c.kcp.nodelay, 1);
    assert_true(p.c.kcp.acknodelay && !p.c.kcp.wdelay);
    release(&p);
}

/* quic keys, of which nothing is used while kcp runs, and those of a tun that is off, disturb
 * nobody. */
static void keys_of_later(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, CONF_CLIENT "  protocol: kcp\n"
                          "  quic:\n"
                          "    max_idle_timeout: 30\n"
                          "    max_incoming_streams: 5000\n"
                          "    max_incoming_uni_streams: 5000\n"
                          "    initial_stream_receive_window: 6291456\n"
                          "    max_stream_receive_window: 25165824\n"
                          "    initial_connection_receive_window: 15728640\n"
                          "    max_connection_receive_window: 62914560\n"
                          "    keep_alive_period: 10\n"
                          "    enable_datagrams: false\n"
                          "    enable_0rtt: true\n"
                          "    insecure_skip_verify: true\n"
                          "    server_name: server.example\n"
                          "tun:\n"
                          "  enabled: false\n"
                          "  name: not a name of an interface\n"
                          "  addr: nonsense\n"
                          "  routes: [nonsense]\n"
                          "  mtu: 7\n");
    assert_int_equal(p.m.errors, 0);
    for (unsigned i = 0; i < p.m.n; i++)
        assert_null(strstr(p.m.v[i].text, "unknown"));
    release(&p);
}

static void examples(void **state)
{
    (void)state;
    const char *dir = getenv("PQ_EXAMPLES");
    static const char *const names[] = {"client.yaml", "server.yaml", "client-tun.yaml",
                                        "server-tun.yaml"};
    if (!dir)
        skip();
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[1024];
        struct parsed p;
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        p.e = pq_conf_load(&p.c, path, &p.m);
        assert_int_equal(p.c.cipher, PQ_CIPHER_AES_128_GCM);
        forget_advice(&p.m);
        expect_clean(&p);
        assert_int_equal(p.c.role, i % 2 ? PQ_ROLE_SERVER : PQ_ROLE_CLIENT);
        release(&p);
    }
}

/* ---- null, zero, ports */

static void nulls(void **state)
{
    (void)state;
    struct parsed p;
    static const char *const bare[] = {"null", "~", "Null", "NULL", ""};
    for (size_t i = 0; i < COUNT_OF(bare); i++) { /* a bare null is unset, so aes [trap 2] */
        char text[512];
        snprintf(text, sizeof text, CONF_SERVER "    block: %s\n    mtu: %s\nlog: %s\n", bare[i],
                 bare[i], bare[i]);
        parse(&p, text);
        expect_clean(&p);
        assert_int_equal(p.c.cipher, PQ_CIPHER_AES);
        assert_int_equal(p.c.kcp.mtu, 1350);
        release(&p);
    }
    static const char *const quoted[] = {"\"null\"", "'null'"};
    for (size_t i = 0; i < COUNT_OF(quoted); i++) {
        char text[512];
        snprintf(text, sizeof text, CONF_SERVER "    block: %s\n", quoted[i]);
        parse(&p, text);
        assert_int_equal(p.e, 0);
        assert_int_equal(p.c.cipher, PQ_CIPHER_NULL);
        assert_int_equal(p.m.n, 1); /* that it does not encrypt */
        release(&p);
    }
    parse(&p, CONF_SERVER "    mtu: 0\n    rcvwnd: 0\n    smuxkalive: 0\n");
    expect_clean(&p);
    assert_int_equal(p.c.kcp.mtu, 1350);
    assert_int_equal(p.c.kcp.rcvwnd, 16384);
    assert_int_equal(p.c.kcp.smuxkalive, 2);
    assert_false(p.c.mtu_set);
    release(&p);
    one_error("role: null\nserver: {addr: 'x:1'}\nsocks5: [{listen: ':1'}]\n"
              "transport: {kcp: {key: k}}\n",
              -1, "role: ");
}

/* The key before is one more of a server, and no other's. */
static void key_before(void **state)
{
    (void)state;
    one_error("role: server\nallow: public\nlisten: {addr: ':1'}\n"
              "transport:\n  kcp:\n    block: none\n    key_before: " SECRET "\n",
              7,
              "transport.kcp.key_before: is accepted besides transport.kcp.key, which is missing");
    one_warning(CONF_SERVER "    block: aes-128-gcm\n    key_before: " SECRET "\n", 8,
                "transport.kcp.key_before: is the same");
    one_warning(CONF_CLIENT "    block: aes-128-gcm\n    key_before: a much older secret\n", 8,
                "transport.kcp.key_before: is for a server only");
}

#define HEX_KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* Several ports of a server: only with keys, and only where one place says which. */
static void port_ranges(void **state)
{
    (void)state;
    static const char own[] = "role: server\nallow: public\n"
                              "users: [{name: a, public_key: " HEX_KEY "}]\n"
                              "transport:\n  private_key: " HEX_KEY "\n  require: keys\n"
                              "  kcp: {key: " SECRET ", block: aes-128-gcm}\n";
    static const struct {
        const char *listen, *says;
    } bad[] = {
        {"':20100-20000'", "listen.addr: "},  {"':0-5'", "listen.addr: "},
        {"':1,2'", "listen.addr: "},          {"':20000-65536'", "listen.addr: "},
        {"':1000-33768'", "more than 32768"}, {"':1-2'\nnetwork: {ipv4: {addr: ':7'}}", "says 7"}};
    struct parsed p;
    char text[1024];
    snprintf(text, sizeof text, "%slisten:\n  addr: ':20000-20100'\n", own);
    parse(&p, text);
    assert_int_equal(p.e, 0);
    assert_int_equal(p.c.own_port, 20000);
    assert_int_equal(p.c.own_ports.to, 20100);
    release(&p);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        snprintf(text, sizeof text, "%slisten:\n  addr: %s\n", own, bad[i].listen);
        one_error(text, 9, bad[i].says);
    }
    one_error("role: server\nallow: public\nlisten: {addr: ':1-2'}\n"
              "transport: {kcp: {key: " SECRET ", block: aes-128-gcm}}\n",
              3, "listen.addr: a range of ports is only for clients with keys");
    static const char client[] = "role: client\nsocks5: [{listen: ':1080'}]\n"
                                 "transport: {kcp: {key: " SECRET ", block: aes-128-gcm}}\n"
                                 "server:\n  addr: 'h:20000-20100'\n";
    snprintf(text, sizeof text, "%s  public_key: " HEX_KEY "\n", client);
    parse(&p, text);
    assert_int_equal(p.e, 0);
    assert_int_equal(p.c.server[0].ports.from, 20000);
    assert_int_equal(p.c.server[0].ports.to, 20100);
    release(&p);
    one_error(client, 5, "server.public_key: is missing; a range of ports");
}

static void ports(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, CONF_SERVER "network: {ipv4: {addr: '192.0.2.1:7000'}}\n");
    assert_int_equal(p.e, 0);
    assert_int_equal(p.c.own_port, 7000); /* the network block decides [1.4] */
    release(&p);
    parse(&p, CONF_SERVER "network: {ipv4: {addr: '192.0.2.1:0'}}\n");
    assert_int_equal(p.c.own_port, 9999); /* 0 there: that of listen.addr */
    release(&p);
    parse(&p, CONF_SERVER "network: {ipv6: {addr: '[2001:db8::1]:7000'}}\n");
    assert_int_equal(p.c.own_port, 7000);
    release(&p);
    one_error(CONF_SERVER "network:\n  ipv4: {addr: '192.0.2.1:7000'}\n"
                          "  ipv6:\n    addr: '[::1]:7001'\n",
              10, "network.ipv6.addr: ");
    one_error(CONF_CLIENT "  conn: 2\nnetwork: {ipv4: {addr: '192.0.2.1:7000'}}\n", 7,
              "transport.conn: ");
    static const char *const bad[] = {
        "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", ":x",   ":-1",         "[::1]", "[::1:80",
        "::1:80:",   "h:1:2",      "192.0.2.1: 80",   ":1e3", ":99999999999"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char text[512];
        snprintf(text, sizeof text, CONF_SERVER "network:\n  ipv4:\n    addr: '%s'\n", bad[i]);
        one_error(text, 9, "network.ipv4.addr: ");
    }
    one_error("role: server\nlisten:\n  addr: ':0'\ntransport: {kcp: {key: k}}\n", 3,
              "listen.addr: ");
    one_error("role: client\nserver:\n  addr: 'h:0'\nsocks5: [{listen: ':1'}]\n"
              "transport: {kcp: {key: k}}\n",
              3, "server.addr: ");
}

static void macs(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "02:00:5e:10:00",    "02:00:5e:10:00:01:02", "02:00:5e:10:00:0g", "02005e100001",
        "02:00-5e:10:00:01", "+2:00:5e:10:00:01",    " 2:00:5e:10:00:01", "0x:00:5e:10:00:01",
        "2:0:5e:10:0:1",     "-1:00:5e:10:00:01"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char text[512];
        snprintf(text, sizeof text, CONF_SERVER "network:\n  ipv4:\n    router_mac: '%s'\n",
                 bad[i]);
        one_error(text, 9, "network.ipv4.router_mac: ");
    }
}

/* What a Go program takes: either buffer alone. */
static void buffers(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        long smux, stream;
    } t[] = {
        {"    smuxbuf: 4194304\n", 4 << 20, 2 << 20},
        {"    smuxbuf: 1024\n    streambuf: 0\n", 1024, 512},
        {"    smuxbuf: 1024\n    streambuf: null\n", 1024, 512},
        {"    smuxbuf: 268435456\n", 256 << 20, 32 << 20},
        {"    streambuf: 90000000\n", 90000000, 90000000},
        {"    streambuf: 1024\n", 64 << 20, 1024},
        {"    smuxbuf: 4096\n    streambuf: 4096\n", 4096, 4096},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        char text[512];
        struct parsed p;
        snprintf(text, sizeof text, CONF_SERVER "%s", t[i].keys);
        parse(&p, text);
        expect_clean(&p);
        assert_int_equal(p.c.kcp.smuxbuf, t[i].smux);
        assert_int_equal(p.c.kcp.streambuf, t[i].stream);
        release(&p);
    }
}

/* ---- mistakes */

static void all_at_once(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "role: clint\n"                               /* 1 */
              "log:\n  level: loud\n"                       /* 3 */
              "socks5:\n  - listen: 127.0.0.1\n"            /* 5 */
              "  - username: me\n"                          /* 6: no listen */
              "  - listen: 'example.org:1080'\n"            /* 7 */
              "network:\n  interface: a-very-long-name-0\n" /* 9 */
              "  ipv4:\n    addr: '[::1]:0'\n"              /* 11 */
              "    router_mac: nonsense\n"                  /* 12 */
              "  ipv6:\n    addr: 192.0.2.1:0\n"            /* 14 */
              "  tcp:\n    local_flag: [PA, XY]\n"          /* 16 */
              "    remote_flag: PA\n"                       /* 17 */
              "  backend: dpdk\n"                           /* 18 */
              "server:\n  addr: 203.0.113.7\n"              /* 20 */
              "transport:\n  protocol: tcp\n"               /* 22 */
              "  header: json\n"                            /* 23 */
              "  conn: 257\n"                               /* 24 */
              "  kcp:\n    mode: fast4\n"                   /* 26 */
              "    mtu: 1501\n"                             /* 27 */
              "    rcvwnd: 40000\n"                         /* 28 */
              "    sndwnd: 'many'\n"                        /* 29 */
              "    wdelay: maybe\n"                         /* 30 */
              "    block: rot13\n"                          /* 31 */
              "    streambuf: 1000\n"                       /* 32 */
              "    smuxkalive: 9\n");                       /* 33 */
    static const struct want w[] = {{1, "role: "},
                                    {3, "log.level: "},
                                    {5, "socks5[0].listen: "},
                                    {6, "socks5[1].listen: "},
                                    {7, "socks5[2].listen: "},
                                    {9, "network.interface: "},
                                    {11, "network.ipv4.addr: "},
                                    {12, "network.ipv4.router_mac: "},
                                    {14, "network.ipv6.addr: "},
                                    {16, "network.tcp.local_flag: "},
                                    {17, "network.tcp.remote_flag: "},
                                    {18, "network.backend: "},
                                    {20, "server.addr: "},
                                    {22, "transport.protocol: "},
                                    {23, "transport.header: "},
                                    {24, "transport.conn: "},
                                    {26, "transport.kcp.mode: "},
                                    {27, "transport.kcp.mtu: "},
                                    {28, "transport.kcp.rcvwnd: "},
                                    {29, "transport.kcp.sndwnd: "},
                                    {30, "transport.kcp.wdelay: "},
                                    {31, "transport.kcp.block: "},
                                    {32, "transport.kcp.streambuf: "},
                                    {-1, "transport.kcp.smuxktimeout: "}};
    expect(&p, true, w, COUNT_OF(w));
    release(&p);
}

static void one_by_one(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "[]\n");
    assert_int_equal(p.e, PQ_EINVAL);
    release(&p);
    one_error("", 0, "empty");
    one_error("# nothing\n", 0, "empty");
    one_error("role: [client\n", 2, "YAML");
    one_error("role: client\n\tserver: x\n", 2, "YAML");
    one_error("role: server\nlisten: {addr: ':1'}\ntransport: {quic: {server_name: x}}\n", -1,
              "transport.protocol: is missing");
    one_error("role: server\nlisten: {addr: ':1'}\ntransport:\n  kcp:\n    block: aes\n", -1,
              "transport.kcp.key: is missing");
    one_error("role: server\ntransport: {kcp: {key: k}}\n", -1, "listen.addr: is missing");
    one_error("role: client\nsocks5: [{listen: ':1'}]\ntransport: {kcp: {key: k}}\n", -1,
              "server.addr: is missing");
    one_error("role: client\nserver:\n  addr: ':1'\nsocks5: [{listen: ':1'}]\n"
              "transport: {kcp: {key: k}}\n",
              3, "server.addr: ");
    one_error(CONF_SERVER "    streambuf: 9000\n    smuxbuf: 8999\n", 7,
              "transport.kcp.streambuf: 9000 is more than smuxbuf, 8999");
    one_error(CONF_SERVER "    mtu: 50\n", 7, "transport.kcp.mtu: "); /* nothing is left of it */
    one_error(CONF_SERVER "    mtu: -1\n", 7, "transport.kcp.mtu: ");
    one_error(CONF_SERVER "    mtu: 1350 bytes\n", 7, "transport.kcp.mtu: ");
    one_error(CONF_SERVER "    mtu: 99999999999999999999\n", 7, "transport.kcp.mtu: ");
    one_error(CONF_SERVER "    mtu: [1350]\n", 7, "transport.kcp.mtu: ");
    one_error(CONF_SERVER "    mode: {}\n", 7, "transport.kcp.mode: ");
    one_error(CONF_SERVER "  conn: {}\n", 7, "transport.conn: ");
    one_error(CONF_SERVER "network: eth0\n", 7, "network: ");
    one_error(CONF_SERVER "socks5: {listen: ':1'}\n", 7, "socks5: ");
    one_error(CONF_SERVER "socks5: ['127.0.0.1:1080']\n", 7, "socks5[0]: ");
    one_error(CONF_SERVER "performance:\n  packet_workers: 65\n", 8,
              "performance.packet_workers: ");
    one_error(CONF_SERVER "performance:\n  max_retry_attempts: 21\n", 8,
              "performance.max_retry_attempts: ");
}

static void repeated(void **state)
{
    (void)state;
    one_error(CONF_SERVER "    key: " SECRET "\n", 7, "transport.kcp.key: the key is given twice");
    one_error("role: server\n" CONF_SERVER, 2, "role: the key is given twice");
    one_error(CONF_SERVER "log: {level: info, level: warn}\n", 7, "log.level: ");
    one_error(CONF_SERVER "socks5:\n  - listen: ':1'\n    listen: ':2'\n", 9, "socks5[0].listen: ");
}

static void unknown(void **state)
{
    (void)state;
    one_warning(CONF_SERVER "    mtuu: 1350\n", 7, "transport.kcp.mtuu: unknown key, ignored");
    one_warning(CONF_SERVER "    mtuu: 1350\n", 7, "did you mean transport.kcp.mtu?");
    one_warning(CONF_SERVER "    rcv_wnd: 5\n", 7, "did you mean transport.kcp.rcvwnd?");
    one_warning(CONF_SERVER "loging: {}\n", 7, "did you mean log");
    one_warning(CONF_SERVER "mtu: 5\n", 7, "did you mean transport.kcp.mtu?"); /* misplaced */
    one_warning(CONF_SERVER "netwrok: {}\n", 7, "did you mean network?");
    one_warning(CONF_SERVER "something-else-altogether: 5\n", 7, "unknown key");
    one_warning("role: client\nserver: {addr: 'h:1'}\ntransport: {kcp: {key: k}}\n"
                "socks5:\n  - listen: ':1'\n    user: me\n",
                6, "socks5[0].user: ");
    one_warning(CONF_SERVER "log.level: none\n", 7,
                "log.level: unknown key, ignored (keys have no dots");
    one_warning(CONF_SERVER "'transport.kcp': {mtu: 1400}\n", 7, "transport.kcp: unknown key");
    /* these have places in elements of lists, not in the whole */
    one_warning(CONF_SERVER "'socks5[].password': " SECRET "\n", 7,
                "socks5[].password: unknown key");
    one_warning(CONF_SERVER "'servers[].addr': 'h:1'\n", 7, "servers[].addr: unknown key");
    char text[4096];
    snprintf(text, sizeof text, CONF_SERVER "%0900d: 1\n", 7);
    one_warning(text, 7, "unknown key");
    one_warning("role: client\nserver: {addr: 'h:1'}\ntransport: {kcp: {key: k}}\n", -1,
                "socks5, forward, tun: none is configured");
}

/* Mistakes around a key or a password; parse() looks for the secret in every message. */
static void secrets(void **state)
{
    (void)state;
    static const char *const texts[] = {
        CONF_SERVER "    key:" SECRET "\n", /* the space is missing */
        "role: server\ntransport:\n  kcp:\n    key:" SECRET "\n",
        "role: server\ntransport:\n  kcp: " SECRET "\n",
        "role: server\ntransport:\n  kcp:\n    key: [" SECRET "]\n",
        "role: server\ntransport:\n  kcp:\n    key: {a: " SECRET "}\n",
        "role: server\ntransport:\n  kcp:\n  - key: " SECRET "\n",
        "role: server\ntransport:\n  kcp:\n    key: " SECRET "\n    key: " SECRET "\n",
        "role: server\ntransport:\n  kcp:\n    kee: " SECRET "\n",
        "role: server\ntransport:\n  kcp:\n    key: \"" SECRET "\n",
        "role: client\nsocks5:\n  - password:" SECRET "\n",
        "role: client\nsocks5:\n  password: " SECRET "\n",
        "role: client\nsocks5:\n  - listen: 127.0.0.1:1\n    password: " SECRET "\n",
        "role: client\nsocks5: password:" SECRET "\n",
        "role: client\nserver: {addr: 'me:" SECRET "@h:1'}\n",
        "role: client\nforward: [{target: 'http://me:" SECRET "@h:1/', listen: '" SECRET "@h'}]\n",
        "role: server\nlisten: {addr: '" SECRET "@:1'}\n",
        "role: server\nnetwork: {ipv4: {addr: '" SECRET "@192.0.2.1:1'}}\n",
        "key: " SECRET "\n",
        "key:" SECRET "\n",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct parsed p;
        parse(&p, texts[i]);
        assert_true(p.m.n > 0);
        release(&p);
    }
}

/* "file:line: error: key: text", in the order of the file. */
static void printing(void **state)
{
    (void)state;
    struct parsed p;
    char out[4096] = "";
    parse(&p, "transport:\n  kcp:\n    mtuu: 1\n    key: k\nrole: server\nlisten: {addr: x}\n"
              "allow: any\n");
    FILE *f = fmemopen(out, sizeof out, "w");
    pq_conf_msgs_print(&p.m, "f.yaml", f);
    fclose(f);
    char *first = strstr(out, "f.yaml:3: warning: transport.kcp.mtuu: ");
    char *second = strstr(out, "f.yaml:6: error: listen.addr: ");
    assert_true(first == out && second > first);
    release(&p);
    struct pq_conf c;
    assert_int_equal(pq_conf_load(&c, "/nonexistent/x.yaml", &p.m), PQ_EINVAL);
    assert_int_equal(p.m.errors, 1);
    pq_conf_free(&c);
    pq_conf_msgs_free(&p.m);
}

/* An error among more warnings than there is room for, then more errors. */
static void too_many(void **state)
{
    (void)state;
    char text[16384] = CONF_SERVER, out[16384];
    struct parsed p;
    for (unsigned i = 0; i < PQ_CONF_MSGS_MAX + 6; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "unknown%u: 1\n", i);
    snprintf(text + strlen(text), sizeof text - strlen(text), "log: {level: loud}\n");
    parse(&p, text);
    assert_int_equal(p.m.n, PQ_CONF_MSGS_MAX);
    assert_int_equal(p.m.errors, 1);
    assert_int_equal(p.m.left_out, 8);
    const struct want w = {7 + PQ_CONF_MSGS_MAX + 6, "log.level: "};
    expect(&p, true, &w, 1);
    FILE *f = fmemopen(out, sizeof out, "w");
    pq_conf_msgs_print(&p.m, "f.yaml", f);
    fclose(f);
    assert_non_null(strstr(out, "error: log.level: "));
    assert_non_null(strstr(out, "\nf.yaml: 8 more messages are not shown\n"));
    release(&p);
    snprintf(text, sizeof text, CONF_SERVER "deny:\n");
    for (unsigned i = 0; i < PQ_CONF_MSGS_MAX + 1; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "  - ''\n");
    parse(&p, text);
    assert_int_equal(p.m.n, PQ_CONF_MSGS_MAX);
    assert_int_equal(p.m.errors, PQ_CONF_MSGS_MAX + 1);
    assert_int_equal(p.m.left_out, 2); /* with that of the short key */
    release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minimal),     cmocka_unit_test(defaults),
        cmocka_unit_test(family_a),    cmocka_unit_test(family_b),
        cmocka_unit_test(examples),    cmocka_unit_test(keys_of_later),
        cmocka_unit_test(nulls),       cmocka_unit_test(ports),
        cmocka_unit_test(port_ranges), cmocka_unit_test(key_before),
        cmocka_unit_test(macs),        cmocka_unit_test(buffers),
        cmocka_unit_test(all_at_once), cmocka_unit_test(one_by_one),
        cmocka_unit_test(repeated),    cmocka_unit_test(unknown),
        cmocka_unit_test(secrets),     cmocka_unit_test(printing),
        cmocka_unit_test(too_many),
    };
    int failed = ut_run(tests);
    return failed + conf_scalar() + conf_tunnels() + conf_front() + conf_edit() + conf_listen() +
           conf_quic() + conf_fuzz();
}
