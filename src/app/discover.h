/* SPDX-License-Identifier: MIT */
/* discover.h - completes the network part of the configuration from what the kernel knows. */
#ifndef PQ_APP_DISCOVER_H
#define PQ_APP_DISCOVER_H
#include "conf/conf.h"
#include "os/netinfo.h"

#include <netdb.h>

struct pq_path { /* how packets leave this machine */
    struct pq_iface iface;
    struct pq_addr local; /* client: own address; its port is not set */
    bool has_mac;         /* of the router: link destination of what is sent */
    uint8_t router_mac[6];
};

/* So many addresses of a server's name are used, ... */
#define PQ_SERVER_ADDRS 4

/* ... of so many that are looked at. */
#define PQ_NAME_ADDRS 32

struct pq_name_found {
    int status; /* 0, or UV_EAI_*: why there is none */
    unsigned n;
    struct pq_addr v[PQ_NAME_ADDRS];
};

struct pq_names;

/* Client: the way to the server.  What the configuration says wins; the rest comes from the route,
 * the interface and the neighbour table; the neighbour is asked if need be, for up to `patience`
 * ns.  Returns 0, or with the reason and the remedy in `why` PQ_EINVAL, or PQ_EAGAIN where it may
 * only be that the network is not up yet. */
int pq_discover_client(const struct pq_conf *c, const struct pq_addr *server, pq_ns patience,
                       struct pq_path *out, char why[PQ_WHY_LEN]);

/* Server: the interface to listen on: the configured one, or that of the default route.  The
 * router's MAC may stay unknown: it is learned from the packets. */
int pq_discover_server(const struct pq_conf *c, struct pq_path *out, char why[PQ_WHY_LEN]);

/* The addresses of a server, with its first port, at least one: that of its text, or those of its
 * name, which `names` tell or, where that is NULL, is looked up: IPv4 first, as in the Go programs;
 * where only one IP version is configured, those alone. Returns 0, or with the reason in `why`
 * PQ_EINVAL, or PQ_EAGAIN (no name server answers). */
int pq_discover_resolve(const struct pq_conf *c, const struct pq_conf_server *s,
                        const struct pq_names *names, struct pq_addr out[PQ_SERVER_ADDRS],
                        unsigned *n, char why[PQ_WHY_LEN]);

/* Takes what getaddrinfo, or a lookup of relay/lookup.h, has answered. */
void pq_discover_found(struct pq_name_found *out, int status, const struct addrinfo *res);

/* Of these addresses those that are of use, as pq_discover_resolve.  Returns how many. */
unsigned pq_discover_addrs(const struct pq_conf *c, const struct pq_name_found *found,
                           uint16_t port, struct pq_addr out[PQ_SERVER_ADDRS]);
#endif
