/* SPDX-License-Identifier: MIT */
/* client.h - state of a client; between client.c (its life), client_listen.c (where it listens),
 * client_tunnels.c (several of them), client_session.c (sessions), client_ports.c (their ports),
 * client_family.c (first words, headers) and client_way.c (servers and how to reach them).
 */
#ifndef PQ_APP_CLIENT_H
#define PQ_APP_CLIENT_H
#include "app/app.h"
#include "app/measure.h"
#include "app/probe.h"
#include "app/tun.h"
#include "base/list.h"
#include "os/dnsredirect.h"
#include "os/port.h"
#include "os/tproxy.h"
#include "relay/outgoing.h"

struct client_servers;
struct client_worker;

struct link { /* one of transport.conn places for a session */
    struct client_worker *cw;
    struct pq_session *ses; /* NULL = none now */
    unsigned server;        /* that it goes to */
    uv_timer_t timer;       /* reconnect */
    bool waits;             /* its first session is to begin later */
};

enum client_try { /* look: auto: how a session begins; what got no answer is followed by the next */
                  TRY_PLAUSIBLE,
                  TRY_CONNECT, /* with a handshake [12.9] */
                  TRY_ACK, /* with other flags than PSH and ACK, which the server takes over [1.6]
                            */
                  TRY_SYN,
                  TRY_SYN_ACK,
                  TRIES,
};

/* look: auto.  What the last start has found out of a server, if it may be tried. */
void pq_client_recall_look(struct client_worker *cw, unsigned server);

struct own_port {
    struct pq_port reserved;
    uint16_t n; /* 0 = none */
};

struct lease { /* what a session holds until it has ended: its port; user data of the session */
    struct client_worker *cw;
    struct link *link;
    struct pq_session *ses;
    struct pq_list node; /* in cw->leases */
    unsigned server;
    bool by_keys;   /* with the server's public key: there is no PING */
    bool quic_keys; /* the same over QUIC, where there is one */
    enum client_try how;
    bool greeted;         /* the server has answered the first PING, or has keys with us */
    pq_ns since;          /* when the session was made */
    struct own_port port; /* in use, ... */
    struct own_port next; /* ... to be tried, ... */
    uint16_t tried;       /* the server's port with it */
    struct own_port last; /* ... and left: what comes late must not reach the kernel's TCP */
    struct own_port train[PQ_TRAINS]; /* of what is measured */
};

#define LEFT_MAX 16

struct known {               /* what has been found out of a server */
    enum pq_family family;   /* NONE until a probe has told */
    uint32_t abilities;      /* as its last PONG said */
    bool answered;           /* it has said of itself what it is */
    bool upgrades;           /* it went over to our own wire once, and will always do so [12.5] */
    enum client_try how;     /* look: auto: the next session begins so, and ... */
    enum client_try kept;    /* ... what the next start knows of it */
    uint16_t left[LEFT_MAX]; /* ports of it where nothing came through any more ... */
    unsigned n_left;         /* ... so many so far; the last ones are kept */
};

#define WAYS_MAX (PQ_CONF_SERVERS_MAX * PQ_SERVER_ADDRS)

enum client_kind { CLIENT_PROXY, CLIENT_TCP, CLIENT_UDP };

struct client_listener { /* each worker has a socket there */
    enum client_kind kind;
    struct pq_addr addr;
    unsigned nth;   /* in conf->socks5, or in conf->port */
    bool all;       /* all ports lead here ... */
    uint16_t bound; /* ... and it is bound to this one; 0: this IP version is not there */
};

union client_socket {
    struct pq_proxy *proxy;
    struct pq_forward *forward;
    struct pq_udp_port *udp;
};

struct client_worker {
    struct pq_worker w;
    struct client *cl;
    int ifindex; /* of the packet socket */
    struct link *links;
    unsigned n_links, next_link;
    struct pq_list leases;
    struct known known[WAYS_MAX];
    struct pq_lookups *lookups; /* of servers' names that are looked up again; NULL before */
    pq_ns looked_at;
    unsigned looked_for; /* index in conf->server */
    bool looking;
    union client_socket *sockets;             /* one for each of cl->listeners */
    struct pq_tun_client *tun;                /* of the first worker, if there is a device, ... */
    struct pq_dns_port *dns;                  /* ... and for tun.dns, ... */
    struct pq_dnsredirect *dns_redirect;      /* ... which leads DNS to it */
    struct pq_addr resolver[PQ_CONF_DNS_MAX]; /* this machine's own, ... */
    unsigned n_resolvers;
    pq_ns resolvers_read; /* ... as they were then; 0: never */
    bool greeted;         /* a server has answered, once */
    bool advised;         /* that none does was said */
    bool stopping;
};

struct server_way {      /* one address of a server */
    unsigned conf;       /* whose: index in conf->server */
    struct pq_addr addr; /* with the server's first port */
    struct pq_path path;
};

