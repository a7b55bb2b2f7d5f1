/* SPDX-License-Identifier: MIT */
/* tunnel_internal.h - state of hub, sessions and streams; for tunnel/ and its test only. */
#ifndef PQ_TUNNEL_INTERNAL_H
#define PQ_TUNNEL_INTERNAL_H
#include "base/hash.h"
#include "base/heap.h"
#include "base/list.h"
#include "tunnel/hub.h"
#include "tunnel/replay.h"

struct pq_stream {
    struct pq_session *ses; /* NULL once the session has ended */
    struct pq_smux_stream *ss;
    const struct pq_stream_events *ev;
    void *ctx;
    void *tag;            /* malloc'ed */
    struct pq_list node;  /* in ses->streams */
    struct pq_list dirty; /* in hub->dirty: bytes delivered, flush owed */
};

struct pq_session {
    struct pq_hub *hub;
    struct pq_hash_node by_peer; /* key: peer and own port */
    struct pq_list node;         /* in hub->sessions */
    struct pq_list ready;        /* in hub->ready: pull may have something */
    struct pq_list rx;           /* in hub->rx: got bytes in this batch */
    struct pq_heap_node timer;
    struct pq_addr peer;
    uint16_t local_port;
    uint32_t conv;
    struct pq_flow flow;
    struct pq_kcp *kcp;
    struct pq_smux *smux;
    struct pq_list streams;
    pq_ns heard; /* when the last good datagram came, or the session was made */
    int dead;    /* not 0: to be ended with this at the next safe point */
    void *user;
};

struct pq_hub {
    struct pq_hub_conf conf;
    const struct pq_hub_events *ev;
    void *ctx;
    struct pq_rng *rng;
    struct pq_crypt *crypt;
    uint16_t crypt_head, crypt_tail;
    uint64_t hash_seed;
    struct pq_hash by_peer;
    struct pq_list sessions, ready, rx, dirty;
    struct pq_heap timers;
    struct pq_pool blocks;
    struct pq_chunks chunks;
    struct pq_replay replay;
    struct pq_hub_stats stats;
};

/* session.c */
int pq_session_new(struct pq_hub *h, struct pq_session **out, const struct pq_flow_conf *fc,
                   uint32_t conv, pq_ns now);
struct pq_session *pq_session_find(struct pq_hub *h, const struct pq_addr *peer, uint16_t port);
void pq_session_wake(struct pq_session *s);   /* pull may have something */
void pq_session_resume(struct pq_session *s); /* deliver what waited for room */
void pq_hub_flush(struct pq_hub *h);          /* flush events that are owed */
#endif
