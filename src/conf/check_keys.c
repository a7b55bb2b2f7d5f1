/* SPDX-License-Identifier: MIT */
/* check_keys.c - the wire of our own: keys of servers and users, what is required [12]. */
#include "conf/conf_internal.h"

#include "base/err.h"
#include "base/hex.h"
#include "tunnel/hub.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 64

/* A key as `paqet secret --pair` prints it: 64 hex digits.  The text may be secret: not shown. */
static bool read_key(struct pq_check *k, const char *path, int line, const char *text,
                     uint8_t key[PQ_CONF_KEY_LEN])
{
    const bool ok =
        strlen(text) == (size_t)2 * PQ_CONF_KEY_LEN && pq_hex_read(text, key, PQ_CONF_KEY_LEN);
    if (!ok)
        pq_conf_say(k->m, true, line,
                    "%s: is not a key of 64 hex digits; paqet secret --pair makes a pair", path);
    return ok;
}

static void check_servers(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    char path[40];
    for (unsigned i = 0; i < c->n_servers; i++) {
        struct pq_conf_server *s = &c->server[i];
        snprintf(path, sizeof path, i ? "servers[%u].public_key" : "server.public_key", i - 1);
        if (!pq_is_set(s->public_key)) {
            if (pq_range_size(&s->ports) > 1 && !c->over_quic)
                pq_conf_say(k->m, true, s->line ? s->line : pq_key_line(k->lines, "server.addr"),
                            "%s: is missing; a range of ports is only for servers with keys", path);
            continue;
        }
        s->has_key = read_key(k, path, s->line ? s->line : pq_key_line(k->lines, path),
                              s->public_key, s->key);
        if (s->has_key && c->classic_wire)
            PQ_FAIL(k, "transport.wire",
                    "transport.wire: classic has no keys, but %s is there: leave one out", path);
    }
}

static void check_user_nets(struct pq_check *k, struct pq_conf_user *u, unsigned nth)
{
    const struct pq_conf_tun *t = &k->c->tun;
    for (unsigned i = 0; i < u->tun_text.n; i++) {
        struct pq_net *n = &u->tun[u->n_tun];
        if (pq_net_parse(n, u->tun_text.v[i]))
            pq_conf_say(k->m, true, u->tun_text.line[i],
                        "users[%u].tun[%u]: '%s' is not an address or network such as 10.0.8.7 or "
                        "10.0.8.16/28",
                        nth, i, u->tun_text.v[i]);
        else
            u->n_tun++;
    }
    if (u->tun_text.n && !t->enabled)
        pq_conf_say(k->m, false, u->line, "users[%u].tun: there is no tun.enabled: true; ignored",
                    nth);
}

static void check_users(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    for (unsigned i = 0; i < c->n_users; i++) {
        struct pq_conf_user *u = &c->user[i];
        char path[40];
        snprintf(path, sizeof path, "users[%u]", i);
        if (!pq_is_set(u->name) || strlen(u->name) > NAME_MAX_LEN)
            pq_conf_say(k->m, true, u->line, "%s.name: must be there, of at most %d bytes", path,
                        NAME_MAX_LEN);
        snprintf(path, sizeof path, "users[%u].", i);
        pq_check_rules(k, path, u->line, &u->rules);
        check_user_nets(k, u, i);
        snprintf(path, sizeof path, "users[%u].public_key", i);
        if (!pq_is_set(u->public_key)) {
            pq_conf_say(k->m, true, u->line, "%s: is missing; the public half of the user's key",
                        path);
            continue;
        }
        if (!read_key(k, path, u->line, u->public_key, u->key))
            continue;
        for (unsigned j = 0; j < i; j++)
            if (memcmp(c->user[j].key, u->key, sizeof u->key) == 0)
                pq_conf_say(k->m, true, u->line, "%s: users[%u] has the same key", path, j);
    }
}

