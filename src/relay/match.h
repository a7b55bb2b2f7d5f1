/* SPDX-License-Identifier: MIT */
/* match.h - one entry of a list of targets, as a user writes it, and whether a target is one of
 * those that it means; for allow and deny of a server (rules.h) and the client's own rules
 * (entry/split.h).  An entry is
 *   any, or *          every target
 *   public             what is globally routable and not this machine itself, see below
 *   10.0.0.0/8         a network or an address, IPv4 or IPv6
 *   example.com        a name, as it was asked for; case and a final dot do not matter
 *   *.example.com      the names below example.com, not example.com itself
 * and behind each ":25" or ":6000-6063", if only these ports are meant.  IPv6 with a port is
 * written in brackets that hold the whole network: [2001:db8::/32]:443.
 *
 * `public` is no loopback, private, shared (100.64/10), link-local, multicast, test, benchmark,
 * documentation or reserved network, no own address of the machine, and no IPv6 address whose inner
 * IPv4 address is one of these; of IPv6 only 2000::/3 and NAT64.
 *
 * Pure: any thread. */
#ifndef PQ_RELAY_MATCH_H
#define PQ_RELAY_MATCH_H
#include "base/addr.h"

enum pq_match_kind {
    PQ_MATCH_ANY,
    PQ_MATCH_PUBLIC,
    PQ_MATCH_NET,
    PQ_MATCH_NAME,
    PQ_MATCH_BELOW,
    PQ_MATCH_DOMAIN, /* both: the name itself, and those below; not read from an entry */
};

struct pq_match {
    enum pq_match_kind kind;
    bool has_ports;
    uint16_t from, to;
    struct pq_net net; /* PQ_MATCH_NET */
    char *name;        /* of the last three kinds, without "*."; malloc'ed, else NULL */
    size_t name_len;
};

/* Reads an entry.  Returns 0, PQ_EINVAL (it is none) or PQ_ENOMEM; *m is to be given to
 * pq_match_free in any case. */
int pq_match_parse(struct pq_match *m, const char *text);
void pq_match_free(struct pq_match *m);

/* Whether a text is a name: letters, digits, '-' and '_' between single dots, in any case, perhaps
 * with a final dot. */
bool pq_match_is_name(const char *host);

/* Whether the port is one of those that are meant; has_port: false for packets that have none,
 * which only entries without ports match. */
bool pq_match_port(const struct pq_match *m, uint16_t port, bool has_port);

/* The length of a host's name without a final dot; 0 for NULL. */
size_t pq_match_name_len(const char *host);

/* Whether the name is meant, which has n bytes; of an entry with a name. */
bool pq_match_name(const struct pq_match *m, const char *host, size_t n);

/* Whether an address is public.  own: n addresses of this machine, which are not. */
bool pq_match_is_public(const struct pq_addr *a, const struct pq_addr *own, unsigned n);

/* The IPv4 addresses to which an IPv6 address leads.  Returns how many. */
unsigned pq_match_inner4(const struct pq_addr *a, struct pq_addr out[2]);
#endif
