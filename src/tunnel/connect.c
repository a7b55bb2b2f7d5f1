/* SPDX-License-Identifier: MIT */
/* connect.c - sessions of our own wire whose packets look like a TCP connection from its SYN on:
 * what a SYN proves and who has called, before there is a session; answers and acknowledgements
 * without data on their way [12.9].  A client's SYNs are in connect_ask.c, how one connection
 * counts in wire/connect.c, how it ends in leave.c. */
#include "tunnel/proof.h"
#include "tunnel/tunnel_internal.h"

#include <stdlib.h>

#define CALLERS_MAX 256 /* connections of a worker that have no session yet, for ... */
#define CALLER_WAIT PQ_HALF_WAIT
#define LINK_MTU    1500
#define REPEAT_MIN  (200 * PQ_MS) /* the last datagram goes again while nothing else may */
#define REPEATS_MAX 6             /* doublings of that */
#define TCP_LEAST   20
#define SYN_MAX     128           /* bytes of a frame */
#define AGAIN_MIN   (500 * PQ_MS) /* until a SYN without time stamps counts as a repetition */

struct pq_caller { /* server: a connection that has no session yet */
    struct pq_hub *hub;
    struct pq_hash_node by_tuple;
    struct pq_list node;    /* in hub->callers, the oldest first */
    struct pq_list waiting; /* in hub->called, while it is to be answered */
    struct pq_addr peer, local;
    struct pq_home home;
    struct pq_flow flow;
    uint32_t first; /* time stamp of the first SYN, ... */
    uint32_t last;  /* ... and of the last one that came */
    uint8_t again;  /* how often it has come again, ... */
    pq_ns last_at;  /* ... and when it was answered last */
    bool answered;
    pq_ns opened;
    uint8_t syn[SYN_MAX]; /* the frame of the SYN, for another worker; ... */
    uint32_t syn_len;     /* ... 0: there is none */
};

/* ---- what a SYN proves */

int pq_connect_init(struct pq_hub *h)
{
    h->syns = h->conf.syns;
    if (!h->ring[0].syn_key || h->syns)
        return 0;
    const int e = pq_syns_new(&h->own_syns, h->ev->wall(h->ctx), pq_rng_u64(h->rng));
    h->syns = h->own_syns;
    return e;
}

/* Whether the SYN proves that its sender has the keys. */
static bool is_proven(struct pq_hub *h, const struct pq_segment *syn, uint64_t wall,
                      struct pq_syn *out)
{
    for (unsigned k = 0; k < PQ_RINGS && h->ring[k].syn_key; k++)
        if (pq_proof_check(h->ring[k].syn_key, syn, wall, out))
            return true;
    return false;
}

bool pq_hub_syn_apart(struct pq_hub *h, const struct pq_segment *syn, int64_t *apart)
{
    const unsigned day = (unsigned)(UINT64_C(86400000) / PQ_SYN_SLOT);
    for (unsigned k = 0; k < PQ_RINGS && h->ring[k].syn_key; k++)
        if (pq_proof_when(h->ring[k].syn_key, syn, h->ev->wall(h->ctx), day, apart))
            return true;
    return false;
}

/* ... and no other has been answered with the same proof; or another worker has found so. */
static bool may_answer(struct pq_hub *h, const struct pq_segment *seg, struct pq_syn *out)
{
    const uint64_t wall = h->ev->wall(h->ctx);
    const bool ok = is_proven(h, seg, wall, out);
    if (h->handed)
        return ok;
    if (!ok)
        pq_syns_note_wrong(h->syns, &seg->src, !seg->has_ts, wall);
    return ok && pq_syns_take(h->syns, out, wall);
}

/* ---- connections */

static struct pq_connect_conf host_of(const struct pq_hub *h, const struct pq_flow *f)
{
    const uint32_t mtu = h->conf.link_mtu ? h->conf.link_mtu : LINK_MTU;
    const uint32_t heads = f->ip_len + (uint32_t)TCP_LEAST;
    const uint32_t mss = mtu > heads ? mtu - heads : 0;
    return (struct pq_connect_conf){.mss = (uint16_t)(mss < UINT16_MAX ? mss : UINT16_MAX),
                                    .rmem = h->conf.rmem,
                                    .linear = h->conf.syns_linear,
                                    .system = h->conf.system};
}

