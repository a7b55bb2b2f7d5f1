/* SPDX-License-Identifier: MIT */
/* hub.h - all sessions of one worker: frames in, sessions found or accepted, slots filled.
 * Knows: the order of the cores.  Does not know: sockets, the event loop, who uses a stream.
 * The way of a byte is in kcp_rx.c (datagram -> stream) and kcp_tx.c (stream -> slot).
 * One worker's thread. */
#ifndef PQ_TUNNEL_HUB_H
#define PQ_TUNNEL_HUB_H
#include "base/slot.h"
#include "base/time.h"
#include "crypt/crypt.h"
#include "kcp/kcp.h"
#include "quic/quic.h"
#include "smux/smux.h"
#include "tunnel/stream.h"
#include "wire/flow.h"
#include "wire/segment.h"

#define PQ_PEER_TIMEOUT                                                                            \
    (60 * PQ_SEC) /* for peers of our own kind, which close what they end [8.2] */

struct pq_hub;
struct pq_session;
struct pq_homes;
struct pq_replay;
struct pq_stamps;
struct pq_syns;
struct pq_tickets;
struct pq_transport;

#define PQ_NOBODY         UINT32_MAX
#define PQ_OWN_MTU_MIN    400  /* bytes of a datagram that holds any message of a handshake */
#define PQ_OWN_SIZE_LEAST 1200 /* ... that passes everywhere, it is assumed [12.11] */

struct pq_own_conf {       /* our own wire [12] */
    bool on;               /* there is a key for it: upgrades, and handshakes if there is ... */
    const uint8_t *secret; /* ... a static key, 32 bytes; copied */
    bool required;         /* server: nothing but handshakes with keys */
    bool no_upgrade;       /* what begins with the old wire stays there */
    const uint8_t (*users)[32]; /* server: their public keys, n of them; borrowed.  None: all who
                                   have the key are one user, number 0 */
    unsigned n;
    struct pq_stamps *stamps; /* server: common to all hubs, borrowed; NULL: one of its own */
};

struct pq_hub_conf {
    bool client;
    /* What carries the streams: KCP with smux (NULL), or QUIC [7] [13] (pq_transport_quic). */
    const struct pq_transport *transport;
    struct pq_quic_conf quic; /* QUIC's windows, times and key; the rest of it is set from what
                                 follows, of which it uses mtu, link_mtu, max_sessions, memory, and
                                 what is of headers and links */
    enum pq_cipher cipher;
    uint8_t key[PQ_KEY_LEN];
    uint8_t key_before[PQ_KEY_LEN]; /* server: is accepted, too, ... */
    bool has_before;                /* ... if it is there */
    uint16_t mtu;                   /* bytes of a whole datagram, 50..1500 [4.2] */
    uint32_t link_mtu;        /* of the interface: bounds mtu for each session; 0 = not known */
    struct pq_kcp_conf kcp;   /* conv and mtu are set for each session */
    struct pq_smux_conf smux; /* client is set */
    uint16_t dshard, pshard;  /* both > 0: sends FEC [3]; reading needs no setting */
    bool fec_auto;            /* copies of lone datagrams while the path loses, to our kind [8.6] */
    struct pq_flags flags;    /* what this side sends with; ... */
    bool follow_flags;        /* ... server: or as a session with keys begins [1.6] */
    enum pq_look look;        /* of all flows [1.6]; for PQ_LOOK_CONNECT see pq_hub_connect */
    enum pq_system system;    /* client: whose SYNs its connections begin with */
    bool syns_linear;         /* its SYNs go again at the same intervals [12.9] */
    uint32_t rmem;            /* bytes that the host's TCP would let a receive buffer grow to */
    bool port_fixed;          /* client: it begins at the same port each time */
    uint32_t turn, turns;     /* client: its number among so many workers */
    struct pq_syns *syns;     /* server: common to all hubs, borrowed; NULL: one of its own */
    uint8_t ttl4, ttl6;       /* of the host */
    uint64_t look_seed;       /* secret, the same in all workers: offsets of time stamps */
    uint16_t link_len;        /* 14 or 0 */
    uint32_t max_sessions;    /* server; more are not accepted */
    struct pq_own_conf own;
    struct pq_replay *replay;   /* server: common to all hubs, borrowed; NULL: one of its own */
    struct pq_tickets *tickets; /* server: the same, where quic.early is set */
    struct pq_homes *homes;     /* the same; NULL: there is one hub only */
    unsigned worker, workers; /* number of this one among so many; workers 0: it is the only one */
    size_t memory;            /* bound of the bytes in chunks */
    bool runs;                /* the packet backend sends datagrams as runs ... [8.9] */
    bool splits;              /* ... and tells of the glued frames that it receives */
    bool learn_mac;           /* server: answer to where the last good packet came from */
};

