/* SPDX-License-Identifier: MIT */
/* port.h - holds a TCP port without ever using it: bound sockets keep the kernel from giving the
 * port to others and detect a second program that wants it. */
#ifndef PQ_OS_PORT_H
#define PQ_OS_PORT_H
#include <stdint.h>

struct pq_port {
    int fd4, fd6; /* -1 = none */
};

/* Binds the port for IPv4 and, where there is IPv6, for IPv6, on all addresses.  A program that
 * asks for this very port with SO_REUSEADDR may still share it for connections of its own.
 * Returns 0, -EADDRINUSE (somebody has it) or -errno; *p holds no socket on error. */
int pq_port_reserve(struct pq_port *p, uint16_t port);

void pq_port_release(struct pq_port *p);
#endif
