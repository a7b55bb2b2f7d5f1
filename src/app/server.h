/* SPDX-License-Identifier: MIT */
/* server.h - state of a server; between server.c (its life) and server_link.c (the interface that
 * it listens on). */
#ifndef PQ_APP_SERVER_H
#define PQ_APP_SERVER_H
#include "app/app.h"
#include "app/server_keys.h"
#include "app/server_ports.h"
#include "app/tun.h"
#include "conf/targets.h"
#include "exit/tun_server.h"

#define SERVER_WORKERS_MAX 64
#define SERVER_OWN_MAX     1024

struct server_watch { /* of one worker */
    uv_poll_t *poll;  /* changes of interfaces and addresses */
    uv_timer_t *soon; /* they come in bursts: looked at a moment later, and while it is missing */
    int fd;
    int ifindex; /* of its packet socket; 0 = it has none that is of use */
    uint32_t mtu;
};

struct server {
    struct pq_app app;
    struct pq_port_hold ports;
    struct pq_app_tun tun;
    struct pq_net tun_nets[PQ_CONF_ROUTES_MAX + 2]; /* where clients' inner addresses are */
    struct pq_tun_user *tun_users;                  /* malloc'ed */
    struct pq_targets targets;
    struct pq_replay *replay;   /* common to all workers ... */
    struct pq_tickets *tickets; /* ... as well; NULL: transport.quic.early is not set */
    struct pq_homes *homes;     /* the same, if there are several */
    struct pq_server_keys keys;
    struct pq_decoy *decoy; /* NULL: strangers get no answer */
    struct pq_worker *w[SERVER_WORKERS_MAX];
    struct server_watch watch[SERVER_WORKERS_MAX];
    pthread_mutex_t link_lock; /* of app.path, which workers renew, and of what follows */
    struct pq_addr own[SERVER_OWN_MAX];
    size_t n_own;
    pq_ns own_at;
    bool missing; /* the interface is away; the user was told */
};

/* ---- server_reload.c */

/* See reload in app.h. */
int pq_server_reload(struct pq_app *app, struct pq_conf *next, const struct pq_names *names,
                     struct pq_news *news);

/* ---- server.c */

/* Whose inner addresses are whose, as users[].tun says: n of them, malloc'ed.  Returns 0 or
 * PQ_ENOMEM. */
int pq_server_tun_users(const struct pq_conf *c, struct pq_tun_user **out, unsigned *n);

/* ---- server_link.c */

/* Whether packets to this address are for this machine. */
bool pq_server_is_own(struct server *s, const struct pq_addr *dst);

/* Whether the interface is away; see app.h. */
bool pq_server_is_away(struct pq_app *app);

/* The MAC of the interface. */
void pq_server_mac(struct server *s, uint8_t mac[6]);

/* Reads the machine's addresses, for pq_server_is_own and the firewall. */
void pq_server_note_own(struct server *s);

/* Follows the interface: deleted and made anew, another MAC, MTU or address, from the worker's
 * thread.  pq_server_watch before it runs; _unwatch as it stops. */
void pq_server_watch(struct server *s, struct pq_worker *w);
void pq_server_unwatch(struct server *s, struct pq_worker *w);
bool pq_server_renew_link(struct server *s, struct pq_worker *w); /* false: it is away */
#endif
