/* SPDX-License-Identifier: MIT */
/* killtables.h - the kill switch where the kernel has no nf_tables: chains of iptables (xtables.h),
 * which the end or the next start removes. */
#ifndef PQ_OS_LINUX_KILLTABLES_H
#define PQ_OS_LINUX_KILLTABLES_H
#include "os/killswitch.h"

#define PQ_KILLTABLES_NETS                                                                         \
    4096 /* most networks beside the tunnel: each packet to one looks for it */

struct pq_killtables;

/* As pq_killswitch_open.  Returns 0, PQ_ENOTSUP (words in why) or PQ_ENOMEM. */
int pq_killtables_open(struct pq_killtables **out, const struct pq_killswitch_conf *c,
                       char why[PQ_OS_WHY_LEN]);

/* As pq_killswitch_direct, _ports and _one; one at a time.  Return 0, PQ_ENOTSUP (refused, or more
 * than PQ_KILLTABLES_NETS) or PQ_ENOMEM. */
int pq_killtables_direct(struct pq_killtables *k, const struct pq_spans *gone,
                         const struct pq_spans *more);
int pq_killtables_ports(struct pq_killtables *k, const struct pq_port_span *v, size_t n);
int pq_killtables_one(struct pq_killtables *k, const struct pq_addr *ip, bool direct);

/* Removes the chains, unless they are to be kept, and frees; NULL does nothing. */
void pq_killtables_close(struct pq_killtables *k);

/* Removes what was kept.  Returns whether there was something. */
bool pq_killtables_lift(void);
#endif
