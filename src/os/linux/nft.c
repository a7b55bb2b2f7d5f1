/* SPDX-License-Identifier: MIT */
#include "os/linux/nft.h"

#include "base/bytes.h"
#include "base/err.h"
#include "os/linux/nft_set.h"

#include <netinet/in.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define TABLE_OWNER   2U /* NFT_TABLE_F_OWNER, which older headers do not have */
#define ANSWER_WAIT_S 5

/* ---- messages of a batch */

static void begin(struct pq_nft_batch *b, uint16_t type, uint16_t flags, uint16_t res_id)
{
    const struct nfgenmsg g = {
        .nfgen_family = b->family, .version = NFNETLINK_V0, .res_id = htons(res_id)};
    if (b->in_rule)
        pq_nl_nest_end(&b->out, b->exprs);
    b->in_rule = false;
    pq_nl_begin(&b->out, type, flags, &g, sizeof g);
    pq_nl_number(&b->n->nl, &b->out);
}

struct pq_nl_out *pq_nft_command(struct pq_nft_batch *b, uint16_t type, uint16_t flags)
{
    begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, 0);
    return &b->out;
}

void pq_nft_begin(struct pq_nft_batch *b, struct pq_nft *n, uint8_t family)
{
    b->n = n;
    b->family = AF_UNSPEC;
    b->out = pq_nl_out_init(b->buf, sizeof b->buf);
    b->in_rule = false;
    begin(b, NFNL_MSG_BATCH_BEGIN, 0, NFNL_SUBSYS_NFTABLES);
    b->family = family;
}

/* ---- tables, chains */

