/* SPDX-License-Identifier: MIT */
/* client_way.c - the servers, and the way to each from this machine. */
#include "app/client.h"

#include <string.h>

#define START_PATIENCE (3 * PQ_SEC) /* for the router's MAC */
#define RENEW_PATIENCE (50 * PQ_MS) /* the same while the loop waits */

int pq_client_find_ways(struct client *cl)
{
    struct pq_app *app = &cl->app;
    const struct pq_conf *c = app->conf;
    char why[PQ_WHY_LEN];
    pthread_mutex_init(&cl->way_lock, NULL);
    for (unsigned i = 0; i < c->n_servers; i++) {
        struct server_way *w = &cl->way[cl->n_servers];
        if (pq_discover_resolve(c, &c->server[i], &w->addr, why) ||
            pq_discover_client(c, &w->addr, START_PATIENCE, &w->path, why)) {
            pq_say("%s", why);
        } else if (cl->n_servers && w->path.iface.index != cl->way[0].path.iface.index) {
            pq_say("server %s is reached through %s, but the first one through %s: not used",
                   c->server[i].addr, w->path.iface.name, cl->way[0].path.iface.name);
        } else {
            app->fw_conf.server[cl->n_servers++] = w->addr;
        }
    }
    if (!cl->n_servers)
        return PQ_EINVAL;
    app->path = cl->way[0].path;
    memcpy(app->fw_conf.ifname, app->path.iface.name, sizeof app->fw_conf.ifname);
    app->hub.link_mtu = app->path.iface.mtu;
    app->fw_conf.client = true;
    app->fw_conf.n_servers = cl->n_servers;
    return 0;
}

/* Opens the packet socket and the firewall anew on another interface.  Only where one worker has it
 * all: others would go on using the old one. */
static bool move_to(struct client_worker *cw, const struct pq_path *path)
{
    struct pq_app *app = &cw->cl->app;
    struct pq_path old = app->path;
    struct pq_pktio *io;
    if (app->n_workers > 1) {
        PQ_LOG(PQ_LOG_WARN,
               "the server is now reached through %s instead of %s; with several "
               "workers this needs a restart",
               path->iface.name, old.iface.name);
        return false;
    }
    app->path = *path;
    int e = pq_app_open_io(app, &io);
    if (e || io->link_len != cw->w.io->link_len) {
        if (!e)
            pq_pktio_close(&io);
        app->path = old;
        return false;
    }
    PQ_LOG(PQ_LOG_INFO, "moving from %s to %s", old.iface.name, path->iface.name);
    pq_worker_change_io(&cw->w, io);
    pq_firewall_close(&app->fw);
    memcpy(app->fw_conf.ifname, path->iface.name, sizeof app->fw_conf.ifname);
    pq_app_open_firewall(app);
    for (struct pq_list *l = cw->leases.next; l != &cw->leases; l = l->next)
        pq_app_cover_port(app, PQ_OF(l, struct lease, node)->port, true);
    return true;
}

void pq_client_renew_way(struct client_worker *cw, unsigned server, struct server_way *out)
{
    struct client *cl = cw->cl;
    struct pq_path path;
    char why[PQ_WHY_LEN];
    pthread_mutex_lock(&cl->way_lock);
    struct server_way *w = &cl->way[server];
    if (pq_discover_client(cl->app.conf, &w->addr, RENEW_PATIENCE, &path, why))
        PQ_LOG(PQ_LOG_WARN, "%s", why); /* the old way may still be right */
    else if (path.iface.index == cl->app.path.iface.index || move_to(cw, &path))
        w->path = path;
    *out = *w;
    pthread_mutex_unlock(&cl->way_lock);
}
