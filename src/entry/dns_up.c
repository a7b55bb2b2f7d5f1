/* SPDX-License-Identifier: MIT */
/* dns_up.c - queries to the resolver behind the tunnel. */
#include "entry/dns_work.h"
#include "relay/relay.h"
#include "relay/tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_MAX    ((size_t)256 << 10)
#define LOG_PERIOD (60 * PQ_SEC)

/* The way to the resolver: one end of a pair of sockets, whose other end a relay has. */
struct dns_upstream {
    uv_tcp_t tcp;
    struct pq_dns_port *port; /* NULL: given up */
    uint8_t in[PQ_DNS_IN_MAX];
    size_t n_in;
};

/* ---- answers */

static struct dns_query *find_pending(struct pq_dns_port *p, uint16_t own)
{
    for (struct pq_list *n = p->pending.next; n != &p->pending; n = n->next)
        if (PQ_OF(n, struct dns_query, node)->own == own)
            return PQ_OF(n, struct dns_query, node);
    return NULL;
}

static void on_answer(struct pq_dns_port *p, uint8_t *m, size_t n)
{
    struct dns_query *q = n >= PQ_DNS_HEAD ? find_pending(p, pq_dns_id(m)) : NULL;
    if (!q || !pq_dns_answers(m, n, q->data, &q->q))
        return;
    p->waits_since = p->n_pending > 1 ? uv_hrtime() : 0;
    pq_list_remove(&q->node);
    p->n_pending--;
    pq_dns_done(q, m, n);
}

/* ---- the way to the resolver */

static void on_up_closed(uv_handle_t *h)
{
    free(h->data);
}

static void drop_upstream(struct pq_dns_port *p)
{
    struct dns_upstream *u = p->up;
    p->up = NULL;
    p->waits_since = 0;
    if (!u)
        return;
    u->port = NULL;
    uv_close((uv_handle_t *)&u->tcp, on_up_closed);
}

static void on_up_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct dns_upstream *u = h->data;
    (void)hint;
    *buf = uv_buf_init((char *)u->in + u->n_in, (unsigned)(PQ_DNS_IN_MAX - u->n_in));
}

static void on_up_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct dns_upstream *u = s->data;
    (void)buf;
    if (n < 0) { /* the next tick asks anew */
        drop_upstream(u->port);
        return;
    }
    u->n_in += (size_t)n;
    size_t at = 0;
    while (u->port && u->n_in - at >= 2 && u->n_in - at - 2 >= pq_be16(u->in + at)) {
        const size_t len = pq_be16(u->in + at);
        on_answer(u->port, u->in + at + 2, len);
        at += 2 + len;
    }
    memmove(u->in, u->in + at, u->n_in - at);
    u->n_in -= at;
}

/* Joins one end of the pair and a stream to the resolver.  Takes the descriptor. */
static int join(struct pq_front *f, int fd, const struct pq_addr *to)
{
    char host[PQ_ADDR_STRLEN];
    uv_tcp_t *tcp = pq_tcp_new(f->loop);
    if (!tcp || uv_tcp_open(tcp, fd)) {
        close(fd);
        if (tcp)
            pq_tcp_close(tcp, false);
        return PQ_ENOMEM;
    }
    struct pq_relay *r = pq_relay_new(f);
    struct pq_stream *st = r ? f->open(f->open_ctx, PQ_REQ_TCP, pq_addr_ip_str(to, host), to->port,
                                       &pq_relay_events, r)
                             : NULL;
    if (!st) {
        if (r)
            pq_relay_close(r, true);
        pq_tcp_close(tcp, false);
        return PQ_EAGAIN;
    }
    pq_relay_own(r, st);
    r->want_result = true;
    pq_relay_connected(r, tcp);
    return 0;
}

static int open_upstream(struct pq_dns_port *p)
{
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd))
        return -errno;
    struct dns_upstream *u = calloc(1, sizeof *u);
    int e = u ? join(p->front, fd[0], &p->resolver[p->now]) : PQ_ENOMEM;
    if (!u)
        close(fd[0]);
    if (e) {
        close(fd[1]);
        free(u);
        return e;
    }
    uv_tcp_init(p->front->loop, &u->tcp);
    u->tcp.data = u;
    u->port = p;
    p->up = u;
    if (uv_tcp_open(&u->tcp, fd[1])) {
        close(fd[1]);
        drop_upstream(p);
        return PQ_EAGAIN;
    }
    uv_read_start((uv_stream_t *)&u->tcp, on_up_alloc, on_up_read);
    return 0;
}

/* ---- queries */

static void keep(struct pq_dns_port *p, struct dns_query *q)
{
    pq_list_push(&p->pending, &q->node);
    p->n_pending++;
}

/* Takes the oldest one out, or returns NULL. */
static struct dns_query *pop(struct pq_dns_port *p)
{
    struct pq_list *n = pq_list_pop(&p->pending);
    p->n_pending -= n != NULL;
    return n ? PQ_OF(n, struct dns_query, node) : NULL;
}

/* Sends a query, which stays until it is answered; if it cannot now, a tick will. */
static void ask(struct pq_dns_port *p, struct dns_query *q)
{
    if ((!p->up && open_upstream(p)) ||
        uv_stream_get_write_queue_size((uv_stream_t *)&p->up->tcp) > OUT_MAX)
        return;
    do
        q->own = (uint16_t)pq_rng_u32(&p->rng);
    while (find_pending(p, q->own) != q);
    pq_dns_write((uv_stream_t *)&p->up->tcp, q->own, q->data, q->n);
    q->tries++;
    if (!p->waits_since)
        p->waits_since = uv_hrtime();
}

void pq_dns_up_ask(struct pq_dns_port *p, struct dns_query *q)
{
    if (p->n_pending == PQ_DNS_PENDING_MAX)
        pq_dns_give_up(pop(p));
    keep(p, q);
    ask(p, q);
}

/* Asks the next resolver all that is not answered. */
static void ask_again(struct pq_dns_port *p)
{
    struct dns_query *q;
    drop_upstream(p);
    p->now = (p->now + 1) % p->conf.n;
    for (unsigned left = p->n_pending; left && (q = pop(p)); left--) {
        if (q->tries >= PQ_DNS_TRIES) {
            pq_dns_give_up(q);
            continue;
        }
        keep(p, q);
        ask(p, q);
    }
}

void pq_dns_up_tick(struct pq_dns_port *p, pq_ns now)
{
    if (!p->n_pending || (p->up && now < p->waits_since + PQ_DNS_PATIENCE))
        return;
    const uint64_t n = p->up ? pq_log_due(&p->silent, LOG_PERIOD, now) : 0;
    char ip[PQ_ADDR_STRLEN];
    if (n)
        PQ_LOG(PQ_LOG_WARN, "tun.dns: no answer of %s within 2.5 s",
               pq_addr_str(&p->resolver[p->now], ip));
    ask_again(p);
}

void pq_dns_up_close(struct pq_dns_port *p)
{
    drop_upstream(p);
}
