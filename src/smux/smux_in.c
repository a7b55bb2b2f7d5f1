/* SPDX-License-Identifier: MIT */
/* smux_in.c - reads frames from the pipe and hands their payload up, without a copy [5.1]. */
#include "smux/smux_internal.h"

#include <stdlib.h>

#define REFUSED_MAX 65536 /* streams beyond max_streams whose FIN waits to go out */

struct pq_smux_stream *pq_smux_find_id(struct pq_smux *s, uint32_t id)
{
    struct pq_hash_node *n = pq_hash_find(&s->streams, pq_smux_hash(s, id));
    while (n && PQ_OF(n, struct pq_smux_stream, by_id)->id != id)
        n = pq_hash_next(n);
    return n ? PQ_OF(n, struct pq_smux_stream, by_id) : NULL;
}

/* The stream that the peer means: one of which it has never heard is none, whatever it says. So no
 * event for a stream comes while pq_smux_abort would free it at once. */
static struct pq_smux_stream *find_told(struct pq_smux *s, uint32_t id)
{
    struct pq_smux_stream *st = pq_smux_find_id(s, id);
    return st && !st->need_syn ? st : NULL;
}

/* A stream too many, or of who opens none: only its FIN is owed.  A peer that opens without end and
 * takes none of them gets no more of them. */
static void refuse(struct pq_smux *s, uint32_t id)
{
    if (s->n_refused == s->refused_cap) {
        size_t cap = s->refused_cap ? 2 * s->refused_cap : 64;
        uint32_t *ids = cap <= REFUSED_MAX ? realloc(s->refused, cap * sizeof *ids) : NULL;
        if (!ids)
            return;
        s->refused = ids;
        s->refused_cap = cap;
    }
    s->refused[s->n_refused++] = id;
}

static void on_syn(struct pq_smux *s, uint32_t id)
{
    if (!id || pq_smux_find_id(s, id))
        return; /* NOP's, or one in use: ignored [5.2] */
    if (s->conf.refuses || s->streams.n >= s->conf.max_streams) {
        refuse(s, id);
        return;
    }
    struct pq_smux_stream *st = pq_smux_add(s, id);
    if (!st)
        return;
    st->known = true;
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
    if ((int32_t)(consumed - st->peer_consumed) < 0)
        return; /* overtaken by a newer one [8.10] */
    st->peer_consumed = consumed;
    st->peer_window = window;
    st->known = true;
    pq_smux_schedule(st);
}

static void on_eof(struct pq_smux_stream *st)
{
    if (st->peer_eof || st->peer_closed)
        return;
    st->peer_eof = true;
    if (st->user)
        st->s->ev->flush(st->user);
    if (st->user)
        st->s->ev->eof(st->user);
}

/* Bytes behind the eight that every frame begins with, before its data. */
static size_t head_rest(uint8_t cmd)
{
    if (cmd == SMUX_UPD)
        return UPD_LEN;
    return cmd >= SMUX_DATA && cmd <= SMUX_END ? PLACE_LEN : 0;
}

static bool known_command(const struct pq_smux *s, uint8_t cmd)
{
    return cmd <= (s->extended ? SMUX_BYE : SMUX_UPD) || (cmd >= SMUX_DATA && cmd <= SMUX_END) ||
           cmd == SMUX_USED;
}

/* A frame with a place, in its turn: nothing before it is missing.  Returns 0 or PQ_EPROTO. */
static int on_placed(struct pq_smux *s, struct pq_smux_stream *st, uint8_t cmd, uint16_t len)
{
    uint32_t place = pq_le32(s->head + PQ_SMUX_HDR_LEN);
    size_t data = (size_t)len - PLACE_LEN;
    bool last = cmd == SMUX_CLOSE || cmd == SMUX_END;
    if (len < PLACE_LEN || (last && data) || (st && place != st->received))
        return PQ_EPROTO;
    if (last && st)
        cmd == SMUX_CLOSE ? on_fin(st) : on_eof(st);
    if (last)
        return 0;
    s->payload_left = data;
    s->part = cmd == SMUX_PART;
    s->cur = st;
    return 0;
}

