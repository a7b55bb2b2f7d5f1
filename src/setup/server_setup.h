/* SPDX-License-Identifier: MIT */
/* server_setup.h - between init_server.c and rehearse.c. */
#ifndef PQ_SETUP_SERVER_SETUP_H
#define PQ_SETUP_SERVER_SETUP_H
#include "app/discover.h"
#include "setup/setup_internal.h"

struct pq_server_setup {
    struct pq_setup s;
    struct pq_server_plan plan;
    struct pq_path path;
    char address[PQ_SETUP_ADDRESSES][PQ_LINK_TEXT];
    unsigned n_addresses;
    char label[64];
    char tcp[PQ_PORTS_TEXT]; /* of --bridge */
    bool private_address;
    struct pq_setup_link of; /* of --key-of; no servers: it was not given */
};

/* ---- key_of.c */

/* Reads the link of --key-of, if there is one.  Returns false after it has said what is wrong. */
bool pq_server_read_key_of(struct pq_server_setup *v);

/* The link's shared key, and its user's, in place of those that were made.  Returns false if
 * libgcrypt cannot. */
bool pq_server_take_keys(struct pq_server_setup *v);

/* The network of the link's inner address, which then stays the same.  Returns false if it has
 * none. */
bool pq_server_take_net(struct pq_server_setup *v);

/* Puts the servers of the link before those of *l, which becomes a link for all of them.  Returns
 * false after it has said that they are too many. */
bool pq_server_join(const struct pq_server_setup *v, struct pq_setup_link *l);

/* ---- init_server.c */

/* The link of a user. */
void pq_server_link(const struct pq_server_setup *v, unsigned user, struct pq_setup_link *l);

#define PQ_SERVER_READY "listening on port " /* in the server's log */

/* Whether a client with the first user's link gets through to a server with these keys; says so. */
bool pq_server_rehearse(const struct pq_server_setup *v);

/* Removes the files of that, of one that was killed, too. */
void pq_server_rehearsed(const char *folder);
#endif
