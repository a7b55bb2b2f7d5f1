/* SPDX-License-Identifier: MIT */
/* conf_check_tun.c - the addresses and routes of the TUN device. */
#include "conf/conf_internal.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

#define MTU_MIN  68 /* of IPv4 */
#define MTU_MIN6 1280
#define MTU_MAX  65535

static void check_name(struct pq_check *k)
{
    struct pq_conf_tun *t = &k->c->tun;
    if (!pq_is_set(t->name)) {
        free(t->name);
        t->name = strdup("tun0");
        return;
    }
    bool odd = strcmp(t->name, ".") == 0 || strcmp(t->name, "..") == 0;
    for (const char *p = t->name; *p; p++)
        odd = odd || (unsigned char)*p <= ' ' || strchr("/:%", *p);
    if (odd || strlen(t->name) > 15)
        PQ_FAIL(
            k, "tun.name",
            "tun.name: '%s' cannot be the name of an interface: at most 15 characters, no space, "
            "none of / : %%",
            t->name);
}

/* An own address with its prefix.  Returns false if something is wrong. */
static bool own_addr(struct pq_check *k, const char *path, const char *text, struct pq_net *out)
{
    if (strchr(text, '/') && !pq_net_parse(out, text) && !pq_addr_is_any(&out->ip))
        return true;
    PQ_FAIL(k, path, "%s: '%s' is not an address with a prefix, such as %s", path, text,
            strcmp(path, "tun.addr") == 0 ? "10.0.8.1/24" : "fd00:8::1/64");
    return false;
}

static void check_addrs(struct pq_check *k)
{
    struct pq_conf_tun *t = &k->c->tun;
    struct pq_net n;
    if (!pq_is_set(t->addr_text)) {
        PQ_FAIL(k, "tun.addr", "tun.addr: is missing; this end's address, for example 10.0.8.1/24");
    } else if (own_addr(k, "tun.addr", t->addr_text, &n)) {
        t->has4 = pq_addr_is4(&n.ip);
        t->has6 = !t->has4;
        *(t->has4 ? &t->net4 : &t->net6) = n;
    }
    if (!pq_is_set(t->addr6_text) || !own_addr(k, "tun.addr6", t->addr6_text, &n))
        return;
    if (pq_addr_is4(&n.ip))
        PQ_FAIL(k, "tun.addr6", "tun.addr6: '%s' is not an IPv6 address", t->addr6_text);
    else if (t->has6)
        PQ_FAIL(k, "tun.addr6", "tun.addr6: tun.addr is an IPv6 address already");
    else
        t->net6 = n;
    t->has6 = t->has6 || !pq_addr_is4(&n.ip);
}

static void clear_host_bits(struct pq_net *n)
{
    unsigned i = n->bits / 8;
    if (n->bits % 8)
        n->ip.ip[i++] &= (uint8_t)(0xff00 >> n->bits % 8);
    while (i < sizeof n->ip.ip)
        n->ip.ip[i++] = 0;
}

static bool is_default(const struct pq_net *n)
{
    return n->bits == (pq_addr_is4(&n->ip) ? 96 : 0);
}

static void add_route(struct pq_check *k, unsigned i)
{
    struct pq_conf_tun *t = &k->c->tun;
    const char *text = t->routes_text.v[i];
    const int line = t->routes_text.line[i];
    struct pq_net n;
    const bool word = strcmp(text, "default") == 0;
    if (!word && pq_net_parse(&n, text)) {
        pq_conf_say(
            k->m, true, line,
            "tun.routes[%u]: '%s' is not a network such as 10.1.0.0/16, nor the word default", i,
            text);
        return;
    }
    if (word || is_default(&n)) {
        t->default_route = true;
        if (k->c->role == PQ_ROLE_SERVER)
            pq_conf_say(k->m, true, line,
                        "tun.routes[%u]: default is for a client only; a server lists the networks "
                        "behind its clients",
                        i);
        return;
    }
    clear_host_bits(&n);
    for (unsigned j = 0; j < t->n_routes; j++) {
        if (pq_addr_eq(&t->routes[j].ip, &n.ip) && t->routes[j].bits == n.bits) {
            pq_conf_say(k->m, false, line, "tun.routes[%u]: '%s' is there twice", i, text);
            return;
        }
    }
    if (pq_addr_is4(&n.ip) ? t->has6 && !t->has4 : t->has4 && !t->has6)
        pq_conf_say(k->m, false, line,
                    "tun.routes[%u]: '%s', but this end of the tunnel has no %s address", i, text,
                    pq_addr_is4(&n.ip) ? "IPv4" : "IPv6");
    t->routes[t->n_routes++] = n;
}

