/* SPDX-License-Identifier: MIT */
/* client.c - the client's life: workers, listeners, start and end. */
#include "app/client.h"

#include "entry/forward.h"
#include "entry/proxy.h"
#include "entry/tun_client.h"
#include "entry/udp_port.h"

#include <stdlib.h>

static void close_listeners(struct client_worker *cw)
{
    for (unsigned i = 0; i < PQ_CONF_SOCKS_MAX; i++)
        pq_proxy_close(&cw->proxies[i]);
    for (unsigned i = 0; i < PQ_CONF_FORWARD_MAX; i++)
        pq_forward_close(&cw->forwards[i]);
    for (unsigned i = 0; i < PQ_CONF_FORWARD_MAX; i++)
        pq_udp_port_close(&cw->udp_ports[i]);
}

static void on_stop(struct pq_worker *w)
{
    struct client_worker *cw = w->role;
    cw->stopping = true;
    close_listeners(cw);
    pq_tun_client_close(&cw->tun);
    pq_client_stop_looking(cw);
    for (unsigned i = 0; i < cw->n_links; i++)
        uv_close((uv_handle_t *)&cw->links[i].timer, NULL);
}

static void on_too_long(struct pq_worker *w)
{
    pq_client_renew_mtu(w->role);
}

static int cannot_listen(const char *list, unsigned i, const struct pq_addr *a, int e)
{
    char addr[PQ_ADDR_STRLEN];
    pq_say("%s[%u].listen: cannot listen on %s: %s", list, i, pq_addr_str(a, addr), pq_strerror(e));
    return e;
}

static int open_proxies(struct client_worker *cw)
{
    const struct pq_conf *c = cw->cl->app.conf;
    char addr[PQ_ADDR_STRLEN];
    for (unsigned i = 0; i < c->n_socks5; i++) {
        const struct pq_conf_socks5 *s = &c->socks5[i];
        struct pq_proxy_conf pc = {.listen = s->addr,
                                   .username = s->username ? s->username : "",
                                   .password = s->password ? s->password : "",
                                   .real_reply = s->real_reply,
                                   .share_port = cw->cl->app.n_workers > 1};
        int e = pq_proxy_open(&cw->proxies[i], &cw->w.front, &pc);
        if (e)
            return cannot_listen("socks5", i, &s->addr, e);
        if (cw->w.id == 0)
            PQ_LOG(PQ_LOG_INFO, "SOCKS and HTTP proxy on %s", pq_addr_str(&s->addr, addr));
    }
    return 0;
}

static int open_forward(struct client_worker *cw, unsigned i)
{
    const struct pq_conf_forward *f = &cw->cl->app.conf->forward[i];
    bool share = cw->cl->app.n_workers > 1;
    if (f->udp) {
        struct pq_udp_port_conf uc = {
            .bind = f->addr, .host = f->host, .port = f->port, .share_port = share};
        return pq_udp_port_open(&cw->udp_ports[i], &cw->w.front, &uc);
    }
    struct pq_forward_conf fc = {
        .listen = f->addr, .host = f->host, .port = f->port, .share_port = share};
    return pq_forward_open(&cw->forwards[i], &cw->w.front, &fc);
}

static int open_forwards(struct client_worker *cw)
{
    const struct pq_conf *c = cw->cl->app.conf;
    char addr[PQ_ADDR_STRLEN];
    for (unsigned i = 0; i < c->n_forward; i++) {
        const struct pq_conf_forward *f = &c->forward[i];
        int e = open_forward(cw, i);
        if (e)
            return cannot_listen("forward", i, &f->addr, e);
        if (cw->w.id == 0)
            PQ_LOG(PQ_LOG_INFO, "%s to %s goes to %s:%u", f->udp ? "UDP" : "TCP",
                   pq_addr_str(&f->addr, addr), f->host, f->port);
    }
    return 0;
}

/* Sessions of one worker: its part of transport.conn, but where streams are spread at least one to
 * each server, since streams cannot go to another worker's. */
static unsigned count_links(struct client *cl, unsigned id)
{
    const unsigned conn = (unsigned)cl->app.conf->conn, n = cl->app.n_workers;
    const unsigned part = conn / n + (id < conn % n);
    const unsigned servers = pq_client_count_servers(cl);
    return cl->app.conf->spread && part < servers ? servers : part;
}

