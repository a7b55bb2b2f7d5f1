/* SPDX-License-Identifier: MIT */
/* udp_port.h - a UDP socket of the client's side and its flows: either a forward, each sender with
 * the one target, or a SOCKS5 association, its one owner with the targets that its datagrams name
 * (RFC 1928, 7).  One worker's thread. */
#ifndef PQ_ENTRY_UDP_PORT_H
#define PQ_ENTRY_UDP_PORT_H
#include "relay/front.h"

struct pq_udp_port;

struct pq_udp_port_conf {
    struct pq_addr bind; /* port 0: any; of all addresses, answers leave from the one asked */
    uint32_t scope;      /* the interface of a link-local address, else 0 */
    bool share_port;     /* several workers have it */
    const char *host;    /* forward: the target, copied; NULL = association */
    uint16_t port;       /* 0: the one that the datagram was meant for, with ... */
    /* ... forward: takes what is for other addresses and ports; answers leave from these by
     * `answer` (both: os/tproxy.h), which the port owns from the call on, whatever comes of it. */
    bool transparent;
    int answer;
    struct pq_addr owner; /* association: only from this address; port 0 = of the first datagram */
};

/* Opens the socket, whose port nobody else can bind but what `share_port` says.  Returns 0, -errno
 * (-EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EMFILE) or PQ_ENOMEM. */
int pq_udp_port_open(struct pq_udp_port **out, struct pq_front *front,
                     const struct pq_udp_port_conf *conf);

/* Of a forward: flows from now on go to this target.  Returns 0 or PQ_ENOMEM: then nothing has
 * changed. */
int pq_udp_port_retarget(struct pq_udp_port *p, const char *host, uint16_t port);

/* The address it is bound to. */
void pq_udp_port_addr(const struct pq_udp_port *p, struct pq_addr *out);

/* Ends all its flows; frees when the loop has closed the socket.  Sets *p to NULL; NULL does
 * nothing. */
void pq_udp_port_close(struct pq_udp_port **p);
#endif
