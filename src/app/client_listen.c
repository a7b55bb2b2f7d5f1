/* SPDX-License-Identifier: MIT */
/* client_listen.c - where a client listens: opened at the start, changed while it runs. */
#include "app/client.h"

#include "entry/forward.h"
#include "entry/proxy.h"
#include "entry/udp_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- one socket of one worker */

static int open_proxy(struct client_worker *cw, const struct pq_conf_socks5 *s, bool share,
                      union client_socket *out, bool change)
{
    const struct pq_proxy_conf pc = {.listen = s->addr,
                                     .username = s->username ? s->username : "",
                                     .password = s->password ? s->password : "",
                                     .real_reply = s->real_reply,
                                     .share_port = share};
    return change ? pq_proxy_change(out->proxy, &pc)
                  : pq_proxy_open(&out->proxy, &cw->w.front, &pc);
}

static int open_tcp(struct client_worker *cw, const struct pq_conf_port *p,
                    const struct pq_addr *addr, const char *host, union client_socket *out)
{
    const struct pq_forward_conf fc = {.listen = *addr,
                                       .host = host,
                                       .port = p->port,
                                       .share_port = cw->cl->app.n_workers > 1,
                                       .transparent = p->all};
    return pq_forward_open(&out->forward, &cw->w.front, &fc);
}

static int open_udp(struct client_worker *cw, const struct pq_conf_port *p,
                    const struct pq_addr *addr, const char *host, union client_socket *out)
{
    struct pq_udp_port_conf uc = {.bind = *addr,
                                  .host = host,
                                  .port = p->port,
                                  .share_port = cw->cl->app.n_workers > 1,
                                  .transparent = p->all};
    if (p->all && (uc.answer = pq_tproxy_answer_socket(pq_addr_is4(addr))) < 0)
        return uc.answer;
    return pq_udp_port_open(&out->udp, &cw->w.front, &uc);
}

/* Opens a socket or, where it is there already, gives it its settings. */
static int make(struct client_worker *cw, const struct pq_conf *c, const struct client_listener *l,
                union client_socket *out, bool change)
{
    struct pq_addr addr = l->addr;
    if (change && !out->proxy)
        return 0; /* an IP version that is not there */
    addr.port = l->all ? l->bound : addr.port;
    const bool share = cw->cl->app.n_workers > 1;
    if (l->kind == CLIENT_PROXY)
        return open_proxy(cw, &c->socks5[l->nth], share, out, change);
    const struct pq_conf_port *p = &c->port[l->nth];
    const char *host = c->forward[p->entry].host;
    if (l->kind == CLIENT_TCP)
        return change ? pq_forward_retarget(out->forward, host, p->port)
                      : open_tcp(cw, p, &addr, host, out);
    return change ? pq_udp_port_retarget(out->udp, host, p->port)
                  : open_udp(cw, p, &addr, host, out);
}

static void close_one(enum client_kind kind, union client_socket *s)
{
    if (kind == CLIENT_PROXY)
        pq_proxy_close(&s->proxy);
    else if (kind == CLIENT_TCP)
        pq_forward_close(&s->forward);
    else
        pq_udp_port_close(&s->udp);
}

/* ---- all of them */

struct change { /* from the listeners that there are to those that there shall be */
    struct client *cl;
    const struct pq_conf *c;
    struct client_listener *next;
    unsigned n;
    unsigned *before;                 /* of each of `next`, its number now + 1; 0 = it is new */
    bool *stays;                      /* of each that there is */
    union client_socket *sockets[64]; /* of the workers, as `next` */
    unsigned bad;                     /* the one that could not be opened */
};

static int by_place(const void *a, const void *b)
{
    const struct client_listener *x = a, *y = b;
    const int d = (int)x->kind - (int)y->kind;
    return d ? d : pq_addr_cmp(&x->addr, &y->addr);
}

