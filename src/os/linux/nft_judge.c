/* SPDX-License-Identifier: MIT */
#include "os/linux/nft_judge.h"

#include "base/err.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16        /* the kernel's bound of jumps */
#define STEPS_MAX 40000     /* rules and elements that are gone through in all, ... */
#define WORK_MAX  400000000 /* ... and of ports in them */
#define ALL_PORTS 65536
#define A_SET     "a set"
#define A_MAP     "a map"

/* Of the connections to a port that no rule before has decided: none is here, some, or all. */
enum { NONE, SOME, ALL };

struct part {
    uint8_t is, why; /* SOME: which of them */
    bool whole;      /* in a part of what is here: it has all of it */
};

struct way {    /* how they got here */
    bool named; /* by a rule about their port */
    unsigned depth;
};

struct place {                        /* a chain that is gone through; parts of each port: */
    struct part *here, *sub, *back;   /* in it, that a rule is about, that return from it */
    struct part *entry, *rest, *deep; /* that came, that a map has nothing for, that jump */
    struct way way;
};

struct set { /* as it is looked in */
    struct pq_nft_element *v;
    size_t n, other; /* other: the element for what is in no other; n: there is none */
    bool odd;        /* not understood */
    int32_t *at;     /* of ports: which element has it, plus one; else NULL */
};

static int run(struct pq_nft_judge *j, const char *chain, struct part *here, const struct way *w);

/* ---- reasons */

static uint8_t why_of(struct pq_nft_judge *j, const char *front, const char *text, bool strange)
{
    struct pq_nft_why w = {.strange = strange};
    snprintf(w.text, sizeof w.text, "%s%.80s", front, text);
    for (unsigned i = 1; i < j->n_whys; i++)
        if (j->why[i].strange == strange && strcmp(j->why[i].text, w.text) == 0)
            return (uint8_t)i;
    if (j->n_whys == PQ_NFT_WHYS)
        return 0;
    j->why[j->n_whys] = w;
    return (uint8_t)j->n_whys++;
}

/* Leaves of a part what is so always, some of it, or nothing. */
static void narrow(const struct pq_nft_judge *j, struct part *p, enum pq_nft_when when, uint8_t why)
{
    if (when == PQ_NFT_ALWAYS || p->is == NONE)
        return;
    if (when == PQ_NFT_NEVER) {
        p->is = NONE;
        return;
    }
    if (p->is == ALL || (j->why[why].strange && !j->why[p->why].strange))
        p->why = why;
    p->is = SOME;
    p->whole = false;
}

static bool is_any(const struct pq_nft_judge *j, const struct part *v)
{
    for (size_t p = 0; p < j->n_ports; p++)
        if (v[p].is)
            return true;
    return false;
}

/* ---- sets */

/* Whether more than one thing may be so of a port's connections. */
static bool is_loose(enum pq_nft_what what)
{
    return what != PQ_NFT_PORT && what != PQ_NFT_PROTOCOL && what != PQ_NFT_BOTH &&
           what != PQ_NFT_KNOWN;
}

static bool is_odd(const struct pq_nft_look *l, const struct pq_nft_element *e)
{
    const size_t len = l->what == PQ_NFT_PORT                               ? 2
                       : l->what == PQ_NFT_PROTOCOL || l->what == PQ_NFT_IP ? 1
                       : l->what == PQ_NFT_DEVICE                           ? 16
                       : l->what == PQ_NFT_BOTH                             ? 8
                       : l->what == PQ_NFT_INDEX                            ? 4
                       : l->what == PQ_NFT_KNOWN && e->key.n == 1           ? 1
                       : l->what == PQ_NFT_KNOWN                            ? 4
                                                                            : 0;
    return e->odd || (!e->rest && (!len || e->key.n != len)) || (e->end && l->what != PQ_NFT_PORT);
}

