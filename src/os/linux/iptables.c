/* SPDX-License-Identifier: MIT */
#include "os/linux/iptables.h"

#include "base/err.h"
#include "base/time.h"
#include "os/linux/xtables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORTS    512
#define EXCLUDED 256
#define JUMPS    (4 * PQ_FIREWALL_SERVERS) /* of two interfaces; both families at a server */
#define SPEC     192
#define FOR_EVER UINT64_MAX

/* Where the chain hangs. */
static const struct place {
    const char *table, *hook, *kind;
} places[] =
    {
        {"raw", "PREROUTING", "iptables (raw), removed at the end or by the next start"},
        {"filter", "INPUT", "iptables (filter), removed at the end or by the next start"},
},
  /* With a decoy: behind the tracking of connections, before the kernel's TCP. */
    tracked = {"mangle", "PREROUTING",
               "iptables (mangle), removed at the end or by the next start"};

/* A rule of the hook that leads into the chain. */
struct jump {
    int family;
    char spec[SPEC];
};

struct jumps {
    unsigned n;
    struct jump v[JUMPS];
};

struct pq_iptables {
    struct pq_xt xt;
    const struct place *place;
    bool there[PQ_XT_FAMILIES]; /* the tool works, and the chain is made */
    bool client;
    char ifname[sizeof((struct pq_firewall_conf *)0)->ifname];
    struct jumps now;    /* in place */
    struct jumps newest; /* of them, those of the latest interface, and ... */
    struct jumps before; /* ... of the one before */
    struct own {
        uint16_t port;
        pq_ns until; /* FOR_EVER: in use */
    } own[PORTS];
    unsigned n_own;
    struct pq_addr excluded[EXCLUDED]; /* port 0: free */
    unsigned next;
};

static void begin(struct pq_iptables *t, struct pq_xt_batch *b, int family)
{
    pq_xt_begin(b, &t->xt, family, t->place->table);
}

/* ---- the rules */

const char *pq_iptables_ports(const struct pq_range *r, char buf[PQ_RANGE_STRLEN])
{
    char *dash = strchr(pq_range_str(r, buf), '-');
    if (dash)
        *dash = ':';
    return buf;
}

static bool has(const struct jumps *w, const struct jump *j)
{
    for (unsigned i = 0; i < w->n; i++)
        if (w->v[i].family == j->family && strcmp(w->v[i].spec, j->spec) == 0)
            return true;
    return false;
}

static void want(struct jumps *w, const struct pq_firewall_conf *c, int family,
                 const struct pq_addr *a, const struct pq_range *ports)
{
    char ip[PQ_ADDR_STRLEN], text[PQ_RANGE_STRLEN];
    if (w->n == JUMPS)
        return;
    struct jump *j = &w->v[w->n];
    j->family = family;
    snprintf(j->spec, sizeof j->spec, "-i %s -p tcp%s%s --%s %s", c->ifname,
             !a          ? ""
             : c->client ? " -s "
                         : " -d ",
             a ? pq_addr_ip_str(a, ip) : "", c->client ? "sport" : "dport",
             pq_iptables_ports(ports, text));
    w->n += !has(w, j); /* an address may be named twice */
}

static void want_all(struct jumps *w, const struct pq_firewall_conf *c)
{
    const unsigned n = c->client ? c->n_servers : c->n_own;
    for (unsigned i = 0; i < n; i++) {
        const struct pq_addr *a = c->client ? &c->server[i].addr : &c->own[i];
        want(w, c, pq_addr_is4(a) ? PQ_XT_V4 : PQ_XT_V6, a,
             c->client ? &c->server[i].ports : &c->ports);
    }
    for (int family = 0; family < PQ_XT_FAMILIES && !n && !c->client; family++)
        want(w, c, family, NULL, &c->ports);
}

/* One batch for each family.  Without a tool for a family its packets are not dropped: an error,
 * unless nothing says that there are any. */
