/* SPDX-License-Identifier: MIT */
/* info.c - what there is to see of sessions and streams. */
#include "tunnel/tunnel_internal.h"

void pq_session_info(const struct pq_session *s, struct pq_session_info *out)
{
    *out = (struct pq_session_info){
        .serial = s->serial,
        .transport = s->hub->t->name,
        .cipher = s->hub->t->cipher(s),
        .peer = s->peer,
        .local = s->local,
        .secure = s->sec != NULL,
        .asking = !s->sec && s->ask && s->ask->about.kind == PQ_KIND_KEYS,
        .connected = s->flow.look == PQ_LOOK_CONNECT,
        .half = s->half,
        .before = pq_session_key_before(s),
        .who = s->who,
        .abilities = s->abilities,
        .opened = s->opened,
        .heard = s->heard,
        .moves = s->moves,
        .packet = (unsigned)(s->hub->t->size(s) + s->flow.ip_len + pq_flow_tcp_len(&s->flow)),
        .streams = s->hub->t->streams(s),
        .wire_in = s->wire_in,
        .wire_out = s->wire_out,
        .in = s->in,
        .out = s->out};
    if (s->sec) {
        const uint32_t opened = pq_seal_opened(s->sec->cur.rx), filled = s->sec->cur.filled;
        out->came = opened > filled ? opened - filled : 0; /* some may have been under other keys */
        out->expected = pq_seal_used(s->sec->cur.rx);
    }
    s->hub->t->carried(s, &out->carried_in, &out->carried_out);
    out->carried_in += s->beside_in;
    out->carried_out += s->beside_out;
    s->hub->t->stats(s, &out->kcp);
}

void pq_stream_info(const struct pq_stream *st, struct pq_stream_info *out)
{
    *out = (struct pq_stream_info){.serial = st->serial,
                                   .kind = st->target ? st->target->kind : "",
                                   .host = st->target ? st->target->host : "",
                                   .port = st->target ? st->target->port : 0,
                                   .in = st->in,
                                   .out = st->out,
                                   .opened = st->opened};
}

void pq_hub_memory(const struct pq_hub *h, struct pq_memory_info *out)
{
    *out = (struct pq_memory_info){h->chunks.budget.used, h->chunks.budget.limit};
}

static struct pq_stream *find(struct pq_hub *h, uint32_t serial)
{
    for (struct pq_list *i = h->sessions.next; i != &h->sessions; i = i->next) {
        struct pq_session *s = PQ_OF(i, struct pq_session, node);
        for (struct pq_list *k = s->streams.next; k != &s->streams; k = k->next) {
            struct pq_stream *st = PQ_OF(k, struct pq_stream, node);
            if (st->serial == serial && !st->ended)
                return st;
        }
    }
    return NULL;
}

void pq_stream_cut(struct pq_stream *st, int err)
{
    st->ses->hub->t->st_abort(st);
    pq_session_wake(st->ses);
    pq_list_remove(&st->node);
    pq_list_remove(&st->dirty);
    pq_stream_leave(st->ses, st);
    st->ss = NULL;
    st->ended = true;
    st->ev->end(st->ctx, err);
}

bool pq_hub_end_stream(struct pq_hub *h, uint32_t serial)
{
    struct pq_stream *st = find(h, serial);
    if (!st)
        return false;
    pq_stream_cut(st, PQ_ECLOSED);
    return true;
}
