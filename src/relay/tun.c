/* SPDX-License-Identifier: MIT */
#include "relay/tun.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define READS_PER_TURN 64

/* ---- device -> packets */

static bool read_one(struct pq_tun *t)
{
    size_t head = t->offload ? PQ_VNET_LEN : 0;
    ssize_t got = read(t->fd, t->space, PQ_VNET_LEN + PQ_TUN_PACKET_MAX);
    if (got < 0)
        return errno == EINTR;
    struct pq_tun_packet pkt = {.p = t->space + head, .n = (size_t)got - head};
    if ((size_t)got < head) {
        t->bad++;
        return true;
    }
    if (t->offload) {
        pq_vnet_read(&pkt.vnet, t->space);
        pkt.partial_csum = pkt.vnet.flags & PQ_VNET_NEEDS_CSUM;
        pkt.gso_size = pkt.vnet.gso_type == PQ_VNET_GSO_NONE ? 0 : pkt.vnet.gso_size;
    }
    if (pq_ip_parse(&pkt.ip, (struct pq_view){pkt.p, pkt.n}))
        t->bad++;
    else
        t->packet(t->ctx, &pkt);
    return true;
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct pq_tun *t = p->data;
    (void)events;
    if (status < 0 && !t->gone) {
        t->gone = true;
        PQ_LOG(PQ_LOG_ERROR, "the TUN device was removed: start paqet again to have a new one");
    }
    for (int i = 0; status == 0 && i < READS_PER_TURN && !t->paused && read_one(t); i++)
        continue;
    t->turn_over(t);
}

int pq_tun_start(struct pq_tun *t)
{
    t->space = malloc(PQ_VNET_LEN + 2 * PQ_TUN_PACKET_MAX);
    if (!t->space)
        return PQ_ENOMEM;
    t->cut = t->space + PQ_VNET_LEN + PQ_TUN_PACKET_MAX;
    int e = uv_poll_init(t->front->loop, &t->poll, t->fd);
    t->poll.data = t;
    pq_list_init(&t->turn);
    if (e)
        free(t->space);
    return e ? e : uv_poll_start(&t->poll, UV_READABLE, on_poll);
}

void pq_tun_stop(struct pq_tun *t, uv_close_cb closed)
{
    PQ_LOG(PQ_LOG_DEBUG, "TUN device: %llu packets were none, the kernel refused %llu",
           (unsigned long long)t->bad, (unsigned long long)t->refused);
    t->paused = true;
    free(t->space);
    t->space = t->cut = NULL;
    uv_close((uv_handle_t *)&t->poll, closed);
}

void pq_tun_pause(struct pq_tun *t, bool pause)
{
    if (pause == t->paused || uv_is_closing((uv_handle_t *)&t->poll))
        return;
    t->paused = pause;
    if (pause)
        uv_poll_stop(&t->poll);
    else
        uv_poll_start(&t->poll, UV_READABLE, on_poll);
}

/* ---- packets -> device */

static void write_out(struct pq_tun *t, const struct pq_vnet *vnet, const uint8_t *p, size_t n)
{
    uint8_t head[PQ_VNET_LEN];
    struct iovec iov[2] = {{head, sizeof head}, {(void *)p, n}};
    pq_vnet_write(vnet, head);
    if (writev(t->fd, iov + !t->offload, t->offload ? 2 : 1) < 0)
        t->refused++;
}

/* For a device that takes ordinary packets only. */
static int write_cut(struct pq_tun *t, const uint8_t *p, size_t n, uint16_t gso_size)
{
    const struct pq_vnet plain = {0};
    struct pq_gso g;
    size_t k;
    if (pq_gso_init(&g, p, n, gso_size))
        return PQ_EPROTO;
    while ((k = pq_gso_next(&g, t->cut, PQ_TUN_PACKET_MAX)))
        write_out(t, &plain, t->cut, k);
    return 0;
}

int pq_tun_write(struct pq_tun *t, const uint8_t *p, size_t n, uint16_t gso_size, bool partial_csum)
{
    struct pq_vnet vnet;
    if (n > PQ_TUN_PACKET_MAX || pq_gso_describe(&vnet, p, n, gso_size, partial_csum))
        return PQ_EPROTO;
    if (t->offload || (!gso_size && !partial_csum)) {
        write_out(t, &vnet, p, n);
        return 0;
    }
    if (gso_size)
        return write_cut(t, p, n, gso_size);
    memcpy(t->cut, p, n);
    pq_ip_fill_checksum(t->cut, n, vnet.csum_start, vnet.csum_offset);
    write_out(t, &vnet, t->cut, n);
    return 0;
}
