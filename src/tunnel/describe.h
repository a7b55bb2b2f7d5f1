/* SPDX-License-Identifier: MIT */
/* describe.h - what a packet is, in words, layer by layer, for who looks at it from outside.
 * Knows: the order of the layers, K, and a server's private key.  Does not know: the keys of
 * sessions, so of our own wire it reads the handshakes alone.  Remembers a bounded number of
 * directions between two ends, the latest: what a stream of frames has told so far.  One owner. */
#ifndef PQ_TUNNEL_DESCRIBE_H
#define PQ_TUNNEL_DESCRIBE_H
#include "crypt/crypt.h"
#include "wire/segment.h"

#define PQ_DESCRIBED_MAX 1024 /* bytes of a text */

struct pq_describe;

struct pq_describe_conf {
    enum pq_cipher cipher;
    const uint8_t *key;    /* K, PQ_KEY_LEN bytes; NULL: nothing is opened */
    const uint8_t *secret; /* a server's private key, 32 bytes, or NULL */
};

struct pq_described {
    const char *kind; /* in few words, static: what to count it under */
    char text[PQ_DESCRIBED_MAX];
    size_t len;
    bool has_user;
    uint8_t user[32]; /* the public key of who began a session with keys */
};

/* Creates it in *out, owned by the caller; the keys are copied.  Returns 0, PQ_ENOMEM or PQ_ENOTSUP
 * (the library lacks the cipher). */
int pq_describe_new(struct pq_describe **out, const struct pq_describe_conf *c);
void pq_describe_free(struct pq_describe **d); /* wipes; sets *d to NULL; NULL does nothing */

/* Describes a packet by what pq_segment_parse has said of it (`drop`), or one datagram of several
 * that it holds: n bytes at p, of s->data.  Those are changed.  `wall`: ms since 1970 at which it
 * came. */
void pq_describe_packet(struct pq_describe *d, const struct pq_segment *s, enum pq_drop drop,
                        uint8_t *p, size_t n, uint64_t wall, struct pq_described *out);

/* ---- for tunnel/describe*.c alone */

#define PQ_WAY_STREAMS 16

struct pq_described_way { /* one direction between two ends */
    struct pq_addr src, dst;
    bool used, own;      /* own: a handshake of our own wire was seen */
    bool syn;            /* its SYN was seen ... */
    uint32_t first;      /* ... with this number */
    unsigned failed;     /* datagrams that could not be opened */
    bool known;          /* conv and sn are, ... */
    uint32_t conv, next; /* ... of the next segment */
    uint32_t left;       /* bytes of a frame that go on in it, ... */
    uint8_t head[8];     /* ... or the first `have` of a frame's head */
    uint8_t have;
    uint32_t begun[PQ_WAY_STREAMS]; /* streams whose first bytes are still to come; 0 = free */
};

__attribute__((format(printf, 2, 3))) void pq_described_add(struct pq_described *o, const char *fmt,
                                                            ...);

/* The plain text of a datagram of the old wire: FEC, KCP, smux and the header. */
void pq_describe_inner(struct pq_described_way *w, struct pq_view inner, struct pq_described *o);
#endif
