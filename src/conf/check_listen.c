/* SPDX-License-Identifier: MIT */
/* check_listen.c - where a client listens: socks5 and forward, with their lists of ports. */
#include "conf/conf_internal.h"

#include "base/err.h"
#include "os/local.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN    253 /* of a name of DNS */
#define USER_MAX_LEN    255 /* of a name or password of SOCKS5 */
#define FORWARD_MAX_LEN 64  /* of the name of a forward */
#define PATH_LEN        40
#define TOKEN_MIN_LEN   16
#define TOKEN_MAX_LEN   200 /* it goes through forms for passwords, too */
#define RANGES_MAX      64  /* of one list of ports */
#define ALL_PORTS       "all"
#define EXCEPT_USUAL    "22" /* of listen: all */

/* ---- addresses */

bool pq_check_listen(struct pq_check *k, const char *path, int line, const char *text,
                     struct pq_addr *out)
{
    char host[PQ_HOST_LEN];
    uint16_t port;
    if (!pq_is_set(text)) {
        pq_conf_say(k->m, true, line, "%s: is missing; for example 127.0.0.1:1080", path);
        return false;
    }
    if (!pq_check_hostport(k, path, line, text, host, &port, 1))
        return false;
    if (pq_addr_parse_ip(out, !*host                           ? "0.0.0.0"
                              : strcmp(host, "localhost") == 0 ? "127.0.0.1"
                                                               : host)) {
        pq_conf_say(k->m, true, line, "%s: '%s' is not an IP address of this machine", path, host);
        return false;
    }
    out->port = port;
    return true;
}

static void check_login(struct pq_check *k, const struct pq_conf_socks5 *s, unsigned i)
{
    const bool user = pq_is_set(s->username), pass = pq_is_set(s->password);
    if (user != pass)
        pq_conf_say(k->m, false, s->line,
                    "socks5[%u]: only %s is set; clients must send the other one empty", i,
                    user ? "username" : "password");
    if (user && strlen(s->username) > USER_MAX_LEN)
        pq_conf_say(k->m, true, s->line, "socks5[%u].username: is longer than %d bytes", i,
                    USER_MAX_LEN);
    if (pass && strlen(s->password) > USER_MAX_LEN)
        pq_conf_say(k->m, true, s->line, "socks5[%u].password: is longer than %d bytes", i,
                    USER_MAX_LEN);
    if (user && strchr(s->username, ':'))
        pq_conf_say(k->m, false, s->line,
                    "socks5[%u].username: has a colon, which ends the name for programs that use "
                    "this as HTTP proxy; they cannot log in",
                    i);
}

static void check_socks5(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    for (unsigned i = 0; i < c->n_socks5; i++) {
        struct pq_conf_socks5 *s = &c->socks5[i];
        char path[PATH_LEN];
        snprintf(path, sizeof path, "socks5[%u].listen", i);
        pq_check_listen(k, path, s->line, s->listen, &s->addr);
        s->real_reply = pq_is_set(s->reply) && strcmp(s->reply, "real") == 0;
        if (pq_is_set(s->reply) && !s->real_reply && strcmp(s->reply, "early") != 0)
            pq_conf_say(k->m, true, s->line, "socks5[%u].reply: '%s' is not early or real", i,
                        s->reply);
        check_login(k, s, i);
    }
}

bool pq_check_target(struct pq_check *k, const char *path, int line, const char *text,
                     char host[PQ_HOST_LEN], uint16_t *port)
{
    struct pq_addr a;
    if (!pq_check_hostport(k, path, line, text, host, port, 1))
        return false;
    bool odd = false;
    for (const char *p = host; *p; p++)
        odd = odd || (unsigned char)*p <= ' ' || *p == '/' || *p == 0x7f;
    if (*text == '[') /* only an address, and only of IPv6, stands in brackets */
        odd = odd || pq_addr_parse_ip(&a, host) || pq_addr_is4(&a);
    if (!*host)
        pq_conf_say(k->m, true, line, "%s: '%s' has no host", path, text);
    else if (odd || strlen(host) > NAME_MAX_LEN)
        pq_conf_say(k->m, true, line, "%s: '%s' is not a name or an IP address", path, host);
    else
        return true;
    return false;
}

