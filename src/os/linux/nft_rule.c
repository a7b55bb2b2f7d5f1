/* SPDX-License-Identifier: MIT */
/* nft_rule.c - the rules of a chain: expressions that work on registers. */
#include "os/linux/nft_set.h"

#include <netinet/in.h>

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>

void pq_nft_rule(struct pq_nft_batch *b, const char *chain)
{
    struct pq_nl_out *o = pq_nft_command(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    pq_nl_put_str(o, NFTA_RULE_TABLE, b->n->table);
    pq_nl_put_str(o, NFTA_RULE_CHAIN, chain);
    b->exprs = pq_nl_nest(o, NFTA_RULE_EXPRESSIONS);
    b->in_rule = true;
}

struct expr { /* where its two attributes begin */
    size_t elem, data;
};

static struct expr expr_begin(struct pq_nft_batch *b, const char *name)
{
    struct expr e = {.elem = pq_nl_nest(&b->out, NFTA_LIST_ELEM)};
    pq_nl_put_str(&b->out, NFTA_EXPR_NAME, name);
    e.data = pq_nl_nest(&b->out, NFTA_EXPR_DATA);
    return e;
}

static void expr_end(struct pq_nft_batch *b, struct expr e)
{
    pq_nl_nest_end(&b->out, e.data);
    pq_nl_nest_end(&b->out, e.elem);
}

static void put32(struct pq_nft_batch *b, uint16_t type, uint32_t v)
{
    pq_nl_put_be32(&b->out, type, v);
}

static void meta(struct pq_nft_batch *b, uint32_t key)
{
    struct expr e = expr_begin(b, "meta");
    put32(b, NFTA_META_KEY, key);
    put32(b, NFTA_META_DREG, NFT_REG_1);
    expr_end(b, e);
}

static void payload_to(struct pq_nft_batch *b, uint32_t reg, uint32_t base, uint32_t off,
                       uint32_t len)
{
    struct expr e = expr_begin(b, "payload");
    put32(b, NFTA_PAYLOAD_DREG, reg);
    put32(b, NFTA_PAYLOAD_BASE, base);
    put32(b, NFTA_PAYLOAD_OFFSET, off);
    put32(b, NFTA_PAYLOAD_LEN, len);
    expr_end(b, e);
}

static void payload(struct pq_nft_batch *b, uint32_t base, uint32_t off, uint32_t len)
{
    payload_to(b, NFT_REG_1, base, off, len);
}

static void compare(struct pq_nft_batch *b, uint32_t op, const void *p, size_t n)
{
    struct expr e = expr_begin(b, "cmp");
    put32(b, NFTA_CMP_SREG, NFT_REG_1);
    put32(b, NFTA_CMP_OP, op);
    const size_t data = pq_nl_nest(&b->out, NFTA_CMP_DATA);
    pq_nl_put(&b->out, NFTA_DATA_VALUE, p, n);
    pq_nl_nest_end(&b->out, data);
    expr_end(b, e);
}

void pq_nft_if_name(struct pq_nft_batch *b, bool incoming, bool is, const char *name)
{
    char padded[16] = "";
    memcpy(padded, name, strnlen(name, sizeof padded - 1));
    meta(b, incoming ? NFT_META_IIFNAME : NFT_META_OIFNAME);
    compare(b, is ? NFT_CMP_EQ : NFT_CMP_NEQ, padded, sizeof padded);
}

void pq_nft_if_family(struct pq_nft_batch *b, bool is4)
{
    const uint8_t proto = is4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
    meta(b, NFT_META_NFPROTO);
    compare(b, NFT_CMP_EQ, &proto, sizeof proto);
}

void pq_nft_if_proto(struct pq_nft_batch *b, uint8_t ipproto)
{
    meta(b, NFT_META_L4PROTO);
    compare(b, NFT_CMP_EQ, &ipproto, sizeof ipproto);
}

void pq_nft_if_not_proto(struct pq_nft_batch *b, uint8_t ipproto)
{
    meta(b, NFT_META_L4PROTO);
    compare(b, NFT_CMP_NEQ, &ipproto, sizeof ipproto);
}

/* In any family of tables. */
static void if_ip(struct pq_nft_batch *b, bool is4)
{
    if (b->family == NFPROTO_NETDEV) {
        const uint16_t type_be = htons(is4 ? 0x0800 : 0x86dd);
        meta(b, NFT_META_PROTOCOL);
        compare(b, NFT_CMP_EQ, &type_be, sizeof type_be);
    } else {
        pq_nft_if_family(b, is4);
    }
}

void pq_nft_if_addr(struct pq_nft_batch *b, bool source, const struct pq_addr *a)
{
    const bool is4 = pq_addr_is4(a);
    if_ip(b, is4);
    const uint32_t len = is4 ? 4 : 16, from = is4 ? 12 : 8;
    payload(b, NFT_PAYLOAD_NETWORK_HEADER, from + (source ? 0 : len), len);
    compare(b, NFT_CMP_EQ, is4 ? pq_addr_v4(a) : a->ip, len);
}

void pq_nft_if_tcp(struct pq_nft_batch *b)
{
    pq_nft_if_proto(b, IPPROTO_TCP);
}

void pq_nft_if_port(struct pq_nft_batch *b, bool source, const struct pq_range *ports)
{
    const uint16_t first = htons(ports->from), last = htons(ports->to);
    const bool one = ports->from == ports->to;
    payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, source ? 0 : 2, 2);
    compare(b, one ? NFT_CMP_EQ : NFT_CMP_GTE, &first, sizeof first);
    if (!one)
        compare(b, NFT_CMP_LTE, &last, sizeof last);
}

