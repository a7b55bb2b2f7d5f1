/* SPDX-License-Identifier: MIT */
#include "relay/front.h"

#include "relay/relay.h"
#include "relay/udp_flow.h"

#include <assert.h>
#include <stdlib.h>

const char *pq_front_strerror(int err)
{
    if (err == PQ_EAGAIN)
        return "too many names are waiting for DNS";
    return err <= PQ_EINVAL ? pq_strerror(err) : uv_strerror(err);
}

static void on_second(uv_timer_t *t)
{
    struct pq_front *f = t->data;
    pq_ns now = uv_hrtime();
    pq_relays_expire(f, now);
    pq_udp_flows_expire(f, now);
}

void pq_front_init(struct pq_front *f, uv_loop_t *loop, uint64_t seed)
{
    *f = (struct pq_front){.loop = loop,
                           .seed = seed,
                           .max_resolving = PQ_RESOLVING_MAX,
                           .max_udp_flows = PQ_UDP_FLOWS_MAX};
    pq_list_init(&f->relays);
    pq_list_init(&f->lingering);
    pq_list_init(&f->half_closed);
    pq_list_init(&f->udp_flows);
    pq_list_init(&f->associates);
    pq_list_init(&f->pairs);
    uv_timer_init(loop, &f->second);
    f->second.data = f;
    uv_timer_start(&f->second, on_second, 1000, 1000);
    uv_unref((uv_handle_t *)&f->second);
}

const struct pq_rules *pq_front_rules(const struct pq_front *f, const struct pq_stream *st)
{
    const unsigned who = f->n_user_rules ? pq_stream_who(st) : 0;
    return who < f->n_user_rules && f->user_rules[who] ? f->user_rules[who] : f->rules;
}

void pq_front_at_stop(struct pq_front *f, pq_front_fn stop)
{
    for (unsigned i = 0; i < f->n_parts; i++)
        if (f->part[i] == stop)
            return;
    assert(f->n_parts < PQ_FRONT_PARTS_MAX);
    f->part[f->n_parts++] = stop;
}

uint8_t *pq_front_space(struct pq_front *f)
{
    if (!f->space)
        f->space = malloc(PQ_FRONT_SPACE);
    return f->space;
}

void pq_front_stop(struct pq_front *f)
{
    f->stopping = true;
    pq_relays_stop(f);
    pq_udp_flows_stop(f);
    for (unsigned i = 0; i < f->n_parts; i++)
        f->part[i](f);
    uv_close((uv_handle_t *)&f->second, NULL);
    free(f->space);
    f->space = NULL;
}
