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

/* Whether what a rule asks beside protocol and destination port is so of a connection that somebody
 * outside begins: of whatever address he has, through whatever device but lo. */
enum pq_nft_when { PQ_NFT_ALWAYS, PQ_NFT_SOMETIMES, PQ_NFT_NEVER };

#define PQ_NFT_STATE_NEW 8U /* of connection tracking: a bit of its state */
#define PQ_NFT_ASKS      96

struct pq_nft_seen {                          /* a rule, as far as it is understood */
    uint8_t family;                           /* of the table */
    char chain[PQ_NFT_NAME], to[PQ_NFT_NAME]; /* to: the chain that it jumps to, or "" */
    bool tcp, udp;                            /* it may be about */
    bool accepts, drops;                      /* its verdict: at most one of them */
    bool returns, leaves;                     /* ... or: back; `to` is for good (goto) */
    bool plain;                               /* it asks nothing of a packet */
    enum pq_nft_when when;
    char asks[PQ_NFT_ASKS]; /* what is asked for, if it is so sometimes: "from 10.0.0.0/8" */
    bool except;            /* destination ports, or the set, are what it does not ask for */
    bool states;            /* the set is of states of connections, not of ports */
    struct pq_range port[PQ_NFT_SEEN_PORTS]; /* destination ports that it asks for */
    unsigned n_ports;
    char device[16];       /* a name of one that the packet comes from or goes to; "": none */
    char set[PQ_NFT_NAME]; /* ... and a set of such; "": none */
    bool map;              /* which holds the verdicts */
};

/* Returns false if the message is another one, or cut off; *out is not to be used then. */
bool pq_nft_read_rule(struct pq_nft_seen *out, const struct pq_nl_msg *m);

struct pq_nft_element { /* of a set */
    struct pq_view key; /* borrowed; of a port two bytes, of a state four in the host's order */
    bool end;           /* there a range has just ended */
    bool accepts, drops, returns, leaves; /* of a map of verdicts, as above */
    char to[PQ_NFT_NAME];
};

/* Takes the next element off `rest` (NFTA_SET_ELEM_LIST_ELEMENTS).  Returns false at their end. */
bool pq_nft_read_element(struct pq_view *rest, struct pq_nft_element *out);
#endif
