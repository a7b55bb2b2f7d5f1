/* SPDX-License-Identifier: MIT */
/* split.h - the client's own rules, `rules` of its configuration: what goes through the tunnel,
 * what directly from this machine, and what nowhere.  The first rule that matches decides; what
 * none matches goes through the tunnel.  (What a server lets its clients reach is in
 * relay/rules.h.)
 *
 * A rule has entries as in relay/match.h, and also
 *   private            what is not `public`
 *   domain:example.com the name itself and those below it; with ports, too
 * and many names and networks, without ports, in a set (target_set.h).
 *
 * Names are compared with the name that was asked for, and networks with addresses that were asked
 * for: a name is not looked up to find out, since that would tell it to whoever is asked.  What
 * resolvers read as an address in another form (127.1, 0x7f000001) is compared as that address.
 *
 * Built by one thread, then read only: any thread.  No system calls. */
#ifndef PQ_ENTRY_SPLIT_H
#define PQ_ENTRY_SPLIT_H
#include "base/spans.h"
#include "entry/target_set.h"
#include "relay/rules.h"

enum pq_way { PQ_WAY_TUNNEL, PQ_WAY_DIRECT, PQ_WAY_BLOCK };

struct pq_split;

/* Returns NULL if memory is short. */
struct pq_split *pq_split_new(void);
void pq_split_free(struct pq_split **s); /* sets it to NULL; NULL does nothing */

/* Begins a rule, behind those that there are.  Returns 0 or PQ_ENOMEM. */
int pq_split_rule(struct pq_split *s, enum pq_way way);

/* Adds an entry to the last rule.  Returns 0, PQ_EINVAL (it is none) or PQ_ENOMEM. */
int pq_split_entry(struct pq_split *s, const char *text);

/* The set of the last rule, to be filled; owned by the rules.  Returns NULL if memory is short. */
struct pq_target_set *pq_split_set(struct pq_split *s);

/* Has to be called after the last rule. */
void pq_split_seal(struct pq_split *s);

/* Where a target goes.  host: a name, or an address as a text.  s == NULL: through the tunnel. */
enum pq_way pq_split_host(const struct pq_split *s, const char *host, uint16_t port);

/* The same for a packet; has_port: false for packets without ports, which entries with ports do not
 * match.  *nth (may be NULL) becomes the number of the rule that decides; of none, how many there
 * are. */
enum pq_way pq_split_addr(const struct pq_split *s, const struct pq_addr *a, bool has_port,
                          unsigned *nth);

/* The same for a name of which no port is known; "": one that no entry can name. */
enum pq_way pq_split_name(const struct pq_split *s, const char *name, unsigned *nth);

/* How many rules there are.  s == NULL: 0. */
unsigned pq_split_rules(const struct pq_split *s);

/* Whether there is something that names of which no port is known are compared with. */
bool pq_split_has_names(const struct pq_split *s);

/* What who asks from another machine does not reach directly: this machine's loopback, where
 * programs take whoever comes for somebody of this machine.  asks: his address; at: the one of this
 * machine that he asks at, NULL if it is not known.  NULL for who asks from this machine itself.
 * Valid as long as s. */
const struct pq_rules *pq_split_limits(const struct pq_split *s, const struct pq_addr *asks,
                                       const struct pq_addr *at);
/* Adds to *out, which was empty, the addresses that go directly at a port, sealed; port 0: where
 * there is none, so that entries with ports are left out of account.  Names are in any case.  Of
 * IPv6, `private` and `public` are without the networks that hold IPv4 addresses, which are in
 * neither then.  kept: NULL, or, the same way, what entries with ports have not go directly.  s ==
 * NULL: none.  Returns 0 or PQ_ENOMEM (both are empty then). */
int pq_split_direct(const struct pq_split *s, uint16_t port, struct pq_spans *out,
                    struct pq_spans *kept);

/* Where entries with ports and without a name begin or have just ended, in order, the first of all
 * ports, 1, included.  Returns how many there are, which may be more than max. */
size_t pq_split_port_points(const struct pq_split *s, uint16_t *out, size_t max);

/* Whether there is an entry with ports and without a name. */
bool pq_split_has_ports(const struct pq_split *s);

/* What all sets hold. */
void pq_split_count(const struct pq_split *s, unsigned *rules, struct pq_target_count *out);
#endif
