/* SPDX-License-Identifier: MIT */
/* tunrule.c - policy rules: what looks into our tables, and what does not. */
#include "base/err.h"
#include "os/linux/tunroute.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

enum {
    PREF_KEEP = 28760,
    PREF_MAIN,
    PREF_MARK,
    PREF_STAY,
    PREF_ONES,
    PREF_PORTS = 28770, /* two for each client, by the number of its device */
    PORTS_CLIENTS = 500,
    PREF_TUN = 29770,
    PREF_END,
    REQUEST_MAX = 512
};

struct rule {
    uint32_t pref;
    uint8_t action;                   /* FR_ACT_*; GOTO leads to PREF_END */
    const struct pq_addr *from;       /* or NULL */
    uint32_t table;                   /* main: all but its default route; ours: without the mark */
    bool marked;                      /* what bears the mark alone */
    const struct pq_port_span *ports; /* or NULL */
    uint8_t proto;
};

static void put_rule(struct pq_nl_out *o, const struct rule *r)
{
    pq_nl_put_u32(o, FRA_PRIORITY, r->pref);
    if (r->action == FR_ACT_GOTO)
        pq_nl_put_u32(o, FRA_GOTO, PREF_END);
    if (r->from)
        pq_nl_put_addr(o, FRA_SRC, r->from);
    if (r->table)
        pq_nl_put_u32(o, FRA_TABLE, r->table);
    if (r->table == RT_TABLE_MAIN)
        pq_nl_put_u32(o, FRA_SUPPRESS_PREFIXLEN, 0);
    if (r->table == PQ_ROUTE_MARK || r->marked)
        pq_nl_put_u32(o, FRA_FWMARK, PQ_ROUTE_MARK);
    if (!r->ports)
        return;
    const struct pq_addr to = pq_tunroute_addr(&r->ports->net);
    const struct fib_rule_port_range range = {r->ports->ports.from, r->ports->ports.to};
    if (pq_tunroute_len(&r->ports->net))
        pq_nl_put_addr(o, FRA_DST, &to);
    pq_nl_put_u8(o, FRA_IP_PROTO, r->proto);
    pq_nl_put(o, FRA_DPORT_RANGE, &range, sizeof range);
}

static struct fib_rule_hdr head_of(bool v4, const struct rule *r)
{
    return (struct fib_rule_hdr){.family = v4 ? AF_INET : AF_INET6,
                                 .action = r->action,
                                 .src_len = !r->from ? 0
                                            : v4     ? 32
                                                     : 128,
                                 .dst_len = r->ports ? pq_tunroute_len(&r->ports->net) : 0,
                                 /* for what does not bear the mark */
                                 .flags = r->table == PQ_ROUTE_MARK ? FIB_RULE_INVERT : 0};
}

/* Returns 0, also if it is there already, or -errno; *added then stays as it is. */
static int add_rule(bool v4, const struct rule *r, bool *added)
{
    uint8_t buf[REQUEST_MAX];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    const struct fib_rule_hdr h = head_of(v4, r);
    pq_nl_begin(&o, RTM_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &h, sizeof h);
    put_rule(&o, r);
    const int e = pq_nl_query(&o, NULL, NULL);
    if (added)
        *added = *added || !e;
    return e == -EEXIST ? 0 : e; /* another client's */
}

static void remove_rule(bool v4, const struct rule *r)
{
    uint8_t buf[REQUEST_MAX];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    const struct fib_rule_hdr h = head_of(v4, r);
    pq_nl_begin(&o, RTM_DELRULE, NLM_F_ACK, &h, sizeof h);
    put_rule(&o, r);
    pq_nl_query(&o, NULL, NULL);
}

/* ---- many */

struct removal {
    uint32_t first, last; /* priorities */
    struct pq_rt_batch batch;
};

