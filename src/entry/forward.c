/* SPDX-License-Identifier: MIT */
#include "entry/forward.h"

#include "entry/listen.h"
#include "relay/relay.h"
#include "relay/tcp.h"

#include <stdlib.h>
#include <string.h>

struct pq_forward {
    struct pq_front *front;
    char *host;
    uint16_t port;
    struct pq_listener listener;
};

static void on_connection(uv_stream_t *listener, int status)
{
    struct pq_forward *fw = listener->data;
    struct pq_front *f = fw->front;
    uv_tcp_t *tcp = pq_listen_accept(listener, status);
    if (!tcp)
        return;
    const uint16_t port = fw->port ? fw->port : pq_listen_port_of(tcp);
    struct pq_relay *r = port ? pq_relay_new(f) : NULL;
    struct pq_stream *st =
        r ? f->open(f->open_ctx, PQ_REQ_TCP, fw->host, port, &pq_relay_events, r) : NULL;
    if (!st) {
        if (r)
            pq_relay_close(r, true);
        pq_tcp_close(tcp, true);
        return;
    }
    pq_relay_own(r, st);
    r->want_result = true;
    pq_relay_connected(r, tcp);
}

static void on_closed(uv_handle_t *h)
{
    struct pq_forward *fw = h->data;
    free(fw->host);
    free(fw);
}

int pq_forward_retarget(struct pq_forward *fw, const char *host, uint16_t port)
{
    char *copy = strdup(host);
    if (!copy)
        return PQ_ENOMEM;
    free(fw->host);
    fw->host = copy;
    fw->port = port;
    return 0;
}

int pq_forward_open(struct pq_forward **out, struct pq_front *front,
                    const struct pq_forward_conf *conf)
{
    struct pq_forward *fw = *out = calloc(1, sizeof *fw);
    if (!fw)
        return PQ_ENOMEM;
    fw->front = front;
    if (pq_forward_retarget(fw, conf->host, conf->port)) {
        free(fw);
        *out = NULL;
        return PQ_ENOMEM;
    }
    const struct pq_listen_conf lc = {
        .addr = conf->listen, .share_port = conf->share_port, .transparent = conf->transparent};
    int e = pq_listen(&fw->listener, front->loop, fw, &lc, on_connection);
    if (e)
        pq_forward_close(out);
    return e;
}

uint16_t pq_forward_port(const struct pq_forward *fw)
{
    return pq_listen_port_of(&fw->listener.tcp);
}

void pq_forward_close(struct pq_forward **fw)
{
    if (*fw)
        pq_listener_close(&(*fw)->listener, on_closed);
    *fw = NULL;
}
