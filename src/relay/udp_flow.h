/* SPDX-License-Identifier: MIT */
/* udp_flow.h - the datagrams of one UDP flow, carried by a stream of its own [6.4] [8.7]: whole
 * datagrams in, whole datagrams out.  A worker has a bounded number of them: the one that was idle
 * longest makes room for a new one.  One worker's thread. */
#ifndef PQ_RELAY_UDP_FLOW_H
#define PQ_RELAY_UDP_FLOW_H
#include "relay/front.h"

#define PQ_UDP_MAX 65507 /* bytes of payload of one datagram over IPv4 */

struct pq_udp_flow { /* embedded in what its owner knows of the flow */
    struct pq_front *front;
    struct pq_stream *st;  /* NULL before pq_udp_flow_own and once it has ended */
    struct pq_list node;   /* in front->udp_flows, the one idle longest first */
    pq_ns used, idle_max;  /* when it carried its last datagram; how long it is kept after that */
    struct pq_chunk *part; /* a frame of the stream of which more is to come */
    bool lost;             /* memory was short for a part of it */
    bool ended;            /* it is over because the stream has ended */
    /* A datagram for the local side, borrowed for the call.  May close the flow. */
    void (*deliver)(struct pq_udp_flow *f, struct pq_view v);
    /* The flow is over: the stream ended, it was idle, or had to make room.  The owner closes it;
     * if `ended` it may also leave the stream and close the flow later. */
    void (*over)(struct pq_udp_flow *f);
};

/* Prepares a flow and counts it; front, deliver, over and idle_max are set by the caller before.
 * Another flow may be told that it is over. */
void pq_udp_flow_init(struct pq_udp_flow *f);

/* Gives it its stream.  `max`: bytes of a datagram that the peer takes. */
void pq_udp_flow_own(struct pq_udp_flow *f, struct pq_stream *st, size_t max);

/* Gives its stream up, and what has come of a frame; it waits for another one. */
void pq_udp_flow_leave(struct pq_udp_flow *f);

/* The events of its stream, for pq_open_fn, with the flow as ctx. */
extern const struct pq_stream_events pq_udp_flow_events;

/* Sends a datagram; copies it.  What cannot go now, or is too large for the peer, is dropped and
 * counted, as networks do. */
void pq_udp_flow_send(struct pq_udp_flow *f, const void *p, size_t n);

/* It is in use: for who carries its datagrams in another way. */
void pq_udp_flow_touch(struct pq_udp_flow *f);

/* Takes it out of everything; the memory is the owner's. */
void pq_udp_flow_close(struct pq_udp_flow *f);

/* Tells flows that were idle too long that they are over.  Called each second. */
void pq_udp_flows_expire(struct pq_front *front, pq_ns now);

/* Tells all that they are over. */
void pq_udp_flows_stop(struct pq_front *front);

/* Bytes of a datagram that a peer takes: of the family of its headers, or of our kind. */
size_t pq_udp_max_of(enum pq_family family, uint32_t abilities);
#endif
