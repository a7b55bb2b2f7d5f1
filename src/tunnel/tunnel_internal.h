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
#include "tunnel/fill.h"
#include "tunnel/handshake.h"
#include "tunnel/homes.h"
#include "tunnel/hub.h"
#include "tunnel/parts.h"
#include "tunnel/quic_keys.h"
#include "tunnel/quic_session.h"
#include "tunnel/replay.h"
#include "tunnel/stamps.h"
#include "tunnel/syns.h"
#include "tunnel/transport.h"
#include "tunnel/watch.h"
#include "wire/fills.h"

#define PQ_RINGS 2

struct pq_ring { /* what follows from one K; all NULL: there is none */
    uint8_t key[PQ_KEY_LEN];
    struct pq_crypt *crypt;     /* of the old wire */
    struct pq_shake *shake;     /* NULL: no wire of our own */
    struct pq_mask *first_mask; /* the same */
    struct pq_mask *syn_key;    /* server; NULL: no SYN is answered */
};

#define PQ_SYNS_SENT 8             /* tuples whose last SYN a client remembers */
#define PQ_HALF_WAIT (10 * PQ_SEC) /* for a peer to show that it is alive [4.9] */

struct pq_target { /* where a stream leads */
    const char *kind;
    uint16_t port;
    char host[];
};

struct pq_stream {
    uint32_t serial;           /* among all of the hub */
    uint64_t in, out;          /* bytes from the peer that were used, and to it */
    pq_ns opened;              /* 0: not known */
    struct pq_target *target;  /* malloc'ed; NULL: not known */
    struct pq_session *ses;    /* NULL once the session has ended */
    struct pq_smux_stream *ss; /* KCP's */
    struct pq_quic_side q;     /* QUIC's */
    const struct pq_stream_events *ev;
    void *ctx;
    void *tag;            /* malloc'ed */
    bool ended;           /* the end event has come: the last one */
    size_t datagram_max;  /* bytes of a datagram that the peer takes; 0 = a stream of bytes */
    uint32_t dgram_last;  /* number of the last that was queued beside the stream */
    struct pq_list node;  /* in ses->streams */
    struct pq_list dirty; /* in hub->dirty: bytes delivered, flush owed */
};

#define PQ_UNANSWERED (1 * PQ_SEC) /* until they are tried elsewhere */
#define PQ_TRIES      8            /* first messages whose answer is still taken [12.2] */
#define PQ_NEXT       5            /* new keys that may be the next ones [12.6] */

struct pq_ask { /* client: a handshake under way */
    struct pq_shake_context about;
    struct pq_said said;
    struct pq_noise tries[PQ_TRIES];
    unsigned n;               /* messages that were sent */
    uint8_t forged[PQ_TRIES]; /* wrong answers to each */
    pq_ns due;                /* when the next one goes */
    pq_ns elsewhere_at;       /* then they go over another tuple */
    unsigned moves;           /* so many times so far */
};

struct pq_path { /* another tuple that the session may go on over, or has left [12.7] */
    struct pq_addr peer, local;
    struct pq_flow flow; /* until it is adopted */
    uint8_t token[PQ_TOKEN_LEN], theirs[PQ_TOKEN_LEN];
    bool adopted;     /* the session is there; peer and local are those it had before */
    bool answer;      /* server: the client has asked ... */
    size_t asked;     /* ... with so many bytes of padding */
    bool out;         /* what was pulled last goes over it */
    pq_ns since, due; /* client: the next message */
    unsigned n;       /* of them that went out */
};

struct pq_secure { /* keys of our own wire */
    struct pq_epoch cur, old;
    bool heard;                    /* the peer has used cur */
    pq_ns old_until;               /* then old is wiped */
    pq_ns renew_at;                /* client: when new keys are asked for, ... */
    pq_ns not_before;              /* ... but not so soon after nobody has answered */
    struct pq_epoch next[PQ_NEXT]; /* server: until the client uses one of them */
    unsigned n_next;               /* made so far */
    uint8_t *control;              /* server: an answer that waits, malloc'ed */
    size_t control_len;
};

