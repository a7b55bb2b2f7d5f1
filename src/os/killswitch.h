/* SPDX-License-Identifier: MIT */
/* killswitch.h - what this machine sends, or passes on, leaves through the TUN device or not at
 * all: rules of the firewall, IPv4 and IPv6 alike.  The tunnel's own packets come from packet
 * sockets, which no such rule concerns.  Blocking; for start-up and the end. */
#ifndef PQ_OS_KILLSWITCH_H
#define PQ_OS_KILLSWITCH_H
#include "base/spans.h"
#include "os/why.h"

struct pq_killswitch;

struct pq_killswitch_conf {
    const char *tun; /* name of the device, which need not be there yet */
    uint32_t mark;   /* of packets that may leave beside it */
    bool lan;        /* private and link-local addresses, and multicast, may be reached */
    bool keep;       /* also when the program has ended, however it has */
};

/* From now on refused is whatever does not leave through the device, but for: loopback, packets
 * with the mark, answers to connections that others have begun, DHCP and the neighbour discovery of
 * IPv6, the local network if c->lan, and what pq_killswitch_direct names.  What was begun from here
 * before is refused, too, whoever sends next: a port out of ip_local_port_range is a service's.  Of
 * what was kept before it takes the place without a gap. Without `keep` the rules go with the
 * process (Linux 5.12; before, and where the kernel has no nf_tables and they are chains of
 * iptables, they stay until the next start if it is killed).  Returns 0, -EPERM (CAP_NET_ADMIN is
 * missing), PQ_ENOTSUP (neither is to be had, or no connection tracking) or PQ_ENOMEM; *out is NULL
 * on error, with words in why. */
int pq_killswitch_open(struct pq_killswitch **out, const struct pq_killswitch_conf *c,
                       char why[PQ_OS_WHY_LEN]);

/* From now on these may be reached beside the device, too: `gone` of them no more, `more` besides;
 * ranges with both ends as they were given before.  Returns 0, -EPERM, PQ_ENOMEM, or PQ_ENOTSUP
 * (the kernel refuses, or with iptables they are more than 4096 networks): none at all may be
 * reached then. */
int pq_killswitch_direct(struct pq_killswitch *k, const struct pq_spans *gone,
                         const struct pq_spans *more);

/* From now on this goes by its port, the first that matches decides: what is direct may be reached
 * beside the device, and else not, whatever pq_killswitch_direct says.  In place of what the last
 * call said; any thread.  Returns as pq_killswitch_direct: nothing goes by its port then. */
int pq_killswitch_ports(struct pq_killswitch *k, const struct pq_port_span *v, size_t n);

/* The same for a single address, whether or not it is in those ranges; any thread, one for each
 * address at a time.  Returns as pq_killswitch_direct: then nothing has changed. */
int pq_killswitch_one(struct pq_killswitch *k, const struct pq_addr *ip, bool direct);

/* Ports that programs get which connect to others and do not ask for one. */
struct pq_range pq_killswitch_clients(void);

/* Takes the rules away, unless they are to be kept, and frees.  Sets *k to NULL; NULL does nothing.
 */
void pq_killswitch_close(struct pq_killswitch **k);

enum pq_killswitch_lifted {
    PQ_KILLSWITCH_NONE, /* nothing was kept, or it may not be taken away */
    PQ_KILLSWITCH_LIFTED,
    PQ_KILLSWITCH_IN_USE, /* another program runs that keeps it; or nobody can tell */
};

/* Takes away what was kept, if anything was, unless a program that runs has it. */
enum pq_killswitch_lifted pq_killswitch_lift(void);
#endif