/* ---- lists of ports: 443,2053,8000-8100 */

struct ranges {
    struct pq_range v[RANGES_MAX];
    unsigned n, ports;
};

/* A port at *at, which moves on; 0 if there is none. */
static uint16_t read_port(const char **at)
{
    unsigned v = 0;
    while (**at >= '0' && **at <= '9' && v <= UINT16_MAX)
        v = v * 10 + (unsigned)(*(*at)++ - '0');
    return v <= UINT16_MAX ? (uint16_t)v : 0;
}

static bool read_ranges(const char *text, struct ranges *r)
{
    const char *at = text;
    *r = (struct ranges){.n = 0};
    for (;; at++) {
        at += strspn(at, " ");
        const uint16_t from = read_port(&at);
        uint16_t to = from;
        if (*at == '-') {
            at++;
            to = read_port(&at);
        }
        at += strspn(at, " ");
        if (!from || to < from || r->n == RANGES_MAX || (*at && *at != ','))
            return false;
        r->v[r->n].from = from;
        r->v[r->n++].to = to;
        r->ports += (unsigned)(to - from) + 1;
        if (!*at)
            return true;
    }
}

/* The n-th port of a list, from 0 on. */
static uint16_t nth_port(const struct ranges *r, unsigned n)
{
    for (unsigned i = 0; i < r->n; i++) {
        const unsigned here = (unsigned)(r->v[i].to - r->v[i].from) + 1;
        if (n < here)
            return (uint16_t)(r->v[i].from + n);
        n -= here;
    }
    return 0;
}

/* Where the ports of "host:ports" begin; NULL if there are none. */
static const char *ports_of(const char *text)
{
    const char *from = *text == '[' ? strchr(text, ']') : text;
    const char *colon = from ? strrchr(from, ':') : NULL;
    return colon ? colon + 1 : NULL;
}

/* Splits "host:ports" where there is more than a single port: the text with the first port alone is
 * left in `one`.  Returns false if something is wrong, which was said. */
static bool split_ports(struct pq_check *k, const char *path, int line, const char *text,
                        struct ranges *r, char one[PQ_HOST_LEN + 8])
{
    const char *ports = ports_of(text);
    *r = (struct ranges){.ports = 1};
    snprintf(one, PQ_HOST_LEN + 8, "%s", text);
    if (!ports || !strpbrk(ports, ",-") || strlen(text) >= PQ_HOST_LEN || strchr(text, '@'))
        return true; /* what reads one address says what is wrong with it */
    if (!read_ranges(ports, r)) {
        pq_conf_say(k->m, true, line,
                    "%s: '%s' has no list of ports such as 443,2053,8000-8100, of at most %d parts",
                    path, text, RANGES_MAX);
        return false;
    }
    snprintf(one + (ports - text), 8, "%u", r->v[0].from);
    return true;
}

/* ---- forward */

static bool has_word(const char *text, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(text, word, n) == 0;
}

/* "tcp", "udp", both with a comma between, or a list. */
static void check_protocol(struct pq_check *k, struct pq_conf_forward *f, unsigned nth)
{
    const struct pq_conf_list *l = &f->protocol_text;
    bool any = false;
    for (unsigned i = 0; i < l->n; i++) {
        for (const char *at = l->v[i]; *at;) {
            at += strspn(at, " ,");
            const size_t n = strcspn(at, " ,");
            f->tcp = f->tcp || has_word(at, n, "tcp");
            f->udp = f->udp || has_word(at, n, "udp");
            if (n && !has_word(at, n, "tcp") && !has_word(at, n, "udp"))
                pq_conf_say(k->m, true, f->line,
                            "forward[%u].protocol: '%.*s' is not tcp or udp, nor tcp,udp", nth,
                            (int)n, at);
            any = any || n;
            at += n;
        }
    }
    if (!any)
        pq_conf_say(k->m, true, f->line,
                    "forward[%u].protocol: is missing; say tcp or udp, or tcp,udp", nth);
}