struct pq_reply { /* server: a handshake that waits for the first datagram under its keys */
    struct pq_hub *hub;
    struct pq_hash_node by_tuple;
    struct pq_list node;    /* in hub->replies, the oldest first */
    struct pq_list waiting; /* in hub->answers, while the answer has not gone out */
    enum pq_kind kind;
    struct pq_addr peer, local;
    struct pq_flow flow; /* of the answer, then of the session */
    struct pq_epoch keys;
    struct pq_said said; /* by the client */
    uint32_t able;       /* what was said to it */
    unsigned who;
    unsigned ring; /* whose K the client has */
    pq_ns opened;
    uint64_t ticket; /* to be kept before the answer goes */
    uint8_t *answer; /* malloc'ed; NULL once it has gone */
    size_t len;
};

struct pq_measure; /* trains of a session, see measure.c */

struct pq_rate { /* a bucket: so many a second, and as many at once */
    pq_ns at;
    uint32_t left;
};

struct pq_tuple {             /* under which a session is found */
    struct pq_hash_node node; /* key: peer and own port; there may be several sessions */
    struct pq_session *s;
    struct pq_addr peer, local;
    struct pq_home home; /* server: that the session has moved to it */
};

struct pq_known_id { /* the same by the id of its keys; a server's */
    struct pq_hash_node node;
    struct pq_session *s;
    uint32_t id;
    struct pq_home home;
};

struct pq_stalled { /* the peer's window is full, or it was told that this is the end [12.9] */
    uint8_t *copy;  /* of the last datagram, malloc'ed; NULL = there is room, and more to come */
    size_t len;
    uint32_t seq;
    pq_ns due; /* when it goes again */
    unsigned n;
};

struct pq_share {        /* what a user has of a worker */
    struct pq_list node; /* in hub->shares */
    uint8_t key[PQ_X25519_LEN];
    struct pq_chunks chunks;
    size_t streams;
    size_t sessions; /* as counted last */
};

struct pq_filling {         /* of holes in the numbers of a connection [12.9] */
    struct pq_fills *fills; /* NULL: nothing is kept */
    uint64_t sent;          /* bytes since the peer told of one, or the connection began, ... */
    pq_ns told_at;          /* ... and when that was; 0 = it has not begun */
    pq_ns trim_at;
};

struct pq_session {
    struct pq_hub *hub;
    struct pq_share *share;
    struct pq_tuple tuple, other;       /* its own; of s->path */
    struct pq_known_id id[2 + PQ_NEXT]; /* of the keys in use, of those before, of the next */
    struct pq_path *path;               /* NULL: it stays where it is */
    struct pq_list node;                /* in hub->sessions */
    struct pq_list ready;               /* in hub->ready: pull may have something */
    struct pq_list rx;                  /* in hub->rx: got bytes in this batch */
    struct pq_heap_node timer;
    struct pq_addr peer;
    struct pq_addr local;
    uint32_t conv;
    struct pq_flow flow;
    size_t size; /* most bytes of a datagram, ... */
    size_t full; /* ... and of those that it sends */
    struct pq_stalled stalled;
    bool parting; /* the peer is told that this is the end */
    struct pq_filling filling;
    struct pq_mask *syn_key;       /* client: of what its SYNs prove; NULL: there are none */
    bool away;                     /* the link has not our address now: what is sent is lost */
    struct pq_quic *quic;          /* NULL: KCP and smux */
    struct pq_route *route;        /* QUIC's, malloc'ed; NULL: there is no other path */
    struct pq_quic_ticket *ticket; /* ... client: with which it began, until somebody answers */
    unsigned tries;                /* ... client: other tuples on which it was to begin, ... */
    pq_ns elsewhere_at;            /* ... and when the next one is tried; 0 = 1 s after the start */
    bool asks;                     /* ... client: whether it may go on over that */
    pq_ns moving;       /* ... since when nobody has answered where it has gone; 0 = it has */
    pq_ns headers_read; /* QUIC, client: by then a Go server has read those that were sent */
    uint16_t full_came; /* QUIC: bytes of the largest datagram that has come */
    uint32_t base;      /* abilities of the peer that need not be said */
    struct pq_kcp *kcp;
    struct pq_smux *smux;
    struct pq_fec_enc *fec_tx;       /* NULL = sends without FEC */
    uint64_t loss_sent, loss_resent; /* segments when the loss was measured last */
    uint32_t loss;                   /* per thousand, smoothed */
    uint64_t pulled;                 /* segments sent before the last pull */
    uint64_t wire_in, wire_out;      /* bytes of IP packets */
    uint64_t in, out;                /* bytes of streams */
    uint64_t beside_in, beside_out;  /* of them, those of datagrams beside their streams */
    unsigned moves;                  /* to other tuples */
    unsigned ring;                   /* with whose K it began */
    uint32_t serial;                 /* among all of the hub */
    bool copies;                     /* fec_tx is for lone datagrams only */
    struct pq_fec_dec *fec_rx;       /* NULL = the peer has sent none */
    struct pq_dgrams dgrams;         /* beside the reliable stream [8.7] */
    struct pq_parts parts;           /* of what the path carries no more [12.11] */
    bool in_parts, whole;            /* what KCP has written last goes so, or as it is */
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
    uint32_t abilities;    /* of the peer, PQ_ABLE_* [8.2] ... */
    uint32_t said;         /* ... and what it was told of this side */
    struct pq_watch watch; /* client; of our own wire, and of QUIC */
    struct pq_secure *sec; /* NULL: the old wire */
    struct pq_ask *ask;    /* client; NULL: no handshake is under way */
    bool by_keys;          /* client: never the old wire */
    uint8_t server_public[PQ_X25519_LEN];
    pq_ns seal_until;  /* until then a datagram is tried as a handshake before the old wire */
    unsigned who;      /* server: number of the user ... */
    uint64_t instance; /* ... his running program, and its public key */
    uint8_t client[PQ_X25519_LEN];
    uint64_t heard_frames; /* as smux counted them last */
    pq_ns asked; /* when an answer was first expected that no frame has given; 0 = none is */
    struct pq_measure *measure; /* NULL: there are no trains [12.10] */
    struct pq_mask *train_key;  /* client: as syn_key, for those that begin with a SYN */
    int dead;                   /* not 0: to be ended with this at the next safe point */
    void *user;
};

