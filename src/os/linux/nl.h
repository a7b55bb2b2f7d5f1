/* SPDX-License-Identifier: MIT */
/* nl.h - one request to the kernel's routing netlink and its answers; for the modules of os. */
#ifndef PQ_OS_LINUX_NL_H
#define PQ_OS_LINUX_NL_H
#include "base/addr.h"

#include <libmnl/libmnl.h>

enum { PQ_NL_ATTRS = 32 }; /* highest attribute looked at, plus one */

/* Starts a message in `buf`, which is zeroed and large enough. */
struct nlmsghdr *pq_nl_request(void *buf, uint16_t type, uint16_t flags);

/* Sends one request and runs cb over the answers; a request that only changes something has
 * NLM_F_ACK and cb NULL.  Blocks.  Returns 0 or -errno, the kernel's included. */
int pq_nl_query(struct nlmsghdr *nlh, mnl_cb_t cb, void *arg);

/* Asks for the whole table of `type`, with a zeroed header of `payload` bytes.  Returns 0 or
 * -errno. */
int pq_nl_dump(uint16_t type, size_t payload, mnl_cb_t cb, void *arg);

/* Sorts the attributes behind a payload of `skip` bytes by type; absent ones are NULL. */
void pq_nl_attrs(const struct nlmsghdr *nlh, size_t skip, const struct nlattr *tb[PQ_NL_ATTRS]);

/* The same for attributes inside another one. */
void pq_nl_attrs_in(const void *p, size_t n, const struct nlattr *tb[PQ_NL_ATTRS]);

/* A number, or 0; an address: returns whether there is one. */
uint32_t pq_nl_u32(const struct nlattr *at);
bool pq_nl_addr(struct pq_addr *a, const struct nlattr *at);

/* Appends an address in its 4 or 16 bytes. */
void pq_nl_put_addr(struct nlmsghdr *nlh, uint16_t type, const struct pq_addr *a);
#endif
