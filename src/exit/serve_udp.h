/* SPDX-License-Identifier: MIT */
/* serve_udp.h - the server's side of a UDP stream: a socket that only the target can answer on
 * [6.4].  One worker's thread. */
#ifndef PQ_EXIT_SERVE_UDP_H
#define PQ_EXIT_SERVE_UDP_H
#include "relay/front.h"

/* Takes the stream, whose header asked for host:port, with the datagram that came behind the
 * header, if any.  `max`: bytes of a datagram that the client takes.  The stream is closed if the
 * target cannot be had.  If it ends while the name is looked up, what came before still goes out.
 */
void pq_serve_udp(struct pq_front *front, struct pq_stream *st, const char *host, uint16_t port,
                  size_t max, struct pq_view first);
#endif
