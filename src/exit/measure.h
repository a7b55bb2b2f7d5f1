/* SPDX-License-Identifier: MIT */
/* measure.h - a server's side of a client that measures how fast the path is: a source or a sink of
 * bytes, or an echo of datagrams, for a few seconds, so many at a time, and not all the time
 * [8.11].  One worker's thread. */
#ifndef PQ_EXIT_MEASURE_H
#define PQ_EXIT_MEASURE_H
#include "relay/front.h"

/* Serves a stream whose header asked for this (see PQ_MEASURE), and behind which `rest` bytes have
 * come; takes the stream.  Where that is more than a worker does for all, it is closed. */
void pq_serve_measure(struct pq_front *front, struct pq_stream *st, uint16_t what, size_t rest);
#endif
