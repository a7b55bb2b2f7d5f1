/* SPDX-License-Identifier: MIT */
/* io_kernel.c - AF_PACKET over a veth pair, in a network namespace that ends with the test. */
#include "io_tests.h"
#include "wire/flow.h"
#include "wire/segment.h"

#include <net/if.h>

#include <errno.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT    9999
#define SLOTS   64
#define PACKETS 10000
#define PIECE   1300
#define PIECES  40

struct lan {
    struct pq_pktio *a, *b;
    struct pq_flow flow;
    uint8_t memory[SLOTS][PQ_SLOT_SIZE];
};

static bool have_lan;

static int lan_setup(void **state)
{
    (void)state;
    have_lan = geteuid() == 0 && unshare(CLONE_NEWNET) == 0 &&
               system("ip link add pqa type veth peer name pqb && ip link set pqa up mtu 1500 && "
                      "ip link set pqb up mtu 1500 && sleep 0.1") == 0;
    if (!have_lan)
        printf("AF_PACKET IS NOT TESTED: it needs root, network namespaces and veth\n");
    return 0;
}

static struct lan *lan_open(void)
{
    static struct lan l;
    static const uint8_t ip[2][4] = {{192, 0, 2, 1}, {192, 0, 2, 2}};
    struct pq_pktio_conf a = {.ifname = "pqa"}, b = {.ifname = "pqb"};
    const struct pq_range port = {PORT, PORT};
    if (!have_lan)
        skip();
    assert_int_equal(pq_afpacket_open(&l.a, &a), 0);
    assert_int_equal(pq_afpacket_open(&l.b, &b), 0);
    assert_int_equal(l.a->link_len, 14);
    assert_int_equal(pq_pktio_set_ports(l.a, &port, 1), 0);
    assert_int_equal(pq_pktio_set_ports(l.b, &port, 1), 0);
    struct pq_flow_conf fc = {.link_len = 14, .t0 = 1};
    pq_addr_set4(&fc.local, ip[0], 1234);
    pq_addr_set4(&fc.peer, ip[1], PORT);
    memset(fc.peer_mac, 0xff, 6);
    pq_flow_init(&l.flow, &fc);
    return &l;
}

static void lan_close(struct lan *l)
{
    pq_pktio_close(&l->a);
    pq_pktio_close(&l->b);
}

static void make(struct lan *l, struct pq_slot *s, unsigned i, uint32_t number)
{
    size_t n = 4 + number * 37 % 1400;
    *s = (struct pq_slot){.buf = l->memory[i], .off = PQ_SLOT_HEAD, .len = (uint16_t)n};
    memset(s->buf + s->off, (int)(number & 0xff), n);
    pq_put_be32(s->buf + s->off, number);
    pq_flow_craft(&l->flow, s, false, 0);
}

/* Takes what waits; checks that numbers and bytes come in order.  Returns the next number. */
static uint32_t take(struct pq_pktio *io, uint32_t next)
{
    struct pq_frame f[SLOTS];
    struct pollfd p = {.fd = io->rx_fd, .events = POLLIN};
    poll(&p, 1, 100);
    size_t n = pq_pktio_recv(io, f, SLOTS);
    for (size_t i = 0; i < n; i++) {
        struct pq_segment seg;
        assert_int_equal(f[i].len, f[i].wire_len);
        assert_int_equal(pq_segment_parse(&seg, f[i].p, f[i].len, 14), 0);
        assert_int_equal(seg.len, 4 + next * 37 % 1400);
        assert_int_equal(pq_be32(seg.data), next);
        assert_true(seg.len == 4 || seg.data[seg.len - 1] == (next & 0xff));
        memset(f[i].p, 0xee, f[i].len); /* it may be written to */
        next++;
    }
    pq_pktio_release(io);
    return next;
}

static void ten_thousand(void **state)
{
    (void)state;
    struct lan *l = lan_open();
    struct pq_slot s[SLOTS];
    uint32_t sent = 0, got = 0;
    while (got < PACKETS) {
        unsigned n = 0;
        for (; n < SLOTS && sent + n < PACKETS; n++)
            make(l, &s[n], n, sent + n);
        for (unsigned k = 0; k < n;) {
            int r = pq_pktio_send(l->a, s + k, n - k);
            assert_true(r >= 0);
            k += (unsigned)r;
        }
        sent += n;
        uint32_t before = got;
        got = take(l->b, got);
        assert_true(got > before || sent < PACKETS);
    }
    struct pq_pktio_stats st;
    pq_pktio_stats(l->b, &st);
    assert_int_equal(st.kernel_drops + st.truncated, 0);
    struct pq_frame f[4]; /* what an end sends itself does not come back */
    assert_int_equal(pq_pktio_recv(l->a, f, 4), 0);
    pq_pktio_release(l->a);
    const struct pq_range other = {PORT + 1, PORT + 9}; /* and with another filter nothing comes */
    assert_int_equal(pq_pktio_set_ports(l->b, &other, 1), 0);
    make(l, &s[0], 0, 1);
    assert_int_equal(pq_pktio_send(l->a, s, 1), 1);
    usleep(20000);
    assert_int_equal(pq_pktio_recv(l->b, f, 4), 0);
    pq_pktio_release(l->b);
    lan_close(l);
}

