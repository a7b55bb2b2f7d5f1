/* SPDX-License-Identifier: MIT */
#include "os/linux/nft_read.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>

#include <stdio.h>
#include <string.h>

#define KIND(m)    (NFNL_SUBSYS_NFTABLES << 8 | (m))
#define DPORT_AT   2  /* in the header of TCP and UDP */
#define FLAGS_AT   13 /* in that of TCP */
#define IPPROTO_AT 9  /* in that of IPv4 */
#define SADDR4_AT  12
#define DADDR4_AT  16
#define SADDR6_AT  8 /* in that of IPv6 */
#define DADDR6_AT  24
#define SYN        2U /* the flags with which a connection begins */
#define LO         1U /* the number of the interface lo */

/* What iptables' matches "tcp", "udp" and "multiport" look like: source ports, destination ports,
 * of TCP flags; and kind, count, ports, which of them begin a range; and of "conntrack" what it
 * asks for, what is turned round, states. */
#define XT_PORTS_AT     4
#define XT_TCP_FLAGS_AT 9
#define XT_TCP_LEN      12
#define XT_UDP_LEN      9
#define XT_INV_SOURCE   1U
#define XT_INV_DEST     2U
#define XT_INV_FLAGS    4U
#define XT_MULTI_AT     2
#define XT_MULTI_MAX    15
#define XT_MULTI_RANGES (XT_MULTI_AT + 2 * XT_MULTI_MAX)
#define XT_MULTI_INV    (XT_MULTI_RANGES + XT_MULTI_MAX)
#define XT_MULTI_DEST   1U
#define XT_MULTI_EITHER 2U
#define XT_CT_ASKS_AT   146
#define XT_CT_STATE     1U

enum loaded { NOTHING, PORT, PROTOCOL, DEVICE, INDEX, STATE, FLAGS, IP, SOURCE, DEST };

struct loaded_value { /* what is compared next */
    enum loaded what;
    bool six;            /* an address of IPv6 */
    struct pq_view mask; /* what counts of it; p NULL: all */
};

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

/* `words` are behind `front`. */
static void when(struct pq_nft_seen *s, enum pq_nft_when w, const char *front, const char *words)
{
    if (w > s->when)
        s->when = w;
    if (w == PQ_NFT_SOMETIMES && !*s->asks)
        snprintf(s->asks, sizeof s->asks, "%s%s", front, words);
}

static void so(struct pq_nft_seen *s, bool is)
{
    when(s, is ? PQ_NFT_ALWAYS : PQ_NFT_NEVER, "", "");
}

static void strange(struct pq_nft_seen *s, const char *what)
{
    when(s, PQ_NFT_SOMETIMES, "by what is not understood here: ", what);
}

/* A number of up to four bytes that is known of each such connection, against what is asked for. */
static void take_known(struct pq_nft_seen *s, const struct loaded_value *l, uint32_t known,
                       struct pq_view v, uint32_t op)
{
    uint8_t is[4] = {(uint8_t)known};
    if (v.n == 4)
        memcpy(is, &known, sizeof is); /* in the host's order */
    for (size_t i = 0; l->mask.p && i < l->mask.n && i < sizeof is; i++)
        is[i] &= l->mask.p[i];
    const bool equal = v.n <= sizeof is && memcmp(is, v.p, v.n) == 0;
    if (op == NFT_CMP_EQ || op == NFT_CMP_NEQ)
        so(s, equal == (op == NFT_CMP_EQ));
    else
        strange(s, "a comparison");
}

/* "10.0.0.0/8", of a mask or of fewer bytes. */
static void take_address(struct pq_nft_seen *s, const struct loaded_value *l, struct pq_view v,
                         uint32_t op)
{
    uint8_t ip[16] = {0};
    char text[INET6_ADDRSTRLEN], words[INET6_ADDRSTRLEN + 8];
    const size_t all = l->six ? 16 : 4;
    unsigned bits = 0;
    memcpy(ip, v.p, v.n < all ? v.n : all);
    for (size_t i = 0; l->mask.p && i < l->mask.n; i++)
        bits += (unsigned)__builtin_popcount(l->mask.p[i]);
    bits = l->mask.p ? bits : (unsigned)v.n * 8;
    inet_ntop(l->six ? AF_INET6 : AF_INET, ip, text, sizeof text);
    snprintf(words, sizeof words, bits < all * 8 ? "%s/%u" : "%s", text, bits);
    if (op == NFT_CMP_EQ)
        when(s, PQ_NFT_SOMETIMES, l->what == SOURCE ? "from " : "to ", words);
    else if (op == NFT_CMP_NEQ)
        when(s, PQ_NFT_SOMETIMES, l->what == SOURCE ? "not from " : "not to ", words);
    else
        when(s, PQ_NFT_SOMETIMES, "from some addresses", "");
}

