/* SPDX-License-Identifier: MIT */
/* client_family.c - which header family the server speaks, whether it is one of our own kind, and
 * the headers sent to it.
 *
 * Each session begins with a PING that carries our abilities [8.2].  As long as the family is not
 * known it is a gob PING: family A answers with PONG, family B closes the stream at once, a server
 * of our kind answers with its abilities.  A binary PING would hang a server of family A [8.1].  No
 * answer means a dead peer or lost packets, never a family.  Who has closed the stream is of family
 * B: a plain binary PING then tells its two headers apart by the length of the PONG [6.1.1].
 *
 * A server whose public key is known needs no PING [12.2].  One of our kind that is able to goes
 * over to our own wire before anything is asked of it [12.5]. */
#include "app/client.h"

#include "relay/udp_flow.h"

#include <stdlib.h>
#include <string.h>

#define QUIC_APART 76 /* bytes around a datagram of UDP in one of QUIC to family A [7.4] */

struct probe {
    struct lease *lease;
    struct pq_session *ses;
    struct pq_stream *st;
    size_t len;
    bool second; /* of a server that has refused the gob PING */
    bool blind;  /* sent while the family was not known: flags and requests wait */
    uint8_t buf[512];
};

static enum pq_family family_of(const struct known *k)
{
    return k->family == PQ_FAMILY_NONE ? PQ_FAMILY_GOB : k->family;
}

static struct known *known_of(const struct lease *l)
{
    return &l->cw->known[l->server];
}

static struct pq_chunk *encode(enum pq_family family, struct pq_stream *st,
                               const struct pq_request *req)
{
    /* a request has what waits behind it; the others may be left out where memory is short */
    bool request = req->type >= PQ_REQ_TCP && req->type <= PQ_REQ_TUN;
    struct pq_chunks *chunks = pq_stream_chunks(st);
    struct pq_chunk *c =
        request ? pq_chunk_new_control(chunks) : pq_chunk_new(chunks, PQ_CHUNK_SMALL);
    size_t cap = request ? PQ_CHUNK_CONTROL : PQ_CHUNK_SMALL;
    int n = c ? pq_header_encode(family, req, pq_chunk_data(c), cap) : PQ_ENOMEM;
    if (n < 0) {
        pq_chunk_free(c);
        return NULL;
    }
    c->len = (uint32_t)n;
    return c;
}

/* ---- streams that only say something */

static void no_data(void *ctx, struct pq_view v, bool last)
{
    (void)ctx;
    (void)v;
    (void)last;
}

static void no_event(void *ctx)
{
    (void)ctx;
}

static void no_end(void *ctx, int err)
{
    (void)ctx;
    (void)err;
}

static const struct pq_stream_events mute_events = {no_data, no_event, no_event,
                                                    no_end,  no_event, NULL};

static void send_flags(const struct lease *l, struct pq_session *ses)
{
    const struct pq_request req = {.type = PQ_REQ_TCPF, .flags = l->cw->cl->app.conf->remote_flag};
    if (l->how > TRY_CONNECT) /* the server has taken those that pass */
        return;
    struct pq_stream *st = pq_session_open(ses, &mute_events, NULL);
    struct pq_chunk *c = st ? encode(family_of(known_of(l)), st, &req) : NULL;
    if (c)
        pq_stream_send(st, c);
    if (st)
        pq_stream_close(st);
}

/* ---- requests */

/* How large datagrams may be; while the family is not known, as small as for any. */
static void set_datagrams(const struct lease *l, struct pq_stream *st, const struct pq_request *req)
{
    const struct known *k = known_of(l);
    if (req->type == PQ_REQ_UDP || req->type == PQ_REQ_TUN)
        pq_stream_set_datagrams(
            st, pq_udp_max_of(k->family ? k->family : PQ_FAMILY_BINARY, k->abilities));
}

static void release(void *ctx, struct pq_stream *st)
{
    const struct pq_request *req = pq_stream_tag(st);
    if (!req)
        return;
    set_datagrams(ctx, st, req);
    struct pq_chunk *c = encode(family_of(known_of(ctx)), st, req);
    pq_stream_set_tag(st, NULL);
    if (c)
        pq_stream_uncork(st, c);
    else
        PQ_LOG_SOME(PQ_LOG_ERROR, PQ_LOG_MOST, "a request was dropped for want of memory");
}

/* Whether nothing may be asked for before the session has keys. */
static bool keys_first(const struct lease *l, const struct pq_session *ses)
{
    const struct known *k = known_of(l);
    if (l->cw->cl->app.conf->quic.open && !l->greeted)
        return true; /* streams of QUIC may overtake the PING that says what both are able to do */
    const bool may_be = k->upgrades || (l->cw->cl->app.hub.own.on && !k->answered);
    /* where it begins with keys, it is with them that the server says what it is able to do */
    return (may_be || l->by_keys) && !pq_session_secure(ses);
}