/* Of each port the element that it is in, a range being from an element to an end. */
static bool index_ports(struct set *s)
{
    bool ranges = false;
    int32_t in = 0;
    s->at = calloc(ALL_PORTS, sizeof *s->at);
    if (!s->at)
        return false;
    for (size_t i = 0; i < s->n; i++) {
        if (s->v[i].rest)
            continue;
        int32_t *at = &s->at[pq_be16(s->v[i].key.p)];
        ranges |= s->v[i].end;
        if (!s->v[i].end)
            *at = (int32_t)i + 1;
        else if (!*at)
            *at = -1;
    }
    for (unsigned p = 0; ranges && p < ALL_PORTS; p++) {
        in = s->at[p] ? s->at[p] : in;
        s->at[p] = in > 0 ? in : 0;
    }
    return true;
}

/* Returns 0 or PQ_ENOMEM; *s is to be given back with close_set in any case. */
static int open_set(struct pq_nft_judge *j, const struct pq_nft_look *l, struct set *s)
{
    struct pq_view all = {NULL, 0};
    struct pq_nft_element e;
    *s = (struct set){.odd = l->what == PQ_NFT_NOTHING};
    if (!j->elements(j->ctx, l->set, &all)) {
        j->whole = false;
        s->odd = true;
        return 0;
    }
    size_t n = 0;
    for (struct pq_view rest = all; pq_nft_read_element(&rest, &e);)
        n++;
    s->v = calloc(n + 1, sizeof *s->v);
    if (!s->v)
        return PQ_ENOMEM;
    s->other = n;
    while (s->n < n && pq_nft_read_element(&all, &s->v[s->n])) {
        s->odd |= is_odd(l, &s->v[s->n]);
        s->other = s->v[s->n].rest ? s->n : s->other;
        s->n++;
    }
    return l->what != PQ_NFT_PORT || s->odd || index_ports(s) ? 0 : PQ_ENOMEM;
}

static void close_set(struct set *s)
{
    free(s->v);
    free(s->at);
}

/* Whether the key is that of the port's connections. */
static enum pq_nft_when fits(const struct pq_nft_look *l, const struct set *s, size_t nth,
                             const struct pq_nft_port *p)
{
    const struct pq_nft_element *e = &s->v[nth];
    uint32_t number = 0;
    if (s->odd)
        return PQ_NFT_SOMETIMES;
    if (e->rest || e->end)
        return PQ_NFT_NEVER;
    if (e->key.n == 4)
        memcpy(&number, e->key.p, 4);
    else if (e->key.n == 1)
        number = e->key.p[0];
    bool is;
    switch (l->what) {
    case PQ_NFT_PORT:
        is = s->at[p->port] == (int32_t)nth + 1;
        break;
    case PQ_NFT_PROTOCOL:
        is = number == (p->udp ? IPPROTO_UDP : IPPROTO_TCP);
        break;
    case PQ_NFT_BOTH:
        is =
            e->key.p[0] == (p->udp ? IPPROTO_UDP : IPPROTO_TCP) && pq_be16(e->key.p + 4) == p->port;
        break;
    case PQ_NFT_KNOWN:
        is = number == l->known;
        break;
    case PQ_NFT_IP: /* most are of IPv4 */
        return number == 2 ? PQ_NFT_ALWAYS : PQ_NFT_SOMETIMES;
    case PQ_NFT_INDEX:
        return number == 1 ? PQ_NFT_NEVER : PQ_NFT_SOMETIMES; /* that of lo */
    default:
        return memcmp(e->key.p, "lo", 3) == 0 ? PQ_NFT_NEVER : PQ_NFT_SOMETIMES;
    }
    return is ? PQ_NFT_ALWAYS : PQ_NFT_NEVER;
}

/* Which connections those are that a set or an element of it may be about. */
static uint8_t why_of_set(struct pq_nft_judge *j, const struct pq_nft_look *l, const struct set *s,
                          const struct pq_nft_element *e)
{
    char name[16] = "some devices";
    const char *front = l->turned ? "not " : "";
    if (l->what == PQ_NFT_SOURCE || l->what == PQ_NFT_DEST)
        return why_of(j, front,
                      l->what == PQ_NFT_SOURCE ? "from some addresses" : "to some addresses",
                      false);
    if (l->what == PQ_NFT_SPORT)
        return why_of(j, front, "from some ports", false);
    if (s->odd)
        return why_of(j, "", e ? A_MAP : A_SET, true);
    if (!is_loose(l->what))
        return 0;
    if (e && l->what == PQ_NFT_DEVICE)
        pq_nl_str(name, sizeof name, e->key);
    if (l->what == PQ_NFT_IP)
        return why_of(j, "over IPv6", "", false);
    return why_of(j, l->turned ? "not through " : "through ",
                  l->what == PQ_NFT_DEVICE ? name : "some devices", false);
}

