/* SPDX-License-Identifier: MIT */
/* nft_ask.h - what a rule asks, written down: for those who read rules.  Pure. */
#ifndef PQ_OS_LINUX_NFT_ASK_H
#define PQ_OS_LINUX_NFT_ASK_H
#include "os/linux/nft_read.h"

#define PQ_NFT_STATE_NEW 8U /* of connection tracking: a bit of its state */
#define PQ_NFT_SYN       2U /* the flags of TCP with which a connection begins */

/* It is so of some, told by `words` behind `front`; always, or never; or that is not understood. */
void pq_nft_ask_sometimes(struct pq_nft_seen *s, const char *front, const char *words);
void pq_nft_ask_so(struct pq_nft_seen *s, bool is);
void pq_nft_ask_strange(struct pq_nft_seen *s, const char *what);

/* Begins a list of ports, or of all but these.  Returns false if there is one: two are not put
 * together, which is not understood then. */
bool pq_nft_ask_begin_ports(struct pq_nft_seen *s, bool except);

/* Adds a range, both ends included; without room, or from behind its end, it is not understood. */
void pq_nft_ask_add_ports(struct pq_nft_seen *s, uint16_t from, uint16_t to);

void pq_nft_take_protocol(struct pq_nft_seen *s, uint8_t protocol);

/* Reads a condition of iptables' own, and a target of its. */
void pq_nft_take_match(struct pq_nft_seen *s, const struct pq_nl_attrs *a);
void pq_nft_take_target(struct pq_nft_seen *s, const struct pq_nl_attrs *a);
#endif
