/* SPDX-License-Identifier: MIT */
/* quic.h - QUIC connections, Sans-IO: datagrams in, events and datagrams out [7] [13].
 * Knows: connections, their streams and datagrams, who may open one, which datagram is whose, how
 * much may be in flight.  Does not know: sockets, the forged packets around a datagram, what the
 * streams carry.  ngtcp2 and GnuTLS do the work; none of their types is seen from here.
 *
 * A `pq_quic_end` is what the connections of one worker share; all calls of an end and its
 * connections come from one thread.  `now` is passed in and never goes back.  Random numbers of
 * keys are drawn by GnuTLS itself, and where certificates are looked at it reads the clock.
 *
 * A turn of the loop: pq_quic_input for each datagram that came, pq_quic_rx_done once the users of
 * streams have used the bytes, pq_quic_tick for connections whose deadline is over, then
 * pq_quic_pull until it returns 0, and pq_quic_deadline tells when to come back.  Each call but
 * input and tick may be made inside an event, but for pq_quic_free and pq_quic_end_free. */
#ifndef PQ_QUIC_QUIC_H
#define PQ_QUIC_QUIC_H
#include "base/addr.h"
#include "base/bytes.h"
#include "base/chunk.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"

#include <stdbool.h>

#define PQ_QUIC_KEY_LEN     32 /* of what all keys are made from [2.1] */
#define PQ_QUIC_KEYS        2  /* that a server accepts */
#define PQ_QUIC_PSK_LEN     32
#define PQ_QUIC_SEAL        36     /* what the outer seal adds to a datagram at most [13.2] */
#define PQ_QUIC_SIZE_LEAST  1200   /* bytes of a datagram, once the handshake is done [13.9] */
#define PQ_QUIC_SIZE_MIN    1236   /* before: an Initial of that, and its seal */
#define PQ_QUIC_SIZE_MAX    1452   /* what peers read at most [7.1] */
#define PQ_QUIC_ID_LEN      8      /* of the ids that this side gives out [13.4] */
#define PQ_QUIC_FIRST_LEN   18     /* of the one that a client makes up [13.3] */
#define PQ_QUIC_SECOND_LEN  32     /* of what a server tells somebody who has said a name [13.7] */
#define PQ_QUIC_QUEUE_MAX   131072 /* bytes that wait in one stream for their turn, at first */
#define PQ_QUIC_CLOCKS      UINT64_C(120000) /* ms by which a client's clock may be wrong [13.3] */
#define PQ_QUIC_REMEMBER    (2 * PQ_QUIC_CLOCKS)
#define PQ_QUIC_HALF_MAX    256 /* connections whose handshake is not done, then a random one goes */
#define PQ_QUIC_HALF_RETRY  64  /* of those without a key: then by Retry only */
#define PQ_QUIC_ANSWER_MAX  255 /* bytes of a Retry */
#define PQ_QUIC_DGRAMS_MAX  256 /* datagrams that wait in a connection */
#define PQ_QUIC_TICKET_KEY  64
#define PQ_QUIC_EARLY_MAX   16384 /* bytes of early packets in a connection [13.10] */
/* A ticket counts so long, and, of those that a client gets in a chain of connections, the last. */
#define PQ_QUIC_TICKET_LIFE (UINT64_C(6) * 3600 * PQ_SEC)

struct pq_quic_end;
struct pq_quic;
struct pq_quic_ticket; /* of a client: what makes its next connection an early one */
struct pq_quic_stream; /* owned by the connection; named by the user until pq_quic_stream_close */

enum pq_quic_cc { PQ_QUIC_BBR, PQ_QUIC_CUBIC }; /* that of src/cc, or ngtcp2's own */

