/* SPDX-License-Identifier: MIT */
/* addr.h - an IP address and port, IPv4 kept in the IPv4-mapped form so that both compare alike. */
#ifndef PQ_BASE_ADDR_H
#define PQ_BASE_ADDR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define PQ_ADDR_STRLEN 56 /* "[v6]:port" and the final NUL */

struct pq_addr {
    uint8_t ip[16]; /* network order; IPv4 as ::ffff:a.b.c.d */
    uint16_t port;  /* host order */
};

bool pq_addr_is4(const struct pq_addr *a);
bool pq_addr_eq(const struct pq_addr *a, const struct pq_addr *b);    /* address and port */
bool pq_addr_eq_ip(const struct pq_addr *a, const struct pq_addr *b); /* address alone */
/* Orders by address, then by port, as strcmp does. */
int pq_addr_cmp(const struct pq_addr *a, const struct pq_addr *b);
bool pq_addr_is_any(const struct pq_addr *a);      /* 0.0.0.0 or :: */
bool pq_addr_is_loopback(const struct pq_addr *a); /* of 127.0.0.0/8, or ::1 */

/* The four bytes of an IPv4 address. */
static inline const uint8_t *pq_addr_v4(const struct pq_addr *a)
{
    return a->ip + 12;
}

void pq_addr_set4(struct pq_addr *a, const uint8_t ip[4], uint16_t port);
void pq_addr_set6(struct pq_addr *a, const uint8_t ip[16], uint16_t port);

/* Reads an IPv4 or IPv6 literal without port or brackets; port becomes 0.
 * Returns 0 or PQ_EINVAL (*a unchanged). */
int pq_addr_parse_ip(struct pq_addr *a, const char *text);

/* Writes "a.b.c.d" or "x:y::z", NUL-terminated, without the port.  Returns buf. */
const char *pq_addr_ip_str(const struct pq_addr *a, char buf[PQ_ADDR_STRLEN]);

/* Writes "a.b.c.d:port" or "[x:y::z]:port", NUL-terminated.  Returns buf. */
const char *pq_addr_str(const struct pq_addr *a, char buf[PQ_ADDR_STRLEN]);

/* Converts to and from the system's form.  From: returns 0 or PQ_EINVAL for another family. */
socklen_t pq_addr_to_sock(const struct pq_addr *a, struct sockaddr_storage *ss);
int pq_addr_from_sock(struct pq_addr *a, const struct sockaddr *sa);

/* A network: an address and how many of its leading bits count. */
struct pq_net {
    struct pq_addr ip; /* port 0 */
    uint8_t bits;      /* of the 128: for IPv4 96 + the prefix length */
};

/* Reads "10.0.0.0/8", "fd00::/8" or an address alone (all bits); bits of the host part stay in ip.
 * Returns 0 or PQ_EINVAL (*n unchanged). */
int pq_net_parse(struct pq_net *n, const char *text);

/* Whether the address is in the network; never for one of the other IP version, ::/0 included. */
bool pq_net_has(const struct pq_net *n, const struct pq_addr *a);

/* Whether the address is that of the network itself, or IPv4's broadcast in it: no host has one of
 * these.  Never for networks of one or two addresses. */
bool pq_net_is_edge(const struct pq_net *n, const struct pq_addr *a);

struct pq_range {      /* of ports: one, or several that follow each other */
    uint16_t from, to; /* both 0: none */
};

static inline unsigned pq_range_size(const struct pq_range *r)
{
    return r->from ? (unsigned)(r->to - r->from) + 1 : 0;
}

static inline bool pq_range_has(const struct pq_range *r, uint16_t port)
{
    return r->from && port >= r->from && port <= r->to;
}

/* Writes "20000" or "20000-20100", NUL-terminated.  Returns buf. */
#define PQ_RANGE_STRLEN 12
const char *pq_range_str(const struct pq_range *r, char buf[PQ_RANGE_STRLEN]);

/* Splits "host:port" or "[v6]:port"; the host is written to host[cap] (empty allowed).
 * Returns 0 or PQ_EINVAL (no port, not a number, above 65535, host too long). */
int pq_hostport_split(const char *text, char *host, size_t cap, uint16_t *port);

/* The same where "first-last" may stand for the port; a first port of 0 only alone, and last is not
 * below it. */
int pq_hostports_split(const char *text, char *host, size_t cap, struct pq_range *ports);
#endif
