/* SPDX-License-Identifier: MIT */
/* header.h - the message at the start of each stream, in the encodings of both families [6].
 * Knows: bytes.  Does not know: streams, sessions.  No state, any thread. */
#ifndef PQ_HEADER_HEADER_H
#define PQ_HEADER_HEADER_H
#include "base/bytes.h"
#include "base/err.h"
#include "base/flags.h"

enum pq_family {                     /* who speaks which header */
                 PQ_FAMILY_NONE,     /* not known yet */
                 PQ_FAMILY_GOB,      /* family A [6.2] */
                 PQ_FAMILY_BINARY,   /* family B [6.1] */
                 PQ_FAMILY_BINARY20, /* the same at v1.0.0-alpha.20: no length [6.1.1] */
};

enum pq_request_type { /* [6] */
                       PQ_REQ_PING = 1,
                       PQ_REQ_PONG = 2,
                       PQ_REQ_TCPF = 3,
                       PQ_REQ_TCP = 4,
                       PQ_REQ_UDP = 5,
                       PQ_REQ_TUN = 6,
                       PQ_REQ_RESULT =
                           7, /* between peers of our own kind: how dialling went [8.4] */
                       PQ_REQ_MEASURE = 8, /* the same: bytes for a time [8.11] */
};

#define PQ_HOST_MAX   253  /* bytes of a host name or address text; family B reads no more [6.1] */
#define PQ_HEADER_MAX 8192 /* bytes of one encoded message that are read */

struct pq_request {
    enum pq_request_type type;
    char host[PQ_HOST_MAX + 1]; /* TCP, UDP: name, IPv4 or IPv6 text without brackets */
    uint16_t port;              /* MEASURE: see PQ_MEASURE */
    struct pq_flags flags;      /* TCPF */
    uint8_t result;             /* RESULT: a SOCKS5 reply code; 0 = connected */
    uint32_t abilities;         /* PING, PONG: PQ_ABLE_*, sent as an extension if not 0 [8.2] */
};

enum {                               /* what a peer of our own kind can do [8.2] */
       PQ_ABLE_HELLO = 1u << 0,      /* the extension was there at all */
       PQ_ABLE_HALF_CLOSE = 1u << 1, /* type 1 */
       PQ_ABLE_RESULT = 1u << 2,     /* type 2 */
       PQ_ABLE_BYE = 1u << 3,        /* type 3 */
       PQ_ABLE_COPIES = 1u << 4,     /* type 4 */
       PQ_ABLE_DATAGRAMS = 1u << 5,  /* type 5 */
       PQ_ABLE_TUN_GSO = 1u << 6,    /* type 6 */
       PQ_ABLE_SPLIT = 1u << 7,      /* type 7 */
       PQ_ABLE_FRAMES = 1u << 8,     /* type 8 */
       PQ_ABLE_KEYS = 1u << 9,       /* type 9 */
       PQ_ABLE_LEAN = 1u << 10,      /* type 10 */
       PQ_ABLE_MEASURE = 1u << 11,   /* type 11 */
       PQ_ABLE_PARTS = 1u << 12,     /* type 12 */
       PQ_ABLE_PADDING = 1u << 13,   /* type 13 */
       PQ_ABLE_ALL = (1u << 14) - 1,
};

enum {
    PQ_MEASURE_DOWN,
    PQ_MEASURE_UP,
    PQ_MEASURE_BACK,  /* datagrams are answered */
    PQ_MEASURE_CLOCK, /* it tells what its clock shows */
};
#define PQ_MEASURE(way, seconds) ((uint16_t)((unsigned)(way) << 8 | (seconds)))
#define PQ_MEASURE_SECONDS_MAX   10

#define PQ_RESULT_FAILURE 1 /* general failure, of SOCKS5's reply codes */

#define PQ_EXT_MAX 255 /* bytes of an extension */

/* Writes the extension that says `abilities`; returns its bytes.  Reads one: unknown types and
 * whatever is malformed count as not there; returns 0 if it is no extension at all. */
size_t pq_ext_encode(uint32_t abilities, uint8_t buf[PQ_EXT_MAX]);
uint32_t pq_ext_decode(const uint8_t *p, size_t n);

/* Writes the message.  Returns its bytes, or PQ_EINVAL (RESULT in family A; cap
 * too small). 512 bytes hold any TCP or UDP request; PQ_HEADER_MAX all. */
int pq_header_encode(enum pq_family f, const struct pq_request *r, uint8_t *buf, size_t cap);

/* Reads one message of any family, told apart by its bytes [6].  Of the three bytes of a PING or
 * PONG of alpha.20 it wants more: they are a message only if the frame ends behind them. On 0 *out,
 * *family and *used (bytes of the message) are set.  Otherwise PQ_EMORE (incomplete: call again
 * with more) or PQ_EPROTO (malformed, too long, or an unknown type). */
int pq_header_decode(const uint8_t *p, size_t n, struct pq_request *out, enum pq_family *family,
                     size_t *used);

#define PQ_HEADER_BINARY 0x50 /* first byte of a binary header; no gob header begins so */

/* Whether all of a message is there, so that pq_header_decode has something to say.  *at begins as
 * 0 and remembers how far the bytes have been looked at: a header that comes in many small pieces
 * costs its length, not the square of it. */
bool pq_header_whole(const uint8_t *p, size_t n, size_t *at);

/* Whether these bytes, which are all of a frame, are PING or PONG of alpha.20 [6.1.1]. */
bool pq_header_is_bare(const uint8_t *p, size_t n, enum pq_request_type type);

/* The encodings, for header.c and the tests. */
bool pq_gob_whole(const uint8_t *p, size_t n, size_t *at);
int pq_binary_encode(const struct pq_request *r, bool bare, uint8_t *buf, size_t cap);
int pq_binary_decode(const uint8_t *p, size_t n, struct pq_request *out, bool *bare, size_t *used);
int pq_gob_encode(const struct pq_request *r, uint8_t *buf, size_t cap);
int pq_gob_decode(const uint8_t *p, size_t n, struct pq_request *out, size_t *used);
#endif