struct pq_quic_conf {
    bool client;
    /* 32 bytes of which PSK and outer seal are made [13.1]; copied.  NULL: there is no key. */
    const uint8_t *key;
    const uint8_t *key_before; /* server: another one that is accepted, or NULL; copied */
    bool named;                /* server: the key alone lets nobody in, see the psk event */
    /* Plain QUIC with a certificate that nobody verifies, as family A's [7.2].  A client without a
     * key always speaks so; a server lets such in beside those who have the key. */
    bool open;
    const char *server_name; /* client, plain: what SNI says; NULL: nothing.  Copied */
    bool verify;             /* client, plain: the certificate must be of one the system trusts */
    uint16_t size;           /* of a datagram at most, PQ_QUIC_SIZE_MIN..PQ_QUIC_SIZE_MAX */
    /* Flow control: what the peer may send before more is granted, and how far that grows while it
     * is used up quickly.  window_max is also the bound of all bytes that lie unread. */
    uint64_t stream_window, stream_window_max, window, window_max;
    uint32_t max_streams;  /* that the peer may have open at a time, and this side as many */
    bool refuses;          /* the peer may open none */
    bool datagrams;        /* takes them */
    pq_ns idle, keepalive; /* silence that ends a connection; PING interval, 0 = none */
    enum pq_quic_cc cc;
    uint32_t max_conns; /* server; more are not accepted */
    /* Tickets are given and used [13.10]; then a server has a key for them, which all its ends have
     * in common, and no two programs; copied. */
    bool early;
    const uint8_t *ticket_key;
    unsigned worker, workers; /* the number of this end among so many: goes into its ids [13.4] */
};

struct pq_quic_path {
    struct pq_addr local, peer;
};

struct pq_quic_claim { /* what a server knows of who says to be somebody [13.7], or has a ticket */
    bool named;        /* of a ticket: the client has a key; else no `second` */
    uint8_t psk[PQ_QUIC_PSK_LEN];       /* of a ticket: its secret */
    uint8_t second[PQ_QUIC_SECOND_LEN]; /* to be told him */
    uint8_t mix[PQ_QUIC_PSK_LEN];       /* goes into all keys behind the handshake */
};

/* Why a connection ended, for `closed`. */
struct pq_quic_why {
    int err;      /* 0: closed by the peer without an error; PQ_ETIMEOUT, PQ_EPROTO, PQ_EDENIED (the
                     handshake has failed: another key, or other protocol), PQ_ENOMEM, PQ_EREPLACED
                     (half-open, and others came) */
    bool by_peer; /* code and reason are what the peer said */
    uint64_t code;   /* of QUIC, of TLS (0x100 + alert), or of the application */
    char reason[96]; /* printable characters only; "" for none */
};

struct pq_quic_events {
    /* ---- of the end; ctx is that of pq_quic_end_new */

    /* Server: a connection begins, whose first datagram is as it should be.  Returns the `user` of
     * its events, or NULL: it is not wanted, and nothing is answered. */
    void *(*accept)(void *ctx, struct pq_quic *q, const struct pq_quic_path *path);
    /* Server: PQ_DROP_NONE, an opening with this id is the first and may be computed now;
     * PQ_DROP_REPLAY, it was there before; or PQ_DROP_RATE, not now [13.3].  Remembers the id if it
     * says PQ_DROP_NONE.  In common for all ends.  It must not forget one within PQ_QUIC_REMEMBER.
     * NULL: each end has a small memory of its own, and where that is full takes no more. */
    enum pq_drop (*first)(void *ctx, struct pq_view id, const struct pq_quic_path *path);
    /* Server: what follows from who says to be `identity`, other than all who have the key, in
     * *claim, which is wiped by who asks; as a rule right before `accept`, else on a connection
     * that has a user.  Returns false: he is nobody.  NULL: all are. */
    bool (*psk)(void *ctx, struct pq_quic *q, struct pq_view identity, struct pq_quic_claim *claim);
    /* Server, early: whether this ticket, the first thing that a client says, was given and has not
     * come before, and its owner may still come; then *claim.  It is forgotten in any case.  As
     * `psk`; right before `accept`. */
    bool (*taken)(void *ctx, struct pq_quic *q, struct pq_view ticket, struct pq_quic_claim *claim);
    /* But TLS does not agree with it: who has come is not known yet. */
    void (*not_taken)(void *ctx, struct pq_quic *q);
    /* The wall clock, ms since 1970; asked only where there is a key. */
    uint64_t (*wall)(void *ctx);
    /* More bytes came than fit into the memory of a batch: use what was delivered. */
    void (*flush)(void *ctx);

    /* ---- of a connection */

