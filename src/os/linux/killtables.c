/* SPDX-License-Identifier: MIT */
#include "os/linux/killtables.h"

#include "base/err.h"
#include "os/linux/xtables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE "filter"
#define KEPT  "kept" /* the name of chains that stay */
#define BEGIN "FIN,SYN,RST,PSH,ACK,URG SYN"

struct pq_killtables {
    struct pq_xt xt;
    bool there[PQ_XT_FAMILIES];
    bool keep, reject;
    size_t n[PQ_XT_FAMILIES]; /* networks beside the tunnel */
};

/* ---- rules.  What may leave returns from our chains to those of the machine's owner, who may
 * have more to say. */

static void refuse(const struct pq_killtables *k, struct pq_xt_batch *b, const char *begin)
{
    static const char *const how[PQ_XT_FAMILIES] = {"icmp-admin-prohibited",
                                                    "icmp6-adm-prohibited"};
    if (k->reject)
        pq_xt_add(b, "%s -j REJECT --reject-with %s", begin, how[b->family]);
    else
        pq_xt_add(b, "%s -j DROP", begin);
}

/* See killswitch.c: what was begun from here, and whose other end is the first to send now. */
static void drop_picked_up(struct pq_xt_batch *b, const struct pq_killswitch_conf *c,
                           const struct pq_range *clients, bool tracked)
{
    pq_xt_chain(b, "in");
    pq_xt_add(b, "-A $in -i lo -j RETURN");
    pq_xt_add(b, "-A $in -i %s -j RETURN", c->tun);
    pq_xt_add(b, "-A $in -p tcp ! --tcp-flags " BEGIN " --dport %u:%u%s -j DROP", clients->from,
              clients->to, tracked ? " -m conntrack --ctstate NEW" : "");
}

static void let_replies(struct pq_xt_batch *b, const struct pq_range *clients)
{
    const struct pq_range others[] = {{1, (uint16_t)(clients->from - 1)},
                                      {(uint16_t)(clients->to + 1), UINT16_MAX}};
    pq_xt_add(b, "-A $out ! -p udp -m conntrack --ctdir REPLY -j RETURN");
    for (int i = 0; i < 2; i++) {
        const unsigned from = others[i].from, to = others[i].to;
        if (!from || from > to)
            continue;
        pq_xt_add(b, "-A $out -p tcp ! --tcp-flags " BEGIN " --sport %u:%u -j RETURN", from, to);
        pq_xt_add(b, "-A $out -p udp --sport %u:%u -m conntrack --ctdir REPLY -j RETURN", from, to);
    }
}

static void let_targets(struct pq_xt_batch *b, bool lan)
{
    static const char *const local[PQ_XT_FAMILIES][7] = {{"10.0.0.0/8", "172.16.0.0/12",
                                                          "192.168.0.0/16", "169.254.0.0/16",
                                                          "224.0.0.0/4", "255.255.255.255/32"},
                                                         {"fc00::/7", "fe80::/10", "ff00::/8"}};
    pq_xt_add(b, "-A $out -d %s -j RETURN", b->family == PQ_XT_V4 ? "127.0.0.0/8" : "::1/128");
    for (int i = 0; lan && local[b->family][i]; i++)
        pq_xt_add(b, "-A $out -d %s -j RETURN", local[b->family][i]);
}

static void let_neighbours(struct pq_xt_batch *b)
{
    if (b->family == PQ_XT_V4) {
        pq_xt_add(b, "-A $out -p udp --sport 68 --dport 67 -j RETURN");
        return;
    }
    pq_xt_add(b, "-A $out -p udp --sport 546 --dport 547 -j RETURN");
    for (int type = 133; type <= 136; type++)
        pq_xt_add(b, "-A $out -p icmpv6 --icmpv6-type %d -j RETURN", type);
}

