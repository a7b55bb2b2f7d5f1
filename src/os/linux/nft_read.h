/* SPDX-License-Identifier: MIT */
/* nft_read.h - chains and rules of nf_tables that others have made, read from the bytes of the
 * kernel's messages; for the modules of os.  Pure: no system call. */
#ifndef PQ_OS_LINUX_NFT_READ_H
#define PQ_OS_LINUX_NFT_READ_H
#include "base/addr.h"
#include "os/linux/nlmsg.h"

#define PQ_NFT_NAME       64 /* of tables, chains and sets; longer ones are cut */
#define PQ_NFT_SEEN_PORTS 16 /* ranges that one rule names */

struct pq_nft_base { /* a chain at a hook, of IP packets */
    uint8_t family;  /* NFPROTO_* */
    char table[PQ_NFT_NAME], name[PQ_NFT_NAME];
    bool drops; /* its policy */
};

/* Returns false if the message is another one, cut off, or of another hook than this (NF_INET_*);
 * *out is not to be used then. */
bool pq_nft_read_base(struct pq_nft_base *out, const struct pq_nl_msg *m, uint32_t hook);

struct pq_nft_seen {                          /* a rule, as far as it is understood */
    char chain[PQ_NFT_NAME], to[PQ_NFT_NAME]; /* to: the chain that it jumps to, or "" */
    bool tcp, udp;                            /* it may be about */
    bool accepts, drops;                      /* its verdict: at most one of them */
    bool plain;                               /* it asks nothing of a packet */
    struct pq_range port[PQ_NFT_SEEN_PORTS];  /* destination ports that it asks for */
    unsigned n_ports;
    char device[16];       /* a name of one that the packet comes from or goes to; "": none */
    char set[PQ_NFT_NAME]; /* ... and a set of such; "": none */
    bool map;              /* which holds the verdicts */
};

/* Returns false if the message is another one, or cut off; *out is not to be used then. */
bool pq_nft_read_rule(struct pq_nft_seen *out, const struct pq_nl_msg *m);

/* Takes the next element of a set of ports off `rest` (NFTA_SET_ELEM_LIST_ELEMENTS): *end: there a
 * range has just ended.  Returns false at the end of them, or where one is no port. */
bool pq_nft_read_port(struct pq_view *rest, uint16_t *port, bool *end);
#endif
