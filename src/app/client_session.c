/* SPDX-License-Identifier: MIT */
/* client_session.c - keeps sessions to the server and gives streams of them to the listeners. */
#include "app/client.h"

#include "app/passed.h"
#include "app/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* When new requests go to a fresh session: nothing at all came for so long (acknowledgements of
 * our NOPs come every 2 s at least), a request got no answer for so long, or the first PING got
 * none. */
#define SILENCE_MAX  (2500 * PQ_MS)
#define ANSWER_MAX   (2 * PQ_SEC)
#define GREET_MAX    (5 * PQ_SEC)
#define RECONNECT_MS 200U
#define FORGOTTEN    (10 * PQ_SEC) /* silence of a session beside the one that has its place */
#define MOVE_MAX     (700 * PQ_MS) /* a move may go unanswered, or so many round trips */
#define MOVE_RTTS    3
#define RETRY_MAX    (30 * PQ_SEC) /* spread: how long a server has for the first answer */

/* ---- sessions */

static void lease_free(struct lease *l)
{
    struct client_worker *cw = l->cw;
    pq_list_remove(&l->node);
    pq_client_free_port(cw, &l->port);
    pq_client_free_port(cw, &l->next);
    pq_client_free_port(cw, &l->last);
    for (unsigned k = 0; k < PQ_TRAINS; k++)
        pq_client_free_port(cw, &l->train[k]);
    free(l);
    pq_client_filter(cw);
}

/* The server answers the session that has its place, but not this one: it does not know it. */
static bool is_forgotten(const struct lease *l)
{
    const struct pq_session *next = l->link->ses;
    const struct lease *nl = next ? pq_session_user(next) : NULL;
    return nl && nl->greeted && nl->server == l->server &&
           pq_session_heard(next) > pq_session_heard(l->ses) + FORGOTTEN;
}

/* Ends sessions that were replaced and carry nothing more, or never will. */
static void end_replaced(struct client_worker *cw)
{
    for (struct pq_list *n = cw->leases.next, *next; n != &cw->leases; n = next) {
        struct lease *l = PQ_OF(n, struct lease, node);
        next = n->next;
        if (!l->ses || l->link->ses == l->ses)
            continue;
        if (pq_session_streams(l->ses) == 0)
            pq_session_end(l->ses, PQ_ECLOSED);
        else if (is_forgotten(l))
            pq_session_end(l->ses, PQ_ETIMEOUT);
    }
}

static void give_up(struct link *k, const char *why);
static void on_reconnect(uv_timer_t *t);
static void on_greet_limit(uv_timer_t *t);

/* A session that has its keys, but has got no answer under them yet.  The server may have had to
 * forget it, which happens to the oldest where one user begins many at once [12.2]. */
static void await_first(struct link *k, const struct lease *l, pq_ns now)
{
    struct pq_kcp_stats st;
    pq_session_stats(l->ses, &st);
    if (!l->by_keys || st.srtt)
        return;
    const bool late = now > pq_session_heard(l->ses) + SILENCE_MAX;
    if (late)
        give_up(k, "does not know the session that it has begun");
    uv_timer_start(&k->timer, late ? on_reconnect : on_greet_limit, late ? 0 : PQ_SEC / PQ_MS, 0);
}

/* The server takes our packets but has not answered the first PING: it waits for the rest of what
 * it takes for another header [8.1]. */
static void on_greet_limit(uv_timer_t *t)
{
    struct link *k = t->data;
    const struct lease *l = k->ses ? pq_session_user(k->ses) : NULL;
    pq_ns now = k->cw->w.now = pq_clock();
    if (l && l->greeted)
        await_first(k, l, now);
    if (!l || l->greeted)
        return;
    if (k->cw->cl->app.conf->auto_look && l->by_keys) {
        pq_session_end(k->ses, PQ_ETIMEOUT); /* the other look has its turn */
        return;
    }
    if (now > pq_session_heard(k->ses) + SILENCE_MAX)
        return;
    PQ_LOG_SOME(PQ_LOG_WARN, PQ_LOG_MOST, "the server does not answer the first %s%s",
                l->by_keys ? "message" : "PING",
                k->cw->cl->app.conf->header ? ": is transport.header its family? use auto" : "");
    pq_client_forget(k->cw, l->server);
    pq_session_end(k->ses, PQ_EFAMILY);
}

