/* SPDX-License-Identifier: MIT */
/* connect_internal.h - what connect*.c have together; for them only. */
#ifndef PQ_WIRE_CONNECT_INTERNAL_H
#define PQ_WIRE_CONNECT_INTERNAL_H
#include "wire/flow.h"

#define PQ_ACK_EACH   1 /* more than so many full segments bring an acknowledgement, ... */
/* ... and so many go in the first round trips; a quarter more after each that had all: */
#define PQ_ACKS_FIRST 64

void pq_connect_forge_bare(struct pq_flow *f, struct pq_slot *slot, uint16_t flags, pq_ns now);

/* How long own packets take to the peer, as far as it has changed: the clocks of both are
 * different, and one of them is a little faster.  `at`: by that clock whose time stamps come. */
void pq_connect_note_way(struct pq_connect *c, uint32_t way, uint32_t at);

/* Once a round trip: what is only for show yields where packets wait on their way to the peer. */
void pq_connect_thin_out(struct pq_connect *c);

/* So many bytes have come. */
void pq_connect_owe(struct pq_flow *f, uint32_t fresh);

/* Holes that have been there for too long, or are in the way, are none any more. */
void pq_connect_give_up(struct pq_flow *f, pq_ns now);
#endif
