/* SPDX-License-Identifier: MIT */
#include "os/linux/iptables.h"

#include "base/err.h"
#include "base/time.h"
#include "os/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE (5 * PQ_SEC)
#define CHAIN    "paqet-"
#define PORTS    512
#define JUMPS    (4 * PQ_FIREWALL_SERVERS) /* of two interfaces; both families at a server */
#define WORDS    32
#define LISTING  65536
#define COMMAND  320
#define SPEC     192
#define FOR_EVER UINT64_MAX

/* Where the chain hangs. */
static const struct place {
    const char *table, *hook, *kind;
} places[] = {
    {"raw", "PREROUTING", "iptables (raw), removed at the end or by the next start"},
    {"filter", "INPUT", "iptables (filter), removed at the end or by the next start"},
};

enum { V4, V6, FAMILIES };

static const char *const tools[FAMILIES] = {"iptables", "ip6tables"};

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
    const struct place *place;
    char chain[32];
    bool there[FAMILIES]; /* the tool works, and the chain is made */
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
};

/* ---- the programs */

/* Runs one, given as words with blanks between them.  Returns whether it did it. */
static bool run(char *out, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static bool run(char *out, size_t cap, const char *fmt, ...)
{
    char text[COMMAND], *rest = text, *word;
    const char *argv[WORDS];
    unsigned n = 0;
    va_list ap;
    va_start(ap, fmt);
    const int len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (len < 0 || len >= (int)sizeof text)
        return false;
    while ((word = strsep(&rest, " ")) && n < WORDS - 1)
        if (*word)
            argv[n++] = word;
    argv[n] = NULL;
    return pq_spawn(argv, out, cap, PATIENCE) == 0;
}

static bool on_chain(const struct pq_iptables *t, int family, const char *what, const char *rule)
{
    return run(NULL, 0, "%s -w -t %s %s %s %s", tools[family], t->place->table, what, t->chain,
               rule);
}

static bool on_hook(const struct pq_iptables *t, const char *what, const struct jump *j)
{
    return run(NULL, 0, "%s -w -t %s %s %s %s -j %s", tools[j->family], t->place->table, what,
               t->place->hook, j->spec, t->chain);
}

/* ---- what a killed process left */

static bool is_dead(const char *chain)
{
    char *end;
    const long pid = strtol(chain + strlen(CHAIN), &end, 10);
    if (pid <= 0 || (*end != 0 && *end != ' '))
        return false;
    return pid == (long)getpid() || (kill((pid_t)pid, 0) && errno == ESRCH);
}

/* A line of the listing: rules that lead into a chain of one who is gone go first, as they come
 * behind the list of chains ("-N") but must go before these. */
static void sweep_line(const char *tool, const char *table, char *line, bool rules)
{
    char *chain = strstr(line, rules ? " -j " CHAIN : "-N " CHAIN);
    if (!chain)
        return;
    chain += strlen(rules ? " -j " : "-N ");
    if (!is_dead(chain))
        return;
    if (rules && strncmp(line, "-A ", 3) == 0) {
        run(NULL, 0, "%s -w -t %s -D %s", tool, table, line + 3);
    } else if (!rules) {
        run(NULL, 0, "%s -w -t %s -F %s", tool, table, chain);
        run(NULL, 0, "%s -w -t %s -X %s", tool, table, chain);
    }
}

static void sweep(const char *tool, const char *table)
{
    char *list = malloc(LISTING), *copy = NULL;
    if (list && run(list, LISTING, "%s -w -t %s -S", tool, table))
        copy = strdup(list);
    for (int rules = 1; rules >= 0 && copy; rules--) {
        char *rest = rules ? list : copy, *line;
        while ((line = strsep(&rest, "\n")))
            sweep_line(tool, table, line, rules);
    }
    free(copy);
    free(list);
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
        want(w, c, pq_addr_is4(a) ? V4 : V6, a, c->client ? &c->server[i].ports : &c->ports);
    }
    for (int family = 0; family < FAMILIES && !n && !c->client; family++)
        want(w, c, family, NULL, &c->ports);
}

