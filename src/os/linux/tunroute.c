/* SPDX-License-Identifier: MIT */
/* tunroute.c - routes into a TUN device. */
#include "os/linux/tunroute.h"
#include "base/err.h"
#include "os/linux/mark.h"
#include "os/netinfo.h"

#include <net/if.h>

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCK_TRIES   100
#define LOCK_WAIT_US 15000
#define LOCK_STEPS   16
#define LOCK_STEP_US 600

#define REQUEST_MAX 512

/* ---- who else has routes in our table */

struct users {
    const struct pq_iface *iface;
    size_t n;
    int but; /* this device left out */
    bool alive;
};

static int on_used_route(const struct pq_nl_msg *m, void *arg)
{
    struct users *u = arg;
    struct pq_rt_route r;
    if (!pq_rt_route(&r, m) || r.table != PQ_ROUTE_MARK || !r.is_unicast || r.ifindex == u->but)
        return 0;
    for (size_t i = 0; i < u->n; i++)
        u->alive = u->alive || (u->iface[i].index == r.ifindex && u->iface[i].carrier);
    return 0;
}

/* Whether a running program has, or nobody can tell. */
static bool is_used(int but)
{
    struct pq_iface *v;
    struct users u = {.but = but};
    if (pq_iface_list(&v, &u.n))
        return true;
    u.iface = v;
    int e = pq_nl_dump(RTM_GETROUTE, sizeof(struct rtmsg), on_used_route, &u);
    free(v);
    return e || u.alive;
}

/* Clients of a machine share the rules: the first one makes them, the last one removes them. */
int pq_tunroute_lock(void)
{
    const uint32_t mark = pq_mark_of_name("tun rules");
    int fd = -EADDRINUSE;
    for (int i = 0; fd == -EADDRINUSE && i < LOCK_TRIES; i++) {
        if (i) /* not in step with another one that waits */
            usleep(LOCK_WAIT_US + (useconds_t)(getpid() % LOCK_STEPS) * LOCK_STEP_US);
        fd = pq_mark_take(mark);
    }
    return fd;
}