/* The first way to the n-th server, counted around. */
static unsigned way_of_server(struct client *cl, unsigned n)
{
    unsigned way = 0;
    for (n %= pq_client_count_servers(cl); n; n--)
        for (unsigned conf = cl->way[way].conf; cl->way[way].conf == conf;)
            way++;
    return way;
}

static int open_worker(struct client *cl, unsigned id)
{
    struct client_worker *cw = cl->cw[id] = calloc(1, sizeof *cw);
    struct pq_pktio *io;
    if (!cw)
        return PQ_ENOMEM;
    cw->cl = cl;
    for (unsigned i = 0; i < WAYS_MAX; i++)
        pq_client_forget(cw, i);
    pq_list_init(&cw->leases);
    int e = pq_app_open_io(&cl->app, &io);
    if (!e)
        e = pq_worker_init(&cw->w, id, io, &cl->app.hub, &pq_client_hub_events, cw);
    if (e)
        return e;
    cw->ifindex = cl->app.path.iface.index;
    cw->w.on_stop = on_stop;
    cw->w.on_too_long = on_too_long;
    cw->w.front.open = pq_client_open;
    cw->w.front.alive = pq_client_alive;
    cw->w.front.open_ctx = cw;
    cw->w.front.max_udp_flows = (unsigned)cl->app.conf->max_udp_flows;
    cw->n_links = count_links(cl, id);
    cw->links = calloc(cw->n_links, sizeof *cw->links);
    if (!cw->links)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < cw->n_links; i++) {
        cw->links[i].cw = cw;
        cw->links[i].server = cl->app.conf->spread ? way_of_server(cl, i) : 0;
        uv_timer_init(&cw->w.loop, &cw->links[i].timer);
        cw->links[i].timer.data = &cw->links[i];
    }
    return 0;
}

static int start_worker(struct client_worker *cw)
{
    int e = open_proxies(cw);
    if (!e)
        e = open_forwards(cw);
    for (unsigned i = 0; !e && i < cw->n_links; i++)
        e = pq_client_connect(&cw->links[i]);
    const struct pq_app_tun *t = &cw->cl->tun;
    if (!e && t->open && cw->w.id == 0) {
        e = pq_tun_client_open(&cw->tun, &cw->w.front, t->dev.fd, t->dev.offload);
        if (e)
            pq_say("tun: the device cannot be used: %s", pq_strerror(e));
    }
    return e;
}

static void close_all(struct client *cl)
{
    for (unsigned i = 0; i < cl->app.n_workers; i++) {
        struct client_worker *cw = cl->cw[i];
        if (!cw)
            continue;
        cw->stopping = true;
        close_listeners(cw);
        pq_tun_client_close(&cw->tun);
        pq_worker_fini(&cw->w);
        free(cw->links);
        free(cw);
    }
    pq_app_tun_close(&cl->tun);
    pq_app_fini(&cl->app);
}

int pq_client_run(struct pq_conf *c)
{
    static struct client cl;
    struct pq_worker *w[64];
    pq_tundev_sweep(); /* what a killed client has left may be in the way to a name server */
    int e = pq_app_init(&cl.app, c);
    if (cl.app.n_workers > (unsigned)c->conn)
        cl.app.n_workers = (unsigned)c->conn; /* a worker without a session would have no use */
    if (!e)
        e = pq_client_find_ways(&cl);
    cl.app.hub.turns = cl.app.n_workers;
    for (unsigned i = 0; !e && i < cl.app.n_workers; i++)
        e = open_worker(&cl, i);
    unsigned sessions = 0;
    for (unsigned i = 0; !e && i < cl.app.n_workers; i++)
        sessions += cl.cw[i]->n_links;
    if (sessions > (unsigned)c->conn)
        PQ_LOG(PQ_LOG_INFO,
               "spread: %u sessions instead of transport.conn: %ld, one to each server", sessions,
               c->conn);
    if (!e)
        pq_app_open_firewall(&cl.app);
    if (!e)
        e = pq_app_tun_open(&cl.tun, c);
    for (unsigned i = 0; !e && i < cl.app.n_workers; i++) {
        w[i] = &cl.cw[i]->w;
        e = start_worker(cl.cw[i]);
    }
    int code = e == -EINTR ? 0 : e ? 1 : pq_app_run(w, cl.app.n_workers);
    close_all(&cl);
    return code;
}
