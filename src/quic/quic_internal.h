/* SPDX-License-Identifier: MIT */
/* quic_internal.h - the state of an end and of a connection; for quic*.c and their tests only. */
#ifndef PQ_QUIC_QUIC_INTERNAL_H
#define PQ_QUIC_QUIC_INTERNAL_H
#include "base/hash.h"
#include "base/list.h"
#include "quic/compat.h"
#include "quic/quic.h"
#include "quic/quic_cc.h"
#include "quic/quic_seal.h"

#include <gnutls/crypto.h>
#include <netinet/in.h>

#define QUIC_IDS_MAX 64    /* ids under which a connection is found */
#define ARENA_BLOCK  65536 /* bytes of a block of received data ... */
#define ARENA_MAX    16    /* ... of which there are so many */
#define ANSWERS_MAX  16    /* Retry packets that wait */
#define QUIC_REFUSED 1     /* application code: the stream is not wanted */

/* How a DATAGRAM begins that is nothing: a stream that cannot be [13.5]. */
#define PQ_QUIC_PADDING_LEN 8
#define PQ_QUIC_PADDING                                                                            \
    {                                                                                              \
        255, 255, 255, 255, 255, 255, 255, 255                                                     \
    }

struct quic_id { /* one id under which datagrams of a connection come */
    struct pq_hash_node node;
    struct pq_list of; /* in q->ids */
    struct pq_quic *q;
    uint8_t n, id[NGTCP2_MAX_CIDLEN];
};

struct quic_block {
    struct quic_block *next;
    size_t used;
    uint8_t data[ARENA_BLOCK];
};

struct quic_answer {
    struct pq_quic_path path;
    uint8_t n, p[PQ_QUIC_ANSWER_MAX];
};

struct quic_raw_path { /* as ngtcp2 has it: IPv4 in its mapped form, too */
    struct sockaddr_in6 local, remote;
};

struct quic_window { /* what the peer may send before it is granted more */
    uint64_t size, most, used;
    pq_ns since; /* when `used` was 0 */
};

#define CAME_MAX 1024
struct quic_came { /* which of the last packets have come, by their numbers */
    int64_t next;  /* one behind the greatest */
    uint64_t bits[CAME_MAX / 64];
};

struct quic_set { /* what follows from a key [13.1] */
    bool there;
    uint8_t key[PQ_QUIC_KEY_LEN];
    struct pq_quic_keys keys;
    struct pq_quic_seal tx, rx; /* the outer seal */
};

struct pq_quic_end {
    struct pq_quic_conf conf;
    const struct pq_quic_events *ev;
    void *ctx;
    struct pq_chunks *chunks;
    struct pq_rng *rng;
    char *server_name;

    bool keyed; /* there is a key, and these are made of it; and of the one before */
    struct quic_set set[PQ_QUIC_KEYS];
    uint8_t retry_key[32];
    uint64_t started; /* by the wall clock, ms */
    uint8_t ticket_key[PQ_QUIC_TICKET_KEY];
    gnutls_anti_replay_t anti_replay;

    gnutls_priority_t with_key, plain;
    gnutls_psk_server_credentials_t psk_server;
    gnutls_psk_client_credentials_t psk_client;
    gnutls_certificate_credentials_t cert;

    uint64_t hash_seed;
    struct pq_hash ids;
    struct pq_list conns, half; /* all; those whose handshake is not done, oldest first */
    size_t n_conns, n_half;
    struct quic_seen *seen;

    struct quic_block *arena, *filling; /* all blocks; the one that is being filled */
    size_t n_blocks;
    struct quic_answer answers[ANSWERS_MAX];
    unsigned first_answer, n_answers;
};

struct quic_hole {
    uint64_t from, to;
};

struct pq_quic_stream {
    struct pq_quic *q;
    void *user;          /* NULL: closed by the user, or never his */
    struct pq_list node; /* in q->streams */
    struct pq_hash_node by_id;
    struct pq_list turn; /* in one of q's lists while it has something to send and may */
    int64_t id;

    struct pq_chunkq out;  /* not acknowledged yet */
    struct pq_chunk *next; /* the first of them with bytes that were not sent, ... */
    size_t next_at;        /* ... which begin here */
    size_t acked;          /* bytes of the first that were acknowledged */
    size_t unsent, unacked;
    size_t waiting; /* chunks that were not sent to the end */
    size_t budget;  /* bytes that it may still send in this turn */

