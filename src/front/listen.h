/* SPDX-License-Identifier: MIT */
/* listen.h - a listening TCP socket of a worker. */
#ifndef PQ_FRONT_LISTEN_H
#define PQ_FRONT_LISTEN_H
#include "base/addr.h"

#include <uv.h>

/* Binds the handle (initialized, not open) and listens; `on_connection` is told of each connection.
 * `share_port`: several workers listen on the same port, and the kernel spreads the connections.
 * "[::]" takes IPv4 too.  Returns 0 or -errno (-EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EMFILE ...);
 * the handle is the caller's to close in both cases. */
int pq_listen(uv_tcp_t *tcp, const struct pq_addr *addr, bool share_port,
              uv_connection_cb on_connection);

/* Takes the connection that `on_connection` was told of: a malloc'ed handle, tuned
 * (pq_tcp_tune), not reading.  Returns NULL if there is none after all, or memory is short. */
uv_tcp_t *pq_listen_accept(uv_stream_t *listener, int status);
#endif
