/* SPDX-License-Identifier: MIT */
#include "os/linux/nft_judge.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16    /* the kernel's bound of jumps */
#define RULES_MAX 20000 /* that are gone through in all */

struct scope { /* the connections that are spoken of: of each port, TCP and UDP */
    uint8_t is[2][PQ_NFT_PORTS];
};

struct way {    /* how they got here */
    bool sure;  /* all of them, else some */
    bool named; /* by a rule about their port */
    unsigned depth;
    char asks[PQ_NFT_ASKS]; /* which of them, if not all */
};

struct verdict {
    bool accepts, drops, returns, leaves;
    const char *to;
};

static int run(struct pq_nft_judge *j, const char *chain, struct scope *s, struct way *w);

/* ---- which ports a rule is about */

struct fill {
    const struct pq_nft_seen *rule;
    struct scope *s;
    bool ranges, odd;
};

static void add_range(struct fill *f, unsigned from, unsigned to)
{
    for (unsigned p = from; p <= to; p++) {
        f->s->is[0][p] = f->rule->tcp;
        f->s->is[1][p] = f->rule->udp;
    }
}

/* Bit 0: it is there; bit 1: a range has ended before it. */
static void on_port(void *arg, const struct pq_nft_element *e)
{
    struct fill *f = arg;
    if (e->key.n != 2) {
        f->odd = true;
        return;
    }
    f->s->is[0][pq_be16(e->key.p)] |= e->end ? 2 : 1;
    f->ranges |= e->end;
}

/* The ports of the set, as the marks of on_port tell. */
static void take_marks(struct fill *f)
{
    bool in = false;
    for (unsigned p = 0; p < PQ_NFT_PORTS; p++) {
        const uint8_t mark = f->s->is[0][p];
        in = f->ranges ? (mark & 1) || (in && !(mark & 2)) : mark & 1;
        f->s->is[0][p] = in && f->rule->tcp;
        f->s->is[1][p] = in && f->rule->udp;
    }
}

/* Returns whether it is known. */
static bool ports_of(struct pq_nft_judge *j, const struct pq_nft_seen *rule, struct scope *s)
{
    struct fill f = {.rule = rule, .s = s};
    memset(s, 0, sizeof *s);
    if (*rule->set && !rule->states) {
        j->elements(j->ctx, rule->set, on_port, &f);
        if (!f.odd)
            take_marks(&f);
    }
    for (unsigned i = 0; i < rule->n_ports; i++)
        add_range(&f, rule->port[i].from, rule->port[i].to);
    const bool all = !rule->n_ports && (!*rule->set || rule->states);
    if (all || f.odd)
        add_range(&f, 0, PQ_NFT_PORTS - 1);
    for (unsigned p = 0; rule->except && !all && !f.odd && p < PQ_NFT_PORTS; p++) {
        s->is[0][p] = rule->tcp && !s->is[0][p];
        s->is[1][p] = rule->udp && !s->is[1][p];
    }
    return !f.odd;
}

/* ---- what becomes of them */

static void tell(char out[PQ_NFT_ASKS], const char *asks)
{
    if (!*out)
        snprintf(out, PQ_NFT_ASKS, "%s", asks);
}

static void decide(struct pq_nft_judge *j, const struct scope *s, const struct way *w, bool in)
{
    const uint8_t out = w->named ? PQ_NFT_OUT_BY_NAME : PQ_NFT_OUT;
    bool any = false;
    for (unsigned k = 0; k < 2; k++)
        for (unsigned p = 0; p < PQ_NFT_PORTS; p++) {
            uint8_t *at = &j->port[k][p];
            if (!s->is[k][p] || !(*at & PQ_NFT_OPEN))
                continue;
            any = true;
            if (w->sure)
                *at = (uint8_t)((*at & ~PQ_NFT_OPEN) | (in ? PQ_NFT_IN : out));
            else
                *at |= in ? PQ_NFT_SOME_IN : PQ_NFT_SOME_OUT;
        }
    if (any && !w->sure)
        tell(in ? j->some_in : j->some_out, w->asks);
}

static void leave(struct scope *from, const struct scope *s)
{
    for (unsigned k = 0; k < 2; k++)
        for (unsigned p = 0; p < PQ_NFT_PORTS; p++)
            from->is[k][p] = from->is[k][p] && !s->is[k][p];
}

/* For these of the connections in `all`; `sub` is used up. */
static int apply(struct pq_nft_judge *j, struct scope *all, struct scope *sub, struct way *here,
                 const struct way *w, const struct verdict *v)
{
    int e = 0;
    for (unsigned k = 0; k < 2; k++)
        for (unsigned p = 0; p < PQ_NFT_PORTS; p++)
            sub->is[k][p] = sub->is[k][p] && all->is[k][p];
    if (v->accepts || v->drops)
        decide(j, sub, w, v->accepts);
    if (!(*v->to || v->returns))
        return 0;
    if (*v->to) {
        struct scope *gone = v->leaves ? malloc(sizeof *gone) : NULL;
        struct way deeper = *w;
        deeper.depth++;
        if (v->leaves && !gone)
            return PQ_ENOMEM;
        if (gone)
            *gone = *sub;
        e = run(j, v->to, sub, &deeper);
        if (gone && w->sure)
            leave(all, gone);
        free(gone);
    } else if (w->sure) {
        leave(all, sub);
    }
    if ((v->leaves || v->returns) && !w->sure && here->sure) {
        here->sure = false; /* who is left here are some */
        snprintf(here->asks, sizeof here->asks, "but not %.80s", w->asks);
    }
    return e;
}