/* A burst larger than the ring is counted; what comes later is received again. */
static void overflow(void **state)
{
    (void)state;
    struct lan *l = lan_open();
    struct pq_slot s[SLOTS];
    for (unsigned k = 0; k < 1600; k += 32) {
        for (unsigned i = 0; i < 32; i++)
            make(l, &s[i], i, k + i);
        for (unsigned at = 0; at < 32;) {
            int r = pq_pktio_send(l->a, s + at, 32 - at);
            assert_true(r >= 0);
            at += (unsigned)r;
        }
    }
    usleep(50000);
    uint32_t got = 0, before;
    do {
        before = got;
        got = take(l->b, got);
    } while (got != before);
    struct pq_pktio_stats st;
    pq_pktio_stats(l->b, &st);
    printf("ring: %u of 1600 packets at once, %llu dropped\n", got,
           (unsigned long long)st.kernel_drops);
    assert_int_equal(got + st.kernel_drops, 1600);
    make(l, &s[0], 0, got);
    assert_int_equal(pq_pktio_send(l->a, s, 1), 1);
    assert_int_equal(take(l->b, got), got + 1);
    lan_close(l);
}

static void set_vnet(int fd, int on)
{
    assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on), 0);
}

/* Sends PIECES datagrams as one frame of TCPv4 GSO.  Returns its bytes. */
static size_t send_glued(struct lan *l, uint8_t first)
{
    static uint8_t frame[sizeof(struct virtio_net_hdr) + 65536];
    struct virtio_net_hdr vh = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                .gso_size = PIECE,
                                .hdr_len = 14 + 20 + 32,
                                .csum_start = 14 + 20,
                                .csum_offset = 16};
    struct pq_slot s;
    make(l, &s, 0, 0);
    uint8_t *p = frame + sizeof vh;
    const size_t head = 14 + 20 + 32, len = head + (size_t)PIECE * PIECES;
    memcpy(frame, &vh, sizeof vh);
    memcpy(p, s.buf + s.off, head);
    pq_put_be16(p + 16, (uint16_t)(len - 14));
    for (unsigned i = 0; i < PIECES; i++)
        memset(p + head + (size_t)i * PIECE, (int)(first + i), PIECE);
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("pqa")};
    set_vnet(fd, 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&ll, sizeof ll), 0);
    assert_int_equal(send(fd, frame, sizeof vh + len, 0), (ssize_t)(sizeof vh + len));
    close(fd);
    return len;
}

static void check_glued(const struct pq_frame *f, size_t len, uint8_t first)
{
    struct pq_segment seg;
    assert_int_equal(f->gso_size, PIECE);
    assert_int_equal(f->len, len);
    assert_int_equal(f->wire_len, len);
    assert_int_equal(pq_segment_parse(&seg, f->p, f->len, 14), 0);
    assert_int_equal(seg.len, PIECE * PIECES);
    for (unsigned i = 0; i < PIECES; i++) {
        assert_int_equal(seg.data[(size_t)i * PIECE], (uint8_t)(first + i));
        assert_int_equal(seg.data[(size_t)(i + 1) * PIECE - 1], (uint8_t)(first + i));
    }
}

/* A frame larger than one of the ring's arrives whole, between small ones and in order; more of
 * them than one batch holds too. */
static void glued(void **state)
{
    (void)state;
    struct lan *l = lan_open();
    struct pq_slot s[2];
    size_t len = 0;
    for (unsigned i = 0; i < 20; i++) {
        make(l, &s[0], 0, i);
        assert_int_equal(pq_pktio_send(l->a, s, 1), 1);
        len = send_glued(l, (uint8_t)i);
    }
    usleep(20000);
    unsigned small = 0, big = 0;
    for (unsigned round = 0; round < 100 && big < 20; round++) {
        struct pq_frame f[SLOTS];
        size_t n = pq_pktio_recv(l->b, f, SLOTS);
        for (size_t i = 0; i < n; i++) {
            if ((small + big) % 2) {
                check_glued(&f[i], len, (uint8_t)big++);
            } else {
                assert_int_equal(f[i].gso_size, 0);
                small++;
            }
        }
        pq_pktio_release(l->b);
    }
    assert_int_equal(small, 20);
    assert_int_equal(big, 20);
    struct pq_pktio_stats st;
    pq_pktio_stats(l->b, &st);
    assert_int_equal(st.truncated + st.kernel_drops, 0);
    lan_close(l);
}

