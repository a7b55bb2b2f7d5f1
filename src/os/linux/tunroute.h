/* SPDX-License-Identifier: MIT */
/* tunroute.h - what tunroute.c and tundirect.c share: whose routes are whose in our table, and many
 * changes of routes at a time. */
#ifndef PQ_OS_LINUX_TUNROUTE_H
#define PQ_OS_LINUX_TUNROUTE_H
#include "os/linux/nl.h"
#include "os/linux/rtmsg.h"
#include "os/tundev.h"

#define PQ_ROUTE_PROTOCOL 113 /* 'q': tells our routes from those that others make */

/* Metrics in our table.  Routes past the tunnel, which belong to no device, name in theirs the one
 * of their client, and come before those into it. */
#define PQ_METRIC_PAST 0x01000000U
#define PQ_METRIC_TUN  0x02000000U

static inline uint32_t pq_metric_past(int ifindex)
{
    return PQ_METRIC_PAST | ((uint32_t)ifindex & (PQ_METRIC_PAST - 1));
}

/* Only one client of a machine changes rules and the table at a time.  Returns what to close then;
 * who waits for two seconds goes on without. */
int pq_tunroute_lock(void);
void pq_tunroute_unlock(int fd);

/* The kernel wants the host part to be 0. */
struct pq_addr pq_tunroute_addr(const struct pq_net *net);
uint8_t pq_tunroute_len(const struct pq_net *net); /* as for its IP version */

/* Requests of NETLINK_ROUTE that go out many at a time; what is there, or gone, already is no
 * error. */
struct pq_rt_batch {
    struct pq_nl nl;
    struct pq_nl_out out; /* the next message, without NLM_F_ACK, is begun here */
    unsigned n;           /* messages in it */
    int e;                /* the first error */
    unsigned done;        /* messages that the kernel took */
    uint8_t buf[4096];    /* so few that the answers, errors all of them, have room */
};

void pq_rt_batch_open(struct pq_rt_batch *b);
/* Begins a message, for which there is room for 256 bytes behind its head. */
struct pq_nl_out *pq_rt_batch_add(struct pq_rt_batch *b, uint16_t type, uint16_t flags,
                                  const void *head, size_t n);
int pq_rt_batch_close(struct pq_rt_batch *b); /* sends the rest; returns the first error or 0 */
#endif
