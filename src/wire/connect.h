/* SPDX-License-Identifier: MIT */
/* connect.h - a flow that looks like a TCP connection from its SYN on [12.9]: the handshake, what
 * the peer lets this side send, when it acknowledges without data, the window that it tells.
 * Knows: one flow's numbers.  Does not know: whether a SYN has proven itself, who sends what is
 * forged here, what the datagrams are.  One owner thread. */
#ifndef PQ_WIRE_CONNECT_H
#define PQ_WIRE_CONNECT_H
#include "base/bytes.h"
#include "base/slot.h"
#include "base/time.h"
#include "wire/holes.h"
#include "wire/segment.h"

#define PQ_SYNS         3              /* times that a SYN goes ... */
#define PQ_SYN_PATIENCE (4096 * PQ_MS) /* ... and how long an answer to the last may take */

#define PQ_ANSWERS 4 /* SYN+ACKs that a client remembers */

#define PQ_ACK_POINTS 32 /* places that are to be acknowledged, each by a packet of its own */

#define PQ_WINDOW_ROUNDS 4U /* the window is so many times what came in a round trip */

#define PQ_LEAD_MIN 6 /* printable characters before the first payload of a direction */
#define PQ_LEAD_MAX 23

#define PQ_SYN_TIMES 4 /* that differ, of those that any system sends */

/* When SYNs with this number may go, in ms from the first one, as the timers of Linux fall: by its
 * time stamp a server knows which one it is. */
uint32_t pq_syn_after(uint32_t number, unsigned i);

struct pq_flow;

enum pq_connected {
    PQ_CONNECT_NO,     /* there is no handshake: the flow is another look's */
    PQ_CONNECT_ASKING, /* client: no SYN+ACK has come */
    PQ_CONNECT_OPEN,
};

enum pq_system {                 /* whose SYN a client sends */
                 PQ_SYSTEM_HOST, /* Linux with this host's settings */
                 PQ_SYSTEM_ANDROID,
                 PQ_SYSTEM_WINDOWS, /* whose connections have no time stamps */
                 PQ_SYSTEM_APPLE,
                 PQ_SYSTEMS,
};

/* The TTL and hop limit of a system; 0: the host's. */
uint8_t pq_system_ttl(enum pq_system s);

struct pq_connect_conf { /* of this host */
    uint16_t mss;        /* that it tells: the link's MTU without the headers */
    uint32_t rmem;       /* bytes that its receive buffers may grow to */
    bool linear;         /* its SYNs go again at the same intervals, not at longer ones */
    enum pq_system system;
};

