/* SPDX-License-Identifier: MIT */
#include "os/dnsredirect.h"

#include "base/err.h"
#include "os/linux/nft.h"

#include <netinet/in.h>

#include <linux/netfilter.h>
#include <stdlib.h>

#define DNS_PORT 53

struct pq_dnsredirect {
    struct pq_nft nft;
    struct pq_nft_batch batch;
    bool v4, v6;
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

int pq_dnsredirect_open(struct pq_dnsredirect **out, uint16_t port, uint32_t mark)
{
    *out = NULL;
    struct pq_dnsredirect *d = calloc(1, sizeof *d);
    if (!d)
        return PQ_ENOMEM;
    int e = pq_nft_open(&d->nft);
    if (e) {
        free(d);
        return e;
    }
    e = install(d, NFPROTO_IPV4, port, mark);
    d->v4 = !e;
    if (!e)
        e = install(d, NFPROTO_IPV6, port, mark);
    d->v6 = !e;
    *out = d;
    if (e)
        pq_dnsredirect_close(out);
    return e;
}

void pq_dnsredirect_close(struct pq_dnsredirect **dp)
{
    struct pq_dnsredirect *d = *dp;
    if (!d)
        return;
    for (int six = 0; six < 2; six++) {
        if (!(six ? d->v6 : d->v4))
            continue;
        pq_nft_begin(&d->batch, &d->nft, six ? NFPROTO_IPV6 : NFPROTO_IPV4);
        pq_nft_del_table(&d->batch);
        pq_nft_commit(&d->batch);
    }
    pq_nft_close(&d->nft);
    free(d);
    *dp = NULL;
}
