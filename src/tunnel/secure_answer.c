/* SPDX-License-Identifier: MIT */
/* secure_answer.c - the server's side of the handshakes of our own wire.  Whoever asks gets at most
 * one answer, no longer than the question; then the handshake waits for a datagram under its keys,
 * and only that one makes a session, or gives one its new keys [12.2]. */
#include "tunnel/tunnel_internal.h"

#include <stdlib.h>

#define REPLIES_MAX    256 /* of a worker */
#define REPLIES_TUPLE  8   /* of one address and port: the messages whose answer the client takes */
#define SESSIONS_TUPLE 8   /* of our own wire */
#define REPLIES_USER   32
#define RATE_ALL       100 /* handshakes a second, and at once */
#define RATE_EACH      10  /* the same of one source; more if there are enough left */

/* ---- how much is computed */

void pq_rate_refill(struct pq_rate *r, uint32_t a_second, pq_ns now)
{
    const pq_ns each = PQ_SEC / a_second, passed = (now - r->at) / each;
    if (!r->at || passed >= a_second) {
        r->left = a_second;
        r->at = now;
        return;
    }
    r->left = r->left + passed < a_second ? r->left + (uint32_t)passed : a_second;
    r->at += passed * each;
}

static struct pq_rate *rate_of(struct pq_hub *h, const struct pq_addr *from)
{
    /* of IPv6 the network: a host has as many addresses in it as it likes */
    const size_t n = pq_addr_is4(from) ? sizeof from->ip : sizeof from->ip / 2;
    return &h->asked_by[pq_hash_bytes(from->ip, n, h->hash_seed) % 256];
}

/* Half of what there is at a time is kept for sources that ask seldom. */
bool pq_compute_may(struct pq_hub *h, const struct pq_addr *from, pq_ns now)
{
    struct pq_rate *each = rate_of(h, from), *all = &h->asked;
    pq_rate_refill(each, RATE_EACH, now);
    pq_rate_refill(all, RATE_ALL, now);
    return each->left ? all->left > 0 : all->left > RATE_ALL / 2;
}

void pq_compute_spend(struct pq_hub *h, const struct pq_addr *from)
{
    struct pq_rate *each = rate_of(h, from);
    h->asked.left -= h->asked.left > 0;
    each->left -= each->left > 0;
}

static bool may_compute(struct pq_hub *h, const struct pq_addr *from, pq_ns now)
{
    const bool ok = pq_compute_may(h, from, now);
    if (ok)
        pq_compute_spend(h, from);
    return ok;
}

/* ---- handshakes that wait */

static void reply_free(struct pq_reply *r)
{
    struct pq_hub *h = r->hub;
    pq_hash_remove(&h->by_tuple, &r->by_tuple);
    pq_list_remove(&r->node);
    pq_list_remove(&r->waiting);
    pq_epoch_free(&r->keys);
    free(r->answer);
    free(r);
    h->n_replies--;
}

void pq_replies_clear(struct pq_hub *h)
{
    struct pq_list *n;
    while ((n = pq_list_pop(&h->replies)))
        reply_free(PQ_OF(n, struct pq_reply, node));
}

void pq_replies_rekey(struct pq_hub *h, const unsigned to[PQ_RINGS])
{
    for (struct pq_list *i = h->replies.next, *next; i != &h->replies; i = next) {
        struct pq_reply *r = PQ_OF(i, struct pq_reply, node);
        next = i->next;
        r->ring = to[r->ring];
        if (r->ring == PQ_RINGS)
            reply_free(r);
    }
}

static bool is_user(const uint8_t (*users)[32], unsigned n, unsigned who, const uint8_t key[32])
{
    return who < n && memcmp(users[who], key, 32) == 0;
}

static void revoke(struct pq_hub *h)
{
    const struct pq_own_conf *c = &h->conf.own;
    for (struct pq_list *i = h->replies.next, *next; i != &h->replies; i = next) {
        struct pq_reply *r = PQ_OF(i, struct pq_reply, node);
        next = i->next;
        if (r->kind == PQ_KIND_KEYS && !is_user(c->users, c->n, r->who, r->said.from))
            reply_free(r);
    }
}

