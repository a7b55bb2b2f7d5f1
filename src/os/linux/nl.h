/* SPDX-License-Identifier: MIT */
/* nl.h - sockets to the kernel that speak netlink; for the modules of os.  All of them block. */
#ifndef PQ_OS_LINUX_NL_H
#define PQ_OS_LINUX_NL_H
#include "os/linux/nlmsg.h"

#define PQ_NL_RECV 32768 /* bytes: the kernel never says more at once to one who asks for it */

struct pq_nl {
    int fd;
    uint32_t port; /* ours: answers to us bear it */
    uint32_t seq;  /* of the request that was numbered last */
};

/* Opens a socket of NETLINK_ROUTE or NETLINK_NETFILTER.  Returns 0 or -errno. */
int pq_nl_open(struct pq_nl *nl, int protocol);
void pq_nl_close(struct pq_nl *nl); /* closing twice does nothing */

/* Numbers the message that is being written; the kernel repeats it in its answers. */
void pq_nl_number(struct pq_nl *nl, struct pq_nl_out *o);

/* Sends all that was written.  Returns 0, PQ_ENOMEM (it did not fit) or -errno. */
int pq_nl_send(struct pq_nl *nl, const struct pq_nl_out *o);

/* Waits for messages of the kernel, which `buf` then holds.  What others send is left out.
 * Returns 0, -EAGAIN (SO_RCVTIMEO is over), -EMSGSIZE (cut off) or -errno. */
int pq_nl_recv(struct pq_nl *nl, uint8_t buf[PQ_NL_RECV], struct pq_view *out);

/* Reads one answer; the message is borrowed.  Returns 0, or an error that ends the reading. */
typedef int (*pq_nl_fn)(const struct pq_nl_msg *m, void *arg);

/* Sends one request, with NLM_F_DUMP or NLM_F_ACK, on an open socket and calls fn, which may be
 * NULL, for each message of the answer, until the kernel says that this was all.  Returns 0, the
 * kernel's -errno, an error of pq_nl_send, pq_nl_recv or fn, PQ_EPROTO (it answers with nonsense)
 * or -EINTR (a list that changed while it was read: there may be gaps). */
int pq_nl_ask(struct pq_nl *nl, struct pq_nl_out *o, pq_nl_fn fn, void *arg);

/* The same to NETLINK_ROUTE, on a socket of its own.  Returns also what pq_nl_open does. */
int pq_nl_query(struct pq_nl_out *o, pq_nl_fn fn, void *arg);

/* The same to any protocol, such as NETLINK_NETFILTER. */
int pq_nl_query_of(int protocol, struct pq_nl_out *o, pq_nl_fn fn, void *arg);

/* Asks NETLINK_ROUTE for the whole list of `type`, whose header of `head` bytes is zeros.  Returns
 * as pq_nl_query. */
int pq_nl_dump(uint16_t type, size_t head, pq_nl_fn fn, void *arg);
#endif
