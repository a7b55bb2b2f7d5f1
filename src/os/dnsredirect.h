/* SPDX-License-Identifier: MIT */
/* dnsredirect.h - what the programs of this machine ask any resolver elsewhere, UDP and TCP, goes
 * to a port of ours: a rule of the firewall, gone with the process (Linux 5.12; before, with the
 * next start).  Resolvers on the machine itself are asked as before, and what they ask is led here.
 * Blocking; for start-up and the end. */
#ifndef PQ_OS_DNSREDIRECT_H
#define PQ_OS_DNSREDIRECT_H
#include <stdint.h>

struct pq_dnsredirect;

/* Begins; packets with the mark are left alone.  IPv6 is led to ::1, IPv4 to 127.0.0.1.  Returns 0,
 * -EPERM (CAP_NET_ADMIN is missing), PQ_ENOTSUP (kernel without nftables NAT) or PQ_ENOMEM; *out is
 * NULL on error. */
int pq_dnsredirect_open(struct pq_dnsredirect **out, uint16_t port, uint32_t mark);

/* Ends and frees.  Sets *d to NULL; NULL does nothing. */
void pq_dnsredirect_close(struct pq_dnsredirect **d);
#endif
