/* SPDX-License-Identifier: MIT */
#include "entry/dns_port.h"

#include "entry/dns_work.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS    250U
#define LIFE       (10 * PQ_SEC) /* nobody waits longer for a name */
#define EXPIRY     (5 * PQ_SEC)  /* between looks at what is known of addresses */
#define RECV_TURN  32
#define PORT_TRIES 16

/* ---- answers */

static void send_to(const struct dns_local *l, const struct pq_addr *to, const uint8_t *p, size_t n)
{
    struct sockaddr_storage ss;
    const socklen_t len = pq_addr_to_sock(to, &ss);
    if (sendto(l->fd, p, n, 0, (struct sockaddr *)&ss, len) < 0)
        l->port->front->udp_dropped++;
}

static void say(const struct dns_query *q, const uint8_t *m, size_t n)
{
    if (q->conn)
        pq_dns_tcp_say(q->conn, m, n);
    else
        send_to(q->local, &q->from, m, n);
}

static void say_empty(const struct dns_query *q, enum pq_dns_empty what)
{
    uint8_t head[PQ_DNS_QUERY_MAX];
    pq_dns_write_empty(head, q->data, &q->q, what);
    pq_dns_set_id(head, q->id);
    say(q, head, q->q.question);
}

/* Where packets to these addresses go from now on: before the program knows them. */
static void learn(struct pq_dns_port *p, const struct dns_query *q, const uint8_t *m, size_t n)
{
    char name[PQ_DNS_NAME_MAX + 1];
    struct pq_dns_addr a[PQ_DNS_ADDRS_MAX];
    const struct pq_split *split = p->front->split;
    pq_dns_name(q->data, &q->q, name);
    const enum pq_way way = pq_split_name(split, name, NULL);
    const unsigned found = way == PQ_WAY_BLOCK ? 0 : pq_dns_addrs(m, n, a);
    for (unsigned i = 0; i < found; i++)
        pq_steer_learn(p->steer, split, name, way, &a[i].ip, a[i].ttl, uv_hrtime());
}

/* m may be changed. */
static void answer(struct pq_dns_port *p, const struct dns_query *q, uint8_t *m, size_t n)
{
    if (p->names)
        learn(p, q, m, n);
    pq_dns_set_id(m, q->id);
    if (q->conn || n <= q->q.udp_max)
        say(q, m, n);
    else
        say_empty(q, PQ_DNS_TRUNCATED);
}

static void query_free(struct dns_query *q)
{
    pq_dns_beside_forget(q);
    free(q);
}

void pq_dns_done(struct dns_query *q, uint8_t *m, size_t n)
{
    struct pq_dns_port *p = q->port;
    pq_dns_cache_add(&p->cache, (struct pq_view){q->data, q->n}, (struct pq_view){m, n},
                     uv_hrtime());
    answer(p, q, m, n);
    query_free(q);
}

void pq_dns_give_up(struct dns_query *q)
{
    q->port->counts.failed++;
    say_empty(q, PQ_DNS_FAILED);
    query_free(q);
}

/* ---- queries */

static bool answer_from_cache(struct pq_dns_port *p, const struct dns_query *q)
{
    uint8_t *copy = pq_front_space(p->front);
    const struct pq_view v =
        pq_dns_cache_find(&p->cache, (struct pq_view){q->data, q->n}, uv_hrtime());
    if (!v.p || !copy)
        return false;
    memcpy(copy, v.p, v.n);
    p->counts.cached++;
    answer(p, q, copy, v.n);
    return true;
}

static enum pq_way way_of(const struct pq_dns_port *p, const struct dns_query *q)
{
    char name[PQ_DNS_NAME_MAX + 1];
    if (!p->names)
        return PQ_WAY_TUNNEL;
    pq_dns_name(q->data, &q->q, name);
    return pq_split_name(p->front->split, name, NULL);
}

void pq_dns_take(struct pq_dns_port *p, const uint8_t *m, size_t n, struct dns_conn *conn,
                 struct dns_local *local, const struct pq_addr *from)
{
    struct pq_dns_query read;
    if (n > PQ_DNS_QUERY_MAX || pq_dns_read_query(m, n, &read))
        return;
    struct dns_query *q = calloc(1, sizeof *q + n);
    if (!q)
        return;
    q->port = p;
    q->conn = conn;
    q->local = local;
    if (from)
        q->from = *from;
    q->asked = uv_hrtime();
    q->id = pq_dns_id(m);
    q->q = read;
    q->n = n;
    memcpy(q->data, m, n);
    p->counts.asked++;
    const enum pq_way way = way_of(p, q);
    p->front->ways[way] += p->names;
    if (way == PQ_WAY_BLOCK) {
        p->counts.blocked++;
        say_empty(q, PQ_DNS_NO_NAME);
        query_free(q);
    } else if (answer_from_cache(p, q)) {
        query_free(q);
    } else if (way == PQ_WAY_DIRECT) {
        pq_dns_beside_ask(p, q);
    } else {
        pq_dns_up_ask(p, q);
    }
}

