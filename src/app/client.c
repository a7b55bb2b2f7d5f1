/* SPDX-License-Identifier: MIT */
/* client.c - the client's life: workers, listeners, start and end. */
#include "app/client.h"

#include "front/socks5.h"

#include <stdlib.h>

static void on_stop(struct pq_worker *w)
{
    struct client_worker *cw = w->role;
    cw->stopping = true;
    for (unsigned i = 0; i < cw->cl->app.conf->n_socks5; i++)
        pq_socks5_close(&cw->socks5[i]);
    for (unsigned i = 0; i < cw->n_links; i++)
        uv_close((uv_handle_t *)&cw->links[i].timer, NULL);
}

static int open_listeners(struct client_worker *cw)
{
    const struct pq_conf *c = cw->cl->app.conf;
    char addr[PQ_ADDR_STRLEN];
    for (unsigned i = 0; i < c->n_socks5; i++) {
        const struct pq_conf_socks5 *s = &c->socks5[i];
        struct pq_socks5_conf sc = {.listen = s->addr,
                                    .username = s->username ? s->username : "",
                                    .password = s->password ? s->password : "",
                                    .real_reply = s->real_reply,
                                    .share_port = cw->cl->app.n_workers > 1};
        int e = pq_socks5_open(&cw->socks5[i], &cw->w.front, &sc);
        if (e) {
            pq_say("socks5[%u].listen: cannot listen on %s: %s", i, pq_addr_str(&s->addr, addr),
                   pq_strerror(e));
            return e;
        }
        if (cw->w.id == 0)
            PQ_LOG(PQ_LOG_INFO, "SOCKS5 proxy on %s", pq_addr_str(&s->addr, addr));
    }
    return 0;
}

static int open_worker(struct client *cl, unsigned id)
{
    struct client_worker *cw = cl->cw[id] = calloc(1, sizeof *cw);
    struct pq_pktio *io;
    if (!cw)
        return PQ_ENOMEM;
    cw->cl = cl;
    for (unsigned i = 0; i < cl->n_servers; i++)
        pq_client_forget(cw, i);
    pq_list_init(&cw->leases);
    int e = pq_app_open_io(&cl->app, &io);
    if (!e)
        e = pq_worker_init(&cw->w, id, io, &cl->app.hub, &pq_client_hub_events, cw);
    if (e)
        return e;
    cw->w.on_stop = on_stop;
    cw->w.front.open = pq_client_open;
    cw->w.front.open_ctx = cw;
    unsigned conn = (unsigned)cl->app.conf->conn, n = cl->app.n_workers;
    cw->n_links = conn / n + (id < conn % n);
    cw->links = calloc(cw->n_links, sizeof *cw->links);
    if (!cw->links)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < cw->n_links; i++) {
        cw->links[i].cw = cw;
        uv_timer_init(&cw->w.loop, &cw->links[i].timer);
        cw->links[i].timer.data = &cw->links[i];
    }
    return 0;
}

static int start_worker(struct client_worker *cw)
{
    int e = open_listeners(cw);
    for (unsigned i = 0; !e && i < cw->n_links; i++)
        e = pq_client_connect(&cw->links[i]);
    return e;
}

static void close_all(struct client *cl)
{
    for (unsigned i = 0; i < cl->app.n_workers; i++) {
        struct client_worker *cw = cl->cw[i];
        if (!cw)
            continue;
        cw->stopping = true;
        for (unsigned j = 0; j < cl->app.conf->n_socks5; j++)
            pq_socks5_close(&cw->socks5[j]);
        pq_worker_fini(&cw->w);
        free(cw->links);
        free(cw);
    }
    pq_app_fini(&cl->app);
}

int pq_client_run(const struct pq_conf *c)
{
    static struct client cl;
    struct pq_worker *w[64];
    int e = pq_app_init(&cl.app, c);
    if (cl.app.n_workers > (unsigned)c->conn)
        cl.app.n_workers = (unsigned)c->conn; /* a worker without a session would have no use */
    if (!e)
        e = pq_client_find_ways(&cl);
    for (unsigned i = 0; !e && i < cl.app.n_workers; i++)
        e = open_worker(&cl, i);
    if (!e)
        pq_app_open_firewall(&cl.app);
    for (unsigned i = 0; !e && i < cl.app.n_workers; i++) {
        w[i] = &cl.cw[i]->w;
        e = start_worker(cl.cw[i]);
    }
    int code = e ? 1 : pq_app_run(w, cl.app.n_workers);
    close_all(&cl);
    return code;
}
