/* SPDX-License-Identifier: MIT */
/* dnsredirect.h - what the programs of this machine ask any resolver elsewhere, UDP and TCP, goes
 * to a port of ours: a rule of the firewall, gone with the process (Linux 5.12; before, with the
 * next start).  Resolvers on the machine itself are asked as before, and what they ask is led here.
 * Blocking; for start-up and the end. */
#ifndef PQ_OS_DNSREDIRECT_H
#define PQ_OS_DNSREDIRECT_H
#include "os/why.h"

#include <stdint.h>

struct pq_dnsredirect;

/* Begins; packets with the mark are left alone.  IPv6 is led to ::1, IPv4 to 127.0.0.1.  Where the
 * kernel has no nf_tables with NAT the rules are chains of iptables, which the end or the next
 * start removes; where that has no NAT for IPv6, what asks over IPv6 is refused, so that it asks
 * over IPv4.  Returns 0, -EPERM (CAP_NET_ADMIN is missing), PQ_ENOTSUP (neither is to be had) or
 * PQ_ENOMEM; *out is NULL on error, with words in why. */
int pq_dnsredirect_open(struct pq_dnsredirect **out, uint16_t port, uint32_t mark,
                        char why[PQ_OS_WHY_LEN]);

/* Ends and frees.  Sets *d to NULL; NULL does nothing. */
void pq_dnsredirect_close(struct pq_dnsredirect **d);
#endif
