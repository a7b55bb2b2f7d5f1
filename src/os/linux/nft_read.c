/* SPDX-License-Identifier: MIT */
#include "os/linux/nft_read.h"

#include "os/linux/nft_ask.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>

#include <stdio.h>
#include <string.h>

#define KIND(m)    (NFNL_SUBSYS_NFTABLES << 8 | (m))
#define DPORT_AT   2  /* in the header of TCP and UDP */
#define FLAGS_AT   13 /* in that of TCP */
#define IPPROTO_AT 9  /* in that of IPv4 */
#define SADDR4_AT  12
#define DADDR4_AT  16
#define NEXT6_AT   6 /* in that of IPv6 */
#define SADDR6_AT  8
#define DADDR6_AT  24
#define LO         1U /* the number of the interface lo */

/* Bits of connection tracking's status that a connection to this machine's own port has not:
 * expected, answered, assured, with another source or destination than it came with. */
#define NOT_BEGUN 0x37U

struct loaded_value { /* what is compared next */
    enum pq_nft_what what;
    uint32_t reg;        /* where it is */
    bool protocol;       /* ... before it in the first register is the protocol */
    uint32_t known;      /* PQ_NFT_KNOWN: the number ... */
    uint32_t valid;      /* ... of which these bits are known; 0: all */
    bool six;            /* an address of IPv6 */
    bool from;           /* PQ_NFT_PORT: the last range begins there, and may end */
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
    if (v.n != 2)
        return false;
    *out = pq_be16(v.p);
    return true;
}

/* A number of up to four bytes that is known of each such connection, against what is asked for. */
static void take_known(struct pq_nft_seen *s, const struct loaded_value *l, struct pq_view v,
                       uint32_t op)
{
    uint8_t is[4] = {(uint8_t)l->known}, mask[4] = {0};
    uint32_t asked;
    if (v.n == 4)
        memcpy(is, &l->known, sizeof is); /* in the host's order */
    for (size_t i = 0; l->mask.p && i < l->mask.n && i < sizeof is; i++) {
        mask[i] = l->mask.p[i];
        is[i] &= mask[i];
    }
    memcpy(&asked, mask, sizeof asked);
    const bool fits = v.n <= sizeof is, equal = fits && memcmp(is, v.p, v.n) == 0;
    if (fits && (op == NFT_CMP_EQ || op == NFT_CMP_NEQ) &&
        (!l->valid || (l->mask.p && !(asked & ~l->valid))))
        pq_nft_ask_so(s, equal == (op == NFT_CMP_EQ));
    else
        pq_nft_ask_strange(s, "a comparison");
}

/* Nobody outside has such an address, nor does he begin a connection to one. */
static bool is_nobodys(const uint8_t ip[16], bool six, unsigned bits)
{
    static const uint8_t own[16] = {[15] = 1};
    if (six)
        return (bits == 128 && memcmp(ip, own, sizeof own) == 0) || (bits >= 8 && ip[0] == 0xff);
    return (bits >= 8 && ip[0] == 127) || (bits >= 4 && (ip[0] & 0xf0) == 0xe0);
}

/* "10.0.0.0/8", of a mask or of fewer bytes. */
static void take_address(struct pq_nft_seen *s, const struct loaded_value *l, struct pq_view v,
                         uint32_t op)
{
    uint8_t ip[16] = {0};
    char text[INET6_ADDRSTRLEN], words[INET6_ADDRSTRLEN + 8];
    const size_t all = l->six ? 16 : 4;
    const bool equal = op == NFT_CMP_EQ, source = l->what == PQ_NFT_SOURCE;
    unsigned bits = 0;
    memcpy(ip, v.p, v.n < all ? v.n : all);
    for (size_t i = 0; l->mask.p && i < l->mask.n; i++)
        bits += (unsigned)__builtin_popcount(l->mask.p[i]);
    bits = l->mask.p ? bits : (unsigned)v.n * 8;
    inet_ntop(l->six ? AF_INET6 : AF_INET, ip, text, sizeof text);
    snprintf(words, sizeof words, bits < all * 8 ? "%s/%u" : "%s", text, bits);
    if (!equal && op != NFT_CMP_NEQ)
        pq_nft_ask_sometimes(s, source ? "from some addresses" : "to some addresses", "");
    else if (is_nobodys(ip, l->six, bits))
        pq_nft_ask_so(s, !equal);
    else if (equal)
        pq_nft_ask_sometimes(s, source ? "from " : "to ", words);
    else
        pq_nft_ask_sometimes(s, source ? "not from " : "not to ", words);
}

