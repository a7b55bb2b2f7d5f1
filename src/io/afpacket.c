/* SPDX-License-Identifier: MIT */
/* afpacket.c - Linux packet sockets.
 *
 * In: a TPACKET_V2 ring of 2 KB frames with PACKET_VNET_HDR, so that a frame which the kernel or
 * the sender glued together says its gso_size, and PACKET_COPY_THRESH, so that one which does not
 * fit the ring (status COPY) can be had whole with recv(), exactly one for each such frame, in
 * ring order.  A V3 ring would hold a lone packet back for a millisecond or more.
 * Out: a second socket without ring, also with PACKET_VNET_HDR; sendmmsg.  A run of datagrams goes
 * as one TCP packet that the kernel or the card cuts. */
#include "io/filter.h"
#include "io/pktio.h"
#include "wire/flow.h"

#include <net/if.h> /* before the kernel's headers, which then leave its names alone */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_SIZE 2048U
#define FRAMES     1024U /* 2 MiB, all of which counts as resident */
#define BLOCK_SIZE (128U * 1024)
#define SOCKBUF_MIN                                                                                \
    ((size_t)8 * 1024 * 1024) /* below it the kernel cuts glued frames of a burst                  \
                               */
#define COPIES    8           /* glued frames of one batch */
#define COPY_SIZE (sizeof(struct virtio_net_hdr) + 18 + 65535 + 64)
#define BATCH     64

_Static_assert(2 * BATCH >= 1 + PQ_IO_RUN_SLOTS, "a run must fit into an empty outbox");

struct afp {
    struct pq_pktio io;
    uint8_t *ring;
    unsigned next, taken; /* ring frame to look at next; frames given out */
    uint8_t *copy[COPIES];
    unsigned copies;
    int ifindex;
    bool opened; /* bound to the interface */
    int *fanout;
    struct sockaddr_ll to[2]; /* link without a header: where IPv4 and IPv6 packets go */
    struct pq_pktio_stats stats;
};

static struct tpacket2_hdr *frame_at(struct afp *a, unsigned i)
{
    /* the ring is page-aligned and so is each frame to TPACKET_ALIGNMENT */
    return (struct tpacket2_hdr *)(void *)(a->ring + (size_t)i * FRAME_SIZE);
}

/* ---- in */

/* Fetches the whole of a frame that was too large for the ring.  Returns false if it is lost. */
static bool take_copy(struct afp *a, struct pq_frame *f, uint32_t wire_len)
{
    if (!a->copy[a->copies] && !(a->copy[a->copies] = malloc(COPY_SIZE))) {
        uint8_t byte; /* its place in the socket's queue must go all the same */
        a->stats.truncated += recv(a->io.rx_fd, &byte, 1, MSG_DONTWAIT) > 0;
        return false;
    }
    uint8_t *buf = a->copy[a->copies];
    ssize_t n = recv(a->io.rx_fd, buf, COPY_SIZE, MSG_DONTWAIT | MSG_TRUNC);
    if (n <= (ssize_t)sizeof(struct virtio_net_hdr) || n > (ssize_t)COPY_SIZE) {
        a->stats.truncated++;
        return false;
    }
    struct virtio_net_hdr vh;
    memcpy(&vh, buf, sizeof vh);
    a->copies++;
    *f = (struct pq_frame){.p = buf + sizeof vh,
                           .len = (uint32_t)((size_t)n - sizeof vh),
                           .wire_len = wire_len,
                           .gso_size = vh.gso_type ? vh.gso_size : 0};
    return true;
}

static void take_ring(struct afp *a, struct pq_frame *f, struct tpacket2_hdr *h)
{
    struct virtio_net_hdr vh;
    uint8_t *mac = (uint8_t *)h + h->tp_mac;
    memcpy(&vh, mac - sizeof vh, sizeof vh);
    *f = (struct pq_frame){.p = mac,
                           .len = h->tp_snaplen,
                           .wire_len = h->tp_len,
                           .gso_size = vh.gso_type ? vh.gso_size : 0};
    if (h->tp_snaplen < h->tp_len)
        a->stats.truncated++;
}

