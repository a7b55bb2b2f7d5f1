/* SPDX-License-Identifier: MIT */
/* nft_set.h - what nft.c, nft_rule.c and nft_set.c share: messages of a batch, and the names of the
 * sets. */
#ifndef PQ_OS_LINUX_NFT_SET_H
#define PQ_OS_LINUX_NFT_SET_H
#include "os/linux/nft.h"

#define PQ_NFT_PORTS "ports"

/* Begins a message, and ends the one before. */
struct pq_nl_out *pq_nft_command(struct pq_nft_batch *b, uint16_t type, uint16_t flags);

void pq_nft_put_timeout(struct pq_nl_out *o, uint16_t type, uint64_t ms);

const char *pq_nft_strangers(bool is4);
const char *pq_nft_networks(bool is4);

const char *pq_nft_ones(bool is4);

#define PQ_NFT_NETWORKS_ID 4 /* of IPv6; the next one is IPv4 */
#define PQ_NFT_ONES_ID     6
#endif