static void fill_flow(const struct client_worker *cw, const struct server_way *way, uint16_t port,
                      struct pq_flow_conf *fc)
{
    *fc = (struct pq_flow_conf){.local = way->path.local, .peer = way->addr, .t0 = pq_app_t0()};
    fc->local.port = port;
    fc->link_len = cw->w.io->link_len;
    memcpy(fc->local_mac, way->path.iface.mac, 6);
    memcpy(fc->peer_mac, way->path.router_mac, 6);
}

static const struct {
    const char *what; /* for the log */
    uint16_t flags;
} tries[TRIES] = {
    [TRY_PLAUSIBLE] = {"packets in mid-connection", 0},
    [TRY_CONNECT] = {"a connection from its handshake on", 0},
    [TRY_ACK] = {"packets without the flag PSH", PQ_TCP_ACK},
    [TRY_SYN] = {"packets with the flag SYN alone, as of beginning connections", PQ_TCP_SYN},
    [TRY_SYN_ACK] = {"packets with the flags SYN and ACK, as of answers to such",
                     PQ_TCP_SYN | PQ_TCP_ACK},
};

static enum client_try how_to_begin(const struct client_worker *cw, const struct lease *l)
{
    if (!l->by_keys)
        return TRY_PLAUSIBLE;
    return cw->cl->app.conf->look == PQ_LOOK_CONNECT ? TRY_CONNECT : cw->known[l->server].how;
}

/* Flags that are configured stay. */
static enum client_try last_try(const struct pq_conf *c)
{
    return c->local_flag_text.n || c->remote_flag_text.n ? TRY_CONNECT : TRY_SYN_ACK;
}

static enum client_try next_try(const struct pq_conf *c, enum client_try how)
{
    return how >= last_try(c) ? TRY_PLAUSIBLE : (enum client_try)(how + 1);
}

static const char *passed_path(const struct pq_conf *c)
{
    return c->state && *c->state ? c->state : PQ_STATE_FOLDER "/passed";
}

/* As the configuration names it. */
static struct pq_addr addr_of(struct client *cl, unsigned server)
{
    pthread_mutex_lock(&cl->way_lock);
    const struct pq_addr a = cl->way[server].addr;
    pthread_mutex_unlock(&cl->way_lock);
    return a;
}

void pq_client_recall_look(struct client_worker *cw, unsigned server)
{
    const struct pq_conf *c = cw->cl->app.conf;
    const struct pq_addr a = addr_of(cw->cl, server);
    struct pq_passed p;
    pq_passed_load(passed_path(c), &p);
    const unsigned how = pq_passed_of(&p, &a, pq_app_wall(NULL));
    if (how > last_try(c))
        return;
    cw->known[server].how = cw->known[server].kept = (enum client_try)how;
    if (how)
        PQ_LOG(PQ_LOG_INFO, "network.tcp.look: auto: beginning with %s, as it passed last time",
               tries[how].what);
}

static void keep_look(const struct lease *l)
{
    struct client *cl = l->cw->cl;
    struct known *k = &l->cw->known[l->server];
    const struct pq_addr a = addr_of(cl, l->server);
    const char *path = passed_path(cl->app.conf);
    if (k->kept == l->how)
        return;
    k->kept = l->how;
    const int e = pq_passed_keep(path, &a, l->how, pq_app_wall(NULL));
    if (e)
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST,
                    "transport.state: the next start will not know this: %s: %s", path,
                    pq_strerror(e));
}

