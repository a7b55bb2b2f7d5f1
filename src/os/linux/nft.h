/* SPDX-License-Identifier: MIT */
/* nft.h - nf_tables over netlink: batches that make tables of our own, which do not outlive us,
 * with chains, rules and a set of ports; for the modules of os.  A batch holds whole or not at all.
 *
 * The table is named paqet_PID_SALT in whatever families it is made.  With `owner` the kernel
 * removes it with our socket (Linux 5.12); else the next start finds it by its name and removes it.
 */
#ifndef PQ_OS_LINUX_NFT_H
#define PQ_OS_LINUX_NFT_H
#include "base/addr.h"
#include "base/spans.h"
#include "os/linux/nl.h"

struct pq_nft {
    struct pq_nl nl;
    char table[32];
};

/* Opens the socket and removes tables of that form whose process is gone.
 * Returns 0, -EPERM (CAP_NET_ADMIN is missing) or PQ_ENOTSUP (a kernel without nf_tables). */
int pq_nft_open(struct pq_nft *n);
void pq_nft_close(struct pq_nft *n); /* tables without `owner` stay */

#define PQ_NFT_BATCH 32768 /* bytes */

struct pq_nft_batch {
    struct pq_nft *n;
    uint8_t family; /* NFPROTO_* of what follows */
    struct pq_nl_out out;
    bool in_rule; /* the message that is being written is a rule ... */
    size_t exprs; /* ... and its expressions begin here */
    uint8_t buf[PQ_NFT_BATCH];
};

enum pq_nft_verdict { PQ_NFT_DROP, PQ_NFT_ACCEPT, PQ_NFT_RETURN };

struct pq_nft_chain {
    const char *name, *type; /* "filter", "nat" */
    uint32_t hook;           /* NF_INET_*, NF_NETDEV_INGRESS */
    int32_t priority;
    const char *device; /* family netdev, else NULL */
};

/* Starts a batch; what follows is of this family, in our table. */
void pq_nft_begin(struct pq_nft_batch *b, struct pq_nft *n, uint8_t family);

void pq_nft_add_table(struct pq_nft_batch *b, bool owner);
void pq_nft_del_table(struct pq_nft_batch *b);
void pq_nft_add_ports(struct pq_nft_batch *b); /* the set `ports`, whose elements may time out */
/* The sets of addresses and ports, for IPv4 and IPv6, whose elements time out. */
void pq_nft_add_strangers(struct pq_nft_batch *b);
/* Sets of ranges, and of single addresses, for IPv4 and IPv6. */
void pq_nft_add_networks(struct pq_nft_batch *b);
void pq_nft_add_chain(struct pq_nft_batch *b, const struct pq_nft_chain *c);
void pq_nft_add_steps(struct pq_nft_batch *b, const char *name); /* a chain to jump to */
void pq_nft_clear_chain(struct pq_nft_batch *b, const char *name);
void pq_nft_del_chain(struct pq_nft_batch *b, const char *name);

/* An element of `ports`; timeout 0 = it stays. */
void pq_nft_add_port(struct pq_nft_batch *b, uint16_t port, uint64_t timeout_ms);
void pq_nft_del_port(struct pq_nft_batch *b, uint16_t port);

/* An element of the strangers. */
void pq_nft_add_stranger(struct pq_nft_batch *b, const struct pq_addr *a, uint64_t timeout_ms);
void pq_nft_del_stranger(struct pq_nft_batch *b, const struct pq_addr *a);

/* Adds ranges to the networks, or takes them out, both ends as they were added: of *s as many from
 * `from` on as have room.  Returns how many. */
size_t pq_nft_change_networks(struct pq_nft_batch *b, const struct pq_spans *s, size_t from,
                              bool add);

void pq_nft_clear_networks(struct pq_nft_batch *b);

/* Adds to the single addresses, or takes away what is there. */
void pq_nft_change_one(struct pq_nft_batch *b, const struct pq_addr *a, bool add);

/* A rule at the end of a chain: conditions, then what to do. */
void pq_nft_rule(struct pq_nft_batch *b, const char *chain);
void pq_nft_if_name(struct pq_nft_batch *b, bool incoming, bool is, const char *name);
void pq_nft_if_addr(struct pq_nft_batch *b, bool source, const struct pq_addr *a);
void pq_nft_if_tcp(struct pq_nft_batch *b);
void pq_nft_if_dport_is_ours(struct pq_nft_batch *b); /* in `ports`; behind if_tcp */
/* Its source is among the strangers of this family: it stays there so long from now on. */
void pq_nft_if_stranger(struct pq_nft_batch *b, bool is4, uint64_t timeout_ms);
void pq_nft_if_family(struct pq_nft_batch *b, bool is4); /* family inet */
void pq_nft_if_proto(struct pq_nft_batch *b, uint8_t ipproto);
void pq_nft_if_not_proto(struct pq_nft_batch *b, uint8_t ipproto);
void pq_nft_if_no_begin(struct pq_nft_batch *b); /* TCP, but no SYN alone */
void pq_nft_if_new(struct pq_nft_batch *b);      /* the first packet of its connection to be seen */
/* The source port, or the destination port, is one of these; behind if_tcp or if_proto. */
void pq_nft_if_port(struct pq_nft_batch *b, bool source, const struct pq_range *ports);
void pq_nft_if_elsewhere(struct pq_nft_batch *b);   /* to no (unicast) address of this machine */
void pq_nft_if_link_local6(struct pq_nft_batch *b); /* destination; behind if_family */
/* There is a socket for the packet, a connection's or one that listens, without IP_TRANSPARENT. */
void pq_nft_if_socket(struct pq_nft_batch *b);
void pq_nft_if_mark(struct pq_nft_batch *b, uint32_t mark);
void pq_nft_if_reply(struct pq_nft_batch *b); /* of a connection, to who began it */
/* The destination is between these, both included and of one IP version; family inet. */
void pq_nft_if_target(struct pq_nft_batch *b, const struct pq_addr *from, const struct pq_addr *to);
/* The destination is in the ranges, or, `one`, among the single addresses; family inet. */
void pq_nft_if_network(struct pq_nft_batch *b, bool is4, bool one);
void pq_nft_if_neighbours(struct pq_nft_batch *b); /* ICMPv6 that finds routers and neighbours */
void pq_nft_then(struct pq_nft_batch *b, enum pq_nft_verdict v);
void pq_nft_then_jump(struct pq_nft_batch *b, const char *chain);
void pq_nft_then_redirect(struct pq_nft_batch *b, uint16_t port); /* to this machine; in NAT */
void pq_nft_then_reject(struct pq_nft_batch *b); /* the sender is told; family inet */
void pq_nft_then_masquerade(struct pq_nft_batch *b, uint16_t low, uint16_t high); /* 0: any port */
/* Gives the packet to the socket of its connection, or the one that listens at `to`, if they have
 * IP_TRANSPARENT; its addresses stay.  Behind if_family and if_proto. */
void pq_nft_then_tproxy(struct pq_nft_batch *b, const struct pq_addr *to);

/* Sends the batch and waits for the kernel's word.  Returns 0, -EPERM, or PQ_ENOTSUP (refused, or
 * more than PQ_NFT_BATCH bytes). */
int pq_nft_commit(struct pq_nft_batch *b);
#endif
