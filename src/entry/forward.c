/* SPDX-License-Identifier: MIT */
#include "entry/forward.h"

#include "entry/listen.h"
#include "relay/relay.h"

#include <stdlib.h>

struct pq_forward {
    struct pq_front *front;
    struct pq_forward_conf conf;
    struct pq_listener listener;
};

static void on_connection(uv_stream_t *listener, int status)
{
    struct pq_forward *fw = listener->data;
    struct pq_front *f = fw->front;
    uv_tcp_t *tcp = pq_listen_accept(listener, status);
    if (!tcp)
        return;
    struct pq_relay *r = pq_relay_new(f);
    struct pq_stream *st =
        r ? f->open(f->open_ctx, PQ_REQ_TCP, fw->conf.host, fw->conf.port, &pq_relay_events, r)
          : NULL;
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
    free(h->data);
}

int pq_forward_open(struct pq_forward **out, struct pq_front *front,
                    const struct pq_forward_conf *conf)
{
    struct pq_forward *fw = *out = calloc(1, sizeof *fw);
    if (!fw)
        return PQ_ENOMEM;
    fw->front = front;
    fw->conf = *conf;
    int e =
        pq_listen(&fw->listener, front->loop, fw, &conf->listen, conf->share_port, on_connection);
    if (e)
        pq_forward_close(out);
    return e;
}

void pq_forward_close(struct pq_forward **fw)
{
    if (*fw)
        pq_listener_close(&(*fw)->listener, on_closed);
    *fw = NULL;
}
