/* SPDX-License-Identifier: MIT */
/* conf.h - the configuration: the YAML of both Go families and a few keys of our own, read against
 * a table of keys (keys.c), checked as a whole (check.c).  docs/configuration.md is the
 * user's side of it.  Immutable once loaded, but for pq_conf_swap_live; any thread may read it. */
#ifndef PQ_CONF_H
#define PQ_CONF_H
#include "base/addr.h"
#include "base/flags.h"
#include "base/log.h"
#include "crypt/crypt.h"
#include "entry/split.h"
#include "header/header.h"
#include "kcp/kcp.h"
#include "wire/flow.h"

#include <stdbool.h>
#include <stdio.h>

#define PQ_CONF_TUNNELS_MAX   16
#define PQ_CONF_WORKERS_MAX   64 /* of all tunnels together */
#define PQ_CONF_SOCKS_MAX     16
#define PQ_CONF_SERVERS_MAX   8
#define PQ_CONF_FORWARD_MAX   1024 /* entries ... */
#define PQ_CONF_PORTS_MAX     4096 /* ... and the sockets that they listen on */
#define PQ_CONF_LISTEN_MAX    64   /* texts of one entry's listen */
#define PQ_CONF_RULES_MAX     256  /* entries of allow, and of deny */
#define PQ_CONF_SPLIT_MAX     64   /* rules of a client ... */
#define PQ_CONF_SPLIT_ENTRIES 1024 /* ... and the entries of one */
#define PQ_CONF_DNS_MAX       4
#define PQ_CONF_ROUTES_MAX    64
#define PQ_CONF_USERS_MAX     4096
#define PQ_CONF_USER_NETS_MAX 16
#define PQ_CONF_KEY_LEN       32    /* bytes of a public or private key */
#define PQ_CONF_RANGE_MAX     32768 /* ports of a server */
#define PQ_CONF_MSGS_MAX      64
#define PQ_WHY_LEN            512 /* of a text that says why something cannot be made */

enum pq_role { PQ_ROLE_NONE, PQ_ROLE_CLIENT, PQ_ROLE_SERVER };
enum pq_backend { PQ_BACKEND_AUTO, PQ_BACKEND_AFPACKET, PQ_BACKEND_PCAP };

struct pq_conf_socks5 {
    char *listen, *username, *password, *reply; /* as written */
    bool real_reply;
    int line;
    struct pq_addr addr;
};

struct pq_conf_server { /* of a client: server.addr, or an entry of servers[] */
    char *addr;         /* as written */
    char *public_key;
    int line;
    char host[256];
    struct pq_range ports; /* several: sessions begin at any of them, and go on at others */
    bool has_key;
    uint8_t key[PQ_CONF_KEY_LEN]; /* public */
};

struct pq_conf_list { /* a list of texts */
    char **v;
    int *line;
    unsigned n;
    bool set;  /* the key is there, perhaps with an empty list ... */
    bool bare; /* ... or, allow and deny, without a word behind it */
};

struct pq_conf_rules { /* server: which targets clients may reach */
    struct pq_conf_list allow, deny;
};

struct pq_conf_user {        /* of a server */
    char *name, *public_key; /* as written */
    int line;
    uint8_t key[PQ_CONF_KEY_LEN];
    bool gone;                  /* his place is empty: he was taken away while the server runs */
    struct pq_conf_rules rules; /* if one of them is there, in place of those for all */
    struct pq_conf_list tun_text;
    struct pq_net tun[PQ_CONF_USER_NETS_MAX]; /* inner addresses that are his alone */
    unsigned n_tun;
};

struct pq_conf_forward {
    char *name, *target; /* as written */
    struct pq_conf_list listen_text, protocol_text, except_text;
    int line;
    bool tcp, udp;
    bool all;                   /* listens on all ports of all addresses ... */
    struct pq_range *not_taken; /* ... but for these; malloc'ed */
    unsigned n_not_taken;
    char *host; /* of the target: a name or an address without brackets; malloc'ed */
};