struct pq_hub {
    struct pq_hub_conf conf;
    const struct pq_transport *t;
    struct pq_quic_end *quic; /* QUIC's ... */
    size_t quic_came;         /* ... bytes of the datagram that is being read */
    struct pq_list goodbyes, retries;
    size_t n_goodbyes, n_retries;
    const struct pq_segment *seg; /* of the datagram at hand, while QUIC has it */
    struct pq_quic_who quic_who;  /* the same */
    enum pq_drop quic_no;         /* the same: why its client was refused; NONE: it was not */
    struct pq_quic_own quic_own;  /* QUIC's: keys of this end */
    struct pq_tickets *tickets, *own_tickets;
    struct pq_list quic_kept; /* client: tickets, the oldest first */
    size_t n_quic_kept;
    const struct pq_hub_events *ev;
    void *ctx;
    struct pq_rng *rng;
    struct pq_ring ring[PQ_RINGS]; /* of K and, server, of the one before, if it is there */
    uint16_t crypt_head, fec_head, crypt_tail; /* bytes around a KCP datagram */
    size_t mtu_min;                            /* bytes of the smallest datagram that will do */
    uint16_t around;                           /* the most of head and tail, whichever wire it is */
    struct pq_list replies, answers;
    struct pq_hash by_tuple; /* of replies */
    struct pq_hash by_id;    /* server: sessions of our own wire */
    struct pq_session *last; /* of our own wire, whose the last datagram was */
    size_t n_sessions;
    size_t n_replies;
    struct pq_list callers, called; /* server: connections without a session; to be answered */
    struct pq_hash by_caller;
    size_t n_callers;
    struct pq_list leaving,
        parting; /* connections that end, the oldest first; what is to be sent */
    struct pq_hash by_leaving;
    struct pq_heap leaving_due;
    size_t n_leaving;
    struct pq_fills_memory fills;
    bool left;      /* all of them do, and nothing else goes on ... */
    pq_ns quiet_at; /* ... and what is on its way has come then */
    struct pq_syns *syns, *own_syns;
    pq_ns fresh_until;   /* a connection may be so young that its first payload is still to come */
    struct pq_syn_sent { /* client: the last SYNs, one of each tuple, to begin behind it ... */
        bool known;
        struct pq_addr peer, local;
        uint32_t number;
    } syn_sent[PQ_SYNS_SENT];
    unsigned n_syn_sent;
    pq_ns asks_until;           /* ... until then one may be unanswered */
    uint64_t junk_slot, syn_ms; /* client: when the last SYN went; ... */
    uint32_t syn_choice;        /* ... of those without time stamps, the next one; 0 = none yet */
    struct pq_rate asked, asked_by[256]; /* handshakes; of a source, by its hash */
    struct pq_rate train_answers;        /* server [12.10] */
    size_t n_measures;
    struct pq_stamps *stamps, *own_stamps;
    uint64_t instance, last_stamp; /* client */
    uint32_t replaces;             /* client: the session of keys that ended last, to be told */
    pq_ns born;
    uint64_t hash_seed;
    struct pq_hash by_peer;
    struct pq_list sessions, ready, rx, dirty;
    struct pq_list half; /* half-open sessions, the oldest first */
    size_t n_half;
    struct pq_heap timers;
    struct pq_pool blocks;
    struct pq_chunks chunks;
    struct pq_list shares; /* of users that have come; ... */
    struct pq_share rest;  /* ... of all others together */
    size_t n_streams, streams_max;
    struct pq_replay *replay; /* the configuration's, or own_replay */
    struct pq_replay *own_replay;
    struct pq_hub_stats stats;
    const struct pq_frame *frame;             /* at hand ... */
    bool handed;                              /* ... which another worker has handed over */
    bool again;                               /* ... or which fills a hole [12.9] */
    uint32_t n_streams_ever, n_sessions_ever; /* for serial numbers */
    pq_ns now;                                /* of the last batch or tick */
    bool hasty; /* something came of a session with a short RTT, see pq_hub_calm */
    bool busy;  /* events are being made: sessions that end meanwhile are freed afterwards */
};