    /* Client that has said a name: what the server has told it to that, and what follows for the
     * keys behind the handshake.  Returns false: it is nothing good.  NULL: it never is. */
    bool (*second)(void *user, const uint8_t second[PQ_QUIC_SECOND_LEN],
                   uint8_t mix[PQ_QUIC_PSK_LEN]);
    /* Server, early: the client gets this ticket, whose secret is to be remembered with who he is;
     * nobody else has it, and nothing tells it but the ticket. */
    void (*given)(void *user, struct pq_view ticket, const uint8_t secret[PQ_QUIC_PSK_LEN]);
    /* Client, early: a ticket for another connection to this server, owned by who gets it. */
    void (*ticket)(void *user, struct pq_quic_ticket *t);
    /* The handshake is done, or early packets are the first that came, with a ticket; the peer has
     * the key (if one is needed), and is who it has said to be. Only now anything else of the
     * connection happens. */
    void (*ready)(void *user);
    /* The connection has ended.  No more events of it or its streams.  The owner calls
     * pq_quic_free, outside of events. */
    void (*closed)(void *user, const struct pq_quic_why *why);
    /* The peer opened a stream, which must not be closed inside.  Returns the `user` of its events;
     * NULL: it is reset. */
    void *(*open)(void *user, struct pq_quic_stream *st);
    /* A datagram came, borrowed for the call. */
    void (*datagram)(void *user, struct pq_view v);
    /* The peer uses another path from now on: a NAT's new port, or another interface.  Client: it
     * has answered over the path that pq_quic_move asked about. */
    void (*path)(void *user, const struct pq_quic_path *path);
    /* Client: the path that pq_quic_move asked about is none.  May be NULL. */
    void (*stays)(void *user);

    /* ---- of a stream */

    /* Bytes in order; they stay where they are until pq_quic_rx_done, or flush. */
    void (*data)(void *st_user, struct pq_view v);
    /* Nothing more comes on this stream. */
    void (*eof)(void *st_user);
    /* The peer has given its half up, nothing more comes; some of it may be missing.  RESET_STREAM.
     */
    void (*reset)(void *st_user, uint64_t code);
    /* The peer reads no more: what is sent goes nowhere, and what was queued has been dropped. This
     * is noticed when something is to be sent.  STOP_SENDING. */
    void (*stop)(void *st_user);
    /* pq_quic_stream_room is above 0 again after it was 0. */
    void (*room)(void *st_user);
    /* What it was given lies unread for seconds, so much that all others have to wait: the user
     * aborts it, inside. */
    void (*cut)(void *st_user);
    /* n more bytes of what was sent have been acknowledged.  May be NULL. */
    void (*acked)(void *st_user, size_t n);
};

/* Creates an end in *out, owned by the caller; `ev` is borrowed for good, `chunks` and `rng` until
 * the end.  Returns 0, PQ_EINVAL (size or windows out of range; a server with neither key nor
 * `open`; a key without a clock), PQ_ENOMEM or PQ_ENOTSUP (the library refuses). */
int pq_quic_end_new(struct pq_quic_end **out, const struct pq_quic_conf *conf,
                    const struct pq_quic_events *ev, void *ctx, struct pq_chunks *chunks,
                    struct pq_rng *rng);

/* Frees it; all its connections must have been freed.  Sets *e to NULL; NULL does nothing. */
void pq_quic_end_free(struct pq_quic_end **e);

/* Takes a datagram, whose bytes are changed: finds its connection, or begins one.  *q is the
 * connection that it was of, which may have something to send now, or NULL.  Returns PQ_DROP_NONE,
 * or why it was not used: PQ_DROP_SHORT, PQ_DROP_AUTH, PQ_DROP_NO_SESSION, PQ_DROP_REPLAY,
 * PQ_DROP_HANDSHAKE, PQ_DROP_STAMP, PQ_DROP_FULL, PQ_DROP_ELSEWHERE (see pq_quic_worker). */
enum pq_drop pq_quic_input(struct pq_quic_end *e, const struct pq_quic_path *path, uint8_t *p,
                           size_t n, struct pq_quic **q, pq_ns now);

/* Which worker has the connection of a datagram that came elsewhere [13.4]. */
unsigned pq_quic_worker(const struct pq_quic_end *e, const uint8_t *p, size_t n);

/* The batch is over, and the bytes that were delivered are not needed any more. */
void pq_quic_rx_done(struct pq_quic_end *e);

/* Answers that belong to no connection (Retry, only where `open`): writes one to buf, which has
 * PQ_QUIC_ANSWER_MAX bytes.  Returns its length and sets *path, 0 if there is none. */
size_t pq_quic_answer(struct pq_quic_end *e, uint8_t *buf, struct pq_quic_path *path);

/* Server with a key: another one holds from now on, and `before` besides, if it is not NULL; not
 * inside an event.  Connections that wait for their handshake with neither of them end; others go
 * on.  Returns 0, PQ_EINVAL (there was none), PQ_ENOMEM or PQ_ENOTSUP (the library refuses): then
 * nothing has changed. */