/* The target's host and ports; without ports they are those of listen, and r->ports is 0. */
static bool check_forward_target(struct pq_check *k, struct pq_conf_forward *f, const char *path,
                                 struct ranges *r)
{
    char one[PQ_HOST_LEN + 8], host[PQ_HOST_LEN];
    uint16_t port;
    if (!pq_is_set(f->target)) {
        pq_conf_say(k->m, true, f->line, "%s: is missing; for example 192.0.2.5:53", path);
        return false;
    }
    if (!split_ports(k, path, f->line, f->target, r, one))
        return false;
    const bool same = !ports_of(f->target) && !strchr(f->target, '@') && strlen(one) < PQ_HOST_LEN;
    if (same)
        strcat(one, ":1"); /* there is room for it: only the host is looked at */
    if (!pq_check_target(k, path, f->line, one, host, &port))
        return false;
    if (same)
        r->ports = 0;
    else if (!r->n)
        r->v[r->n++] = (struct pq_range){port, port};
    f->host = strdup(host);
    return f->host != NULL;
}

static bool add_port(struct pq_conf *c, const struct pq_conf_port *p)
{
    if ((c->n_ports & (c->n_ports - 1)) == 0) { /* is full: doubles */
        struct pq_conf_port *v = realloc(c->port, (c->n_ports ? 2 * c->n_ports : 1) * sizeof *v);
        if (!v)
            return false;
        c->port = v;
    }
    c->port[c->n_ports++] = *p;
    return true;
}

struct spread { /* an entry's listeners as they are made from its lists */
    unsigned nth;
    unsigned ports;          /* so far */
    const struct ranges *to; /* NULL: something is wrong with the target */
};

/* Adds the ports of one text of listen. */
static void add_listeners(struct pq_check *k, const char *path, const char *text, struct spread *s)
{
    struct pq_conf *c = k->c;
    const struct pq_conf_forward *f = &c->forward[s->nth];
    struct pq_conf_port p = {.entry = s->nth};
    struct ranges r;
    char one[PQ_HOST_LEN + 8];
    if (!split_ports(k, path, f->line, text, &r, one) ||
        !pq_check_listen(k, path, f->line, one, &p.addr))
        return;
    for (unsigned i = 0; i < r.ports; i++, s->ports++) {
        if (r.n)
            p.addr.port = nth_port(&r, i);
        p.port = !s->to || !s->to->ports ? p.addr.port
                                         : nth_port(s->to, s->to->ports == 1 ? 0 : s->ports);
        for (int udp = 0; udp < 2; udp++) {
            p.udp = udp;
            if (!(udp ? f->udp : f->tcp))
                continue;
            if (c->n_ports == PQ_CONF_PORTS_MAX) {
                pq_conf_say(k->m, true, f->line,
                            "%s: more than %d ports to listen on, those before counted", path,
                            PQ_CONF_PORTS_MAX);
                return;
            }
            if (!add_port(c, &p))
                pq_conf_say(k->m, true, f->line, "%s: memory is short", path);
        }
    }
}

/* ---- all ports */

/* Adds a list to what stays with this machine.  Returns false if it is none, or too long. */
static bool leave(struct pq_conf_forward *f, const char *text)
{
    struct ranges r;
    if (!read_ranges(text, &r) || f->n_not_taken + r.n > RANGES_MAX)
        return false;
    struct pq_range *v = realloc(f->not_taken, (f->n_not_taken + r.n) * sizeof *v);
    if (!v)
        return false;
    f->not_taken = v;
    memcpy(v + f->n_not_taken, r.v, r.n * sizeof *v);
    f->n_not_taken += r.n;
    return true;
}

