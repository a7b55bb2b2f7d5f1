/* SPDX-License-Identifier: MIT */
/* spans.h - sets of addresses as ranges in order, IPv4 and IPv6 in one list: what lists of networks
 * come to when one is taken from another.  Pure: any thread, one at a time for each list. */
#ifndef PQ_BASE_SPANS_H
#define PQ_BASE_SPANS_H
#include "base/addr.h"

struct pq_ip_span { /* both included, in the form of struct pq_addr, of one IP version */
    uint8_t from[16], to[16];
};

struct pq_spans { /* zeros: none */
    struct pq_ip_span *v;
    size_t n, cap;
};

void pq_spans_free(struct pq_spans *s); /* none are left */

/* Adds addresses, which may be of both IP versions.  Not in order until sealed.  Returns 0 or
 * PQ_ENOMEM. */
int pq_spans_add(struct pq_spans *s, const uint8_t from[16], const uint8_t to[16]);

/* Adds a network, whose host part need not be 0; ::/0 has no IPv4 in it.  Returns 0 or PQ_ENOMEM.
 */
int pq_spans_add_net(struct pq_spans *s, const struct pq_net *net);

/* Adds all of another list.  Returns 0 or PQ_ENOMEM. */
int pq_spans_add_all(struct pq_spans *s, const struct pq_spans *more);

/* Puts in order; afterwards they neither overlap nor touch, but where an IP version ends.  What
 * follows is about lists that are sealed, and makes such. */
void pq_spans_seal(struct pq_spans *s);

/* Adds to *out, which was empty, what is in a and not in b; in both.  Returns 0 or PQ_ENOMEM (*out
 * is empty then). */
int pq_spans_minus(struct pq_spans *out, const struct pq_spans *a, const struct pq_spans *b);
int pq_spans_and(struct pq_spans *out, const struct pq_spans *a, const struct pq_spans *b);

/* The same for the ranges of a that are not, with both ends, in b. */
int pq_spans_new(struct pq_spans *out, const struct pq_spans *a, const struct pq_spans *b);

bool pq_spans_has(const struct pq_spans *s, const struct pq_addr *a);

/* Copies *s to *out, which was empty, but with one range for IPv6 where there are two on both sides
 * of what is IPv4: for pq_span_net, which finds fewer networks then.  Returns 0 or PQ_ENOMEM. */
int pq_spans_join6(struct pq_spans *out, const struct pq_spans *s);

bool pq_span_is4(const struct pq_ip_span *s);

/* The addresses of a network; ::/0 has those of IPv4 in it, too, here. */
void pq_span_of(struct pq_ip_span *out, const struct pq_net *net);

/* Takes the largest network off that begins where the range does.  Returns whether more is left. */
bool pq_span_net(struct pq_ip_span *s, struct pq_net *net);

struct pq_port_span { /* what goes to these ports of a network, over TCP or UDP */
    struct pq_range ports;
    struct pq_net net;
    bool direct; /* beside the tunnel, else into it */
};

/* The address behind, or before; false: there is none. */
bool pq_ip_next(uint8_t ip[16]);
bool pq_ip_before(uint8_t ip[16]);
#endif
