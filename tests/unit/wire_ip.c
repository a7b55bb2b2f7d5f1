/* SPDX-License-Identifier: MIT */
/* wire_ip.c - inner IP packets: lengths, headers, and super packets cut and described.  Checksums
 * are computed again here, word by word. */
#include "base/bytes.h"
#include "base/err.h"
#include "base/flags.h"
#include "unit.h"
#include "wire/gso.h"
#include "wire/ip.h"
#include "wire_tests.h"

#define BIG 65535

static struct pq_view view(const uint8_t *p, size_t n)
{
    return (struct pq_view){p, n};
}

/* One's complement sum of big-endian words, without inverting. */
static uint32_t words(uint32_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i += 2) {
        sum += (uint32_t)p[i] << 8 | (i + 1 < n ? p[i + 1] : 0u);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint32_t pseudo(const uint8_t *p, size_t l4, size_t n)
{
    bool v4 = p[0] >> 4 == 4;
    uint32_t sum = words((uint32_t)(n - l4), p + (v4 ? 12 : 8), v4 ? 8 : 32);
    sum += v4 ? p[9] : p[6] == 17 ? 17 : 6; /* behind extension headers there is TCP here */
    return (sum & 0xffff) + (sum >> 16);
}

static void check_sums(const uint8_t *p, size_t l4, size_t n)
{
    if (p[0] >> 4 == 4)
        assert_int_equal(words(0, p, l4), 0xffff);
    assert_int_equal(words(pseudo(p, l4, n), p + l4, n - l4), 0xffff);
}

struct shape {
    bool v6, ext;                           /* ext: destination options between IPv6 and TCP */
    uint8_t proto, ip_options, tcp_options; /* options: bytes, a multiple of four */
    size_t data;
    uint8_t flags;
};

/* Writes a packet without checksums.  Returns its length; *l4 and *head as in struct pq_gso. */
static size_t build(uint8_t *p, const struct shape *s, size_t *l4, size_t *head)
{
    *l4 = s->v6 ? 40 + 8u * s->ext : 20u + s->ip_options;
    *head = *l4 + (s->proto == 6 ? 20u + s->tcp_options : s->proto == 17 ? 8 : 4);
    size_t n = *head + s->data;
    memset(p, 0, *head);
    ut_pattern(p + *head, s->data, 3);
    if (s->v6) {
        p[0] = 0x60;
        pq_put_be16(p + 4, (uint16_t)(n - 40));
        p[6] = s->ext ? 60 : s->proto;
        p[40] = s->proto;
        p[42] = 1; /* padding, the other 6 bytes */
        p[43] = s->ext ? 4 : 0;
        p[7] = 64;
        memset(p + 8, 0xfd, 16);
        memset(p + 24, 0xfc, 16);
    } else {
        p[0] = (uint8_t)(0x40 | *l4 / 4);
        pq_put_be16(p + 2, (uint16_t)n);
        pq_put_be16(p + 4, 0xfffe);
        p[6] = 0x40;
        p[8] = 64;
        p[9] = s->proto;
        static const uint8_t addrs[] = {10, 1, 2, 3, 10, 4, 5, 6};
        memcpy(p + 12, addrs, sizeof addrs);
        memset(p + 20, 1, s->ip_options);
    }
    uint8_t *t = p + *l4;
    pq_put_be16(t, 40000);
    pq_put_be16(t + 2, 443);
    if (s->proto == 6) {
        pq_put_be32(t + 4, 0xfffffff0);
        t[12] = (uint8_t)((20u + s->tcp_options) / 4 << 4);
        t[13] = s->flags;
        memset(t + 20, 1, s->tcp_options);
    }
    return n;
}

static void lengths(void **state)
{
    (void)state;
    const uint8_t v4[] = {0x45, 0, 0x12, 0x34}, v6[] = {0x60, 0, 0, 0, 0xff, 0xff};
    const uint8_t lies[] = {0x45, 0, 0, 19}, options[] = {0x4f, 0, 0, 59}, head[] = {0x44, 0, 9, 9};
    const uint8_t other[] = {0x50, 0, 0, 20, 0, 20};
    for (size_t n = 0; n < 4; n++)
        assert_int_equal(pq_ip_len(view(v4, n)), 0);
    assert_int_equal(pq_ip_len(view(v4, 4)), 0x1234);
    for (size_t n = 0; n < 6; n++)
        assert_int_equal(pq_ip_len(view(v6, n)), 0);
    assert_int_equal(pq_ip_len(view(v6, 6)), 65575);
    assert_int_equal(pq_ip_len(view(lies, 4)), SIZE_MAX);
    assert_int_equal(pq_ip_len(view(options, 4)), SIZE_MAX);
    assert_int_equal(pq_ip_len(view(head, 1)), SIZE_MAX);
    assert_int_equal(pq_ip_len(view(other, 1)), SIZE_MAX);
}

static void parse(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {.proto = 6, .data = 5},   {.proto = 17, .ip_options = 40, .data = 1},
        {.proto = 1, .data = 0},   {.v6 = true, .proto = 6, .tcp_options = 12},
        {.v6 = true, .proto = 17}, {.v6 = true, .proto = 58, .data = 9},
    };
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        uint8_t p[256];
        size_t l4, head, n = build(p, &shapes[i], &l4, &head);
        struct pq_ip ip;
        bool ports = shapes[i].proto == 6 || shapes[i].proto == 17;
        assert_int_equal(pq_ip_parse(&ip, view(p, n)), 0);
        assert_int_equal(ip.version, shapes[i].v6 ? 6 : 4);
        assert_int_equal(ip.proto, shapes[i].proto);
        assert_int_equal(ip.l4, l4);
        assert_int_equal(ip.has_ports, ports);
        assert_int_equal(ip.src.port, ports ? 40000 : 0);
        assert_int_equal(ip.dst.port, ports ? 443 : 0);
        assert_false(ip.fragment);
        struct pq_addr want;
        assert_int_equal(pq_addr_parse_ip(&want, shapes[i].v6
                                                     ? "fcfc:fcfc:fcfc:fcfc:fcfc:fcfc:fcfc:fcfc"
                                                     : "10.4.5.6"),
                         0);
        assert_true(pq_addr_eq_ip(&ip.dst, &want));
        for (size_t cut = 0; cut < n; cut++) { /* nothing behind the end is read */
            uint8_t *q = ut_exact(p, cut);
            assert_int_equal(pq_ip_parse(&ip, view(q, cut)), PQ_EPROTO);
            free(q);
        }
        assert_int_equal(pq_ip_parse(&ip, view(p, n + 1)), PQ_EPROTO);
    }
}