/* Makes what is missing, then removes what is too much.  Without a tool for a family its packets
 * are not dropped: an error, unless nothing says that there are any. */
static int change(struct pq_iptables *t, const struct jumps *wanted, bool strict)
{
    bool ok = true;
    for (unsigned i = 0; i < wanted->n; i++) {
        const struct jump *j = &wanted->v[i];
        if (!t->there[j->family])
            ok = ok && !strict;
        else if (!has(&t->now, j))
            ok = on_hook(t, "-I", j) && ok;
    }
    for (unsigned i = 0; i < t->now.n; i++)
        if (t->there[t->now.v[i].family] && !has(wanted, &t->now.v[i]))
            on_hook(t, "-D", &t->now.v[i]);
    t->now = *wanted;
    return ok ? 0 : PQ_ENOTSUP;
}

int pq_iptables_move(struct pq_iptables *t, const struct pq_firewall_conf *conf)
{
    struct jumps *wanted = calloc(1, sizeof *wanted);
    if (!wanted)
        return PQ_ENOTSUP;
    want_all(wanted, conf);
    if (strcmp(conf->ifname, t->ifname) != 0)
        t->before = t->newest; /* packets may still come in there */
    snprintf(t->ifname, sizeof t->ifname, "%s", conf->ifname);
    t->newest = *wanted;
    for (unsigned i = 0; i < t->before.n && wanted->n < JUMPS; i++)
        wanted->v[wanted->n++] = t->before.v[i];
    const int e = change(t, wanted, conf->client || conf->n_own);
    free(wanted);
    return e;
}

/* ---- own ports of a client */

static bool port_rule(const struct pq_iptables *t, const char *what, uint16_t port)
{
    char rule[64];
    bool ok = true;
    snprintf(rule, sizeof rule, "-p tcp --dport %u -j DROP", port);
    for (int family = 0; family < FAMILIES; family++)
        ok = (!t->there[family] || on_chain(t, family, what, rule)) && ok;
    return ok;
}

static void drop_own(struct pq_iptables *t, unsigned i)
{
    port_rule(t, "-D", t->own[i].port);
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
    if (t->n_own == PORTS || !port_rule(t, "-A", port))
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

/* ---- begin and end */

static bool make_chain(struct pq_iptables *t, int family)
{
    if (!pq_spawn_finds(tools[family]))
        return false;
    sweep(tools[family], t->place->table);
    return on_chain(t, family, "-N", "") && (t->client || on_chain(t, family, "-A", "-j DROP"));
}

static void remove_chains(struct pq_iptables *t)
{
    const struct jumps none = {.n = 0};
    change(t, &none, false);
    for (int family = 0; family < FAMILIES; family++) {
        if (!t->there[family])
            continue;
        on_chain(t, family, "-F", "");
        on_chain(t, family, "-X", "");
    }
}

int pq_iptables_open(struct pq_iptables **out, const struct pq_firewall_conf *conf)
{
    *out = NULL;
    struct pq_iptables *t = calloc(1, sizeof *t);
    if (!t)
        return PQ_ENOMEM;
    t->client = conf->client;
    snprintf(t->chain, sizeof t->chain, CHAIN "%ld", (long)getpid());
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        t->place = &places[i];
        for (int family = 0; family < FAMILIES; family++)
            t->there[family] = make_chain(t, family);
        if ((t->there[V4] || t->there[V6]) && pq_iptables_move(t, conf) == 0) {
            *out = t;
            return 0;
        }
        remove_chains(t);
    }
    free(t);
    return PQ_ENOTSUP;
}

const char *pq_iptables_kind(const struct pq_iptables *t)
{
    return t->place->kind;
}

void pq_iptables_close(struct pq_iptables *t)
{
    if (t)
        remove_chains(t);
    free(t);
}
