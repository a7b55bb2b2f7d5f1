/* SPDX-License-Identifier: MIT */
/* front.h - what one worker's entries (a client's), exits (a server's) and relays share: the loop,
 * limits, the way to a stream.  One worker's thread. */
#ifndef PQ_RELAY_FRONT_H
#define PQ_RELAY_FRONT_H
#include "base/list.h"
#include "base/log.h"
#include "header/header.h"
#include "tunnel/stream.h"

#include <uv.h>

struct pq_dns_port;
struct pq_lookups;
struct pq_measures;
struct pq_outgoing;
struct pq_rules;
struct pq_split;
struct pq_tun_server;

/* How a client's front gets a stream: TCP or UDP to a target, or TUN (host is "").  Returns the
 * stream, owned by ev/ctx, or NULL (no session, no memory).  Bytes may be sent at once. */
typedef struct pq_stream *(*pq_open_fn)(void *ctx, enum pq_request_type type, const char *host,
                                        uint16_t port, const struct pq_stream_events *ev,
                                        void *evctx);

/* Whether the session of the stream still answers; if not, what can start anew should. */
typedef bool (*pq_alive_fn)(void *ctx, const struct pq_stream *st);

#define PQ_RESOLVING_MAX   256
#define PQ_UDP_FLOWS_MAX   16384
#define PQ_FRONT_PARTS_MAX 4
#define PQ_WIDE_ROWS       4   /* relays of one batch that have many pieces, ... */
#define PQ_WIDE            128 /* ... and how many */

struct pq_front;
typedef void (*pq_front_fn)(struct pq_front *f);

struct pq_front {
    uv_loop_t *loop;
    const struct pq_rules *rules;       /* server: which targets; NULL: all; but for ... */
    struct pq_rules *const *user_rules; /* ... n users, where theirs are not NULL */
    unsigned n_user_rules;
    const struct pq_outgoing *outgoing; /* the way out; NULL: the system's */
    struct pq_lookups *lookups;         /* names that wait for DNS; NULL before the first one */
    struct pq_measures *measures;       /* server: of speed; NULL before the first one */
    unsigned max_resolving;             /* so many at most */
    pq_open_fn open;                    /* client */
    pq_alive_fn alive;                  /* client */
    void *open_ctx;                     /* of both */
    uint64_t seed;                      /* of hash tables */
    struct pq_list relays;              /* all joined pairs, for the end */
    struct pq_list lingering;           /* closed by us, waiting for the other end's FIN */
    struct pq_list half_closed;   /* one direction has ended: not kept for ever without a byte */
    struct pq_list udp_flows;     /* the one idle longest first */
    struct pq_tun_server *tun;    /* server: NULL if there is no device */
    struct pq_list associates;    /* client: connections that hold a UDP socket */
    struct pq_list pairs;         /* client: connections that go beside the tunnel */
    const struct pq_split *split; /* client: what goes where; NULL: all through the tunnel */
    struct pq_dns_port *dns;      /* client: with tun.dns, else NULL */
    uint64_t ways[3];             /* client: how often the rules have said so, by enum pq_way */
    uint64_t tun_refused;         /* client: packets of its TUN device that they block */
    unsigned n_udp_flows, max_udp_flows;
    size_t udp_waiting;   /* bytes of datagrams whose target is not known yet */
    uint64_t udp_dropped; /* datagrams for which there was no room */
    uv_timer_t second;    /* what has waited too long ends */
    bool stopping;
    uv_buf_t wide[PQ_WIDE_ROWS][PQ_WIDE]; /* see pq_relay_view */
    bool wide_taken[PQ_WIDE_ROWS];
    uint8_t *space;                       /* see pq_front_space */
    pq_front_fn part[PQ_FRONT_PARTS_MAX]; /* what ends with it */
    unsigned n_parts;
    struct pq_log_limit bad_header, dial_failed, denied, upstream_failed, udp_full, unread;
};

/* Prepares; the timer belongs to the loop until pq_front_stop. */
void pq_front_init(struct pq_front *f, uv_loop_t *loop, uint64_t seed);

/* The rules for what is asked on this stream; NULL: all is permitted. */
const struct pq_rules *pq_front_rules(const struct pq_front *f, const struct pq_stream *st);

/* Has `stop` called once by pq_front_stop, however often it is asked for: an entry or exit that
 * keeps something open in `f` says so when it opens the first one. */
void pq_front_at_stop(struct pq_front *f, pq_front_fn stop);

/* PQ_FRONT_SPACE bytes for what is read from a socket, the worker's only ones: to be used up before
 * anything else is read.  Allocated by the first who asks, freed by pq_front_stop.  NULL if memory
 * is short. */
#define PQ_FRONT_SPACE 65536
uint8_t *pq_front_space(struct pq_front *f);

/* Closes every pair, UDP socket and the timer; the loop must run on until the handles are closed.
 */
void pq_front_stop(struct pq_front *f);

/* Text for an error of this program, the system or libuv; never NULL. */
const char *pq_front_strerror(int err);

#endif
