/* SPDX-License-Identifier: MIT */
/* dns_port.h - where the machine's DNS is led to, over UDP and TCP.  Most queries go to a resolver
 * behind the tunnel, many over one stream, as DNS over TCP (RFC 7766), so none gets lost and nobody
 * can put an answer in between.  By the client's rules (split.h) a name may be asked of the
 * machine's own resolvers instead, beside the tunnel, or not at all: there is no such name then.
 * What has been answered lately is answered here.  One worker's thread. */
#ifndef PQ_ENTRY_DNS_PORT_H
#define PQ_ENTRY_DNS_PORT_H
#include "entry/steer.h"
#include "relay/front.h"

#define PQ_DNS_PENDING_MAX   512 /* queries without an answer; more drop the oldest */
#define PQ_DNS_BESIDE_MAX    128 /* the same of those that are asked beside the tunnel */
#define PQ_DNS_CONNS_MAX     64  /* programs that ask over TCP; more drop the oldest */
#define PQ_DNS_RESOLVERS_MAX 4

struct pq_dns_port;

struct pq_dns_port_conf {
    const struct pq_addr *resolvers; /* behind the tunnel, n of them, with ports, asked one after
                                        the other when one is silent; copied */
    unsigned n;
    /* The machine's own resolvers, as they are now: writes them to `out`, returns how many. */
    unsigned (*beside)(void *ctx, struct pq_addr out[PQ_DNS_RESOLVERS_MAX]);
    pq_steer_fn steer; /* where packets to an address go that was answered */
    void *ctx;         /* of both */
};

struct pq_dns_counts { /* since it was opened */
    uint64_t asked, cached, beside, blocked, failed;
    size_t steered, direct; /* addresses of names that are known now; of those that go directly */
};

/* Opens it at 127.0.0.1, and ::1 where there is IPv6, at one port that the kernel chooses, which is
 * also that of *port.  Returns 0, -errno or PQ_ENOMEM. */
int pq_dns_port_open(struct pq_dns_port **out, struct pq_front *front,
                     const struct pq_dns_port_conf *conf, uint16_t *port);

/* front->split has changed: it holds for names that were answered before, too. */
void pq_dns_port_renew(struct pq_dns_port *p);

/* Where packets to an address go because of its name, see pq_steer_find; p == NULL: PQ_STEERED_NOT.
 */
enum pq_steered pq_dns_port_steered(const struct pq_dns_port *p, const struct pq_addr *ip,
                                    unsigned *nth);

void pq_dns_port_count(const struct pq_dns_port *p, struct pq_dns_counts *out);

/* Ends; frees when the loop has closed its handles.  Sets *p to NULL; NULL does nothing. */
void pq_dns_port_close(struct pq_dns_port **p);
#endif
