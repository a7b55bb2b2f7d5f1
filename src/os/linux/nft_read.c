/* SPDX-License-Identifier: MIT */
#include "os/linux/nft_read.h"

#include <linux/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>

#include <string.h>

#define KIND(m)    (NFNL_SUBSYS_NFTABLES << 8 | (m))
#define DPORT_AT   2 /* in the header of TCP and UDP */
#define IPPROTO_AT 9 /* in that of IPv4 */

/* What iptables' matches "tcp", "udp" and "multiport" look like: source ports, destination ports;
 * and kind, count, ports. */
#define XT_PORTS_AT     4
#define XT_MULTI_AT     2
#define XT_MULTI_MAX    15
#define XT_MULTI_DEST   1U
#define XT_MULTI_EITHER 2U

enum loaded { NOTHING, PORT, PROTOCOL, DEVICE };

bool pq_nft_read_base(struct pq_nft_base *out, const struct pq_nl_msg *m, uint32_t at)
{
    struct nfgenmsg g;
    struct pq_nl_attrs a, hook;
    if (m->type != KIND(NFT_MSG_NEWCHAIN) || !pq_nl_head(m, &g, sizeof g, &a) ||
        !a.v[NFTA_CHAIN_HOOK].p)
        return false;
    pq_nl_attrs_read(&hook, a.v[NFTA_CHAIN_HOOK]);
    const struct pq_view number = hook.v[NFTA_HOOK_HOOKNUM], policy = a.v[NFTA_CHAIN_POLICY];
    if (number.n != 4 || pq_be32(number.p) != at ||
        (g.nfgen_family != NFPROTO_INET && g.nfgen_family != NFPROTO_IPV4 &&
         g.nfgen_family != NFPROTO_IPV6))
        return false;
    *out = (struct pq_nft_base){.family = g.nfgen_family,
                                .drops = policy.n == 4 && pq_be32(policy.p) == NF_DROP};
    pq_nl_str(out->table, sizeof out->table, a.v[NFTA_CHAIN_TABLE]);
    pq_nl_str(out->name, sizeof out->name, a.v[NFTA_CHAIN_NAME]);
    return true;
}

/* ---- a rule */

static uint32_t be32_of(struct pq_view v)
{
    return v.n == 4 ? pq_be32(v.p) : UINT32_MAX;
}

/* The bytes that a comparison is made with. */
static struct pq_view value_of(struct pq_view data)
{
    struct pq_nl_attrs a;
    pq_nl_attrs_read(&a, data);
    return a.v[NFTA_DATA_VALUE];
}

static bool port_of(struct pq_view data, uint16_t *out)
{
    const struct pq_view v = value_of(data);
    if (v.n < 2)
        return false;
    *out = pq_be16(v.p);
    return true;
}

static void add_ports(struct pq_nft_seen *s, uint16_t from, uint16_t to)
{
    if (s->n_ports < PQ_NFT_SEEN_PORTS && from <= to)
        s->port[s->n_ports++] = (struct pq_range){from, to};
}

static void take_protocol(struct pq_nft_seen *s, uint8_t protocol)
{
    s->tcp = s->tcp && protocol == IPPROTO_TCP;
    s->udp = s->udp && protocol == IPPROTO_UDP;
}

/* "from 8000" and "to 8100" may be two comparisons. */
static void take_cmp(struct pq_nft_seen *s, const struct pq_nl_attrs *a, enum loaded what)
{
    const struct pq_view v = value_of(a->v[NFTA_CMP_DATA]);
    const uint32_t op = be32_of(a->v[NFTA_CMP_OP]);
    uint16_t port;
    if (what == PROTOCOL && op == NFT_CMP_EQ && v.n >= 1)
        take_protocol(s, v.p[0]);
    if (what == DEVICE && op == NFT_CMP_EQ)
        pq_nl_str(s->device, sizeof s->device, v);
    if (what != PORT || !port_of(a->v[NFTA_CMP_DATA], &port))
        return;
    if (op == NFT_CMP_EQ)
        add_ports(s, port, port);
    else if (op == NFT_CMP_GTE)
        add_ports(s, port, UINT16_MAX);
    else if (op == NFT_CMP_LTE && s->n_ports && s->port[s->n_ports - 1].from <= port)
        s->port[s->n_ports - 1].to = port;
    else if (op == NFT_CMP_LTE)
        add_ports(s, 0, port);
}

static void take_range(struct pq_nft_seen *s, const struct pq_nl_attrs *a)
{
    uint16_t from, to;
    if (be32_of(a->v[NFTA_RANGE_OP]) == NFT_RANGE_EQ &&
        port_of(a->v[NFTA_RANGE_FROM_DATA], &from) && port_of(a->v[NFTA_RANGE_TO_DATA], &to))
        add_ports(s, from, to);
}

/* One of iptables' own conditions, with its numbers in the host's order. */
static void take_match(struct pq_nft_seen *s, const struct pq_nl_attrs *a)
{
    char name[16];
    const struct pq_view info = a->v[NFTA_MATCH_INFO];
    uint16_t ports[XT_MULTI_MAX];
    pq_nl_str(name, sizeof name, a->v[NFTA_MATCH_NAME]);
    const bool tcp = strcmp(name, "tcp") == 0, udp = strcmp(name, "udp") == 0;
    if ((tcp || udp) && info.n >= XT_PORTS_AT + 4) {
        take_protocol(s, tcp ? IPPROTO_TCP : IPPROTO_UDP);
        memcpy(ports, info.p + XT_PORTS_AT, 4);
        if (ports[0] || ports[1] != UINT16_MAX) /* else it asks for none */
            add_ports(s, ports[0], ports[1]);
    } else if (strcmp(name, "multiport") == 0 && info.n >= XT_MULTI_AT + sizeof ports &&
               (info.p[0] == XT_MULTI_DEST || info.p[0] == XT_MULTI_EITHER)) {
        memcpy(ports, info.p + XT_MULTI_AT, sizeof ports);
        for (unsigned i = 0; i < info.p[1] && i < XT_MULTI_MAX; i++)
            add_ports(s, ports[i], ports[i]);
    }
}