struct client_ways {
    struct server_way v[WAYS_MAX];
    unsigned n;
};

struct client {
    struct pq_app app;
    pthread_mutex_t way_lock;        /* of `way`, which a worker renews before it opens a session */
    struct server_way way[WAYS_MAX]; /* in the order of the servers, of their addresses then */
    unsigned n_ways;
    struct pq_app_tun tun;
    struct pq_outgoing beside; /* what goes directly, not into that device */
    struct pq_probe probe;     /* its conf is NULL in a client that serves */
    struct client_worker *cw[64];
    struct client_listener *listeners; /* sorted */
    unsigned n_listeners;
    struct pq_tproxy *tproxy; /* what leads all ports to some of them; NULL: nothing does */
};

struct client_listened { /* of listeners, how many */
    unsigned opened, closed, stayed;
};

/* ---- client.c */

/* Begins a client of a configuration, with its keys: *cl is zero but for what a probe has set. Says
 * what is wrong.  Returns 0 or an error; after one, too, pq_client_take_down is called. */
int pq_client_prepare(struct client *cl, struct pq_conf *c, const char *file);

/* Makes all but its sessions, once it has ways to its servers.  Says what is wrong.  Returns 0 or
 * an error. */
int pq_client_set_up(struct client *cl);

/* Opens its sessions, and puts its workers, app.n_workers of them, into w, which must stay. Returns
 * 0 or an error, which was said. */
int pq_client_start(struct client *cl, struct pq_worker **w);

/* Frees what pq_client_set_up and pq_client_start have made.  Its workers do not run. */
void pq_client_close(struct client *cl);

/* Frees everything but *cl itself.  Its workers do not run. */
void pq_client_take_down(struct client *cl);

/* ---- client_tunnels.c */

/* Like pq_client_run, of a configuration with several tunnels. */
int pq_client_run_tunnels(struct pq_conf *c, const char *file);

/* ---- client_reload.c */

struct client_change { /* from what a client has to what it shall have */
    struct client *cl;
    struct pq_conf *next;
    struct client_servers *servers; /* NULL: they stay; pq_client_change's own, as is the next */
    struct client_listened listened;
};

/* Changes n clients, all or none of them; `all` is whose workers are theirs.  Says in `news` what
 * was done or what was wrong, each with the name of its tunnel.  Returns 0, PQ_EINVAL or PQ_ENOMEM.
 */
int pq_client_change(struct pq_app *all, struct client_change *v, unsigned n,
                     const struct pq_names *names, struct pq_news *news);

/* Adds the names of servers that this change needs.  Returns 0 or PQ_ENOMEM. */
int pq_client_change_names(const struct pq_conf *now, const struct pq_conf *next,
                           struct pq_names *names);

/* See app.h. */
int pq_client_reload(struct pq_app *app, struct pq_conf *next, const struct pq_names *names,
                     struct pq_news *news);
int pq_client_reload_names(struct pq_app *app, const struct pq_conf *next, struct pq_names *names);

/* ---- client_listen.c */

/* Has all workers listen where `c` says, and nowhere else; what they have already stays open and
 * gets its new settings; *done tells.  On an error, which `why` tells, nothing has changed.  The
 * workers do not run, or are paused.  Returns 0, PQ_ENOMEM or -errno. */
int pq_client_listen(struct client *cl, const struct pq_conf *c, struct client_listened *done,
                     char why[PQ_WHY_LEN]);
void pq_client_close_listeners(struct client_worker *cw);

/* ---- client_all.c */

/* Leads all ports to those listeners of `c` that are for all.  *out is the caller's; NULL: there
 * are none.  Returns 0, or an error of pq_tproxy_open, which `why` tells. */
int pq_client_take_ports(const struct pq_conf *c, const struct client_listener *v, unsigned n,
                         struct pq_tproxy **out, char why[PQ_WHY_LEN]);

/* ---- client_dns.c */

/* Leads the machine's DNS into the tunnel, if tun.dns says so; says what is wrong.  Returns 0 or an
 * error. */
int pq_client_open_dns(struct client_worker *cw);
void pq_client_close_dns(struct client_worker *cw);

/* ---- client_way.c */

/* Resolves the servers and finds the way to each; says what is wrong with which.  Waits as long as
 * it may only be that the network is not up yet.  Returns 0 if one can be used, -EINTR if a signal
 * has come that ends the program, or PQ_EINVAL. */
int pq_client_find_ways(struct client *cl);

/* The ways to the servers of `c`, from this machine as its network is configured now; says of each
 * server to which there is none why.  With `names` it takes `patience` at most, with NULL it waits
 * for a name server, too.  Returns 0 if there is one, else PQ_EINVAL, or PQ_EAGAIN (there may be
 * one later). */
int pq_client_plan_ways(const struct client *cl, const struct pq_conf *c,
                        const struct pq_names *names, pq_ns patience, struct client_ways *ways,
                        void (*say)(void *ctx, const char *why), void *ctx);

