/* SPDX-License-Identifier: MIT */
/* test_wire.c - checksum, forging and parsing of segments, on their own. */
#include "base/bytes.h"
#include "unit.h"
#include "wire/csum.h"
#include "wire/flow.h"
#include "wire/segment.h"
#include "wire_tests.h"

/* RFC 1071, word by word. */
static uint16_t naive_csum(const uint8_t *p, size_t n)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i += 2) {
        sum += (uint32_t)p[i] << 8 | (i + 1 < n ? p[i + 1] : 0u);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static uint16_t stored(uint16_t folded)
{
    uint8_t b[2];
    memcpy(b, &folded, 2);
    return pq_be16(b);
}

static void csum_lengths(void **state)
{
    (void)state;
    uint8_t b[200];
    uint64_t s = ut_seed("csum");
    for (int kind = 0; kind < 3; kind++) {
        for (size_t n = 0; n <= sizeof b; n++) {
            ut_random(&s, b, n);
            if (kind)
                memset(b, kind == 1 ? 0xff : 0, n);
            uint8_t *p = ut_exact(b, n);
            assert_int_equal(stored(pq_csum_fold(pq_csum_add(0, p, n))), naive_csum(b, n));
            free(p);
        }
    }
}

static void csum_pieces(void **state)
{
    (void)state;
    uint8_t b[1501];
    uint64_t s = ut_seed("csum pieces");
    for (int round = 0; round < 2000; round++) {
        size_t n = ut_below(&s, sizeof b + 1);
        uint64_t sum = 0;
        memset(b, 0xff, sizeof b);
        if (round % 3)
            ut_random(&s, b, n);
        for (size_t at = 0, k; at < n; at += k) {
            k = 2 * (size_t)ut_below(&s, 50);
            if (k > n - at || !k)
                k = n - at;
            sum = pq_csum_add(sum, b + at, k);
        }
        assert_int_equal(stored(pq_csum_fold(sum)), naive_csum(b, n));
    }
    assert_int_equal(pq_csum_fold(UINT64_MAX), 0);
    assert_int_equal(pq_csum_fold(0), 0xffff);
}

/* ---- forging */

static const struct pq_flow_conf conf4 = {
    .local = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1}, 40000},
    .peer = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 2}, 9999},
    .local_mac = {2, 0, 0, 0, 0, 1},
    .peer_mac = {2, 0, 0, 0, 0, 2},
    .link_len = 14,
    .t0 = 0xffffff00,
};

