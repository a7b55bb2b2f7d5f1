/* SPDX-License-Identifier: MIT */
#include "os/netinfo.h"

#include "base/err.h"

#include <net/if.h>

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sends one request and runs cb over the answers.  Returns 0 or -errno. */
static int query(struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
    char buf[16384];
    struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!nl)
        return -errno;
    int e = 0;
    nlh->nlmsg_seq = 1;
    if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
        mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
        e = -errno;
    bool dump = nlh->nlmsg_flags & NLM_F_DUMP;
    unsigned pid = mnl_socket_get_portid(nl);
    while (!e) {
        ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof buf);
        int r = n < 0 ? -1 : mnl_cb_run(buf, (size_t)n, 1, pid, cb, arg);
        if (r < 0)
            e = errno ? -errno : -EIO;
        if (r <= MNL_CB_STOP || !dump)
            break;
    }
    mnl_socket_close(nl);
    return e;
}

static struct nlmsghdr *request(void *buf, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    return nlh;
}

enum { ATTRS = 32 }; /* highest attribute looked at, plus one */

static int on_attr(const struct nlattr *at, void *tb)
{
    const struct nlattr **t = tb;
    if (mnl_attr_get_type(at) < ATTRS)
        t[mnl_attr_get_type(at)] = at;
    return MNL_CB_OK;
}

/* Sorts the attributes behind a payload of `skip` bytes by type; absent ones are NULL. */
static void get_attrs(const struct nlmsghdr *nlh, size_t skip, const struct nlattr *tb[ATTRS])
{
    for (int i = 0; i < ATTRS; i++)
        tb[i] = NULL;
    mnl_attr_parse(nlh, (unsigned)skip, on_attr, tb);
}

static uint32_t u32_attr(const struct nlattr *at)
{
    return at && mnl_attr_get_payload_len(at) == 4 ? mnl_attr_get_u32(at) : 0;
}

static bool addr_attr(struct pq_addr *a, const struct nlattr *at)
{
    if (!at)
        return false;
    size_t n = mnl_attr_get_payload_len(at);
    if (n == 4)
        pq_addr_set4(a, mnl_attr_get_payload(at), 0);
    else if (n == 16)
        pq_addr_set6(a, mnl_attr_get_payload(at), 0);
    return n == 4 || n == 16;
}

static void put_addr(struct nlmsghdr *nlh, uint16_t type, const struct pq_addr *a)
{
    if (pq_addr_is4(a))
        mnl_attr_put(nlh, type, 4, pq_addr_v4(a));
    else
        mnl_attr_put(nlh, type, 16, a->ip);
}

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
                           .loopback = m->ifi_flags & IFF_LOOPBACK};
    const struct nlattr *tb[ATTRS], *mac;
    get_attrs(nlh, sizeof *m, tb);
    if (tb[IFLA_IFNAME])
        memcpy(f->name, mnl_attr_get_str(tb[IFLA_IFNAME]),
               strnlen(mnl_attr_get_str(tb[IFLA_IFNAME]), sizeof f->name - 1));
    f->mtu = u32_attr(tb[IFLA_MTU]);
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
    const struct nlattr *tb[ATTRS];
    get_attrs(nlh, sizeof *m, tb);
    /* IFA_LOCAL is the own address where IFA_ADDRESS is the other end of the link */
    bool have = addr_attr(&a->ip, tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS]);
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
    const struct nlattr *tb[ATTRS];
    get_attrs(nlh, sizeof *m, tb);
    struct pq_addr gw;
    struct pq_iface *f = by_index(arg, (int)u32_attr(tb[RTA_OIF]));
    if (!f || !addr_attr(&gw, tb[RTA_GATEWAY]))
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

static int dump(uint16_t type, size_t payload, mnl_cb_t cb, void *arg)
{
    char buf[512] = {0};
    struct nlmsghdr *nlh = request(buf, type, NLM_F_DUMP);
    mnl_nlmsg_put_extra_header(nlh, payload);
    return query(nlh, cb, arg);
}

int pq_iface_list(struct pq_iface **out, size_t *n)
{
    struct ifaces l = {0};
    int e = dump(RTM_GETLINK, sizeof(struct ifinfomsg), on_link, &l);
    if (!e)
        e = dump(RTM_GETADDR, sizeof(struct ifaddrmsg), on_addr, &l);
    if (!e)
        e = dump(RTM_GETROUTE, sizeof(struct rtmsg), on_default_route, &l);
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
    const struct nlattr *tb[ATTRS];
    get_attrs(nlh, sizeof(struct rtmsg), tb);
    r->ifindex = (int)u32_attr(tb[RTA_OIF]);
    addr_attr(&r->src, tb[RTA_PREFSRC]);
    r->has_gateway = addr_attr(&r->gateway, tb[RTA_GATEWAY]);
    return MNL_CB_OK;
}

int pq_route_get(const struct pq_addr *dst, struct pq_route *out)
{
    char buf[512] = {0};
    struct nlmsghdr *nlh = request(buf, RTM_GETROUTE, 0);
    struct rtmsg *m = mnl_nlmsg_put_extra_header(nlh, sizeof *m);
    bool is4 = pq_addr_is4(dst);
    m->rtm_family = is4 ? AF_INET : AF_INET6;
    m->rtm_dst_len = is4 ? 32 : 128;
    put_addr(nlh, RTA_DST, dst);
    *out = (struct pq_route){.gateway = *dst};
    return query(nlh, on_route, out);
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
    const struct nlattr *tb[ATTRS], *mac;
    get_attrs(nlh, sizeof *m, tb);
    mac = tb[NDA_LLADDR];
    if (addr_attr(&ip, tb[NDA_DST]) && pq_addr_eq_ip(&ip, &q->ip) && mac &&
        mnl_attr_get_payload_len(mac) == 6) {
        memcpy(q->mac, mnl_attr_get_payload(mac), 6);
        q->found = true;
    }
    return MNL_CB_OK;
}

int pq_neigh_get(int ifindex, const struct pq_addr *ip, uint8_t mac[6])
{
    struct neigh_query q = {.ifindex = ifindex, .ip = *ip};
    int e = dump(RTM_GETNEIGH, sizeof(struct ndmsg), on_neigh, &q);
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
