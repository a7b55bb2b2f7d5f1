/* SPDX-License-Identifier: MIT */
/* conf_front.c - the keys for what comes in and goes out: forward, tun, allow, deny, outgoing. */
#include "conf_tests.h"

#define CLIENT "role: client\nserver: {addr: 'h:1'}\ntransport: {kcp: {key: k}}\n"
#define TUN    CLIENT "tun:\n  enabled: true\n" /* 5 lines */

static void forwards(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, CLIENT "forward:\n"
                     "  - {listen: '127.0.0.1:8080', target: 'db.example:5432', protocol: tcp}\n"
                     "  - {listen: ':53', target: '[2001:db8::1]:53', protocol: udp}\n"
                     "  - {listen: 'localhost:53', target: '192.0.2.1:53', protocol: tcp}\n"
                     "  - {listen: '[::1]:53', target: 'h:65535', protocol: udp}\n");
    expect_clean(&p);
    assert_int_equal(p.c.n_forward, 4);
    assert_int_equal(p.c.n_ports, 4);
    const struct pq_conf_forward *f = p.c.forward;
    const struct pq_conf_port *at = p.c.port;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(at[i].entry, i);
    assert_false(at[0].udp);
    assert_int_equal(at[0].addr.port, 8080);
    assert_string_equal(f[0].host, "db.example");
    assert_int_equal(at[0].port, 5432);
    assert_true(at[1].udp && pq_addr_is_any(&at[1].addr) && at[1].addr.port == 53);
    assert_string_equal(f[1].host, "2001:db8::1");
    assert_memory_equal(pq_addr_v4(&at[2].addr), "\x7f\0\0\1", 4);
    assert_false(pq_addr_is4(&at[3].addr));
    release(&p);
    parse(&p, CONF_SERVER "forward: [{listen: ':1', target: 'h:1', protocol: tcp}]\nspread: true\n"
                          "socks5: [{listen: ':2'}]\n");
    static const struct want w[] = {{7, "forward: is for a client only"},
                                    {8, "spread: is for a client only"},
                                    {9, "socks5: is for a client only"}};
    assert_int_equal(p.e, 0);
    expect(&p, false, w, COUNT_OF(w));
    release(&p);
}

static void bad_forwards(void **state)
{
    (void)state;
    static const struct {
        const char *listen, *target, *protocol, *part;
    } v[] = {
        {"", "h:1", "tcp", "forward[0].listen: is missing"},
        {"127.0.0.1", "h:1", "tcp", "forward[0].listen: "},
        {":0", "h:1", "tcp", "forward[0].listen: the port must be 1"},
        {":65536", "h:1", "tcp", "forward[0].listen: "},
        {"name.example:1", "h:1", "tcp", "forward[0].listen: "},
        {":1", "", "tcp", "forward[0].target: is missing"},
        {":1", "h:0", "udp", "forward[0].target: the port must be 1"},
        {":1", "h:65536", "udp", "forward[0].target: "},
        {":1", "h:http", "udp", "forward[0].target: "},
        {":1", ":80", "tcp", "forward[0].target: ':80' has no host"},
        {":1", "::1:80", "tcp", "forward[0].target: "},
        {":1", "[h]:80", "tcp", "forward[0].target: "},
        {":1", "[192.0.2.1]:80", "tcp", "forward[0].target: "},
        {":1", "a b:80", "tcp", "forward[0].target: "},
        {":1", "h/path:80", "tcp", "forward[0].target: "},
        {":1", "http://h:80", "tcp", "forward[0].target: "},
        {":1", "h:1", "", "forward[0].protocol: is missing; say tcp or udp"},
        {":1", "h:1", "TCP", "forward[0].protocol: 'TCP' is not tcp or udp"},
        {":1", "h:1", "sctp", "forward[0].protocol: "},
    };
    char text[1024];
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        snprintf(text, sizeof text,
                 CLIENT "forward:\n  - listen: '%s'\n    target: '%s'\n    protocol: '%s'\n",
                 v[i].listen, v[i].target, v[i].protocol);
        one_error(text, 5, v[i].part);
    }
    for (int more = 0; more < 2; more++) { /* the longest name, and one byte more */
        struct parsed p;
        snprintf(text, sizeof text,
                 CLIENT "forward:\n  - {listen: ':1', protocol: tcp, target: '%0*d:80'}\n",
                 253 + more, 0);
        parse(&p, text);
        assert_int_equal(p.m.errors, more);
        release(&p);
    }
    one_error(CLIENT "forward: {listen: ':1'}\n", 4, "forward: expected a list");
    one_error(CLIENT "forward:\n  - ':1'\n", 5, "forward[0]: expected a map");
}

