/* SPDX-License-Identifier: MIT */
#include "front/dial.h"

#include "front/relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADDRS_MAX  8
#define STAGGER_MS 250

struct attempt {
    struct pq_dial *d;
    uv_tcp_t *tcp; /* NULL once given away or closed */
    uv_connect_t req;
};

/* Lives until the callback is made or cancelled, and every request and the timer are finished. */
struct pq_dial {
    uv_loop_t *loop;
    pq_dial_fn done; /* NULL once called or cancelled */
    void *ctx;
    uint16_t port;
    int err;
    struct pq_addr addr[ADDRS_MAX];
    unsigned n, next; /* addresses; the next one to try */
    unsigned pending; /* callbacks that will still come */
    uint64_t give_up; /* loop time in ms */
    uv_timer_t timer;
    uv_getaddrinfo_t gai;
    struct attempt try[ADDRS_MAX];
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
    uv_cancel((uv_req_t *)&d->gai);
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
    if (uv_now(d->loop) >= d->give_up)
        finish(d, NULL, -ETIMEDOUT);
    else
        try_next(d);
}

/* Starts the next address; reports failure when all have failed. */
static void try_next(struct pq_dial *d)
{
    while (d->next < d->n) {
        struct attempt *a = &d->try[d->next];
        struct sockaddr_storage ss;
        d->addr[d->next].port = d->port;
        pq_addr_to_sock(&d->addr[d->next++], &ss);
        *a = (struct attempt){.d = d, .tcp = pq_tcp_new(d->loop)};
        a->req.data = a;
        int e =
            a->tcp ? uv_tcp_connect(&a->req, a->tcp, (struct sockaddr *)&ss, on_connect) : -ENOMEM;
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
    uint64_t left = d->give_up > uv_now(d->loop) ? d->give_up - uv_now(d->loop) : 0;
    bool more = d->next < d->n && STAGGER_MS < left;
    uv_timer_start(&d->timer, on_timer, more ? STAGGER_MS : left, 0);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct pq_dial *d = req->data;
    for (struct addrinfo *a = res; a && d->n < ADDRS_MAX; a = a->ai_next)
        if (pq_addr_from_sock(&d->addr[d->n], a->ai_addr) == 0)
            d->n++;
    uv_freeaddrinfo(res);
    if (d->done) {
        if (d->n)
            try_next(d);
        else
            finish(d, NULL, status ? status : UV_EAI_NODATA);
    }
    release(d);
}

struct pq_dial *pq_dial_start(uv_loop_t *loop, const char *host, uint16_t port, pq_dial_fn done,
                              void *ctx)
{
    struct pq_dial *d = calloc(1, sizeof *d);
    if (!d) {
        done(ctx, NULL, -ENOMEM);
        return NULL;
    }
    d->loop = loop;
    d->done = done;
    d->ctx = ctx;
    d->port = port;
    uv_update_time(loop);
    d->give_up = uv_now(loop) + PQ_DIAL_LIMIT_MS;
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    d->pending = 1; /* the timer */
    if (pq_addr_parse_ip(&d->addr[0], host) == 0) {
        d->n = 1;
        try_next(d);
        return d->done ? d : NULL;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    d->gai.data = d;
    uv_timer_start(&d->timer, on_timer, PQ_DIAL_LIMIT_MS, 0);
    int e = uv_getaddrinfo(loop, &d->gai, on_resolved, host, NULL, &hints);
    if (e)
        finish(d, NULL, e);
    else
        d->pending++;
    return d->done ? d : NULL;
}

void pq_dial_cancel(struct pq_dial *d)
{
    finish(d, NULL, 0);
}