/* share.c */
void pq_shares_init(struct pq_hub *h);
void pq_shares_users(struct pq_hub *h); /* there are others now */
void pq_shares_fini(struct pq_hub *h);
/* That of the user with this public key; NULL where memory is short. */
struct pq_share *pq_share_of(struct pq_hub *h, const uint8_t key[PQ_X25519_LEN]);
/* There are as many sessions as may be: the one that makes room for another of this share, of who
 * has most, the one that has been silent for the longest; or NULL.  `rest` gets none. */
struct pq_session *pq_share_room(struct pq_hub *h, const struct pq_share *share);
bool pq_share_stream(struct pq_session *s); /* server: whether the peer may open one more */

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
bool pq_session_dgram_beside(const struct pq_stream *st, size_t n);
int pq_session_dgram_send(struct pq_stream *st, struct pq_chunk *c);
enum pq_drop pq_session_dgram_take(struct pq_session *s, struct pq_view inner);

struct pq_arrival { /* a datagram that has come */
    const struct pq_segment *seg;
    uint8_t *p;
    size_t n;
    pq_ns now;
};

enum pq_wire { PQ_WIRE_OLD, PQ_WIRE_OWN, PQ_WIRE_DONE };

struct pq_opened { /* what it has turned out to be */
    struct pq_session *s;
    struct pq_view inner;
    enum pq_drop d;
    unsigned ring; /* of the old wire */
};

/* keyring.c */
int pq_keyring_init(struct pq_hub *h); /* 0, PQ_ENOMEM, PQ_ENOTSUP (cipher) */
void pq_keyring_fini(struct pq_hub *h);
int pq_keyring_set(struct pq_hub *h, const uint8_t key[PQ_KEY_LEN], const uint8_t *before);

/* secure.c */
int pq_secure_init(struct pq_hub *h); /* 0, PQ_EINVAL (mtu), PQ_ENOMEM */
void pq_secure_fini(struct pq_hub *h);
/* What a datagram is [12.4]: of the old wire; of o->s, and o->inner is its plain text; or done
 * with, and o->d says how. */
enum pq_wire pq_secure_take(struct pq_hub *h, const struct pq_arrival *a, struct pq_opened *o);
/* The old wire could not read a datagram of this tuple: the next one may be a handshake. */
void pq_secure_doubt(struct pq_hub *h, const struct pq_segment *seg, pq_ns now);
enum pq_drop pq_secure_control(struct pq_session *s, const struct pq_segment *seg,
                               struct pq_view inner, pq_ns now);
size_t pq_secure_control_fill(struct pq_session *s, uint8_t *p, size_t cap, pq_ns now);
void pq_secure_seal(struct pq_session *s, const struct pq_span *spans, size_t n);
/* The session goes over to these keys, which it takes out of *keys.  Returns 0 or PQ_ENOMEM: then
 * they are still there. */
