/* SPDX-License-Identifier: MIT */
/* socks.h - the messages of SOCKS5 (RFC 1928) and its password method (RFC 1929).
 * Each reader takes all bytes so far and returns 0 (complete; *used set), PQ_EMORE or PQ_EPROTO.
 * No state, any thread. */
#ifndef PQ_HEADER_SOCKS_H
#define PQ_HEADER_SOCKS_H
#include "base/addr.h"
#include "base/bytes.h"
#include "base/err.h"

#define PQ_SOCKS_REPLY_MAX (4 + 16 + 2)

enum {
    PQ_SOCKS_NO_AUTH = 0x00,
    PQ_SOCKS_PASSWORD = 0x02,
    PQ_SOCKS_NO_METHOD = 0xff,
};

enum { PQ_SOCKS_CONNECT = 1, PQ_SOCKS_BIND = 2, PQ_SOCKS_UDP = 3 };

enum pq_socks_reply { /* RFC 1928, 6 */
                      PQ_SOCKS_OK = 0,
                      PQ_SOCKS_FAILURE = 1,
                      PQ_SOCKS_BAD_COMMAND = 7,
                      PQ_SOCKS_BAD_ATYP = 8,
};

struct pq_socks_request {
    uint8_t cmd;
    char host[256]; /* name, or IPv4 or IPv6 text */
    uint16_t port;
};

/* Which of the two methods the client offers. */
int pq_socks_read_greeting(const uint8_t *p, size_t n, size_t *used, bool *no_auth, bool *password);

/* The password message; the views borrow p. */
int pq_socks_read_password(const uint8_t *p, size_t n, size_t *used, struct pq_view *user,
                           struct pq_view *pass);

/* The request.  *reply is the code to answer with when PQ_EPROTO is returned. */
int pq_socks_read_request(const uint8_t *p, size_t n, size_t *used, struct pq_socks_request *out,
                          enum pq_socks_reply *reply);

/* Writes a reply with the bound address; returns its bytes. */
size_t pq_socks_write_reply(uint8_t buf[PQ_SOCKS_REPLY_MAX], enum pq_socks_reply code,
                            const struct pq_addr *bound);
#endif
