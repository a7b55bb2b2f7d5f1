/* SPDX-License-Identifier: MIT */
/* fuzz_packet.c - IP packets of a TUN device or for one: what is read lies in the packet, and
 * cutting a large one gives whole packets with the same bytes and right checksums. */
#include "base/err.h"
#include "fuzz.h"
#include "wire/csum.h"
#include "wire/gso.h"
#include "wire/ip.h"

enum { IP6_LEN = 40 };

static void check_ip(const struct pq_ip *ip, size_t n)
{
    FUZZ_CHECK(ip->version == 4 || ip->version == 6);
    FUZZ_CHECK(ip->l4 <= n);
    FUZZ_CHECK(!ip->has_ports || ip->l4 + 4u <= n);
    FUZZ_CHECK(!ip->whole || !ip->fragment);
    FUZZ_CHECK(ip->version == 4 || (!pq_addr_is4(&ip->src) && !pq_addr_is4(&ip->dst)));
}

static void parse(const uint8_t *p, size_t n)
{
    struct pq_ip ip;
    size_t len = pq_ip_len((struct pq_view){p, n});
    int e = pq_ip_parse(&ip, (struct pq_view){p, n});
    FUZZ_CHECK(len == SIZE_MAX || len <= IP6_LEN + 65535);
    FUZZ_CHECK(e == 0 || e == PQ_EPROTO);
    if (e)
        return;
    FUZZ_CHECK(len == n);
    check_ip(&ip, n);
}

/* Sum over the transport part with its pseudo header, which a right checksum makes zero. */
static uint16_t transport_sum(const struct pq_ip *ip, const uint8_t *p, size_t n)
{
    uint8_t pseudo[4] = {0, ip->proto};
    bool v4 = ip->version == 4;
    pq_put_be16(pseudo + 2, (uint16_t)(n - ip->l4));
    uint64_t sum = pq_csum_add(0, pseudo, sizeof pseudo);
    sum = pq_csum_add(sum, p + (v4 ? 12 : 8), v4 ? 8 : 2 * 16);
    return pq_csum_fold(pq_csum_add(sum, p + ip->l4, n - ip->l4));
}

static void check_piece(const struct pq_gso *g, const struct pq_ip *whole, const uint8_t *p,
                        size_t n)
{
    struct pq_ip ip;
    FUZZ_CHECK(pq_ip_parse(&ip, (struct pq_view){p, n}) == 0);
    FUZZ_CHECK(pq_addr_eq(&ip.src, &whole->src) && pq_addr_eq(&ip.dst, &whole->dst));
    FUZZ_CHECK(ip.proto == PQ_IPPROTO_TCP && ip.l4 == whole->l4);
    FUZZ_CHECK(n >= g->head && n - g->head <= g->size);
    FUZZ_CHECK(transport_sum(&ip, p, n) == 0);
    FUZZ_CHECK(ip.version == 6 || pq_csum_fold(pq_csum_add(0, p, ip.l4)) == 0);
}

static void cut(const uint8_t *p, size_t n, uint16_t gso_size)
{
    struct pq_gso g;
    struct pq_ip whole;
    if (pq_gso_init(&g, p, n, gso_size))
        return;
    FUZZ_CHECK(pq_ip_parse(&whole, (struct pq_view){p, n}) == 0);
    size_t cap = g.head + g.size, len, at = g.head;
    uint8_t *out = malloc(cap);
    FUZZ_CHECK(out);
    FUZZ_CHECK(pq_gso_next(&g, out, cap - 1) == 0 && !g.done);
    while ((len = pq_gso_next(&g, out, cap))) {
        check_piece(&g, &whole, out, len);
        FUZZ_CHECK(len - g.head <= n - at);
        FUZZ_CHECK(memcmp(out + g.head, p + at, len - g.head) == 0);
        at += len - g.head;
    }
    FUZZ_CHECK(g.done && at == n);
    free(out);
}

static void describe(const uint8_t *p, size_t n, uint16_t gso_size, bool partial)
{
    struct pq_vnet v, same;
    uint8_t head[PQ_VNET_LEN];
    if (pq_gso_describe(&v, p, n, gso_size, partial))
        return;
    pq_vnet_write(&v, head);
    pq_vnet_read(&same, head);
    FUZZ_CHECK(same.flags == v.flags && same.gso_type == v.gso_type);
    FUZZ_CHECK(same.hdr_len == v.hdr_len && same.gso_size == v.gso_size);
    FUZZ_CHECK(same.csum_start == v.csum_start && same.csum_offset == v.csum_offset);
    FUZZ_CHECK((v.gso_type == PQ_VNET_GSO_NONE) == !gso_size && v.gso_size == gso_size);
    FUZZ_CHECK(!(v.flags & PQ_VNET_NEEDS_CSUM) == !(gso_size || partial));
    if (!(v.flags & PQ_VNET_NEEDS_CSUM))
        return;
    FUZZ_CHECK(v.hdr_len <= n && v.csum_start + v.csum_offset + 2u <= v.hdr_len);
    FUZZ_CHECK(gso_size || pq_gso_can_describe(&v, p, n));
    uint8_t *filled = fuzz_exact(p, n);
    pq_ip_fill_checksum(filled, n, v.csum_start, v.csum_offset);
    free(filled);
}

/* What a device says of a packet may be anything. */
static void from_device(const uint8_t head[PQ_VNET_LEN], const uint8_t *p, size_t n)
{
    struct pq_vnet v;
    pq_vnet_read(&v, head);
    pq_gso_can_describe(&v, p, n);
    uint8_t *filled = fuzz_exact(p, n);
    pq_ip_fill_checksum(filled, n, v.csum_start, v.csum_offset);
    free(filled);
}

/* Ten bytes as in front of a packet of the device, then the packet. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    if (n < PQ_VNET_LEN)
        return 0;
    uint16_t gso_size = pq_le16(p + 4);
    size_t len = n - PQ_VNET_LEN;
    uint8_t *packet = fuzz_exact(p + PQ_VNET_LEN, len);
    parse(packet, len);
    cut(packet, len, gso_size);
    describe(packet, len, gso_size, false);
    describe(packet, len, 0, true);
    describe(packet, len, 0, false);
    from_device(p, packet, len);
    free(packet);
    return 0;
}
