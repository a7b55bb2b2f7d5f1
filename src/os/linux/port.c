/* SPDX-License-Identifier: MIT */
#include "os/port.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static int bind_one(const struct sockaddr *sa, socklen_t len)
{
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0)
        return -errno;
    if (sa->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, sa, len)) {
        int e = -errno;
        close(fd);
        return e;
    }
    /* Only now: the bind itself had to find every other user of the port. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return fd;
}

int pq_port_reserve(struct pq_port *p, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    p->fd6 = -1;
    p->fd4 = bind_one((struct sockaddr *)&in, sizeof in);
    if (p->fd4 < 0)
        return p->fd4;
    p->fd6 = bind_one((struct sockaddr *)&in6, sizeof in6);
    if (p->fd6 == -EADDRINUSE) {
        pq_port_release(p);
        return -EADDRINUSE;
    }
    return 0; /* no IPv6 on this machine is no error */
}

void pq_port_release(struct pq_port *p)
{
    if (p->fd4 >= 0)
        close(p->fd4);
    if (p->fd6 >= 0)
        close(p->fd6);
    p->fd4 = p->fd6 = -1;
}
