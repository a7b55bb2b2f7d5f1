/* SPDX-License-Identifier: MIT */
#include "os/killswitch.h"

#include "base/err.h"
#include "os/linux/nft.h"

#include <netinet/in.h>

#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

/* Not of the form that is swept: it is meant to outlive us. */
static const char kept_table[] = "paqet_kill_switch";

struct pq_killswitch {
    struct pq_nft nft;
    struct pq_nft_batch batch;
    bool keep;
};

/* ---- rules */

static void accept_udp(struct pq_nft_batch *b, const char *chain, uint16_t port)
{
    pq_nft_rule(b, chain);
    pq_nft_if_proto(b, IPPROTO_UDP);
    pq_nft_if_port(b, false, &(struct pq_range){port, port});
    pq_nft_then(b, PQ_NFT_ACCEPT);
}

struct range {
    const char *from, *to;
};

static void accept_targets(struct pq_nft_batch *b, const char *chain, const struct range *v,
                           size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct pq_addr from, to;
        if (pq_addr_parse_ip(&from, v[i].from) || pq_addr_parse_ip(&to, v[i].to))
            continue;
        pq_nft_rule(b, chain);
        pq_nft_if_target(b, &from, &to);
        pq_nft_then(b, PQ_NFT_ACCEPT);
    }
}

/* Where DNS is led to (dnsredirect.h): of such a packet the rules still see the device that it
 * would have left through. */
static const struct range here[] = {{"127.0.0.0", "127.255.255.255"}, {"::1", "::1"}};

static const struct range lan[] = {
    {"10.0.0.0", "10.255.255.255"},
    {"172.16.0.0", "172.31.255.255"},
    {"192.168.0.0", "192.168.255.255"},
    {"169.254.0.0", "169.254.255.255"},
    {"224.0.0.0", "239.255.255.255"},
    {"255.255.255.255", "255.255.255.255"},
    {"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
};

static void add_chain(struct pq_nft_batch *b, const char *name, uint32_t hook,
                      const struct pq_killswitch_conf *c, bool reject)
{
    const struct pq_nft_chain chain = {.name = name, .type = "filter", .hook = hook};
    pq_nft_add_chain(b, &chain);
    for (int i = 0; i < 2; i++) {
        pq_nft_rule(b, name);
        pq_nft_if_name(b, false, true, i ? c->tun : "lo");
        pq_nft_then(b, PQ_NFT_ACCEPT);
    }
    pq_nft_rule(b, name);
    pq_nft_if_mark(b, c->mark);
    pq_nft_then(b, PQ_NFT_ACCEPT);
    pq_nft_rule(b, name);
    pq_nft_if_reply(b);
    pq_nft_then(b, PQ_NFT_ACCEPT);
    accept_udp(b, name, 67);
    accept_udp(b, name, 547);
    pq_nft_rule(b, name);
    pq_nft_if_neighbours(b);
    pq_nft_then(b, PQ_NFT_ACCEPT);
    accept_targets(b, name, here, sizeof here / sizeof here[0]);
    if (c->lan)
        accept_targets(b, name, lan, sizeof lan / sizeof lan[0]);
    pq_nft_rule(b, name);
    if (reject)
        pq_nft_then_reject(b);
    else
        pq_nft_then(b, PQ_NFT_DROP);
}

/* In one batch: what was kept is replaced, not taken away first. */
static int install(struct pq_killswitch *k, const struct pq_killswitch_conf *c, bool owner,
                   bool reject)
{
    struct pq_nft_batch *b = &k->batch;
    pq_nft_begin(b, &k->nft, NFPROTO_INET);
    if (c->keep) {
        pq_nft_add_table(b, false);
        pq_nft_del_table(b);
    }
    pq_nft_add_table(b, owner);
    add_chain(b, "out", NF_INET_LOCAL_OUT, c, reject);
    add_chain(b, "forward", NF_INET_FORWARD, c, reject);
    return pq_nft_commit(b);
}

/* ---- life */

int pq_killswitch_open(struct pq_killswitch **out, const struct pq_killswitch_conf *c)
{
    *out = NULL;
    struct pq_killswitch *k = calloc(1, sizeof *k);
    if (!k)
        return PQ_ENOMEM;
    k->keep = c->keep;
    int e = pq_nft_open(&k->nft);
    if (!e && c->keep)
        memcpy(k->nft.table, kept_table, sizeof kept_table);
    if (!e)
        e = PQ_ENOTSUP;
    for (int i = 0; e == PQ_ENOTSUP && i < 4; i++) /* a refusal tells programs at once */
        e = install(k, c, !c->keep && i % 2 == 0, i < 2);
    if (e) {
        pq_nft_close(&k->nft);
        free(k);
        return e;
    }
    *out = k;
    return 0;
}

static void remove_table(struct pq_nft *n, struct pq_nft_batch *b)
{
    pq_nft_begin(b, n, NFPROTO_INET);
    pq_nft_del_table(b);
}

void pq_killswitch_close(struct pq_killswitch **kp)
{
    struct pq_killswitch *k = *kp;
    if (!k)
        return;
    if (!k->keep) {
        remove_table(&k->nft, &k->batch);
        pq_nft_commit(&k->batch);
    }
    pq_nft_close(&k->nft);
    free(k);
    *kp = NULL;
}

bool pq_killswitch_lift(void)
{
    struct pq_killswitch *k = calloc(1, sizeof *k);
    bool was = false;
    if (k && pq_nft_open(&k->nft) == 0) {
        memcpy(k->nft.table, kept_table, sizeof kept_table);
        remove_table(&k->nft, &k->batch);
        was = pq_nft_commit(&k->batch) == 0;
        pq_nft_close(&k->nft);
    }
    free(k);
    return was;
}