/* Whether a port's connections are in the set. */
static enum pq_nft_when is_in(const struct pq_nft_look *l, const struct set *s,
                              const struct pq_nft_port *p)
{
    enum pq_nft_when is = PQ_NFT_NEVER;
    if (s->odd)
        return s->n || !s->v ? PQ_NFT_SOMETIMES : PQ_NFT_NEVER;
    if (s->other < s->n || (s->at && s->at[p->port]))
        return PQ_NFT_ALWAYS;
    for (size_t i = 0; !s->at && i < s->n && is != PQ_NFT_ALWAYS; i++) {
        const enum pq_nft_when one = fits(l, s, i, p);
        is = one < is ? one : is;
    }
    return is;
}

/* It does not matter which addresses there are, but whether any are. */
static bool is_empty(struct pq_nft_judge *j, const struct pq_nft_look *l)
{
    struct pq_view all = {NULL, 0};
    struct pq_nft_element e;
    if (!j->elements(j->ctx, l->set, &all))
        return false;
    while (pq_nft_read_element(&all, &e))
        if (!e.end)
            return false;
    return true;
}

/* Leaves in sub what is in the set. */
static int look_in(struct pq_nft_judge *j, const struct pq_nft_look *l, struct part *sub)
{
    const bool addresses =
        l->what == PQ_NFT_SOURCE || l->what == PQ_NFT_DEST || l->what == PQ_NFT_SPORT;
    struct set s = {.odd = !addresses || !is_empty(j, l)};
    const int e = addresses ? 0 : open_set(j, l, &s);
    const uint8_t why = why_of_set(j, l, &s, NULL);
    for (size_t p = 0; !e && p < j->n_ports; p++) {
        enum pq_nft_when is = is_in(l, &s, &j->port[p]);
        if (l->turned && is != PQ_NFT_SOMETIMES)
            is = is == PQ_NFT_ALWAYS ? PQ_NFT_NEVER : PQ_NFT_ALWAYS;
        narrow(j, &sub[p], is, why);
    }
    close_set(&s);
    return e;
}

/* ---- what becomes of them */

static void note(uint8_t *met, uint8_t bit, uint8_t *first, uint8_t why)
{
    if (!(*met & bit))
        *first = why;
    *met |= bit;
}

static void decide(struct pq_nft_judge *j, const struct part *v, bool named, bool in)
{
    for (size_t i = 0; i < j->n_ports; i++) {
        struct pq_nft_port *p = &j->port[i];
        const uint8_t why = v[i].why;
        if (v[i].is == ALL)
            p->met |= in ? PQ_NFT_IN : named ? PQ_NFT_OUT_BY_NAME : PQ_NFT_OUT;
        else if (v[i].is == SOME && !j->why[why].strange)
            note(&p->met, in ? PQ_NFT_SOME_IN : PQ_NFT_SOME_OUT, in ? &p->some_in : &p->some_out,
                 why);
        else if (v[i].is == SOME && !in)
            note(&p->met, PQ_NFT_MAYBE_OUT, &p->maybe_out, why);
        else if (v[i].is == SOME)
            note(&p->met, named ? PQ_NFT_MAYBE_BY_NAME : PQ_NFT_MAYBE_IN,
                 named ? &p->maybe_by_name : &p->maybe_in, why);
    }
}

/* These do not come back to the chain; who is left in it are the others. */
static void leave(struct pq_nft_judge *j, struct place *at, size_t p, bool split)
{
    struct part *here = &at->here[p];
    if (at->sub[p].whole) {
        here->is = NONE;
    } else if (split && here->is == ALL) {
        const struct pq_nft_why *w = &j->why[at->sub[p].why];
        here->is = SOME;
        here->why = w->strange ? at->sub[p].why : why_of(j, "but not ", w->text, false);
    }
}

