/* SPDX-License-Identifier: MIT */
#include "exit/tun_server.h"

#include "base/hash.h"
#include "exit/denied.h"
#include "relay/rules.h"
#include "relay/tun_link.h"

#include <stdio.h>
#include <stdlib.h>

#define HEARD_MAX    (3 * PQ_SEC) /* a client that is there is heard each 2 s [5.5] */
#define ADDRS_CLIENT 256          /* addresses of one client */
#define ADDRS_ALL    65536
#define LOG_PERIOD   (10 * PQ_SEC)
#define LEARN_PERIOD (1 * PQ_SEC) /* a client may come with new addresses without end */

struct pq_tun_server {
    struct pq_tun_server_conf conf;
    struct pq_front *front;
    struct pq_tun tun;
    struct pq_hash addrs;
    struct pq_list clients;
    unsigned n_clients;
    uint64_t nobody; /* packets for addresses that no client has */
    struct pq_log_limit refused, learned;
};

struct client { /* one TUN stream */
    struct pq_tun_link link;
    struct pq_tun_server *s;
    struct pq_list node; /* in s->clients */
    struct pq_list addrs;
    unsigned n_addrs;
};

struct inner { /* an address, and whose it is */
    struct pq_hash_node by_addr;
    struct pq_list node; /* in client->addrs */
    struct pq_addr addr; /* port 0 */
    struct client *client;
};

/* ---- who has an address */

static uint64_t key_of(const struct pq_tun_server *s, const struct pq_addr *a)
{
    return pq_hash_bytes(a->ip, sizeof a->ip, s->front->seed);
}

static struct inner *find(const struct pq_tun_server *s, const struct pq_addr *a)
{
    struct pq_hash_node *n = pq_hash_find(&s->addrs, key_of(s, a));
    while (n && !pq_addr_eq_ip(&PQ_OF(n, struct inner, by_addr)->addr, a))
        n = pq_hash_next(n);
    return n ? PQ_OF(n, struct inner, by_addr) : NULL;
}

static void give(struct inner *i, struct client *c)
{
    if (i->client)
        i->client->n_addrs--;
    pq_list_remove(&i->node);
    pq_list_push(&c->addrs, &i->node);
    c->n_addrs++;
    i->client = c;
}

/* Whether clients may have this address at all. */
static bool is_inner(const struct pq_tun_server *s, const struct pq_addr *a)
{
    bool inside = false;
    for (unsigned i = 0; i < s->conf.n_own; i++)
        if (pq_addr_eq_ip(&s->conf.own[i], a))
            return false;
    for (unsigned i = 0; i < s->conf.n_nets; i++) {
        if (pq_net_is_edge(&s->conf.nets[i], a))
            return false;
        inside = inside || pq_net_has(&s->conf.nets[i], a);
    }
    return inside;
}

static void say_learned(struct client *c, const struct pq_addr *a)
{
    char client[PQ_ADDR_STRLEN], ip[PQ_ADDR_STRLEN], more[64] = "";
    uint64_t n = pq_log_due(&c->s->learned, LEARN_PERIOD, uv_hrtime());
    if (n > 1)
        snprintf(more, sizeof more, " (and %llu other addresses were new)",
                 (unsigned long long)n - 1);
    PQ_LOG(n ? PQ_LOG_INFO : PQ_LOG_DEBUG, "TUN: client %s has the address %s%s",
           pq_addr_str(pq_stream_peer(c->link.st), client), pq_addr_ip_str(a, ip), more);
}

/* Learns that the client has the address.  Returns false if there is no room for more. */
static bool learn(struct client *c, const struct pq_addr *a)
{
    struct pq_tun_server *s = c->s;
    struct inner *i =
        c->n_addrs < ADDRS_CLIENT && s->addrs.n < ADDRS_ALL ? calloc(1, sizeof *i) : NULL;
    if (!i)
        return false;
    i->addr = *a;
    i->addr.port = 0;
    pq_list_init(&i->node);
    if (pq_hash_add(&s->addrs, &i->by_addr, key_of(s, a))) {
        free(i);
        return false;
    }
    give(i, c);
    say_learned(c, a);
    return true;
}

