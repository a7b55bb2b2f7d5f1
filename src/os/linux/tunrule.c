/* SPDX-License-Identifier: MIT */
/* tunrule.c - policy rules: what looks into our tables, and what does not. */
#include "base/err.h"
#include "os/linux/tunroute.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

enum { PREF_KEEP = 28760, PREF_MAIN, PREF_STAY, PREF_TUN = 29770, PREF_END, REQUEST_MAX = 512 };

struct rule {
    uint32_t pref;
    uint8_t action;             /* FR_ACT_*; GOTO leads to PREF_END */
    const struct pq_addr *from; /* or NULL */
    uint32_t table;             /* main: all but its default route; ours: without the mark */
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
    if (r->table == PQ_ROUTE_MARK)
        pq_nl_put_u32(o, FRA_FWMARK, PQ_ROUTE_MARK);
}

static struct fib_rule_hdr head_of(bool v4, const struct rule *r)
{
    return (struct fib_rule_hdr){.family = v4 ? AF_INET : AF_INET6,
                                 .action = r->action,
                                 .src_len = !r->from ? 0
                                            : v4     ? 32
                                                     : 128,
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

/* Removes all rules of these priorities, also those that a killed program left.  A list that
 * changes while it is read may come with gaps. */
static void remove_rules(uint32_t first, uint32_t last)
{
    struct removal *r = calloc(1, sizeof *r);
    int e = 0;
    if (!r)
        return;
    r->first = first;
    r->last = last;
    do {
        pq_rt_batch_open(&r->batch);
        e = pq_nl_dump(RTM_GETRULE, sizeof(struct fib_rule_hdr), on_rule, r);
        pq_rt_batch_close(&r->batch);
    } while (r->batch.done && (!e || e == -EINTR));
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

void pq_tunrule_remove_own(const struct pq_tundev *d)
{
    for (int v4 = 0; v4 < 2; v4++) {
        const struct rule r = stay(d, v4);
        if (v4 ? d->rules4 : d->rules6)
            remove_rule(v4, &r);
    }
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
        stay(d, v4),
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
