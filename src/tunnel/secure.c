/* SPDX-License-Identifier: MIT */
/* secure.c - sessions of our own wire: which datagram is whose, and under which keys [12.3] [12.4].
 * How the keys come about is in secure_ask.c (client) and secure_answer.c (server). */
#include "tunnel/tunnel_internal.h"

#include <stdlib.h>

#define RENEW_AFTER  (3600 * PQ_SEC) /* and a quarter of it more or less [12.6] */
#define RENEW_COUNT  (UINT32_C(1) << 28)
#define OLD_MIN      PQ_SEC /* for which old keys are taken */
#define OLD_RTTS     3
#define SEAL_FIRST   PQ_SEC /* after a datagram that the old wire could not read */
#define COUNTER_REST 4096   /* a session ends that much before its counter does */

int pq_secure_init(struct pq_hub *h)
{
    const struct pq_own_conf *c = &h->conf.own;
    h->around = h->crypt_head + h->crypt_tail;
    if (!c->on)
        return 0;
    if (h->conf.mtu < PQ_OWN_MTU_MIN)
        return PQ_EINVAL;
    if (h->around < PQ_SEAL_HEAD + PQ_SEAL_TAIL)
        h->around = PQ_SEAL_HEAD + PQ_SEAL_TAIL;
    int e = 0;
    h->instance = pq_rng_u64(h->rng);
    h->stamps = c->stamps;
    if (!h->conf.client && !h->stamps) {
        e = pq_stamps_new(&h->own_stamps, c->users, c->n);
        h->stamps = h->own_stamps;
    }
    return e;
}

void pq_secure_fini(struct pq_hub *h)
{
    pq_replies_clear(h);
    pq_hash_fini(&h->by_tuple);
    pq_hash_fini(&h->by_id);
    pq_stamps_free(&h->own_stamps);
}

/* ---- keys of a session */

static void set_renewal(struct pq_session *s, pq_ns now)
{
    s->sec->renew_at = now + RENEW_AFTER * 3 / 4 + pq_rng_u64(s->hub->rng) % (RENEW_AFTER / 2);
}

static pq_ns old_until(const struct pq_session *s, pq_ns now)
{
    const pq_ns rtts = OLD_RTTS * pq_kcp_srtt(s->kcp);
    return now + (rtts > OLD_MIN ? rtts : OLD_MIN);
}

static void drop_next(struct pq_secure *c)
{
    for (unsigned i = 0; i < PQ_NEXT; i++)
        pq_epoch_free(&c->next[i]);
    c->n_next = 0;
    free(c->control);
    c->control = NULL;
}

static uint64_t id_key(const struct pq_hub *h, uint32_t id)
{
    return pq_hash_bytes(&id, sizeof id, h->hash_seed);
}

static void forget_id(struct pq_session *s, unsigned i)
{
    pq_hash_remove(&s->hub->by_id, &s->id[i].node);
    pq_homes_forget(s->hub->conf.homes, &s->id[i].home);
}

/* A server finds a session by the ids of all its keys, too. */
int pq_secure_ids(struct pq_session *s)
{
    int e = 0;
    for (unsigned i = 0; i < 2 + PQ_NEXT && !s->hub->conf.client; i++) {
        const struct pq_epoch *k = i == 0   ? &s->sec->cur
                                   : i == 1 ? &s->sec->old
                                            : &s->sec->next[i - 2];
        forget_id(s, i);
        s->id[i].s = s;
        s->id[i].id = k->rx_id;
        if (k->rx && !e)
            e = pq_hash_add(&s->hub->by_id, &s->id[i].node, id_key(s->hub, k->rx_id));
        if (k->rx && !e)
            e = pq_homes_set_id(s->hub->conf.homes, &s->id[i].home, k->rx_id, s->hub->conf.worker);
    }
    return e;
}

int pq_secure_use(struct pq_session *s, struct pq_epoch *keys, pq_ns now)
{
    const bool first = !s->sec;
    if (first && !(s->sec = calloc(1, sizeof *s->sec)))
        return PQ_ENOMEM;
    pq_epoch_free(&s->sec->old);
    s->sec->old = s->sec->cur;
    s->sec->cur = *keys;
    explicit_bzero(keys, sizeof *keys);
    s->sec->heard = !s->hub->conf.client; /* a server goes over when the client has */
    s->sec->old_until = old_until(s, now);
    set_renewal(s, now);
    if (pq_secure_ids(s))
        s->dead = PQ_ENOMEM;
    if (first)
        s->hub->ev->secured(s->hub->ctx, s);
    return 0;
}

