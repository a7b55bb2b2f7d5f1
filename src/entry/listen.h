/* SPDX-License-Identifier: MIT */
/* listen.h - a listening TCP socket of a worker. */
#ifndef PQ_ENTRY_LISTEN_H
#define PQ_ENTRY_LISTEN_H
#include "base/addr.h"
#include "base/log.h"

#include <uv.h>

struct pq_listener { /* embedded in what its owner knows of it */
    uv_tcp_t tcp;    /* its data is the owner's */
    uv_tcp_t spare;  /* takes a connection for which there is no memory, to close it */
    bool refusing;   /* ... is doing so, ... */
    bool waiting;    /* ... and there is another one */
    unsigned open;   /* handles that are not closed yet */
    struct pq_log_limit refused;
    uv_close_cb closed;
};

struct pq_listen_conf {
    struct pq_addr addr; /* "[::]" takes IPv4 too */
    bool share_port;     /* several workers listen there, and the kernel spreads the connections */
    bool transparent;    /* it takes what is for other addresses and ports (os/tproxy.h) */
};

/* Opens, binds and listens; `on_connection` is told of each connection, with l->tcp, whose data is
 * `owner`.  Returns 0 or -errno (-EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EMFILE, `transparent`:
 * -EPERM ...); the listener is the caller's to close in both cases. */
int pq_listen(struct pq_listener *l, uv_loop_t *loop, void *owner,
              const struct pq_listen_conf *conf, uv_connection_cb on_connection);

/* The port at this end of a connection, or of a listener; 0: it is gone. */
uint16_t pq_listen_port_of(const uv_tcp_t *tcp);

/* Takes the connection that `on_connection` was told of: a malloc'ed handle, tuned (pq_tcp_tune),
 * not reading.  Returns NULL if there is none after all, or memory is short: then the connection is
 * closed. */
uv_tcp_t *pq_listen_accept(uv_stream_t *listener, int status);

/* Stops listening; `closed` is called with l->tcp once the memory may go. */
void pq_listener_close(struct pq_listener *l, uv_close_cb closed);
#endif
