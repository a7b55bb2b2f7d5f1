/* SPDX-License-Identifier: MIT */
/* tundirect.c - routes past a TUN device: "throw" in our table, so that the main table decides. */
#include "base/err.h"
#include "os/linux/tunroute.h"
#include "os/netinfo.h"

#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUTES_MAX 1024 /* into devices of all clients */

struct route { /* into a device */
    struct pq_net net;
    int ifindex;
};

struct table {
    struct route v[ROUTES_MAX];
    unsigned n;
    int own;
    bool fresh;  /* what is past our own device was left by another process */
    bool others; /* there are clients beside us */
    bool past;   /* there are routes past devices */
    bool more;   /* than fit */
    struct pq_rt_batch batch;
};

static bool net_of(const struct pq_rt_route *r, struct pq_net *out)
{
    static const uint8_t zero[4];
    *out = (struct pq_net){.bits = (uint8_t)(r->dst_len + (r->is4 ? 96 : 0))};
    if (r->is4)
        pq_addr_set4(&out->ip, zero, 0);
    if (r->has_dst)
        out->ip = r->dst;
    return r->has_dst || !r->dst_len;
}

static int on_route(const struct pq_nl_msg *m, void *arg)
{
    struct table *t = arg;
    struct pq_rt_route r;
    struct route *next = &t->v[t->n];
    if (!pq_rt_route(&r, m) || r.table != PQ_ROUTE_MARK)
        return 0;
    if (!r.is_unicast) {
        t->past = true;
        return 0;
    }
    t->more = t->more || t->n == ROUTES_MAX;
    if (t->more || !net_of(&r, &next->net))
        return 0;
    next->ifindex = r.ifindex;
    t->others = t->others || r.ifindex != t->own;
    t->n++;
    return 0;
}

/* Whether a is in b, and smaller. */
static bool is_inside(const struct pq_net *a, const struct pq_net *b)
{
    return a->bits > b->bits && pq_net_has(b, &a->ip);
}

static bool is_in(const struct pq_net *a, const struct pq_net *b)
{
    return a->bits >= b->bits && pq_net_has(b, &a->ip);
}

/* ---- what others have left, or have where our networks are */

/* Whether a route past the tunnel of another client is in the way: nobody's, since that one is
 * gone; or in a network that leads to us. */
static bool is_wrong(const struct table *t, const struct pq_rt_route *r)
{
    struct pq_net net;
    bool alive = false;
    const struct pq_net *most = NULL, *its = NULL; /* of ours, and of its owner's */
    if (!net_of(r, &net))
        return false;
    for (unsigned i = 0; i < t->n; i++) {
        const struct route *one = &t->v[i];
        const bool owner = pq_is_past(r->metric, one->ifindex);
        const struct pq_net **best = owner ? &its : one->ifindex == t->own ? &most : NULL;
        alive = alive || owner;
        if (best && is_in(&net, &one->net) && (!*best || one->net.bits > (*best)->bits))
            *best = &one->net;
    }
    return !alive || (most && (!its || most->bits > its->bits));
}

static int on_past(const struct pq_nl_msg *m, void *arg)
{
    struct table *t = arg;
    struct pq_rt_route r;
    if (pq_rt_route(&r, m) && r.table == PQ_ROUTE_MARK && !r.is_unicast &&
        r.protocol == PQ_ROUTE_PROTOCOL &&
        (pq_is_past(r.metric, t->own) ? t->fresh : is_wrong(t, &r)))
        pq_rt_batch_add(&t->batch, RTM_DELROUTE, 0, m->body.p, m->body.n);
    return 0;
}

static int remove_wrong(struct table *t)
{
    if (!t->past || !(t->fresh || t->others))
        return 0;
    pq_rt_batch_open(&t->batch);
    int e = pq_nl_dump(RTM_GETROUTE, sizeof(struct rtmsg), on_past, t);
    int sent = pq_rt_batch_close(&t->batch);
    return e ? e : sent;
}

/* ---- our own */

