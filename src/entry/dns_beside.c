/* SPDX-License-Identifier: MIT */
/* dns_beside.c - queries to the machine's own resolvers, for names that go directly: each from a
 * socket of its own, over UDP or TCP as the program has asked. */
#include "entry/dns_work.h"
#include "relay/dial.h"
#include "relay/tcp.h"
#include "relay/udp_target.h"

#include <stdlib.h>
#include <string.h>

#define LOG_PERIOD (60 * PQ_SEC)

struct dns_beside {
    struct dns_query *query;
    pq_ns sent;
    unsigned nth;              /* of the resolvers */
    struct pq_udp_target *udp; /* one of these, or none: it has failed */
    struct pq_dial *dial;
    uv_tcp_t *tcp;
    size_t n_in;
    uint8_t in[]; /* TCP: PQ_DNS_IN_MAX */
};

void pq_dns_beside_forget(struct dns_query *q)
{
    struct dns_beside *b = q->out;
    q->out = NULL;
    if (!b)
        return;
    if (b->udp)
        pq_udp_target_close(b->udp);
    if (b->dial)
        pq_dial_cancel(b->dial);
    if (b->tcp)
        pq_tcp_close(b->tcp, false);
    free(b);
}

static void take_out(struct dns_query *q)
{
    pq_list_remove(&q->node);
    q->port->n_beside--;
}

/* Whether it was the answer; then the query is gone. */
static bool on_answer(struct dns_query *q, uint8_t *m, size_t n)
{
    if (n < PQ_DNS_HEAD || pq_dns_id(m) != q->own || !pq_dns_answers(m, n, q->data, &q->q))
        return false;
    q->port->now_beside = q->out->nth;
    take_out(q);
    pq_dns_done(q, m, n);
    return true;
}

/* ---- over UDP */

static void on_datagram(void *ctx, struct pq_view v)
{
    struct dns_beside *b = ctx;
    uint8_t *copy = v.n ? malloc(v.n) : NULL;
    if (!copy)
        return;
    memcpy(copy, v.p, v.n);
    on_answer(b->query, copy, v.n);
    free(copy);
}

static void on_ready(void *ctx, int err)
{
    (void)ctx; /* a tick finds out that nothing comes */
    (void)err;
}

/* ---- over TCP */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct dns_beside *b = h->data;
    (void)hint;
    *buf = uv_buf_init((char *)b->in + b->n_in, (unsigned)(PQ_DNS_IN_MAX - b->n_in));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct dns_beside *b = s->data;
    (void)buf;
    b->n_in += n > 0 ? (size_t)n : 0;
    const bool whole = b->n_in >= 2 && b->n_in - 2 >= pq_be16(b->in);
    if (whole && on_answer(b->query, b->in + 2, pq_be16(b->in)))
        return;
    if (n >= 0 && !whole)
        return;
    pq_tcp_close(b->tcp, false);
    b->tcp = NULL;
}

static void on_dialled(void *ctx, uv_tcp_t *tcp, int err)
{
    struct dns_beside *b = ctx;
    b->dial = NULL;
    b->tcp = tcp;
    if (err)
        return;
    tcp->data = b;
    uv_read_start((uv_stream_t *)tcp, on_alloc, on_read);
    pq_dns_write((uv_stream_t *)tcp, b->query->own, b->query->data, b->query->n);
}

/* ---- queries */

static bool send_udp(struct dns_beside *b, const char *host, uint16_t port)
{
    static const struct pq_udp_target_events events = {.recv = on_datagram, .ready = on_ready};
    uint8_t copy[PQ_DNS_QUERY_MAX];
    const struct dns_query *q = b->query;
    b->udp = pq_udp_target_new(q->port->front, &events, b);
    if (!b->udp)
        return false;
    memcpy(copy, q->data, q->n);
    pq_dns_set_id(copy, q->own);
    pq_udp_target_start(b->udp, NULL, host, port);
    pq_udp_target_send(b->udp, (struct pq_view){copy, q->n});
    return true;
}

/* Asks one of the resolvers that there are now.  Returns false if there is none, or no memory. */
static bool send_out(struct pq_dns_port *p, struct dns_query *q)
{
    struct pq_addr a[PQ_DNS_RESOLVERS_MAX];
    char host[PQ_ADDR_STRLEN];
    const unsigned n = p->conf.beside(p->conf.ctx, a);
    const pq_ns now = uv_hrtime();
    if (!n && pq_log_due(&p->none_beside, LOG_PERIOD, now))
        PQ_LOG(PQ_LOG_WARN, "tun.dns_direct: no resolver of this machine is known, so names that "
                            "go directly are not found: set it to one");
    struct dns_beside *b = n ? calloc(1, sizeof *b + (q->conn ? PQ_DNS_IN_MAX : 0)) : NULL;
    if (!b)
        return false;
    b->nth = (p->now_beside + q->tries++) % n;
    const struct pq_addr *to = &a[b->nth];
    b->query = q;
    b->sent = now;
    q->own = (uint16_t)pq_rng_u32(&p->rng);
    q->out = b;
    pq_addr_ip_str(to, host);
    if (!q->conn)
        return send_udp(b, host, to->port);
    b->dial = pq_dial_start_unruled(p->front, host, to->port, on_dialled, b);
    return true;
}

void pq_dns_beside_ask(struct pq_dns_port *p, struct dns_query *q)
{
    if (p->n_beside == PQ_DNS_BESIDE_MAX) {
        struct dns_query *oldest = PQ_OF(p->beside.next, struct dns_query, node);
        take_out(oldest);
        pq_dns_give_up(oldest);
    }
    p->counts.beside++;
    if (!send_out(p, q)) {
        pq_dns_give_up(q);
        return;
    }
    pq_list_push(&p->beside, &q->node);
    p->n_beside++;
}

static bool is_silent(const struct dns_beside *b, pq_ns now)
{
    return (!b->udp && !b->dial && !b->tcp) || now >= b->sent + PQ_DNS_PATIENCE;
}

void pq_dns_beside_tick(struct pq_dns_port *p, pq_ns now)
{
    struct pq_list *next;
    for (struct pq_list *n = p->beside.next; n != &p->beside; n = next) {
        struct dns_query *q = PQ_OF(n, struct dns_query, node);
        next = n->next;
        if (!is_silent(q->out, now))
            continue;
        pq_dns_beside_forget(q);
        if (q->tries < PQ_DNS_TRIES && send_out(p, q))
            continue;
        take_out(q);
        pq_dns_give_up(q);
    }
}