static void say_refused(struct client *c, const struct pq_addr *a, const char *why)
{
    char ip[PQ_ADDR_STRLEN], client[PQ_ADDR_STRLEN];
    uint64_t n = pq_log_due(&c->s->refused, LOG_PERIOD, uv_hrtime());
    if (n)
        PQ_LOG(PQ_LOG_WARN, "TUN: client %s sends from %s, %s: dropped (%llu such packets)",
               pq_addr_str(pq_stream_peer(c->link.st), client), pq_addr_ip_str(a, ip), why,
               (unsigned long long)n);
}

static void say_spoofed(struct client *c, const struct pq_addr *a, const struct client *owner)
{
    char other[PQ_ADDR_STRLEN], why[128];
    snprintf(why, sizeof why, "which client %s has; give each client its own tun.addr",
             pq_addr_str(pq_stream_peer(owner->link.st), other));
    say_refused(c, a, why);
}

/* Whether the client's user may have the address: where it is somebody's, he alone, and who has
 * some has no others. */
static bool may_have(const struct client *c, const struct pq_addr *a)
{
    const struct pq_tun_server_conf *t = &c->s->conf;
    const unsigned who = pq_stream_who(c->link.st);
    bool others = false, own = false, some = false;
    for (unsigned i = 0; i < t->n_user_nets; i++) {
        const bool his = t->user_nets[i].who == who, has = pq_net_has(&t->user_nets[i].net, a);
        own = own || (his && has);
        some = some || his;
        others = others || (!his && has);
    }
    return own || (!some && !others);
}

/* Whether the client may send from this address; learns it. */
static bool owns(struct client *c, const struct pq_addr *src)
{
    struct inner *i = find(c->s, src);
    if (i && i->client == c)
        return true;
    if (i && uv_hrtime() < pq_stream_heard(i->client->link.st) + HEARD_MAX) {
        say_spoofed(c, src, i->client);
        return false;
    }
    if (!may_have(c, src)) {
        say_refused(c, src, "which is not his by users[].tun");
        return false;
    }
    if (i && c->n_addrs < ADDRS_CLIENT) {
        give(i, c); /* the old one has gone: most likely it is this one, on another session */
        return true;
    }
    if (!is_inner(c->s, src)) {
        say_refused(c, src, "which is no host of this side's tun.addr or tun.routes");
        return false;
    }
    if (!i && learn(c, src))
        return true;
    say_refused(c, src, "for which there is no room beside all that it has");
    return false;
}

/* What hosts say among themselves on a link has no meaning here. */
static bool is_link_local(const struct pq_ip *ip)
{
    const uint8_t *s = ip->src.ip, *d = ip->dst.ip;
    return ip->version == 6
               ? (s[0] == 0xfe && (s[1] & 0xc0) == 0x80) || d[0] == 0xff || pq_addr_is_any(&ip->src)
               : (pq_addr_v4(&ip->dst)[0] & 0xf0) == 0xe0;
}

static bool on_accept(struct pq_tun_link *l, const struct pq_ip *ip)
{
    struct client *c = PQ_OF(l, struct client, link);
    struct pq_front *f = l->front;
    if (is_link_local(ip) || !owns(c, &ip->src))
        return false;
    const struct pq_rules *rules = pq_front_rules(f, l->st);
    if (pq_rules_target(rules, NULL, &ip->dst, ip->has_ports))
        return true;
    char host[PQ_ADDR_STRLEN];
    pq_front_log_denied(f, rules, pq_stream_peer(l->st), pq_addr_ip_str(&ip->dst, host),
                        ip->dst.port);
    return false;
}

/* A packet of the device.  Where there is one client only, the device waits for it; with more, a
 * slow one loses packets instead of stopping the others. */
static void on_packet(void *ctx, struct pq_tun_packet *pkt)
{
    struct pq_tun_server *s = ctx;
    struct inner *i = find(s, &pkt->ip.dst);
    if (!i) {
        s->nobody++;
        return;
    }
    pq_tun_link_send(&i->client->link, pkt);
    if (s->n_clients == 1 && !pq_stream_room(i->client->link.st))
        pq_tun_pause(&s->tun, true);
}