static void lookup(struct pq_nft_batch *b, uint32_t reg, const char *set, uint32_t id)
{
    struct expr e = expr_begin(b, "lookup");
    put32(b, NFTA_LOOKUP_SREG, reg);
    pq_nl_put_str(&b->out, NFTA_LOOKUP_SET, set);
    put32(b, NFTA_LOOKUP_SET_ID, id);
    expr_end(b, e);
}

void pq_nft_if_dport_is_ours(struct pq_nft_batch *b)
{
    payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
    lookup(b, NFT_REG_1, PQ_NFT_PORTS, 1);
}

void pq_nft_if_stranger(struct pq_nft_batch *b, bool is4, uint64_t timeout_ms)
{
    const uint32_t len = is4 ? 4 : 16;
    if_ip(b, is4);
    pq_nft_if_tcp(b);
    payload_to(b, NFT_REG32_00, NFT_PAYLOAD_NETWORK_HEADER, is4 ? 12 : 8, len);
    payload_to(b, NFT_REG32_00 + len / 4, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2);
    lookup(b, NFT_REG32_00, pq_nft_strangers(is4), 2 + is4);
    struct expr e = expr_begin(b, "dynset");
    pq_nl_put_str(&b->out, NFTA_DYNSET_SET_NAME, pq_nft_strangers(is4));
    put32(b, NFTA_DYNSET_SET_ID, 2 + is4);
    put32(b, NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    put32(b, NFTA_DYNSET_SREG_KEY, NFT_REG32_00);
    pq_nft_put_timeout(&b->out, NFTA_DYNSET_TIMEOUT, timeout_ms);
    expr_end(b, e);
}

void pq_nft_if_elsewhere(struct pq_nft_batch *b)
{
    const uint32_t local = RTN_LOCAL;
    struct expr e = expr_begin(b, "fib");
    put32(b, NFTA_FIB_DREG, NFT_REG_1);
    put32(b, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    put32(b, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
    expr_end(b, e);
    compare(b, NFT_CMP_NEQ, &local, sizeof local);
}

void pq_nft_if_link_local6(struct pq_nft_batch *b)
{
    const uint8_t first = 0xfe; /* of fe80::/10; what else begins so is of no use */
    payload(b, NFT_PAYLOAD_NETWORK_HEADER, 24, 1);
    compare(b, NFT_CMP_EQ, &first, sizeof first);
}

void pq_nft_if_socket(struct pq_nft_batch *b)
{
    const uint8_t no = 0;
    struct expr e = expr_begin(b, "socket");
    put32(b, NFTA_SOCKET_KEY, NFT_SOCKET_TRANSPARENT);
    put32(b, NFTA_SOCKET_DREG, NFT_REG_1);
    expr_end(b, e);
    compare(b, NFT_CMP_EQ, &no, sizeof no);
}

void pq_nft_if_mark(struct pq_nft_batch *b, uint32_t mark)
{
    meta(b, NFT_META_MARK);
    compare(b, NFT_CMP_EQ, &mark, sizeof mark);
}

static void conntrack(struct pq_nft_batch *b, uint32_t key)
{
    struct expr e = expr_begin(b, "ct");
    put32(b, NFTA_CT_DREG, NFT_REG_1);
    put32(b, NFTA_CT_KEY, key);
    expr_end(b, e);
}

void pq_nft_if_reply(struct pq_nft_batch *b)
{
    const uint8_t reply = 1; /* IP_CT_DIR_REPLY */
    conntrack(b, NFT_CT_DIRECTION);
    compare(b, NFT_CMP_EQ, &reply, sizeof reply);
}

void pq_nft_if_no_begin(struct pq_nft_batch *b)
{
    static const uint8_t begin[] = {0x02, 0xc2}; /* SYN, with ECN or without */
    pq_nft_if_tcp(b);
    for (size_t i = 0; i < sizeof begin; i++) {
        payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1);
        compare(b, NFT_CMP_NEQ, &begin[i], 1);
    }
}

void pq_nft_if_new(struct pq_nft_batch *b)
{
    const uint32_t new = 8; /* the bit of IP_CT_NEW */
    conntrack(b, NFT_CT_STATE);
    compare(b, NFT_CMP_EQ, &new, sizeof new);
}

void pq_nft_if_target(struct pq_nft_batch *b, const struct pq_addr *from, const struct pq_addr *to)
{
    const bool is4 = pq_addr_is4(from);
    const uint32_t len = is4 ? 4 : 16;
    pq_nft_if_family(b, is4);
    payload(b, NFT_PAYLOAD_NETWORK_HEADER, is4 ? 16 : 24, len);
    compare(b, NFT_CMP_GTE, is4 ? pq_addr_v4(from) : from->ip, len);
    compare(b, NFT_CMP_LTE, is4 ? pq_addr_v4(to) : to->ip, len);
}

void pq_nft_if_network(struct pq_nft_batch *b, bool is4, bool one)
{
    pq_nft_if_family(b, is4);
    payload(b, NFT_PAYLOAD_NETWORK_HEADER, is4 ? 16 : 24, is4 ? 4 : 16);
    if (one)
        lookup(b, NFT_REG_1, pq_nft_ones(is4), PQ_NFT_ONES_ID + is4);
    else
        lookup(b, NFT_REG_1, pq_nft_networks(is4), PQ_NFT_NETWORKS_ID + is4);
}

void pq_nft_if_neighbours(struct pq_nft_batch *b)
{
    const uint8_t first = 133,
                  last = 136; /* router and neighbour, solicitation and advertisement */
    pq_nft_if_proto(b, IPPROTO_ICMPV6);
    payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1);
    compare(b, NFT_CMP_GTE, &first, sizeof first);
    compare(b, NFT_CMP_LTE, &last, sizeof last);
}

void pq_nft_then_reject(struct pq_nft_batch *b)
{
    struct expr e = expr_begin(b, "reject");
    put32(b, NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
    const uint8_t code = NFT_REJECT_ICMPX_ADMIN_PROHIBITED;
    pq_nl_put(&b->out, NFTA_REJECT_ICMP_CODE, &code, sizeof code);
    expr_end(b, e);
}

/* A value, or a verdict, into a register.  Returns the place of what is to be put inside. */
static size_t immediate(struct pq_nft_batch *b, uint32_t reg, struct expr *e)
{
    *e = expr_begin(b, "immediate");
    put32(b, NFTA_IMMEDIATE_DREG, reg);
    return pq_nl_nest(&b->out, NFTA_IMMEDIATE_DATA);
}

static void then(struct pq_nft_batch *b, int32_t code, const char *chain)
{
    struct expr e;
    const size_t data = immediate(b, NFT_REG_VERDICT, &e);
    const size_t verdict = pq_nl_nest(&b->out, NFTA_DATA_VERDICT);
    put32(b, NFTA_VERDICT_CODE, (uint32_t)code);
    if (chain)
        pq_nl_put_str(&b->out, NFTA_VERDICT_CHAIN, chain);
    pq_nl_nest_end(&b->out, verdict);
    pq_nl_nest_end(&b->out, data);
    expr_end(b, e);
}

void pq_nft_then(struct pq_nft_batch *b, enum pq_nft_verdict v)
{
    static const int32_t codes[] = {
        [PQ_NFT_DROP] = NF_DROP, [PQ_NFT_ACCEPT] = NF_ACCEPT, [PQ_NFT_RETURN] = NFT_RETURN};
    then(b, codes[v], NULL);
}

void pq_nft_then_jump(struct pq_nft_batch *b, const char *chain)
{
    then(b, NFT_JUMP, chain);
}

static void load(struct pq_nft_batch *b, uint32_t reg, const void *p, size_t n)
{
    struct expr e;
    const size_t data = immediate(b, reg, &e);
    pq_nl_put(&b->out, NFTA_DATA_VALUE, p, n);
    pq_nl_nest_end(&b->out, data);
    expr_end(b, e);
}

static void load_port(struct pq_nft_batch *b, uint32_t reg, uint16_t port)
{
    const uint16_t be = htons(port);
    load(b, reg, &be, sizeof be);
}

void pq_nft_then_tproxy(struct pq_nft_batch *b, const struct pq_addr *to)
{
    const bool is4 = pq_addr_is4(to);
    load(b, NFT_REG_1, is4 ? pq_addr_v4(to) : to->ip, is4 ? 4 : 16);
    load_port(b, NFT_REG_2, to->port);
    struct expr e = expr_begin(b, "tproxy");
    put32(b, NFTA_TPROXY_FAMILY, is4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
    put32(b, NFTA_TPROXY_REG_ADDR, NFT_REG_1);
    put32(b, NFTA_TPROXY_REG_PORT, NFT_REG_2);
    expr_end(b, e);
}

void pq_nft_then_redirect(struct pq_nft_batch *b, uint16_t port)
{
    load_port(b, NFT_REG_1, port);
    struct expr e = expr_begin(b, "redir");
    put32(b, NFTA_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
    put32(b, NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
    expr_end(b, e);
}

void pq_nft_then_masquerade(struct pq_nft_batch *b, uint16_t low, uint16_t high)
{
    if (low) {
        load_port(b, NFT_REG_1, low);
        load_port(b, NFT_REG_2, high);
    }
    struct expr e = expr_begin(b, "masq");
    if (low) {
        put32(b, NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
        put32(b, NFTA_MASQ_REG_PROTO_MIN, NFT_REG_1);
        put32(b, NFTA_MASQ_REG_PROTO_MAX, NFT_REG_2);
    }
    expr_end(b, e);
}
