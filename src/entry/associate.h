/* SPDX-License-Identifier: MIT */
/* associate.h - a SOCKS5 UDP association (RFC 1928, 7): a UDP socket that lives as long as the TCP
 * connection over which it was asked for, and serves only the program at its other end.
 * One worker's thread. */
#ifndef PQ_ENTRY_ASSOCIATE_H
#define PQ_ENTRY_ASSOCIATE_H
#include "relay/front.h"

struct pq_associate;

/* Opens an association for the program at the other end of `tcp`.  `from`: address and port that
 * its datagrams will come from, as it said; an address other than its own is not believed, port 0 =
 * not known.  *bound is where they are to be sent.  The socket is still the caller's. Returns 0,
 * -errno (see pq_udp_port_open) or PQ_ENOMEM. */
int pq_associate_open(struct pq_associate **out, struct pq_front *front, uv_tcp_t *tcp,
                      const struct pq_addr *from, struct pq_addr *bound);

/* Takes the socket: the association ends with it, or with the front. */
void pq_associate_hold(struct pq_associate *a, uv_tcp_t *tcp);

/* Instead of that: it was not wanted after all. */
void pq_associate_drop(struct pq_associate *a);
#endif
