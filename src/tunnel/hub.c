/* SPDX-License-Identifier: MIT */
#include "tunnel/hub.h"

#include "tunnel/tunnel_internal.h"

#include <errno.h>
#include <stdlib.h>

#define BLOCKS_KEPT 64 /* of 64 segment records each */
#define FILLS_PART  32 /* of the memory for bytes, for copies that fill holes, ... */
#define FILLS_MAX   ((size_t)16 << 20) /* ... at most */

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
    pq_list_init(&h->parting);
    h->hash_seed = h->conf.smux.hash_seed = pq_rng_u64(rng) | 1;
    pq_list_init(&h->sessions);
    pq_list_init(&h->half);
    pq_list_init(&h->ready);
    pq_list_init(&h->rx);
    pq_list_init(&h->dirty);
    pq_pool_init(&h->blocks, PQ_KCP_BLOCK_LEN, 0, BLOCKS_KEPT);
    pq_chunks_init(&h->chunks, conf->memory);
    h->fills.max = conf->memory / FILLS_PART < FILLS_MAX ? conf->memory / FILLS_PART : FILLS_MAX;
    pq_shares_init(h);
    h->t = conf->transport ? conf->transport : &pq_transport_kcp;
    int e = h->t->hub_init(h);
    if (!e && conf->mtu > PQ_DGRAM_MAX)
        e = PQ_EINVAL;
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
    h->t->hub_fini(h);
    pq_leave_fini(h);
    pq_hash_fini(&h->by_peer);
    pq_heap_fini(&h->timers);
    pq_pool_fini(&h->blocks);
    pq_shares_fini(h);
    pq_chunks_fini(&h->chunks);
    free(h);
    *hp = NULL;
}

void pq_hub_tick(struct pq_hub *h, pq_ns now)
{
    struct pq_heap_node *n;
    h->now = now;
    pq_leave_tick(h, now);
    while (!h->left && (n = pq_heap_top(&h->timers)) && n->at <= now) {
        struct pq_session *s = PQ_OF(n, struct pq_session, timer);
        int e = h->t->tick(s, now);
        if (s->half && now >= s->opened + PQ_HALF_WAIT)
            e = PQ_ETIMEOUT;
        if (e) {
            pq_session_end_now(s, e);
            continue;
        }
        pq_heap_remove(&h->timers, n); /* set again after the pull */
        pq_session_wake(s);
    }
    if (!h->left)
        h->t->hub_tick(h, now);
}