struct pq_connect { /* part of a flow */
    enum pq_connected state;
    bool gone;   /* the peer has reset it, as it seems: nobody proves that he sends one */
    bool finish; /* client: owes the acknowledgement that ends the handshake */
    bool
        closing; /* a FIN has come with the number fin_at: nobody proves who sends one, so it ... */
    bool closed; /* ... counts once this side ends, too */
    uint32_t fin_at, fin_ts;
    uint32_t fin;      /* the own one's number, ... */
    uint8_t fins;      /* ... which has gone so many times */
    bool again;        /* owes one, though nothing new has come: the peer repeats himself */
    uint8_t syns;      /* that went out */
    uint8_t n_refused; /* client: resets of the connection that the tuple had before; ... */
    pq_ns refuse_at;   /* ... when the next one goes, and a SYN behind it; 0 = none is owed; ... */
    pq_ns refused_at;  /* ... when the first of its segments came, or the last reset went; ... */
    uint32_t refused;  /* ... with which number it goes on */
    bool linear;       /* as in the configuration */
    bool plain;        /* there are no time stamps, on either side */
    uint8_t scale, peer_scale;
    uint16_t mss, peer_mss;
    uint32_t syn_ts; /* time stamp of the first SYN, ... */
    uint32_t syn_at; /* ... and of the one that goes */
    pq_ns began;     /* when the first went */
    bool sure;       /* something authentic has come: the peer's numbers are his */
    enum pq_system system;
    uint8_t own_scale; /* as this host chooses it */
    uint8_t n_answers; /* client: SYN+ACKs until then, one of which is the server's */
    struct pq_syn_answer {
        uint32_t seq, ts;
        uint16_t mss, window;
        uint8_t scale;
        bool has_scale;
    } answers[PQ_ANSWERS];
    uint32_t first;      /* own sequence number of the SYN ... */
    uint32_t peer_first; /* ... and the peer's */
    uint8_t lead_len, lead[PQ_LEAD_MAX];
    uint32_t una, edge;    /* up to where the peer has acknowledged, and lets this side send */
    uint32_t una_proven;   /* ... has acknowledged, by what was his for sure */
    uint32_t own_edge;     /* up to where he may send, as told last */
    struct pq_holes holes; /* of what has come */
    bool dup;              /* something came beside a hole that was not acknowledged: ... */
    uint8_t dups;          /* ... so many times since the acknowledgement moved ... */
    pq_ns dup_at;          /* ... last at */
    uint8_t new_holes;     /* since blocks were told last */
    uint8_t n_moves;       /* points beside a hole, some of which ... */
    bool moves;            /* ... tell how far the peer may send now, as this one */
    uint32_t window, window_max;
    uint32_t told;            /* the last own time stamp */
    uint32_t mark, mark_ts;   /* plain: the end of what went at that time; ... */
    bool marked;              /* ... nobody has acknowledged it yet */
    uint32_t echo;            /* the own time stamp that came back last, for the ... */
    bool echo_new;            /* ... first time, and ... */
    uint32_t rtt_min;         /* ... the least time that one took, ms; 0 = not known */
    uint32_t round_ts, round; /* bytes that came since then: the window follows them; ... */
    uint32_t round_peer_ts;   /* ... the peer's clock then; ... */
    uint32_t most;            /* ... as many as came in any round trip */
    uint32_t owed;            /* bytes that came since something was sent, or the last point; ... */
    uint32_t every;           /* ... with more than so many there is another */
    uint32_t n_acks, max_acks; /* without data in this round trip; with so many they are fewer */
    uint8_t n_points;
    struct pq_ack_point {
        uint32_t ack, ts_echo;
        uint32_t high; /* behind all that had come then */
    } points[PQ_ACK_POINTS];
    uint32_t way;      /* the least that own packets took last, on two clocks, ms; ... */
    uint32_t way_next; /* ... since way_ts of the peer's clock; ... */
    uint32_t way_ts;
    bool way_known;
    uint32_t n_ways, n_late; /* ... in this round trip: how many tell it, and found a queue */
    pq_ns owed_since;        /* 0 = not known yet */
    pq_ns sent_at;           /* when something was sent last */
    pq_ns due;               /* the next SYN, or the end of waiting for an answer */
};

/* The flow begins with a handshake from now on. */
void pq_connect_client(struct pq_flow *f, const struct pq_connect_conf *c, pq_ns now);

/* A flow made of a SYN that is to be answered, as pq_connect_answer does; its own numbers begin at
 * the flow's. */
void pq_connect_server(struct pq_flow *f, const struct pq_connect_conf *c,
                       const struct pq_segment *syn);

/* What the first payload of this side begins with: as many characters as these random bytes say. */
void pq_connect_set_lead(struct pq_flow *f, const uint8_t random[2 * (PQ_LEAD_MAX + 1)]);

/* Bytes that a segment with data begins with that are none of its datagram; 0 if it is not the
 * first one of the peer. */
size_t pq_connect_lead(const struct pq_flow *f, const struct pq_segment *s);

/* Client: forges the next SYN into a slot whose datagram is empty, the first with this sequence
 * number.  Its time stamp is the flow's at `now`. */
void pq_connect_ask(struct pq_flow *f, struct pq_slot *slot, uint32_t first, pq_ns now);

/* Client: if the segment is of a connection that the tuple had before, that one is to be reset,
 * once it is known where it stands, and this one begins anew behind it: three times at most.
 * Returns whether it is. */
bool pq_connect_is_old(struct pq_flow *f, const struct pq_segment *s, pq_ns now);

/* Forges this reset, as a kernel's that knows of no such connection. */
void pq_connect_refusal(struct pq_flow *f, struct pq_slot *slot, pq_ns now);