void pq_secure_free(struct pq_session *s)
{
    pq_ask_end(s);
    if (!s->sec)
        return;
    for (unsigned i = 0; i < 2 + PQ_NEXT; i++)
        forget_id(s, i);
    if (s->by_keys)
        s->hub->replaces = s->sec->cur.tx_id;
    pq_epoch_free(&s->sec->cur);
    pq_epoch_free(&s->sec->old);
    drop_next(s->sec);
    free(s->sec);
    s->sec = NULL;
}

void pq_secure_seal(struct pq_session *s, const struct pq_span *spans, size_t n)
{
    struct pq_epoch *k = &s->sec->cur;
    const bool first = s->hub->conf.client && s->path && s->path->adopted;
    pq_seal_put(k->tx, first ? s->hub->ring[0].first_mask : k->tx_mask, k->tx_id, spans, n);
    if (pq_seal_used(k->tx) > PQ_SEAL_LIMIT - COUNTER_REST)
        s->dead = PQ_ECLOSED;
}

void pq_secure_tick(struct pq_session *s, pq_ns now)
{
    struct pq_secure *c = s->sec;
    if (!c) {
        pq_move_unanswered(s, now);
        return;
    }
    if (c->old.tx && c->heard && now >= c->old_until) {
        pq_epoch_free(&c->old);
        forget_id(s, 1);
    }
    const bool many =
        pq_seal_used(c->cur.tx) >= RENEW_COUNT || pq_seal_used(c->cur.rx) >= RENEW_COUNT;
    if (!s->hub->conf.client || s->ask || !c->heard || now < c->not_before ||
        (now < c->renew_at && !many))
        return;
    if (pq_ask_begin(s, PQ_KIND_RENEW, now))
        set_renewal(s, now);
}

pq_ns pq_secure_deadline(const struct pq_session *s)
{
    pq_ns at = s->ask ? s->ask->due : PQ_NEVER;
    if (!s->sec)
        return at;
    at = pq_ns_min(at, pq_move_deadline(s));
    if (s->sec->old.tx && s->sec->heard)
        at = pq_ns_min(at, s->sec->old_until);
    return s->hub->conf.client && !s->ask && s->sec->heard
               ? pq_ns_min(at, pq_ns_max(s->sec->renew_at, s->sec->not_before))
               : at;
}

/* ---- whose datagram it is */

/* `mask`: not the keys' own, but that of K [12.7]; or NULL. */
static enum pq_drop open_with(const struct pq_epoch *k, struct pq_mask *mask,
                              const struct pq_arrival *a, struct pq_view *inner)
{
    const struct pq_seal_head head = pq_mask_read(mask ? mask : k->rx_mask, a->p, a->n);
    return head.id == k->rx_id ? pq_seal_open(k->rx, a->p, a->n, head.counter, inner)
                               : PQ_DROP_NO_SESSION;
}

/* Under one of the session's keys.  PQ_DROP_NO_SESSION: it is none of it. */
static enum pq_drop open_own(struct pq_session *s, struct pq_mask *mask, const struct pq_arrival *a,
                             struct pq_view *inner)
{
    struct pq_secure *c = s->sec;
    if (a->n < PQ_SEAL_HEAD + PQ_SEAL_TAIL)
        return PQ_DROP_NO_SESSION;
    enum pq_drop d = open_with(&c->cur, mask, a, inner);
    if (!d && !c->heard) {
        c->heard = true;
        c->old_until = old_until(s, a->now);
    }
    if (d == PQ_DROP_NO_SESSION && c->old.rx)
        d = open_with(&c->old, mask, a, inner);
    for (unsigned i = 0; d == PQ_DROP_NO_SESSION && i < PQ_NEXT && c->next[i].rx; i++) {
        d = open_with(&c->next[i], mask, a, inner);
        if (!d) {                                  /* the client has gone over to these */
            pq_secure_use(s, &c->next[i], a->now); /* cannot fail: the session has keys */
            drop_next(c);
            pq_secure_ids(s);
        }
    }
    return d;
}

