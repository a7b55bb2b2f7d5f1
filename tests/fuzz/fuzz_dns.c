/* SPDX-License-Identifier: MIT */
/* fuzz_dns.c - a query of a program and what a resolver says: nothing is read or written outside,
 * and an answer that is kept ages by the seconds that pass. */
#include "base/err.h"
#include "entry/dns_cache.h"
#include "fuzz.h"
#include "header/dns.h"

static void age(uint8_t *p, size_t n, uint32_t seconds)
{
    const uint32_t before = pq_dns_ttl(p, n);
    pq_dns_age(p, n, seconds);
    const uint32_t after = pq_dns_ttl(p, n);
    if (before && before < 86400)
        FUZZ_CHECK(after == (before > seconds ? before - seconds : 0));
    FUZZ_CHECK(after <= before);
}

static void look(const uint8_t *query, const struct pq_dns_query *q)
{
    char name[PQ_DNS_NAME_MAX + 1];
    const bool is = pq_dns_name(query, q, name);
    FUZZ_CHECK(is == (*name != 0) && strlen(name) <= PQ_DNS_NAME_MAX);
    for (const char *c = name; *c; c++)
        FUZZ_CHECK(strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", *c));
}

static void keep(struct pq_view query, struct pq_view answer, uint32_t ttl)
{
    struct pq_dns_cache c = {.seed = 1};
    pq_list_init(&c.used);
    pq_dns_cache_add(&c, query, answer, PQ_SEC);
    FUZZ_CHECK(c.n == (ttl ? 1 : 0));
    const struct pq_view v = pq_dns_cache_find(&c, query, 2 * PQ_SEC);
    FUZZ_CHECK(!v.p == (ttl <= 1));
    FUZZ_CHECK(!v.p || v.n == answer.n);
    pq_dns_cache_clear(&c);
}

/* The first byte: how long the query is; the second: how long the answer was kept. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_in in = fuzz_in_init(p, n);
    struct pq_dns_query q;
    const size_t len = fuzz_u8(&in);
    const uint32_t seconds = fuzz_u8(&in);
    const struct pq_view a = fuzz_bytes(&in, len), b = fuzz_bytes(&in, fuzz_left(&in));
    uint8_t *query = fuzz_exact(a.p, a.n), *answer = fuzz_exact(b.p, b.n);
    const int e = pq_dns_read_query(query, a.n, &q);
    FUZZ_CHECK(e == 0 || e == PQ_EPROTO);
    struct pq_dns_addr addrs[PQ_DNS_ADDRS_MAX];
    pq_dns_ttl(answer, b.n);
    FUZZ_CHECK(pq_dns_addrs(answer, b.n, addrs) <= PQ_DNS_ADDRS_MAX);
    if (!e) {
        FUZZ_CHECK(q.question > PQ_DNS_HEAD && q.question <= a.n && q.udp_max >= PQ_DNS_UDP_MIN);
        look(query, &q);
        uint8_t *empty = fuzz_exact(query, q.question);
        pq_dns_write_empty(empty, query, &q, seconds % 3);
        FUZZ_CHECK(pq_dns_answers(empty, q.question, query, &q));
        free(empty);
    }
    if (!e && pq_dns_answers(answer, b.n, query, &q))
        keep((struct pq_view){query, a.n}, (struct pq_view){answer, b.n}, pq_dns_ttl(answer, b.n));
    age(answer, b.n, seconds);
    free(query);
    free(answer);
    return 0;
}
