/* SPDX-License-Identifier: MIT */
/* quic_keyring.c - what follows from the key that all have, and, at a server, from the one before
 * while it is being changed [13.1].  A connection has to do with the one under which it began. */
#include "quic/quic_internal.h"

static int open_set(const struct pq_quic_end *e, struct quic_set *s, const uint8_t *key)
{
    const bool client = e->conf.client;
    memcpy(s->key, key, sizeof s->key);
    int r = pq_quic_keys_make(&s->keys, key);
    r = r ? r : pq_quic_seal_init(&s->tx, client ? s->keys.c2s : s->keys.s2c);
    r = r ? r : pq_quic_seal_init(&s->rx, client ? s->keys.s2c : s->keys.c2s);
    s->there = !r;
    return r;
}

static void close_sets(struct quic_set v[PQ_QUIC_KEYS])
{
    for (unsigned i = 0; i < PQ_QUIC_KEYS; i++) {
        pq_quic_seal_fini(&v[i].tx);
        pq_quic_seal_fini(&v[i].rx);
        explicit_bzero(&v[i], sizeof v[i]);
    }
}

static int open_sets(const struct pq_quic_end *e, struct quic_set v[PQ_QUIC_KEYS],
                     const uint8_t *key, const uint8_t *before)
{
    int r = open_set(e, &v[0], key);
    if (!r && before)
        r = open_set(e, &v[1], before);
    if (r)
        close_sets(v);
    return r;
}

int pq_quic_keyring_init(struct pq_quic_end *e, const uint8_t *key, const uint8_t *before)
{
    e->keyed = key != NULL;
    return key ? open_sets(e, e->set, key, before) : 0;
}

void pq_quic_keyring_fini(struct pq_quic_end *e)
{
    close_sets(e->set);
}

/* Which of the new ones has the key of an old one. */
static unsigned find(const struct quic_set v[PQ_QUIC_KEYS], const struct quic_set *old)
{
    for (unsigned i = 0; i < PQ_QUIC_KEYS; i++)
        if (v[i].there && old->there && memcmp(v[i].key, old->key, sizeof old->key) == 0)
            return i;
    return PQ_QUIC_KEYS;
}

int pq_quic_set_keys(struct pq_quic_end *e, const uint8_t key[PQ_QUIC_KEY_LEN],
                     const uint8_t *before)
{
    struct quic_set next[PQ_QUIC_KEYS] = {{.there = false}};
    unsigned to[PQ_QUIC_KEYS + 1];
    const int r = e->keyed && !e->conf.client ? open_sets(e, next, key, before) : PQ_EINVAL;
    if (r)
        return r;
    for (unsigned i = 0; i < PQ_QUIC_KEYS; i++)
        to[i] = find(next, &e->set[i]);
    to[PQ_QUIC_KEYS] = PQ_QUIC_KEYS;
    for (struct pq_list *n = e->conns.next; n != &e->conns; n = n->next) {
        struct pq_quic *q = PQ_OF(n, struct pq_quic, node);
        q->set = q->plain ? 0 : to[q->set];
        if (q->set == PQ_QUIC_KEYS && !q->ready)
            pq_quic_end_with(q, PQ_EDENIED);
    }
    close_sets(e->set);
    memcpy(e->set, next, sizeof next);
    explicit_bzero(next, sizeof next);
    return 0;
}

unsigned pq_quic_key(const struct pq_quic *q)
{
    return q->set;
}

struct pq_view pq_quic_unseal(const struct pq_quic_end *e, uint8_t *p, size_t n, uint64_t *stamp,
                              unsigned *set)
{
    struct pq_view v = {p, 0};
    for (*set = 0; *set < PQ_QUIC_KEYS && e->set[*set].there; ++*set) {
        v = pq_quic_seal_open(&e->set[*set].rx, p, n, stamp);
        if (v.n)
            break;
    }
    return v;
}
