/* SPDX-License-Identifier: MIT */
/* test_netlink.c - netlink messages: written, read, cut off and lied about. */
#include "base/err.h"
#include "os/linux/rtmsg.h"
#include "unit.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>

enum { A = 1, B = 2, NEST = 3, INNER = 4, HEAD = 4 };

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 7};

/* The only message that was written. */
static struct pq_nl_msg only(const struct pq_nl_out *o)
{
    struct pq_view rest = {o->buf, o->len};
    struct pq_nl_msg m = {0};
    assert_false(o->bad);
    assert_true(pq_nl_next(&rest, &m));
    assert_int_equal(rest.n, 0);
    return m;
}

static void write_sample(struct pq_nl_out *o)
{
    pq_nl_begin(o, 20, NLM_F_ACK, "\1\2\3\4", HEAD);
    pq_nl_put_u32(o, A, 0x01020304);
    pq_nl_put_str(o, B, "name");
    const size_t nest = pq_nl_nest(o, NEST);
    pq_nl_put_u8(o, INNER, 9);
    pq_nl_put_be32(o, A, 7);
    pq_nl_nest_end(o, nest);
}

static void reads_what_was_written(void **state)
{
    (void)state;
    uint8_t buf[128], head[HEAD];
    char text[3];
    struct pq_nl_attrs a, inner;
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    write_sample(&o);
    pq_nl_add_flags(&o, NLM_F_EXCL);
    struct pq_nl_msg m = only(&o);
    assert_int_equal(m.type, 20);
    assert_int_equal(m.flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL);
    assert_true(pq_nl_head(&m, head, sizeof head, &a));
    assert_memory_equal(head, "\1\2\3\4", sizeof head);
    assert_int_equal(pq_nl_u32(a.v[A]), 0x01020304);
    assert_int_equal(a.v[B].n, 5);
    pq_nl_str(text, sizeof text, a.v[B]);
    assert_string_equal(text, "na");
    pq_nl_attrs_read(&inner, a.v[NEST]);
    assert_int_equal(inner.v[INNER].n, 1);
    assert_int_equal(*inner.v[INNER].p, 9);
    assert_memory_equal(inner.v[A].p, "\0\0\0\7", 4);
    assert_null(a.v[INNER].p);
    assert_int_equal(pq_nl_u32(a.v[INNER]), 0);
    assert_int_equal(pq_nl_u32(a.v[B]), 0); /* of another length */
}

static void several_messages(void **state)
{
    (void)state;
    uint8_t buf[128];
    struct pq_nl_msg m;
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    for (uint16_t i = 0; i < 3; i++)
        pq_nl_begin(&o, (uint16_t)(20 + i), 0, "x", 1);
    struct pq_view rest = {buf, o.len};
    for (int i = 0; i < 3; i++) {
        assert_true(pq_nl_next(&rest, &m));
        assert_int_equal(m.type, 20 + i);
    }
    assert_false(pq_nl_next(&rest, &m));
}

/* Whatever the room is: all of it or nothing, and no byte behind it. */
static void too_small(void **state)
{
    (void)state;
    uint8_t buf[128];
    struct pq_nl_out whole = pq_nl_out_init(buf, sizeof buf);
    write_sample(&whole);
    for (size_t cap = 0; cap <= whole.len; cap++) {
        uint8_t *exact = malloc(cap + 1);
        assert_non_null(exact);
        exact[cap] = 0x5a;
        struct pq_nl_out o = pq_nl_out_init(exact, cap);
        write_sample(&o);
        pq_nl_add_flags(&o, NLM_F_EXCL);
        assert_int_equal(o.bad, cap < whole.len);
        assert_true(o.len <= cap);
        assert_int_equal(exact[cap], 0x5a);
        free(exact);
    }
}

static void too_long_for_an_attribute(void **state)
{
    (void)state;
    static uint8_t buf[200000], value[65536];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    pq_nl_begin(&o, 20, 0, NULL, 0);
    pq_nl_put(&o, A, value, 65531);
    assert_false(o.bad);
    pq_nl_put(&o, A, value, 65532);
    assert_true(o.bad);
    o = pq_nl_out_init(buf, sizeof buf);
    pq_nl_begin(&o, 20, 0, NULL, 0);
    const size_t nest = pq_nl_nest(&o, NEST);
    pq_nl_put(&o, A, value, 40000);
    pq_nl_put(&o, A, value, 40000);
    assert_false(o.bad);
    pq_nl_nest_end(&o, nest);
    assert_true(o.bad);
}

