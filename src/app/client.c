/* SPDX-License-Identifier: MIT */
/* client.c - the client's life: workers, listeners, start and end. */
#include "app/client.h"

#include "entry/tun_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void on_stop(struct pq_worker *w)
{
    struct client_worker *cw = w->role;
    cw->stopping = true;
    pq_client_close_listeners(cw);
    pq_client_close_dns(cw);
    pq_tun_client_close(&cw->tun);
    if (cw->cl->probe.conf)
        pq_probe_stop(&cw->cl->probe);
    pq_client_stop_looking(cw);
    for (unsigned i = 0; i < cw->n_links; i++)
        uv_close((uv_handle_t *)&cw->links[i].timer, NULL);
}

static void on_too_long(struct pq_worker *w)
{
    pq_client_renew_mtu(w->role);
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

static int open_worker(struct client *cl, unsigned id)
{
    struct client_worker *cw = cl->cw[id] = calloc(1, sizeof *cw);
    struct pq_pktio *io;
    if (!cw)
        return PQ_ENOMEM;
    cw->cl = cl;
    for (unsigned i = 0; i < WAYS_MAX; i++)
        pq_client_forget(cw, i);
    for (unsigned i = 0; cl->app.conf->auto_look && i < cl->n_ways; i++)
        pq_client_recall_look(cw, i);
    pq_list_init(&cw->leases);
    int e = pq_app_open_io(&cl->app, &io);
    if (!e)
        e = pq_worker_init(&cw->w, id, io, &cl->app.hub, &pq_client_hub_events, cw);
    if (e)
        return e;
    cw->w.app = &cl->app;
    cw->ifindex = cl->app.path.iface.index;
    cw->w.on_stop = on_stop;
    cw->w.on_too_long = on_too_long;
    cw->w.front.open = pq_client_open;
    cw->w.front.alive = pq_client_alive;
    cw->w.front.open_ctx = cw;
    cw->w.front.max_udp_flows = pq_app_udp_flows_max(&cl->app);
    cw->w.front.split = cl->app.conf->split;
    if (cl->app.conf->tun.enabled)
        cw->w.front.outgoing = &cl->beside;
    cw->n_links = count_links(cl, id);
    cw->links = calloc(cw->n_links, sizeof *cw->links);
    if (!cw->links)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < cw->n_links; i++) {
        cw->links[i].cw = cw;
        cw->links[i].server = cl->app.conf->spread ? pq_client_way_of_server(cl, i) : 0;
        uv_timer_init(&cw->w.loop, &cw->links[i].timer);
        cw->links[i].timer.data = &cw->links[i];
    }
    return 0;
}

unsigned pq_client_handshakes(const struct client_worker *cw)
{
    unsigned n = 0;
    for (const struct link *k = cw->links; k < cw->links + cw->n_links; k++) {
        const struct lease *l = k->ses ? pq_session_user(k->ses) : NULL;
        n += l && l->by_keys && !pq_session_secure(k->ses);
    }
    return n;
}

static int start_worker(struct client_worker *cw)
{
    const bool probe = cw->cl->probe.conf != NULL;
    int e = 0;
    for (unsigned i = 0; !e && i < cw->n_links; i++) {
        if (i < CLIENT_AT_ONCE)
            e = pq_client_connect(&cw->links[i]);
        else
            pq_client_connect_later(&cw->links[i], (i + 1 - CLIENT_AT_ONCE) * CLIENT_APART_MS);
    }
    if (!e && probe)
        pq_probe_start(&cw->cl->probe, cw);
    const struct pq_app_tun *t = &cw->cl->tun;
    if (!e && t->open && cw->w.id == 0) {
        e = pq_tun_client_open(&cw->tun, &cw->w.front, t->dev.fd, t->dev.offload);
        if (e)
            pq_say("tun: the device cannot be used: %s", pq_strerror(e));
        if (!e)
            e = pq_client_open_dns(cw);
    }
    return e;
}

