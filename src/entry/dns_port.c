/* SPDX-License-Identifier: MIT */
#include "entry/dns_port.h"

#include "base/rng.h"
#include "entry/dns_cache.h"
#include "header/dns.h"
#include "relay/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS    250U
#define PATIENCE   (2500 * PQ_MS) /* for the answers of a resolver, then another one is asked */
#define TRIES      3
#define LIFE       (10 * PQ_SEC) /* nobody waits longer for a name */
#define RECV_TURN  32
#define IN_MAX     65537U /* an answer and its length */
#define OUT_MAX    ((size_t)256 << 10)
#define PORT_TRIES 16
#define LOG_PERIOD (60 * PQ_SEC)

enum { SOCKETS = 2 };

struct local { /* where programs ask */
    struct pq_dns_port *port;
    int fd; /* -1: none */
    uv_poll_t poll;
};

struct query {
    struct pq_list node; /* in p->pending, the oldest first */
    struct local *local;
    struct pq_addr from;
    pq_ns asked;
    uint16_t id, own; /* its number, and as the resolver knows it */
    unsigned tries;
    struct pq_dns_query q;
    size_t n;
    uint8_t data[];
};

/* The way to the resolver: one end of a pair of sockets, whose other end a relay has. */
struct upstream {
    uv_tcp_t tcp;
    struct pq_dns_port *port; /* NULL: given up */
    uint8_t in[IN_MAX];
    size_t n_in;
};

struct pq_dns_port {
    struct pq_front *front;
    struct local local[SOCKETS];
    struct pq_addr resolver[PQ_DNS_RESOLVERS_MAX];
    unsigned n_resolvers, now; /* which one is asked */
    struct upstream *up;       /* NULL: none */
    pq_ns waits_since;         /* for an answer of it; 0: for none */
    struct pq_list pending;
    unsigned n_pending;
    struct pq_dns_cache cache;
    struct pq_rng rng;
    uv_timer_t timer;
    unsigned handles;
    struct pq_log_limit silent;
};

/* ---- answers */

static void send_to(const struct local *l, const struct pq_addr *to, const uint8_t *p, size_t n)
{
    struct sockaddr_storage ss;
    const socklen_t len = pq_addr_to_sock(to, &ss);
    if (sendto(l->fd, p, n, 0, (struct sockaddr *)&ss, len) < 0)
        l->port->front->udp_dropped++;
}

/* p may be changed. */
static void answer(const struct query *q, uint8_t *p, size_t n)
{
    pq_dns_set_id(p, q->id);
    if (n <= q->q.udp_max) {
        send_to(q->local, &q->from, p, n);
        return;
    }
    uint8_t head[PQ_DNS_QUERY_MAX];
    pq_dns_write_empty(head, q->data, &q->q, true);
    pq_dns_set_id(head, q->id);
    send_to(q->local, &q->from, head, q->q.question);
}

static void query_free(struct pq_dns_port *p, struct query *q)
{
    pq_list_remove(&q->node);
    p->n_pending--;
    free(q);
}

static void keep(struct pq_dns_port *p, struct query *q)
{
    pq_list_push(&p->pending, &q->node);
    p->n_pending++;
}

/* Takes the oldest one out, or returns NULL. */
static struct query *pop(struct pq_dns_port *p)
{
    struct pq_list *n = pq_list_pop(&p->pending);
    p->n_pending -= n != NULL;
    return n ? PQ_OF(n, struct query, node) : NULL;
}

/* Of one that was taken out. */
static void fail(struct query *q)
{
    uint8_t head[PQ_DNS_QUERY_MAX];
    pq_dns_write_empty(head, q->data, &q->q, false);
    pq_dns_set_id(head, q->id);
    send_to(q->local, &q->from, head, q->q.question);
    free(q);
}

static struct query *find_pending(struct pq_dns_port *p, uint16_t own)
{
    for (struct pq_list *n = p->pending.next; n != &p->pending; n = n->next)
        if (PQ_OF(n, struct query, node)->own == own)
            return PQ_OF(n, struct query, node);
    return NULL;
}

static void on_answer(struct pq_dns_port *p, uint8_t *m, size_t n)
{
    struct query *q = n >= PQ_DNS_HEAD ? find_pending(p, pq_dns_id(m)) : NULL;
    if (!q || !pq_dns_answers(m, n, q->data, &q->q))
        return;
    p->waits_since = p->n_pending > 1 ? uv_hrtime() : 0;
    pq_dns_cache_add(&p->cache, (struct pq_view){q->data, q->n}, (struct pq_view){m, n},
                     uv_hrtime());
    answer(q, m, n);
    query_free(p, q);
}

