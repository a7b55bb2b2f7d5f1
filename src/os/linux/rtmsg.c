/* SPDX-License-Identifier: MIT */
#include "os/linux/rtmsg.h"

#include <net/if.h>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>

#define EGRESS   1       /* NF_NETDEV_EGRESS, which headers before Linux 5.16 do not know */
#define LOWER_UP 0x10000 /* IFF_LOWER_UP, which net/if.h does not know */

bool pq_rt_link(struct pq_iface *out, const struct pq_nl_msg *m)
{
    struct ifinfomsg h;
    struct pq_nl_attrs a;
    if (m->type != RTM_NEWLINK || !pq_nl_head(m, &h, sizeof h, &a))
        return false;
    *out = (struct pq_iface){.index = h.ifi_index,
                             .hwtype = h.ifi_type,
                             .up = h.ifi_flags & IFF_UP,
                             .loopback = h.ifi_flags & IFF_LOOPBACK,
                             .carrier = h.ifi_flags & LOWER_UP};
    pq_nl_str(out->name, sizeof out->name, a.v[IFLA_IFNAME]);
    out->mtu = pq_nl_u32(a.v[IFLA_MTU]);
    out->has_mac = h.ifi_type == ARPHRD_ETHER && a.v[IFLA_ADDRESS].n == 6;
    if (out->has_mac)
        memcpy(out->mac, a.v[IFLA_ADDRESS].p, 6);
    return true;
}

bool pq_rt_addr(struct pq_iface_addr *out, int *ifindex, const struct pq_nl_msg *m)
{
    struct ifaddrmsg h;
    struct pq_nl_attrs a;
    if (m->type != RTM_NEWADDR || !pq_nl_head(m, &h, sizeof h, &a))
        return false;
    *out = (struct pq_iface_addr){.prefix = h.ifa_prefixlen,
                                  .link_local = h.ifa_scope == RT_SCOPE_LINK};
    *ifindex = (int)h.ifa_index;
    /* IFA_LOCAL is it where IFA_ADDRESS is the other end of the link */
    return pq_nl_addr(&out->ip, a.v[a.v[IFA_LOCAL].p ? IFA_LOCAL : IFA_ADDRESS]);
}

/* The gateway of a route; IPv4 may go through an IPv6 router. */
static bool get_gateway(struct pq_addr *gw, const struct pq_nl_attrs *a)
{
    struct pq_view via = a->v[RTA_VIA]; /* family 2, then the address */
    if (pq_nl_addr(gw, a->v[RTA_GATEWAY]))
        return true;
    if (via.n < 2)
        return false;
    return pq_nl_addr(gw, (struct pq_view){via.p + 2, via.n - 2});
}

/* The first of several ways. */
static void get_first_hop(struct pq_rt_route *out, struct pq_view hops)
{
    struct rtnexthop h;
    struct pq_nl_attrs a;
    if (hops.n < sizeof h)
        return;
    memcpy(&h, hops.p, sizeof h);
    if (h.rtnh_len < sizeof h || h.rtnh_len > hops.n)
        return;
    pq_nl_attrs_read(&a, (struct pq_view){hops.p + sizeof h, h.rtnh_len - sizeof h});
    out->ifindex = h.rtnh_ifindex;
    out->has_gateway = get_gateway(&out->gateway, &a);
}

bool pq_rt_route(struct pq_rt_route *out, const struct pq_nl_msg *m)
{
    struct rtmsg h;
    struct pq_nl_attrs a;
    if (m->type != RTM_NEWROUTE || !pq_nl_head(m, &h, sizeof h, &a))
        return false;
    *out = (struct pq_rt_route){.is4 = h.rtm_family == AF_INET,
                                .is_unicast = h.rtm_type == RTN_UNICAST,
                                .protocol = h.rtm_protocol,
                                .dst_len = h.rtm_dst_len,
                                .table = a.v[RTA_TABLE].p ? pq_nl_u32(a.v[RTA_TABLE]) : h.rtm_table,
                                .metric = pq_nl_u32(a.v[RTA_PRIORITY]),
                                .ifindex = (int)pq_nl_u32(a.v[RTA_OIF])};
    out->has_dst = pq_nl_addr(&out->dst, a.v[RTA_DST]);
    out->has_src = pq_nl_addr(&out->src, a.v[RTA_PREFSRC]);
    out->has_gateway = get_gateway(&out->gateway, &a);
    if (a.v[RTA_MULTIPATH].p)
        get_first_hop(out, a.v[RTA_MULTIPATH]);
    return true;
}

