/* SPDX-License-Identifier: MIT */
/* move.c - sessions of our own wire that change their tuple: the client notices that the old one is
 * dead, asks over a new one, and goes on there once the server has answered; the server follows
 * once the client has echoed what it was told [12.7]. */
#include "tunnel/tunnel_internal.h"

#include <errno.h>
#include <stdlib.h>

#define AGAIN           (200 * PQ_MS) /* a message goes again, and the next time twice as late */
#define SOON            (5 * PQ_SEC)  /* new keys, and with them new ids, follow within */
#define BODY            ((size_t)2 * PQ_TOKEN_LEN)
#define CONNECTED_LEAST PQ_SEC /* what a server answers of SYNs is bounded */
#define HEAD            10     /* of what is out of band, kind, 0 */

/* ---- the messages: a token of who says it, that of the other one, and at most `cap` zeros, or
 * what a datagram has room for */

struct tokens {
    const uint8_t *own, *other;
};

static size_t put(struct pq_session *s, uint8_t *p, uint8_t kind, struct tokens t, size_t cap)
{
    const size_t around = s->hub->around + HEAD + BODY,
                 room = s->size > around ? s->size - around : 0;
    const size_t pad = pq_kcp_padding(s->kcp, cap < room ? cap : room, s->hub->rng);
    pq_put_le32(p, UINT32_MAX);
    pq_put_le16(p + 4, PQ_CONTROL_TYPE);
    pq_put_le16(p + 6, (uint16_t)(2 + 2 + BODY + pad));
    p[8] = kind;
    p[9] = 0;
    memcpy(p + HEAD, t.own, PQ_TOKEN_LEN);
    memcpy(p + HEAD + PQ_TOKEN_LEN, t.other, PQ_TOKEN_LEN);
    memset(p + HEAD + BODY, 0, pad);
    return HEAD + BODY + pad;
}

static bool is_there(const struct pq_path *path, const struct pq_segment *seg)
{
    return path && pq_addr_eq(&path->peer, &seg->src) && pq_addr_eq(&path->local, &seg->dst);
}

/* `seg`: server, what has come from there. */
static struct pq_path *path_new(struct pq_session *s, const struct pq_flow_conf *fc,
                                const struct pq_segment *seg, pq_ns now)
{
    struct pq_path *path = calloc(1, sizeof *path);
    if (!path)
        return NULL;
    path->peer = fc->peer;
    path->local = fc->local;
    path->since = path->due = now;
    pq_session_flow(s->hub, &path->flow, fc);
    path->flow.flags = s->flow.flags;
    if (s->syn_key)
        pq_connect_begin(s->hub, &path->flow, now);
    else if (seg)
        pq_connect_claim(s->hub, seg, &path->flow);
    pq_flow_set_splits(&path->flow, s->abilities & PQ_ABLE_SPLIT);
    pq_rng_fill(s->hub->rng, path->token, sizeof path->token);
    return path;
}

void pq_move_end(struct pq_session *s)
{
    pq_session_leave(s, &s->other);
    if (s->path)
        pq_leave(s->hub, &s->path->flow, true);
    free(s->path);
    s->path = NULL;
}

/* ---- client: whether the tuple is dead */

/* The server is known to have some keys of this session. */
static bool is_settled(const struct pq_session *s)
{
    return s->sec->heard || s->sec->old.rx;
}

static struct pq_pulse pulse(const struct pq_session *s)
{
    return (struct pq_pulse){.sent = pq_kcp_sent(s->kcp),
                             .confirmed = pq_kcp_confirmed(s->kcp) + s->watch.answers,
                             .received = pq_kcp_received(s->kcp),
                             .owed = pq_kcp_owed(s->kcp),
                             .bytes = s->wire_in + s->wire_out,
                             .rtt = pq_kcp_srtt(s->kcp)};
}

static bool start(struct pq_session *s, pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_flow_conf fc = {.peer = s->peer, .local = s->local, .link_len = h->conf.link_len};
    if (!h->ev->move || !h->ev->move(h->ctx, s, &fc))
        return false;
    s->path = path_new(s, &fc, NULL, now);
    if (!s->path || pq_session_at(s, &s->other, &fc.peer, &fc.local)) {
        pq_move_end(s);
        h->ev->moved(h->ctx, s, false);
        return false;
    }
    pq_session_wake(s);
    return true;
}