struct pq_hub_events {
    /* The peer opened a stream: call pq_stream_own inside, or it is closed. */
    void (*stream)(void *ctx, struct pq_stream *st);
    /* Server: a datagram may open a session.  Completes *fc (local, peer and port are set). Returns
     * false if it is not for this machine, or the peer cannot be answered. */
    bool (*accept)(void *ctx, const struct pq_segment *seg, struct pq_flow_conf *fc);
    /* Server: the peer has shown that it is alive, and no recording [4.9].  Not for a session that
     * takes the place of one by an upgrade, which ends with PQ_EREPLACED [12.5]. */
    void (*proven)(void *ctx, struct pq_session *s);
    /* The session has keys of its own now: from the start (an own wire's handshake; on a server
     * `proven` has come before), or after an upgrade [12.5]. */
    void (*secured)(void *ctx, struct pq_session *s);
    /* Client: the session shall go on from another port; or, while it has no keys, begin there.
     * Completes *fc, whose peer and local are those that it has.  Returns false if there is no
     * other.  NULL: there never is. */
    bool (*move)(void *ctx, struct pq_session *s, struct pq_flow_conf *fc);
    /* It is there now; or, client, it is not and the port is free again. */
    void (*moved)(void *ctx, struct pq_session *s, bool ok);
    /* Server: the frame is for a session that another worker has; borrowed.  NULL: there are none.
     */
    void (*elsewhere)(void *ctx, unsigned worker, const struct pq_frame *f);
    /* A SYN that is not answered here, borrowed: it is none of a client that has the keys, or is a
     * recording; and no session is where it comes from.  NULL: nobody wants to know. */
    void (*stranger)(void *ctx, const struct pq_segment *syn);
    /* The wall clock, ms since 1970. */
    uint64_t (*wall)(void *ctx);
    /* The session has ended and is freed after the call; on a server only after `proven`. */
    void (*ended)(void *ctx, struct pq_session *s, int err);
};

struct pq_hub_stats {
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes; /* datagrams, their bytes */
    uint64_t drops[PQ_DROP_COUNT];
    uint64_t sessions;   /* opened since start, those included that never proved themselves ... */
    uint64_t half_ended; /* ... which these are */
    uint64_t rebuilt;    /* datagrams that FEC brought back */
    uint64_t in, out;    /* bytes of streams, from peers and to them */
    uint64_t streams;    /* opened since start */
};

/* Creates a hub in *out, owned by the caller; `ev` is borrowed for good, `rng` until the end.
 * Returns 0, PQ_EINVAL (mtu too small for the cipher, our own wire or QUIC), PQ_ENOMEM, PQ_ENOTSUP
 * (cipher; QUIC where the build is without). */
int pq_hub_new(struct pq_hub **out, const struct pq_hub_conf *conf, const struct pq_hub_events *ev,
               void *ctx, struct pq_rng *rng, pq_ns now);

/* Ends all sessions, with their events, and frees the hub.  Sets *h to NULL; NULL does nothing. */
void pq_hub_free(struct pq_hub **h);

/* ---- for who looks at it; info.c */

struct pq_session_info {
    bool connected;  /* its flow has begun with a handshake [12.9] */
    uint32_t serial; /* among all of the hub */
    struct pq_addr peer, local;
    const char *transport; /* "kcp" or "quic" */
    bool secure;           /* our own wire ... */
    bool asking;           /* ... or that is asked for, and nothing else is spoken [12.2] */
    const char *cipher;    /* valid as long as the session is; "" while it is not known */
    bool half;
    bool before;  /* it began with the key before */
    unsigned who; /* the user, or PQ_NOBODY */
    uint32_t abilities;
    pq_ns opened, heard;
    unsigned moves;
    unsigned packet; /* bytes of the longest IP packets that it sends now */
    size_t streams;
    uint64_t wire_in, wire_out;       /* bytes of IP packets */
    uint64_t in, out;                 /* bytes of streams, that were used and that were to go out */
    uint64_t carried_in, carried_out; /* the same, that have come and that have gone out */
    uint32_t came, expected;          /* own wire: datagrams under the keys in use */
    struct pq_kcp_stats kcp;
};

struct pq_stream_info {
    uint32_t serial;         /* among all of the hub */
    const char *kind, *host; /* where it leads, borrowed; "" while it is not known */
    uint16_t port;
    uint64_t in, out;
    pq_ns opened;
};