static void draw_lead(struct pq_hub *h, struct pq_flow *f)
{
    uint8_t random[2 * (PQ_LEAD_MAX + 1)];
    pq_rng_fill(h->rng, random, sizeof random);
    pq_connect_set_lead(f, random);
}

void pq_connect_begin(struct pq_hub *h, struct pq_flow *f, pq_ns now)
{
    const struct pq_connect_conf c = host_of(h, f);
    pq_leave_again(h, f);
    pq_connect_client(f, &c, now);
    draw_lead(h, f);
}

static struct pq_caller *find_caller(struct pq_hub *h, const struct pq_addr *peer,
                                     const struct pq_addr *local)
{
    struct pq_hash_node *i = pq_hash_find(&h->by_caller, pq_session_key(h, peer, local->port));
    for (; i; i = pq_hash_next(i)) {
        struct pq_caller *c = PQ_OF(i, struct pq_caller, by_tuple);
        if (pq_addr_eq(&c->peer, peer) && pq_addr_eq(&c->local, local))
            return c;
    }
    return NULL;
}

static void caller_free(struct pq_caller *c)
{
    struct pq_hub *h = c->hub; /* NOLINT(clang-analyzer-unix.Malloc): as in pq_list_pop */
    pq_hash_remove(&h->by_caller, &c->by_tuple);
    pq_homes_forget(h->conf.homes, &c->home);
    pq_list_remove(&c->node);
    pq_list_remove(&c->waiting);
    h->n_callers--;
    free(c);
}

struct pq_flow *pq_connect_caller(struct pq_hub *h, const struct pq_addr *peer,
                                  const struct pq_addr *local)
{
    struct pq_caller *c = h->n_callers ? find_caller(h, peer, local) : NULL;
    return c && c->answered ? &c->flow : NULL;
}

/* Of this worker, or another. */
static bool has_session(const struct pq_caller *c)
{
    struct pq_hub *h = c->hub;
    return pq_session_on(h, &c->peer, &c->local, NULL) ||
           pq_homes_elsewhere(h->conf.homes, &c->peer, c->local.port, h->conf.worker) >= 0;
}

/* Nothing came of it: where the handshake was done, the connection ends as others do; but not where
 * a session has begun of which somebody kept from the server that it knows the connection. */
static void give_up(struct pq_caller *c)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): as in pq_list_pop */
    if (c->answered && c->flow.conn.una != c->flow.conn.first && !has_session(c))
        pq_leave(c->hub, &c->flow, true);
    caller_free(c);
}

static void take_over(struct pq_caller *c)
{
    struct pq_hub *h = c->hub;
    const struct pq_addr peer = c->peer;
    caller_free(c);
    pq_syns_know(h->syns, &peer, h->ev->wall(h->ctx));
}

void pq_connect_take_over(struct pq_hub *h, const struct pq_addr *peer, const struct pq_addr *local,
                          struct pq_flow *out)
{
    struct pq_caller *c = h->n_callers ? find_caller(h, peer, local) : NULL;
    if (!c || !c->answered)
        return;
    *out = c->flow;
    take_over(c);
}

bool pq_connect_claim(struct pq_hub *h, const struct pq_segment *seg, struct pq_flow *out)
{
    struct pq_caller *c = h->n_callers ? find_caller(h, &seg->src, &seg->dst) : NULL;
    if (!c || !c->answered)
        return false;
    *out = c->flow;
    if (pq_connect_knows(&c->flow, seg))
        take_over(c);
    return true;
}

bool pq_connect_of_another(struct pq_hub *h, const struct pq_segment *seg)
{
    const struct pq_caller *c = h->n_callers ? find_caller(h, &seg->src, &seg->dst) : NULL;
    return c && !(c->answered && pq_connect_knows(&c->flow, seg));
}