static int on_rule(const struct pq_nl_msg *m, void *arg)
{
    struct removal *r = arg;
    struct fib_rule_hdr h;
    struct pq_nl_attrs a;
    if (m->type != RTM_NEWRULE || !pq_nl_head(m, &h, sizeof h, &a) ||
        (h.family != AF_INET && h.family != AF_INET6))
        return 0;
    const uint32_t pref = pq_nl_u32(a.v[FRA_PRIORITY]);
    if (pref < r->first || pref > r->last)
        return 0;
    const struct fib_rule_hdr any = {.family = h.family};
    struct pq_nl_out *o = pq_rt_batch_add(&r->batch, RTM_DELRULE, 0, &any, sizeof any);
    pq_nl_put_u32(o, FRA_PRIORITY, pref);
    return 0;
}

/* Removes all rules of these priorities, also those that a killed program left. */
static void remove_rules(uint32_t first, uint32_t last)
{
    struct removal *r = calloc(1, sizeof *r);
    if (!r)
        return;
    r->first = first;
    r->last = last;
    pq_rt_batch_sweep(&r->batch, RTM_GETRULE, sizeof(struct fib_rule_hdr), on_rule, r);
    free(r);
}

void pq_tunrule_remove_all(void)
{
    remove_rules(PREF_KEEP, PREF_END);
}

static struct rule stay(const struct pq_tundev *d, bool v4)
{
    return (struct rule){.pref = PREF_STAY,
                         .action = FR_ACT_TO_TBL,
                         .table = PQ_TABLE_INTO,
                         .from = v4 ? &d->addr4 : &d->addr6};
}

static uint32_t ports_pref(int ifindex)
{
    return PREF_PORTS + 2 * ((uint32_t)ifindex % PORTS_CLIENTS);
}

void pq_tunrule_remove_own(const struct pq_tundev *d)
{
    const uint32_t pref = ports_pref(d->index);
    for (int v4 = 0; v4 < 2; v4++) {
        const struct rule r = stay(d, v4);
        if (v4 ? d->rules4 : d->rules6)
            remove_rule(v4, &r);
    }
    if (d->n_ports)
        remove_rules(pref, pref + 1);
}

/* ---- those of a device */

static int keep_addrs(struct pq_tundev *d, bool v4, const struct pq_tundev_policy *p)
{
    int e = 0;
    for (unsigned i = 0; !e && i < p->n_keep; i++) {
        bool added = false;
        if (pq_addr_is4(&p->keep[i]) != v4)
            continue;
        e = add_rule(v4,
                     &(struct rule){.pref = PREF_KEEP, .action = FR_ACT_GOTO, .from = &p->keep[i]},
                     &added);
        d->n_kept += added;
    }
    return e;
}

static int add_rules(struct pq_tundev *d, bool v4, const struct pq_tundev_policy *p)
{
    const struct rule fixed[] = {
        {.pref = PREF_END, .action = FR_ACT_NOP},
        {.pref = PREF_MAIN, .action = FR_ACT_TO_TBL, .table = RT_TABLE_MAIN},
        {.pref = PREF_MARK, .action = FR_ACT_GOTO, .marked = true},
        stay(d, v4),
        {.pref = PREF_ONES, .action = FR_ACT_TO_TBL, .table = PQ_TABLE_ONES},
        {.pref = PREF_TUN, .action = FR_ACT_TO_TBL, .table = PQ_ROUTE_MARK},
    };
    int e = keep_addrs(d, v4, p);
    for (size_t i = 0; !e && i < sizeof fixed / sizeof fixed[0]; i++)
        e = add_rule(v4, &fixed[i], NULL);
    return e;
}

int pq_tunrule_add(struct pq_tundev *d, const struct pq_tundev_policy *policy)
{
    const int e = d->rules4 ? add_rules(d, true, policy) : 0;
    return e || !d->rules6 ? e : add_rules(d, false, policy);
}

