/* SPDX-License-Identifier: MIT */
/* socks.h - the messages of SOCKS5 (RFC 1928) and its password method (RFC 1929), and of SOCKS4
 * with 4a, where the program may send a name.
 * Each reader takes all bytes so far and returns 0 (complete; *used set), PQ_EMORE or PQ_EPROTO.
 * No state, any thread. */
#ifndef PQ_HEADER_SOCKS_H
#define PQ_HEADER_SOCKS_H
#include "base/addr.h"
#include "base/bytes.h"
#include "base/err.h"

#define PQ_SOCKS_REPLY_MAX    (4 + 16 + 2)
#define PQ_SOCKS_PASSWORD_MAX (3 + 255 + 255)
#define PQ_SOCKS_REQUEST_MAX  (4 + 1 + 255 + 2) /* also a reply that names a host */
#define PQ_SOCKS4_REPLY       8                 /* bytes */

enum {
    PQ_SOCKS_NO_AUTH = 0x00,
    PQ_SOCKS_PASSWORD = 0x02,
    PQ_SOCKS_NO_METHOD = 0xff,
};

enum { PQ_SOCKS_CONNECT = 1, PQ_SOCKS_BIND = 2, PQ_SOCKS_UDP = 3 };

enum pq_socks_reply { /* RFC 1928, 6 */
                      PQ_SOCKS_OK = 0,
                      PQ_SOCKS_FAILURE = 1,
                      PQ_SOCKS_NOT_ALLOWED = 2,
                      PQ_SOCKS_NO_NETWORK = 3,
                      PQ_SOCKS_NO_HOST = 4,
                      PQ_SOCKS_REFUSED = 5,
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

#define PQ_SOCKS_UDP_HEAD_MAX (4 + 1 + 255 + 2)

/* The header of a datagram of a UDP association: *head is its length, the payload follows; cmd of
 * *out is not set.  Returns 0 or PQ_EPROTO (malformed, or a fragment, which nobody sends). */
int pq_socks_read_udp(const uint8_t *p, size_t n, size_t *head, struct pq_socks_request *out);

/* Writes a reply with the bound address; returns its bytes. */
size_t pq_socks_write_reply(uint8_t buf[PQ_SOCKS_REPLY_MAX], enum pq_socks_reply code,
                            const struct pq_addr *bound);

/* ---- the client's side */

/* Writes the greeting: no password, and the password method too if asked.  Returns its bytes. */
size_t pq_socks_write_greeting(uint8_t buf[4], bool password);

/* Writes the password message.  Returns its bytes, or 0 if either text is longer than 255. */
size_t pq_socks_write_password(uint8_t buf[PQ_SOCKS_PASSWORD_MAX], const char *user,
                               const char *pass);

/* Writes a request; host is a name, or IPv4 or IPv6 text.  Returns its bytes, or 0 if the host is
 * empty or longer than 255. */
size_t pq_socks_write_request(uint8_t buf[PQ_SOCKS_REQUEST_MAX], uint8_t cmd, const char *host,
                              uint16_t port);

/* Reads a reply.  Returns 0 (*used: its bytes, *code: RFC 1928, 6; the bound address is of no
 * use), PQ_EMORE (*used: how many bytes are needed at least to go on) or PQ_EPROTO. */
int pq_socks_read_reply(const uint8_t *p, size_t n, size_t *used, uint8_t *code);

/* ---- SOCKS4 */

/* The request of SOCKS4 or 4a.  The user id that it carries is no authentication; it is read over.
 */
int pq_socks4_read_request(const uint8_t *p, size_t n, size_t *used, struct pq_socks_request *out);

/* Writes the reply: granted, or rejected without a reason, since there is none to tell apart. */
void pq_socks4_write_reply(uint8_t buf[PQ_SOCKS4_REPLY], bool granted);
#endif
