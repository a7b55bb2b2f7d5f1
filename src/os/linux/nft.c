/* SPDX-License-Identifier: MIT */
#include "os/linux/nft.h"

#include "base/bytes.h"
#include "base/err.h"
#include "os/linux/nl.h"

#include <netinet/in.h>

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/capability.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define PORTS         "ports"
#define INET_SERVICE  13 /* nft's number for the type of ports, for who lists the set */
#define TABLE_OWNER   2U /* NFT_TABLE_F_OWNER, which older headers do not have */
#define ANSWER_WAIT_S 5

/* ---- messages of a batch */

static struct nlmsghdr *start(struct pq_nft_batch *b, uint16_t type, uint16_t flags,
                              uint16_t res_id)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(b->buf + b->len);
    h->nlmsg_type = type;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    h->nlmsg_seq = ++b->n->seq;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof *g);
    g->nfgen_family = b->family;
    g->version = NFNETLINK_V0;
    g->res_id = htons(res_id);
    b->msg = h;
    return h;
}

/* Ends the rule or message that is being written. */
static void finish(struct pq_nft_batch *b)
{
    if (!b->msg)
        return;
    if (b->exprs)
        mnl_attr_nest_end(b->msg, b->exprs);
    b->exprs = NULL;
    b->len += NLMSG_ALIGN(b->msg->nlmsg_len);
    b->msg = NULL;
}

static struct nlmsghdr *command(struct pq_nft_batch *b, uint16_t type, uint16_t flags)
{
    finish(b);
    return start(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, 0);
}

void pq_nft_begin(struct pq_nft_batch *b, struct pq_nft *n, uint8_t family)
{
    b->n = n;
    b->family = AF_UNSPEC;
    b->len = 0;
    b->msg = NULL;
    b->exprs = NULL;
    start(b, NFNL_MSG_BATCH_BEGIN, 0, NFNL_SUBSYS_NFTABLES);
    finish(b);
    b->family = family;
}

/* ---- tables, chains, the set */

void pq_nft_add_table(struct pq_nft_batch *b, bool owner)
{
    struct nlmsghdr *h = command(b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    mnl_attr_put_strz(h, NFTA_TABLE_NAME, b->n->table);
    mnl_attr_put_u32(h, NFTA_TABLE_FLAGS, htonl(owner ? TABLE_OWNER : 0));
}

void pq_nft_del_table(struct pq_nft_batch *b)
{
    mnl_attr_put_strz(command(b, NFT_MSG_DELTABLE, 0), NFTA_TABLE_NAME, b->n->table);
}

void pq_nft_add_ports(struct pq_nft_batch *b)
{
    struct nlmsghdr *h = command(b, NFT_MSG_NEWSET, NLM_F_CREATE);
    mnl_attr_put_strz(h, NFTA_SET_TABLE, b->n->table);
    mnl_attr_put_strz(h, NFTA_SET_NAME, PORTS);
    mnl_attr_put_u32(h, NFTA_SET_FLAGS, htonl(NFT_SET_TIMEOUT));
    mnl_attr_put_u32(h, NFTA_SET_KEY_TYPE, htonl(INET_SERVICE));
    mnl_attr_put_u32(h, NFTA_SET_KEY_LEN, htonl(2));
    mnl_attr_put_u32(h, NFTA_SET_ID, htonl(1));
}

void pq_nft_add_chain(struct pq_nft_batch *b, const struct pq_nft_chain *c)
{
    struct nlmsghdr *h = command(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, b->n->table);
    mnl_attr_put_strz(h, NFTA_CHAIN_NAME, c->name);
    struct nlattr *hook = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
    mnl_attr_put_u32(h, NFTA_HOOK_HOOKNUM, htonl(c->hook));
    mnl_attr_put_u32(h, NFTA_HOOK_PRIORITY, htonl((uint32_t)c->priority));
    if (c->device)
        mnl_attr_put_strz(h, NFTA_HOOK_DEV, c->device);
    mnl_attr_nest_end(h, hook);
    mnl_attr_put_u32(h, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
    mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, c->type);
}

void pq_nft_del_chain(struct pq_nft_batch *b, const char *name)
{
    struct nlmsghdr *h = command(b, NFT_MSG_DELCHAIN, 0);
    mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, b->n->table);
    mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
}

