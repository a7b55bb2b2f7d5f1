/* SPDX-License-Identifier: MIT */
#include "relay/match.h"

#include "base/err.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_LEN 253
#define PORT_MAX     65535

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

static int read_ports(struct pq_match *e, const char *s)
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

bool pq_match_is_name(const char *host)
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
static int read_host(struct pq_match *e, const char *s, size_t n, const char **name)
{
    char text[PQ_ADDR_STRLEN];
    if (word(s, n, "any") || word(s, n, "*")) {
        e->kind = PQ_MATCH_ANY;
        return 0;
    }
    if (word(s, n, "public")) {
        e->kind = PQ_MATCH_PUBLIC;
        return 0;
    }
    if (n < sizeof text) {
        memcpy(text, s, n);
        text[n] = 0;
        e->kind = PQ_MATCH_NET;
        if (pq_net_parse(&e->net, text) == 0)
            return 0;
    }
    e->kind = PQ_MATCH_NAME;
    if (n > 2 && s[0] == '*' && s[1] == '.') {
        e->kind = PQ_MATCH_BELOW;
        s += 2;
        n -= 2;
    }
    if (n > 1 && s[n - 1] == '.')
        n--;
    *name = s;
    e->name_len = n;
    return is_name(s, n) ? 0 : PQ_EINVAL;
}

static int read_entry(struct pq_match *e, const char *text, const char **name)
{
    *e = (struct pq_match){0};
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

int pq_match_parse(struct pq_match *m, const char *text)
{
    const char *name;
    int e = read_entry(m, text, &name);
    if (!e && name && !(m->name = strndup(name, m->name_len)))
        e = PQ_ENOMEM;
    return e;
}

void pq_match_free(struct pq_match *m)
{
    free(m->name);
    m->name = NULL;
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

unsigned pq_match_inner4(const struct pq_addr *a, struct pq_addr out[2])
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

static bool is_own(const struct pq_addr *a, const struct pq_addr *own, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (pq_addr_eq_ip(&own[i], a))
            return true;
    return false;
}

static bool is_public4(const struct pq_addr *a, const struct pq_addr *own, unsigned n)
{
    const uint8_t *b = pq_addr_v4(a);
    const uint32_t ip = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return !is_special4(ip) && !is_own(a, own, n);
}

bool pq_match_is_public(const struct pq_addr *a, const struct pq_addr *own, unsigned n)
{
    struct pq_addr in[2];
    if (pq_addr_is4(a))
        return is_public4(a, own, n);
    const unsigned inner = pq_match_inner4(a, in);
    for (unsigned i = 0; i < inner; i++)
        if (!is_public4(&in[i], own, n))
            return false;
    return (inner || !is_special6(a->ip)) && !is_own(a, own, n);
}

/* ---- matching */

bool pq_match_port(const struct pq_match *m, uint16_t port, bool has_port)
{
    return !m->has_ports || (has_port && port >= m->from && port <= m->to);
}

size_t pq_match_name_len(const char *host)
{
    size_t n = host ? strlen(host) : 0;
    return n && host[n - 1] == '.' ? n - 1 : n;
}

bool pq_match_name(const struct pq_match *m, const char *host, size_t n)
{
    if (!n)
        return false;
    const bool same = n == m->name_len;
    if (m->kind == PQ_MATCH_BELOW || (m->kind == PQ_MATCH_DOMAIN && !same)) {
        if (n < m->name_len + 2 || host[n - m->name_len - 1] != '.')
            return false;
        host += n - m->name_len;
        n = m->name_len;
    }
    return n == m->name_len && strncasecmp(host, m->name, n) == 0;
}
