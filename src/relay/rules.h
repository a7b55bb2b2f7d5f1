/* SPDX-License-Identifier: MIT */
/* rules.h - which targets a server lets its clients reach: the lists `allow` and `deny`.
 *
 * Their entries are those of match.h.
 *
 * What `deny` matches is refused.  Of the rest, `allow` permits only what it matches, which is
 * nothing if it is an empty list; if it is not there, all is permitted.  Names are compared with
 * the name that was asked for, networks with the address that is dialled, so a permitted name may
 * lead to any address that `deny` does not match.
 *
 * A name is letters, digits, '-' and '_' between single dots.  Anything else is none and is not to
 * be looked up (pq_match_is_name): resolvers take other characters for dots, and decode escapes, so
 * that an entry would be compared with another name than the one found.
 *
 * `deny` sees through addresses that lead to another one: 0.0.0.0 and :: are also 127.0.0.1 and
 * ::1, and a NAT64, 6to4, Teredo or IPv4-compatible address is also the IPv4 address inside.
 *
 * Addresses given to pq_rules_add_own are not `public`.
 *
 * Built by one thread, then read only: any thread.  No system calls. */
#ifndef PQ_RELAY_RULES_H
#define PQ_RELAY_RULES_H
#include "base/addr.h"

struct pq_rules;

/* Whether an entry can be read.  Returns 0, PQ_EINVAL or PQ_ENOMEM. */
int pq_rules_check_entry(const char *text);

/* Builds the rules; the texts are copied.  allow == NULL: there is no such list.  Returns 0,
 * PQ_EINVAL (an entry is none) or PQ_ENOMEM; *out is NULL on error. */
int pq_rules_new(struct pq_rules **out, const char *const *allow, unsigned n_allow,
                 const char *const *deny, unsigned n_deny);
void pq_rules_free(struct pq_rules **r);

/* Keeps them until they are given back, also if they are freed meanwhile; of NULL nothing.  From
 * any thread. */
const struct pq_rules *pq_rules_hold(const struct pq_rules *r);
void pq_rules_drop(const struct pq_rules *r);

/* These addresses (ports do not matter) are the machine's own, and so not public.
 * Returns 0 or PQ_ENOMEM (none was added). */
int pq_rules_add_own(struct pq_rules *r, const struct pq_addr *own, unsigned n);

/* Before a name is looked up: false if it is refused whatever its addresses are.  For literals,
 * and with r == NULL, ask pq_rules_target instead or too.  True does not permit anything, unless
 * pq_rules_need_addr is false. */
bool pq_rules_name(const struct pq_rules *r, const char *host, uint16_t port);

/* The decision about an address that is to be dialled; quick, allocates nothing.  host: the name or
 * literal that was asked for, NULL for packets of a TUN.  has_port: false for packets that have
 * none (ICMP, later fragments), which only entries without ports match.  r == NULL permits all. */
bool pq_rules_target(const struct pq_rules *r, const char *host, const struct pq_addr *a,
                     bool has_port);

/* Whether any entry asks for the address (networks, `public`), so that a name must be looked up
 * here to decide. */
bool pq_rules_need_addr(const struct pq_rules *r);

/* Whether an entry is a name: then a name must be looked up as it is, not completed by the system's
 * search list. */
bool pq_rules_need_name(const struct pq_rules *r);

/* Whether there is a list `allow`: what it does not match is refused. */
bool pq_rules_has_allow(const struct pq_rules *r);
#endif
