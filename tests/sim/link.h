/* SPDX-License-Identifier: MIT */
/* link.h - one direction of a path in virtual time: delay, jitter, loss, rate with a bounded queue,
 * reordering, duplication, bit flips.  Everything random comes from one seed. */
#ifndef PQ_TESTS_SIM_LINK_H
#define PQ_TESTS_SIM_LINK_H
#include "base/heap.h"

#include <stdbool.h>
#include <stdint.h>

struct link_conf {
    pq_ns delay;                          /* one way */
    unsigned loss, reorder, dup, corrupt; /* of 1000 packets */
    pq_ns reorder_by;                     /* extra delay of a reordered packet */
    uint64_t rate;                        /* bytes a second; 0 = no limit */
    uint64_t queue;                       /* bytes that wait for the rate; more are dropped */
    bool policed;                         /* nothing waits: more than that at once is dropped */
    bool loss_first;                      /* loses in front of the queue, not behind it */
    bool bursts;                          /* loses nothing, then all for 20 to 50 ms, so that
                                             `loss` of the time is lost */
    uint64_t mtu;                         /* bytes of a frame; longer ones vanish; 0 = no limit */
    bool cut;                             /* nothing arrives any more */
};

struct link_packet { /* a frame on its way, of exactly `len` bytes on the heap */
    struct pq_heap_node node;
    uint8_t *p;
    uint32_t len;
    uint16_t gso_size;
};

struct link_stats {
    uint64_t given, bytes, lost, overflow, reordered, doubled, corrupted, too_long;
};

struct link {
    struct link_conf conf;
    uint64_t rng;
    struct pq_heap wire;
    pq_ns free_at; /* when the last byte of the queue has left */
    pq_ns last_at;
    pq_ns burst_at, burst_end; /* the next burst, or the one that is */
    struct link_stats stats;
};

void link_init(struct link *l, const struct link_conf *conf, uint64_t seed);
void link_fini(struct link *l);

/* The next burst begins then, and is a long one. */
void link_burst(struct link *l, pq_ns at);

/* Puts a copy of a frame on the link. */
void link_send(struct link *l, const uint8_t *p, size_t n, pq_ns now);

/* When the next frame arrives, or PQ_NEVER. */
pq_ns link_next(const struct link *l);

/* The next frame that has arrived by `now`, owned by the caller (link_packet_free), or NULL. */
struct link_packet *link_recv(struct link *l, pq_ns now);
struct link_packet *link_packet_new(const uint8_t *p, size_t n);
void link_packet_free(struct link_packet *k);
#endif
