/* SPDX-License-Identifier: MIT */
/* server_ports.h - the ports of a server: taken for itself, or the reason why that cannot be. */
#ifndef PQ_APP_SERVER_PORTS_H
#define PQ_APP_SERVER_PORTS_H
#include "conf/conf.h"
#include "os/port.h"

/* Holds them; see pq_ports_hold.  Returns 0; -EACCES (the right to
 * ports below 1024 is missing: they may be used, but are not held); or with the reason and the
 * remedy in `why` -EADDRINUSE (somebody has one, or the kernel may give one away) or -errno. */
int pq_server_ports_hold(struct pq_port_hold *h, const struct pq_range *r, char why[PQ_WHY_LEN]);

/* Whether the kernel may give one of a range away; then `why` says so, and what to do. */
bool pq_server_ports_given(const struct pq_range *r, char why[PQ_WHY_LEN]);
#endif
