/* SPDX-License-Identifier: MIT */
/* relay.h - joins a TCP socket and a stream until either ends.
 * Back-pressure both ways: a full stream pauses the socket, a slow socket leaves the stream's
 * window closed. */
#ifndef PQ_RELAY_RELAY_H
#define PQ_RELAY_RELAY_H
#include "relay/filter.h"
#include "relay/front.h"

#define PQ_RELAY_VIEWS 16 /* borrowed pieces of one batch that one write takes, see also below */

struct pq_relay;

struct pq_relay {
    struct pq_front *front;
    struct pq_list node;          /* in front->relays, ->lingering or ->half_closed */
    uv_tcp_t *tcp;                /* NULL until there is a connected socket */
    struct pq_stream *st;         /* NULL once ended */
    uv_buf_t few[PQ_RELAY_VIEWS]; /* borrowed pieces of this batch are here, ... */
    uv_buf_t *wide;               /* ... or in one of the front's rows, if not NULL */
    unsigned n_views;
    struct pq_chunkq out; /* bytes for the socket that had to be copied */
    size_t own;           /* so many of them are not the stream's */
    uv_write_t write_req;
    size_t writing;              /* bytes of the write under way ... */
    struct pq_chunk *write_last; /* ... and its last chunk, to which nothing may be added */
    size_t unsent; /* bytes that the socket had not taken at the last look, once half closed */
    pq_ns linger_until;
    void (*gone)(struct pq_relay *r); /* not NULL: told when it ends without a socket */
    void *user;
    /* client: the server first says how dialling went [8.4]; not NULL: told, 0 = connected, else a
     * SOCKS5 reply code, and decides; NULL: a failure resets the socket */
    void (*result)(struct pq_relay *r, uint8_t code);
    struct pq_filter *filter; /* client; NULL: nobody looks at the bytes */
    bool want_result;
    uint8_t head[8]; /* the bytes of the result so far */
    uint8_t n_head;
    size_t junk;     /* bytes that came after the stream had ended */
    bool paused;     /* the stream is full */
    bool sock_eof;   /* the socket's other end sends no more ... */
    bool eof_told;   /* ... and the stream's has been told */
    bool stream_eof; /* ... the stream's other end: each direction may go on alone [8.3] */
    bool shut;       /* the end was passed on to the socket */
    bool ended;      /* the peer closed the stream */
    bool closing;
};

/* Creates a relay and makes it the owner of the stream.  Until pq_relay_connected what comes from
 * the stream is kept.  Returns NULL if memory is short (the stream is aborted). */
struct pq_relay *pq_relay_new(struct pq_front *front);
void pq_relay_own(struct pq_relay *r, struct pq_stream *st);

/* Has a filter look at the bytes; takes it. */
void pq_relay_filter(struct pq_relay *r, struct pq_filter *f);

extern const struct pq_stream_events pq_relay_events; /* for pq_open_fn, with the relay as ctx */

/* Gives it the socket (malloc'ed handle, connected, tuned, not reading): bytes flow from now on.
 * Takes the handle. */
void pq_relay_connected(struct pq_relay *r, uv_tcp_t *tcp);

/* Bytes for the socket that the stream does not deliver any more, since they came before the relay
 * owned it; copied.  Returns false if memory is short: then close the relay. */
bool pq_relay_feed(struct pq_relay *r, const uint8_t *p, size_t n);

/* The same with words of our own, which are not the stream's; also when the session has ended, if
 * the socket takes them at once. */
bool pq_relay_say(struct pq_relay *r, const uint8_t *p, size_t n);

/* Notes a borrowed piece of this batch, in the relay itself, or, if there are more than it has room
 * for, in a row of the front: each write wakes the reader, which costs more than the write. Returns
 * false when this was the last that there is room for: write them. */
bool pq_relay_view(struct pq_relay *r, struct pq_view v);

/* The pieces noted, n_views of them; and having none any more: a row goes back. */
uv_buf_t *pq_relay_views(struct pq_relay *r);
void pq_relay_views_clear(struct pq_relay *r);

/* Ends both sides at once; `reset`: the socket's other end sees a reset instead of an end. */
void pq_relay_close(struct pq_relay *r, bool reset);

/* Ends pairs that have waited too long for the other end; ends all. */
void pq_relays_expire(struct pq_front *f, pq_ns now);
void pq_relays_stop(struct pq_front *f);
#endif
