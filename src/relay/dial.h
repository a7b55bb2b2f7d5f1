/* SPDX-License-Identifier: MIT */
/* dial.h - connects to a target by name or address: all its addresses, the next one 250 ms after
 * the one before or when that failed, the first that answers wins (RFC 8305 in short). */
#ifndef PQ_RELAY_DIAL_H
#define PQ_RELAY_DIAL_H
#include "relay/front.h"

#define PQ_DIAL_LIMIT_MS 10000

struct pq_dial;

/* Called once: tcp is the connected handle, tuned (pq_tcp_tune), which the callee takes, or
 * NULL and err is
 *   one of pq_resolve_fn   among them PQ_EDENIED: the rules allow none of the addresses
 *   -errno                 of the last attempt; of the way out as pq_outgoing_apply says
 *   -ETIMEDOUT             nobody answered in PQ_DIAL_LIMIT_MS, DNS included
 *   PQ_ENOMEM, -ENOMEM */
typedef void (*pq_dial_fn)(void *ctx, uv_tcp_t *tcp, int err);

/* Starts, as the rules and f->outgoing say but for an upstream proxy.  The callback comes exactly
 * once unless it is cancelled.  Returns the dial, valid until then, or NULL if the callback has
 * been called already (failed at once). */
struct pq_dial *pq_dial_start(struct pq_front *f, const struct pq_rules *rules, const char *host,
                              uint16_t port, pq_dial_fn done, void *ctx);

/* The same without rules, for what the configuration itself names. */
struct pq_dial *pq_dial_start_unruled(struct pq_front *f, const char *host, uint16_t port,
                                      pq_dial_fn done, void *ctx);

/* The reply code of SOCKS5 for an error of pq_dial_fn, or of an upstream proxy; 0 for 0. */
uint8_t pq_dial_result(int err);

/* Gives up; the callback will not come. */
void pq_dial_cancel(struct pq_dial *d);
#endif
