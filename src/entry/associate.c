/* SPDX-License-Identifier: MIT */
#include "entry/associate.h"

#include "entry/udp_port.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct pq_associate {
    struct pq_list node; /* in front->associates */
    struct pq_udp_port *port;
    uv_tcp_t *tcp;
};

/* Ends all of the worker. */
static void stop_all(struct pq_front *front)
{
    struct pq_list *n;
    while ((n = pq_list_pop(&front->associates)))
        pq_associate_drop(PQ_OF(n, struct pq_associate, node));
}

int pq_associate_open(struct pq_associate **out, struct pq_front *front, uv_tcp_t *tcp,
                      const struct pq_addr *from, struct pq_addr *bound)
{
    struct sockaddr_storage ss;
    struct pq_udp_port_conf conf = {0};
    int len = sizeof ss;
    *out = NULL;
    int e = uv_tcp_getsockname(tcp, (struct sockaddr *)&ss, &len);
    if (!e)
        e = pq_addr_from_sock(&conf.bind, (struct sockaddr *)&ss);
    if (!e && ss.ss_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, &ss, sizeof six);
        conf.scope = six.sin6_scope_id; /* 0 unless the address is link-local */
    }
    len = sizeof ss;
    if (!e)
        e = uv_tcp_getpeername(tcp, (struct sockaddr *)&ss, &len);
    if (!e)
        e = pq_addr_from_sock(&conf.owner, (struct sockaddr *)&ss);
    if (e)
        return e;
    conf.bind.port = 0;
    conf.owner.port = from->port;
    struct pq_associate *a = calloc(1, sizeof *a);
    if (!a)
        return PQ_ENOMEM;
    e = pq_udp_port_open(&a->port, front, &conf);
    if (e) {
        free(a);
        return e;
    }
    pq_udp_port_addr(a->port, bound);
    pq_list_push(&front->associates, &a->node);
    pq_front_at_stop(front, stop_all);
    *out = a;
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    struct pq_associate *a = h->data;
    free(h);
    free(a);
}

void pq_associate_drop(struct pq_associate *a)
{
    if (!a->port)
        return; /* ending already */
    pq_list_remove(&a->node);
    pq_udp_port_close(&a->port);
    if (a->tcp)
        uv_close((uv_handle_t *)a->tcp, on_closed);
    else
        free(a);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    static _Thread_local char junk[256]; /* nothing is said on this connection any more */
    (void)h;
    (void)hint;
    *buf = uv_buf_init(junk, sizeof junk);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    if (n < 0)
        pq_associate_drop(s->data);
}

void pq_associate_hold(struct pq_associate *a, uv_tcp_t *tcp)
{
    a->tcp = tcp;
    tcp->data = a;
    if (uv_read_start((uv_stream_t *)tcp, on_alloc, on_read))
        pq_associate_drop(a);
}
