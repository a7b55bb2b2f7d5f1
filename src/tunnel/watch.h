/* SPDX-License-Identifier: MIT */
/* watch.h - whether the tuple of a client's session is alive, whatever the transport: by what it
 * has sent and what was confirmed of it [12.7].  For move.c and quic_move.c; pure. */
#ifndef PQ_TUNNEL_WATCH_H
#define PQ_TUNNEL_WATCH_H
#include "base/rng.h"
#include "base/time.h"

#include <stdbool.h>

#define PQ_WATCH_ALIKE 3 /* tuples in a row that die with as many bytes: the next one will, too */

struct pq_watch {             /* client: whether the tuple is alive */
    uint64_t confirmed, sent; /* sent: until owed_since */
    uint64_t received;        /* segments, at the last question ... */
    bool bulk;                /* ... and whether there were many since the one before */
    pq_ns owed_since; /* something was sent, and nothing has been confirmed since; 0 = all is */
    pq_ns probed_at, move_at;
    unsigned moves; /* in a row that have failed */
    bool ask;       /* whether anything arrives */
    unsigned asked; /* since owed_since */
    uint64_t answers;
    size_t padding; /* server: bytes of the question, which the answer may have */
    uint64_t began; /* bytes, as of the pulse, when the session came here; ... */
    pq_ns since;    /* when that was */
    uint64_t leave; /* ... with so many more it leaves, before others do what they did; 0 = never */
    bool died;      /* that it is dead was noted */
    uint64_t volumes[PQ_WATCH_ALIKE]; /* of the last tuples that died; ... */
    unsigned n_volumes;
    uint64_t limit; /* ... the least, where all are alike; 0 = they are not */
    unsigned early; /* tuples since then */
};

#define PQ_MOVES_MAX 5 /* moves in a row, each of which waits twice as long as the one before */

struct pq_pulse {             /* what a transport knows of how its packets fare */
    uint64_t sent, confirmed; /* that ask for confirmation */
    uint64_t received;
    bool owed;      /* not all is confirmed */
    uint64_t bytes; /* of IP packets that came and went */
    pq_ns rtt;
};

void pq_watch_note(struct pq_watch *w, const struct pq_pulse *p, pq_ns now); /* before the others */
pq_ns pq_watch_dead_after(const struct pq_pulse *p);
/* When nothing was confirmed for so long that it is dead: that something arrives proves nothing
 * about the other direction.  On a path that loses, some packets say more than one. */
pq_ns pq_watch_dead_at(const struct pq_watch *w, const struct pq_pulse *p);
/* When something more has to ask for confirmation: soon while an answer is missing; now and then in
 * a download, which asks for nothing but acknowledgements.  And whether that is now. */
pq_ns pq_watch_ask_at(const struct pq_watch *w, const struct pq_pulse *p);
bool pq_watch_ask(struct pq_watch *w, const struct pq_pulse *p, pq_ns now);
/* The tuple is dead; the session is on another one.  Where the last three died with as many bytes,
 * it leaves the next ones before, but for one of sixteen, which shows whether they still would. */
void pq_watch_died(struct pq_watch *w, const struct pq_pulse *p);
void pq_watch_began(struct pq_watch *w, const struct pq_pulse *p, struct pq_rng *rng, pq_ns now);
/* Whether it is time for that, not before it has been there for `least`; once for each tuple. */
bool pq_watch_leaves(struct pq_watch *w, const struct pq_pulse *p, pq_ns least, pq_ns now);
void pq_watch_unheard(struct pq_watch *w);  /* nobody has answered where it went: it stays longer */
void pq_watch_answered(struct pq_watch *w); /* over the tuple to which the session has moved */
void pq_watch_set_move(struct pq_watch *w, struct pq_rng *rng, pq_ns now); /* without need */
#endif