static void fragments(void **state)
{
    (void)state;
    uint8_t p[128];
    size_t l4, head, n = build(p, &(struct shape){.proto = 17, .data = 24}, &l4, &head);
    struct pq_ip ip;
    struct pq_vnet v;
    pq_put_be16(p + 6, 0x2000); /* the first one has ports */
    assert_int_equal(pq_ip_parse(&ip, view(p, n)), 0);
    assert_true(ip.has_ports && !ip.fragment);
    assert_int_equal(pq_gso_describe(&v, p, n, 0, true), PQ_EPROTO);
    assert_int_equal(pq_gso_describe(&v, p, n, 0, false), 0);
    pq_put_be16(p + 6, 0x2001);
    assert_int_equal(pq_ip_parse(&ip, view(p, n)), 0);
    assert_true(ip.fragment && !ip.has_ports);
    assert_int_equal(ip.dst.port, 0);
    pq_put_be16(p + 6, 0x2000); /* too short for its ports: refused */
    pq_put_be16(p + 2, 23);
    assert_int_equal(pq_ip_parse(&ip, view(p, 23)), PQ_EPROTO);
}

/* Puts `n` extension headers of 8 bytes each in front of UDP. */
static size_t with_ext(uint8_t *p, const uint8_t *types, size_t n, uint16_t offset)
{
    size_t l4, head,
        len = build(p, &(struct shape){.v6 = true, .proto = 17, .data = 8}, &l4, &head);
    memmove(p + 40 + 8 * n, p + 40, len - 40);
    memset(p + 40, 0, 8 * n);
    for (size_t i = 0; i < n; i++) {
        p[40 + 8 * i] = i + 1 < n ? types[i + 1] : 17;
        if (types[i] == 44)
            pq_put_be16(p + 40 + 8 * i + 2, offset);
    }
    p[6] = n ? types[0] : 17;
    pq_put_be16(p + 4, (uint16_t)(len + 8 * n - 40));
    return len + 8 * n;
}

