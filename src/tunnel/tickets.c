/* SPDX-License-Identifier: MIT */
#include "tunnel/tickets.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/list.h"
#include "noise/hkdf.h"
#include "quic/quic.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct given {
    struct pq_list node;
    struct pq_hash_node by_name, by_client;
    uint8_t name[PQ_HASH_LEN]; /* of the ticket */
    pq_ns at;
    struct pq_ticket what;
};

struct pq_tickets {
    pthread_mutex_t lock; /* of what follows but the secrets */
    uint8_t key[PQ_QUIC_TICKET_KEY], naming[PQ_HASH_LEN];
    uint64_t seed;
    struct pq_hash by_name, by_client;
    struct pq_list all; /* oldest first */
    size_t n;
};

int pq_tickets_new(struct pq_tickets **out, struct pq_rng *rng)
{
    struct pq_tickets *t = *out = calloc(1, sizeof *t);
    if (!t)
        return PQ_ENOMEM;
    pq_rng_fill(rng, t->key, sizeof t->key);
    pq_rng_fill(rng, t->naming, sizeof t->naming);
    t->seed = pq_rng_u64(rng);
    pq_list_init(&t->all);
    pthread_mutex_init(&t->lock, NULL);
    return 0;
}

static void forget(struct pq_tickets *t, struct given *g)
{
    pq_hash_remove(&t->by_name, &g->by_name);
    pq_hash_remove(&t->by_client, &g->by_client);
    pq_list_remove(&g->node);
    t->n--;
    explicit_bzero(g, sizeof *g);
    free(g);
}

static struct given *oldest(const struct pq_tickets *t)
{
    return PQ_OF(t->all.next, struct given, node);
}

void pq_tickets_free(struct pq_tickets **out)
{
    struct pq_tickets *t = *out;
    if (!t)
        return;
    while (t->n)
        forget(t, oldest(t));
    pq_hash_fini(&t->by_name);
    pq_hash_fini(&t->by_client);
    pthread_mutex_destroy(&t->lock);
    explicit_bzero(t, sizeof *t);
    free(t);
    *out = NULL;
}

const uint8_t *pq_tickets_key(const struct pq_tickets *t)
{
    return t->key;
}

/* ---- found */

static uint64_t hash_of(const uint8_t name[PQ_HASH_LEN])
{
    return pq_le32(name) | (uint64_t)pq_le32(name + 4) << 32; /* it looks random already */
}

static uint64_t hash_of_client(const struct pq_tickets *t, const struct pq_ticket *what)
{
    return pq_hash_bytes(what->client, sizeof what->client, t->seed);
}

static struct given *find(const struct pq_tickets *t, const uint8_t name[PQ_HASH_LEN])
{
    struct pq_hash_node *n = pq_hash_find(&t->by_name, hash_of(name));
    for (; n; n = pq_hash_next(n)) {
        struct given *g = PQ_OF(n, struct given, by_name);
        if (memcmp(g->name, name, PQ_HASH_LEN) == 0)
            return g;
    }
    return NULL;
}

static void expire(struct pq_tickets *t, pq_ns now)
{
    while (t->n && now > oldest(t)->at + PQ_QUIC_TICKET_LIFE)
        forget(t, oldest(t));
}

/* ---- and kept */

/* One user has no more than some.  Those without a key of their own cannot be told apart. */
static void bound_client(struct pq_tickets *t, const struct pq_ticket *what)
{
    struct given *first = NULL;
    unsigned n = 0;
    struct pq_hash_node *k = pq_hash_find(&t->by_client, hash_of_client(t, what));
    for (; k && what->named; k = pq_hash_next(k)) {
        struct given *g = PQ_OF(k, struct given, by_client);
        if (!g->what.named || memcmp(g->what.client, what->client, sizeof what->client) != 0)
            continue;
        first = !first || g->at < first->at ? g : first;
        n++;
    }
    if (n >= PQ_TICKETS_OF_ONE)
        forget(t, first);
}

static void put(struct pq_tickets *t, struct given *g)
{
    bound_client(t, &g->what);
    if (t->n == PQ_TICKETS_MAX)
        forget(t, oldest(t));
    int e = pq_hash_add(&t->by_name, &g->by_name, hash_of(g->name));
    e = e ? e : pq_hash_add(&t->by_client, &g->by_client, hash_of_client(t, &g->what));
    pq_list_push(&t->all, &g->node);
    t->n++;
    if (e)
        forget(t, g);
}

void pq_tickets_give(struct pq_tickets *t, struct pq_view ticket, const struct pq_ticket *what,
                     pq_ns now)
{
    struct given *g = calloc(1, sizeof *g);
    if (!g)
        return;
    pq_list_init(&g->node);
    g->at = now;
    g->what = *what;
    if (pq_hmac(t->naming, sizeof t->naming, &ticket, 1, g->name)) {
        explicit_bzero(g, sizeof *g);
        free(g);
        return;
    }
    pthread_mutex_lock(&t->lock);
    expire(t, now);
    put(t, g);
    pthread_mutex_unlock(&t->lock);
}

bool pq_tickets_take(struct pq_tickets *t, struct pq_view ticket, struct pq_ticket *what, pq_ns now)
{
    uint8_t name[PQ_HASH_LEN];
    if (pq_hmac(t->naming, sizeof t->naming, &ticket, 1, name))
        return false;
    pthread_mutex_lock(&t->lock);
    expire(t, now);
    struct given *g = find(t, name);
    if (g) {
        *what = g->what;
        forget(t, g);
    }
    pthread_mutex_unlock(&t->lock);
    return g != NULL;
}

size_t pq_tickets_count(struct pq_tickets *t)
{
    pthread_mutex_lock(&t->lock);
    const size_t n = t->n;
    pthread_mutex_unlock(&t->lock);
    return n;
}