/* ---- what is said inside a session [12.6] */

enum pq_drop pq_secure_control(struct pq_session *s, const struct pq_segment *seg,
                               struct pq_view inner, pq_ns now)
{
    struct pq_message m;
    enum pq_drop d = s->sec ? pq_control_open(inner, &m) : PQ_DROP_OOB;
    if (d)
        return d;
    if (m.kind >= PQ_KIND_TRAIN)
        return pq_measure_take(s, seg, &m, now);
    if (m.kind >= PQ_KIND_MOVE)
        return pq_move_take(s, seg, &m, now);
    if (s->hub->conf.client)
        return s->ask ? pq_ask_take(s, &m, now) : PQ_DROP_HANDSHAKE;
    return m.kind == PQ_KIND_RENEW ? pq_answer_renewal(s, seg, &m, now) : PQ_DROP_HANDSHAKE;
}

size_t pq_secure_control_fill(struct pq_session *s, uint8_t *p, size_t cap, pq_ns now)
{
    struct pq_secure *c = s->sec;
    const size_t asked = pq_move_ask(s, p), most = (size_t)s->dgram_max + PQ_DGRAM_HEAD;
    if (asked)
        return asked;
    cap = cap < most ? cap : most;
    const size_t counts = pq_measure_ask(s, p, cap);
    if (counts)
        return counts;
    if (s->hub->conf.client)
        return s->ask ? pq_ask_fill(s, p, cap, now) : 0;
    if (!c->control)
        return 0;
    const size_t n = c->control_len <= cap ? c->control_len : 0;
    memcpy(p, c->control, n);
    free(c->control);
    c->control = NULL;
    return n;
}

/* What is known of a tuple. */
struct tuple {
    struct pq_session *any; /* a session there that has proven itself, one of the old wire first */
    bool only_own;          /* one of this wire is there: on a client the old one is over */
    bool asking;            /* a handshake message may come */
};

/* Looks at all sessions of the tuple, of which there is one as a rule. */
static enum pq_wire take_own(struct pq_hub *h, const struct pq_arrival *a, struct tuple *t,
                             struct pq_opened *o)
{
    const struct pq_segment *seg = a->seg;
    struct pq_hash_node *i = pq_hash_find(&h->by_peer, pq_session_key(h, &seg->src, seg->dst.port));
    for (; i; i = pq_hash_next(i)) {
        const struct pq_tuple *tuple = PQ_OF(i, struct pq_tuple, node);
        struct pq_session *at = tuple->s;
        if (at->half || !pq_addr_eq(&tuple->peer, &seg->src) ||
            !pq_addr_eq(&tuple->local, &seg->dst))
            continue;
        if (!t->any || t->any->sec)
            t->any = at;
        t->only_own = t->only_own || at->by_keys || at->sec;
        t->asking = t->asking || at->ask || at->sec || a->now < at->seal_until ||
                    at->abilities & at->said & PQ_ABLE_KEYS; /* an upgrade is next */
        if (!at->sec)
            continue;
        o->d = open_own(at, NULL, a, &o->inner);
        if (o->d == PQ_DROP_NO_SESSION)
            continue;
        o->s = h->last = at;
        return o->d ? PQ_WIRE_DONE : PQ_WIRE_OWN;
    }
    return PQ_WIRE_OLD;
}

/* A datagram of a session that is not at home on this tuple: its client moves [12.7]. */
static enum pq_wire take_moving(struct pq_hub *h, struct pq_mask *mask, const struct pq_arrival *a,
                                struct pq_opened *o)
{
    if (a->n < PQ_SEAL_HEAD + PQ_SEAL_TAIL || !h->by_id.n)
        return PQ_WIRE_OLD;
    const struct pq_seal_head head = pq_mask_read(mask, a->p, a->n);
    struct pq_hash_node *i = pq_hash_find(&h->by_id, id_key(h, head.id));
    for (; i; i = pq_hash_next(i)) {
        const struct pq_known_id *known = PQ_OF(i, struct pq_known_id, node);
        if (known->id != head.id || open_own(known->s, mask, a, &o->inner))
            continue;
        o->s = known->s;
        o->d = pq_move_expected(o->s, a->seg, o->inner) ? PQ_DROP_NONE : PQ_DROP_NOT_PEER;
        return o->d ? PQ_WIRE_DONE : PQ_WIRE_OWN;
    }
    return PQ_WIRE_OLD;
}

