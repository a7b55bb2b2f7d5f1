/* SPDX-License-Identifier: MIT */
/* measure_internal.h - between measure.c, measure_plan.c, measure_loss.c and measure_speed.c. */
#ifndef PQ_APP_MEASURE_INTERNAL_H
#define PQ_APP_MEASURE_INTERNAL_H
#include "app/client.h"
#include "app/measure.h"

#define STEP_SIZES 24 /* that one step goes through */

struct step { /* trains side by side, each of so many datagrams */
    const char *what;
    struct step_train {
        enum pq_look look; /* it sends with */
        uint16_t flags, port;
        bool running; /* the train of the step before goes on */
        bool there;   /* it could be begun */
        unsigned of;  /* index in out->look */
        struct pq_train_order order;
    } train[PQ_TRAINS];
    unsigned n, cars;
    pq_ns gap;
    uint16_t sizes[STEP_SIZES];   /* of the first n_sizes, which are not answered, ... */
    uint16_t answers[STEP_SIZES]; /* ... and of the answers to those behind */
    unsigned n_sizes;             /* 0 or STEP_SIZES: then there are twice as many cars */
};

struct pq_measuring_loss { /* of datagrams without a train */
    struct pq_stream *st;
    bool began, asked, told, over;
    uint32_t sent, arrived, answered, back;
    uint8_t came[PQ_TRAIN_CARS / 8]; /* the answer to it, by number */
    uint8_t word[8];                 /* of the server's, as far as it has come */
    unsigned n_word;
    size_t unread;
    pq_ns next, until;
};

struct pq_measuring {
    struct client_worker *cw;
    struct pq_session *ses; /* whose own packets are left alone */
    const struct pq_measure_conf *conf;
    void (*done)(void *ctx);
    void *done_ctx;
    uv_timer_t timer;
    enum { PHASE_OPEN, PHASE_SEND, PHASE_SETTLE, PHASE_LOSS, PHASE_SPEED, PHASE_OVER } phase;
    enum {
        STAGE_LOOKS,  /* all looks and flags */
        STAGE_BACK,   /* the way back of those that do not pass up */
        STAGE_SIZES,  /* sizes, far apart ... */
        STAGE_CLOSER, /* ... and between the last that passes and the first that does not */
        STAGE_LOSS,
        STAGE_DONE
    } stage;
    unsigned at; /* look[at] is the next to be measured in its stage */
    double part; /* of all that is done */
    struct step step;
    unsigned sent, counts;
    pq_ns since, next;
    uint16_t low[2], high[2]; /* sizes that pass, and do not */
    struct pq_measuring_loss loss;
    /* speed */
    unsigned way;
    struct pq_stream *st;
    bool over, began;
    uint64_t bytes, early, seen, unread;
    uint64_t left;   /* bytes of datagrams that had left this machine before */
    bool impossible; /* as in pq_measured_speed */
    uint8_t count[8];
    unsigned n_count;
    pq_ns start, steady, last, ping_at;
    struct pq_list pings;
    double rtt[256];
    unsigned n_rtt;
};

struct pq_session *pq_measuring_session(const struct pq_measuring *m);

/* measure_plan.c: which looks there are; the next step, into m->step (false: there is none); and
 * what the last one has shown. */
void pq_measure_looks(struct pq_measuring *m);
bool pq_measure_plan(struct pq_measuring *m);
void pq_measure_note(struct pq_measuring *m);

/* measure_loss.c: goes on; returns whether it is done. */
bool pq_measure_loss(struct pq_measuring *m, pq_ns now);
void pq_measure_loss_stop(struct pq_measuring *m);

/* measure_speed.c: goes on; returns whether both ways are done. */
bool pq_measure_speed(struct pq_measuring *m, pq_ns now);
void pq_measure_speed_stop(struct pq_measuring *m);
#endif
