/* SPDX-License-Identifier: MIT */
/* smux_peer.h - a session under test, a reader of its frames and a writer of its peer's. */
#ifndef PQ_TESTS_SMUX_PEER_H
#define PQ_TESTS_SMUX_PEER_H
#include "smux/smux.h"

#include "smux/smux_internal.h"

#define USERS_MAX 400

struct sframe { /* [5.1] */
    uint8_t ver, cmd;
    uint16_t len;
    uint32_t id;
    const uint8_t *data;
    uint32_t consumed, window; /* UPD */
};

struct suser { /* the user of one stream: what its events said */
    struct pq_smux_stream *st;
    struct sess *sess;
    uint8_t *rx;
    size_t rx_len, rx_cap;
    unsigned frames, fins, eofs, rooms, cuts; /* frames: parts that were the last of one */
    bool mid_frame;
};

struct sess {
    struct pq_smux *s;
    struct pq_chunks chunks;
    struct suser user[USERS_MAX];
    size_t n_users;
    unsigned byes;
    bool refuse; /* the open event returns no user */
    bool eat;    /* data counts as used up at once */
    uint8_t *out;
    size_t out_len, out_cap;
};

struct pq_smux_conf sconf(bool client); /* 4 MiB, 2 MiB, 500 streams, 2 s, 8 s */

void sess_init(struct sess *x, const struct pq_smux_conf *c);
void sess_fini(struct sess *x); /* fails if memory is missing */

struct suser *sess_open(struct sess *x);
struct suser *sess_user(struct sess *x, uint32_t id); /* of a stream, or NULL */

/* Queues n bytes of the pattern as one chunk; the result of pq_smux_send. */
int sess_send(struct suser *u, size_t n, unsigned salt);

/* Gives one frame of the peer to the session as an exact copy; the result of pq_smux_input. */
int sess_give(struct sess *x, uint8_t cmd, uint32_t id, const void *data, size_t n);
int sess_upd(struct sess *x, uint32_t id, uint32_t consumed, uint32_t window);
int sess_bytes(struct sess *x, const uint8_t *p, size_t n);

/* Pulls one chunk (returns its frames) or all; the bytes are appended to x->out. */
size_t sess_pull(struct sess *x, struct sframe *f, size_t max);
size_t sess_pull_all(struct sess *x, struct sframe *f, size_t max);

/* Parses a byte stream of whole frames; anything that [5.1] forbids fails the test. */
size_t sframe_parse(const uint8_t *p, size_t n, struct sframe *f, size_t max);

/* The groups of test_smux; each returns its failures. */
int smux_rules(void);
int smux_whole(void);
int smux_early(void);
int smux_vectors(void);
#endif
