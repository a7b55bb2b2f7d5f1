/* SPDX-License-Identifier: MIT */
/* outgoing.h - how connections to targets leave the machine: interface, mark, source address,
 * another SOCKS5 proxy.  Read only once the workers run: any thread. */
#ifndef PQ_RELAY_OUTGOING_H
#define PQ_RELAY_OUTGOING_H
#include "base/addr.h"

struct pq_outgoing {
    char ifname[16]; /* "" = the routes decide */
    uint32_t mark;   /* of the packets, for the routes and the firewall; 0 = none */
    bool has4, has6;
    struct pq_addr addr4, addr6; /* source addresses; the port does not matter */
    bool has_socks;              /* TCP goes through the proxy, UDP and TUN nowhere */
    char socks_host[256];        /* name or literal */
    uint16_t socks_port;
    const char *username, *password; /* borrowed; "" or NULL = none */
};

/* Marks a socket that is not connected yet, binds it to the interface and to the address of its
 * family; the kernel chooses the port.  o == NULL does nothing. Returns 0 or -errno, among them
 * -EPERM (the interface needs CAP_NET_RAW, a mark CAP_NET_ADMIN), -ENODEV (there is none of that
 * name), -EADDRNOTAVAIL (the address is not of this machine). */
int pq_outgoing_apply(const struct pq_outgoing *o, int fd, bool is4);

/* Whether datagrams may be sent to targets: not beside an upstream proxy, which is there so that
 * nothing leaves this machine but through it.  If not, refuse with PQ_EDENIED. */
static inline bool pq_outgoing_datagrams(const struct pq_outgoing *o)
{
    return !o || !o->has_socks;
}
#endif