void pq_nft_add_table(struct pq_nft_batch *b, bool owner)
{
    struct pq_nl_out *o = pq_nft_command(b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    pq_nl_put_str(o, NFTA_TABLE_NAME, b->n->table);
    pq_nl_put_be32(o, NFTA_TABLE_FLAGS, owner ? TABLE_OWNER : 0);
}

void pq_nft_del_table(struct pq_nft_batch *b)
{
    pq_nl_put_str(pq_nft_command(b, NFT_MSG_DELTABLE, 0), NFTA_TABLE_NAME, b->n->table);
}

void pq_nft_add_chain(struct pq_nft_batch *b, const struct pq_nft_chain *c)
{
    struct pq_nl_out *o = pq_nft_command(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    pq_nl_put_str(o, NFTA_CHAIN_TABLE, b->n->table);
    pq_nl_put_str(o, NFTA_CHAIN_NAME, c->name);
    const size_t hook = pq_nl_nest(o, NFTA_CHAIN_HOOK);
    pq_nl_put_be32(o, NFTA_HOOK_HOOKNUM, c->hook);
    pq_nl_put_be32(o, NFTA_HOOK_PRIORITY, (uint32_t)c->priority);
    if (c->device)
        pq_nl_put_str(o, NFTA_HOOK_DEV, c->device);
    pq_nl_nest_end(o, hook);
    pq_nl_put_be32(o, NFTA_CHAIN_POLICY, NF_ACCEPT);
    pq_nl_put_str(o, NFTA_CHAIN_TYPE, c->type);
}

static void name_chain(struct pq_nft_batch *b, struct pq_nl_out *o, uint16_t table, uint16_t chain,
                       const char *name)
{
    pq_nl_put_str(o, table, b->n->table);
    pq_nl_put_str(o, chain, name);
}

void pq_nft_add_steps(struct pq_nft_batch *b, const char *name)
{
    name_chain(b, pq_nft_command(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE), NFTA_CHAIN_TABLE,
               NFTA_CHAIN_NAME, name);
}

void pq_nft_clear_chain(struct pq_nft_batch *b, const char *name)
{
    name_chain(b, pq_nft_command(b, NFT_MSG_DELRULE, 0), NFTA_RULE_TABLE, NFTA_RULE_CHAIN, name);
}

void pq_nft_del_chain(struct pq_nft_batch *b, const char *name)
{
    name_chain(b, pq_nft_command(b, NFT_MSG_DELCHAIN, 0), NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, name);
}

/* ---- the kernel's word */

/* The first error among the answers, or the acknowledgement of message `last`. */
static int read_answers(struct pq_nft *n, uint32_t last)
{
    uint8_t buf[PQ_NL_RECV];
    struct pq_view got;
    struct pq_nl_msg m;
    for (;;) {
        int e = pq_nl_recv(&n->nl, buf, &got);
        if (e)
            return e;
        while (pq_nl_next(&got, &m))
            if (m.port == n->nl.port && pq_nl_verdict(&m, &e) && (e || m.seq == last))
                return e;
    }
}

/* What an earlier batch that failed still had to say. */
static void drain(struct pq_nft *n)
{
    uint8_t buf[4096];
    while (recv(n->nl.fd, buf, sizeof buf, MSG_DONTWAIT) > 0)
        continue;
}

int pq_nft_commit(struct pq_nft_batch *b)
{
    struct pq_nft *n = b->n;
    const uint32_t last = n->nl.seq;
    pq_nl_add_flags(&b->out, NLM_F_ACK);
    b->family = AF_UNSPEC;
    begin(b, NFNL_MSG_BATCH_END, 0, NFNL_SUBSYS_NFTABLES);
    drain(n);
    int e = pq_nl_send(&n->nl, &b->out);
    if (!e)
        e = read_answers(n, last);
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
static int on_table(const struct pq_nl_msg *m, void *arg)
{
    struct found *f = arg;
    struct nfgenmsg g;
    struct pq_nl_attrs a;
    char name[sizeof f->v[0].name];
    int pid, end = 0;
    unsigned salt;
    if (f->n == sizeof f->v / sizeof f->v[0] || !pq_nl_head(m, &g, sizeof g, &a) ||
        a.v[NFTA_TABLE_NAME].n > sizeof name)
        return 0;
    pq_nl_str(name, sizeof name, a.v[NFTA_TABLE_NAME]);
    if (sscanf(name, "paqet_%d_%4x%n", &pid, &salt, &end) != 2 || name[end] || pid <= 0 ||
        pid == getpid())
        return 0;                         /* not one of ours, whatever it begins with */
    if (kill(pid, 0) && errno == ESRCH) { /* /proc may hide others from a service */
        f->v[f->n].family = g.nfgen_family;
        memcpy(f->v[f->n++].name, name, sizeof name);
    }
    return 0;
}

static int list_tables(struct pq_nft *n, struct found *f)
{
    const struct nfgenmsg g = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
    uint8_t buf[64];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    pq_nl_begin(&o, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, NLM_F_DUMP, &g, sizeof g);
    return pq_nl_ask(&n->nl, &o, on_table, f);
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
        n->nl.seq = other.nl.seq;
    }
    free(b);
    return e;
}

int pq_nft_open(struct pq_nft *n)
{
    const struct timeval wait = {.tv_sec = ANSWER_WAIT_S};
    *n = (struct pq_nft){.nl.fd = -1};
    if (!has_net_admin())
        return -EPERM;
    if (pq_nl_open(&n->nl, NETLINK_NETFILTER))
        return PQ_ENOTSUP;
    setsockopt(n->nl.fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    /* two containers may share the network, but not the numbers of processes */
    unsigned salt = 0;
    if (getrandom(&salt, sizeof salt, 0) < 0)
        salt = (unsigned)getppid();
    snprintf(n->table, sizeof n->table, "paqet_%d_%04x", (int)getpid(), salt & 0xffff);
    if (sweep(n)) {
        pq_nft_close(n);
        return PQ_ENOTSUP;
    }
    return 0;
}

void pq_nft_close(struct pq_nft *n)
{
    pq_nl_close(&n->nl);
}
