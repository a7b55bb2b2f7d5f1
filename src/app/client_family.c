/* SPDX-License-Identifier: MIT */
/* client_family.c - which header family the server speaks, and the headers sent to it.
 *
 * The probe is a gob PING: family A answers with PONG, family B closes the stream at once.  A
 * binary PING first would hang a server of family A [8].  No answer means a dead peer or lost
 * packets, never a family. */
#include "app/client.h"

#include <stdlib.h>
#include <string.h>

struct probe {
    struct client_worker *cw;
    struct pq_session *ses;
    struct pq_stream *st;
    size_t len;
    uint8_t buf[512];
};

static struct pq_chunk *encode(struct client_worker *cw, struct pq_stream *st,
                               const struct pq_request *req)
{
    struct pq_chunk *c = pq_chunk_new(pq_stream_chunks(st), PQ_CHUNK_SMALL);
    int n = c ? pq_header_encode(cw->family, req, pq_chunk_data(c), PQ_CHUNK_SMALL) : PQ_ENOMEM;
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

static const struct pq_stream_events mute_events = {no_data, no_event, no_event, no_end};

static void send_flags(struct client_worker *cw, struct pq_session *ses)
{
    const struct pq_request req = {.type = PQ_REQ_TCPF, .flags = cw->cl->app.conf->remote_flag};
    struct pq_stream *st = pq_session_open(ses, &mute_events, NULL);
    struct pq_chunk *c = st ? encode(cw, st, &req) : NULL;
    if (c)
        pq_stream_send(st, c);
    if (st)
        pq_stream_close(st);
}

/* ---- requests */

static void release(void *ctx, struct pq_stream *st)
{
    struct client_worker *cw = ctx;
    const struct pq_request *req = pq_stream_tag(st);
    if (!req)
        return;
    struct pq_chunk *c = encode(cw, st, req);
    pq_stream_set_tag(st, NULL);
    if (c)
        pq_stream_uncork(st, c);
}

int pq_client_ask(struct client_worker *cw, struct pq_stream *st, const struct pq_request *req)
{
    if (cw->family != PQ_FAMILY_NONE) {
        struct pq_chunk *c = encode(cw, st, req);
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

static void settle(struct probe *p, enum pq_family f)
{
    struct client_worker *cw = p->cw;
    if (cw->family == PQ_FAMILY_NONE) {
        cw->family = f;
        PQ_LOG(PQ_LOG_INFO, "the server speaks %s headers",
               f == PQ_FAMILY_GOB ? "gob (family A)" : "binary (family B)");
    }
    send_flags(cw, p->ses);
    pq_session_each(p->ses, release, cw);
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

static bool got_pong(const struct probe *p)
{
    struct pq_request req;
    enum pq_family f;
    size_t used;
    return pq_header_decode(p->buf, p->len, &req, &f, &used) == 0 && req.type == PQ_REQ_PONG;
}

static void on_probe_flush(void *ctx)
{
    struct probe *p = ctx;
    if (!got_pong(p))
        return; /* not complete yet */
    settle(p, PQ_FAMILY_GOB);
    probe_end(p);
}

static void on_probe_end(void *ctx, int err)
{
    struct probe *p = ctx;
    if (!err)
        settle(p, got_pong(p) ? PQ_FAMILY_GOB : PQ_FAMILY_BINARY);
    probe_end(p);
}

static const struct pq_stream_events probe_events = {on_probe_data, on_probe_flush, no_event,
                                                     on_probe_end};

void pq_client_greet(struct client_worker *cw, struct lease *l, struct pq_session *ses)
{
    (void)l;
    if (cw->family != PQ_FAMILY_NONE) {
        send_flags(cw, ses);
        return;
    }
    const struct pq_request ping = {.type = PQ_REQ_PING};
    struct probe *p = calloc(1, sizeof *p);
    if (!p)
        return;
    p->cw = cw;
    p->ses = ses;
    p->st = pq_session_open(ses, &probe_events, p);
    struct pq_chunk *c = p->st ? encode(cw, p->st, &ping) : NULL;
    if (c)
        pq_stream_send(p->st, c);
    else if (p->st)
        probe_end(p);
    else
        free(p);
}