/* What no rule of `out` knows goes on to `ports`, and from there to `nets`. */
static void add_chains(const struct pq_killtables *k, struct pq_xt_batch *b,
                       const struct pq_killswitch_conf *c, const struct pq_range *clients)
{
    drop_picked_up(b, c, clients, true);
    static const char *const chains[] = {"out", "forward", "ports", "nets"};
    for (size_t i = 0; i < sizeof chains / sizeof chains[0]; i++)
        pq_xt_chain(b, chains[i]);
    pq_xt_add(b, "-A $out -o lo -j RETURN");
    pq_xt_add(b, "-A $out -o %s -j RETURN", c->tun);
    pq_xt_add(b, "-A $out -m mark --mark 0x%x -j RETURN", c->mark);
    let_replies(b, clients);
    let_neighbours(b);
    let_targets(b, c->lan);
    pq_xt_add(b, "-A $out -g $ports");
    pq_xt_add(b, "-A $forward -j $in");
    pq_xt_add(b, "-A $forward -g $out");
    pq_xt_add(b, "-A $ports -g $nets");
    refuse(k, b, "-A $nets");
}

/* The rules of the kernel's chains that lead to ours are there already where ours were kept. */
static int install(struct pq_killtables *k, int family, const struct pq_killswitch_conf *c,
                   const struct pq_range *clients, char why[PQ_OS_WHY_LEN])
{
    struct pq_xt_batch b;
    int e = pq_xt_use(&k->xt, family, TABLE, why);
    if (e)
        return e;
    const bool hooked = k->keep && pq_xt_leads(&k->xt, family, TABLE);
    if (!hooked) { /* before connections are tracked; see killswitch.c */
        pq_xt_begin(&b, &k->xt, family, TABLE);
        drop_picked_up(&b, c, clients, false);
        pq_xt_chain(&b, "forward");
        pq_xt_chain(&b, "out");
        pq_xt_add(&b, "-A $forward -j $in");
        pq_xt_add(&b, "-I INPUT -j $in");
        pq_xt_add(&b, "-I FORWARD -j $forward");
        pq_xt_add(&b, "-I OUTPUT -j $out");
        e = pq_xt_commit(&b, why);
        k->there[family] = !e;
    }
    if (e)
        return e;
    k->there[family] = true;
    pq_xt_begin(&b, &k->xt, family, TABLE);
    add_chains(k, &b, c, clients);
    return pq_xt_commit(&b, why);
}

static void remove_chains(struct pq_killtables *k)
{
    for (int family = 0; family < PQ_XT_FAMILIES; family++)
        if (k->there[family])
            pq_xt_remove(&k->xt, family, TABLE);
}

int pq_killtables_open(struct pq_killtables **out, const struct pq_killswitch_conf *c,
                       char why[PQ_OS_WHY_LEN])
{
    const struct pq_range clients = pq_killswitch_clients();
    *out = NULL;
    if (pq_xt_cannot_name(c->tun, why))
        return PQ_ENOTSUP;
    struct pq_killtables *k = calloc(1, sizeof *k);
    if (!k || pq_xt_open(&k->xt, c->keep ? KEPT : NULL)) {
        free(k);
        return PQ_ENOMEM;
    }
    k->keep = c->keep;
    int e = PQ_ENOTSUP;
    for (int reject = 1; e && reject >= 0; reject--) { /* a refusal tells programs at once */
        k->reject = reject;
        e = install(k, PQ_XT_V4, c, &clients, why);
        if (!e && pq_xt_has_ipv6())
            e = install(k, PQ_XT_V6, c, &clients, why);
        if (e)
            remove_chains(k);
    }
    if (e) {
        pq_xt_close(&k->xt);
        free(k);
        return e;
    }
    *out = k;
    return 0;
}

void pq_killtables_close(struct pq_killtables *k)
{
    if (!k)
        return;
    if (!k->keep)
        remove_chains(k);
    pq_xt_close(&k->xt);
    free(k);
}

bool pq_killtables_lift(void)
{
    struct pq_xt xt;
    char why[PQ_OS_WHY_LEN];
    bool was = false;
    if (pq_xt_open(&xt, KEPT))
        return false;
    for (int family = 0; family < PQ_XT_FAMILIES; family++)
        if (pq_xt_use(&xt, family, TABLE, why) == 0)
            was = pq_xt_remove(&xt, family, TABLE) || was;
    pq_xt_close(&xt);
    return was;
}

/* ---- what goes beside the tunnel */