void pq_hub_set_users(struct pq_hub *h, const uint8_t (*users)[32], unsigned n)
{
    h->conf.own.users = users;
    h->conf.own.n = n;
    pq_shares_users(h);
    revoke(h);
}

bool pq_session_revoked(const struct pq_session *s, const uint8_t (*users)[32], unsigned n)
{
    return s->who != PQ_NOBODY && !is_user(users, n, s->who, s->client);
}

void pq_replies_tick(struct pq_hub *h, pq_ns now)
{
    while (pq_replies_deadline(h) <= now)
        reply_free(PQ_OF(pq_list_pop(&h->replies), struct pq_reply, node));
}

pq_ns pq_replies_deadline(const struct pq_hub *h)
{
    if (pq_list_empty(&h->replies))
        return PQ_NEVER;
    const struct pq_reply *r = PQ_OF(h->replies.next, struct pq_reply, node);
    return r->opened + PQ_HALF_WAIT; /* NOLINT(clang-analyzer-unix.Malloc): as in pq_list_pop */
}

static bool same_tuple(const struct pq_reply *a, const struct pq_addr *peer,
                       const struct pq_addr *local)
{
    return pq_addr_eq(&a->peer, peer) && pq_addr_eq(&a->local, local);
}

/* Adds it; where there are too many, of its tuple, its user or of all, the oldest of them goes. */
static int reply_add(struct pq_hub *h, struct pq_reply *r)
{
    struct pq_reply *of_tuple = NULL, *of_user = NULL;
    unsigned n_tuple = 0, n_user = 0;
    for (struct pq_list *i = h->replies.next; i != &h->replies; i = i->next) {
        struct pq_reply *at = PQ_OF(i, struct pq_reply, node);
        if (same_tuple(at, &r->peer, &r->local) && !n_tuple++)
            of_tuple = at;
        if (h->conf.own.n && at->kind == PQ_KIND_KEYS && at->who == r->who && !n_user++)
            of_user = at;
    }
    if (n_tuple >= REPLIES_TUPLE)
        reply_free(of_tuple);
    else if (r->kind == PQ_KIND_KEYS && n_user >= REPLIES_USER)
        reply_free(of_user);
    else if (h->n_replies >= REPLIES_MAX)
        reply_free(PQ_OF(h->replies.next, struct pq_reply, node));
    h->n_replies++;
    pq_list_push(&h->replies, &r->node);
    /* what does not wait for the disk goes before what does */
    pq_list_insert_before(r->ticket ? &h->answers : h->answers.next, &r->waiting);
    return pq_hash_add(&h->by_tuple, &r->by_tuple, pq_session_key(h, &r->peer, r->local.port));
}

/* ---- a question */

static bool id_taken(const struct pq_hub *h, uint32_t id)
{
    for (struct pq_list *i = h->replies.next; i != &h->replies; i = i->next)
        if (PQ_OF(i, struct pq_reply, node)->keys.rx_id == id)
            return true;
    return h->conf.homes && pq_homes_of_id(h->conf.homes, id) >= 0;
}

static uint32_t new_id(struct pq_hub *h)
{
    uint32_t id;
    do
        id = pq_rng_u32(h->rng);
    while (!id || id_taken(h, id));
    return id;
}

bool pq_own_user(const struct pq_hub *h, const uint8_t key[PQ_X25519_LEN], unsigned *who)
{
    const struct pq_own_conf *c = &h->conf.own;
    for (*who = 0; *who < c->n; ++*who)
        if (memcmp(c->users[*who], key, PQ_X25519_LEN) == 0)
            return true;
    return c->n == 0;
}

