/* SPDX-License-Identifier: MIT */
/* mark.h - what programs of this kind tell each other in a network namespace, for the modules of
 * os: "these ports are mine", "I keep this".  A mark is 32 bits, and goes with the process that has
 * set it, however that ends.
 *
 * It is a raw IPv4 socket, of a protocol that nobody has and bound to a multicast address, which
 * never gets a packet; the kernel lists these for everyone.  To make one takes CAP_NET_RAW in this
 * network, as all that we do does: a name of an abstract Unix socket, which the network has for
 * itself as well, could be taken by any local user before us. */
#ifndef PQ_OS_LINUX_MARK_H
#define PQ_OS_LINUX_MARK_H
#include "base/addr.h"

#include <stdbool.h>

/* The mark of a range of ports.  Those of names are none of a range. */
uint32_t pq_mark_of_range(const struct pq_range *r);
/* The other way round; false: it is none of a range. */
bool pq_mark_to_range(uint32_t mark, struct pq_range *r);
/* That of a name, which every program of this kind knows. */
uint32_t pq_mark_of_name(const char *name);

/* Sets a mark, whether or not others have it.  Returns a descriptor, which the caller closes, or
 * -errno: -EPERM without CAP_NET_RAW. */
int pq_mark_set(uint32_t mark);

/* Calls fn for each mark in this network but for the one that `but` is the descriptor of (-1: for
 * each one), until it returns true.  Returns 1 if it did, 0, or -errno if the list cannot be read.
 */
int pq_mark_find(int but, bool (*fn)(void *ctx, uint32_t mark), void *ctx);

/* Sets a mark that one program may have.  Of two that do it in the same moment neither may get it.
 * Returns a descriptor, -EADDRINUSE (another one has it), or -errno as the two functions above. */
int pq_mark_take(uint32_t mark);

/* Whether a running program of the version before says the same by an abstract Unix socket of this
 * name: it does not know of marks.  Any local user can take such a name; root's, this user's and
 * the service's count.  Where the kernel cannot be asked, false.  To be removed with the next
 * version. */
bool pq_mark_before(const char *name);
#endif