static void put_net(struct pq_killtables *k, struct pq_xt_batch *b, const struct pq_net *net,
                    bool add)
{
    char ip[PQ_ADDR_STRLEN];
    const bool is4 = b->family == PQ_XT_V4;
    k->n[b->family] += add ? 1 : k->n[b->family] ? (size_t)-1 : 0;
    pq_xt_add(b, "-%c $nets -d %s/%u -j RETURN", add ? 'I' : 'D', pq_addr_ip_str(&net->ip, ip),
              net->bits - (is4 ? 96 : 0));
}

static size_t put_all(struct pq_killtables *k, struct pq_xt_batch *b, const struct pq_spans *s,
                      bool add)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct pq_ip_span left = s->v[i];
        struct pq_net net;
        if (pq_span_is4(&left) != (b->family == PQ_XT_V4))
            continue;
        for (bool more = true; more; n++) {
            more = pq_span_net(&left, &net);
            put_net(k, b, &net, add);
        }
    }
    return n;
}

static void clear_nets(struct pq_killtables *k, int family)
{
    struct pq_xt_batch b;
    pq_xt_begin(&b, &k->xt, family, TABLE);
    pq_xt_chain(&b, "nets");
    refuse(k, &b, "-A $nets");
    pq_xt_commit(&b, NULL);
    k->n[family] = 0;
}

int pq_killtables_direct(struct pq_killtables *k, const struct pq_spans *gone,
                         const struct pq_spans *more)
{
    int e = 0;
    for (int family = 0; !e && family < PQ_XT_FAMILIES; family++) {
        struct pq_xt_batch b;
        if (!k->there[family])
            continue;
        pq_xt_begin(&b, &k->xt, family, TABLE);
        const size_t n = put_all(k, &b, gone, false) + put_all(k, &b, more, true);
        if (n && k->n[family] <= PQ_KILLTABLES_NETS)
            e = pq_xt_commit(&b, NULL);
        else if (n)
            e = PQ_ENOTSUP;
        free(b.text);
    }
    for (int family = 0; e && family < PQ_XT_FAMILIES; family++)
        if (k->there[family])
            clear_nets(k, family);
    return e;
}

int pq_killtables_one(struct pq_killtables *k, const struct pq_addr *ip, bool direct)
{
    struct pq_xt_batch b;
    const int family = pq_addr_is4(ip) ? PQ_XT_V4 : PQ_XT_V6;
    const struct pq_net net = {.ip = *ip, .bits = 128};
    if (!k->there[family])
        return 0;
    if (direct && k->n[family] >= PQ_KILLTABLES_NETS)
        return PQ_ENOTSUP;
    pq_xt_begin(&b, &k->xt, family, TABLE);
    put_net(k, &b, &net, direct);
    const int e = pq_xt_commit(&b, NULL);
    k->n[family] -= e && direct;
    return e;
}

static void put_port(const struct pq_killtables *k, struct pq_xt_batch *b,
                     const struct pq_port_span *p, const char *protocol)
{
    char rule[160], ip[PQ_ADDR_STRLEN];
    const bool is4 = pq_addr_is4(&p->net.ip);
    if (is4 != (b->family == PQ_XT_V4))
        return;
    snprintf(rule, sizeof rule, "-A $ports -d %s/%u -p %s --dport %u:%u",
             pq_addr_ip_str(&p->net.ip, ip), p->net.bits - (is4 ? 96 : 0), protocol, p->ports.from,
             p->ports.to);
    if (p->direct)
        pq_xt_add(b, "%s -j RETURN", rule);
    else
        refuse(k, b, rule);
}

int pq_killtables_ports(struct pq_killtables *k, const struct pq_port_span *v, size_t n)
{
    int e = 0;
    for (int family = 0; !e && family < PQ_XT_FAMILIES; family++) {
        struct pq_xt_batch b;
        if (!k->there[family])
            continue;
        pq_xt_begin(&b, &k->xt, family, TABLE);
        pq_xt_chain(&b, "ports");
        for (size_t i = 0; i < n; i++) {
            put_port(k, &b, &v[i], "tcp");
            put_port(k, &b, &v[i], "udp");
        }
        pq_xt_add(&b, "-A $ports -g $nets");
        e = pq_xt_commit(&b, NULL);
    }
    return e;
}
