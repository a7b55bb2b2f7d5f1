/* SPDX-License-Identifier: MIT */
#include "os/netinfo.h"

#include "base/err.h"
#include "os/linux/neigh.h"
#include "os/linux/nl.h"
#include "os/linux/rtmsg.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUTE_REQUEST_MAX = 128 };

#define RMEM_USUAL (UINT32_C(6) << 20) /* Linux' default */
#define RMEM_LEAST (UINT32_C(1) << 20)
#define RMEM_MOST  (UINT32_C(64) << 20)

/* ---- interfaces */

struct ifaces {
    struct pq_iface *v;
    size_t n;
};

static struct pq_iface *by_index(struct ifaces *l, int index)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].index == index)
            return &l->v[i];
    return NULL;
}

static int on_link(const struct pq_nl_msg *m, void *arg)
{
    struct ifaces *l = arg;
    struct pq_iface *v = realloc(l->v, (l->n + 1) * sizeof *v);
    if (!v)
        return PQ_ENOMEM;
    l->v = v;
    l->n += pq_rt_link(&v[l->n], m);
    return 0;
}

static int on_addr(const struct pq_nl_msg *m, void *arg)
{
    struct pq_iface_addr a;
    int index;
    struct pq_iface *f = pq_rt_addr(&a, &index, m) ? by_index(arg, index) : NULL;
    if (f && f->n < PQ_IFACE_ADDRS)
        f->addr[f->n++] = a;
    return 0;
}

/* Notes a default route if it is the best one so far. */
static void note_default(struct pq_iface *f, const struct pq_rt_route *r)
{
    static const struct pq_addr none = {{0}, 0};
    bool *has = r->is4 ? &f->has_default4 : &f->has_default6;
    uint32_t *least = r->is4 ? &f->metric4 : &f->metric6;
    if (*has && *least <= r->metric)
        return;
    *has = true;
    *least = r->metric;
    *(r->is4 ? &f->gateway4 : &f->gateway6) = r->has_gateway ? r->gateway : none;
}

static int on_default_route(const struct pq_nl_msg *m, void *arg)
{
    struct pq_rt_route r;
    if (!pq_rt_route(&r, m) || r.dst_len || !r.is_unicast || r.table != RT_TABLE_MAIN)
        return 0;
    struct pq_iface *f = by_index(arg, r.ifindex);
    if (f)
        note_default(f, &r);
    return 0;
}

int pq_iface_list(struct pq_iface **out, size_t *n)
{
    struct ifaces l = {0};
    int e = pq_nl_dump(RTM_GETLINK, sizeof(struct ifinfomsg), on_link, &l);
    if (!e)
        e = pq_nl_dump(RTM_GETADDR, sizeof(struct ifaddrmsg), on_addr, &l);
    if (!e)
        e = pq_nl_dump(RTM_GETROUTE, sizeof(struct rtmsg), on_default_route, &l);
    if (e) {
        free(l.v);
        return e;
    }
    *out = l.v;
    *n = l.n;
    return 0;
}

int pq_iface_get(const char *name, int index, struct pq_iface *out)
{
    struct pq_iface *v;
    size_t n;
    int e = pq_iface_list(&v, &n);
    if (e)
        return e;
    e = -ENODEV;
    for (size_t i = 0; i < n; i++) {
        if (name ? strcmp(v[i].name, name) == 0 : v[i].index == index) {
            *out = v[i];
            e = 0;
        }
    }
    free(v);
    return e;
}

struct own_addrs {
    struct pq_addr *v;
    size_t n, max;
};

static int on_own_addr(const struct pq_nl_msg *m, void *arg)
{
    struct own_addrs *l = arg;
    struct pq_iface_addr a;
    int index;
    if (l->n < l->max && pq_rt_addr(&a, &index, m))
        l->v[l->n++] = a.ip;
    return 0;
}

int pq_own_addrs(struct pq_addr *out, size_t max, size_t *n)
{
    struct own_addrs l = {.v = out, .max = max};
    int e = pq_nl_dump(RTM_GETADDR, sizeof(struct ifaddrmsg), on_own_addr, &l);
    *n = e ? 0 : l.n;
    return e;
}

uint8_t pq_host_ttl(bool is4)
{
    FILE *f = fopen(is4 ? "/proc/sys/net/ipv4/ip_default_ttl"
                        : "/proc/sys/net/ipv6/conf/default/hop_limit",
                    "re");
    char line[16] = "";
    if (f && !fgets(line, sizeof line, f))
        *line = 0;
    if (f)
        fclose(f);
    long v = strtol(line, NULL, 10);
    return v > 0 && v < 256 ? (uint8_t)v : 64;
}