/* A proven SYN: it is answered at the next pull; or another worker has done so. */
static enum pq_drop call(struct pq_hub *h, const struct pq_segment *syn, uint32_t stamp, pq_ns now)
{
    struct pq_flow_conf fc = {.local = syn->dst, .peer = syn->src, .link_len = h->conf.link_len};
    if (!h->ev->accept(h->ctx, syn, &fc))
        return PQ_DROP_FULL;
    if (h->n_callers >= CALLERS_MAX)
        give_up(PQ_OF(h->callers.next, struct pq_caller, node));
    struct pq_caller *c = calloc(1, sizeof *c);
    if (!c)
        return PQ_DROP_FULL;
    *c = (struct pq_caller){.hub = h,
                            .peer = syn->src,
                            .local = syn->dst,
                            .first = stamp,
                            .last = syn->tsval,
                            .last_at = now,
                            .opened = now};
    pq_list_init(&c->node);
    pq_list_init(&c->waiting);
    pq_session_flow(h, &c->flow, &fc);
    c->flow.st.seq = pq_syns_number(h->syns, syn->seq, stamp);
    const struct pq_connect_conf host = host_of(h, &c->flow);
    pq_connect_server(&c->flow, &host, syn);
    draw_lead(h, &c->flow);
    h->fresh_until = now + CALLER_WAIT;
    h->n_callers++;
    pq_list_push(&h->callers, &c->node);
    if (h->handed) {
        c->answered = true;
        pq_connect_note_answered(&c->flow, now);
    } else {
        pq_list_push(&h->called, &c->waiting);
    }
    if (h->conf.homes && h->frame->len <= sizeof c->syn) {
        memcpy(c->syn, h->frame->p, h->frame->len);
        c->syn_len = h->frame->len;
    }
    if (pq_hash_add(&h->by_caller, &c->by_tuple, pq_session_key(h, &c->peer, c->local.port)) ||
        pq_homes_set_tuple(h->conf.homes, &c->home, &c->peer, c->local.port, h->conf.worker)) {
        caller_free(c);
        return PQ_DROP_FULL;
    }
    return PQ_DROP_NONE;
}

void pq_connect_hand(struct pq_hub *h, const struct pq_segment *seg, unsigned worker)
{
    struct pq_caller *c = h->n_callers ? find_caller(h, &seg->src, &seg->dst) : NULL;
    if (!c || !c->answered || !c->syn_len || !pq_connect_knows(&c->flow, seg))
        return;
    const struct pq_frame f = {.p = c->syn, .len = c->syn_len, .wire_len = c->syn_len};
    h->ev->elsewhere(h->ctx, worker, &f);
    caller_free(c);
}

/* Without data, of a session that another worker has [12.7]. */
static enum pq_drop take_elsewhere(struct pq_hub *h, const struct pq_segment *seg)
{
    int worker = -1;
    if (!h->handed)
        worker = pq_homes_elsewhere(h->conf.homes, &seg->src, seg->dst.port, h->conf.worker);
    if (worker < 0)
        return PQ_DROP_NO_PAYLOAD;
    h->ev->elsewhere(h->ctx, (unsigned)worker, h->frame);
    return PQ_DROP_ELSEWHERE;
}

/* One of the SYN's own times, and later than the last one. */
static bool is_later(const struct pq_caller *c, const struct pq_segment *syn)
{
    bool later = false;
    for (unsigned i = 0; i < PQ_SYN_TIMES; i++)
        later = later || (syn->has_ts && syn->tsval == c->first + pq_syn_after(syn->seq, i) &&
                          (int32_t)(syn->tsval - c->last) > 0);
    return later;
}

/* Without time stamps nothing tells a repetition from a recording but that there are few, some time
 * apart, while nobody has shown that he has heard the answer. */
static bool is_again(const struct pq_caller *c, const struct pq_segment *syn, pq_ns now)
{
    return !syn->has_ts && c->again < PQ_SYNS - 1 && now >= c->last_at + AGAIN_MIN &&
           c->flow.conn.una == c->flow.conn.first;
}

/* The caller repeats his SYN, as one whose answer was lost does: at its times, and once each. */
static enum pq_drop call_again(struct pq_caller *c, const struct pq_segment *syn, pq_ns now)
{
    const bool good = c->flow.conn.plain ? is_again(c, syn, now) : is_later(c, syn);
    if (!good || c->flow.st.seq != c->flow.conn.first + 1)
        return PQ_DROP_REPLAY;
    c->again++;
    c->last_at = now;
    c->last = syn->tsval;
    c->flow.st.ts_echo = syn->tsval;
    if (pq_list_empty(&c->waiting))
        pq_list_push(&c->hub->called, &c->waiting);
    return PQ_DROP_NONE;
}

