/* SPDX-License-Identifier: MIT */
#include "os/masquerade.h"

#include "base/err.h"
#include "os/linux/nft.h"
#include "os/linux/xtables.h"

#include <net/if.h>
#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* ---- rules */

struct pq_masquerade {
    struct pq_nft nft;
    struct pq_nft_batch batch;
    bool v4, v6;
    bool iptables; /* in place of nft */
    struct pq_xt xt;
    char tun[16];
    uint16_t low, high; /* ports for TCP */
};

/* The larger part of the usable ports, below our own or above. */
static void choose_ports(struct pq_masquerade *m, const struct pq_range *own)
{
    const uint16_t first = 1024, last = 65535;
    const unsigned below = own->from > first ? own->from - (unsigned)first : 0;
    const unsigned above = last - (unsigned)own->to;
    m->low = first;
    m->high = last;
    if (below >= above)
        m->high = (uint16_t)(own->from - 1);
    else if (own->to >= first)
        m->low = (uint16_t)(own->to + 1);
}

/* Postrouting knows the incoming interface from Linux 5.7 on; before, the rule would never match.
 */
static bool kernel_can(void)
{
    struct utsname u;
    int major, minor;
    if (uname(&u) || sscanf(u.release, "%d.%d", &major, &minor) != 2)
        return true;
    return major > 5 || (major == 5 && minor >= 7);
}

/* One table for each family, as family inet has no NAT in older kernels. */
static int add_table(struct pq_masquerade *m, uint8_t family, bool owner)
{
    static const struct pq_nft_chain out = {
        .name = "out", .type = "nat", .hook = NF_INET_POST_ROUTING, .priority = 100};
    struct pq_nft_batch *b = &m->batch;
    pq_nft_begin(b, &m->nft, family);
    pq_nft_add_table(b, owner);
    pq_nft_add_chain(b, &out);
    pq_nft_rule(b, out.name);
    pq_nft_if_name(b, true, false, m->tun);
    pq_nft_then(b, PQ_NFT_RETURN);
    pq_nft_rule(b, out.name);
    pq_nft_if_name(b, false, true, m->tun);
    pq_nft_then(b, PQ_NFT_RETURN);
    pq_nft_rule(b, out.name);
    pq_nft_if_tcp(b);
    pq_nft_then_masquerade(b, m->low, m->high);
    pq_nft_rule(b, out.name);
    pq_nft_then_masquerade(b, 0, 0);
    return pq_nft_commit(b);
}

static void remove_table(struct pq_masquerade *m, uint8_t family)
{
    pq_nft_begin(&m->batch, &m->nft, family);
    pq_nft_del_table(&m->batch);
    pq_nft_commit(&m->batch);
}

static void remove_tables(struct pq_masquerade *m)
{
    if (m->v4 && m->iptables)
        pq_xt_remove(&m->xt, PQ_XT_V4, "nat");
    else if (m->v4)
        remove_table(m, NFPROTO_IPV4);
    if (m->v6 && m->iptables)
        pq_xt_remove(&m->xt, PQ_XT_V6, "nat");
    else if (m->v6)
        remove_table(m, NFPROTO_IPV6);
    m->v4 = m->v6 = false;
}

static int install(struct pq_masquerade *m, bool v4, bool v6, bool owner)
{
    int e4 = v4 ? add_table(m, NFPROTO_IPV4, owner) : 0;
    int e6 = v6 ? add_table(m, NFPROTO_IPV6, owner) : 0;
    m->v4 = v4 && !e4;
    m->v6 = v6 && !e6;
    if (e4 || e6)
        remove_tables(m);
    return e4 ? e4 : e6;
}

static int open_nft(struct pq_masquerade *m, const struct pq_masquerade_conf *c)
{
    if (!kernel_can())
        return PQ_ENOTSUP;
    int e = pq_nft_open(&m->nft);
    if (e)
        return e;
    e = install(m, c->v4, c->v6, true);
    if (e)
        e = install(m, c->v4, c->v6, false);
    if (e)
        pq_nft_close(&m->nft);
    return e;
}

/* ---- where there is no nf_tables */

