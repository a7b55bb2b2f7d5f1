/* SPDX-License-Identifier: MIT */
/* handover.h - frames that one worker has got and another one needs, since a session has moved to a
 * tuple that the kernel gives to the wrong one [12.7].  A queue of copies, bounded by
 * PQ_HANDOVER_MAX frames and PQ_HANDOVER_BYTES: what finds no room is lost, as on the way.  Any
 * thread puts, the owner takes. */
#ifndef PQ_APP_HANDOVER_H
#define PQ_APP_HANDOVER_H
#include "io/pktio.h"

#include <pthread.h>

#define PQ_HANDOVER_MAX   256
#define PQ_HANDOVER_BYTES ((size_t)1 << 20)

struct pq_handover {
    pthread_mutex_t lock; /* of what follows */
    struct pq_frame ring[PQ_HANDOVER_MAX];
    unsigned first, n;
    size_t bytes;
    uint64_t lost;
};

void pq_handover_init(struct pq_handover *h);
void pq_handover_fini(struct pq_handover *h); /* frees what waits */

/* Puts a copy.  Returns false if there is no room, or no memory. */
bool pq_handover_put(struct pq_handover *h, const struct pq_frame *f);

/* Takes the oldest, whose bytes the caller frees.  Returns false if none waits. */
bool pq_handover_take(struct pq_handover *h, struct pq_frame *f);
#endif
