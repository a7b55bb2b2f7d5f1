/* SPDX-License-Identifier: MIT */
/* forward.h - a listener whose connections all go to one target [9.2].  The server resolves the
 * target's name, for each connection anew.  A connection whose target fails is reset. */
#ifndef PQ_ENTRY_FORWARD_H
#define PQ_ENTRY_FORWARD_H
#include "relay/front.h"

struct pq_forward;

struct pq_forward_conf {
    struct pq_addr listen;
    const char *host; /* of the target: name, or address without brackets; copied */
    uint16_t port;    /* 0: the one that the connection was meant for */
    bool share_port;  /* several workers listen on the same port */
    bool transparent; /* takes what is for other addresses and ports, see os/tproxy.h */
};

/* Opens a TCP listener.  Returns 0, -errno (-EADDRINUSE, -EADDRNOTAVAIL, -EACCES; `transparent`:
 * -EPERM) or PQ_ENOMEM. */
int pq_forward_open(struct pq_forward **out, struct pq_front *front,
                    const struct pq_forward_conf *conf);

/* Connections from now on go to this target.  Returns 0 or PQ_ENOMEM: then nothing has changed. */
int pq_forward_retarget(struct pq_forward *fw, const char *host, uint16_t port);

/* The port that it listens on. */
uint16_t pq_forward_port(const struct pq_forward *fw);

/* Stops listening; connections that were accepted go on.  Freed when the loop has closed the
 * handle.  Sets *fw to NULL; NULL does nothing. */
void pq_forward_close(struct pq_forward **fw);
#endif