    bool gated; /* only so many bytes go out ... */
    bool split; /* ... of which the first half is out */
    size_t before;
    pq_ns gate, gate_at; /* then so long nothing; until then, if it is `shut`, in q->gates */
    bool shut;
    bool apart; /* each chunk goes in a packet of its own, and so long nothing behind it: */
    pq_ns gap;

    uint64_t came, top;      /* bytes in order; one behind the last that has come */
    struct quic_hole *holes; /* between them */
    uint32_t n_holes, holes_cap;
    size_t unread;          /* bytes that the user has been given and not used */
    uint64_t used, granted; /* that he has used; that the peer may send in all */
    struct quic_window window;
    struct pq_list lent_node; /* in q->lenders, if ... */
    uint64_t lent;            /* ... it has more than the first window */
    pq_ns lent_at, read_at;   /* when it was; when bytes were used last */
    bool served;              /* since it last had nothing to send */
    bool full;                /* room was 0: the room event is owed */
    bool blocked;             /* the peer's window for it is used up */
    bool spread;              /* too much was sent behind what was not acknowledged */
    bool fin, fin_sent;       /* nothing follows what is queued */
    bool stopped;             /* the peer reads no more, or it was reset */
    bool ended;               /* the peer's half */
    bool gone;                /* ngtcp2 has forgotten it */
    bool remote;              /* the peer opened it */
};

struct pq_quic_ticket {
    gnutls_datum_t session;
    struct pq_ngtcp2_params params;
    uint8_t secret[PQ_QUIC_PSK_LEN];
};

struct pq_quic {
    struct pq_quic_end *e;
    void *user;
    struct pq_list node, in_half;
    ngtcp2_conn *conn;
    ngtcp2_crypto_conn_ref ref;
    gnutls_session_t tls;
    gnutls_psk_client_credentials_t psk; /* of this connection alone */
    struct quic_raw_path path;

    struct pq_list ids;
    size_t n_ids;
    ngtcp2_cid odcid; /* what the client made up; n = 0: not registered */
    uint8_t second[PQ_QUIC_SECOND_LEN], mix[PQ_QUIC_PSK_LEN];

    pq_ns alive, vary_at; /* silence that brings a PING; when it is drawn anew */

    bool plain;      /* without the key */
    unsigned set;    /* which key it began with; PQ_QUIC_KEYS: that is gone */
    bool somebody;   /* server: the client has named a PSK that is there */
    bool named;      /* the client has said who it is: ... */
    bool mixed;      /* ... `mix` is known, ... */
    bool unheard;    /* ... and, server: nothing that shows it has come yet [13.7] */
    bool ready;      /* the handshake is done */
    bool told;       /* the user knows that the peer is who it has said to be */
    bool confirmed;  /* no long headers any more */
    bool over;       /* no more events */
    bool gone;       /* nothing more to send either */
    bool close_owed; /* CONNECTION_CLOSE goes out with the next pull */
    bool ping;       /* something that asks for an acknowledgement does */
    bool asks_path;  /* client: whether it may go on over another path */
    bool unwanted;   /* server: its user has not accepted it */

    bool early;         /* client: it has a ticket, and no answer yet; server: he has used one */
    bool ticketed;      /* server: the ticket is good; early_secret is what goes with it */
    bool ticket_owed;   /* server: the client is to get another */
    pq_ns ticket_until; /* client: it waits so long for one */
    size_t early_bytes; /* of packets */
    uint8_t early_secret[PQ_QUIC_PSK_LEN], ticket_secret[PQ_QUIC_PSK_LEN]; /* of the next one */

    /* client: what went first, until there is an answer, and whether it goes again; from where and
     * to where to it does, in place of the path on which it began */
    uint8_t *first_flight;
    size_t first_len;
    bool flight_owed, aliased;
    struct quic_raw_path began, alias;

    /* server: where the client has shown that it is, and under which id it sends; where else
     * something has come from since when, and nothing from where it is, or that is not proven:
     * how often it went over in vain */
    struct quic_raw_path proven, strange;
    uint8_t id[PQ_QUIC_ID_LEN];
    pq_ns path_since, strange_since;
    unsigned turns;
    const struct quic_raw_path *from; /* of the datagram at hand, ... */
    bool elsewhere;                   /* ... which is not taken from there */
    bool held;                        /* nothing is from where pq_quic_is_away */
    bool asks;                        /* the last packet was a PATH_CHALLENGE */
    struct quic_came numbers;
    bool again; /* the datagram at hand has a packet that has come before */
    int broken; /* memory was short inside an event */
    ngtcp2_ccerr error;

