/* SPDX-License-Identifier: MIT */
/* quic_ticket.h - where a ticket is in messages of TLS 1.3 (RFC 8446) [13.10].  Pure. */
#ifndef PQ_QUIC_QUIC_TICKET_H
#define PQ_QUIC_QUIC_TICKET_H
#include "base/bytes.h"

/* The first identity of a ClientHello's extension pre_shared_key (4.2.11); n == 0: there is none,
 * or it is cut short.  Borrowed from `extension`. */
struct pq_view quic_ticket_asked(struct pq_view extension);

/* The ticket in a NewSessionTicket (4.6.1), without the head of the message; n == 0: the same. */
struct pq_view quic_ticket_given(struct pq_view message);
#endif
