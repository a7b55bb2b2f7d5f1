/* SPDX-License-Identifier: MIT */
/* inputs.c - the rules of nf_tables, those of iptables among them, for packets to this machine. */
#include "os/inputs.h"

#include "os/linux/nft_judge.h"
#include "os/linux/nl.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define BASES   16  /* chains at the hook that are looked at */
#define REACHED 256 /* chains that one leads to */
#define OURS    "paqet_"
#define RULES   8192 /* of a table that are looked at */

#define KIND(m) (NFNL_SUBSYS_NFTABLES << 8 | (m))

struct bases {
    uint32_t hook;
    struct pq_nft_base v[BASES];
    unsigned n;
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
    uint8_t buf[512];
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
    if (b->n < BASES && pq_nft_read_base(&found, m, b->hook) &&
        strncmp(found.table, OURS, strlen(OURS)) != 0)
        b->v[b->n++] = found;
    return 0;
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

static int on_rule(const struct pq_nl_msg *m, void *arg)
{
    struct walk *w = arg;
    struct pq_nft_seen s;
    if (!pq_nft_read_rule(&s, m) || !is_reached(w, s.chain))
        return 0;
    reach(w, s.to);
    const bool at_hook = strcmp(s.chain, w->base->name) == 0;
    w->drops |= s.plain && s.drops && at_hook;
    w->open |= s.plain && s.accepts && at_hook;
    w->named |= (s.accepts || *s.to) && strcmp(s.device, w->device) == 0;
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
    snprintf(out, PQ_INPUTS_CHAIN, "%s %s %s",
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

struct elements {
    void (*fn)(void *arg, const struct pq_nft_element *e);
    void *arg;
};

static int on_elements(const struct pq_nl_msg *m, void *arg)
{
    const struct elements *el = arg;
    struct nfgenmsg g;
    struct pq_nl_attrs a;
    struct pq_nft_element e;
    if (m->type != KIND(NFT_MSG_NEWSETELEM) || !pq_nl_head(m, &g, sizeof g, &a))
        return 0;
    struct pq_view rest = a.v[NFTA_SET_ELEM_LIST_ELEMENTS];
    while (pq_nft_read_element(&rest, &e))
        el->fn(el->arg, &e);
    return 0;
}

static void elements_of(void *ctx, const char *set,
                        void (*fn)(void *arg, const struct pq_nft_element *e), void *arg)
{
    const struct pq_nft_base *base = ctx;
    struct elements el = {fn, arg};
    ask(NFT_MSG_GETSETELEM, base->family, base->table, set, on_elements, &el);
}

/* What a port's connections meet here, beside what they have met in other chains. */
static uint8_t told_of(uint8_t judged)
{
    const bool out = judged & (PQ_NFT_OUT | PQ_NFT_OUT_BY_NAME);
    if (out && judged & PQ_NFT_SOME_IN)
        return PQ_INPUT_SOME_IN;
    return judged & PQ_NFT_OUT_BY_NAME ? PQ_INPUT_REFUSED
           : out                       ? PQ_INPUT_SHUT
           : judged & PQ_NFT_SOME_OUT  ? PQ_INPUT_SOME_OUT
                                       : 0;
}

static void name_once(char out[PQ_INPUTS_CHAIN], const struct pq_nft_base *base)
{
    if (!*out)
        name_of(base, out);
}

static void note(struct pq_inputs *out, const struct pq_nft_base *base,
                 const struct pq_nft_judge *j)
{
    uint8_t all = 0;
    for (unsigned k = 0; k < 2; k++)
        for (unsigned p = 0; p < PQ_INPUTS_PORTS; p++) {
            const uint8_t is = told_of(j->port[k][p]);
            out->port[k][p] |= is;
            all |= is;
        }
    if (all & PQ_INPUT_SHUT)
        name_once(out->shut, base);
    if (all & PQ_INPUT_REFUSED)
        name_once(out->refuse, base);
    if (all & PQ_INPUT_SOME_IN && !*out->some_in)
        snprintf(out->some_in, sizeof out->some_in, "%s", j->some_in);
    if (all & PQ_INPUT_SOME_IN)
        name_once(out->some_in_at, base);
    if (all & PQ_INPUT_SOME_OUT && !*out->some_out)
        snprintf(out->some_out, sizeof out->some_out, "%s", j->some_out);
    if (all & PQ_INPUT_SOME_OUT)
        name_once(out->some_out_at, base);
}

static void look(struct pq_nft_base *base, struct rules *r, uint8_t *ports, struct pq_inputs *out)
{
    struct pq_nft_judge j = {.rule = r->v,
                             .elements = elements_of,
                             .ctx = base,
                             .port = {ports, ports + PQ_INPUTS_PORTS}};
    r->n = 0;
    r->all = true;
    if (ask(NFT_MSG_GETRULE, base->family, base->table, NULL, on_any_rule, r))
        return;
    j.n = r->n;
    if (pq_nft_judge(&j, base))
        return;
    out->whole = out->whole && j.whole && r->all;
    note(out, base, &j);
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

void pq_inputs_read(struct pq_inputs *out)
{
    struct bases b = {.hook = NF_INET_LOCAL_IN};
    struct rules r = {.v = malloc(RULES * sizeof *r.v)};
    uint8_t *ports = malloc((size_t)2 * PQ_INPUTS_PORTS);
    memset(out, 0, sizeof *out);
    read_legacy(out);
    if (r.v && ports && ask(NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NULL, NULL, on_chain, &b) == 0) {
        out->known = out->whole = true;
        for (unsigned i = 0; i < b.n; i++)
            look(&b.v[i], &r, ports, out);
    }
    free(ports);
    free(r.v);
}

bool pq_forward_shut(const char *device, char chain[PQ_INPUTS_CHAIN])
{
    struct bases b = {.hook = NF_INET_FORWARD};
    struct walk *w = calloc(1, sizeof *w);
    bool shut = false;
    if (w && ask(NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NULL, NULL, on_chain, &b) == 0)
        for (unsigned i = 0; i < b.n && !shut; i++) {
            *w = (struct walk){.base = &b.v[i], .drops = b.v[i].drops, .device = device};
            shut = !walk(w) && w->drops && !w->open && !w->named;
            name_of(&b.v[i], chain);
        }
    free(w);
    return shut;
}
