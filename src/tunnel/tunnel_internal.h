/* SPDX-License-Identifier: MIT */
/* tunnel_internal.h - state of hub, sessions and streams; for tunnel/ and its test only. */
#ifndef PQ_TUNNEL_INTERNAL_H
#define PQ_TUNNEL_INTERNAL_H
#include "base/hash.h"
#include "base/heap.h"
#include "base/list.h"
#include "fec/fec.h"
#include "header/header.h"
#include "tunnel/datagram.h"
#include "tunnel/hub.h"
#include "tunnel/replay.h"

#define PQ_HALF_WAIT (10 * PQ_SEC) /* for a peer to show that it is alive [4.9] */

struct pq_stream {
    struct pq_session *ses; /* NULL once the session has ended */
    struct pq_smux_stream *ss;
    const struct pq_stream_events *ev;
    void *ctx;
    void *tag;            /* malloc'ed */
    bool ended;           /* the end event has come: the last one */
    size_t datagram_max;  /* bytes of a datagram that the peer takes; 0 = a stream of bytes */
    uint32_t dgram_last;  /* number of the last that was queued beside the stream */
    struct pq_list node;  /* in ses->streams */
    struct pq_list dirty; /* in hub->dirty: bytes delivered, flush owed */
};

struct pq_session {
    struct pq_hub *hub;
    struct pq_hash_node
        by_peer;          /* key: peer and own port; more than one only beside a half-open one */
    struct pq_list node;  /* in hub->sessions */
    struct pq_list ready; /* in hub->ready: pull may have something */
    struct pq_list rx;    /* in hub->rx: got bytes in this batch */
    struct pq_heap_node timer;
    struct pq_addr peer;
    struct pq_addr local;
    uint32_t conv;
    struct pq_flow flow;
    bool away; /* the link has not our address now: what is sent is lost */
    struct pq_kcp *kcp;
    struct pq_smux *smux;
    struct pq_fec_enc *fec_tx;       /* NULL = sends without FEC */
    uint64_t loss_sent, loss_resent; /* segments when the loss was measured last */
    uint32_t loss;                   /* per thousand, smoothed */
    uint64_t pulled;                 /* segments sent before the last pull */
    bool copies;                     /* fec_tx is for lone datagrams only */
    struct pq_fec_dec *fec_rx;       /* NULL = the peer has sent none */
    struct pq_dgrams dgrams;         /* beside the reliable stream [8.7] */
    uint16_t dgram_max;              /* bytes of such a datagram that a packet has room for */
    bool dgram_turn;                 /* the last packet was of KCP */
    uint32_t dgram_first;            /* so many go before KCP: their stream was closed */
    struct pq_list streams;
    pq_ns now;              /* of the batch being taken in, for what FEC rebuilds */
    pq_ns heard;            /* when the last good datagram came, or the session was made */
    bool half;              /* half-open: the peer has not shown yet that it is alive [4.9] ... */
    struct pq_list in_half; /* ... then in hub->half */
    pq_ns opened;
    size_t credit;         /* bytes that may still be sent to it */
    uint32_t abilities;    /* of the peer, PQ_ABLE_* [8.2] */
    uint64_t heard_frames; /* as smux counted them last */
    pq_ns asked; /* when an answer was first expected that no frame has given; 0 = none is */
    int dead;    /* not 0: to be ended with this at the next safe point */
    void *user;
};

struct pq_hub {
    struct pq_hub_conf conf;
    const struct pq_hub_events *ev;
    void *ctx;
    struct pq_rng *rng;
    struct pq_crypt *crypt;
    uint16_t crypt_head, fec_head, crypt_tail; /* bytes around a KCP datagram */
    uint64_t hash_seed;
    struct pq_hash by_peer;
    struct pq_list sessions, ready, rx, dirty;
    struct pq_list half; /* half-open sessions, the oldest first */
    size_t n_half;
    struct pq_heap timers;
    struct pq_pool blocks;
    struct pq_chunks chunks;
    struct pq_replay *replay; /* the configuration's, or own_replay */
    struct pq_replay *own_replay;
    struct pq_hub_stats stats;
    bool busy; /* events are being made: sessions that end meanwhile are freed afterwards */
};

/* session_fec.c; without FEC in the build, sending is refused and parity is of no use */
int pq_session_fec_open(
    struct pq_session *s); /* as configured; 0, PQ_EINVAL, PQ_ENOMEM, PQ_ENOTSUP */
void pq_session_fec_close(struct pq_session *s);
void pq_session_fec_auto(struct pq_session *s);  /* the peer reads copies */
bool pq_session_fec_wants(struct pq_session *s); /* whether this datagram, just pulled, gets FEC */
size_t pq_session_fec_parity(struct pq_session *s, uint8_t *p, size_t cap);
size_t pq_session_fec_data(struct pq_session *s, uint8_t *p, size_t n, pq_ns now);
enum pq_drop pq_session_fec_take(struct pq_session *s, struct pq_view packet, pq_ns now);
void pq_session_fec_done(struct pq_session *s);

/* session_datagram.c */
size_t pq_session_dgram(struct pq_session *s, uint8_t *p, size_t cap); /* the next that waits */
void pq_session_dgram_close(const struct pq_stream *st); /* those that wait go before its FIN */
enum pq_drop pq_session_dgram_take(struct pq_session *s, struct pq_view inner);

/* session.c */
int pq_session_new(struct pq_hub *h, struct pq_session **out, const struct pq_flow_conf *fc,
                   uint32_t conv, pq_ns now);
struct pq_session *
pq_session_find(struct pq_hub *h, const struct pq_segment *seg,
                const uint32_t *conv);       /* conv NULL: whichever has proven itself */
void pq_session_half(struct pq_session *s);  /* the peer has to prove itself */
bool pq_session_prove(struct pq_session *s); /* it has; false: there are max_sessions already */
void pq_session_end_now(struct pq_session *s, int err); /* where nothing goes on using it */
void pq_session_wake(struct pq_session *s);             /* pull may have something */
void pq_session_resume(struct pq_session *s);           /* deliver what waited for room */
void pq_hub_flush(struct pq_hub *h);                    /* flush events that are owed */
size_t pq_hub_mtu_min(const struct pq_hub *h);          /* smallest mtu that leaves room for KCP */
#endif
