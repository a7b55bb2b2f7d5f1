/* SPDX-License-Identifier: MIT */
/* front_world.h - a front without a tunnel: a loop, and streams whose other end is the test. */
#ifndef PQ_TESTS_FRONT_WORLD_H
#define PQ_TESTS_FRONT_WORLD_H
#include "base/addr.h"
#include "relay/front.h"
#include "unit.h"

struct pq_stream { /* the test fills chunks and abilities; the rest is what became of the stream */
    struct pq_chunks *chunks; /* NULL: its session has ended */
    uint32_t abilities;
    const struct pq_stream_events *ev;
    void *ctx;
    void *tag;
    struct pq_chunkq sent; /* bytes or datagrams */
    size_t consumed;
    bool corked, finished, closed, aborted;
    bool beside; /* set by the test: datagrams may go beside the stream */
};

struct fw {
    uv_loop_t loop;
    struct pq_front front;
    struct pq_chunks chunks;
};

/* Prepares; ends, and checks that nothing is left of the front in the loop. */
void fw_init(struct fw *w);
void fw_fini(struct fw *w);

/* Runs the loop for what is ready now, until the condition holds (2 s at most) or for some ms. */
void fw_turn(struct fw *w);
#define fw_until(w, condition)                                                                     \
    do {                                                                                           \
        uint64_t fw_end = uv_hrtime() + 2 * PQ_SEC;                                                \
        while (!(condition) && uv_hrtime() < fw_end)                                               \
            fw_turn(w);                                                                            \
        assert_true(condition);                                                                    \
    } while (0)

/* A stream that is open, with nothing sent yet. */
struct pq_stream fw_stream(struct fw *w);

/* Frees what the front sent on it. */
void fw_stream_clear(struct pq_stream *st);

/* A part of a frame of the peer. */
void fw_deliver(struct pq_stream *st, const void *p, size_t n, bool last);

/* A connected pair of TCP sockets: a handle for the front, and the descriptor of the other end. */
uv_tcp_t *fw_tcp(struct fw *w, int *other);

/* A bound UDP socket that does not wait for ever; where it is bound.  `ip` is a literal. */
int fw_udp(const char *ip, struct pq_addr *at);
#endif