/* A session that another worker has: this tuple is its, since it has moved here, or is about to be.
 * A stranger's bytes name one by chance only, and go no further than that worker. */
static enum pq_wire take_elsewhere(struct pq_hub *h, const struct pq_arrival *a,
                                   struct pq_opened *o)
{
    if (!h->conf.homes || h->handed || a->n < PQ_SEAL_HEAD + PQ_SEAL_TAIL)
        return PQ_WIRE_OLD;
    const unsigned own = h->conf.worker;
    int worker = pq_homes_elsewhere(h->conf.homes, &a->seg->src, a->seg->dst.port, own);
    for (unsigned k = 0; worker < 0 && k < PQ_RINGS && h->ring[k].first_mask; k++)
        worker = pq_homes_of_id(h->conf.homes, pq_mask_read(h->ring[k].first_mask, a->p, a->n).id);
    if (worker < 0 || (unsigned)worker == own)
        return PQ_WIRE_OLD;
    pq_connect_hand(h, a->seg, (unsigned)worker);
    h->ev->elsewhere(h->ctx, (unsigned)worker, h->frame);
    o->d = PQ_DROP_ELSEWHERE;
    return PQ_WIRE_DONE;
}

/* A handshake message, or nothing that can be read as one: then the bytes are as they were. */
static bool take_handshake(struct pq_hub *h, const struct pq_arrival *a, struct pq_session *s,
                           enum pq_drop *d)
{
    uint8_t copy[PQ_DGRAM_MAX];
    struct pq_message m;
    unsigned k = 0;
    if (a->n > sizeof copy)
        return false;
    for (; k < PQ_RINGS && h->ring[k].shake; k++) {
        memcpy(copy, a->p, a->n);
        if (!pq_shake_open(h->ring[k].shake, copy, a->n, &m))
            break;
    }
    if (k == PQ_RINGS || !h->ring[k].shake)
        return false;
    if (!h->conf.client)
        *d = pq_answer(h, a, s, &m, k);
    else if (s && s->ask && s->ask->about.kind != PQ_KIND_RENEW)
        *d = pq_ask_take(s, &m, a->now);
    else
        *d = PQ_DROP_HANDSHAKE;
    if (!*d && s)
        pq_flow_heard(&s->flow, a->seg);
    return true;
}

/* Datagrams come in runs: most often this one is of the session that the one before was of. */
static bool take_as_last(struct pq_hub *h, const struct pq_arrival *a, struct pq_opened *o)
{
    struct pq_session *s = h->last;
    if (!s || !pq_addr_eq(&s->peer, &a->seg->src) || !pq_addr_eq(&s->local, &a->seg->dst) ||
        open_own(s, NULL, a, &o->inner))
        return false;
    o->s = s;
    return true;
}

enum pq_wire pq_secure_take(struct pq_hub *h, const struct pq_arrival *a, struct pq_opened *o)
{
    struct tuple t = {0};
    if (take_as_last(h, a, o))
        return PQ_WIRE_OWN;
    enum pq_wire w = take_own(h, a, &t, o);
    if (w == PQ_WIRE_OLD && h->n_replies)
        w = pq_reply_take(h, a, o);
    for (unsigned k = 0; w == PQ_WIRE_OLD && !h->conf.client && k < PQ_RINGS; k++)
        if (h->ring[k].first_mask)
            w = take_moving(h, h->ring[k].first_mask, a, o);
    if (w == PQ_WIRE_OLD)
        w = take_elsewhere(h, a, o);
    if (w != PQ_WIRE_OLD)
        return w;
    if ((t.asking || (!t.any && !h->conf.client)) && take_handshake(h, a, t.any, &o->d))
        return PQ_WIRE_DONE;
    if (!h->conf.own.required && !(h->conf.client && t.only_own))
        return PQ_WIRE_OLD;
    o->d = PQ_DROP_AUTH;
    return PQ_WIRE_DONE;
}

void pq_secure_doubt(struct pq_hub *h, const struct pq_segment *seg, pq_ns now)
{
    struct pq_session *s = pq_session_find(h, seg, NULL);
    if (s)
        s->seal_until = now + SEAL_FIRST;
}