/* Who asked waits no longer: the oldest are in front.  Returns how many were taken out. */
static unsigned expire(struct pq_list *list, pq_ns now)
{
    struct pq_list *i;
    unsigned n = 0;
    for (; (i = pq_list_pop(list)); n++) {
        struct dns_query *q = PQ_OF(i, struct dns_query, node);
        if (q->asked + LIFE >= now) {
            pq_list_insert_before(list->next, i);
            break;
        }
        pq_dns_give_up(q);
    }
    return n;
}

static void on_timer(uv_timer_t *t)
{
    struct pq_dns_port *p = t->data;
    const pq_ns now = uv_hrtime();
    p->n_pending -= expire(&p->pending, now);
    p->n_beside -= expire(&p->beside, now);
    pq_dns_up_tick(p, now);
    pq_dns_beside_tick(p, now);
    pq_dns_tcp_tick(p, now);
    if (now >= p->expired + EXPIRY) {
        p->expired = now;
        pq_steer_expire(p->steer, p->front->split, now);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct dns_local *l = poll->data;
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
            pq_dns_take(l->port, buf, (size_t)n, NULL, l, &from);
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

static void watch(struct pq_dns_port *p)
{
    for (int i = 0; i < PQ_DNS_SOCKETS; i++) {
        struct dns_local *l = &p->local[i];
        l->port = p;
        if (l->fd >= 0 && uv_poll_init(p->front->loop, &l->poll, l->fd)) {
            close(l->fd);
            l->fd = -1;
        }
        if (l->fd < 0)
            continue;
        p->handles++;
        l->poll.data = l;
        uv_poll_start(&l->poll, UV_READABLE, on_readable);
    }
}

static int prepare(struct pq_dns_port *p, struct pq_front *front,
                   const struct pq_dns_port_conf *conf)
{
    p->front = front;
    p->conf = *conf;
    memcpy(p->resolver, conf->resolvers, conf->n * sizeof p->resolver[0]);
    p->names = pq_split_has_names(front->split);
    pq_list_init(&p->pending);
    pq_list_init(&p->beside);
    pq_list_init(&p->conns);
    pq_list_init(&p->cache.used);
    pq_rng_init(&p->rng);
    p->cache.seed = pq_rng_u64(&p->rng);
    p->steer = pq_steer_new(pq_rng_u64(&p->rng), conf->steer, conf->ctx);
    return p->steer ? bind_both(p) : PQ_ENOMEM;
}

int pq_dns_port_open(struct pq_dns_port **out, struct pq_front *front,
                     const struct pq_dns_port_conf *conf, uint16_t *port)
{
    struct pq_dns_port *p = *out = calloc(1, sizeof *p);
    int e = p ? prepare(p, front, conf) : PQ_ENOMEM;
    if (e) {
        if (p)
            pq_steer_free(&p->steer);
        free(p);
        *out = NULL;
        return e;
    }
    uv_timer_init(front->loop, &p->timer);
    p->timer.data = p;
    p->handles = 1;
    uv_timer_start(&p->timer, on_timer, TICK_MS, TICK_MS);
    watch(p);
    *port = p->local[0].fd < 0 ? 0 : port_of(p->local[0].fd);
    e = *port ? pq_dns_tcp_open(p, *port) : PQ_ENOMEM;
    if (e)
        pq_dns_port_close(out);
    return e;
}

void pq_dns_port_renew(struct pq_dns_port *p)
{
    p->names = pq_split_has_names(p->front->split);
    pq_dns_cache_clear(&p->cache);
    pq_steer_renew(p->steer, p->front->split, uv_hrtime());
}

enum pq_steered pq_dns_port_steered(const struct pq_dns_port *p, const struct pq_addr *ip,
                                    unsigned *nth)
{
    return p ? pq_steer_find(p->steer, ip, nth) : PQ_STEERED_NOT;
}

void pq_dns_port_count(const struct pq_dns_port *p, struct pq_dns_counts *out)
{
    *out = p->counts;
    pq_steer_count(p->steer, &out->steered, &out->direct);
}

static void release(struct pq_dns_port *p)
{
    if (--p->handles == 0)
        free(p);
}

static void on_timer_closed(uv_handle_t *h)
{
    release(h->data);
}

static void on_poll_closed(uv_handle_t *h)
{
    release(((struct dns_local *)h->data)->port);
}

static void free_all(struct pq_list *list)
{
    struct pq_list *n;
    while ((n = pq_list_pop(list)))
        query_free(PQ_OF(n, struct dns_query, node));
}

void pq_dns_port_close(struct pq_dns_port **pp)
{
    struct pq_dns_port *p = *pp;
    if (!p)
        return;
    *pp = NULL;
    pq_dns_tcp_close(p, on_timer_closed);
    pq_dns_up_close(p);
    free_all(&p->pending);
    free_all(&p->beside);
    pq_dns_cache_clear(&p->cache);
    pq_steer_free(&p->steer);
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
    for (int i = 0; i < PQ_DNS_SOCKETS; i++) {
        if (p->local[i].fd < 0)
            continue;
        uv_poll_stop(&p->local[i].poll);
        close(p->local[i].fd);
        uv_close((uv_handle_t *)&p->local[i].poll, on_poll_closed);
    }
}
