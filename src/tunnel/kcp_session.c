/* SPDX-License-Identifier: MIT */
/* kcp_session.c - a session that KCP and smux carry: how they are joined, made, and begun anew. */
#include "tunnel/tunnel_internal.h"

#define HALF_WND   32             /* segments that wait in a half-open session [4.4] */
#define SILENT_MAX (180 * PQ_SEC) /* a living peer asks for the window every 120 s [4.5] */

/* ---- KCP -> smux -> streams */

static void note_heard(struct pq_session *s, int result)
{
    if (result < 0)
        s->dead = result;
    if (pq_smux_heard(s->smux) != s->heard_frames) {
        s->heard_frames = pq_smux_heard(s->smux);
        s->asked = 0;
    }
}

static bool on_kcp_data(void *ctx, struct pq_view v)
{
    struct pq_session *s = ctx;
    if (s->dead || s->half) /* what comes before the proof waits in KCP */
        return !s->half;
    int r = pq_smux_input(s->smux, v);
    note_heard(s, r);
    return r != 0;
}

static bool on_kcp_frames(void *ctx, uint8_t *p, size_t n)
{
    struct pq_session *s = ctx;
    if (s->dead || s->half)
        return !s->half;
    int r = pq_smux_early(s->smux, p, n);
    note_heard(s, r);
    return r != 0;
}

static void *on_open(void *ctx, struct pq_smux_stream *ss)
{
    struct pq_session *s = ctx;
    struct pq_stream *st = pq_share_stream(s) ? pq_stream_new(s) : NULL;
    if (!st)
        return NULL;
    st->ss = ss;
    s->hub->ev->stream(s->hub->ctx, st);
    if (!st->ev) {
        pq_stream_free(st);
        return NULL;
    }
    return st;
}

static void on_data(void *user, struct pq_view v, bool last)
{
    struct pq_stream *st = user;
    if (pq_list_empty(&st->dirty))
        pq_list_push(&st->ses->hub->dirty, &st->dirty);
    st->ev->data(st->ctx, v, last);
}

static void on_room(void *user)
{
    struct pq_stream *st = user;
    st->ev->room(st->ctx);
}

static void on_flush(void *user)
{
    struct pq_stream *st = user;
    if (pq_list_empty(&st->dirty))
        return;
    pq_list_remove(&st->dirty);
    st->ev->flush(st->ctx);
}

static void on_fin(void *user)
{
    struct pq_stream *st = user;
    st->ended = true;
    st->ev->end(st->ctx, 0);
}

static void on_eof(void *user)
{
    struct pq_stream *st = user;
    st->ev->eof(st->ctx);
}

static void on_cut(void *user)
{
    pq_stream_cut(user, PQ_EUNREAD);
}

static void on_bye(void *ctx)
{
    struct pq_session *s = ctx;
    s->dead = PQ_ECLOSED;
}

static const struct pq_smux_events smux_events = {.open = on_open,
                                                  .data = on_data,
                                                  .room = on_room,
                                                  .flush = on_flush,
                                                  .fin = on_fin,
                                                  .eof = on_eof,
                                                  .cut = on_cut,
                                                  .bye = on_bye};

static void rx_end(struct pq_session *s)
{
    pq_kcp_frames_again(s->kcp);
}

static void rx_done(struct pq_session *s)
{
    pq_kcp_rx_done(s->kcp);
    pq_session_fec_done(s);
    pq_parts_done(&s->parts);
}

static void resume(struct pq_session *s)
{
    while (!s->dead && !s->half && pq_smux_resume(s->smux)) {
        pq_kcp_resume(s->kcp);
        pq_hub_flush(s->hub);
        pq_kcp_rx_done(s->kcp);
    }
}

/* ---- life */

/* What carries the streams: KCP, smux, FEC. */
static int make(struct pq_session *s, uint32_t conv, pq_ns now)
{
    struct pq_hub *h = s->hub;
    struct pq_kcp_conf kc = h->conf.kcp;
    kc.conv = s->conv = conv;
    kc.ts_base = pq_rng_u32(h->rng);
    s->size = pq_hub_datagram_max(h, &s->flow);
    kc.mtu = (uint16_t)(s->size - h->around - h->fec_head);
    s->dgram_max = (uint16_t)(kc.mtu + h->fec_head - PQ_DGRAM_HEAD);
    s->full = s->size - h->around + h->crypt_head + h->crypt_tail;
    struct pq_kcp_mem mem = {&h->blocks, &s->share->chunks};
    struct pq_smux_conf sc = h->conf.smux;
    sc.beat = kc.ts_base;
    sc.refuses = h->conf.client; /* a server opens no streams [5.2] */
    int e = pq_kcp_new(&s->kcp, &kc, &mem, on_kcp_data, s);
    if (!e)
        pq_kcp_take_frames(s->kcp, on_kcp_frames);
    if (!e)
        e = pq_smux_new(&s->smux, &sc, &smux_events, s, &s->share->chunks, now);
    return e ? e : pq_session_fec_open(s);
}

