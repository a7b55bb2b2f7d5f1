/* SPDX-License-Identifier: MIT */
/* client_dns.c - tun.dns: the machine's names are looked up behind the tunnel, or where the rules
 * say. */
#include "app/client.h"

#include "entry/dns_port.h"
#include "os/resolvers.h"

#include <errno.h>

#define PORT_TRIES 8

/* Networks come and go, and their resolvers with them. */
static unsigned beside(void *ctx, struct pq_addr out[PQ_DNS_RESOLVERS_MAX])
{
    struct client_worker *cw = ctx;
    const struct pq_conf_tun *t = &cw->cl->app.conf->tun;
    const pq_ns now = uv_hrtime();
    if (t->n_dns_direct) {
        memcpy(out, t->dns_direct, t->n_dns_direct * sizeof *out);
        return t->n_dns_direct;
    }
    if (!cw->resolvers_read || now >= cw->resolvers_read + PQ_SEC) {
        cw->n_resolvers = pq_resolvers(cw->resolver, PQ_DNS_RESOLVERS_MAX);
        cw->resolvers_read = now;
    }
    memcpy(out, cw->resolver, cw->n_resolvers * sizeof *out);
    return cw->n_resolvers;
}

static int steer(void *ctx, const struct pq_addr *ip, enum pq_steered was, enum pq_steered to)
{
    static const enum pq_tun_one one[] = {[PQ_STEERED_NOT] = PQ_TUN_AS_NETWORK,
                                          [PQ_STEERED_DIRECT] = PQ_TUN_PAST,
                                          [PQ_STEERED_TUNNEL] = PQ_TUN_INTO};
    struct client_worker *cw = ctx;
    return pq_app_tun_one(&cw->cl->tun, ip, one[was], one[to]);
}

int pq_client_open_dns(struct client_worker *cw)
{
    const struct pq_conf_tun *t = &cw->cl->app.conf->tun;
    const struct pq_dns_port_conf c = {
        .resolvers = t->dns, .n = t->n_dns, .beside = beside, .steer = steer, .ctx = cw};
    char why[PQ_OS_WHY_LEN];
    uint16_t port = 0;
    int e = -EADDRINUSE;
    if (!t->enabled || !t->n_dns)
        return 0;
    for (int i = 0; i < PORT_TRIES && e == -EADDRINUSE; i++)
        e = pq_dns_port_open(&cw->dns, &cw->w.front, &c, &port);
    cw->w.front.dns = cw->dns;
    snprintf(why, sizeof why, "%s", pq_strerror(e));
    if (!e)
        e = pq_dnsredirect_open(&cw->dns_redirect, port, PQ_ROUTE_MARK, why);
    if (e) {
        pq_say("tun.dns: the machine's DNS cannot be led into the tunnel: %s", why);
        pq_client_close_dns(cw);
        return e;
    }
    char ip[PQ_ADDR_STRLEN];
    PQ_LOG(PQ_LOG_INFO, "DNS of this machine goes through the tunnel, to %s%s",
           pq_addr_str(&t->dns[0], ip), t->n_dns > 1 ? " or the next" : "");
    return 0;
}

void pq_client_close_dns(struct client_worker *cw)
{
    pq_dnsredirect_close(&cw->dns_redirect);
    cw->w.front.dns = NULL;
    pq_dns_port_close(&cw->dns);
}
