/* SPDX-License-Identifier: MIT */
#include "os/tproxy.h"

#include "base/err.h"
#include "os/linux/nft.h"
#include "os/linux/xtables.h"

#include <netinet/in.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Behind the translation of destinations (-100): what is for others is told from what is for us. */
#define PRIORITY (-50)

struct pq_tproxy {
    struct pq_nft nft;
    struct pq_nft_batch batch;
    bool iptables; /* in place of nft */
    struct pq_xt xt;
    bool there[PQ_XT_FAMILIES];
};

static void leave_alone(struct pq_nft_batch *b, const char *chain, uint8_t ipproto,
                        const struct pq_tproxy_side *s)
{
    for (unsigned i = 0; i < s->n_not_taken; i++) {
        pq_nft_rule(b, chain);
        pq_nft_if_proto(b, ipproto);
        pq_nft_if_port(b, false, &s->not_taken[i]);
        pq_nft_then(b, PQ_NFT_ACCEPT);
    }
}

static void take(struct pq_nft_batch *b, const char *chain, uint8_t ipproto,
                 const struct pq_addr *to)
{
    if (!to->port)
        return;
    pq_nft_rule(b, chain);
    pq_nft_if_family(b, pq_addr_is4(to));
    pq_nft_if_proto(b, ipproto);
    pq_nft_then_tproxy(b, to);
}

static int install(struct pq_tproxy *t, const struct pq_tproxy_conf *c, bool owner)
{
    static const struct pq_nft_chain in = {
        .name = "in", .type = "filter", .hook = NF_INET_PRE_ROUTING, .priority = PRIORITY};
    struct pq_nft_batch *b = &t->batch;
    pq_nft_begin(b, &t->nft, NFPROTO_INET);
    pq_nft_add_table(b, owner);
    pq_nft_add_chain(b, &in);
    pq_nft_rule(b, in.name);
    pq_nft_if_name(b, true, true, "lo");
    pq_nft_then(b, PQ_NFT_ACCEPT);
    pq_nft_rule(b, in.name);
    pq_nft_if_elsewhere(b);
    pq_nft_then(b, PQ_NFT_ACCEPT);
    pq_nft_rule(b, in.name);
    pq_nft_if_family(b, false);
    pq_nft_if_link_local6(b);
    pq_nft_then(b, PQ_NFT_ACCEPT);
    leave_alone(b, in.name, IPPROTO_TCP, &c->tcp);
    leave_alone(b, in.name, IPPROTO_UDP, &c->udp);
    pq_nft_rule(b, in.name);
    pq_nft_if_socket(b);
    pq_nft_then(b, PQ_NFT_ACCEPT);
    take(b, in.name, IPPROTO_TCP, &c->tcp.to4);
    take(b, in.name, IPPROTO_TCP, &c->tcp.to6);
    take(b, in.name, IPPROTO_UDP, &c->udp.to4);
    take(b, in.name, IPPROTO_UDP, &c->udp.to6);
    return pq_nft_commit(b);
}

static int open_nft(struct pq_tproxy *t, const struct pq_tproxy_conf *c)
{
    int e = pq_nft_open(&t->nft);
    if (e)
        return e;
    e = install(t, c, true);
    if (e == PQ_ENOTSUP) /* before Linux 5.12 */
        e = install(t, c, false);
    if (e)
        pq_nft_close(&t->nft);
    return e;
}

/* ---- where there is no nf_tables */

static void leave_alone_there(struct pq_xt_batch *b, const char *protocol,
                              const struct pq_tproxy_side *s)
{
    for (unsigned i = 0; i < s->n_not_taken; i++)
        pq_xt_add(b, "-A $in -p %s --dport %u:%u -j RETURN", protocol, s->not_taken[i].from,
                  s->not_taken[i].to);
}

static void take_there(struct pq_xt_batch *b, const char *protocol, const struct pq_addr *to)
{
    char ip[PQ_ADDR_STRLEN];
    if (to->port)
        pq_xt_add(b, "-A $take -p %s -j TPROXY --on-port %u --on-ip %s", protocol, to->port,
                  pq_addr_ip_str(to, ip));
}

