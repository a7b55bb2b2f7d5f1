/* SPDX-License-Identifier: MIT */
/* quic_world.h - two QUIC ends in virtual time over a modelled link, their streams and what has
 * become of them. */
#ifndef PQ_TESTS_SIM_QUIC_WORLD_H
#define PQ_TESTS_SIM_QUIC_WORLD_H
#include "link.h"
#include "quic/quic.h"
#include "unit.h"

#define QW_T0      (1000 * PQ_SEC)
#define QW_STREAMS 50000
#define QW_HEAD    52 /* IP and TCP headers, which count on the link; addresses lie in them */

enum { CLIENT, SERVER };

struct qw;
struct qw_side;

struct qw_stream {
    struct qw_side *side;
    struct pq_quic_stream *st; /* NULL: its user is done with it */
    uint64_t to_send, sent;    /* bytes of the pattern */
    uint64_t rx;               /* bytes that came, in order and as sent */
    uint64_t acked;
    uint64_t unread; /* given and kept */
    bool keep_open;  /* no FIN behind what is to be sent */
    bool finished;   /* FIN was queued */
    bool echo;       /* sends back what comes */
    bool deaf;       /* never reads */
    bool eof, reset, stop, cut;
    uint64_t reset_code;
};

struct qw_side {
    struct qw *w;
    bool client;
    struct pq_quic_end *end;
    struct pq_quic *q; /* the one connection, or the last accepted */
    struct pq_chunks chunks;
    struct pq_rng rng;
    struct link out;
    struct pq_addr addr;
    pq_ns stopped, period; /* the machine gets to nothing in so much of each such time */
    uint16_t nat_port;     /* not 0: what its port is on the way */
    struct qw_stream s[QW_STREAMS];
    size_t n;
    bool ready, refuse, closed;
    bool deaf, echo;     /* of streams that the peer opens */
    uint64_t deaf_after; /* bytes */
    struct pq_quic_why why;
    size_t accepted, flushes, paths, gone; /* gone: connections that were closed and freed */
    uint64_t datagrams, datagram_bytes, datagram_bad, packets_out, bytes_out;
    uint64_t drops[PQ_DROP_COUNT];
    struct pq_quic_path last; /* where the last datagram went */
};

struct qw_conf {
    struct pq_quic_conf end[2];
    struct link_conf link[2];
    uint64_t seed;
    pq_ns start;     /* when the world begins */
    int64_t skew[2]; /* ms by which the wall clocks are wrong */
    size_t memory;
    bool no_key[2];
    uint8_t key[2][PQ_QUIC_KEY_LEN];
    /* The client says this name, which the server knows; psk and mix are filled with these bytes.
     */
    const char *name[2];
    uint8_t psk[2], mix[2];
};

struct qw {
    struct qw_conf conf;
    pq_ns now;
    struct qw_side side[2];
    /* Sees, and may change, each datagram before it goes; returns false to lose it. */
    bool (*tap)(struct qw *w, int from, uint8_t *p, size_t *n);
    void *ctx;
    struct pq_addr nowhere; /* an address from which nobody answers, and bytes that went there */
    uint64_t astray;
};

/* Both with the same key, 1 ms of delay, no loss. */
struct qw_conf qw_conf(void);
struct qw *qw_new(const struct qw_conf *c);
void qw_free(struct qw *w);

/* The client begins its connection. */
void qw_connect(struct qw *w);

/* Runs until `done` says so, or until the time; returns whether done. */
bool qw_run(struct qw *w, pq_ns until, bool (*done)(const struct qw *w));
bool qw_both_ready(const struct qw *w);

/* Whether the first stream was echoed to the end, and all of it acknowledged. */
bool qw_both_got_all(const struct qw *w);

/* Connects and waits until both are ready. */
void qw_up(struct qw *w);

/* Nothing leaves the server, whatever time passes, and nothing is left there. */
void qw_expect_silence(struct qw *w);

/* Opens a stream that sends n bytes, and FIN. */
struct qw_stream *qw_open(struct qw_side *e, uint64_t n);

/* The same without FIN. */
struct qw_stream *qw_hold(struct qw_side *e, uint64_t n);

/* Queues the next n bytes of such a stream, as one chunk. */
void qw_more(struct qw_stream *s, size_t n);

/* Puts a datagram on the way as if it had come from `src`. */
void qw_inject(struct qw *w, int to, const struct pq_addr *src, const uint8_t *p, size_t n);

/* Bytes that all streams of a side have received. */
uint64_t qw_received(const struct qw_side *e);
#endif
