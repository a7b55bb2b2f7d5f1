/* SPDX-License-Identifier: MIT */
/* conf_check.c - what the values mean, and whether they fit together. */
#include "conf/conf_internal.h"

#include "base/err.h"
#include "base/hex.h"

#include <stdlib.h>
#include <string.h>

#define CONTROL_MAX_LEN 107
#define MTU_MIN         (50 + 12 + 16 + 8) /* a KCP datagram, the largest cipher overhead, FEC [4.2] */

/* Where a login belongs that stands in an address, after a semicolon. */
static const char *login_keys(const char *path)
{
    if (strncmp(path, "socks5[", 7) == 0)
        return "; use username and password of the same entry";
    return strncmp(path, "outgoing.", 9) == 0 ? "; use outgoing.username and outgoing.password"
                                              : "; it takes no login";
}

/* What stands before an '@' may be a password, which is not to be shown. */
static bool has_login(struct pq_check *k, const char *path, int line, const char *text)
{
    if (strchr(text, '@'))
        pq_conf_say(k->m, true, line, "%s: must be host:port alone%s", path, login_keys(path));
    return strchr(text, '@') != NULL;
}

/* Behind a text that is not understood: quotes of text programs and other scripts' digits look
 * right. */
static const char *foreign(const char *text)
{
    while (*text && !(*text & 0x80))
        text++;
    return *text ? "; write it in plain quotes and the digits 0 to 9" : "";
}

bool pq_check_hostports(struct pq_check *k, const char *path, int line, const char *text,
                        char host[PQ_HOST_LEN], struct pq_range *ports)
{
    if (has_login(k, path, line, text))
        return false;
    const bool bad = pq_hostports_split(text, host, PQ_HOST_LEN, ports) || !ports->from;
    if (bad)
        pq_conf_say(k->m, true, line,
                    "%s: '%s' is not host:port with a port from 1 to 65535, or a range such as "
                    "host:20000-20100 (IPv6 addresses need brackets: [::1]:1080)%s",
                    path, text, foreign(text));
    else if (pq_range_size(ports) > PQ_CONF_RANGE_MAX)
        pq_conf_say(k->m, true, line, "%s: more than %d ports", path, PQ_CONF_RANGE_MAX);
    return !bad;
}

bool pq_check_hostport(struct pq_check *k, const char *path, int line, const char *text,
                       char host[PQ_HOST_LEN], uint16_t *port, unsigned min)
{
    if (has_login(k, path, line, text))
        return false;
    if (pq_hostport_split(text, host, PQ_HOST_LEN, port)) {
        pq_conf_say(k->m, true, line,
                    "%s: '%s' is not host:port (IPv6 addresses need brackets: [::1]:1080)%s", path,
                    text, foreign(text));
        return false;
    }
    if (*port < min) {
        pq_conf_say(k->m, true, line, "%s: the port must be 1 to 65535", path);
        return false;
    }
    return true;
}

static void check_role(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    if (c->role_text && strcmp(c->role_text, "client") == 0)
        c->role = PQ_ROLE_CLIENT;
    else if (c->role_text && strcmp(c->role_text, "server") == 0)
        c->role = PQ_ROLE_SERVER;
    else
        PQ_FAIL(k, "role", "role: must be client or server%s%s",
                pq_is_set(c->role_text) ? ", not " : "",
                pq_is_set(c->role_text) ? c->role_text : "");
}

static void check_log(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    c->log_level = PQ_LOG_INFO;
    if (!pq_is_set(c->log_level_text) || pq_log_level_from(c->log_level_text, &c->log_level))
        return;
    PQ_FAIL(k, "log.level", "log.level: '%s' is not one of none, debug, info, warn, error, fatal",
            c->log_level_text);
}

/* "off", or where the socket is to be; its address holds 107 bytes. */
static void check_control(struct pq_check *k)
{
    const char *text = k->c->control;
    if (pq_is_set(text) && strcmp(text, "off") != 0 &&
        (*text != '/' || strlen(text) > CONTROL_MAX_LEN))
        PQ_FAIL(k, "control",
                "control: must be off, or a path of at most %d bytes that begins with /",
                CONTROL_MAX_LEN);
}

void pq_conf_check_program(struct pq_check *k)
{
    check_role(k);
    check_log(k);
    check_control(k);
}

