/* SPDX-License-Identifier: MIT */
/* inject.c - by raw sockets: what goes to an address of this machine comes in over the loopback
 * interface, whatever its source is, and is not looked at as to which interface it should have come
 * over. */
#include "os/inject.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

int pq_inject_open(struct pq_inject *i)
{
    i->fd4 = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
    if (i->fd4 < 0)
        return -errno;
    i->fd6 = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
    return 0;
}

void pq_inject_close(struct pq_inject *i)
{
    close(i->fd4);
    if (i->fd6 >= 0)
        close(i->fd6);
}

void pq_inject(const struct pq_inject *i, const uint8_t *ip, size_t n, const struct pq_addr *to)
{
    struct sockaddr_storage ss;
    struct pq_addr host = *to;
    host.port = 0;
    const socklen_t len = pq_addr_to_sock(&host, &ss);
    const int fd = pq_addr_is4(to) ? i->fd4 : i->fd6;
    if (fd >= 0 && sendto(fd, ip, n, 0, (struct sockaddr *)&ss, len) < 0)
        return;
}