int pq_secure_use(struct pq_session *s, struct pq_epoch *keys, pq_ns now);
int pq_secure_ids(struct pq_session *s); /* server: the keys have changed; 0 or PQ_ENOMEM */
void pq_secure_tick(struct pq_session *s, pq_ns now); /* wipes old keys, asks for new ones */
pq_ns pq_secure_deadline(const struct pq_session *s);
void pq_secure_free(struct pq_session *s);

/* secure_ask.c: the client's side of handshakes */
int pq_ask_begin(struct pq_session *s, enum pq_kind kind, pq_ns now);
size_t pq_ask_fill(struct pq_session *s, uint8_t *p, size_t cap, pq_ns now); /* 0: not due */
enum pq_drop pq_ask_take(struct pq_session *s, const struct pq_message *m, pq_ns now);
void pq_ask_end(struct pq_session *s);

/* secure_answer.c: the server's.  `s`: that of the tuple, or NULL. */
enum pq_drop pq_answer(struct pq_hub *h, const struct pq_arrival *a, struct pq_session *s,
                       const struct pq_message *m, unsigned ring);
enum pq_drop pq_answer_renewal(struct pq_session *s, const struct pq_segment *seg,
                               const struct pq_message *m, pq_ns now);
/* A datagram under the keys of a handshake that waits makes its session, o->s. */
enum pq_wire pq_reply_take(struct pq_hub *h, const struct pq_arrival *a, struct pq_opened *o);
size_t pq_answers_pull(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now);
bool pq_answers_ready(const struct pq_hub *h);
void pq_replies_tick(struct pq_hub *h, pq_ns now);
pq_ns pq_replies_deadline(const struct pq_hub *h);
void pq_replies_clear(struct pq_hub *h);
/* The rings have other numbers now; handshakes with a K that is no more are forgotten. */
void pq_replies_rekey(struct pq_hub *h, const unsigned to[PQ_RINGS]);
/* Whether a handshake from there may be computed now; and that it is. */
bool pq_compute_may(struct pq_hub *h, const struct pq_addr *from, pq_ns now);
void pq_compute_spend(struct pq_hub *h, const struct pq_addr *from);
/* The user with this public key; where there are none, everybody is user 0.  False: nobody. */
bool pq_own_user(const struct pq_hub *h, const uint8_t key[PQ_X25519_LEN], unsigned *who);
void pq_rate_refill(struct pq_rate *r, uint32_t a_second, pq_ns now);

/* move.c */
void pq_move_tick(struct pq_session *s, pq_ns now); /* client: is the tuple dead? */
pq_ns pq_move_deadline(const struct pq_session *s);
/* The question, or its answer, that waits, or 0. */
size_t pq_move_ask(struct pq_session *s, uint8_t *p);
bool pq_move_fill(struct pq_session *s, struct pq_slot *slot, pq_ns now);
enum pq_drop pq_move_take(struct pq_session *s, const struct pq_segment *seg,
                          const struct pq_message *m, pq_ns now);
/* A datagram that is not about moving has come. */
void pq_move_heard(struct pq_session *s, const struct pq_segment *seg, pq_ns now);
/* Server: whether this may come from a tuple that is not the session's. */
bool pq_move_expected(const struct pq_session *s, const struct pq_segment *seg,
                      struct pq_view inner);
void pq_move_end(struct pq_session *s);
/* Client: a handshake that nobody answers is tried over another tuple, if there is a better one. */
void pq_move_unanswered(struct pq_session *s, pq_ns now);
pq_ns pq_move_unanswered_at(const struct pq_session *s);

/* connect.c: connections as others see them [12.9] */
int pq_connect_init(struct pq_hub *h); /* 0 or PQ_ENOMEM */
void pq_connect_fini(struct pq_hub *h);
void pq_connect_begin(struct pq_hub *h, struct pq_flow *f, pq_ns now); /* client: by a SYN */
/* A segment without data, from whomever. */
enum pq_drop pq_connect_take(struct pq_hub *h, const struct pq_segment *seg, pq_ns now);
/* A segment with data: cuts off what is none of its datagram. */
void pq_connect_skip_lead(struct pq_hub *h, struct pq_segment *seg, pq_ns now);
/* Server: the session of a datagram is with another worker: so is what has been answered here. */
void pq_connect_hand(struct pq_hub *h, const struct pq_segment *seg, unsigned worker);
/* Server: the flow of a connection on this tuple that has no session yet, or NULL. */
struct pq_flow *pq_connect_caller(struct pq_hub *h, const struct pq_addr *peer,
                                  const struct pq_addr *local);
