/* SPDX-License-Identifier: MIT */
/* flow.h - a stream of datagrams between the two ends of a world: what was sent is told by its
 * number, and checked when it comes, whichever way it took. */
#ifndef PQ_TESTS_SIM_FLOW_H
#define PQ_TESTS_SIM_FLOW_H
#include "header/header.h"
#include "world.h"

#define FLOW_MAX 65536 /* datagrams in each direction */
#define ABLE     (PQ_ABLE_HELLO | PQ_ABLE_DATAGRAMS)

struct flow;

struct flow_end {
    struct flow *f;
    unsigned side;
    struct pq_stream *st;
    uint32_t sent;           /* numbers given away */
    unsigned beside, framed; /* datagrams that came beside the stream, and through it */
    unsigned twice, late;    /* of those beside: came before; took longer than the link does */
    unsigned ends;
    bool lazy;           /* does not consume what comes through the stream */
    bool close_in_event; /* at the first that comes beside */
    bool sloppy;         /* the content may be anything */
    uint8_t frame[PQ_CHUNK_HUGE];
    size_t frame_len, unread;
    bool came[FLOW_MAX];
    struct {
        pq_ns at;
        uint32_t len;
    } out[FLOW_MAX]; /* by number */
};

struct flow {
    struct world *w;
    struct flow_end end[2];
};

/* Opens one, which the world frees not: flow_free.  `able` is what each side has heard of its peer.
 */
struct flow *flow_open(struct world *w, uint32_t able_client, uint32_t able_server);
void flow_free(struct flow *f);

/* Sends the next datagram, of n bytes.  Returns what pq_stream_send_datagram says. */
int flow_send(struct flow_end *e, size_t n);

/* Runs for a while, until the client may send beside the stream. */
void flow_settle(struct flow *f);

unsigned flow_came(const struct flow_end *e); /* different ones, both ways together */
void flow_close(struct flow_end *e);
#endif