static size_t afp_recv(struct pq_pktio *io, struct pq_frame *frames, size_t max)
{
    struct afp *a = (struct afp *)io;
    size_t n = 0;
    while (n < max && a->taken < FRAMES) {
        struct tpacket2_hdr *h = frame_at(a, a->next);
        uint32_t status = __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER))
            break;
        if (status & TP_STATUS_COPY) {
            if (a->copies == COPIES)
                break;
            n += take_copy(a, &frames[n], h->tp_len);
        } else {
            take_ring(a, &frames[n++], h);
        }
        a->next = (a->next + 1) % FRAMES;
        a->taken++;
    }
    return n;
}

static void afp_release(struct pq_pktio *io)
{
    struct afp *a = (struct afp *)io;
    for (; a->taken; a->taken--) {
        struct tpacket2_hdr *h = frame_at(a, (a->next + FRAMES - a->taken) % FRAMES);
        __atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    }
    a->copies = 0;
}

/* ---- out */

struct outbox { /* one sendmmsg */
    struct mmsghdr mm[BATCH];
    struct iovec iov[2 * BATCH];
    struct virtio_net_hdr vh[BATCH];
    size_t n, n_iov;
};

/* The header in front of a message: all zero, or what the kernel needs to cut a run. */
static void put_vnet(struct virtio_net_hdr *vh, const struct pq_slot *s, uint16_t link_len)
{
    memset(vh, 0, sizeof *vh);
    if (!s->more)
        return;
    bool is6 = s->buf[s->off + link_len] >> 4 == 6;
    vh->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    vh->gso_type = is6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
    vh->hdr_len = (uint16_t)(s->len - s->gso);
    vh->gso_size = s->gso;
    vh->csum_start = (uint16_t)(link_len + (is6 ? PQ_IP6_LEN : PQ_IP4_LEN));
    vh->csum_offset = 16;
}

static bool has_room(const struct outbox *o, const struct pq_slot *s)
{
    return o->n < BATCH && o->n_iov + 2u + s->more <= sizeof o->iov / sizeof o->iov[0];
}

/* Adds the packet or run that begins with slot s. */
static void put_message(struct afp *a, struct outbox *o, const struct pq_slot *s)
{
    struct iovec *iov = &o->iov[o->n_iov];
    struct msghdr *m = &o->mm[o->n].msg_hdr;
    *m = (struct msghdr){.msg_iov = iov};
    if (a->io.runs) {
        put_vnet(&o->vh[o->n], s, a->io.link_len);
        iov[m->msg_iovlen++] = (struct iovec){&o->vh[o->n], sizeof o->vh[0]};
    }
    for (size_t i = 0; i <= s->more; i++)
        iov[m->msg_iovlen++] = (struct iovec){s[i].buf + s[i].off, s[i].len};
    if (!a->io.link_len) { /* nothing in the packet tells the driver the protocol */
        bool is6 = s->buf[s->off] >> 4 == 6;
        m->msg_name = &a->to[is6];
        m->msg_namelen = sizeof a->to[is6];
    }
    o->n_iov += m->msg_iovlen;
    o->n++;
}

/* Fills the outbox with the first of the messages.  Returns whether there is one that can go: a run
 * needs the kernel to cut it. */
static bool fill_outbox(struct afp *a, struct outbox *o, const struct pq_slot *s, size_t n)
{
    o->n = o->n_iov = 0;
    for (size_t k = 0; k < n && has_room(o, &s[k]) && (a->io.runs || !s[k].more);
         k += 1u + s[k].more)
        put_message(a, o, &s[k]);
    return o->n > 0;
}

