/* SPDX-License-Identifier: MIT */
#include "os/others.h"

#include "os/linux/nl.h"
#include "os/linux/rtmsg.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct reading {
    const char *name;
    int index;
    struct pq_others *out;
};

static int on_link(const struct pq_nl_msg *m, void *arg)
{
    const struct reading *r = arg;
    r->out->xdp = pq_rt_xdp(m);
    return 0;
}

static int read_xdp(struct reading *r)
{
    const struct ifinfomsg h = {.ifi_index = r->index};
    uint8_t buf[64];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    pq_nl_begin(&o, RTM_GETLINK, NLM_F_ACK, &h, sizeof h);
    return pq_nl_query(&o, on_link, r);
}

static int on_queue(const struct pq_nl_msg *m, void *arg)
{
    const struct reading *r = arg;
    struct pq_rt_tc t;
    if (m->type == RTM_NEWQDISC && pq_rt_tc(&t, m) && t.ifindex == r->index &&
        t.parent == TC_H_ROOT)
        memcpy(r->out->queue, t.kind, sizeof t.kind);
    return 0;
}

static int on_filter(const struct pq_nl_msg *m, void *arg)
{
    const struct reading *r = arg;
    struct pq_rt_tc t;
    if (m->type == RTM_NEWTFILTER && pq_rt_tc(&t, m) && t.handle) /* 0: only its priority is told */
        r->out->filters++;
    return 0;
}

static int read_tc(struct reading *r, uint16_t type, uint32_t parent, pq_nl_fn fn)
{
    const struct tcmsg h = {.tcm_ifindex = r->index, .tcm_parent = parent};
    uint8_t buf[64];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    pq_nl_begin(&o, type, NLM_F_DUMP, &h, sizeof h);
    return pq_nl_query(&o, fn, r);
}

static int on_chain(const struct pq_nl_msg *m, void *arg)
{
    const struct reading *r = arg;
    struct pq_rt_chain c;
    if (!pq_rt_chain_at_egress(&c, m, r->name))
        return 0;
    r->out->chains++;
    snprintf(r->out->chain, sizeof r->out->chain, "%s %s", c.table, c.name);
    return 0;
}

static int read_chains(struct reading *r)
{
    const struct nfgenmsg g = {.nfgen_family = NFPROTO_NETDEV, .version = NFNETLINK_V0};
    uint8_t buf[64];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    pq_nl_begin(&o, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, NLM_F_DUMP, &g, sizeof g);
    return pq_nl_query_of(NETLINK_NETFILTER, &o, on_chain, r);
}

/* Whether the interface has this on; e becomes an error. */
static bool is_on(int fd, const char *name, uint32_t what, int *e)
{
    struct ethtool_value v = {.cmd = what};
    struct ifreq f = {.ifr_data = (void *)&v};
    snprintf(f.ifr_name, sizeof f.ifr_name, "%s", name);
    if (ioctl(fd, SIOCETHTOOL, &f))
        *e = -errno;
    return v.data;
}

static void read_offloads(const struct reading *r)
{
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int e = 0;
    if (fd < 0)
        return;
    r->out->gso = is_on(fd, r->name, ETHTOOL_GGSO, &e);
    r->out->gro = is_on(fd, r->name, ETHTOOL_GGRO, &e);
    r->out->has_offloads = !e;
    close(fd);
}

int pq_others_read(const char *name, int index, struct pq_others *out)
{
    *out = (struct pq_others){0};
    struct reading r = {name, index, out};
    const int e = read_xdp(&r);
    if (e)
        return e;
    const uint32_t egress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);
    const int tc = read_tc(&r, RTM_GETTFILTER, egress, on_filter);
    out->all = !tc || tc == -EINVAL || tc == -EOPNOTSUPP; /* without clsact there are none */
    out->all = !read_tc(&r, RTM_GETQDISC, 0, on_queue) && out->all;
    const int nft = read_chains(&r); /* without nf_tables there are none */
    out->all =
        out->all && (!nft || nft == -EINVAL || nft == -EPROTONOSUPPORT || nft == -EOPNOTSUPP);
    read_offloads(&r);
    return 0;
}
