/* SPDX-License-Identifier: MIT */
#include "os/dnsredirect.h"

#include "base/err.h"
#include "os/linux/nft.h"
#include "os/linux/xtables.h"

#include <netinet/in.h>

#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>

#define DNS_PORT 53

struct pq_dnsredirect {
    struct pq_nft nft;
    struct pq_nft_batch batch;
    bool v4, v6;
    bool iptables; /* in place of nft */
    struct pq_xt xt;
};

/* One table for each family, as family inet has no NAT in older kernels. */
static int install(struct pq_dnsredirect *d, uint8_t family, uint16_t port, uint32_t mark)
{
    static const struct pq_nft_chain out = {
        .name = "out", .type = "nat", .hook = NF_INET_LOCAL_OUT, .priority = -100};
    static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};
    struct pq_nft_batch *b = &d->batch;
    int e = PQ_ENOTSUP;
    for (int owner = 1; e == PQ_ENOTSUP && owner >= 0; owner--) {
        pq_nft_begin(b, &d->nft, family);
        pq_nft_add_table(b, owner);
        pq_nft_add_chain(b, &out);
        pq_nft_rule(b, out.name);
        pq_nft_if_mark(b, mark);
        pq_nft_then(b, PQ_NFT_RETURN);
        pq_nft_rule(b, out.name);
        pq_nft_if_name(b, false, true, "lo");
        pq_nft_then(b, PQ_NFT_RETURN);
        for (size_t i = 0; i < sizeof protocols; i++) {
            pq_nft_rule(b, out.name);
            pq_nft_if_proto(b, protocols[i]);
            pq_nft_if_port(b, false, &(struct pq_range){DNS_PORT, DNS_PORT});
            pq_nft_then_redirect(b, port);
        }
        e = pq_nft_commit(b);
    }
    return e;
}

static void remove_tables(struct pq_dnsredirect *d)
{
    for (int six = 0; six < 2; six++) {
        if (!(six ? d->v6 : d->v4))
            continue;
        pq_nft_begin(&d->batch, &d->nft, six ? NFPROTO_IPV6 : NFPROTO_IPV4);
        pq_nft_del_table(&d->batch);
        pq_nft_commit(&d->batch);
    }
    pq_nft_close(&d->nft);
}

static int open_nft(struct pq_dnsredirect *d, uint16_t port, uint32_t mark)
{
    int e = pq_nft_open(&d->nft);
    if (e)
        return e;
    e = install(d, NFPROTO_IPV4, port, mark);
    d->v4 = !e;
    if (!e)
        e = install(d, NFPROTO_IPV6, port, mark);
    d->v6 = !e && d->v4;
    if (e)
        remove_tables(d);
    return e;
}

/* ---- where there is no nf_tables */

/* port 0: what asks is refused. */
static int add_chain(struct pq_dnsredirect *d, int family, uint16_t port, uint32_t mark,
                     char why[PQ_OS_WHY_LEN])
{
    static const char *const protocols[] = {"udp", "tcp"};
    const char *table = port ? "nat" : "filter";
    struct pq_xt_batch b;
    const int e = pq_xt_use(&d->xt, family, table, why);
    if (e)
        return e;
    pq_xt_begin(&b, &d->xt, family, table);
    pq_xt_chain(&b, "dns");
    pq_xt_add(&b, "-A $dns -m mark --mark 0x%x -j RETURN", mark);
    pq_xt_add(&b, "-A $dns -o lo -j RETURN");
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
        if (port)
            pq_xt_add(&b, "-A $dns -p %s --dport %u -j REDIRECT --to-ports %u", protocols[i],
                      DNS_PORT, port);
        else
            pq_xt_add(&b, "-A $dns -p %s --dport %u -j REJECT", protocols[i], DNS_PORT);
    pq_xt_add(&b, "-I OUTPUT -j $dns");
    return pq_xt_commit(&b, why);
}

static void remove_chains(struct pq_dnsredirect *d)
{
    pq_xt_remove(&d->xt, PQ_XT_V4, "nat");
    if (pq_xt_has_ipv6() && !pq_xt_remove(&d->xt, PQ_XT_V6, "nat"))
        pq_xt_remove(&d->xt, PQ_XT_V6, "filter");
    pq_xt_close(&d->xt);
}

static int open_iptables(struct pq_dnsredirect *d, uint16_t port, uint32_t mark,
                         char why[PQ_OS_WHY_LEN])
{
    int e = pq_xt_open(&d->xt, NULL);
    if (e)
        return e;
    d->iptables = true;
    e = add_chain(d, PQ_XT_V4, port, mark, why);
    if (!e && pq_xt_has_ipv6() && add_chain(d, PQ_XT_V6, port, mark, why))
        e = add_chain(d, PQ_XT_V6, 0, mark, why);
    if (e)
        remove_chains(d);
    return e;
}

int pq_dnsredirect_open(struct pq_dnsredirect **out, uint16_t port, uint32_t mark,
                        char why[PQ_OS_WHY_LEN])
{
    char it_says[PQ_OS_WHY_LEN] = "";
    *out = NULL;
    snprintf(why, PQ_OS_WHY_LEN, "%s", pq_strerror(PQ_ENOMEM));
    struct pq_dnsredirect *d = calloc(1, sizeof *d);
    if (!d)
        return PQ_ENOMEM;
    int e = open_nft(d, port, mark);
    if (e && e != -EPERM && open_iptables(d, port, mark, it_says) == 0)
        e = 0;
    if (e) {
        pq_xt_why_both(why, e, it_says);
        free(d);
        d = NULL;
    }
    *out = d;
    return e;
}

void pq_dnsredirect_close(struct pq_dnsredirect **dp)
{
    struct pq_dnsredirect *d = *dp;
    if (!d)
        return;
    if (d->iptables)
        remove_chains(d);
    else
        remove_tables(d);
    free(d);
    *dp = NULL;
}
