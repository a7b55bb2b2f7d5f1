/* SPDX-License-Identifier: MIT */
/* quic_session.c - a session that a QUIC connection carries [7] [13]: made, looked at, ended; and
 * its streams as their owners use them.  What comes is in quic_rx.c, what goes in quic_tx.c. */
#include "tunnel/quic_tickets.h"
#include "tunnel/tickets.h"
#include "tunnel/tunnel_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IPV6_HEADS   72 /* bytes of IP and TCP in front of a datagram, SYN left out */
#define IPV4_HEADS   52
#define GOODBYES_MAX 1024

/* What a peer that has the key is able to do without having said so [13.5]: streams wait for
 * nothing, so a HELLO may come after what depends on it. */
#define ABLE_BY_KEY                                                                                \
    (PQ_ABLE_HELLO | PQ_ABLE_HALF_CLOSE | PQ_ABLE_RESULT | PQ_ABLE_DATAGRAMS | PQ_ABLE_TUN_GSO)

/* ---- hub */

static int hub_init(struct pq_hub *h)
{
    struct pq_quic_conf qc = h->conf.quic;
    qc.client = h->conf.client;
    qc.key_before = h->conf.has_before ? h->conf.key_before : NULL;
    qc.size = h->conf.mtu < PQ_QUIC_SIZE_MAX ? (uint16_t)h->conf.mtu : PQ_QUIC_SIZE_MAX;
    qc.max_conns = h->conf.max_sessions + PQ_QUIC_HALF_MAX;
    qc.worker = qc.client ? 0 : h->conf.worker;
    qc.named = h->conf.own.required;
    qc.workers = qc.client || !h->conf.workers ? 1 : h->conf.workers;
    pq_list_init(&h->goodbyes);
    pq_list_init(&h->retries);
    h->mtu_min = PQ_QUIC_SIZE_MIN;
    h->replay = h->conf.replay;
    int e = pq_quic_keys_init(h);
    e = e ? e : pq_quic_tickets_init(h);
    if (e)
        return e;
    qc.ticket_key = h->tickets ? pq_tickets_key(h->tickets) : NULL;
    if (!h->conf.client && !h->replay) {
        e = pq_replay_new(&h->own_replay, pq_rng_u64(h->rng));
        if (e)
            return e;
        h->replay = h->own_replay;
    }
    return pq_quic_end_new(&h->quic, &qc, &pq_quic_session_events, h, &h->chunks, h->rng);
}

static void goodbye_free(struct pq_hub *h, struct pq_goodbye *g)
{
    h->n_goodbyes--;
    pq_quic_free(&g->quic);
    free(g);
}

static void retry_free(struct pq_hub *h, struct pq_retry *r)
{
    h->n_retries--;
    free(r);
}

static void hub_fini(struct pq_hub *h)
{
    struct pq_list *i;
    while ((i = pq_list_pop(&h->goodbyes)))
        goodbye_free(h, PQ_OF(i, struct pq_goodbye, node));
    while ((i = pq_list_pop(&h->retries)))
        retry_free(h, PQ_OF(i, struct pq_retry, node));
    pq_quic_end_free(&h->quic);
    pq_quic_keys_fini(h);
    pq_quic_tickets_fini(h);
    pq_replay_free(&h->own_replay);
}

static uint32_t hub_abilities(const struct pq_hub *h)
{
    return ABLE_BY_KEY | PQ_ABLE_BYE | PQ_ABLE_MEASURE | (h->conf.splits ? PQ_ABLE_SPLIT : 0);
}

static void hub_tick(struct pq_hub *h, pq_ns now)
{
    (void)h;
    (void)now;
}

static pq_ns hub_deadline(const struct pq_hub *h)
{
    (void)h;
    return PQ_NEVER;
}

/* What is in the slot, of n bytes, goes out over a flow that belongs to no session. */
static void craft(struct pq_hub *h, struct pq_flow *f, struct pq_slot *slot, size_t n, pq_ns now)
{
    slot->off = PQ_SLOT_HEAD;
    slot->len = (uint16_t)n;
    h->stats.tx_packets++;
    h->stats.tx_bytes += n;
    pq_flow_craft(f, slot, false, now);
}

