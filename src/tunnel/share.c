/* SPDX-License-Identifier: MIT */
/* share.c - what one user has of a worker: where there are users, none of them takes all of its
 * memory, sessions and streams, with however many sessions. */
#include "tunnel/tunnel_internal.h"

#include <stdlib.h>

#define STREAM_BYTES 1024 /* of one, about, that has nothing to send: as many as memory holds */
#define FAIR         3    /* as with chunks: times what is left, at most */

void pq_shares_init(struct pq_hub *h)
{
    pq_list_init(&h->shares);
    pq_chunks_share(&h->rest.chunks, &h->chunks);
    h->streams_max = h->conf.memory / STREAM_BYTES;
    pq_shares_users(h);
}

void pq_shares_users(struct pq_hub *h)
{
    h->chunks.fair = !h->conf.client && h->conf.own.n > 0;
}

void pq_shares_fini(struct pq_hub *h)
{
    struct pq_list *n;
    while ((n = pq_list_pop(&h->shares)))
        free(PQ_OF(n, struct pq_share, node));
}

static struct pq_share *find(struct pq_hub *h, const uint8_t key[PQ_X25519_LEN])
{
    for (struct pq_list *i = h->shares.next; i != &h->shares; i = i->next)
        if (memcmp(PQ_OF(i, struct pq_share, node)->key, key, PQ_X25519_LEN) == 0)
            return PQ_OF(i, struct pq_share, node);
    return NULL;
}

struct pq_share *pq_share_of(struct pq_hub *h, const uint8_t key[PQ_X25519_LEN])
{
    struct pq_share *s = h->conf.own.n ? find(h, key) : &h->rest;
    if (s || !(s = calloc(1, sizeof *s)))
        return s;
    memcpy(s->key, key, sizeof s->key);
    pq_chunks_share(&s->chunks, &h->chunks);
    pq_list_init(&s->node);
    pq_list_push(&h->shares, &s->node);
    return s;
}

/* ---- sessions */

static bool is_there(const struct pq_session *s)
{
    return !s->half && !s->dead;
}

static void count(struct pq_hub *h)
{
    h->rest.sessions = 0;
    for (struct pq_list *i = h->shares.next; i != &h->shares; i = i->next)
        PQ_OF(i, struct pq_share, node)->sessions = 0;
    for (struct pq_list *i = h->sessions.next; i != &h->sessions; i = i->next) {
        const struct pq_session *s = PQ_OF(i, struct pq_session, node);
        s->share->sessions += is_there(s);
    }
}

struct pq_session *pq_share_room(struct pq_hub *h, const struct pq_share *share)
{
    const struct pq_share *most = &h->rest;
    struct pq_session *quiet = NULL;
    if (!h->chunks.fair || share == &h->rest)
        return NULL;
    count(h);
    for (struct pq_list *i = h->shares.next; i != &h->shares; i = i->next)
        if (PQ_OF(i, struct pq_share, node)->sessions > most->sessions)
            most = PQ_OF(i, struct pq_share, node);
    if (most->sessions <= share->sessions + 1)
        return NULL;
    for (struct pq_list *i = h->sessions.next; i != &h->sessions; i = i->next) {
        struct pq_session *s = PQ_OF(i, struct pq_session, node);
        if (s->share == most && is_there(s) && (!quiet || s->heard < quiet->heard))
            quiet = s;
    }
    return quiet;
}

/* ---- streams */

bool pq_share_stream(struct pq_session *s)
{
    struct pq_hub *h = s->hub;
    const size_t used = h->n_streams + 1, most = h->streams_max;
    if (h->conf.client) /* of its own programs, and bounded by what they may open */
        return true;
    return used <= most && (!h->chunks.fair || (s->share->streams + 1) / FAIR <= most - used);
}