int pq_client_connect(struct link *k)
{
    struct client_worker *cw = k->cw;
    struct server_way way;
    struct lease *l = calloc(1, sizeof *l);
    if (!l)
        return PQ_ENOMEM;
    pq_client_renew_way(cw, k->server, &way);
    l->cw = cw;
    l->link = k;
    l->server = k->server;
    l->since = cw->w.now;
    pq_list_init(&l->node);
    int e = pq_client_take_port(cw, &l->port);
    if (e) {
        free(l);
        return e;
    }
    pq_list_push(&cw->leases, &l->node);
    e = pq_client_filter(cw);
    const struct pq_conf_server *server = &cw->cl->app.conf->server[way.conf];
    struct pq_flow_conf fc;
    way.addr.port = pq_client_pick_port(cw, &way, l);
    fill_flow(cw, &way, l->port.n, &fc);
    l->quic_keys = server->has_key && cw->cl->app.conf->over_quic; /* then QUIC sees to it */
    l->by_keys = server->has_key && !l->quic_keys;
    l->how = how_to_begin(cw, l);
    fc.look = l->how == TRY_CONNECT ? PQ_LOOK_CONNECT : cw->cl->app.conf->look;
    if (l->how > TRY_CONNECT)
        fc.flags = (struct pq_flags){{tries[l->how].flags}, 1};
    if (!e)
        e = pq_hub_connect(cw->w.hub, &k->ses, &fc, server->has_key ? server->key : NULL, l,
                           cw->w.now);
    if (e) {
        PQ_LOG_SOME(PQ_LOG_ERROR, PQ_LOG_MOST, "no session could be opened: %s%s", pq_strerror(e),
                    e == -EMSGSIZE ? " (QUIC takes a link MTU of 1288 over IPv4, of 1308 over IPv6)"
                                   : "");
        lease_free(l);
        k->ses = NULL;
        return e;
    }
    l->ses = k->ses;
    cw->w.did.opened++;
    end_replaced(cw);
    char to[PQ_ADDR_STRLEN];
    PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST, "session to %s from port %u", pq_addr_str(&fc.peer, to),
                l->port.n);
    pq_client_greet(l, k->ses);
    uv_timer_start(&k->timer, on_greet_limit, GREET_MAX / PQ_MS, 0);
    return 0;
}

int pq_client_train(struct lease *l, unsigned i, uint16_t port, enum pq_look look,
                    struct pq_flow_conf *fc)
{
    struct client_worker *cw = l->cw;
    struct server_way way;
    pq_client_free_port(cw, &l->train[i]);
    pq_client_renew_way(cw, l->server, &way);
    way.addr = *pq_session_peer(l->ses);
    way.addr.port = port;
    int e = pq_client_take_port(cw, &l->train[i]);
    if (!e)
        e = pq_client_filter(cw);
    fill_flow(cw, &way, l->train[i].n, fc);
    fc->look = look;
    return e;
}

/* The place's next session goes to another address of its server, or to another server, if there is
 * one.  Where streams are spread, each place keeps its server, since the places of the others carry
 * on meanwhile. */
static void next_server(struct link *k, int err)
{
    if (err == PQ_ECLOSED && pq_client_count_servers(k->cw->cl) == 1)
        return; /* it said goodbye: it is being restarted */
    pq_client_look_again(k->cw, k->server);
    const unsigned before = k->server;
    k->server = pq_client_next_way(k->cw->cl, k->server, k->cw->cl->app.conf->spread);
    k->cw->w.did.failovers += k->server != before;
}

/* look: auto.  A session got no answer: the next one to this server looks the other way. */
static void change_look(const struct lease *l)
{
    struct client_worker *cw = l->cw;
    if (!cw->cl->app.conf->auto_look || l->greeted || !l->by_keys)
        return;
    struct known *known = &cw->known[l->server];
    known->how = next_try(cw->cl->app.conf, l->how);
    PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST, "network.tcp.look: auto: no answer; trying %s",
                tries[known->how].what);
}

