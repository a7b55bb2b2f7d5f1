/* SPDX-License-Identifier: MIT */
#include "os/killswitch.h"

#include "base/err.h"
#include "os/linux/killtables.h"
#include "os/linux/mark.h"
#include "os/linux/nft.h"
#include "os/linux/xtables.h"

#include <netinet/in.h>

#include <errno.h>
#include <linux/netfilter.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RULE_ROOM 2048 /* bytes of a rule, at most */

/* Not of the form that is swept: it is meant to outlive us. */
static const char kept_table[] = "paqet_kill_switch";

static const char by_port[] = "ports"; /* the chain with what goes by its port */

struct pq_killswitch {
    struct pq_killtables *tables; /* in place of nft, if not NULL */
    struct pq_nft nft;
    struct pq_nft_batch batch;
    pthread_mutex_t lock; /* of both, from one batch to the next */
    bool keep, reject;
    int mark; /* while it is to be kept; else -1 */
};

/* ---- rules */

/* From a port that root alone can give out: any program could talk to others otherwise. */
static void accept_dhcp(struct pq_nft_batch *b, const char *chain, uint16_t from, uint16_t port)
{
    pq_nft_rule(b, chain);
    pq_nft_if_proto(b, IPPROTO_UDP);
    pq_nft_if_port(b, true, &(struct pq_range){from, from});
    pq_nft_if_port(b, false, &(struct pq_range){port, port});
    pq_nft_then(b, PQ_NFT_ACCEPT);
}

struct pq_range pq_killswitch_clients(void)
{
    struct pq_range r = {32768, 60999};
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    unsigned from, to;
    if (f && fscanf(f, "%u %u", &from, &to) == 2 && from && from <= to && to <= UINT16_MAX)
        r = (struct pq_range){(uint16_t)from, (uint16_t)to};
    if (f)
        fclose(f);
    return r;
}

/* What this machine, or one behind it, has begun before these rules were there, and the kernel did
 * not see: if the other end is the first to send now, it looks as if that one had begun.  Of TCP
 * the first packet tells. */
static void drop_picked_up(struct pq_nft_batch *b, const char *chain,
                           const struct pq_killswitch_conf *c, bool tracked)
{
    const struct pq_range clients = pq_killswitch_clients();
    pq_nft_rule(b, chain);
    pq_nft_if_name(b, true, false, "lo");
    pq_nft_if_name(b, true, false, c->tun);
    pq_nft_if_no_begin(b);
    if (tracked)
        pq_nft_if_new(b);
    pq_nft_if_port(b, false, &clients);
    pq_nft_then(b, PQ_NFT_DROP);
}

/* What answers those who have begun.  A port that is no client's is a service's: of TCP only what
 * begins is refused there, so that connections stay which the kernel did not see begin.  Of UDP
 * nothing tells but the port. */
static void accept_replies(struct pq_nft_batch *b, const char *chain)
{
    const struct pq_range clients = pq_killswitch_clients(),
                          others[] = {{1, (uint16_t)(clients.from - 1)},
                                      {(uint16_t)(clients.to + 1), UINT16_MAX}};
    pq_nft_rule(b, chain);
    pq_nft_if_not_proto(b, IPPROTO_UDP);
    pq_nft_if_reply(b);
    pq_nft_then(b, PQ_NFT_ACCEPT);
    for (int i = 0; i < 2; i++) {
        if (!others[i].from || others[i].from > others[i].to)
            continue;
        pq_nft_rule(b, chain);
        pq_nft_if_no_begin(b);
        pq_nft_if_port(b, true, &others[i]);
        pq_nft_then(b, PQ_NFT_ACCEPT);
        pq_nft_rule(b, chain);
        pq_nft_if_proto(b, IPPROTO_UDP);
        pq_nft_if_port(b, true, &others[i]);
        pq_nft_if_reply(b);
        pq_nft_then(b, PQ_NFT_ACCEPT);
    }
}

struct range {
    const char *from, *to;
};

