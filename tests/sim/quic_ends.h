/* SPDX-License-Identifier: MIT */
/* quic_ends.h - a world whose ends speak QUIC, with keys of a server and one user [13.7]. */
#ifndef PQ_TESTS_SIM_QUIC_ENDS_H
#define PQ_TESTS_SIM_QUIC_ENDS_H
#include "world.h"

extern const uint8_t quic_other[32];  /* a secret key that nobody has named, ... */
extern uint8_t quic_other_public[32]; /* ... as quic_ends makes it */

/* As world_keyed; and a world of it, which needs *c as long as it lives.  Its server was started 10
 * ms ago. */
struct world_conf quic_ends(pq_ns delay);
struct world *quic_ends_new(struct world_conf *c, uint64_t seed);

/* The server is another one, which was started so many ms ago. */
void quic_ends_restart(struct world *w, int64_t ago);

const struct pq_hub_stats *quic_ends_stats(const struct world *w); /* the server's */
struct pq_session *quic_ends_served(const struct world *w);        /* its first session, or NULL */

/* The client's first datagram, as a tap finds it, to come once more; or, as somebody with the
 * common key can have it, in a new seal with the stamp of now. */
struct quic_recording {
    uint8_t frame[1500];
    size_t len;
};
bool quic_record(struct world *w, unsigned from, struct link_packet *k);
void quic_seal_anew(struct world *w, struct quic_recording *r);
void quic_seal_with(struct world *w, struct quic_recording *r, const uint8_t *from,
                    const uint8_t *to); /* from one key to another */
#endif