static void check_except(struct pq_check *k, struct pq_conf_forward *f, unsigned nth)
{
    const struct pq_conf_list *l = &f->except_text;
    if (!l->set || l->bare)
        leave(f, EXCEPT_USUAL);
    for (unsigned i = 0; i < l->n; i++)
        if (!leave(f, l->v[i]))
            pq_conf_say(k->m, true, f->line,
                        "forward[%u].except: '%s' is no list of ports such as 22,8000-8100, of at "
                        "most %d parts together",
                        nth, l->v[i], RANGES_MAX);
}

/* One socket for each protocol and IP version takes them. */
static void check_all(struct pq_check *k, struct pq_conf_forward *f, unsigned nth,
                      const struct ranges *to)
{
    static const char *const inside[] = {"127.0.0.1", "::1"};
    if (to->ports > 1)
        pq_conf_say(k->m, true, f->line,
                    "forward[%u].target: has %u ports; with listen: all say one, or none where "
                    "they are the same",
                    nth, to->ports);
    check_except(k, f, nth);
    for (int i = 0; i < 4; i++) {
        struct pq_conf_port p = {
            .entry = nth, .all = true, .udp = i & 1, .port = to->ports == 1 ? to->v[0].from : 0};
        pq_addr_parse_ip(&p.addr, inside[i / 2]);
        if ((p.udp ? f->udp : f->tcp) &&
            (k->c->n_ports == PQ_CONF_PORTS_MAX || !add_port(k->c, &p)))
            pq_conf_say(k->m, true, f->line, "forward[%u].listen: more than %d ports to listen on",
                        nth, PQ_CONF_PORTS_MAX);
    }
}

static bool is_all(const struct pq_conf_forward *f)
{
    return f->listen_text.n == 1 && strcmp(f->listen_text.v[0], ALL_PORTS) == 0;
}

static void check_forward(struct pq_check *k, unsigned nth)
{
    struct pq_conf_forward *f = &k->c->forward[nth];
    char path[PATH_LEN], target[PATH_LEN];
    struct ranges to;
    snprintf(path, sizeof path, "forward[%u].listen", nth);
    snprintf(target, sizeof target, "forward[%u].target", nth);
    check_protocol(k, f, nth);
    const bool ok = check_forward_target(k, f, target, &to);
    struct spread s = {.nth = nth, .to = ok ? &to : NULL};
    bool any = false;
    if (pq_is_set(f->name) && strlen(f->name) > FORWARD_MAX_LEN)
        pq_conf_say(k->m, true, f->line, "forward[%u].name: is longer than %d bytes", nth,
                    FORWARD_MAX_LEN);
    f->all = is_all(f);
    if (f->all && ok)
        check_all(k, f, nth, &to);
    if (f->all)
        return;
    if (f->except_text.set)
        pq_conf_say(k->m, true, f->line,
                    "forward[%u].except: is of use only with listen: all; leave the ports out of "
                    "listen",
                    nth);
    for (unsigned i = 0; i < f->listen_text.n; i++) {
        any = any || *f->listen_text.v[i];
        if (*f->listen_text.v[i])
            add_listeners(k, path, f->listen_text.v[i], &s);
    }
    if (!any)
        pq_conf_say(k->m, true, f->line, "%s: is missing; for example 127.0.0.1:8080", path);
    if (ok && to.ports > 1 && s.ports && to.ports != s.ports)
        pq_conf_say(k->m, true, f->line,
                    "%s: has %u ports, but listen has %u; say as many, or one for all of them, or "
                    "none where they are the same",
                    target, to.ports, s.ports);
}

/* ---- no two listeners at one place: several workers share a port, so the kernel would not notice
 */