static void accept_targets(struct pq_nft_batch *b, const char *chain, const struct range *v,
                           size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct pq_addr from, to;
        if (pq_addr_parse_ip(&from, v[i].from) || pq_addr_parse_ip(&to, v[i].to))
            continue;
        pq_nft_rule(b, chain);
        pq_nft_if_target(b, &from, &to);
        pq_nft_then(b, PQ_NFT_ACCEPT);
    }
}

/* Where DNS is led to (dnsredirect.h): of such a packet the rules still see the device that it
 * would have left through. */
static const struct range here[] = {{"127.0.0.0", "127.255.255.255"}, {"::1", "::1"}};

static const struct range lan[] = {
    {"10.0.0.0", "10.255.255.255"},
    {"172.16.0.0", "172.31.255.255"},
    {"192.168.0.0", "192.168.255.255"},
    {"169.254.0.0", "169.254.255.255"},
    {"224.0.0.0", "239.255.255.255"},
    {"255.255.255.255", "255.255.255.255"},
    {"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
};

static void add_chain(struct pq_nft_batch *b, const char *name, uint32_t hook,
                      const struct pq_killswitch_conf *c, bool reject)
{
    const struct pq_nft_chain chain = {.name = name, .type = "filter", .hook = hook};
    pq_nft_add_chain(b, &chain);
    if (hook == NF_INET_FORWARD)
        drop_picked_up(b, name, c, true);
    for (int i = 0; i < 2; i++) {
        pq_nft_rule(b, name);
        pq_nft_if_name(b, false, true, i ? c->tun : "lo");
        pq_nft_then(b, PQ_NFT_ACCEPT);
    }
    pq_nft_rule(b, name);
    pq_nft_if_mark(b, c->mark);
    pq_nft_then(b, PQ_NFT_ACCEPT);
    accept_replies(b, name);
    accept_dhcp(b, name, 68, 67);
    accept_dhcp(b, name, 546, 547);
    pq_nft_rule(b, name);
    pq_nft_if_neighbours(b);
    pq_nft_then(b, PQ_NFT_ACCEPT);
    accept_targets(b, name, here, sizeof here / sizeof here[0]);
    if (c->lan)
        accept_targets(b, name, lan, sizeof lan / sizeof lan[0]);
    pq_nft_rule(b, name);
    pq_nft_then_jump(b, by_port);
    for (int i = 0; i < 4; i++) {
        pq_nft_rule(b, name);
        pq_nft_if_network(b, i & 1, i & 2);
        pq_nft_then(b, PQ_NFT_ACCEPT);
    }
    pq_nft_rule(b, name);
    if (reject)
        pq_nft_then_reject(b);
    else
        pq_nft_then(b, PQ_NFT_DROP);
}

/* The kernel tracks connections from a moment before the rules that ask for it are there.  What
 * came in then would be tracked the wrong way round: it is dropped for so long. */
static int hold(struct pq_killswitch *k, const struct pq_killswitch_conf *c, bool owner)
{
    static const struct pq_nft_chain chains[] = {
        {.name = "hold", .type = "filter", .hook = NF_INET_LOCAL_IN},
        {.name = "holdforward", .type = "filter", .hook = NF_INET_FORWARD}};
    struct pq_nft_batch *b = &k->batch;
    pq_nft_begin(b, &k->nft, NFPROTO_INET);
    pq_nft_add_table(b, owner);
    for (size_t i = 0; i < sizeof chains / sizeof chains[0]; i++) {
        pq_nft_add_chain(b, &chains[i]);
        drop_picked_up(b, chains[i].name, c, false);
    }
    return pq_nft_commit(b);
}

/* In one batch: what was kept, or is held, is replaced, not taken away first. */
static int install(struct pq_killswitch *k, const struct pq_killswitch_conf *c, bool owner,
                   bool reject)
{
    struct pq_nft_batch *b = &k->batch;
    const int e = hold(k, c, owner);
    if (e)
        return e;
    pq_nft_begin(b, &k->nft, NFPROTO_INET);
    pq_nft_add_table(b, owner);
    pq_nft_del_table(b);
    pq_nft_add_table(b, owner);
    pq_nft_add_networks(b);
    pq_nft_add_steps(b, by_port);
    add_chain(b, "out", NF_INET_LOCAL_OUT, c, reject);
    add_chain(b, "forward", NF_INET_FORWARD, c, reject);
    pq_nft_add_chain(
        b, &(struct pq_nft_chain){.name = "in", .type = "filter", .hook = NF_INET_LOCAL_IN});
    drop_picked_up(b, "in", c, true);
    return pq_nft_commit(b);
}

/* ---- who keeps it */

/* Rules that are kept belong to the program that has the mark while it runs. */
static const char who_keeps[] = "kill switch";

static void remove_mark(int mark)
{
    if (mark >= 0)
        close(mark);
}

/* ---- life */

static int open_nft(struct pq_killswitch *k, const struct pq_killswitch_conf *c)
{
    int e = pq_nft_open(&k->nft);
    if (e)
        return e;
    if (c->keep)
        memcpy(k->nft.table, kept_table, sizeof kept_table);
    e = PQ_ENOTSUP;
    for (int i = 0; e == PQ_ENOTSUP && i < 4; i++) /* a refusal tells programs at once */
        e = install(k, c, !c->keep && i % 2 == 0, k->reject = i < 2);
    if (e)
        pq_nft_close(&k->nft);
    return e;
}

int pq_killswitch_open(struct pq_killswitch **out, const struct pq_killswitch_conf *c,
                       char why[PQ_OS_WHY_LEN])
{
    char it_says[PQ_OS_WHY_LEN] = "";
    *out = NULL;
    snprintf(why, PQ_OS_WHY_LEN, "%s", pq_strerror(PQ_ENOMEM));
    struct pq_killswitch *k = calloc(1, sizeof *k);
    if (!k)
        return PQ_ENOMEM;
    k->keep = c->keep;
    k->mark = c->keep ? pq_mark_set(pq_mark_of_name(who_keeps)) : -1;
    int e = open_nft(k, c);
    if (e && e != -EPERM && pq_killtables_open(&k->tables, c, it_says) == 0)
        e = 0;
    if (e) {
        pq_xt_why_both(why, e, it_says);
        remove_mark(k->mark);
        free(k);
        return e;
    }
    pthread_mutex_init(&k->lock, NULL);
    *out = k;
    return 0;
}

static int change(struct pq_killswitch *k, const struct pq_spans *s, bool add)
{
    int e = 0;
    for (size_t done = 0; !e && done < s->n;) {
        pthread_mutex_lock(&k->lock);
        pq_nft_begin(&k->batch, &k->nft, NFPROTO_INET);
        done += pq_nft_change_networks(&k->batch, s, done, add);
        e = pq_nft_commit(&k->batch);
        pthread_mutex_unlock(&k->lock);
    }
    return e;
}

int pq_killswitch_direct(struct pq_killswitch *k, const struct pq_spans *gone,
                         const struct pq_spans *more)
{
    if (k->tables) {
        pthread_mutex_lock(&k->lock);
        const int no = pq_killtables_direct(k->tables, gone, more);
        pthread_mutex_unlock(&k->lock);
        return no;
    }
    int e = change(k, gone, false);
    e = e ? e : change(k, more, true);
    if (e) {
        pthread_mutex_lock(&k->lock);
        pq_nft_begin(&k->batch, &k->nft, NFPROTO_INET);
        pq_nft_clear_networks(&k->batch);
        pq_nft_commit(&k->batch);
        pthread_mutex_unlock(&k->lock);
    }
    return e;
}

int pq_killswitch_one(struct pq_killswitch *k, const struct pq_addr *ip, bool direct)
{
    int e;
    pthread_mutex_lock(&k->lock);
    if (k->tables) {
        e = pq_killtables_one(k->tables, ip, direct);
    } else {
        pq_nft_begin(&k->batch, &k->nft, NFPROTO_INET);
        pq_nft_change_one(&k->batch, ip, direct);
        e = pq_nft_commit(&k->batch);
    }
    pthread_mutex_unlock(&k->lock);
    return e;
}

static void put_port(struct pq_nft_batch *b, const struct pq_port_span *p, uint8_t proto,
                     bool reject)
{
    struct pq_ip_span s;
    pq_span_of(&s, &p->net);
    const bool all = p->net.bits == (pq_addr_is4(&p->net.ip) ? 96 : 0);
    struct pq_addr from = {.port = 0}, to = {.port = 0};
    memcpy(from.ip, s.from, 16);
    memcpy(to.ip, s.to, 16);
    pq_nft_rule(b, by_port);
    if (all)
        pq_nft_if_family(b, pq_addr_is4(&p->net.ip));
    else
        pq_nft_if_target(b, &from, &to);
    pq_nft_if_proto(b, proto);
    pq_nft_if_port(b, false, &p->ports);
    if (p->direct)
        pq_nft_then(b, PQ_NFT_ACCEPT);
    else if (reject)
        pq_nft_then_reject(b);
    else
        pq_nft_then(b, PQ_NFT_DROP);
}

/* In batches; nothing goes by its port until the last one. */
static int put_ports(struct pq_killswitch *k, const struct pq_port_span *v, size_t n)
{
    if (k->tables)
        return pq_killtables_ports(k->tables, v, n);
    struct pq_nft_batch *b = &k->batch;
    int e = 0;
    pq_nft_begin(b, &k->nft, NFPROTO_INET);
    pq_nft_clear_chain(b, by_port);
    for (size_t i = 0; !e && i < 2 * n; i++) {
        if (b->out.len + RULE_ROOM > b->out.cap) {
            e = pq_nft_commit(b);
            pq_nft_begin(b, &k->nft, NFPROTO_INET);
        }
        put_port(b, &v[i / 2], i % 2 ? IPPROTO_UDP : IPPROTO_TCP, k->reject);
    }
    return e ? e : pq_nft_commit(b);
}

int pq_killswitch_ports(struct pq_killswitch *k, const struct pq_port_span *v, size_t n)
{
    pthread_mutex_lock(&k->lock);
    const int e = put_ports(k, v, n);
    if (e)
        put_ports(k, NULL, 0);
    pthread_mutex_unlock(&k->lock);
    return e;
}

static void remove_table(struct pq_nft *n, struct pq_nft_batch *b)
{
    pq_nft_begin(b, n, NFPROTO_INET);
    pq_nft_del_table(b);
}

void pq_killswitch_close(struct pq_killswitch **kp)
{
    struct pq_killswitch *k = *kp;
    if (!k)
        return;
    if (!k->keep && !k->tables) {
        remove_table(&k->nft, &k->batch);
        pq_nft_commit(&k->batch);
    }
    if (k->tables)
        pq_killtables_close(k->tables);
    else
        pq_nft_close(&k->nft);
    pthread_mutex_destroy(&k->lock);
    remove_mark(k->mark);
    free(k);
    *kp = NULL;
}

static bool lift(void)
{
    struct pq_killswitch *k = calloc(1, sizeof *k);
    bool was = false;
    const int e = k ? pq_nft_open(&k->nft) : PQ_ENOMEM;
    if (!e) {
        memcpy(k->nft.table, kept_table, sizeof kept_table);
        remove_table(&k->nft, &k->batch);
        was = pq_nft_commit(&k->batch) == 0;
        pq_nft_close(&k->nft);
    }
    free(k);
    return e == PQ_ENOTSUP ? pq_killtables_lift() : was;
}

enum pq_killswitch_lifted pq_killswitch_lift(void)
{
    const int mark = pq_mark_take(pq_mark_of_name(who_keeps));
    if (mark < 0)
        return PQ_KILLSWITCH_IN_USE;
    if (pq_mark_before("paqet-kill-switch")) {
        remove_mark(mark);
        return PQ_KILLSWITCH_IN_USE;
    }
    const bool was = lift();
    remove_mark(mark);
    return was ? PQ_KILLSWITCH_LIFTED : PQ_KILLSWITCH_NONE;
}