static int change(struct pq_iptables *t, const struct jumps *wanted, bool strict, char *why)
{
    int e = 0;
    for (int family = 0; family < PQ_XT_FAMILIES; family++) {
        struct pq_xt_batch b;
        unsigned n = 0, missing = 0;
        begin(t, &b, family);
        for (unsigned i = 0; i < wanted->n; i++) {
            const struct jump *j = &wanted->v[i];
            if (j->family != family || has(&t->now, j))
                continue;
            pq_xt_add(&b, "-I %s %s -j $in", t->place->hook, j->spec);
            missing++;
        }
        for (unsigned i = 0; i < t->now.n; i++) {
            const struct jump *j = &t->now.v[i];
            if (j->family != family || has(wanted, j))
                continue;
            pq_xt_add(&b, "-D %s %s -j $in", t->place->hook, j->spec);
            n++;
        }
        const int refused = t->there[family] && n + missing ? pq_xt_commit(&b, why) : 0;
        free(b.text);
        e = refused ? refused : !t->there[family] && missing && strict ? PQ_ENOTSUP : e;
    }
    t->now = *wanted;
    return e ? PQ_ENOTSUP : 0;
}

static int move(struct pq_iptables *t, const struct pq_firewall_conf *conf, char *why)
{
    struct jumps *wanted = !pq_xt_cannot_name(conf->ifname, why) ? calloc(1, sizeof *wanted) : NULL;
    if (!wanted)
        return PQ_ENOTSUP;
    want_all(wanted, conf);
    if (strcmp(conf->ifname, t->ifname) != 0)
        t->before = t->newest; /* packets may still come in there */
    snprintf(t->ifname, sizeof t->ifname, "%s", conf->ifname);
    t->newest = *wanted;
    for (unsigned i = 0; i < t->before.n && wanted->n < JUMPS; i++)
        wanted->v[wanted->n++] = t->before.v[i];
    const int e = change(t, wanted, conf->client || conf->n_own, why);
    free(wanted);
    return e;
}

int pq_iptables_move(struct pq_iptables *t, const struct pq_firewall_conf *conf)
{
    return move(t, conf, NULL);
}

/* ---- own ports of a client */

static bool rule(struct pq_iptables *t, int family, const char *text)
{
    struct pq_xt_batch b;
    if (!t->there[family])
        return true;
    begin(t, &b, family);
    pq_xt_add(&b, "%s", text);
    return pq_xt_commit(&b, NULL) == 0;
}

static bool port_rule(struct pq_iptables *t, char what, uint16_t port)
{
    char text[64];
    bool ok = true;
    snprintf(text, sizeof text, "-%c $in -p tcp --dport %u -j DROP", what, port);
    for (int family = 0; family < PQ_XT_FAMILIES; family++)
        ok = rule(t, family, text) && ok;
    return ok;
}

static void drop_own(struct pq_iptables *t, unsigned i)
{
    port_rule(t, 'D', t->own[i].port);
    t->own[i] = t->own[--t->n_own];
}

/* Those whose time is over go; if there is no room, the one that would go first. */
static void tidy(struct pq_iptables *t)
{
    const pq_ns now = pq_clock();
    unsigned first = 0;
    for (unsigned i = t->n_own; i-- > 0;)
        if (t->own[i].until <= now)
            drop_own(t, i);
    for (unsigned i = 1; i < t->n_own; i++)
        if (t->own[i].until < t->own[first].until)
            first = i;
    if (t->n_own == PORTS && t->own[first].until != FOR_EVER)
        drop_own(t, first);
}

static struct own *find_own(struct pq_iptables *t, uint16_t port)
{
    for (unsigned i = 0; i < t->n_own; i++)
        if (t->own[i].port == port)
            return &t->own[i];
    return NULL;
}

int pq_iptables_add(struct pq_iptables *t, uint16_t port)
{
    tidy(t);
    struct own *o = find_own(t, port);
    if (o) {
        o->until = FOR_EVER;
        return 0;
    }
    if (t->n_own == PORTS || !port_rule(t, 'A', port))
        return PQ_ENOTSUP;
    t->own[t->n_own++] = (struct own){port, FOR_EVER};
    return 0;
}

int pq_iptables_remove(struct pq_iptables *t, uint16_t port, uint64_t linger_ms)
{
    struct own *o = find_own(t, port);
    if (o)
        o->until = pq_clock() + linger_ms * PQ_MS;
    tidy(t);
    return o ? 0 : PQ_ENOTSUP;
}

/* ---- strangers, who get what the machine has on the port */

