/* SPDX-License-Identifier: MIT */
#include "os/firewall.h"

#include "base/err.h"
#include "os/linux/nft.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINGER "90s" /* longer than any peer goes on with a session of which it hears nothing */

enum { VARIANTS = 4 };

struct variant {
    const char *family, *hook, *kind;
    bool owner;
};

/* In order of choice.  A table without `owner` bears the mark "paqet" and the process id, so that a
 * later start finds and removes what a killed process left. */
static const struct variant variants[VARIANTS] = {
    {"netdev", "ingress", "nftables netdev ingress, removed with the process", true},
    {"inet", "prerouting", "nftables inet prerouting, removed with the process", true},
    {"netdev", "ingress", "nftables netdev ingress", false},
    {"inet", "prerouting", "nftables inet prerouting", false},
};

struct pq_firewall {
    struct pq_nft nft;
    const struct variant *v;
    char ifname[2][sizeof((struct pq_firewall_conf *)0)->ifname]; /* that chain 0 and 1 cover */
    unsigned now;                                                 /* the newer one of them */
};

/* The rules: what is dropped of all that comes in for one of our ports. */
static void rules(const struct pq_firewall_conf *c, char *buf, size_t cap)
{
    char ip[PQ_ADDR_STRLEN];
    size_t n = 0;
    if (!c->client && !c->n_own)
        snprintf(buf, cap, "tcp dport @ports drop\n");
    for (unsigned i = 0; !c->client && i < c->n_own; i++)
        n += (size_t)snprintf(buf + n, cap - n, "%s daddr %s tcp dport @ports drop\n",
                              pq_addr_is4(&c->own[i]) ? "ip" : "ip6",
                              pq_addr_ip_str(&c->own[i], ip));
    for (unsigned i = 0; c->client && i < c->n_servers; i++)
        n += (size_t)snprintf(buf + n, cap - n, "%s saddr %s tcp sport %u tcp dport @ports drop\n",
                              pq_addr_is4(&c->server[i]) ? "ip" : "ip6",
                              pq_addr_ip_str(&c->server[i], ip), c->server[i].port);
}

/* The chain that covers one interface. */
static int add_chain(struct pq_firewall *f, const struct pq_firewall_conf *c, unsigned number,
                     const char *before)
{
    const struct variant *v = f->v;
    char device[32] = "", only[40] = "", match[PQ_FIREWALL_SERVERS * 120];
    if (strcmp(v->family, "netdev") == 0)
        snprintf(device, sizeof device, "device \"%s\"", c->ifname);
    else
        snprintf(only, sizeof only, "iifname != \"%s\" accept\n", c->ifname);
    rules(c, match, sizeof match);
    int e = pq_nft_run(&f->nft,
                       "%s\n"
                       "table %s %s {\n"
                       "%s"
                       "set ports { type inet_service; flags timeout; }\n"
                       "chain in%u { type filter hook %s %s priority -350;\n"
                       "%s%s}\n}\n",
                       before, v->family, f->nft.table, v->owner ? "flags owner;\n" : "", number,
                       v->hook, device, only, match);
    if (!e) {
        memcpy(f->ifname[number], c->ifname, sizeof c->ifname);
        f->now = number;
    }
    return e;
}

int pq_firewall_open(struct pq_firewall **out, const struct pq_firewall_conf *conf)
{
    *out = NULL;
    struct pq_firewall *f = calloc(1, sizeof *f);
    if (!f)
        return PQ_ENOMEM;
    int e = pq_nft_open(&f->nft);
    for (int i = 0; !e && i < VARIANTS; i++) {
        f->v = &variants[i];
        if (add_chain(f, conf, 0, "") == 0) {
            *out = f;
            return 0;
        }
    }
    if (!e) {
        e = pq_nft_denied(&f->nft) ? -EPERM : PQ_ENOTSUP;
        pq_nft_close(&f->nft);
    }
    free(f);
    return e;
}

int pq_firewall_move(struct pq_firewall *f, const struct pq_firewall_conf *conf)
{
    char without[80];
    unsigned number = strcmp(conf->ifname, f->ifname[f->now]) == 0 ? f->now : 1 - f->now;
    snprintf(without, sizeof without, "delete chain %s %s in%u", f->v->family, f->nft.table,
             number);
    if (add_chain(f, conf, number, without) == 0)
        return 0;
    return add_chain(f, conf, number, ""); /* there was none, or it went with its interface */
}

/* How long an element stays cannot be changed: it is made anew. */
static int put(struct pq_firewall *f, uint16_t port, const char *timeout)
{
    const char *family = f->v->family, *table = f->nft.table;
    if (pq_nft_run(&f->nft,
                   "delete element %s %s ports { %u }\n"
                   "add element %s %s ports { %u%s }",
                   family, table, port, family, table, port, timeout) == 0)
        return 0;
    return pq_nft_run(&f->nft, "add element %s %s ports { %u%s }", family, table, port, timeout);
}

int pq_firewall_add(struct pq_firewall *f, uint16_t port)
{
    return put(f, port, "");
}

int pq_firewall_remove(struct pq_firewall *f, uint16_t port)
{
    return put(f, port, " timeout " LINGER);
}

const char *pq_firewall_kind(const struct pq_firewall *f)
{
    return f->v->kind;
}

void pq_firewall_close(struct pq_firewall **fp)
{
    struct pq_firewall *f = *fp;
    if (!f)
        return;
    pq_nft_run(&f->nft, "delete table %s %s", f->v->family, f->nft.table);
    pq_nft_close(&f->nft);
    free(f);
    *fp = NULL;
}

void pq_firewall_advice(const struct pq_firewall_conf *c, uint16_t port, char *buf, size_t cap)
{
    char match[PQ_ADDR_STRLEN + 32] = "", ip[PQ_ADDR_STRLEN];
    bool is4 = !c->client || pq_addr_is4(&c->server[0]);
    if (c->client)
        snprintf(match, sizeof match, "-s %s --sport %u ", pq_addr_ip_str(&c->server[0], ip),
                 c->server[0].port);
    char number[16];
    snprintf(number, sizeof number, port ? "%u" : "PORT", port);
    const char *tool = is4 ? "iptables" : "ip6tables";
    snprintf(buf, cap,
             "%s -t raw -I PREROUTING -i %s -p tcp %s--dport %s -j DROP\n"
             "  (or, if that is refused: %s -I INPUT -i %s -p tcp %s--dport %s -j DROP)",
             tool, c->ifname, match, number, tool, c->ifname, match, number);
}