/* ---- the way to the resolver */

static void on_up_closed(uv_handle_t *h)
{
    free(h->data);
}

static void drop_upstream(struct pq_dns_port *p)
{
    struct upstream *u = p->up;
    p->up = NULL;
    p->waits_since = 0;
    if (!u)
        return;
    u->port = NULL;
    uv_close((uv_handle_t *)&u->tcp, on_up_closed);
}

static void on_up_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct upstream *u = h->data;
    (void)hint;
    *buf = uv_buf_init((char *)u->in + u->n_in, (unsigned)(IN_MAX - u->n_in));
}

static void on_up_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct upstream *u = s->data;
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
    struct upstream *u = calloc(1, sizeof *u);
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

struct written {
    uv_write_t req;
    uint8_t data[2 + PQ_DNS_QUERY_MAX];
};

static void on_written(uv_write_t *req, int status)
{
    (void)status; /* who reads finds out */
    free(req->data);
}

/* Sends a query, which stays until it is answered; if it cannot now, a tick will. */
static void ask(struct pq_dns_port *p, struct query *q)
{
    if ((!p->up && open_upstream(p)) ||
        uv_stream_get_write_queue_size((uv_stream_t *)&p->up->tcp) > OUT_MAX)
        return;
    struct written *w = malloc(sizeof *w);
    if (!w)
        return;
    do
        q->own = (uint16_t)pq_rng_u32(&p->rng);
    while (find_pending(p, q->own) != q);
    pq_put_be16(w->data, (uint16_t)q->n);
    memcpy(w->data + 2, q->data, q->n);
    pq_dns_set_id(w->data + 2, q->own);
    w->req.data = w;
    const uv_buf_t b = uv_buf_init((char *)w->data, (unsigned)(2 + q->n));
    if (uv_write(&w->req, (uv_stream_t *)&p->up->tcp, &b, 1, on_written))
        free(w);
    q->tries++;
    if (!p->waits_since)
        p->waits_since = uv_hrtime();
}

/* Asks the next resolver all that is not answered. */
static void ask_again(struct pq_dns_port *p)
{
    struct query *q;
    drop_upstream(p);
    p->now = (p->now + 1) % p->n_resolvers;
    for (unsigned left = p->n_pending; left && (q = pop(p)); left--) {
        if (q->tries >= TRIES) {
            fail(q);
            continue;
        }
        keep(p, q);
        ask(p, q);
    }
}

/* Who asked waits no longer. */
static void expire(struct pq_dns_port *p, pq_ns now)
{
    struct query *q;
    while ((q = pop(p))) {
        if (q->asked + LIFE >= now) {
            pq_list_insert_before(p->pending.next, &q->node);
            p->n_pending++;
            return;
        }
        fail(q);
    }
}

static void on_timer(uv_timer_t *t)
{
    struct pq_dns_port *p = t->data;
    const pq_ns now = uv_hrtime();
    expire(p, now);
    if (!p->n_pending)
        return;
    if (p->up && now < p->waits_since + PATIENCE)
        return;
    const uint64_t n = p->up ? pq_log_due(&p->silent, LOG_PERIOD, now) : 0;
    char ip[PQ_ADDR_STRLEN];
    if (n)
        PQ_LOG(PQ_LOG_WARN, "tun.dns: no answer of %s within 2.5 s",
               pq_addr_str(&p->resolver[p->now], ip));
    ask_again(p);
}

/* ---- programs */

static bool answer_from_cache(struct pq_dns_port *p, const struct query *q)
{
    uint8_t *copy = pq_front_space(p->front);
    const struct pq_view v =
        pq_dns_cache_find(&p->cache, (struct pq_view){q->data, q->n}, uv_hrtime());
    if (!v.p || !copy)
        return false;
    memcpy(copy, v.p, v.n);
    answer(q, copy, v.n);
    return true;
}