/* Each goodbye says CONNECTION_CLOSE, once. */
static size_t hub_pull(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now)
{
    size_t done = 0;
    struct pq_list *i;
    while (done < n && (i = pq_list_pop(&h->goodbyes))) {
        struct pq_goodbye *g = PQ_OF(i, struct pq_goodbye, node);
        struct pq_slot *slot = &slots[done];
        struct pq_quic_path path;
        const size_t len = pq_quic_pull(g->quic, slot->buf + PQ_SLOT_HEAD, &path, now);
        if (len) {
            craft(h, &g->flow, slot, len, now);
            done++;
        }
        goodbye_free(h, g);
    }
    while (done < n && (i = pq_list_pop(&h->retries))) {
        struct pq_retry *r = PQ_OF(i, struct pq_retry, node);
        struct pq_slot *slot = &slots[done++];
        memcpy(slot->buf + PQ_SLOT_HEAD, r->p, r->n);
        craft(h, &r->flow, slot, r->n, now);
        retry_free(h, r);
    }
    return done;
}

static bool hub_ready(const struct pq_hub *h)
{
    return h->n_goodbyes || h->n_retries;
}

/* ---- life */

/* The most that the link leaves for a datagram. */
static size_t room(const struct pq_session *s)
{
    const size_t link = s->hub->conf.link_mtu,
                 heads = pq_addr_is4(&s->peer) ? IPV4_HEADS : IPV6_HEADS;
    return !link ? PQ_QUIC_SIZE_MAX : link > heads ? link - heads : 0;
}

static size_t size(const struct pq_session *s)
{
    return s->size;
}

static bool fits(struct pq_session *s)
{
    if (s->quic)
        pq_quic_limit(s->quic, room(s));
    return room(s) >= (s->half ? PQ_QUIC_SIZE_MIN : PQ_QUIC_SIZE_LEAST);
}

static int open_session(struct pq_session *s, pq_ns now)
{
    struct pq_hub *h = s->hub;
    (void)now;
    s->size = PQ_QUIC_SIZE_LEAST;                 /* as long as no more is known to pass */
    s->base = h->conf.quic.key ? ABLE_BY_KEY : 0; /* until it shows that it has none */
    s->abilities = s->base;
    return room(s) < PQ_QUIC_SIZE_MIN ? -EMSGSIZE : 0;
}

/* The peer is told by the next pull, if the session has got so far, and is not over at that end. */
static void say_goodbye(struct pq_session *s)
{
    struct pq_hub *h = s->hub;
    pq_quic_close(s->quic, 0);
    struct pq_goodbye *g = pq_quic_is_closed(s->quic) || s->away || h->n_goodbyes >= GOODBYES_MAX
                               ? NULL
                               : malloc(sizeof *g);
    if (!g)
        return;
    *g = (struct pq_goodbye){.quic = s->quic, .flow = s->flow};
    pq_list_init(&g->node);
    pq_list_push(&h->goodbyes, &g->node);
    h->n_goodbyes++;
    s->quic = NULL;
}

static void close_session(struct pq_session *s)
{
    free(s->route);
    if (s->ticket)
        pq_quic_tickets_keep(s, s->ticket); /* the server may not have got it */
    if (s->quic)
        say_goodbye(s);
    pq_quic_free(&s->quic);
}

static int connect_session(struct pq_session *s, const struct pq_flow_conf *fc,
                           const uint8_t *server_public, pq_ns now)
{
    const struct pq_quic_path path = {.local = fc->local, .peer = fc->peer};
    pq_session_wake(s);
    if (server_public)
        memcpy(s->server_public, server_public, sizeof s->server_public);
    s->ticket = pq_quic_tickets_for(s);
    const struct pq_quic_peer all = {.ticket = s->ticket};
    const int e = server_public ? pq_quic_keys_connect(s, &path, now)
                                : pq_quic_connect(&s->quic, s->hub->quic, &path, &all, s, now);
    if (!e)
        fits(s);
    return e;
}

static void nothing(struct pq_session *s)
{
    (void)s;
}

static void rx_done(struct pq_session *s)
{
    pq_quic_rx_done(s->hub->quic); /* all streams have had their flush event */
}

static int tick(struct pq_session *s, pq_ns now)
{
    pq_quic_tick(s->quic, now);
    pq_quic_move_tick(s, now);
    return 0; /* it says so itself when it has ended */
}

