/* SPDX-License-Identifier: MIT */
/* client.c - the client: keeps sessions to the server and gives streams to the listeners. */
#include "app/client.h"

#include "front/socks5.h"
#include "os/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* When new requests go to a fresh session: nothing at all came for so long (keepalives come every
 * 2 s), a request got no answer for so long, or the first PING got none. */
#define SILENCE_MAX  (2500 * PQ_MS)
#define ANSWER_MAX   (2 * PQ_SEC)
#define GREET_MAX    (5 * PQ_SEC)
#define RECONNECT_MS 200U
#define PORT_TRIES   100

/* ---- sessions */

static int set_filter(struct client_worker *cw)
{
    uint16_t ports[PQ_IO_PORTS_MAX];
    size_t n = 0;
    for (struct pq_list *l = cw->leases.next; l != &cw->leases && n < PQ_IO_PORTS_MAX; l = l->next)
        ports[n++] = PQ_OF(l, struct lease, node)->port;
    return pq_pktio_set_ports(cw->w.io, ports, n);
}

static void lease_free(struct lease *l)
{
    struct client_worker *cw = l->cw;
    pq_list_remove(&l->node);
    pq_app_cover_port(&cw->cl->app, l->port, false);
    pq_port_release(&l->reserved);
    free(l);
    set_filter(cw);
}

/* Takes the configured port or, if there is none, a free random one of 32768..65535 [1.4]. */
static int take_port(struct client_worker *cw, struct lease *l)
{
    uint16_t fixed = cw->cl->app.conf->own_port;
    int e = -EADDRINUSE;
    for (int i = 0; i < PORT_TRIES && e == -EADDRINUSE; i++) {
        l->port = fixed ? fixed : (uint16_t)(32768 + pq_rng_u32(&cw->w.rng) % 32768);
        e = pq_port_reserve(&l->reserved, l->port);
        if (fixed)
            break;
    }
    if (e == -EADDRINUSE && fixed)
        pq_say("port %u is in use by another program (another paqet client?); change "
               "network.*.addr or use port 0",
               fixed);
    else if (e)
        pq_say("no local port could be had: %s", pq_strerror(e));
    return e;
}

static int connect_link(struct link *k)
{
    struct client_worker *cw = k->cw;
    struct pq_app *app = &cw->cl->app;
    struct lease *l = calloc(1, sizeof *l);
    if (!l)
        return PQ_ENOMEM;
    l->cw = cw;
    l->link = k;
    l->since = cw->w.now;
    pq_list_init(&l->node);
    int e = take_port(cw, l);
    if (e) {
        free(l);
        return e;
    }
    pq_app_cover_port(app, l->port, true);
    pq_list_push(&cw->leases, &l->node);
    e = set_filter(cw);
    struct pq_flow_conf fc = {.local = app->path.local, .peer = cw->cl->server, .t0 = pq_app_t0()};
    fc.local.port = l->port;
    fc.link_len = cw->w.io->link_len;
    memcpy(fc.local_mac, app->path.iface.mac, 6);
    memcpy(fc.peer_mac, app->path.router_mac, 6);
    if (!e)
        e = pq_hub_connect(cw->w.hub, &k->ses, &fc, l, cw->w.now);
    if (e) {
        PQ_LOG(PQ_LOG_ERROR, "no session could be opened: %s", pq_strerror(e));
        lease_free(l);
        k->ses = NULL;
        return e;
    }
    char server[PQ_ADDR_STRLEN];
    PQ_LOG(PQ_LOG_INFO, "session to %s from port %u", pq_addr_str(&cw->cl->server, server),
           l->port);
    pq_client_greet(cw, l, k->ses);
    return 0;
}

static void on_reconnect(uv_timer_t *t)
{
    struct link *k = t->data;
    k->cw->w.now = pq_clock();
    if (!k->ses && connect_link(k))
        uv_timer_start(t, on_reconnect, UINT64_C(5) * RECONNECT_MS, 0);
}

static void on_ended(void *ctx, struct pq_session *ses, int err)
{
    struct pq_worker *w = ctx;
    struct client_worker *cw = w->role;
    struct lease *l = pq_session_user(ses);
    struct link *k = l->link;
    PQ_LOG(err == PQ_ECLOSED ? PQ_LOG_INFO : PQ_LOG_WARN, "session from port %u ended: %s", l->port,
           err == PQ_ETIMEOUT ? "the server did not answer" : pq_strerror(err));
    pq_app_log_session(ses);
    lease_free(l);
    if (k->ses != ses)
        return; /* it had been replaced */
    k->ses = NULL;
    if (!cw->stopping)
        uv_timer_start(&k->timer, on_reconnect, RECONNECT_MS, 0);
}

