/* SPDX-License-Identifier: MIT */
/* quic_tickets.h - tickets over QUIC: what a server knows of those that it has given, and a
 * client's store of those that it has got [13.10].  For tunnel/ alone; one worker's thread. */
#ifndef PQ_TUNNEL_QUIC_TICKETS_H
#define PQ_TUNNEL_QUIC_TICKETS_H
#include "tunnel/hub.h"

#define PQ_QUIC_TICKETS_KEPT 16 /* by a client's worker; then the oldest goes */

/* Server: h->tickets, the configuration's or an own one.  Returns 0 or PQ_ENOMEM.  Client: an empty
 * store.  Fini frees them, and may be called without init. */
int pq_quic_tickets_init(struct pq_hub *h);
void pq_quic_tickets_fini(struct pq_hub *h);

/* The events `given`, `taken` and `ticket` of QUIC, see quic/quic.h; `user` is a session, `ctx` a
 * hub. */
void pq_quic_tickets_given(void *user, struct pq_view ticket,
                           const uint8_t secret[PQ_QUIC_PSK_LEN]);
bool pq_quic_tickets_taken(void *ctx, struct pq_quic *q, struct pq_view ticket,
                           struct pq_quic_claim *claim);
void pq_quic_tickets_keep(void *user, struct pq_quic_ticket *t);

/* Client: takes the newest for the session's server out, or NULL; owned by the caller. */
struct pq_quic_ticket *pq_quic_tickets_for(struct pq_session *s);
#endif
