/* SPDX-License-Identifier: MIT */
#include "relay/dial.h"

#include "relay/outgoing.h"
#include "relay/resolve.h"
#include "relay/tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STAGGER_MS 250

struct attempt {
    struct pq_dial *d;
    uv_tcp_t *tcp; /* NULL once given away or closed */
    uv_connect_t req;
};

/* Lives until the callback is made or cancelled, and every request and the timer are finished. */
struct pq_dial {
    struct pq_front *front;
    pq_dial_fn done; /* NULL once called or cancelled */
    void *ctx;
    struct pq_resolve *resolve; /* under way, or NULL */
    int err;
    struct pq_addr addr[PQ_RESOLVE_ADDRS_MAX];
    unsigned n, next; /* addresses; the next one to try */
    unsigned pending; /* callbacks that will still come */
    uint64_t give_up; /* loop time in ms */
    uv_timer_t timer;
    struct attempt try[PQ_RESOLVE_ADDRS_MAX];
};

static void release(struct pq_dial *d)
{
    if (--d->pending == 0)
        free(d);
}

static void on_timer_closed(uv_handle_t *h)
{
    release(h->data);
}

/* Reports, once, and lets everything wind down. */
static void finish(struct pq_dial *d, uv_tcp_t *tcp, int err)
{
    pq_dial_fn done = d->done;
    if (!done)
        return;
    d->done = NULL;
    for (unsigned i = 0; i < d->next; i++) {
        if (d->try[i].tcp && d->try[i].tcp != tcp)
            pq_tcp_close(d->try[i].tcp, false);
        d->try[i].tcp = NULL;
    }
    if (d->resolve)
        pq_resolve_cancel(d->resolve);
    d->resolve = NULL;
    uv_close((uv_handle_t *)&d->timer, on_timer_closed);
    if (tcp || err)
        done(d->ctx, tcp, err);
}

static bool any_open(const struct pq_dial *d)
{
    for (unsigned i = 0; i < d->next; i++)
        if (d->try[i].tcp)
            return true;
    return false;
}

static void try_next(struct pq_dial *d);

static void on_connect(uv_connect_t *req, int status)
{
    struct attempt *a = req->data;
    struct pq_dial *d = a->d;
    if (d->done && a->tcp) {
        if (status == 0) {
            pq_tcp_tune(a->tcp);
            finish(d, a->tcp, 0);
        } else {
            pq_tcp_close(a->tcp, false);
            a->tcp = NULL;
            d->err = status;
            try_next(d);
        }
    }
    release(d);
}

static void on_timer(uv_timer_t *t)
{
    struct pq_dial *d = t->data;
    if (uv_now(d->front->loop) >= d->give_up)
        finish(d, NULL, -ETIMEDOUT);
    else
        try_next(d);
}

/* A socket on its way out, or NULL and why. */
static uv_tcp_t *outgoing_tcp(struct pq_front *f, const struct pq_addr *to, int *err)
{
    uv_os_fd_t fd;
    const bool is4 = pq_addr_is4(to);
    uv_tcp_t *tcp = malloc(sizeof *tcp);
    *err = -ENOMEM;
    if (!tcp)
        return NULL;
    *err = uv_tcp_init_ex(f->loop, tcp, is4 ? AF_INET : AF_INET6);
    if (*err) {
        free(tcp);
        return NULL;
    }
    *err = uv_fileno((uv_handle_t *)tcp, &fd);
    if (!*err)
        *err = pq_outgoing_apply(f->outgoing, fd, is4);
    if (*err) {
        pq_tcp_close(tcp, false);
        return NULL;
    }
    pq_tcp_unpaced(fd, to);
    return tcp;
}