static void on_stream(void *ctx, struct pq_stream *st)
{
    (void)ctx; /* servers open no streams: not owned, and so closed */
    (void)st;
}

static bool on_accept(void *ctx, const struct pq_segment *seg, struct pq_flow_conf *fc)
{
    (void)ctx;
    (void)seg;
    (void)fc;
    return false; /* never asked on a client */
}

static const struct pq_hub_events hub_events = {on_stream, on_accept, on_ended};

/* ---- streams for the listeners */

/* Why the session should get no more requests, or NULL.  Its streams live on until its own
 * time-out, and go on if the server answers again. */
static const char *why_stale(const struct client_worker *cw, struct pq_session *ses)
{
    const struct lease *l = pq_session_user(ses);
    pq_ns now = cw->w.now, asked = pq_session_asked(ses);
    if (now > pq_session_heard(ses) + SILENCE_MAX)
        return "is silent";
    if (asked && now > asked + ANSWER_MAX)
        return "does not answer requests";
    if (!l->greeted && now > l->since + GREET_MAX)
        return "does not answer the first PING";
    return NULL;
}

/* The next session in turn that can be used; makes one if need be. */
static struct pq_session *pick_session(struct client_worker *cw)
{
    for (unsigned i = 0; i < cw->n_links; i++) {
        struct link *k = &cw->links[cw->next_link];
        cw->next_link = (cw->next_link + 1) % cw->n_links;
        const char *why = k->ses ? why_stale(cw, k->ses) : NULL;
        if (why) {
            struct pq_session *old = k->ses;
            const struct lease *l = pq_session_user(old);
            PQ_LOG(PQ_LOG_WARN, "the server %s: opening a fresh session", why);
            if (!l->greeted)
                pq_client_forget(cw);
            k->ses = NULL;
            if (cw->cl->app.conf->own_port)
                pq_session_end(old, PQ_ETIMEOUT); /* both would need the one port */
        }
        if (k->ses || connect_link(k) == 0)
            return k->ses;
    }
    return NULL;
}

static struct pq_stream *open_stream(void *ctx, const char *host, uint16_t port,
                                     const struct pq_stream_events *ev, void *evctx)
{
    struct client_worker *cw = ctx;
    struct pq_request req = {.type = PQ_REQ_TCP, .port = port};
    if (strlen(host) > PQ_HOST_MAX)
        return NULL;
    memcpy(req.host, host, strlen(host) + 1);
    cw->w.now = pq_clock();
    struct pq_session *ses = pick_session(cw);
    struct pq_stream *st = ses ? pq_session_open(ses, ev, evctx) : NULL;
    if (st)
        pq_session_expect(ses, cw->w.now);
    if (st && pq_client_ask(cw, st, &req)) {
        pq_stream_abort(st);
        st = NULL;
    }
    return st;
}

/* ---- life */

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
    cw->family = cl->app.conf->header;
    pq_list_init(&cw->leases);
    int e = pq_app_open_io(&cl->app, &io);
    if (!e)
        e = pq_worker_init(&cw->w, id, io, &cl->app.hub, &hub_events, cw);
    if (e)
        return e;
    cw->w.on_stop = on_stop;
    cw->w.front.open = open_stream;
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
        e = connect_link(&cw->links[i]);
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

/* The way to the server, and the firewall's narrow rule for it. */
static int find_way(struct client *cl)
{
    struct pq_app *app = &cl->app;
    char why[PQ_WHY_LEN];
    if (pq_discover_resolve(app->conf, &cl->server, why) ||
        pq_discover_client(app->conf, &cl->server, &app->path, why)) {
        pq_say("%s", why);
        return PQ_EINVAL;
    }
    memcpy(app->fw_conf.ifname, app->path.iface.name, sizeof app->fw_conf.ifname);
    app->hub.link_mtu = app->path.iface.mtu;
    app->fw_conf.client = true;
    app->fw_conf.server = cl->server;
    return 0;
}

int pq_client_run(const struct pq_conf *c)
{
    static struct client cl;
    struct pq_worker *w[64];
    int e = pq_app_init(&cl.app, c);
    if (cl.app.n_workers > (unsigned)c->conn)
        cl.app.n_workers = (unsigned)c->conn; /* a worker without a session would have no use */
    if (!e)
        e = find_way(&cl);
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