/* A header is complete: acts on it, or prepares for its payload.  Returns 0 or PQ_EPROTO. */
static int on_header(struct pq_smux *s)
{
    uint8_t cmd = s->head[1];
    uint16_t len = pq_le16(s->head + 2);
    uint32_t id = pq_le32(s->head + 4);
    if (s->head[0] != SMUX_VERSION || !known_command(s, cmd))
        return PQ_EPROTO;
    if (s->head_need == PQ_SMUX_HDR_LEN && head_rest(cmd)) {
        s->head_need += head_rest(cmd); /* comes back here with all of it */
        return 0;
    }
    s->seen = true;
    s->heard += cmd != SMUX_NOP;
    s->head_len = 0;
    s->head_need = PQ_SMUX_HDR_LEN;
    struct pq_smux_stream *st = find_told(s, id);
    if (cmd >= SMUX_DATA && cmd <= SMUX_END)
        return on_placed(s, st, cmd, len);
    if (cmd == SMUX_SYN) {
        on_syn(s, id);
    } else if (cmd == SMUX_FIN && st) {
        on_fin(st);
    } else if (cmd == SMUX_PSH || cmd == SMUX_USED) {
        s->payload_left = len;
        s->part = false;
        s->cur = cmd == SMUX_PSH ? st : NULL;
    } else if (cmd == SMUX_UPD && st) {
        on_upd(st, pq_le32(s->head + 8), pq_le32(s->head + 12));
    } else if (cmd == SMUX_EOF && st) {
        on_eof(st);
    } else if (cmd == SMUX_BYE) {
        s->ev->bye(s->ctx);
    }
    return 0;
}

static void give_data(struct pq_smux_stream *st, struct pq_view v, bool last)
{
    struct pq_smux *s = st->s;
    st->received += (uint32_t)v.n;
    s->in += v.n;
    if (!v.n || !st->user || st->peer_closed || st->peer_eof)
        return;
    st->unread += v.n;
    s->unread += v.n;
    s->ev->data(st->user, v, last);
}

static void take_payload(struct pq_smux *s, struct pq_view v)
{
    s->payload_left -= v.n;
    if (s->cur)
        give_data(s->cur, v, s->payload_left == 0 && !s->part);
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

/* ---- before their turn [8.10] */

/* Uses the frame at p of `size` bytes if nothing that it depends on is missing. */
static bool use_early(struct pq_smux *s, const uint8_t *p, size_t size)
{
    uint8_t cmd = p[1];
    uint32_t id = pq_le32(p + 4);
    if (cmd == SMUX_SYN) {
        on_syn(s, id);
        return true;
    }
    struct pq_smux_stream *st = find_told(s, id);
    size_t head = PQ_SMUX_HDR_LEN + head_rest(cmd);
    if (!st || head == PQ_SMUX_HDR_LEN || size < head)
        return false;
    if (cmd == SMUX_UPD) {
        on_upd(st, pq_le32(p + 8), pq_le32(p + 12));
        return true;
    }
    if (pq_le32(p + PQ_SMUX_HDR_LEN) != st->received || s->unread >= s->conf.session_buf)
        return false;
    if (cmd == SMUX_CLOSE)
        on_fin(st);
    else if (cmd == SMUX_END)
        on_eof(st);
    else
        give_data(st, (struct pq_view){p + head, size - head}, cmd == SMUX_DATA);
    return true;
}

int pq_smux_early(struct pq_smux *s, uint8_t *p, size_t n)
{
    bool all = true;
    while (n) {
        size_t size = n < PQ_SMUX_HDR_LEN ? n + 1 : PQ_SMUX_HDR_LEN + (size_t)pq_le16(p + 2);
        if (size > n || p[0] != SMUX_VERSION)
            return PQ_EPROTO;
        if (p[1] != SMUX_USED && use_early(s, p, size)) {
            p[1] = SMUX_USED;
            s->seen = true;
            s->heard++;
        }
        all = all && p[1] == SMUX_USED;
        p += size;
        n -= size;
    }
    return all;
}

bool pq_smux_resume(struct pq_smux *s)
{
    if (!s->stopped || s->unread >= s->conf.session_buf)
        return false;
    s->stopped = false;
    s->seen = true; /* the peer could not be heard meanwhile */
    return true;
}
