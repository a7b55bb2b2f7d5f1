/* SPDX-License-Identifier: MIT */
/* neigh.h - asks a neighbour for its MAC itself, by ARP (RFC 826) or neighbour discovery (RFC
 * 4861), over a packet socket: firewall rules for what this machine sends do not apply to it, and
 * an entry of the kernel that is no longer true does not stand in its way. */
#ifndef PQ_OS_LINUX_NEIGH_H
#define PQ_OS_LINUX_NEIGH_H
#include "os/netinfo.h"

/* Asks, again each 200 ms, and waits up to `patience` ns.  `own` is an address of interface `f` to
 * ask from.  Returns 0, -EHOSTUNREACH (no answer) or -errno. */
int pq_neigh_ask(const struct pq_iface *f, const struct pq_addr *own, const struct pq_addr *ip,
                 uint8_t mac[6], pq_ns patience);
#endif
