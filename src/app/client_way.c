/* SPDX-License-Identifier: MIT */
/* client_way.c - the servers, and the way to each from this machine. */
#include "app/client.h"

#include <errno.h>
#include <string.h>

#define START_PATIENCE (3 * PQ_SEC) /* for the router's MAC, of all servers together, ... */
#define RENEW_PATIENCE (50 * PQ_MS) /* ... and at least of each; the same while the loop waits */
#define NETWORK_EVERY  2            /* s between two looks whether the network is there */

struct plan {
    const struct client *cl;
    const struct pq_names *names;
    pq_ns until; /* it waits for routers */
};

static pq_ns patience_of(const struct plan *p)
{
    const pq_ns now = pq_clock();
    return now + RENEW_PATIENCE < p->until ? p->until - now : RENEW_PATIENCE;
}

/* Adds the ways to one server.  Returns 0 if there is one, PQ_EAGAIN if there may be one later. */
static int add_server(const struct plan *p, const struct pq_conf_server *s, unsigned nth,
                      struct client_ways *ways, char why[PQ_WHY_LEN])
{
    const struct client *cl = p->cl;
    const struct pq_conf *c = cl->app.conf;
    struct pq_addr addrs[PQ_SERVER_ADDRS];
    unsigned n, before = ways->n;
    int e = pq_discover_resolve(c, s, p->names, addrs, &n, why);
    for (unsigned i = 0; !e && i < n; i++) {
        struct server_way *w = &ways->v[ways->n];
        const struct pq_iface *first = cl->n_ways ? &cl->app.path.iface
                                       : ways->n  ? &ways->v[0].path.iface
                                                  : NULL;
        *w = (struct server_way){.conf = nth, .addr = addrs[i]};
        int way = pq_discover_client(c, &w->addr, patience_of(p), &w->path, why);
        if (way == 0 && first && w->path.iface.index != first->index) {
            snprintf(why, PQ_WHY_LEN,
                     "server %s is reached through %s, but the first one through %s: not used",
                     s->addr, w->path.iface.name, first->name);
            way = PQ_EINVAL;
        }
        if (way == 0)
            ways->n++;
        else if (i + 1 == n && ways->n == before)
            e = way; /* of the last one, which stands for all */
    }
    return e;
}

int pq_client_plan_ways(const struct client *cl, const struct pq_conf *c,
                        const struct pq_names *names, pq_ns patience, struct client_ways *ways,
                        void (*say)(void *ctx, const char *why), void *ctx)
{
    const struct plan p = {.cl = cl, .names = names, .until = pq_clock() + patience};
    char why[PQ_WHY_LEN];
    int worst = PQ_EINVAL;
    ways->n = 0;
    for (unsigned i = 0; i < c->n_servers; i++) {
        int e = add_server(&p, &c->server[i], i, ways, why);
        if (e == PQ_EAGAIN)
            worst = e;
        if (e)
            say(ctx, why);
    }
    return ways->n ? 0 : worst;
}

static void say_aloud(void *ctx, const char *why)
{
    (void)ctx;
    pq_say("%s", why);
}

static void say_nothing(void *ctx, const char *why)
{
    (void)ctx;
    (void)why;
}

static int find_all(struct client *cl, bool again)
{
    struct client_ways ways;
    int e = pq_client_plan_ways(cl, cl->app.conf, NULL, START_PATIENCE, &ways,
                                again ? say_nothing : say_aloud, NULL);
    if (!e)
        pq_client_use_ways(cl, &ways);
    return e;
}

void pq_client_firewall(const struct pq_conf *c, const struct server_way *v, unsigned n,
                        struct pq_firewall_server *out)
{
    for (unsigned i = 0; i < n; i++)
        out[i] = (struct pq_firewall_server){v[i].addr, c->server[v[i].conf].ports};
}

void pq_client_use_ways(struct client *cl, const struct client_ways *ways)
{
    struct pq_app *app = &cl->app;
    memcpy(cl->way, ways->v, sizeof cl->way);
    cl->n_ways = ways->n;
    app->path = cl->way[0].path;
    memcpy(app->fw_conf.ifname, app->path.iface.name, sizeof app->fw_conf.ifname);
    app->hub.link_mtu = app->path.iface.mtu;
    app->fw_conf.client = true;
    app->fw_conf.n_servers = app->n_servers = cl->n_ways;
    pq_client_firewall(cl->app.conf, cl->way, cl->n_ways, app->fw_conf.server);
}

int pq_client_find_ways(struct client *cl)
{
    int e = find_all(cl, false);
    if (e == PQ_EAGAIN)
        PQ_LOG(PQ_LOG_WARN, "waiting for the network");
    while (e == PQ_EAGAIN) {
        e = pq_app_wait(NETWORK_EVERY) ? find_all(cl, true) : -EINTR;
    }
    return e;
}

