/* SPDX-License-Identifier: MIT */
#include "exit/serve.h"

#include "exit/denied.h"
#include "exit/measure.h"
#include "exit/serve_udp.h"
#include "exit/tun_server.h"
#include "exit/upstream.h"
#include "header/header.h"
#include "relay/dial.h"
#include "relay/outgoing.h"
#include "relay/relay.h"
#include "relay/rules.h"
#include "relay/udp_flow.h"

#include <stdlib.h>

#define LOG_PERIOD (10 * PQ_SEC)

struct serve { /* a stream whose header is being read */
    struct pq_front *front;
    struct pq_stream *st;
    struct pq_chunk *buf; /* the bytes so far: a header, and what follows it in the same frame */
    size_t looked;        /* see pq_header_whole */
    bool too_long;
    bool whole; /* they end where a frame does */
};

struct target { /* a stream whose target is being dialled */
    struct pq_relay *relay;
    struct pq_dial *dial; /* either, until it has called back */
    struct pq_upstream *upstream;
    struct pq_front *front;
    const struct pq_rules *rules;
    struct pq_addr client;
    char host[PQ_HOST_MAX + 1];
    uint16_t port;
};

static void target_free(struct target *t)
{
    pq_rules_drop(t->rules);
    free(t);
}

static void serve_free(struct serve *s)
{
    pq_chunk_free(s->buf);
    free(s);
}

/* What has come behind the first `used` bytes. */
static struct pq_view rest(const struct serve *s, size_t used)
{
    return (struct pq_view){pq_chunk_data(s->buf) + used, s->buf->len - used};
}

/* ---- TCP: dial, say how it went if the client wants to know, then relay */

static void send_message(struct pq_stream *st, enum pq_family family, const struct pq_request *req)
{
    struct pq_chunks *chunks = pq_stream_chunks(st);
    struct pq_chunk *c = chunks ? pq_chunk_new(chunks, PQ_CHUNK_SMALL) : NULL;
    int n = c ? pq_header_encode(family, req, pq_chunk_data(c), PQ_CHUNK_SMALL) : PQ_ENOMEM;
    if (n < 0) {
        pq_chunk_free(c);
        return;
    }
    c->len = (uint32_t)n;
    pq_stream_send(st, c);
}

static void send_result(struct pq_stream *st, int err)
{
    const struct pq_request req = {.type = PQ_REQ_RESULT, .result = pq_dial_result(err)};
    if (pq_stream_abilities(st) & PQ_ABLE_RESULT)
        send_message(st, PQ_FAMILY_BINARY, &req);
}

static void say_failed(struct target *t, int err)
{
    if (err == PQ_EDENIED) {
        pq_front_log_denied(t->front, t->rules, &t->client, t->host, t->port);
        return;
    }
    uint64_t n = pq_log_due(&t->front->dial_failed, LOG_PERIOD, uv_hrtime());
    if (n)
        PQ_LOG(PQ_LOG_WARN,
               "cannot connect to %s:%u: %s (%llu failed connections since the "
               "last such line)",
               t->host, t->port, pq_front_strerror(err), (unsigned long long)n);
}

static void on_dialled(void *ctx, uv_tcp_t *tcp, int err)
{
    struct target *t = ctx;
    struct pq_relay *r = t->relay;
    r->gone = NULL;
    if (r->st)
        send_result(r->st, tcp ? 0 : err);
    if (tcp) {
        PQ_LOG(PQ_LOG_DEBUG, "connected to %s:%u", t->host, t->port);
        pq_relay_connected(r, tcp);
    } else {
        say_failed(t, err);
        pq_relay_close(r, false);
    }
    target_free(t);
}

/* The stream went away while its target was being dialled. */
static void on_gone(struct pq_relay *r)
{
    struct target *t = r->user;
    r->user = NULL;
    r->gone = NULL;
    if (t->dial)
        pq_dial_cancel(t->dial);
    if (t->upstream)
        pq_upstream_cancel(t->upstream);
    target_free(t);
}