pq_ns pq_hub_deadline(const struct pq_hub *h)
{
    struct pq_heap_node *n = pq_heap_top(&h->timers);
    const pq_ns ends = pq_leave_deadline(h);
    if (h->left)
        return h->quiet_at > h->now ? pq_ns_min(ends, h->quiet_at) : ends;
    return pq_ns_min(pq_ns_min(n ? n->at : PQ_NEVER, ends), h->t->hub_deadline(h));
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

/* Ends a session whose full packets do not fit the link, and cannot be made to. */
static void check_size(void *ctx, struct pq_session *s)
{
    struct pq_hub *h = ctx;
    if (s->dead || s->away || h->t->fits(s))
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

/* ---- frames in */

static bool is_syn(const struct pq_segment *s)
{
    return s->sound && (s->flags & ~(PQ_TCP_ECE | PQ_TCP_CWR)) == PQ_TCP_SYN;
}

/* Whether a session, here or at another worker, or a connection of one that begins is where the
 * segment comes from. */
static bool is_in_use(struct pq_hub *h, const struct pq_segment *seg)
{
    return pq_session_on(h, &seg->src, &seg->dst, NULL) ||
           pq_connect_caller(h, &seg->src, &seg->dst) ||
           pq_homes_elsewhere(h->conf.homes, &seg->src, seg->dst.port, h->conf.worker) >= 0;
}

static void take_frame(struct pq_hub *h, const struct pq_frame *f, pq_ns now)
{
    struct pq_segment seg;
    enum pq_drop d = pq_segment_parse(&seg, f->p, f->len, h->conf.link_len);
    if (d == PQ_DROP_SHORT_FRAME && f->len < f->wire_len)
        d = PQ_DROP_TRUNCATED;
    h->frame = f;
    h->again = false;
    if (now < h->asks_until && (!d || d == PQ_DROP_NO_PAYLOAD))
        pq_connect_refuse(h, &seg, now);
    if (h->left && (!d || d == PQ_DROP_NO_PAYLOAD)) { /* only ends of connections go on */
        pq_leave_take(h, &seg, now);
        d = PQ_DROP_NO_SESSION;
    } else if (d == PQ_DROP_NO_PAYLOAD && h->conf.own.on) {
        d = pq_connect_take(h, &seg, now);
    }
    if (d == PQ_DROP_NO_PAYLOAD && h->ev->stranger && is_syn(&seg) && !is_in_use(h, &seg))
        h->ev->stranger(h->ctx, &seg);
    if (d) {
        h->stats.drops[d]++;
        h->frame = NULL;
        return;
    }
    if (!f->gso_size)
        pq_connect_skip_lead(h, &seg, now);
    size_t piece = f->gso_size ? f->gso_size : seg.len; /* glued frames hold several datagrams */
    for (size_t at = 0; at < seg.len && d != PQ_DROP_ELSEWHERE; at += piece) {
        size_t n = seg.len - at < piece ? seg.len - at : piece;
        h->stats.rx_packets++;
        h->stats.rx_bytes += n;
        d = h->t->input(h, &seg, seg.data + at, n, now);
        h->stats.drops[d]++;
    }
    h->frame = NULL;
}

void pq_hub_input_handed(struct pq_hub *h, const struct pq_frame *f, pq_ns now)
{
    h->handed = true;
    pq_hub_input(h, f, now);
    h->handed = false;
}

void pq_hub_input(struct pq_hub *h, const struct pq_frame *f, pq_ns now)
{
    h->busy = true;
    h->now = now;
    take_frame(h, f, now);
    h->busy = false;
}

bool pq_hub_calm(struct pq_hub *h)
{
    const bool calm = !h->hasty;
    h->hasty = false;
    return calm;
}

void pq_hub_rx_end(struct pq_hub *h, pq_ns now)
{
    (void)now;
    h->busy = true;
    for (struct pq_list *i = h->rx.next; i != &h->rx; i = i->next)
        h->t->rx_end(PQ_OF(i, struct pq_session, rx));
    pq_hub_flush(h);
    struct pq_list *n;
    while ((n = pq_list_pop(&h->rx))) {
        struct pq_session *s = PQ_OF(n, struct pq_session, rx);
        h->t->rx_done(s);
        if (s->dead)
            pq_session_end_now(s, s->dead);
        else
            h->t->resume(s);
    }
    h->busy = false;
}

/* ---- packets out */

/* How many of the datagrams, from the first on, can go as one run: of equal length, but the last
 * may be shorter [8.9]. */
static size_t run_of(const struct pq_slot *slots, size_t n)
{
    size_t k = 1, bytes = slots[0].len;
    while (k < n && slots[k].len <= slots[0].len && bytes + slots[k].len <= PQ_RUN_MAX) {
        bytes += slots[k].len;
        if (slots[k++].len < slots[0].len)
            break;
    }
    return k;
}

void pq_session_forge(struct pq_session *s, struct pq_slot *slots, size_t n, bool more, pq_ns now)
{
    bool runs = s->hub->conf.runs && s->abilities & PQ_ABLE_SPLIT && pq_flow_can_run(&s->flow);
    for (size_t i = 0, k; i < n; i += k) {
        k = runs ? run_of(slots + i, n - i) : 1;
        if (k > 1)
            pq_flow_craft_run(&s->flow, slots + i, k, now);
        else
            pq_flow_craft(&s->flow, &slots[i], more || i + k < n, now);
    }
}

/* What is sent from an address that is gone is lost, but not what asks to go on from another. */
static bool goes_out(const struct pq_session *s)
{
    return !s->away || (s->path && s->path->out);
}

size_t pq_hub_pull(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now)
{
    size_t done = pq_leave_pull(h, slots, n, now);
    if (h->left)
        return done;
    done += h->t->hub_pull(h, slots + done, n - done, now);
    h->busy = true;
    while (done < n && !pq_list_empty(&h->ready)) {
        struct pq_session *s = PQ_OF(pq_list_pop(&h->ready), struct pq_session, ready);
        size_t turn = h->t->turn(s), max = n - done < turn ? n - done : turn;
        h->t->resume(s);
        if (s->dead) {
            pq_session_end_now(s, s->dead);
            continue;
        }
        size_t k = h->t->pull(s, slots + done, max, now);
        done += goes_out(s) ? k : 0;
        if (k == max)
            pq_session_wake(s); /* it may have more: to the end of the row */
        else
            pq_heap_set(&h->timers, &s->timer, h->t->deadline(s, now));
    }
    h->busy = false;
    return done + pq_leave_pull(h, slots + done, n - done, now); /* of what ended just now */
}

bool pq_hub_ready(const struct pq_hub *h)
{
    return pq_leave_ready(h) || (!h->left && (!pq_list_empty(&h->ready) || h->t->hub_ready(h)));
}
