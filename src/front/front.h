/* SPDX-License-Identifier: MIT */
/* front.h - what all front modules of one worker share: the loop, limits, the way to a stream.
 * One worker's thread. */
#ifndef PQ_FRONT_FRONT_H
#define PQ_FRONT_FRONT_H
#include "base/list.h"
#include "base/log.h"
#include "tunnel/stream.h"

#include <uv.h>

/* How a client's front gets a stream to a target.  Returns the stream, owned by ev/ctx, or NULL
 * (no session, no memory).  Bytes may be sent at once. */
typedef struct pq_stream *(*pq_open_fn)(void *ctx, const char *host, uint16_t port,
                                        const struct pq_stream_events *ev, void *evctx);

struct pq_front {
    uv_loop_t *loop;
    pq_open_fn open; /* client */
    void *open_ctx;
    struct pq_list relays;      /* all joined pairs, for the end */
    struct pq_list lingering;   /* closed by us, waiting for the other end's FIN */
    struct pq_list half_closed; /* one direction has ended: not kept for ever without a byte */
    uv_timer_t linger_timer;
    bool stopping;
    struct pq_log_limit bad_header, dial_failed;
};

/* Prepares; the timer of the lingering list belongs to the loop until pq_front_stop. */
void pq_front_init(struct pq_front *f, uv_loop_t *loop);

/* Closes every pair and the timer; the loop must run on until the handles are closed. */
void pq_front_stop(struct pq_front *f);
#endif
