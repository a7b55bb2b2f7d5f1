/* SPDX-License-Identifier: MIT */
#include "front/listen.h"

#include "front/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024

static int bound_socket(const struct pq_addr *addr, bool share_port)
{
    struct sockaddr_storage ss;
    socklen_t len = pq_addr_to_sock(addr, &ss);
    int one = 1, off = 0;
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (share_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (ss.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, (struct sockaddr *)&ss, len)) {
        int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

int pq_listen(uv_tcp_t *tcp, const struct pq_addr *addr, bool share_port,
              uv_connection_cb on_connection)
{
    int fd = bound_socket(addr, share_port);
    if (fd < 0)
        return fd;
    int e = uv_tcp_open(tcp, fd);
    if (e) {
        close(fd);
        return e;
    }
    return uv_listen((uv_stream_t *)tcp, BACKLOG, on_connection);
}

uv_tcp_t *pq_listen_accept(uv_stream_t *listener, int status)
{
    uv_tcp_t *tcp = status == 0 ? pq_tcp_new(listener->loop) : NULL;
    if (tcp && uv_accept(listener, (uv_stream_t *)tcp)) {
        pq_tcp_close(tcp, true);
        return NULL;
    }
    if (tcp)
        pq_tcp_tune(tcp);
    return tcp;
}