static int list(struct change *g)
{
    const struct pq_conf *c = g->c;
    const unsigned n_before = g->cl->n_listeners;
    g->n = c->n_socks5 + c->n_ports;
    g->next = calloc(g->n + 1, sizeof *g->next);
    g->before = calloc(g->n + 1, sizeof *g->before);
    g->stays = calloc(n_before + 1, sizeof *g->stays);
    if (!g->next || !g->before || !g->stays)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < c->n_socks5; i++)
        g->next[i] =
            (struct client_listener){.kind = CLIENT_PROXY, .addr = c->socks5[i].addr, .nth = i};
    for (unsigned i = 0; i < c->n_ports; i++)
        g->next[c->n_socks5 + i] =
            (struct client_listener){.kind = c->port[i].udp ? CLIENT_UDP : CLIENT_TCP,
                                     .addr = c->port[i].addr,
                                     .nth = i,
                                     .all = c->port[i].all};
    qsort(g->next, g->n, sizeof *g->next, by_place);
    for (unsigned i = 0, k = 0; i < g->n && k < n_before;) {
        const int d = by_place(&g->next[i], &g->cl->listeners[k]);
        if (d == 0) {
            g->before[i] = k + 1;
            g->stays[k] = true;
            g->next[i].bound = g->cl->listeners[k].bound;
        }
        i += d <= 0;
        k += d >= 0;
    }
    for (unsigned w = 0; w < g->cl->app.n_workers; w++) {
        g->sockets[w] = calloc(g->n + 1, sizeof *g->sockets[w]);
        if (!g->sockets[w])
            return PQ_ENOMEM;
    }
    return 0;
}

static uint16_t bound_port(enum client_kind kind, const union client_socket *s)
{
    struct pq_addr a;
    if (kind == CLIENT_TCP)
        return pq_forward_port(s->forward);
    pq_udp_port_addr(s->udp, &a);
    return a.port;
}

/* Opens one, of all workers. */
static int open_all(struct change *g, unsigned i)
{
    struct client_listener *l = &g->next[i];
    int e = 0;
    for (unsigned w = 0; !e && w < g->cl->app.n_workers; w++) {
        e = make(g->cl->cw[w], g->c, l, &g->sockets[w][i], false);
        if (!e && l->all)
            l->bound = bound_port(l->kind, &g->sockets[w][i]);
    }
    for (unsigned w = 0; e && w < g->cl->app.n_workers; w++)
        close_one(l->kind, &g->sockets[w][i]);
    if (l->all && !pq_addr_is4(&l->addr) && (e == -EAFNOSUPPORT || e == -EADDRNOTAVAIL))
        return 0; /* a machine without IPv6 */
    if (e)
        g->bad = i;
    return e;
}

static bool is_in_the_way(const struct client_listener *old, const struct client_listener *new)
{
    return old->addr.port == new->addr.port &&
           (old->kind == CLIENT_UDP) == (new->kind == CLIENT_UDP);
}

/* Closes what goes and would be in the way of this one.  Returns whether there was any. */
static bool make_way(struct change *g, unsigned i)
{
    struct client *cl = g->cl;
    bool any = false;
    for (unsigned k = 0; k < cl->n_listeners; k++) {
        if (g->stays[k] || !is_in_the_way(&cl->listeners[k], &g->next[i]))
            continue;
        any = true;
        for (unsigned w = 0; w < cl->app.n_workers; w++)
            close_one(cl->listeners[k].kind, &cl->cw[w]->sockets[k]);
    }
    return any;
}

static int open_new(struct change *g)
{
    for (unsigned i = 0; i < g->n; i++) {
        if (g->before[i])
            continue;
        int e = open_all(g, i);
        if (e == -EADDRINUSE && make_way(g, i))
            e = open_all(g, i);
        if (e)
            return e;
    }
    return 0;
}

/* All is as it was: what was opened is closed, what was closed to make way is opened again. */
static void undo(struct change *g)
{
    struct client *cl = g->cl;
    for (unsigned w = 0; w < cl->app.n_workers; w++)
        for (unsigned i = 0; g->sockets[w] && i < g->n; i++)
            if (!g->before[i])
                close_one(g->next[i].kind, &g->sockets[w][i]);
    for (unsigned w = 0; w < cl->app.n_workers; w++)
        for (unsigned k = 0; k < cl->n_listeners; k++)
            if (!cl->cw[w]->sockets[k].proxy)
                make(cl->cw[w], cl->app.conf, &cl->listeners[k], &cl->cw[w]->sockets[k], false);
}

static void commit(struct change *g)
{
    struct client *cl = g->cl;
    for (unsigned w = 0; w < cl->app.n_workers; w++) {
        struct client_worker *cw = cl->cw[w];
        for (unsigned i = 0; i < g->n; i++) {
            if (!g->before[i])
                continue;
            g->sockets[w][i] = cw->sockets[g->before[i] - 1];
            if (make(cw, g->c, &g->next[i], &g->sockets[w][i], true))
                PQ_LOG(PQ_LOG_ERROR, "a listener keeps its settings, since memory is short");
        }
        for (unsigned k = 0; k < cl->n_listeners; k++)
            if (!g->stays[k])
                close_one(cl->listeners[k].kind, &cw->sockets[k]);
        free(cw->sockets);
        cw->sockets = g->sockets[w];
        g->sockets[w] = NULL;
    }
    free(cl->listeners);
    cl->listeners = g->next;
    cl->n_listeners = g->n;
    g->next = NULL;
}

