/* SPDX-License-Identifier: MIT */
#include "relay/rules.h"

#include "base/err.h"
#include "relay/match.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct pq_rules {
    atomic_uint holders;
    struct pq_match *allow, *deny;
    bool has_allow;
    unsigned n_allow, n_deny, n_own;
    struct pq_addr *own;
};

int pq_rules_check_entry(const char *text)
{
    struct pq_match m;
    int e = pq_match_parse(&m, text);
    pq_match_free(&m);
    return e;
}

/* ---- building */

static void free_list(struct pq_match *v, unsigned n)
{
    for (unsigned i = 0; v && i < n; i++)
        pq_match_free(&v[i]);
    free(v);
}

const struct pq_rules *pq_rules_hold(const struct pq_rules *r)
{
    if (r)
        atomic_fetch_add(&((struct pq_rules *)(uintptr_t)r)->holders, 1);
    return r;
}

void pq_rules_drop(const struct pq_rules *shared)
{
    struct pq_rules *r = (struct pq_rules *)(uintptr_t)shared;
    if (!r || atomic_fetch_sub(&r->holders, 1) != 1)
        return;
    free_list(r->allow, r->n_allow);
    free_list(r->deny, r->n_deny);
    free(r->own);
    free(r);
}

void pq_rules_free(struct pq_rules **r)
{
    pq_rules_drop(*r);
    *r = NULL;
}

static int build_list(struct pq_match **out, unsigned *n_out, const char *const *text, unsigned n)
{
    if (!text || !n)
        return 0;
    struct pq_match *v = *out = calloc(n, sizeof *v);
    if (!v)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < n; i++) {
        *n_out = i + 1;
        int e = pq_match_parse(&v[i], text[i]);
        if (e)
            return e;
    }
    return 0;
}

int pq_rules_new(struct pq_rules **out, const char *const *allow, unsigned n_allow,
                 const char *const *deny, unsigned n_deny)
{
    struct pq_rules *r = *out = calloc(1, sizeof *r);
    if (!r)
        return PQ_ENOMEM;
    atomic_init(&r->holders, 1);
    r->has_allow = allow != NULL;
    int e = build_list(&r->allow, &r->n_allow, allow, n_allow);
    if (!e)
        e = build_list(&r->deny, &r->n_deny, deny, n_deny);
    if (e)
        pq_rules_free(out);
    return e;
}

int pq_rules_add_own(struct pq_rules *r, const struct pq_addr *own, unsigned n)
{
    if (!n)
        return 0;
    struct pq_addr *v = realloc(r->own, (r->n_own + n) * sizeof *v);
    if (!v)
        return PQ_ENOMEM;
    memcpy(v + r->n_own, own, n * sizeof *v);
    r->own = v;
    r->n_own += n;
    return 0;
}

/* ---- matching */

struct subject {
    const char *host;
    size_t host_len;
    const struct pq_addr *a;
    bool has_port;
};

static bool fits(const struct pq_rules *r, const struct pq_match *e, const struct subject *s)
{
    if (!pq_match_port(e, s->a->port, s->has_port))
        return false;
    switch (e->kind) {
    case PQ_MATCH_ANY:
        return true;
    case PQ_MATCH_PUBLIC:
        return pq_match_is_public(s->a, r->own, r->n_own);
    case PQ_MATCH_NET:
        return pq_net_has(&e->net, s->a);
    default:
        return pq_match_name(e, s->host, s->host_len);
    }
}

/* The other addresses that a packet to this one may reach.  Returns how many. */
static unsigned leads_to(const struct pq_addr *a, struct pq_addr out[3])
{
    static const uint8_t localhost[4] = {127, 0, 0, 1}, loopback[16] = {[15] = 1};
    if (pq_addr_is4(a) && !pq_addr_is_any(a))
        return 0;
    if (!pq_addr_is_any(a))
        return pq_match_inner4(a, out);
    pq_addr_set4(&out[0], localhost, a->port);
    pq_addr_set6(&out[1], loopback, a->port);
    return 2;
}

static bool denied(const struct pq_rules *r, const struct subject *s)
{
    struct pq_addr also[3];
    unsigned n = leads_to(s->a, also);
    for (unsigned i = 0; i < r->n_deny; i++) {
        const struct pq_match *e = &r->deny[i];
        if (fits(r, e, s))
            return true;
        for (unsigned k = 0; k < n && e->kind == PQ_MATCH_NET; k++)
            if (pq_match_port(e, s->a->port, s->has_port) && pq_net_has(&e->net, &also[k]))
                return true;
    }
    return false;
}

bool pq_rules_target(const struct pq_rules *r, const char *host, const struct pq_addr *a,
                     bool has_port)
{
    if (!r)
        return true;
    const struct subject s = {host, pq_match_name_len(host), a, has_port};
    if (r->n_deny && denied(r, &s))
        return false;
    for (unsigned i = 0; i < r->n_allow; i++)
        if (fits(r, &r->allow[i], &s))
            return true;
    return !r->has_allow;
}

bool pq_rules_name(const struct pq_rules *r, const char *host, uint16_t port)
{
    if (!r)
        return true;
    const size_t n = pq_match_name_len(host);
    for (unsigned i = 0; i < r->n_deny; i++) {
        const struct pq_match *e = &r->deny[i];
        bool all = e->kind == PQ_MATCH_ANY || (e->name && pq_match_name(e, host, n));
        if (all && pq_match_port(e, port, true))
            return false;
    }
    for (unsigned i = 0; i < r->n_allow; i++) {
        const struct pq_match *e = &r->allow[i];
        if (pq_match_port(e, port, true) && (!e->name || pq_match_name(e, host, n)))
            return true;
    }
    return !r->has_allow;
}

static bool asks_addr(const struct pq_match *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (v[i].kind == PQ_MATCH_NET || v[i].kind == PQ_MATCH_PUBLIC)
            return true;
    return false;
}

bool pq_rules_need_addr(const struct pq_rules *r)
{
    return r && (asks_addr(r->allow, r->n_allow) || asks_addr(r->deny, r->n_deny));
}

static bool asks_name(const struct pq_match *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (v[i].name)
            return true;
    return false;
}

bool pq_rules_need_name(const struct pq_rules *r)
{
    return r && (asks_name(r->allow, r->n_allow) || asks_name(r->deny, r->n_deny));
}

bool pq_rules_has_allow(const struct pq_rules *r)
{
    return r && r->has_allow;
}
