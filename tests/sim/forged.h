/* SPDX-License-Identifier: MIT */
/* forged.h - datagrams of our own wire that somebody who has keys seals himself, with whatever he
 * likes in them: lies about what has come, and bytes at every limit [12.8] [12.11]. */
#ifndef PQ_TESTS_SIM_FORGED_H
#define PQ_TESTS_SIM_FORGED_H
#include "world.h"

#define FORGED_MAX 1400 /* bytes of plain text */

struct pq_mask;

/* Keeps the first frame that an end sends on the tuple of this port of the client, as a model. */
void forged_note(unsigned from, const struct link_packet *k, uint16_t port);
const struct link_packet *forged_model(unsigned from);
void forged_forget(void);

/* The server's session with this port of the client, or NULL. */
struct pq_session *forged_peer(const struct world *w, uint16_t port);

struct forged { /* in whose name */
    struct pq_session *s;
    struct pq_mask *mask; /* any */
    uint16_t port;        /* of the client */
    uint32_t id;
    uint32_t from;    /* IPv4 address of who sends it; 0: as the end's frames */
    uint32_t counter; /* 0: the next one */
};

/* Gives the other end a datagram with `inner`, sealed by the keys of as->s.  Returns its bytes on
 * the wire. */
size_t forged_send(struct world *w, unsigned from, const struct forged *as, const uint8_t *inner,
                   size_t n);

enum forged_lie {
    NEVER_SENT,  /* acknowledges numbers of the future ... */
    UNA_BEYOND,  /* ... and segments of it */
    OVERLAPPING, /* ranges that reach beyond all that there is */
    ALL_SENT,    /* again and again, and asks for the window */
    PADS,        /* that are long and full of something */
    OLD_DATA,    /* segments that have come, as probes are, each under a new number */
    FAR_DATA,    /* segments of the future, numbers that jump */
    ODD_KINDS,
    HALF_PARTS, /* whose other half never comes */
    FALSE_PARTS,
    NESTED_PARTS,
    FEC_SHAPES, /* packets that tell of another group each time, and never come whole */
    FEC_NOISE,  /* parity of whatever */
    DATAGRAMS,  /* beside streams, of such as nobody has opened, with numbers that jump */
    CONTROLS,   /* of keys, moves and trains, all kinds of either side */
    NOISE,
    FORGED_LIES
};

const char *forged_name(enum forged_lie what);

/* What goes between head and tail, the i-th time; at most FORGED_MAX bytes. */
size_t forged_tell(enum forged_lie what, uint32_t i, uint64_t *rng, uint8_t *p);

/* Whether datagrams of this kind are wrong as they are, and not only useless. */
bool forged_is_bad(enum forged_lie what);

/* An ACK with so many ranges, all alike.  Returns its bytes. */
size_t forged_ack(uint8_t *p, uint32_t una, uint16_t wnd, uint32_t newest, uint8_t count,
                  uint32_t gap, uint32_t more);

/* The head of DATA; what follows is the caller's. */
size_t forged_data(uint8_t *p, uint32_t number, uint8_t kind, uint32_t sn);

/* A message out of band about keys, moves or trains, with n bytes of body. */
size_t forged_control(uint8_t *p, uint8_t kind, uint8_t attempt, const uint8_t *body, size_t n);
#endif