static int open_session(struct pq_session *s, pq_ns now)
{
    return make(s, s->conv, now);
}

static void close_session(struct pq_session *s)
{
    pq_smux_free(&s->smux);
    pq_kcp_free(&s->kcp);
    pq_session_fec_close(s);
    pq_parts_clear(&s->parts);
    pq_chunkq_clear(&s->dgrams.out);
    pq_secure_free(s);
}

static int connect_session(struct pq_session *s, const struct pq_flow_conf *fc,
                           const uint8_t *server_public, pq_ns now)
{
    struct pq_hub *h = s->hub;
    if (!server_public)
        return 0;
    s->by_keys = true;
    s->said = pq_hub_abilities(h);
    memcpy(s->server_public, server_public, sizeof s->server_public);
    int e = pq_ask_begin(s, PQ_KIND_KEYS, now);
    if (!e && fc->look == PQ_LOOK_CONNECT) {
        e = pq_shake_syn(h->ring[0].shake, server_public, &s->syn_key);
        pq_connect_begin(h, &s->flow, now);
    }
    return e;
}

/* A stream of the old conversation: it goes on in the new one if nobody has heard of it. */
static void carry_over(struct pq_session *s, struct pq_stream *st)
{
    if (!st->ended && pq_smux_adopt(s->smux, st->ss))
        return;
    const bool again = st->ended;
    pq_list_remove(&st->node);
    pq_stream_leave(st->ses, st);
    st->ss = NULL;
    st->ended = true;
    if (!again)
        st->ev->end(st->ctx, PQ_ECLOSED);
}

int pq_session_restart(struct pq_session *s, uint32_t conv, pq_ns now)
{
    struct pq_smux *smux = s->smux;
    pq_hub_flush(s->hub); /* bytes that streams have not looked at yet lie in KCP's buffers */
    struct pq_kcp *kcp = s->kcp;
    s->kcp = NULL;
    pq_session_fec_close(s);
    pq_chunkq_clear(&s->dgrams.out);
    s->dgrams = (struct pq_dgrams){0};
    s->smux = NULL;
    s->loss_sent = s->loss_resent = s->pulled = s->heard_frames = 0;
    s->loss = s->dgram_first = 0;
    s->copies = false;
    int e = make(s, conv, now);
    for (struct pq_list *n = s->streams.next, *next; !e && n != &s->streams; n = next) {
        next = n->next;
        carry_over(s, PQ_OF(n, struct pq_stream, node));
    }
    if (e) { /* the caller ends the session: it still needs something to end */
        pq_smux_free(&s->smux);
        pq_kcp_free(&s->kcp);
        s->smux = smux;
        s->kcp = kcp;
    } else {
        pq_smux_free(&smux);
        pq_kcp_free(&kcp);
    }
    return e;
}

/* Bytes of datagrams, at most, of their plain text as KCP counts it. */
static size_t of_kcp(const struct pq_session *s, size_t size)
{
    return size - s->hub->around - s->hub->fec_head;
}

/* Datagrams are no longer than that, from now on, and may be as long again when there is room.
 * False: what has been cut would not pass, not even in two parts. */
static bool limit(struct pq_session *s, size_t size)
{
    const size_t most = of_kcp(s, s->size), n = size < s->size ? of_kcp(s, size) : most;
    if (!pq_kcp_parts(s->kcp) || 2 * n < most + (size_t)2 * PQ_PART_HEAD)
        return false;
    pq_kcp_limit(s->kcp, (uint16_t)n);
    return true;
}

bool pq_session_fits(struct pq_session *s)
{
    const size_t may = pq_hub_datagram_max(s->hub, &s->flow);
    return limit(s, may) || s->size <= may;
}

void pq_session_fit(struct pq_session *s, pq_ns now)
{
    if (!s->sec && pq_hub_datagram_max(s->hub, &s->flow) < s->size &&
        pq_session_restart(s, s->conv, now))
        s->dead = PQ_ENOMEM;
}