int pq_client_ask(struct client_worker *cw, const struct lease *l, struct pq_stream *st,
                  const struct pq_request *req)
{
    set_datagrams(l, st, req);
    if (cw->known[l->server].family != PQ_FAMILY_NONE && !keys_first(l, l->ses)) {
        struct pq_chunk *c = encode(family_of(known_of(l)), st, req);
        return c ? pq_stream_send(st, c) : PQ_EINVAL;
    }
    struct pq_request *copy = malloc(sizeof *copy);
    if (!copy)
        return PQ_ENOMEM;
    *copy = *req;
    pq_stream_set_tag(st, copy);
    pq_stream_cork(st);
    return 0;
}

/* ---- the probe */

/* Goes over to our own wire, without a way back.  Returns false if this is not to be. */
static bool upgrade(const struct probe *p, struct known *k)
{
    if (pq_session_upgrade(p->ses, p->lease->cw->w.now) == 0) {
        k->upgrades = true;
        return true;
    }
    if (!k->upgrades)
        return false;
    PQ_LOG_SOME(
        PQ_LOG_ERROR, PQ_LOG_MOST,
        "the server had keys for each session, and now it has not: somebody may be in between. "
        "If it was replaced by an older version on purpose, restart this client");
    pq_session_end(p->ses, PQ_EPROTO);
    return true;
}

/* To a Go program over QUIC datagrams lie one behind the other in a stream [7.4]. */
static void warn_of_boundaries(const struct pq_conf *conf)
{
    const unsigned max = (unsigned)conf->quic.mtu - QUIC_APART;
    if (!conf->tun.enabled)
        PQ_LOG_SOME(
            PQ_LOG_WARN, PQ_LOG_MOST,
            "UDP over QUIC to a server of family A: it takes what comes together for one "
            "datagram, so some are damaged, and longer ones than about %u bytes are dropped; over "
            "kcp they are kept apart",
            max);
    else
        PQ_LOG_SOME(
            PQ_LOG_WARN, PQ_LOG_MOST,
            "UDP and TUN over QUIC to a server of family A: it takes what comes together for one "
            "packet, so some are lost or damaged, and longer ones than about %u bytes are dropped "
            "(tun.mtu is %u); over kcp they are kept apart",
            max, (unsigned)conf->tun.mtu);
}

/* The family is known: says how packets are to be flagged, and lets go what waited. */
static void settle(struct probe *p, enum pq_family f, uint32_t abilities)
{
    struct known *k = known_of(p->lease);
    bool news = k->family == PQ_FAMILY_NONE;
    const struct pq_conf *conf = p->lease->cw->cl->app.conf;
    if (conf->over_quic && !conf->quic.open && !k->answered)
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST,
                    "the server is a paqet of this kind, and has the right key");
    k->abilities = abilities;
    k->answered = true;
    pq_stream_set_abilities(p->st, abilities);
    if (abilities & PQ_ABLE_FRAMES)
        pq_stream_send_frames(p->st);
    if (news) {
        k->family = abilities ? PQ_FAMILY_BINARY : f; /* our kind reads both; binary is shorter */
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST, "the server is %s",
                    abilities            ? "a paqet of this kind"
                    : f == PQ_FAMILY_GOB ? "of family A (gob headers)"
                    : f == PQ_FAMILY_BINARY20
                        ? "of family B at v1.0.0-alpha.20 (binary headers without length)"
                        : "of family B (binary headers)");
        if (conf->over_quic && !abilities)
            warn_of_boundaries(conf);
    }
    if (upgrade(p, k))
        return;
    p->lease->greeted = p->lease->cw->greeted = true;
    if (p->blind)
        send_flags(p->lease, p->ses);
    pq_session_each(p->ses, release, p->lease);
}

void pq_client_secured(struct lease *l, struct pq_session *ses)
{
    struct known *k = known_of(l);
    if (k->family == PQ_FAMILY_NONE)
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST,
                    "the server is a paqet of this kind, and has the right key");
    l->greeted = l->cw->greeted = true;
    k->family = PQ_FAMILY_BINARY;
    k->abilities = pq_session_abilities(ses);
    send_flags(l, ses);
    pq_session_each(ses, release, l);
}

static void probe_end(struct probe *p)
{
    pq_stream_close(p->st);
    free(p);
}