/* Goes to the target; t may be gone afterwards. */
static void dial(struct target *t)
{
    struct pq_relay *r = t->relay;
    struct pq_front *f = t->front;
    struct pq_dial *d = NULL;
    struct pq_upstream *u = NULL;
    if (f->outgoing && f->outgoing->has_socks)
        u = pq_upstream_start(f, t->rules, t->host, t->port, on_dialled, t);
    else
        d = pq_dial_start(f, t->rules, t->host, t->port, on_dialled, t);
    if (!d && !u)
        return; /* the callback has come already */
    t->dial = d;
    t->upstream = u;
    r->user = t;
    r->gone = on_gone;
}

static void serve_tcp(struct serve *s, const struct pq_request *req, size_t used)
{
    struct target *t = calloc(1, sizeof *t);
    struct pq_relay *r = t ? pq_relay_new(s->front) : NULL;
    if (!r) {
        free(t);
        pq_stream_abort(s->st);
        return;
    }
    t->relay = r;
    t->front = s->front;
    t->rules = pq_rules_hold(pq_front_rules(s->front, s->st));
    t->client = *pq_stream_peer(s->st);
    t->port = req->port;
    memcpy(t->host, req->host, sizeof t->host);
    pq_relay_own(r, s->st);
    pq_stream_consumed(s->st, used);
    if (!pq_relay_feed(r, rest(s, used).p, rest(s, used).n)) {
        target_free(t);
        pq_relay_close(r, true);
        return;
    }
    dial(t);
}

/* ---- UDP */

static void serve_udp(struct serve *s, const struct pq_request *req, enum pq_family family,
                      size_t used)
{
    size_t max = pq_udp_max_of(family, pq_stream_abilities(s->st));
    pq_stream_consumed(s->st, s->buf->len);
    if (pq_outgoing_datagrams(s->front->outgoing)) {
        pq_serve_udp(s->front, s->st, req->host, req->port, max, rest(s, used));
        return;
    }
    char peer[PQ_ADDR_STRLEN];
    uint64_t n = pq_log_due(&s->front->denied, LOG_PERIOD, uv_hrtime());
    if (n)
        PQ_LOG(PQ_LOG_WARN,
               "client %s asked for UDP to %s port %u, which is refused beside outgoing.socks5: "
               "only TCP goes that way (%llu refused since the last such line)",
               pq_addr_str(pq_stream_peer(s->st), peer), req->host, req->port,
               (unsigned long long)n);
    pq_stream_close(s->st);
}

/* ---- TUN */

static void serve_tun(struct serve *s, size_t used)
{
    pq_stream_consumed(s->st, s->buf->len);
    pq_tun_serve(s->front->tun, s->st, rest(s, used));
}

/* ---- the header */

/* A client of our own kind says what it is able to do, and learns what we are [8.2]. */
static void serve_ping(struct serve *s, const struct pq_request *req, enum pq_family family)
{
    struct pq_request pong = {.type = PQ_REQ_PONG};
    if (req->abilities) {
        pong.abilities = pq_stream_own_abilities(s->st);
        pq_stream_set_abilities(s->st, req->abilities);
        if (req->abilities & PQ_ABLE_FRAMES)
            pq_stream_send_frames(s->st);
    }
    send_message(s->st, family, &pong);
}

static void say_refused(struct serve *s, enum pq_request_type type)
{
    char peer[PQ_ADDR_STRLEN];
    uint64_t n = pq_log_due(&s->front->bad_header, LOG_PERIOD, uv_hrtime());
    if (n)
        PQ_LOG(PQ_LOG_WARN, "client %s %s", pq_addr_str(pq_stream_peer(s->st), peer),
               type == PQ_REQ_TUN ? "asked for TUN, which needs tun.enabled: true on this side"
                                  : "sent what only servers send");
}

static void dispatch(struct serve *s, const struct pq_request *req, enum pq_family family,
                     size_t used)
{
    bool tun = req->type == PQ_REQ_TUN && s->front->tun;
    if (req->type == PQ_REQ_TCP || req->type == PQ_REQ_UDP || tun) {
        pq_stream_set_target(s->st,
                             tun                       ? "tun"
                             : req->type == PQ_REQ_TCP ? "tcp"
                                                       : "udp",
                             tun ? "" : req->host, tun ? 0 : req->port);
        if (req->type == PQ_REQ_TCP)
            serve_tcp(s, req, used);
        else if (tun)
            serve_tun(s, used);
        else
            serve_udp(s, req, family, used);
        serve_free(s);
        return;
    }
    if (req->type == PQ_REQ_MEASURE) {
        const size_t behind = s->buf->len - used;
        pq_stream_consumed(s->st, s->buf->len);
        pq_stream_set_target(s->st, "measure", "", 0);
        pq_serve_measure(s->front, s->st, req->port, behind);
        serve_free(s);
        return;
    }
    if (req->type == PQ_REQ_PING)
        serve_ping(s, req, family);
    else if (req->type == PQ_REQ_TCPF)
        pq_stream_set_peer_flags(s->st, &req->flags);
    else
        say_refused(s, req->type);
    pq_stream_close(s->st);
    serve_free(s);
}