static void on_reconnect(uv_timer_t *t)
{
    struct link *k = t->data;
    k->waits = k->waits && pq_client_handshakes(k->cw) >= CLIENT_AT_ONCE;
    if (k->waits) {
        uv_timer_start(t, on_reconnect, CLIENT_APART_MS, 0);
        return;
    }
    k->cw->w.now = pq_clock();
    if (!k->ses && pq_client_connect(k))
        uv_timer_start(t, on_reconnect, UINT64_C(5) * RECONNECT_MS, 0);
}

void pq_client_connect_later(struct link *k, unsigned ms)
{
    k->waits = true;
    uv_timer_start(&k->timer, on_reconnect, ms, 0);
}

static void on_ended(void *ctx, struct pq_session *ses, int err)
{
    struct pq_worker *w = ctx;
    struct client_worker *cw = w->role;
    struct lease *l = pq_session_user(ses);
    struct link *k = l->link;
    PQ_LOG_SOME(err == PQ_ECLOSED ? PQ_LOG_INFO : PQ_LOG_WARN, PQ_LOG_MOST,
                "session from port %u ended: %s", l->port.n,
                err == PQ_ETIMEOUT ? "the server did not answer" : pq_strerror(err));
    pq_app_log_session(ses);
    w->did.ended++;
    if (err == PQ_ETIMEOUT && k->ses == ses)
        change_look(l);
    if (err == PQ_ETIMEOUT)
        pq_client_note_left(cw, l, pq_session_peer(ses)->port);
    if (err == PQ_ETIMEOUT)
        pq_client_advise(cw);
    lease_free(l);
    if (k->ses != ses)
        return; /* it had been replaced */
    k->ses = NULL;
    next_server(k, err);
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

static void on_proven(void *ctx, struct pq_session *ses)
{
    (void)ctx; /* never told on a client */
    (void)ses;
}

static void say_what_passes(enum client_try how)
{
    char text[4] = "", *p = text;
    if (how == TRY_CONNECT) {
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST,
                    "network.tcp.look: auto: the server is reached by whole connections; "
                    "look: connect saves the wait at the start");
        return;
    }
    if (tries[how].flags & PQ_TCP_SYN)
        *p++ = 'S';
    if (tries[how].flags & PQ_TCP_ACK)
        *p++ = 'A';
    *p = 0;
    PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST,
                "network.tcp.look: auto: the server is reached by %s; look: plausible with "
                "local_flag: [\"%s\"] and remote_flag: [\"%s\"] saves the wait at the start",
                tries[how].what, text, how == TRY_SYN ? "SA" : text);
}

static void on_secured(void *ctx, struct pq_session *ses)
{
    struct lease *l = pq_session_user(ses);
    (void)ctx;
    if (l->cw->cl->app.conf->auto_look && l->by_keys) {
        if (l->how && l->how != l->cw->known[l->server].kept)
            say_what_passes(l->how);
        keep_look(l);
    }
    pq_client_secured(l, ses);
}

/* Another port of ours, and of the server if it has several; and the way as it is now: our address
 * may be another, too. */
static bool on_move(void *ctx, struct pq_session *ses, struct pq_flow_conf *fc)
{
    struct pq_worker *w = ctx;
    struct client_worker *cw = w->role;
    struct lease *l = pq_session_user(ses);
    struct server_way way;
    char to[PQ_ADDR_STRLEN];
    const bool fixed = cw->cl->app.conf->own_port != 0;
    if (cw->stopping || ((fixed || !pq_session_moves(ses)) && !pq_client_hops(l)))
        return false;
    pq_client_renew_way(cw, l->server, &way);
    way.addr = *pq_session_peer(ses);
    pq_client_note_left(cw, l, way.addr.port);
    way.addr.port = pq_client_pick_port(cw, &way, l);
    pq_client_free_port(cw, &l->last);
    if (!fixed && pq_client_take_port(cw, &l->next))
        return false;
    if (pq_client_filter(cw)) {
        pq_client_free_port(cw, &l->next);
        return false;
    }
    l->tried = way.addr.port;
    fill_flow(cw, &way, fixed ? l->port.n : l->next.n, fc);
    PQ_LOG(PQ_LOG_DEBUG, "trying port %u in place of %u, to %s", fc->local.port, l->port.n,
           pq_addr_str(&fc->peer, to));
    return true;
}

