/* SPDX-License-Identifier: MIT */
/* tun_link.h - the packets of one TUN stream [6.5] [8.8].  TCP goes through the stream, where the
 * tunnel makes good what the path loses, which the TCP inside would take for congestion; everything
 * else goes beside it, where a lost packet delays no other.  One worker's thread. */
#ifndef PQ_RELAY_TUN_LINK_H
#define PQ_RELAY_TUN_LINK_H
#include "relay/tun.h"

struct pq_tun_link {
    struct pq_front *front;
    struct pq_stream *st;   /* NULL: none now */
    bool gso;               /* packets in the stream have four bytes in front [8.8] */
    struct pq_chunk *small; /* small packets of this turn, not sent yet */
    struct pq_list turn;    /* in tun->turn, while there are any */
    uint8_t *buf;           /* a packet of which more is to come, with those bytes */
    size_t len;
    bool skip; /* the rest of this frame is no packet */
    /* A packet from the peer: true = goes to the device. */
    bool (*accept)(struct pq_tun_link *l, const struct pq_ip *ip);
    struct pq_tun *tun;
    void (*room)(struct pq_tun_link *l); /* may be NULL: there is room again, or it may begin */
    void (*over)(struct pq_tun_link *l); /* the stream has ended; the owner closes the link */
    uint64_t sent, received, dropped, bad;
};

extern const struct pq_stream_events pq_tun_link_events; /* with the link as ctx */

/* The stream is usable from now on: what its peer is able to do is known. */
void pq_tun_link_begin(struct pq_tun_link *l);

/* Sends a packet of the device, small ones at the end of its turn; what has no room is dropped. */
void pq_tun_link_send(struct pq_tun_link *l, struct pq_tun_packet *pkt);

/* To be named as turn_over of the device whose packets are sent. */
void pq_tun_link_turn_over(struct pq_tun *t);

/* Takes bytes that came with the stream's header.  The link may be over after that. */
void pq_tun_link_feed(struct pq_tun_link *l, struct pq_view v, bool last);

/* Closes the stream, if there is one, and frees what is the link's; not the link. */
void pq_tun_link_close(struct pq_tun_link *l);
#endif
