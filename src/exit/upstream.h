/* SPDX-License-Identifier: MIT */
/* upstream.h - connects to a target through the SOCKS5 proxy of f->outgoing. */
#ifndef PQ_EXIT_UPSTREAM_H
#define PQ_EXIT_UPSTREAM_H
#include "relay/dial.h"

#define PQ_UPSTREAM_LIMIT_MS 20000

struct pq_upstream;

/* Starts.  The rules decide first; a name is looked up here only if an entry asks for its address,
 * and then the address is passed to the proxy, else the name.
 * The callback comes exactly once unless it is cancelled.  Returns NULL if it has come already.
 * Its tcp is connected to the proxy and ready for the target's bytes; its err is
 *   one of pq_resolve_fn, PQ_EDENIED by the rules here among them
 *   -EACCES (by the proxy's rules), -ENETUNREACH, -EHOSTUNREACH, -ECONNREFUSED: the proxy says so
 *   -ETIMEDOUT             it says so, or nothing in PQ_UPSTREAM_LIMIT_MS
 *   -ECONNABORTED          another failure there, or the proxy could not be reached
 *   -ECONNRESET            the proxy hung up
 *   PQ_EPROTO              it speaks no SOCKS5, or wants another login
 *   PQ_EINVAL, PQ_ENOMEM   a text too long; no memory */
struct pq_upstream *pq_upstream_start(struct pq_front *f, const struct pq_rules *rules,
                                      const char *host, uint16_t port, pq_dial_fn done, void *ctx);

/* Gives up; the callback will not come. */
void pq_upstream_cancel(struct pq_upstream *u);
#endif
