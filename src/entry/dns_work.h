/* SPDX-License-Identifier: MIT */
/* dns_work.h - what dns_port.c (programs, and which way a query goes), dns_tcp.c (programs over
 * TCP), dns_up.c (the resolver behind the tunnel) and dns_beside.c (the machine's own) share. */
#ifndef PQ_ENTRY_DNS_WORK_H
#define PQ_ENTRY_DNS_WORK_H
#include "entry/dns_cache.h"
#include "entry/dns_port.h"
#include "entry/listen.h"
#include "header/dns.h"

#include "base/rng.h"

#define PQ_DNS_PATIENCE                                                                            \
    (2500 * PQ_MS) /* for an answer of a resolver, then another one is asked                       \
                    */
#define PQ_DNS_TRIES  3
#define PQ_DNS_IN_MAX 65537U /* an answer and its length */

enum { PQ_DNS_SOCKETS = 2 };

struct dns_local { /* where programs ask over UDP */
    struct pq_dns_port *port;
    int fd; /* -1: none */
    uv_poll_t poll;
};

struct dns_conn; /* a program that asks over TCP */
struct dns_beside;

struct dns_query {
    struct pq_list node; /* in p->pending or p->beside, the oldest first */
    struct pq_dns_port *port;
    struct dns_conn *conn;   /* who asks, or NULL: ... */
    struct dns_local *local; /* ... over UDP here, from this address */
    struct pq_addr from;
    pq_ns asked;
    uint16_t id, own; /* its number, and as the resolver knows it */
    unsigned tries;
    struct dns_beside *out; /* the way to a resolver beside the tunnel, or NULL */
    struct pq_dns_query q;
    size_t n;
    uint8_t data[];
};

struct dns_upstream;

struct pq_dns_port {
    struct pq_front *front;
    struct pq_dns_port_conf conf; /* but for the resolvers */
    struct dns_local local[PQ_DNS_SOCKETS];
    struct pq_listener listener[PQ_DNS_SOCKETS];
    bool listening[PQ_DNS_SOCKETS];
    struct pq_list conns;
    unsigned n_conns;
    struct pq_addr resolver[PQ_DNS_RESOLVERS_MAX];
    unsigned now;            /* which one is asked */
    unsigned now_beside;     /* of the machine's own the one that answered last */
    struct dns_upstream *up; /* NULL: none */
    pq_ns waits_since;       /* for an answer of it; 0: for none */
    struct pq_list pending, beside;
    unsigned n_pending, n_beside;
    struct pq_dns_cache cache;
    struct pq_steer *steer;
    bool names; /* the rules have some */
    struct pq_rng rng;
    uv_timer_t timer;
    unsigned handles;
    pq_ns expired;
    struct pq_dns_counts counts;
    struct pq_log_limit silent, none_beside;
};

/* ---- dns_port.c */

/* A query came in; who asks is `conn`, or `local` and `from`. */
void pq_dns_take(struct pq_dns_port *p, const uint8_t *m, size_t n, struct dns_conn *conn,
                 struct dns_local *local, const struct pq_addr *from);

/* Its answer is here, which may be changed: passes it on, keeps it, and frees the query, which is
 * in no list any more. */
void pq_dns_done(struct dns_query *q, uint8_t *m, size_t n);

/* There is none. */
void pq_dns_give_up(struct dns_query *q);

/* ---- dns_tcp.c */

int pq_dns_tcp_open(struct pq_dns_port *p, uint16_t port); /* 0 or -errno */
void pq_dns_tcp_say(struct dns_conn *c, const uint8_t *m, size_t n);
void pq_dns_tcp_tick(struct pq_dns_port *p, pq_ns now);
/* `closed` gets the handles of p->listener. */
void pq_dns_tcp_close(struct pq_dns_port *p, uv_close_cb closed);

/* A message with its length in front.  Returns 0 or an error. */
int pq_dns_write(uv_stream_t *s, uint16_t id, const uint8_t *m, size_t n);

/* ---- dns_up.c and dns_beside.c: take the query; what becomes of it later */

void pq_dns_up_ask(struct pq_dns_port *p, struct dns_query *q);
void pq_dns_up_tick(struct pq_dns_port *p, pq_ns now);
void pq_dns_up_close(struct pq_dns_port *p);

void pq_dns_beside_ask(struct pq_dns_port *p, struct dns_query *q);
void pq_dns_beside_tick(struct pq_dns_port *p, pq_ns now);
void pq_dns_beside_forget(struct dns_query *q); /* closes what it has open */
#endif