uint32_t pq_host_rmem(void)
{
    FILE *f = fopen("/proc/sys/net/ipv4/tcp_rmem", "re");
    unsigned long v[3] = {0};
    const bool ok = f && fscanf(f, "%lu %lu %lu", &v[0], &v[1], &v[2]) == 3;
    if (f)
        fclose(f);
    return ok && v[2] >= RMEM_LEAST && v[2] <= RMEM_MOST ? (uint32_t)v[2] : RMEM_USUAL;
}

bool pq_host_syns_linear(void)
{
    FILE *f = fopen("/proc/sys/net/ipv4/tcp_syn_linear_timeouts", "re");
    unsigned n = 0;
    const bool ok = f && fscanf(f, "%u", &n) == 1;
    if (f)
        fclose(f);
    return ok && n >= 2;
}

/* ---- changes */

int pq_netwatch_open(void)
{
    struct sockaddr_nl sa = {.nl_family = AF_NETLINK,
                             .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
        return fd;
    int e = -errno;
    close(fd);
    return e;
}

bool pq_netwatch_read(int fd)
{
    char buf[8192];
    bool any = false;
    ssize_t n;
    while ((n = recv(fd, buf, sizeof buf, 0)) > 0 || (n < 0 && errno == ENOBUFS))
        any = true; /* what it was is looked up */
    return any;
}

/* ---- routes */

static int on_route(const struct pq_nl_msg *m, void *arg)
{
    struct pq_route *out = arg;
    struct pq_rt_route r;
    if (!pq_rt_route(&r, m))
        return 0;
    out->ifindex = r.ifindex;
    if (r.has_src)
        out->src = r.src;
    out->has_gateway = r.has_gateway;
    if (r.has_gateway)
        out->gateway = r.gateway;
    return 0;
}

int pq_route_get(const struct pq_addr *dst, const struct pq_addr *src, struct pq_route *out)
{
    uint8_t buf[ROUTE_REQUEST_MAX];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    const bool is4 = pq_addr_is4(dst);
    const uint8_t bits = is4 ? 32 : 128;
    const struct rtmsg h = {
        .rtm_family = is4 ? AF_INET : AF_INET6, .rtm_dst_len = bits, .rtm_src_len = src ? bits : 0};
    pq_nl_begin(&o, RTM_GETROUTE, NLM_F_ACK, &h, sizeof h);
    pq_nl_put_addr(&o, RTA_DST, dst);
    if (src)
        pq_nl_put_addr(&o, RTA_SRC, src);
    pq_nl_put_u32(&o, RTA_MARK, PQ_ROUTE_MARK); /* kernels that do not know it ignore it */
    *out = (struct pq_route){.gateway = *dst};
    return pq_nl_query(&o, on_route, out);
}

/* ---- neighbours */

struct neigh_query {
    int ifindex;
    struct pq_addr ip;
    uint8_t mac[6];
    bool found, fresh;
};

static int on_neigh(const struct pq_nl_msg *m, void *arg)
{
    struct neigh_query *q = arg;
    struct pq_rt_neigh n;
    if (!pq_rt_neigh(&n, m) || n.ifindex != q->ifindex || !pq_addr_eq_ip(&n.ip, &q->ip))
        return 0;
    memcpy(q->mac, n.mac, 6);
    q->found = true;
    q->fresh = n.fresh;
    return 0;
}

/* Reads the neighbour table.  *fresh: the kernel knows that it is right now, or somebody has put it
 * there.  Returns 0, -ENOENT (not there, or not valid) or -errno. */
static int neigh_get(int ifindex, const struct pq_addr *ip, uint8_t mac[6], bool *fresh)
{
    struct neigh_query q = {.ifindex = ifindex, .ip = *ip};
    int e = pq_nl_dump(RTM_GETNEIGH, sizeof(struct ndmsg), on_neigh, &q);
    *fresh = !e && q.fresh;
    if (e)
        return e;
    if (!q.found)
        return -ENOENT;
    memcpy(mac, q.mac, 6);
    return 0;
}

int pq_neigh_resolve(const struct pq_iface *f, const struct pq_addr *own, const struct pq_addr *ip,
                     uint8_t mac[6], pq_ns patience)
{
    bool fresh;
    int known = neigh_get(f->index, ip, mac, &fresh);
    if (fresh || (known && known != -ENOENT))
        return known;
    uint8_t answer[6];
    int e = pq_neigh_ask(f, own, ip, answer, patience);
    if (!e)
        memcpy(mac, answer, 6);
    return e && known == 0 ? 0 : e;
}
