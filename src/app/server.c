/* SPDX-License-Identifier: MIT */
/* server.c - the server: accepts sessions on one port and serves their streams. */
#include "app/server.h"

#include "app/decoy.h"
#include "exit/serve.h"
#include "exit/tun_server.h"
#include "tunnel/homes.h"
#include "tunnel/replay.h"
#include "tunnel/tickets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LEN (PQ_ADDR_STRLEN + 80)

/* ---- events of a worker's hub */

static void on_stream(void *ctx, struct pq_stream *st)
{
    struct pq_worker *w = ctx;
    pq_serve(&w->front, st);
}

static bool on_accept(void *ctx, const struct pq_segment *seg, struct pq_flow_conf *fc)
{
    struct pq_worker *w = ctx;
    struct server *s = w->role;
    const struct pq_conf_side *side = pq_addr_is4(&seg->src) ? &s->app.conf->v4 : &s->app.conf->v6;
    if (!pq_server_is_own(s, &seg->dst))
        return false;
    pq_server_mac(s, fc->local_mac);
    if (side->has_mac)
        memcpy(fc->peer_mac, side->mac, 6);
    else if (seg->src_mac)
        memcpy(fc->peer_mac, seg->src_mac, 6);
    fc->t0 = pq_app_t0();
    if (s->decoy)
        pq_decoy_exclude(s->decoy, &s->app, &seg->src);
    return true;
}

static void on_stranger(void *ctx, const struct pq_segment *syn)
{
    struct pq_worker *w = ctx;
    struct server *s = w->role;
    if (s->decoy && pq_server_is_own(s, &syn->dst))
        pq_decoy_take(s->decoy, &s->app, syn, w->now);
}

/* The client as the log names it: its address, and the user if it has keys. */
static const char *name_of(const struct pq_worker *w, const struct pq_session *ses,
                           char buf[NAME_LEN])
{
    const struct server *s = w->role;
    const unsigned who = pq_session_who(ses);
    const bool named = who < s->app.conf->n_users && s->app.conf->user[who].name;
    char peer[PQ_ADDR_STRLEN];
    pq_addr_str(pq_session_peer(ses), peer);
    snprintf(buf, NAME_LEN, "%s%s%s%s", peer, named ? " (" : "",
             named ? s->app.conf->user[who].name : "", named ? ")" : "");
    return buf;
}

static const char *with_which_key(const struct server *s, const struct pq_session *ses)
{
    if (!pq_session_key_before(ses))
        return "";
    return s->app.conf->over_quic ? ", with transport.quic.key_before"
                                  : ", with transport.kcp.key_before";
}

static void on_proven(void *ctx, struct pq_session *ses)
{
    struct pq_worker *w = ctx;
    char name[NAME_LEN];
    w->did.opened++;
    PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_CLIENTS, "client %s connected%s", name_of(ctx, ses, name),
                with_which_key(w->role, ses));
}

static void on_secured(void *ctx, struct pq_session *ses)
{
    char name[NAME_LEN];
    PQ_LOG(PQ_LOG_DEBUG, "client %s has keys of its own session", name_of(ctx, ses, name));
}

static void on_moved(void *ctx, struct pq_session *ses, bool ok)
{
    struct pq_worker *w = ctx;
    char name[NAME_LEN];
    (void)ok; /* always, on a server */
    w->did.moved++;
    PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST,
                "client %s goes on from there, another port or address than before",
                name_of(ctx, ses, name));
}

static void on_ended(void *ctx, struct pq_session *ses, int err)
{
    struct pq_worker *w = ctx;
    char name[NAME_LEN];
    w->did.ended += err != PQ_EREPLACED;
    if (err != PQ_EREPLACED)
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_CLIENTS, "client %s gone: %s", name_of(ctx, ses, name),
                    pq_strerror(err));
    pq_app_log_session(ses);
}

static void on_elsewhere(void *ctx, unsigned worker, const struct pq_frame *f)
{
    struct pq_worker *w = ctx;
    struct server *s = w->role;
    pq_worker_hand(s->w[worker], f);
}

static const struct pq_hub_events hub_events = {.stream = on_stream,
                                                .accept = on_accept,
                                                .proven = on_proven,
                                                .secured = on_secured,
                                                .moved = on_moved,
                                                .elsewhere = on_elsewhere,
                                                .stranger = on_stranger,
                                                .wall = pq_app_wall,
                                                .ended = on_ended};

/* ---- TUN, which is served by the only worker (the configuration sees to it) */