/* Whether the text is one of the words, which end with NULL. */
static bool is_one_of(const char *text, const char *const *words)
{
    while (*words && strcmp(*words, text) != 0)
        words++;
    return *words;
}

static bool has_server_name(const struct pq_conf *c)
{
    struct pq_addr a;
    bool name = false;
    for (unsigned i = 0; i < c->n_servers; i++) {
        char host[PQ_HOST_LEN];
        uint16_t port;
        if (pq_is_set(c->server[i].addr) &&
            pq_hostport_split(c->server[i].addr, host, sizeof host, &port) == 0)
            name = name || pq_addr_parse_ip(&a, host);
    }
    return name;
}

static void check_kill_switch(struct pq_check *k)
{
    static const char *const off[] = {"off", "false", "no", NULL};
    static const char *const on[] = {"on", "true", "yes", NULL};
    struct pq_conf_tun *t = &k->c->tun;
    const char *const text = pq_is_set(t->kill_text) ? t->kill_text : "off";
    t->kill_always = strcmp(text, "always") == 0;
    t->kill = t->kill_always || is_one_of(text, on);
    if (!t->kill && !is_one_of(text, off))
        PQ_FAIL(k, "tun.kill_switch", "tun.kill_switch: '%s' is not off, on or always", text);
    t->no_lan = pq_is_set(t->lan_text) && strcmp(t->lan_text, "block") == 0;
    if (pq_is_set(t->lan_text) && !t->no_lan && strcmp(t->lan_text, "allow") != 0)
        PQ_FAIL(k, "tun.lan", "tun.lan: '%s' is not allow or block", t->lan_text);
    else if (t->no_lan && !t->kill)
        PQ_WARN(k, "tun.lan", "tun.lan: has no effect without tun.kill_switch");
    if (t->kill && k->c->role == PQ_ROLE_CLIENT && has_server_name(k->c))
        PQ_WARN(
            k, "tun.kill_switch",
            "tun.kill_switch: a server is given by its name, which cannot be looked up while the "
            "tunnel is down, unless a resolver of the local network knows it; write its address");
    if (t->kill && !t->default_route)
        PQ_WARN(k, "tun.kill_switch",
                "tun.kill_switch: tun.routes has no default, so all else reaches nothing");
}

/* Resolvers: an address, perhaps with a port.  Returns how many. */
static unsigned check_resolvers(struct pq_check *k, const char *key,
                                const struct pq_conf_list *text, struct pq_addr *out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < text->n; i++) {
        char host[PQ_HOST_LEN];
        uint16_t port = 53;
        const bool split = pq_addr_parse_ip(&out[n], text->v[i]) != 0;
        if (split && (pq_hostport_split(text->v[i], host, sizeof host, &port) || !port ||
                      pq_addr_parse_ip(&out[n], host))) {
            pq_conf_say(k->m, true, text->line[i],
                        "%s[%u]: '%s' is not the address of a resolver, such as 9.9.9.9, "
                        "192.0.2.1:5353 or 2620:fe::fe",
                        key, i, text->v[i]);
            continue;
        }
        out[n++].port = port;
    }
    return n;
}

static void check_dns(struct pq_check *k)
{
    struct pq_conf_tun *t = &k->c->tun;
    t->n_dns = check_resolvers(k, "tun.dns", &t->dns_text, t->dns);
    t->n_dns_direct = check_resolvers(k, "tun.dns_direct", &t->dns_direct_text, t->dns_direct);
    if (t->dns_direct_text.n && !t->dns_text.n)
        PQ_WARN(k, "tun.dns_direct", "tun.dns_direct: has no effect without tun.dns");
}

void pq_conf_check_tun(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    struct pq_conf_tun *t = &c->tun;
    if (!t->enabled)
        return;
    check_name(k);
    check_addrs(k);
    if (t->mtu < MTU_MIN || t->mtu > MTU_MAX)
        PQ_FAIL(k, "tun.mtu", "tun.mtu: %ld is out of range, it must be %d to %d", t->mtu, MTU_MIN,
                MTU_MAX);
    else if (t->has6 && t->mtu < MTU_MIN6)
        PQ_FAIL(k, "tun.mtu", "tun.mtu: %ld is too small for IPv6, which needs at least %d", t->mtu,
                MTU_MIN6);
    for (unsigned i = 0; i < t->routes_text.n; i++)
        add_route(k, i);
    check_kill_switch(k);
    check_dns(k);
    if (c->packet_workers > 1) {
        PQ_WARN(
            k, "performance.packet_workers",
            "performance.packet_workers: 1 instead of %ld, since one worker serves the TUN device",
            c->packet_workers);
        c->packet_workers = 1;
    }
}