static void on_query(struct local *l, const uint8_t *m, size_t n, const struct pq_addr *from)
{
    struct pq_dns_port *p = l->port;
    struct pq_dns_query read;
    if (n > PQ_DNS_QUERY_MAX || pq_dns_read_query(m, n, &read))
        return;
    struct query *q = calloc(1, sizeof *q + n);
    if (!q)
        return;
    q->local = l;
    q->from = *from;
    q->asked = uv_hrtime();
    q->id = pq_dns_id(m);
    q->q = read;
    q->n = n;
    memcpy(q->data, m, n);
    if (answer_from_cache(p, q)) {
        free(q);
        return;
    }
    if (p->n_pending == PQ_DNS_PENDING_MAX)
        fail(pop(p));
    keep(p, q);
    ask(p, q);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct local *l = poll->data;
    (void)events;
    if (status < 0)
        uv_poll_start(poll, UV_READABLE, on_readable);
    for (int i = 0; i < RECV_TURN; i++) {
        uint8_t buf[PQ_DNS_QUERY_MAX + 1];
        struct sockaddr_storage ss;
        struct pq_addr from;
        socklen_t len = sizeof ss;
        const ssize_t n = recvfrom(l->fd, buf, sizeof buf, 0, (struct sockaddr *)&ss, &len);
        if (n < 0)
            return;
        if (pq_addr_from_sock(&from, (struct sockaddr *)&ss) == 0)
            on_query(l, buf, (size_t)n, &from);
    }
}

/* ---- life */

/* A socket at this address, which nobody else can bind, too.  Returns it or -errno. */
static int bound(const char *ip, uint16_t port)
{
    struct pq_addr a;
    struct sockaddr_storage ss;
    const int one = 1;
    if (pq_addr_parse_ip(&a, ip))
        return -EINVAL;
    a.port = port;
    const socklen_t len = pq_addr_to_sock(&a, &ss);
    const int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (ss.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&ss, len)) {
        const int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage ss;
    struct pq_addr a = {.port = 0};
    socklen_t len = sizeof ss;
    if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
        pq_addr_from_sock(&a, (struct sockaddr *)&ss);
    return a.port;
}

/* Both sockets, at one port.  Returns 0 or -errno. */
static int bind_both(struct pq_dns_port *p)
{
    int e = -EADDRINUSE;
    for (int i = 0; i < PORT_TRIES && e == -EADDRINUSE; i++) {
        const int four = bound("127.0.0.1", 0);
        if (four < 0)
            return four;
        const int six = bound("::1", port_of(four));
        e = six < 0 && six != -EAFNOSUPPORT && six != -EADDRNOTAVAIL ? six : 0;
        if (e)
            close(four);
        p->local[0].fd = e ? -1 : four;
        p->local[1].fd = e || six < 0 ? -1 : six;
    }
    return e;
}

int pq_dns_port_open(struct pq_dns_port **out, struct pq_front *front,
                     const struct pq_addr *resolvers, unsigned n, uint16_t *port)
{
    struct pq_dns_port *p = *out = calloc(1, sizeof *p);
    if (!p)
        return PQ_ENOMEM;
    int e = bind_both(p);
    if (e) {
        free(p);
        *out = NULL;
        return e;
    }
    p->front = front;
    memcpy(p->resolver, resolvers, n * sizeof *resolvers);
    p->n_resolvers = n;
    pq_list_init(&p->pending);
    pq_list_init(&p->cache.used);
    pq_rng_init(&p->rng);
    p->cache.seed = pq_rng_u64(&p->rng);
    uv_timer_init(front->loop, &p->timer);
    p->timer.data = p;
    p->handles = 1;
    uv_timer_start(&p->timer, on_timer, TICK_MS, TICK_MS);
    for (int i = 0; i < SOCKETS; i++) {
        struct local *l = &p->local[i];
        l->port = p;
        if (l->fd >= 0 && uv_poll_init(front->loop, &l->poll, l->fd)) {
            close(l->fd);
            l->fd = -1;
        }
        if (l->fd < 0)
            continue;
        p->handles++;
        l->poll.data = l;
        uv_poll_start(&l->poll, UV_READABLE, on_readable);
    }
    *port = p->local[0].fd < 0 ? 0 : port_of(p->local[0].fd);
    if (*port)
        return 0;
    pq_dns_port_close(out);
    return PQ_ENOMEM;
}

static void on_closed(uv_handle_t *h)
{
    struct pq_dns_port *p = h->type == UV_TIMER ? h->data : ((struct local *)h->data)->port;
    if (--p->handles == 0)
        free(p);
}

void pq_dns_port_close(struct pq_dns_port **pp)
{
    struct pq_dns_port *p = *pp;
    if (!p)
        return;
    *pp = NULL;
    drop_upstream(p);
    struct query *q;
    while ((q = pop(p)))
        free(q);
    pq_dns_cache_clear(&p->cache);
    uv_close((uv_handle_t *)&p->timer, on_closed);
    for (int i = 0; i < SOCKETS; i++) {
        if (p->local[i].fd < 0)
            continue;
        uv_close((uv_handle_t *)&p->local[i].poll, on_closed);
        close(p->local[i].fd);
    }
}
