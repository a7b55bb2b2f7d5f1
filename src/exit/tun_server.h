/* SPDX-License-Identifier: MIT */
/* tun_server.h - the server's TUN device, shared by all clients: a packet goes to the client that
 * its destination belongs to.  An address belongs to the client that sent from it first, as long as
 * that client is heard; what another one sends from it is dropped.  One worker's thread. */
#ifndef PQ_EXIT_TUN_SERVER_H
#define PQ_EXIT_TUN_SERVER_H
#include "relay/front.h"

struct pq_tun_server;

struct pq_tun_user { /* an address or network that only this user may have */
    unsigned who;
    struct pq_net net;
};

struct pq_tun_server_conf {
    int fd; /* of the device; borrowed until the loop has ended */
    bool offload;
    struct pq_addr own[2]; /* this side's addresses, which no client may use */
    unsigned n_own;
    const struct pq_net *nets; /* where clients' addresses are: the device's own networks and those
                                  behind clients; borrowed for good */
    unsigned n_nets;
    const struct pq_tun_user *user_nets; /* borrowed for good, or until others are set */
    unsigned n_user_nets;
};

/* Begins.  Returns 0, PQ_ENOMEM or a libuv error. */
int pq_tun_server_open(struct pq_tun_server **out, struct pq_front *front,
                       const struct pq_tun_server_conf *conf);

/* Takes a client's stream, and the bytes that came behind its header; ends an older one of the same
 * session. */
void pq_tun_serve(struct pq_tun_server *s, struct pq_stream *st, struct pq_view first);

/* These addresses are somebody's alone from now on; borrowed for good.  Who has one that he may not
 * have any more loses it. */
void pq_tun_server_set_users(struct pq_tun_server *s, const struct pq_tun_user *nets, unsigned n);

/* Ends all streams; frees when the loop has closed its handles.  Sets *s to NULL; NULL does
 * nothing. */
void pq_tun_server_close(struct pq_tun_server **s);
#endif
