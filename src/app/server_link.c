/* SPDX-License-Identifier: MIT */
/* server_link.c - the interface that a server listens on, and the addresses that are its own. */
#include "app/server.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOON_MS   100          /* changes come in bursts */
#define AGAIN_MS  1000         /* while the interface is away */
#define OWN_EVERY (1 * PQ_SEC) /* at most so often for an address that is not known */

/* ---- own addresses */

static bool has_own(const struct server *s, const struct pq_addr *dst)
{
    for (size_t i = 0; i < s->n_own; i++)
        if (pq_addr_eq_ip(&s->own[i], dst))
            return true;
    return false;
}

static void read_own(struct server *s)
{
    const struct pq_conf_side *sides[] = {&s->app.conf->v4, &s->app.conf->v6};
    s->own_at = pq_clock();
    if (pq_own_addrs(s->own, SERVER_OWN_MAX - 2, &s->n_own))
        return;
    for (int i = 0; i < 2; i++) /* one that is configured counts also where no interface has it */
        if (sides[i]->has_ip && !pq_addr_is_any(&sides[i]->ip))
            s->own[s->n_own++] = sides[i]->ip;
}

bool pq_server_is_own(struct server *s, const struct pq_addr *dst)
{
    pthread_mutex_lock(&s->link_lock);
    bool own = has_own(s, dst);
    if (!own && pq_clock() > s->own_at + OWN_EVERY) {
        read_own(s);
        own = has_own(s, dst);
    }
    pthread_mutex_unlock(&s->link_lock);
    return own;
}

bool pq_server_is_away(struct pq_app *app)
{
    struct server *s = PQ_OF(app, struct server, app);
    pthread_mutex_lock(&s->link_lock);
    const bool away = s->missing;
    pthread_mutex_unlock(&s->link_lock);
    return away;
}

void pq_server_mac(struct server *s, uint8_t mac[6])
{
    pthread_mutex_lock(&s->link_lock);
    memcpy(mac, s->app.path.iface.mac, 6);
    pthread_mutex_unlock(&s->link_lock);
}

void pq_server_note_own(struct server *s)
{
    struct pq_firewall_conf *f = &s->app.fw_conf;
    read_own(s);
    f->n_own = 0;
    if (s->n_own > PQ_FIREWALL_OWN)
        return; /* too many for rules: all of the port is dropped */
    memcpy(f->own, s->own, s->n_own * sizeof f->own[0]);
    f->n_own = (unsigned)s->n_own;
}

/* ---- the interface */

static struct server_watch *watch_of(struct server *s, const struct pq_worker *w)
{
    return &s->watch[w->id];
}

/* The interface as it is now.  One that was chosen by the default route stays chosen while it is
 * there. */
static int look(struct server *s, struct pq_path *now, char why[PQ_WHY_LEN])
{
    *now = s->app.path;
    if (pq_iface_get(s->app.path.iface.name, 0, &now->iface) == 0 && now->iface.up)
        return 0;
    return pq_discover_server(s->app.conf, now, why);
}

/* Looks what the interface is now.  Returns false if it is away. */
static bool renew_path(struct server *s)
{
    struct pq_path now;
    struct pq_addr before[PQ_FIREWALL_OWN];
    char why[PQ_WHY_LEN];
    if (look(s, &now, why)) {
        if (!s->missing)
            PQ_LOG_SOME(PQ_LOG_WARN, PQ_LOG_MOST, "%s; waiting for it", why);
        s->missing = true;
        return false;
    }
    const unsigned n_before = s->app.fw_conf.n_own;
    memcpy(before, s->app.fw_conf.own, sizeof before);
    pq_server_note_own(s);
    const bool moved = now.iface.index != s->app.path.iface.index;
    const bool other = n_before != s->app.fw_conf.n_own ||
                       memcmp(before, s->app.fw_conf.own, n_before * sizeof before[0]) != 0;
    if (moved) {
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST, "listening on %s again", now.iface.name);
        s->app.fanout = -1; /* the old group is of the old interface */
    }
    s->missing = false;
    s->app.path = now;
    if (moved || other)
        pq_app_move_firewall(&s->app, now.iface.name);
    return true;
}

