/* SPDX-License-Identifier: MIT */
/* client_names.c - the name of a silent server is looked up again: where it has moved, the client
 * follows. */
#include "app/client.h"
#include "relay/lookup.h"

#include <string.h>

#define AGAIN_EVERY (5 * PQ_SEC)

/* Gives the server's ways these addresses, as far as there are ways; what does not change stays. */
static bool replace(struct client *cl, unsigned server, const struct pq_addr *addrs, unsigned n)
{
    bool changed = false;
    unsigned nth = 0;
    for (unsigned i = 0; i < cl->n_ways; i++) {
        struct server_way *w = &cl->way[i];
        if (w->conf != server)
            continue;
        const struct pq_addr *a = &addrs[nth++ % n];
        changed = changed || !pq_addr_eq(&w->addr, a);
        w->addr = *a;
        pq_app_set_server(&cl->app, i, a);
    }
    return changed;
}

static void on_names(void *ctx, int status, const struct addrinfo *res)
{
    struct client_worker *cw = ctx;
    struct client *cl = cw->cl;
    const struct pq_conf_server *s = &cl->app.conf->server[cw->looked_for];
    struct pq_addr addrs[PQ_SERVER_ADDRS];
    char text[PQ_ADDR_STRLEN];
    struct pq_name_found found;
    pq_discover_found(&found, status, res);
    const unsigned n = pq_discover_addrs(cl->app.conf, &found, s->ports.from, addrs);
    if (n) {
        pthread_mutex_lock(&cl->way_lock);
        bool changed = replace(cl, cw->looked_for, addrs, n);
        char ifname[sizeof cl->app.path.iface.name];
        memcpy(ifname, cl->app.path.iface.name, sizeof ifname);
        pthread_mutex_unlock(&cl->way_lock);
        if (changed) {
            PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST, "%s is at %s now", s->host,
                        pq_addr_ip_str(&addrs[0], text));
            pq_app_move_firewall(&cl->app, ifname);
        }
    }
    cw->looking = false;
}

void pq_client_look_again(struct client_worker *cw, unsigned way)
{
    struct client *cl = cw->cl;
    pthread_mutex_lock(&cl->way_lock);
    const unsigned server = cl->way[way].conf;
    pthread_mutex_unlock(&cl->way_lock);
    const char *host = cl->app.conf->server[server].host;
    struct pq_addr literal;
    if (cw->stopping || cw->looking || cw->w.now < cw->looked_at + AGAIN_EVERY ||
        pq_addr_parse_ip(&literal, host) == 0)
        return;
    if (!cw->lookups && pq_lookups_new(&cw->lookups, &cw->w.loop))
        return;
    cw->looked_at = cw->w.now;
    cw->looked_for = server;
    cw->looking = pq_lookup_start(cw->lookups, host, false, on_names, cw) != NULL;
}

void pq_client_stop_looking(struct client_worker *cw)
{
    pq_lookups_close(&cw->lookups);
}
