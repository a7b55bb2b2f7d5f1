/* SPDX-License-Identifier: MIT */
/* measure.h - what passes between the two ends of a session, and how: trains of datagrams on tuples
 * of their own, with a look, flags and sizes of the client's choice, which the server counts and,
 * where asked to, answers with as many bytes at most [12.10].  Beside the session's own packets: no
 * stream notices.  The client's side; the server's is in measure.c alone.  One worker's thread. */
#ifndef PQ_TUNNEL_MEASURE_H
#define PQ_TUNNEL_MEASURE_H
#include "tunnel/hub.h"

#define PQ_TRAINS     8   /* of a session at a time */
#define PQ_TRAIN_CARS 128 /* datagrams of a run whose arrival is told one by one */

#define PQ_TRAIN_LEAST 44 /* bytes of a datagram of one, and of an answer */

struct pq_train_order { /* one datagram */
    uint16_t size;      /* of the TCP payload, PQ_TRAIN_LEAST to PQ_DGRAM_MAX */
    bool answered;      /* the server shall answer, ... */
    enum pq_look look;  /* ... with this look, but on a connection as one of it; ... */
    uint16_t flags;     /* ... these TCP flags, ... */
    uint16_t answer;    /* ... and this size */
};

struct pq_train_seen {
    bool open;                     /* no handshake is waited for */
    unsigned sent;                 /* datagrams of this run that went out */
    unsigned arrived, answered;    /* as the server has said last, but no fewer than came back:
                                      came to it; it has sent */
    unsigned back;                 /* answers that came, one to each at most, as they were wanted */
    bool impossible;               /* the server has said what cannot be, which was left aside: more
                                      than was sent, other answers than were asked for */
    bool counted;                  /* the server was asked for its counts, and has told */
    bool came[PQ_TRAIN_CARS];      /* to the server, by number in the run, from 0; if counted */
    bool came_back[PQ_TRAIN_CARS]; /* the answer to it */
    pq_ns rtt;                     /* the shortest from a datagram to its answer; 0: none */
};

/* Begins train number i < PQ_TRAINS of a client's session, in place of one that was there: on
 * fc->local and fc->peer, with the look of fc and these flags; PQ_LOOK_CONNECT begins with a SYN.
 * Returns 0, PQ_ENOMEM, or PQ_ENOTSUP: the session is not of our own wire, the server is not able
 * to, or (by a SYN) its public key is not known. */
int pq_train_begin(struct pq_session *s, unsigned i, const struct pq_flow_conf *fc, uint16_t flags,
                   pq_ns now);

/* Counts from 0 again, at both ends. */
void pq_train_run(struct pq_session *s, unsigned i);

/* Sends one.  Returns 0 or PQ_EAGAIN: the one before has not gone out, or there is no train. */
int pq_train_send(struct pq_session *s, unsigned i, const struct pq_train_order *o);

/* Asks the server, over the session's own tuple, what came of this run.  Either may be lost. */
void pq_train_count(struct pq_session *s, unsigned i);

/* What is known of train i now; all 0 without one. */
void pq_train_seen(const struct pq_session *s, unsigned i, struct pq_train_seen *out);

void pq_train_end(struct pq_session *s, unsigned i);
#endif
