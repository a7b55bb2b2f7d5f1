/* SPDX-License-Identifier: MIT */
#include "entry/split.h"

#include "base/err.h"
#include "relay/match.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct entry {
    struct pq_match m;
    bool other; /* what does not match: `private` */
};

struct rule {
    enum pq_way way;
    struct entry *entry;
    unsigned n;
    struct pq_target_set *set; /* NULL: none */
};

struct pq_split {
    struct rule *rule;
    unsigned n;
    struct pq_rules *limits; /* of who asks from elsewhere */
};

static const char *const loopback[] = {"127.0.0.0/8", "::1"};

/* ---- building */

struct pq_split *pq_split_new(void)
{
    struct pq_split *s = calloc(1, sizeof *s);
    if (s && pq_rules_new(&s->limits, NULL, 0, loopback, sizeof loopback / sizeof loopback[0]))
        pq_split_free(&s);
    return s;
}

void pq_split_free(struct pq_split **sp)
{
    struct pq_split *s = *sp;
    *sp = NULL;
    for (unsigned i = 0; s && i < s->n; i++) {
        for (unsigned k = 0; k < s->rule[i].n; k++)
            pq_match_free(&s->rule[i].entry[k].m);
        free(s->rule[i].entry);
        pq_target_set_free(s->rule[i].set);
    }
    if (s) {
        pq_rules_free(&s->limits);
        free(s->rule);
    }
    free(s);
}

int pq_split_rule(struct pq_split *s, enum pq_way way)
{
    struct rule *v = realloc(s->rule, (s->n + 1) * sizeof *v);
    if (!v)
        return PQ_ENOMEM;
    s->rule = v;
    v[s->n++] = (struct rule){.way = way};
    return 0;
}

static int read_entry(struct entry *e, const char *text)
{
    static const char private[] = "private", domain[] = "domain:";
    char public[32];
    const size_t n = sizeof private - 1, d = sizeof domain - 1;
    *e = (struct entry){.other = false};
    if (strncasecmp(text, domain, d) == 0) {
        int err = pq_match_parse(&e->m, text + d);
        if (!err && e->m.kind != PQ_MATCH_NAME)
            err = PQ_EINVAL;
        e->m.kind = PQ_MATCH_DOMAIN;
        return err;
    }
    if (strncasecmp(text, private, n) == 0 && (!text[n] || text[n] == ':') &&
        strlen(text + n) < sizeof public - sizeof "public") {
        e->other = true;
        snprintf(public, sizeof public, "public%s", text + n);
        text = public;
    }
    return pq_match_parse(&e->m, text);
}

int pq_split_entry(struct pq_split *s, const char *text)
{
    struct rule *r = &s->rule[s->n - 1];
    struct entry *v = realloc(r->entry, (r->n + 1) * sizeof *v);
    if (!v)
        return PQ_ENOMEM;
    r->entry = v;
    int e = read_entry(&v[r->n], text);
    if (e)
        pq_match_free(&v[r->n].m);
    else
        r->n++;
    return e;
}

struct pq_target_set *pq_split_set(struct pq_split *s)
{
    struct rule *r = &s->rule[s->n - 1];
    if (!r->set)
        r->set = pq_target_set_new();
    return r->set;
}

void pq_split_seal(struct pq_split *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->rule[i].set)
            pq_target_set_seal(s->rule[i].set);
}

/* ---- matching */

struct subject {
    const char *name; /* NULL: an address */
    size_t len;
    const struct pq_addr *a; /* of a name the port alone */
    bool has_port;
};

static bool fits(const struct entry *e, const struct subject *s)
{
    const struct pq_match *m = &e->m;
    if (!pq_match_port(m, s->a->port, s->has_port))
        return false;
    switch (m->kind) {
    case PQ_MATCH_ANY:
        return true;
    case PQ_MATCH_PUBLIC:
        return !s->name && pq_match_is_public(s->a, NULL, 0) != e->other;
    case PQ_MATCH_NET:
        return !s->name && pq_net_has(&m->net, s->a);
    default:
        return s->name && pq_match_name(m, s->name, s->len);
    }
}

static bool rule_fits(const struct rule *r, const struct subject *s)
{
    for (unsigned i = 0; i < r->n; i++)
        if (fits(&r->entry[i], s))
            return true;
    if (!r->set)
        return false;
    return s->name ? pq_target_set_has_name(r->set, s->name, s->len)
                   : pq_target_set_has_addr(r->set, s->a);
}

static enum pq_way decide(const struct pq_split *s, const struct subject *subject, unsigned *nth)
{
    unsigned i = 0;
    while (i < s->n && !rule_fits(&s->rule[i], subject))
        i++;
    if (nth)
        *nth = i;
    return i < s->n ? s->rule[i].way : PQ_WAY_TUNNEL;
}

