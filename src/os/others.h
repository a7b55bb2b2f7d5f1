/* SPDX-License-Identifier: MIT */
/* others.h - what of other programs our packets pass between a packet socket and the wire, as the
 * kernel tells it; and what the interface does with runs of packets by itself.  Blocking. */
#ifndef PQ_OS_OTHERS_H
#define PQ_OS_OTHERS_H
#include <stdbool.h>
#include <stdint.h>

struct pq_others {
    uint32_t xdp;      /* the program at XDP, which sees what comes in before us; 0: none */
    unsigned chains;   /* of nft, at the hook egress of the interface, which see what we send ... */
    char chain[128];   /* ... one of them: TABLE CHAIN */
    unsigned filters;  /* of tc, at its egress */
    char queue[16];    /* the kind of its root queue (tc qdisc), "" where it has none */
    bool all;          /* all of that was told; else some of it is only not known */
    bool has_offloads; /* ... and the next ones */
    bool gso, gro;     /* runs are cut at the last moment, and put together on arrival */
};

/* Reads it for the interface of that name and index.  What the kernel does not tell (no
 * CAP_NET_ADMIN, an old kernel) is as if there were none, and `all` is false.
 * Returns 0 or -errno (no netlink). */
int pq_others_read(const char *name, int index, struct pq_others *out);
#endif
