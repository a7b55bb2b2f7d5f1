/* SPDX-License-Identifier: MIT */
/* dns_port.h - where the machine's DNS is led to (UDP): queries go to a resolver behind the tunnel,
 * many over one stream, as DNS over TCP (RFC 7766), so none gets lost and nobody can put an answer
 * in between.  What has been answered lately is answered here.  One worker's thread. */
#ifndef PQ_ENTRY_DNS_PORT_H
#define PQ_ENTRY_DNS_PORT_H
#include "relay/front.h"

#define PQ_DNS_PENDING_MAX   512 /* queries without an answer; more drop the oldest */
#define PQ_DNS_RESOLVERS_MAX 4

struct pq_dns_port;

/* Opens it at 127.0.0.1, and ::1 where there is IPv6, at one port that the kernel chooses, which is
 * also that of *port.  resolvers: n of them, with ports, asked one after the other when one is
 * silent; copied.  Returns 0, -errno or PQ_ENOMEM. */
int pq_dns_port_open(struct pq_dns_port **out, struct pq_front *front,
                     const struct pq_addr *resolvers, unsigned n, uint16_t *port);

/* Ends; frees when the loop has closed its handles.  Sets *p to NULL; NULL does nothing. */
void pq_dns_port_close(struct pq_dns_port **p);
#endif