static void on_moved(void *ctx, struct pq_session *ses, bool ok)
{
    struct pq_worker *w = ctx;
    struct client_worker *cw = w->role;
    struct lease *l = pq_session_user(ses);
    char to[PQ_ADDR_STRLEN];
    if (ok && !pq_session_moves(ses)) {
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST, "no answer from port %u of the server: trying %s",
                    cw->known[l->server].left[(cw->known[l->server].n_left - 1) % LEFT_MAX],
                    pq_addr_str(pq_session_peer(ses), to));
    } else if (ok) {
        w->did.moved++;
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST,
                    "the session from port %u goes on from port %u, to %s", l->port.n,
                    l->next.n ? l->next.n : l->port.n, pq_addr_str(pq_session_peer(ses), to));
    } else {
        pq_client_note_left(cw, l, l->tried);
    }
    if (ok && l->next.n) {
        l->last = l->port;
        l->port = l->next;
        l->next.n = 0;
    } else {
        pq_client_free_port(cw, &l->next);
    }
    pq_client_filter(cw);
}

const struct pq_hub_events pq_client_hub_events = {.stream = on_stream,
                                                   .accept = on_accept,
                                                   .proven = on_proven,
                                                   .secured = on_secured,
                                                   .move = on_move,
                                                   .moved = on_moved,
                                                   .wall = pq_app_wall,
                                                   .ended = on_ended};

/* ---- streams for the listeners */

/* Why the session should get no more requests, or NULL.  Its streams live on until its own
 * time-out, and go on if the server answers again. */
static const char *why_stale(const struct client_worker *cw, struct pq_session *ses)
{
    const struct lease *l = pq_session_user(ses);
    struct pq_kcp_stats st;
    const pq_ns now = cw->w.now, asked = pq_session_asked(ses), moving = pq_session_moving(ses);
    pq_session_stats(ses, &st);
    if (!pq_session_connected(ses) && now > l->since + SILENCE_MAX)
        return "does not answer connections (network.tcp.look: connect): are both clocks right, "
               "and "
               "its public_key and transport.kcp.key? After a crash it does not for 3 minutes";
    if (l->by_keys && !l->greeted && now > l->since + SILENCE_MAX)
        return "does not answer: is its public_key right, transport.kcp.key the same, and this "
               "one's key among its users?";
    if (l->quic_keys && !l->greeted && now > l->since + SILENCE_MAX)
        return "does not answer: is its public_key right, transport.quic.key the same, this one's "
               "key among its users, and are both clocks right to two minutes?";
    if (pq_session_silent(ses, now, SILENCE_MAX))
        return "is silent";
    if (moving && asked && now > moving + pq_ns_max(MOVE_MAX, MOVE_RTTS * st.srtt))
        return "does not answer from another port, either";
    if (asked && now > asked + ANSWER_MAX)
        return "does not answer requests";
    if (!l->greeted && now > l->since + GREET_MAX)
        return "does not answer the first PING";
    return NULL;
}

/* The place gets no more requests for its session; the next one is a fresh one. */
static void give_up(struct link *k, const char *why)
{
    struct client_worker *cw = k->cw;
    struct pq_session *old = k->ses;
    const struct lease *l = pq_session_user(old);
    PQ_LOG_SOME(PQ_LOG_WARN, PQ_LOG_MOST, "the server %s: opening a fresh session", why);
    pq_client_note_left(cw, l, pq_session_peer(old)->port);
    if (!l->greeted)
        pq_client_forget(cw, l->server);
    change_look(l);
    k->ses = NULL;
    cw->w.did.fresh++;
    next_server(k, PQ_ETIMEOUT);
    if (cw->cl->app.conf->own_port)
        pq_session_end(old, PQ_ETIMEOUT); /* both would need the one port */
}