/* Slots of the first k messages of those in s. */
static size_t slots_of(const struct pq_slot *s, size_t k)
{
    size_t n = 0;
    while (k--)
        n += 1u + s[n].more;
    return n;
}

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) ? -errno : 0;
}

/* The kernel refuses runs on this device: ordinary packets from now on. */
static void stop_runs(struct afp *a)
{
    a->io.runs = false;
    set_int(a->io.tx_fd, SOL_PACKET, PACKET_VNET_HDR, 0);
}

static int afp_send(struct pq_pktio *io, const struct pq_slot *slots, size_t n)
{
    struct afp *a = (struct afp *)io;
    struct outbox o;
    size_t done = 0;
    while (done < n) {
        if (!fill_outbox(a, &o, slots + done, n - done))
            return done ? (int)done : -EOPNOTSUPP;
        int r = sendmmsg(io->tx_fd, o.mm, (unsigned)o.n, MSG_DONTWAIT);
        if (r > 0) {
            done += slots_of(slots + done, (size_t)r);
            continue;
        }
        if (errno == EINTR)
            continue;
        if (done || errno == EAGAIN)
            break;
        int e = errno;
        if (slots[0].more && (e == EINVAL || e == EOPNOTSUPP))
            stop_runs(a);
        return e == ENOBUFS ? PQ_EAGAIN : -e; /* the queue of the interface is full */
    }
    return (int)done;
}

/* ---- opening */

static int attach_filter(int fd, const struct pq_range *ports, size_t n)
{
    struct sock_filter prog[PQ_FILTER_MAX];
    struct sock_fprog fp = {.len = (unsigned short)pq_filter_build(prog, ports, n), .filter = prog};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &fp, sizeof fp) ? -errno : 0;
}

static int bind_to(int fd, int ifindex, uint16_t protocol)
{
    struct sockaddr_ll ll = {
        .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = ifindex};
    return bind(fd, (struct sockaddr *)&ll, sizeof ll) ? -errno : 0;
}

/* The first socket gets an id that no other program of this network uses, the others join it. */
static int join_fanout(int fd, int *group)
{
    int first = (PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_UNIQUEID) << 16;
    int arg = *group < 0 ? first : *group | PACKET_FANOUT_HASH << 16;
    socklen_t len = sizeof arg;
    if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &arg, sizeof arg))
        return -errno;
    if (*group < 0) {
        if (getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &arg, &len))
            return -errno;
        *group = arg & 0xffff;
    }
    return 0;
}

/* The socket is bound (and so starts to see packets) only once it has a filter. */
static int afp_set_ports(struct pq_pktio *io, const struct pq_range *ports, size_t n)
{
    struct afp *a = (struct afp *)io;
    if (n > PQ_IO_PORTS_MAX)
        return PQ_EINVAL;
    int e = attach_filter(io->rx_fd, ports, n);
    if (e || a->opened)
        return e;
    e = bind_to(io->rx_fd, a->ifindex, ETH_P_ALL);
    if (!e && a->fanout)
        e = join_fanout(io->rx_fd, a->fanout);
    a->opened = !e;
    return e;
}

static int link_len_of(int fd, const char *ifname, uint16_t *out)
{
    struct ifreq r = {0};
    memcpy(r.ifr_name, ifname, strnlen(ifname, sizeof r.ifr_name - 1));
    if (ioctl(fd, SIOCGIFHWADDR, &r))
        return -errno;
    switch (r.ifr_hwaddr.sa_family) {
    case ARPHRD_ETHER:
    case ARPHRD_LOOPBACK:
        *out = 14;
        return 0;
    case ARPHRD_NONE:
    case ARPHRD_PPP:
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
    case ARPHRD_IPGRE:
    case ARPHRD_RAWIP:
        *out = 0;
        return 0;
    default:
        return PQ_ENOTSUP;
    }
}

