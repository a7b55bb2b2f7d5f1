/* SPDX-License-Identifier: MIT */
#include "relay/udp_target.h"

#include "relay/outgoing.h"
#include "relay/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAITING_BYTES 65536 /* of datagrams that came before the name was resolved ... */
#define WAITING_N     64    /* ... and how many: empty ones cost memory, too */
#define WAITING_ALL   ((size_t)8 << 20) /* of a worker's */
#define SOCKBUF       (1 << 20)

struct waiting {
    struct pq_list node;
    size_t n;
    uint8_t data[];
};

struct pq_udp_target {
    struct pq_front *front;
    const struct pq_udp_target_events *ev;
    void *ctx;
    uv_udp_t sock;
    bool has_sock;
    struct pq_resolve *resolve; /* under way, or NULL */
    struct pq_list waiting;
    unsigned n_waiting;
    size_t bytes_waiting;
};

/* ---- what waits */

/* Takes the first one out; the caller frees it. */
static struct waiting *pop_waiting(struct pq_udp_target *t)
{
    struct pq_list *n = pq_list_pop(&t->waiting);
    struct waiting *w = n ? PQ_OF(n, struct waiting, node) : NULL;
    if (!w)
        return NULL;
    t->n_waiting--;
    t->bytes_waiting -= w->n;
    t->front->udp_waiting -= sizeof *w + w->n;
    return w;
}

static bool keep(struct pq_udp_target *t, struct pq_view v)
{
    const size_t size = sizeof(struct waiting) + v.n;
    if (t->n_waiting == WAITING_N || t->bytes_waiting + v.n > WAITING_BYTES ||
        t->front->udp_waiting + size > WAITING_ALL)
        return false;
    struct waiting *w = malloc(size);
    if (!w)
        return false;
    w->n = v.n;
    if (v.n)
        memcpy(w->data, v.p, v.n);
    pq_list_push(&t->waiting, &w->node);
    t->n_waiting++;
    t->bytes_waiting += v.n;
    t->front->udp_waiting += size;
    return true;
}

bool pq_udp_target_waits(const struct pq_udp_target *t)
{
    return t->n_waiting;
}

/* ---- the socket */

static void send_out(struct pq_udp_target *t, struct pq_view v)
{
    uv_buf_t b = uv_buf_init((char *)v.p, (unsigned)v.n);
    if (uv_udp_try_send(&t->sock, &b, 1, NULL) < 0)
        t->front->udp_dropped++; /* full, too large for the path, or refused */
}

void pq_udp_target_send(struct pq_udp_target *t, struct pq_view v)
{
    if (t->has_sock)
        send_out(t, v);
    else if (!keep(t, v))
        t->front->udp_dropped++;
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct pq_udp_target *t = h->data;
    char *space = (char *)pq_front_space(t->front);
    (void)hint;
    *buf = uv_buf_init(space, space ? PQ_FRONT_SPACE : 0);
}

static void on_recv(uv_udp_t *sock, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                    unsigned flags)
{
    struct pq_udp_target *t = sock->data;
    if (n < 0 || !from || flags & UV_UDP_PARTIAL)
        return; /* nothing more for now, or "port unreachable": datagrams may be lost */
    t->ev->recv(t->ctx, (struct pq_view){(const uint8_t *)buf->base, (size_t)n});
}

/* A socket connected to the target.  Returns it or -errno. */
static int connected_fd(const struct pq_front *f, const struct pq_addr *a)
{
    struct sockaddr_storage ss;
    socklen_t len = pq_addr_to_sock(a, &ss);
    int size = SOCKBUF;
    int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    int e = pq_outgoing_apply(f->outgoing, fd, pq_addr_is4(a));
    if (!e && connect(fd, (struct sockaddr *)&ss, len))
        e = -errno;
    if (e)
        close(fd);
    return e ? e : fd;
}

static int open_sock(struct pq_udp_target *t, const struct pq_addr *addrs, unsigned n)
{
    int fd = -EHOSTUNREACH;
    for (unsigned i = 0; i < n && fd < 0; i++)
        fd = connected_fd(t->front, &addrs[i]);
    if (fd < 0)
        return fd;
    int e = uv_udp_init(t->front->loop, &t->sock);
    if (e) {
        close(fd);
        return e;
    }
    t->has_sock = true;
    t->sock.data = t;
    e = uv_udp_open(&t->sock, fd);
    if (e)
        close(fd);
    return e ? e : uv_udp_recv_start(&t->sock, on_alloc, on_recv);
}

static void on_resolved(void *ctx, const struct pq_addr *addrs, unsigned n, int err)
{
    struct pq_udp_target *t = ctx;
    struct waiting *w;
    t->resolve = NULL;
    int e = err ? err : open_sock(t, addrs, n);
    while (!e && (w = pop_waiting(t))) {
        send_out(t, (struct pq_view){w->data, w->n});
        free(w);
    }
    t->ev->ready(t->ctx, e);
}

/* ---- life */

struct pq_udp_target *pq_udp_target_new(struct pq_front *f, const struct pq_udp_target_events *ev,
                                        void *ctx)
{
    struct pq_udp_target *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->front = f;
    t->ev = ev;
    t->ctx = ctx;
    pq_list_init(&t->waiting);
    return t;
}

void pq_udp_target_start(struct pq_udp_target *t, const struct pq_rules *rules, const char *host,
                         uint16_t port)
{
    struct pq_resolve *r = pq_resolve_start(t->front, rules, host, port, on_resolved, t);
    if (r)
        t->resolve = r; /* else the callback has come already, and t may have gone */
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void pq_udp_target_close(struct pq_udp_target *t)
{
    struct waiting *w;
    if (t->resolve)
        pq_resolve_cancel(t->resolve);
    while ((w = pop_waiting(t)))
        free(w);
    if (t->has_sock)
        uv_close((uv_handle_t *)&t->sock, on_closed);
    else
        free(t);
}
