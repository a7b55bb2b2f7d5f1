/* SPDX-License-Identifier: MIT */
/* masquerade.h - lets a server pass on what clients send through its TUN device: forwarding in the
 * kernel, and source addresses replaced by the server's own.  Blocking; for start-up. */
#ifndef PQ_OS_MASQUERADE_H
#define PQ_OS_MASQUERADE_H
#include "base/addr.h"
#include "os/why.h"

#include <stdbool.h>
#include <stdint.h>

struct pq_masquerade;

struct pq_masquerade_conf { /* borrowed for the call */
    const char *tun;        /* name of the device */
    const struct pq_range *own_ports;
    const struct pq_net *nets; /* what is behind it */
    unsigned n_nets;
    bool v4, v6;
};

/* Packets that came in from the device and leave through another get the address of that other
 * interface, and never one of the TCP ports `own_ports`, whose answers would be taken for the
 * tunnel's packets.  The rules stand in tables of our own, as in firewall.h: the kernel removes
 * them with this process (Linux 5.12), or the next start does.  Where the kernel has no nf_tables
 * with NAT, or is older than 5.7, which cannot tell there where a packet came from, they are chains
 * of iptables, which ask for a source in one of the networks instead, and which the end or the next
 * start removes.  No filter is opened: where the machine's firewall refuses to forward, its owner
 * must allow the device there.  Returns 0, -EPERM (CAP_NET_ADMIN is missing), PQ_ENOTSUP (neither
 * is to be had) or PQ_ENOMEM; *out is NULL on error, with words in why. */
int pq_masquerade_open(struct pq_masquerade **out, const struct pq_masquerade_conf *c,
                       char why[PQ_OS_WHY_LEN]);

/* Removes the tables and frees.  Sets *m to NULL; NULL does nothing. */
void pq_masquerade_close(struct pq_masquerade **m);

/* Turns on net.ipv4.ip_forward and net.ipv6.conf.all.forwarding where they are off; nobody turns
 * them off again, since other programs may count on them by then.  With IPv6 forwarding a machine
 * ignores router advertisements and would lose the default route it has from one, so interfaces
 * with accept_ra = 1 get 2 ("even when forwarding") before. Returns 1 if something was changed, 0
 * if it was on already, or -errno (-EACCES, -EROFS: not root, or a container whose host must set
 * it; -ENOENT: no such IP version). */
int pq_forwarding_enable(bool v4, bool v6);
#endif
