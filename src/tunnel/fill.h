/* SPDX-License-Identifier: MIT */
/* fill.h - holes in the numbers of a session's connection, filled [12.9]; for tunnel/ only. */
#ifndef PQ_TUNNEL_FILL_H
#define PQ_TUNNEL_FILL_H
#include "base/time.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pq_segment;
struct pq_session;
struct pq_slot;
struct pq_span;

/* What a header, which was heard already, tells of them; anybody may have sent it. */
void pq_fill_told(struct pq_session *s, const struct pq_segment *seg, pq_ns now);

/* These n datagrams have been forged just now: copies them, unless the path has lost nothing for
 * long, or memory is short. */
void pq_fill_keep(struct pq_session *s, const struct pq_span *spans, size_t n, pq_ns now);

/* Forges what goes again, each a packet of its own, into at most n slots.  Returns how many. */
size_t pq_fill_pull(struct pq_session *s, struct pq_slot *slots, size_t n, pq_ns now);

/* When there may be something, or PQ_NEVER. */
pq_ns pq_fill_at(const struct pq_session *s);

/* Nothing is kept any more: the session ends, or goes on over another tuple. */
void pq_fill_end(struct pq_session *s);

/* Forges what was sent before under the number `seq`, and is in the slot, once more. */
void pq_connect_send_again(struct pq_session *s, struct pq_slot *slot, uint32_t seq, bool more,
                           pq_ns now);
#endif