static pq_ns given_up_at(const struct pq_session *s)
{
    const struct pq_pulse p = pulse(s);
    return s->path->since + pq_watch_dead_after(&p) * (1U << s->watch.moves);
}

/* Nobody has answered over the new tuple; or it has died as soon as the session was there. */
static void give_up(struct pq_session *s)
{
    const bool there = s->path->adopted;
    if (!there)
        pq_watch_unheard(&s->watch);
    pq_move_end(s);
    s->hub->ev->moved(s->hub->ctx, s, there);
}

void pq_move_tick(struct pq_session *s, pq_ns now)
{
    struct pq_watch *w = &s->watch;
    if (!s->hub->conf.client || !is_settled(s))
        return;
    const struct pq_pulse p = pulse(s);
    if (!w->move_at)
        pq_watch_set_move(w, s->hub->rng, now);
    pq_watch_note(w, &p, now);
    bool dead = false;
    if (s->path) {
        if (now < given_up_at(s))
            return;
        dead = s->path->adopted;
        give_up(s);
    }
    dead = dead || now >= pq_watch_dead_at(w, &p);
    if (!dead) {
        w->moves = w->owed_since ? w->moves : 0;
        w->ask = pq_watch_ask(w, &p, now) || w->ask;
    }
    if (dead)
        pq_watch_died(w, &p);
    const pq_ns least = s->flow.look == PQ_LOOK_CONNECT ? CONNECTED_LEAST : 0;
    if (!dead && now < w->move_at && !pq_watch_leaves(w, &p, least, now))
        return;
    pq_watch_set_move(w, s->hub->rng, now);
    if (!start(s, now))
        w->owed_since = dead ? now : w->owed_since; /* there is no other port: later */
    else if (dead && w->moves < PQ_MOVES_MAX)
        w->moves++;
}

/* When the next message goes over the path, or what has to go before it. */
static pq_ns message_at(const struct pq_path *path)
{
    const pq_ns due = pq_connect_due(&path->flow, 0);
    return path->adopted || (due == PQ_NEVER && path->flow.conn.state != PQ_CONNECT_ASKING)
               ? path->due
               : due;
}

pq_ns pq_move_deadline(const struct pq_session *s)
{
    const struct pq_watch *w = &s->watch;
    if (!s->hub->conf.client || !is_settled(s))
        return PQ_NEVER;
    if (s->path)
        return pq_ns_min(message_at(s->path), given_up_at(s));
    const struct pq_pulse p = pulse(s);
    return pq_ns_min(pq_ns_min(w->move_at, pq_watch_ask_at(w, &p)), pq_watch_dead_at(w, &p));
}

/* ---- client: before there is a session */

pq_ns pq_move_unanswered_at(const struct pq_session *s)
{
    const struct pq_ask *a = s->ask;
    return a && s->by_keys && !s->sec ? a->elsewhere_at : PQ_NEVER;
}

static void begin_there(struct pq_session *s, const struct pq_flow_conf *fc, pq_ns now)
{
    struct pq_hub *h = s->hub;
    pq_leave(h, &s->flow, false);
    s->peer = fc->peer;
    s->local = fc->local;
    pq_session_flow(h, &s->flow, fc);
    pq_flow_set_flags(&s->flow, &h->conf.flags);
    if (s->syn_key)
        pq_connect_begin(h, &s->flow, now);
    if (pq_session_at(s, &s->tuple, &s->peer, &s->local))
        s->dead = PQ_ENOMEM;
    s->ask->due = now;
    h->ev->moved(h->ctx, s, true);
    pq_session_wake(s);
}

void pq_move_unanswered(struct pq_session *s, pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_flow_conf fc = {.peer = s->peer, .local = s->local, .link_len = h->conf.link_len};
    if (now < pq_move_unanswered_at(s))
        return;
    const unsigned n = ++s->ask->moves / 2; /* 1 s, 1 s, 2 s, 2 s, 4 s, ... */
    s->ask->elsewhere_at = now + (PQ_UNANSWERED << (n < 4 ? n : 4));
    if (h->ev->move && h->ev->move(h->ctx, s, &fc))
        begin_there(s, &fc, now);
}

/* ---- messages on their way */

