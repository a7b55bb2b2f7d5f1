/* SPDX-License-Identifier: MIT */
/* proof.h - what a SYN proves: that its sender has the server's keys [12.9].
 * Knows: the key, slots of time, what is in a SYN.  Does not know: what was answered before
 * (syns.h). */
#ifndef PQ_TUNNEL_PROOF_H
#define PQ_TUNNEL_PROOF_H
#include "crypt/seal.h"
#include "tunnel/syns.h"
#include "wire/segment.h"

#define PQ_PROOF_CHOICES 4096 /* SYNs of a slot that have no time stamps */

/* The number of a SYN that goes out first with this time stamp, in this slot. */
uint32_t pq_proof_stamped(struct pq_mask *key, uint32_t stamp, uint64_t slot);

/* The same of one without time stamps: one of so many; choice < PQ_PROOF_CHOICES. */
uint32_t pq_proof_plain(struct pq_mask *key, uint32_t choice, uint64_t slot);

/* Whether a SYN that comes when the clock says `wall`, ms since 1970, proves that its sender has
 * the key.  Sets what tells it from others in *out, which borrows the sender's address. */
bool pq_proof_check(struct pq_mask *key, const struct pq_segment *syn, uint64_t wall,
                    struct pq_syn *out);

/* The same for any clock of its sender that is up to so many slots from `wall`, for SYNs with time
 * stamps, which chance does not make.  Sets *apart to the ms that it is before `wall`, give or take
 * half a slot.  Costs some ten blocks of the cipher for a slot: for people who look for a mistake,
 * not for who serves. */
bool pq_proof_when(struct pq_mask *key, const struct pq_segment *syn, uint64_t wall, unsigned far,
                   int64_t *apart);
#endif