int pq_server_tun_users(const struct pq_conf *c, struct pq_tun_user **out, unsigned *n)
{
    *n = 0;
    for (unsigned i = 0; i < c->n_users; i++)
        *n += c->user[i].n_tun;
    struct pq_tun_user *u = *out = calloc(*n + 1, sizeof *u);
    for (unsigned i = 0; u && i < c->n_users; i++)
        for (unsigned k = 0; k < c->user[i].n_tun; k++)
            *u++ = (struct pq_tun_user){.who = i, .net = c->user[i].tun[k]};
    return *out ? 0 : PQ_ENOMEM;
}

static int open_tun(struct server *s)
{
    const struct pq_conf_tun *c = &s->app.conf->tun;
    int e = pq_app_tun_open(&s->tun, s->app.conf);
    if (e || !s->tun.open)
        return e;
    struct pq_tun_server_conf tc = {
        .fd = s->tun.dev.fd, .offload = s->tun.dev.offload, .nets = s->tun_nets};
    if (c->has4) {
        tc.own[tc.n_own++] = c->net4.ip;
        s->tun_nets[tc.n_nets++] = c->net4;
    }
    if (c->has6) {
        tc.own[tc.n_own++] = c->net6.ip;
        s->tun_nets[tc.n_nets++] = c->net6;
    }
    memcpy(s->tun_nets + tc.n_nets, c->routes, c->n_routes * sizeof c->routes[0]);
    tc.n_nets += c->n_routes;
    e = pq_server_tun_users(s->app.conf, &s->tun_users, &tc.n_user_nets);
    if (e)
        return e;
    tc.user_nets = s->tun_users;
    struct pq_front *f = &s->w[0]->front;
    e = pq_tun_server_open(&f->tun, f, &tc);
    if (e)
        pq_say("tun: the device cannot be served: %s", pq_strerror(e));
    return e;
}

static void on_stop(struct pq_worker *w)
{
    struct server *s = w->role;
    pq_tun_server_close(&w->front.tun);
    pq_server_unwatch(s, w);
}

static void on_too_long(struct pq_worker *w)
{
    pq_server_renew_link(w->role, w);
}

/* ---- life */

/* All workers join the fanout group before the port opens, so that no session starts on a worker
 * that a later one takes its packets from. */
static int open_workers(struct server *s)
{
    struct pq_app *app = &s->app;
    for (unsigned i = 0; i < app->n_workers; i++) {
        struct pq_pktio *io;
        int e = pq_app_open_io(app, &io);
        if (e)
            return e;
        s->w[i] = calloc(1, sizeof *s->w[i]);
        if (!s->w[i]) {
            pq_pktio_close(&io);
            return PQ_ENOMEM;
        }
        e = pq_worker_init(s->w[i], i, io, &app->hub, &hub_events, s);
        s->w[i]->app = app;
        s->w[i]->on_stop = on_stop;
        s->w[i]->has_strangers = app->conf->decoy;
        s->w[i]->on_too_long = on_too_long;
        s->w[i]->front.max_udp_flows = pq_app_udp_flows_max(app);
        if (e) {
            pq_say("a worker could not be started: %s", pq_strerror(e));
            return e;
        }
        pq_targets_use(&s->targets, &s->w[i]->front);
        pq_server_watch(s, s->w[i]);
    }
    const struct pq_range none = {0, 0};
    for (unsigned i = 0; i < app->n_workers && app->n_workers > 1; i++) {
        int e = pq_pktio_set_ports(s->w[i]->io, &none, 0);
        if (e) {
            pq_say("performance.packet_workers: the kernel refused to share the packets among %u "
                   "workers: %s",
                   app->n_workers, pq_strerror(e));
            return e;
        }
    }
    return 0;
}

static int open_decoy(struct server *s)
{
    struct pq_rng rng;
    pq_rng_init(&rng);
    s->app.fw_conf.decoy = true;
    const int e = pq_decoy_new(&s->decoy, pq_rng_u64(&rng));
    if (e)
        pq_say("listen.decoy: no raw socket: %s", pq_strerror(e));
    else
        PQ_LOG(PQ_LOG_INFO, "connections of strangers to the port are given to this machine");
    return e;
}

static int hold_ports(struct server *s)
{
    const struct pq_range *r = &s->app.conf->own_ports;
    char why[PQ_WHY_LEN];
    if (s->app.conf->decoy && !pq_server_ports_given(r, why))
        return open_decoy(s); /* another program has it, or some of them */
    int e = pq_server_ports_hold(&s->ports, r, why);
    if (e == -EACCES) {
        PQ_LOG(PQ_LOG_WARN,
               "port %u could not be reserved (no CAP_NET_BIND_SERVICE): another "
               "program could take it too",
               r->from);
        e = 0;
    }
    if (e)
        pq_say("%s: %s", pq_range_size(r) > 1 ? "listen.addr" : "listen.addr, network.*.addr", why);
    return e;
}