static void element(struct pq_nft_batch *b, uint16_t type, uint16_t flags, uint16_t port,
                    uint64_t timeout_ms)
{
    struct nlmsghdr *h = command(b, type, flags);
    const uint16_t key_be = htons(port);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, b->n->table);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, PORTS);
    struct nlattr *list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
    struct nlattr *one = mnl_attr_nest_start(h, 1);
    struct nlattr *key = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
    mnl_attr_put(h, NFTA_DATA_VALUE, sizeof key_be, &key_be);
    mnl_attr_nest_end(h, key);
    if (timeout_ms) {
        uint8_t be[8];
        pq_put_be32(be, (uint32_t)(timeout_ms >> 32));
        pq_put_be32(be + 4, (uint32_t)timeout_ms);
        mnl_attr_put(h, NFTA_SET_ELEM_TIMEOUT, sizeof be, be);
    }
    mnl_attr_nest_end(h, one);
    mnl_attr_nest_end(h, list);
}

void pq_nft_add_port(struct pq_nft_batch *b, uint16_t port, uint64_t timeout_ms)
{
    element(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, port, timeout_ms);
}

void pq_nft_del_port(struct pq_nft_batch *b, uint16_t port)
{
    element(b, NFT_MSG_DELSETELEM, 0, port, 0);
}

/* ---- rules: expressions that work on registers */

void pq_nft_rule(struct pq_nft_batch *b, const char *chain)
{
    struct nlmsghdr *h = command(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, b->n->table);
    mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
    b->exprs = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
}

struct expr {
    struct nlattr *elem, *data;
};

static struct expr expr_begin(struct pq_nft_batch *b, const char *name)
{
    struct expr e = {.elem = mnl_attr_nest_start(b->msg, NFTA_LIST_ELEM)};
    mnl_attr_put_strz(b->msg, NFTA_EXPR_NAME, name);
    e.data = mnl_attr_nest_start(b->msg, NFTA_EXPR_DATA);
    return e;
}

static void expr_end(struct pq_nft_batch *b, struct expr e)
{
    mnl_attr_nest_end(b->msg, e.data);
    mnl_attr_nest_end(b->msg, e.elem);
}

static void put32(struct pq_nft_batch *b, uint16_t type, uint32_t v)
{
    mnl_attr_put_u32(b->msg, type, htonl(v));
}

static void meta(struct pq_nft_batch *b, uint32_t key)
{
    struct expr e = expr_begin(b, "meta");
    put32(b, NFTA_META_KEY, key);
    put32(b, NFTA_META_DREG, NFT_REG_1);
    expr_end(b, e);
}

static void payload(struct pq_nft_batch *b, uint32_t base, uint32_t off, uint32_t len)
{
    struct expr e = expr_begin(b, "payload");
    put32(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
    put32(b, NFTA_PAYLOAD_BASE, base);
    put32(b, NFTA_PAYLOAD_OFFSET, off);
    put32(b, NFTA_PAYLOAD_LEN, len);
    expr_end(b, e);
}

static void compare(struct pq_nft_batch *b, uint32_t op, const void *p, size_t n)
{
    struct expr e = expr_begin(b, "cmp");
    put32(b, NFTA_CMP_SREG, NFT_REG_1);
    put32(b, NFTA_CMP_OP, op);
    struct nlattr *data = mnl_attr_nest_start(b->msg, NFTA_CMP_DATA);
    mnl_attr_put(b->msg, NFTA_DATA_VALUE, n, p);
    mnl_attr_nest_end(b->msg, data);
    expr_end(b, e);
}

void pq_nft_if_name(struct pq_nft_batch *b, bool incoming, bool is, const char *name)
{
    char padded[16] = "";
    memcpy(padded, name, strnlen(name, sizeof padded - 1));
    meta(b, incoming ? NFT_META_IIFNAME : NFT_META_OIFNAME);
    compare(b, is ? NFT_CMP_EQ : NFT_CMP_NEQ, padded, sizeof padded);
}

void pq_nft_if_addr(struct pq_nft_batch *b, bool source, const struct pq_addr *a)
{
    const bool is4 = pq_addr_is4(a);
    if (b->family == NFPROTO_NETDEV) {
        const uint16_t type_be = htons(is4 ? 0x0800 : 0x86dd);
        meta(b, NFT_META_PROTOCOL);
        compare(b, NFT_CMP_EQ, &type_be, sizeof type_be);
    } else {
        const uint8_t proto = is4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
        meta(b, NFT_META_NFPROTO);
        compare(b, NFT_CMP_EQ, &proto, sizeof proto);
    }
    const uint32_t len = is4 ? 4 : 16, from = is4 ? 12 : 8;
    payload(b, NFT_PAYLOAD_NETWORK_HEADER, from + (source ? 0 : len), len);
    compare(b, NFT_CMP_EQ, is4 ? pq_addr_v4(a) : a->ip, len);
}

void pq_nft_if_tcp(struct pq_nft_batch *b)
{
    const uint8_t tcp = IPPROTO_TCP;
    meta(b, NFT_META_L4PROTO);
    compare(b, NFT_CMP_EQ, &tcp, sizeof tcp);
}

void pq_nft_if_sport(struct pq_nft_batch *b, uint16_t port)
{
    const uint16_t be = htons(port);
    payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2);
    compare(b, NFT_CMP_EQ, &be, sizeof be);
}

