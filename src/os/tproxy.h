/* SPDX-License-Identifier: MIT */
/* tproxy.h - all ports of this machine lead to a few sockets: the kernel gives them what comes for
 * the others (TPROXY), with its addresses as they are.  The rules stand in a table of our own, as
 * in firewall.h: the kernel removes them with this process (Linux 5.12), or the next start does. */
#ifndef PQ_OS_TPROXY_H
#define PQ_OS_TPROXY_H
#include "base/addr.h"
#include "os/why.h"

struct pq_tproxy;

struct pq_tproxy_side { /* of TCP, or of UDP */
    struct pq_addr to4,
        to6; /* sockets with IP_TRANSPARENT; port 0: that IP version is left alone */
    const struct pq_range *not_taken; /* ports that are left alone; borrowed for the call */
    unsigned n_not_taken;
};

struct pq_tproxy_conf {
    struct pq_tproxy_side tcp, udp;
};

/* What comes from others for an address of this machine goes to these sockets, but for the ports
 * that are left alone, and for what a socket of this machine is there for: connections and flows of
 * its own programs, ports that they listen on.  What the machine forwards or translates (NAT) is
 * not touched, nor what it sends to itself, nor IPv6 link-local addresses.  Where nf_tables or its
 * modules nft_tproxy, nft_socket and nft_fib are missing, the rules are chains of iptables, which
 * the end or the next start removes; these come before NAT, so a port that the machine
 * passes on (DNAT) has to be among those that are left alone: *dnat says whether the machine has
 * any.  Returns 0, -EPERM (CAP_NET_ADMIN is missing), PQ_ENOTSUP (neither is to be had) or
 * PQ_ENOMEM; *out is NULL on error, with words in why. */
int pq_tproxy_open(struct pq_tproxy **out, const struct pq_tproxy_conf *conf, bool *dnat,
                   char why[PQ_OS_WHY_LEN]);

/* Removes the rules and frees.  Sets *t to NULL; NULL does nothing. */
void pq_tproxy_close(struct pq_tproxy **t);

/* A socket that sends datagrams from any address and port of this machine, with UDP headers that
 * the caller writes, checksums included; it receives nothing.  Returns it, or -errno (-EPERM:
 * CAP_NET_RAW is missing). */
int pq_tproxy_answer_socket(bool is4);
#endif