/* Sends packets and a run behind them, whose last datagram is shorter.  Returns how many. */
static unsigned send_run(struct lan *l, unsigned singles, unsigned pieces)
{
    static uint8_t memory[2 * SLOTS][PQ_SLOT_SIZE];
    struct pq_slot s[2 * SLOTS];
    unsigned n = singles + pieces;
    for (unsigned i = 0; i < n; i++) {
        s[i] = (struct pq_slot){.buf = memory[i], .off = PQ_SLOT_HEAD};
        s[i].len = (uint16_t)(i + 1 < n ? PIECE : PIECE / 2);
        memset(s[i].buf + s[i].off, (int)i, s[i].len);
        if (i < singles)
            pq_flow_craft(&l->flow, &s[i], false, 0);
    }
    pq_flow_craft_run(&l->flow, s + singles, pieces, 0);
    for (unsigned k = 0; k < n;) {
        int r = pq_pktio_send(l->a, s + k, n - k);
        assert_true(r > 0);
        k += (unsigned)r;
    }
    return n;
}

static void check_runs(struct lan *l)
{
    static const unsigned t[][2] = {{0, 2}, {1, 40}, {63, 48}, {64, 48}, {40, 48}};
    assert_true(l->a->runs);
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        unsigned n = send_run(l, t[i][0], t[i][1]), got = 0;
        for (unsigned round = 0; round < 20 && got < n; round++) {
            struct pq_frame f[SLOTS];
            struct pollfd p = {.fd = l->b->rx_fd, .events = POLLIN};
            poll(&p, 1, 100);
            size_t frames = pq_pktio_recv(l->b, f, SLOTS);
            for (size_t k = 0; k < frames; k++) {
                struct pq_segment seg;
                assert_int_equal(pq_segment_parse(&seg, f[k].p, f[k].len, 14), 0);
                size_t piece = f[k].gso_size ? f[k].gso_size : seg.len;
                for (size_t at = 0; at < seg.len; at += piece)
                    assert_int_equal(seg.data[at], got++);
            }
            pq_pktio_release(l->b);
        }
        assert_int_equal(got, n);
    }
}

/* Runs behind packets, more than one call to the kernel holds, over both versions of IP. */
static void runs(void **state)
{
    (void)state;
    struct lan *l = lan_open();
    check_runs(l);
    struct pq_flow_conf fc = {.link_len = 14, .t0 = 1};
    assert_int_equal(pq_addr_parse_ip(&fc.local, "2001:db8::1"), 0);
    assert_int_equal(pq_addr_parse_ip(&fc.peer, "2001:db8::2"), 0);
    fc.local.port = 1234;
    fc.peer.port = PORT;
    memset(fc.peer_mac, 0xff, 6);
    pq_flow_init(&l->flow, &fc);
    check_runs(l);
    lan_close(l);
}

/* Where the link takes none, a run is refused and what stands in front of it goes. */
static void no_runs(void **state)
{
    (void)state;
    static uint8_t memory[4][PQ_SLOT_SIZE];
    struct lan *l = lan_open();
    struct pq_slot s[4];
    l->a->runs = false;
    set_vnet(l->a->tx_fd, 0);
    make(l, &s[0], 0, 0);
    for (unsigned i = 1; i < 4; i++)
        s[i] = (struct pq_slot){.buf = memory[i], .off = PQ_SLOT_HEAD, .len = 100};
    pq_flow_craft_run(&l->flow, s + 1, 3, 0);
    assert_int_equal(pq_pktio_send(l->a, s, 4), 1);
    assert_int_equal(pq_pktio_send(l->a, s + 1, 3), -EOPNOTSUPP);
    assert_int_equal(take(l->b, 0), 1);
    struct pq_frame f[4];
    usleep(20000);
    assert_int_equal(pq_pktio_recv(l->b, f, 4), 0);
    pq_pktio_release(l->b);
    lan_close(l);
}

static void errors(void **state)
{
    (void)state;
    if (!have_lan)
        skip();
    struct pq_pktio *io;
    struct pq_pktio_conf c = {.ifname = "nosuch0"};
    assert_int_equal(pq_afpacket_open(&io, &c), -ENODEV);
    assert_null(io);
}

int io_kernel(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand), cmocka_unit_test(overflow), cmocka_unit_test(glued),
        cmocka_unit_test(runs),         cmocka_unit_test(no_runs),  cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests_name("io_kernel", tests, lan_setup, NULL);
}