/* As install().  What has a socket that asks for it (IP_TRANSPARENT) is ours. */
static int add_chains(struct pq_tproxy *t, const struct pq_tproxy_conf *c, int family,
                      char why[PQ_OS_WHY_LEN])
{
    const bool is4 = family == PQ_XT_V4;
    struct pq_xt_batch b;
    const int e = pq_xt_use(&t->xt, family, "mangle", why);
    if (e)
        return e;
    pq_xt_begin(&b, &t->xt, family, "mangle");
    pq_xt_chain(&b, "take");
    pq_xt_chain(&b, "in");
    take_there(&b, "tcp", is4 ? &c->tcp.to4 : &c->tcp.to6);
    take_there(&b, "udp", is4 ? &c->udp.to4 : &c->udp.to6);
    pq_xt_add(&b, "-A $in -i lo -j RETURN");
    pq_xt_add(&b, "-A $in -m addrtype ! --dst-type LOCAL -j RETURN");
    if (!is4)
        pq_xt_add(&b, "-A $in -d fe80::/10 -j RETURN");
    /* this table comes before NAT: what it will change is known of connections alone */
    pq_xt_add(&b, "-A $in -m conntrack --ctstate SNAT,DNAT -j RETURN");
    leave_alone_there(&b, "tcp", &c->tcp);
    leave_alone_there(&b, "udp", &c->udp);
    pq_xt_add(&b, "-A $in -m socket --transparent --nowildcard -g $take");
    pq_xt_add(&b, "-A $in -m socket --nowildcard -j RETURN");
    pq_xt_add(&b, "-A $in -g $take");
    pq_xt_add(&b, "-I PREROUTING -j $in");
    return pq_xt_commit(&b, why);
}

static void remove_chains(struct pq_tproxy *t)
{
    for (int family = 0; family < PQ_XT_FAMILIES; family++)
        if (t->there[family])
            pq_xt_remove(&t->xt, family, "mangle");
    pq_xt_close(&t->xt);
}

static int open_iptables(struct pq_tproxy *t, const struct pq_tproxy_conf *c, bool *dnat,
                         char why[PQ_OS_WHY_LEN])
{
    const bool wants[PQ_XT_FAMILIES] = {c->tcp.to4.port || c->udp.to4.port,
                                        c->tcp.to6.port || c->udp.to6.port};
    int e = pq_xt_open(&t->xt, NULL);
    if (e)
        return e;
    t->iptables = true;
    for (int family = 0; !e && family < PQ_XT_FAMILIES; family++) {
        e = wants[family] ? add_chains(t, c, family, why) : 0;
        t->there[family] = wants[family] && !e;
        *dnat = *dnat || (t->there[family] && pq_xt_translates(&t->xt, family));
    }
    if (e)
        remove_chains(t);
    return e;
}

int pq_tproxy_open(struct pq_tproxy **out, const struct pq_tproxy_conf *conf, bool *dnat,
                   char why[PQ_OS_WHY_LEN])
{
    char it_says[PQ_OS_WHY_LEN] = "";
    *out = NULL;
    *dnat = false;
    snprintf(why, PQ_OS_WHY_LEN, "%s", pq_strerror(PQ_ENOMEM));
    struct pq_tproxy *t = calloc(1, sizeof *t);
    if (!t)
        return PQ_ENOMEM;
    int e = open_nft(t, conf);
    if (e && e != -EPERM && open_iptables(t, conf, dnat, it_says) == 0)
        e = 0;
    if (e) {
        pq_xt_why_both(why, e, it_says);
        free(t);
        t = NULL;
    }
    *out = t;
    return e;
}

void pq_tproxy_close(struct pq_tproxy **tp)
{
    struct pq_tproxy *t = *tp;
    if (!t)
        return;
    if (t->iptables) {
        remove_chains(t);
    } else {
        pq_nft_begin(&t->batch, &t->nft, NFPROTO_INET);
        pq_nft_del_table(&t->batch);
        pq_nft_commit(&t->batch);
        pq_nft_close(&t->nft);
    }
    free(t);
    *tp = NULL;
}

int pq_tproxy_answer_socket(bool is4)
{
    struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
    const struct sock_fprog nothing = {.len = 1, .filter = &none};
    const int size = 1 << 20;
    int fd = socket(is4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &nothing, sizeof nothing)) {
        int e = -errno;
        close(fd);
        return e;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size))
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return fd;
}
