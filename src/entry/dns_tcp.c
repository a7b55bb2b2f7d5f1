/* SPDX-License-Identifier: MIT */
/* dns_tcp.c - programs that ask over TCP. */
#include "entry/dns_work.h"
#include "relay/tcp.h"

#include <errno.h>
#include <stdlib.h>

#define IDLE_MAX (20 * PQ_SEC)
#define OUT_MAX  ((size_t)256 << 10) /* of answers that a program does not read */

struct dns_conn {
    struct pq_list node; /* in port->conns, the one that asked longest ago first */
    struct pq_dns_port *port;
    uv_tcp_t *tcp;
    pq_ns heard;
    bool broken; /* to be closed */
    size_t n_in;
    uint8_t in[2 + PQ_DNS_QUERY_MAX];
};

struct written {
    uv_write_t req;
    uint8_t data[];
};

static void on_written(uv_write_t *req, int status)
{
    (void)status; /* who reads finds out */
    free(req->data);
}

int pq_dns_write(uv_stream_t *s, uint16_t id, const uint8_t *m, size_t n)
{
    struct written *w = malloc(sizeof *w + 2 + n);
    if (!w)
        return UV_ENOMEM;
    pq_put_be16(w->data, (uint16_t)n);
    memcpy(w->data + 2, m, n);
    pq_dns_set_id(w->data + 2, id);
    w->req.data = w;
    const uv_buf_t b = uv_buf_init((char *)w->data, (unsigned)(2 + n));
    const int e = uv_write(&w->req, s, &b, 1, on_written);
    if (e)
        free(w);
    return e;
}

void pq_dns_tcp_say(struct dns_conn *c, const uint8_t *m, size_t n)
{
    uv_stream_t *s = (uv_stream_t *)c->tcp;
    c->broken = c->broken || uv_stream_get_write_queue_size(s) > OUT_MAX ||
                pq_dns_write(s, pq_dns_id(m), m, n);
}

/* ---- connections */

/* Takes what it has asked for out of a list; nobody is told. */
static unsigned forget_queries(struct pq_list *list, const struct dns_conn *c)
{
    unsigned n = 0;
    struct pq_list *next;
    for (struct pq_list *i = list->next; i != list; i = next) {
        struct dns_query *q = PQ_OF(i, struct dns_query, node);
        next = i->next;
        if (q->conn != c)
            continue;
        pq_list_remove(&q->node);
        pq_dns_beside_forget(q);
        free(q);
        n++;
    }
    return n;
}

static void conn_close(struct dns_conn *c)
{
    struct pq_dns_port *p = c->port;
    p->n_pending -= forget_queries(&p->pending, c);
    p->n_beside -= forget_queries(&p->beside, c);
    pq_list_remove(&c->node);
    p->n_conns--;
    pq_tcp_close(c->tcp, false);
    free(c);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct dns_conn *c = h->data;
    (void)hint;
    *buf = uv_buf_init((char *)c->in + c->n_in, (unsigned)(sizeof c->in - c->n_in));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct dns_conn *c = s->data;
    (void)buf;
    if (n < 0) {
        conn_close(c);
        return;
    }
    c->n_in += (size_t)n;
    c->heard = uv_hrtime();
    pq_list_remove(&c->node);
    pq_list_push(&c->port->conns, &c->node);
    size_t at = 0;
    while (c->n_in - at >= 2 && c->n_in - at - 2 >= pq_be16(c->in + at)) {
        const size_t len = pq_be16(c->in + at);
        pq_dns_take(c->port, c->in + at + 2, len, c, NULL, NULL);
        at += 2 + len;
    }
    memmove(c->in, c->in + at, c->n_in - at);
    c->n_in -= at;
    if (c->broken || c->n_in == sizeof c->in)
        conn_close(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct pq_dns_port *p = listener->data;
    uv_tcp_t *tcp = pq_listen_accept(listener, status);
    struct dns_conn *c = tcp ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        if (tcp)
            pq_tcp_close(tcp, true);
        return;
    }
    if (p->n_conns == PQ_DNS_CONNS_MAX)
        conn_close(PQ_OF(p->conns.next, struct dns_conn, node));
    c->port = p;
    c->tcp = tcp;
    c->heard = uv_hrtime();
    tcp->data = c;
    pq_list_push(&p->conns, &c->node);
    p->n_conns++;
    uv_read_start((uv_stream_t *)tcp, on_alloc, on_read);
}

void pq_dns_tcp_tick(struct pq_dns_port *p, pq_ns now)
{
    struct pq_list *next;
    for (struct pq_list *n = p->conns.next; n != &p->conns; n = next) {
        struct dns_conn *c = PQ_OF(n, struct dns_conn, node);
        next = n->next;
        if (c->broken || now >= c->heard + IDLE_MAX)
            conn_close(c);
    }
}

/* ---- life */

int pq_dns_tcp_open(struct pq_dns_port *p, uint16_t port)
{
    static const char *const at[] = {"127.0.0.1", "::1"};
    int e = 0;
    for (int i = 0; !e && i < PQ_DNS_SOCKETS; i++) {
        struct pq_listen_conf c = {.share_port = false};
        if (p->local[i].fd < 0)
            continue;
        e = pq_addr_parse_ip(&c.addr, at[i]);
        c.addr.port = port;
        p->listening[i] = true;
        e = e ? e : pq_listen(&p->listener[i], p->front->loop, p, &c, on_connection);
    }
    return e;
}

void pq_dns_tcp_close(struct pq_dns_port *p, uv_close_cb closed)
{
    struct pq_list *n;
    while ((n = pq_list_pop(&p->conns)))
        conn_close(PQ_OF(n, struct dns_conn, node));
    for (int i = 0; i < PQ_DNS_SOCKETS; i++) {
        if (!p->listening[i])
            continue;
        p->handles++;
        pq_listener_close(&p->listener[i], closed);
    }
}
