/* SPDX-License-Identifier: MIT */
/* http.h - what an HTTP/1 proxy reads and writes (RFC 9110, 9112): the head of a request, the same
 * head as the target gets it, and answers of the proxy's own; where the request ends, and the head
 * of the target's answer.
 * Strict where two programs could take the same bytes for different requests: such a head is
 * refused, not repaired.  No state, any thread. */
#ifndef PQ_HEADER_HTTP_H
#define PQ_HEADER_HTTP_H
#include "base/bytes.h"
#include "base/err.h"
#include "header/header.h"

#define PQ_HTTP_HEAD_MAX   16384                    /* bytes of a head that are read */
#define PQ_HTTP_FIELDS_MAX 256                      /* header lines in it */
#define PQ_HTTP_ORIGIN_MAX (PQ_HTTP_HEAD_MAX + 512) /* bytes of the head for the target */
#define PQ_HTTP_ANSWER_MAX 512
#define PQ_HTTP_SECRET_MAX 255 /* bytes of a user name or a password */

#define PQ_HTTP_ANSWER_HEAD_MAX 65536 /* bytes of the head of a target's answer */
#define PQ_HTTP_CLOSING_MAX     19    /* bytes that pq_http_write_closing may add */

struct pq_http_request {
    bool connect;               /* CONNECT: a tunnel to host:port; else the target gets the head */
    char host[PQ_HOST_MAX + 1]; /* name, or IPv4 or IPv6 text without brackets */
    uint16_t port;
    bool has_auth; /* "Proxy-Authorization: Basic" was there, well-formed */
    char user[PQ_HTTP_SECRET_MAX + 1], pass[PQ_HTTP_SECRET_MAX + 1];
    bool chunked; /* the body is; else it has this length */
    uint64_t length;
    bool websocket; /* asks to go on as a websocket: that is passed on */
    bool has_host;
    /* these borrow the bytes that were read */
    struct pq_view method, path, version, authority, fields;
    /* if PQ_EPROTO is returned: what to answer */
    int status;
    const char *why; /* static storage */
};

/* Reads the value of a field "Basic BASE64(user:password)" (RFC 7617), n bytes.  Returns false if
 * it is another one, malformed or too long; user and pass are NUL-terminated. */
bool pq_http_read_basic(const char *value, size_t n, char user[PQ_HTTP_SECRET_MAX + 1],
                        char pass[PQ_HTTP_SECRET_MAX + 1]);

/* Reads a request's head from all bytes so far: CONNECT host:port, or a plain request that names
 * its target in full (http://host[:port]/path).  Returns 0 (complete; *used set), PQ_EMORE, or
 * PQ_EPROTO (out->status and out->why set). */
int pq_http_read_request(const uint8_t *p, size_t n, size_t *used, struct pq_http_request *out);

/* Writes the head as the target of a plain request gets it: path instead of the whole address,
 * without the lines that are meant for the proxy (Proxy-*, Connection and what it lists,
 * Keep-Alive), with "Connection: close", since one connection carries one request; all other lines
 * byte for byte.  `Host` is added if it is missing.  Returns its bytes, at most PQ_HTTP_ORIGIN_MAX.
 */
size_t pq_http_write_origin(const struct pq_http_request *r, uint8_t buf[PQ_HTTP_ORIGIN_MAX]);

/* Writes an answer of the proxy's own: 200 (of CONNECT; no text), 400, 403, 407, 431, 502 or 504
 * with a short text for the reader.  Returns its bytes. */
size_t pq_http_write_answer(char buf[PQ_HTTP_ANSWER_MAX], int status, const char *text);

/* ---- the body of a request */

struct pq_http_body { /* what of the bytes behind its head belongs to it */
    uint64_t left;    /* bytes of the body or the chunk */
    uint8_t state;
    bool has_digit; /* of the chunk's size */
};

/* Nothing of the body has been seen; none if the request says nothing of one. */
void pq_http_body_init(struct pq_http_body *b, const struct pq_http_request *r);

/* Looks at the next n bytes.  Returns 0 and how many of them are of the body, less than n only if
 * it ends there; or PQ_EPROTO: the chunks are malformed, so nobody can tell. */
int pq_http_body_take(struct pq_http_body *b, const uint8_t *p, size_t n, size_t *used);

/* ---- the answer of a target */

/* Reads the head of an answer from all bytes so far, n > 0.  Returns 0 (*used and *status, from 1
 * to 999, set), PQ_EMORE, or PQ_EPROTO: this is no HTTP/1, or longer than PQ_HTTP_ANSWER_HEAD_MAX.
 */
int pq_http_read_answer(const uint8_t *p, size_t n, size_t *used, int *status);

/* Writes that head of n bytes with "Connection: close" in the place of what it says about the
 * connection; all other lines byte for byte.  buf has room for n + PQ_HTTP_CLOSING_MAX.  Returns
 * the bytes. */
size_t pq_http_write_closing(const uint8_t *p, size_t n, uint8_t *buf);
#endif