/* A name without its NUL is the beginning of several. */
static void take_device(struct pq_nft_seen *s, struct pq_view v, uint32_t op)
{
    char name[16], words[20];
    pq_nl_str(name, sizeof name, v);
    const bool several = v.n < sizeof name && !memchr(v.p, 0, v.n);
    snprintf(words, sizeof words, "%s%s", name, several ? "*" : "");
    if (op == NFT_CMP_EQ)
        snprintf(s->device, sizeof s->device, "%s", words);
    if (strcmp(name, "lo") == 0 && !several)
        pq_nft_ask_so(s, op != NFT_CMP_EQ);
    else
        pq_nft_ask_sometimes(s, op == NFT_CMP_EQ ? "through " : "but through ", words);
}

/* "from 8000" and "to 8100" may be two comparisons. */
static void take_port(struct pq_nft_seen *s, struct loaded_value *l, uint16_t port, uint32_t op)
{
    const bool begun = l->from && s->n_ports == 1 && s->port[0].from <= port;
    l->from = false;
    if (op == NFT_CMP_LTE && begun) {
        s->port[0].to = port;
    } else if (op == NFT_CMP_EQ || op == NFT_CMP_NEQ) {
        if (pq_nft_ask_begin_ports(s, op == NFT_CMP_NEQ))
            pq_nft_ask_add_ports(s, port, port);
    } else if (op == NFT_CMP_GTE || (op == NFT_CMP_GT && port < UINT16_MAX)) {
        l->from = pq_nft_ask_begin_ports(s, false);
        if (l->from)
            pq_nft_ask_add_ports(s, (uint16_t)(port + (op == NFT_CMP_GT)), UINT16_MAX);
    } else if (op == NFT_CMP_LTE || (op == NFT_CMP_LT && port)) {
        if (pq_nft_ask_begin_ports(s, false))
            pq_nft_ask_add_ports(s, 0, (uint16_t)(port - (op == NFT_CMP_LT)));
    } else {
        pq_nft_ask_strange(s, "a comparison");
    }
}

static void take_protocols(struct pq_nft_seen *s, uint8_t protocol, uint32_t op)
{
    if (op == NFT_CMP_EQ) {
        pq_nft_take_protocol(s, protocol);
    } else if (op == NFT_CMP_NEQ) {
        s->tcp = s->tcp && protocol != IPPROTO_TCP;
        s->udp = s->udp && protocol != IPPROTO_UDP;
    } else {
        pq_nft_ask_strange(s, "a comparison");
    }
}

/* What is asked of a number of four bytes, such as an interface's. */
static void take_index(struct pq_nft_seen *s, struct pq_view v, uint32_t op)
{
    uint32_t index = 0;
    memcpy(&index, v.p, sizeof index);
    if (index == LO && (op == NFT_CMP_EQ || op == NFT_CMP_NEQ))
        pq_nft_ask_so(s, op != NFT_CMP_EQ);
    else
        pq_nft_ask_sometimes(
            s, op == NFT_CMP_EQ ? "through one interface" : "but through one interface", "");
}

