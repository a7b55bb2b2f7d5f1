/* SPDX-License-Identifier: MIT */
/* noise.h - the two handshakes of our own wire, as the Noise framework (revision 34) defines them:
 * Noise_IKpsk2_25519_ChaChaPoly_SHA256 and Noise_NNpsk0_25519_ChaChaPoly_SHA256 [12.1].
 * Knows: the messages and what they mix.  Does not know: what the payloads say, who sends them,
 * clocks, random bytes (the caller brings the ephemeral key).  No heap of its own, any thread.
 *
 * The initiator writes the first message and reads the second, the responder the other way round;
 * then both split.  After an error the state is of no use but for pq_noise_wipe. */
#ifndef PQ_NOISE_NOISE_H
#define PQ_NOISE_NOISE_H
#include "base/bytes.h"
#include "noise/hkdf.h"

#define PQ_X25519_LEN    32
#define PQ_PSK_LEN       32
#define PQ_NOISE_TAG     16
#define PQ_NOISE_IK_HEAD (PQ_X25519_LEN + PQ_X25519_LEN + PQ_NOISE_TAG) /* before the payload */
#define PQ_NOISE_NN_HEAD PQ_X25519_LEN /* the same of NN, and of each second message */

enum pq_noise_pattern { PQ_NOISE_IKPSK2, PQ_NOISE_NNPSK0 };

struct pq_noise_conf {
    enum pq_noise_pattern pattern;
    bool initiator;
    struct pq_view prologue;
    const uint8_t *psk;           /* 32 bytes */
    const uint8_t *own_secret;    /* IK: 32 bytes, the static key, ... */
    const uint8_t *own_public;    /* ... and its public half */
    const uint8_t *remote_public; /* IK, initiator: of the responder */
};

struct pq_noise {
    enum pq_noise_pattern pattern;
    bool initiator;
    unsigned turn; /* messages that have been written or read */
    bool has_key;
    uint64_t nonce;
    uint8_t k[32], ck[PQ_HASH_LEN], h[PQ_HASH_LEN];
    uint8_t psk[PQ_PSK_LEN];
    uint8_t s[PQ_X25519_LEN], s_public[PQ_X25519_LEN], e[PQ_X25519_LEN];
    uint8_t re[PQ_X25519_LEN], rs[PQ_X25519_LEN];
};

/* Public half of a secret key; any 32 bytes are one.  Returns 0, or PQ_ENOMEM. */
int pq_x25519_public(const uint8_t secret[PQ_X25519_LEN], uint8_t pub[PQ_X25519_LEN]);

/* What both sides of a Diffie-Hellman know.  Returns 0, PQ_EPROTO (`pub` is of low order) or
 * PQ_ENOMEM; *out is to be wiped by the caller in any case. */
int pq_x25519_shared(const uint8_t secret[PQ_X25519_LEN], const uint8_t pub[PQ_X25519_LEN],
                     uint8_t out[PQ_X25519_LEN]);

/* Begins a handshake; what `c` points to is copied.  Returns 0, or PQ_ENOMEM. */
int pq_noise_init(struct pq_noise *n, const struct pq_noise_conf *c);

/* Writes the next message, which is ours, with a fresh random `ephemeral` secret: *len bytes at
 * out.  Returns 0, PQ_EINVAL (not our turn, cap too small), PQ_EPROTO (the peer's key is of low
 * order) or PQ_ENOMEM. */
int pq_noise_write(struct pq_noise *n, const uint8_t ephemeral[PQ_X25519_LEN],
                   struct pq_view payload, uint8_t *out, size_t cap, size_t *len);

/* Reads the next message, which is the peer's; its payload, *len bytes, goes to out, which has room
 * for the message (it may be the message itself).  Of IK's first message n->rs is then the
 * initiator's public key.  Returns 0, PQ_EINVAL (not the peer's turn), PQ_EPROTO (too short, a key
 * of low order, or not authentic) or PQ_ENOMEM. */
int pq_noise_read(struct pq_noise *n, struct pq_view message, uint8_t *out, size_t *len);

/* After the first message: a secret of 32 bytes, for `label`, made of all that was mixed so far and
 * of the psk, so that nobody but the two sides can know it.  Returns 0, PQ_EINVAL (not after it) or
 * PQ_ENOMEM. */
int pq_noise_early(const struct pq_noise *n, const char *label, uint8_t out[PQ_HASH_LEN]);

/* After both messages: the secrets of the two directions, from the initiator and to it; wipes the
 * rest.  Returns 0, PQ_EINVAL (too early) or PQ_ENOMEM. */
int pq_noise_split(struct pq_noise *n, uint8_t from[PQ_HASH_LEN], uint8_t to[PQ_HASH_LEN]);

void pq_noise_wipe(struct pq_noise *n);
#endif