struct pq_memory_info { /* bytes */
    size_t used, limit; /* of chunks */
};

void pq_session_info(const struct pq_session *s, struct pq_session_info *out);
void pq_stream_info(const struct pq_stream *st, struct pq_stream_info *out);
void pq_hub_memory(const struct pq_hub *h, struct pq_memory_info *out);

/* Ends a stream by its serial number, as if its session had ended.  Returns false if there is none.
 * Not within a batch or an event. */
bool pq_hub_end_stream(struct pq_hub *h, uint32_t serial);

/* ---- data path, called by the worker in this order in each turn of its loop */

/* Takes one frame, borrowed until pq_hub_rx_end; its bytes are changed (decrypted in place). */
void pq_hub_input(struct pq_hub *h, const struct pq_frame *f, pq_ns now);

/* The same for one that another worker has handed over: it goes no further. */
void pq_hub_input_handed(struct pq_hub *h, const struct pq_frame *f, pq_ns now);

/* The batch is over: streams use their bytes, then the frames may go. */
void pq_hub_rx_end(struct pq_hub *h, pq_ns now);

/* Whether all that came since the last call was of sessions whose RTT is PQ_CALM_RTT or more. */
#define PQ_CALM_RTT (5 * PQ_MS)
bool pq_hub_calm(struct pq_hub *h);

/* Runs the timers that are due. */
void pq_hub_tick(struct pq_hub *h, pq_ns now);

/* Fills up to n slots with whole packets and runs, the sessions in turn.  Returns how many slots.
 */
size_t pq_hub_pull(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now);

/* The backend has turned out not to send runs. */
void pq_hub_no_runs(struct pq_hub *h);

struct pq_link {               /* what packets come and go over */
    struct pq_flow_conf to;    /* link length and MACs; nothing else of it is used */
    bool keep_peer_mac;        /* each session goes on to the router it has */
    uint32_t mtu;              /* see pq_hub_set_mtu */
    bool runs, splits;         /* what its packet backend does, as in pq_hub_conf */
    const struct pq_addr *own; /* n addresses of this machine there; borrowed */
    size_t n;
};

/* All packets go over another link now, also of sessions that are there.  Those whose own address
 * is not among link->own send nothing until a change brings it back.  Not within a batch. */
void pq_hub_change_link(struct pq_hub *h, const struct pq_link *link);

/* The MTU of the link is this now; 0 = not known.  Sessions whose packets are longer, and cannot be
 * made shorter, end with -EMSGSIZE at the next pull.  Returns whether it was another. */
bool pq_hub_set_mtu(struct pq_hub *h, uint32_t mtu);

/* Whether pq_hub_pull may return more at once. */
bool pq_hub_ready(const struct pq_hub *h);

/* Next time at which pq_hub_tick has work, or PQ_NEVER. */
pq_ns pq_hub_deadline(const struct pq_hub *h);

/* ---- sessions */

/* Client: opens a session to fc->peer; `user` is yours.  With the server's public key, 32 bytes,
 * nothing is sent but under keys of our own wire [12.2]; NULL: the old wire.  With the key, and
 * fc->look PQ_LOOK_CONNECT, each of its tuples begins with a handshake [12.9].  Returns 0,
 * PQ_ENOMEM, PQ_EINVAL or -EMSGSIZE (mtu), or PQ_ENOTSUP (no own key for it); the session belongs
 * to the hub. */
int pq_hub_connect(struct pq_hub *h, struct pq_session **out, const struct pq_flow_conf *fc,
                   const uint8_t *server_public, void *user, pq_ns now);

/* Client: server and this side have told each other that they are able to: goes over to our own
 * wire, `secured` comes when it is done [12.5].  Returns 0, PQ_ENOMEM, or PQ_ENOTSUP. */
int pq_session_upgrade(struct pq_session *s, pq_ns now);

/* Server: n users are let in from now on, whose public keys are `users`, borrowed.  Numbers of
 * those who stay are the same; the configuration began with some, too.  Handshakes of others that
 * wait are forgotten, but their sessions live on: see pq_session_revoked. */
void pq_hub_set_users(struct pq_hub *h, const uint8_t (*users)[32], unsigned n);

/* Server: K is another one from now on, and `before` is accepted, too, if it is not NULL.  Sessions
 * of the old wire, and over QUIC those without a key of their own, with neither of them end;
 * others, and those of our own wire, go on.  Between two batches.  Returns 0, PQ_ENOMEM or
 * PQ_ENOTSUP (cipher): then nothing has changed. */
