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
};

/* The link of a user. */
void pq_server_link(const struct pq_server_setup *v, unsigned user, struct pq_setup_link *l);

#define PQ_SERVER_READY "listening on port " /* in the server's log */

/* Whether a client with the first user's link gets through to a server with these keys; says so. */
bool pq_server_rehearse(const struct pq_server_setup *v);
#endif
