/* SPDX-License-Identifier: MIT */
/* decoy.h - at a server, TCP connections of strangers to its port: they are given to the kernel,
 * and so to whatever program of this machine listens there [12.9].  All workers share one; any
 * thread. */
#ifndef PQ_APP_DECOY_H
#define PQ_APP_DECOY_H
#include "app/app.h"
#include "wire/segment.h"

struct pq_decoy;

/* Returns 0, PQ_ENOMEM or -errno (CAP_NET_RAW is missing). */
int pq_decoy_new(struct pq_decoy **out, uint64_t seed);
void pq_decoy_free(struct pq_decoy **d); /* sets *d to NULL; NULL does nothing */

/* A stranger's SYN: the kernel gets it, and all that follows it from there.  Of more than 1,000 in
 * a second the others are dropped. */
void pq_decoy_take(struct pq_decoy *d, struct pq_app *app, const struct pq_segment *syn, pq_ns now);

/* A client's packets come from there: the kernel gets none of them any more. */
void pq_decoy_exclude(struct pq_decoy *d, struct pq_app *app, const struct pq_addr *from);
#endif
