/* SPDX-License-Identifier: MIT */
/* conf_keys.c - every key of both families and of our own. */
#include "conf/conf_internal.h"

#include "base/near.h"
#include "quic/quic.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct pq_conf, field)
#define NOWHERE   SIZE_MAX
#define MAP(path)                                                                                  \
    {                                                                                              \
        path, KEY_MAP, NOWHERE, 0, 0, 0, USE_YES                                                   \
    }
#define STR(path, at)                                                                              \
    {                                                                                              \
        path, KEY_STRING, at, 0, 0, 0, USE_YES                                                     \
    }
#define FLAG(path, at)                                                                             \
    {                                                                                              \
        path, KEY_BOOL, at, 0, 0, 0, USE_YES                                                       \
    }
#define INT(path, at, min, max, deflt)                                                             \
    {                                                                                              \
        path, KEY_INT, at, min, max, deflt, USE_YES                                                \
    }
#define TEXTS(path, at, kind, most)                                                                \
    {                                                                                              \
        path, kind, at, 0, most, 0, USE_YES                                                        \
    }
#define NUM_UNUSED(path, min, max)                                                                 \
    {                                                                                              \
        path, KEY_INT, NOWHERE, min, max, 0, USE_NONE                                              \
    }
static const struct pq_key keys[] = {
    STR("role", AT(role_text)),
    {"tunnels", KEY_LIST_OF_MAPS, NOWHERE, 0, 0, 0, USE_YES},
    STR("tunnels[].name", AT(name)),
    MAP("log"),
    STR("log.level", AT(log_level_text)),
    STR("control", AT(control)),
    MAP("status"),
    STR("status.listen", AT(status_listen)),
    STR("status.token", AT(status_token)),
    MAP("listen"),
    STR("listen.addr", AT(listen)),
    FLAG("listen.decoy", AT(decoy)),
    MAP("server"),
    STR("server.addr", AT(server[0].addr)),
    STR("server.public_key", AT(server[0].public_key)),
    {"servers", KEY_LIST_OF_MAPS, NOWHERE, 0, 0, 0, USE_YES},
    STR("servers[].addr", offsetof(struct pq_conf_server, addr)),
    STR("servers[].public_key", offsetof(struct pq_conf_server, public_key)),
    FLAG("spread", AT(spread)),
    {"socks5", KEY_LIST_OF_MAPS, NOWHERE, 0, 0, 0, USE_YES},
    STR("socks5[].listen", offsetof(struct pq_conf_socks5, listen)),
    STR("socks5[].username", offsetof(struct pq_conf_socks5, username)),
    STR("socks5[].password", offsetof(struct pq_conf_socks5, password)),
    STR("socks5[].reply", offsetof(struct pq_conf_socks5, reply)),
    {"forward", KEY_LIST_OF_MAPS, NOWHERE, 0, 0, 0, USE_YES},
    STR("forward[].name", offsetof(struct pq_conf_forward, name)),
    TEXTS("forward[].listen", offsetof(struct pq_conf_forward, listen_text), KEY_TEXT_OR_TEXTS,
          PQ_CONF_LISTEN_MAX),
    STR("forward[].target", offsetof(struct pq_conf_forward, target)),
    TEXTS("forward[].protocol", offsetof(struct pq_conf_forward, protocol_text), KEY_TEXT_OR_TEXTS,
          2),
    TEXTS("forward[].except", offsetof(struct pq_conf_forward, except_text), KEY_TEXT_OR_TEXTS,
          PQ_CONF_LISTEN_MAX),
    {"rules", KEY_LIST_OF_MAPS, NOWHERE, 0, 0, 0, USE_YES},
    TEXTS("rules[].direct", offsetof(struct pq_conf_split, direct), KEY_TEXT_OR_TEXTS,
          PQ_CONF_SPLIT_ENTRIES),
    TEXTS("rules[].tunnel", offsetof(struct pq_conf_split, tunnel), KEY_TEXT_OR_TEXTS,
          PQ_CONF_SPLIT_ENTRIES),
    TEXTS("rules[].block", offsetof(struct pq_conf_split, block), KEY_TEXT_OR_TEXTS,
          PQ_CONF_SPLIT_ENTRIES),
    {"users", KEY_LIST_OF_MAPS, NOWHERE, 0, 0, 0, USE_YES},
    STR("users[].name", offsetof(struct pq_conf_user, name)),
    STR("users[].public_key", offsetof(struct pq_conf_user, public_key)),
    TEXTS("users[].allow", offsetof(struct pq_conf_user, rules.allow), KEY_RULES,
          PQ_CONF_RULES_MAX),
    TEXTS("users[].deny", offsetof(struct pq_conf_user, rules.deny), KEY_RULES, PQ_CONF_RULES_MAX),
    TEXTS("users[].tun", offsetof(struct pq_conf_user, tun_text), KEY_TEXT_OR_TEXTS,
          PQ_CONF_USER_NETS_MAX),
    TEXTS("allow", AT(rules.allow), KEY_RULES, PQ_CONF_RULES_MAX),
    TEXTS("deny", AT(rules.deny), KEY_RULES, PQ_CONF_RULES_MAX),
    MAP("outgoing"),
    STR("outgoing.interface", AT(outgoing.ifname)),
    STR("outgoing.ipv4", AT(outgoing.addr4_text)),
    STR("outgoing.ipv6", AT(outgoing.addr6_text)),
    STR("outgoing.socks5", AT(outgoing.socks5)),
    STR("outgoing.username", AT(outgoing.username)),
    STR("outgoing.password", AT(outgoing.password)),

    MAP("network"),
    STR("network.interface", AT(ifname)),
    STR("network.guid", AT(guid)),
    STR("network.backend", AT(backend_text)),
    MAP("network.ipv4"),
    STR("network.ipv4.addr", AT(v4.addr)),
    STR("network.ipv4.router_mac", AT(v4.router_mac)),
    MAP("network.ipv6"),
    STR("network.ipv6.addr", AT(v6.addr)),
    STR("network.ipv6.router_mac", AT(v6.router_mac)),
    MAP("network.tcp"),
    STR("network.tcp.look", AT(look_text)),
    STR("network.tcp.os", AT(system_text)),
    TEXTS("network.tcp.local_flag", AT(local_flag_text), KEY_TEXTS, PQ_FLAGS_MAX),
    TEXTS("network.tcp.remote_flag", AT(remote_flag_text), KEY_TEXTS, PQ_FLAGS_MAX),
    MAP("network.pcap"),
    INT("network.pcap.sockbuf", AT(sockbuf), 1024, 104857600, 8388608),
    NUM_UNUSED("network.pcap.send_queue_size", 1, 100000),
    NUM_UNUSED("network.pcap.max_retries", 0, 10),
    NUM_UNUSED("network.pcap.initial_backoff_ms", 1, 1000),
    NUM_UNUSED("network.pcap.max_backoff_ms", 1, 60000),

    MAP("transport"),
    STR("transport.protocol", AT(protocol)),
    STR("transport.header", AT(header_text)),
    INT("transport.conn", AT(conn), 1, 256, 1),
    STR("transport.wire", AT(wire)),
    STR("transport.private_key", AT(private_key)),
    STR("transport.require", AT(require)),
    STR("transport.state", AT(state)),
    NUM_UNUSED("transport.tcpbuf", 0, 16777216),
    NUM_UNUSED("transport.udpbuf", 0, 4194304),
    NUM_UNUSED("transport.tunbuf", 0, 33554432),
    MAP("transport.kcp"),
    STR("transport.kcp.mode", AT(kcp.mode)),
    INT("transport.kcp.nodelay", AT(kcp.nodelay), INT_MIN, INT_MAX, 0),
    INT("transport.kcp.interval", AT(kcp.interval), INT_MIN, INT_MAX, 0),
    INT("transport.kcp.resend", AT(kcp.resend), INT_MIN, INT_MAX, 0),
    INT("transport.kcp.nocongestion", AT(kcp.nocongestion), INT_MIN, INT_MAX, 0),
    FLAG("transport.kcp.wdelay", AT(kcp.wdelay)),
    FLAG("transport.kcp.acknodelay", AT(kcp.acknodelay)),
    INT("transport.kcp.mtu", AT(kcp.mtu), 50, 1500, 1350),
    INT("transport.kcp.rcvwnd", AT(kcp.rcvwnd), 1, 32768, 16384),
    INT("transport.kcp.sndwnd", AT(kcp.sndwnd), 1, 32768, 16384),
    INT("transport.kcp.dshard", AT(kcp.dshard), INT_MIN, INT_MAX, 0),
    INT("transport.kcp.pshard", AT(kcp.pshard), INT_MIN, INT_MAX, 0),
    STR("transport.kcp.block", AT(kcp.block)),
    STR("transport.kcp.key", AT(kcp.key)),
    STR("transport.kcp.key_before", AT(kcp.key_before)),
    STR("transport.kcp.fec", AT(kcp.fec)),
    STR("transport.kcp.congestion", AT(kcp.congestion)),
    INT("transport.kcp.smuxbuf", AT(kcp.smuxbuf), 1024, INT_MAX, 67108864),
    INT("transport.kcp.streambuf", AT(kcp.streambuf), 1024, INT_MAX, 33554432),
    INT("transport.kcp.smuxkalive", AT(kcp.smuxkalive), 1, 3600, 2),
    INT("transport.kcp.smuxktimeout", AT(kcp.smuxktimeout), 1, 3600, 8),
    MAP("transport.quic"),
    STR("transport.quic.auth", AT(quic.auth)),
    STR("transport.quic.key", AT(quic.key)),
    STR("transport.quic.key_before", AT(quic.key_before)),
    STR("transport.quic.congestion", AT(quic.congestion)),
    INT("transport.quic.mtu", AT(quic.mtu), PQ_QUIC_SIZE_MIN, PQ_QUIC_SIZE_MAX, 1350),
    INT("transport.quic.max_idle_timeout", AT(quic.idle), 1, 600, 0),
    INT("transport.quic.max_incoming_streams", AT(quic.streams), 1, 100000, 0),
    NUM_UNUSED("transport.quic.max_incoming_uni_streams", 1, 100000),
    INT("transport.quic.initial_stream_receive_window", AT(quic.stream_window), 1048576, LONG_MAX,
        0),
    INT("transport.quic.max_stream_receive_window", AT(quic.stream_window_max), 1048576, LONG_MAX,
        0),
    INT("transport.quic.initial_connection_receive_window", AT(quic.window), 1048576, LONG_MAX, 0),
    INT("transport.quic.max_connection_receive_window", AT(quic.window_max), 1048576, LONG_MAX, 0),
    INT("transport.quic.keep_alive_period", AT(quic.keepalive), 1, 60, 0),
    FLAG("transport.quic.enable_datagrams", AT(quic.enable_datagrams)),
    {"transport.quic.enable_0rtt", KEY_BOOL, NOWHERE, 0, 0, 0, USE_NONE},
    FLAG("transport.quic.early", AT(quic.early)),
    FLAG("transport.quic.insecure_skip_verify", AT(quic.skip_verify)),
    STR("transport.quic.server_name", AT(quic.server_name)),

    MAP("tun"),
    FLAG("tun.enabled", AT(tun.enabled)),
    STR("tun.name", AT(tun.name)),
    STR("tun.addr", AT(tun.addr_text)),
    STR("tun.addr6", AT(tun.addr6_text)),
    INT("tun.mtu", AT(tun.mtu), LONG_MIN, LONG_MAX, 1500), /* its range only counts if enabled */
    TEXTS("tun.routes", AT(tun.routes_text), KEY_TEXT_OR_TEXTS, PQ_CONF_ROUTES_MAX),
    FLAG("tun.masquerade", AT(tun.masquerade)),
    STR("tun.kill_switch", AT(tun.kill_text)),
    STR("tun.lan", AT(tun.lan_text)),
    TEXTS("tun.dns", AT(tun.dns_text), KEY_TEXT_OR_TEXTS, PQ_CONF_DNS_MAX),
    TEXTS("tun.dns_direct", AT(tun.dns_direct_text), KEY_TEXT_OR_TEXTS, PQ_CONF_DNS_MAX),

    MAP("performance"),
    INT("performance.max_concurrent_streams", AT(max_streams), 0, 10000000, 65536),
    INT("performance.max_sessions", AT(max_sessions), 1, 1000000, 0),
    INT("performance.max_udp_flows", AT(max_udp_flows), 1, 1000000, 16384),
    INT("performance.packet_workers", AT(packet_workers), 1, 64, 1),
    NUM_UNUSED("performance.stream_worker_pool_size", 10, 100000),
    NUM_UNUSED("performance.tcp_connection_pool_size", 0, 10000),
    NUM_UNUSED("performance.tcp_connection_idle_timeout", 10, 3600),
    {"performance.enable_connection_pooling", KEY_BOOL, NOWHERE, 0, 0, 0, USE_NONE},
    NUM_UNUSED("performance.max_retry_attempts", 0, 20),
    NUM_UNUSED("performance.retry_initial_backoff_ms", 10, 10000),
    NUM_UNUSED("performance.retry_max_backoff_ms", 10, 60000),
    NUM_UNUSED("performance.connection_health_check_ms", 100, 60000),
    NUM_UNUSED("performance.tcp_flag_refresh_ms", 500, 600000),
};