static void take_device(struct pq_nft_seen *s, struct pq_view v, uint32_t op)
{
    char name[16];
    pq_nl_str(name, sizeof name, v);
    if (op == NFT_CMP_EQ)
        snprintf(s->device, sizeof s->device, "%s", name);
    if (strcmp(name, "lo") == 0)
        so(s, op != NFT_CMP_EQ);
    else
        when(s, PQ_NFT_SOMETIMES, op == NFT_CMP_EQ ? "through " : "but through ", name);
}

static void take_port(struct pq_nft_seen *s, uint16_t port, uint32_t op)
{
    if (op == NFT_CMP_EQ || op == NFT_CMP_NEQ)
        add_ports(s, port, port);
    else if (op == NFT_CMP_GTE)
        add_ports(s, port, UINT16_MAX);
    else if (op == NFT_CMP_LTE && s->n_ports && s->port[s->n_ports - 1].from <= port)
        s->port[s->n_ports - 1].to = port;
    else if (op == NFT_CMP_LTE)
        add_ports(s, 0, port);
    else
        strange(s, "a comparison");
    s->except = op == NFT_CMP_NEQ;
}

/* "from 8000" and "to 8100" may be two comparisons. */
static void take_cmp(struct pq_nft_seen *s, const struct pq_nl_attrs *a,
                     const struct loaded_value *l)
{
    const struct pq_view v = value_of(a->v[NFTA_CMP_DATA]);
    const uint32_t op = be32_of(a->v[NFTA_CMP_OP]);
    uint32_t index;
    if (!v.n)
        return;
    if (l->what == PROTOCOL && op == NFT_CMP_EQ) {
        take_protocol(s, v.p[0]);
    } else if (l->what == PROTOCOL && op == NFT_CMP_NEQ) {
        s->tcp = s->tcp && v.p[0] != IPPROTO_TCP;
        s->udp = s->udp && v.p[0] != IPPROTO_UDP;
    } else if (l->what == DEVICE) {
        take_device(s, v, op);
    } else if (l->what == INDEX && v.n == 4) {
        memcpy(&index, v.p, 4);
        if (index == LO)
            so(s, op != NFT_CMP_EQ);
        else
            when(s, PQ_NFT_SOMETIMES, "through one interface", "");
    } else if (l->what == PORT && v.n >= 2) {
        take_port(s, pq_be16(v.p), op);
    } else if (l->what == STATE) {
        take_known(s, l, PQ_NFT_STATE_NEW, v, op);
    } else if (l->what == FLAGS) {
        take_known(s, l, SYN, v, op);
    } else if (l->what == IP) {
        if (v.p[0] != NFPROTO_IPV4 || op != NFT_CMP_EQ) /* most are of IPv4 */
            when(s, PQ_NFT_SOMETIMES, "over ", "IPv6");
    } else if (l->what == SOURCE || l->what == DEST) {
        take_address(s, l, v, op);
    } else {
        strange(s, "a comparison");
    }
}

static void take_range(struct pq_nft_seen *s, const struct pq_nl_attrs *a)
{
    uint16_t from, to;
    if (be32_of(a->v[NFTA_RANGE_OP]) == NFT_RANGE_EQ &&
        port_of(a->v[NFTA_RANGE_FROM_DATA], &from) && port_of(a->v[NFTA_RANGE_TO_DATA], &to))
        add_ports(s, from, to);
    else
        strange(s, "a range");
}

static void take_tcp_udp(struct pq_nft_seen *s, struct pq_view info, bool tcp)
{
    uint16_t ports[4];
    const uint8_t turned = info.p[tcp ? XT_TCP_LEN - 1 : XT_UDP_LEN - 1];
    take_protocol(s, tcp ? IPPROTO_TCP : IPPROTO_UDP);
    memcpy(ports, info.p, sizeof ports);
    if (ports[0] || ports[1] != UINT16_MAX || turned & XT_INV_SOURCE)
        when(s, PQ_NFT_SOMETIMES, "from some ports", "");
    if (ports[2] || ports[3] != UINT16_MAX) { /* else it asks for none */
        add_ports(s, ports[2], ports[3]);
        s->except = turned & XT_INV_DEST;
    }
    if (tcp && info.p[XT_TCP_FLAGS_AT])
        so(s, ((SYN & info.p[XT_TCP_FLAGS_AT]) == info.p[XT_TCP_FLAGS_AT + 1]) ==
                  !(turned & XT_INV_FLAGS));
}