/* Reads an address, also in a form that only resolvers take for one. */
static bool is_address(struct pq_addr *a, const char *host)
{
    struct in_addr old;
    if (pq_addr_parse_ip(a, host) == 0)
        return true;
    if (!pq_match_is_name(host) || !inet_aton(host, &old))
        return false;
    pq_addr_set4(a, (const uint8_t *)&old, 0);
    return true;
}

enum pq_way pq_split_host(const struct pq_split *s, const char *host, uint16_t port)
{
    struct pq_addr a = {.port = 0};
    if (!s)
        return PQ_WAY_TUNNEL;
    const bool literal = is_address(&a, host);
    a.port = port;
    const struct subject subject = {
        .name = literal ? NULL : host, .len = pq_match_name_len(host), .a = &a, .has_port = true};
    return decide(s, &subject, NULL);
}

static enum pq_way decide_packet(const struct pq_split *s, const struct subject *subject,
                                 unsigned *nth)
{
    if (s)
        return decide(s, subject, nth);
    if (nth)
        *nth = 0;
    return PQ_WAY_TUNNEL;
}

enum pq_way pq_split_addr(const struct pq_split *s, const struct pq_addr *a, bool has_port,
                          unsigned *nth)
{
    const struct subject subject = {.a = a, .has_port = has_port};
    return decide_packet(s, &subject, nth);
}

enum pq_way pq_split_name(const struct pq_split *s, const char *name, unsigned *nth)
{
    static const struct pq_addr none;
    const struct subject subject = {.name = name, .len = pq_match_name_len(name), .a = &none};
    return decide_packet(s, &subject, nth);
}

unsigned pq_split_rules(const struct pq_split *s)
{
    return s ? s->n : 0;
}

bool pq_split_has_names(const struct pq_split *s)
{
    bool has = false;
    for (unsigned i = 0; s && i < s->n; i++) {
        struct pq_target_count c = {.names = 0};
        if (s->rule[i].set)
            pq_target_set_count(s->rule[i].set, &c);
        has = has || c.names;
        for (unsigned k = 0; k < s->rule[i].n; k++) {
            const struct pq_match *m = &s->rule[i].entry[k].m;
            has = has || (!m->has_ports && (m->name || m->kind == PQ_MATCH_ANY));
        }
    }
    return has;
}

const struct pq_rules *pq_split_limits(const struct pq_split *s, const struct pq_addr *asks,
                                       const struct pq_addr *at)
{
    struct pq_net net;
    bool here = at && pq_addr_eq_ip(asks, at);
    for (size_t i = 0; i < sizeof loopback / sizeof loopback[0]; i++)
        here = here || (pq_net_parse(&net, loopback[i]) == 0 && pq_net_has(&net, asks));
    return s && !here ? s->limits : NULL;
}

/* ---- as ranges of addresses */

/* What pq_match_is_public says no to; of IPv6 what it says yes to, too. */
static const char *const private_nets[] = {
    "0.0.0.0/8",       "10.0.0.0/8",     "100.64.0.0/10", "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12",   "192.0.0.0/24",   "192.0.2.0/24",  "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",   "::1/128",        "100::/8",
    "fc00::/7",        "fe80::/10",      "fec0::/10",     "ff00::/8",       "2001:db8::/32",
    "3fff::/20",
};
static const char *const public_nets[] = {"0.0.0.0/0", "2000::/3"};
static const char *const neither[] = {"2001::/23", "2002::/16"};

static int add_nets(struct pq_spans *out, const char *const *v, size_t n)
{
    struct pq_net net;
    int e = 0;
    for (size_t i = 0; !e && i < n; i++) {
        e = pq_net_parse(&net, v[i]);
        e = e ? e : pq_spans_add_net(out, &net);
    }
    pq_spans_seal(out);
    return e;
}

static int add_kind(struct pq_spans *out, bool private)
{
    struct pq_spans all = {.v = NULL}, not = {.v = NULL}, got = {.v = NULL};
    int e = add_nets(&not, private_nets, sizeof private_nets / sizeof private_nets[0]);
    if (!e && private)
        e = pq_spans_add_all(out, &not );
    if (!e && !private) {
        e = add_nets(&not, neither, sizeof neither / sizeof neither[0]);
        e = e ? e : add_nets(&all, public_nets, sizeof public_nets / sizeof public_nets[0]);
        e = e ? e : pq_spans_minus(&got, &all, &not );
        e = e ? e : pq_spans_add_all(out, &got);
    }
    pq_spans_free(&all);
    pq_spans_free(&not );
    pq_spans_free(&got);
    return e;
}

static int add_entry(struct pq_spans *out, const struct entry *e)
{
    uint8_t first[16], last[16];
    switch (e->m.kind) {
    case PQ_MATCH_ANY:
        memset(first, 0, sizeof first);
        memset(last, 0xff, sizeof last);
        return pq_spans_add(out, first, last);
    case PQ_MATCH_PUBLIC:
        return add_kind(out, e->other);
    case PQ_MATCH_NET:
        return pq_spans_add_net(out, &e->m.net);
    default:
        return 0;
    }
}

