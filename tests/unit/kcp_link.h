/* SPDX-License-Identifier: MIT */
/* kcp_link.h - two conversations and a link between them in virtual time, for test_kcp.  Every
 * datagram on the link is read by a parser of its own and held against [4]. */
#ifndef PQ_TESTS_KCP_LINK_H
#define PQ_TESTS_KCP_LINK_H
#include "base/heap.h"
#include "base/pool.h"
#include "kcp/kcp.h"
#include "kcp/kcp_internal.h"

#define TEST_CONV  0x11223344u
#define SEGS_LIMIT 64 /* segments of one datagram */
#define TS_KEPT    16 /* transmissions of one segment that are remembered */

struct kseg { /* one segment, as on the wire [4.1] */
    uint32_t conv, ts, sn, una, len;
    uint16_t wnd;
    uint8_t cmd, frg;
    const uint8_t *data;
};

struct kend { /* one conversation with its memory and its reader */
    struct pq_kcp *k;
    struct pq_pool blocks;
    struct pq_chunks chunks;
    uint8_t *rx;
    size_t rx_len, rx_cap;
    bool refuse; /* the reader takes nothing */
};

struct klink {
    pq_ns delay, jitter;         /* one way */
    unsigned loss, dup, reorder; /* of 1000 datagrams */
    pq_ns reorder_by;            /* extra delay of a reordered one */
    uint64_t rate;               /* bytes a second; 0 = no limit */
    bool (*drop)(void *ctx, unsigned from, const struct kseg *s, size_t n);
    void *drop_ctx;
};

struct kside { /* what the link knows about one sender */
    const uint8_t *tx;
    size_t tx_len, tx_at;
    uint32_t edge;     /* una + wnd it was told: no first transmission at or above */
    uint32_t high;     /* next number never sent */
    uint32_t last_una; /* that it sent */
    pq_ns busy_until;
    uint64_t datagrams, bytes;
    struct {
        uint32_t sn, ts[TS_KEPT];
        unsigned n;
    } sent[4096];
};

struct knet {
    struct kend end[2];
    struct kside side[2];
    struct klink link;
    struct pq_heap wire;
    pq_ns now;
    uint64_t seed, serial, pulls;
    size_t write_max; /* bytes of one write */
};

struct pq_kcp_conf kconf(void); /* mode fast3, windows of 1024 */

void kend_init(struct kend *e, const struct pq_kcp_conf *c);
void kend_fini(struct kend *e); /* fails if memory is missing */
void kend_write(struct kend *e, const void *p, size_t n);

/* Gives one datagram to the conversation as an exact heap copy. */
enum pq_drop kend_input(struct kend *e, const uint8_t *p, size_t n, pq_ns now);

/* Parses a datagram that a conversation wrote; anything that [4.1] forbids fails the test. */
size_t kseg_parse(const uint8_t *p, size_t n, struct kseg *out);
size_t kseg_write(uint8_t *p, const struct kseg *s);

/* Starts both ends at sn `first`, with the settings of end 0 and end 1. */
struct knet *knet_new(const struct pq_kcp_conf *a, const struct pq_kcp_conf *b, uint32_t first,
                      const struct klink *link, uint64_t seed);
void knet_free(struct knet *n);

/* Lets both ends work until both have sent and delivered all, or until `end`.  True if done. */
bool knet_run(struct knet *n, pq_ns end);

/* The groups of test_kcp; each returns its failures. */
int kcp_rules(void);
int kcp_transfer(void);
int kcp_vectors(void);
#endif