static void on_probe_data(void *ctx, struct pq_view v, bool last)
{
    struct probe *p = ctx;
    (void)last;
    size_t n = sizeof p->buf - p->len < v.n ? sizeof p->buf - p->len : v.n;
    memcpy(p->buf + p->len, v.p, n);
    p->len += n;
}

static bool got_pong(const struct probe *p, struct pq_request *req, enum pq_family *f)
{
    size_t used;
    return pq_header_decode(p->buf, p->len, req, f, &used) == 0 && req->type == PQ_REQ_PONG;
}

static void on_probe_flush(void *ctx)
{
    struct probe *p = ctx;
    struct pq_request req;
    enum pq_family f;
    if (!got_pong(p, &req, &f))
        return; /* not complete yet */
    settle(p, f, req.abilities);
    probe_end(p);
}

/* What was known of the server is wrong: asks again, on the same session. */
static void start_over(struct probe *p)
{
    if (p->lease->cw->cl->app.conf->header != PQ_FAMILY_NONE) {
        PQ_LOG_SOME(PQ_LOG_WARN, PQ_LOG_MOST,
                    "the server refuses our headers: transport.header: %s is not its family; "
                    "use auto",
                    p->lease->cw->cl->app.conf->header_text);
        return;
    }
    pq_client_forget(p->lease->cw, p->lease->server);
    pq_client_greet(p->lease, p->ses);
}

static void ask_second(const struct probe *p);

/* Closed without a PONG: a gob PING says family B, of a binary one nothing is known. */
static void on_probe_end(void *ctx, int err)
{
    struct probe *p = ctx;
    struct pq_request req;
    enum pq_family f;
    if (!err && got_pong(p, &req, &f))
        settle(p, f, req.abilities);
    else if (!err && pq_header_is_bare(p->buf, p->len, PQ_REQ_PONG))
        settle(p, PQ_FAMILY_BINARY20, 0);
    else if (!err && known_of(p->lease)->family == PQ_FAMILY_NONE && !p->second)
        ask_second(p);
    else if (!err && known_of(p->lease)->family == PQ_FAMILY_NONE)
        settle(p, PQ_FAMILY_BINARY, 0);
    else if (!err)
        start_over(p); /* it has become another one */
    probe_end(p);
}

static const struct pq_stream_events probe_events = {on_probe_data, on_probe_flush, no_event,
                                                     on_probe_end,  no_event,       NULL};

void pq_client_forget(struct client_worker *cw, unsigned server)
{
    struct known *k = &cw->known[server];
    k->family = cw->cl->app.conf->header;
    k->abilities = 0;
    k->answered = false;
}

/* Opens the stream of a probe and asks on it.  Returns the stream, or NULL: memory is short, or the
 * session has ended. */
static struct pq_stream *ask(struct lease *l, struct pq_session *ses, bool second)
{
    const bool blind = known_of(l)->family == PQ_FAMILY_NONE;
    struct probe *p = calloc(1, sizeof *p);
    struct pq_request ping = {.type = PQ_REQ_PING};
    if (!p)
        return NULL;
    *p = (struct probe){.lease = l, .ses = ses, .blind = blind, .second = second};
    p->st = pq_session_open(ses, &probe_events, p);
    if (p->st && !second)
        ping.abilities = pq_stream_own_abilities(p->st);
    struct pq_chunk *c =
        p->st ? encode(second ? PQ_FAMILY_BINARY : family_of(known_of(l)), p->st, &ping) : NULL;
    if (c) {
        pq_stream_send(p->st, c);
        return p->st;
    }
    if (p->st)
        pq_stream_close(p->st);
    free(p);
    return NULL;
}

static void ask_second(const struct probe *p)
{
    ask(p->lease, p->ses, true);
}

void pq_client_greet(struct lease *l, struct pq_session *ses)
{
    struct pq_stream *st = l->by_keys ? NULL : ask(l, ses, false);
    if (st && !known_of(l)->upgrades &&
        known_of(l)->family != PQ_FAMILY_NONE) { /* as remembered; the PONG confirms it */
        pq_stream_set_abilities(st, known_of(l)->abilities);
        send_flags(l, ses);
    }
}

void pq_client_advise(struct client_worker *cw)
{
    const struct pq_conf *c = cw->cl->app.conf;
    if (cw->greeted || cw->advised)
        return;
    cw->advised = true;
    PQ_LOG(PQ_LOG_WARN, "no server has answered yet; \"paqet check\" with this file tells why%s",
           c->over_quic ? ". Over QUIC the clocks of both ends must be right to two minutes"
           : c->look == PQ_LOOK_CONNECT && !c->auto_look
               ? ". With network.tcp.look: connect the clocks of both ends must be right to a "
                 "minute"
               : "");
}
