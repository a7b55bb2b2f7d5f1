/* SPDX-License-Identifier: MIT */
/* keyring.c - what follows from K, and from the one before it while K is being changed at a server:
 * the old wire's cipher, and what begins sessions of our own wire [12.1]. */
#include "tunnel/tunnel_internal.h"

#define GONE PQ_RINGS

static int open_own(struct pq_hub *h, struct pq_ring *r, const uint8_t key[PQ_KEY_LEN])
{
    const struct pq_own_conf *c = &h->conf.own;
    const struct pq_shake_conf sc = {
        .client = h->conf.client, .key = key, .own_secret = c->secret, .rng = h->rng};
    int e = pq_shake_new(&r->shake, &sc);
    if (!e)
        e = pq_shake_mask(r->shake, &r->first_mask);
    if (!e && !h->conf.client && c->secret && h->conf.look != PQ_LOOK_CLASSIC)
        e = pq_shake_syn(r->shake, NULL, &r->syn_key);
    return e;
}

static int open_ring(struct pq_hub *h, struct pq_ring *r, const uint8_t key[PQ_KEY_LEN])
{
    memcpy(r->key, key, sizeof r->key);
    int e = pq_crypt_new(&r->crypt, h->conf.cipher, key);
    if (e)
        return e;
    pq_crypt_set_role(r->crypt, h->conf.client, key);
    return h->conf.own.on ? open_own(h, r, key) : 0;
}

static void close_ring(struct pq_ring *r)
{
    pq_mask_free(&r->syn_key);
    pq_mask_free(&r->first_mask);
    pq_shake_free(&r->shake);
    pq_crypt_free(&r->crypt);
    explicit_bzero(r, sizeof *r);
}

static void close_rings(struct pq_ring v[PQ_RINGS])
{
    for (unsigned i = 0; i < PQ_RINGS; i++)
        close_ring(&v[i]);
}

static int open_rings(struct pq_hub *h, struct pq_ring v[PQ_RINGS], const uint8_t *key,
                      const uint8_t *before)
{
    int e = open_ring(h, &v[0], key);
    if (!e && before)
        e = open_ring(h, &v[1], before);
    if (e)
        close_rings(v);
    return e;
}

int pq_keyring_init(struct pq_hub *h)
{
    return open_rings(h, h->ring, h->conf.key, h->conf.has_before ? h->conf.key_before : NULL);
}

void pq_keyring_fini(struct pq_hub *h)
{
    close_rings(h->ring);
}

/* Which of the new ones has the key of an old one. */
static unsigned find(const struct pq_ring v[PQ_RINGS], const struct pq_ring *old)
{
    for (unsigned i = 0; i < PQ_RINGS; i++)
        if (v[i].crypt && memcmp(v[i].key, old->key, sizeof old->key) == 0)
            return i;
    return GONE;
}

int pq_hub_set_keys(struct pq_hub *h, const uint8_t key[PQ_KEY_LEN], const uint8_t *before)
{
    return h->t->set_keys(h, key, before);
}

int pq_keyring_set(struct pq_hub *h, const uint8_t key[PQ_KEY_LEN], const uint8_t *before)
{
    struct pq_ring next[PQ_RINGS] = {{.crypt = NULL}};
    unsigned to[PQ_RINGS];
    int e = open_rings(h, next, key, before);
    if (e)
        return e;
    for (unsigned i = 0; i < PQ_RINGS; i++)
        to[i] = find(next, &h->ring[i]);
    for (struct pq_list *n = h->sessions.next, *after; n != &h->sessions; n = after) {
        struct pq_session *s = PQ_OF(n, struct pq_session, node);
        after = n->next;
        if (to[s->ring] != GONE)
            s->ring = to[s->ring];
        else if (s->sec)
            s->ring = 0; /* it has keys of its own: none of K's is of use any more */
        else
            pq_session_end(s, PQ_EREVOKED);
    }
    pq_replies_rekey(h, to);
    close_rings(h->ring);
    memcpy(h->ring, next, sizeof next);
    explicit_bzero(next, sizeof next);
    return 0;
}

bool pq_session_key_before(const struct pq_session *s)
{
    return s->ring > 0;
}
