/* SPDX-License-Identifier: MIT */
#include "app/handover.h"

#include <stdlib.h>
#include <string.h>

void pq_handover_init(struct pq_handover *h)
{
    *h = (struct pq_handover){0};
    pthread_mutex_init(&h->lock, NULL);
}

void pq_handover_fini(struct pq_handover *h)
{
    struct pq_frame f;
    while (pq_handover_take(h, &f))
        free(f.p);
    pthread_mutex_destroy(&h->lock);
}

bool pq_handover_put(struct pq_handover *h, const struct pq_frame *f)
{
    struct pq_frame copy = *f;
    copy.p = malloc(f->len);
    if (copy.p)
        memcpy(copy.p, f->p, f->len);
    pthread_mutex_lock(&h->lock);
    const bool room = copy.p && h->n < PQ_HANDOVER_MAX && h->bytes + f->len <= PQ_HANDOVER_BYTES;
    if (room) {
        h->ring[(h->first + h->n++) % PQ_HANDOVER_MAX] = copy;
        h->bytes += f->len;
    } else {
        h->lost++;
    }
    pthread_mutex_unlock(&h->lock);
    if (!room)
        free(copy.p);
    return room;
}

bool pq_handover_take(struct pq_handover *h, struct pq_frame *f)
{
    pthread_mutex_lock(&h->lock);
    const bool any = h->n > 0;
    if (any) {
        *f = h->ring[h->first];
        h->first = (h->first + 1) % PQ_HANDOVER_MAX;
        h->n--;
        h->bytes -= f->len;
    }
    pthread_mutex_unlock(&h->lock);
    return any;
}
