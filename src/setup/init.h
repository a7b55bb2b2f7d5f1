/* SPDX-License-Identifier: MIT */
/* init.h - from nothing to a tunnel that runs: finds out, writes, installs, starts, checks.  Each
 * function prints what it does for a person, and errors with what to do about them; blocking, from
 * the program's only thread.  docs/setup.md is the user's side of it. */
#ifndef PQ_SETUP_INIT_H
#define PQ_SETUP_INIT_H
#include "base/addr.h"

#include <stdbool.h>

#define PQ_SETUP_FOLDER    "/etc/paqet"
#define PQ_SETUP_ADDRESSES 4
#define PQ_SETUP_USERS     64

struct pq_init_opts {
    const char *folder; /* of configurations; never NULL */
    const char *name;   /* of the configuration and service; NULL: server, client or bridge */
    bool dry_run, force, no_service;
    const char *bundle; /* NULL: none is made */
    /* server */
    const char *label; /* in links; NULL: the host's name */
    const char *ifname;
    const char *address[PQ_SETUP_ADDRESSES]; /* that clients use; none: the interface's */
    unsigned n_addresses;
    const char *user[PQ_SETUP_USERS]; /* none: one, "user" */
    unsigned n_users;
    struct pq_range server_ports; /* none: a free one is chosen */
    bool no_tun, quic;
    const char *key_of; /* link of a user whose other servers these are; NULL: none */
    const char *bridge; /* ports of this machine's own that clients may reach; "all"; NULL: none */
    bool qr;            /* print the code even where the output is no terminal */
    /* client and bridge */
    const char *link;  /* text of the link; never NULL there */
    const char *socks; /* where the proxy listens; NULL: a free port of 127.0.0.1 from 1080 on */
    bool tun;
    const char *ports;  /* bridge, or ... */
    bool all_ports;     /* ... all of them, ... */
    const char *except; /* ... but for these; NULL: 22 */
    const char *target; /* bridge; NULL: 127.0.0.1, of the server */
    const char *listen; /* bridge: address to listen on; NULL: all */
};

/* Each returns the exit code. */
int pq_init_server(const struct pq_init_opts *o);
int pq_init_client(const struct pq_init_opts *o);
int pq_init_bridge(const struct pq_init_opts *o);

/* Takes back what the above did: for the configuration o->name, or for all. */
int pq_init_remove(const struct pq_init_opts *o);
#endif