struct place {
    struct pq_addr addr;
    bool udp;
    unsigned order; /* in which they were found: socks5 first */
    bool forward;
    unsigned entry;
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int d = x->udp - y->udp;
    if (!d)
        d = pq_addr_cmp(&x->addr, &y->addr);
    return d ? d : (x->order > y->order) - (x->order < y->order);
}

static void check_twice(struct pq_check *k)
{
    const struct pq_conf *c = k->c;
    const unsigned all = c->n_socks5 + c->n_ports;
    struct place *v = all ? calloc(all, sizeof *v) : NULL;
    unsigned n = 0;
    for (unsigned i = 0; v && i < c->n_socks5; i++)
        if (c->socks5[i].addr.port)
            v[n++] = (struct place){.addr = c->socks5[i].addr, .order = i, .entry = i};
    for (unsigned i = 0; v && i < c->n_ports; i++)
        v[n++] = (struct place){.addr = c->port[i].addr,
                                .udp = c->port[i].udp,
                                .order = c->n_socks5 + i,
                                .forward = true,
                                .entry = c->port[i].entry};
    if (v)
        qsort(v, n, sizeof *v, by_place);
    for (unsigned i = 1; i < n; i++) {
        const struct place *a = &v[i - 1], *b = &v[i];
        if (a->udp != b->udp || !pq_addr_eq(&a->addr, &b->addr))
            continue;
        if (!b->addr.port) {
            if (pq_addr_is4(&b->addr)) /* once for both IP versions */
                pq_conf_say(k->m, true, c->forward[b->entry].line,
                            "forward[%u].listen: forward[%u] has all ports for %s already",
                            b->entry, a->entry, b->udp ? "udp" : "tcp");
            continue;
        }
        pq_conf_say(k->m, true, b->forward ? c->forward[b->entry].line : c->socks5[b->entry].line,
                    "%s[%u].listen: %s[%u] already listens there, on port %u",
                    b->forward ? "forward" : "socks5", b->entry, a->forward ? "forward" : "socks5",
                    a->entry, b->addr.port);
    }
    free(v);
}

/* The page: for others than programs of this machine only with a word that they have to know. */
void pq_conf_check_status(struct pq_check *k)
{
    struct pq_conf *c = k->c;
    const char *const path = "status.listen";
    const int line = pq_key_line(k->lines, path);
    if (!pq_is_set(c->status_listen))
        return;
    if (*c->status_listen == '/')
        c->status_path = c->status_listen;
    else if (!pq_check_listen(k, path, line, c->status_listen, &c->status_addr))
        return;
#ifndef PQ_WITH_HTTP
    PQ_FAIL(k, path,
            "status.listen: this build is without libmicrohttpd; leave it out, and use "
            "'paqet status'");
#endif
    if (c->status_path && strlen(c->status_path) > PQ_LOCAL_PATH_MAX)
        PQ_FAIL(k, path, "status.listen: is longer than the %d bytes that a socket's path may have",
                PQ_LOCAL_PATH_MAX);
    if (!pq_is_set(c->status_token) && !c->status_path && !pq_addr_is_loopback(&c->status_addr))
        PQ_FAIL(k, path,
                "status.listen: '%s' can be reached from elsewhere: set status.token, or "
                "use 127.0.0.1",
                c->status_listen);
    if (pq_is_set(c->status_token) && strlen(c->status_token) < TOKEN_MIN_LEN)
        PQ_FAIL(k, "status.token",
                "status.token: is shorter than %d characters; 'paqet secret' "
                "makes one",
                TOKEN_MIN_LEN);
    if (pq_is_set(c->status_token) && strlen(c->status_token) > TOKEN_MAX_LEN)
        PQ_FAIL(k, "status.token", "status.token: is longer than %d characters", TOKEN_MAX_LEN);
    c->has_status = true;
}

void pq_conf_check_listeners(struct pq_check *k)
{
    check_socks5(k);
    pq_conf_check_status(k);
    for (unsigned i = 0; i < k->c->n_forward; i++)
        check_forward(k, i);
    check_twice(k);
}
