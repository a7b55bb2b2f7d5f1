/* SPDX-License-Identifier: MIT */
/* probe.h - a client that only asks: round trips through the tunnel, measured one after the other.
 * It has a session, a port and a firewall rule of its own, so it does not disturb a client that
 * runs with the same configuration. */
#ifndef PQ_APP_PROBE_H
#define PQ_APP_PROBE_H
#include "app/measure.h"
#include "base/list.h"
#include "conf/conf.h"

#include <uv.h>

struct client_worker;

enum pq_probe_kind {
    PQ_PROBE_OPEN,   /* the server has answered for the first time: `ns` after the start */
    PQ_PROBE_ANSWER, /* the answer to request `seq` came `ns` after it had been asked */
    PQ_PROBE_NONE,   /* none came in time; with seq 0: none at all, ever */
};

struct pq_probe_event {
    enum pq_probe_kind kind;
    unsigned seq;        /* 1, 2, ... */
    pq_ns ns;            /* monotonic; see kind */
    struct pq_addr peer; /* the server that answered */
    bool secure;         /* under keys of the session's own [12] */
    int result;          /* with a target: the server's answer, a SOCKS5 reply code, 0 = connected;
                            -1: it does not tell */
};

/* What protects the answers, in words to be printed behind "it answers, ...". */
const char *pq_probe_wire(const struct pq_probe_event *ev, bool quic);

struct pq_probe_seen {    /* what has come to this client's ports, answers or not */
    uint64_t datagrams;   /* with content */
    uint64_t foreign;     /* ... that could not be opened: another key or cipher, or noise */
    uint64_t empty;       /* segments without content: a kernel that resets, say */
    bool heard;           /* a datagram could be opened */
    uint64_t sent, again; /* KCP segments of the session that answered, and repeated ones */
    struct pq_probe_clock {
        bool known;      /* the server has told what its clock shows */
        int64_t ahead;   /* ms that it is before this machine's; less than 0: behind */
        int64_t sure;    /* ... give or take so many */
        bool impossible; /* not known: it has told a time of no calendar */
    } clock;
};

struct pq_probe_conf {
    unsigned count;   /* requests; 0: until a signal comes */
    pq_ns interval;   /* from one to the next, at least 10 ms */
    pq_ns patience;   /* so long an answer is waited for; the first one, too */
    const char *host; /* not NULL: each request is a TCP connection to this target, ... */
    uint16_t port;    /* ... closed as soon as the server has said how dialling went */
    void (*event)(void *ctx, const struct pq_probe_event *ev); /* from the worker's thread */
    void *ctx;
    bool clock;                            /* a server that is able to is asked for its clock */
    struct pq_probe_seen *seen;            /* not NULL: filled at the end */
    const struct pq_measure_conf *measure; /* not NULL: what is measured then, of this session */
};

/* Runs a client with the servers, keys and cipher of `c`, without its listeners and TUN, until all
 * is asked, the server has not answered the first request in time, or a signal comes.  Changes `c`
 * as pq_client_run does.  Blocks the signals that end the program for the rest of its life.
 * Reports errors of the start itself.  Returns 0, or 1 if the client could not be started. */
int pq_client_probe(struct pq_conf *c, const struct pq_probe_conf *pc);

/* ---- for client.c */

struct pq_probe {
    const struct pq_probe_conf *conf;
    struct client_worker *cw;
    uv_timer_t timer;
    struct pq_list pending; /* requests without an answer, the oldest first */
    pq_ns start, next;
    unsigned asked;
    struct pq_measuring *measuring;
    struct pq_probe_clock clock;
    bool open, done, running, clock_asked;
};

/* Begins to ask, on a worker that is not running yet; stops, from the worker's thread. */
void pq_probe_start(struct pq_probe *p, struct client_worker *cw);
void pq_probe_stop(struct pq_probe *p);
#endif
