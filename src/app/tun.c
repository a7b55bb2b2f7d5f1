/* SPDX-License-Identifier: MIT */
#include "app/tun.h"

#include "entry/port_spans.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

static const struct pq_net all4 = {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 0}, 96};
static const struct pq_net all6 = {{{0}, 0}, 0};

static bool is_link_local6(const struct pq_addr *a)
{
    return a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

/* This machine's own addresses, but for those inside tunnels: what talks from one of them is not to
 * be led into the tunnel. */
static unsigned own_addrs(const struct pq_tundev *d, struct pq_addr *out, unsigned max)
{
    struct ifaddrs *all, *i;
    unsigned n = 0;
    if (getifaddrs(&all))
        return 0;
    for (i = all; i && n < max; i = i->ifa_next)
        if (i->ifa_addr && !(i->ifa_flags & IFF_LOOPBACK) && strcmp(i->ifa_name, d->name) != 0 &&
            pq_addr_from_sock(&out[n], i->ifa_addr) == 0 && !is_link_local6(&out[n]) &&
            !pq_tundev_is_ours((int)if_nametoindex(i->ifa_name)))
            n++;
    freeifaddrs(all);
    return n;
}

static int open_routes(struct pq_app_tun *t, const struct pq_conf *c, char *why)
{
    struct pq_net nets[PQ_CONF_ROUTES_MAX + 2];
    struct pq_addr keep[PQ_TUN_KEEP];
    unsigned n = c->tun.n_routes;
    memcpy(nets, c->tun.routes, n * sizeof nets[0]);
    if (c->tun.default_route && c->tun.has4)
        nets[n++] = all4;
    if (c->tun.default_route && c->tun.has6)
        nets[n++] = all6;
    if (!n)
        return 0;
    struct pq_tundev_policy policy = {.keep = keep,
                                      .n_keep = own_addrs(&t->dev, keep, PQ_TUN_KEEP)};
    return pq_tundev_routes(&t->dev, nets, n, c->role == PQ_ROLE_CLIENT ? &policy : NULL, why);
}

/* Clients' packets leave with this machine's address. */
static void open_nat(struct pq_app_tun *t, const struct pq_conf *c)
{
    int e = pq_forwarding_enable(c->tun.has4, c->tun.has6);
    if (e < 0)
        PQ_LOG(PQ_LOG_WARN,
               "tun.masquerade: forwarding could not be switched on (%s): clients reach this "
               "machine only; type: sysctl -w net.ipv4.ip_forward=1",
               pq_strerror(e));
    else if (e > 0)
        PQ_LOG(PQ_LOG_INFO, "tun.masquerade: forwarding of packets was switched on");
    struct pq_net nets[PQ_CONF_ROUTES_MAX + 2];
    char why[PQ_OS_WHY_LEN];
    unsigned n = c->tun.n_routes;
    memcpy(nets, c->tun.routes, n * sizeof nets[0]);
    if (c->tun.has4)
        nets[n++] = c->tun.net4;
    if (c->tun.has6)
        nets[n++] = c->tun.net6;
    const struct pq_masquerade_conf mc = {.tun = t->dev.name,
                                          .own_ports = &c->own_ports,
                                          .nets = nets,
                                          .n_nets = n,
                                          .v4 = c->tun.has4,
                                          .v6 = c->tun.has6};
    if (pq_masquerade_open(&t->nat, &mc, why))
        PQ_LOG(PQ_LOG_WARN,
               "tun.masquerade: no rule could be made (%s): without one, answers do not find back "
               "to the clients",
               why);
}

const char *pq_app_tun_name(const struct pq_conf *c)
{
    return c->tun.name ? c->tun.name : PQ_CONF_TUN_NAME;
}

/* Before the device: from here on nothing leaves beside it. */
static int open_kill_switch(struct pq_app_tun *t, const struct pq_conf *c)
{
    const struct pq_killswitch_conf kc = {.tun = pq_app_tun_name(c),
                                          .mark = PQ_ROUTE_MARK,
                                          .lan = !c->tun.no_lan,
                                          .keep = c->tun.kill_always};
    char why[PQ_OS_WHY_LEN];
    int e = c->tun.kill ? pq_killswitch_open(&t->kill, &kc, why) : 0;
    if (e) {
        pq_say(
            "tun.kill_switch: the rules cannot be made (%s): it needs a kernel with nf_tables or "
            "iptables, and connection tracking",
            why);
        return e;
    }
    if (c->tun.kill)
        PQ_LOG(PQ_LOG_INFO, "kill switch: what does not leave through %s is refused%s%s", kc.tun,
               kc.lan ? ", but for the local network" : "",
               kc.keep ? "; also when this program has ended" : "");
    const enum pq_killswitch_lifted lifted = kc.keep ? PQ_KILLSWITCH_NONE : pq_killswitch_lift();
    if (lifted == PQ_KILLSWITCH_LIFTED)
        PQ_LOG(PQ_LOG_INFO, "kill switch: the one that was kept is taken away");
    else if (lifted == PQ_KILLSWITCH_IN_USE)
        PQ_LOG(PQ_LOG_INFO, "kill switch: that of another client, which runs, stays");
    return 0;
}

static int let_past_switch(struct pq_app_tun *t, const struct pq_spans *direct)
{
    struct pq_spans gone = {.v = NULL}, more = {.v = NULL}, all = {.v = NULL};
    int e = pq_spans_new(&gone, &t->direct, direct);
    e = e ? e : pq_spans_new(&more, direct, &t->direct);
    e = e ? e : pq_spans_add_all(&all, direct);
    e = e ? e : pq_killswitch_direct(t->kill, &gone, &more);
    if (e)
        pq_spans_free(&all);
    pq_spans_free(&gone);
    pq_spans_free(&more);
    pq_spans_free(&t->direct);
    t->direct = all;
    return e;
}

static int go_by_ports(struct pq_app_tun *t, const struct pq_split *split)
{
    struct pq_port_spans *p = calloc(1, sizeof *p);
    int e = p ? pq_port_spans_make(split, p) : PQ_ENOMEM;
    if (!e && t->kill)
        e = pq_killswitch_ports(t->kill, p->v, p->n);
    e = e ? e : pq_tundev_ports(&t->dev, p->v, p->n);
    free(p);
    return e;
}

int pq_app_tun_rules(struct pq_app_tun *t, const struct pq_split *split, size_t *ranges)
{
    static const struct pq_spans none;
    struct pq_spans direct = {.v = NULL};
    if (ranges)
        *ranges = 0;
    if (!t->open)
        return 0;
    int e = pq_split_direct(split, 0, &direct, NULL);
    if (!e && t->kill)
        e = let_past_switch(t, &direct);
    e = e ? e : pq_tundev_past(&t->dev, &direct);
    e = e ? e : go_by_ports(t, split);
    if (e) {
        go_by_ports(t, NULL);
        pq_tundev_past(&t->dev, &none);
        if (t->kill)
            let_past_switch(t, &none);
    } else if (ranges) {
        *ranges = direct.n;
    }
    pq_spans_free(&direct);
    return e;
}

int pq_app_tun_one(struct pq_app_tun *t, const struct pq_addr *ip, enum pq_tun_one was,
                   enum pq_tun_one to)
{
    int e = 0;
    if (t->kill && was == PQ_TUN_PAST)
        pq_killswitch_one(t->kill, ip, false);
    if (t->kill && to == PQ_TUN_PAST)
        e = pq_killswitch_one(t->kill, ip, true);
    return pq_tundev_one(&t->dev, ip, was, e ? PQ_TUN_AS_NETWORK : to);
}

/* The client's rules at the start. */
static int open_rules(struct pq_app_tun *t, const struct pq_conf *c, char *why)
{
    size_t n;
    int e = pq_app_tun_rules(t, c->split, &n);
    if (e)
        snprintf(
            why, PQ_TUN_WHY_LEN,
            "what \"rules\" sends directly cannot be let past %s: %s (fewer networks, or none?)",
            t->dev.name, pq_strerror(e));
    else if (n)
        PQ_LOG(PQ_LOG_INFO, "rules: %zu ranges of addresses go past %s", n, t->dev.name);
    return e;
}

int pq_app_tun_open(struct pq_app_tun *t, const struct pq_conf *c)
{
    char why[PQ_TUN_WHY_LEN];
    *t = (struct pq_app_tun){0};
    if (!c->tun.enabled)
        return 0;
    struct pq_tundev_conf dc = {.net4 = c->tun.net4,
                                .net6 = c->tun.net6,
                                .has4 = c->tun.has4,
                                .has6 = c->tun.has6,
                                .mtu = (uint32_t)c->tun.mtu,
                                .offload = true};
    snprintf(dc.name, sizeof dc.name, "%s", pq_app_tun_name(c));
    int e = c->role == PQ_ROLE_CLIENT ? open_kill_switch(t, c) : 0;
    if (e)
        return e;
    e = pq_tundev_open(&t->dev, &dc, why);
    if (!e) {
        t->open = true;
        e = open_routes(t, c, why);
        if (!e && c->role == PQ_ROLE_CLIENT)
            e = open_rules(t, c, why);
    }
    if (e) {
        pq_say("tun: %s", why);
        pq_app_tun_close(t);
        return e;
    }
    if (c->role == PQ_ROLE_SERVER && c->tun.masquerade)
        open_nat(t, c);
    if (c->role == PQ_ROLE_CLIENT && c->tun.default_route && !c->tun.has6 && !t->kill)
        PQ_LOG(PQ_LOG_WARN, "tun: IPv6 goes beside the tunnel, since tun.addr6 is not set");
    PQ_LOG(PQ_LOG_INFO, "TUN device %s is up%s", t->dev.name,
           t->dev.offload ? "" : ", without segmentation offload");
    return 0;
}

void pq_app_tun_readdress(struct pq_app_tun *t)
{
    struct pq_addr keep[PQ_TUN_KEEP];
    if (!t->open)
        return;
    struct pq_tundev_policy policy = {.keep = keep,
                                      .n_keep = own_addrs(&t->dev, keep, PQ_TUN_KEEP)};
    int e = pq_tundev_keep(&t->dev, &policy);
    if (e)
        PQ_LOG(PQ_LOG_WARN, "tun: policy routing rules for new addresses are refused: %s",
               pq_strerror(e));
}

void pq_app_tun_close(struct pq_app_tun *t)
{
    pq_masquerade_close(&t->nat);
    if (t->open)
        pq_tundev_close(&t->dev);
    t->open = false;
    pq_killswitch_close(&t->kill);
    pq_spans_free(&t->direct);
}