/* Whether the client of IK is somebody, and this no recording. */
static enum pq_drop check_client(struct pq_hub *h, struct pq_reply *r)
{
    const struct pq_own_conf *c = &h->conf.own;
    if (!pq_own_user(h, r->said.from, &r->who))
        return PQ_DROP_USER;
    const struct pq_stamp t = {r->said.instance, r->said.stamp};
    const uint64_t up = (r->opened - h->born) / PQ_MS;
    return pq_stamps_take(h->stamps, c->n ? r->who : 0, t, h->ev->wall(h->ctx), up, &r->ticket)
               ? PQ_DROP_NONE
               : PQ_DROP_STAMP;
}

/* An answer to an earlier message of this handshake is about to leave, for which the client waits
 * as well: one for each of his messages would use up his share while a disk is slow, and he would
 * get answers of which nothing is known any more. */
static bool is_waiting(const struct pq_hub *h, const struct pq_reply *r)
{
    for (struct pq_list *i = h->answers.next; i != &h->answers; i = i->next) {
        const struct pq_reply *at = PQ_OF(i, struct pq_reply, waiting);
        if (at->kind == r->kind && same_tuple(at, &r->peer, &r->local) &&
            at->said.instance == r->said.instance && at->said.conv == r->said.conv &&
            memcmp(at->said.from, r->said.from, sizeof r->said.from) == 0)
            return true;
    }
    return false;
}

static uint8_t *copy_of(const uint8_t *p, size_t n)
{
    uint8_t *q = malloc(n);
    if (q)
        memcpy(q, p, n);
    return q;
}

/* The answer has no more bytes than the question, headers included. */
static enum pq_drop write_answer(struct pq_hub *h, struct pq_reply *r, struct pq_noise *n,
                                 const struct pq_shake_context *about, size_t came)
{
    const struct pq_said what = {.ciphers = pq_aead_ready(), .id = new_id(h), .abilities = r->able};
    const size_t heads = r->flow.ip_len + pq_flow_tcp_len(&r->flow) + r->flow.conn.lead_len;
    const size_t most = came > heads ? came - heads : 0;
    uint8_t buf[PQ_DGRAM_MAX];
    struct pq_buf out = {buf, most < h->conf.mtu ? most : h->conf.mtu, 0};
    if (pq_shake_answer(h->ring[r->ring].shake, n, about, &r->said, &what, &out, &r->keys))
        return PQ_DROP_HANDSHAKE;
    r->len = out.len;
    r->answer = copy_of(buf, out.len);
    return r->answer ? PQ_DROP_NONE : PQ_DROP_FULL;
}

/* What came through one way will the other: a SYN is answered as such. */
static struct pq_flags flags_for(const struct pq_hub *h, const struct pq_segment *seg)
{
    const uint16_t both = PQ_TCP_SYN | PQ_TCP_ACK;
    if (h->conf.follow_flags && (seg->flags == PQ_TCP_SYN || seg->flags == both))
        return (struct pq_flags){{both}, 1};
    if (h->conf.follow_flags && seg->flags == PQ_TCP_ACK)
        return (struct pq_flags){{PQ_TCP_ACK}, 1};
    return h->conf.flags;
}

/* The session that ends for the one that begins, if there are as many as may be. */
static struct pq_session *makes_room(struct pq_hub *h, const struct pq_reply *r)
{
    const struct pq_share *share = r->kind == PQ_KIND_KEYS ? pq_share_of(h, r->said.from) : NULL;
    return share ? pq_share_room(h, share) : NULL;
}

