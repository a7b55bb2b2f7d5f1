/* SPDX-License-Identifier: MIT */
/* session_datagram.c - which way a datagram takes: beside the reliable stream, where a lost packet
 * delays no other, or as one frame of it [6.4] [8.7]. */
#include "tunnel/tunnel_internal.h"

#define FRAMES_MAX 1024 /* datagrams that wait in one stream */

/* conv as the client or the server writes it: what one side has sent, thrown back at it, is none of
 * its peer's [8.7]. */
static uint32_t conv_from(const struct pq_session *s, bool client)
{
    return client ? s->conv : ~s->conv;
}

size_t pq_session_dgram(struct pq_session *s, uint8_t *p, size_t cap)
{
    s->dgram_first -= s->dgram_first > 0;
    const size_t n = pq_dgrams_pull(&s->dgrams, conv_from(s, s->hub->conf.client), p, cap);
    if (n > s->hub->fec_head)
        pq_kcp_beside(s->kcp, n - s->hub->fec_head);
    return n;
}

void pq_session_dgram_close(const struct pq_stream *st)
{
    struct pq_session *s = st->ses;
    uint32_t n = st->dgram_last - s->dgrams.next; /* the peer ignores what comes behind FIN */
    if (n <= s->dgrams.out.n && n > s->dgram_first)
        s->dgram_first = n;
}

enum pq_drop pq_session_dgram_take(struct pq_session *s, struct pq_view inner)
{
    uint32_t id;
    struct pq_view data;
    /* what the peer has said of itself does not matter: its PONG may still be on its way */
    enum pq_drop d =
        pq_dgrams_read(&s->dgrams, conv_from(s, !s->hub->conf.client), inner, &id, &data);
    if (d)
        return d;
    s->asked = 0;
    struct pq_stream *st = pq_smux_find(s->smux, id);
    if (!st || !st->ev->datagram)
        return PQ_DROP_OOB; /* closed meanwhile */
    pq_stream_count(st, data.n, 0);
    s->beside_in += data.n;
    st->ev->datagram(st->ctx, data);
    return PQ_DROP_NONE;
}

/* In one packet, or in two. */
static bool fits(const struct pq_session *s, size_t n)
{
    const size_t now = pq_kcp_size(s->kcp) + s->hub->fec_head;
    return n <= s->dgram_max && (pq_kcp_parts(s->kcp) || n + PQ_DGRAM_HEAD <= now);
}

bool pq_session_dgram_beside(const struct pq_stream *st, size_t n)
{
    return st->ses->abilities & PQ_ABLE_DATAGRAMS && fits(st->ses, n) && pq_smux_known(st->ss);
}

static int send_beside(struct pq_stream *st, struct pq_chunk *c)
{
    struct pq_dgrams *d = &st->ses->dgrams;
    int e = pq_dgrams_push(d, c, pq_smux_stream_id(st->ss));
    if (!e)
        st->dgram_last = d->next + (uint32_t)d->out.n;
    return e;
}

int pq_session_dgram_send(struct pq_stream *st, struct pq_chunk *c)
{
    int e = PQ_EAGAIN;
    if (pq_session_dgram_beside(st, c->len))
        e = send_beside(st, c);
    else if (pq_smux_room(st->ss) && pq_smux_waiting(st->ss) < FRAMES_MAX)
        return pq_smux_send(st->ss, c);
    if (e)
        pq_chunk_free(c);
    return e;
}
