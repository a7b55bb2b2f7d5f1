/* SPDX-License-Identifier: MIT */
#include "exit/serve_udp.h"

#include "exit/denied.h"
#include "relay/udp_flow.h"
#include "relay/udp_target.h"

#include <stdlib.h>
#include <string.h>

/* A client ends a flow after a minute; this is for those that do not. */
#define IDLE_MAX   (180 * PQ_SEC)
#define LOG_PERIOD (10 * PQ_SEC)

struct target {
    struct pq_udp_flow flow;
    struct pq_udp_target *out;
    bool ready; /* what waited has gone out */
    struct pq_addr client;
    char host[PQ_HOST_MAX + 1];
    uint16_t port;
};

static void target_close(struct target *t)
{
    pq_udp_target_close(t->out);
    pq_udp_flow_close(&t->flow);
    free(t);
}

/* A client may send one datagram and go: what waits for the name still goes out. */
static void on_over(struct pq_udp_flow *f)
{
    struct target *t = PQ_OF(f, struct target, flow);
    if (f->ended && f->st && !t->ready && pq_udp_target_waits(t->out) && !f->front->stopping)
        pq_udp_flow_leave(f);
    else
        target_close(t);
}

static void on_deliver(struct pq_udp_flow *f, struct pq_view v)
{
    pq_udp_target_send(PQ_OF(f, struct target, flow)->out, v);
}

static void on_recv(void *ctx, struct pq_view v)
{
    struct target *t = ctx;
    pq_udp_flow_send(&t->flow, v.p, v.n);
}

static void say_failed(struct target *t, int err)
{
    struct pq_front *f = t->flow.front;
    if (err == PQ_EDENIED) {
        pq_front_log_denied(f, f->rules, &t->client, t->host, t->port);
        return;
    }
    uint64_t n = pq_log_due(&f->dial_failed, LOG_PERIOD, uv_hrtime());
    if (n)
        PQ_LOG(PQ_LOG_WARN,
               "no UDP socket for %s:%u: %s (%llu failed connections since the last such line)",
               t->host, t->port, pq_front_strerror(err), (unsigned long long)n);
}

static void on_ready(void *ctx, int err)
{
    struct target *t = ctx;
    t->ready = true;
    if (err)
        say_failed(t, err);
    if (err || !t->flow.st)
        target_close(t);
}

void pq_serve_udp(struct pq_front *front, struct pq_stream *st, const char *host, uint16_t port,
                  size_t max, struct pq_view first)
{
    static const struct pq_udp_target_events events = {.recv = on_recv, .ready = on_ready};
    struct target *t = calloc(1, sizeof *t);
    if (t)
        t->out = pq_udp_target_new(front, &events, t);
    if (!t || !t->out) {
        free(t);
        pq_stream_abort(st);
        return;
    }
    t->port = port;
    t->client = *pq_stream_peer(st);
    memcpy(t->host, host, strlen(host) + 1);
    t->flow = (struct pq_udp_flow){
        .front = front, .deliver = on_deliver, .over = on_over, .idle_max = IDLE_MAX};
    pq_udp_flow_init(&t->flow);
    pq_udp_flow_own(&t->flow, st, max);
    if (first.n)
        pq_udp_target_send(t->out, first);
    pq_udp_target_start(t->out, pq_front_rules(front, st), t->host, port);
}