/* Where the answer goes, and whether there is room for another session. */
static enum pq_drop prepare(struct pq_hub *h, struct pq_reply *r, const struct pq_segment *seg,
                            const struct pq_session *s)
{
    struct pq_flow_conf fc = {.local = seg->dst, .peer = seg->src, .link_len = h->conf.link_len};
    const size_t more = r->kind == PQ_KIND_KEYS;
    if ((pq_hub_sessions(h) + more > h->conf.max_sessions && !makes_room(h, r)) ||
        !h->ev->accept(h->ctx, seg, &fc))
        return PQ_DROP_FULL;
    struct pq_flow *caller = pq_connect_caller(h, &seg->src, &seg->dst);
    if (caller) {
        pq_flow_heard(caller, seg);
        pq_connect_note_rtt(caller, h->now);
        r->flow = *caller;
    } else if (s) {
        r->flow = s->flow; /* one connection, as others see it */
    } else {
        pq_session_flow(h, &r->flow, &fc);
        const struct pq_flags flags = flags_for(h, seg);
        pq_flow_set_flags(&r->flow, &flags);
    }
    pq_flow_heard(&r->flow, seg);
    r->able = pq_hub_abilities(h);
    return PQ_DROP_NONE;
}

static enum pq_drop answer(struct pq_hub *h, struct pq_reply *r, const struct pq_arrival *a,
                           const struct pq_session *s, const struct pq_message *m)
{
    struct pq_noise n;
    const struct pq_shake_context about = {
        .kind = r->kind, .attempt = m->attempt, .a = r->kind == PQ_KIND_UPGRADE ? s->conv : 0};
    enum pq_drop d = pq_shake_read(h->ring[r->ring].shake, &n, &about, m->noise, &r->said);
    if (d)
        return d;
    if (r->kind == PQ_KIND_KEYS)
        d = check_client(h, r);
    if (!d && r->kind == PQ_KIND_KEYS && is_waiting(h, r))
        d = PQ_DROP_RATE;
    if (!d)
        d = prepare(h, r, a->seg, s);
    if (!d)
        d = write_answer(h, r, &n, &about, a->seg->head + a->n);
    pq_noise_wipe(&n);
    return d;
}

enum pq_drop pq_answer(struct pq_hub *h, const struct pq_arrival *a, struct pq_session *s,
                       const struct pq_message *m, unsigned ring)
{
    const bool upgrade = m->kind == PQ_KIND_UPGRADE;
    if (m->kind != PQ_KIND_KEYS && !upgrade)
        return PQ_DROP_HANDSHAKE;
    /* only in place of the old wire, of which there is none where keys are required */
    if (upgrade && (!s || s->sec || !(s->abilities & s->said & PQ_ABLE_KEYS)))
        return PQ_DROP_HANDSHAKE;
    if (pq_replay_seen(h->replay, m->noise)) /* first: a recording must not use up what there is */
        return PQ_DROP_REPLAY;
    if (!may_compute(h, &a->seg->src, a->now))
        return PQ_DROP_RATE;
    struct pq_reply *r = calloc(1, sizeof *r);
    if (!r)
        return PQ_DROP_FULL;
    *r = (struct pq_reply){.hub = h,
                           .kind = (enum pq_kind)m->kind,
                           .peer = a->seg->src,
                           .local = a->seg->dst,
                           .ring = ring,
                           .opened = a->now};
    pq_list_init(&r->node);
    pq_list_init(&r->waiting);
    enum pq_drop d = answer(h, r, a, s, m);
    if (d) {
        pq_epoch_free(&r->keys);
        free(r->answer);
        free(r);
        return d;
    }
    if (reply_add(h, r)) {
        reply_free(r);
        return PQ_DROP_FULL;
    }
    return PQ_DROP_NONE;
}

