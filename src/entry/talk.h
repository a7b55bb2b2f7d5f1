/* SPDX-License-Identifier: MIT */
/* talk.h - one negotiation between a program and the proxy: what proxy.c (listener, bytes, timer)
 * and talk.c (answers, the stream) do for the protocols socks5.c, socks4.c and http_proxy.c.
 * Of front alone.  After any call that may end a negotiation t->tcp tells: NULL = it has ended. */
#ifndef PQ_ENTRY_TALK_H
#define PQ_ENTRY_TALK_H
#include "entry/listen.h"
#include "entry/proxy.h"
#include "relay/dial.h"
#include "relay/relay.h"

struct pq_talk;

struct pq_talk_kind { /* a protocol */
    size_t buf_max;   /* bytes of messages that may wait incomplete */
    /* Bytes were added to t->buf: takes what is complete, once per arrival; what is behind the
     * request stays for the target. */
    void (*advance)(struct pq_talk *t);
    /* Tells the program how connecting went: 0 = connected, else a reply code of SOCKS5; then it
     * refuses. */
    void (*reply)(struct pq_talk *t, uint8_t code);
};

extern const struct pq_talk_kind pq_socks5, pq_socks4, pq_http_proxy;

enum pq_talk_state {
    PQ_TALK_ASKING,  /* messages are read */
    PQ_TALK_WAITING, /* for the server's word on how dialling went [8.4], or for that itself */
    PQ_TALK_LEAVING, /* refused: the program is given time to read that */
};

struct pq_talk {
    struct pq_proxy *proxy;
    const struct pq_talk_kind *kind; /* NULL until the first byte */
    struct pq_list node;
    uv_tcp_t *tcp; /* NULL once ended or given away */
    uv_timer_t timer;
    enum pq_talk_state state;
    unsigned step;            /* the protocol's own */
    bool target_answers;      /* success is not reported, for the target itself answers */
    struct pq_filter *filter; /* for the connection, which will own it */
    struct pq_relay *relay;   /* PQ_TALK_WAITING, or ... */
    struct pq_dial *dial;     /* ... for a target that is reached directly */
    bool blocked;             /* by the client's own rules */
    uint8_t *buf;             /* malloc'ed; the bytes so far */
    size_t len, cap;
    size_t junk; /* bytes that came while leaving */
};

struct pq_proxy {
    struct pq_front *front;
    char *username, *password;
    bool real_reply;
    struct pq_listener listener;
    struct pq_list talks, waiting; /* the waiting ones are not limited here: they hold a stream */
    unsigned n_talks;
    unsigned handles; /* still open; the last one to close frees the proxy */
    bool socks4_refused;
};

/* Takes n bytes off the front of the buffer. */
void pq_talk_use(struct pq_talk *t, size_t n);

/* Sends an answer; a program that does not take these few bytes at once loses its connection. */
void pq_talk_answer(struct pq_talk *t, const void *p, size_t n);

/* Sends an answer and ends the connection, but so that the answer arrives: closing with unread
 * bytes would destroy it. */
void pq_talk_refuse(struct pq_talk *t, const void *p, size_t n);

/* Ends at once; the socket is closed unless it was taken. */
void pq_talk_end(struct pq_talk *t);

/* Takes the socket (not reading any more) out and ends the negotiation. */
uv_tcp_t *pq_talk_take_socket(struct pq_talk *t);

/* Whether a user and password are asked for, and whether these are the right ones (in a time that
 * depends on their lengths alone). */
bool pq_talk_wants_password(const struct pq_talk *t);
bool pq_talk_password_is(const struct pq_talk *t, struct pq_view user, struct pq_view pass);

/* Where the rules say so, connects to the target directly, or refuses.  Else opens a stream to the
 * target, sends what is in the buffer, reports and turns the socket over to a relay: at once, or
 * when the target has answered, if that is asked for and the server can tell. */
void pq_talk_connect(struct pq_talk *t, const char *host, uint16_t port);
#endif