static void lengths_that_lie(void **state)
{
    (void)state;
    uint8_t buf[128], head[HEAD];
    struct pq_nl_attrs a;
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    write_sample(&o);
    for (uint32_t len = 0; len < o.len + 8; len++) { /* of the message */
        struct pq_view rest = {buf, o.len};
        struct pq_nl_msg m;
        memcpy(buf, &len, sizeof len);
        assert_int_equal(pq_nl_next(&rest, &m), len >= 16 && len <= o.len);
        if (len >= 16 && len <= o.len)
            assert_int_equal(pq_nl_head(&m, head, HEAD, &a), len >= 16 + HEAD);
    }
    const uint32_t len = (uint32_t)o.len;
    memcpy(buf, &len, sizeof len);
    for (uint16_t n = 0; n < 200; n++) { /* of its first attribute */
        memcpy(buf + 16 + HEAD, &n, sizeof n);
        struct pq_nl_msg m = only(&o);
        assert_true(pq_nl_head(&m, head, HEAD, &a));
        assert_int_equal(a.v[A].p != NULL, n >= 4 && n <= o.len - 16 - HEAD);
        assert_int_equal(a.v[B].p != NULL, n >= 5 && n <= 8);
        if (n >= 4 && n <= 20) /* a longer one leads into the nest, where there is another A */
            assert_int_equal(a.v[A].n, n - 4);
    }
}

static void verdicts(void **state)
{
    (void)state;
    static const struct {
        uint16_t type;
        int32_t code;
        size_t n;
        bool is;
        int want;
    } t[] = {
        {NLMSG_ERROR, 0, 4, true, 0},          {NLMSG_ERROR, -EPERM, 4, true, -EPERM},
        {NLMSG_ERROR, -4095, 4, true, -4095},  {NLMSG_ERROR, -4096, 4, true, PQ_EPROTO},
        {NLMSG_ERROR, 1, 4, true, PQ_EPROTO},  {NLMSG_ERROR, INT32_MIN, 4, true, PQ_EPROTO},
        {NLMSG_ERROR, 0, 3, true, PQ_EPROTO},  {NLMSG_DONE, 0, 4, true, 0},
        {NLMSG_DONE, -EINTR, 4, true, -EINTR}, {NLMSG_DONE, 0, 0, true, 0},
        {NLMSG_NOOP, -EPERM, 4, false, 1},     {RTM_NEWLINK, -EPERM, 4, false, 1},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        uint8_t *body = ut_exact((const uint8_t *)&t[i].code, t[i].n);
        const struct pq_nl_msg m = {.type = t[i].type, .body = {body, t[i].n}};
        int e = 1;
        assert_int_equal(pq_nl_verdict(&m, &e), t[i].is);
        assert_int_equal(e, t[i].want);
        free(body);
    }
}

static void link_and_address(void **state)
{
    (void)state;
    uint8_t buf[256];
    const struct ifinfomsg link = {.ifi_index = 3, .ifi_type = ARPHRD_ETHER, .ifi_flags = 1};
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    pq_nl_begin(&o, RTM_NEWLINK, 0, &link, sizeof link);
    pq_nl_put_str(&o, IFLA_IFNAME, "a-name-that-is-too-long");
    pq_nl_put_u32(&o, IFLA_MTU, 1400);
    pq_nl_put(&o, IFLA_ADDRESS, mac, sizeof mac);
    struct pq_iface f;
    struct pq_nl_msg m = only(&o);
    assert_true(pq_rt_link(&f, &m));
    assert_string_equal(f.name, "a-name-that-is-");
    assert_int_equal(f.index, 3);
    assert_int_equal(f.mtu, 1400);
    assert_true(f.up && !f.loopback && !f.carrier && f.has_mac);
    assert_memory_equal(f.mac, mac, sizeof mac);
    m.type = RTM_DELLINK;
    assert_false(pq_rt_link(&f, &m));

    const struct ifaddrmsg addr = {.ifa_index = 3, .ifa_prefixlen = 24};
    struct pq_addr peer, own;
    assert_int_equal(pq_addr_parse_ip(&peer, "10.0.0.1"), 0);
    assert_int_equal(pq_addr_parse_ip(&own, "10.0.0.2"), 0);
    for (int with_own = 0; with_own < 2; with_own++) {
        struct pq_iface_addr a;
        int index;
        o = pq_nl_out_init(buf, sizeof buf);
        pq_nl_begin(&o, RTM_NEWADDR, 0, &addr, sizeof addr);
        pq_nl_put_addr(&o, IFA_ADDRESS, &peer);
        if (with_own)
            pq_nl_put_addr(&o, IFA_LOCAL, &own);
        m = only(&o);
        assert_true(pq_rt_addr(&a, &index, &m));
        assert_true(pq_addr_eq_ip(&a.ip, with_own ? &own : &peer));
        assert_int_equal(a.prefix, 24);
        assert_int_equal(index, 3);
    }
}

