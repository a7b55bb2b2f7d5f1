/* SPDX-License-Identifier: MIT */
/* nft_judge.h - what becomes of connections that begin outside, by the rules of a chain at a hook
 * and of those that it leads to, one after the other as the kernel goes through them.  For the
 * modules of os.  Pure: no system call. */
#ifndef PQ_OS_LINUX_NFT_JUDGE_H
#define PQ_OS_LINUX_NFT_JUDGE_H
#include "os/linux/nft_read.h"

#define PQ_NFT_WHYS 32

/* What connections to a port have met: all that were not decided before, or some of them, are let
 * in, kept out by a rule about the port, or by another rule or the policy; or that may be so, by
 * what is not understood. */
enum {
    PQ_NFT_IN = 1,
    PQ_NFT_OUT = 2,
    PQ_NFT_OUT_BY_NAME = 4,
    PQ_NFT_SOME_IN = 8,
    PQ_NFT_SOME_OUT = 16,
    PQ_NFT_MAYBE_IN = 32,
    PQ_NFT_MAYBE_BY_NAME = 64, /* let in by a rule about the port */
    PQ_NFT_MAYBE_OUT = 128
};

struct pq_nft_port {
    uint16_t port; /* in: that is asked about */
    bool udp;      /* in: else TCP */
    uint8_t met;
    /* of the first rule by which it is so: indexes in pq_nft_judge.why */
    uint8_t some_in, some_out, maybe_in, maybe_by_name, maybe_out;
};

struct pq_nft_why {
    char text[PQ_NFT_ASKS]; /* "from 10.0.0.0/8" */
    bool strange;           /* it is not understood */
};

struct pq_nft_judge {
    const struct pq_nft_seen *rule; /* of one table, in their order */
    size_t n;
    /* The elements of a set of this table, borrowed.  Returns false if they are not known. */
    bool (*elements)(void *ctx, const char *set, struct pq_view *out);
    void *ctx;
    struct pq_nft_port *port;
    size_t n_ports;
    struct pq_nft_why why[PQ_NFT_WHYS]; /* the first is for what no room was left for */
    unsigned n_whys;
    bool whole; /* false: there are more rules than are looked at, or too deep, or sets unknown */
    /* its own */
    unsigned left;
};

/* Goes through the chain for these ports.  Returns 0 or PQ_ENOMEM. */
int pq_nft_judge(struct pq_nft_judge *j, const struct pq_nft_base *base);
#endif