/* Server: forges the SYN+ACK, also again as long as nothing else has been sent. */
void pq_connect_answer(struct pq_flow *f, struct pq_slot *slot, pq_ns now);

/* The same where it has been sent, by another worker. */
void pq_connect_note_answered(struct pq_flow *f, pq_ns now);

/* A segment of the peer's address and port without data, of which nobody knows whether it is his.
 * Returns whether there may be more to send now. */
bool pq_connect_bare(struct pq_flow *f, const struct pq_segment *s);

/* The same for one with data that has proven to be his; see pq_flow_heard, which calls it. */
void pq_connect_heard(struct pq_flow *f, const struct pq_segment *s);

/* Of that: takes up its numbers and time stamp, as TCP does.  *fresh: how many bytes of it, or
 * before it, are new.  Returns false if somebody has changed the numbers: they are more than the
 * peer was told of. */
bool pq_connect_take_up(struct pq_flow *f, const struct pq_segment *s, uint32_t *fresh);

/* By the echo that has come just now, how long a round trip takes. */
void pq_connect_note_rtt(struct pq_flow *f, pq_ns now);

/* Whether it is data that the peer has sent again where some was lacking; asked before it is heard.
 */
bool pq_connect_is_again(const struct pq_flow *f, const struct pq_segment *s);

/* After the segment was heard: what the peer lacks, as it tells.  Returns how many gaps. */
unsigned pq_connect_lacks(const struct pq_flow *f, const struct pq_segment *s,
                          struct pq_gap out[PQ_SACKS_MAX]);

/* The first segment that has proven to be the peer's: of the answers to the SYN, of which anybody
 * on the line may have sent some, the one that it follows is the server's. */
void pq_connect_settle(struct pq_flow *f, const struct pq_segment *s);

/* Whether who sends this has seen the answer to the SYN: it acknowledges numbers of this side. */
bool pq_connect_knows(const struct pq_flow *f, const struct pq_segment *s);

/* Called with each packet that is forged, before its header: gives up holes that have been there
 * for too long, or would keep the peer from sending more.  Returns the window, as the header has
 * it. */
uint16_t pq_connect_tell(struct pq_flow *f, pq_ns now);

/* The blocks for a packet of its own with so many bytes of data: none if these are many, so that it
 * is not longer than others. */
unsigned pq_connect_blocks(struct pq_flow *f, size_t bytes, struct pq_block out[PQ_SACKS_MAX]);

/* Called with each packet that is forged, with so many bytes of payload. */
void pq_connect_sent(struct pq_flow *f, uint32_t tsval, size_t bytes, pq_ns now);

/* What was heard is owed an acknowledgement even if nothing new came: the peer repeats itself. */
void pq_connect_repeated(struct pq_flow *f);

/* Bytes that may be sent; UINT32_MAX without a handshake. */
uint32_t pq_connect_room(const struct pq_flow *f);

/* When an acknowledgement has to go even without data, or PQ_NEVER.  Notes `now` as the time at
 * which what is owed has come, if it is not known yet. */
pq_ns pq_connect_ack_at(struct pq_flow *f, pq_ns now);

/* Forges acknowledgements without data of what has come, each of the place up to which it had then,
 * as a kernel sends them while it takes what has come together: what is sent with data comes behind
 * them.  Returns how many; more may be left. */
size_t pq_connect_acks(struct pq_flow *f, struct pq_slot *slots, size_t n, pq_ns now);

/* Forge a segment without data into an empty slot: an acknowledgement, or that it is over at once.
 */
void pq_connect_ack(struct pq_flow *f, struct pq_slot *slot, pq_ns now);
void pq_connect_reset(struct pq_flow *f, struct pq_slot *slot, pq_ns now);

/* This side sends no more data: forges its FIN, also again.  From the first one on the peer's is
 * acknowledged, if it is in his window. */
void pq_connect_fin(struct pq_flow *f, struct pq_slot *slot, pq_ns now);

/* Afterwards: whether the peer has acknowledged it; and the peer's own has come. */
bool pq_connect_fin_acked(const struct pq_flow *f);
bool pq_connect_fin_came(struct pq_flow *f);
#endif
