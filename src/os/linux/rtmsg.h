/* SPDX-License-Identifier: MIT */
/* rtmsg.h - what the kernel tells of interfaces, addresses, routes and neighbours, read from the
 * bytes of its messages; for the modules of os.  Pure: no system call.
 *
 * Each reader returns false if the message is of another kind, is cut off or tells nothing of use:
 * *out is not to be used then. */
#ifndef PQ_OS_LINUX_RTMSG_H
#define PQ_OS_LINUX_RTMSG_H
#include "os/linux/nlmsg.h"
#include "os/netinfo.h"

/* An interface, without addresses and routes. */
bool pq_rt_link(struct pq_iface *out, const struct pq_nl_msg *m);

/* An own address and the interface that has it. */
bool pq_rt_addr(struct pq_iface_addr *out, int *ifindex, const struct pq_nl_msg *m);

struct pq_rt_route {
    bool is4, is_unicast;
    uint8_t protocol, dst_len;
    uint32_t table, metric;
    int ifindex; /* of several ways the first; 0: none */
    bool has_dst, has_src, has_gateway;
    struct pq_addr dst, src;
    struct pq_addr gateway; /* may be of the other IP version */
};

bool pq_rt_route(struct pq_rt_route *out, const struct pq_nl_msg *m);

struct pq_rt_neigh {
    int ifindex;
    struct pq_addr ip;
    uint8_t mac[6];
    bool fresh; /* the kernel knows that it is right now, or somebody has put it there */
};

/* A neighbour whose MAC may be used. */
bool pq_rt_neigh(struct pq_rt_neigh *out, const struct pq_nl_msg *m);
#endif
