/* SPDX-License-Identifier: MIT */
#include "os/firewall.h"

#include "base/err.h"
#include "os/linux/iptables.h"
#include "os/linux/nft.h"
#include "os/linux/xtables.h"

#include <netinet/in.h>

#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINGER_MS                                                                                  \
    90000 /* longer than any peer goes on with a session of which it hears nothing                 \
           */

#define STRANGER_MS 600000 /* of silence */
#define FIRST_MS    20000  /* the same after the first SYN */

#define PRIORITY (-350) /* before connection tracking and raw */

enum { VARIANTS = 4 };

struct variant {
    uint8_t family;
    uint32_t hook;
    const char *kind;
    bool owner;
};

/* In order of choice.  A table without `owner` bears the mark "paqet" and the process id, so that a
 * later start finds and removes what a killed process left. */
static const struct variant variants[VARIANTS] = {
    {NFPROTO_NETDEV, NF_NETDEV_INGRESS, "nftables netdev ingress, removed with the process", true},
    {NFPROTO_INET, NF_INET_PRE_ROUTING, "nftables inet prerouting, removed with the process", true},
    {NFPROTO_NETDEV, NF_NETDEV_INGRESS, "nftables netdev ingress", false},
    {NFPROTO_INET, NF_INET_PRE_ROUTING, "nftables inet prerouting", false},
};

struct pq_firewall {
    struct pq_iptables *iptables; /* in place of all the rest, if not NULL */
    struct pq_nft nft;
    struct pq_nft_batch batch;
    const struct variant *v;
    char ifname[2][sizeof((struct pq_firewall_conf *)0)->ifname]; /* that chain 0 and 1 cover */
    unsigned now;                                                 /* the newer one of them */
};

static const char *const chain_names[2] = {"in0", "in1"};

/* The rules: what is dropped of all that comes in for one of our ports. */
static void add_rules(struct pq_nft_batch *b, const char *chain, const struct pq_firewall_conf *c)
{
    const unsigned n = c->client ? c->n_servers : c->n_own;
    for (int is4 = 0; is4 < 2 && c->decoy; is4++) {
        pq_nft_rule(b, chain);
        pq_nft_if_stranger(b, is4, STRANGER_MS);
        pq_nft_then(b, PQ_NFT_ACCEPT);
    }
    for (unsigned i = 0; i < n || (i == 0 && !c->client); i++) {
        pq_nft_rule(b, chain);
        if (i < n)
            pq_nft_if_addr(b, c->client, c->client ? &c->server[i].addr : &c->own[i]);
        pq_nft_if_tcp(b);
        pq_nft_if_port(b, c->client, c->client ? &c->server[i].ports : &c->ports);
        if (c->client)
            pq_nft_if_dport_is_ours(b);
        pq_nft_then(b, PQ_NFT_DROP);
    }
}

/* The chain that covers one interface; `anew`: in the place of one of this name. */
static int add_chain(struct pq_firewall *f, const struct pq_firewall_conf *c, unsigned number,
                     bool anew)
{
    const struct variant *v = f->v;
    const bool netdev = v->family == NFPROTO_NETDEV;
    const struct pq_nft_chain chain = {.name = chain_names[number],
                                       .type = "filter",
                                       .hook = v->hook,
                                       .priority = PRIORITY,
                                       .device = netdev ? c->ifname : NULL};
    struct pq_nft_batch *b = &f->batch;
    pq_nft_begin(b, &f->nft, v->family);
    if (anew)
        pq_nft_del_chain(b, chain.name);
    pq_nft_add_table(b, v->owner);
    if (c->client)
        pq_nft_add_ports(b);
    if (c->decoy)
        pq_nft_add_strangers(b);
    pq_nft_add_chain(b, &chain);
    if (!netdev) {
        pq_nft_rule(b, chain.name);
        pq_nft_if_name(b, true, false, c->ifname);
        pq_nft_then(b, PQ_NFT_ACCEPT);
    }
    add_rules(b, chain.name, c);
    int e = pq_nft_commit(b);
    if (!e) {
        memcpy(f->ifname[number], c->ifname, sizeof c->ifname);
        f->now = number;
    }
    return e;
}

int pq_firewall_open(struct pq_firewall **out, const struct pq_firewall_conf *conf,
                     char why[PQ_OS_WHY_LEN])
{
    char it_says[PQ_OS_WHY_LEN] = "";
    *out = NULL;
    snprintf(why, PQ_OS_WHY_LEN, "%s", pq_strerror(PQ_ENOMEM));
    struct pq_firewall *f = calloc(1, sizeof *f);
    if (!f)
        return PQ_ENOMEM;
    int e = pq_nft_open(&f->nft), refused = PQ_ENOTSUP;
    for (int i = 0; !e && i < VARIANTS; i++) {
        f->v = &variants[i];
        refused = add_chain(f, conf, 0, false);
        if (!refused) {
            *out = f;
            return 0;
        }
    }
    pq_nft_close(&f->nft);
    e = e ? e : refused;
    if (e != -EPERM && !pq_iptables_open(&f->iptables, conf, it_says)) {
        *out = f;
        return 0;
    }
    pq_xt_why_both(why, e, it_says);
    free(f);
    return e;
}