struct pq_conf_port {    /* one socket of a forward */
    unsigned entry;      /* index in `forward` */
    bool udp;            /* else TCP */
    bool all;            /* of all ports: one socket for each IP version and protocol */
    struct pq_addr addr; /* where it listens; `all`: inside, on any port (0) */
    uint16_t port;       /* of the target; 0: the one that was asked */
};

struct pq_conf_split {                         /* client: an entry of `rules` */
    struct pq_conf_list direct, tunnel, block; /* one of them is there */
    int line;
};

struct pq_conf_side {        /* network.ipv4 or network.ipv6 */
    char *addr, *router_mac; /* as written */
    bool has_ip, has_mac;
    struct pq_addr ip; /* port included; any address if only the port was given */
    uint8_t mac[6];
};

#define PQ_CONF_TUN_NAME "tun0" /* of a device without a name */

struct pq_conf_tun {
    bool enabled; /* false: nothing below has been checked */
    char *name, *addr_text, *addr6_text;
    long mtu;
    struct pq_conf_list routes_text;
    bool masquerade; /* server */
    char *kill_text, *lan_text;
    struct pq_conf_list dns_text, dns_direct_text; /* client */
    /* what follows */
    struct pq_net net4, net6; /* own address and the network around it */
    bool has4, has6;
    struct pq_net routes[PQ_CONF_ROUTES_MAX]; /* host bits cleared, none twice, no default */
    unsigned n_routes;
    bool default_route;             /* client */
    bool kill, kill_always, no_lan; /* client */
    struct pq_addr dns[PQ_CONF_DNS_MAX], dns_direct[PQ_CONF_DNS_MAX];
    unsigned n_dns, n_dns_direct;
};

struct pq_conf_outgoing { /* server: how targets are reached */
    char *ifname, *addr4_text, *addr6_text, *socks5, *username, *password; /* as written */
    bool has_addr4, has_addr6;
    struct pq_addr addr4, addr6; /* source addresses, port 0 */
    char socks_host[256];        /* the upstream proxy; empty = none */
    uint16_t socks_port;
};

struct pq_conf_kcp {
    char *mode, *block, *key, *key_before, *congestion, *fec;
    long nodelay, interval, resend, nocongestion;
    bool wdelay, acknodelay;
    long mtu, rcvwnd, sndwnd, dshard, pshard, smuxbuf, streambuf, smuxkalive, smuxktimeout;
};

struct pq_conf_quic {
    char *auth, *key, *key_before, *congestion, *server_name;
    long mtu, idle, keepalive, streams, stream_window, stream_window_max, window, window_max;
    bool enable_datagrams, skip_verify, early;
    /* what follows */
    bool no_datagrams, cubic;
    bool open; /* auth: none */
};

struct pq_conf {
    char *name; /* of an entry of `tunnels`; else NULL */
    int line;
    struct pq_conf *tunnel; /* client: each a whole one, and nothing but what concerns all of them
                               is here; malloc'ed */
    unsigned n_tunnels;
    /* as written; a missing or zero number already replaced by its default */
    char *role_text, *log_level_text, *listen, *ifname, *guid;
    char *protocol, *header_text, *backend_text, *look_text, *system_text;
    char *private_key, *require, *wire, *state, *control, *status_listen, *status_token;
    struct pq_conf_socks5 socks5[PQ_CONF_SOCKS_MAX];
    struct pq_conf_server server[PQ_CONF_SERVERS_MAX]; /* the first one is server.addr, if set */
    unsigned n_socks5, n_servers;
    struct pq_conf_forward *forward; /* malloc'ed */
    unsigned n_forward;
    struct pq_conf_split *split_rule; /* malloc'ed */
    unsigned n_split;
    struct pq_conf_user *user; /* malloc'ed */
    unsigned n_users;
    struct pq_conf_side v4, v6;
    struct pq_conf_list local_flag_text, remote_flag_text;
    struct pq_conf_kcp kcp;
    struct pq_conf_quic quic; /* its keys are kcp's afterwards */
    struct pq_conf_tun tun;
    struct pq_conf_rules rules;
    struct pq_conf_outgoing outgoing;
    bool has_kcp, has_quic;
    bool mtu_set; /* else the link may lower it */
    bool decoy;   /* server: connections of strangers to its port are the machine's */
    bool spread;  /* client: streams go to all servers, not to one after the other */
    long sockbuf, conn, packet_workers, max_streams, max_udp_flows, max_sessions;

