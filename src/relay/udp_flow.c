/* SPDX-License-Identifier: MIT */
#include "relay/udp_flow.h"

#define BINARY_MAX 4096 /* family B reads no more, and would make two of a longer one [6.4] */
#define LOG_PERIOD (60 * PQ_SEC)

size_t pq_udp_max_of(enum pq_family family, uint32_t abilities)
{
    return family != PQ_FAMILY_GOB && !abilities ? BINARY_MAX : PQ_UDP_MAX;
}

void pq_udp_flow_touch(struct pq_udp_flow *f)
{
    f->used = uv_hrtime();
    pq_list_remove(&f->node);
    pq_list_push(&f->front->udp_flows, &f->node);
}

void pq_udp_flow_init(struct pq_udp_flow *f)
{
    struct pq_front *front = f->front;
    f->st = NULL;
    f->part = NULL;
    f->lost = f->ended = false;
    pq_list_init(&f->node);
    if (front->n_udp_flows >= front->max_udp_flows && !pq_list_empty(&front->udp_flows)) {
        struct pq_udp_flow *old = PQ_OF(front->udp_flows.next, struct pq_udp_flow, node);
        uint64_t n = pq_log_due(&front->udp_full, LOG_PERIOD, uv_hrtime());
        if (n)
            PQ_LOG(PQ_LOG_WARN,
                   "UDP: all %u flows are in use: %llu times the one idle longest was closed for a "
                   "new one (performance.max_udp_flows)",
                   front->max_udp_flows, (unsigned long long)n);
        pq_udp_flow_leave(old); /* what it has not sent yet would take the room of the new ones */
        old->over(old);
    }
    front->n_udp_flows++;
    pq_udp_flow_touch(f);
}

void pq_udp_flow_own(struct pq_udp_flow *f, struct pq_stream *st, size_t max)
{
    f->st = st;
    pq_stream_own(st, &pq_udp_flow_events, f);
    pq_stream_set_datagrams(st, max);
}

void pq_udp_flow_send(struct pq_udp_flow *f, const void *p, size_t n)
{
    pq_udp_flow_touch(f);
    struct pq_chunks *chunks = f->st ? pq_stream_chunks(f->st) : NULL;
    struct pq_chunk *c = chunks && n <= PQ_UDP_MAX ? pq_chunk_copy(chunks, p, n) : NULL;
    if (!c || pq_stream_send_datagram(f->st, c))
        f->front->udp_dropped++;
}

static void forget_part(struct pq_udp_flow *f)
{
    pq_chunk_free(f->part);
    f->part = NULL;
    f->lost = false;
}

void pq_udp_flow_leave(struct pq_udp_flow *f)
{
    if (f->st)
        pq_stream_abort(f->st);
    f->st = NULL;
    forget_part(f);
}

void pq_udp_flow_close(struct pq_udp_flow *f)
{
    if (f->st)
        pq_stream_close(f->st); /* a program may send one datagram and go */
    f->st = NULL;
    forget_part(f);
    pq_list_remove(&f->node);
    f->front->n_udp_flows--;
}

void pq_udp_flows_expire(struct pq_front *front, pq_ns now)
{
    struct pq_list *n = front->udp_flows.next;
    while (n != &front->udp_flows) {
        struct pq_udp_flow *f = PQ_OF(n, struct pq_udp_flow, node);
        if (now < f->used + f->idle_max)
            return; /* all flows of a worker have the same limit */
        f->over(f);
        n = front->udp_flows.next;
    }
}

void pq_udp_flows_stop(struct pq_front *front)
{
    while (!pq_list_empty(&front->udp_flows)) {
        struct pq_udp_flow *f = PQ_OF(front->udp_flows.next, struct pq_udp_flow, node);
        f->over(f);
    }
}

/* ---- the stream's events */

/* A part of a frame: kept until the frame is complete. */
static void gather(struct pq_udp_flow *f, struct pq_view v)
{
    if (!f->part)
        f->part = pq_chunk_new(pq_stream_chunks(f->st), PQ_CHUNK_HUGE);
    f->lost = f->lost || !f->part || pq_chunk_room(f->part) < v.n;
    if (f->lost)
        return;
    memcpy(pq_chunk_data(f->part) + f->part->len, v.p, v.n);
    f->part->len += (uint32_t)v.n;
}

static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct pq_udp_flow *f = ctx;
    pq_udp_flow_touch(f);
    pq_stream_consumed(f->st, v.n);
    if (last && !f->part && !f->lost) {
        f->deliver(f, v);
        return;
    }
    gather(f, v);
    if (!last)
        return;
    struct pq_chunk *c = f->part;
    bool lost = f->lost;
    f->part = NULL;
    f->lost = false;
    if (!lost)
        f->deliver(f, (struct pq_view){pq_chunk_data(c), c->len});
    pq_chunk_free(c);
}

static void on_datagram(void *ctx, struct pq_view v)
{
    struct pq_udp_flow *f = ctx;
    pq_udp_flow_touch(f);
    f->deliver(f, v);
}

static void no_event(void *ctx)
{
    (void)ctx;
}

static void on_end(void *ctx, int err)
{
    struct pq_udp_flow *f = ctx;
    (void)err;
    f->ended = true;
    f->over(f);
}

static void on_eof(void *ctx)
{
    on_end(ctx, 0);
}

const struct pq_stream_events pq_udp_flow_events = {on_data, no_event, no_event,
                                                    on_end,  on_eof,   on_datagram};