static void extensions(void **state)
{
    (void)state;
    const uint8_t all[] = {0, 43, 60, 44}, many[] = {60, 60, 60, 60, 60, 60, 60, 60, 60};
    uint8_t p[256];
    struct pq_ip ip;
    struct pq_gso g;
    size_t n = with_ext(p, all, 4, 1);
    assert_int_equal(pq_ip_parse(&ip, view(p, n)), 0);
    assert_int_equal(ip.proto, 17);
    assert_int_equal(ip.l4, 72);
    assert_false(ip.whole);
    assert_int_equal(ip.dst.port, 443);
    n = with_ext(p, all, 4, 8);
    assert_int_equal(pq_ip_parse(&ip, view(p, n)), 0);
    assert_true(ip.fragment && !ip.has_ports);
    n = with_ext(p, many, 8, 0);
    assert_int_equal(pq_ip_parse(&ip, view(p, n)), 0);
    assert_true(ip.whole);
    assert_int_equal(ip.dst.port, 443);
    n = with_ext(p, many, 9, 0);
    assert_int_equal(pq_ip_parse(&ip, view(p, n)), PQ_EPROTO);
    n = with_ext(p, many, 1, 0);
    p[41] = 5; /* longer than the packet */
    assert_int_equal(pq_ip_parse(&ip, view(p, n)), PQ_EPROTO);
    p[41] = 0;
    assert_int_equal(pq_gso_init(&g, p, n, 1000), PQ_EPROTO);
}

/* Packets that go elsewhere than to what rules would look at. */
static void other_ways(void **state)
{
    (void)state;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, routing[] = {60, 43};
    static const struct {
        uint8_t options[8];
        int result;
    } t[] = {
        {{1, 1, 1, 0}, 0},
        {{1, 148, 4, 0, 0, 0}, 0}, /* router alert */
        {{131, 7, 4, 10, 0, 0, 1}, PQ_EPROTO},
        {{1, 137, 7, 4, 10, 0, 0, 1}, PQ_EPROTO},
        {{148, 4, 0, 0, 131, 3, 4}, PQ_EPROTO},
        {{148, 9}, PQ_EPROTO},
        {{148, 1}, PQ_EPROTO},
        {{1, 1, 1, 1, 1, 1, 1, 131}, PQ_EPROTO},
    };
    uint8_t p[256];
    struct pq_ip ip;
    size_t l4, head, n;
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        n = build(p, &(struct shape){.proto = 17, .ip_options = 8}, &l4, &head);
        memcpy(p + 20, t[i].options, 8);
        assert_int_equal(pq_ip_parse(&ip, view(p, n)), t[i].result);
    }
    n = with_ext(p, routing, 2, 0);
    assert_int_equal(pq_ip_parse(&ip, view(p, n)), 0);
    p[48 + 3] = 1; /* segments left */
    assert_int_equal(pq_ip_parse(&ip, view(p, n)), PQ_EPROTO);
    for (size_t at = 8; at <= 24; at += 16) {
        n = with_ext(p, routing, 0, 0);
        memcpy(p + at, mapped, sizeof mapped);
        assert_int_equal(pq_ip_parse(&ip, view(p, n)), PQ_EPROTO);
    }
}

static void fill(void **state)
{
    (void)state;
    static const struct shape shapes[] = {{.proto = 6, .data = 33},
                                          {.v6 = true, .proto = 6, .data = 0},
                                          {.v6 = true, .ext = true, .proto = 6, .data = 7},
                                          {.proto = 17, .ip_options = 8, .data = 1001},
                                          {.v6 = true, .proto = 17, .data = 64}};
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        uint8_t p[1200], before[1200];
        size_t l4, head, n = build(p, &shapes[i], &l4, &head);
        struct pq_vnet v;
        assert_int_equal(pq_gso_describe(&v, p, n, 0, true), 0);
        assert_int_equal(v.flags, PQ_VNET_NEEDS_CSUM);
        assert_int_equal(v.gso_type, PQ_VNET_GSO_NONE);
        assert_int_equal(v.csum_start, l4);
        assert_int_equal(v.csum_offset, shapes[i].proto == 6 ? 16 : 6);
        assert_true(pq_gso_can_describe(&v, p, n));
        struct pq_vnet inner = v; /* of a packet in this one */
        inner.csum_start += 36;
        assert_false(pq_gso_can_describe(&inner, p, n));
        pq_put_be16(p + l4 + v.csum_offset, (uint16_t)pseudo(p, l4, n));
        memcpy(before, p, n);
        pq_ip_fill_checksum(p, n, (uint16_t)(n - 1), 0); /* outside: left alone */
        pq_ip_fill_checksum(p, n, 0xffff, 0xffff);
        assert_memory_equal(p, before, n);
        pq_ip_fill_checksum(p, n, v.csum_start, v.csum_offset);
        assert_int_equal(words(pseudo(p, l4, n), p + l4, n - l4), 0xffff);
    }
    uint8_t zero[12] = {0xff, 0xff}; /* a sum of 0xffff: never the "none" of UDP */
    pq_ip_fill_checksum(zero, sizeof zero, 0, 6);
    assert_int_equal(pq_be16(zero + 6), 0xffff);
}