void pq_client_close(struct client *cl)
{
    for (unsigned i = 0; i < cl->app.n_workers; i++) {
        struct client_worker *cw = cl->cw[i];
        if (!cw)
            continue;
        cw->stopping = true;
        pq_client_close_listeners(cw);
        pq_client_close_dns(cw);
        pq_tun_client_close(&cw->tun);
        pq_worker_fini(&cw->w);
        free(cw->links);
        free(cw->sockets);
        free(cw);
        cl->cw[i] = NULL;
    }
    free(cl->listeners);
    cl->listeners = NULL;
    cl->n_listeners = 0;
    pq_tproxy_close(&cl->tproxy);
    pq_app_tun_close(&cl->tun);
    pq_firewall_close(&cl->app.fw);
}

void pq_client_take_down(struct client *cl)
{
    pq_client_close(cl);
    pthread_mutex_destroy(&cl->way_lock);
    pq_app_fini(&cl->app);
}

/* As many workers as there are sessions at most: one without would have no use. */
static int open_workers(struct client *cl, const struct pq_conf *c)
{
    unsigned sessions = 0;
    int e = 0;
    cl->app.hub.turns = cl->app.n_workers;
    cl->app.hub.port_fixed = cl->app.conf->own_port != 0;
    for (unsigned i = 0; !e && i < cl->app.n_workers; i++)
        e = open_worker(cl, i);
    for (unsigned i = 0; !e && i < cl->app.n_workers; i++)
        sessions += cl->cw[i]->n_links;
    if (sessions > (unsigned)c->conn)
        PQ_LOG(PQ_LOG_INFO,
               "spread: %u sessions instead of transport.conn: %ld, one to each server", sessions,
               c->conn);
    return e;
}

int pq_client_prepare(struct client *cl, struct pq_conf *c, const char *file)
{
    pthread_mutex_init(&cl->way_lock, NULL);
    cl->beside = (struct pq_outgoing){.mark = PQ_ROUTE_MARK};
    int e = pq_app_init(&cl->app, c, file);
    if (cl->app.n_workers > (unsigned)c->conn)
        cl->app.n_workers = (unsigned)c->conn;
    cl->app.reload = pq_client_reload;
    cl->app.reload_names = pq_client_reload_names;
    return e;
}

int pq_client_set_up(struct client *cl)
{
    struct client_listened listened;
    char why[PQ_WHY_LEN];
    const struct pq_conf *c = cl->app.conf;
    pq_app_open_firewall(&cl->app);
    if (c->own_port) /* a server may go on with a session of before */
        pq_app_cover_port(&cl->app, c->own_port, true);
    int e = open_workers(cl, c);
    if (!e)
        pq_app_say_firewall(&cl->app);
    if (!e)
        e = pq_app_tun_open(&cl->tun, c);
    if (!e && !cl->probe.conf && (e = pq_client_listen(cl, c, &listened, why)))
        pq_say("%s", why);
    return e;
}

int pq_client_start(struct client *cl, struct pq_worker **w)
{
    int e = 0;
    for (unsigned i = 0; !e && i < cl->app.n_workers; i++) {
        w[i] = &cl->cw[i]->w;
        e = start_worker(cl->cw[i]);
    }
    cl->app.w = w;
    return e;
}

static int run(struct pq_conf *c, const char *file, const struct pq_probe_conf *probe)
{
    static struct client cl;
    struct pq_worker *w[PQ_WORKERS_MAX];
    cl.probe.conf = probe;
    pq_tundev_sweep(); /* what a killed client has left may be in the way to a name server */
    int e = pq_client_prepare(&cl, c, file);
    if (!e)
        e = pq_client_find_ways(&cl);
    if (!e)
        e = pq_client_set_up(&cl);
    if (!e)
        e = pq_client_start(&cl, w);
    int code = e == -EINTR ? 0 : e ? 1 : pq_app_run(&cl.app, w, cl.app.n_workers);
    pq_client_take_down(&cl);
    return code;
}

int pq_client_run(struct pq_conf *c, const char *file)
{
    return c->n_tunnels ? pq_client_run_tunnels(c, file) : run(c, file, NULL);
}

int pq_client_probe(struct pq_conf *c, const struct pq_probe_conf *pc)
{
    free(c->control);
    c->control = strdup("off");
    c->tun.enabled = c->spread = false;
    c->conn = c->packet_workers = 1;
    c->own_port = 0;
    return c->control ? run(c, "", pc) : 1;
}