static const struct pq_flow_conf conf6 = {
    .local = {{0xfd, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 40000},
    .peer = {{0xfd, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, 9999},
    .link_len = 0,
    .t0 = 5,
};

static void craft(struct pq_flow *f, struct pq_slot *slot, uint8_t buf[PQ_SLOT_SIZE], size_t n)
{
    *slot = (struct pq_slot){.buf = buf, .off = PQ_SLOT_HEAD, .len = (uint16_t)n};
    pq_flow_craft(f, slot, false, 0);
}

static void check_tcp(const uint8_t *t, uint32_t t0, uint32_t n, unsigned flags)
{
    bool syn = flags & PQ_TCP_SYN;
    uint32_t tsval = t0 + (n >> 3), seq = t0 + (n << 7); /* [1.1] */
    assert_int_equal(pq_be32(t + 4), syn ? 1 + (n & 7) : seq);
    if (syn)
        assert_int_equal(pq_be32(t + 8), flags & PQ_TCP_ACK ? 2 + (n & 7) : 0);
    else
        assert_int_equal(pq_be32(t + 8), seq - (n & 0x3ff) + 1400);
    assert_int_equal(t[12] >> 4, syn ? 10 : 8);
    assert_int_equal(t[12] & 15, flags >> 8);
    assert_int_equal(t[13], flags & 255);
    assert_int_equal(pq_be16(t + 14), 65535);
    assert_int_equal(pq_be16(t + 18), 0);
    const uint8_t *ts = t + (syn ? 28 : 24);
    assert_int_equal(pq_be32(ts), tsval);
    assert_int_equal(pq_be32(ts + 4), syn ? 0 : tsval - (n % 200 + 50));
}

static void forge_counter(void **state)
{
    (void)state;
    static uint8_t buf[PQ_SLOT_SIZE];
    struct pq_flow f;
    struct pq_slot slot;
    const struct pq_flags cycle = {{PQ_TCP_SYN, PQ_TCP_SYN | PQ_TCP_ACK, PQ_TCP_PSH | PQ_TCP_ACK,
                                    PQ_TCP_NS | PQ_TCP_FIN, 0, PQ_TCP_ALL},
                                   6};
    pq_flow_init(&f, &conf4);
    pq_flow_set_flags(&f, &cycle);
    for (uint32_t n = 1; n < 5000; n++) { /* t0 wraps on the way */
        craft(&f, &slot, buf, 1);
        check_tcp(buf + slot.off + 34, conf4.t0, n, cycle.v[(n - 1) % 6]);
    }
    f.n = 0xffffffff; /* the counter wraps too */
    f.flag_next = 2;
    craft(&f, &slot, buf, 1);
    check_tcp(buf + slot.off + 34, conf4.t0, 0, PQ_TCP_PSH | PQ_TCP_ACK);
}

static void forge_flags(void **state)
{
    (void)state;
    static uint8_t buf[PQ_SLOT_SIZE];
    struct pq_flow f;
    struct pq_slot slot;
    const struct pq_flags two = {{PQ_TCP_ACK, PQ_TCP_PSH}, 2}, none = {{0}, 0};
    pq_flow_init(&f, &conf4);
    craft(&f, &slot, buf, 1);
    assert_int_equal(buf[slot.off + 34 + 13], PQ_TCP_PSH | PQ_TCP_ACK);
    pq_flow_set_flags(&f, &two);
    craft(&f, &slot, buf, 1);
    assert_int_equal(buf[slot.off + 34 + 13], PQ_TCP_ACK);
    pq_flow_set_flags(&f, &two); /* the same list again restarts the cycle [1.3] */
    craft(&f, &slot, buf, 1);
    assert_int_equal(buf[slot.off + 34 + 13], PQ_TCP_ACK);
    pq_flow_set_flags(&f, &none); /* ignored, the cycle goes on */
    craft(&f, &slot, buf, 1);
    assert_int_equal(buf[slot.off + 34 + 13], PQ_TCP_PSH);
}

/* Every length forged is parsed back, with right checksums; nothing behind the payload changes. */
static void forge_and_parse(void **state)
{
    (void)state;
    static uint8_t buf[PQ_SLOT_SIZE];
    for (int v = 4; v <= 6; v += 2) {
        const struct pq_flow_conf *conf = v == 4 ? &conf4 : &conf6;
        size_t ip_len = v == 4 ? 20 : 40;
        struct pq_flow f;
        pq_flow_init(&f, conf);
        assert_int_equal(pq_flow_overhead(&f), ip_len + 40); /* a SYN packet is the longest */
        for (size_t n = 1; n <= PQ_DGRAM_MAX; n++) {
            struct pq_slot slot;
            struct pq_segment s;
            ut_pattern(buf + PQ_SLOT_HEAD, n, (unsigned)n);
            buf[PQ_SLOT_HEAD + n] = 0xee;
            craft(&f, &slot, buf, n);
            assert_int_equal(slot.off + slot.len, PQ_SLOT_HEAD + n);
            assert_int_equal(slot.len, conf->link_len + ip_len + 32 + n);
            assert_int_equal(buf[PQ_SLOT_HEAD + n], 0xee);
            uint8_t *frame = buf + slot.off, *ip = frame + conf->link_len;
            assert_int_equal(pq_segment_parse(&s, frame, slot.len, conf->link_len), PQ_DROP_NONE);
            assert_ptr_equal(s.data, buf + PQ_SLOT_HEAD);
            assert_int_equal(s.len, n);
            assert_true(pq_addr_eq(&s.src, &conf->local) && pq_addr_eq(&s.dst, &conf->peer));
            uint8_t pseudo[40 + 32 + PQ_DGRAM_MAX] = {0};
            size_t alen = v == 4 ? 8 : 32, seg = 32 + n;
            memcpy(pseudo, ip + (v == 4 ? 12 : 8), alen);
            pseudo[alen + 1] = 6;
            pq_put_be16(pseudo + alen + 2, (uint16_t)seg);
            memcpy(pseudo + alen + 4, ip + ip_len, seg);
            assert_int_equal(naive_csum(pseudo, alen + 4 + seg), 0);
            if (v == 4)
                assert_int_equal(naive_csum(ip, 20), 0);
        }
    }
}

static void peer_mac(void **state)
{
    (void)state;
    static uint8_t buf[PQ_SLOT_SIZE];
    const uint8_t mac[6] = {9, 8, 7, 6, 5, 4};
    struct pq_flow f;
    struct pq_slot slot;
    pq_flow_init(&f, &conf4);
    pq_flow_set_peer_mac(&f, mac);
    craft(&f, &slot, buf, 10);
    assert_memory_equal(buf + slot.off, mac, 6);
    assert_memory_equal(buf + slot.off + 6, conf4.local_mac, 6);
    pq_flow_init(&f, &conf6); /* without a link header: no effect */
    pq_flow_set_peer_mac(&f, mac);
    craft(&f, &slot, buf, 10);
    assert_int_equal(pq_be32(buf + slot.off), 0x6b800000);
}

/* A flow that was moved forges what one that began on that link does. */
static void change_of_link(void **state)
{
    (void)state;
    static uint8_t buf[PQ_SLOT_SIZE], want[PQ_SLOT_SIZE];
    const struct pq_flow_conf *confs[] = {&conf4, &conf6};
    for (int i = 0; i < 4; i++) {
        struct pq_flow f, g;
        struct pq_slot slot, other;
        struct pq_flow_conf begin = *confs[i / 2], now = begin;
        begin.link_len = i % 2 ? PQ_ETH_LEN : 0;
        now.link_len = i % 2 ? 0 : PQ_ETH_LEN;
        memset(now.local_mac, 0x21, 6);
        memset(now.peer_mac, 0x43, 6);
        pq_flow_init(&f, &begin);
        pq_flow_set_link(&f, &now);
        assert_true(pq_flow_is_from(&f, &now.local));
        assert_false(pq_flow_is_from(&f, &now.peer));
        assert_false(pq_flow_is_from(&f, &confs[1 - i / 2]->local));
        pq_flow_init(&g, &now);
        craft(&f, &slot, buf, 10);
        craft(&g, &other, want, 10);
        assert_int_equal(slot.len, other.len);
        assert_memory_equal(buf + slot.off, want + other.off, slot.len);
    }
}

/* ---- parsing */

static size_t sample(uint8_t *frame, const struct pq_flow_conf *conf, size_t n)
{
    static uint8_t buf[PQ_SLOT_SIZE];
    struct pq_flow f;
    struct pq_slot slot;
    pq_flow_init(&f, conf);
    craft(&f, &slot, buf, n);
    memcpy(frame, buf + slot.off, slot.len);
    return slot.len;
}

static void parse_padding_and_options(void **state)
{
    (void)state;
    uint8_t b[200];
    struct pq_segment s;
    memset(b, 0xee, sizeof b);
    size_t n = sample(b, &conf4, 3);
    assert_int_equal(pq_segment_parse(&s, b, n + 9, 14), PQ_DROP_NONE); /* padding is cut [1.2] */
    assert_int_equal(s.len, 3);
    memmove(b + 14 + 24, b + 14 + 20, n - 34); /* an IP option of 4 bytes */
    b[14] = 0x46;
    pq_put_be16(b + 16, (uint16_t)(n - 14 + 4));
    assert_int_equal(pq_segment_parse(&s, b, n + 4, 14), PQ_DROP_NONE);
    assert_int_equal(s.len, 3);
    assert_int_equal(s.src.port, 40000);
    b[24] ^= 0xff; /* checksums, TTL, TOS, flags are ignored [1.2] */
    b[22] = 1;
    b[15] = 0;
    assert_int_equal(pq_segment_parse(&s, b, n + 4, 14), PQ_DROP_NONE);
}

static void parse_vlan(void **state)
{
    (void)state;
    uint8_t b[200];
    struct pq_segment s;
    size_t n = sample(b, &conf4, 3);
    memmove(b + 16, b + 12, n - 12);
    pq_put_be16(b + 12, 0x8100);
    pq_put_be16(b + 14, 5);
    assert_int_equal(pq_segment_parse(&s, b, n + 4, 14), PQ_DROP_NONE);
    assert_int_equal(s.len, 3);
    assert_memory_equal(s.src_mac, conf4.local_mac, 6);
    for (size_t k = 0; k < n + 4; k++) {
        uint8_t *p = ut_exact(b, k);
        assert_int_not_equal(pq_segment_parse(&s, p, k, 14), PQ_DROP_NONE);
        free(p);
    }
}

static void parse_drops(void **state)
{
    (void)state;
    uint8_t b[200], c[200];
    struct pq_segment s;
    size_t n = sample(b, &conf4, 3);
    static const struct {
        size_t at;
        uint8_t v;
        enum pq_drop want;
    } t[] = {
        {12, 0x86, PQ_DROP_NOT_TCP},     {13, 0x06, PQ_DROP_NOT_TCP}, /* ARP */
        {14, 0x44, PQ_DROP_SHORT_FRAME}, {14, 0x4f, PQ_DROP_SHORT_FRAME},
        {14, 0x55, PQ_DROP_NOT_TCP},     {16, 0x7f, PQ_DROP_SHORT_FRAME},
        {17, 19, PQ_DROP_SHORT_FRAME},   {17, 20, PQ_DROP_SHORT_FRAME},
        {17, 39, PQ_DROP_SHORT_FRAME},   {17, 52, PQ_DROP_NO_PAYLOAD},
        {20, 0x20, PQ_DROP_IP_FRAGMENT}, {21, 1, PQ_DROP_IP_FRAGMENT},
        {20, 0x00, PQ_DROP_NONE},        {23, 17, PQ_DROP_NOT_TCP},
        {46, 0x40, PQ_DROP_SHORT_FRAME}, {46, 0xf0, PQ_DROP_SHORT_FRAME},
        {46, 0x50, PQ_DROP_NONE},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        memcpy(c, b, n);
        c[t[i].at] = t[i].v;
        enum pq_drop d = pq_segment_parse(&s, c, n, 14);
        if (d != t[i].want)
            fail_msg("byte %zu = %02x: %s", t[i].at, t[i].v, pq_drop_name(d));
    }
    n = sample(b, &conf4, 0); /* addresses are known of a segment without payload too */
    assert_int_equal(pq_segment_parse(&s, b, n, 14), PQ_DROP_NO_PAYLOAD);
    assert_true(pq_addr_eq(&s.src, &conf4.local));
    n = sample(b, &conf6, 3);
    b[6] = 0; /* hop-by-hop options */
    assert_int_equal(pq_segment_parse(&s, b, n, 0), PQ_DROP_IP6_EXT);
    b[6] = 17;
    assert_int_equal(pq_segment_parse(&s, b, n, 0), PQ_DROP_NOT_TCP);
}

static void parse_cut(void **state)
{
    (void)state;
    uint8_t b[200];
    struct pq_segment s;
    for (int v = 4; v <= 6; v += 2) {
        const struct pq_flow_conf *conf = v == 4 ? &conf4 : &conf6;
        size_t n = sample(b, conf, 3);
        for (size_t k = 0; k < n; k++) {
            uint8_t *p = ut_exact(b, k);
            assert_int_equal(pq_segment_parse(&s, p, k, conf->link_len), PQ_DROP_SHORT_FRAME);
            free(p);
        }
    }
}

static void parse_fuzz(void **state)
{
    (void)state;
    uint8_t b[256];
    uint64_t seed = ut_seed("segment");
    for (int i = 0; i < FUZZ_ROUNDS; i++) {
        const struct pq_flow_conf *conf = i & 1 ? &conf4 : &conf6;
        size_t n = sample(b, conf, ut_below(&seed, 60));
        if (i % 16 == 0)
            ut_random(&seed, b, n = ut_below(&seed, sizeof b));
        else
            n = ut_mutate(&seed, b, n, sizeof b);
        uint8_t *p = ut_exact(b, n);
        struct pq_segment s;
        if (pq_segment_parse(&s, p, n, conf->link_len) == PQ_DROP_NONE) {
            assert_true(s.len > 0 && s.data >= p && s.data + s.len <= p + n);
            s.data[s.len - 1] ^= 1;
        }
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest wire[] = {
        cmocka_unit_test(csum_lengths),
        cmocka_unit_test(csum_pieces),
        cmocka_unit_test(forge_counter),
        cmocka_unit_test(forge_flags),
        cmocka_unit_test(forge_and_parse),
        cmocka_unit_test(peer_mac),
        cmocka_unit_test(change_of_link),
        cmocka_unit_test(parse_vlan),
        cmocka_unit_test(parse_padding_and_options),
        cmocka_unit_test(parse_drops),
        cmocka_unit_test(parse_cut),
        cmocka_unit_test(parse_fuzz),
    };
    return ut_run(wire) + wire_acks() + wire_connect() + wire_holes() + wire_ip() + wire_look() +
           wire_packets();
}
