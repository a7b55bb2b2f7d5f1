/* SPDX-License-Identifier: MIT */
/* nft.h - nftables commands, and tables of our own that do not outlive us; for the modules of os.
 */
#ifndef PQ_OS_LINUX_NFT_H
#define PQ_OS_LINUX_NFT_H
#include <stdbool.h>

struct nft_ctx;

struct pq_nft {
    struct nft_ctx *ctx;
    char table[32]; /* the name of our table, in whatever families: paqet_PID_SALT */
};

/* Gets ready and removes tables of that form whose process is gone.
 * Returns 0, -EPERM (CAP_NET_ADMIN is missing), PQ_ENOTSUP (a kernel without netfilter) or
 * PQ_ENOMEM. */
int pq_nft_open(struct pq_nft *n);

/* Runs commands, at most 8 KB.  Returns 0, PQ_EINVAL (too long) or PQ_ENOTSUP (refused). */
int pq_nft_run(struct pq_nft *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Whether the last refusal was for lack of CAP_NET_ADMIN. */
bool pq_nft_denied(const struct pq_nft *n);

/* Frees; the tables stay. */
void pq_nft_close(struct pq_nft *n);
#endif
