/* SPDX-License-Identifier: MIT */
/* client.h - state of a client; between client.c and client_family.c. */
#ifndef PQ_APP_CLIENT_H
#define PQ_APP_CLIENT_H
#include "app/app.h"
#include "base/list.h"
#include "os/port.h"

struct client_worker;

struct link { /* one of transport.conn places for a session */
    struct client_worker *cw;
    struct pq_session *ses; /* NULL = none now */
    uv_timer_t timer;       /* reconnect */
};

struct lease { /* what a session holds until it has ended: its port; user data of the session */
    struct client_worker *cw;
    struct link *link;
    struct pq_list node; /* in cw->leases */
    bool greeted;        /* the server has answered the first PING */
    pq_ns since;         /* when the session was made */
    struct pq_port reserved;
    uint16_t port;
};

struct client_worker {
    struct pq_worker w;
    struct client *cl;
    struct link *links;
    unsigned n_links, next_link;
    struct pq_list leases;
    struct pq_socks5 *socks5[PQ_CONF_SOCKS_MAX];
    enum pq_family family; /* of the server's headers; NONE until a probe has told */
    uint32_t abilities;    /* of the server, as its last PONG said */
    bool stopping;
};

struct client {
    struct pq_app app;
    struct pq_addr server;
    struct client_worker *cw[64];
};

/* First words on a new session: a PING with our abilities, and how the server is to flag its
 * packets [1.3], which waits for the answer if the server's family is not known yet [8.1]. */
void pq_client_greet(struct client_worker *cw, struct lease *l, struct pq_session *ses);

/* What was found out no longer holds: the next session probes anew. */
void pq_client_forget(struct client_worker *cw);

/* Puts the request in front of a new stream, now or, while the family is being found out, as soon
 * as it is known.  Returns 0, PQ_ENOMEM or PQ_EINVAL. */
int pq_client_ask(struct client_worker *cw, struct pq_stream *st, const struct pq_request *req);
#endif