void pq_nft_if_dport_is_ours(struct pq_nft_batch *b)
{
    payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
    struct expr e = expr_begin(b, "lookup");
    put32(b, NFTA_LOOKUP_SREG, NFT_REG_1);
    mnl_attr_put_strz(b->msg, NFTA_LOOKUP_SET, PORTS);
    put32(b, NFTA_LOOKUP_SET_ID, 1);
    expr_end(b, e);
}

/* A value, or a verdict, into a register. */
static struct nlattr *immediate(struct pq_nft_batch *b, uint32_t reg, struct expr *e)
{
    *e = expr_begin(b, "immediate");
    put32(b, NFTA_IMMEDIATE_DREG, reg);
    return mnl_attr_nest_start(b->msg, NFTA_IMMEDIATE_DATA);
}

void pq_nft_then(struct pq_nft_batch *b, enum pq_nft_verdict v)
{
    static const int32_t codes[] = {
        [PQ_NFT_DROP] = NF_DROP, [PQ_NFT_ACCEPT] = NF_ACCEPT, [PQ_NFT_RETURN] = NFT_RETURN};
    struct expr e;
    struct nlattr *data = immediate(b, NFT_REG_VERDICT, &e);
    struct nlattr *verdict = mnl_attr_nest_start(b->msg, NFTA_DATA_VERDICT);
    put32(b, NFTA_VERDICT_CODE, (uint32_t)codes[v]);
    mnl_attr_nest_end(b->msg, verdict);
    mnl_attr_nest_end(b->msg, data);
    expr_end(b, e);
}

static void load_port(struct pq_nft_batch *b, uint32_t reg, uint16_t port)
{
    const uint16_t be = htons(port);
    struct expr e;
    struct nlattr *data = immediate(b, reg, &e);
    mnl_attr_put(b->msg, NFTA_DATA_VALUE, sizeof be, &be);
    mnl_attr_nest_end(b->msg, data);
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

/* ---- the kernel's word */

/* The first error among the answers, or the acknowledgement of message `last`. */
static int read_answers(struct pq_nft *n, uint32_t last)
{
    _Alignas(8) char buf[8192];
    for (;;) {
        ssize_t len = mnl_socket_recvfrom(n->nl, buf, sizeof buf);
        if (len < 0)
            return errno == EINTR ? 0 : -errno;
        int left = (int)len;
        const struct nlmsghdr *h = (const void *)buf;
        for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
            const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
            if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_len < NLMSG_LENGTH(sizeof *e))
                continue;
            if (e->error)
                return e->error;
            if (h->nlmsg_seq == last)
                return 0;
        }
    }
}

/* What an earlier batch that failed still had to say. */
static void drain(struct pq_nft *n)
{
    char buf[8192];
    while (recv(mnl_socket_get_fd(n->nl), buf, sizeof buf, MSG_DONTWAIT) > 0)
        continue;
}

