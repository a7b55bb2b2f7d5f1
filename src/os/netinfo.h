/* SPDX-License-Identifier: MIT */
/* netinfo.h - what the machine's network looks like, read through netlink: interfaces, the route
 * to a peer, the MAC of a neighbour.  Blocking; for start-up and reconnects. */
#ifndef PQ_OS_NETINFO_H
#define PQ_OS_NETINFO_H
#include "base/addr.h"
#include "base/time.h"

#define PQ_IFACE_ADDRS 16

/* Firewall mark of a lookup, and number of the table, that keep the tunnel's own way out of the
 * routes that lead into it; see tundev.h. */
#define PQ_ROUTE_MARK 28769

struct pq_iface_addr {
    struct pq_addr ip;
    uint8_t prefix;
    bool link_local;
};

struct pq_iface {
    int index;
    char name[16];
    uint32_t mtu;
    uint16_t hwtype; /* ARPHRD_* */
    bool up, loopback, has_mac;
    bool carrier; /* of a TUN device: a program has it */
    uint8_t mac[6];
    struct pq_iface_addr addr[PQ_IFACE_ADDRS]; /* the first ones */
    size_t n;
    struct pq_addr gateway4, gateway6; /* of the default route through it */
    bool has_gateway4, has_gateway6;
};

struct pq_route {
    int ifindex;
    struct pq_addr src, gateway; /* gateway = the destination itself if on the link */
    bool has_gateway;
};

/* Lists all interfaces with addresses and gateways.  *out is owned by the caller (free).
 * Returns 0, -errno or PQ_ENOMEM. */
int pq_iface_list(struct pq_iface **out, size_t *n);

/* Finds one by name or, if name is NULL, by index.  Returns 0, -ENODEV, -errno or PQ_ENOMEM. */
int pq_iface_get(const char *name, int index, struct pq_iface *out);

/* Asks the kernel for the route to dst that does not lead into our own TUN device.  Returns 0 or
 * -errno (-ENETUNREACH: there is none). */
int pq_route_get(const struct pq_addr *dst, struct pq_route *out);

/* Reads the neighbour table.  Returns 0, -ENOENT (not there, or not valid) or -errno. */
int pq_neigh_get(int ifindex, const struct pq_addr *ip, uint8_t mac[6]);

/* The same, but makes the kernel ask (ARP, ND) and waits up to `patience` ns for the answer; one
 * UDP datagram of one byte goes to port 9 (discard) of that address.
 * Returns 0, -EHOSTUNREACH (no answer) or -errno. */
int pq_neigh_resolve(int ifindex, const struct pq_addr *ip, uint8_t mac[6], pq_ns patience);
#endif
