/* SPDX-License-Identifier: MIT */
/* user_link.h - what a new user of a server gets beside his keys: an inner address, and a link.
 * Blocking; the main thread. */
#ifndef PQ_CLI_USER_LINK_H
#define PQ_CLI_USER_LINK_H
#include "conf/conf.h"

struct pq_user_inner {
    struct pq_net net4, net6; /* his address in the server's network; bits 0: none */
    char text4[PQ_ADDR_STRLEN], text6[PQ_ADDR_STRLEN]; /* "": none */
};

/* The next address inside the TUN device of the server `c` that no user has, of IPv4 and, with the
 * same last digits, of IPv6; none where the server has no such device, or a network that is not
 * made for it (shorter than /16 or longer than /30), or full. */
void pq_user_inner(const struct pq_conf *c, struct pq_user_inner *out);

struct pq_user_link {
    const char *name, *conf; /* of the user; the server's file */
    const char *address;     /* by which clients reach the server; NULL: as the links of init say */
    const uint8_t *secret;   /* the user's, PQ_CONF_KEY_LEN bytes */
    const struct pq_user_inner *inner;
    bool qr; /* print it as a QR code, too */
};

/* Writes the link of a user of the server `c` to standard output.  Returns false after it has said
 * what is wrong: nobody has said where the server is, or the address is none. */
bool pq_user_link_print(const struct pq_conf *c, const struct pq_user_link *u);

/* Whether that address, or NULL, will do: so that it is known before the user is added.  Says what
 * is wrong. */
bool pq_user_link_possible(const struct pq_conf *c, const struct pq_user_link *u);
#endif
