/* SPDX-License-Identifier: MIT */
/* tundev.h - a TUN device with addresses, MTU and routes.  All of it vanishes with the descriptor,
 * but for policy rules and the routes into a device that the user has made ("ip tuntap add"): close
 * removes them.  Those that a killed program leaves are without effect, and pq_tundev_sweep removes
 * them.  Blocking; for start-up. */
#ifndef PQ_OS_TUNDEV_H
#define PQ_OS_TUNDEV_H
#include "base/addr.h"
#include "base/spans.h"

#include <pthread.h>

#define PQ_TUN_WHY_LEN 512
#define PQ_TUN_KEEP    32 /* most addresses of a policy */

struct pq_tundev_conf {
    char name[16];            /* "": the kernel chooses (tun0, ...) */
    struct pq_net net4, net6; /* own address and the length of its network */
    bool has4, has6;
    uint32_t mtu;
    bool offload; /* ask for super packets and unfinished checksums (wire/gso.h) */
};

struct pq_tundev {
    int fd; /* non-blocking; -1 after close */
    int index;
    char name[16];
    bool offload; /* each read and write has PQ_VNET_LEN bytes in front */
    bool has4, has6;
    struct pq_addr addr4, addr6;
    bool rules4, rules6;  /* policy rules were made ... */
    unsigned n_kept;      /* ... about as many of them for addresses to keep */
    uint32_t table;       /* in which routes were made; 0 = none were */
    struct pq_spans past; /* what pq_tundev_past has let past it ... */
    bool shared;          /* ... while other clients were there */
    bool past_made;       /* it was called */
    pthread_mutex_t lock; /* of what leads to us, without networks of other clients: */
    struct pq_spans own;
    size_t n_ports; /* rules about ports that were made ... */
    bool ports_at;  /* ... at the second of their two places */
};

/* Where packets that must not go into the tunnel are told apart; see pq_tundev_routes. */
struct pq_tundev_policy {
    const struct pq_addr *keep; /* this machine's addresses on the way to the server; borrowed */
    unsigned n_keep;            /* at most PQ_TUN_KEEP */
};

/* Removes the rules, and the routes in our table, that a killed client has left, unless another
 * client uses them.  For the start of each client, before it needs the network. */
void pq_tundev_sweep(void);

/* Makes the device (or attaches to one that the user has made), sets addresses (those it already
 * has do not hurt; IPv6 without duplicate detection, and no link-local address), MTU, and up.  The
 * addresses' own networks lead to it from then on.  Where the kernel refuses offload, it is left
 * out. Returns 0, or a negative error with cause and remedy in why (d is closed then): -ENOENT,
 * -ENODEV, -ENXIO (no TUN in this system), -EPERM, -EACCES, -EBUSY (another program has that
 * device), -EADDRINUSE (another interface has the address), -EINVAL (name, MTU), PQ_ENOMEM, or
 * another -errno. */
int pq_tundev_open(struct pq_tundev *d, const struct pq_tundev_conf *c, char why[PQ_TUN_WHY_LEN]);

/* Leads networks into the device.  A network of an IP version without an address is an error; a
 * default route of such a version (0.0.0.0/0, ::/0) is left out.
 *
 * Without a policy (server): routes in the main table.  One that leads to the device already stays.
 *
 * With a policy (client): routes in table PQ_ROUTE_MARK, and in PQ_ROUTE_MARK + 1, where nothing
 * goes past the device; and for each IP version that has one, rules before the main table:
 *   28760  from each of policy->keep: goto 29771.  What talks from one of this machine's own
 *          addresses, such as the ssh session that started us, goes on as it was, by whatever
 *          rules the machine has for it.
 *   28761  main table, but for its default route: the local network and what the user has routed
 *          stay as they are.
 *   28762  with the mark PQ_ROUTE_MARK: goto 29771.
 *   28763  from the device's address: table PQ_ROUTE_MARK + 1.  What has begun in the tunnel stays
 *          there when pq_tundev_past lets its target past the device.
 *   28764  table PQ_ROUTE_MARK + 2: single addresses of pq_tundev_one.
 *   28770  and up to 29769: those of pq_tundev_ports, of which each client has two.
 *   29770  without the mark PQ_ROUTE_MARK: our table.  Lookups with the mark (netinfo.h) go on to
 *          the main table.
 *   29771  nothing: where the first ones lead.
 * So a network that the main table knows by itself is not led into the tunnel.  Several clients of
 * a network namespace share table and rules: the longest prefix decides to which one a packet goes,
 * and none may have the same network as another.
 *
 * Returns 0, or a negative error with cause and remedy in why (nothing is left then): -EBUSY
 * (another program has the same network in the table), -EAFNOSUPPORT, -EOPNOTSUPP (kernel without
 * policy routing), -EEXIST (main table: the network is routed elsewhere), -EPERM, PQ_EINVAL (too
 * many addresses to keep), or another -errno.  At most once for each device. */
int pq_tundev_routes(struct pq_tundev *d, const struct pq_net *nets, unsigned n,
                     const struct pq_tundev_policy *policy, char why[PQ_TUN_WHY_LEN]);

/* Of what pq_tundev_routes with a policy leads into the device, these addresses (sealed) go by the
 * main table from now on, and no others: "throw" routes in our table, changed where they differ
 * from before.  What leads to another client's device is left to that one, and what others let past
 * theirs, but leads to ours now, or was left by a client that was killed, is taken away; so it
 * is to be called with none, too.  Does nothing without such routes.  Returns 0, PQ_ENOMEM,
 * PQ_EINVAL (1024 routes of clients) or -errno; all that was let past leads into the device then.
 */
int pq_tundev_past(struct pq_tundev *d, const struct pq_spans *direct);

/* Of what leads into the device, this goes by its port: the first that matches decides, and what
 * none matches is as it was.  In place of what the last call said; to be called after
 * pq_tundev_past, and again after each call of that, since other clients may have come or gone.
 * Where another client's network is inside ours and it comes later, what we say of it holds until
 * then.  Returns 0, PQ_ENOMEM, PQ_ENOTSUP (Linux before 4.17), PQ_EINVAL (with other clients'
 * networks left out, more than PQ_TUN_PORTS_MAX) or -errno: nothing goes by its port then. */
#define PQ_TUN_PORTS_MAX 512
int pq_tundev_ports(struct pq_tundev *d, const struct pq_port_span *v, size_t n);

enum pq_tun_one { /* where a single address leads */
                  PQ_TUN_AS_NETWORK,
                  PQ_TUN_PAST,
                  PQ_TUN_INTO,
};

/* Has an address, which went to `was` by the last call for it, go elsewhere, whatever
 * pq_tundev_past says; does nothing if it leads to another client's device or to none.  Quick; any
 * thread, one for each address at a time, also during pq_tundev_past.  Returns 0 or -errno. */
int pq_tundev_one(struct pq_tundev *d, const struct pq_addr *ip, enum pq_tun_one was,
                  enum pq_tun_one to);

/* Whether a client leads networks into this device.  false if nobody can tell. */
bool pq_tundev_is_ours(int ifindex);

/* This machine has other addresses now: keeps them out of the tunnel, too, as policy->keep of
 * pq_tundev_routes; does nothing without a policy.  Rules for old ones stay until they are many.
 * Returns 0, PQ_EINVAL (too many) or -errno. */
int pq_tundev_keep(struct pq_tundev *d, const struct pq_tundev_policy *policy);

/* Removes the rules, unless another client uses them, and our routes, and closes; a device that we
 * made is gone then. */
void pq_tundev_close(struct pq_tundev *d);
#endif
