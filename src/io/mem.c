/* SPDX-License-Identifier: MIT */
/* mem.c - two ends of a wire in memory, for tests and benches: each packet sent by one waits in a
 * bounded queue of the other.  An eventfd says that something waits. */
#include "io/pktio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mem {
    struct pq_pktio io;
    struct mem *peer;
    uint8_t *data; /* cap buffers of PQ_SLOT_SIZE, a ring */
    uint16_t *len;
    size_t cap, head, n, taken;
    uint64_t dropped;
};

static int mem_set_ports(struct pq_pktio *io, const struct pq_range *ports, size_t n)
{
    (void)io;
    (void)ports;
    return n > PQ_IO_PORTS_MAX ? PQ_EINVAL : 0;
}

static size_t mem_recv(struct pq_pktio *io, struct pq_frame *frames, size_t max)
{
    struct mem *m = (struct mem *)io;
    uint64_t events;
    if (read(io->rx_fd, &events, sizeof events) < 0 && errno != EAGAIN)
        return 0;
    size_t k = 0;
    for (; k < max && m->taken < m->n; k++, m->taken++) {
        size_t i = (m->head + m->taken) % m->cap;
        frames[k] = (struct pq_frame){m->data + i * PQ_SLOT_SIZE, m->len[i], m->len[i], 0};
    }
    return k;
}

static void mem_release(struct pq_pktio *io)
{
    struct mem *m = (struct mem *)io;
    m->head = (m->head + m->taken) % m->cap;
    m->n -= m->taken;
    m->taken = 0;
}

static int mem_send(struct pq_pktio *io, const struct pq_slot *slots, size_t n)
{
    struct mem *to = ((struct mem *)io)->peer;
    size_t k = 0;
    for (; to && k < n && to->n < to->cap; k++) {
        size_t i = (to->head + to->n++) % to->cap;
        memcpy(to->data + i * PQ_SLOT_SIZE, slots[k].buf + slots[k].off, slots[k].len);
        to->len[i] = slots[k].len;
    }
    uint64_t one = 1;
    if (k && write(to->io.rx_fd, &one, sizeof one) < 0)
        return -errno;
    return (int)k;
}

static void mem_stats(struct pq_pktio *io, struct pq_pktio_stats *out)
{
    *out = (struct pq_pktio_stats){.kernel_drops = ((struct mem *)io)->dropped};
}

static void mem_close(struct pq_pktio *io)
{
    struct mem *m = (struct mem *)io;
    if (m->peer)
        m->peer->peer = NULL;
    if (io->rx_fd >= 0)
        close(io->rx_fd);
    free(m->data);
    free(m->len);
    free(m);
}

static const struct pq_pktio_ops mem_ops = {mem_set_ports, mem_recv,  mem_release,
                                            mem_send,      mem_stats, mem_close};

static int mem_new(struct mem **out, size_t frames)
{
    struct mem *m = *out = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->io = (struct pq_pktio){.ops = &mem_ops, .rx_fd = -1, .tx_fd = -1, .link_len = 14};
    m->cap = frames;
    m->data = malloc(frames * PQ_SLOT_SIZE);
    m->len = malloc(frames * sizeof *m->len);
    m->io.rx_fd = m->io.tx_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return m->data && m->len && m->io.rx_fd >= 0 ? 0 : -ENOMEM;
}

int pq_mem_open(struct pq_pktio *out[2], size_t frames)
{
    struct mem *m[2] = {NULL, NULL};
    int e = mem_new(&m[0], frames);
    if (!e)
        e = mem_new(&m[1], frames);
    for (int i = 0; i < 2; i++) {
        if (e && m[i])
            mem_close(&m[i]->io);
        out[i] = e ? NULL : &m[i]->io;
    }
    if (!e) {
        m[0]->peer = m[1];
        m[1]->peer = m[0];
    }
    return e;
}
