/* SPDX-License-Identifier: MIT */
/* transport.h - what hub, sessions and streams ask of the transport that carries the streams.  For
 * tunnel/ alone.  A hub has one for good: h->t.
 * Knows: nothing of any transport.  Each is a table of functions: KCP with smux in kcp_session.c,
 * kcp_rx.c and kcp_tx.c; QUIC in quic_session.c, quic_rx.c and quic_tx.c.
 * All is called by the hub's worker; what a function makes lies in the session, or in the stream.
 * Functions that have nothing to do are there all the same. */
#ifndef PQ_TUNNEL_TRANSPORT_H
#define PQ_TUNNEL_TRANSPORT_H
#include "tunnel/hub.h"

struct pq_transport {
    const char *name; /* as transport.protocol of the configuration */

    /* ---- hub: what belongs to no session */

    /* Prepares what all sessions share, and sets h->mtu_min.  Returns 0, PQ_EINVAL or -EMSGSIZE
     * (mtu), PQ_ENOMEM or PQ_ENOTSUP (cipher); hub_fini comes in any case. */
    int (*hub_init)(struct pq_hub *h);
    void (*hub_fini)(struct pq_hub *h);                /* no session is there any more */
    uint32_t (*hub_abilities)(const struct pq_hub *h); /* to be told peers, PQ_ABLE_* [8.2] */

    /* Takes one datagram, whose bytes may be changed; they stay until rx_done.  Finds or makes its
     * session, puts it into h->rx and wakes it.  Returns what became of the datagram. */
    enum pq_drop (*input)(struct pq_hub *h, const struct pq_segment *seg, uint8_t *p, size_t n,
                          pq_ns now);

    /* What is owed to those that have no session: as pq_hub_tick, _deadline, _pull and _ready. */
    void (*hub_tick)(struct pq_hub *h, pq_ns now);
    pq_ns (*hub_deadline)(const struct pq_hub *h);
    size_t (*hub_pull)(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now);
    bool (*hub_ready)(const struct pq_hub *h);

    int (*set_keys)(struct pq_hub *h, const uint8_t key[PQ_KEY_LEN],
                    const uint8_t *before); /* see pq_hub_set_keys */

    /* ---- session */

    /* A session is made: its peer, local and flow are set.  Returns 0, PQ_EINVAL, -EMSGSIZE,
     * PQ_ENOMEM or PQ_ENOTSUP; close comes in any case. */
    int (*open)(struct pq_session *s, pq_ns now);
    void (*close)(struct pq_session *s); /* streams have had their end */

    /* Client: the session begins, see pq_hub_connect.  The same errors. */
    int (*connect)(struct pq_session *s, const struct pq_flow_conf *fc,
                   const uint8_t *server_public, pq_ns now);

    void (*half)(struct pq_session *s);   /* server: the peer has to prove itself ... */
    void (*proven)(struct pq_session *s); /* ... and has: what waited may be delivered */

    void (*rx_end)(struct pq_session *s);  /* the batch is over; flush events follow ... */
    void (*rx_done)(struct pq_session *s); /* ... and now streams have used their bytes */
    void (*resume)(struct pq_session *s);  /* delivers, with flush events, what waited for room */

    int (*tick)(struct pq_session *s,
                pq_ns now); /* its deadline is over: 0, or it ends with this */
    pq_ns (*deadline)(struct pq_session *s, pq_ns now); /* for tick or pull; after each pull */

    /* Fills slots with whole packets and runs.  Returns how many; `max`: there may be more. */
    size_t (*pull)(struct pq_session *s, struct pq_slot *slots, size_t max, pq_ns now);
    size_t (*turn)(const struct pq_session *s); /* packets, before others have their turn */

    void (*able)(struct pq_session *s);   /* s->abilities of the peer were noted, and are not 0 */
    void (*frames)(struct pq_session *s); /* the peer takes frames out of order [8.10] */
    void (*bye)(struct pq_session *s);    /* tells the peer that the session ends */
    bool (*moves)(const struct pq_session *s); /* client: see pq_session_moves */
    size_t (*streams)(const struct pq_session *s);
    /* Bytes of streams that have come, and gone out: for the first time. */
    void (*carried)(const struct pq_session *s, uint64_t *in, uint64_t *out);
    void (*stats)(const struct pq_session *s, struct pq_kcp_stats *out);
    const char *(*cipher)(const struct pq_session *s); /* its name; a literal, or as long as s */
    /* The link's MTU is another, or the session's flow: false, its packets are too long for good.
     */
    bool (*fits)(struct pq_session *s);
    size_t (*size)(
        const struct pq_session *s); /* bytes of the longest datagrams that it sends now */
    bool (*silent)(const struct pq_session *s, pq_ns now, pq_ns limit); /* see pq_session_silent */

    /* ---- stream; st->ses is there.  What each does is said in stream.h. */

    int (*st_open)(struct pq_stream *st); /* by this side: 0, or PQ_ENOMEM also if no id is left */
    size_t (*st_room)(struct pq_stream *st);
    size_t (*st_waiting)(const struct pq_stream *st);
    int (*st_send)(struct pq_stream *st, struct pq_chunk *c);
    void (*st_consumed)(struct pq_stream *st, size_t n);
    void (*st_finish)(struct pq_stream *st);
    void (*st_close)(struct pq_stream *st);
    void (*st_abort)(struct pq_stream *st);
    void (*st_cork)(struct pq_stream *st);
    void (*st_uncork)(struct pq_stream *st, struct pq_chunk *first); /* the room event follows */
    bool (*st_corked)(const struct pq_stream *st);
    void (*st_whole)(struct pq_stream *st); /* it carries datagrams */
    bool (*st_beside)(const struct pq_stream *st, size_t n);
    int (*st_datagram)(struct pq_stream *st, struct pq_chunk *c); /* 0 or PQ_EAGAIN */
};

extern const struct pq_transport pq_transport_kcp;
extern const struct pq_transport pq_transport_quic; /* linked in, or in a module: app/quic.c */
#endif