static int add_chain(struct pq_masquerade *m, const struct pq_masquerade_conf *c, bool v4,
                     char why[PQ_OS_WHY_LEN])
{
    char net[PQ_ADDR_STRLEN];
    struct pq_xt_batch b;
    const int family = v4 ? PQ_XT_V4 : PQ_XT_V6, e = pq_xt_use(&m->xt, family, "nat", why);
    if (e)
        return e;
    pq_xt_begin(&b, &m->xt, family, "nat");
    pq_xt_chain(&b, "out");
    pq_xt_add(&b, "-A $out -p tcp -j MASQUERADE --to-ports %u-%u", m->low, m->high);
    pq_xt_add(&b, "-A $out -j MASQUERADE");
    for (unsigned i = 0; i < c->n_nets; i++)
        if (pq_addr_is4(&c->nets[i].ip) == v4)
            pq_xt_add(&b, "-I POSTROUTING -s %s/%u ! -o %s -j $out",
                      pq_addr_ip_str(&c->nets[i].ip, net), c->nets[i].bits - (v4 ? 96 : 0), m->tun);
    return pq_xt_commit(&b, why);
}

static int open_iptables(struct pq_masquerade *m, const struct pq_masquerade_conf *c,
                         char why[PQ_OS_WHY_LEN])
{
    int e = pq_xt_cannot_name(m->tun, why) ? PQ_ENOTSUP : pq_xt_open(&m->xt, NULL);
    if (e)
        return e;
    m->iptables = true;
    e = c->v4 ? add_chain(m, c, true, why) : 0;
    m->v4 = c->v4 && !e;
    if (!e && c->v6)
        e = add_chain(m, c, false, why);
    m->v6 = c->v6 && !e;
    if (e) {
        remove_tables(m);
        pq_xt_close(&m->xt);
    }
    return e;
}

int pq_masquerade_open(struct pq_masquerade **out, const struct pq_masquerade_conf *c,
                       char why[PQ_OS_WHY_LEN])
{
    char it_says[PQ_OS_WHY_LEN] = "";
    *out = NULL;
    snprintf(why, PQ_OS_WHY_LEN, "%s", pq_strerror(PQ_ENOMEM));
    struct pq_masquerade *m = calloc(1, sizeof *m);
    if (!m)
        return PQ_ENOMEM;
    snprintf(m->tun, sizeof m->tun, "%s", c->tun);
    choose_ports(m, c->own_ports);
    int e = open_nft(m, c);
    if (e && e != -EPERM && open_iptables(m, c, it_says) == 0)
        e = 0;
    if (e) {
        pq_xt_why_both(why, e, it_says);
        free(m);
        m = NULL;
    }
    *out = m;
    return e;
}

void pq_masquerade_close(struct pq_masquerade **mp)
{
    struct pq_masquerade *m = *mp;
    if (!m)
        return;
    remove_tables(m);
    if (m->iptables)
        pq_xt_close(&m->xt);
    else
        pq_nft_close(&m->nft);
    free(m);
    *mp = NULL;
}

/* ---- forwarding */

/* Reads one digit.  Returns it, or -errno. */
static int get(const char *path)
{
    char c = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, &c, 1);
    int e = n < 0 ? -errno : n == 0 || c < '0' || c > '9' ? -EIO : 0;
    close(fd);
    return e ? e : c - '0';
}

static int set(const char *path, char digit)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int e = write(fd, &digit, 1) == 1 ? 0 : -errno;
    close(fd);
    return e;
}

static void keep_advertisements(void)
{
    struct if_nameindex *list = if_nameindex();
    for (struct if_nameindex *i = list; i && i->if_index; i++) {
        char path[96];
        snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_ra", i->if_name);
        if (get(path) == 1)
            set(path, '2'); /* where that is refused, forwarding is too */
    }
    if (list)
        if_freenameindex(list);
}

static int turn_on(const char *path, bool v6)
{
    int now = get(path);
    if (now)
        return now < 0 ? now : 0;
    if (v6)
        keep_advertisements();
    int e = set(path, '1');
    return e ? e : 1;
}

int pq_forwarding_enable(bool v4, bool v6)
{
    int r4 = v4 ? turn_on("/proc/sys/net/ipv4/ip_forward", false) : 0;
    if (r4 < 0)
        return r4;
    int r6 = v6 ? turn_on("/proc/sys/net/ipv6/conf/all/forwarding", true) : 0;
    return r6 < 0 ? r6 : r4 | r6;
}