    struct pq_list streams;
    struct pq_hash by_id;
    size_t n_streams, n_own;    /* all; those that this side has opened */
    size_t n_spread;            /* those that wait since too much was sent behind a hole */
    struct pq_list opening;     /* they have no number yet */
    struct pq_list fresh, turn; /* as in smux: those that had nothing to send before, first */
    struct pq_list gates;       /* of streams, the first to open in front */
    struct pq_list starved;     /* the connection's window is used up */
    unsigned fresh_run;         /* how many of the fresh ones in a row */
    uint16_t limit;             /* bytes of a packet, whatever the peer takes */
    size_t queue_max;
    struct pq_chunkq dgrams;
    bool dgram_turn;
    bool caught_up; /* new bytes have gone since anything was lost: what was goes before them */

    struct quic_window window;
    uint64_t came, granted; /* bytes in order, of all streams; that the peer may send in all */
    uint64_t unread, lent;  /* of all streams */
    struct pq_list lenders; /* streams with a window beyond the first, longest unused in front */
    pq_ns stuck_since;      /* when unread bytes have reached their bound */
    struct quic_cc cc;
    bool driven; /* by cc; else ngtcp2 decides alone */
    pq_ns now, heard, asked;
    uint64_t in, out, received, dgrams_lost;
    char cipher[32];
};

/* quic.c */
void pq_quic_end_with(struct pq_quic *q, int err); /* says so to the user, once */
void pq_quic_fail(struct pq_quic *q, int liberr);  /* ngtcp2 has returned an error */
int pq_quic_start(struct pq_quic *q, const ngtcp2_pkt_hd *hd, const ngtcp2_cid *odcid, pq_ns now);
struct pq_quic *pq_quic_make(struct pq_quic_end *e, const struct pq_quic_path *path, bool plain,
                             pq_ns now);
void pq_quic_proven(struct pq_quic *q); /* the handshake is done */
void pq_quic_say_ready(struct pq_quic *q);

/* quic_path.c */
void pq_quic_to_raw(const struct pq_quic_end *e, struct quic_raw_path *r,
                    const struct pq_quic_path *p);
void pq_quic_from_raw(const struct pq_quic_end *e, struct pq_quic_path *p,
                      const struct quic_raw_path *r);
ngtcp2_path pq_quic_ngtcp2_path(struct quic_raw_path *r);
void pq_quic_path_of(struct quic_raw_path *r, const ngtcp2_path *p); /* zeros: it is none of ours */
void pq_quic_shown(const struct pq_quic *q, struct quic_raw_path *r); /* to the outside */
void pq_quic_meant(const struct pq_quic *q, struct quic_raw_path *r); /* to ngtcp2 */
/* A good datagram has come: the first one says whether that goes on over the alias, or where it
 * began, which was only slow. */
void pq_quic_answered(struct pq_quic *q, bool at_alias);
bool pq_quic_is_proven(const struct pq_quic *q); /* the peer is where it says to be */
bool pq_quic_may_come(const struct pq_quic *q, const struct quic_raw_path *from, const uint8_t *p,
                      pq_ns now); /* a datagram of the peer's from there */
void pq_quic_came(struct pq_quic *q, const struct quic_raw_path *from, const uint8_t *p);
void pq_quic_note_strange(struct pq_quic *q); /* one is authentic that may not come from there */
bool pq_quic_is_away(const struct pq_quic *q, const struct quic_raw_path *p);
void pq_quic_look_at_path(struct pq_quic *q); /* ngtcp2 may have gone over to another */
int pq_quic_on_validation(ngtcp2_conn *conn, uint32_t flags, const ngtcp2_path *path,
                          PQ_NGTCP2_OLD_PATH ngtcp2_path_validation_result result, void *user);

/* quic_in.c */
extern const ngtcp2_callbacks pq_quic_callbacks;
enum pq_drop pq_quic_read(struct pq_quic *q, struct quic_raw_path *path, const uint8_t *p, size_t n,
                          pq_ns now);
void pq_quic_enter(struct pq_quic *q, pq_ns now); /* around each call that may need keys */
void pq_quic_leave(struct pq_quic *q);

/* quic_holes.c: whether a packet with these frames is taken, or as good as lost */
bool pq_quic_takes(struct pq_quic *q, struct pq_view frames);

/* quic_tls.c; begin: GnuTLS is ready for all that follows, PQ_ENOTSUP if it cannot be */
int pq_quic_tls_begin(void);
int pq_quic_tls_end(struct pq_quic_end *e);
void pq_quic_tls_end_free(struct pq_quic_end *e);
int pq_quic_tls(struct pq_quic *q, const struct pq_quic_peer *who);
void pq_quic_tls_free(struct pq_quic *q);