/* The client has these ways, before it is set up. */
void pq_client_use_ways(struct client *cl, const struct client_ways *ways);

/* What the firewall has to know of n ways to servers of `c`. */
void pq_client_firewall(const struct pq_conf *c, const struct server_way *v, unsigned n,
                        struct pq_firewall_server *out);

/* The first way to the n-th server, counted around. */
unsigned pq_client_way_of_server(struct client *cl, unsigned n);

/* The way to try after this one: the server's next address, or unless `stay` the next server. */
unsigned pq_client_next_way(struct client *cl, unsigned way, bool stay);

/* The servers to which there is a way. */
unsigned pq_client_count_servers(struct client *cl);

/* ---- client_names.c */

/* The server of this way is silent: perhaps its name has another address by now.  Looks in a
 * thread; what has changed holds from the next session on. */
void pq_client_look_again(struct client_worker *cw, unsigned way);
void pq_client_stop_looking(struct client_worker *cw);

/* Looks again how the server is reached from here, since addresses and routes change; moves to
 * another interface if need be.  Fills *out; if nothing better is known, with what was. */
void pq_client_renew_way(struct client_worker *cw, unsigned server, struct server_way *out);

/* Looks whether the interface's MTU is another now: sessions that do not fit are replaced. */
void pq_client_renew_mtu(struct client_worker *cw);

/* ---- client_ports.c */

/* Has the worker's packet filter let in what its leases hold.  Returns 0 or -errno. */
int pq_client_filter(struct client_worker *cw);

/* Takes the configured port or, if there is none, a free random one of 32768..65535 [1.4].  Returns
 * 0 or -errno, which was said. */
int pq_client_take_port(struct client_worker *cw, struct own_port *p);
void pq_client_free_port(struct client_worker *cw, struct own_port *p); /* none does nothing */

/* Whether the lease's server has several ports; one of them at random, but none of those where
 * nothing came through lately, as noted. */
bool pq_client_hops(const struct lease *l);
uint16_t pq_client_pick_port(struct client_worker *cw, const struct server_way *way,
                             const struct lease *l);
void pq_client_note_left(struct client_worker *cw, const struct lease *l, uint16_t port);

/* ---- client_session.c */

extern const struct pq_hub_events pq_client_hub_events;

/* Opens a session in this place.  Returns 0 or an error, which was reported. */
int pq_client_connect(struct link *k);

/* A server takes only so many half-open sessions of one user: as a worker starts so many handshakes
 * are under way, and the next ones follow each other by so many ms. */
#define CLIENT_AT_ONCE  8
#define CLIENT_APART_MS 30

/* The worker's sessions that are to have keys and have none yet. */
unsigned pq_client_handshakes(const struct client_worker *cw);

/* Does so in so many ms, or when fewer than CLIENT_AT_ONCE handshakes are under way; until then the
 * place has no session, and gets none for a request. */
void pq_client_connect_later(struct link *k, unsigned ms);

/* Whether the session goes to a server that has no way any more: see `server` of its lease. */
#define WAY_GONE WAYS_MAX

/* Calls fn for each session of this worker; fn may end the one it is given. */
void pq_client_each(struct client_worker *cw, void (*fn)(void *ctx, struct lease *l), void *ctx);

/* A free port for train i of the lease's session, in place of the one that it had; *fc tells the
 * tuple, to this port of the server, with this look.  Returns 0 or an error, which was reported. */
int pq_client_train(struct lease *l, unsigned i, uint16_t port, enum pq_look look,
                    struct pq_flow_conf *fc);

/* Ends a session; if it is the one of its place, another one is opened there at once. */
void pq_client_leave(struct lease *l);

/* A stream for a listener; see pq_open_fn. */
struct pq_stream *pq_client_open(void *ctx, enum pq_request_type type, const char *host,
                                 uint16_t port, const struct pq_stream_events *ev, void *evctx);

/* Whether the session of the stream answers; see pq_alive_fn. */
bool pq_client_alive(void *ctx, const struct pq_stream *st);

/* ---- client_family.c */

/* First words on a new session: a PING with our abilities, and how the server is to flag its
 * packets [1.3], which waits for the answer if the server's family is not known yet [8.1]. */
void pq_client_greet(struct lease *l, struct pq_session *ses);

/* The session has keys of its own now: what waited for them goes. */
void pq_client_secured(struct lease *l, struct pq_session *ses);

/* A session came to nothing: if no server has ever answered, says how to find out why, once. */
void pq_client_advise(struct client_worker *cw);

/* What was found out no longer holds: the next session probes anew. */
void pq_client_forget(struct client_worker *cw, unsigned server);

/* Puts the request in front of a new stream of the session, now or, while the family is being found
 * out, as soon as it is known.  Returns 0, PQ_ENOMEM or PQ_EINVAL. */
int pq_client_ask(struct client_worker *cw, const struct lease *l, struct pq_stream *st,
                  const struct pq_request *req);
#endif