/* ---- what the two sides are able to do [8.2] */

uint32_t pq_hub_abilities(const struct pq_hub *h)
{
    uint32_t able = PQ_ABLE_ALL;
    if (!h->conf.splits)
        able &= ~(uint32_t)PQ_ABLE_SPLIT;
    if (h->conf.dshard && h->conf.pshard) /* it would take them for shards of its own shape [8.6] */
        able &= ~(uint32_t)PQ_ABLE_COPIES;
    if (!h->conf.own.on || h->conf.own.no_upgrade)
        able &= ~(uint32_t)PQ_ABLE_KEYS;
    return able;
}

static void able(struct pq_session *s)
{
    pq_smux_extend(s->smux, PQ_PEER_TIMEOUT);
    pq_kcp_extend(s->kcp);
    if (s->abilities & PQ_ABLE_COPIES && !pq_kcp_is_lean(s->kcp)) /* which makes its own */
        pq_session_fec_auto(s);
}

static void send_frames(struct pq_session *s)
{
    pq_smux_frames(s->smux, pq_kcp_mss_least(s->kcp));
    pq_kcp_send_frames(s->kcp, pq_smux_prefix, PQ_SMUX_PREFIX);
}

int pq_session_own(struct pq_session *s, uint32_t said, uint32_t abilities)
{
    const uint32_t lean = PQ_ABLE_LEAN | PQ_ABLE_FRAMES;
    const size_t least = s->size < PQ_OWN_SIZE_LEAST ? s->size : PQ_OWN_SIZE_LEAST;
    if ((said & abilities & lean) == lean && pq_kcp_lean(s->kcp, (uint16_t)of_kcp(s, least)))
        return PQ_ENOMEM;
    if (said & abilities & PQ_ABLE_PARTS)
        pq_kcp_part(s->kcp);
    if (said & abilities & PQ_ABLE_PADDING)
        pq_kcp_pads(s->kcp);
    pq_session_able(s, abilities);
    if (abilities & PQ_ABLE_FRAMES)
        send_frames(s);
    return 0;
}

static void half(struct pq_session *s)
{
    pq_hub_bound_half(s->hub);
    pq_kcp_doubt(s->kcp, HALF_WND);
    pq_smux_nop(s->smux); /* the answer to it is the proof */
}

static void proven(struct pq_session *s)
{
    pq_kcp_doubt(s->kcp, 0);
    pq_kcp_resume(s->kcp);
}

static void bye(struct pq_session *s)
{
    pq_smux_bye(s->smux);
    s->parting = true;
}

static bool moves(const struct pq_session *s)
{
    return s->sec != NULL;
}

static size_t streams(const struct pq_session *s)
{
    return pq_smux_count(s->smux);
}

static void carried(const struct pq_session *s, uint64_t *in, uint64_t *out)
{
    pq_smux_carried(s->smux, in, out);
}

static void stats(const struct pq_session *s, struct pq_kcp_stats *out)
{
    pq_kcp_get_stats(s->kcp, out);
}

static const char *cipher(const struct pq_session *s)
{
    return s->sec ? pq_aead_name(pq_seal_aead(s->sec->cur.rx))
                  : pq_cipher_name(s->hub->conf.cipher);
}

static bool is_silent(const struct pq_session *s, pq_ns now, pq_ns limit)
{
    return now > s->heard + limit;
}

static int tick(struct pq_session *s, pq_ns now)
{
    if (pq_smux_tick(s->smux, now) || now > s->heard + SILENT_MAX)
        return PQ_ETIMEOUT; /* also where a full session asks for no keepalive */
    pq_secure_tick(s, now);
    pq_parts_tick(&s->parts, now);
    return 0;
}

/* ---- streams */

static int st_open(struct pq_stream *st)
{
    st->ss = pq_smux_open(st->ses->smux, st);
    return st->ss ? 0 : PQ_ENOMEM;
}

static size_t st_room(struct pq_stream *st)
{
    return pq_smux_room(st->ss);
}

static size_t st_waiting(const struct pq_stream *st)
{
    return pq_smux_waiting(st->ss);
}

static int st_send(struct pq_stream *st, struct pq_chunk *c)
{
    return pq_smux_send(st->ss, c);
}

static void st_consumed(struct pq_stream *st, size_t n)
{
    pq_smux_consumed(st->ss, n);
}

