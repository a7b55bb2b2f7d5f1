/* SPDX-License-Identifier: MIT */
#include "tunnel/homes.h"

#include "base/err.h"
#include "base/list.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct pq_homes {
    pthread_mutex_t lock; /* of what follows */
    uint64_t seed;
    struct pq_hash ids, tuples;
};

int pq_homes_new(struct pq_homes **out, uint64_t seed)
{
    struct pq_homes *h = *out = calloc(1, sizeof *h);
    if (!h)
        return PQ_ENOMEM;
    h->seed = seed;
    pthread_mutex_init(&h->lock, NULL);
    return 0;
}

void pq_homes_free(struct pq_homes **hp)
{
    struct pq_homes *h = *hp;
    if (!h)
        return;
    pthread_mutex_destroy(&h->lock);
    pq_hash_fini(&h->ids);
    pq_hash_fini(&h->tuples);
    free(h);
    *hp = NULL;
}

static uint64_t id_key(const struct pq_homes *h, uint32_t id)
{
    return pq_hash_bytes(&id, sizeof id, h->seed);
}

static uint64_t tuple_key(const struct pq_homes *h, const struct pq_addr *peer, uint16_t port)
{
    uint8_t key[20];
    memcpy(key, peer->ip, 16);
    memcpy(key + 16, &peer->port, 2);
    memcpy(key + 18, &port, 2);
    return pq_hash_bytes(key, sizeof key, h->seed);
}

static void forget(struct pq_homes *h, struct pq_home *e)
{
    if (e->in)
        pq_hash_remove(e->tuple ? &h->tuples : &h->ids, &e->node);
    e->in = false;
}

int pq_homes_set_id(struct pq_homes *h, struct pq_home *e, uint32_t id, unsigned worker)
{
    if (!h)
        return 0;
    pthread_mutex_lock(&h->lock);
    forget(h, e);
    *e = (struct pq_home){.id = id, .worker = worker};
    const int err = pq_hash_add(&h->ids, &e->node, id_key(h, id));
    e->in = !err;
    pthread_mutex_unlock(&h->lock);
    return err;
}

int pq_homes_set_tuple(struct pq_homes *h, struct pq_home *e, const struct pq_addr *peer,
                       uint16_t port, unsigned worker)
{
    if (!h)
        return 0;
    pthread_mutex_lock(&h->lock);
    forget(h, e);
    *e = (struct pq_home){.tuple = true, .peer = *peer, .port = port, .worker = worker};
    const int err = pq_hash_add(&h->tuples, &e->node, tuple_key(h, peer, port));
    e->in = !err;
    pthread_mutex_unlock(&h->lock);
    return err;
}

void pq_homes_forget(struct pq_homes *h, struct pq_home *e)
{
    if (!h || !e->in)
        return;
    pthread_mutex_lock(&h->lock);
    forget(h, e);
    pthread_mutex_unlock(&h->lock);
}

int pq_homes_of_id(struct pq_homes *h, uint32_t id)
{
    int worker = -1;
    pthread_mutex_lock(&h->lock);
    struct pq_hash_node *n = pq_hash_find(&h->ids, id_key(h, id));
    for (; n && worker < 0; n = pq_hash_next(n)) {
        const struct pq_home *e = PQ_OF(n, struct pq_home, node);
        if (e->id == id)
            worker = (int)e->worker;
    }
    pthread_mutex_unlock(&h->lock);
    return worker;
}

int pq_homes_elsewhere(struct pq_homes *h, const struct pq_addr *peer, uint16_t port, unsigned own)
{
    int worker = -1;
    if (!h)
        return -1;
    pthread_mutex_lock(&h->lock);
    struct pq_hash_node *n = pq_hash_find(&h->tuples, tuple_key(h, peer, port));
    for (; n && worker < 0; n = pq_hash_next(n)) {
        const struct pq_home *e = PQ_OF(n, struct pq_home, node);
        if (e->worker != own && e->port == port && pq_addr_eq(&e->peer, peer))
            worker = (int)e->worker;
    }
    pthread_mutex_unlock(&h->lock);
    return worker;
}
