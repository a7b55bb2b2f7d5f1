/* SPDX-License-Identifier: MIT */
#include "exit/serve_udp.h"

#include "exit/denied.h"
#include "relay/outgoing.h"
#include "relay/resolve.h"
#include "relay/udp_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A client ends a flow after a minute; this is for those that do not. */
#define IDLE_MAX      (180 * PQ_SEC)
#define WAITING_BYTES 65536 /* of datagrams that came before the name was resolved ... */
#define WAITING_N     64    /* ... and how many: empty ones cost memory, too */
#define LOG_PERIOD    (10 * PQ_SEC)
#define SOCKBUF       (1 << 20)

struct target {
    struct pq_udp_flow flow;
    uv_udp_t sock;
    bool has_sock;
    struct pq_resolve *resolve;
    struct pq_chunkq waiting;
    struct pq_addr client;
    char host[PQ_HOST_MAX + 1];
    uint16_t port;
};

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

static void target_close(struct target *t)
{
    if (t->resolve)
        pq_resolve_cancel(t->resolve);
    pq_chunkq_clear(&t->waiting);
    pq_udp_flow_close(&t->flow);
    if (t->has_sock)
        uv_close((uv_handle_t *)&t->sock, on_closed);
    else
        free(t);
}

/* A client may send one datagram and go: what waits for the name still goes out. */
static void on_over(struct pq_udp_flow *f)
{
    struct target *t = PQ_OF(f, struct target, flow);
    if (f->ended && f->st && t->resolve && t->waiting.n && !f->front->stopping)
        pq_udp_flow_leave(f);
    else
        target_close(t);
}

static void send_out(struct target *t, struct pq_view v)
{
    uv_buf_t b = uv_buf_init((char *)v.p, (unsigned)v.n);
    if (uv_udp_try_send(&t->sock, &b, 1, NULL) < 0)
        t->flow.front->udp_dropped++; /* full, too large for the path, or refused */
}

static void on_deliver(struct pq_udp_flow *f, struct pq_view v)
{
    struct target *t = PQ_OF(f, struct target, flow);
    if (t->has_sock) {
        send_out(t, v);
        return;
    }
    bool room = t->waiting.n < WAITING_N && t->waiting.bytes + v.n <= WAITING_BYTES;
    struct pq_chunk *c = room ? pq_chunk_copy(pq_stream_chunks(f->st), v.p, v.n) : NULL;
    if (c)
        pq_chunkq_push(&t->waiting, c);
    else
        f->front->udp_dropped++;
}

static void on_recv(uv_udp_t *sock, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                    unsigned flags)
{
    struct target *t = sock->data;
    if (n < 0 || !from || flags & UV_UDP_PARTIAL)
        return; /* nothing more for now, or "port unreachable": datagrams may be lost */
    pq_udp_flow_send(&t->flow, buf->base, (size_t)n);
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

static int open_sock(struct target *t, const struct pq_addr *addrs, unsigned n)
{
    int fd = -EHOSTUNREACH;
    for (unsigned i = 0; i < n && fd < 0; i++)
        fd = connected_fd(t->flow.front, &addrs[i]);
    if (fd < 0)
        return fd;
    int e = uv_udp_init(t->flow.front->loop, &t->sock);
    if (e) {
        close(fd);
        return e;
    }
    t->has_sock = true;
    t->sock.data = t;
    e = uv_udp_open(&t->sock, fd);
    if (e)
        close(fd);
    return e ? e : uv_udp_recv_start(&t->sock, pq_udp_alloc, on_recv);
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

static void on_resolved(void *ctx, const struct pq_addr *addrs, unsigned n, int err)
{
    struct target *t = ctx;
    t->resolve = NULL;
    int e = err ? err : open_sock(t, addrs, n);
    if (e) {
        say_failed(t, e);
        target_close(t);
        return;
    }
    struct pq_chunk *c;
    while ((c = pq_chunkq_pop(&t->waiting))) {
        send_out(t, (struct pq_view){pq_chunk_data(c), c->len});
        pq_chunk_free(c);
    }
    if (!t->flow.st)
        target_close(t);
}

void pq_serve_udp(struct pq_front *front, struct pq_stream *st, const char *host, uint16_t port,
                  size_t max, struct pq_view first)
{
    struct target *t = calloc(1, sizeof *t);
    if (!t) {
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
        on_deliver(&t->flow, first);
    struct pq_resolve *r =
        pq_resolve_start(front, pq_front_rules(front, st), t->host, port, on_resolved, t);
    if (r)
        t->resolve = r; /* else the callback has come already, and may have freed t */
}