/* Workers share their listening ports, so the second of two listeners would get a part of the
 * connections in silence. */
static void listeners_twice(void **state)
{
    (void)state;
    struct parsed p;
    one_error(CLIENT "socks5:\n  - listen: ':1'\n  - listen: '0.0.0.0:1'\n", 6,
              "socks5[1].listen: socks5[0] already listens there");
    one_error(CLIENT "forward:\n  - {listen: ':1', target: 'h:1', protocol: tcp}\n"
                     "socks5:\n  - listen: ':1'\n",
              5, "forward[0].listen: socks5[0] already listens there");
    one_error(CLIENT "forward:\n  - {listen: ':1', target: 'h:1', protocol: udp}\n"
                     "  - {listen: ':1', target: 'h:2', protocol: udp}\n",
              6, "forward[1].listen: forward[0] already listens there");
    parse(&p, CLIENT "socks5: [{listen: ':1'}]\nforward:\n"
                     "  - {listen: ':1', target: 'h:1', protocol: udp}\n"
                     "  - {listen: '127.0.0.1:1', target: 'h:1', protocol: udp}\n"
                     "  - {listen: '[::]:1', target: 'h:2', protocol: tcp}\n");
    expect_clean(&p);
    release(&p);
}

/* All mistakes of an entry are told, also beside a bad address to listen on. */
static void socks5_mistakes(void **state)
{
    (void)state;
    struct parsed p;
    static const struct want error[] = {{5, "socks5[0].listen: "},
                                        {5, "socks5[0].reply: 'late' is not early or real"}};
    static const struct want warning[] = {{5, "socks5[0]: only username is set"}};
    parse(&p, CLIENT "socks5:\n  - {listen: x, reply: late, username: me}\n");
    expect(&p, true, error, COUNT_OF(error));
    expect(&p, false, warning, COUNT_OF(warning));
    release(&p);
    one_error(CLIENT "socks5:\n  - listen: 'me:" SECRET "@127.0.0.1:1080'\n", 5,
              "socks5[0].listen: must be host:port alone; use username and password");
    one_warning(CLIENT "socks5:\n  - {listen: ':1', username: 'a:b', password: 'c:d'}\n", 5,
                "socks5[0].username: has a colon");
    for (int more = 0; more < 2; more++) { /* the longest, and one byte more */
        char text[1024];
        snprintf(text, sizeof text,
                 CLIENT "socks5:\n  - {listen: ':1', username: 'u%0*d', password: 'p%0*d'}\n",
                 254 + more, 0, 254 + more, 0);
        parse(&p, text);
        static const struct want long_ones[] = {{5, "socks5[0].username: is longer than 255"},
                                                {5, "socks5[0].password: is longer than 255"}};
        expect(&p, true, long_ones, more ? COUNT_OF(long_ones) : 0);
        assert_int_equal(p.m.n, p.m.errors);
        release(&p);
    }
}

static void tun(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, TUN "  addr: 10.0.8.2/24\n");
    expect_clean(&p);
    const struct pq_conf_tun *t = &p.c.tun;
    assert_true(t->enabled && t->has4 && !t->has6 && !t->default_route && !t->masquerade);
    assert_string_equal(t->name, "tun0");
    assert_int_equal(t->mtu, 1500);
    assert_int_equal(t->net4.bits, 96 + 24);
    assert_memory_equal(pq_addr_v4(&t->net4.ip), "\x0a\x00\x08\x02", 4);
    release(&p);
    parse(&p, TUN "  name: fifteen-letters\n  addr: fd00::2/64\n  mtu: 1280\n  routes: default\n");
    expect_clean(&p);
    assert_true(t->has6 && !t->has4 && t->default_route);
    assert_int_equal(t->n_routes, 0);
    assert_int_equal(t->net6.bits, 64);
    release(&p);
    parse(&p, TUN "  addr: 10.0.8.2/24\n  addr6: fd00::2/64\n  mtu: 9000\n"
                  "  routes: [192.168.5.77/22, '2001:db8:8000::1/33', 10.9.9.9]\n");
    expect_clean(&p);
    assert_true(t->has4 && t->has6 && !t->default_route);
    assert_int_equal(t->n_routes, 3);
    assert_memory_equal(pq_addr_v4(&t->routes[0].ip), "\xc0\xa8\x04\x00", 4); /* host bits off */
    assert_int_equal(t->routes[0].bits, 96 + 22);
    assert_memory_equal(t->routes[1].ip.ip, "\x20\x01\x0d\xb8\x80\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_int_equal(t->routes[2].bits, 128);
    release(&p);
    parse(&p, TUN "  addr: 10.0.8.2/24\n  routes: [0.0.0.0/0, 10.1.0.0/16]\n");
    expect_clean(&p);
    assert_true(t->default_route && t->n_routes == 1);
    release(&p);
    parse(&p, CONF_SERVER "tun: {enabled: true, addr: 10.0.8.1/24, masquerade: true, mtu: 68}\n");
    expect_clean(&p);
    assert_true(t->masquerade && t->mtu == 68);
    release(&p);
    parse(&p, TUN "  addr: 10.0.8.2/24\n  mtu: 0\n  name: ~\n  addr6:\n  routes: null\n");
    expect_clean(&p);
    assert_true(t->mtu == 1500 && !t->has6 && !t->routes_text.set);
    assert_string_equal(t->name, "tun0");
    release(&p);
}