size_t pq_move_ask(struct pq_session *s, uint8_t *p)
{
    static const uint8_t nothing[PQ_TOKEN_LEN];
    struct pq_watch *w = &s->watch;
    if (!w->ask)
        return 0;
    w->ask = false;
    if (s->hub->conf.client)
        return put(s, p, PQ_KIND_ASK, (struct tokens){nothing, nothing}, s->size);
    return put(s, p, PQ_KIND_YES, (struct tokens){nothing, nothing}, w->padding);
}

static size_t next_message(struct pq_session *s, uint8_t *p, pq_ns now)
{
    struct pq_path *path = s->path;
    const struct tokens t = {path->token, path->theirs};
    if (s->hub->conf.client) {
        if (now < path->due)
            return 0;
        path->due = now + (AGAIN << (path->n < 4 ? path->n : 4));
        path->n++;
        return put(s, p, path->adopted ? PQ_KIND_HERE : PQ_KIND_MOVE, t, s->size);
    }
    if (!path->answer)
        return 0;
    path->answer = false;
    return put(s, p, PQ_KIND_MOVED, t, path->asked); /* not longer than what it answers */
}

bool pq_move_fill(struct pq_session *s, struct pq_slot *slot, pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_epoch *k = &s->sec->cur;
    struct pq_flow *flow = s->path->adopted ? &s->flow : &s->path->flow;
    uint8_t *p = slot->buf + PQ_SLOT_HEAD;
    s->path->out = !s->path->adopted;
    if (pq_connect_head(s, flow, slot, now))
        return true;
    const bool asks = flow->conn.state == PQ_CONNECT_ASKING;
    const size_t n = asks ? 0 : next_message(s, p + PQ_SEAL_HEAD, now);
    if (!n) {
        s->path->out = false;
        return false;
    }
    const struct pq_span span = {p, PQ_SEAL_HEAD + n + PQ_SEAL_TAIL};
    pq_seal_put(k->tx, h->conf.client ? h->ring[0].first_mask : k->tx_mask, k->tx_id, &span, 1);
    slot->off = PQ_SLOT_HEAD;
    slot->len = (uint16_t)span.n;
    h->stats.tx_packets++;
    h->stats.tx_bytes += slot->len;
    pq_flow_craft(flow, slot, false, now);
    if (flow == &s->flow)
        pq_fill_keep(s, &span, 1, now);
    return true;
}

/* ---- the session goes on over the path */

static void adopt(struct pq_session *s, pq_ns now)
{
    struct pq_path *path = s->path;
    const struct pq_addr peer = s->peer, local = s->local;
    struct pq_flow flow = s->flow;
    flow.conn.gone = flow.conn.gone || s->away; /* nothing is sent from an address that is gone */
    s->moves++;
    s->peer = path->peer;
    s->local = path->local;
    s->flow = path->flow;
    path->flow = flow;
    pq_fill_end(s);
    free(s->stalled.copy); /* its number is the old connection's */
    s->stalled = (struct pq_stalled){0};
    s->away = false;
    path->peer = peer; /* what still comes over the old one is taken */
    path->local = local;
    path->adopted = true;
    path->since = path->due = now;
    path->n = 0;
    const struct pq_pulse p = pulse(s);
    pq_watch_began(&s->watch, &p, s->hub->rng, now);
    pq_session_retuple(s);
    if (s->flow.look == PQ_LOOK_CONNECT && !pq_session_fits(s))
        s->dead = -EMSGSIZE; /* its segments have their size for good; a new one is smaller */
    /* a fresh connection's window is small, and must not be full of what does not pass */
    pq_kcp_retry(s->kcp, s->flow.look != PQ_LOOK_CONNECT);
    if (!pq_addr_eq_ip(&peer, &s->peer) || !pq_addr_eq_ip(&local, &s->local))
        pq_kcp_new_path(s->kcp);
    pq_session_wake(s);
}

/* Client: the server has answered over the new tuple. */
static enum pq_drop on_moved(struct pq_session *s, const struct pq_segment *seg,
                             const uint8_t *body, pq_ns now)
{
    struct pq_path *path = s->path;
    if (!path || memcmp(body + PQ_TOKEN_LEN, path->token, PQ_TOKEN_LEN) != 0)
        return PQ_DROP_HANDSHAKE;
    if (path->adopted || !is_there(path, seg))
        return PQ_DROP_NONE; /* once more */
    memcpy(path->theirs, body, PQ_TOKEN_LEN);
    pq_flow_heard(&path->flow, seg);
    adopt(s, now);
    return PQ_DROP_NONE;
}

