/* SPDX-License-Identifier: MIT */
/* router.h - a strict router as a user may have one: it keeps account of TCP connections by the
 * rules of Linux' connection tracking with nf_conntrack_tcp_loose=0 and tcp_be_liberal=0, and drops
 * what it does not take for a part of one.  In virtual time; IPv4 frames with 14 bytes of link
 * header.  Its bounds of old numbers are those of kernels before 6.2, which call such segments
 * invalid; newer ones let them pass and take no note of them. */
#ifndef PQ_TESTS_SIM_ROUTER_H
#define PQ_TESTS_SIM_ROUTER_H
#include "base/time.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTER_MAX 512 /* connections; the oldest ones are forgotten when they are over */

enum router_finding {
    ROUTER_VALID,
    ROUTER_IGNORED,  /* passes, but says nothing: a handshake that is repeated */
    ROUTER_FLAGS,    /* no TCP segment has these */
    ROUTER_NO_ENTRY, /* no connection, and no SYN */
    ROUTER_STATE,    /* not in this state of the connection */
    ROUTER_SEQ_HIGH, /* behind the receiver's window */
    ROUTER_SEQ_LOW,  /* older than a window */
    ROUTER_ACK_HIGH, /* acknowledges, or has in a SACK block, what has not been sent */
    ROUTER_ACK_LOW,  /* is too far behind what has been sent */
    ROUTER_RST_OLD,  /* a reset below what was acknowledged */
    ROUTER_FINDINGS,
};

enum router_state {
    R_NONE,
    R_SYN_SENT,
    R_SYN_RECV,
    R_ESTABLISHED,
    R_FIN_WAIT,
    R_CLOSE_WAIT,
    R_LAST_ACK,
    R_TIME_WAIT,
    R_CLOSE,
    R_SYN_BOTH, /* each side has sent a SYN */
    R_IGNORE,   /* as a next one: nothing changes */
    R_INVALID,  /* as a next one: there is none */
};

struct router_side {
    uint32_t end, max_end; /* of what was sent; up to where the other side allows it */
    uint32_t max_win;      /* the largest window that was told; 0 = nothing was seen */
    uint32_t max_ack;
    uint8_t scale;
    bool has_scale, sacks, has_ack;
    bool closes; /* it has sent the first FIN */
};

struct router_seen { /* of the segment before */
    unsigned kind, dir;
    uint32_t seq, end;
    uint16_t win;
    uint8_t scale;
    bool has_scale, sacks, challenge;
};

struct router_conn {
    uint8_t ip[2][4]; /* of who began, and the other */
    uint16_t port[2];
    enum router_state state;
    struct router_side side[2];
    struct router_seen last;
    bool replied, assured;
    pq_ns until;
};

struct router {
    struct router_conn conn[ROUTER_MAX];
    unsigned n;
    bool old;                         /* a kernel before 6.2 */
    uint64_t count[ROUTER_FINDINGS];  /* of all segments */
    uint64_t resets[ROUTER_FINDINGS]; /* of resets among them */
};

/* Takes note of a frame that passes.  Returns what was found; *passes: whether it goes on. */
enum router_finding router_see(struct router *r, const uint8_t *frame, size_t n, pq_ns now,
                               bool *passes);

/* Connections that are established, in both directions. */
unsigned router_established(const struct router *r, pq_ns now);

const char *router_word(enum router_finding f);
#endif