static void bad_tun(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        int line;
        const char *part;
    } v[] = {
        {"  name: tun1\n", 4, "tun.addr: is missing"},
        {"  addr: 10.0.8.2\n", 6, "tun.addr: "},
        {"  addr: 10.0.8.2/33\n", 6, "tun.addr: "},
        {"  addr: 10.0.8.2/\n", 6, "tun.addr: "},
        {"  addr: 0.0.0.0/8\n", 6, "tun.addr: "},
        {"  addr: host/24\n", 6, "tun.addr: "},
        {"  addr: 10.0.8.2/24\n  addr6: 10.0.9.2/24\n", 7,
         "tun.addr6: '10.0.9.2/24' is not an IPv6"},
        {"  addr: 10.0.8.2/24\n  addr6: fd00::1\n", 7, "tun.addr6: "},
        {"  addr: 10.0.8.2/24\n  addr6: fd00::1/129\n", 7, "tun.addr6: "},
        {"  addr: fd00::1/64\n  addr6: fd01::1/64\n", 7, "tun.addr6: tun.addr is an IPv6"},
        {"  addr: 10.0.8.2/24\n  mtu: 67\n", 7, "tun.mtu: 67 is out of range"},
        {"  addr: 10.0.8.2/24\n  mtu: 65536\n", 7, "tun.mtu: "},
        {"  addr: 10.0.8.2/24\n  mtu: -1\n", 7, "tun.mtu: "},
        {"  addr: 10.0.8.2/24\n  mtu: big\n", 7, "tun.mtu: expected a whole number"},
        {"  addr: 10.0.8.2/24\n  mtu: 4294968696\n", 7, "tun.mtu: 4294968696 is out of range"},
        {"  addr: 10.0.8.2/24\n  mtu: \"1e10\"\n", 7, "tun.mtu: 10000000000 is out of range"},
        {"  addr: fd00::1/64\n  mtu: 1279\n", 7, "tun.mtu: 1279 is too small for IPv6"},
        {"  addr: 10.0.8.2/24\n  name: sixteen-letters-\n", 7, "tun.name: "},
        {"  addr: 10.0.8.2/24\n  name: a/b\n", 7, "tun.name: "},
        {"  addr: 10.0.8.2/24\n  name: 'a b'\n", 7, "tun.name: "},
        {"  addr: 10.0.8.2/24\n  name: 'tun%d'\n", 7, "tun.name: "},
        {"  addr: 10.0.8.2/24\n  name: ..\n", 7, "tun.name: "},
        {"  addr: 10.0.8.2/24\n  masquerade: perhaps\n", 7, "tun.masquerade: "},
        {"  addr: 10.0.8.2/24\n  routes: [10.0.0.0/8,\n    Default]\n", 8, "tun.routes[1]: "},
        {"  addr: 10.0.8.2/24\n  routes:\n    - 10.0.0.0/33\n", 8, "tun.routes[0]: "},
        {"  addr: 10.0.8.2/24\n  routes:\n    -\n", 8, "tun.routes[0]: "},
        {"  addr: 10.0.8.2/24\n  routes: {a: b}\n", 7, "tun.routes: expected a list"},
        {"  addr: 10.0.8.2/24\n  routes: [[10.0.0.0/8]]\n", 7, "tun.routes: expected a text"},
    };
    char text[4096];
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        snprintf(text, sizeof text, TUN "%s", v[i].keys);
        one_error(text, v[i].line, v[i].part);
    }
    one_error(CONF_SERVER "tun: {enabled: true, addr: 10.0.8.1/24, routes: default}\n", 7,
              "tun.routes[0]: default is for a client only");
    one_error(CLIENT "tun: {enabled: maybe}\nsocks5: [{listen: ':1'}]\n", 4, "tun.enabled: ");
    snprintf(text, sizeof text, TUN "  addr: 10.0.8.2/24\n  routes:\n");
    for (unsigned i = 0; i <= PQ_CONF_ROUTES_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "    - 10.%u.0.0/16\n", i);
    one_error(text, 8 + PQ_CONF_ROUTES_MAX, "tun.routes: more than 64 entries");
}