void pq_tunroute_unlock(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void drop_rules(struct pq_tundev *d)
{
    if ((d->rules4 || d->rules6) && !is_used(d->index))
        pq_tunrule_remove_all(); /* perhaps those of another client that has ended */
    else if (d->rules4 || d->rules6)
        pq_tunrule_remove_own(d);
    d->rules4 = d->rules6 = false;
}

/* ---- routes */

struct pq_addr pq_tunroute_addr(const struct pq_net *net)
{
    struct pq_addr ip = net->ip;
    for (unsigned bit = net->bits; bit < 128; bit++)
        ip.ip[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
    return ip;
}

uint8_t pq_tunroute_len(const struct pq_net *net)
{
    return (uint8_t)(pq_addr_is4(&net->ip) ? net->bits - 96 : net->bits);
}

struct taken { /* a network that another one's device has in our table */
    const struct pq_net *nets;
    unsigned n, which;
    int own, found;
};

static bool same_net(const struct pq_rt_route *r, const struct pq_net *net)
{
    const struct pq_addr want = pq_tunroute_addr(net);
    return r->is4 == pq_addr_is4(&net->ip) && r->dst_len == pq_tunroute_len(net) &&
           (!r->dst_len || (r->has_dst && pq_addr_eq_ip(&r->dst, &want)));
}

static int on_route(const struct pq_nl_msg *m, void *arg)
{
    struct taken *t = arg;
    struct pq_rt_route r;
    if (!pq_rt_route(&r, m) || r.table != PQ_ROUTE_MARK || !r.is_unicast || !r.ifindex ||
        r.ifindex == t->own)
        return 0;
    for (unsigned i = 0; i < t->n; i++) {
        if (same_net(&r, &t->nets[i])) {
            t->found = r.ifindex;
            t->which = i;
        }
    }
    return 0;
}

/* Routes go with their device, so whoever has some in the table is running. */
static int check_table(const struct pq_tundev *d, const struct pq_net *nets, unsigned n,
                       char why[PQ_TUN_WHY_LEN])
{
    struct taken t = {.nets = nets, .n = n, .own = d->index};
    char name[IF_NAMESIZE] = "?", ip[PQ_ADDR_STRLEN];
    int e = pq_nl_dump(RTM_GETROUTE, sizeof(struct rtmsg), on_route, &t);
    if (!e && !t.found)
        return 0;
    if (e) {
        snprintf(why, PQ_TUN_WHY_LEN, "the routes cannot be listed: %s", pq_strerror(e));
        return e;
    }
    if_indextoname((unsigned)t.found, name);
    snprintf(why, PQ_TUN_WHY_LEN,
             "%s/%u already leads to %s, in routing table 28769: end the program that has that "
             "device, or give each client other networks in \"routes\"",
             pq_addr_ip_str(&nets[t.which].ip, ip), pq_tunroute_len(&nets[t.which]), name);
    return -EBUSY;
}

static int add_route(const struct pq_tundev *d, const struct pq_net *net, uint32_t table)
{
    uint8_t buf[REQUEST_MAX];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    const bool v4 = pq_addr_is4(&net->ip);
    const struct pq_addr ip = pq_tunroute_addr(net);
    const uint16_t how = table == RT_TABLE_MAIN ? NLM_F_EXCL : NLM_F_REPLACE;
    const struct rtmsg h = {.rtm_family = v4 ? AF_INET : AF_INET6,
                            .rtm_dst_len = pq_tunroute_len(net),
                            .rtm_protocol = PQ_ROUTE_PROTOCOL,
                            .rtm_scope = v4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
                            .rtm_type = RTN_UNICAST};
    pq_nl_begin(&o, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | how, &h, sizeof h);
    if (h.rtm_dst_len)
        pq_nl_put_addr(&o, RTA_DST, &ip);
    pq_nl_put_u32(&o, RTA_TABLE, table);
    pq_nl_put_u32(&o, RTA_OIF, (uint32_t)d->index);
    if (table != RT_TABLE_MAIN)
        pq_nl_put_u32(&o, RTA_PRIORITY, PQ_METRIC_TUN);
    return pq_nl_query(&o, NULL, NULL);
}

struct ours { /* routes to remove */
    uint32_t table;
    int oif; /* 0: any */
    struct pq_rt_batch batch;
};

static int on_our_route(const struct pq_nl_msg *m, void *arg)
{
    struct ours *ours = arg;
    struct pq_rt_route r;
    if (!pq_rt_route(&r, m) || r.protocol != PQ_ROUTE_PROTOCOL || r.table != ours->table)
        return 0;
    const bool its = r.is_unicast ? r.ifindex == ours->oif : pq_is_past(r.metric, ours->oif);
    if (its || !ours->oif)
        pq_rt_batch_add(&ours->batch, RTM_DELROUTE, 0, m->body.p, m->body.n);
    return 0;
}

static void remove_routes(uint32_t table, int oif)
{
    struct ours *o = calloc(1, sizeof *o);
    if (!o)
        return;
    o->table = table;
    o->oif = oif;
    pq_rt_batch_sweep(&o->batch, RTM_GETROUTE, sizeof(struct rtmsg), on_our_route, o);
    free(o);
}

struct wanted { /* a route of the main table */
    const struct pq_net *net;
    int oif;
    bool there;
};

static int on_same_route(const struct pq_nl_msg *m, void *arg)
{
    struct wanted *w = arg;
    struct pq_rt_route r;
    if (pq_rt_route(&r, m) && r.table == RT_TABLE_MAIN && r.ifindex == w->oif &&
        same_net(&r, w->net))
        w->there = true;
    return 0;
}

/* Whether the network leads to the device already: the user's own route, or one that we could not
 * remove when we were killed. */
static bool is_routed_here(const struct pq_tundev *d, const struct pq_net *net)
{
    struct wanted w = {.net = net, .oif = d->index};
    return pq_nl_dump(RTM_GETROUTE, sizeof(struct rtmsg), on_same_route, &w) == 0 && w.there;
}

static int add_routes(const struct pq_tundev *d, const struct pq_net *nets, unsigned n,
                      uint32_t table, char why[PQ_TUN_WHY_LEN])
{
    char ip[PQ_ADDR_STRLEN];
    for (unsigned i = 0; i < n; i++) {
        bool v4 = pq_addr_is4(&nets[i].ip);
        unsigned len = pq_tunroute_len(&nets[i]);
        bool can = v4 ? d->has4 : d->has6;
        if (!can && !len)
            continue;
        int e = can ? add_route(d, &nets[i], table) : -EAFNOSUPPORT;
        if (e == 0 || (e == -EEXIST && is_routed_here(d, &nets[i])))
            continue;
        pq_addr_ip_str(&nets[i].ip, ip);
        if (!can)
            snprintf(why, PQ_TUN_WHY_LEN, "the route to %s/%u needs an %s address of %s", ip, len,
                     v4 ? "IPv4" : "IPv6", d->name);
        else if (e == -EEXIST)
            snprintf(why, PQ_TUN_WHY_LEN,
                     "%s/%u is already routed (see \"ip route show %s/%u\"): remove that route, or "
                     "leave the network out",
                     ip, len, ip, len);
        else
            snprintf(why, PQ_TUN_WHY_LEN, "the route to %s/%u through %s: %s", ip, len, d->name,
                     pq_strerror(e));
        return e;
    }
    return 0;
}

static int add_policy(struct pq_tundev *d, const struct pq_tundev_policy *policy,
                      char why[PQ_TUN_WHY_LEN])
{
    if (!is_used(d->index)) /* what a killed program has left */
        pq_tunrule_remove_all();
    d->rules4 = d->has4;
    d->rules6 = d->has6;
    int e = pq_tunrule_add(d, policy);
    if (!e)
        return 0;
    drop_rules(d);
    snprintf(why, PQ_TUN_WHY_LEN, "policy routing rules are refused: %s%s", pq_strerror(e),
             e == -EOPNOTSUPP || e == -EAFNOSUPPORT
                 ? " (the kernel is built without CONFIG_IP_MULTIPLE_TABLES; leave \"routes\" out "
                   "and route by hand)"
                 : "");
    return e;
}

void pq_tundev_sweep(void)
{
    const int lock = pq_tunroute_lock();
    if (!is_used(0)) {
        pq_tunrule_remove_all();
        remove_routes(PQ_ROUTE_MARK, 0);
        remove_routes(PQ_TABLE_INTO, 0);
        remove_routes(PQ_TABLE_ONES, 0);
    }
    pq_tunroute_unlock(lock);
}

int pq_tundev_routes(struct pq_tundev *d, const struct pq_net *nets, unsigned n,
                     const struct pq_tundev_policy *policy, char why[PQ_TUN_WHY_LEN])
{
    d->table = policy ? PQ_ROUTE_MARK : RT_TABLE_MAIN;
    if (!policy)
        return add_routes(d, nets, n, RT_TABLE_MAIN, why);
    if (policy->n_keep > PQ_TUN_KEEP) {
        snprintf(why, PQ_TUN_WHY_LEN, "more than %d own addresses to keep", PQ_TUN_KEEP);
        return PQ_EINVAL;
    }
    const int lock = pq_tunroute_lock();
    int e = check_table(d, nets, n, why);
    if (!e)
        e = add_policy(d, policy, why); /* first, so that nobody takes the routes for left ones */
    if (!e)
        e = add_routes(d, nets, n, PQ_TABLE_INTO, why);
    if (!e)
        e = add_routes(d, nets, n, PQ_ROUTE_MARK, why);
    if (e)
        drop_rules(d);
    pq_tunroute_unlock(lock);
    return e;
}

int pq_tundev_keep(struct pq_tundev *d, const struct pq_tundev_policy *policy)
{
    if (policy->n_keep > PQ_TUN_KEEP)
        return PQ_EINVAL;
    return pq_tunrule_keep(d, policy);
}

struct asked {
    int ifindex;
    bool yes;
};

static int on_asked_route(const struct pq_nl_msg *m, void *arg)
{
    struct asked *a = arg;
    struct pq_rt_route r;
    a->yes = a->yes || (pq_rt_route(&r, m) && r.table == PQ_ROUTE_MARK && r.is_unicast &&
                        r.ifindex == a->ifindex);
    return 0;
}

bool pq_tundev_is_ours(int ifindex)
{
    struct asked a = {.ifindex = ifindex};
    return pq_nl_dump(RTM_GETROUTE, sizeof(struct rtmsg), on_asked_route, &a) == 0 && a.yes;
}

void pq_tundev_close(struct pq_tundev *d)
{
    const int lock = d->rules4 || d->rules6 ? pq_tunroute_lock() : -1;
    drop_rules(d);
    if (d->table)
        remove_routes(d->table, d->index);
    if (d->table == PQ_ROUTE_MARK) {
        remove_routes(PQ_TABLE_INTO, d->index);
        remove_routes(PQ_TABLE_ONES, d->index);
    }
    pq_tunroute_unlock(lock);
    d->table = 0;
    pq_spans_free(&d->past);
    pq_spans_free(&d->own);
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}