static bool exclusion(struct pq_iptables *t, char what, const struct pq_addr *a)
{
    char text[160], ip[PQ_ADDR_STRLEN];
    snprintf(text, sizeof text, "-%c $in -s %s -p tcp --sport %u -j DROP", what,
             pq_addr_ip_str(a, ip), a->port);
    return rule(t, pq_addr_is4(a) ? PQ_XT_V4 : PQ_XT_V6, text);
}

static bool put_back(struct pq_iptables *t, unsigned i)
{
    const struct pq_addr a = t->excluded[i];
    t->excluded[i].port = 0;
    return exclusion(t, 'D', &a);
}

/* What the kernel tracks it has made itself of an injected SYN; packets of the tunnel are dropped
 * before they are.  So nothing is to be done but for who was excluded. */
int pq_iptables_admit(struct pq_iptables *t, const struct pq_addr *from)
{
    for (unsigned i = 0; i < EXCLUDED; i++)
        if (t->excluded[i].port && pq_addr_eq(&t->excluded[i], from))
            return put_back(t, i) ? 0 : PQ_ENOTSUP;
    return 0;
}

int pq_iptables_exclude(struct pq_iptables *t, const struct pq_addr *from)
{
    for (unsigned i = 0; i < EXCLUDED; i++)
        if (t->excluded[i].port && pq_addr_eq(&t->excluded[i], from))
            return 0;
    if (t->excluded[t->next].port)
        put_back(t, t->next);
    if (!exclusion(t, 'I', from))
        return PQ_ENOTSUP;
    t->excluded[t->next] = *from;
    t->next = (t->next + 1) % EXCLUDED;
    return 0;
}

/* ---- begin and end */

static bool make_chain(struct pq_iptables *t, int family, const struct pq_firewall_conf *c,
                       char *why)
{
    struct pq_xt_batch b;
    if (pq_xt_use(&t->xt, family, t->place->table, why))
        return false;
    begin(t, &b, family);
    pq_xt_chain(&b, "in");
    if (c->decoy)
        pq_xt_add(&b, "-A $in -m conntrack --ctstatus CONFIRMED -j RETURN");
    if (!t->client)
        pq_xt_add(&b, "-A $in -j DROP");
    return pq_xt_commit(&b, why) == 0;
}

static void remove_chains(struct pq_iptables *t)
{
    for (int family = 0; family < PQ_XT_FAMILIES; family++)
        if (t->there[family])
            pq_xt_remove(&t->xt, family, t->place->table);
    t->now.n = 0;
}

/* Tries one place: the chain in both families, and what leads there. */
static bool make(struct pq_iptables *t, const struct pq_firewall_conf *c, char *why)
{
    char six[PQ_OS_WHY_LEN];
    t->there[PQ_XT_V4] = make_chain(t, PQ_XT_V4, c, why);
    t->there[PQ_XT_V6] = make_chain(t, PQ_XT_V6, c, t->there[PQ_XT_V4] ? six : why);
    if (!t->there[PQ_XT_V4] && !t->there[PQ_XT_V6])
        return false;
    return move(t, c, why) == 0;
}

int pq_iptables_open(struct pq_iptables **out, const struct pq_firewall_conf *conf,
                     char why[PQ_OS_WHY_LEN])
{
    *out = NULL;
    why[0] = 0;
    if (pq_xt_cannot_name(conf->ifname, why))
        return PQ_ENOTSUP;
    struct pq_iptables *t = calloc(1, sizeof *t);
    if (!t || pq_xt_open(&t->xt, NULL)) {
        free(t);
        return PQ_ENOMEM;
    }
    t->client = conf->client;
    const struct place *first = conf->decoy ? &tracked : places;
    const size_t n = conf->decoy ? 1 : sizeof places / sizeof places[0];
    for (size_t i = 0; i < n; i++) {
        t->place = &first[i];
        if (make(t, conf, why)) {
            *out = t;
            return 0;
        }
        remove_chains(t);
    }
    pq_xt_close(&t->xt);
    free(t);
    return PQ_ENOTSUP;
}

const char *pq_iptables_kind(const struct pq_iptables *t)
{
    return t->place->kind;
}

void pq_iptables_close(struct pq_iptables *t)
{
    if (!t)
        return;
    remove_chains(t);
    pq_xt_close(&t->xt);
    free(t);
}
