/* SPDX-License-Identifier: MIT */
#include "exit/rules.h"

#include "base/err.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_LEN 253
#define PORT_MAX     65535

enum kind { RULE_ANY, RULE_PUBLIC, RULE_NET, RULE_NAME, RULE_BELOW };

struct rule {
    enum kind kind;
    bool has_ports;
    uint16_t from, to;
    struct pq_net net; /* RULE_NET */
    char *name;        /* RULE_NAME, RULE_BELOW (without "*.") */
    size_t name_len;
};

struct pq_rules {
    atomic_uint holders;
    struct rule *allow, *deny;
    bool has_allow;
    unsigned n_allow, n_deny, n_own;
    struct pq_addr *own;
};

/* ---- reading entries */

/* Reads a port up to the end or a '-'. */
static const char *read_port(const char *s, uint16_t *port)
{
    unsigned v = 0;
    const char *p = s;
    for (; *p >= '0' && *p <= '9' && p - s < 5; p++)
        v = v * 10 + (unsigned)(*p - '0');
    if (p == s || v == 0 || v > PORT_MAX)
        return NULL;
    *port = (uint16_t)v;
    return p;
}

static int read_ports(struct rule *e, const char *s)
{
    const char *p = read_port(s, &e->from);
    e->to = e->from;
    if (p && *p == '-')
        p = read_port(p + 1, &e->to);
    e->has_ports = true;
    return p && !*p && e->from <= e->to ? 0 : PQ_EINVAL;
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_';
}

bool pq_rules_is_name(const char *host)
{
    const char *label = host, *p = host;
    for (; *p; p++) {
        if (*p != '.' ? !is_name_char(*p) : p == label)
            return false;
        if (*p == '.')
            label = p + 1;
    }
    return p != host;
}

/* A host name in an entry; what ends in a label of digits is no name but a mistaken address. */
static bool is_name(const char *s, size_t n)
{
    size_t label = 0;
    bool digits = true;
    if (!n || n > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '.') {
            if (!label)
                return false;
            label = 0;
            digits = true;
            continue;
        }
        if (!is_name_char(s[i]))
            return false;
        digits = digits && isdigit((unsigned char)s[i]);
        if (++label > 63)
            return false;
    }
    return label && !digits;
}

static bool word(const char *s, size_t n, const char *what)
{
    return n == strlen(what) && strncasecmp(s, what, n) == 0;
}

/* Reads what stands before the port.  On success *name is where a name begins in s. */
static int read_host(struct rule *e, const char *s, size_t n, const char **name)
{
    char text[PQ_ADDR_STRLEN];
    if (word(s, n, "any") || word(s, n, "*")) {
        e->kind = RULE_ANY;
        return 0;
    }
    if (word(s, n, "public")) {
        e->kind = RULE_PUBLIC;
        return 0;
    }
    if (n < sizeof text) {
        memcpy(text, s, n);
        text[n] = 0;
        e->kind = RULE_NET;
        if (pq_net_parse(&e->net, text) == 0)
            return 0;
    }
    e->kind = RULE_NAME;
    if (n > 2 && s[0] == '*' && s[1] == '.') {
        e->kind = RULE_BELOW;
        s += 2;
        n -= 2;
    }
    if (n > 1 && s[n - 1] == '.')
        n--;
    *name = s;
    e->name_len = n;
    return is_name(s, n) ? 0 : PQ_EINVAL;
}

static int parse(struct rule *e, const char *text, const char **name)
{
    *e = (struct rule){0};
    *name = NULL;
    const char *colon = strchr(text, ':');
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (!end || !colon || colon > end || (end[1] && end[1] != ':'))
            return PQ_EINVAL;
        if (end[1] && read_ports(e, end + 2))
            return PQ_EINVAL;
        return read_host(e, text + 1, (size_t)(end - text - 1), name);
    }
    if (!colon || strchr(colon + 1, ':')) /* no port, or IPv6 */
        return read_host(e, text, strlen(text), name);
    if (read_ports(e, colon + 1))
        return PQ_EINVAL;
    return read_host(e, text, (size_t)(colon - text), name);
}