int pq_quic_set_keys(struct pq_quic_end *e, const uint8_t key[PQ_QUIC_KEY_LEN],
                     const uint8_t *before);

/* Connections; those of them whose handshake is not done. */
size_t pq_quic_count(const struct pq_quic_end *e);
size_t pq_quic_half_open(const struct pq_quic_end *e);

/* ---- connections */

struct pq_quic_peer { /* as whom a client wants to speak to the server */
    struct pq_view
        identity;         /* his TLS identity, at most 128 bytes; n == 0: as all who have the key */
    const uint8_t *psk;   /* 32 bytes; of all who have the key: NULL, that of the key [13.1] */
    const uint8_t *first; /* the first id of the connection, PQ_QUIC_FIRST_LEN bytes; NULL: any */
    const struct pq_quic_ticket *ticket; /* of a connection before, with the same name; or NULL */
};

/* Frees a ticket, used or not: it counts once.  Sets *t to NULL; NULL does nothing. */
void pq_quic_ticket_free(struct pq_quic_ticket **t);

/* Client: begins a connection; `who` may be NULL, what it points to is copied.  Streams may be
 * opened and filled at once, they wait until the handshake is done, or, with a ticket, some of it
 * goes first; what the server has not taken goes again, in the same order.  Returns 0, PQ_ENOMEM or
 * PQ_ENOTSUP (the library refuses).  *out belongs to the caller. */
int pq_quic_connect(struct pq_quic **out, struct pq_quic_end *e, const struct pq_quic_path *path,
                    const struct pq_quic_peer *who, void *user, pq_ns now);

/* Frees a connection at once, with its streams, without any event or datagram.  Sets *q to NULL;
 * NULL does nothing. */
void pq_quic_free(struct pq_quic **q);

/* Runs the timers that are due. */
void pq_quic_tick(struct pq_quic *q, pq_ns now);

/* When pq_quic_tick or pq_quic_pull has something to do that it has not now; or PQ_NEVER. */
pq_ns pq_quic_deadline(const struct pq_quic *q);

/* Writes the next datagram to buf, which has conf.size bytes, and which way it goes to *path.
 * Returns its length; 0 if there is nothing to send, or it may not go yet. */
size_t pq_quic_pull(struct pq_quic *q, uint8_t *buf, struct pq_quic_path *path, pq_ns now);

/* Datagrams may have so many bytes at most, and conf.size: the link is another.  What of that the
 * path carries is found out [13.9].  PQ_QUIC_SIZE_LEAST at least. */
void pq_quic_limit(struct pq_quic *q, size_t size);

/* Ends the connection: the next pull has a datagram that says so, with an application code, if the
 * handshake was done; then, and else at once, it is closed: pq_quic_is_closed.  No events come of
 * it any more. */
void pq_quic_close(struct pq_quic *q, uint64_t code);
bool pq_quic_is_closed(const struct pq_quic *q);

/* Client: goes on from another local address or port, or to another port of the server, under
 * another id; at once, or once the server has answered there, which a path event tells, or `stays`.
 * Returns 0, or PQ_EAGAIN (handshake not done, no spare id of the peer, the last question is not
 * answered yet, or not this path). */
int pq_quic_move(struct pq_quic *q, const struct pq_quic_path *path, bool at_once, pq_ns now);

/* Client: nobody has answered yet; what went first goes again, to another port of the server or
 * from another one, and all that follows does.  Returns 0, or PQ_EAGAIN (something has come, or it
 * has ended). */
int pq_quic_elsewhere(struct pq_quic *q, const struct pq_quic_path *path);

/* Something that asks for an acknowledgement goes out with the next pull, whatever the window says.
 * Nothing is done before the handshake is. */
void pq_quic_ping(struct pq_quic *q);

/* Largest datagram that the peer takes and that fits, 0 = none, which may become less; and queues
 * one, taking the chunk.  What begins with eight bytes 255 does not arrive [13.9].
 * Returns 0, PQ_EAGAIN (too many wait: dropped), PQ_EINVAL (larger than that: dropped) or
 * PQ_ECLOSED. */
size_t pq_quic_datagram_max(const struct pq_quic *q);
int pq_quic_datagram(struct pq_quic *q, struct pq_chunk *c);

