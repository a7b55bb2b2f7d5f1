/* SPDX-License-Identifier: MIT */
#include "os/netinfo.h"

#include "base/err.h"
#include "os/linux/nl.h"

#include <net/if.h>

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <netinet/in.h>
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

static int on_addr(const struct nlmsghdr *nlh, void *arg)
{
    const struct ifaddrmsg *m = mnl_nlmsg_get_payload(nlh);
    struct pq_iface *f = by_index(arg, (int)m->ifa_index);
    if (!f || f->n == PQ_IFACE_ADDRS)
        return MNL_CB_OK;
    struct pq_iface_addr *a = &f->addr[f->n];
    const struct nlattr *tb[PQ_NL_ATTRS];
    pq_nl_attrs(nlh, sizeof *m, tb);
    /* IFA_LOCAL is the own address where IFA_ADDRESS is the other end of the link */
    bool have = pq_nl_addr(&a->ip, tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS]);
    a->prefix = m->ifa_prefixlen;
    a->link_local = m->ifa_scope == RT_SCOPE_LINK;
    f->n += have;
    return MNL_CB_OK;
}

static int on_default_route(const struct nlmsghdr *nlh, void *arg)
{
    const struct rtmsg *m = mnl_nlmsg_get_payload(nlh);
    if (m->rtm_dst_len || m->rtm_type != RTN_UNICAST)
        return MNL_CB_OK;
    const struct nlattr *tb[PQ_NL_ATTRS];
    pq_nl_attrs(nlh, sizeof *m, tb);
    struct pq_addr gw;
    struct pq_iface *f = by_index(arg, (int)pq_nl_u32(tb[RTA_OIF]));
    if (!f || !pq_nl_addr(&gw, tb[RTA_GATEWAY]))
        return MNL_CB_OK;
    if (pq_addr_is4(&gw) && !f->has_gateway4) {
        f->gateway4 = gw;
        f->has_gateway4 = true;
    } else if (!pq_addr_is4(&gw) && !f->has_gateway6) {
        f->gateway6 = gw;
        f->has_gateway6 = true;
    }
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

/* ---- routes */

static int on_route(const struct nlmsghdr *nlh, void *arg)
{
    struct pq_route *r = arg;
    const struct nlattr *tb[PQ_NL_ATTRS];
    pq_nl_attrs(nlh, sizeof(struct rtmsg), tb);
    r->ifindex = (int)pq_nl_u32(tb[RTA_OIF]);
    pq_nl_addr(&r->src, tb[RTA_PREFSRC]);
    r->has_gateway = pq_nl_addr(&r->gateway, tb[RTA_GATEWAY]);
    return MNL_CB_OK;
}

int pq_route_get(const struct pq_addr *dst, struct pq_route *out)
{
    char buf[512] = {0};
    struct nlmsghdr *nlh = pq_nl_request(buf, RTM_GETROUTE, 0);
    struct rtmsg *m = mnl_nlmsg_put_extra_header(nlh, sizeof *m);
    bool is4 = pq_addr_is4(dst);
    m->rtm_family = is4 ? AF_INET : AF_INET6;
    m->rtm_dst_len = is4 ? 32 : 128;
    pq_nl_put_addr(nlh, RTA_DST, dst);
    mnl_attr_put_u32(nlh, RTA_MARK, PQ_ROUTE_MARK); /* kernels that do not know it ignore it */
    *out = (struct pq_route){.gateway = *dst};
    return pq_nl_query(nlh, on_route, out);
}

/* ---- neighbours */

struct neigh_query {
    int ifindex;
    struct pq_addr ip;
    uint8_t mac[6];
    bool found;
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
    }
    return MNL_CB_OK;
}

int pq_neigh_get(int ifindex, const struct pq_addr *ip, uint8_t mac[6])
{
    struct neigh_query q = {.ifindex = ifindex, .ip = *ip};
    int e = pq_nl_dump(RTM_GETNEIGH, sizeof(struct ndmsg), on_neigh, &q);
    if (e)
        return e;
    if (!q.found)
        return -ENOENT;
    memcpy(mac, q.mac, 6);
    return 0;
}

/* Makes the kernel look for the neighbour: any datagram to it does. */
static int poke(int ifindex, const struct pq_addr *ip)
{
    struct sockaddr_storage ss;
    struct pq_addr to = *ip;
    to.port = 9;
    socklen_t len = pq_addr_to_sock(&to, &ss);
    if (ss.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&ss)->sin6_scope_id = (uint32_t)ifindex;
    int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ssize_t n = sendto(fd, "", 1, MSG_DONTWAIT, (struct sockaddr *)&ss, len);
    int e = n < 0 ? -errno : 0;
    close(fd);
    return e;
}

int pq_neigh_resolve(int ifindex, const struct pq_addr *ip, uint8_t mac[6], pq_ns patience)
{
    pq_ns until = pq_clock() + patience;
    int e = pq_neigh_get(ifindex, ip, mac);
    if (e == -ENOENT)
        e = poke(ifindex, ip);
    else
        return e;
    while (!e && (e = pq_neigh_get(ifindex, ip, mac)) == -ENOENT && pq_clock() < until) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000L}, NULL);
        e = 0;
    }
    return e == -ENOENT ? -EHOSTUNREACH : e;
}
