/* SPDX-License-Identifier: MIT */
/* serve.h - the server's side of a stream: reads its header, does what it asks [6]. */
#ifndef PQ_EXIT_SERVE_H
#define PQ_EXIT_SERVE_H
#include "relay/front.h"

/* Takes a stream that the peer opened.  If memory is short the stream is not owned, and so closed.
 */
void pq_serve(struct pq_front *front, struct pq_stream *st);
#endif
