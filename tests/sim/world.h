/* SPDX-License-Identifier: MIT */
/* world.h - two whole tunnel ends in virtual time, a link in each direction, and pairs of streams
 * whose bytes are a function of their offset.  Nothing sleeps; no kernel. */
#ifndef PQ_TESTS_SIM_WORLD_H
#define PQ_TESTS_SIM_WORLD_H
#include "link.h"
#include "tunnel/hub.h"
#include "unit.h"

#define PAIRS_MAX   256
#define VIEWS_MAX   4096
#define WORKERS_MAX 4
#define CLIENT      0
#define SERVER      1
#define SERVER_PORT 9999
#define WORLD_T0    (1000 * PQ_SEC)         /* the clock does not start at 0 */
#define WORLD_WALL  UINT64_C(1790000000000) /* ms since 1970 at 0 */

struct world;

struct half { /* one end of a stream */
    struct world *w;
    unsigned side, index;
    struct pq_stream *st;   /* NULL: not open, or closed by its owner */
    uint64_t tx_len, tx_at; /* bytes to send, sent */
    uint64_t rx_at;         /* bytes received and found right */
    uint64_t unread;        /* of them not yet reported as consumed */
    bool lazy;              /* does not consume what comes */
    bool keep_open;         /* does not close when both directions are done */
    bool starved;           /* no chunk could be had */
    unsigned ends;          /* end events */
    bool closed_in_event;
    int end_err;
    uint64_t close_at; /* closes when so many bytes have come; 0 = never */
    bool abort_then;   /* aborts instead */
    struct pq_view views[VIEWS_MAX];
    unsigned n_views;
};

struct end {
    struct world *w;
    unsigned side;
    struct pq_hub *hub;                   /* NULL: the program is not there */
    struct pq_hub *more[WORKERS_MAX - 1]; /* server: those of its other workers; hub is number 0 */
    unsigned n_more;
    uint64_t handed; /* frames that one of them has given to another */
    struct pq_hub_conf conf;
    struct pq_rng rng;
    struct pq_addr addr;
    struct link out;  /* what this end sends, ... */
    struct link far;  /* ... behind the box in the middle, if the world has one */
    uint64_t packets; /* that it pulled out of its hub */
    unsigned accepts, proven, secured, streams, ended;
    bool leaves;           /* it is about to stop */
    bool stays;            /* a client that has no other port */
    unsigned moves, moved; /* asked for; done */
    bool roams;            /* ... and to another address of its own */
    unsigned server_ports; /* a client moves among so many of the server, too; 0 = 1 */
    int64_t wall_off;      /* ms that its clock is wrong */
    int ended_err;
    uint64_t ticks;     /* calls of pq_hub_tick */
    size_t chunks_high; /* most bytes of chunks at a time */
    bool glue;          /* takes runs of full datagrams as one frame */
    uint64_t frames;    /* that it took */
};

struct world {
    struct end end[2];
    struct half half[2][PAIRS_MAX];
    unsigned pairs;
    struct pq_session *ses; /* the client's, NULL when it has ended */
    pq_ns now;
    bool (*tap)(struct world *w, unsigned from, struct link_packet *k); /* false: takes it out */
    void *tap_ctx;
    bool routed; /* the tap is in the middle of the path, and not at its end */
    void (*absent)(struct world *w, unsigned side, const struct link_packet *k); /* comes there
                                                                where no program is */
    bool (*take)(struct world *w, struct pq_stream *st); /* server: true = takes the stream over */
    void *take_ctx;
    const uint8_t *server_public;
    bool sloppy; /* content does not matter any more */
    pq_ns tick;  /* not 0: both machines are so busy that they get to work in such steps only */
    pq_ns late;  /* at most so much late they get to work, by chance; a fiftieth of the times, eight
                    times as much */
    uint64_t late_rng;
    struct pq_homes *homes;
    uint64_t starts; /* of programs after the first ones */
};

struct world_conf {
    const uint8_t *server_public; /* of our own wire; NULL: the old one */
    unsigned workers;             /* of the server, each with a hub of its own; 0 = 1 */
    struct pq_hub_conf hub[2];
    struct link_conf link[2];
    bool routed;             /* there is a box in the middle of the path; ... */
    struct link_conf far[2]; /* ... behind it */
};

/* Settings like those of the program, mode fast; a link of `delay` one way. */
struct world_conf world_conf(pq_ns delay);

/* The same with keys of our own wire at both ends, which are required; one user, the client. */
struct world_conf world_keyed(pq_ns delay);
extern uint8_t world_secret[2][32], world_public[2][32];

/* Both ends send frames that may come out of order [8.10]. */
extern bool world_frames;

/* A hub of an end, by its number; NULL: there is none. */
struct pq_hub *world_hub(const struct end *e, unsigned worker);

/* Both hubs and one session of the client. */
struct world *world_new(const struct world_conf *c, uint64_t seed);
void world_free(struct world *w); /* fails if memory is missing in a hub's pools */

void world_connect(struct world *w, uint16_t port);

/* A memory of SYNs in place of the one in *s: nothing has been answered, and all may be. */
void world_no_syns(struct pq_syns **s);
void world_restart_server(struct world *w);

/* The program of one side ends, in order or at once: in order it takes the time that it needs, a
 * second at most.  And another one begins there. */
void world_stop(struct world *w, unsigned side, bool in_order);
void world_start(struct world *w, unsigned side);

/* Opens a pair: the client sends `up` bytes, the server answers with `down` bytes. */
struct half *world_open(struct world *w, uint64_t up, uint64_t down);
void half_consume(struct half *h); /* reports all that was left unread */
void half_close(struct half *h, bool abort);
void half_feed(struct half *h); /* sends as much as there is room for */

/* Runs to `end`, or until `done` says so.  Returns whether it did. */
bool world_run(struct world *w, pq_ns end, bool (*done)(const struct world *));
bool world_transferred(const struct world *w); /* every byte of every pair has come */
bool world_closed(const struct world *w);      /* and no stream is left in the session */
void world_check(const struct world *w);       /* all pairs complete, ends right */

/* Gives one frame to an end, from an exact heap copy; and runs a whole turn. */
void world_inject(struct world *w, unsigned side, const uint8_t *p, size_t n, uint16_t gso);

size_t world_chunk_bytes(const struct end *e); /* in use */
uint64_t world_drops(const struct end *e);     /* all reasons together */

/* Makes the TCP checksum of an IPv4 frame of n bytes, whose header was changed, right again: else
 * nobody takes the segment. */
void world_make_sound(uint8_t *frame, size_t n);
#endif
