/* SPDX-License-Identifier: MIT */
/* inputs.c - the rules of nf_tables, those of iptables among them, for packets to this machine. */
#include "os/inputs.h"

#include "base/err.h"
#include "os/linux/nft_judge.h"
#include "os/linux/nl.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define BASES    32  /* chains at the hook that are looked at */
#define REACHED  256 /* chains that one leads to */
#define OURS     "paqet_"
#define RULES    8192 /* of a table that are looked at */
#define SETS     4096
#define ELEMENTS ((size_t)16 << 20) /* bytes of a set */
#define TRIES    4                  /* to read a list that changes meanwhile */

#define KIND(m) (NFNL_SUBSYS_NFTABLES << 8 | (m))

struct bases {
    uint32_t hook;
    struct pq_nft_base v[BASES];
    unsigned n;
    bool all;
};

struct walk { /* the chains that packets get to from one at the hook, and what their rules say */
    const struct pq_nft_base *base;
    char reached[REACHED][PQ_NFT_NAME];
    unsigned n;
    bool drops;         /* what no rule has accepted */
    bool open;          /* a rule lets all in */
    const char *device; /* whether a rule lets this one's packets on */
    bool named;
};

static int ask(uint16_t type, uint8_t family, const char *table, const char *set, pq_nl_fn fn,
               void *arg)
{
    const struct nfgenmsg g = {.nfgen_family = family, .version = NFNETLINK_V0};
    uint8_t buf[1024];
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    pq_nl_begin(&o, (uint16_t)KIND(type), NLM_F_DUMP, &g, sizeof g);
    if (table)
        pq_nl_put_str(&o, NFTA_RULE_TABLE, table); /* of a set's elements the same number */
    if (set)
        pq_nl_put_str(&o, NFTA_SET_ELEM_LIST_SET, set);
    return pq_nl_query_of(NETLINK_NETFILTER, &o, fn, arg);
}

_Static_assert((int)NFTA_RULE_TABLE == (int)NFTA_SET_ELEM_LIST_TABLE, "one number for both");

static int on_chain(const struct pq_nl_msg *m, void *arg)
{
    struct bases *b = arg;
    struct pq_nft_base found;
    if (!pq_nft_read_base(&found, m, b->hook) || strncmp(found.table, OURS, strlen(OURS)) == 0)
        return 0;
    if (b->n < BASES)
        b->v[b->n++] = found;
    else
        b->all = false;
    return 0;
}

/* Takes out the chains of a table that sleeps. */
static int on_table(const struct pq_nl_msg *m, void *arg)
{
    struct bases *b = arg;
    struct nfgenmsg g;
    struct pq_nl_attrs a;
    char name[PQ_NFT_NAME];
    if (m->type != KIND(NFT_MSG_NEWTABLE) || !pq_nl_head(m, &g, sizeof g, &a))
        return 0;
    const struct pq_view flags = a.v[NFTA_TABLE_FLAGS];
    pq_nl_str(name, sizeof name, a.v[NFTA_TABLE_NAME]);
    if (flags.n != 4 || !(pq_be32(flags.p) & NFT_TABLE_F_DORMANT))
        return 0;
    for (unsigned i = b->n; i-- > 0;)
        if (b->v[i].family == g.nfgen_family && strcmp(b->v[i].table, name) == 0)
            b->v[i] = b->v[--b->n];
    return 0;
}

/* Returns 0 or -errno. */
static int read_bases(struct bases *b)
{
    int e = -EINTR;
    for (unsigned i = 0; e == -EINTR && i < TRIES; i++) {
        b->n = 0;
        b->all = true;
        e = ask(NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NULL, NULL, on_chain, b);
        if (!e)
            e = ask(NFT_MSG_GETTABLE, NFPROTO_UNSPEC, NULL, NULL, on_table, b);
    }
    return e;
}

/* ---- the walk from chain to chain */

static bool is_reached(const struct walk *w, const char *chain)
{
    for (unsigned i = 0; i < w->n; i++)
        if (strcmp(w->reached[i], chain) == 0)
            return true;
    return false;
}

static void reach(struct walk *w, const char *chain)
{
    if (*chain && w->n < REACHED && !is_reached(w, chain))
        snprintf(w->reached[w->n++], PQ_NFT_NAME, "%s", chain);
}

/* Whether a rule's device is this one. */
static bool is_device(const char *name, const char *device)
{
    const size_t len = strlen(name);
    return len && name[len - 1] == '*' ? strncmp(name, device, len - 1) == 0
                                       : strcmp(name, device) == 0;
}

/* Whether it asks for one of several devices. */
static bool has_devices(const struct pq_nft_seen *s)
{
    for (unsigned i = 0; i < s->n_looks; i++)
        if (s->look[i].what == PQ_NFT_DEVICE || s->look[i].what == PQ_NFT_NOTHING)
            return true;
    return false;
}