/* New keys for a living session: they wait in it until the client uses them. */
enum pq_drop pq_answer_renewal(struct pq_session *s, const struct pq_segment *seg,
                               const struct pq_message *m, pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_secure *c = s->sec;
    struct pq_shake *shake = h->ring[0].shake; /* K has no part in it */
    struct pq_noise n;
    struct pq_said said;
    struct pq_epoch keys;
    const struct pq_shake_context about = {.kind = PQ_KIND_RENEW,
                                           .attempt = m->attempt,
                                           .a = c->cur.tx_id,
                                           .b = c->cur.rx_id,
                                           .psk = c->cur.next_psk};
    uint8_t buf[PQ_DGRAM_MAX];
    struct pq_buf out = {buf, (size_t)s->dgram_max + PQ_DGRAM_HEAD, 0};
    if (!may_compute(h, &seg->src, now))
        return PQ_DROP_RATE;
    enum pq_drop d = pq_shake_read(shake, &n, &about, m->noise, &said);
    if (d)
        return d;
    struct pq_said what = {.ciphers = pq_aead_ready(), .id = new_id(h)};
    while (what.id == c->cur.rx_id)
        what.id = new_id(h);
    if (pq_shake_answer(shake, &n, &about, &said, &what, &out, &keys))
        return PQ_DROP_HANDSHAKE;
    free(c->control);
    c->control = copy_of(buf, out.len);
    c->control_len = out.len;
    struct pq_epoch *place = &c->next[c->n_next++ % PQ_NEXT];
    pq_epoch_free(place);
    *place = keys;
    pq_secure_ids(s); /* a MOVE may be the first under them */
    pq_session_wake(s);
    return PQ_DROP_NONE;
}

/* ---- answers on their way */

static bool can_go(const struct pq_reply *r)
{
    return pq_stamps_kept(r->hub->stamps, r->ticket);
}

bool pq_answers_ready(const struct pq_hub *h)
{
    return !pq_list_empty(&h->answers) && can_go(PQ_OF(h->answers.next, struct pq_reply, waiting));
}

/* An upgrade's answer goes out between packets of the session that it will replace. */
static struct pq_flow *flow_of(struct pq_hub *h, struct pq_reply *r)
{
    const struct pq_segment seg = {.src = r->peer, .dst = r->local};
    struct pq_session *s = r->kind == PQ_KIND_UPGRADE ? pq_session_find(h, &seg, NULL) : NULL;
    struct pq_flow *caller = s ? NULL : pq_connect_caller(h, &r->peer, &r->local);
    return s ? &s->flow : caller ? caller : &r->flow;
}

size_t pq_answers_pull(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now)
{
    size_t done = 0;
    while (done < n && pq_answers_ready(h)) {
        struct pq_reply *r = PQ_OF(pq_list_pop(&h->answers), struct pq_reply, waiting);
        struct pq_slot *slot = &slots[done++];
        slot->off = PQ_SLOT_HEAD;
        slot->len = (uint16_t)r->len;
        memcpy(slot->buf + slot->off, r->answer, r->len);
        free(r->answer);
        r->answer = NULL;
        h->stats.tx_packets++;
        h->stats.tx_bytes += slot->len;
        struct pq_flow *f = flow_of(h, r);
        pq_flow_craft(f, slot, false, now);
        if (f->look == PQ_LOOK_CONNECT && f != &r->flow)
            r->flow = *f; /* the caller may be forgotten before a session takes its flow */
    }
    return done;
}

/* ---- the first datagram under the new keys */

/* The session that is over now: of an upgrade that of its tuple; of keys the one that the client
 * names, if it is his own. */
static struct pq_session *replaced(struct pq_hub *h, const struct pq_reply *r)
{
    const struct pq_segment seg = {.src = r->peer, .dst = r->local};
    if (r->kind == PQ_KIND_UPGRADE)
        return pq_session_find(h, &seg, NULL);
    for (struct pq_list *i = h->sessions.next; r->said.replaces && i != &h->sessions; i = i->next) {
        struct pq_session *s = PQ_OF(i, struct pq_session, node);
        if (s->sec && s->sec->cur.rx_id == r->said.replaces && s->who == r->who &&
            s->instance == r->said.instance &&
            memcmp(s->client, r->said.from, sizeof s->client) == 0)
            return s;
    }
    return NULL;
}

