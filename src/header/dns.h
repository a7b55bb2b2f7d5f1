/* SPDX-License-Identifier: MIT */
/* dns.h - as much of a DNS message (RFC 1035) as who passes it on has to know: its number, its
 * question, where its TTLs are, and the addresses that it tells.  Pure; no message is trusted. */
#ifndef PQ_HEADER_DNS_H
#define PQ_HEADER_DNS_H
#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PQ_DNS_HEAD      12
#define PQ_DNS_UDP_MIN   512   /* what everybody takes over UDP */
#define PQ_DNS_UDP_MAX   65507 /* more does not go into a datagram over IPv4 */
#define PQ_DNS_QUERY_MAX 1232  /* bytes of a query that is passed on */
#define PQ_DNS_NAME_MAX  253   /* characters of a name */
#define PQ_DNS_ADDRS_MAX 64    /* of an answer that are looked at */

struct pq_dns_query {
    size_t question; /* where the question ends */
    size_t udp_max;  /* bytes of an answer over UDP that who asks takes, at most PQ_DNS_UDP_MAX */
};

enum pq_dns_empty {                   /* what an answer without records says */
                    PQ_DNS_TRUNCATED, /* ask again over TCP */
                    PQ_DNS_FAILED,    /* the server failed */
                    PQ_DNS_NO_NAME,   /* there is no such name */
};

struct pq_dns_addr { /* a record of an answer */
    struct pq_addr ip;
    uint32_t ttl; /* seconds */
};

/* Whether it is one query with one question, and whole.  Returns 0 or PQ_EPROTO. */
int pq_dns_read_query(const uint8_t *p, size_t n, struct pq_dns_query *out);

/* Whether it is the answer to this query, numbers aside: the same question, letter by letter, and
 * whole. */
bool pq_dns_answers(const uint8_t *p, size_t n, const uint8_t *query, const struct pq_dns_query *q);

/* The name of a query that pq_dns_read_query has passed, in lower case, without a final dot.
 * Returns false if it is not one of letters, digits, '-' and '_': then *out is "". */
bool pq_dns_name(const uint8_t *p, const struct pq_dns_query *q, char out[PQ_DNS_NAME_MAX + 1]);

/* The addresses (A, AAAA) of an answer that pq_dns_answers has passed, whichever name they are of:
 * that of the question, or what it is another name for.  Returns how many. */
unsigned pq_dns_addrs(const uint8_t *p, size_t n, struct pq_dns_addr out[PQ_DNS_ADDRS_MAX]);

/* The least TTL of an answer that may be kept, in seconds; 0: it is not to be kept. */
uint32_t pq_dns_ttl(const uint8_t *p, size_t n);

/* Takes seconds off all TTLs; of a message that pq_dns_answers has passed. */
void pq_dns_age(uint8_t *p, size_t n, uint32_t seconds);

uint16_t pq_dns_id(const uint8_t *p);
void pq_dns_set_id(uint8_t *p, uint16_t id);

/* Makes an answer that holds nothing but the question of the query, into out, which has
 * q->question bytes. */
void pq_dns_write_empty(uint8_t *out, const uint8_t *query, const struct pq_dns_query *q,
                        enum pq_dns_empty what);
#endif
