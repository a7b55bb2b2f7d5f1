/* SPDX-License-Identifier: MIT */
/* check_exit.c - what a server lets out, and how: allow, deny, outgoing. */
#include "conf/conf_internal.h"

#include "base/err.h"
#include "relay/rules.h"

#include <string.h>

#define USER_MAX_LEN 255 /* of a name or password of SOCKS5 */
#define PATH_LEN     40

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