static void say_why(const struct change *g, int e, char *why)
{
    char addr[PQ_ADDR_STRLEN];
    if (!g->next || g->bad >= g->n) {
        snprintf(why, PQ_WHY_LEN, "listening: %s", pq_strerror(e));
        return;
    }
    const struct client_listener *l = &g->next[g->bad];
    if (l->all) {
        snprintf(why, PQ_WHY_LEN, "forward[%u].listen: all: %s%s", g->c->port[l->nth].entry,
                 pq_strerror(e), e == -EPERM ? "; it needs CAP_NET_ADMIN and CAP_NET_RAW" : "");
        return;
    }
    snprintf(why, PQ_WHY_LEN, "%s[%u].listen: cannot listen on %s: %s%s",
             l->kind == CLIENT_PROXY ? "socks5" : "forward",
             l->kind == CLIENT_PROXY ? l->nth : g->c->port[l->nth].entry,
             pq_addr_str(&l->addr, addr), pq_strerror(e),
             e == -EADDRINUSE ? "; \"paqet check\" with this file tells who has it" : "");
}

static unsigned count_not_taken(const struct pq_conf_forward *f)
{
    unsigned n = 0;
    for (unsigned i = 0; i < f->n_not_taken; i++)
        n += (unsigned)(f->not_taken[i].to - f->not_taken[i].from) + 1;
    return n;
}

/* What is new, a line for each proxy and each entry of `forward`. */
static void tell(const struct change *g)
{
    const struct pq_conf *c = g->c;
    char addr[PQ_ADDR_STRLEN];
    unsigned told = UINT32_MAX;
    for (unsigned i = 0; i < g->n; i++) {
        const struct client_listener *l = &g->cl->listeners[i];
        if (g->before[i])
            continue;
        if (l->kind == CLIENT_PROXY) {
            PQ_LOG(PQ_LOG_INFO, "SOCKS and HTTP proxy on %s", pq_addr_str(&l->addr, addr));
            continue;
        }
        const struct pq_conf_port *p = &c->port[l->nth];
        const struct pq_conf_forward *f = &c->forward[p->entry];
        const bool several = i + 1 < g->n && !g->before[i + 1] &&
                             g->cl->listeners[i + 1].kind == l->kind &&
                             c->port[g->cl->listeners[i + 1].nth].entry == p->entry;
        if (told == p->entry)
            continue;
        if (p->all) {
            told = p->entry;
            PQ_LOG(PQ_LOG_INFO, "all ports but %u go to %s%s%s", count_not_taken(f), f->host,
                   f->name ? ", " : "", f->name ? f->name : "");
            continue;
        }
        told = several ? p->entry : UINT32_MAX;
        PQ_LOG(PQ_LOG_INFO, "%s to %s%s goes to %s:%u%s%s", p->udp ? "UDP" : "TCP",
               pq_addr_str(&l->addr, addr), several ? " and other ports" : "", f->host, p->port,
               f->name ? ", " : "", f->name ? f->name : "");
    }
}

static void count(const struct change *g, struct client_listened *out)
{
    *out = (struct client_listened){.stayed = 0};
    for (unsigned i = 0; i < g->n; i++)
        out->stayed += g->before[i] != 0;
    out->opened = g->n - out->stayed;
    out->closed = g->cl->n_listeners - out->stayed;
}

int pq_client_listen(struct client *cl, const struct pq_conf *c, struct client_listened *done,
                     char why[PQ_WHY_LEN])
{
    struct change g = {.cl = cl, .c = c, .bad = UINT32_MAX};
    struct pq_tproxy *rules = NULL;
    int e = list(&g);
    if (!e)
        e = open_new(&g);
    if (e)
        say_why(&g, e, why);
    else
        e = pq_client_take_ports(c, g.next, g.n, &rules, why);
    if (e) {
        if (g.next && g.before)
            undo(&g);
    } else {
        pq_tproxy_close(&cl->tproxy);
        cl->tproxy = rules;
        count(&g, done);
        commit(&g);
        tell(&g);
    }
    free(g.next);
    free(g.before);
    free(g.stays);
    for (size_t w = 0; w < sizeof g.sockets / sizeof g.sockets[0]; w++)
        free(g.sockets[w]);
    return e;
}

void pq_client_close_listeners(struct client_worker *cw)
{
    const struct client *cl = cw->cl;
    for (unsigned i = 0; cw->sockets && i < cl->n_listeners; i++)
        close_one(cl->listeners[i].kind, &cw->sockets[i]);
}