static void on_room(struct pq_tun_link *l)
{
    pq_tun_pause(l->tun, false);
}

/* ---- life */

static void forget(struct inner *i)
{
    struct client *c = i->client;
    pq_list_remove(&i->node);
    pq_hash_remove(&c->s->addrs, &i->by_addr);
    c->n_addrs--;
    free(i);
}

void pq_tun_server_set_users(struct pq_tun_server *s, const struct pq_tun_user *nets, unsigned n)
{
    s->conf.user_nets = nets;
    s->conf.n_user_nets = n;
    for (struct pq_list *at = s->clients.next; at != &s->clients; at = at->next) {
        struct client *c = PQ_OF(at, struct client, node);
        for (struct pq_list *k = c->addrs.next, *next; k != &c->addrs; k = next) {
            struct inner *i = PQ_OF(k, struct inner, node);
            next = k->next;
            if (!may_have(c, &i->addr))
                forget(i);
        }
    }
}

static void client_close(struct client *c)
{
    struct pq_list *n;
    while ((n = pq_list_pop(&c->addrs)))
        forget(PQ_OF(n, struct inner, node));
    pq_list_remove(&c->node);
    c->s->n_clients--;
    pq_tun_pause(&c->s->tun, false);
    pq_tun_link_close(&c->link);
    free(c);
}

static void on_over(struct pq_tun_link *l)
{
    client_close(PQ_OF(l, struct client, link));
}

/* A session has one TUN stream: its client has left an older one, or opens them without end. */
static void close_older(struct pq_tun_server *s, const struct pq_stream *st)
{
    for (struct pq_list *n = s->clients.next, *next; n != &s->clients; n = next) {
        struct client *c = PQ_OF(n, struct client, node);
        next = n->next;
        if (pq_addr_eq(pq_stream_peer(c->link.st), pq_stream_peer(st)))
            client_close(c);
    }
}

void pq_tun_serve(struct pq_tun_server *s, struct pq_stream *st, struct pq_view first)
{
    close_older(s, st);
    struct client *c = calloc(1, sizeof *c);
    if (!c) {
        pq_stream_abort(st);
        return;
    }
    c->s = s;
    pq_list_init(&c->addrs);
    pq_list_push(&s->clients, &c->node);
    s->n_clients++;
    pq_tun_pause(&s->tun, false);
    c->link = (struct pq_tun_link){.front = s->front,
                                   .st = st,
                                   .tun = &s->tun,
                                   .accept = on_accept,
                                   .room = on_room,
                                   .over = on_over};
    pq_stream_own(st, &pq_tun_link_events, &c->link);
    pq_tun_link_begin(&c->link);
    pq_tun_link_feed(&c->link, first, true);
}

int pq_tun_server_open(struct pq_tun_server **out, struct pq_front *front,
                       const struct pq_tun_server_conf *conf)
{
    struct pq_tun_server *s = *out = calloc(1, sizeof *s);
    if (!s)
        return PQ_ENOMEM;
    s->conf = *conf;
    s->front = front;
    s->tun = (struct pq_tun){.front = front,
                             .fd = conf->fd,
                             .offload = conf->offload,
                             .packet = on_packet,
                             .turn_over = pq_tun_link_turn_over,
                             .ctx = s};
    pq_list_init(&s->clients);
    int e = pq_tun_start(&s->tun);
    if (e) {
        free(s);
        *out = NULL;
    }
    return e;
}

static void on_closed(uv_handle_t *h)
{
    struct pq_tun_server *s = h->data;
    pq_hash_fini(&s->addrs);
    free(s);
}

void pq_tun_server_close(struct pq_tun_server **sp)
{
    struct pq_tun_server *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    PQ_LOG(PQ_LOG_DEBUG, "TUN: %llu packets were for addresses that no client has",
           (unsigned long long)s->nobody);
    struct pq_list *n;
    while ((n = pq_list_pop(&s->clients)))
        client_close(PQ_OF(n, struct client, node));
    s->tun.poll.data = s; /* no more packets are read */
    pq_tun_stop(&s->tun, on_closed);
}
