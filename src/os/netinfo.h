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
    /* the default route through it in the main table, the one of least metric */
    bool has_default4, has_default6;
    uint32_t metric4, metric6;
    struct pq_addr gateway4, gateway6; /* any address: it needs no gateway */
};

struct pq_route {
    int ifindex;
    struct pq_addr src, gateway; /* gateway = the destination itself if on the link; it may be of
                                    the other IP version */
    bool has_gateway;
};

/* Lists all interfaces with addresses and gateways.  *out is owned by the caller (free).
 * Returns 0, -errno or PQ_ENOMEM. */
int pq_iface_list(struct pq_iface **out, size_t *n);

/* Finds one by name or, if name is NULL, by index.  Returns 0, -ENODEV, -errno or PQ_ENOMEM. */
int pq_iface_get(const char *name, int index, struct pq_iface *out);

/* The addresses of all interfaces, `max` of them at most.  Returns 0 or -errno. */
int pq_own_addrs(struct pq_addr *out, size_t max, size_t *n);

/* Asks the kernel for the route to dst, of packets from src if that is not NULL, that does not lead
 * into our own TUN device.  Returns 0 or -errno (-ENETUNREACH: there is none; -EINVAL: src is none
 * of this machine's addresses). */
int pq_route_get(const struct pq_addr *dst, const struct pq_addr *src, struct pq_route *out);

/* The TTL, or hop limit, that this machine's own packets begin with. */
uint8_t pq_host_ttl(bool is4);

/* Bytes that this machine's TCP lets a receive buffer grow to: its windows follow them. */
uint32_t pq_host_rmem(void);

/* Whether its first SYNs go again at the same intervals, as since Linux 6.5, not at longer ones. */
bool pq_host_syns_linear(void);

/* A descriptor that becomes readable when an interface or an address changes; negative: -errno. */
int pq_netwatch_open(void);

/* Takes what has been told; returns whether there was something. */
bool pq_netwatch_read(int fd);

/* The MAC of a neighbour.  Unless the kernel is sure of it asks the neighbour itself, by ARP or ND
 * over a packet socket, to which no firewall rule applies, and waits up to `patience` ns; without
 * an answer an entry that is not fresh must do.  `f` is the interface, `own` an address of it to
 * ask from. Returns 0, -EHOSTUNREACH (no answer) or -errno. */
int pq_neigh_resolve(const struct pq_iface *f, const struct pq_addr *own, const struct pq_addr *ip,
                     uint8_t mac[6], pq_ns patience);
#endif