static void take_cmp(struct pq_nft_seen *s, const struct pq_nl_attrs *a, struct loaded_value *l)
{
    const struct pq_view v = value_of(a->v[NFTA_CMP_DATA]);
    const uint32_t op = be32_of(a->v[NFTA_CMP_OP]);
    const bool there = v.n && be32_of(a->v[NFTA_CMP_SREG]) == l->reg;
    if (there && l->what == PQ_NFT_PROTOCOL && v.n == 1) {
        take_protocols(s, v.p[0], op);
    } else if (there && l->what == PQ_NFT_DEVICE) {
        take_device(s, v, op);
    } else if (there && l->what == PQ_NFT_INDEX && v.n == 4) {
        take_index(s, v, op);
    } else if (there && l->what == PQ_NFT_PORT && v.n == 2) {
        take_port(s, l, pq_be16(v.p), op);
    } else if (there && l->what == PQ_NFT_PORTS && v.n == 4 && op == NFT_CMP_EQ) {
        pq_nft_ask_sometimes(s, "from some ports", "");
        take_port(s, l, pq_be16(v.p + 2), op);
    } else if (there && l->what == PQ_NFT_SPORT) {
        pq_nft_ask_sometimes(s, "from some ports", "");
    } else if (there && l->what == PQ_NFT_KNOWN) {
        take_known(s, l, v, op);
    } else if (there && l->what == PQ_NFT_IP) {
        if (v.p[0] != NFPROTO_IPV4 || op != NFT_CMP_EQ) /* most are of IPv4 */
            pq_nft_ask_sometimes(s, "over ", "IPv6");
    } else if (there && (l->what == PQ_NFT_SOURCE || l->what == PQ_NFT_DEST)) {
        take_address(s, l, v, op);
    } else {
        pq_nft_ask_strange(s, "a comparison");
    }
}

static void take_range(struct pq_nft_seen *s, const struct pq_nl_attrs *a,
                       const struct loaded_value *l)
{
    const uint32_t op = be32_of(a->v[NFTA_RANGE_OP]);
    const bool there = be32_of(a->v[NFTA_RANGE_SREG]) == l->reg;
    uint16_t from, to;
    if (there && l->what == PQ_NFT_SOURCE)
        pq_nft_ask_sometimes(s, "from some addresses", "");
    else if (there && l->what == PQ_NFT_DEST)
        pq_nft_ask_sometimes(s, "to some addresses", "");
    else if (!there || l->what != PQ_NFT_PORT || (op != NFT_RANGE_EQ && op != NFT_RANGE_NEQ) ||
             !port_of(a->v[NFTA_RANGE_FROM_DATA], &from) || !port_of(a->v[NFTA_RANGE_TO_DATA], &to))
        pq_nft_ask_strange(s, "a range");
    else if (pq_nft_ask_begin_ports(s, op == NFT_RANGE_NEQ))
        pq_nft_ask_add_ports(s, from, to);
}

/* Returns whether it is a verdict that is understood; *out is one in any case. */
static bool verdict_of(struct pq_nft_verdict *out, struct pq_view data)
{
    struct pq_nl_attrs outer, inner;
    pq_nl_attrs_read(&outer, data);
    pq_nl_attrs_read(&inner, outer.v[NFTA_DATA_VERDICT]);
    const struct pq_view code = inner.v[NFTA_VERDICT_CODE];
    memset(out, 0, sizeof *out);
    if (code.n != 4)
        return false;
    const int32_t c = (int32_t)pq_be32(code.p);
    out->accepts = c == NF_ACCEPT;
    out->drops = c == NF_DROP;
    out->returns = c == NFT_RETURN;
    out->leaves = c == NFT_GOTO;
    if (c == NFT_JUMP || c == NFT_GOTO)
        pq_nl_str(out->to, sizeof out->to, inner.v[NFTA_VERDICT_CHAIN]);
    return out->accepts || out->drops || out->returns || *out->to || c == NFT_CONTINUE;
}

