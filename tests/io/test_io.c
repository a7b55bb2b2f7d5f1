/* SPDX-License-Identifier: MIT */
/* test_io.c - packet backends: memory; the kernel's filter, run by a small interpreter; AF_PACKET
 * over a veth pair in a network namespace of the test's own (root only). */
#include "io_tests.h"

static void mem_pair(void **state)
{
    (void)state;
    struct pq_pktio *io[2];
    assert_int_equal(pq_mem_open(io, 8), 0);
    uint8_t buf[12][PQ_SLOT_SIZE];
    struct pq_slot slots[12];
    for (unsigned i = 0; i < 12; i++) {
        memset(buf[i], (int)i, sizeof buf[i]);
        slots[i] = (struct pq_slot){.buf = buf[i], .off = (uint16_t)i, .len = (uint16_t)(100 + i)};
    }
    struct pq_frame f[16];
    assert_int_equal(pq_pktio_recv(io[1], f, 16), 0);
    pq_pktio_release(io[1]);
    assert_int_equal(pq_pktio_send(io[0], slots, 12), 8); /* full: says how many it took */
    assert_int_equal(pq_pktio_send(io[0], slots + 8, 4), 0);
    assert_int_equal(pq_pktio_recv(io[1], f, 5), 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(f[i].len, 100 + i);
        assert_int_equal(f[i].wire_len, f[i].len);
        assert_int_equal(f[i].gso_size, 0);
        assert_int_equal(f[i].p[0], i);
    }
    pq_pktio_release(io[1]);
    assert_int_equal(pq_pktio_send(io[0], slots + 8, 4), 4); /* around the end of the ring */
    assert_int_equal(pq_pktio_recv(io[1], f, 16), 7);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(f[i].p[0], 5 + i);
    pq_pktio_release(io[1]);
    struct pq_range ports[PQ_IO_PORTS_MAX + 1] = {{1, 1}};
    assert_int_equal(pq_pktio_set_ports(io[0], ports, PQ_IO_PORTS_MAX), 0);
    assert_int_equal(pq_pktio_set_ports(io[0], ports, PQ_IO_PORTS_MAX + 1), PQ_EINVAL);
    pq_pktio_close(&io[0]);
    assert_null(io[0]);
    pq_pktio_send(io[1], slots, 1); /* into nothing */
    pq_pktio_close(&io[1]);
    pq_pktio_close(&io[1]);
}

/* ---- the filter */

struct pkt { /* what the kernel would hand to the program */
    uint8_t p[256];
    size_t len, net; /* net: where the network header starts */
    uint32_t pkttype, protocol;
};

static bool load(const struct pkt *k, uint32_t at, unsigned size, uint32_t *out)
{
    if (at == (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE))
        return *out = k->pkttype, true;
    if (at == (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL))
        return *out = k->protocol, true;
    size_t o = at >= (uint32_t)SKF_NET_OFF ? k->net + (at - (uint32_t)SKF_NET_OFF) : at;
    if (o + size > k->len)
        return false;
    *out = size == 1 ? k->p[o] : size == 2 ? pq_be16(k->p + o) : pq_be32(k->p + o);
    return true;
}

static uint32_t run_jump(const struct sock_filter *f, uint32_t a)
{
    const unsigned op = BPF_OP(f->code);
    bool yes = op == BPF_JEQ   ? a == f->k
               : op == BPF_JGE ? a >= f->k
               : op == BPF_JGT ? a > f->k
                               : (a & f->k) != 0;
    assert_true(op == BPF_JEQ || op == BPF_JGE || op == BPF_JGT || op == BPF_JSET);
    return yes ? f->jt : f->jf;
}

/* Returns what the program returns; a load behind the end refuses, as in the kernel. */
static uint32_t run(const struct sock_filter *prog, size_t n, const struct pkt *k)
{
    uint32_t a = 0, x = 0, b;
    for (size_t pc = 0; pc < n; pc++) {
        const struct sock_filter *f = &prog[pc];
        switch (f->code) {
        case BPF_LD | BPF_B | BPF_ABS:
            if (!load(k, f->k, 1, &a))
                return 0;
            break;
        case BPF_LD | BPF_H | BPF_ABS:
            if (!load(k, f->k, 2, &a))
                return 0;
            break;
        case BPF_LD | BPF_H | BPF_IND:
            if (!load(k, f->k + x, 2, &a))
                return 0;
            break;
        case BPF_LDX | BPF_B | BPF_MSH:
            if (!load(k, f->k, 1, &b))
                return 0;
            x = (b & 15) * 4;
            break;
        case BPF_JMP | BPF_JA:
            pc += f->k;
            break;
        case BPF_RET | BPF_K:
            return f->k;
        default:
            assert_int_equal(BPF_CLASS(f->code), BPF_JMP);
            pc += run_jump(f, a);
        }
    }
    fail_msg("the program runs over its end");
    return 0;
}