static void take_multiport(struct pq_nft_seen *s, struct pq_view info)
{
    uint16_t ports[XT_MULTI_MAX];
    memcpy(ports, info.p + XT_MULTI_AT, sizeof ports);
    s->except = info.n > XT_MULTI_INV && info.p[XT_MULTI_INV];
    for (unsigned i = 0; i < info.p[1] && i < XT_MULTI_MAX; i++) {
        const bool range =
            info.n > XT_MULTI_RANGES + i && info.p[XT_MULTI_RANGES + i] && i + 1 < XT_MULTI_MAX;
        add_ports(s, ports[i], ports[i + range]);
        i += range;
    }
}

/* One of iptables' own conditions, with its numbers in the host's order. */
static void take_match(struct pq_nft_seen *s, const struct pq_nl_attrs *a)
{
    char name[32];
    const struct pq_view info = a->v[NFTA_MATCH_INFO];
    uint16_t ct[3];
    pq_nl_str(name, sizeof name, a->v[NFTA_MATCH_NAME]);
    const bool tcp = strcmp(name, "tcp") == 0, udp = strcmp(name, "udp") == 0;
    if ((tcp && info.n >= XT_TCP_LEN) || (udp && info.n >= XT_UDP_LEN)) {
        take_tcp_udp(s, info, tcp);
    } else if (strcmp(name, "multiport") == 0 && info.n >= XT_MULTI_RANGES &&
               (info.p[0] == XT_MULTI_DEST || info.p[0] == XT_MULTI_EITHER)) {
        take_multiport(s, info);
    } else if (strcmp(name, "conntrack") == 0 && info.n >= XT_CT_ASKS_AT + sizeof ct) {
        memcpy(ct, info.p + XT_CT_ASKS_AT, sizeof ct);
        if (ct[0] == XT_CT_STATE)
            so(s, ((ct[2] & PQ_NFT_STATE_NEW) != 0) == !(ct[1] & XT_CT_STATE));
        else
            strange(s, name);
    } else if (strcmp(name, "comment") != 0) {
        strange(s, name);
    }
}

struct verdict {
    bool accepts, drops, returns, leaves;
    struct pq_view to;
};

static struct verdict verdict_of(struct pq_view data)
{
    struct pq_nl_attrs outer, inner;
    pq_nl_attrs_read(&outer, data);
    pq_nl_attrs_read(&inner, outer.v[NFTA_DATA_VERDICT]);
    const struct pq_view code = inner.v[NFTA_VERDICT_CODE];
    struct verdict v = {.accepts = false};
    if (code.n != 4)
        return v;
    const int32_t c = (int32_t)pq_be32(code.p);
    v.accepts = c == NF_ACCEPT;
    v.drops = c == NF_DROP;
    v.returns = c == NFT_RETURN;
    v.leaves = c == NFT_GOTO;
    if (c == NFT_JUMP || c == NFT_GOTO)
        v.to = inner.v[NFTA_VERDICT_CHAIN];
    return v;
}

static void take_verdict(struct pq_nft_seen *s, const struct pq_nl_attrs *a)
{
    const struct verdict v = verdict_of(a->v[NFTA_IMMEDIATE_DATA]);
    s->accepts |= v.accepts;
    s->drops |= v.drops;
    s->returns |= v.returns;
    s->leaves |= v.leaves;
    if (v.to.p)
        pq_nl_str(s->to, sizeof s->to, v.to);
}

static struct loaded_value load_payload(const struct pq_nl_attrs *a, uint8_t family)
{
    const uint32_t base = be32_of(a->v[NFTA_PAYLOAD_BASE]), at = be32_of(a->v[NFTA_PAYLOAD_OFFSET]),
                   n = be32_of(a->v[NFTA_PAYLOAD_LEN]);
    struct loaded_value l = {.what = NOTHING};
    const bool ip = base == NFT_PAYLOAD_NETWORK_HEADER, tcp = base == NFT_PAYLOAD_TRANSPORT_HEADER;
    if (tcp && at == DPORT_AT && n == 2)
        l.what = PORT;
    else if (tcp && at == FLAGS_AT && n == 1)
        l.what = FLAGS;
    else if (ip && at == IPPROTO_AT && n == 1)
        l.what = PROTOCOL;
    else if (ip && family != NFPROTO_IPV6 && (at == SADDR4_AT || at == DADDR4_AT) && n <= 4)
        l = (struct loaded_value){.what = at == SADDR4_AT ? SOURCE : DEST};
    else if (ip && (at == SADDR6_AT || at == DADDR6_AT) && n <= 16)
        l = (struct loaded_value){.what = at == SADDR6_AT ? SOURCE : DEST, .six = true};
    return l;
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
           : key == NFT_META_IIF                                ? INDEX
           : key == NFT_META_NFPROTO                            ? IP
                                                                : NOTHING;
}