static void odd_tun(void **state)
{
    (void)state;
    struct parsed p;
    one_warning(TUN "  addr: 10.0.8.2/24\n  masquerade: true\n", 7,
                "tun.masquerade: is for a server only");
    one_warning(TUN "  addr: 10.0.8.2/24\n  routes: [10.1.0.0/16, 10.1.2.0/16]\n", 7,
                "tun.routes[1]: '10.1.2.0/16' is there twice");
    one_warning(TUN "  addr: 10.0.8.2/24\n  routes: ['2001:db8::/32']\n", 7, "no IPv6 address");
    one_warning(TUN "  addr: fd00::2/64\n  routes: [10.1.0.0/16]\n", 7, "no IPv4 address");
    one_warning(TUN "  addr: 10.0.8.2/24\n  route: [10.1.0.0/16]\n", 7, "mean tun.routes?");
    parse(&p, TUN "  addr: 10.0.8.2/24\nperformance:\n  packet_workers: 4\n");
    static const struct want w = {8, "performance.packet_workers: 1 instead of 4"};
    assert_int_equal(p.e, 0);
    expect(&p, false, &w, 1);
    assert_int_equal(p.c.packet_workers, 1);
    release(&p);
}

static void rules(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, CONF_SERVER);
    expect_clean(&p);
    assert_true(p.c.rules.allow.set && !p.c.rules.deny.set && !p.c.open_rules);
    assert_int_equal(p.c.rules.allow.n, 1);
    assert_string_equal(p.c.rules.allow.v[0], "public");
    release(&p);
    parse(&p, CONF_SERVER "deny: ['*:25', 10.0.0.0/8,\n"
                          "  '*.example.com:80-90', '[2001:db8::1]:443']\n");
    expect_clean(&p);
    assert_int_equal(p.c.rules.deny.n, 4);
    assert_string_equal(p.c.rules.deny.v[3], "[2001:db8::1]:443");
    assert_int_equal(p.c.rules.deny.line[1], 7);
    assert_int_equal(p.c.rules.deny.line[2], 8);
    release(&p);
#define OPEN "role: server\nlisten: {addr: ':9999'}\ntransport: {kcp: {key: k}}\n"
    one_warning(OPEN, 0, "allow: neither allow nor deny is there");
    static const char *const empty[] = {"", " null", " ~", "\n#  - public\n#  - any"};
    for (size_t i = 0; i < COUNT_OF(empty); i++) { /* entries that were made comments */
        char text[256];
        snprintf(text, sizeof text, OPEN "allow:%s\n", empty[i]);
        one_error(text, 4, "allow: the list is empty; name what is permitted");
        snprintf(text, sizeof text, OPEN "deny:%s\nlog: {}\n", empty[i]);
        one_error(text, 4, "deny: nothing stands behind it; name what is refused");
    }
    one_error(OPEN "allow: []\n", 4, "allow: the list is empty");
    parse(&p, OPEN);
    assert_true(p.c.open_rules);
    release(&p);
    static const char *const closed[] = {"allow: any\n", "deny: []\n", "deny: 10.0.0.0/8\n"};
    for (size_t i = 0; i < COUNT_OF(closed); i++) {
        char text[256];
        snprintf(text, sizeof text, OPEN "%s", closed[i]);
        parse(&p, text);
        expect_clean(&p);
        assert_false(p.c.open_rules);
        release(&p);
    }
    parse(&p, CONF_CLIENT "allow: public\ndeny: [any]\noutgoing: {interface: eth1}\n");
    static const struct want w[] = {{7, "allow: is for a server only"},
                                    {8, "deny: is for a server only"},
                                    {9, "outgoing: is for a server only"}};
    assert_int_equal(p.e, 0);
    assert_false(p.c.open_rules);
    expect(&p, false, w, COUNT_OF(w));
    release(&p);
}