static struct pkt packet(bool v6, uint8_t proto, uint16_t dport, unsigned options)
{
    struct pkt k = {.net = 14, .protocol = v6 ? ETH_P_IPV6 : ETH_P_IP};
    uint8_t *ip = k.p + k.net;
    size_t head = v6 ? 40 : 20 + options;
    if (v6) {
        ip[0] = 0x60;
        ip[6] = proto;
    } else {
        ip[0] = (uint8_t)(0x40 | head / 4);
        ip[9] = proto;
        pq_put_be16(ip + 6, 0x4000);
        memset(ip + 20, 1, options);
    }
    pq_put_be16(ip + head, 1234);
    pq_put_be16(ip + head + 2, dport);
    k.len = k.net + head + 20;
    return k;
}

static void filter(void **state)
{
    (void)state;
    static struct sock_filter prog[PQ_FILTER_MAX];
    static struct pq_range ports[PQ_IO_PORTS_MAX];
    for (unsigned i = 0; i < PQ_IO_PORTS_MAX; i++)
        ports[i].from = ports[i].to = (uint16_t)(40000 + 3 * i);
    static const size_t counts[] = {0, 1, 2, PQ_IO_PORTS_MAX};
    for (size_t c = 0; c < COUNT_OF(counts); c++) {
        size_t n = pq_filter_build(prog, ports, counts[c]);
        assert_true(n <= PQ_FILTER_MAX);
        for (unsigned port = 39990; port < 40800; port++) {
            bool mine = port >= 40000 && (port - 40000) % 3 == 0 && (port - 40000) / 3 < counts[c];
            for (unsigned v6 = 0; v6 < 2; v6++) {
                struct pkt k = packet(v6, 6, (uint16_t)port, 0);
                assert_true((run(prog, n, &k) >= 65536) == mine);
                k.pkttype = PACKET_OUTGOING;
                assert_int_equal(run(prog, n, &k), 0);
                k = packet(v6, 17, (uint16_t)port, 0);
                assert_int_equal(run(prog, n, &k), 0);
            }
            for (unsigned o = 4; o <= 40; o += 4) {
                struct pkt k = packet(false, 6, (uint16_t)port, o);
                assert_true((run(prog, n, &k) >= 65536) == mine);
            }
        }
    }
}

/* Ranges take two comparisons, however many ports they have. */
static void filter_ranges(void **state)
{
    (void)state;
    static struct sock_filter prog[PQ_FILTER_MAX];
    static const struct pq_range ports[] = {{7, 7}, {20000, 20100}, {300, 301}, {65000, 65535}};
    static struct pq_range most[PQ_IO_PORTS_MAX];
    const size_t n = pq_filter_build(prog, ports, COUNT_OF(ports));
    for (unsigned port = 0; port <= UINT16_MAX; port++) {
        const bool mine = port == 7 || (port >= 20000 && port <= 20100) || port == 300 ||
                          port == 301 || port >= 65000;
        struct pkt k = packet(port & 1, 6, (uint16_t)port, 0);
        assert_true((run(prog, n, &k) >= 65536) == mine);
    }
    for (unsigned i = 0; i < PQ_IO_PORTS_MAX; i++)
        most[i] = (struct pq_range){(uint16_t)(100 * i + 1), (uint16_t)(100 * i + 50)};
    assert_true(pq_filter_build(prog, most, PQ_IO_PORTS_MAX) <= PQ_FILTER_MAX);
}

static void filter_rest(void **state)
{
    (void)state;
    static struct sock_filter prog[PQ_FILTER_MAX];
    const uint16_t port = 9999;
    size_t n = pq_filter_build(prog, &(struct pq_range){port, port}, 1);
    static const uint16_t frags[] = {0x2000, 0x0001, 0x1fff, 0x6000, 0x3000};
    for (size_t i = 0; i < COUNT_OF(frags); i++) {
        struct pkt k = packet(false, 6, port, 0);
        pq_put_be16(k.p + k.net + 6, frags[i]);
        assert_int_equal(run(prog, n, &k), 0);
    }
    struct pkt k = packet(true, 44, port, 0); /* IPv6 fragment header */
    assert_int_equal(run(prog, n, &k), 0);
    k = packet(false, 6, port, 0);
    k.protocol = ETH_P_ARP;
    assert_int_equal(run(prog, n, &k), 0);
    k = packet(false, 6, port, 0);
    pq_put_be16(k.p + k.net + 20, port); /* the source port does not count */
    pq_put_be16(k.p + k.net + 22, 1);
    assert_int_equal(run(prog, n, &k), 0);
    k = packet(false, 6, port, 0);
    for (k.len = 0; k.len < k.net + 24; k.len++) /* cut off anywhere before the port's end */
        assert_int_equal(run(prog, n, &k), 0);
    assert_true(run(prog, n, &k) >= 65536);
    k.pkttype = PACKET_BROADCAST;
    assert_true(run(prog, n, &k) >= 65536);
    k = packet(false, 6, port, 0); /* no link header, as on a tun interface */
    memmove(k.p, k.p + 14, sizeof k.p - 14);
    k.net = 0;
    assert_true(run(prog, n, &k) >= 65536);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mem_pair),
        cmocka_unit_test(filter),
        cmocka_unit_test(filter_ranges),
        cmocka_unit_test(filter_rest),
    };
    int failed = ut_run(tests);
    return failed + io_kernel();
}
