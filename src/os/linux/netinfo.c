/* SPDX-License-Identifier: MIT */
#include "os/netinfo.h"

#include "base/err.h"
#include "os/linux/neigh.h"
#include "os/linux/nl.h"

#include <net/if.h>

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- interfaces */

#define LOWER_UP 0x10000 /* IFF_LOWER_UP, which net/if.h does not know */

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

static int on_link(const struct nlmsghdr *nlh, void *arg)
{
    struct ifaces *l = arg;
    const struct ifinfomsg *m = mnl_nlmsg_get_payload(nlh);
    struct pq_iface *v = realloc(l->v, (l->n + 1) * sizeof *v);
    if (!v)
        return MNL_CB_ERROR;
    l->v = v;
    struct pq_iface *f = &v[l->n++];
    *f = (struct pq_iface){.index = m->ifi_index,
                           .hwtype = m->ifi_type,
                           .up = m->ifi_flags & IFF_UP,
                           .loopback = m->ifi_flags & IFF_LOOPBACK,
                           .carrier = m->ifi_flags & LOWER_UP};
    const struct nlattr *tb[PQ_NL_ATTRS], *mac;
    pq_nl_attrs(nlh, sizeof *m, tb);
    if (tb[IFLA_IFNAME])
        memcpy(f->name, mnl_attr_get_str(tb[IFLA_IFNAME]),
               strnlen(mnl_attr_get_str(tb[IFLA_IFNAME]), sizeof f->name - 1));
    f->mtu = pq_nl_u32(tb[IFLA_MTU]);
    mac = tb[IFLA_ADDRESS];
    f->has_mac = mac && m->ifi_type == ARPHRD_ETHER && mnl_attr_get_payload_len(mac) == 6;
    if (f->has_mac)
        memcpy(f->mac, mnl_attr_get_payload(mac), 6);
    return MNL_CB_OK;
}

/* The own address that an entry tells of. */
static bool get_own(struct pq_addr *ip, const struct nlmsghdr *nlh)
{
    const struct nlattr *tb[PQ_NL_ATTRS];
    pq_nl_attrs(nlh, sizeof(struct ifaddrmsg), tb);
    /* IFA_LOCAL is it where IFA_ADDRESS is the other end of the link */
    return pq_nl_addr(ip, tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS]);
}

static int on_addr(const struct nlmsghdr *nlh, void *arg)
{
    const struct ifaddrmsg *m = mnl_nlmsg_get_payload(nlh);
    struct pq_iface *f = by_index(arg, (int)m->ifa_index);
    if (!f || f->n == PQ_IFACE_ADDRS)
        return MNL_CB_OK;
    struct pq_iface_addr *a = &f->addr[f->n];
    a->prefix = m->ifa_prefixlen;
    a->link_local = m->ifa_scope == RT_SCOPE_LINK;
    f->n += get_own(&a->ip, nlh);
    return MNL_CB_OK;
}

/* Notes a default route if it is the best one so far. */
static void note_default(struct pq_iface *f, bool is4, uint32_t metric, const struct pq_addr *gw)
{
    static const struct pq_addr none = {{0}, 0};
    bool *has = is4 ? &f->has_default4 : &f->has_default6;
    uint32_t *least = is4 ? &f->metric4 : &f->metric6;
    if (*has && *least <= metric)
        return;
    *has = true;
    *least = metric;
    *(is4 ? &f->gateway4 : &f->gateway6) = gw ? *gw : none;
}

/* The gateway of a route; IPv4 may go through an IPv6 router. */
static bool get_gateway(struct pq_addr *gw, const struct nlattr *const tb[PQ_NL_ATTRS])
{
    if (pq_nl_addr(gw, tb[RTA_GATEWAY]))
        return true;
    const struct nlattr *via = tb[RTA_VIA]; /* family 2, then the address */
    const uint8_t *p = via ? mnl_attr_get_payload(via) : NULL;
    size_t n = via ? mnl_attr_get_payload_len(via) : 0;
    if (n == 2 + 4)
        pq_addr_set4(gw, p + 2, 0);
    else if (n == 2 + 16)
        pq_addr_set6(gw, p + 2, 0);
    return n == 2 + 4 || n == 2 + 16;
}