    /* what follows from it */
    enum pq_role role;
    unsigned all_workers; /* that share the machine: those of the other tunnels, too */
    bool over_quic;       /* transport.protocol */
    enum pq_log_level log_level;
    enum pq_backend backend;
    enum pq_look look;
    enum pq_system system; /* client */
    bool auto_look; /* client: PQ_LOOK_CONNECT to a server with keys where the other gets no answer
                     */
    enum pq_family header; /* PQ_FAMILY_NONE = auto */
    enum pq_cipher cipher;
    enum pq_congestion congestion;
    bool fec_auto;
    struct pq_flags local_flag, remote_flag;
    bool has_status;            /* there is a page about what the program does, ... */
    struct pq_addr status_addr; /* ... here, or ... */
    const char *status_path;    /* ... at this Unix socket; status_listen, or NULL */
    struct pq_conf_port *port;  /* of all forwards; malloc'ed */
    unsigned n_ports;
    struct pq_split *split;    /* client: what the rules say; NULL: there are none */
    uint16_t own_port;         /* server: the port, or the first; client: fixed port, or 0 */
    struct pq_range own_ports; /* server: all that it listens on */
    bool has_secret;           /* transport.private_key is there ... */
    uint8_t secret[PQ_CONF_KEY_LEN];
    bool require_keys; /* ... and nothing else is served */
    bool classic_wire; /* no wire of our own */
    bool open_rules;   /* server: neither allow nor deny is there, so all targets are permitted */
};

struct pq_conf_msgs { /* what was wrong, and what was odd */
    struct pq_conf_msg {
        bool error;
        int line; /* 0 = the file as a whole */
        char *text;
    } v[PQ_CONF_MSGS_MAX];
    unsigned n, errors;
    unsigned left_out; /* there was no room: warnings first */
    char prefix[24];   /* of what is said: "tunnels[2]." */
};

/* Whether others than the file's owner can read or change it; root's may be read by the service of
 * ours. */
struct stat;
bool pq_conf_is_open(const struct stat *st);

/* Reads and checks a file, and the lists that its rules name.  *out is owned by the caller
 * (pq_conf_free), also on error. Returns 0, or PQ_EINVAL if `msgs` holds at least one error. */
int pq_conf_load(struct pq_conf *out, const char *path, struct pq_conf_msgs *msgs);

/* The same from memory, without the lists. */
int pq_conf_parse(struct pq_conf *out, const char *text, size_t n, struct pq_conf_msgs *msgs);

/* Makes *c the configuration of its nth tunnel alone, as if that stood in a file of its own. */
void pq_conf_take_tunnel(struct pq_conf *c, unsigned nth);

/* Calls fn for each key that differs between two configurations and cannot change while the program
 * runs, transport.kcp.key and key_before left out.  Returns how many. */
unsigned pq_conf_differ(const struct pq_conf *a, const struct pq_conf *b,
                        void (*fn)(void *ctx, const char *path), void *ctx);

/* Exchanges what can change while it runs: log.level, socks5, forward, rules, servers, users,
 * allow and deny.  Nobody reads either meanwhile. */
void pq_conf_swap_live(struct pq_conf *a, struct pq_conf *b);

/* Whether the rules about targets are the same, those of users included who are in both. */
bool pq_conf_same_rules(const struct pq_conf *a, const struct pq_conf *b);

/* Takes all users away. */
void pq_conf_drop_users(struct pq_conf *c);

/* Whether both are one server, with the same key. */
bool pq_conf_same_server(const struct pq_conf_server *a, const struct pq_conf_server *b);

void pq_conf_free(struct pq_conf *c); /* overwrites all texts, secrets among them */

/* Prints the messages, in the order of the file, "file:line: error: key: text", one a line; last,
 * if there were too many, how many are missing. */
void pq_conf_msgs_print(const struct pq_conf_msgs *m, const char *path, FILE *f);
void pq_conf_msgs_free(struct pq_conf_msgs *m);
#endif