static int open_ports(struct server *s)
{
    const struct pq_range *r = &s->app.conf->own_ports;
    char text[PQ_RANGE_STRLEN];
    for (unsigned i = 0; i < s->app.n_workers; i++) {
        int e = pq_pktio_set_ports(s->w[i]->io, r, 1);
        if (e) {
            pq_say("the packet filter for port %s was refused: %s", pq_range_str(r, text),
                   pq_strerror(e));
            return e;
        }
    }
    PQ_LOG(PQ_LOG_INFO, "listening on port %s of %s", pq_range_str(r, text),
           s->app.path.iface.name);
    return 0;
}

static void close_all(struct server *s)
{
    pq_server_keys_stop(&s->keys); /* its thread wakes workers */
    for (unsigned i = 0; i < s->app.n_workers; i++) {
        if (s->w[i]) {
            pq_tun_server_close(&s->w[i]->front.tun);
            pq_worker_fini(s->w[i]);
        }
        free(s->w[i]);
    }
    pq_app_tun_close(&s->tun);
    free(s->tun_users);
    pq_targets_free(&s->targets);
    pq_decoy_free(&s->decoy);
    pq_ports_release(&s->ports);
    pq_server_keys_close(&s->keys);
    pq_tickets_free(&s->tickets);
    pq_replay_free(&s->replay);
    pq_homes_free(&s->homes);
    pq_app_fini(&s->app);
}

/* All workers remember the same openings of sessions, and know whose a session is that moves. */
static int make_common(struct server *s)
{
    struct pq_rng rng;
    pq_rng_init(&rng);
    int e = pq_replay_new(&s->replay, pq_rng_u64(&rng));
    if (!e && s->app.n_workers > 1)
        e = pq_homes_new(&s->homes, pq_rng_u64(&rng));
    if (!e && s->app.hub.quic.early)
        e = pq_tickets_new(&s->tickets, &rng);
    s->app.hub.tickets = s->tickets;
    s->app.hub.replay = s->replay;
    s->app.hub.homes = s->homes;
    return e;
}

/* Answers that waited for the disk may go. */
static void on_saved(void *ctx)
{
    struct server *s = ctx;
    for (unsigned i = 0; i < s->app.n_workers; i++)
        pq_worker_wake(s->w[i]);
}

/* At boot the interface may not be up yet. */
static int wait_for_link(struct server *s, char why[PQ_WHY_LEN])
{
    int e = pq_discover_server(s->app.conf, &s->app.path, why);
    if (e == PQ_EAGAIN)
        pq_say("%s; waiting for it", why);
    while (e == PQ_EAGAIN) {
        e = pq_app_wait(1) ? pq_discover_server(s->app.conf, &s->app.path, why) : -EINTR;
    }
    return e;
}

int pq_server_run(struct pq_conf *c, const char *file)
{
    static struct server s;
    char why[PQ_WHY_LEN];
    s.ports.port.fd4 = s.ports.port.fd6 = s.ports.mark = -1;
    pthread_mutex_init(&s.link_lock, NULL);
    if (pq_app_init(&s.app, c, file) || make_common(&s)) {
        close_all(&s);
        return 1;
    }
    s.app.reload = pq_server_reload;
    s.app.away = pq_server_is_away;
    const bool fixed_mac = c->v4.has_mac || c->v6.has_mac;
    s.app.hub.learn_mac = !fixed_mac;
    int e = wait_for_link(&s, why);
    if (!e)
        e = pq_targets_init(&s.targets, c, why);
    if (e && e != -EINTR) {
        pq_say("%s", why);
    } else if (!e) {
        s.app.hub.link_mtu = s.app.path.iface.mtu;
        s.app.fw_conf.ports = c->own_ports;
        memcpy(s.app.fw_conf.ifname, s.app.path.iface.name, sizeof s.app.fw_conf.ifname);
        pq_server_note_own(&s);
        e = hold_ports(&s);
    }
    if (!e) /* first of all: until then the kernel answers clients that the server of before had */
        pq_app_open_firewall(&s.app);
    if (!e)
        e = pq_server_keys_open(&s.keys, &s.app, on_saved, &s);
    if (!e)
        e = open_workers(&s);
    if (!e) {
        pq_app_say_firewall(&s.app);
        e = open_tun(&s);
    }
    if (!e)
        e = open_ports(&s);
    int code = e == -EINTR ? 0 : e ? 1 : pq_app_run(&s.app, s.w, s.app.n_workers);
    close_all(&s);
    return code;
}