/* The same for a session that has proven to be there: it goes into *out, and is waited for no more.
 */
void pq_connect_take_over(struct pq_hub *h, const struct pq_addr *peer, const struct pq_addr *local,
                          struct pq_flow *out);
/* The same for what has come in the name of the tuple: whoever sends it has seen the SYN+ACK, else
 * *out is a copy, and the connection waits on.  Returns false if there is none. */
bool pq_connect_claim(struct pq_hub *h, const struct pq_segment *seg, struct pq_flow *out);
/* There is one that the sender of this has not begun. */
bool pq_connect_of_another(struct pq_hub *h, const struct pq_segment *seg);
void pq_connect_tick(struct pq_hub *h, pq_ns now);
pq_ns pq_connect_deadline(const struct pq_hub *h);
bool pq_connect_ready(const struct pq_hub *h);
/* Answers to SYNs. */
size_t pq_connect_pull(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now);
/* The flow of a session on this tuple that begins with a handshake, and whose it is; or NULL. */
struct pq_flow *pq_connect_flow(struct pq_hub *h, const struct pq_segment *seg,
                                struct pq_session **out);
/* connect_ask.c: client: whatever comes; if it is of a connection that a tuple had before, on which
 * one is to begin, that one is reset, as far as others know of it. */
void pq_connect_refuse(struct pq_hub *h, const struct pq_segment *seg, pq_ns now);
/* What has to go before the flow's first data: a SYN, or the end of the handshake.  0 or 1. */
size_t pq_connect_head(struct pq_session *s, struct pq_flow *f, struct pq_slot *slot, pq_ns now);
pq_ns pq_connect_due(const struct pq_flow *f, pq_ns now); /* when that is */
size_t pq_connect_packets(const struct pq_session *s);    /* that may go now */
/* `last` has been sent: it is kept if nothing more may go, or nothing will. */
void pq_connect_keep(struct pq_session *s, const struct pq_span *last, pq_ns now);
/* Acknowledgements that go before anything else, each a packet. */
size_t pq_connect_show(struct pq_session *s, struct pq_slot *slots, size_t n, pq_ns now);
/* What goes if there is nothing else: an acknowledgement, or the last datagram again.  0 or 1. */
size_t pq_connect_tail(struct pq_session *s, struct pq_slot *slot, pq_ns now);
pq_ns pq_connect_wait(struct pq_session *s, pq_ns now); /* when head or tail have something */
void pq_connect_end(struct pq_session *s);

/* kcp_session.c, kcp_rx.c, kcp_tx.c; the rest of it is pq_transport_kcp */
enum pq_drop pq_kcp_session_input(struct pq_hub *h, const struct pq_segment *seg, uint8_t *p,
                                  size_t n, pq_ns now);
size_t pq_kcp_session_pull(struct pq_session *s, struct pq_slot *slots, size_t max, pq_ns now);
size_t pq_kcp_session_turn(const struct pq_session *s);
pq_ns pq_kcp_session_deadline(struct pq_session *s, pq_ns now);

/* leave.c: ends of connections, for who watches them */
/* Nothing more is sent: FIN, with it a session's last datagram again; or else a reset. */
void pq_leave(struct pq_hub *h, struct pq_flow *f, bool in_order);
void pq_leave_session(struct pq_session *s, bool in_order);
/* Whether a segment without data is of one that ends here. */
bool pq_leave_take(struct pq_hub *h, const struct pq_segment *seg, pq_ns now);
/* Another connection begins from there; or this side begins one, on the flow's addresses: what
 * ended there is over at once. */
void pq_leave_forget(struct pq_hub *h, const struct pq_addr *peer, const struct pq_addr *local);
void pq_leave_again(struct pq_hub *h, const struct pq_flow *f);
bool pq_leave_ready(const struct pq_hub *h);
size_t pq_leave_pull(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now);
void pq_leave_tick(struct pq_hub *h, pq_ns now);
pq_ns pq_leave_deadline(const struct pq_hub *h);
void pq_leave_fini(struct pq_hub *h);

/* measure.c: trains [12.10] */
enum pq_drop pq_measure_take(struct pq_session *s, const struct pq_segment *seg,
                             const struct pq_message *m, pq_ns now);
size_t pq_measure_ask(struct pq_session *s, uint8_t *p,
                      size_t cap); /* counts, over its own tuple */
