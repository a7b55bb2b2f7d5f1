/* SPDX-License-Identifier: MIT */
/* discover.h - completes the network part of the configuration from what the kernel knows. */
#ifndef PQ_APP_DISCOVER_H
#define PQ_APP_DISCOVER_H
#include "conf/conf.h"
#include "os/netinfo.h"

struct pq_path { /* how packets leave this machine */
    struct pq_iface iface;
    struct pq_addr local; /* client: own address; its port is not set */
    bool has_mac;         /* of the router: link destination of what is sent */
    uint8_t router_mac[6];
};

/* Client: the way to the server.  What the configuration says wins; the rest comes from the route,
 * the interface and the neighbour table; the neighbour is asked if need be, for up to `patience`
 * ns. Returns 0, or PQ_EINVAL with the reason and the remedy in `why`. */
int pq_discover_client(const struct pq_conf *c, const struct pq_addr *server, pq_ns patience,
                       struct pq_path *out, char why[PQ_WHY_LEN]);

/* Server: the interface to listen on: the configured one, or that of the default route.  The
 * router's MAC may stay unknown: it is learned from the packets. */
int pq_discover_server(const struct pq_conf *c, struct pq_path *out, char why[PQ_WHY_LEN]);

/* Resolves a server's name; prefers the IP version for which an address is configured.
 * Returns 0 or PQ_EINVAL with the reason in `why`. */
int pq_discover_resolve(const struct pq_conf *c, const struct pq_conf_server *s,
                        struct pq_addr *out, char why[PQ_WHY_LEN]);
#endif