static void bye(struct pq_session *s)
{
    pq_quic_close(s->quic, 0);
}

static size_t streams(const struct pq_session *s)
{
    return pq_quic_streams(s->quic);
}

static void carried(const struct pq_session *s, uint64_t *in, uint64_t *out)
{
    struct pq_quic_stats st;
    pq_quic_stats(s->quic, &st);
    *in = st.in;
    *out = st.out;
}

static bool moves(const struct pq_session *s)
{
    return pq_quic_is_ready(s->quic);
}

static void stats(const struct pq_session *s, struct pq_kcp_stats *out)
{
    struct pq_quic_stats q;
    pq_quic_stats(s->quic, &q);
    *out = (struct pq_kcp_stats){
        .sent = q.sent, .resent = q.lost, .srtt = q.srtt, .min_rtt = q.min_rtt};
}

static const char *cipher(const struct pq_session *s)
{
    struct pq_quic_stats q;
    pq_quic_stats(s->quic, &q);
    return q.cipher;
}

static bool is_silent(const struct pq_session *s, pq_ns now, pq_ns limit)
{
    struct pq_quic_stats q;
    pq_quic_stats(s->quic, &q);
    return q.asked && now > q.asked + limit && now > s->heard + limit;
}

/* ---- streams */

static int st_open(struct pq_stream *st)
{
    st->q.st = pq_quic_open(st->ses->quic, st);
    return st->q.st ? 0 : PQ_ENOMEM;
}

static void st_consumed(struct pq_stream *st, size_t n)
{
    pq_quic_stream_consumed(st->q.st, n);
}

static void st_finish(struct pq_stream *st)
{
    pq_quic_stream_finish(st->q.st);
}

/* What is corked has no header in front: it means nothing. */
static void st_close(struct pq_stream *st)
{
    if (st->q.corked)
        pq_quic_stream_abort(st->q.st, 0);
    else
        pq_quic_stream_close(st->q.st);
}

static void st_abort(struct pq_stream *st)
{
    pq_quic_stream_abort(st->q.st, 0);
}

static void st_cork(struct pq_stream *st)
{
    st->q.corked = true;
}

static bool st_corked(const struct pq_stream *st)
{
    return st->q.corked;
}

static void st_whole(struct pq_stream *st)
{
    (void)st; /* how it is sent is decided with its first bytes */
}

const struct pq_transport pq_transport_quic = {.name = "quic",
                                               .hub_init = hub_init,
                                               .hub_fini = hub_fini,
                                               .set_keys = pq_quic_keys_set,
                                               .hub_abilities = hub_abilities,
                                               .input = pq_quic_session_input,
                                               .hub_tick = hub_tick,
                                               .hub_deadline = hub_deadline,
                                               .hub_pull = hub_pull,
                                               .hub_ready = hub_ready,
                                               .open = open_session,
                                               .close = close_session,
                                               .connect = connect_session,
                                               .half = nothing,
                                               .proven = nothing,
                                               .rx_end = nothing,
                                               .rx_done = rx_done,
                                               .resume = nothing,
                                               .tick = tick,
                                               .deadline = pq_quic_session_deadline,
                                               .pull = pq_quic_session_pull,
                                               .turn = pq_quic_session_turn,
                                               .able = nothing,
                                               .frames = nothing,
                                               .bye = bye,
                                               .moves = moves,
                                               .streams = streams,
                                               .carried = carried,
                                               .stats = stats,
                                               .cipher = cipher,
                                               .fits = fits,
                                               .size = size,
                                               .silent = is_silent,
                                               .st_open = st_open,
                                               .st_room = pq_quic_session_room,
                                               .st_waiting = pq_quic_session_waiting,
                                               .st_send = pq_quic_session_send,
                                               .st_consumed = st_consumed,
                                               .st_finish = st_finish,
                                               .st_close = st_close,
                                               .st_abort = st_abort,
                                               .st_cork = st_cork,
                                               .st_uncork = pq_quic_session_uncork,
                                               .st_corked = st_corked,
                                               .st_whole = st_whole,
                                               .st_beside = pq_quic_session_beside,
                                               .st_datagram = pq_quic_session_datagram};
