/* SPDX-License-Identifier: MIT */
/* pair.h - joins a program's socket and one to its target, for what the client's rules let go
 * directly (split.h): no byte of it goes through the tunnel.  Each direction ends for itself; back-
 * pressure is the sockets' own, with one read of each direction kept here at most.  One worker's
 * thread. */
#ifndef PQ_ENTRY_PAIR_H
#define PQ_ENTRY_PAIR_H
#include "relay/filter.h"
#include "relay/front.h"

/* Takes both sockets: malloc'ed handles, connected, tuned, not reading; and the filter, which may
 * be NULL.  `first` goes to the target before the program's next bytes; copied.  Where memory is
 * short both sockets are reset. */
void pq_pair_join(struct pq_front *front, uv_tcp_t *program, uv_tcp_t *target,
                  struct pq_filter *filter, struct pq_view first);
#endif