struct pq_quic *pq_quic_of_tls(gnutls_session_t tls);

/* quic_early.c: of ends and TLS sessions, which do nothing where nobody is early; begin: once there
 * is q->conn */
int pq_quic_early_end(struct pq_quic_end *e);
void pq_quic_early_end_free(struct pq_quic_end *e);
int pq_quic_early_tls(struct pq_quic *q, const struct pq_quic_peer *who);
void pq_quic_early_begin(struct pq_quic *q, const struct pq_quic_peer *who);
void pq_quic_early_hello(struct pq_quic *q, struct pq_view hello); /* a ClientHello has come */
void pq_quic_early_not(struct pq_quic *q);                         /* its ticket is not used */
void pq_quic_early_give(struct pq_quic *q);
void pq_quic_early_given(struct pq_quic *q, struct pq_view message); /* NewSessionTicket */
bool pq_quic_early_has_room(const struct pq_quic *q); /* client: a packet more may go early */
void pq_quic_early_sent(struct pq_quic *q, size_t n);
bool pq_quic_early_takes(struct pq_quic *q, struct pq_view frames); /* as pq_quic_takes */
void pq_quic_early_done(struct pq_quic *q);        /* the handshake is: was it taken? */
bool pq_quic_early_waits(const struct pq_quic *q); /* TLS is still needed */

/* quic_route.c; accept: asks the user, once; false: he does not want it */
bool pq_quic_accept(struct pq_quic *q);
int pq_quic_add_id(struct pq_quic *q, const uint8_t *p, size_t n);
void pq_quic_drop_id(struct pq_quic *q, const uint8_t *p, size_t n);
void pq_quic_new_id(struct pq_quic_end *e, ngtcp2_cid *id);

/* quic_keyring.c; unseal: as pq_quic_seal_open, *set: by which key */
int pq_quic_keyring_init(struct pq_quic_end *e, const uint8_t *key, const uint8_t *before);
void pq_quic_keyring_fini(struct pq_quic_end *e);
struct pq_view pq_quic_unseal(const struct pq_quic_end *e, uint8_t *p, size_t n, uint64_t *stamp,
                              unsigned *set);

/* quic_stream.c */
struct pq_quic_stream *pq_quic_stream_new(struct pq_quic *q, int64_t id);
struct pq_quic_stream *pq_quic_stream_by_id(const struct pq_quic *q, int64_t id);
void pq_quic_stream_free(struct pq_quic_stream *st);
void pq_quic_schedule(struct pq_quic_stream *st);
bool pq_quic_has_work(const struct pq_quic_stream *st);
void pq_quic_open_gates(struct pq_quic *q);
void pq_quic_keep_apart(struct pq_quic_stream *st);
bool pq_quic_is_spread(const struct pq_quic_stream *st);
/* Draws, now and then, how long a silence brings a PING: half to all of what is configured, so that
 * an idle connection has no beat [13.6]. */
void pq_quic_vary_keepalive(struct pq_quic *q);
void pq_quic_bind(struct pq_quic *q); /* gives numbers to those that wait for one */
void pq_quic_was_sent(struct pq_quic_stream *st, size_t n);
void pq_quic_was_acked(struct pq_quic_stream *st, size_t n);
void pq_quic_was_stopped(struct pq_quic_stream *st); /* what is queued goes nowhere */
void pq_quic_was_closed(struct pq_quic_stream *st);  /* by ngtcp2 */
void pq_quic_send_anew(struct pq_quic *q); /* client: nothing that was sent early has been taken */

/* quic_window.c: of the configuration, what is told with the handshake; then bytes that came, kept
 * for a user or not, and those that he has used */
uint64_t pq_quic_window_first(const struct pq_quic_conf *c); /* of a stream */
uint64_t pq_quic_window_told(const struct pq_quic_conf *c);  /* of the connection */
void pq_quic_window_init(struct pq_quic *q);
void pq_quic_window_of_new(struct pq_quic_stream *st);
void pq_quic_window_came(struct pq_quic_stream *st, size_t n, bool kept);
void pq_quic_window_read(struct pq_quic_stream *st, size_t n);
void pq_quic_window_refill(struct pq_quic *q);
void pq_quic_window_forget(struct pq_quic_stream *st);
void pq_quic_window_relieve(struct pq_quic *q); /* cuts streams that nobody reads */
pq_ns pq_quic_window_deadline(const struct pq_quic *q);

/* quic_seal.c */
struct quic_seen;
#endif
