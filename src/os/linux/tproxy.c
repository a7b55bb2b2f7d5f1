/* SPDX-License-Identifier: MIT */
#include "os/tproxy.h"

#include "base/err.h"
#include "os/linux/nft.h"

#include <netinet/in.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Behind the translation of destinations (-100): what is for others is told from what is for us. */
#define PRIORITY (-50)

struct pq_tproxy {
    struct pq_nft nft;
    struct pq_nft_batch batch;
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

int pq_tproxy_open(struct pq_tproxy **out, const struct pq_tproxy_conf *conf)
{
    *out = NULL;
    struct pq_tproxy *t = calloc(1, sizeof *t);
    if (!t)
        return PQ_ENOMEM;
    int e = pq_nft_open(&t->nft);
    if (e) {
        free(t);
        return e;
    }
    e = install(t, conf, true);
    if (e == PQ_ENOTSUP) /* before Linux 5.12 */
        e = install(t, conf, false);
    if (e) {
        pq_nft_close(&t->nft);
        free(t);
        return e;
    }
    *out = t;
    return 0;
}

void pq_tproxy_close(struct pq_tproxy **tp)
{
    struct pq_tproxy *t = *tp;
    if (!t)
        return;
    pq_nft_begin(&t->batch, &t->nft, NFPROTO_INET);
    pq_nft_del_table(&t->batch);
    pq_nft_commit(&t->batch);
    pq_nft_close(&t->nft);
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