static int on_rule(const struct pq_nl_msg *m, void *arg)
{
    struct walk *w = arg;
    struct pq_nft_seen s;
    if (!pq_nft_read_rule(&s, m) || !is_reached(w, s.chain))
        return 0;
    const struct pq_nft_verdict *v = &s.verdict;
    reach(w, v->to);
    const bool at_hook = strcmp(s.chain, w->base->name) == 0;
    w->drops |= s.plain && v->drops && at_hook;
    w->open |=
        (s.plain && v->accepts && at_hook) || s.map || s.unknown; /* these are not gone into */
    w->named |= (v->accepts || *v->to) && (is_device(s.device, w->device) || has_devices(&s));
    return 0;
}

/* Goes from the chain at the hook to all that are reached.  Returns 0 or -errno. */
static int walk(struct walk *w)
{
    int e = 0;
    reach(w, w->base->name);
    for (unsigned before = 0; !e && before != w->n;) {
        before = w->n;
        e = ask(NFT_MSG_GETRULE, w->base->family, w->base->table, NULL, on_rule, w);
    }
    return e ? e : ask(NFT_MSG_GETRULE, w->base->family, w->base->table, NULL, on_rule, w);
}

static void name_of(const struct pq_nft_base *b, char out[PQ_INPUTS_CHAIN])
{
    snprintf(out, PQ_INPUTS_CHAIN, "%s %.70s %.70s",
             b->family == NFPROTO_IPV4   ? "ip"
             : b->family == NFPROTO_IPV6 ? "ip6"
                                         : "inet",
             b->table, b->name);
}

/* ---- what becomes of connections to this machine */

struct rules { /* of a table */
    struct pq_nft_seen *v;
    size_t n;
    bool all;
};

static int on_any_rule(const struct pq_nl_msg *m, void *arg)
{
    struct rules *r = arg;
    if (r->n < RULES)
        r->n += pq_nft_read_rule(&r->v[r->n], m);
    else
        r->all = false;
    return 0;
}

static int read_rules(struct rules *r, const struct pq_nft_base *base)
{
    int e = -EINTR;
    for (unsigned i = 0; e == -EINTR && i < TRIES; i++) {
        r->n = 0;
        r->all = true;
        e = ask(NFT_MSG_GETRULE, base->family, base->table, NULL, on_any_rule, r);
    }
    return e;
}

struct set { /* its elements, as the kernel says them */
    char name[PQ_NFT_NAME];
    uint8_t *p;
    size_t n;
    bool known;
};

struct sets { /* of a table: each is read once */
    const struct pq_nft_base *base;
    struct set v[SETS];
    unsigned n;
};

static int on_elements(const struct pq_nl_msg *m, void *arg)
{
    struct set *s = arg;
    struct nfgenmsg g;
    struct pq_nl_attrs a;
    if (m->type != KIND(NFT_MSG_NEWSETELEM) || !pq_nl_head(m, &g, sizeof g, &a))
        return 0;
    const struct pq_view more = a.v[NFTA_SET_ELEM_LIST_ELEMENTS];
    const size_t padded = (more.n + 3) & ~(size_t)3; /* each of them begins so */
    uint8_t *p = s->n + padded <= ELEMENTS ? realloc(s->p, s->n + padded + 1) : NULL;
    if (!p)
        return PQ_ENOMEM;
    s->p = p;
    if (more.n)
        memcpy(s->p + s->n, more.p, more.n);
    memset(s->p + s->n + more.n, 0, padded - more.n);
    s->n += padded;
    return 0;
}

static void read_set(const struct pq_nft_base *base, struct set *s)
{
    int e = -EINTR;
    for (unsigned i = 0; e == -EINTR && i < TRIES; i++) {
        s->n = 0;
        e = ask(NFT_MSG_GETSETELEM, base->family, base->table, s->name, on_elements, s);
    }
    s->known = e == 0;
}

static bool elements_of(void *ctx, const char *name, struct pq_view *out)
{
    struct sets *all = ctx;
    unsigned i = 0;
    while (i < all->n && strcmp(all->v[i].name, name) != 0)
        i++;
    if (i == SETS)
        return false;
    struct set *s = &all->v[i];
    if (i == all->n) {
        all->n++;
        snprintf(s->name, sizeof s->name, "%s", name);
        read_set(all->base, s);
    }
    *out = (struct pq_view){s->p, s->n};
    return s->known;
}

/* What a port's connections meet here. */
static void tell(const struct pq_nft_judge *j, const struct pq_nft_port *p, struct pq_input_told *t)
{
    const bool in = p->met & PQ_NFT_IN, named = p->met & PQ_NFT_OUT_BY_NAME;
    const char *asks = "";
    if (!in && !(p->met & (PQ_NFT_OUT | PQ_NFT_OUT_BY_NAME))) {
        t->is = PQ_INPUT_UNSURE;
        asks = j->why[0].text;
    } else if (p->met & (in ? PQ_NFT_MAYBE_OUT : PQ_NFT_MAYBE_BY_NAME)) {
        t->is = PQ_INPUT_UNSURE;
        asks = j->why[in ? p->maybe_out : p->maybe_by_name].text;
    } else if (p->met & (in ? PQ_NFT_SOME_OUT : PQ_NFT_SOME_IN)) {
        t->is = in ? PQ_INPUT_SOME_OUT : PQ_INPUT_SOME_IN;
        asks = j->why[in ? p->some_out : p->some_in].text;
    } else {
        t->is = in ? PQ_INPUT_OPEN : named ? PQ_INPUT_REFUSED : PQ_INPUT_SHUT;
    }
    const bool maybe = p->met & PQ_NFT_MAYBE_IN && t->is != PQ_INPUT_OPEN;
    snprintf(t->asks, sizeof t->asks, "%s", asks);
    snprintf(t->unless, sizeof t->unless, "%s", maybe ? j->why[p->maybe_in].text : "");
}