static void take_verdict(struct pq_nft_seen *s, const struct pq_nl_attrs *a)
{
    if (be32_of(a->v[NFTA_IMMEDIATE_DREG]) != NFT_REG_VERDICT)
        return; /* a number that is put somewhere */
    if (!verdict_of(&s->verdict, a->v[NFTA_IMMEDIATE_DATA])) {
        s->unknown = true;
        pq_nft_ask_strange(s, "a verdict");
    }
}

static enum pq_nft_what what_of_payload(const struct pq_nl_attrs *a, uint8_t family)
{
    const uint32_t base = be32_of(a->v[NFTA_PAYLOAD_BASE]), at = be32_of(a->v[NFTA_PAYLOAD_OFFSET]),
                   n = be32_of(a->v[NFTA_PAYLOAD_LEN]);
    const bool ip = base == NFT_PAYLOAD_NETWORK_HEADER, tcp = base == NFT_PAYLOAD_TRANSPORT_HEADER;
    if (tcp)
        return at == DPORT_AT && n == 2   ? PQ_NFT_PORT
               : at == 0 && n == 2        ? PQ_NFT_SPORT
               : at == 0 && n == 4        ? PQ_NFT_PORTS
               : at == FLAGS_AT && n == 1 ? PQ_NFT_KNOWN
                                          : PQ_NFT_NOTHING;
    if (ip && n == 1 && (at == IPPROTO_AT || (at == NEXT6_AT && family != NFPROTO_IPV4)))
        return PQ_NFT_PROTOCOL;
    if (ip && n <= 4 && family != NFPROTO_IPV6 && (at == SADDR4_AT || at == DADDR4_AT))
        return at == SADDR4_AT ? PQ_NFT_SOURCE : PQ_NFT_DEST;
    if (ip && n <= 16 && family != NFPROTO_IPV4 && (at == SADDR6_AT || at == DADDR6_AT))
        return at == SADDR6_AT ? PQ_NFT_SOURCE : PQ_NFT_DEST;
    return PQ_NFT_NOTHING;
}

static struct loaded_value load_payload(const struct pq_nl_attrs *a, uint8_t family)
{
    const uint32_t at = be32_of(a->v[NFTA_PAYLOAD_OFFSET]);
    return (struct loaded_value){.what = what_of_payload(a, family),
                                 .reg = be32_of(a->v[NFTA_PAYLOAD_DREG]),
                                 .known = PQ_NFT_SYN,
                                 .six = at == SADDR6_AT || at == DADDR6_AT};
}

static struct loaded_value load_meta(const struct pq_nl_attrs *a)
{
    const uint32_t key = be32_of(a->v[NFTA_META_KEY]);
    return (struct loaded_value){.what = key == NFT_META_L4PROTO ? PQ_NFT_PROTOCOL
                                         : key == NFT_META_IIFNAME || key == NFT_META_OIFNAME
                                             ? PQ_NFT_DEVICE
                                         : key == NFT_META_IIF     ? PQ_NFT_INDEX
                                         : key == NFT_META_NFPROTO ? PQ_NFT_IP
                                         : key == NFT_META_PKTTYPE ? PQ_NFT_KNOWN /* to us: 0 */
                                                                   : PQ_NFT_NOTHING,
                                 .reg = be32_of(a->v[NFTA_META_DREG])};
}

static struct loaded_value load_ct(const struct pq_nl_attrs *a)
{
    const uint32_t key = be32_of(a->v[NFTA_CT_KEY]);
    const bool state = key == NFT_CT_STATE, status = key == NFT_CT_STATUS;
    return (struct loaded_value){.what = state || status ? PQ_NFT_KNOWN : PQ_NFT_NOTHING,
                                 .reg = be32_of(a->v[NFTA_CT_DREG]),
                                 .known = state ? PQ_NFT_STATE_NEW : 0,
                                 .valid = status ? NOT_BEGUN : 0};
}

