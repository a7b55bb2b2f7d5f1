/* SPDX-License-Identifier: MIT */
/* inject.h - gives packets that have come for this machine to its kernel, as if they had just
 * arrived. */
#ifndef PQ_OS_INJECT_H
#define PQ_OS_INJECT_H
#include "base/addr.h"

struct pq_inject {
    int fd4, fd6; /* -1 = none */
};

/* Returns 0, or -errno (of IPv4; that there is no IPv6 is none). */
int pq_inject_open(struct pq_inject *i);
void pq_inject_close(struct pq_inject *i);

/* A whole IP packet of n bytes to this address of the machine.  Failure is a loss like others. */
void pq_inject(const struct pq_inject *i, const uint8_t *ip, size_t n, const struct pq_addr *to);
#endif