#define N_KEYS (sizeof keys / sizeof keys[0])
_Static_assert(N_KEYS <= PQ_KEYS_MAX, "each key has a place for its line");

unsigned pq_key_count(void)
{
    return N_KEYS;
}

const struct pq_key *pq_key_nth(unsigned i)
{
    return &keys[i];
}

const struct pq_key *pq_key_find(const char *path)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].path, path) == 0)
            return &keys[i];
    return NULL;
}

const char *pq_key_nearest(const char *path)
{
    const char *best = NULL, *name = strrchr(path, '.');
    unsigned least = 64;
    name = name ? name + 1 : path;
    for (size_t i = 0; i < N_KEYS; i++) {
        const char *kname = strrchr(keys[i].path, '.');
        kname = kname ? kname + 1 : keys[i].path;
        /* the same name in another place, or a like name in the same place */
        unsigned d = strcmp(kname, name) == 0 ? 1 : pq_text_distance(path, keys[i].path);
        if (d < least) {
            least = d;
            best = keys[i].path;
        }
    }
    return least <= 3 || strlen(path) / 3 >= least ? best : NULL;
}

void pq_conf_defaults(struct pq_conf *c)
{
    memset(c, 0, sizeof *c);
    c->n_servers = 1; /* the first place is server.addr's */
    for (size_t i = 0; i < N_KEYS; i++)
        if (keys[i].kind == KEY_INT && keys[i].at != NOWHERE)
            memcpy((char *)c + keys[i].at, &keys[i].deflt, sizeof keys[i].deflt);
}

