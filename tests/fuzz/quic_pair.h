/* SPDX-License-Identifier: MIT */
/* quic_pair.h - two QUIC ends that check each other, over a path that loses, repeats, changes and
 * moves what they send, while streams are opened and ended in any order: as the input says. */
#ifndef PQ_TESTS_FUZZ_QUIC_PAIR_H
#define PQ_TESTS_FUZZ_QUIC_PAIR_H
#include "fuzz.h"
#include "quic/quic.h"

#define QP_STREAMS 8
#define QP_HELD    16

struct qp_end;

struct qp_flow { /* a stream of one end */
    struct qp_end *e;
    struct pq_quic_stream *st;
    uint64_t sent, got;
    bool over;
};

struct qp_end {
    struct pq_quic_end *end;
    struct pq_quic *q;
    struct pq_chunks chunks;
    struct pq_rng rng;
    struct qp_flow f[QP_STREAMS];
    size_t n;
    bool ready, closed;
    bool trusting; /* it believes that what comes is what was sent */
    uint64_t out, wall;
};

struct qp {
    struct qp_end e[2]; /* the client, the server */
    struct fuzz_in *in;
    uint8_t held[QP_HELD][PQ_QUIC_SIZE_MAX];
    size_t held_len[QP_HELD], n_held;
    uint16_t port;
    pq_ns now;
    void (*before)(struct qp *w, int side); /* each end's turn; or NULL */
};

extern const uint8_t qp_key[PQ_QUIC_KEY_LEN];

void qp_end_init(struct qp_end *e, bool client, bool open);
void qp_end_fini(struct qp_end *e);

/* A datagram that arrives from where the other end is, or, of the client, from that port. */
enum pq_drop qp_input(struct qp_end *e, bool client, struct pq_view v, uint16_t port, pq_ns now);

/* Both begin and go on until the input is used up, and 50 turns longer. */
void qp_run(struct fuzz_in *in, bool open, void (*before)(struct qp *w, int side));
#endif