static void check_wire(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    c->classic_wire = pq_is_set(c->wire) && strcmp(c->wire, "classic") == 0;
    if (pq_is_set(c->wire) && !c->classic_wire && strcmp(c->wire, "auto") != 0)
        PQ_FAIL(k, "transport.wire", "transport.wire: '%s' is not auto or classic", c->wire);
    c->require_keys = pq_is_set(c->require) && strcmp(c->require, "keys") == 0;
    if (pq_is_set(c->require) && !c->require_keys && strcmp(c->require, "none") != 0)
        PQ_FAIL(k, "transport.require", "transport.require: '%s' is not keys or none", c->require);
}

static void check_server(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    if (!c->has_secret && (c->require_keys || c->n_users))
        PQ_FAIL(k, c->require_keys ? "transport.require" : "users",
                "transport.private_key: is missing, but %s; paqet secret --pair makes a pair",
                c->require_keys ? "transport.require asks for keys" : "there are users");
    if (pq_range_size(&c->own_ports) > 1 && !c->require_keys && !c->over_quic)
        PQ_FAIL(k, "listen.addr",
                "listen.addr: a range of ports is only for clients with keys: set "
                "transport.require: keys, or listen on one port");
    if (c->has_secret && c->classic_wire)
        PQ_FAIL(k, "transport.wire",
                "transport.wire: classic has no keys, but transport.private_key is there: leave "
                "one out");
    if (c->has_secret && !c->n_users)
        PQ_WARN(k, "transport.private_key",
                "users: there are none, so whoever has transport.kcp.key and the public key is let "
                "in; give each user an entry");
    if (c->has_secret && !c->require_keys)
        PQ_WARN(k, "transport.private_key",
                "transport.require: keys is not set, so packets of the Go programs' wire are "
                "answered, too: who has recorded some can find this server, see docs/security.md");
}

/* A client's connections prove by the server's public key that it may have an answer [12.9]. */
static void check_connect(struct pq_check *k)
{
    const struct pq_conf *c = k->c;
    const struct pq_flags usual = {{PQ_TCP_PSH | PQ_TCP_ACK}, 1};
    if (c->look != PQ_LOOK_CONNECT)
        return;
    bool all = c->role == PQ_ROLE_SERVER ? c->has_secret : c->n_servers > 0;
    for (unsigned i = 0; c->role != PQ_ROLE_SERVER && i < c->n_servers; i++)
        all = all && (c->server[i].has_key || pq_is_set(c->server[i].public_key));
    if (!all)
        PQ_FAIL(k, "network.tcp.look", "network.tcp.look: connect needs keys: %s",
                c->role == PQ_ROLE_SERVER ? "transport.private_key"
                                          : "the public_key of each server");
    if (c->local_flag.n != usual.n || c->local_flag.v[0] != usual.v[0])
        PQ_FAIL(k, "network.tcp.local_flag",
                "network.tcp.local_flag: a connection sets its flags as TCP does; leave this out, "
                "or network.tcp.look: connect");
}

void pq_conf_check_keys(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    check_wire(k);
    if (pq_is_set(c->private_key))
        c->has_secret =
            read_key(k, "transport.private_key", pq_key_line(k->lines, "transport.private_key"),
                     c->private_key, c->secret);
    bool keys = c->has_secret;
    if (c->role == PQ_ROLE_SERVER) {
        check_users(k);
        check_server(k);
    } else {
        check_servers(k);
        for (unsigned i = 0; i < c->n_servers; i++)
            keys = keys || c->server[i].has_key;
    }
    check_connect(k);
    if (keys && !pq_is_set(c->kcp.key))
        PQ_FAIL(
            k, "transport.kcp.key",
            "transport.kcp.key: is missing; with public keys, too, both ends need the same one");
    if (keys && c->kcp.mtu < PQ_OWN_MTU_MIN)
        PQ_FAIL(k, "transport.kcp.mtu",
                "transport.kcp.mtu: %ld is too small for public keys; use at least %d", c->kcp.mtu,
                PQ_OWN_MTU_MIN);
}
