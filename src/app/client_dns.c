/* SPDX-License-Identifier: MIT */
/* client_dns.c - tun.dns: the machine's names are looked up behind the tunnel. */
#include "app/client.h"

#include "entry/dns_port.h"
#include "entry/forward.h"

#include <errno.h>

#define PORT_TRIES 8

/* Queries over TCP need nothing but to be passed on. */
static int open_tcp(struct client_worker *cw, const struct pq_addr *resolver, uint16_t port)
{
    static const char *const at[] = {"127.0.0.1", "::1"};
    char host[PQ_ADDR_STRLEN];
    int e = 0;
    for (int i = 0; !e && i < 2; i++) {
        struct pq_forward_conf c = {.host = pq_addr_ip_str(resolver, host), .port = resolver->port};
        e = pq_addr_parse_ip(&c.listen, at[i]);
        c.listen.port = port;
        if (!e)
            e = pq_forward_open(&cw->dns_tcp[i], &cw->w.front, &c);
        if (i && (e == -EADDRNOTAVAIL || e == -EAFNOSUPPORT))
            e = 0; /* no IPv6 here */
    }
    return e;
}

static void close_ports(struct client_worker *cw)
{
    pq_dns_port_close(&cw->dns);
    for (int i = 0; i < 2; i++)
        pq_forward_close(&cw->dns_tcp[i]);
}

int pq_client_open_dns(struct client_worker *cw)
{
    const struct pq_conf_tun *t = &cw->cl->app.conf->tun;
    uint16_t port = 0;
    int e = -EADDRINUSE;
    if (!t->enabled || !t->n_dns)
        return 0;
    for (int i = 0; i < PORT_TRIES && e == -EADDRINUSE; i++) {
        e = pq_dns_port_open(&cw->dns, &cw->w.front, t->dns, t->n_dns, &port);
        if (!e)
            e = open_tcp(cw, &t->dns[0], port);
        if (e)
            close_ports(cw);
    }
    if (!e)
        e = pq_dnsredirect_open(&cw->dns_redirect, port, PQ_ROUTE_MARK);
    if (e) {
        pq_say("tun.dns: the machine's DNS cannot be led into the tunnel: %s", pq_strerror(e));
        close_ports(cw);
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
    close_ports(cw);
}