static void check_cut(const struct shape *s, uint16_t size)
{
    static uint8_t big[BIG], out[BIG];
    size_t l4, head, n = build(big, s, &l4, &head), at = 0, count = 0, len;
    struct pq_gso g;
    struct pq_ip ip;
    assert_int_equal(pq_gso_init(&g, big, n, size), 0);
    assert_int_equal(g.head, head);
    assert_int_equal(pq_gso_next(&g, out, head + size - 1), 0);
    while ((len = pq_gso_next(&g, out, head + size)) > 0) {
        bool last = at + (len - head) == s->data;
        assert_true(last || len == head + size);
        assert_int_equal(pq_ip_parse(&ip, view(out, len)), 0);
        check_sums(out, l4, len);
        assert_memory_equal(out + head, big + head + at, len - head);
        assert_int_equal(pq_be32(out + l4 + 4), (uint32_t)(0xfffffff0 + at));
        if (!s->v6)
            assert_int_equal(pq_be16(out + 4), (uint16_t)(0xfffe + count));
        unsigned want = s->flags;
        want &= last ? ~0u : ~(unsigned)(PQ_TCP_FIN | PQ_TCP_PSH);
        want &= count ? ~(unsigned)PQ_TCP_CWR : ~0u;
        assert_int_equal(out[l4 + 13], want);
        assert_memory_equal(out + l4 + 20, big + l4 + 20, s->tcp_options);
        at += len - head;
        count++;
    }
    assert_int_equal(at, s->data);
    assert_int_equal(count, s->data ? (s->data + size - 1) / size : 1);
}

static void cut(void **state)
{
    (void)state;
    const uint8_t all = PQ_TCP_FIN | PQ_TCP_PSH | PQ_TCP_ACK | PQ_TCP_CWR | PQ_TCP_ECE;
    check_cut(&(struct shape){.proto = 6, .tcp_options = 12, .data = 60001, .flags = all}, 1448);
    check_cut(&(struct shape){.v6 = true, .proto = 6, .data = 65000, .flags = all}, 1000);
    check_cut(&(struct shape){.v6 = true, .ext = true, .proto = 6, .data = 9000, .flags = all},
              1448);
    check_cut(&(struct shape){.proto = 6, .ip_options = 40, .tcp_options = 40, .data = 100}, 8);
    check_cut(&(struct shape){.proto = 6, .data = 3000, .flags = all}, 1500);
    check_cut(&(struct shape){.proto = 6, .data = 10, .flags = all}, 1500);
    check_cut(&(struct shape){.v6 = true, .proto = 6, .data = 0, .flags = PQ_TCP_ACK}, 1500);
}

static void refuse(void **state)
{
    (void)state;
    uint8_t p[256];
    struct pq_gso g;
    struct pq_vnet v;
    size_t l4, head, n = build(p, &(struct shape){.proto = 6, .data = 100}, &l4, &head);
    assert_int_equal(pq_gso_init(&g, p, n, 7), PQ_EPROTO);
    assert_int_equal(pq_gso_init(&g, p, n - 1, 50), PQ_EPROTO);
    assert_int_equal(pq_gso_describe(&v, p, n, 7, true), PQ_EPROTO);
    assert_int_equal(pq_gso_describe(&v, p, n, 100, true), PQ_EPROTO); /* one segment */
    assert_int_equal(pq_gso_describe(&v, p, n, 99, true), 0);
    assert_int_equal(pq_gso_describe(&v, p, n + 1, 0, false), PQ_EPROTO);
    assert_int_equal(pq_gso_describe(&v, p, 0, 0, false), PQ_EPROTO);
    const uint8_t offsets[] = {0x40, 0xf0};
    for (size_t i = 0; i < COUNT_OF(offsets); i++) { /* shorter than TCP, longer than the packet */
        p[l4 + 12] = offsets[i];
        if (i)
            pq_put_be16(p + 2, (uint16_t)(n = l4 + 59));
        assert_int_equal(pq_gso_init(&g, p, n, 50), PQ_EPROTO);
        assert_int_equal(pq_gso_describe(&v, p, n, 50, true), PQ_EPROTO);
    }
    n = build(p, &(struct shape){.proto = 6, .data = 100}, &l4, &head);
    p[6] = 0x20;
    assert_int_equal(pq_gso_init(&g, p, n, 50), PQ_EPROTO);
    n = build(p, &(struct shape){.proto = 17, .data = 100}, &l4, &head);
    assert_int_equal(pq_gso_init(&g, p, n, 50), PQ_EPROTO);
    assert_int_equal(pq_gso_describe(&v, p, n, 50, true), PQ_EPROTO);
    n = build(p, &(struct shape){.proto = 1, .data = 100}, &l4, &head);
    assert_int_equal(pq_gso_describe(&v, p, n, 0, true), PQ_EPROTO);
    assert_false(pq_gso_can_describe(&(struct pq_vnet){.csum_start = 20}, p, n));
    assert_int_equal(pq_gso_describe(&v, p, n, 0, false), 0);
    assert_int_equal(v.flags, 0);
}