unsigned pq_client_next_way(struct client *cl, unsigned way, bool stay)
{
    pthread_mutex_lock(&cl->way_lock);
    unsigned next = way;
    do
        next = (next + 1) % cl->n_ways;
    while (stay && cl->way[next].conf != cl->way[way].conf);
    pthread_mutex_unlock(&cl->way_lock);
    return next;
}

unsigned pq_client_way_of_server(struct client *cl, unsigned n)
{
    const unsigned servers = pq_client_count_servers(cl);
    unsigned way = 0;
    for (n = servers ? n % servers : 0; n; n--)
        for (unsigned conf = cl->way[way].conf; cl->way[way].conf == conf;)
            way++;
    return way;
}

unsigned pq_client_count_servers(struct client *cl)
{
    pthread_mutex_lock(&cl->way_lock);
    unsigned n = 0;
    for (unsigned i = 0; i < cl->n_ways; i++)
        n += i == 0 || cl->way[i].conf != cl->way[i - 1].conf;
    pthread_mutex_unlock(&cl->way_lock);
    return n;
}

/* Opens this worker's packet socket anew on the interface that the client uses now. */
static bool follow(struct client_worker *cw)
{
    struct pq_app *app = &cw->cl->app;
    const struct pq_iface *iface = &app->path.iface;
    struct pq_pktio *io;
    if (pq_app_open_io(app, &io))
        return false;
    pq_worker_change_io(&cw->w, io);
    struct pq_addr own[PQ_IFACE_ADDRS + 1];
    struct pq_link link = {.to.link_len = io->link_len,
                           .mtu = iface->mtu,
                           .runs = io->runs,
                           .splits = io->splits,
                           .own = own};
    for (size_t i = 0; i < iface->n; i++)
        own[link.n++] = iface->addr[i].ip;
    own[link.n++] = app->path.local;
    memcpy(link.to.local_mac, iface->mac, 6);
    memcpy(link.to.peer_mac, app->path.router_mac, 6);
    pq_hub_change_link(cw->w.hub, &link);
    cw->ifindex = app->path.iface.index;
    return true;
}

/* The server is reached through another interface now.  This worker goes there at once, others when
 * they open their next session. */
static bool move_to(struct client_worker *cw, const struct pq_path *path)
{
    struct pq_app *app = &cw->cl->app;
    struct pq_path old = app->path;
    app->path = *path;
    if (!follow(cw)) {
        app->path = old;
        return false;
    }
    cw->w.did.links++;
    PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST, "moving from %s to %s", old.iface.name, path->iface.name);
    pq_app_move_firewall(app, path->iface.name);
    return true;
}

/* The MTU may have changed, and nobody says so.  For this worker. */
static void note_mtu(struct client_worker *cw)
{
    const struct pq_iface *f = &cw->cl->app.path.iface;
    if (pq_hub_set_mtu(cw->w.hub, f->mtu))
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST, "the MTU of %s is %u now", f->name, f->mtu);
}

void pq_client_renew_mtu(struct client_worker *cw)
{
    struct pq_iface *f = &cw->cl->app.path.iface, now;
    pthread_mutex_lock(&cw->cl->way_lock);
    if (cw->ifindex == f->index && pq_iface_get(NULL, f->index, &now) == 0) {
        f->mtu = now.mtu;
        note_mtu(cw);
    }
    pthread_mutex_unlock(&cw->cl->way_lock);
}

void pq_client_renew_way(struct client_worker *cw, unsigned server, struct server_way *out)
{
    struct client *cl = cw->cl;
    struct pq_path path;
    char why[PQ_WHY_LEN];
    pthread_mutex_lock(&cl->way_lock);
    struct server_way *w = &cl->way[server];
    struct pq_addr before = w->path.local;
    if (pq_discover_client(cl->app.conf, &w->addr, RENEW_PATIENCE, &path, why)) {
        PQ_LOG_SOME(PQ_LOG_WARN, PQ_LOG_MOST, "%s", why); /* the old way may still be right */
    } else if (path.iface.index == cl->app.path.iface.index || move_to(cw, &path)) {
        w->path = path;
        cl->app.path.iface.mtu = path.iface.mtu;
    }
    if (cw->ifindex != cl->app.path.iface.index)
        follow(cw);
    else
        note_mtu(cw);
    if (!pq_addr_eq_ip(&w->path.local, &before))
        pq_app_tun_readdress(&cl->tun);
    *out = *w;
    pthread_mutex_unlock(&cl->way_lock);
}