int pq_nft_commit(struct pq_nft_batch *b)
{
    if (b->msg)
        b->msg->nlmsg_flags |= NLM_F_ACK;
    const uint32_t last = b->n->seq;
    finish(b);
    b->family = AF_UNSPEC;
    start(b, NFNL_MSG_BATCH_END, 0, NFNL_SUBSYS_NFTABLES);
    finish(b);
    drain(b->n);
    if (mnl_socket_sendto(b->n->nl, b->buf, b->len) < 0)
        return errno == EPERM ? -EPERM : PQ_ENOTSUP;
    int e = read_answers(b->n, last);
    return e == -EPERM ? -EPERM : e ? PQ_ENOTSUP : 0;
}

/* ---- life */

static bool has_net_admin(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return syscall(SYS_capget, &head, data) == 0 &&
           data[CAP_NET_ADMIN / 32].effective & 1u << CAP_NET_ADMIN % 32;
}

struct found {
    struct {
        uint8_t family;
        char name[32];
    } v[32];
    size_t n;
};

/* Notes tables of ours whose process is gone. */
static int on_table(const struct nlmsghdr *h, void *arg)
{
    struct found *f = arg;
    const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
    const struct nlattr *tb[PQ_NL_ATTRS];
    pq_nl_attrs(h, sizeof *g, tb);
    const char *name = tb[NFTA_TABLE_NAME] ? mnl_attr_get_str(tb[NFTA_TABLE_NAME]) : "";
    char proc[32];
    int pid;
    unsigned salt;
    if (f->n == sizeof f->v / sizeof f->v[0] || strlen(name) >= sizeof f->v[0].name ||
        sscanf(name, "paqet_%d_%x", &pid, &salt) != 2 || pid == getpid())
        return MNL_CB_OK;
    snprintf(proc, sizeof proc, "/proc/%d", pid);
    if (access(proc, F_OK)) {
        f->v[f->n].family = g->nfgen_family;
        memcpy(f->v[f->n++].name, name, strlen(name) + 1);
    }
    return MNL_CB_OK;
}

static int list_tables(struct pq_nft *n, struct found *f)
{
    _Alignas(8) char buf[8192];
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    h->nlmsg_seq = ++n->seq;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof *g);
    g->nfgen_family = AF_UNSPEC;
    g->version = NFNETLINK_V0;
    if (mnl_socket_sendto(n->nl, h, h->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        ssize_t len = mnl_socket_recvfrom(n->nl, buf, sizeof buf);
        int r = len < 0 ? -1
                        : mnl_cb_run(buf, (size_t)len, n->seq, mnl_socket_get_portid(n->nl),
                                     on_table, f);
        if (r <= MNL_CB_STOP)
            return r < 0 ? -errno : 0;
    }
}

/* Takes away marked tables of processes that are gone.  Returns 0, or an error where the kernel has
 * no nf_tables. */
static int sweep(struct pq_nft *n)
{
    struct found f = {.n = 0};
    struct pq_nft_batch *b = malloc(sizeof *b);
    int e = b ? list_tables(n, &f) : PQ_ENOMEM;
    for (size_t i = 0; !e && i < f.n; i++) {
        struct pq_nft other = *n;
        memcpy(other.table, f.v[i].name, sizeof other.table);
        pq_nft_begin(b, &other, f.v[i].family);
        pq_nft_del_table(b);
        pq_nft_commit(b); /* it may belong to another container's process */
        n->seq = other.seq;
    }
    free(b);
    return e;
}

int pq_nft_open(struct pq_nft *n)
{
    const struct timeval wait = {.tv_sec = ANSWER_WAIT_S};
    *n = (struct pq_nft){.nl = NULL};
    if (!has_net_admin())
        return -EPERM;
    n->nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!n->nl)
        return PQ_ENOTSUP;
    setsockopt(mnl_socket_get_fd(n->nl), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    /* two containers may share the network, but not the numbers of processes */
    unsigned salt = 0;
    if (getrandom(&salt, sizeof salt, 0) < 0)
        salt = (unsigned)getppid();
    snprintf(n->table, sizeof n->table, "paqet_%d_%04x", (int)getpid(), salt & 0xffff);
    if (mnl_socket_bind(n->nl, 0, MNL_SOCKET_AUTOPID) < 0 || sweep(n)) {
        pq_nft_close(n);
        return PQ_ENOTSUP;
    }
    return 0;
}

void pq_nft_close(struct pq_nft *n)
{
    if (n->nl)
        mnl_socket_close(n->nl);
    n->nl = NULL;
}
