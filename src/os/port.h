/* SPDX-License-Identifier: MIT */
/* port.h - holds TCP ports without ever using them: bound sockets keep the kernel from giving a
 * port to others and detect a second program that wants it; for a server's range of them, which may
 * be thousands, one mark does. */
#ifndef PQ_OS_PORT_H
#define PQ_OS_PORT_H
#include "base/addr.h"

struct pq_port {
    int fd4, fd6; /* -1 = none */
};

/* Binds the port for IPv4 and, where there is IPv6, for IPv6, on all addresses.  A program that
 * asks for this very port with SO_REUSEADDR may still share it for connections of its own.
 * Returns 0, -EADDRINUSE (somebody has it) or -errno; *p holds no socket on error. */
int pq_port_reserve(struct pq_port *p, uint16_t port);

void pq_port_release(struct pq_port *p);

struct pq_port_hold {
    struct pq_port port; /* of a range that is one port */
    int mark;            /* -1 = none */
};

/* Holds a server's ports.  A single one is bound as above.  Of a range each port is tried once, so
 * that whoever has one now is found; then they are free for others, but no other server of this
 * program gets one of them in this network namespace: one mark is for the whole range
 * (os/linux/mark.h; without CAP_NET_RAW there is none).  See pq_ports_given_away for what else it
 * takes. Returns 0, -EADDRINUSE (somebody has *taken), or -errno (of *taken); *h holds nothing on
 * error. */
int pq_ports_hold(struct pq_port_hold *h, const struct pq_range *r, uint16_t *taken);
void pq_ports_release(struct pq_port_hold *h);

/* Whether the kernel may give one of these ports to a connection of any program by itself:
 * ip_local_port_range has it, and ip_local_reserved_ports has not.  Then `reserve` is what the
 * latter has to be.  Where the kernel's settings cannot be read, its usual ones are assumed. */
#define PQ_RESERVE_TEXT 1024
bool pq_ports_given_away(const struct pq_range *r, char reserve[PQ_RESERVE_TEXT]);
#endif