void pq_move_heard(struct pq_session *s, const struct pq_segment *seg, pq_ns now)
{
    if (!s->path || !s->path->adopted || !pq_addr_eq(&seg->dst, &s->local) ||
        !pq_addr_eq(&seg->src, &s->peer))
        return;
    pq_move_end(s); /* the other end sends here: it knows the tuple */
    pq_watch_answered(&s->watch);
    if (!s->hub->conf.client)
        return;
    s->hub->ev->moved(s->hub->ctx, s, true);
    s->sec->renew_at = pq_ns_min(s->sec->renew_at, now + PQ_SEC + pq_rng_u64(s->hub->rng) % SOON);
}

/* Server: the client asks whether it may go on there. */
static enum pq_drop on_move(struct pq_session *s, const struct pq_segment *seg, const uint8_t *body,
                            size_t padding, pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_flow_conf fc = {.local = seg->dst, .peer = seg->src, .link_len = h->conf.link_len};
    if (!is_there(s->path, seg) || s->path->adopted) {
        if (!h->ev->accept(h->ctx, seg, &fc))
            return PQ_DROP_FULL;
        pq_move_end(s);
        s->path = path_new(s, &fc, seg, now);
        if (!s->path)
            return PQ_DROP_FULL;
    }
    memcpy(s->path->theirs, body, PQ_TOKEN_LEN);
    s->path->answer = true;
    s->path->asked = padding;
    pq_flow_heard(&s->path->flow, seg);
    pq_session_wake(s);
    return PQ_DROP_NONE;
}

/* Server: the client hears what is sent there. */
static enum pq_drop on_here(struct pq_session *s, const struct pq_segment *seg, const uint8_t *body,
                            pq_ns now)
{
    struct pq_path *path = s->path;
    if (pq_addr_eq(&seg->src, &s->peer) && pq_addr_eq(&seg->dst, &s->local))
        return PQ_DROP_NONE; /* once more */
    if (!is_there(path, seg) || path->adopted ||
        memcmp(body + PQ_TOKEN_LEN, path->token, PQ_TOKEN_LEN) != 0)
        return PQ_DROP_HANDSHAKE;
    pq_flow_heard(&path->flow, seg);
    adopt(s, now);
    s->hub->ev->moved(s->hub->ctx, s, true);
    pq_smux_nop(s->smux); /* so that the client hears at once that it has worked */
    return PQ_DROP_NONE;
}

enum pq_drop pq_move_take(struct pq_session *s, const struct pq_segment *seg,
                          const struct pq_message *m, pq_ns now)
{
    if (m->noise.n < BODY)
        return PQ_DROP_OOB;
    if (m->kind == (s->hub->conf.client ? PQ_KIND_YES : PQ_KIND_ASK)) {
        s->watch.answers++;
        s->watch.ask = !s->hub->conf.client;
        s->watch.padding = m->noise.n - BODY;
        pq_session_wake(s);
        return PQ_DROP_NONE;
    }
    if (s->hub->conf.client)
        return m->kind == PQ_KIND_MOVED ? on_moved(s, seg, m->noise.p, now) : PQ_DROP_HANDSHAKE;
    return m->kind == PQ_KIND_MOVE   ? on_move(s, seg, m->noise.p, m->noise.n - BODY, now)
           : m->kind == PQ_KIND_HERE ? on_here(s, seg, m->noise.p, now)
                                     : PQ_DROP_HANDSHAKE;
}

bool pq_move_expected(const struct pq_session *s, const struct pq_segment *seg,
                      struct pq_view inner)
{
    struct pq_message m;
    if (is_there(s->path, seg) ||
        (pq_addr_eq(&seg->src, &s->peer) && pq_addr_eq(&seg->dst, &s->local)))
        return true;
    return inner.n >= HEAD && pq_le32(inner.p) == UINT32_MAX &&
           pq_le16(inner.p + 4) == PQ_CONTROL_TYPE && !pq_control_open(inner, &m) &&
           (m.kind == PQ_KIND_MOVE || m.kind == PQ_KIND_TRAIN);
}