static void take_verdict(struct pq_nft_seen *s, const struct pq_nl_attrs *a)
{
    struct pq_nl_attrs data, verdict;
    pq_nl_attrs_read(&data, a->v[NFTA_IMMEDIATE_DATA]);
    pq_nl_attrs_read(&verdict, data.v[NFTA_DATA_VERDICT]);
    const struct pq_view code = verdict.v[NFTA_VERDICT_CODE];
    if (code.n != 4)
        return;
    const int32_t v = (int32_t)pq_be32(code.p);
    s->accepts |= v == NF_ACCEPT;
    s->drops |= v == NF_DROP;
    if (v == NFT_JUMP || v == NFT_GOTO)
        pq_nl_str(s->to, sizeof s->to, verdict.v[NFTA_VERDICT_CHAIN]);
}

static enum loaded load_payload(const struct pq_nl_attrs *a)
{
    const uint32_t base = be32_of(a->v[NFTA_PAYLOAD_BASE]), at = be32_of(a->v[NFTA_PAYLOAD_OFFSET]),
                   n = be32_of(a->v[NFTA_PAYLOAD_LEN]);
    if (base == NFT_PAYLOAD_TRANSPORT_HEADER && at == DPORT_AT && n == 2)
        return PORT;
    return base == NFT_PAYLOAD_NETWORK_HEADER && at == IPPROTO_AT && n == 1 ? PROTOCOL : NOTHING;
}

/* Whether a lookup asks for what is not in the set. */
static bool is_turned_round(const struct pq_nl_attrs *a)
{
    const struct pq_view flags = a->v[NFTA_LOOKUP_FLAGS];
    return flags.p && be32_of(flags) & NFT_LOOKUP_F_INV;
}

static enum loaded load_meta(const struct pq_nl_attrs *a)
{
    const uint32_t key = be32_of(a->v[NFTA_META_KEY]);
    return key == NFT_META_L4PROTO                              ? PROTOCOL
           : key == NFT_META_IIFNAME || key == NFT_META_OIFNAME ? DEVICE
                                                                : NOTHING;
}

static void take_expression(struct pq_nft_seen *s, const char *name, struct pq_view data,
                            enum loaded *what)
{
    struct pq_nl_attrs a;
    pq_nl_attrs_read(&a, data);
    if (strcmp(name, "immediate") == 0) {
        take_verdict(s, &a);
    } else if (strcmp(name, "reject") == 0) {
        s->drops = true;
    } else if (strcmp(name, "target") == 0) {
        char target[16];
        pq_nl_str(target, sizeof target, a.v[NFTA_TARGET_NAME]);
        s->drops |= strcmp(target, "REJECT") == 0;
    } else if (strcmp(name, "counter") != 0 && strcmp(name, "log") != 0) {
        s->plain = false;
    }
    if (strcmp(name, "payload") == 0)
        *what = load_payload(&a);
    else if (strcmp(name, "meta") == 0)
        *what = load_meta(&a);
    else if (strcmp(name, "cmp") == 0)
        take_cmp(s, &a, *what);
    else if (strcmp(name, "range") == 0 && *what == PORT)
        take_range(s, &a);
    else if (strcmp(name, "match") == 0)
        take_match(s, &a);
    else if (strcmp(name, "lookup") == 0 && *what == PORT && !is_turned_round(&a)) {
        pq_nl_str(s->set, sizeof s->set, a.v[NFTA_LOOKUP_SET]);
        s->map = a.v[NFTA_LOOKUP_DREG].p != NULL;
    } else if (strcmp(name, "bitwise") == 0)
        *what = NOTHING;
}

bool pq_nft_read_rule(struct pq_nft_seen *out, const struct pq_nl_msg *m)
{
    struct nfgenmsg g;
    struct pq_nl_attrs a;
    if (m->type != KIND(NFT_MSG_NEWRULE) || !pq_nl_head(m, &g, sizeof g, &a))
        return false;
    *out = (struct pq_nft_seen){.tcp = true, .udp = true, .plain = true};
    pq_nl_str(out->chain, sizeof out->chain, a.v[NFTA_RULE_CHAIN]);
    struct pq_view rest = a.v[NFTA_RULE_EXPRESSIONS], v;
    enum loaded what = NOTHING;
    for (unsigned type; pq_nl_attr(&rest, &type, &v);) {
        struct pq_nl_attrs e;
        char name[16];
        pq_nl_attrs_read(&e, v);
        pq_nl_str(name, sizeof name, e.v[NFTA_EXPR_NAME]);
        take_expression(out, name, e.v[NFTA_EXPR_DATA], &what);
    }
    return true;
}

/* ---- a set of ports */

bool pq_nft_read_port(struct pq_view *rest, uint16_t *port, bool *end)
{
    struct pq_nl_attrs a;
    struct pq_view v;
    unsigned type;
    if (!pq_nl_attr(rest, &type, &v))
        return false;
    pq_nl_attrs_read(&a, v);
    const uint32_t flags = be32_of(a.v[NFTA_SET_ELEM_FLAGS]);
    const struct pq_view key = value_of(a.v[NFTA_SET_ELEM_KEY]);
    *end = flags != UINT32_MAX && flags & NFT_SET_ELEM_INTERVAL_END;
    if (key.n != 2)
        return false;
    *port = pq_be16(key.p);
    return true;
}
