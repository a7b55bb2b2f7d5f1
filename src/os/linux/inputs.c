/* SPDX-License-Identifier: MIT */
/* inputs.c - the rules of nf_tables, those of iptables among them, for packets to this machine. */
#include "os/inputs.h"

#include "os/linux/nft_read.h"
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
#define UDP     1 /* its bits are those of TCP, shifted by one */

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
    bool drops; /* what no rule has accepted */
    bool last;  /* all that is reached is known: now the ports count */
    bool refuses;
    bool open;          /* a rule lets all in */
    const char *device; /* NULL: the ports matter; else whether a rule lets this one's packets on */
    bool named;
    uint8_t *port; /* of each: bits of ACCEPTED and PQ_INPUT_REFUSED */
};

#define ACCEPTED 1U

static int ask(uint16_t type, uint8_t family, const char *table, const char *set, pq_nl_fn fn,
               void *arg)
{
    const struct nfgenmsg g = {.nfgen_family = family, .version = NFNETLINK_V0};
    uint8_t buf[512];
    struct pq_nl nl;
    struct pq_nl_out o = pq_nl_out_init(buf, sizeof buf);
    int e = pq_nl_open(&nl, NETLINK_NETFILTER);
    if (e)
        return e;
    pq_nl_begin(&o, (uint16_t)KIND(type), NLM_F_DUMP, &g, sizeof g);
    if (table)
        pq_nl_put_str(&o, NFTA_RULE_TABLE, table); /* of a set's elements the same number */
    if (set)
        pq_nl_put_str(&o, NFTA_SET_ELEM_LIST_SET, set);
    e = pq_nl_ask(&nl, &o, fn, arg);
    pq_nl_close(&nl);
    return e;
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

/* ---- ports */

static void mark(struct walk *w, const struct pq_nft_seen *s, const struct pq_range *r)
{
    const unsigned what = s->drops ? PQ_INPUT_REFUSED : ACCEPTED;
    const uint8_t bits = (uint8_t)((s->tcp ? what : 0) | (s->udp ? what << UDP : 0));
    w->refuses |= s->drops;
    for (unsigned p = r->from; p <= r->to; p++)
        w->port[p] |= bits;
}

struct set {     /* of ports, while its elements come: ranges as their beginnings and ends */
    uint8_t *is; /* of each port: 1 it is there, 2 a range has ended before it */
    bool ranges;
};

static int on_elements(const struct pq_nl_msg *m, void *arg)
{
    struct set *s = arg;
    struct nfgenmsg g;
    struct pq_nl_attrs a;
    uint16_t port;
    bool end;
    if (m->type != KIND(NFT_MSG_NEWSETELEM) || !pq_nl_head(m, &g, sizeof g, &a))
        return 0;
    struct pq_view rest = a.v[NFTA_SET_ELEM_LIST_ELEMENTS];
    while (pq_nft_read_port(&rest, &port, &end)) {
        s->is[port] |= end ? 2 : 1;
        s->ranges |= end;
    }
    return 0;
}

static void mark_set(struct walk *w, const struct pq_nft_seen *rule)
{
    struct set s = {.is = calloc(PQ_INPUTS_PORTS, 1)};
    bool in = false;
    if (!s.is)
        return;
    ask(NFT_MSG_GETSETELEM, w->base->family, w->base->table, rule->set, on_elements, &s);
    for (unsigned p = 0; p < PQ_INPUTS_PORTS; p++) {
        in = s.ranges ? (s.is[p] & 1) || (in && !(s.is[p] & 2)) : s.is[p] & 1;
        const struct pq_range one = {(uint16_t)p, (uint16_t)p};
        if (in)
            mark(w, rule, &one);
    }
    free(s.is);
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
    if (w->device)
        w->named |= (s.accepts || *s.to) && strcmp(s.device, w->device) == 0;
    if (w->device || !w->last || !(s.accepts || s.drops || *s.to || s.map))
        return 0;
    for (unsigned i = 0; i < s.n_ports; i++)
        mark(w, &s, &s.port[i]);
    if (*s.set)
        mark_set(w, &s);
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
    w->last = true;
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

static void look(const struct pq_nft_base *base, struct walk *w, struct pq_inputs *out)
{
    uint8_t *port = w->port;
    *w = (struct walk){.base = base, .drops = base->drops, .port = port};
    memset(port, 0, PQ_INPUTS_PORTS);
    if (walk(w))
        return;
    w->drops = w->drops && !w->open;
    if (w->drops && !*out->shut)
        name_of(base, out->shut);
    if (w->refuses)
        name_of(base, out->refuse);
    for (unsigned p = 0; p < PQ_INPUTS_PORTS; p++) {
        const uint8_t shut = (uint8_t)(~port[p] & (ACCEPTED | ACCEPTED << UDP));
        out->port[p] |= (uint8_t)((w->drops ? shut * PQ_INPUT_SHUT : 0) |
                                  (port[p] & (PQ_INPUT_REFUSED | PQ_INPUT_REFUSED << UDP)));
    }
}

void pq_inputs_read(struct pq_inputs *out)
{
    struct bases b = {.hook = NF_INET_LOCAL_IN};
    struct walk *w = calloc(1, sizeof *w);
    uint8_t *port = calloc(PQ_INPUTS_PORTS, 1);
    memset(out, 0, sizeof *out);
    if (w && port && ask(NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NULL, NULL, on_chain, &b) == 0) {
        out->known = true;
        w->port = port;
        for (unsigned i = 0; i < b.n; i++)
            look(&b.v[i], w, out);
    }
    free(port);
    free(w);
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
