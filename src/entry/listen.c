/* SPDX-License-Identifier: MIT */
#include "entry/listen.h"

#include "base/list.h"
#include "base/log.h"
#include "base/time.h"
#include "relay/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG     1024
#define LOG_PERIOD  (10 * PQ_SEC)
#define FILES_SPARE 8

static int set_transparent(int fd, bool is4)
{
    const int one = 1;
    return setsockopt(fd, is4 ? IPPROTO_IP : IPPROTO_IPV6, is4 ? IP_TRANSPARENT : IPV6_TRANSPARENT,
                      &one, sizeof one);
}

static int bound_socket(const struct pq_listen_conf *c)
{
    struct sockaddr_storage ss;
    socklen_t len = pq_addr_to_sock(&c->addr, &ss);
    int one = 1, off = 0;
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    pq_tcp_unpaced(fd, &c->addr); /* what it accepts inherits it */
    if (c->share_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (ss.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if ((c->transparent && set_transparent(fd, ss.ss_family == AF_INET)) ||
        bind(fd, (struct sockaddr *)&ss, len)) {
        int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

int pq_listen(struct pq_listener *l, uv_loop_t *loop, void *owner,
              const struct pq_listen_conf *conf, uv_connection_cb on_connection)
{
    *l = (struct pq_listener){.open = 1};
    uv_tcp_init(loop, &l->tcp);
    l->tcp.data = owner;
    int fd = bound_socket(conf);
    if (fd < 0)
        return fd;
    int e = uv_tcp_open(&l->tcp, fd);
    if (e) {
        close(fd);
        return e;
    }
    return uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
}

uint16_t pq_listen_port_of(const uv_tcp_t *tcp)
{
    struct sockaddr_storage ss;
    struct pq_addr a;
    int len = sizeof ss;
    const bool ok = uv_tcp_getsockname(tcp, (struct sockaddr *)&ss, &len) == 0 &&
                    pq_addr_from_sock(&a, (struct sockaddr *)&ss) == 0;
    return ok ? a.port : 0;
}

static void release(struct pq_listener *l)
{
    if (--l->open == 0)
        l->closed((uv_handle_t *)&l->tcp);
}

static void on_tcp_closed(uv_handle_t *h)
{
    release(PQ_OF(h, struct pq_listener, tcp));
}

void pq_listener_close(struct pq_listener *l, uv_close_cb closed)
{
    l->closed = closed;
    uv_close((uv_handle_t *)&l->tcp, on_tcp_closed);
}

static void refuse(struct pq_listener *l);

static void on_refused(uv_handle_t *h)
{
    struct pq_listener *l = PQ_OF(h, struct pq_listener, spare);
    l->refusing = false;
    if (l->waiting && !uv_is_closing((uv_handle_t *)&l->tcp))
        refuse(l);
    release(l);
}

/* Closes the connection that waits to be taken: the loop looks for no others before it is. */
static void refuse(struct pq_listener *l)
{
    l->waiting = l->refusing;
    if (l->waiting)
        return;
    l->refusing = true;
    l->open++;
    uv_tcp_init(l->tcp.loop, &l->spare);
    uv_accept((uv_stream_t *)&l->tcp, (uv_stream_t *)&l->spare);
    uv_close((uv_handle_t *)&l->spare, on_refused);
}

/* libuv closes a connection for which there is no descriptor, and says nothing of it: told is when
 * the last ones are given out. */
static void note_descriptors(struct pq_listener *l, const uv_tcp_t *tcp)
{
    struct rlimit r;
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)tcp, &fd) || getrlimit(RLIMIT_NOFILE, &r) ||
        (rlim_t)fd + FILES_SPARE < r.rlim_cur)
        return;
    uint64_t n = pq_log_due(&l->refused, LOG_PERIOD, uv_hrtime());
    if (n)
        PQ_LOG(PQ_LOG_WARN,
               "file descriptors are running out (%d of %llu): further connections are refused; "
               "raise the limit, LimitNOFILE= of the service or ulimit -n",
               fd, (unsigned long long)r.rlim_cur);
}

uv_tcp_t *pq_listen_accept(uv_stream_t *listener, int status)
{
    if (status)
        return NULL;
    uv_tcp_t *tcp = pq_tcp_new(listener->loop);
    if (!tcp) {
        refuse(PQ_OF(listener, struct pq_listener, tcp));
        return NULL;
    }
    if (uv_accept(listener, (uv_stream_t *)tcp)) {
        pq_tcp_close(tcp, true);
        return NULL;
    }
    note_descriptors(PQ_OF(listener, struct pq_listener, tcp), tcp);
    pq_tcp_tune(tcp);
    return tcp;
}