static void st_finish(struct pq_stream *st)
{
    pq_smux_finish(st->ss);
}

static void st_close(struct pq_stream *st)
{
    pq_session_dgram_close(st);
    pq_smux_close(st->ss);
}

static void st_abort(struct pq_stream *st)
{
    pq_smux_abort(st->ss);
}

static void st_cork(struct pq_stream *st)
{
    pq_smux_cork(st->ss, true);
}

static void st_uncork(struct pq_stream *st, struct pq_chunk *first)
{
    if (first)
        pq_smux_send_first(st->ss, first);
    pq_smux_cork(st->ss, false);
}

static bool st_corked(const struct pq_stream *st)
{
    return pq_smux_corked(st->ss);
}

static void st_whole(struct pq_stream *st)
{
    pq_smux_set_whole(st->ss);
}

/* ---- hub */

static int hub_init(struct pq_hub *h)
{
    int e = pq_keyring_init(h);
    if (e)
        return e;
    h->crypt_head = (uint16_t)pq_crypt_head(h->ring[0].crypt);
    h->crypt_tail = (uint16_t)pq_crypt_tail(h->ring[0].crypt);
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
    h->mtu_min = (size_t)PQ_KCP_MTU_MIN + h->around + h->fec_head;
    return h->conf.mtu < h->mtu_min ? PQ_EINVAL : 0;
}

static void hub_fini(struct pq_hub *h)
{
    pq_connect_fini(h);
    pq_secure_fini(h);
    pq_replay_free(&h->own_replay);
    pq_keyring_fini(h);
}

static void hub_tick(struct pq_hub *h, pq_ns now)
{
    pq_replies_tick(h, now);
    pq_connect_tick(h, now);
}

static pq_ns hub_deadline(const struct pq_hub *h)
{
    return pq_ns_min(pq_replies_deadline(h), pq_connect_deadline(h));
}

static size_t hub_pull(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now)
{
    const size_t done = pq_connect_pull(h, slots, n, now);
    return done + pq_answers_pull(h, slots + done, n - done, now);
}

static bool hub_ready(const struct pq_hub *h)
{
    return pq_answers_ready(h) || pq_connect_ready(h);
}

static size_t size(const struct pq_session *s)
{
    const struct pq_hub *h = s->hub;
    const size_t around =
        s->sec ? PQ_SEAL_HEAD + PQ_SEAL_TAIL : (size_t)h->crypt_head + h->crypt_tail;
    return pq_kcp_size(s->kcp) + h->fec_head + around;
}

/* The size of segments is for good, unless the peer takes them in parts.  A session that has the
 * smallest would be no better off anew. */
static bool fits(struct pq_session *s)
{
    const struct pq_hub *h = s->hub;
    return limit(s, pq_hub_datagram_max(h, &s->flow)) || !h->conf.link_mtu ||
           s->full <= h->mtu_min || s->full + pq_flow_overhead(&s->flow) <= h->conf.link_mtu;
}

const struct pq_transport pq_transport_kcp = {.name = "kcp",
                                              .hub_init = hub_init,
                                              .hub_fini = hub_fini,
                                              .set_keys = pq_keyring_set,
                                              .hub_abilities = pq_hub_abilities,
                                              .input = pq_kcp_session_input,
                                              .hub_tick = hub_tick,
                                              .hub_deadline = hub_deadline,
                                              .hub_pull = hub_pull,
                                              .hub_ready = hub_ready,
                                              .open = open_session,
                                              .close = close_session,
                                              .connect = connect_session,
                                              .half = half,
                                              .proven = proven,
                                              .rx_end = rx_end,
                                              .rx_done = rx_done,
                                              .resume = resume,
                                              .tick = tick,
                                              .deadline = pq_kcp_session_deadline,
                                              .pull = pq_kcp_session_pull,
                                              .turn = pq_kcp_session_turn,
                                              .able = able,
                                              .frames = send_frames,
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
                                              .st_room = st_room,
                                              .st_waiting = st_waiting,
                                              .st_send = st_send,
                                              .st_consumed = st_consumed,
                                              .st_finish = st_finish,
                                              .st_close = st_close,
                                              .st_abort = st_abort,
                                              .st_cork = st_cork,
                                              .st_uncork = st_uncork,
                                              .st_corked = st_corked,
                                              .st_whole = st_whole,
                                              .st_beside = pq_session_dgram_beside,
                                              .st_datagram = pq_session_dgram_send};
