/* SPDX-License-Identifier: MIT */
#include "exit/serve.h"

#include "exit/denied.h"
#include "exit/dial.h"
#include "exit/outgoing.h"
#include "exit/serve_udp.h"
#include "exit/tun_server.h"
#include "exit/upstream.h"
#include "header/header.h"
#include "relay/relay.h"
#include "relay/udp_flow.h"

#include <stdlib.h>

#define LOG_PERIOD (10 * PQ_SEC)
#define BUFFER_MAX                                                                                 \
    ((size_t)512 * 1024) /* header and what follows it before it is complete: one window */

struct serve { /* a stream whose header is being read */
    struct pq_front *front;
    struct pq_stream *st;
    uint8_t *buf; /* the bytes so far */
    size_t len, cap;
    bool too_long;
    bool whole; /* they end where a frame does */
};

struct target { /* a stream whose target is being dialled */
    struct pq_relay *relay;
    struct pq_dial *dial; /* either, until it has called back */
    struct pq_upstream *upstream;
    struct pq_front *front;
    struct pq_addr client;
    char host[PQ_HOST_MAX + 1];
    uint16_t port;
};

static void serve_free(struct serve *s)
{
    free(s->buf);
    free(s);
}

/* ---- TCP: dial, say how it went if the client wants to know, then relay */

/* The SOCKS5 reply code for an error of dialling (RFC 1928, 6). */
static uint8_t result_of(int err)
{
    if (err <= UV_EAI_ADDRFAMILY && err > UV_EAI_ADDRFAMILY - 100)
        return 4; /* any error of resolving: the name is not known, or nobody can tell */
    switch (err) {
    case 0:
        return 0;
    case PQ_EDENIED:
    case UV_EACCES: /* a rule of an upstream proxy or of the system's firewall */
    case UV_EPERM:
        return 2;
    case UV_ENETUNREACH:
        return 3;
    case UV_EHOSTUNREACH:
    case UV_ETIMEDOUT:
    case PQ_EAGAIN: /* too many names wait for DNS */
        return 4;
    case UV_ECONNREFUSED:
        return 5;
    default:
        return PQ_RESULT_FAILURE;
    }
}

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
    const struct pq_request req = {.type = PQ_REQ_RESULT, .result = result_of(err)};
    if (pq_stream_abilities(st) & PQ_ABLE_RESULT)
        send_message(st, PQ_FAMILY_BINARY, &req);
}

static void say_failed(struct target *t, int err)
{
    if (err == PQ_EDENIED) {
        pq_front_log_denied(t->front, &t->client, t->host, t->port);
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
    free(t);
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
    free(t);
}

/* Goes to the target; t may be gone afterwards. */
static void dial(struct target *t)
{
    struct pq_relay *r = t->relay;
    struct pq_front *f = t->front;
    struct pq_dial *d = NULL;
    struct pq_upstream *u = NULL;
    if (f->outgoing && f->outgoing->has_socks)
        u = pq_upstream_start(f, t->host, t->port, on_dialled, t);
    else
        d = pq_dial_start(f, t->host, t->port, on_dialled, t);
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
    t->client = *pq_stream_peer(s->st);
    t->port = req->port;
    memcpy(t->host, req->host, sizeof t->host);
    pq_relay_own(r, s->st);
    pq_stream_consumed(s->st, used);
    if (!pq_relay_feed(r, s->buf + used, s->len - used)) {
        free(t);
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
    struct pq_view first = {s->buf + used, s->len - used};
    pq_stream_consumed(s->st, s->len);
    if (pq_outgoing_datagrams(s->front->outgoing)) {
        pq_serve_udp(s->front, s->st, req->host, req->port, max, first);
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
    pq_stream_consumed(s->st, s->len);
    pq_tun_serve(s->front->tun, s->st, (struct pq_view){s->buf + used, s->len - used});
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
        if (req->type == PQ_REQ_TCP)
            serve_tcp(s, req, used);
        else if (tun)
            serve_tun(s, used);
        else
            serve_udp(s, req, family, used);
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

/* Keeps bytes of the header, or behind it.  Returns false if there are too many. */
static bool keep(struct serve *s, struct pq_view v)
{
    if (s->len + v.n > s->cap) {
        size_t cap = s->cap ? s->cap : 512;
        while (cap < s->len + v.n)
            cap *= 2;
        uint8_t *buf = cap <= BUFFER_MAX ? realloc(s->buf, cap) : NULL;
        if (!buf)
            return false;
        s->buf = buf;
        s->cap = cap;
    }
    memcpy(s->buf + s->len, v.p, v.n);
    s->len += v.n;
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
    int e = s->too_long ? PQ_EPROTO : pq_header_decode(s->buf, s->len, &req, &family, &used);
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
