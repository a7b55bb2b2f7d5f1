/* SPDX-License-Identifier: MIT */
/* measure.h - what passes between a client and its server, each way by itself: looks, flags, sizes,
 * losses, and the speed with the round trips under it.  Behind what a probe has asked (probe.h), in
 * the same session, whose own packets it leaves alone. */
#ifndef PQ_APP_MEASURE_H
#define PQ_APP_MEASURE_H
#include "tunnel/measure.h"

#include <uv.h>

struct client_worker;

enum { PQ_UP, PQ_DOWN }; /* to the server, from it */

#define PQ_MEASURED_LOOKS 16

struct pq_measured_look {
    enum pq_look look;
    uint16_t flags;
    uint16_t port;                /* of the server */
    bool open;                    /* its handshake was answered; true where there is none */
    unsigned sent[2], arrived[2]; /* datagrams; [PQ_DOWN] is what the server has sent */
    bool alone;                   /* down was measured behind what passes up: this does not */
    bool known;                   /* the server has said what came */
    bool impossible;              /* ... and what cannot be: such is left aside */
};

struct pq_measured_speed {
    bool done;
    bool impossible; /* not done: the server says that more came than has left this machine */
    bool cut;        /* not done: the server ended it before its time */
    double rate;     /* bytes a second, of content */
    unsigned pings;  /* round trips meanwhile ... */
    double loaded;   /* ... and their median, ms */
};

struct pq_measured {
    bool speed_able;  /* the server is able to measure the speed, ... */
    bool trains_able; /* ... and what passes */
    bool over;        /* all of it was done; false: the session ended, or a signal came */
    struct pq_measured_look look[PQ_MEASURED_LOOKS];
    unsigned n_looks, base; /* look[base] is what the session itself has */
    unsigned most[2];       /* bytes of the longest IP packet that passes; 0: not known */
    unsigned tried;         /* of the longest that was sent */
    bool size_impossible;   /* the server has said of it what cannot be: such is left aside */
    unsigned mtu;           /* of IP packets that the session sends at most, ... */
    unsigned datagram;      /* ... and what is in them */
    bool adapts;            /* ... both ends find out what passes, and send no more [12.11] */
    bool cut;               /* such packets do not pass one way: the speed is not measured */
    bool lost_known;
    bool lost_impossible;      /* not known: what the server says of it cannot be true */
    unsigned sent[2], came[2]; /* of small datagrams one after the other */
    struct pq_measured_speed speed[2];
};

struct pq_measure_conf {
    unsigned seconds; /* of speed, each way, 1 to PQ_MEASURE_SECONDS_MAX; 0: it is left out */
    /* How far it is: 0 to 1; rate in bytes a second, 0 while none is measured.  From the worker. */
    void (*progress)(void *ctx, const char *what, double part, double rate);
    void *ctx;
    struct pq_measured *out; /* filled meanwhile */
};

/* Whether of `sent` datagrams so many may have arrived and been answered, as the other side says.
 */
static inline bool pq_measured_may_be(uint32_t sent, uint32_t arrived, uint32_t answered)
{
    return arrived <= sent && answered <= arrived;
}

/* ---- for probe.c */

struct pq_measuring;

/* Begins, on the worker's thread; `done` is called once all is measured.  Returns NULL where memory
 * is short. */
struct pq_measuring *pq_measuring_start(struct client_worker *cw, const struct pq_measure_conf *mc,
                                        void (*done)(void *ctx), void *ctx);

/* Ends it, done or not; NULL does nothing. */
void pq_measuring_stop(struct pq_measuring *m);
#endif