/* Of one tuple only so many live: each datagram there looks at all of them. */
static void bound_tuple(struct pq_hub *h, const struct pq_reply *r)
{
    struct pq_session *oldest = NULL;
    unsigned n = 0;
    struct pq_hash_node *i = pq_hash_find(&h->by_peer, pq_session_key(h, &r->peer, r->local.port));
    for (; i; i = pq_hash_next(i)) {
        const struct pq_tuple *t = PQ_OF(i, struct pq_tuple, node);
        if (!t->s->sec || !same_tuple(r, &t->peer, &t->local))
            continue;
        n++;
        if (!oldest || t->s->opened < oldest->opened)
            oldest = t->s;
    }
    if (n >= SESSIONS_TUPLE)
        pq_session_end_now(oldest, PQ_EREPLACED);
}

static struct pq_session *make_session(struct pq_hub *h, struct pq_reply *r, pq_ns now)
{
    bound_tuple(h, r);
    struct pq_session *s, *old = replaced(h, r);
    const struct pq_flow_conf fc = {
        .local = r->local, .peer = r->peer, .link_len = h->conf.link_len};
    struct pq_share *share = r->kind == PQ_KIND_KEYS ? pq_share_of(h, r->said.from) : &h->rest;
    const bool full = pq_hub_sessions(h) - (old != NULL) >= h->conf.max_sessions;
    struct pq_session *room = full ? makes_room(h, r) : NULL;
    if (!share || (full && !room) || pq_session_new_of(h, &s, &fc, share, r->said.conv, now))
        return NULL;
    if (room)
        pq_session_end_now(room, PQ_EREPLACED);
    s->flow = r->kind == PQ_KIND_UPGRADE && old ? old->flow : r->flow;
    pq_connect_take_over(h, &r->peer, &r->local, &s->flow);
    pq_session_fit(s, now);
    s->said = r->able;
    s->ring = r->ring;
    s->who = r->kind == PQ_KIND_KEYS ? r->who : PQ_NOBODY;
    s->instance = r->said.instance;
    memcpy(s->client, r->said.from, sizeof s->client);
    if (pq_session_own(s, r->able, r->said.abilities))
        s->dead = PQ_ENOMEM;
    const bool upgraded = old && r->kind == PQ_KIND_UPGRADE;
    if (old)
        pq_session_end_now(old, upgraded ? PQ_EREPLACED : PQ_ECLOSED);
    pq_session_home(s);
    if (!upgraded)
        h->ev->proven(h->ctx, s);
    return s;
}

/* Of one tuple. */
static void forget_replies(struct pq_hub *h, const struct pq_segment *seg)
{
    for (struct pq_list *i = h->replies.next, *next; i != &h->replies; i = next) {
        struct pq_reply *r = PQ_OF(i, struct pq_reply, node);
        next = i->next;
        if (same_tuple(r, &seg->src, &seg->dst))
            reply_free(r);
    }
}

enum pq_wire pq_reply_take(struct pq_hub *h, const struct pq_arrival *a, struct pq_opened *o)
{
    const struct pq_segment *seg = a->seg;
    struct pq_hash_node *i =
        pq_hash_find(&h->by_tuple, pq_session_key(h, &seg->src, seg->dst.port));
    for (; i && a->n >= PQ_SEAL_HEAD + PQ_SEAL_TAIL; i = pq_hash_next(i)) {
        struct pq_reply *r = PQ_OF(i, struct pq_reply, by_tuple);
        if (r->answer || !same_tuple(r, &seg->src, &seg->dst))
            continue; /* to what has not been answered nobody has keys */
        const struct pq_seal_head head = pq_mask_read(r->keys.rx_mask, a->p, a->n);
        if (head.id != r->keys.rx_id ||
            pq_seal_open(r->keys.rx, a->p, a->n, head.counter, &o->inner))
            continue;
        o->s = make_session(h, r, a->now);
        if (o->s && pq_secure_use(o->s, &r->keys, a->now))
            o->s->dead = PQ_ENOMEM;
        forget_replies(h, seg); /* the others answer earlier messages */
        o->d = o->s && o->s->sec ? PQ_DROP_NONE : PQ_DROP_FULL;
        return o->d ? PQ_WIRE_DONE : PQ_WIRE_OWN;
    }
    return PQ_WIRE_OLD;
}
