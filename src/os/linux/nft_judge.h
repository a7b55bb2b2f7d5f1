/* SPDX-License-Identifier: MIT */
/* nft_judge.h - what becomes of connections that begin outside, by the rules of a chain at a hook
 * and of those that it leads to, one after the other as the kernel goes through them.  For the
 * modules of os.  Pure: no system call. */
#ifndef PQ_OS_LINUX_NFT_JUDGE_H
#define PQ_OS_LINUX_NFT_JUDGE_H
#include "os/linux/nft_read.h"

#define PQ_NFT_PORTS 65536

/* Of a port: it is not decided yet; the connections that no rule before has kept out or let in are
 * let in, kept out by a rule about the port, or by another rule or the policy; and before that some
 * were let in, or kept out. */
enum {
    PQ_NFT_OPEN = 1,
    PQ_NFT_IN = 2,
    PQ_NFT_OUT_BY_NAME = 4,
    PQ_NFT_OUT = 8,
    PQ_NFT_SOME_IN = 16,
    PQ_NFT_SOME_OUT = 32
};

struct pq_nft_judge {
    const struct pq_nft_seen *rule; /* of one table, in their order */
    size_t n;
    /* Calls fn for each element of a set of this table. */
    void (*elements)(void *ctx, const char *set,
                     void (*fn)(void *arg, const struct pq_nft_element *e), void *arg);
    void *ctx;
    uint8_t *port[2]; /* of TCP and UDP: PQ_NFT_PORTS each, filled */
    char some_in[PQ_NFT_ASKS], some_out[PQ_NFT_ASKS]; /* for whom, of the first such rule; or "" */
    bool whole; /* false: there are more rules than are looked at, or too deep */
    /* its own */
    unsigned left;
};

/* Goes through the chain.  Returns 0 or PQ_ENOMEM. */
int pq_nft_judge(struct pq_nft_judge *j, const struct pq_nft_base *base);
#endif
