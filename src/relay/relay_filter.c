/* SPDX-License-Identifier: MIT */
/* relay_filter.c - what a filter may do with a relay. */
#include "relay/relay.h"

static bool filter_to_program(void *side, const uint8_t *p, size_t n)
{
    return pq_relay_say(side, p, n);
}

static bool filter_to_target(void *side, const uint8_t *p, size_t n)
{
    struct pq_relay *r = side;
    struct pq_chunk *c = pq_chunk_copy(pq_stream_chunks(r->st), p, n);
    if (c)
        pq_stream_send(r->st, c); /* if it has ended, the relay will be told */
    return c;
}

static void filter_stop_reading(void *side)
{
    struct pq_relay *r = side;
    uv_read_stop((uv_stream_t *)r->tcp);
}

static void filter_reset(void *side)
{
    pq_relay_close(side, true);
}

void pq_relay_filter(struct pq_relay *r, struct pq_filter *f)
{
    static const struct pq_filter_side ops = {.to_program = filter_to_program,
                                              .to_target = filter_to_target,
                                              .stop_reading = filter_stop_reading,
                                              .reset = filter_reset};
    r->filter = f;
    f->ops = &ops;
    f->side = r;
}