/* Jumps with sub.  What comes back from there is here again, or, after a goto, where this chain was
 * jumped to from. */
static int go(struct pq_nft_judge *j, struct place *at, const struct way *w,
              const struct pq_nft_verdict *v)
{
    const struct way deeper = {.named = w->named, .depth = w->depth + 1};
    memcpy(at->deep, at->sub, j->n_ports * sizeof *at->deep);
    const int e = run(j, v->to, at->deep, &deeper);
    for (size_t p = 0; !e && p < j->n_ports; p++) {
        if (!at->sub[p].is || (!v->leaves && at->deep[p].is))
            continue;
        if (at->deep[p].is)
            at->back[p].is = SOME;
        leave(j, at, p, at->deep[p].is);
    }
    return e;
}

/* The verdict on sub. */
static int apply(struct pq_nft_judge *j, struct place *at, const struct way *w,
                 const struct pq_nft_verdict *v)
{
    if (!is_any(j, at->sub))
        return 0;
    if (*v->to)
        return go(j, at, w, v);
    if (v->accepts || v->drops)
        decide(j, at->sub, w->named, v->accepts);
    for (size_t p = 0; (v->accepts || v->drops || v->returns) && p < j->n_ports; p++) {
        if (!at->sub[p].is)
            continue;
        if (v->returns)
            at->back[p].is = SOME;
        leave(j, at, p, v->returns);
    }
    return 0;
}

/* Sub may meet either, and may stay. */
static void doubt(struct pq_nft_judge *j, struct part *sub, const char *what)
{
    const uint8_t why = why_of(j, "", what, true);
    for (size_t p = 0; p < j->n_ports; p++)
        narrow(j, &sub[p], PQ_NFT_SOMETIMES, why);
    decide(j, sub, true, true);
    decide(j, sub, true, false);
}

/* ---- rules */

/* Whether a set is about ports, or about what is not understood, such as several things at once. */
static bool may_name(enum pq_nft_what what)
{
    return what == PQ_NFT_PORT || what == PQ_NFT_PORTS || what == PQ_NFT_BOTH ||
           what == PQ_NFT_NOTHING;
}

/* Leaves in sub what element nth is about, and takes it off the rest. */
static void pick(struct pq_nft_judge *j, const struct pq_nft_look *l, const struct set *s,
                 size_t nth, struct place *at)
{
    const uint8_t why = why_of_set(j, l, s, &s->v[nth]);
    for (size_t p = 0; p < j->n_ports; p++) {
        const enum pq_nft_when is = fits(l, s, nth, &j->port[p]);
        at->sub[p] = at->rest[p];
        narrow(j, &at->sub[p], is, why);
        if (is == PQ_NFT_ALWAYS)
            at->rest[p].is = NONE;
    }
}

/* A map of verdicts: each element's on what it is about, and on what is left that of the one for
 * all others. */
static int go_by_map(struct pq_nft_judge *j, const struct pq_nft_look *l, struct place *at,
                     struct way w)
{
    struct set s;
    int e = open_set(j, l, &s);
    memcpy(at->rest, at->sub, j->n_ports * sizeof *at->rest);
    w.named |= may_name(l->what);
    for (size_t i = 0; !e && i < s.n; i++) {
        if (!j->left) {
            j->whole = false;
            break;
        }
        j->left--;
        if (s.v[i].end || (s.v[i].rest && !s.odd))
            continue;
        pick(j, l, &s, i, at);
        if (s.v[i].unknown && is_any(j, at->sub))
            doubt(j, at->sub, "a verdict");
        e = apply(j, at, &w, &s.v[i].verdict);
    }
    if (!e && !s.odd && s.other < s.n) {
        memcpy(at->sub, at->rest, j->n_ports * sizeof *at->sub);
        const uint8_t why = why_of(j, "", "but not what a map names", false);
        for (size_t p = 0; s.n > 1 && is_loose(l->what) && p < j->n_ports; p++)
            narrow(j, &at->sub[p], PQ_NFT_SOMETIMES, why);
        e = apply(j, at, &w, &s.v[s.other].verdict);
    }
    close_set(&s);
    return e;
}