static void vnet(void **state)
{
    (void)state;
    uint8_t p[256], b[PQ_VNET_LEN];
    uint16_t word;
    struct pq_vnet v, again;
    size_t l4, head;
    size_t n = build(p, &(struct shape){.v6 = true, .proto = 6, .data = 100, .flags = PQ_TCP_CWR},
                     &l4, &head);
    assert_int_equal(pq_gso_describe(&v, p, n, 50, false), 0);
    pq_vnet_write(&v, b);
    assert_int_equal(b[0], 1);
    assert_int_equal(b[1], 0x84);
    memcpy(&word, b + 2, 2);
    assert_int_equal(word, 60);
    memcpy(&word, b + 4, 2);
    assert_int_equal(word, 50);
    memcpy(&word, b + 6, 2);
    assert_int_equal(word, 40);
    memcpy(&word, b + 8, 2);
    assert_int_equal(word, 16);
    pq_vnet_read(&again, b);
    assert_memory_equal(&again, &v, sizeof v);
}

/* Whatever comes in, nothing outside is touched, and what comes out is sound. */
static void fuzz_one(uint64_t *s, uint8_t *p, size_t n)
{
    static uint8_t out[BIG];
    struct pq_ip ip;
    struct pq_gso g;
    struct pq_vnet v;
    uint16_t size = (uint16_t)ut_below(s, 200);
    uint8_t *q = ut_exact(p, n);
    if (pq_ip_parse(&ip, view(q, n)) == 0)
        assert_true(pq_ip_len(view(q, n)) == n && ip.l4 <= n);
    if (pq_gso_describe(&v, q, n, size, ut_below(s, 2)) == 0 && v.flags)
        assert_true((size_t)v.csum_start + v.csum_offset + 2 <= v.hdr_len && v.hdr_len <= n);
    if (pq_gso_init(&g, q, n, size) == 0) {
        size_t len, data = 0;
        while ((len = pq_gso_next(&g, out, sizeof out)) > 0) {
            assert_int_equal(pq_ip_parse(&ip, view(out, len)), 0);
            check_sums(out, ip.l4, len);
            data += len - g.head;
        }
        assert_int_equal(data, n - g.head);
    }
    pq_ip_fill_checksum(q, n, (uint16_t)ut_below(s, 300), (uint16_t)ut_below(s, 300));
    free(q);
}

static void ip_fuzz(void **state)
{
    (void)state;
    uint64_t s = ut_seed("ip fuzz");
    uint8_t p[512];
    for (int i = 0; i < FUZZ_ROUNDS; i++) {
        struct shape shape = {.v6 = ut_below(&s, 2),
                              .proto = ut_below(&s, 3) ? 6 : 17,
                              .tcp_options = (uint8_t)(4 * ut_below(&s, 11)),
                              .data = ut_below(&s, 300),
                              .flags = (uint8_t)ut_rand(&s)};
        const uint8_t types[] = {0, 43, 44, 60};
        size_t l4, head, n;
        if (ut_below(&s, 4))
            n = build(p, &shape, &l4, &head);
        else
            n = with_ext(p, types, ut_below(&s, 5) % 5, (uint16_t)ut_rand(&s));
        if (ut_below(&s, 8) == 0)
            ut_random(&s, p, n);
        else if (ut_below(&s, 4))
            n = ut_mutate(&s, p, n, sizeof p);
        fuzz_one(&s, p, n);
    }
}

int wire_ip(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths), cmocka_unit_test(parse),      cmocka_unit_test(fragments),
        cmocka_unit_test(fill),    cmocka_unit_test(extensions), cmocka_unit_test(other_ways),
        cmocka_unit_test(cut),     cmocka_unit_test(refuse),     cmocka_unit_test(vnet),
        cmocka_unit_test(ip_fuzz),
    };
    return cmocka_run_group_tests_name("wire_ip", tests, NULL, NULL);
}
