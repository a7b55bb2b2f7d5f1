/* SPDX-License-Identifier: MIT */
/* steer.h - where packets to an address go because of the name that led to it: packets have no
 * names, but who asks for one is told its addresses first.
 *
 * A name goes where the first rule that matches it says (split.h), and so do its addresses, unless
 * a rule that comes before that one matches the address.  With entries with ports in the rules
 * (port_spans.h) a name that a rule sends through the tunnel does so whatever they say.  An address
 * of several names goes through the tunnel if one of them does, since nobody can tell which one a
 * packet is for.  An address is remembered for as long as the answer may be kept, but for
 * PQ_STEER_LEAST at least, after the last answer; of more than PQ_STEER_MAX those told longest ago
 * are forgotten.
 *
 * Pure but for the callback; one worker's thread. */
#ifndef PQ_ENTRY_STEER_H
#define PQ_ENTRY_STEER_H
#include "base/time.h"
#include "entry/split.h"

#define PQ_STEER_MAX   8192           /* addresses */
#define PQ_STEER_LEAST (300 * PQ_SEC) /* programs keep addresses longer than they may */

enum pq_steered {                 /* where an address goes */
                  PQ_STEERED_NOT, /* where the rules about networks say */
                  PQ_STEERED_DIRECT,
                  PQ_STEERED_TUNNEL,
};

/* Has packets to an address, which went to `was`, go elsewhere.  Returns 0, or an error: they go on
 * as before. */
typedef int (*pq_steer_fn)(void *ctx, const struct pq_addr *ip, enum pq_steered was,
                           enum pq_steered to);

struct pq_steer;

/* Returns NULL if memory is short. */
struct pq_steer *pq_steer_new(uint64_t seed, pq_steer_fn change, void *ctx);
void pq_steer_free(struct pq_steer **s); /* all addresses go where the networks say; NULL is fine */

/* A name, whose way is `way` (not PQ_WAY_BLOCK), has this address for `ttl` seconds.  Where memory
 * is short it is not remembered. */
void pq_steer_learn(struct pq_steer *s, const struct pq_split *split, const char *name,
                    enum pq_way way, const struct pq_addr *ip, uint32_t ttl, pq_ns now);

/* Forgets what is over. */
void pq_steer_expire(struct pq_steer *s, const struct pq_split *split, pq_ns now);

/* The rules are others now. */
void pq_steer_renew(struct pq_steer *s, const struct pq_split *split, pq_ns now);

/* Where an address goes; *nth (may be NULL) becomes the number of its name's rule.  s == NULL:
 * PQ_STEERED_NOT. */
enum pq_steered pq_steer_find(const struct pq_steer *s, const struct pq_addr *ip, unsigned *nth);

/* Addresses that are remembered; those of them that go directly. */
void pq_steer_count(const struct pq_steer *s, size_t *all, size_t *direct);
#endif