static bool has_port(const struct pq_nft_seen *r, uint16_t port)
{
    for (unsigned i = 0; i < r->n_ports; i++)
        if (port >= r->port[i].from && port <= r->port[i].to)
            return !r->except;
    return !r->n_ports || r->except;
}

static int take_rule(struct pq_nft_judge *j, const struct pq_nft_seen *r, struct place *at)
{
    struct way w = at->way;
    const uint8_t why = r->when == PQ_NFT_SOMETIMES ? why_of(j, "", r->asks, r->strange) : 0;
    const unsigned sets = r->n_looks - r->map;
    int e = 0;
    for (size_t p = 0; p < j->n_ports; p++) {
        const struct pq_nft_port *is = &j->port[p];
        at->sub[p] = at->here[p];
        at->sub[p].whole = true;
        narrow(j, &at->sub[p],
               (is->udp ? r->udp : r->tcp) && has_port(r, is->port) ? r->when : PQ_NFT_NEVER, why);
    }
    w.named |= r->n_ports != 0;
    for (unsigned i = 0; !e && i < sets && is_any(j, at->sub); i++) {
        e = look_in(j, &r->look[i], at->sub);
        w.named |= may_name(r->look[i].what);
    }
    if (e || !is_any(j, at->sub))
        return e;
    if (r->unknown)
        doubt(j, at->sub, r->asks);
    return r->map ? go_by_map(j, &r->look[sets], at, w) : apply(j, at, &w, &r->verdict);
}

static bool decides(const struct pq_nft_seen *r)
{
    const struct pq_nft_verdict *v = &r->verdict;
    return r->when != PQ_NFT_NEVER &&
           (v->accepts || v->drops || v->returns || *v->to || r->map || r->unknown);
}

/* Goes through the chain with `here`, which becomes what comes out at its end: of a port either
 * nothing, or all that is left of what came. */
static int run(struct pq_nft_judge *j, const char *chain, struct part *here, const struct way *w)
{
    const size_t n = j->n_ports;
    struct part *room = calloc(n, 5 * sizeof *room);
    struct place at = {.here = here, .way = *w};
    int e = room ? 0 : PQ_ENOMEM;
    if (e)
        return e;
    at.sub = room;
    at.back = room + n;
    at.entry = room + 2 * n;
    at.rest = room + 3 * n;
    at.deep = room + 4 * n;
    memcpy(at.entry, here, n * sizeof *here);
    for (size_t i = 0; !e && i < j->n && is_any(j, here); i++) {
        if (strcmp(j->rule[i].chain, chain) != 0)
            continue;
        if (!j->left || w->depth > DEPTH_MAX) {
            j->whole = false;
            break;
        }
        j->left--;
        if (decides(&j->rule[i]))
            e = take_rule(j, &j->rule[i], &at);
    }
    for (size_t p = 0; p < n; p++) {
        const bool any = here[p].is || at.back[p].is;
        here[p] = at.entry[p];
        here[p].is = any ? here[p].is : NONE;
    }
    free(room);
    return e;
}

int pq_nft_judge(struct pq_nft_judge *j, const struct pq_nft_base *base)
{
    struct part *all = calloc(j->n_ports + 1, sizeof *all);
    const struct way w = {.depth = 0};
    if (!all)
        return PQ_ENOMEM;
    for (size_t p = 0; p < j->n_ports; p++) {
        all[p].is = ALL;
        j->port[p] = (struct pq_nft_port){.port = j->port[p].port, .udp = j->port[p].udp};
    }
    const size_t work = WORK_MAX / (j->n_ports + 1);
    j->left = work < STEPS_MAX ? (unsigned)work : STEPS_MAX;
    j->whole = true;
    j->why[0] = (struct pq_nft_why){.text = "more than is told here", .strange = true};
    j->n_whys = 1;
    const int e = j->n_ports ? run(j, base->name, all, &w) : 0;
    if (!e)
        decide(j, all, false, !base->drops);
    free(all);
    return e;
}