bool pq_measure_fill(struct pq_session *s, struct pq_slot *slot, pq_ns now);
struct pq_flow *pq_measure_flow(struct pq_session *s, const struct pq_tuple *t); /* or NULL */
pq_ns pq_measure_deadline(const struct pq_session *s, pq_ns now);
void pq_measure_tick(struct pq_session *s, pq_ns now); /* server: forgets */
void pq_measure_free(struct pq_session *s);

/* Its datagrams are what the flow allows, or are from now on. */
bool pq_session_fits(struct pq_session *s);
/* Datagrams are no longer than the peer's MSS allows: begins anew if they would be. */
void pq_session_fit(struct pq_session *s, pq_ns now);
/* Begins anew with another conversation: streams of which nothing was sent go on, others end. */
int pq_session_restart(struct pq_session *s, uint32_t conv, pq_ns now);
uint32_t pq_hub_abilities(const struct pq_hub *h);
/* A session begins on our own wire, with what was said to the peer and by it [12.2].  0, PQ_ENOMEM.
 */
int pq_session_own(struct pq_session *s, uint32_t said, uint32_t abilities);

/* session.c */
/* Has the session found at this tuple, too.  Returns 0 or PQ_ENOMEM. */
int pq_session_at(struct pq_session *s, struct pq_tuple *t, const struct pq_addr *peer,
                  const struct pq_addr *local);
void pq_session_leave(struct pq_session *s, struct pq_tuple *t); /* it is found there no more */
void pq_session_retuple(struct pq_session *s); /* peer and local have changed, and the path's */
/* Server: other workers know from now on that it is on its tuple; it dies where memory is short. */
void pq_session_home(struct pq_session *s);
/* Whether another session than `but` is, or may be heard, on this tuple. */
bool pq_session_on(struct pq_hub *h, const struct pq_addr *peer, const struct pq_addr *local,
                   const struct pq_session *but);
uint64_t pq_session_key(struct pq_hub *h, const struct pq_addr *peer, uint16_t port);
void pq_session_flow(struct pq_hub *h, struct pq_flow *f, const struct pq_flow_conf *fc);
/* Bytes of a datagram that the configuration, the link and the flow's peer allow. */
size_t pq_hub_datagram_max(const struct pq_hub *h, const struct pq_flow *f);
void pq_session_flow_as(struct pq_hub *h, struct pq_flow *f, const struct pq_flow_conf *fc,
                        enum pq_look look);                     /* not PQ_LOOK_CONNECT */
void pq_session_able(struct pq_session *s, uint32_t abilities); /* of the peer */
/* `conv` is KCP's. */
int pq_session_new_of(struct pq_hub *h, struct pq_session **out, const struct pq_flow_conf *fc,
                      struct pq_share *share, uint32_t conv, pq_ns now);
int pq_session_new(struct pq_hub *h, struct pq_session **out, const struct pq_flow_conf *fc,
                   uint32_t conv, pq_ns now);
struct pq_session *
pq_session_find(struct pq_hub *h, const struct pq_segment *seg,
                const uint32_t *conv); /* of the old wire; conv NULL: whichever has proven itself */
void pq_session_half(struct pq_session *s); /* the peer has to prove itself */
/* It has, and takes the place of `old`, if not NULL.  False: there are max_sessions already. */
bool pq_session_prove(struct pq_session *s, struct pq_session *old);
void pq_hub_bound_half(struct pq_hub *h); /* of too many half-open sessions one ends at once */
void pq_session_end_now(struct pq_session *s, int err); /* where nothing goes on using it */
void pq_session_wake(struct pq_session *s);             /* pull may have something */
struct pq_stream *pq_stream_new(struct pq_session *s);
void pq_stream_leave(struct pq_session *s, struct pq_stream *st); /* it is none of its any more */
void pq_stream_free(struct pq_stream *st);

/* Ends a stream at once, at both ends; its owner is told `err` and may free it. */
void pq_stream_cut(struct pq_stream *st, int err);
void pq_hub_flush(struct pq_hub *h); /* flush events that are owed */

/* stream.c and hub.c */
void pq_stream_count(struct pq_stream *st, size_t in, size_t out); /* bytes; ses is there */
/* Puts headers in front, of each datagram or of each run.  `more`: the session goes on sending. */
void pq_session_forge(struct pq_session *s, struct pq_slot *slots, size_t n, bool more, pq_ns now);
#endif
