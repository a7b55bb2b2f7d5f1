/* SPDX-License-Identifier: MIT */
/* firewall.h - keeps the kernel's TCP away from the tunnel's packets: they are dropped before
 * connection tracking and TCP see them, but after packet sockets did.  The rules stand in a table
 * of our own that the kernel removes with this process, however it ends (flag `owner`, Linux 5.12);
 * on older kernels a marked table that the next start removes; without nf_tables a chain of
 * iptables that goes at the end, or likewise. */
#ifndef PQ_OS_FIREWALL_H
#define PQ_OS_FIREWALL_H
#include "base/addr.h"
#include "os/why.h"

#define PQ_FIREWALL_SERVERS 32
#define PQ_FIREWALL_OWN     16

struct pq_firewall;

struct pq_firewall_conf {
    char ifname[16];
    bool client;
    struct pq_firewall_server { /* client: only packets from these are dropped ... */
        struct pq_addr addr;    /* its port does not matter */
        struct pq_range ports;
    } server[PQ_FIREWALL_SERVERS];
    unsigned n_servers;
    struct pq_range ports;               /* ... and, server, only those to these ports */
    struct pq_addr own[PQ_FIREWALL_OWN]; /* server: addresses that packets for us go to; what this
                                            machine forwards to others stays alone */
    bool decoy;                          /* server: but for what pq_firewall_admit lets through */
    unsigned n_own;                      /* 0: not known, all of the port is ours */
};

/* Makes the table, at a client without any own port yet: netdev ingress, or else inet prerouting at
 * priority -350, or else iptables' raw prerouting, or filter input, or, with a decoy, mangle
 * prerouting.  Returns 0, -EPERM (CAP_NET_ADMIN is missing), PQ_ENOTSUP (neither is to be had) or
 * PQ_ENOMEM; *out is NULL on error, with words in why.  With iptables this and what follows runs
 * other programs, a few ms each. */
int pq_firewall_open(struct pq_firewall **out, const struct pq_firewall_conf *conf,
                     char why[PQ_OS_WHY_LEN]);

/* Covers conf->ifname, too, at a client with the same own ports.  The interface of before stays
 * covered, since packets may still come in there; an older one does not.  Returns 0 or PQ_ENOTSUP
 * (the kernel refused: nothing has changed). */
int pq_firewall_move(struct pq_firewall *f, const struct pq_firewall_conf *conf);

/* Client: covers one more own port, or one less.  The latter only after 90 s, since a server that
 * has not heard the end of a session goes on sending.  Returns 0 or PQ_ENOTSUP (the kernel
 * refused). */
int pq_firewall_add(struct pq_firewall *f, uint16_t port);
int pq_firewall_remove(struct pq_firewall *f, uint16_t port);

/* Server with a decoy: what comes from this address and port is the kernel's, until it has been
 * silent for 10 minutes, or for 20 s if nothing comes at all; or no more.  Returns 0 or PQ_ENOTSUP
 * (the kernel refused: there are 65,536 already).  A refusal takes some 20 ms. */
int pq_firewall_admit(struct pq_firewall *f, const struct pq_addr *from);
int pq_firewall_exclude(struct pq_firewall *f, const struct pq_addr *from);

/* What was installed, for the log: "nftables netdev ingress (removed with the process)". */
const char *pq_firewall_kind(const struct pq_firewall *f);

/* Removes the table and frees.  Sets *f to NULL; NULL does nothing. */
void pq_firewall_close(struct pq_firewall **f);

/* Writes the commands that a user would type instead, one a line, NUL-terminated, into buf; `port`
 * is the client's, 0 = a number that he has to choose. */
void pq_firewall_advice(const struct pq_firewall_conf *conf, uint16_t port, char *buf, size_t cap);
#endif
