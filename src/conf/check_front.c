/* SPDX-License-Identifier: MIT */
/* conf_check_front.c - what comes in and what goes out: socks5 and forward; allow, deny, outgoing.
 */
#include "conf/conf_internal.h"

#include "base/err.h"
#include "exit/rules.h"

#include <string.h>

#define NAME_MAX_LEN 253 /* of a name of DNS */
#define USER_MAX_LEN 255 /* of a name or password of SOCKS5 */
#define PATH_LEN     40

/* ---- listeners */

/* An empty host is every IPv4 address.  Returns false if something is wrong. */
static bool listen_addr(struct pq_check *k, const char *path, int line, const char *text,
                        struct pq_addr *out)
{
    char host[PQ_HOST_LEN];
    uint16_t port;
    if (!pq_is_set(text)) {
        pq_conf_say(k->m, true, line, "%s: is missing; for example 127.0.0.1:1080", path);
        return false;
    }
    if (!pq_check_hostport(k, path, line, text, host, &port, 1))
        return false;
    if (pq_addr_parse_ip(out, !*host                           ? "0.0.0.0"
                              : strcmp(host, "localhost") == 0 ? "127.0.0.1"
                                                               : host)) {
        pq_conf_say(k->m, true, line, "%s: '%s' is not an IP address of this machine", path, host);
        return false;
    }
    out->port = port;
    return true;
}

/* Several workers share a listening port, so the kernel would not notice that two listeners do. */
static void check_twice(struct pq_check *k, const char *path, int line, bool udp,
                        const struct pq_addr *a, unsigned n_socks5, unsigned n_forward)
{
    const struct pq_conf *c = k->c;
    for (unsigned i = 0; i < n_socks5 && !udp; i++)
        if (pq_addr_eq(&c->socks5[i].addr, a))
            pq_conf_say(k->m, true, line, "%s: socks5[%u] already listens there", path, i);
    for (unsigned i = 0; i < n_forward; i++)
        if (c->forward[i].udp == udp && pq_addr_eq(&c->forward[i].addr, a))
            pq_conf_say(k->m, true, line, "%s: forward[%u] already listens there", path, i);
}

static void check_login(struct pq_check *k, const struct pq_conf_socks5 *s, unsigned i)
{
    const bool user = pq_is_set(s->username), pass = pq_is_set(s->password);
    if (user != pass)
        pq_conf_say(k->m, false, s->line,
                    "socks5[%u]: only %s is set; clients must send the other one empty", i,
                    user ? "username" : "password");
    if (user && strlen(s->username) > USER_MAX_LEN)
        pq_conf_say(k->m, true, s->line, "socks5[%u].username: is longer than %d bytes", i,
                    USER_MAX_LEN);
    if (pass && strlen(s->password) > USER_MAX_LEN)
        pq_conf_say(k->m, true, s->line, "socks5[%u].password: is longer than %d bytes", i,
                    USER_MAX_LEN);
    if (user && strchr(s->username, ':'))
        pq_conf_say(k->m, false, s->line,
                    "socks5[%u].username: has a colon, which ends the name for programs that use "
                    "this as HTTP proxy; they cannot log in",
                    i);
}

static void check_socks5(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    for (unsigned i = 0; i < c->n_socks5; i++) {
        struct pq_conf_socks5 *s = &c->socks5[i];
        char path[PATH_LEN];
        snprintf(path, sizeof path, "socks5[%u].listen", i);
        if (listen_addr(k, path, s->line, s->listen, &s->addr))
            check_twice(k, path, s->line, false, &s->addr, i, 0);
        s->real_reply = pq_is_set(s->reply) && strcmp(s->reply, "real") == 0;
        if (pq_is_set(s->reply) && !s->real_reply && strcmp(s->reply, "early") != 0)
            pq_conf_say(k->m, true, s->line, "socks5[%u].reply: '%s' is not early or real", i,
                        s->reply);
        check_login(k, s, i);
    }
}

bool pq_check_target(struct pq_check *k, const char *path, int line, const char *text,
                     char host[PQ_HOST_LEN], uint16_t *port)
{
    struct pq_addr a;
    if (!pq_check_hostport(k, path, line, text, host, port, 1))
        return false;
    bool odd = false;
    for (const char *p = host; *p; p++)
        odd = odd || (unsigned char)*p <= ' ' || *p == '/' || *p == 0x7f;
    if (*text == '[') /* only an address, and only of IPv6, stands in brackets */
        odd = odd || pq_addr_parse_ip(&a, host) || pq_addr_is4(&a);
    if (!*host)
        pq_conf_say(k->m, true, line, "%s: '%s' has no host", path, text);
    else if (odd || strlen(host) > NAME_MAX_LEN)
        pq_conf_say(k->m, true, line, "%s: '%s' is not a name or an IP address", path, host);
    else
        return true;
    return false;
}

