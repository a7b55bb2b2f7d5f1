/* SPDX-License-Identifier: MIT */
#include "relay/outgoing.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

int pq_outgoing_apply(const struct pq_outgoing *o, int fd, bool is4)
{
    if (!o)
        return 0;
    const size_t len = strlen(o->ifname);
    if (len && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o->ifname, (socklen_t)len))
        return -errno;
    if (o->mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &o->mark, sizeof o->mark))
        return -errno;
    if (!(is4 ? o->has4 : o->has6))
        return 0;
    struct pq_addr a = is4 ? o->addr4 : o->addr6;
    struct sockaddr_storage ss;
    const int one = 1;
    a.port = 0;
    /* The port is chosen when the target is known: else all targets share one range of ports. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    socklen_t n = pq_addr_to_sock(&a, &ss);
    return bind(fd, (struct sockaddr *)&ss, n) ? -errno : 0;
}