/* What leads to us: our networks, without those of others inside, but for ours inside those. */
static int find_own(const struct table *t, struct pq_spans *out)
{
    struct pq_spans own = {.v = NULL}, not = {.v = NULL};
    int e = 0;
    for (unsigned i = 0; !e && i < t->n; i++) {
        if (t->v[i].ifindex == t->own) {
            e = pq_spans_add_net(&own, &t->v[i].net);
            continue;
        }
        struct pq_spans its = {.v = NULL}, inner = {.v = NULL}, left = {.v = NULL};
        e = pq_spans_add_net(&its, &t->v[i].net);
        for (unsigned k = 0; !e && k < t->n; k++)
            if (t->v[k].ifindex == t->own && is_inside(&t->v[k].net, &t->v[i].net))
                e = pq_spans_add_net(&inner, &t->v[k].net);
        pq_spans_seal(&its);
        pq_spans_seal(&inner);
        e = e ? e : pq_spans_minus(&left, &its, &inner);
        e = e ? e : pq_spans_add_all(&not, &left);
        pq_spans_free(&its);
        pq_spans_free(&inner);
        pq_spans_free(&left);
    }
    pq_spans_seal(&own);
    pq_spans_seal(&not );
    e = e ? e : pq_spans_minus(out, &own, &not );
    pq_spans_free(&own);
    pq_spans_free(&not );
    return e;
}

static void put_route(struct table *t, const struct pq_net *net, bool add)
{
    const bool v4 = pq_addr_is4(&net->ip);
    const struct rtmsg h = {.rtm_family = v4 ? AF_INET : AF_INET6,
                            .rtm_dst_len = pq_tunroute_len(net),
                            .rtm_protocol = PQ_ROUTE_PROTOCOL,
                            .rtm_scope = RT_SCOPE_UNIVERSE,
                            .rtm_type = RTN_THROW};
    struct pq_nl_out *o = pq_rt_batch_add(&t->batch, add ? RTM_NEWROUTE : RTM_DELROUTE,
                                          add ? NLM_F_CREATE | NLM_F_REPLACE : 0, &h, sizeof h);
    if (h.rtm_dst_len)
        pq_nl_put_addr(o, RTA_DST, &net->ip);
    pq_nl_put_u32(o, RTA_TABLE, PQ_ROUTE_MARK);
    pq_nl_put_u32(o, RTA_PRIORITY, pq_metric_past(t->own));
}

static int put_routes(struct table *t, const struct pq_spans *s, bool add)
{
    pq_rt_batch_open(&t->batch);
    for (size_t i = 0; i < s->n && !t->batch.e; i++) {
        struct pq_ip_span rest = s->v[i];
        struct pq_net net;
        bool more = true;
        while (more) {
            more = pq_span_net(&rest, &net);
            put_route(t, &net, add);
        }
    }
    return pq_rt_batch_close(&t->batch);
}

/* Only what differs, unless others may have taken some away. */
static int change(struct pq_tundev *d, struct table *t, struct pq_spans *want)
{
    static const struct pq_spans none;
    struct pq_spans gone = {.v = NULL}, more = {.v = NULL};
    int e = pq_spans_new(&gone, &d->past, want);
    e = e ? e : pq_spans_new(&more, want, d->shared || t->others ? &none : &d->past);
    e = e ? e : put_routes(t, &gone, false);
    e = e ? e : put_routes(t, &more, true);
    pq_spans_free(&gone);
    pq_spans_free(&more);
    if (e) { /* all of it into the tunnel again */
        put_routes(t, want, false);
        put_routes(t, &d->past, false);
        pq_spans_free(want);
    }
    pq_spans_free(&d->past);
    d->past = *want;
    d->shared = t->others;
    d->past_made = true;
    *want = none;
    return e;
}

static void set_own(struct pq_tundev *d, struct pq_spans *own)
{
    const struct pq_spans was = d->own;
    pthread_mutex_lock(&d->lock);
    d->own = *own;
    pthread_mutex_unlock(&d->lock);
    *own = was;
}

int pq_tundev_past(struct pq_tundev *d, const struct pq_spans *direct)
{
    struct pq_spans own = {.v = NULL}, want = {.v = NULL};
    struct table *t = calloc(1, sizeof *t);
    if (!t)
        return PQ_ENOMEM;
    t->own = d->index;
    t->fresh = !d->past_made;
    if (d->table != PQ_ROUTE_MARK) {
        free(t);
        return 0;
    }
    const int lock = pq_tunroute_lock();
    int e = pq_nl_dump(RTM_GETROUTE, sizeof(struct rtmsg), on_route, t);
    if (!e && t->more)
        e = PQ_EINVAL;
    e = e ? e : remove_wrong(t);
    e = e ? e : find_own(t, &own);
    e = e ? e : pq_spans_and(&want, direct, &own);
    e = e ? e : change(d, t, &want);
    pq_tunroute_unlock(lock);
    if (!e)
        set_own(d, &own);
    pq_spans_free(&own);
    pq_spans_free(&want);
    free(t);
    return e;
}