struct gathered {
    struct pq_spans *out;
    int e;
};

static void on_range(void *ctx, const struct pq_addr *from, const struct pq_addr *to)
{
    struct gathered *g = ctx;
    g->e = g->e ? g->e : pq_spans_add(g->out, from->ip, to->ip);
}

/* What a rule matches at a port; `ported`: by entries with ports alone. */
static int gather(struct pq_spans *out, const struct rule *r, uint16_t port, bool ported)
{
    struct gathered g = {.out = out};
    for (unsigned i = 0; !g.e && i < r->n; i++) {
        const struct pq_match *m = &r->entry[i].m;
        if (pq_match_port(m, port, port) && (m->has_ports || !ported))
            g.e = add_entry(out, &r->entry[i]);
    }
    if (!g.e && r->set && !ported)
        pq_target_set_each(r->set, on_range, &g);
    pq_spans_seal(out);
    return g.e;
}

/* Adds to *out what is in *all and not in *decided. */
static int add_rest(struct pq_spans *out, const struct pq_spans *all,
                    const struct pq_spans *decided)
{
    struct pq_spans rest = {.v = NULL};
    int e = pq_spans_minus(&rest, all, decided);
    e = e ? e : pq_spans_add_all(out, &rest);
    pq_spans_free(&rest);
    return e;
}

/* Adds what this rule decides to *direct or, as far as entries with ports say so, to *kept; and to
 * *decided what it has. */
static int add_decided(struct pq_spans *direct, struct pq_spans *kept, struct pq_spans *decided,
                       const struct rule *r, uint16_t port)
{
    struct pq_spans all = {.v = NULL}, ported = {.v = NULL};
    int e = gather(&all, r, port, false);
    if (!e && r->way == PQ_WAY_DIRECT)
        e = add_rest(direct, &all, decided);
    if (!e && r->way != PQ_WAY_DIRECT && kept) {
        e = gather(&ported, r, port, true);
        e = e ? e : add_rest(kept, &ported, decided);
    }
    e = e ? e : pq_spans_add_all(decided, &all);
    pq_spans_seal(decided);
    pq_spans_free(&all);
    pq_spans_free(&ported);
    return e;
}

int pq_split_direct(const struct pq_split *s, uint16_t port, struct pq_spans *out,
                    struct pq_spans *kept)
{
    struct pq_spans decided = {.v = NULL};
    int e = 0;
    for (unsigned i = 0; s && !e && i < s->n; i++)
        e = add_decided(out, kept, &decided, &s->rule[i], port);
    pq_spans_free(&decided);
    if (e) {
        pq_spans_free(out);
        if (kept)
            pq_spans_free(kept);
    }
    pq_spans_seal(out);
    if (kept)
        pq_spans_seal(kept);
    return e;
}

static size_t add_point(uint16_t *out, size_t n, size_t max, unsigned port)
{
    size_t at = 0;
    if (port > UINT16_MAX || n > max)
        return n;
    while (at < n && out[at] < port)
        at++;
    if (at < n && out[at] == port)
        return n;
    if (n == max)
        return n + 1; /* too many */
    memmove(&out[at + 1], &out[at], (n - at) * sizeof *out);
    out[at] = (uint16_t)port;
    return n + 1;
}

size_t pq_split_port_points(const struct pq_split *s, uint16_t *out, size_t max)
{
    size_t n = add_point(out, 0, max, 1);
    for (unsigned i = 0; s && i < s->n; i++) {
        for (unsigned k = 0; k < s->rule[i].n; k++) {
            const struct pq_match *m = &s->rule[i].entry[k].m;
            if (!m->has_ports || m->name)
                continue;
            n = add_point(out, n, max, m->from ? m->from : 1);
            n = add_point(out, n, max, m->to + 1U);
        }
    }
    return n;
}

bool pq_split_has_ports(const struct pq_split *s)
{
    bool has = false;
    for (unsigned i = 0; s && i < s->n; i++)
        for (unsigned k = 0; k < s->rule[i].n; k++)
            has = has || (s->rule[i].entry[k].m.has_ports && !s->rule[i].entry[k].m.name);
    return has;
}

void pq_split_count(const struct pq_split *s, unsigned *rules, struct pq_target_count *out)
{
    *out = (struct pq_target_count){.names = 0};
    *rules = s ? s->n : 0;
    for (unsigned i = 0; s && i < s->n; i++) {
        struct pq_target_count c = {.names = 0};
        if (s->rule[i].set)
            pq_target_set_count(s->rule[i].set, &c);
        out->names += c.names;
        out->networks += c.networks;
        out->bytes += c.bytes;
    }
}
