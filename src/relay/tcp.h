/* SPDX-License-Identifier: MIT */
/* tcp.h - sockets of programs and of targets.  Thread: the loop's. */
#ifndef PQ_RELAY_TCP_H
#define PQ_RELAY_TCP_H
#include "base/addr.h"

#include <stdbool.h>
#include <uv.h>

/* A new handle of the loop, malloc'ed, or NULL if memory is short; and closing it (freed when
 * closed; nothing if it is being closed).  `reset`: the other end sees a reset instead of an end.
 */
uv_tcp_t *pq_tcp_new(uv_loop_t *loop);
void pq_tcp_close(uv_tcp_t *tcp, bool reset);

/* What a connected socket is to do: send small pieces at once, and find out by keepalives when its
 * other end has gone without a word, which would hold it for ever.  What fails stays as it was. */
void pq_tcp_tune(uv_tcp_t *tcp);

/* Where `end`, to which the socket will connect or on which it will listen, is a loopback address:
 * no pacing, whatever congestion control the system prefers.  BBR's timer for each piece costs more
 * than the rest of what the kernel does there.  Before it connects or listens; what fails stays as
 * it was. */
void pq_tcp_unpaced(int fd, const struct pq_addr *end);
#endif