int pq_hub_set_keys(struct pq_hub *h, const uint8_t key[PQ_KEY_LEN], const uint8_t *before);

/* Server, for who only looks on: whether a SYN would prove itself if its sender's clock were right,
 * and by how many ms that is before this one's, give or take a minute; up to a day [12.9]. */
bool pq_hub_syn_apart(struct pq_hub *h, const struct pq_segment *syn, int64_t *apart);

/* Server: whether the session began with the key before. */
bool pq_session_key_before(const struct pq_session *s);

/* Server: whether the session began with a key of a user, and is of none of these n. */
bool pq_session_revoked(const struct pq_session *s, const uint8_t (*users)[32], unsigned n);

/* Whether the session has keys of its own; whose it is on a server, the user's number, or
 * PQ_NOBODY where it began without keys; what the peer is able to do, PQ_ABLE_*. */
bool pq_session_secure(const struct pq_session *s);
unsigned pq_session_who(const struct pq_session *s);
uint32_t pq_session_abilities(const struct pq_session *s);

/* Whether the session's connection was answered; true where there is none to be [12.9]. */
bool pq_session_connected(const struct pq_session *s);

/* Ends a session: its streams get the end event with `err`, then the ended event comes.  Called
 * within an event of a stream, it does so at the next pull. */
void pq_session_end(struct pq_session *s, int err);

void *pq_session_user(const struct pq_session *s);
const struct pq_addr *pq_session_peer(const struct pq_session *s);
size_t pq_session_streams(const struct pq_session *s);
size_t pq_session_size(const struct pq_session *s); /* most bytes of its datagrams */
/* How what it sends looks now; *flags are the first ones of its list. */
enum pq_look pq_session_look(const struct pq_session *s, uint16_t *flags);
void pq_session_stats(const struct pq_session *s, struct pq_kcp_stats *out);

/* The session of a stream; NULL once it has ended. */
struct pq_session *pq_stream_session(const struct pq_stream *st);

/* Opens a stream.  Returns it, or NULL (memory, or the ids are used up). */
struct pq_stream *pq_session_open(struct pq_session *s, const struct pq_stream_events *ev,
                                  void *ctx);

/* Calls fn for each open stream of this side or the peer's; fn may close the one it is given. */
void pq_session_each(struct pq_session *s, void (*fn)(void *ctx, struct pq_stream *st), void *ctx);

/* When the last authenticated datagram of the peer came (at first: when the session was made). */
pq_ns pq_session_heard(const struct pq_session *s);

/* Whether the peer owes a sign of life for longer than `limit`: of KCP anything at all, since NOPs
 * are answered all the time; of QUIC what acknowledges something. */
bool pq_session_silent(const struct pq_session *s, pq_ns now, pq_ns limit);

/* Notes that the peer should answer from now on; and since when it has not, 0 = it has.  A
 * restarted Go server acknowledges the packets of sessions that it does not know: only frames of
 * streams are a sign of life. */
void pq_session_expect(struct pq_session *s, pq_ns now);
pq_ns pq_session_asked(const struct pq_session *s);

/* Client: whether the session is able to go on over another tuple by now. */
bool pq_session_moves(const struct pq_session *s);

/* Client: since when nobody has answered on the tuple on which the session shall go on; 0: it stays
 * where it is, or has been answered [12.7]. */
pq_ns pq_session_moving(const struct pq_session *s);

/* Tells the peer, if it is able to hear it, that the session ends; pq_session_end comes after the
 * next pull. */
void pq_session_bye(struct pq_session *s);

/* Nothing goes on any more but that the paths are told so, where they have seen a connection begin:
 * the next pulls have the packets. */
void pq_hub_leave(struct pq_hub *h, pq_ns now);

/* Whether all ends of connections have been acknowledged, and answers to what went last have had
 * the time to come: who is gone before leaves them to his kernel, which answers with resets. */
bool pq_hub_left(const struct pq_hub *h, pq_ns now);

/* Calls fn for each session; fn may end the one it is given. */
void pq_hub_each(struct pq_hub *h, void (*fn)(void *ctx, struct pq_session *s), void *ctx);

/* Sessions; on a server those that have proven themselves, and those that have not yet [4.9]. */
size_t pq_hub_sessions(const struct pq_hub *h);
size_t pq_hub_half_open(const struct pq_hub *h);
struct pq_chunks *pq_hub_chunks(struct pq_hub *h);
const struct pq_hub_stats *pq_hub_stats(const struct pq_hub *h);
#endif