static void check_forward(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    for (unsigned i = 0; i < c->n_forward; i++) {
        struct pq_conf_forward *f = &c->forward[i];
        char path[PATH_LEN];
        f->udp = pq_is_set(f->protocol) && strcmp(f->protocol, "udp") == 0;
        snprintf(path, sizeof path, "forward[%u].listen", i);
        if (listen_addr(k, path, f->line, f->listen, &f->addr))
            check_twice(k, path, f->line, f->udp, &f->addr, c->n_socks5, i);
        snprintf(path, sizeof path, "forward[%u].target", i);
        if (!pq_is_set(f->target))
            pq_conf_say(k->m, true, f->line, "%s: is missing; for example 192.0.2.5:53", path);
        else
            pq_check_target(k, path, f->line, f->target, f->host, &f->port);
        if (!pq_is_set(f->protocol))
            pq_conf_say(k->m, true, f->line, "forward[%u].protocol: is missing; say tcp or udp", i);
        else if (!f->udp && strcmp(f->protocol, "tcp") != 0)
            pq_conf_say(k->m, true, f->line, "forward[%u].protocol: '%s' is not tcp or udp", i,
                        f->protocol);
    }
}

void pq_conf_check_listeners(struct pq_check *k)
{
    check_socks5(k);
    check_forward(k);
}

/* ---- what a server lets out, and how */

static void check_rules(struct pq_check *k, const char *path, const struct pq_conf_list *l)
{
    for (unsigned i = 0; i < l->n; i++)
        if (pq_rules_check_entry(l->v[i]))
            pq_conf_say(k->m, true, l->line[i],
                        "%s[%u]: '%s' is not public, any, a network (10.0.0.0/8), a name "
                        "(example.com, *.example.com), nor one of these with ports (:25, :80-90; "
                        "IPv6 in brackets)",
                        path, i, l->v[i]);
}

static bool source_addr(struct pq_check *k, const char *path, const char *text, bool is4,
                        struct pq_addr *out)
{
    if (!pq_is_set(text))
        return false;
    if (!pq_addr_parse_ip(out, text) && pq_addr_is4(out) == is4 && !pq_addr_is_any(out))
        return true;
    PQ_FAIL(k, path, "%s: '%s' is not an %s address of this machine", path, text,
            is4 ? "IPv4" : "IPv6");
    return false;
}

static void check_outgoing(struct pq_check *k)
{
    struct pq_conf_outgoing *o = &k->c->outgoing;
    const char *const proxy = "outgoing.socks5";
    if (pq_is_set(o->ifname) && strlen(o->ifname) > 15)
        PQ_FAIL(k, "outgoing.interface", "outgoing.interface: '%s' is longer than 15 characters",
                o->ifname);
    o->has_addr4 = source_addr(k, "outgoing.ipv4", o->addr4_text, true, &o->addr4);
    o->has_addr6 = source_addr(k, "outgoing.ipv6", o->addr6_text, false, &o->addr6);
    const bool user = pq_is_set(o->username), pass = pq_is_set(o->password);
    if (!pq_is_set(o->socks5)) {
        if (user || pass)
            PQ_WARN(k, user ? "outgoing.username" : "outgoing.password",
                    "outgoing.%s: is only used with outgoing.socks5",
                    user ? "username" : "password");
        return;
    }
    if (pq_check_target(k, proxy, pq_key_line(k->lines, proxy), o->socks5, o->socks_host,
                        &o->socks_port) &&
        k->c->role == PQ_ROLE_SERVER && k->c->tun.enabled)
        PQ_FAIL(k, proxy,
                "%s: packets of a TUN device do not go through a proxy; leave it out, or set "
                "tun.enabled: false",
                proxy);
    if (user != pass)
        PQ_WARN(k, proxy, "%s: only %s is set; the other one is sent empty", proxy,
                user ? "username" : "password");
    if (user && strlen(o->username) > USER_MAX_LEN)
        PQ_FAIL(k, "outgoing.username", "outgoing.username: is longer than %d bytes", USER_MAX_LEN);
    if (pass && strlen(o->password) > USER_MAX_LEN)
        PQ_FAIL(k, "outgoing.password", "outgoing.password: is longer than %d bytes", USER_MAX_LEN);
}

void pq_check_rules(struct pq_check *k, const char *prefix, int line, const struct pq_conf_rules *r)
{
    char path[PATH_LEN];
    snprintf(path, sizeof path, "%sallow", prefix);
    check_rules(k, path, &r->allow);
    if (r->allow.set && !r->allow.n)
        pq_conf_say(k->m, true, line ? line : pq_key_line(k->lines, path),
                    "%s: the list is empty; name what is permitted, or refuse all by deny: any",
                    path);
    snprintf(path, sizeof path, "%sdeny", prefix);
    check_rules(k, path, &r->deny);
    if (r->deny.bare)
        pq_conf_say(
            k->m, true, line ? line : pq_key_line(k->lines, path),
            "%s: nothing stands behind it; name what is refused, or say deny: [] if that is "
            "nothing",
            path);
}

void pq_conf_check_exit(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    pq_check_rules(k, "", 0, &c->rules);
    check_outgoing(k);
    if (c->role != PQ_ROLE_SERVER)
        return;
    c->open_rules = !c->rules.allow.set && !c->rules.deny.set;
    if (c->open_rules)
        pq_conf_say(k->m, false, 0,
                    "allow: neither allow nor deny is there, so every client can reach this "
                    "machine's own services (127.0.0.1) and its private networks; 'allow: public' "
                    "permits the Internet only, 'allow: any' all of it without this warning");
}
