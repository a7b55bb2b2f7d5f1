/* SPDX-License-Identifier: MIT */
/* udp_target.h - a UDP socket of this machine for one target: a server's for what a client asks
 * for, or a client's own for what goes beside the tunnel.  One worker's thread. */
#ifndef PQ_RELAY_UDP_TARGET_H
#define PQ_RELAY_UDP_TARGET_H
#include "relay/front.h"

struct pq_udp_target;

struct pq_udp_target_events {
    /* A datagram of the target, borrowed for the call.  May close the target. */
    void (*recv)(void *ctx, struct pq_view v);
    /* Called at most once: what came before the target was known has gone out (0), or nothing can:
     * an error of pq_resolve_fn or -errno.  May close it. */
    void (*ready)(void *ctx, int err);
};

/* Makes one that keeps what is sent until it is started; ev: borrowed for good.  Returns NULL if
 * memory is short; else the owner closes it. */
struct pq_udp_target *pq_udp_target_new(struct pq_front *f, const struct pq_udp_target_events *ev,
                                        void *ctx);

/* Looks the name up, unless it is an address, as the rules say (NULL: none), then opens the socket,
 * as f->outgoing says.  `ready` may come inside this call. */
void pq_udp_target_start(struct pq_udp_target *t, const struct pq_rules *rules, const char *host,
                         uint16_t port);

/* Sends a datagram; before the name is known 64 of them, of 64 KiB together, are kept, and 8 MiB of
 * a worker.  What has no room is counted as dropped. */
void pq_udp_target_send(struct pq_udp_target *t, struct pq_view v);

/* Whether datagrams wait for the name. */
bool pq_udp_target_waits(const struct pq_udp_target *t);

/* Ends it; no more events. */
void pq_udp_target_close(struct pq_udp_target *t);
#endif
