/* SPDX-License-Identifier: MIT */
/* proxy.h - a listener for programs that speak SOCKS5, SOCKS4, SOCKS4a or to an HTTP proxy, told
 * apart by the first byte.  Names go to the server unresolved.  Success is reported at once, as the
 * Go programs do, when it is not known yet whether the target answers [9.1]. */
#ifndef PQ_ENTRY_PROXY_H
#define PQ_ENTRY_PROXY_H
#include "relay/front.h"

#define PQ_PROXY_TALKS_MAX 1024 /* negotiations at once of a listener; more drop the oldest */

struct pq_proxy;

struct pq_proxy_conf {
    struct pq_addr listen;
    const char *username, *password; /* copied; both "" = no authentication */
    bool real_reply; /* answer when the target has, if the server is able to tell [8.4] */
    bool share_port; /* several workers listen on the same port */
};

/* Opens the listener.  Returns 0, -errno (-EADDRINUSE, -EADDRNOTAVAIL, -EACCES) or PQ_ENOMEM. */
int pq_proxy_open(struct pq_proxy **out, struct pq_front *front, const struct pq_proxy_conf *conf);

/* Who asks from now on meets these words and answers; `listen` and `share_port` are not looked at.
 * Returns 0 or PQ_ENOMEM: then nothing has changed. */
int pq_proxy_change(struct pq_proxy *p, const struct pq_proxy_conf *conf);

/* Stops listening and drops negotiations under way; frees when the loop has closed the handles.
 * Sets *p to NULL; NULL does nothing. */
void pq_proxy_close(struct pq_proxy **p);
#endif
