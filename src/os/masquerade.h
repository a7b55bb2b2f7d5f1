/* SPDX-License-Identifier: MIT */
/* masquerade.h - lets a server pass on what clients send through its TUN device: forwarding in the
 * kernel, and source addresses replaced by the server's own.  Blocking; for start-up. */
#ifndef PQ_OS_MASQUERADE_H
#define PQ_OS_MASQUERADE_H
#include "base/addr.h"

#include <stdbool.h>
#include <stdint.h>

struct pq_masquerade;

/* Packets that came in from the device `tun_name` and leave through another get the address of that
 * other interface, and never one of the TCP ports `own_ports`, whose answers would be taken for the
 * tunnel's packets.  The rules stand in tables of our own, as in firewall.h: the kernel removes
 * them with this process (Linux 5.12), or the next start does.  No filter is opened: where the
 * machine's firewall refuses to forward, its owner must allow the device there. Returns 0, -EPERM
 * (CAP_NET_ADMIN is missing), PQ_ENOTSUP (kernel without nftables NAT, or before 5.7, which cannot
 * tell there where a packet came from) or PQ_ENOMEM; *out is NULL on error. */
int pq_masquerade_open(struct pq_masquerade **out, const char *tun_name,
                       const struct pq_range *own_ports, bool v4, bool v6);

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
