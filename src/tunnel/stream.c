/* SPDX-License-Identifier: MIT */
/* stream.c - streams as their owners use them: what stream.h promises, passed on to the session. */
#include "tunnel/tunnel_internal.h"

#include <stdlib.h>

static const struct pq_transport *transport(const struct pq_stream *st)
{
    return st->ses->hub->t;
}

struct pq_stream *pq_session_open(struct pq_session *s, const struct pq_stream_events *ev,
                                  void *ctx)
{
    struct pq_stream *st = pq_stream_new(s);
    if (!st)
        return NULL;
    if (s->hub->t->st_open(st)) {
        pq_stream_free(st);
        return NULL;
    }
    pq_stream_own(st, ev, ctx);
    pq_session_wake(s);
    return st;
}

void pq_stream_own(struct pq_stream *st, const struct pq_stream_events *ev, void *ctx)
{
    st->ev = ev;
    st->ctx = ctx;
}

struct pq_session *pq_stream_session(const struct pq_stream *st)
{
    return st->ses;
}

pq_ns pq_stream_heard(const struct pq_stream *st)
{
    return st->ses ? st->ses->heard : 0;
}

struct pq_chunks *pq_stream_chunks(struct pq_stream *st)
{
    return st->ses ? &st->ses->share->chunks : NULL;
}

size_t pq_stream_room(struct pq_stream *st)
{
    return st->ses ? transport(st)->st_room(st) : 0;
}

size_t pq_stream_waiting(const struct pq_stream *st)
{
    return st->ses ? transport(st)->st_waiting(st) : 0;
}

int pq_stream_send(struct pq_stream *st, struct pq_chunk *c)
{
    if (!st->ses) {
        pq_chunk_free(c);
        return PQ_ECLOSED;
    }
    pq_session_wake(st->ses);
    pq_stream_count(st, 0, c->len);
    return transport(st)->st_send(st, c);
}

void pq_stream_count(struct pq_stream *st, size_t in, size_t out)
{
    st->in += in;
    st->out += out;
    st->ses->in += in;
    st->ses->out += out;
    st->ses->hub->stats.in += in;
    st->ses->hub->stats.out += out;
}

void pq_stream_set_target(struct pq_stream *st, const char *kind, const char *host, uint16_t port)
{
    const size_t n = strlen(host) + 1;
    free(st->target);
    st->target = malloc(sizeof *st->target + n);
    if (!st->target)
        return;
    st->target->kind = kind;
    st->target->port = port;
    memcpy(st->target->host, host, n);
}

void pq_stream_consumed(struct pq_stream *st, size_t n)
{
    if (!st->ses)
        return;
    pq_stream_count(st, n, 0);
    transport(st)->st_consumed(st, n);
    pq_session_wake(st->ses);
}

void pq_stream_close(struct pq_stream *st)
{
    if (st->ses) {
        transport(st)->st_close(st);
        pq_session_wake(st->ses);
    }
    pq_stream_free(st);
}

void pq_stream_abort(struct pq_stream *st)
{
    if (st->ses) {
        transport(st)->st_abort(st);
        pq_session_wake(st->ses);
    }
    pq_stream_free(st);
}

void pq_stream_finish(struct pq_stream *st)
{
    if (!st->ses)
        return;
    transport(st)->st_finish(st);
    pq_session_wake(st->ses);
}

uint32_t pq_stream_abilities(const struct pq_stream *st)
{
    return st->ses ? st->ses->abilities : 0;
}

uint32_t pq_stream_own_abilities(struct pq_stream *st)
{
    if (!st->ses)
        return 0;
    st->ses->said = transport(st)->hub_abilities(st->ses->hub);
    return st->ses->said;
}

void pq_stream_set_abilities(struct pq_stream *st, uint32_t abilities)
{
    if (st->ses)
        pq_session_able(st->ses, abilities);
}

void pq_stream_send_frames(struct pq_stream *st)
{
    if (st->ses)
        transport(st)->frames(st->ses);
}

void pq_stream_set_tag(struct pq_stream *st, void *tag)
{
    free(st->tag);
    st->tag = tag;
}

void *pq_stream_tag(const struct pq_stream *st)
{
    return st->tag;
}

void pq_stream_cork(struct pq_stream *st)
{
    if (st->ses)
        transport(st)->st_cork(st);
}

void pq_stream_uncork(struct pq_stream *st, struct pq_chunk *first)
{
    if (!st->ses) {
        pq_chunk_free(first);
        return;
    }
    transport(st)->st_uncork(st, first);
    pq_session_wake(st->ses);
    st->ev->room(st->ctx);
}

bool pq_stream_corked(const struct pq_stream *st)
{
    return st->ses && transport(st)->st_corked(st);
}

void pq_stream_set_peer_flags(struct pq_stream *st, const struct pq_flags *flags)
{
    if (st->ses)
        pq_flow_set_flags(&st->ses->flow, flags);
}

unsigned pq_stream_who(const struct pq_stream *st)
{
    return st->ses ? st->ses->who : PQ_NOBODY;
}

const struct pq_addr *pq_stream_peer(const struct pq_stream *st)
{
    static const struct pq_addr none;
    return st->ses ? &st->ses->peer : &none;
}

/* ---- datagrams */

void pq_stream_set_datagrams(struct pq_stream *st, size_t max)
{
    st->datagram_max = max;
    if (st->ses)
        transport(st)->st_whole(st);
}

bool pq_stream_beside(const struct pq_stream *st, size_t n)
{
    return st->ses && transport(st)->st_beside(st, n);
}

int pq_stream_send_datagram(struct pq_stream *st, struct pq_chunk *c)
{
    int e = 0;
    if (!st->ses || st->ended)
        e = PQ_ECLOSED;
    else if (c->len > st->datagram_max)
        e = PQ_EINVAL;
    if (e) {
        pq_chunk_free(c);
        return e;
    }
    const size_t n = c->len;
    const bool beside = pq_stream_beside(st, n);
    e = transport(st)->st_datagram(st, c);
    if (!e) {
        pq_stream_count(st, 0, n);
        st->ses->beside_out += beside ? n : 0;
        pq_session_wake(st->ses);
    }
    return e;
}