bool pq_rt_neigh(struct pq_rt_neigh *out, const struct pq_nl_msg *m)
{
    const uint16_t sure = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE;
    const uint16_t valid = sure | NUD_STALE | NUD_DELAY | NUD_PROBE;
    struct ndmsg h;
    struct pq_nl_attrs a;
    if (m->type != RTM_NEWNEIGH || !pq_nl_head(m, &h, sizeof h, &a) || !(h.ndm_state & valid))
        return false;
    *out = (struct pq_rt_neigh){.ifindex = h.ndm_ifindex, .fresh = h.ndm_state & sure};
    if (a.v[NDA_LLADDR].n != 6 || !pq_nl_addr(&out->ip, a.v[NDA_DST]))
        return false;
    memcpy(out->mac, a.v[NDA_LLADDR].p, 6);
    return true;
}

uint32_t pq_rt_xdp(const struct pq_nl_msg *m)
{
    static const uint16_t which[] = {IFLA_XDP_PROG_ID, IFLA_XDP_DRV_PROG_ID, IFLA_XDP_SKB_PROG_ID,
                                     IFLA_XDP_HW_PROG_ID};
    struct ifinfomsg h;
    struct pq_nl_attrs a, xdp;
    uint32_t id = 0;
    if (m->type != RTM_NEWLINK || !pq_nl_head(m, &h, sizeof h, &a))
        return 0;
    pq_nl_attrs_read(&xdp, a.v[IFLA_XDP]);
    for (size_t i = 0; !id && i < sizeof which / sizeof which[0]; i++)
        id = pq_nl_u32(xdp.v[which[i]]);
    return id;
}

bool pq_rt_tc(struct pq_rt_tc *out, const struct pq_nl_msg *m)
{
    struct tcmsg h;
    struct pq_nl_attrs a;
    if ((m->type != RTM_NEWQDISC && m->type != RTM_NEWTFILTER) || !pq_nl_head(m, &h, sizeof h, &a))
        return false;
    *out =
        (struct pq_rt_tc){.ifindex = h.tcm_ifindex, .parent = h.tcm_parent, .handle = h.tcm_handle};
    pq_nl_str(out->kind, sizeof out->kind, a.v[TCA_KIND]);
    return true;
}

/* Whether a chain is at this interface: the kernel names one, or several in a list. */
static bool is_at(const struct pq_nl_attrs *hook, const char *ifname)
{
    char name[IF_NAMESIZE];
    struct pq_view rest = hook->v[NFTA_HOOK_DEVS];
    pq_nl_str(name, sizeof name, hook->v[NFTA_HOOK_DEV]);
    bool found = strcmp(name, ifname) == 0;
    struct pq_view v;
    for (unsigned type; !found && pq_nl_attr(&rest, &type, &v);) {
        pq_nl_str(name, sizeof name, v);
        found = strcmp(name, ifname) == 0;
    }
    return found;
}

bool pq_rt_chain_at_egress(struct pq_rt_chain *out, const struct pq_nl_msg *m, const char *ifname)
{
    struct nfgenmsg g;
    struct pq_nl_attrs a, hook;
    if (m->type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN) ||
        !pq_nl_head(m, &g, sizeof g, &a) || !a.v[NFTA_CHAIN_HOOK].p)
        return false;
    pq_nl_attrs_read(&hook, a.v[NFTA_CHAIN_HOOK]);
    const struct pq_view number = hook.v[NFTA_HOOK_HOOKNUM];
    if (number.n != 4 || pq_be32(number.p) != EGRESS || !is_at(&hook, ifname))
        return false;
    pq_nl_str(out->table, sizeof out->table, a.v[NFTA_CHAIN_TABLE]);
    pq_nl_str(out->name, sizeof out->name, a.v[NFTA_CHAIN_NAME]);
    return true;
}