/* Six pairs of hex digits, separated by ':' or by '-'. */
static bool parse_mac(const char *s, uint8_t mac[6])
{
    if (strlen(s) != 17 || (s[2] != ':' && s[2] != '-'))
        return false;
    for (size_t i = 0; i < 6; i++, s += 3) {
        int hi = pq_hex_digit(s[0]), lo = pq_hex_digit(s[1]);
        if (hi < 0 || lo < 0 || (i < 5 && s[2] != s[i ? -1 : 2]))
            return false;
        mac[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

/* network.ipv4 or network.ipv6; either part may be missing: it is found at start. */
static void check_side(struct pq_check *k, struct pq_conf_side *s, bool is4)
{
    const char *addr = is4 ? "network.ipv4.addr" : "network.ipv6.addr";
    const char *mac = is4 ? "network.ipv4.router_mac" : "network.ipv6.router_mac";
    char host[PQ_HOST_LEN];
    uint16_t port = 0;
    if (pq_is_set(s->addr) &&
        pq_check_hostport(k, addr, pq_key_line(k->lines, addr), s->addr, host, &port, 0)) {
        if (*host && (pq_addr_parse_ip(&s->ip, host) || pq_addr_is4(&s->ip) != is4))
            PQ_FAIL(k, addr, "%s: '%s' is not an %s address", addr, host, is4 ? "IPv4" : "IPv6");
        s->has_ip = *host && !pq_addr_is_any(&s->ip);
        s->ip.port = port;
    }
    if (pq_is_set(s->router_mac)) {
        s->has_mac = parse_mac(s->router_mac, s->mac);
        if (!s->has_mac)
            PQ_FAIL(k, mac, "%s: '%s' is not a MAC address such as 02:00:5e:10:00:01", mac,
                    s->router_mac);
    }
}

static void check_flags(struct pq_check *k, const char *path, const struct pq_conf_list *text,
                        struct pq_flags *out)
{
    *out = (struct pq_flags){{PQ_TCP_PSH | PQ_TCP_ACK}, 1};
    if (!text->n)
        return;
    out->n = 0;
    for (unsigned i = 0; i < text->n; i++) {
        if (pq_flags_parse(text->v[i], &out->v[out->n]))
            PQ_FAIL(k, path, "%s: '%s' has a letter that is no TCP flag; use F S R P A U E C N",
                    path, text->v[i]);
        else
            out->n++;
    }
}

static void check_look(struct pq_check *k)
{
    const char *text = k->c->look_text;
    k->c->look = PQ_LOOK_PLAUSIBLE;
    if (pq_is_set(text) && strcmp(text, "classic") == 0)
        k->c->look = PQ_LOOK_CLASSIC;
    else if (pq_is_set(text) && strcmp(text, "connect") == 0)
        k->c->look = PQ_LOOK_CONNECT;
    else if (pq_is_set(text) && strcmp(text, "auto") == 0)
        k->c->auto_look = true;
    else if (pq_is_set(text) && strcmp(text, "plausible") != 0)
        PQ_FAIL(k, "network.tcp.look",
                "network.tcp.look: '%s' is not plausible, connect, auto or classic", text);
}

static void check_system(struct pq_check *k)
{
    static const char *const names[PQ_SYSTEMS] = {"host", "android", "windows", "apple"};
    const char *text = k->c->system_text;
    for (unsigned i = 0; pq_is_set(text) && i < PQ_SYSTEMS; i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        k->c->system = (enum pq_system)i;
        if (i && k->c->role == PQ_ROLE_SERVER)
            PQ_FAIL(k, "network.tcp.os",
                    "network.tcp.os is for clients: a server answers as it is");
        return;
    }
    if (pq_is_set(text))
        PQ_FAIL(k, "network.tcp.os", "network.tcp.os: '%s' is not host, android, windows or apple",
                text);
}

static void check_network(struct pq_check *k)
{
    check_look(k);
    check_system(k);
    static const char *const backends[] = {"auto", "afpacket", "pcap"};
    struct pq_conf *c = k->c;
    if (pq_is_set(c->ifname) && strlen(c->ifname) > 15)
        PQ_FAIL(k, "network.interface", "network.interface: '%s' is longer than 15 characters",
                c->ifname);
    check_side(k, &c->v4, true);
    check_side(k, &c->v6, false);
    if (c->v4.ip.port && c->v6.ip.port && c->v4.ip.port != c->v6.ip.port)
        PQ_FAIL(k, "network.ipv6.addr",
                "network.ipv6.addr: its port %u differs from the %u of "
                "network.ipv4.addr; they must be the same",
                c->v6.ip.port, c->v4.ip.port);
    c->own_port = c->v6.ip.port ? c->v6.ip.port : c->v4.ip.port;
    check_flags(k, "network.tcp.local_flag", &c->local_flag_text, &c->local_flag);
    check_flags(k, "network.tcp.remote_flag", &c->remote_flag_text, &c->remote_flag);
    if (pq_is_set(c->backend_text)) {
        int i = 0;
        while (i < 3 && strcmp(backends[i], c->backend_text) != 0)
            i++;
        c->backend = (enum pq_backend)(i % 3);
        if (i == 3)
            PQ_FAIL(k, "network.backend", "network.backend: '%s' is not auto, afpacket or pcap",
                    c->backend_text);
    }
}

/* ---- transport */

static void check_protocol(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    if (pq_is_set(c->protocol)) {
        c->over_quic = strcmp(c->protocol, "quic") == 0;
        if (!c->over_quic && strcmp(c->protocol, "kcp") != 0)
            PQ_FAIL(k, "transport.protocol", "transport.protocol: '%s' is not kcp or quic",
                    c->protocol);
    } else if (c->has_quic || !c->has_kcp) {
        PQ_FAIL(k, "transport",
                "transport.protocol: is missing; say kcp or quic (family A would take quic)");
    }
    if (!pq_is_set(c->header_text) || strcmp(c->header_text, "auto") == 0)
        c->header = PQ_FAMILY_NONE;
    else if (strcmp(c->header_text, "gob") == 0)
        c->header = PQ_FAMILY_GOB;
    else if (strcmp(c->header_text, "binary") == 0)
        c->header = PQ_FAMILY_BINARY;
    else if (strcmp(c->header_text, "binary20") == 0)
        c->header = PQ_FAMILY_BINARY20;
    else
        PQ_FAIL(k, "transport.header",
                "transport.header: '%s' is not auto, gob (servers of family A) "
                "binary (family B) or binary20 (family B at v1.0.0-alpha.20)",
                c->header_text);
    if (c->role == PQ_ROLE_CLIENT && c->own_port && c->conn > 1)
        PQ_FAIL(k, "transport.conn",
                "transport.conn: only one connection is possible from the fixed "
                "port %u; set conn: 1 or port 0",
                c->own_port);
}

/* The presets, as in the Go programs [4.3]. */
static void check_mode(struct pq_check *k)
{
    static const struct {
        const char *name;
        long nodelay, interval, resend, nocongestion;
        bool wdelay, acknodelay;
    } modes[] = {{"normal", 0, 40, 2, 1, true, false},
                 {"fast", 0, 30, 2, 1, true, false},
                 {"fast2", 1, 20, 2, 1, false, true},
                 {"fast3", 1, 10, 2, 1, false, true}};
    struct pq_conf_kcp *c = &k->c->kcp;
    const char *name = pq_is_set(c->mode) ? c->mode : "fast";
    if (strcmp(name, "manual") == 0) {
        c->interval = c->interval < 10 ? 10 : c->interval > 5000 ? 5000 : c->interval;
        c->resend = c->resend < 0 ? 0 : c->resend > UINT8_MAX ? UINT8_MAX : c->resend;
        return;
    }
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(name, modes[i].name) == 0) {
            c->nodelay = modes[i].nodelay;
            c->interval = modes[i].interval;
            c->resend = modes[i].resend;
            c->nocongestion = modes[i].nocongestion;
            c->wdelay = modes[i].wdelay;
            c->acknodelay = modes[i].acknodelay;
            return;
        }
    }
    PQ_FAIL(k, "transport.kcp.mode",
            "transport.kcp.mode: '%s' is not normal, fast, fast2, fast3 or manual", name);
}

/* bbr unless the configuration asks for the origin's window (nocongestion: 0, manual mode only) or
 * names another one. */
static void check_congestion(struct pq_check *k)
{
    static const char *const names[] = {"none", "reno", "bbr"}; /* as enum pq_congestion */
    struct pq_conf *c = k->c;
    c->congestion = c->kcp.nocongestion ? PQ_CONGESTION_BBR : PQ_CONGESTION_RENO;
    if (!pq_is_set(c->kcp.congestion))
        return;
    for (int i = 0; i < 3; i++) {
        if (strcmp(c->kcp.congestion, names[i]) == 0) {
            c->congestion = (enum pq_congestion)i;
            return;
        }
    }
    PQ_FAIL(k, "transport.kcp.congestion",
            "transport.kcp.congestion: '%s' is not bbr, reno or none", c->kcp.congestion);
}

/* One line about what a cipher without authentication means; see docs/security.md. */
static void warn_of_cipher(struct pq_check *k)
{
    const enum pq_cipher c = k->c->cipher;
    const char *worse = "";
    if (c == PQ_CIPHER_AES_128_GCM || !pq_cipher_needs_key(c))
        return;
    if (c == PQ_CIPHER_XOR)
        worse = ", and hides next to nothing";
    else if (c == PQ_CIPHER_SALSA20)
        worse = ", and what passes can be changed bit by bit";
    else if (c == PQ_CIPHER_BLOWFISH || c == PQ_CIPHER_CAST5 || c == PQ_CIPHER_3DES ||
             c == PQ_CIPHER_TEA || c == PQ_CIPHER_XTEA)
        worse = ", and its short blocks repeat within hours of traffic";
    PQ_WARN(k, "transport.kcp.block",
            "transport.kcp.block: %s does not authenticate%s: who has recorded packets can forge "
            "others; set aes-128-gcm on both ends",
            pq_cipher_name(c), worse);
}

void pq_conf_check_key_before(struct pq_check *k, const char *of)
{
    const struct pq_conf *c = k->c;
    char path[40];
    if (!pq_is_set(c->kcp.key_before))
        return;
    snprintf(path, sizeof path, "transport.%s.key_before", of);
    if (!pq_is_set(c->kcp.key))
        PQ_FAIL(k, path, "%s: is accepted besides transport.%s.key, which is missing", path, of);
    else if (strcmp(c->kcp.key, c->kcp.key_before) == 0)
        PQ_WARN(k, path, "%s: is the same as transport.%s.key; leave it out", path, of);
}

static void check_cipher(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    if (pq_cipher_from_name(pq_is_set(c->kcp.block) ? c->kcp.block : "aes", &c->cipher)) {
        char names[160] = "";
        for (unsigned i = 0; i < PQ_CIPHER_COUNT; i++) {
            strcat(names, i ? ", " : "");
            strcat(names, pq_cipher_name((enum pq_cipher)i));
        }
        PQ_FAIL(k, "transport.kcp.block", "transport.kcp.block: '%s' is not one of %s",
                c->kcp.block, names);
        return;
    }
    const bool is_kcp = !c->over_quic && (c->has_kcp || pq_is_set(c->protocol));
    if (is_kcp && pq_cipher_needs_key(c->cipher) && !pq_is_set(c->kcp.key))
        PQ_FAIL(k, "transport.kcp.key",
                "transport.kcp.key: is missing; both ends need the same one "
                "(paqet secret makes one)");
    else if (is_kcp && pq_cipher_needs_key(c->cipher) && strlen(c->kcp.key) < PQ_KEY_SHORT)
        PQ_WARN(k, "transport.kcp.key",
                "transport.kcp.key: is short: who records a packet can try such keys one after the "
                "other; paqet secret makes a good one");
    if (is_kcp)
        pq_conf_check_key_before(k, "kcp");
    if (is_kcp)
        warn_of_cipher(k);
    if (!c->over_quic && !pq_cipher_needs_key(c->cipher))
        PQ_WARN(k, "transport.kcp.block",
                "transport.kcp.block: %s does not encrypt: everybody on the "
                "way can read and use the tunnel",
                pq_cipher_name(c->cipher));
}

/* One of the two alone is no mistake: the default of the other one gives way. */
static void check_buffers(struct pq_check *k)
{
    struct pq_conf_kcp *c = &k->c->kcp;
    const bool smux = pq_key_is_set(k->lines, "transport.kcp.smuxbuf");
    const bool stream = pq_key_is_set(k->lines, "transport.kcp.streambuf");
    if (!stream && c->streambuf > c->smuxbuf / 2)
        c->streambuf = c->smuxbuf / 2;
    if (!smux && c->smuxbuf < c->streambuf)
        c->smuxbuf = c->streambuf;
    if (c->streambuf > c->smuxbuf)
        PQ_FAIL(k, "transport.kcp.streambuf",
                "transport.kcp.streambuf: %ld is more than smuxbuf, %ld", c->streambuf, c->smuxbuf);
}

static void check_kcp(struct pq_check *k)
{
    struct pq_conf_kcp *c = &k->c->kcp;
    check_mode(k);
    check_congestion(k);
    k->c->fec_auto = !pq_is_set(c->fec) || strcmp(c->fec, "auto") == 0;
    if (pq_is_set(c->fec) && !k->c->fec_auto && strcmp(c->fec, "off") != 0)
        PQ_FAIL(k, "transport.kcp.fec", "transport.kcp.fec: '%s' is not auto or off", c->fec);
    check_cipher(k);
    k->c->mtu_set = pq_key_is_set(k->lines, "transport.kcp.mtu");
    if (c->mtu < MTU_MIN)
        PQ_FAIL(k, "transport.kcp.mtu",
                "transport.kcp.mtu: %ld leaves no room for data; use at least %d (1350 is usual)",
                c->mtu, MTU_MIN);
    if (c->dshard > 0 && c->pshard > 0 && (c->dshard > 255 || c->dshard + c->pshard > 256))
        PQ_FAIL(k, "transport.kcp.dshard",
                "transport.kcp.dshard: dshard and pshard together must be at most 256");
#ifndef PQ_WITH_FEC
    if (c->dshard > 0 && c->pshard > 0)
        PQ_FAIL(k, "transport.kcp.dshard",
                "transport.kcp.dshard: this build is without FEC; leave "
                "dshard and pshard out (what a peer sends with FEC is read)");
#endif
    check_buffers(k);
    if (c->smuxktimeout < c->smuxkalive)
        PQ_FAIL(k, "transport.kcp.smuxktimeout",
                "transport.kcp.smuxktimeout: %ld s is less than smuxkalive, %ld s", c->smuxktimeout,
                c->smuxkalive);
}

/* ---- client and server */

static void check_one_server(struct pq_check *k, struct pq_conf_server *s, const char *path,
                             int line)
{
    if (!pq_is_set(s->addr))
        pq_conf_say(k->m, true, line,
                    "%s: is missing; the server's address and port, for example "
                    "203.0.113.7:9999",
                    path);
    else if (pq_check_hostports(k, path, line, s->addr, s->host, &s->ports) && !*s->host)
        pq_conf_say(k->m, true, line, "%s: '%s' has no host", path, s->addr);
}

static void check_client(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    char path[32];
    if (pq_is_set(c->server[0].addr) || c->n_servers == 1)
        check_one_server(k, &c->server[0], "server.addr", pq_key_line(k->lines, "server.addr"));
    for (unsigned i = 1; i < c->n_servers; i++) {
        snprintf(path, sizeof path, "servers[%u].addr", i - 1);
        check_one_server(k, &c->server[i], path, c->server[i].line);
    }
    if (!pq_is_set(c->server[0].addr) && c->n_servers > 1) { /* only a list */
        struct pq_conf_server none = c->server[0];
        memmove(&c->server[0], &c->server[1], --c->n_servers * sizeof none);
        c->server[c->n_servers] = none;
    }
    if (c->n_servers > 1 && c->own_port)
        PQ_FAIL(k, "servers",
                "servers: several servers need a free choice of the client's port; use "
                "port 0 in network.ipv4.addr and ipv6.addr");
    if (c->spread && c->n_servers == 1) {
        PQ_WARN(k, "spread", "spread: there is only one server; ignored");
        c->spread = false;
    }
    if (!c->n_socks5 && !c->n_forward && !c->tun.enabled)
        PQ_WARN(k, "socks5",
                "socks5, forward, tun: none is configured, so nothing can use the tunnel");
}

static void check_server(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    char host[PQ_HOST_LEN];
    struct pq_range ports = {0, 0};
    if (pq_is_set(c->listen))
        pq_check_hostports(k, "listen.addr", pq_key_line(k->lines, "listen.addr"), c->listen, host,
                           &ports);
    if (c->own_port && pq_range_size(&ports) > 1)
        PQ_FAIL(k, "listen.addr",
                "listen.addr: is a range of ports, but network.ipv4.addr or ipv6.addr says %u: "
                "give port 0 there, or a single port here",
                c->own_port);
    else if (c->own_port && ports.from && c->own_port != ports.from)
        PQ_WARN(k, "listen.addr",
                "listen.addr: its port %u is not used; the port of network.ipv4.addr "
                "or ipv6.addr, %u, decides",
                ports.from, c->own_port);
    c->own_ports = c->own_port ? (struct pq_range){c->own_port, c->own_port} : ports;
    c->own_port = c->own_ports.from;
    if (!c->own_port && !pq_is_set(c->listen))
        PQ_FAIL(k, "listen.addr", "listen.addr: is missing; for example :9999");
}

/* Settings of the other role: harmless, but not what was meant. */
static void check_other_role(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    const bool quic_before = pq_key_is_set(k->lines, "transport.quic.key_before");
    const struct {
        const char *path;
        enum pq_role role;
        bool there;
    } v[] = {
        {"socks5", PQ_ROLE_CLIENT, c->n_socks5},
        {"forward", PQ_ROLE_CLIENT, c->n_forward},
        {"rules", PQ_ROLE_CLIENT, c->n_split},
        {"spread", PQ_ROLE_CLIENT, c->spread},
        {"users", PQ_ROLE_SERVER, c->n_users},
        {"transport.kcp.key_before", PQ_ROLE_SERVER, pq_is_set(c->kcp.key_before) && !quic_before},
        {"transport.quic.key_before", PQ_ROLE_SERVER, quic_before},
        {"transport.require", PQ_ROLE_SERVER, pq_is_set(c->require)},
        {"server.public_key", PQ_ROLE_CLIENT, pq_is_set(c->server[0].public_key)},
        {"allow", PQ_ROLE_SERVER, c->rules.allow.set},
        {"deny", PQ_ROLE_SERVER, c->rules.deny.set},
        {"outgoing", PQ_ROLE_SERVER, pq_key_is_set(k->lines, "outgoing")},
        {"tun.dns", PQ_ROLE_CLIENT, c->tun.enabled && c->tun.dns_text.n},
        {"tun.dns_direct", PQ_ROLE_CLIENT, c->tun.enabled && c->tun.dns_direct_text.n},
        {"tun.kill_switch", PQ_ROLE_CLIENT, c->tun.enabled && pq_is_set(c->tun.kill_text)},
        {"tun.masquerade", PQ_ROLE_SERVER, c->tun.enabled && c->tun.masquerade},
    };
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        if (v[i].there && c->role != PQ_ROLE_NONE && c->role != v[i].role)
            PQ_WARN(k, v[i].path, "%s: is for a %s only; ignored", v[i].path,
                    v[i].role == PQ_ROLE_CLIENT ? "client" : "server");
}

void pq_conf_check(struct pq_conf *c, const struct pq_key_lines *lines, struct pq_conf_msgs *m)
{
    struct pq_check k = {c, lines, m};
    c->all_workers = (unsigned)c->packet_workers;
    if (pq_key_is_set(lines, "tunnels")) {
        pq_conf_check_tunnels(&k);
        return;
    }
    pq_conf_check_program(&k);
    check_other_role(&k);
    pq_conf_check_listeners(&k);
    pq_conf_check_split(&k);
    pq_conf_check_tun(&k);
    pq_conf_check_exit(&k);
    check_network(&k);
    check_protocol(&k);
    check_kcp(&k);
    if (c->over_quic)
        pq_conf_check_quic(&k);
    /* with a wrong role, at least what is there is checked */
    if (c->role == PQ_ROLE_CLIENT || (c->role == PQ_ROLE_NONE && pq_is_set(c->server[0].addr)))
        check_client(&k);
    if (c->role == PQ_ROLE_SERVER || (c->role == PQ_ROLE_NONE && c->listen))
        check_server(&k);
    pq_conf_check_keys(&k);
    if (c->over_quic)
        pq_conf_check_quic_ports(&k);
}