/* The flow of a session on this tuple that begins with a handshake, and whose it is. */
struct pq_flow *pq_connect_flow(struct pq_hub *h, const struct pq_segment *seg,
                                struct pq_session **out)
{
    struct pq_hash_node *i = pq_hash_find(&h->by_peer, pq_session_key(h, &seg->src, seg->dst.port));
    for (; i; i = pq_hash_next(i)) {
        const struct pq_tuple *t = PQ_OF(i, struct pq_tuple, node);
        struct pq_session *s = t->s;
        if (!pq_addr_eq(&t->peer, &seg->src) || !pq_addr_eq(&t->local, &seg->dst))
            continue;
        struct pq_flow *f = pq_measure_flow(s, t);
        if (!f)
            f = t == &s->other ? &s->path->flow : &s->flow;
        if (f->look != PQ_LOOK_CONNECT)
            continue;
        *out = s;
        return f;
    }
    return NULL;
}

enum pq_drop pq_connect_take(struct pq_hub *h, const struct pq_segment *seg, pq_ns now)
{
    const uint16_t kind = seg->flags & (PQ_TCP_SYN | PQ_TCP_ACK | PQ_TCP_RST | PQ_TCP_FIN);
    struct pq_session *s = NULL;
    struct pq_flow *f = pq_connect_flow(h, seg, &s);
    struct pq_syn proven;
    if (!seg->sound) /* a kernel answers none such, either */
        return PQ_DROP_NO_PAYLOAD;
    if (f && (kind != PQ_TCP_SYN || !h->ring[0].syn_key)) {
        const bool waits = f != &s->flow || kind & PQ_TCP_SYN || !pq_connect_packets(s);
        const bool more = pq_connect_bare(f, seg);
        if (f == &s->flow)
            pq_fill_told(s, seg, now);
        if (more && waits) {
            if (kind & PQ_TCP_SYN)
                h->fresh_until = now + CALLER_WAIT;
            pq_session_fit(s, now);
            pq_session_wake(s);
        }
        return PQ_DROP_NONE;
    }
    struct pq_caller *c = h->n_callers ? find_caller(h, &seg->src, &seg->dst) : NULL;
    if (kind != PQ_TCP_SYN) {
        if (c) {
            pq_connect_bare(&c->flow, seg);
            pq_connect_note_rtt(&c->flow, now);
        }
        return c || pq_leave_take(h, seg, now) ? PQ_DROP_NONE : take_elsewhere(h, seg);
    }
    if (c && seg->seq + 1 == c->flow.st.ack)
        return call_again(c, seg, now);
    if (!h->ring[0].syn_key || !may_answer(h, seg, &proven))
        return PQ_DROP_NO_PAYLOAD;
    if (c)
        caller_free(c); /* it has begun anew from the same port */
    pq_leave_forget(h, &seg->src, &seg->dst);
    return call(h, seg, proven.stamp, now);
}

void pq_connect_skip_lead(struct pq_hub *h, struct pq_segment *seg, pq_ns now)
{
    struct pq_session *s;
    if (now >= h->fresh_until)
        return;
    const struct pq_caller *c = h->n_callers ? find_caller(h, &seg->src, &seg->dst) : NULL;
    const struct pq_flow *f = c ? &c->flow : pq_connect_flow(h, seg, &s);
    const size_t n = f ? pq_connect_lead(f, seg) : 0;
    seg->data += n;
    seg->len -= n;
    seg->seq += (uint32_t)n;
    seg->lead = (uint8_t)n;
    seg->head += n;
}

void pq_connect_tick(struct pq_hub *h, pq_ns now)
{
    while (pq_connect_deadline(h) <= now)
        give_up(PQ_OF(h->callers.next, struct pq_caller, node));
}

pq_ns pq_connect_deadline(const struct pq_hub *h)
{
    if (pq_list_empty(&h->callers))
        return PQ_NEVER;
    const struct pq_caller *c = PQ_OF(h->callers.next, struct pq_caller, node);
    return c->opened + CALLER_WAIT; /* NOLINT(clang-analyzer-unix.Malloc): as in pq_list_pop */
}

/* ---- on their way */

bool pq_connect_ready(const struct pq_hub *h)
{
    return !pq_list_empty(&h->called);
}

size_t pq_connect_pull(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now)
{
    size_t done = 0;
    struct pq_list *i;
    while (done < n && (i = pq_list_pop(&h->called))) {
        struct pq_caller *c = PQ_OF(i, struct pq_caller, waiting);
        pq_connect_answer(&c->flow, &slots[done++], now);
        c->answered = true;
        h->stats.tx_packets++;
    }
    return done;
}