/* Whose an address is: the destination this machine's. */
static struct loaded_value load_fib(const struct pq_nl_attrs *a)
{
    const bool known = be32_of(a->v[NFTA_FIB_RESULT]) == NFT_FIB_RESULT_ADDRTYPE &&
                       be32_of(a->v[NFTA_FIB_FLAGS]) == NFTA_FIB_F_DADDR;
    return (struct loaded_value){.what = known ? PQ_NFT_KNOWN : PQ_NFT_NOTHING,
                                 .reg = be32_of(a->v[NFTA_FIB_DREG]),
                                 .known = RTN_LOCAL};
}

/* A mask alone leaves of an address or a number what is asked for. */
static void take_mask(const struct pq_nl_attrs *a, struct loaded_value *l)
{
    const struct pq_view turn = value_of(a->v[NFTA_BITWISE_XOR]), op = a->v[NFTA_BITWISE_OP];
    bool plain = (l->what == PQ_NFT_KNOWN || l->what == PQ_NFT_SOURCE || l->what == PQ_NFT_DEST) &&
                 !l->mask.p && be32_of(a->v[NFTA_BITWISE_SREG]) == l->reg &&
                 (!op.p || be32_of(op) == 0);
    for (size_t i = 0; i < turn.n; i++)
        plain = plain && !turn.p[i];
    l->mask = value_of(a->v[NFTA_BITWISE_MASK]);
    l->reg = be32_of(a->v[NFTA_BITWISE_DREG]);
    if (!plain || !l->mask.p)
        l->what = PQ_NFT_NOTHING;
}

/* The protocol before the port, both in a key: each has four bytes. */
static bool is_both(const struct loaded_value *l, uint32_t sreg)
{
    return l->what == PQ_NFT_PORT && l->protocol && l->reg == NFT_REG32_01 && sreg == NFT_REG_1;
}

/* What cannot be looked for is none of the things that are understood; the set may still hold the
 * verdicts. */
static void take_lookup(struct pq_nft_seen *s, const struct pq_nl_attrs *a,
                        const struct loaded_value *l)
{
    const struct pq_view flags = a->v[NFTA_LOOKUP_FLAGS], dreg = a->v[NFTA_LOOKUP_DREG];
    const uint32_t sreg = be32_of(a->v[NFTA_LOOKUP_SREG]);
    const bool there = sreg == l->reg && !l->mask.p && !l->valid;
    if (s->n_looks == PQ_NFT_LOOKS || s->map) {
        s->unknown |= dreg.p && be32_of(dreg) == NFT_REG_VERDICT;
        pq_nft_ask_strange(s, "many sets");
        return;
    }
    struct pq_nft_look *look = &s->look[s->n_looks++];
    look->what = there ? l->what : is_both(l, sreg) ? PQ_NFT_BOTH : PQ_NFT_NOTHING;
    look->known = l->known;
    look->turned = flags.p && be32_of(flags) & NFT_LOOKUP_F_INV;
    s->map = dreg.p && be32_of(dreg) == NFT_REG_VERDICT;
    pq_nl_str(look->set, sizeof look->set, a->v[NFTA_LOOKUP_SET]);
}

/* What asks nothing, in the form in which it does not. */
static bool asks_nothing(const char *name, const struct pq_nl_attrs *a)
{
    static const char *const none[] = {"counter", "log",     "immediate", "reject",
                                       "target",  "notrack", "last"};
    const uint32_t object = be32_of(a->v[NFTA_OBJREF_IMM_TYPE]);
    if (strcmp(name, "dynset") == 0)
        return !a->v[NFTA_DYNSET_EXPR].p && !a->v[NFTA_DYNSET_EXPRESSIONS].p;
    if (strcmp(name, "objref") == 0)
        return object == NFT_OBJECT_COUNTER || object == NFT_OBJECT_CT_HELPER ||
               object == NFT_OBJECT_CT_TIMEOUT || object == NFT_OBJECT_SECMARK;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        if (strcmp(name, none[i]) == 0)
            return true;
    return false;
}