struct pq_quic_stats {
    pq_ns srtt, min_rtt;        /* 0 = not known */
    uint32_t cwnd, flight;      /* packets */
    uint16_t size;              /* bytes of one at most, now */
    uint64_t pace;              /* packets a second, 0 = without */
    uint64_t sent, acked, lost; /* packets that ask for an acknowledgement ... */
    bool owed;                  /* ... and whether one of them waits for it */
    uint64_t received;          /* good datagrams */
    uint64_t in, out;           /* bytes of streams, for the first time */
    uint64_t dgrams_lost;       /* that waited too long or were too many */
    pq_ns heard;                /* when the last good datagram came; at first: when it was made */
    pq_ns asked;                /* since when something waits for an acknowledgement; 0 = nothing */
    const char *cipher;         /* static; "" before the handshake */
    bool keyed;                 /* the peer has proven the key */
    size_t early;               /* bytes of early packets that were taken, or sent so far */
};
void pq_quic_stats(const struct pq_quic *q, struct pq_quic_stats *out);
bool pq_quic_is_ready(const struct pq_quic *q); /* the handshake is done */

/* Server: whether a stamp of a client's clock is one of now, and later than this end's start; and
 * the first id of a connection, valid as long as it is [13.3]. */
bool pq_quic_is_timely(const struct pq_quic_end *e, uint64_t stamp);
struct pq_view pq_quic_first_id(const struct pq_quic *q);
void *pq_quic_user(const struct pq_quic *q);

/* Server: with which key it began: 0; 1, the one before; PQ_QUIC_KEYS, one that is gone. */
unsigned pq_quic_key(const struct pq_quic *q);

/* Bytes that may wait in one stream: what the path takes in one go. */
void pq_quic_set_queue(struct pq_quic *q, size_t bytes);

/* ---- streams */

/* Opens a stream.  It has its number once the peer allows one more.  Returns it, or NULL (memory,
 * or max_streams are open). */
struct pq_quic_stream *pq_quic_open(struct pq_quic *q, void *user);

/* Queues a chunk; takes it.  Returns 0 or PQ_ECLOSED (finished, stopped or the connection has
 * ended; the chunk is freed). */
int pq_quic_stream_send(struct pq_quic_stream *st, struct pq_chunk *c);

/* Bytes that may be queued now; bulk senders stop at 0 and wait for the room event.  Chunks that
 * wait to be sent. */
size_t pq_quic_stream_room(struct pq_quic_stream *st);
size_t pq_quic_stream_waiting(const struct pq_quic_stream *st);

/* What has been queued so far goes out, in two packets or more, so that the peer acknowledges it at
 * once.  What is queued later, and the end, waits until all of that is acknowledged, and until
 * `wait` and as much as answers are late (400 ms at most) have passed since it must have arrived: a
 * least RTT less from the acknowledgement on.  For peers that lose what comes together with the
 * header [7.4]. */
void pq_quic_stream_gate(struct pq_quic_stream *st, pq_ns wait);

/* Each chunk that is queued from now on goes in one frame, behind which nothing else of the stream
 * is in its packet, `gap` after the one before; so a peer that takes what it finds at once for one
 * datagram finds one, unless the path brings them together [7.4].  One of more bytes than
 * pq_quic_apart_max goes in pieces. */
void pq_quic_stream_apart(struct pq_quic_stream *st, pq_ns gap);
size_t pq_quic_apart_max(const struct pq_quic *q);

/* n delivered bytes were used up: they make room for more. */
void pq_quic_stream_consumed(struct pq_quic_stream *st, size_t n);

/* Nothing more will be queued: what is queued still goes out, then the end.  FIN. */
void pq_quic_stream_finish(struct pq_quic_stream *st);

/* The user is done: what is queued still goes out, then the end; what still comes is not wanted
 * (STOP_SENDING).  No more events; the stream must not be used afterwards. */
void pq_quic_stream_close(struct pq_quic_stream *st);

/* The same, but what is queued is dropped, and the peer told so (RESET_STREAM). */
void pq_quic_stream_abort(struct pq_quic_stream *st, uint64_t code);

/* Its number [7.4]; -1 while it has none. */
int64_t pq_quic_stream_id(const struct pq_quic_stream *st);
size_t pq_quic_streams(const struct pq_quic *q); /* open ones */

/* The `user` of the stream with this number; NULL if there is none, or it is closed. */
void *pq_quic_find(struct pq_quic *q, int64_t id);
#endif