static void reject(struct serve *s)
{
    char peer[PQ_ADDR_STRLEN];
    uint64_t n = pq_log_due(&s->front->bad_header, LOG_PERIOD, uv_hrtime());
    if (n)
        PQ_LOG(PQ_LOG_WARN,
               "client %s sent %llu stream headers that are not paqet's; the streams "
               "were closed",
               pq_addr_str(pq_stream_peer(s->st), peer), (unsigned long long)n);
    pq_stream_abort(s->st);
    serve_free(s);
}

/* Keeps bytes of the header, or behind it, in a chunk: within the memory of this worker.  Returns
 * false if there are too many, or none is left. */
static bool keep(struct serve *s, struct pq_view v)
{
    const size_t len = s->buf ? s->buf->len : 0;
    if (!s->buf || pq_chunk_room(s->buf) < v.n) {
        struct pq_chunks *chunks = pq_stream_chunks(s->st);
        bool fits = chunks && v.n <= PQ_CHUNK_HUGE - len;
        struct pq_chunk *c = fits ? pq_chunk_new(chunks, len + v.n) : NULL;
        if (!c)
            return false;
        if (len)
            memcpy(pq_chunk_data(c), pq_chunk_data(s->buf), len);
        c->len = (uint32_t)len;
        pq_chunk_free(s->buf);
        s->buf = c;
    }
    memcpy(pq_chunk_data(s->buf) + len, v.p, v.n);
    s->buf->len += (uint32_t)v.n;
    return true;
}

/* A batch may end within a frame, and behind the header that frame may hold a datagram: all of it
 * is waited for [6.4]. */
static bool is_cut(const struct serve *s, const struct pq_request *req)
{
    return !s->whole && (req->type == PQ_REQ_UDP || req->type == PQ_REQ_TUN);
}

static void on_flush(void *ctx)
{
    struct serve *s = ctx;
    struct pq_request req;
    enum pq_family family;
    size_t used;
    const uint8_t *p = s->buf ? pq_chunk_data(s->buf) : NULL;
    const size_t n = s->buf ? s->buf->len : 0;
    if (s->whole && pq_header_is_bare(p, n, PQ_REQ_PING)) {
        dispatch(s, &(struct pq_request){.type = PQ_REQ_PING}, PQ_FAMILY_BINARY20, n);
        return;
    }
    if (!s->too_long && !pq_header_whole(p, n, &s->looked))
        return;
    int e = s->too_long ? PQ_EPROTO : pq_header_decode(p, n, &req, &family, &used);
    if (e == PQ_EMORE || (!e && is_cut(s, &req)))
        return;
    if (e)
        reject(s);
    else
        dispatch(s, &req, family, used);
}

/* Looked at as soon as a frame ends: the next one may be a datagram, which must not be joined to
 * this one [6.4]. */
static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct serve *s = ctx;
    s->too_long = s->too_long || !keep(s, v);
    s->whole = last;
    if (last)
        on_flush(s);
}

static void on_room(void *ctx)
{
    (void)ctx;
}

static void on_end(void *ctx, int err)
{
    struct serve *s = ctx;
    (void)err;
    pq_stream_close(s->st); /* an empty stream is a client's liveness check: no word about it */
    serve_free(s);
}

static void on_eof(void *ctx)
{
    on_end(ctx, 0); /* before the header was complete */
}

static const struct pq_stream_events serve_events = {on_data, on_flush, on_room,
                                                     on_end,  on_eof,   NULL};

void pq_serve(struct pq_front *front, struct pq_stream *st)
{
    struct serve *s = front->stopping ? NULL : calloc(1, sizeof *s);
    if (!s)
        return;
    s->front = front;
    s->st = st;
    pq_stream_own(st, &serve_events, s);
}