/* Conditions beside those that are one comparison. */
static void take_condition(struct pq_nft_seen *s, const char *name, const struct pq_nl_attrs *a,
                           struct loaded_value *l)
{
    const bool protocol = l->what == PQ_NFT_PROTOCOL && l->reg == NFT_REG_1;
    if (strcmp(name, "payload") == 0) {
        *l = load_payload(a, s->family);
        l->protocol = protocol;
        if (l->what == PQ_NFT_KNOWN && s->udp) /* flags of TCP, but of other packets, too */
            l->what = PQ_NFT_NOTHING;
    } else if (strcmp(name, "meta") == 0)
        *l = load_meta(a);
    else if (strcmp(name, "ct") == 0)
        *l = load_ct(a);
    else if (strcmp(name, "fib") == 0)
        *l = load_fib(a);
    else if (strcmp(name, "cmp") == 0)
        take_cmp(s, a, l);
    else if (strcmp(name, "range") == 0)
        take_range(s, a, l);
    else if (strcmp(name, "match") == 0)
        pq_nft_take_match(s, a);
    else if (strcmp(name, "lookup") == 0)
        take_lookup(s, a, l);
    else if (strcmp(name, "bitwise") == 0)
        take_mask(a, l);
    else if (!asks_nothing(name, a)) {
        pq_nft_ask_strange(s, name);
        l->what = PQ_NFT_NOTHING;
        s->unknown |= strcmp(name, "queue") == 0 || strcmp(name, "synproxy") == 0;
    }
}

static void take_expression(struct pq_nft_seen *s, const char *name, struct pq_view data,
                            struct loaded_value *l)
{
    struct pq_nl_attrs a;
    pq_nl_attrs_read(&a, data);
    if (strcmp(name, "immediate") == 0)
        take_verdict(s, &a);
    else if (strcmp(name, "reject") == 0)
        s->verdict.drops = true;
    else if (strcmp(name, "target") == 0)
        pq_nft_take_target(s, &a);
    else if (strcmp(name, "counter") != 0 && strcmp(name, "log") != 0)
        s->plain = false;
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
    struct loaded_value l = {.what = PQ_NFT_NOTHING};
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

/* Whether it has conditions of its own: numbers that are counted are none. */
static bool asks_more(const struct pq_nl_attrs *a)
{
    struct pq_nl_attrs e;
    char name[16];
    if (a->v[NFTA_SET_ELEM_EXPRESSIONS].p || a->v[NFTA_SET_ELEM_KEY_END].p)
        return true;
    if (!a->v[NFTA_SET_ELEM_EXPR].p)
        return false;
    pq_nl_attrs_read(&e, a->v[NFTA_SET_ELEM_EXPR]);
    pq_nl_str(name, sizeof name, e.v[NFTA_EXPR_NAME]);
    return strcmp(name, "counter") != 0 && strcmp(name, "last") != 0;
}

bool pq_nft_read_element(struct pq_view *rest, struct pq_nft_element *out)
{
    struct pq_nl_attrs a;
    struct pq_view v;
    unsigned type;
    if (!pq_nl_attr(rest, &type, &v))
        return false;
    pq_nl_attrs_read(&a, v);
    const uint32_t got = be32_of(a.v[NFTA_SET_ELEM_FLAGS]), flags = got == UINT32_MAX ? 0 : got;
    *out = (struct pq_nft_element){.key = value_of(a.v[NFTA_SET_ELEM_KEY]),
                                   .end = flags & NFT_SET_ELEM_INTERVAL_END,
                                   .rest = flags & NFT_SET_ELEM_CATCHALL,
                                   .odd = asks_more(&a)};
    out->unknown = !verdict_of(&out->verdict, a.v[NFTA_SET_ELEM_DATA]);
    return true;
}