int pq_firewall_move(struct pq_firewall *f, const struct pq_firewall_conf *conf)
{
    if (f->iptables)
        return pq_iptables_move(f->iptables, conf);
    unsigned number = strcmp(conf->ifname, f->ifname[f->now]) == 0 ? f->now : 1 - f->now;
    if (add_chain(f, conf, number, true) == 0)
        return 0;
    return add_chain(f, conf, number, false); /* there was none, or it went with its interface */
}

/* How long an element stays cannot be changed: it is made anew. */
static int put(struct pq_firewall *f, uint16_t port, uint64_t timeout_ms)
{
    struct pq_nft_batch *b = &f->batch;
    for (int anew = 1; anew >= 0; anew--) {
        pq_nft_begin(b, &f->nft, f->v->family);
        if (anew)
            pq_nft_del_port(b, port);
        pq_nft_add_port(b, port, timeout_ms);
        if (pq_nft_commit(b) == 0)
            return 0;
    }
    return PQ_ENOTSUP;
}

int pq_firewall_add(struct pq_firewall *f, uint16_t port)
{
    return f->iptables ? pq_iptables_add(f->iptables, port) : put(f, port, 0);
}

int pq_firewall_remove(struct pq_firewall *f, uint16_t port)
{
    return f->iptables ? pq_iptables_remove(f->iptables, port, LINGER_MS) : put(f, port, LINGER_MS);
}

int pq_firewall_admit(struct pq_firewall *f, const struct pq_addr *from)
{
    if (f->iptables)
        return pq_iptables_admit(f->iptables, from);
    pq_nft_begin(&f->batch, &f->nft, f->v->family);
    pq_nft_add_stranger(&f->batch, from, FIRST_MS);
    return pq_nft_commit(&f->batch) ? PQ_ENOTSUP : 0;
}

int pq_firewall_exclude(struct pq_firewall *f, const struct pq_addr *from)
{
    if (f->iptables)
        return pq_iptables_exclude(f->iptables, from);
    for (int add = 1; add >= 0; add--) {
        pq_nft_begin(&f->batch, &f->nft, f->v->family);
        if (add) /* what fails waits for all processors: it shall not be missing */
            pq_nft_add_stranger(&f->batch, from, FIRST_MS);
        pq_nft_del_stranger(&f->batch, from);
        if (pq_nft_commit(&f->batch) == 0)
            return 0;
    }
    return PQ_ENOTSUP;
}

const char *pq_firewall_kind(const struct pq_firewall *f)
{
    return f->iptables ? pq_iptables_kind(f->iptables) : f->v->kind;
}

void pq_firewall_close(struct pq_firewall **fp)
{
    struct pq_firewall *f = *fp;
    if (!f)
        return;
    if (f->iptables) {
        pq_iptables_close(f->iptables);
    } else {
        pq_nft_begin(&f->batch, &f->nft, f->v->family);
        pq_nft_del_table(&f->batch);
        pq_nft_commit(&f->batch);
        pq_nft_close(&f->nft);
    }
    free(f);
    *fp = NULL;
}

void pq_firewall_advice(const struct pq_firewall_conf *c, uint16_t port, char *buf, size_t cap)
{
    char match[PQ_ADDR_STRLEN + 32] = "", ip[PQ_ADDR_STRLEN];
    char number[PQ_RANGE_STRLEN] = "PORT", from[PQ_RANGE_STRLEN];
    const struct pq_firewall_server *s = &c->server[0];
    bool is4 = !c->client || pq_addr_is4(&s->addr);
    if (c->client)
        snprintf(match, sizeof match, "-s %s --sport %s ", pq_addr_ip_str(&s->addr, ip),
                 pq_iptables_ports(&s->ports, from));
    if (!c->client)
        pq_iptables_ports(&c->ports, number);
    else if (port)
        snprintf(number, sizeof number, "%u", port);
    const char *tool = is4 ? "iptables" : "ip6tables";
    snprintf(buf, cap,
             "%s -t raw -I PREROUTING -i %s -p tcp %s--dport %s -j DROP\n"
             "  (or, if that is refused: %s -I INPUT -i %s -p tcp %s--dport %s -j DROP)",
             tool, c->ifname, match, number, tool, c->ifname, match, number);
}