void pq_client_each(struct client_worker *cw, void (*fn)(void *ctx, struct lease *l), void *ctx)
{
    for (struct pq_list *n = cw->leases.next, *next; n != &cw->leases; n = next) {
        next = n->next;
        fn(ctx, PQ_OF(n, struct lease, node));
    }
}

void pq_client_leave(struct lease *l)
{
    struct link *k = l->link;
    if (k->ses == l->ses) {
        k->ses = NULL;
        uv_timer_start(&k->timer, on_reconnect, 0, 0);
    }
    pq_session_end(l->ses, PQ_ECLOSED);
}

/* What a new stream would have to wait for, roughly: the path, shared with those that are there. */
static uint64_t cost(const struct pq_session *ses)
{
    struct pq_kcp_stats st;
    pq_session_stats(ses, &st);
    return (uint64_t)(st.srtt ? st.srtt : PQ_SEC) * (1 + pq_session_streams(ses));
}

/* The session with the least cost among those whose server has answered and still does; NULL if
 * there is none.  A place whose session fell silent gets a fresh one to the same server. */
static struct pq_session *pick_nearest(struct client_worker *cw)
{
    struct pq_session *best = NULL;
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < cw->n_links; i++) {
        struct link *k = &cw->links[i];
        if (!k->ses) {
            if (!uv_is_active((uv_handle_t *)&k->timer))
                uv_timer_start(&k->timer, on_reconnect, 0, 0);
            continue;
        }
        const struct lease *l = pq_session_user(k->ses);
        const char *why = why_stale(cw, k->ses);
        if (why && (l->greeted || cw->w.now > l->since + RETRY_MAX)) {
            give_up(k, why);
            uv_timer_start(&k->timer, on_reconnect, 0, 0);
        } else if (!why && l->greeted && cost(k->ses) < least) {
            best = k->ses;
            least = cost(best);
        }
    }
    return best;
}

/* The session for a new stream; makes one if need be. */
static struct pq_session *pick_session(struct client_worker *cw)
{
    end_replaced(cw);
    struct pq_session *near = cw->cl->app.conf->spread ? pick_nearest(cw) : NULL;
    if (near)
        return near;
    for (unsigned i = 0; i < cw->n_links; i++) { /* in turn */
        struct link *k = &cw->links[cw->next_link];
        cw->next_link = (cw->next_link + 1) % cw->n_links;
        if (k->waits)
            continue;
        const char *why = k->ses ? why_stale(cw, k->ses) : NULL;
        if (why)
            give_up(k, why);
        if (k->ses || pq_client_connect(k) == 0)
            return k->ses;
    }
    return NULL;
}

bool pq_client_alive(void *ctx, const struct pq_stream *st)
{
    struct client_worker *cw = ctx;
    struct pq_session *ses = pq_stream_session(st);
    cw->w.now = pq_clock();
    return ses && !why_stale(cw, ses);
}

struct pq_stream *pq_client_open(void *ctx, enum pq_request_type type, const char *host,
                                 uint16_t port, const struct pq_stream_events *ev, void *evctx)
{
    struct client_worker *cw = ctx;
    struct pq_request req = {.type = type, .port = port};
    if (strlen(host) > PQ_HOST_MAX)
        return NULL;
    memcpy(req.host, host, strlen(host) + 1);
    cw->w.now = pq_clock();
    struct pq_session *ses = pick_session(cw);
    struct pq_stream *st = ses ? pq_session_open(ses, ev, evctx) : NULL;
    if (st) {
        pq_session_expect(ses, cw->w.now);
        pq_stream_set_target(st, pq_app_kind_of(type), host, port);
    }
    if (st && pq_client_ask(cw, pq_session_user(ses), st, &req)) {
        pq_stream_abort(st);
        st = NULL;
    }
    return st;
}
