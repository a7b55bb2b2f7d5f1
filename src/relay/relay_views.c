/* SPDX-License-Identifier: MIT */
/* relay_views.c - where a relay notes the borrowed pieces of one batch.  Sixteen of a kilobyte each
 * are a small write, and a fast download has hundreds in a batch; but room for so many in each of
 * ten thousand relays would be wasted. */
#include "relay/relay.h"

#include <string.h>

static uv_buf_t *take_row(struct pq_front *f)
{
    for (unsigned i = 0; i < PQ_WIDE_ROWS; i++)
        if (!f->wide_taken[i]) {
            f->wide_taken[i] = true;
            return f->wide[i];
        }
    return NULL;
}

uv_buf_t *pq_relay_views(struct pq_relay *r)
{
    return r->wide ? r->wide : r->few;
}

void pq_relay_views_clear(struct pq_relay *r)
{
    for (unsigned i = 0; r->wide && i < PQ_WIDE_ROWS; i++)
        if (r->wide == r->front->wide[i])
            r->front->wide_taken[i] = false;
    r->wide = NULL;
    r->n_views = 0;
}

bool pq_relay_view(struct pq_relay *r, struct pq_view v)
{
    pq_relay_views(r)[r->n_views++] = uv_buf_init((char *)v.p, (unsigned)v.n);
    if (r->n_views == PQ_RELAY_VIEWS && (r->wide = take_row(r->front)))
        memcpy(r->wide, r->few, sizeof r->few);
    return r->n_views < (r->wide ? PQ_WIDE : PQ_RELAY_VIEWS);
}