static void take_lookup(struct pq_nft_seen *s, const struct pq_nl_attrs *a,
                        const struct loaded_value *l)
{
    const bool turned = is_turned_round(a);
    if (l->what == SOURCE || l->what == DEST) {
        when(s, PQ_NFT_SOMETIMES, turned ? "not " : "",
             l->what == SOURCE ? "from some addresses" : "to some addresses");
    } else if ((l->what == PORT || l->what == STATE) && !l->mask.p && !*s->set) {
        pq_nl_str(s->set, sizeof s->set, a->v[NFTA_LOOKUP_SET]);
        s->map = a->v[NFTA_LOOKUP_DREG].p != NULL;
        s->states = l->what == STATE;
        s->except = turned;
    } else {
        strange(s, "a set");
    }
}

/* Conditions beside those that are one comparison. */
static void take_condition(struct pq_nft_seen *s, const char *name, const struct pq_nl_attrs *a,
                           struct loaded_value *l)
{
    static const char *const none[] = {"counter", "log",    "immediate", "reject",
                                       "target",  "dynset", "objref",    "notrack"};
    if (strcmp(name, "payload") == 0)
        *l = load_payload(a, s->family);
    else if (strcmp(name, "meta") == 0)
        *l = (struct loaded_value){.what = load_meta(a)};
    else if (strcmp(name, "ct") == 0)
        *l = (struct loaded_value){.what = be32_of(a->v[NFTA_CT_KEY]) == NFT_CT_STATE ? STATE
                                                                                      : NOTHING};
    else if (strcmp(name, "cmp") == 0)
        take_cmp(s, a, l);
    else if (strcmp(name, "range") == 0 && l->what == PORT)
        take_range(s, a);
    else if (strcmp(name, "range") == 0 && l->what == SOURCE)
        when(s, PQ_NFT_SOMETIMES, "from some addresses", "");
    else if (strcmp(name, "match") == 0)
        take_match(s, a);
    else if (strcmp(name, "lookup") == 0)
        take_lookup(s, a, l);
    else if (strcmp(name, "bitwise") == 0 && l->what != PORT)
        l->mask = value_of(a->v[NFTA_BITWISE_MASK]);
    else {
        bool asks = true;
        for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
            asks = asks && strcmp(name, none[i]) != 0;
        if (asks)
            strange(s, name);
    }
}

static void take_expression(struct pq_nft_seen *s, const char *name, struct pq_view data,
                            struct loaded_value *l)
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
    take_condition(s, name, &a, l);
}

bool pq_nft_read_rule(struct pq_nft_seen *out, const struct pq_nl_msg *m)
{
    struct nfgenmsg g;
    struct pq_nl_attrs a;
    if (m->type != KIND(NFT_MSG_NEWRULE) || !pq_nl_head(m, &g, sizeof g, &a))
        return false;
    *out = (struct pq_nft_seen){.family = g.nfgen_family, .tcp = true, .udp = true, .plain = true};
    pq_nl_str(out->chain, sizeof out->chain, a.v[NFTA_RULE_CHAIN]);
    struct pq_view rest = a.v[NFTA_RULE_EXPRESSIONS], v;
    struct loaded_value l = {.what = NOTHING};
    for (unsigned type; pq_nl_attr(&rest, &type, &v);) {
        struct pq_nl_attrs e;
        char name[16];
        pq_nl_attrs_read(&e, v);
        pq_nl_str(name, sizeof name, e.v[NFTA_EXPR_NAME]);
        take_expression(out, name, e.v[NFTA_EXPR_DATA], &l);
    }
    return true;
}

/* ---- a set */

bool pq_nft_read_element(struct pq_view *rest, struct pq_nft_element *out)
{
    struct pq_nl_attrs a;
    struct pq_view v;
    unsigned type;
    if (!pq_nl_attr(rest, &type, &v))
        return false;
    pq_nl_attrs_read(&a, v);
    const uint32_t flags = be32_of(a.v[NFTA_SET_ELEM_FLAGS]);
    const struct verdict verdict = verdict_of(a.v[NFTA_SET_ELEM_DATA]);
    *out = (struct pq_nft_element){.key = value_of(a.v[NFTA_SET_ELEM_KEY]),
                                   .end = flags != UINT32_MAX && flags & NFT_SET_ELEM_INTERVAL_END,
                                   .accepts = verdict.accepts,
                                   .drops = verdict.drops,
                                   .returns = verdict.returns,
                                   .leaves = verdict.leaves};
    pq_nl_str(out->to, sizeof out->to, verdict.to);
    return true;
}