/* ---- ports */

struct cut { /* what is left of a rule where only some addresses lead to us */
    struct pq_port_span v[PQ_TUN_PORTS_MAX];
    size_t n;
};

static int add_cut(struct cut *c, const struct pq_port_span *p, const struct pq_spans *own)
{
    struct pq_ip_span whole;
    pq_span_of(&whole, &p->net);
    for (size_t i = 0; i < own->n; i++) {
        struct pq_ip_span s = own->v[i];
        struct pq_port_span part = *p;
        bool more = pq_span_is4(&s) == pq_addr_is4(&p->net.ip);
        if (memcmp(s.from, whole.from, 16) < 0)
            memcpy(s.from, whole.from, 16);
        if (memcmp(s.to, whole.to, 16) > 0)
            memcpy(s.to, whole.to, 16);
        more = more && memcmp(s.from, s.to, 16) <= 0;
        while (more) {
            if (c->n == PQ_TUN_PORTS_MAX)
                return PQ_EINVAL;
            more = pq_span_net(&s, &part.net);
            c->v[c->n++] = part;
        }
    }
    return 0;
}

/* Those of all clients that are running. */
static void sweep_ports(void)
{
    struct table *t = calloc(1, sizeof *t);
    int *index = calloc(ROUTES_MAX, sizeof *index);
    if (t && index && pq_nl_dump(RTM_GETROUTE, sizeof(struct rtmsg), on_route, t) == 0 &&
        !t->more) {
        for (unsigned i = 0; i < t->n; i++)
            index[i] = t->v[i].ifindex;
        pq_tunrule_sweep_ports(index, t->n);
    }
    free(t);
    free(index);
}

int pq_tundev_ports(struct pq_tundev *d, const struct pq_port_span *v, size_t n)
{
    struct pq_spans own = {.v = NULL};
    struct cut *c = calloc(1, sizeof *c);
    int e = c ? 0 : PQ_ENOMEM;
    if (d->table != PQ_ROUTE_MARK) {
        free(c);
        return 0;
    }
    pthread_mutex_lock(&d->lock);
    e = e ? e : pq_spans_join6(&own, &d->own);
    pthread_mutex_unlock(&d->lock);
    for (size_t i = 0; !e && i < n; i++)
        e = add_cut(c, &v[i], &own);
    const int lock = pq_tunroute_lock();
    sweep_ports();
    if (e)
        pq_tunrule_ports(d, NULL, 0);
    else
        e = pq_tunrule_ports(d, c->v, c->n);
    pq_tunroute_unlock(lock);
    pq_spans_free(&own);
    free(c);
    return e;
}

/* ---- single addresses */

static bool leads_here(struct pq_tundev *d, const struct pq_addr *ip)
{
    pthread_mutex_lock(&d->lock);
    const bool here = pq_spans_has(&d->own, ip);
    pthread_mutex_unlock(&d->lock);
    return here;
}

static int put_one(const struct pq_tundev *d, const struct pq_addr *ip, enum pq_tun_one to,
                   bool add)
{
    uint8_t buf[256];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    const bool v4 = pq_addr_is4(ip), into = to == PQ_TUN_INTO;
    const struct rtmsg h = {.rtm_family = v4 ? AF_INET : AF_INET6,
                            .rtm_dst_len = v4 ? 32 : 128,
                            .rtm_protocol = PQ_ROUTE_PROTOCOL,
                            .rtm_scope = v4 && into ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
                            .rtm_type = into ? RTN_UNICAST : RTN_THROW};
    pq_nl_begin(&o, add ? RTM_NEWROUTE : RTM_DELROUTE,
                NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0), &h, sizeof h);
    pq_nl_put_addr(&o, RTA_DST, ip);
    pq_nl_put_u32(&o, RTA_TABLE, into ? PQ_TABLE_ONES : PQ_ROUTE_MARK);
    if (into)
        pq_nl_put_u32(&o, RTA_OIF, (uint32_t)d->index);
    pq_nl_put_u32(&o, RTA_PRIORITY, pq_metric_one(d->index));
    return pq_nl_query(&o, NULL, NULL);
}

int pq_tundev_one(struct pq_tundev *d, const struct pq_addr *ip, enum pq_tun_one was,
                  enum pq_tun_one to)
{
    if (was != PQ_TUN_AS_NETWORK && was != to)
        put_one(d, ip, was, false);
    if (to == PQ_TUN_AS_NETWORK || !leads_here(d, ip))
        return 0;
    return put_one(d, ip, to, true);
}