struct map { /* of verdicts, by port or state */
    struct pq_nft_judge *j;
    const struct pq_nft_seen *rule;
    struct scope *all, *sub;
    struct way *here;
    const struct way *w;
    int e;
};

static void on_entry(void *arg, const struct pq_nft_element *e)
{
    struct map *m = arg;
    struct fill f = {.rule = m->rule, .s = m->sub};
    const struct verdict v = {e->accepts, e->drops, e->returns, e->leaves, e->to};
    uint32_t state = 0;
    memset(m->sub, 0, sizeof *m->sub);
    if (m->rule->states && e->key.n == 4) {
        memcpy(&state, e->key.p, 4);
        if (!(state & PQ_NFT_STATE_NEW))
            return;
        add_range(&f, 0, PQ_NFT_PORTS - 1);
    } else if (!m->rule->states && e->key.n == 2 && !e->end) {
        add_range(&f, pq_be16(e->key.p), pq_be16(e->key.p));
    } else {
        return;
    }
    if (!m->e)
        m->e = apply(m->j, m->all, m->sub, m->here, m->w, &v);
}

/* A set of states without verdicts: whether NEW is in it. */
static void on_state(void *arg, const struct pq_nft_element *e)
{
    uint32_t state = 0;
    if (e->key.n == 4)
        memcpy(&state, e->key.p, 4);
    *(bool *)arg |= (state & PQ_NFT_STATE_NEW) != 0;
}

static bool may_match(struct pq_nft_judge *j, const struct pq_nft_seen *r)
{
    bool is_new = false;
    if (r->when == PQ_NFT_NEVER || !(r->tcp || r->udp))
        return false;
    if (!r->states || r->map || !*r->set)
        return true;
    j->elements(j->ctx, r->set, on_state, &is_new);
    return is_new != r->except;
}

static int take_rule(struct pq_nft_judge *j, const struct pq_nft_seen *r, struct scope *all,
                     struct scope *sub, struct way *here)
{
    struct way w = *here;
    const struct verdict v = {r->accepts, r->drops, r->returns, r->leaves, r->to};
    if (r->when == PQ_NFT_SOMETIMES && w.sure)
        snprintf(w.asks, sizeof w.asks, "%s", r->asks);
    w.sure = w.sure && r->when == PQ_NFT_ALWAYS;
    w.named = w.named || r->n_ports || (*r->set && !r->states);
    struct fill ranges = {.rule = r, .s = sub};
    if (r->map && !r->states) {
        memset(sub, 0, sizeof *sub);
        j->elements(j->ctx, r->set, on_port, &ranges);
    }
    if (ranges.ranges || ranges.odd) { /* their verdicts are not put together */
        const struct verdict some = {.accepts = true, .to = ""};
        w.sure = false;
        snprintf(w.asks, sizeof w.asks, "by a map that is not understood here");
        ports_of(j, r, sub);
        return apply(j, all, sub, here, &w, &some);
    }
    if (r->map) {
        struct map m = {.j = j, .rule = r, .all = all, .sub = sub, .here = here, .w = &w};
        j->elements(j->ctx, r->set, on_entry, &m);
        return m.e;
    }
    if (!ports_of(j, r, sub) && w.sure) {
        w.sure = false;
        snprintf(w.asks, sizeof w.asks, "by a set that is not understood here");
    }
    return apply(j, all, sub, here, &w, &v);
}

static int run(struct pq_nft_judge *j, const char *chain, struct scope *s, struct way *w)
{
    int e = 0;
    struct scope *sub = malloc(sizeof *sub);
    if (!sub)
        return PQ_ENOMEM;
    for (size_t i = 0; !e && i < j->n; i++) {
        const struct pq_nft_seen *r = &j->rule[i];
        if (strcmp(r->chain, chain) != 0)
            continue;
        if (!j->left || w->depth > DEPTH_MAX) {
            j->whole = false;
            break;
        }
        j->left--;
        if (may_match(j, r) && (r->accepts || r->drops || r->returns || *r->to || r->map))
            e = take_rule(j, r, s, sub, w);
    }
    free(sub);
    return e;
}

int pq_nft_judge(struct pq_nft_judge *j, const struct pq_nft_base *base)
{
    struct scope *s = malloc(sizeof *s);
    struct way w = {.sure = true};
    if (!s)
        return PQ_ENOMEM;
    memset(s, 1, sizeof *s);
    for (unsigned k = 0; k < 2; k++)
        memset(j->port[k], PQ_NFT_OPEN, PQ_NFT_PORTS);
    j->left = RULES_MAX;
    j->whole = true;
    *j->some_in = *j->some_out = 0;
    const int e = run(j, base->name, s, &w);
    memset(s, 1, sizeof *s);
    w = (struct way){.sure = true};
    if (!e)
        decide(j, s, &w, !base->drops);
    free(s);
    return e;
}
