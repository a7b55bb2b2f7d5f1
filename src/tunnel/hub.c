/* SPDX-License-Identifier: MIT */
#include "tunnel/hub.h"

#include "tunnel/tunnel_internal.h"

#include <errno.h>
#include <stdlib.h>

#define SILENT_MAX  (180 * PQ_SEC) /* a living peer asks for the window every 120 s [4.5] */
#define BLOCKS_KEPT 64             /* of 64 segment records each */

size_t pq_hub_mtu_min(const struct pq_hub *h)
{
    return (size_t)PQ_KCP_MTU_MIN + h->around + h->fec_head;
}

static int hub_init(struct pq_hub *h)
{
    int e = pq_crypt_new(&h->crypt, h->conf.cipher, h->conf.key);
    if (e)
        return e;
    pq_crypt_set_role(h->crypt, h->conf.client, h->conf.key);
    h->crypt_head = (uint16_t)pq_crypt_head(h->crypt);
    h->crypt_tail = (uint16_t)pq_crypt_tail(h->crypt);
    h->replay = h->conf.replay;
    if (!h->conf.client && !h->replay) {
        e = pq_replay_new(&h->own_replay, pq_rng_u64(h->rng));
        h->replay = h->own_replay;
    }
    if (e)
        return e;
    e = pq_secure_init(h);
    if (!e)
        e = pq_connect_init(h);
    if (e)
        return e;
    bool fec = (h->conf.dshard && h->conf.pshard) || h->conf.fec_auto;
    h->fec_head = fec ? PQ_FEC_HEAD : 0;
    if (h->conf.mtu > PQ_DGRAM_MAX || h->conf.mtu < pq_hub_mtu_min(h))
        return PQ_EINVAL;
    return 0;
}

int pq_hub_new(struct pq_hub **out, const struct pq_hub_conf *conf, const struct pq_hub_events *ev,
               void *ctx, struct pq_rng *rng, pq_ns now)
{
    *out = NULL;
    struct pq_hub *h = calloc(1, sizeof *h);
    if (!h)
        return PQ_ENOMEM;
    h->conf = *conf;
    h->conf.smux.client = conf->client;
    h->ev = ev;
    h->ctx = ctx;
    h->rng = rng;
    h->born = h->now = now;
    pq_list_init(&h->replies);
    pq_list_init(&h->answers);
    pq_list_init(&h->callers);
    pq_list_init(&h->called);
    pq_list_init(&h->leaving);
    h->hash_seed = h->conf.smux.hash_seed = pq_rng_u64(rng) | 1;
    pq_list_init(&h->sessions);
    pq_list_init(&h->half);
    pq_list_init(&h->ready);
    pq_list_init(&h->rx);
    pq_list_init(&h->dirty);
    pq_pool_init(&h->blocks, PQ_KCP_BLOCK_LEN, 0, BLOCKS_KEPT);
    pq_chunks_init(&h->chunks, conf->memory);
    int e = hub_init(h);
    if (e)
        pq_hub_free(&h);
    *out = h;
    return e;
}

void pq_hub_free(struct pq_hub **hp)
{
    struct pq_hub *h = *hp;
    if (!h)
        return;
    while (!pq_list_empty(&h->sessions))
        pq_session_end_now(PQ_OF(h->sessions.next, struct pq_session, node), PQ_ECLOSED);
    pq_connect_fini(h);
    pq_hash_fini(&h->by_peer);
    pq_secure_fini(h);
    pq_heap_fini(&h->timers);
    pq_replay_free(&h->own_replay);
    pq_pool_fini(&h->blocks);
    pq_chunks_fini(&h->chunks);
    pq_crypt_free(&h->crypt);
    free(h);
    *hp = NULL;
}

void pq_hub_tick(struct pq_hub *h, pq_ns now)
{
    struct pq_heap_node *n;
    while ((n = pq_heap_top(&h->timers)) && n->at <= now) {
        struct pq_session *s = PQ_OF(n, struct pq_session, timer);
        int e = pq_smux_tick(s->smux, now);
        if (now > s->heard + SILENT_MAX) /* also where a full session asks for no keepalive */
            e = PQ_ETIMEOUT;
        if (s->half && now >= s->opened + PQ_HALF_WAIT)
            e = PQ_ETIMEOUT;
        if (e) {
            pq_session_end_now(s, e);
            continue;
        }
        pq_secure_tick(s, now);
        pq_heap_remove(&h->timers, n); /* set again after the pull */
        pq_session_wake(s);
    }
    pq_replies_tick(h, now);
    pq_connect_tick(h, now);
}

pq_ns pq_hub_deadline(const struct pq_hub *h)
{
    struct pq_heap_node *n = pq_heap_top(&h->timers);
    return pq_ns_min(n ? n->at : PQ_NEVER,
                     pq_ns_min(pq_replies_deadline(h), pq_connect_deadline(h)));
}

void pq_hub_no_runs(struct pq_hub *h)
{
    h->conf.runs = false;
}

void pq_hub_each(struct pq_hub *h, void (*fn)(void *ctx, struct pq_session *s), void *ctx)
{
    for (struct pq_list *n = h->sessions.next, *next; n != &h->sessions; n = next) {
        next = n->next;
        fn(ctx, PQ_OF(n, struct pq_session, node));
    }
}

/* Ends a session whose full packets do not fit the link: their size is for good.  One that has the
 * smallest size would be no better off anew. */
static void check_size(void *ctx, struct pq_session *s)
{
    struct pq_hub *h = ctx;
    size_t n = (size_t)s->dgram_max + PQ_DGRAM_HEAD + h->crypt_head + h->crypt_tail;
    if (s->dead || s->away || !h->conf.link_mtu || n <= pq_hub_mtu_min(h) ||
        n + pq_flow_overhead(&s->flow) <= h->conf.link_mtu)
        return;
    s->dead = -EMSGSIZE;
    pq_session_wake(s);
}

static void change_link(void *ctx, struct pq_session *s)
{
    const struct pq_link *l = ctx;
    s->away = true;
    for (size_t i = 0; i < l->n && s->away; i++)
        s->away = !pq_flow_is_from(&s->flow, &l->own[i]);
    struct pq_flow_conf to = l->to;
    if (l->keep_peer_mac)
        memcpy(to.peer_mac, s->flow.head, sizeof to.peer_mac);
    pq_flow_set_link(&s->flow, &to);
}

void pq_hub_change_link(struct pq_hub *h, const struct pq_link *link)
{
    struct pq_link l = *link;
    h->conf.link_len = l.to.link_len;
    h->conf.link_mtu = l.mtu;
    h->conf.runs = l.runs;
    h->conf.splits = l.splits; /* of what sessions tell their peers from now on */
    pq_hub_each(h, change_link, &l);
    pq_hub_each(h, check_size, h);
}

bool pq_hub_set_mtu(struct pq_hub *h, uint32_t mtu)
{
    if (mtu == h->conf.link_mtu)
        return false;
    h->conf.link_mtu = mtu;
    pq_hub_each(h, check_size, h);
    return true;
}

size_t pq_hub_sessions(const struct pq_hub *h)
{
    return h->n_sessions - h->n_half;
}

size_t pq_hub_half_open(const struct pq_hub *h)
{
    return h->n_half;
}

struct pq_chunks *pq_hub_chunks(struct pq_hub *h)
{
    return &h->chunks;
}

const struct pq_hub_stats *pq_hub_stats(const struct pq_hub *h)
{
    return &h->stats;
}
