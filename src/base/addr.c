/* SPDX-License-Identifier: MIT */
#include "base/addr.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool pq_addr_is4(const struct pq_addr *a)
{
    return memcmp(a->ip, mapped, sizeof mapped) == 0;
}

bool pq_addr_eq(const struct pq_addr *a, const struct pq_addr *b)
{
    return a->port == b->port && pq_addr_eq_ip(a, b);
}

bool pq_addr_eq_ip(const struct pq_addr *a, const struct pq_addr *b)
{
    return memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

int pq_addr_cmp(const struct pq_addr *a, const struct pq_addr *b)
{
    const int d = memcmp(a->ip, b->ip, sizeof a->ip);
    return d ? d : (a->port > b->port) - (a->port < b->port);
}

bool pq_addr_is_any(const struct pq_addr *a)
{
    static const uint8_t zero[16];
    return memcmp(a->ip, zero, 16) == 0 || (pq_addr_is4(a) && memcmp(a->ip + 12, zero, 4) == 0);
}

bool pq_addr_is_loopback(const struct pq_addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return pq_addr_is4(a) ? a->ip[12] == 127 : memcmp(a->ip, one, 16) == 0;
}

void pq_addr_set4(struct pq_addr *a, const uint8_t ip[4], uint16_t port)
{
    memcpy(a->ip, mapped, sizeof mapped);
    memcpy(a->ip + 12, ip, 4);
    a->port = port;
}

void pq_addr_set6(struct pq_addr *a, const uint8_t ip[16], uint16_t port)
{
    memcpy(a->ip, ip, 16);
    a->port = port;
}

int pq_addr_parse_ip(struct pq_addr *a, const char *text)
{
    uint8_t b[16];
    if (inet_pton(AF_INET, text, b) == 1) {
        pq_addr_set4(a, b, 0);
        return 0;
    }
    if (inet_pton(AF_INET6, text, b) == 1) {
        pq_addr_set6(a, b, 0);
        return 0;
    }
    return PQ_EINVAL;
}

const char *pq_addr_ip_str(const struct pq_addr *a, char buf[PQ_ADDR_STRLEN])
{
    if (pq_addr_is4(a))
        inet_ntop(AF_INET, a->ip + 12, buf, PQ_ADDR_STRLEN);
    else
        inet_ntop(AF_INET6, a->ip, buf, PQ_ADDR_STRLEN);
    return buf;
}

const char *pq_addr_str(const struct pq_addr *a, char buf[PQ_ADDR_STRLEN])
{
    char ip[PQ_ADDR_STRLEN];
    pq_addr_ip_str(a, ip);
    snprintf(buf, PQ_ADDR_STRLEN, pq_addr_is4(a) ? "%.46s:%u" : "[%.46s]:%u", ip, a->port);
    return buf;
}

socklen_t pq_addr_to_sock(const struct pq_addr *a, struct sockaddr_storage *ss)
{
    memset(ss, 0, sizeof *ss);
    if (pq_addr_is4(a)) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in.sin_addr, a->ip + 12, 4);
        memcpy(ss, &in, sizeof in);
        return sizeof in;
    }
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
    memcpy(&in6.sin6_addr, a->ip, 16);
    memcpy(ss, &in6, sizeof in6);
    return sizeof in6;
}

int pq_addr_from_sock(struct pq_addr *a, const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        pq_addr_set4(a, (const uint8_t *)&in.sin_addr, ntohs(in.sin_port));
        return 0;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        pq_addr_set6(a, (const uint8_t *)&in6.sin6_addr, ntohs(in6.sin6_port));
        return 0;
    }
    return PQ_EINVAL;
}

/* A number of 1 to 5 digits, at most 65535.  Returns what follows it, or NULL. */
static const char *parse_port(const char *s, uint16_t *port)
{
    unsigned v = 0, n = 0;
    for (; n < 6 && s[n] >= '0' && s[n] <= '9'; n++)
        v = v * 10 + (unsigned)(s[n] - '0');
    *port = (uint16_t)v;
    return n && n < 6 && v <= UINT16_MAX ? s + n : NULL;
}

int pq_net_parse(struct pq_net *n, const char *text)
{
    char ip[PQ_ADDR_STRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    struct pq_addr a;
    if (len >= sizeof ip)
        return PQ_EINVAL;
    memcpy(ip, text, len);
    ip[len] = 0;
    if (pq_addr_parse_ip(&a, ip))
        return PQ_EINVAL;
    const unsigned most = pq_addr_is4(&a) ? 32 : 128;
    unsigned prefix = most;
    if (slash) {
        const char *p = slash + 1;
        for (prefix = 0; *p >= '0' && *p <= '9' && prefix <= most; p++)
            prefix = prefix * 10 + (unsigned)(*p - '0');
        if (!slash[1] || *p || prefix > most)
            return PQ_EINVAL;
    }
    *n = (struct pq_net){.ip = a, .bits = (uint8_t)(128 - most + prefix)};
    return 0;
}

bool pq_net_has(const struct pq_net *n, const struct pq_addr *a)
{
    size_t whole = n->bits / 8;
    unsigned rest = n->bits % 8;
    if (pq_addr_is4(&n->ip) != pq_addr_is4(a) || memcmp(n->ip.ip, a->ip, whole) != 0)
        return false;
    return !rest || (n->ip.ip[whole] ^ a->ip[whole]) >> (8 - rest) == 0;
}

bool pq_net_is_edge(const struct pq_net *n, const struct pq_addr *a)
{
    bool zeros = true, ones = pq_addr_is4(a);
    if (n->bits > 126 || !pq_net_has(n, a))
        return false;
    for (unsigned i = n->bits; i < 128; i++) {
        bool bit = a->ip[i / 8] >> (7 - i % 8) & 1;
        zeros = zeros && !bit;
        ones = ones && bit;
    }
    return zeros || ones;
}

const char *pq_range_str(const struct pq_range *r, char buf[PQ_RANGE_STRLEN])
{
    if (r->to > r->from)
        snprintf(buf, PQ_RANGE_STRLEN, "%u-%u", r->from, r->to);
    else
        snprintf(buf, PQ_RANGE_STRLEN, "%u", r->from);
    return buf;
}

int pq_hostports_split(const char *text, char *host, size_t cap, struct pq_range *ports)
{
    const char *h = text, *colon = strrchr(text, ':');
    if (!colon)
        return PQ_EINVAL;
    size_t n = (size_t)(colon - text);
    if (n && text[0] == '[') {
        if (n < 2 || text[n - 1] != ']')
            return PQ_EINVAL;
        h++;
        n -= 2;
    } else if (memchr(text, ':', n)) {
        return PQ_EINVAL; /* an IPv6 literal needs brackets before a port */
    }
    if (n >= cap)
        return PQ_EINVAL;
    struct pq_range r;
    const char *end = parse_port(colon + 1, &r.from);
    r.to = r.from;
    if (end && *end == '-' && r.from)
        end = parse_port(end + 1, &r.to);
    if (!end || *end || r.to < r.from)
        return PQ_EINVAL;
    memcpy(host, h, n);
    host[n] = 0;
    *ports = r;
    return 0;
}

int pq_hostport_split(const char *text, char *host, size_t cap, uint16_t *port)
{
    struct pq_range r;
    const char *colon = strrchr(text, ':');
    if (!colon || strchr(colon, '-'))
        return PQ_EINVAL;
    const int e = pq_hostports_split(text, host, cap, &r);
    if (!e)
        *port = r.from;
    return e;
}
