/* SPDX-License-Identifier: MIT */
/* nft_read.h - chains, rules and sets of nf_tables that others have made, read from the bytes of
 * the kernel's messages; for the modules of os.  Pure: no system call. */
#ifndef PQ_OS_LINUX_NFT_READ_H
#define PQ_OS_LINUX_NFT_READ_H
#include "base/addr.h"
#include "os/linux/nlmsg.h"

#define PQ_NFT_NAME       256 /* of tables, chains and sets: the kernel's own bound */
#define PQ_NFT_SEEN_PORTS 16  /* ranges that one rule names */
#define PQ_NFT_LOOKS      3   /* sets that one rule looks in */

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

#define PQ_NFT_ASKS 96

/* What of a packet is asked for.  KNOWN: a number that is the same for each such connection. */
enum pq_nft_what {
    PQ_NFT_NOTHING, /* that is understood here */
    PQ_NFT_PORT,
    PQ_NFT_PORTS, /* source and destination */
    PQ_NFT_SPORT,
    PQ_NFT_PROTOCOL,
    PQ_NFT_BOTH, /* protocol and destination port */
    PQ_NFT_DEVICE,
    PQ_NFT_INDEX, /* of the device */
    PQ_NFT_IP,    /* its version */
    PQ_NFT_KNOWN,
    PQ_NFT_SOURCE,
    PQ_NFT_DEST
};

struct pq_nft_look { /* in a set */
    enum pq_nft_what what;
    uint32_t known; /* PQ_NFT_KNOWN: the number */
    bool turned;    /* asks for what is not in it */
    char set[PQ_NFT_NAME];
};

struct pq_nft_verdict {
    bool accepts, drops;  /* at most one of them */
    bool returns, leaves; /* or: back; `to` is for good (goto) */
    char to[PQ_NFT_NAME]; /* the chain that it leads to, or "" */
};

struct pq_nft_seen { /* a rule, as far as it is understood */
    uint8_t family;  /* of the table */
    char chain[PQ_NFT_NAME];
    bool tcp, udp; /* it may be about */
    struct pq_nft_verdict verdict;
    bool unknown; /* it may have another verdict, which is not understood */
    bool plain;   /* it asks nothing of a packet */
    enum pq_nft_when when;
    bool strange;           /* it asks for what is not understood ... */
    char asks[PQ_NFT_ASKS]; /* ... which is this, or, if it is so sometimes: "from 10.0.0.0/8" */
    bool except;            /* the ports are what it does not ask for */
    struct pq_range port[PQ_NFT_SEEN_PORTS]; /* destination ports that it asks for; none: all */
    unsigned n_ports;
    char device[20]; /* a name of one that the packet comes from or goes to, "tun*": or how such
                        begin; "": none */
    struct pq_nft_look look[PQ_NFT_LOOKS];
    unsigned n_looks;
    bool map; /* the last of them holds the verdicts */
};

/* Returns false if the message is another one, or cut off; *out is not to be used then. */
bool pq_nft_read_rule(struct pq_nft_seen *out, const struct pq_nl_msg *m);

struct pq_nft_element {            /* of a set */
    struct pq_view key;            /* borrowed; p NULL: none, or one that is not understood */
    bool end;                      /* there a range has just ended */
    bool rest;                     /* what is in no other */
    bool odd;                      /* it asks for more than the key */
    struct pq_nft_verdict verdict; /* of a map */
    bool unknown;                  /* it has none, or one that is not understood */
};

/* Takes the next element off `rest` (NFTA_SET_ELEM_LIST_ELEMENTS).  Returns false at their end. */
bool pq_nft_read_element(struct pq_view *rest, struct pq_nft_element *out);
#endif