static int on_default_route(const struct nlmsghdr *nlh, void *arg)
{
    const struct rtmsg *m = mnl_nlmsg_get_payload(nlh);
    const struct nlattr *tb[PQ_NL_ATTRS], *hop[PQ_NL_ATTRS];
    if (m->rtm_dst_len || m->rtm_type != RTN_UNICAST)
        return MNL_CB_OK;
    pq_nl_attrs(nlh, sizeof *m, tb);
    uint32_t table = tb[RTA_TABLE] ? pq_nl_u32(tb[RTA_TABLE]) : m->rtm_table;
    if (table != RT_TABLE_MAIN)
        return MNL_CB_OK;
    int index = (int)pq_nl_u32(tb[RTA_OIF]);
    struct pq_addr gw;
    bool has_gw = get_gateway(&gw, tb);
    if (tb[RTA_MULTIPATH]) { /* the first of several */
        const struct rtnexthop *h = mnl_attr_get_payload(tb[RTA_MULTIPATH]);
        size_t n = mnl_attr_get_payload_len(tb[RTA_MULTIPATH]);
        if (n < sizeof *h || h->rtnh_len < sizeof *h || h->rtnh_len > n)
            return MNL_CB_OK;
        index = h->rtnh_ifindex;
        pq_nl_attrs_in(h + 1, h->rtnh_len - sizeof *h, hop);
        has_gw = get_gateway(&gw, hop);
    }
    struct pq_iface *f = by_index(arg, index);
    if (f)
        note_default(f, m->rtm_family == AF_INET, pq_nl_u32(tb[RTA_PRIORITY]), has_gw ? &gw : NULL);
    return MNL_CB_OK;
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

static int on_own_addr(const struct nlmsghdr *nlh, void *arg)
{
    struct own_addrs *l = arg;
    if (l->n < l->max)
        l->n += get_own(&l->v[l->n], nlh);
    return MNL_CB_OK;
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

static int on_route(const struct nlmsghdr *nlh, void *arg)
{
    struct pq_route *r = arg;
    const struct nlattr *tb[PQ_NL_ATTRS];
    pq_nl_attrs(nlh, sizeof(struct rtmsg), tb);
    r->ifindex = (int)pq_nl_u32(tb[RTA_OIF]);
    pq_nl_addr(&r->src, tb[RTA_PREFSRC]);
    r->has_gateway = get_gateway(&r->gateway, tb);
    return MNL_CB_OK;
}

int pq_route_get(const struct pq_addr *dst, const struct pq_addr *src, struct pq_route *out)
{
    char buf[512] = {0};
    struct nlmsghdr *nlh = pq_nl_request(buf, RTM_GETROUTE, 0);
    struct rtmsg *m = mnl_nlmsg_put_extra_header(nlh, sizeof *m);
    const uint8_t bits = pq_addr_is4(dst) ? 32 : 128;
    m->rtm_family = bits == 32 ? AF_INET : AF_INET6;
    m->rtm_dst_len = bits;
    pq_nl_put_addr(nlh, RTA_DST, dst);
    if (src) {
        m->rtm_src_len = bits;
        pq_nl_put_addr(nlh, RTA_SRC, src);
    }
    mnl_attr_put_u32(nlh, RTA_MARK, PQ_ROUTE_MARK); /* kernels that do not know it ignore it */
    *out = (struct pq_route){.gateway = *dst};
    return pq_nl_query(nlh, on_route, out);
}

/* ---- neighbours */

struct neigh_query {
    int ifindex;
    struct pq_addr ip;
    uint8_t mac[6];
    bool found, fresh;
};

static int on_neigh(const struct nlmsghdr *nlh, void *arg)
{
    struct neigh_query *q = arg;
    const struct ndmsg *m = mnl_nlmsg_get_payload(nlh);
    const uint16_t valid =
        NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE;
    if (m->ndm_ifindex != q->ifindex || !(m->ndm_state & valid))
        return MNL_CB_OK;
    struct pq_addr ip;
    const struct nlattr *tb[PQ_NL_ATTRS], *mac;
    pq_nl_attrs(nlh, sizeof *m, tb);
    mac = tb[NDA_LLADDR];
    if (pq_nl_addr(&ip, tb[NDA_DST]) && pq_addr_eq_ip(&ip, &q->ip) && mac &&
        mnl_attr_get_payload_len(mac) == 6) {
        memcpy(q->mac, mnl_attr_get_payload(mac), 6);
        q->found = true;
        q->fresh = m->ndm_state & (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE);
    }
    return MNL_CB_OK;
}

int pq_neigh_get(int ifindex, const struct pq_addr *ip, uint8_t mac[6], bool *fresh)
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
    int known = pq_neigh_get(f->index, ip, mac, &fresh);
    if (fresh || (known && known != -ENOENT))
        return known;
    uint8_t answer[6];
    int e = pq_neigh_ask(f, own, ip, answer, patience);
    if (!e)
        memcpy(mac, answer, 6);
    return e && known == 0 ? 0 : e;
}
