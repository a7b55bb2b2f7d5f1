/* SPDX-License-Identifier: MIT */
/* connect_pair.h - both ends of a connection that begins with a handshake, without a path between.
 */
#ifndef PQ_TESTS_UNIT_CONNECT_PAIR_H
#define PQ_TESTS_UNIT_CONNECT_PAIR_H
#include "wire/flow.h"

#define RMEM (6U << 20)

extern enum pq_system pair_as;   /* whose SYN the client sends */
extern struct pq_slot pair_slot; /* what was sent last */

struct pair {
    struct pq_flow c, s;
};

/* The flow of one end before anything was sent. */
void pair_init(struct pq_flow *f, bool client, bool is4);

/* What is in the slot; its checksums must be right. */
struct pq_segment pair_read(bool is4);

/* Sends so many bytes. */
struct pq_segment pair_data(struct pq_flow *f, size_t n, pq_ns now);

/* The client's SYN, as of a flow that has just begun; the server's answer; the whole handshake. */
struct pq_segment pair_ask(struct pair *p, bool is4, pq_ns now);
struct pq_segment pair_answer(struct pair *p, bool is4, const struct pq_segment *syn, pq_ns now);
void pair_open(struct pair *p);
#endif
