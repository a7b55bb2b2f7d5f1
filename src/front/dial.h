/* SPDX-License-Identifier: MIT */
/* dial.h - connects to a target by name or address: all its addresses, the next one 250 ms after
 * the one before or when that failed, the first that answers wins (RFC 8305 in short). */
#ifndef PQ_FRONT_DIAL_H
#define PQ_FRONT_DIAL_H
#include "front/front.h"

#define PQ_DIAL_LIMIT_MS 10000

struct pq_dial;

/* Called once: tcp is the connected handle, which the callee takes, or NULL and err says why
 * (-errno or UV_EAI_*). */
typedef void (*pq_dial_fn)(void *ctx, uv_tcp_t *tcp, int err);

/* Starts.  The callback comes exactly once unless it is cancelled.  Returns the dial, valid until
 * then, or NULL if the callback has been called already (failed at once). */
struct pq_dial *pq_dial_start(uv_loop_t *loop, const char *host, uint16_t port, pq_dial_fn done,
                              void *ctx);

/* Gives up; the callback will not come. */
void pq_dial_cancel(struct pq_dial *d);
#endif