/* Starts the next address; reports failure when all have failed. */
static void try_next(struct pq_dial *d)
{
    while (d->next < d->n) {
        struct attempt *a = &d->try[d->next];
        struct sockaddr_storage ss;
        const struct pq_addr *to = &d->addr[d->next++];
        int e;
        pq_addr_to_sock(to, &ss);
        *a = (struct attempt){.d = d, .tcp = outgoing_tcp(d->front, to, &e)};
        a->req.data = a;
        if (a->tcp)
            e = uv_tcp_connect(&a->req, a->tcp, (struct sockaddr *)&ss, on_connect);
        if (e == 0) {
            d->pending++;
            break;
        }
        d->err = e;
        if (a->tcp)
            pq_tcp_close(a->tcp, false);
        a->tcp = NULL;
    }
    if (!any_open(d)) {
        finish(d, NULL, d->err ? d->err : -EHOSTUNREACH);
        return;
    }
    uint64_t now = uv_now(d->front->loop);
    uint64_t left = d->give_up > now ? d->give_up - now : 0;
    bool more = d->next < d->n && STAGGER_MS < left;
    uv_timer_start(&d->timer, on_timer, more ? STAGGER_MS : left, 0);
}

static void on_resolved(void *ctx, const struct pq_addr *addrs, unsigned n, int err)
{
    struct pq_dial *d = ctx;
    d->resolve = NULL;
    d->n = n;
    if (n) {
        memcpy(d->addr, addrs, n * sizeof *addrs);
        try_next(d);
    } else {
        finish(d, NULL, err);
    }
}

static struct pq_dial *make(struct pq_front *f, pq_dial_fn done, void *ctx)
{
    struct pq_dial *d = calloc(1, sizeof *d);
    if (!d) {
        done(ctx, NULL, PQ_ENOMEM);
        return NULL;
    }
    d->front = f;
    d->done = done;
    d->ctx = ctx;
    uv_update_time(f->loop);
    d->give_up = uv_now(f->loop) + PQ_DIAL_LIMIT_MS;
    uv_timer_init(f->loop, &d->timer);
    d->timer.data = d;
    d->pending = 1; /* the timer, whose end comes after this call */
    uv_timer_start(&d->timer, on_timer, PQ_DIAL_LIMIT_MS, 0);
    return d;
}

/* q: what looks the name up, or NULL if its callback has come already. */
static struct pq_dial *started(struct pq_dial *d, struct pq_resolve *q)
{
    if (q)
        d->resolve = q;
    return d->done ? d : NULL;
}

struct pq_dial *pq_dial_start(struct pq_front *f, const struct pq_rules *rules, const char *host,
                              uint16_t port, pq_dial_fn done, void *ctx)
{
    struct pq_dial *d = make(f, done, ctx);
    return d ? started(d, pq_resolve_start(f, rules, host, port, on_resolved, d)) : NULL;
}

struct pq_dial *pq_dial_start_unruled(struct pq_front *f, const char *host, uint16_t port,
                                      pq_dial_fn done, void *ctx)
{
    struct pq_dial *d = make(f, done, ctx);
    return d ? started(d, pq_resolve_start_unruled(f, host, port, on_resolved, d)) : NULL;
}

void pq_dial_cancel(struct pq_dial *d)
{
    finish(d, NULL, 0);
}

uint8_t pq_dial_result(int err)
{
    if (err <= UV_EAI_ADDRFAMILY && err > UV_EAI_ADDRFAMILY - 100)
        return 4; /* any error of resolving: the name is not known, or nobody can tell */
    switch (err) {
    case 0:
        return 0;
    case PQ_EDENIED:
    case UV_EACCES: /* a rule of an upstream proxy or of the system's firewall */
    case UV_EPERM:
        return 2;
    case UV_ENETUNREACH:
        return 3;
    case UV_EHOSTUNREACH:
    case UV_ETIMEDOUT:
    case PQ_EAGAIN: /* too many names wait for DNS */
        return 4;
    case UV_ECONNREFUSED:
        return 5;
    default:
        return PQ_RESULT_FAILURE;
    }
}