/* ---- a session that may send no more until it hears something */

size_t pq_connect_packets(const struct pq_session *s)
{
    return pq_connect_room(&s->flow) / s->size;
}

void pq_connect_keep(struct pq_session *s, const struct pq_span *last, pq_ns now)
{
    struct pq_stalled *t = &s->stalled;
    if (s->flow.look != PQ_LOOK_CONNECT || (pq_connect_packets(s) && !s->parting)) {
        free(t->copy);
        *t = (struct pq_stalled){0};
        return;
    }
    free(t->copy);
    *t = (struct pq_stalled){.copy = malloc(last->n), .len = last->n};
    if (t->copy)
        memcpy(t->copy, last->p, last->n);
    t->seq = s->flow.st.seq - (uint32_t)last->n;
    t->due = now + pq_ns_max(REPEAT_MIN, 2 * pq_kcp_srtt(s->kcp));
}

static bool is_stalled(const struct pq_session *s)
{
    return s->stalled.copy && !pq_connect_packets(s);
}

void pq_connect_send_again(struct pq_session *s, struct pq_slot *slot, uint32_t seq, bool more,
                           pq_ns now)
{
    pq_flow_craft_again(&s->flow, slot, seq, more, now);
    s->hub->stats.tx_packets++;
}

/* The last datagram once more, bit for bit, as TCP would: an acknowledgement of it opens the window
 * again, whatever was lost before it. */
static void repeat(struct pq_session *s, struct pq_slot *slot, pq_ns now)
{
    struct pq_stalled *t = &s->stalled;
    slot->off = PQ_SLOT_HEAD;
    slot->len = (uint16_t)t->len;
    memcpy(slot->buf + slot->off, t->copy, t->len);
    pq_connect_send_again(s, slot, t->seq, false, now);
    t->due = now + (pq_ns_max(REPEAT_MIN, 2 * pq_kcp_srtt(s->kcp)) << t->n);
    t->n += t->n < REPEATS_MAX;
}

size_t pq_connect_show(struct pq_session *s, struct pq_slot *slots, size_t n, pq_ns now)
{
    if (s->flow.look != PQ_LOOK_CONNECT || !n)
        return 0;
    size_t done = pq_connect_acks(&s->flow, slots, n, now);
    if (done < n && s->flow.conn.dup && pq_connect_ack_at(&s->flow, now) <= now)
        pq_connect_ack(&s->flow, &slots[done++], now);
    s->hub->stats.tx_packets += done;
    return done;
}

size_t pq_connect_tail(struct pq_session *s, struct pq_slot *slot, pq_ns now)
{
    if (s->flow.look != PQ_LOOK_CONNECT)
        return 0;
    if (is_stalled(s) && now >= s->stalled.due) {
        repeat(s, slot, now);
        return 1;
    }
    if (pq_connect_ack_at(&s->flow, now) > now)
        return 0;
    pq_connect_ack(&s->flow, slot, now);
    s->hub->stats.tx_packets++;
    return 1;
}

pq_ns pq_connect_wait(struct pq_session *s, pq_ns now)
{
    if (s->flow.look != PQ_LOOK_CONNECT)
        return PQ_NEVER;
    const pq_ns at = pq_ns_min(pq_connect_due(&s->flow, now), pq_connect_ack_at(&s->flow, now));
    return is_stalled(s) ? pq_ns_min(at, s->stalled.due) : at;
}

/* ---- life */

/* Another connection has the tuple: its client has begun anew there.  It is not over. */
static bool is_shared(const struct pq_session *s)
{
    struct pq_hub *h = s->hub;
    return pq_session_on(h, &s->peer, &s->local, s) ||
           (h->n_callers && find_caller(h, &s->peer, &s->local));
}

void pq_connect_end(struct pq_session *s)
{
    const bool in_order = s->dead == PQ_ECLOSED || s->dead == PQ_EREPLACED;
    if (!s->away && !is_shared(s))
        pq_leave_session(s, in_order);
    pq_mask_free(&s->syn_key);
    free(s->stalled.copy);
    pq_fill_end(s);
}

void pq_connect_fini(struct pq_hub *h)
{
    struct pq_list *i;
    while ((i = pq_list_pop(&h->callers)))
        caller_free(PQ_OF(i, struct pq_caller, node));
    pq_hash_fini(&h->by_caller);
    pq_syns_free(&h->own_syns);
}