static void bad_rules(void **state)
{
    (void)state;
    one_error(CONF_SERVER "deny:\n  - any\n  - ''\n", 9, "deny[1]: '' is not public");
    one_error(CONF_SERVER "deny:\n  - any\n  - ~\n", 9, "deny[1]: '' is not public");
    one_error(CONF_SERVER "deny: ''\n", 7, "deny[0]: '' is not public");
    one_error(CONF_SERVER "deny: [10.0.0.0/33, any]\n", 7, "deny[0]: '10.0.0.0/33' is not public");
    one_error(CONF_SERVER "deny: [any,\n 'h:90-80']\n", 8, "deny[1]: 'h:90-80' is not public");
    one_error(CONF_SERVER "deny: 'h:0'\n", 7, "deny[0]: ");
    one_error(CONF_SERVER "deny: {any: true}\n", 7, "deny: expected a list of texts, found a map");
    one_error(CONF_SERVER "deny:\n  - any: 25\n", 8, "deny: expected a text, found a map");
    one_error(CONF_SERVER "allow: any\n", 7, "allow: the key is given twice");
    one_warning(CONF_SERVER "denny: any\n", 7, "did you mean deny?");
    char text[16384] = CONF_SERVER "deny:\n";
    for (unsigned i = 0; i <= PQ_CONF_RULES_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "  - h%u.example\n", i);
    one_error(text, 8 + PQ_CONF_RULES_MAX, "deny: more than 256 entries");
}

static void outgoing(void **state)
{
    (void)state;
    struct parsed p;
    const struct pq_conf_outgoing *o = &p.c.outgoing;
    parse(&p, CONF_SERVER "outgoing:\n  interface: eth1\n  ipv4: 192.0.2.9\n"
                          "  ipv6: 2001:db8::9\n  socks5: 'proxy.example:1080'\n"
                          "  username: me\n  password: " SECRET "\n");
    expect_clean(&p);
    assert_string_equal(o->ifname, "eth1");
    assert_true(o->has_addr4 && o->has_addr6);
    assert_memory_equal(pq_addr_v4(&o->addr4), "\xc0\x00\x02\x09", 4);
    assert_string_equal(o->socks_host, "proxy.example");
    assert_int_equal(o->socks_port, 1080);
    assert_string_equal(o->password, SECRET);
    release(&p);
    parse(&p, CONF_SERVER "outgoing: {interface: ~, ipv4: , ipv6: null, socks5: ~, password: }\n");
    expect_clean(&p);
    assert_false(o->has_addr4 || o->has_addr6 || *o->socks_host);
    release(&p);
    one_warning(CONF_SERVER "outgoing:\n  socks5: '[::1]:1'\n  username: me\n", 8,
                "outgoing.socks5: only username is set");
    one_warning(CONF_SERVER "outgoing:\n  password: " SECRET "\n", 8, "outgoing.password: is only");
}

static void bad_outgoing(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *part;
    } v[] = {
        {"interface", "a-very-long-name", "is longer than 15"},
        {"ipv4", "2001:db8::9", "is not an IPv4 address"},
        {"ipv4", "192.0.2.9:0", "is not an IPv4 address"},
        {"ipv4", "192.0.2.9/24", "is not an IPv4 address"},
        {"ipv4", "0.0.0.0", "is not an IPv4 address"},
        {"ipv4", "[192.0.2.9]", "expected a text, found a list"},
        {"ipv6", "192.0.2.9", "is not an IPv6 address"},
        {"ipv6", "'::'", "is not an IPv6 address"},
        {"ipv6", "'[::1]'", "is not an IPv6 address"},
        {"socks5", "proxy.example", "is not host:port"},
        {"socks5", "'proxy.example:0'", "the port must be 1"},
        {"socks5", "':1080'", "has no host"},
        {"socks5", "'me:" SECRET "@proxy.example:1080'",
         "must be host:port alone; use outgoing.username and outgoing.password"},
        {"socks5", "'socks5://me:" SECRET "@proxy.example:1080'", "must be host:port alone"},
        {"password", "[" SECRET "]", "expected a text"},
        {"password", "{a: " SECRET "}", "expected a text"},
        {"port", "{a: " SECRET "}", NULL},
    };
    char text[1024];
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        char part[128];
        snprintf(text, sizeof text, CONF_SERVER "outgoing:\n  %s: %s\n", v[i].key, v[i].value);
        snprintf(part, sizeof part, "outgoing.%s: ", v[i].key);
        struct parsed p;
        parse(&p, text); /* which looks for the secret */
        assert_int_equal(p.m.errors, v[i].part ? 1 : 0);
        assert_int_equal(p.m.v[0].line, 8);
        assert_non_null(strstr(p.m.v[0].text, part));
        assert_non_null(strstr(p.m.v[0].text, v[i].part ? v[i].part : "unknown key"));
        release(&p);
    }
    one_error(CONF_SERVER "tun: {enabled: true, addr: 10.0.8.1/24}\noutgoing: {socks5: 'h:1'}\n", 8,
              "outgoing.socks5: packets of a TUN device");
    one_error(CONF_SERVER "outgoing: eth1\n", 7, "outgoing: expected a map");
    one_error(CONF_SERVER "outgoing: password:" SECRET "\n", 7, "outgoing: expected a map");
    snprintf(text, sizeof text,
             CONF_SERVER "outgoing: {socks5: 'h:1', username: u,\n  password: '%0256d'}\n", 0);
    one_error(text, 8, "outgoing.password: is longer than 255 bytes");
}