static uint8_t told_of(struct pq_inputs *out, const struct pq_input_told *t)
{
    for (unsigned i = 0; i < out->n_told; i++) {
        const struct pq_input_told *o = &out->told[i];
        if (o->is == t->is && strcmp(o->chain, t->chain) == 0 && strcmp(o->asks, t->asks) == 0 &&
            strcmp(o->unless, t->unless) == 0)
            return (uint8_t)i;
    }
    if (out->n_told < PQ_INPUTS_TOLD - 1) {
        out->told[out->n_told] = *t;
        return (uint8_t)out->n_told++;
    }
    out->told[PQ_INPUTS_TOLD - 1] =
        (struct pq_input_told){.is = PQ_INPUT_UNSURE, .asks = "more than is told here"};
    snprintf(out->told[PQ_INPUTS_TOLD - 1].chain, PQ_INPUTS_CHAIN, "%s", t->chain);
    out->n_told = PQ_INPUTS_TOLD;
    return PQ_INPUTS_TOLD - 1;
}

/* Writes down what is worse than what the chains before do. */
static void note(struct pq_inputs *out, const struct pq_nft_base *base,
                 const struct pq_nft_judge *j, struct pq_input *port)
{
    struct pq_input_told t;
    name_of(base, t.chain);
    for (size_t i = 0; i < j->n_ports; i++) {
        tell(j, &j->port[i], &t);
        if (t.is <= port[i].is)
            continue;
        port[i].told = told_of(out, &t);
        port[i].is = out->told[port[i].told].is;
    }
}

/* Returns whether all of it could be read. */
static bool look(const struct pq_nft_base *base, struct rules *r, struct pq_nft_judge *j,
                 struct sets *sets, struct pq_input *port, struct pq_inputs *out)
{
    if (read_rules(r, base) || !r->all)
        return false;
    *sets = (struct sets){.base = base};
    j->rule = r->v;
    j->n = r->n;
    j->elements = elements_of;
    j->ctx = sets;
    const int e = pq_nft_judge(j, base);
    for (unsigned i = 0; i < sets->n; i++)
        free(sets->v[i].p);
    if (e || !j->whole)
        return false;
    note(out, base, j, port);
    return true;
}

/* Tables of the iptables of old, which nf_tables does not tell of: the kernel lists those in use.
 */
static void read_legacy(struct pq_inputs *out)
{
    static const char *const lists[] = {"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        char line[64];
        FILE *f = fopen(lists[i], "re");
        while (f && fgets(line, sizeof line, f))
            out->legacy |= strcmp(line, "filter\n") == 0;
        if (f)
            fclose(f);
    }
}

void pq_inputs_read(struct pq_inputs *out, struct pq_input *port, size_t n)
{
    struct bases b = {.hook = NF_INET_LOCAL_IN};
    struct rules r = {.v = malloc(RULES * sizeof *r.v)};
    struct sets *sets = malloc(sizeof *sets);
    struct pq_nft_judge j = {.port = calloc(n + 1, sizeof *j.port), .n_ports = n};
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        port[i].is = PQ_INPUT_OPEN;
        port[i].told = 0;
        if (j.port)
            j.port[i] = (struct pq_nft_port){.port = port[i].port, .udp = port[i].udp};
    }
    read_legacy(out);
    if (r.v && sets && j.port && read_bases(&b) == 0) {
        out->known = true;
        out->whole = b.all;
        for (unsigned i = 0; out->whole && i < b.n; i++)
            out->whole = look(&b.v[i], &r, &j, sets, port, out);
    }
    for (size_t i = 0; !out->whole && i < n; i++)
        port[i].is = PQ_INPUT_OPEN;
    free(j.port);
    free(sets);
    free(r.v);
}

bool pq_forward_shut(const char *device, char chain[PQ_INPUTS_CHAIN])
{
    struct bases b = {.hook = NF_INET_FORWARD};
    struct walk *w = calloc(1, sizeof *w);
    bool shut = false;
    if (w && read_bases(&b) == 0)
        for (unsigned i = 0; i < b.n && !shut; i++) {
            *w = (struct walk){.base = &b.v[i], .drops = b.v[i].drops, .device = device};
            shut = !walk(w) && w->drops && !w->open && !w->named;
            name_of(&b.v[i], chain);
        }
    free(w);
    return shut;
}