/* The first of several ways, whose gateway is of the other IP version. */
static void route_of_several_ways(void **state)
{
    (void)state;
    uint8_t buf[256], hops[64];
    const uint8_t via[18] = {10, 0, 0xfe, 0x80, [17] = 9};
    const struct rtmsg head = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN};
    struct rtnexthop hop = {.rtnh_ifindex = 5, .rtnh_len = sizeof hop + 24};
    struct pq_nl_out h = pq_nl_out_init(hops, sizeof hops);
    pq_nl_begin(&h, 0, 0, NULL, 0);
    pq_nl_put(&h, RTA_VIA, via, sizeof via);
    for (unsigned lie = 0; lie < 2; lie++) {
        uint8_t ways[sizeof hop + 24] = {0};
        struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
        hop.rtnh_len = (uint16_t)(sizeof ways + lie);
        memcpy(ways, &hop, sizeof hop);
        memcpy(ways + sizeof hop, only(&h).body.p, 24);
        pq_nl_begin(&o, RTM_NEWROUTE, 0, &head, sizeof head);
        pq_nl_put_u32(&o, RTA_PRIORITY, 77);
        pq_nl_put(&o, RTA_MULTIPATH, ways, sizeof ways);
        struct pq_nl_msg m = only(&o);
        struct pq_rt_route r;
        assert_true(pq_rt_route(&r, &m));
        assert_true(r.is4 && !r.has_dst);
        assert_int_equal(r.table, RT_TABLE_MAIN);
        assert_int_equal(r.metric, 77);
        assert_int_equal(r.ifindex, lie ? 0 : 5);
        assert_int_equal(r.has_gateway, !lie);
        if (!lie)
            assert_memory_equal(r.gateway.ip, via + 2, 16);
    }
}

static void neighbours(void **state)
{
    (void)state;
    static const struct {
        uint16_t state;
        size_t mac_len;
        bool is, fresh;
    } t[] = {
        {NUD_REACHABLE, 6, true, true}, {NUD_PERMANENT, 6, true, true},
        {NUD_STALE, 6, true, false},    {NUD_FAILED, 6, false, false},
        {NUD_STALE, 5, false, false},   {NUD_STALE, 8, false, false},
    };
    static const uint8_t longer[8] = {2, 0, 0, 0, 0, 7};
    struct pq_addr ip;
    assert_int_equal(pq_addr_parse_ip(&ip, "fd00::1"), 0);
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        uint8_t buf[128];
        const struct ndmsg head = {.ndm_ifindex = 4, .ndm_state = t[i].state};
        struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
        pq_nl_begin(&o, RTM_NEWNEIGH, 0, &head, sizeof head);
        pq_nl_put_addr(&o, NDA_DST, &ip);
        pq_nl_put(&o, NDA_LLADDR, longer, t[i].mac_len);
        struct pq_rt_neigh n;
        struct pq_nl_msg m = only(&o);
        assert_int_equal(pq_rt_neigh(&n, &m), t[i].is);
        if (!t[i].is)
            continue;
        assert_int_equal(n.fresh, t[i].fresh);
        assert_int_equal(n.ifindex, 4);
        assert_true(pq_addr_eq_ip(&n.ip, &ip));
        assert_memory_equal(n.mac, mac, sizeof mac);
    }
}

int main(void)
{
    const struct CMUnitTest netlink[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(several_messages),
        cmocka_unit_test(too_small),
        cmocka_unit_test(too_long_for_an_attribute),
        cmocka_unit_test(lengths_that_lie),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(link_and_address),
        cmocka_unit_test(route_of_several_ways),
        cmocka_unit_test(neighbours),
    };
    return ut_run(netlink);
}
