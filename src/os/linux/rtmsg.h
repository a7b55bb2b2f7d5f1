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

/* The number of the program that an interface has at XDP; 0: it has none, or the message is another
 * one. */
uint32_t pq_rt_xdp(const struct pq_nl_msg *m);

struct pq_rt_tc { /* a queue or a filter of tc */
    int ifindex;
    uint32_t parent, handle;
    char kind[16];
};

bool pq_rt_tc(struct pq_rt_tc *out, const struct pq_nl_msg *m);

struct pq_rt_chain {
    char table[64], name[64]; /* cut, if they are longer */
};

/* A chain of nft at the hook egress of this interface. */
bool pq_rt_chain_at_egress(struct pq_rt_chain *out, const struct pq_nl_msg *m, const char *ifname);
#endif