static int open_ring(struct afp *a, size_t sockbuf)
{
    int fd = a->io.rx_fd, e;
    int buf = (int)(sockbuf > SOCKBUF_MIN ? sockbuf : SOCKBUF_MIN);
    struct tpacket_req req = {.tp_block_size = BLOCK_SIZE,
                              .tp_block_nr = FRAMES * FRAME_SIZE / BLOCK_SIZE,
                              .tp_frame_size = FRAME_SIZE,
                              .tp_frame_nr = FRAMES};
    /* without CAP_NET_ADMIN the buffer stays small, and glued frames of a burst are counted lost */
    if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, buf))
        set_int(fd, SOL_SOCKET, SO_RCVBUF, buf);
    set_int(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1); /* the filter does it too (Linux < 4.20) */
    if ((e = set_int(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2)) ||
        (e = set_int(fd, SOL_PACKET, PACKET_VNET_HDR, 1)) ||
        (e = set_int(fd, SOL_PACKET, PACKET_COPY_THRESH, 1)))
        return e;
    if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof req))
        return -errno;
    a->ring = mmap(NULL, (size_t)FRAMES * FRAME_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (a->ring == MAP_FAILED) {
        a->ring = NULL;
        return -errno;
    }
    return 0;
}

static void afp_stats(struct pq_pktio *io, struct pq_pktio_stats *out)
{
    struct afp *a = (struct afp *)io;
    struct tpacket_stats st;
    socklen_t len = sizeof st;
    if (!getsockopt(io->rx_fd, SOL_PACKET, PACKET_STATISTICS, &st, &len)) /* reading resets them */
        a->stats.kernel_drops += st.tp_drops;
    *out = a->stats;
}

static void afp_close(struct pq_pktio *io)
{
    struct afp *a = (struct afp *)io;
    if (a->ring)
        munmap(a->ring, (size_t)FRAMES * FRAME_SIZE);
    if (io->rx_fd >= 0)
        close(io->rx_fd);
    if (io->tx_fd >= 0)
        close(io->tx_fd);
    for (unsigned i = 0; i < COPIES; i++)
        free(a->copy[i]);
    free(a);
}

static const struct pq_pktio_ops afp_ops = {afp_set_ports, afp_recv,  afp_release,
                                            afp_send,      afp_stats, afp_close};

int pq_afpacket_open(struct pq_pktio **out, const struct pq_pktio_conf *conf)
{
    *out = NULL;
    struct afp *a = calloc(1, sizeof *a);
    if (!a)
        return PQ_ENOMEM;
    a->io = (struct pq_pktio){.ops = &afp_ops, .rx_fd = -1, .tx_fd = -1};
    a->fanout = conf->fanout;
    int e = 0;
    a->ifindex = (int)if_nametoindex(conf->ifname);
    if (!a->ifindex)
        e = -ENODEV;
    if (!e && (a->io.rx_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
        e = -errno;
    if (!e && (a->io.tx_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
        e = -errno;
    if (!e)
        e = link_len_of(a->io.rx_fd, conf->ifname, &a->io.link_len);
    if (!e)
        e = open_ring(a, conf->sockbuf);
    if (!e)
        e = bind_to(a->io.tx_fd, a->ifindex, 0);
    if (e) {
        afp_close(&a->io);
        return e;
    }
    for (int i = 0; i < 2; i++)
        a->to[i] = (struct sockaddr_ll){.sll_family = AF_PACKET,
                                        .sll_protocol = htons(i ? ETH_P_IPV6 : ETH_P_IP),
                                        .sll_ifindex = a->ifindex};
    a->io.splits = true;
    a->io.runs = a->io.link_len == 14 && !set_int(a->io.tx_fd, SOL_PACKET, PACKET_VNET_HDR, 1);
    set_int(a->io.tx_fd, SOL_SOCKET, SO_SNDBUFFORCE, 4 * 1024 * 1024);
    *out = &a->io;
    return 0;
}
