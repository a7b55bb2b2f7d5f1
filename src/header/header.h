/* SPDX-License-Identifier: MIT */
/* header.h - the message at the start of each stream, in the encodings of both families [6].
 * Knows: bytes.  Does not know: streams, sessions.  No state, any thread. */
#ifndef PQ_HEADER_HEADER_H
#define PQ_HEADER_HEADER_H
#include "base/bytes.h"
#include "base/err.h"
#include "base/flags.h"

enum pq_family {                   /* who speaks which header */
                 PQ_FAMILY_NONE,   /* not known yet */
                 PQ_FAMILY_GOB,    /* family A [6.2] */
                 PQ_FAMILY_BINARY, /* family B [6.1] */
};

enum pq_request_type { /* [6] */
                       PQ_REQ_PING = 1,
                       PQ_REQ_PONG = 2,
                       PQ_REQ_TCPF = 3,
                       PQ_REQ_TCP = 4,
                       PQ_REQ_UDP = 5,
                       PQ_REQ_TUN = 6,
};

#define PQ_HOST_MAX   253  /* bytes of a host name or address text; family B reads no more [6.1] */
#define PQ_HEADER_MAX 8192 /* bytes of one encoded message that are read */

struct pq_request {
    enum pq_request_type type;
    char host[PQ_HOST_MAX + 1]; /* TCP, UDP: name, IPv4 or IPv6 text without brackets */
    uint16_t port;
    struct pq_flags flags; /* TCPF */
};

/* Writes the message.  Returns its bytes, or PQ_EINVAL (TUN in family B; cap too small).
 * 512 bytes hold any TCP or UDP request; PQ_HEADER_MAX all. */
int pq_header_encode(enum pq_family f, const struct pq_request *r, uint8_t *buf, size_t cap);

/* Reads one message of either family, told apart by the first byte [6].  On 0 *out, *family and
 * *used (bytes of the message) are set.  Otherwise PQ_EMORE (incomplete: call again with more) or
 * PQ_EPROTO (malformed, too long, or an unknown type). */
int pq_header_decode(const uint8_t *p, size_t n, struct pq_request *out, enum pq_family *family,
                     size_t *used);

/* The two encodings, for header.c and the tests. */
int pq_binary_encode(const struct pq_request *r, uint8_t *buf, size_t cap);
int pq_binary_decode(const uint8_t *p, size_t n, struct pq_request *out, size_t *used);
int pq_gob_encode(const struct pq_request *r, uint8_t *buf, size_t cap);
int pq_gob_decode(const uint8_t *p, size_t n, struct pq_request *out, size_t *used);
#endif