int pq_tunrule_keep(struct pq_tundev *d, const struct pq_tundev_policy *policy)
{
    if (d->n_kept >= 2 * PQ_TUN_KEEP) { /* most of them are of old networks */
        remove_rules(PREF_KEEP, PREF_KEEP);
        d->n_kept = 0;
    }
    const int e = d->rules4 ? keep_addrs(d, true, policy) : 0;
    return e || !d->rules6 ? e : keep_addrs(d, false, policy);
}

/* ---- about ports */

struct found {
    bool client[PORTS_CLIENTS];
    uint32_t pref; /* of these ... */
    size_t n;      /* ... so many have ports */
};

static int on_port_rule(const struct pq_nl_msg *m, void *arg)
{
    struct found *f = arg;
    struct fib_rule_hdr h;
    struct pq_nl_attrs a;
    if (m->type != RTM_NEWRULE || !pq_nl_head(m, &h, sizeof h, &a))
        return 0;
    const uint32_t pref = pq_nl_u32(a.v[FRA_PRIORITY]);
    if (pref < PREF_PORTS || pref >= PREF_PORTS + 2 * PORTS_CLIENTS)
        return 0;
    f->client[(pref - PREF_PORTS) / 2] = true;
    f->n += pref == f->pref && a.v[FRA_DPORT_RANGE].p;
    return 0;
}

static void list_ports(struct found *f)
{
    pq_nl_dump(RTM_GETRULE, sizeof(struct fib_rule_hdr), on_port_rule, f);
}

void pq_tunrule_sweep_ports(const int *ifindex, size_t n)
{
    struct found f = {.n = 0};
    list_ports(&f);
    for (size_t i = 0; i < n; i++)
        f.client[(uint32_t)ifindex[i] % PORTS_CLIENTS] = false;
    for (uint32_t i = 0; i < PORTS_CLIENTS; i++)
        if (f.client[i])
            remove_rules(PREF_PORTS + 2 * i, PREF_PORTS + 2 * i + 1);
}

static size_t put_port_rules(struct pq_tundev *d, struct pq_rt_batch *b, uint32_t pref,
                             const struct pq_port_span *v, size_t n)
{
    static const uint8_t protocols[] = {6, 17}; /* TCP, UDP */
    size_t put = 0;
    for (size_t i = 0; i < 2 * n; i++) {
        const struct pq_port_span *s = &v[i / 2];
        const bool v4 = pq_addr_is4(&s->net.ip);
        const struct rule r = {.pref = pref,
                               .action = s->direct ? FR_ACT_GOTO : FR_ACT_TO_TBL,
                               .table = s->direct ? 0 : PQ_TABLE_INTO,
                               .ports = s,
                               .proto = protocols[i % 2]};
        const struct fib_rule_hdr h = head_of(v4, &r);
        if (!(v4 ? d->rules4 : d->rules6))
            continue;
        put_rule(pq_rt_batch_add(b, RTM_NEWRULE, NLM_F_CREATE, &h, sizeof h), &r);
        put++;
    }
    return put;
}

/* The new ones are there before the old ones go. */
int pq_tunrule_ports(struct pq_tundev *d, const struct pq_port_span *v, size_t n)
{
    const uint32_t first = ports_pref(d->index), now = first + !d->ports_at;
    struct pq_rt_batch *b = n ? malloc(sizeof *b) : NULL;
    struct found f = {.pref = now};
    int e = n && !b ? PQ_ENOMEM : 0;
    size_t put = 0;
    if (b) {
        pq_rt_batch_open(b);
        put = put_port_rules(d, b, now, v, n);
        e = pq_rt_batch_close(b);
        free(b);
        list_ports(&f);
    }
    if (!e && f.n != put)
        e = PQ_ENOTSUP; /* older kernels pass over what they do not know: a rule for all ports */
    if (e)
        remove_rules(first, first + 1);
    else if (d->n_ports)
        remove_rules(first + d->ports_at, first + d->ports_at);
    d->n_ports = e ? 0 : put;
    d->ports_at = !d->ports_at;
    return e;
}
