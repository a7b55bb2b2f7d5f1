/* SPDX-License-Identifier: MIT */
/* quic_session.h - sessions and streams that QUIC carries; for tunnel/ only. */
#ifndef PQ_TUNNEL_QUIC_SESSION_H
#define PQ_TUNNEL_QUIC_SESSION_H
#include "base/chunk.h"
#include "base/list.h"
#include "base/slot.h"
#include "quic/quic.h"
#include "wire/flow.h"

struct pq_hub;
struct pq_session;
struct pq_stream;
struct pq_stream_events;

#define PQ_RECORDS_MARK 0 /* first byte of a stream of records [13.5]; no header begins so */
#define PQ_RECORD_HEAD  2 /* length of a record, LE16 */

struct pq_quic_side { /* what QUIC needs of a stream */
    struct pq_quic_stream *st;
    const struct pq_stream_events *first; /* who reads the header of one that the peer has opened */
    struct pq_chunkq held; /* while it is corked: what waits for the header in front */
    bool corked;
    bool remote;  /* the peer has opened it */
    bool known;   /* the peer knows of it */
    bool begun;   /* its first byte has come (remote), or been sent: ... */
    bool records; /* ... it has records */
    bool binary;  /* ... its header is a binary one */
    bool apart;   /* its datagrams go in packets of their own */
    bool eof, stopped;
    uint8_t n_head, head[PQ_RECORD_HEAD]; /* of the record that is coming ... */
    uint16_t left;                        /* ... and its bytes that are missing */
};

struct pq_route { /* another path of a QUIC session */
    struct pq_addr peer, local;
    struct pq_flow flow;
};

struct pq_goodbye {      /* a QUIC connection whose session is over, and whose peer is to be told */
    struct pq_list node; /* in hub->goodbyes */
    struct pq_quic *quic;
    struct pq_flow flow;
};

struct pq_retry {        /* who has no connection yet is to show that he is there [13.3] */
    struct pq_list node; /* in hub->retries */
    struct pq_flow flow;
    size_t n;
    uint8_t p[PQ_QUIC_ANSWER_MAX];
};

/* quic_session.c, quic_rx.c, quic_tx.c; the rest of it is pq_transport_quic */
extern const struct pq_quic_events pq_quic_session_events;
enum pq_drop pq_quic_session_input(struct pq_hub *h, const struct pq_segment *seg, uint8_t *p,
                                   size_t n, pq_ns now);
size_t pq_quic_session_pull(struct pq_session *s, struct pq_slot *slots, size_t max, pq_ns now);
size_t pq_quic_session_turn(const struct pq_session *s);
pq_ns pq_quic_session_deadline(struct pq_session *s, pq_ns now);
size_t pq_quic_session_room(struct pq_stream *st);
size_t pq_quic_session_waiting(const struct pq_stream *st);
int pq_quic_session_send(struct pq_stream *st, struct pq_chunk *c);
void pq_quic_session_uncork(struct pq_stream *st, struct pq_chunk *first);
bool pq_quic_session_beside(const struct pq_stream *st, size_t n);
int pq_quic_session_datagram(struct pq_stream *st, struct pq_chunk *c);

/* quic_move.c [13.8] */
/* Makes the session's other path, in place of the one it had.  NULL: PQ_ENOMEM. */
struct pq_flow *pq_quic_route(struct pq_session *s, const struct pq_flow_conf *fc);
/* It goes on over that, if it is this one; or, client, it does not. */
void pq_quic_follow(struct pq_session *s, const struct pq_addr *peer, const struct pq_addr *local);
void pq_quic_stays_here(struct pq_session *s);
void pq_quic_move_tick(struct pq_session *s, pq_ns now); /* client: is the tuple dead? */
pq_ns pq_quic_move_deadline(struct pq_session *s, pq_ns now);
void pq_quic_move_heard(struct pq_session *s); /* something came over the session's own tuple */
#endif
