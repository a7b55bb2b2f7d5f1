/* SPDX-License-Identifier: MIT */
/* port_spans.h - what the client's rules say of packets to some ports and not of those to others,
 * as a short list in order, the first that matches decides: what policy routing and a firewall can
 * be told.  What none matches goes where its address, or its name, goes.
 *
 * If there are names in the rules, what entries with ports send into the tunnel, or block, stands
 * in the list even if no network of theirs goes directly: an address may because of its name.
 *
 * Pure: any thread. */
#ifndef PQ_ENTRY_PORT_SPANS_H
#define PQ_ENTRY_PORT_SPANS_H
#include "entry/split.h"

#define PQ_PORT_SPANS_MAX 256 /* each is two rules of the system, which it looks at one by one */
#define PQ_PORT_POINTS    128 /* where other rules begin to hold */

struct pq_port_spans {
    struct pq_port_span v[PQ_PORT_SPANS_MAX];
    size_t n;
};

/* Returns 0, PQ_ENOMEM or PQ_EINVAL (more than that: out->n is 0 then).  s == NULL: none. */
int pq_port_spans_make(const struct pq_split *s, struct pq_port_spans *out);
#endif
