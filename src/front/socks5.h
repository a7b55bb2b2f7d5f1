/* SPDX-License-Identifier: MIT */
/* socks5.h - a SOCKS5 listener: CONNECT, with or without user and password (RFC 1928, 1929).
 * Names go to the server unresolved.  Success is reported at once, as the Go programs do: whether
 * the target answers is not known yet [9.1]. */
#ifndef PQ_FRONT_SOCKS5_H
#define PQ_FRONT_SOCKS5_H
#include "front/front.h"

struct pq_socks5;

struct pq_socks5_conf {
    struct pq_addr listen;
    const char *username, *password; /* borrowed for good; both "" = no authentication */
    bool real_reply; /* answer when the target has, if the server is able to tell [8.4] */
    bool share_port; /* several workers listen on the same port */
};

/* Opens the listener.  Returns 0, -errno (-EADDRINUSE, -EADDRNOTAVAIL, -EACCES) or PQ_ENOMEM. */
int pq_socks5_open(struct pq_socks5 **out, struct pq_front *front,
                   const struct pq_socks5_conf *conf);

/* Stops listening and drops negotiations under way; frees when the loop has closed the handles.
 * Sets *s to NULL; NULL does nothing. */
void pq_socks5_close(struct pq_socks5 **s);
#endif
