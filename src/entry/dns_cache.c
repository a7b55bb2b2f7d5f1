/* SPDX-License-Identifier: MIT */
#include "entry/dns_cache.h"

#include "header/dns.h"

#include <stdlib.h>

struct entry {
    struct pq_hash_node by_query;
    struct pq_list node;
    pq_ns kept, until; /* when its TTLs were set down; when the first of them is over */
    size_t n_query, n;
    uint8_t data[]; /* the query without its number, the answer */
};

static void drop(struct pq_dns_cache *c, struct entry *e)
{
    pq_hash_remove(&c->by_query, &e->by_query);
    pq_list_remove(&e->node);
    c->n--;
    c->bytes -= sizeof *e + e->n_query + e->n;
    free(e);
}

static struct entry *find(struct pq_dns_cache *c, struct pq_view q, uint64_t hash)
{
    struct pq_hash_node *n = pq_hash_find(&c->by_query, hash);
    for (; n; n = pq_hash_next(n)) {
        struct entry *e = PQ_OF(n, struct entry, by_query);
        if (e->n_query == q.n && memcmp(e->data, q.p, q.n) == 0)
            return e;
    }
    return NULL;
}

static struct pq_view without_number(struct pq_view query)
{
    return (struct pq_view){query.p + 2, query.n - 2};
}

void pq_dns_cache_add(struct pq_dns_cache *c, struct pq_view query, struct pq_view answer,
                      pq_ns now)
{
    const struct pq_view q = without_number(query);
    const uint64_t hash = pq_hash_bytes(q.p, q.n, c->seed);
    const uint32_t ttl = pq_dns_ttl(answer.p, answer.n);
    struct entry *e = find(c, q, hash);
    const size_t size = sizeof *e + q.n + answer.n;
    if (e)
        drop(c, e);
    if (!ttl || size > PQ_DNS_CACHE_BYTES / 16)
        return;
    while (c->n && (c->n == PQ_DNS_CACHE_MAX || c->bytes + size > PQ_DNS_CACHE_BYTES))
        drop(c, PQ_OF(c->used.next, struct entry, node));
    e = malloc(size);
    if (!e)
        return;
    *e = (struct entry){.kept = now, .until = now + ttl * PQ_SEC, .n_query = q.n, .n = answer.n};
    memcpy(e->data, q.p, q.n);
    memcpy(e->data + q.n, answer.p, answer.n);
    if (pq_hash_add(&c->by_query, &e->by_query, hash)) {
        free(e);
        return;
    }
    pq_list_push(&c->used, &e->node);
    c->n++;
    c->bytes += size;
}

struct pq_view pq_dns_cache_find(struct pq_dns_cache *c, struct pq_view query, pq_ns now)
{
    const struct pq_view q = without_number(query);
    struct entry *e = find(c, q, pq_hash_bytes(q.p, q.n, c->seed));
    if (e && now >= e->until) {
        drop(c, e);
        e = NULL;
    }
    if (!e) {
        c->misses++;
        return (struct pq_view){NULL, 0};
    }
    const uint32_t seconds = (uint32_t)((now - e->kept) / PQ_SEC);
    pq_dns_age(e->data + e->n_query, e->n, seconds);
    e->kept += seconds * PQ_SEC;
    pq_list_remove(&e->node);
    pq_list_push(&c->used, &e->node);
    c->hits++;
    return (struct pq_view){e->data + e->n_query, e->n};
}

void pq_dns_cache_clear(struct pq_dns_cache *c)
{
    while (c->n)
        drop(c, PQ_OF(c->used.next, struct entry, node));
    pq_hash_fini(&c->by_query);
}