static void wipe(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

static void free_list(struct pq_conf_list *l)
{
    for (unsigned i = 0; i < l->n; i++)
        wipe(l->v[i]);
    free(l->v);
    free(l->line);
}

void pq_keys_free(const char *prefix, void *base)
{
    const size_t n = strlen(prefix);
    for (size_t i = 0; i < N_KEYS; i++) {
        const struct pq_key *k = &keys[i];
        if (k->at == NOWHERE || (n ? strncmp(k->path, prefix, n) != 0 : !!strchr(k->path, '[')))
            continue;
        void *at = (char *)base + k->at;
        if (k->kind == KEY_STRING)
            wipe(*(char **)at);
        else if (k->kind == KEY_TEXTS || k->kind == KEY_TEXT_OR_TEXTS || k->kind == KEY_RULES)
            free_list(at);
    }
}

static int line_of(const struct pq_key_lines *l, const char *path)
{
    for (unsigned i = 0; i < l->n; i++)
        if (strcmp(l->v[i].path, path) == 0)
            return l->v[i].line;
    return 0;
}

bool pq_key_is_set(const struct pq_key_lines *l, const char *path)
{
    return line_of(l, path) != 0;
}

int pq_key_line(const struct pq_key_lines *l, const char *path)
{
    char up[64];
    snprintf(up, sizeof up, "%s", path);
    for (;;) {
        int line = line_of(l, up);
        if (line)
            return line;
        char *dot = strrchr(up, '.');
        if (!dot)
            return 0;
        *dot = 0;
    }
}
