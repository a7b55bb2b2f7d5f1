/* SPDX-License-Identifier: MIT */
/* pktio.h - packet input and output behind one interface: AF_PACKET, libpcap, memory.
 * Knows: frames, rings, filters.  Does not know: what is in a frame.  One worker's thread. */
#ifndef PQ_IO_PKTIO_H
#define PQ_IO_PKTIO_H
#include "base/addr.h"
#include "base/err.h"
#include "base/slot.h"

#include <stdbool.h>
#include <stddef.h>

#define PQ_IO_PORTS_MAX 256 /* destination ports of one filter, or ranges of them */
#define PQ_IO_RUN_SLOTS 64  /* datagrams of one run */

struct pq_pktio_conf {
    char ifname[16];
    size_t sockbuf; /* bytes of the socket's receive buffer; 0 = default */
    int *fanout;    /* not NULL: share the input with the other sockets that name the same place,
                       which holds -1 before the first of them, then the group's id */
};

struct pq_pktio_stats {
    uint64_t kernel_drops; /* frames for which the ring had no room */
    uint64_t truncated;    /* frames that did not fit and could not be had whole */
};

struct pq_pktio;

struct pq_pktio_ops {
    int (*set_ports)(struct pq_pktio *io, const struct pq_range *ports, size_t n);
    size_t (*recv)(struct pq_pktio *io, struct pq_frame *frames, size_t max);
    void (*release)(struct pq_pktio *io);
    int (*send)(struct pq_pktio *io, const struct pq_slot *slots, size_t n);
    void (*stats)(struct pq_pktio *io, struct pq_pktio_stats *out);
    void (*close)(struct pq_pktio *io);
};

struct pq_pktio { /* first member of each backend's state */
    const struct pq_pktio_ops *ops;
    int rx_fd;         /* readable when frames wait */
    int tx_fd;         /* writable when sending may go on */
    uint16_t link_len; /* bytes of the link header: 14, or 0 for bare IP packets */
    bool runs;         /* takes runs of datagrams in one piece; may turn out not to */
    bool splits;       /* tells of frames that hold several datagrams (gso_size) */
};

/* Opens AF_PACKET on the interface; nothing is received before pq_pktio_set_ports.
 * Returns 0, -errno (-EPERM: CAP_NET_RAW is missing; -ENODEV: no such interface) or PQ_ENOTSUP (the
 * link is neither Ethernet nor bare IP). */
int pq_afpacket_open(struct pq_pktio **out, const struct pq_pktio_conf *conf);

/* The same through libpcap, which is loaded when first needed.  Returns also PQ_ENOTSUP (the
 * library is not installed).  Glued frames cannot be told apart here. */
int pq_pcap_open(struct pq_pktio **out, const struct pq_pktio_conf *conf);

/* Two backends of which each receives what the other sends, for tests and benches.  No filter.
 * Returns 0 or -errno. */
int pq_mem_open(struct pq_pktio *out[2], size_t frames);

/* Replaces the filter: TCP to one of these ports or ranges, incoming.  Returns 0, -errno or
 * PQ_EINVAL (more than PQ_IO_PORTS_MAX). */
static inline int pq_pktio_set_ports(struct pq_pktio *io, const struct pq_range *ports, size_t n)
{
    return io->ops->set_ports(io, ports, n);
}

/* Takes up to `max` frames that wait; they are valid, and may be written to, until
 * pq_pktio_release, which must come before the next call. */
static inline size_t pq_pktio_recv(struct pq_pktio *io, struct pq_frame *frames, size_t max)
{
    return io->ops->recv(io, frames, max);
}

static inline void pq_pktio_release(struct pq_pktio *io)
{
    io->ops->release(io);
}

/* Hands whole packets, or runs of at most PQ_IO_RUN_SLOTS if io->runs, to the kernel.  Returns how
 * many slots it took, no run in part: fewer than n means wait until tx_fd is writable; PQ_EAGAIN:
 * it has no room, and tx_fd does not tell when it has (try again in a millisecond); or -errno, and
 * then the first one is to be given up (-ENETDOWN, -EMSGSIZE). */
static inline int pq_pktio_send(struct pq_pktio *io, const struct pq_slot *slots, size_t n)
{
    return io->ops->send(io, slots, n);
}

static inline void pq_pktio_stats(struct pq_pktio *io, struct pq_pktio_stats *out)
{
    io->ops->stats(io, out);
}

/* Closes and frees; sets *io to NULL; NULL does nothing. */
static inline void pq_pktio_close(struct pq_pktio **io)
{
    if (*io)
        (*io)->ops->close(*io);
    *io = NULL;
}
#endif