/* Opens this worker's packet socket anew. */
static bool reopen(struct server *s, struct pq_worker *w)
{
    struct pq_pktio *io;
    if (pq_app_open_io(&s->app, &io))
        return false;
    pq_worker_change_io(w, io);
    return pq_pktio_set_ports(w->io, &s->app.conf->own_ports, 1) == 0;
}

bool pq_server_renew_link(struct server *s, struct pq_worker *w)
{
    struct server_watch *v = watch_of(s, w);
    pthread_mutex_lock(&s->link_lock);
    bool there = renew_path(s);
    const struct pq_iface f = s->app.path.iface;
    if (there && f.index != v->ifindex) {
        there = reopen(s, w);
        w->did.links++;
        v->ifindex = there ? f.index : 0;
    }
    struct pq_link link = {.to.link_len = w->io->link_len,
                           .keep_peer_mac = true,
                           .mtu = f.mtu,
                           .runs = w->io->runs,
                           .splits = w->io->splits,
                           .own = s->own,
                           .n = s->n_own};
    memcpy(link.to.local_mac, f.mac, 6);
    if (there)
        pq_hub_change_link(w->hub, &link);
    pthread_mutex_unlock(&s->link_lock);
    if (there && f.mtu != v->mtu)
        PQ_LOG_SOME(PQ_LOG_WARN, PQ_LOG_MOST, "the MTU of %s is %u now%s", f.name, f.mtu,
                    s->app.conf->over_quic
                        ? ""
                        : ": sessions with longer packets end, and their clients "
                          "open new ones");
    if (there)
        v->mtu = f.mtu;
    return there;
}

/* ---- being told */

static void on_soon(uv_timer_t *t)
{
    struct pq_worker *w = t->data;
    struct server *s = w->role;
    if (!pq_server_renew_link(s, w))
        uv_timer_start(t, on_soon, AGAIN_MS, 0);
}

static void on_change(uv_poll_t *p, int status, int events)
{
    struct pq_worker *w = p->data;
    struct server *s = w->role;
    struct server_watch *v = watch_of(s, w);
    (void)status;
    (void)events;
    if (pq_netwatch_read(v->fd) && !uv_is_active((uv_handle_t *)v->soon))
        uv_timer_start(v->soon, on_soon, SOON_MS, 0);
}

static void free_handle(uv_handle_t *h)
{
    free(h);
}

void pq_server_watch(struct server *s, struct pq_worker *w)
{
    struct server_watch *v = watch_of(s, w);
    v->ifindex = s->app.path.iface.index;
    v->mtu = s->app.path.iface.mtu;
    v->fd = pq_netwatch_open();
    v->poll = malloc(sizeof *v->poll);
    v->soon = malloc(sizeof *v->soon);
    if (v->fd < 0 || !v->poll || !v->soon || uv_poll_init(&w->loop, v->poll, v->fd)) {
        PQ_LOG(PQ_LOG_WARN, "changes of interfaces will not be noticed");
        free(v->poll);
        free(v->soon);
        v->poll = NULL;
        v->soon = NULL;
        return;
    }
    uv_timer_init(&w->loop, v->soon);
    v->poll->data = v->soon->data = w;
    uv_poll_start(v->poll, UV_READABLE, on_change);
}

void pq_server_unwatch(struct server *s, struct pq_worker *w)
{
    struct server_watch *v = watch_of(s, w);
    if (v->poll) {
        uv_close((uv_handle_t *)v->poll, free_handle);
        uv_close((uv_handle_t *)v->soon, free_handle);
    }
    v->poll = NULL;
    v->soon = NULL;
    if (v->fd >= 0)
        close(v->fd);
    v->fd = -1;
}