int pq_rules_check_entry(const char *text)
{
    struct rule e;
    const char *name;
    return parse(&e, text, &name);
}

/* ---- building */

static void free_list(struct rule *v, unsigned n)
{
    for (unsigned i = 0; v && i < n; i++)
        free(v[i].name);
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

static int build_list(struct rule **out, unsigned *n_out, const char *const *text, unsigned n)
{
    if (!text || !n)
        return 0;
    struct rule *v = *out = calloc(n, sizeof *v);
    if (!v)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < n; i++) {
        const char *name;
        int e = parse(&v[i], text[i], &name);
        if (e)
            return e;
        *n_out = i + 1;
        if (name && !(v[i].name = strndup(name, v[i].name_len)))
            return PQ_ENOMEM;
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

/* ---- what kind of address */

/* IPv4 that is not globally routable (IANA's registry of special-purpose addresses). */
static bool is_special4(uint32_t ip)
{
    static const struct {
        uint32_t net;
        unsigned bits;
    } t[] = {
        {0x00000000, 8},  /* this network */
        {0x0a000000, 8},  /* private */
        {0x64400000, 10}, /* shared, carrier-grade NAT */
        {0x7f000000, 8},  /* loopback */
        {0xa9fe0000, 16}, /* link-local */
        {0xac100000, 12}, /* private */
        {0xc0000000, 24}, /* protocol assignments */
        {0xc0000200, 24}, /* TEST-NET-1 */
        {0xc0a80000, 16}, /* private */
        {0xc6120000, 15}, /* benchmarks */
        {0xc6336400, 24}, /* TEST-NET-2 */
        {0xcb007100, 24}, /* TEST-NET-3 */
        {0xe0000000, 3},  /* multicast, reserved, broadcast */
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++)
        if ((ip ^ t[i].net) >> (32 - t[i].bits) == 0)
            return true;
    return false;
}

/* IPv6 out of 2000::/3, or one of its parts that is not globally routable. */
static bool is_special6(const uint8_t ip[16])
{
    const unsigned a = (unsigned)ip[0] << 8 | ip[1], b = (unsigned)ip[2] << 8 | ip[3];
    return a >> 13 != 1 || (a == 0x2001 && b < 0x200) /* protocol assignments, ORCHID, benchmarks */
           || (a == 0x2001 && b == 0x0db8) || (a == 0x3fff && b < 0x1000); /* documentation */
}

/* The IPv4 addresses to which an IPv6 address leads.  Returns how many. */
static unsigned inner4(const struct pq_addr *a, struct pq_addr out[2])
{
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b}, zero[12];
    const uint8_t *ip = a->ip;
    if (memcmp(ip, nat64, 12) == 0 || memcmp(ip, zero, 12) == 0) {
        pq_addr_set4(&out[0], ip + 12, a->port);
        return 1;
    }
    if (ip[0] != 0x20)
        return 0;
    if (ip[1] == 0x02) { /* 6to4 */
        pq_addr_set4(&out[0], ip + 2, a->port);
        return 1;
    }
    if (ip[1] == 0x01 && !ip[2] && !ip[3]) { /* Teredo: server, and client with all bits turned */
        const uint8_t client[4] = {ip[12] ^ 0xff, ip[13] ^ 0xff, ip[14] ^ 0xff, ip[15] ^ 0xff};
        pq_addr_set4(&out[0], ip + 4, a->port);
        pq_addr_set4(&out[1], client, a->port);
        return 2;
    }
    return 0;
}

static bool is_own(const struct pq_rules *r, const struct pq_addr *a)
{
    for (unsigned i = 0; i < r->n_own; i++)
        if (pq_addr_eq_ip(&r->own[i], a))
            return true;
    return false;
}

static bool is_public4(const struct pq_rules *r, const struct pq_addr *a)
{
    const uint8_t *b = pq_addr_v4(a);
    const uint32_t ip = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return !is_special4(ip) && !is_own(r, a);
}

static bool is_public(const struct pq_rules *r, const struct pq_addr *a)
{
    struct pq_addr in[2];
    if (pq_addr_is4(a))
        return is_public4(r, a);
    unsigned n = inner4(a, in);
    for (unsigned i = 0; i < n; i++)
        if (!is_public4(r, &in[i]))
            return false;
    return (n || !is_special6(a->ip)) && !is_own(r, a);
}

/* ---- matching */

static bool port_fits(const struct rule *e, uint16_t port, bool has_port)
{
    return !e->has_ports || (has_port && port >= e->from && port <= e->to);
}

static size_t name_len(const char *host)
{
    size_t n = host ? strlen(host) : 0;
    return n && host[n - 1] == '.' ? n - 1 : n;
}

static bool name_fits(const struct rule *e, const char *host, size_t n)
{
    if (!n)
        return false;
    if (e->kind == RULE_BELOW) {
        if (n < e->name_len + 2 || host[n - e->name_len - 1] != '.')
            return false;
        host += n - e->name_len;
        n = e->name_len;
    }
    return n == e->name_len && strncasecmp(host, e->name, n) == 0;
}

struct subject {
    const char *host;
    size_t host_len;
    const struct pq_addr *a;
    bool has_port;
};

static bool fits(const struct pq_rules *r, const struct rule *e, const struct subject *s)
{
    if (!port_fits(e, s->a->port, s->has_port))
        return false;
    switch (e->kind) {
    case RULE_ANY:
        return true;
    case RULE_PUBLIC:
        return is_public(r, s->a);
    case RULE_NET:
        return pq_net_has(&e->net, s->a);
    default:
        return name_fits(e, s->host, s->host_len);
    }
}

/* The other addresses that a packet to this one may reach.  Returns how many. */
static unsigned leads_to(const struct pq_addr *a, struct pq_addr out[3])
{
    static const uint8_t localhost[4] = {127, 0, 0, 1}, loopback[16] = {[15] = 1};
    if (pq_addr_is4(a) && !pq_addr_is_any(a))
        return 0;
    if (!pq_addr_is_any(a))
        return inner4(a, out);
    pq_addr_set4(&out[0], localhost, a->port);
    pq_addr_set6(&out[1], loopback, a->port);
    return 2;
}

static bool denied(const struct pq_rules *r, const struct subject *s)
{
    struct pq_addr also[3];
    unsigned n = leads_to(s->a, also);
    for (unsigned i = 0; i < r->n_deny; i++) {
        const struct rule *e = &r->deny[i];
        if (fits(r, e, s))
            return true;
        for (unsigned k = 0; k < n && e->kind == RULE_NET; k++)
            if (port_fits(e, s->a->port, s->has_port) && pq_net_has(&e->net, &also[k]))
                return true;
    }
    return false;
}

bool pq_rules_target(const struct pq_rules *r, const char *host, const struct pq_addr *a,
                     bool has_port)
{
    if (!r)
        return true;
    const struct subject s = {host, name_len(host), a, has_port};
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
    const size_t n = name_len(host);
    for (unsigned i = 0; i < r->n_deny; i++) {
        const struct rule *e = &r->deny[i];
        bool all = e->kind == RULE_ANY || (e->name && name_fits(e, host, n));
        if (all && port_fits(e, port, true))
            return false;
    }
    for (unsigned i = 0; i < r->n_allow; i++) {
        const struct rule *e = &r->allow[i];
        if (port_fits(e, port, true) && (!e->name || name_fits(e, host, n)))
            return true;
    }
    return !r->has_allow;
}

static bool asks_addr(const struct rule *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (v[i].kind == RULE_NET || v[i].kind == RULE_PUBLIC)
            return true;
    return false;
}

bool pq_rules_need_addr(const struct pq_rules *r)
{
    return r && (asks_addr(r->allow, r->n_allow) || asks_addr(r->deny, r->n_deny));
}

static bool asks_name(const struct rule *v, unsigned n)
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
