/* SPDX-License-Identifier: MIT */
/* fec_ref.h - a second reading of section 3: the code by Lagrange's formula over a plain GF(2^8),
 * packets of any id, and a decoder under test with what it rebuilt. */
#ifndef PQ_TESTS_FEC_REF_H
#define PQ_TESTS_FEC_REF_H
#include "fec/fec.h"
#include "fec/rs.h"
#include "unit.h"

#define FEC_BYTES (6 + PQ_FEC_PAYLOAD)
#define FEC_MAX   (FEC_BYTES - PQ_FEC_HEAD) /* longest datagram */

struct fpkt {
    size_t n;
    uint8_t b[FEC_BYTES + 2]; /* room to be too long */
};

struct fgroup {
    unsigned d, p;
    size_t longest;                    /* data shard */
    struct fpkt pkt[PQ_RS_SHARDS_MAX]; /* by index */
};

uint8_t ref_mul(uint8_t a, uint8_t b);

/* M[row][c] of d data shards: the polynomial that is 1 at c and 0 at the other points below d. */
uint8_t ref_coef(unsigned d, unsigned row, unsigned c);

/* ids a session of groups of g packets uses, the first being 0. */
uint32_t ref_limit(unsigned g);

void ref_head(struct fpkt *k, uint32_t id, uint16_t type);
void ref_data(struct fpkt *k, uint32_t id, const void *p, size_t n);

/* Fills the parity packets of a group whose data packets are there. */
void ref_parity(struct fgroup *g, uint32_t first_id);

/* A whole group of random datagrams of at most `max` bytes. */
void ref_group(struct fgroup *g, unsigned d, unsigned p, uint32_t first_id, uint64_t *seed,
               uint32_t max);

struct fend { /* a decoder */
    struct pq_chunks chunks;
    struct pq_fec_dec *d;
    unsigned n_got;
    struct fpkt got[PQ_RS_SHARDS_MAX]; /* rebuilt datagrams, as data packets without head */
    uint64_t sum;                      /* of all their bytes: reads them */
};

void fend_init(struct fend *e, unsigned d, unsigned p, size_t memory);
void fend_doubt(struct fend *e, unsigned d, unsigned p); /* anew, with a guess that may be wrong */
void fend_fini(struct fend *e);                          /* fails if a chunk is missing */
size_t fend_held(const struct fend *e);

/* Gives an exact copy, which is gone when this returns. */
enum pq_drop fend_give(struct fend *e, const struct fpkt *k);

/* Ends the batch and forgets what was rebuilt. */
void fend_done(struct fend *e);
bool fend_has(const struct fend *e, const struct fpkt *data);
void fend_learned(const struct fend *e, unsigned *d, unsigned *p);

/* Gives the packets of a group that are not lost, in `order` (NULL: by index), and checks that
 * exactly the data that was missing when D were there is rebuilt.  Returns whether they were. */
bool fend_group(struct fend *e, const struct fgroup *g, const bool *lost, const unsigned *order);

void shuffle(uint64_t *seed, unsigned *order, unsigned n); /* of 0..n-1 */

int fec_rules(void);
int fec_learn(void);
int fec_wrap(void);
#endif
