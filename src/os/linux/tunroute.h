/* SPDX-License-Identifier: MIT */
/* tunroute.h - what tunroute.c, tunrule.c and tundirect.c share: whose routes and rules are whose,
 * and many changes of them at a time. */
#ifndef PQ_OS_LINUX_TUNROUTE_H
#define PQ_OS_LINUX_TUNROUTE_H
#include "os/linux/nl.h"
#include "os/linux/rtmsg.h"
#include "os/tundev.h"

#define PQ_ROUTE_PROTOCOL 113 /* 'q': tells our routes from those that others make */

/* Beside our table, PQ_ROUTE_MARK, one with what leads into devices and nothing past them. */
#define PQ_TABLE_INTO (PQ_ROUTE_MARK + 1)
/* And one with single addresses that go into a device at all ports. */
#define PQ_TABLE_ONES (PQ_ROUTE_MARK + 2)

/* Metrics in our table.  Routes past the tunnel, which belong to no device, name in theirs the one
 * of their client, and come before those into it; routes of single addresses come first. */
#define PQ_METRIC_ONE  0x00000000U
#define PQ_METRIC_PAST 0x01000000U
#define PQ_METRIC_TUN  0x02000000U

static inline uint32_t pq_metric_past(int ifindex)
{
    return PQ_METRIC_PAST | ((uint32_t)ifindex & (PQ_METRIC_PAST - 1));
}

static inline uint32_t pq_metric_one(int ifindex)
{
    return PQ_METRIC_ONE | ((uint32_t)ifindex & (PQ_METRIC_PAST - 1));
}

/* Whether a route past the tunnel is of this device's client. */
static inline bool pq_is_past(uint32_t metric, int ifindex)
{
    return metric == pq_metric_past(ifindex) || metric == pq_metric_one(ifindex);
}

/* ---- tunrule.c: the rules of pq_tundev_routes */

/* Makes those of a device, for the IP versions of d->rules4 and rules6.  Returns 0 or -errno. */
int pq_tunrule_add(struct pq_tundev *d, const struct pq_tundev_policy *policy);
int pq_tunrule_keep(struct pq_tundev *d, const struct pq_tundev_policy *policy);

/* Makes those about ports in place of the ones before.  Returns 0, PQ_ENOTSUP (Linux before 4.17)
 * or -errno: there are none of this device then. */
int pq_tunrule_ports(struct pq_tundev *d, const struct pq_port_span *v, size_t n);

/* Removes those about ports of clients that are gone: but for those of n devices. */
void pq_tunrule_sweep_ports(const int *ifindex, size_t n);

/* Removes those of all clients, also of killed ones; what this device alone has. */
void pq_tunrule_remove_all(void);
void pq_tunrule_remove_own(const struct pq_tundev *d);

/* ---- tunroute.c */

/* Only one client of a machine changes rules and the table at a time.  Returns what to close then;
 * who waits for two seconds goes on without. */
int pq_tunroute_lock(void);
void pq_tunroute_unlock(int fd);

/* The kernel wants the host part to be 0. */
struct pq_addr pq_tunroute_addr(const struct pq_net *net);
uint8_t pq_tunroute_len(const struct pq_net *net); /* as for its IP version */

/* ---- rtbatch.c */

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

/* Asks for all entries of a kind and lets `fn`, whose ctx is `arg`, put into the batch what takes
 * back those that are to go; again until none is left, since a list that changes while it is read
 * may come with gaps. */
void pq_rt_batch_sweep(struct pq_rt_batch *b, uint16_t type, size_t head, pq_nl_fn fn, void *arg);
#endif
