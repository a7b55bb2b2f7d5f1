/* SPDX-License-Identifier: MIT */
/* handshake.h - the four messages of our own wire as whole datagrams: what they say, sealed twice,
 * by Noise and under a key that whoever has K knows [12.1] [12.2].
 * Knows: bytes and keys.  Does not know: sessions, when a message is sent, whether a stamp is good.
 * For tunnel/ alone; one owner thread. */
#ifndef PQ_TUNNEL_HANDSHAKE_H
#define PQ_TUNNEL_HANDSHAKE_H
#include "base/rng.h"
#include "crypt/seal.h"
#include "noise/noise.h"

enum pq_kind {                      /* [12.2]; the answer to n is n + 1 */
               PQ_KIND_KEYS = 1,    /* IK: a session with keys */
               PQ_KIND_UPGRADE = 3, /* NN: a session in place of one of the old wire */
               PQ_KIND_RENEW = 5,   /* NN, inside a session: new keys for it */
};

enum { /* other things that are said inside a session [12.7] */
       PQ_KIND_MOVE = 7,
       PQ_KIND_MOVED = 8,
       PQ_KIND_HERE = 9,
       PQ_KIND_ASK = 10,
       PQ_KIND_YES = 11,
       PQ_KIND_TRAIN = 12, /* [12.10] */
       PQ_KIND_BACK = 13,
       PQ_KIND_COUNT = 14,
       PQ_KIND_COUNTED = 15,
};

#define PQ_TOKEN_LEN    8
#define PQ_CONTROL_TYPE 0xf4 /* inside a session, beside FEC and KCP [12.6] */

struct pq_shake; /* the keys of one end */

struct pq_shake_conf {
    bool client;
    const uint8_t *key;        /* K, PQ_KEY_LEN bytes */
    const uint8_t *own_secret; /* 32 bytes, or NULL: PQ_KIND_KEYS is refused */
    struct pq_rng *rng;        /* borrowed */
};

struct pq_message { /* what is around a Noise message */
    unsigned kind;  /* of itself: an answer has that of the question + 1 */
    uint8_t attempt;
    struct pq_view noise;
};

struct pq_buf {
    uint8_t *p;
    size_t cap, len;
};

struct pq_said { /* what a message says */
    uint8_t ciphers;
    uint32_t id;                 /* of the session, chosen by who says it */
    uint32_t conv;               /* the first message of KEYS and UPGRADE */
    uint32_t replaces;           /* the first one of KEYS ... */
    uint64_t stamp, instance;    /* ... alone */
    uint32_t abilities;          /* all of KEYS and UPGRADE */
    uint8_t from[PQ_X25519_LEN]; /* of the first of KEYS: the client's public key */
};

struct pq_shake_context { /* what a handshake is about [12.1] */
    enum pq_kind kind;
    uint8_t attempt;              /* number of the first message */
    const uint8_t *server_public; /* KEYS, client: 32 bytes */
    uint32_t a, b;      /* UPGRADE: conv of the old wire; RENEW: client's and server's id */
    const uint8_t *psk; /* RENEW: `next psk` */
};

struct pq_epoch { /* the keys of a session for a time */
    struct pq_seal *tx, *rx;
    struct pq_mask *tx_mask, *rx_mask;
    uint32_t tx_id, rx_id; /* the peer's, and the own one */
    uint8_t next_psk[PQ_PSK_LEN];
    uint32_t filled; /* of what was opened, came again where it was lacking [12.9] */
};

/* Creates it in *out, owned by the caller; the keys are copied.  Returns 0 or PQ_ENOMEM. */
int pq_shake_new(struct pq_shake **out, const struct pq_shake_conf *c);
void pq_shake_free(struct pq_shake **s); /* wipes; sets *s to NULL; freeing NULL does nothing */

/* Opens the outer layer of KEYS and UPGRADE in place; `p` is spoiled if it is none.  On
 * PQ_DROP_NONE *m is set; else PQ_DROP_SHORT or PQ_DROP_AUTH. */
enum pq_drop pq_shake_open(struct pq_shake *s, uint8_t *p, size_t n, struct pq_message *m);

/* The mask of datagrams on a tuple that the server does not know yet, for both ends, owned by the
 * caller.  Returns 0 or PQ_ENOMEM. */
int pq_shake_mask(const struct pq_shake *s, struct pq_mask **out);

/* The key of what a SYN proves to the server with this public key (NULL: this end's own) [12.9],
 * owned by the caller.  Returns 0, PQ_ENOTSUP (there is no own key) or PQ_ENOMEM. */
int pq_shake_syn(const struct pq_shake *s, const uint8_t *server_public, struct pq_mask **out);

/* Reads what RENEW has instead of it.  PQ_DROP_NONE, PQ_DROP_SHORT or PQ_DROP_OOB. */
enum pq_drop pq_control_open(struct pq_view inner, struct pq_message *m);

/* Client: writes a first message, of at most out->cap bytes (at least PQ_OWN_MTU_MIN): a datagram,
 * of RENEW what is inside one.  *n is kept for the answer.  Returns 0, PQ_ENOTSUP (no static key),
 * PQ_EPROTO (the server's public key is of low order), PQ_EINVAL (cap) or PQ_ENOMEM. */
int pq_shake_ask(struct pq_shake *s, struct pq_noise *n, const struct pq_shake_context *about,
                 const struct pq_said *what, struct pq_buf *out);

/* Server: reads a first message.  On PQ_DROP_NONE *said is set and *n ready for pq_shake_answer.
 * Else PQ_DROP_HANDSHAKE (not authentic, malformed, or of a kind that is not served). */
enum pq_drop pq_shake_read(struct pq_shake *s, struct pq_noise *n,
                           const struct pq_shake_context *about, struct pq_view noise,
                           struct pq_said *said);

/* Server: writes the second message, of at most out->cap bytes, and makes the keys, which are the
 * caller's (pq_epoch_free).  `first` is what the client has said; of `what` ciphers, id and
 * abilities are used.  Returns 0, PQ_EINVAL (no cipher in common, cap too small) or PQ_ENOMEM. */
int pq_shake_answer(struct pq_shake *s, struct pq_noise *n, const struct pq_shake_context *about,
                    const struct pq_said *first, const struct pq_said *what, struct pq_buf *out,
                    struct pq_epoch *keys);

/* Client: reads the second message to *n and makes the keys.  `what` is what this side said, *said
 * what the server says.  On anything but PQ_DROP_NONE, which is PQ_DROP_HANDSHAKE, *n is as it was:
 * the true answer may still come. */
enum pq_drop pq_shake_finish(struct pq_shake *s, struct pq_noise *n,
                             const struct pq_shake_context *about, struct pq_view noise,
                             const struct pq_said *what, struct pq_said *said,
                             struct pq_epoch *keys);

void pq_epoch_free(struct pq_epoch *k); /* wipes */
#endif
