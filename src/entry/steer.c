/* SPDX-License-Identifier: MIT */
#include "entry/steer.h"

#include "base/hash.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

#define MOST (86400 * PQ_SEC)

enum { TUNNEL, DIRECT, KINDS };

struct wish {   /* of the name that was answered last with this address */
    char *name; /* NULL: there is none */
    pq_ns until;
};

struct learned {
    struct pq_hash_node by_ip;
    struct pq_list node; /* in s->all, the one told longest ago first */
    struct pq_addr ip;
    struct wish wish[KINDS];
    enum pq_steered to;
    unsigned nth; /* of the rule about its name */
};

struct pq_steer {
    struct pq_hash by_ip;
    struct pq_list all;
    size_t n, n_direct;
    uint64_t seed;
    pq_steer_fn change;
    void *ctx;
};

struct pq_steer *pq_steer_new(uint64_t seed, pq_steer_fn change, void *ctx)
{
    struct pq_steer *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->seed = seed;
    s->change = change;
    s->ctx = ctx;
    pq_list_init(&s->all);
    return s;
}

static void go(struct pq_steer *s, struct learned *l, enum pq_steered to)
{
    if (to == l->to || s->change(s->ctx, &l->ip, l->to, to))
        return;
    s->n_direct -= l->to == PQ_STEERED_DIRECT;
    s->n_direct += to == PQ_STEERED_DIRECT;
    l->to = to;
}

static void end_wish(struct wish *w)
{
    free(w->name);
    w->name = NULL;
}

static void drop(struct pq_steer *s, struct learned *l)
{
    go(s, l, PQ_STEERED_NOT);
    s->n_direct -= l->to == PQ_STEERED_DIRECT;
    for (int i = 0; i < KINDS; i++)
        end_wish(&l->wish[i]);
    pq_hash_remove(&s->by_ip, &l->by_ip);
    pq_list_remove(&l->node);
    s->n--;
    free(l);
}

void pq_steer_free(struct pq_steer **sp)
{
    struct pq_steer *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    while (s->n)
        drop(s, PQ_OF(s->all.next, struct learned, node));
    pq_hash_fini(&s->by_ip);
    free(s);
}

static struct learned *find(const struct pq_steer *s, const struct pq_addr *ip, uint64_t hash)
{
    struct pq_hash_node *n = pq_hash_find(&s->by_ip, hash);
    for (; n; n = pq_hash_next(n))
        if (pq_addr_eq_ip(&PQ_OF(n, struct learned, by_ip)->ip, ip))
            return PQ_OF(n, struct learned, by_ip);
    return NULL;
}

static uint64_t hash_of(const struct pq_steer *s, const struct pq_addr *ip)
{
    return pq_hash_bytes(ip->ip, sizeof ip->ip, s->seed);
}

/* ---- where it goes */

static void decide(struct pq_steer *s, struct learned *l, const struct pq_split *split, pq_ns now)
{
    unsigned of_name, of_net;
    for (int i = 0; i < KINDS; i++)
        if (l->wish[i].name && now >= l->wish[i].until)
            end_wish(&l->wish[i]);
    const char *name = l->wish[TUNNEL].name ? l->wish[TUNNEL].name : l->wish[DIRECT].name;
    if (!name) {
        drop(s, l);
        return;
    }
    const enum pq_way way = pq_split_name(split, name, &of_name),
                      net = pq_split_addr(split, &l->ip, false, &of_net);
    l->nth = of_name;
    const bool at_all_ports =
        way == PQ_WAY_TUNNEL && of_name < pq_split_rules(split) && pq_split_has_ports(split);
    if (of_net <= of_name || (way == net && !at_all_ports))
        go(s, l, PQ_STEERED_NOT);
    else
        go(s, l, way == PQ_WAY_DIRECT ? PQ_STEERED_DIRECT : PQ_STEERED_TUNNEL);
}

static struct learned *add(struct pq_steer *s, const struct pq_addr *ip, uint64_t hash)
{
    struct learned *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->ip = *ip;
    l->ip.port = 0;
    if (pq_hash_add(&s->by_ip, &l->by_ip, hash)) {
        free(l);
        return NULL;
    }
    pq_list_push(&s->all, &l->node);
    s->n++;
    return l;
}

void pq_steer_learn(struct pq_steer *s, const struct pq_split *split, const char *name,
                    enum pq_way way, const struct pq_addr *ip, uint32_t ttl, pq_ns now)
{
    const uint64_t hash = hash_of(s, ip);
    struct learned *l = find(s, ip, hash);
    if (!l && s->n == PQ_STEER_MAX)
        drop(s, PQ_OF(s->all.next, struct learned, node));
    l = l ? l : add(s, ip, hash);
    if (!l)
        return;
    struct wish *w = &l->wish[way == PQ_WAY_DIRECT ? DIRECT : TUNNEL];
    if (!w->name || strcmp(w->name, name) != 0) {
        char *copy = strdup(name);
        if (copy) {
            free(w->name);
            w->name = copy;
        }
    }
    pq_ns hold = ttl * PQ_SEC;
    hold = hold < PQ_STEER_LEAST ? PQ_STEER_LEAST : hold > MOST ? MOST : hold;
    w->until = now + hold > w->until ? now + hold : w->until;
    pq_list_remove(&l->node);
    pq_list_push(&s->all, &l->node);
    decide(s, l, split, now);
}

void pq_steer_expire(struct pq_steer *s, const struct pq_split *split, pq_ns now)
{
    struct pq_list *next;
    for (struct pq_list *n = s->all.next; n != &s->all; n = next) {
        struct learned *l = PQ_OF(n, struct learned, node);
        bool over = false;
        next = n->next;
        for (int i = 0; i < KINDS; i++)
            over = over || (l->wish[i].name && now >= l->wish[i].until);
        if (over)
            decide(s, l, split, now);
    }
}

/* By the rules that hold now, each name may be of the other kind; of two of one kind the one that
 * ends later stays. */
static void sort_wishes(struct learned *l, const struct pq_split *split)
{
    struct wish was[KINDS];
    memcpy(was, l->wish, sizeof was);
    memset(l->wish, 0, sizeof l->wish);
    for (int i = 0; i < KINDS; i++) {
        if (!was[i].name)
            continue;
        const enum pq_way way = pq_split_name(split, was[i].name, NULL);
        struct wish *w = &l->wish[way == PQ_WAY_DIRECT ? DIRECT : TUNNEL];
        if (way == PQ_WAY_BLOCK || (w->name && w->until >= was[i].until)) {
            end_wish(&was[i]);
            continue;
        }
        end_wish(w);
        *w = was[i];
    }
}

void pq_steer_renew(struct pq_steer *s, const struct pq_split *split, pq_ns now)
{
    struct pq_list *next;
    for (struct pq_list *n = s->all.next; n != &s->all; n = next) {
        struct learned *l = PQ_OF(n, struct learned, node);
        next = n->next;
        sort_wishes(l, split);
        decide(s, l, split, now);
    }
}

enum pq_steered pq_steer_find(const struct pq_steer *s, const struct pq_addr *ip, unsigned *nth)
{
    const struct learned *l = s ? find(s, ip, hash_of(s, ip)) : NULL;
    if (l && nth)
        *nth = l->nth;
    return l ? l->to : PQ_STEERED_NOT;
}

void pq_steer_count(const struct pq_steer *s, size_t *all, size_t *direct)
{
    *all = s ? s->n : 0;
    *direct = s ? s->n_direct : 0;
}
