/* SPDX-License-Identifier: MIT */
/* smux_in.c - reads frames from the pipe and hands their payload up, without a copy [5.1]. */
#include "smux/smux_internal.h"

#define REFUSED_MAX 1024 /* streams beyond max_streams whose FIN waits to go out */

struct pq_smux_stream *pq_smux_find_id(struct pq_smux *s, uint32_t id)
{
    struct pq_hash_node *n = pq_hash_find(&s->streams, pq_hash_u32(id));
    while (n && PQ_OF(n, struct pq_smux_stream, by_id)->id != id)
        n = pq_hash_next(n);
    return n ? PQ_OF(n, struct pq_smux_stream, by_id) : NULL;
}

static void on_syn(struct pq_smux *s, uint32_t id)
{
    if (pq_smux_find_id(s, id))
        return; /* an id in use is ignored [5.2] */
    if (s->streams.n >= (size_t)s->conf.max_streams + REFUSED_MAX)
        return; /* a peer that opens without end and takes no FIN */
    struct pq_smux_stream *st = pq_smux_add(s, id);
    if (!st)
        return;
    st->known = true;
    if (s->streams.n <= s->conf.max_streams)
        st->user = s->ev->open(s->ctx, st);
    if (!st->user)
        pq_smux_close(st);
}

static void on_fin(struct pq_smux_stream *st)
{
    if (st->peer_closed)
        return;
    st->peer_closed = true;
    st->need_eof = false;
    pq_chunkq_clear(&st->q); /* the peer has forgotten the stream: nothing sent would arrive */
    pq_smux_schedule(st);
    if (st->user)
        st->s->ev->flush(st->user);
    if (st->user)
        st->s->ev->fin(st->user);
}

static void on_upd(struct pq_smux_stream *st, uint32_t consumed, uint32_t window)
{
    if ((int32_t)(st->sent - consumed) < 0) { /* more than was sent [5.3] */
        on_fin(st);
        return;
    }
    st->peer_consumed = consumed;
    st->peer_window = window;
    st->known = true;
    pq_smux_schedule(st);
}

/* A header is complete: acts on it, or prepares for its payload.  Returns 0 or PQ_EPROTO. */
static int on_header(struct pq_smux *s)
{
    uint8_t cmd = s->head[1];
    uint16_t len = pq_le16(s->head + 2);
    uint32_t id = pq_le32(s->head + 4);
    if (s->head[0] != SMUX_VERSION || cmd > (s->extended ? SMUX_BYE : SMUX_UPD))
        return PQ_EPROTO;
    s->seen = true;
    s->heard += cmd != SMUX_NOP;
    struct pq_smux_stream *st = pq_smux_find_id(s, id);
    if (cmd == SMUX_SYN) {
        on_syn(s, id);
    } else if (cmd == SMUX_FIN && st) {
        on_fin(st);
    } else if (cmd == SMUX_PSH) {
        s->payload_left = len;
        s->cur = st && st->user && !st->peer_closed ? st : NULL;
    } else if (cmd == SMUX_UPD && s->head_need == PQ_SMUX_HDR_LEN) {
        s->head_need += UPD_LEN; /* comes back here with its body */
        return 0;
    } else if (cmd == SMUX_UPD && st) {
        on_upd(st, pq_le32(s->head + 8), pq_le32(s->head + 12));
    } else if (cmd == SMUX_EOF && st && st->user && !st->peer_closed) {
        s->ev->flush(st->user);
        if (st->user)
            s->ev->eof(st->user);
    } else if (cmd == SMUX_BYE) {
        s->ev->bye(s->ctx);
    }
    s->head_len = 0;
    s->head_need = PQ_SMUX_HDR_LEN;
    return 0;
}

static void take_payload(struct pq_smux *s, struct pq_view v)
{
    s->payload_left -= v.n;
    struct pq_smux_stream *st = s->cur;
    if (!st || !st->user)
        return;
    st->unread += v.n;
    s->unread += v.n;
    s->ev->data(st->user, v, s->payload_left == 0);
}

int pq_smux_input(struct pq_smux *s, struct pq_view v)
{
    s->stopped = s->unread >= s->conf.session_buf;
    if (s->stopped)
        return 0;
    while (v.n) {
        size_t n;
        if (s->payload_left) {
            n = v.n < s->payload_left ? v.n : s->payload_left;
            take_payload(s, (struct pq_view){v.p, n});
        } else {
            n = s->head_need - s->head_len;
            if (n > v.n)
                n = v.n;
            memcpy(s->head + s->head_len, v.p, n);
            s->head_len += n;
            if (s->head_len == s->head_need && on_header(s))
                return PQ_EPROTO;
        }
        v.p += n;
        v.n -= n;
    }
    return 1;
}

bool pq_smux_can_resume(const struct pq_smux *s)
{
    return s->stopped && s->unread < s->conf.session_buf;
}
