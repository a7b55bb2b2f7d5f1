/* SPDX-License-Identifier: MIT */
#include "conf/targets.h"

#include "base/err.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- rules */

static int add_own(struct pq_rules *r)
{
    struct ifaddrs *list;
    int e = 0;
    if (getifaddrs(&list))
        return -errno;
    for (struct ifaddrs *i = list; i && !e; i = i->ifa_next) {
        struct pq_addr a;
        if (i->ifa_addr && pq_addr_from_sock(&a, i->ifa_addr) == 0)
            e = pq_rules_add_own(r, &a, 1);
    }
    freeifaddrs(list);
    return e;
}

/* The TUN device is opened later. */
static int add_tun(struct pq_rules *r, const struct pq_conf_tun *tun)
{
    int e = 0;
    if (tun->enabled && tun->has4)
        e = pq_rules_add_own(r, &tun->net4.ip, 1);
    if (!e && tun->enabled && tun->has6)
        e = pq_rules_add_own(r, &tun->net6.ip, 1);
    return e;
}

/* Rules from two lists, if one of them is there. */
static int make_rules(struct pq_rules **out, const struct pq_conf_rules *c,
                      const struct pq_conf_tun *tun)
{
    static const char *const none[1];
    const char *const *allow = c->allow.n ? (const char *const *)c->allow.v : none;
    int e = 0;
    if (c->allow.set || c->deny.n)
        e = pq_rules_new(out, c->allow.set ? allow : NULL, c->allow.n,
                         (const char *const *)c->deny.v, c->deny.n);
    if (!e && *out)
        e = add_own(*out);
    if (!e && *out)
        e = add_tun(*out, tun);
    return e;
}

static int make_all_rules(struct pq_targets *t, const struct pq_conf *c, char *why)
{
    int e = make_rules(&t->rules, &c->rules, &c->tun);
    /* pointers, not rules: NOLINTNEXTLINE(bugprone-sizeof-expression) */
    t->user = c->n_users ? calloc(c->n_users, sizeof *t->user) : NULL;
    if (!e && c->n_users && !t->user)
        e = PQ_ENOMEM;
    for (unsigned i = 0; !e && i < c->n_users; i++) {
        t->n_users++;
        e = make_rules(&t->user[i], &c->user[i].rules, &c->tun);
    }
    if (e)
        snprintf(why, PQ_WHY_LEN, "allow, deny: the rules could not be made: %s", pq_strerror(e));
    return e;
}

/* ---- the way out */

/* Tries it on a socket, so that a mistake shows at the start. */
static int try_out(const struct pq_outgoing *o, bool is4, char *why)
{
    int fd = socket(is4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int e = fd < 0 ? -errno : pq_outgoing_apply(o, fd, is4);
    char ip[PQ_ADDR_STRLEN];
    if (fd >= 0)
        close(fd);
    if (e == -EPERM)
        snprintf(why, PQ_WHY_LEN,
                 "outgoing.interface: connections may not be bound to '%s' without CAP_NET_RAW; "
                 "run as root",
                 o->ifname);
    else if (e == -ENODEV)
        snprintf(why, PQ_WHY_LEN,
                 "outgoing.interface: there is no interface '%s'; 'paqet iface' lists them",
                 o->ifname);
    else if (e == -EADDRNOTAVAIL)
        snprintf(why, PQ_WHY_LEN, "outgoing.%s: %s is not an address of this machine%s%s",
                 is4 ? "ipv4" : "ipv6", pq_addr_ip_str(is4 ? &o->addr4 : &o->addr6, ip),
                 *o->ifname ? " on " : "", o->ifname);
    else if (e)
        snprintf(why, PQ_WHY_LEN, "outgoing: a socket could not be bound: %s", pq_strerror(e));
    return e;
}

static int make_out(struct pq_targets *t, const struct pq_conf_outgoing *c, char *why)
{
    struct pq_outgoing *o = &t->out;
    const size_t len = c->ifname ? strlen(c->ifname) : 0;
    *o = (struct pq_outgoing){
        .has4 = c->has_addr4,
        .has6 = c->has_addr6,
        .addr4 = c->addr4,
        .addr6 = c->addr6,
        .has_socks = *c->socks_host != 0,
        .socks_port = c->socks_port,
    };
    o->username = t->username = c->username ? strdup(c->username) : NULL;
    o->password = t->password = c->password ? strdup(c->password) : NULL;
    if ((c->username && !t->username) || (c->password && !t->password)) {
        snprintf(why, PQ_WHY_LEN, "outgoing: memory is short");
        return PQ_ENOMEM;
    }
    if (len >= sizeof o->ifname) {
        snprintf(why, PQ_WHY_LEN, "outgoing.interface: '%s' is too long", c->ifname);
        return PQ_EINVAL;
    }
    if (len)
        memcpy(o->ifname, c->ifname, len);
    memcpy(o->socks_host, c->socks_host, sizeof o->socks_host);
    t->has_out = len || o->has4 || o->has6 || o->has_socks;
    int e = len || o->has4 ? try_out(o, true, why) : 0;
    return !e && o->has6 ? try_out(o, false, why) : e;
}

/* ---- life */

int pq_targets_init(struct pq_targets *t, const struct pq_conf *c, char *why)
{
    int e = make_all_rules(t, c, why);
    return e ? e : make_out(t, &c->outgoing, why);
}

static void free_rules(struct pq_targets *t)
{
    for (unsigned i = 0; i < t->n_users; i++)
        pq_rules_free(&t->user[i]);
    free(t->user);
    pq_rules_free(&t->rules);
    t->user = NULL;
    t->n_users = 0;
}

int pq_targets_prepare(struct pq_targets *next, const struct pq_conf *c, char *why)
{
    *next = (struct pq_targets){.n_users = 0};
    return make_all_rules(next, c, why);
}

void pq_targets_swap(struct pq_targets *t, struct pq_targets *next)
{
    const struct pq_targets was = *t;
    t->rules = next->rules;
    t->user = next->user;
    t->n_users = next->n_users;
    next->rules = was.rules;
    next->user = was.user;
    next->n_users = was.n_users;
}

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void pq_targets_free(struct pq_targets *t)
{
    free_rules(t);
    wipe(t->username);
    wipe(t->password);
    t->username = t->password = NULL;
}

void pq_targets_use(const struct pq_targets *t, struct pq_front *front)
{
    front->rules = t->rules;
    front->user_rules = t->user;
    front->n_user_rules = t->n_users;
    front->outgoing = t->has_out ? &t->out : NULL;
}
