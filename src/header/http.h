/* SPDX-License-Identifier: MIT */
/* http.h - what an HTTP/1 proxy reads and writes (RFC 9110, 9112): the head of a request, the same
 * head as the target gets it, and answers of the proxy's own.  Bodies are not looked at.
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

struct pq_http_request {
    bool connect;               /* CONNECT: a tunnel to host:port; else the target gets the head */
    char host[PQ_HOST_MAX + 1]; /* name, or IPv4 or IPv6 text without brackets */
    uint16_t port;
    bool has_auth; /* "Proxy-Authorization: Basic" was there, well-formed */
    char user[PQ_HTTP_SECRET_MAX + 1], pass[PQ_HTTP_SECRET_MAX + 1];
    bool websocket; /* asks to go on as a websocket: that is passed on */
    bool has_host;
    /* these borrow the bytes that were read */
    struct pq_view method, path, version, authority, fields;
    /* if PQ_EPROTO is returned: what to answer */
    int status;
    const char *why; /* static storage */
};

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
#endif