static void limits_and_spread(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, CONF_SERVER);
    assert_int_equal(p.c.max_udp_flows, 16384);
    assert_false(p.c.spread);
    release(&p);
    parse(&p, CONF_SERVER "performance: {max_udp_flows: 1000000}\n");
    expect_clean(&p);
    assert_int_equal(p.c.max_udp_flows, 1000000);
    release(&p);
    one_error(CONF_SERVER "performance:\n  max_udp_flows: 1000001\n", 8,
              "performance.max_udp_flows: ");
    one_error(CONF_SERVER "performance:\n  max_udp_flows: -1\n", 8, "performance.max_udp_flows: ");
    parse(&p, CONF_CLIENT "servers: [{addr: 'b:1'}]\nspread: true\n");
    expect_clean(&p);
    assert_true(p.c.spread && p.c.n_servers == 2);
    release(&p);
    one_warning(CONF_CLIENT "spread: true\n", 7, "spread: there is only one server");
    one_error(CONF_CLIENT "spread: fast\n", 7, "spread: expected true or false");
    one_warning(CONF_CLIENT "sprad: true\n", 7, "did you mean spread?");
}

static void many_mistakes(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, CONF_SERVER "forward:\n"
                          "  - target: 'h:0'\n" /* 8: three */
                          "deny: [any,\n"
                          "  '']\n" /* 10 */
                          "tun:\n"
                          "  enabled: true\n"
                          "  name: a/b\n"            /* 13 */
                          "  addr: 10.0.0.1\n"       /* 14 */
                          "  addr6: 10.0.0.1\n"      /* 15 */
                          "  mtu: 7\n"               /* 16 */
                          "  routes: [x, default]\n" /* 17: two */
                          "outgoing:\n"
                          "  ipv4: x\n"     /* 19 */
                          "  ipv6: x\n"     /* 20 */
                          "  socks5: x\n"); /* 21 */
    static const struct want w[] = {
        {8, "forward[0].listen: "}, {8, "forward[0].target: "}, {8, "forward[0].protocol: "},
        {10, "deny[1]: "},          {13, "tun.name: "},         {14, "tun.addr: "},
        {15, "tun.addr6: "},        {16, "tun.mtu: "},          {17, "tun.routes[0]: "},
        {17, "tun.routes[1]: "},    {19, "outgoing.ipv4: "},    {20, "outgoing.ipv6: "},
        {21, "outgoing.socks5: "},
    };
    expect(&p, true, w, COUNT_OF(w));
    release(&p);
    one_error(TUN "  addr: 10.0.8.2/24\n  addr: 10.0.8.3/24\n", 7,
              "tun.addr: the key is given twice");
    one_error(CLIENT "forward:\n  - {listen: ':1', target: 'h:1', protocol: tcp, protocol: udp}\n",
              5, "forward[0].protocol: the key is given twice");
}

int conf_front(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards),
        cmocka_unit_test(bad_forwards),
        cmocka_unit_test(listeners_twice),
        cmocka_unit_test(socks5_mistakes),
        cmocka_unit_test(tun),
        cmocka_unit_test(bad_tun),
        cmocka_unit_test(odd_tun),
        cmocka_unit_test(rules),
        cmocka_unit_test(bad_rules),
        cmocka_unit_test(outgoing),
        cmocka_unit_test(bad_outgoing),
        cmocka_unit_test(limits_and_spread),
        cmocka_unit_test(many_mistakes),
    };
    return ut_run(tests);
}
