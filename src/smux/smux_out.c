/* SPDX-License-Identifier: MIT */
/* smux_out.c - decides what goes into the pipe next: control frames, then the streams in turn,
 * one frame each, so that a keystroke waits behind one frame at most [5.5]. */
#include "smux/smux_internal.h"

#define FRESH_RUN 8

static void put_header(uint8_t *p, uint8_t cmd, uint16_t len, uint32_t id)
{
    p[0] = SMUX_VERSION;
    p[1] = cmd;
    pq_put_le16(p + 2, len);
    pq_put_le32(p + 4, id);
}

bool pq_smux_pending(const struct pq_smux *s)
{
    return s->need_nop || s->need_bye || s->n_refused || !pq_list_empty(&s->ctl) ||
           !pq_list_empty(&s->fresh) || !pq_list_empty(&s->turn);
}

static void append(struct pq_chunk *c, uint8_t cmd, uint16_t len, uint32_t id)
{
    put_header(pq_chunk_data(c) + c->len, cmd, len, id);
    c->len += PQ_SMUX_HDR_LEN;
}

static void put_control(struct pq_chunk *c, struct pq_smux_stream *st)
{
    if (st->need_syn)
        append(c, SMUX_SYN, 0, st->id);
    if (st->need_upd) {
        append(c, SMUX_UPD, UPD_LEN, st->id);
        pq_put_le32(pq_chunk_data(c) + c->len, st->consumed);
        pq_put_le32(pq_chunk_data(c) + c->len + 4, pq_smux_tell_window(st));
        c->len += UPD_LEN;
    }
    st->need_syn = st->need_upd = false;
}

/* All control frames that wait, as many as fit into one chunk. */
static struct pq_chunk *pull_control(struct pq_smux *s)
{
    struct pq_chunk *c = pq_chunk_new_control(s->chunks);
    size_t max = s->framed ? s->framed : PQ_CHUNK_CONTROL;
    if (!c)
        return NULL;
    if (s->need_nop) {
        append(c, SMUX_NOP, 0, 0);
        s->need_nop = false;
    }
    while (!pq_list_empty(&s->ctl) && c->len + 2 * PQ_SMUX_HDR_LEN + UPD_LEN <= max)
        put_control(c, PQ_OF(pq_list_pop(&s->ctl), struct pq_smux_stream, ctl));
    while (s->n_refused && c->len + PQ_SMUX_HDR_LEN <= max)
        append(c, SMUX_FIN, 0, s->refused[--s->n_refused]);
    return c;
}

/* The first `n` bytes of the head of the queue in a chunk of their own; NULL if memory is short. */
static struct pq_chunk *split_head(struct pq_smux_stream *st, size_t n)
{
    struct pq_chunk *head = st->q.head;
    struct pq_chunk *part = pq_chunk_copy(st->s->chunks, pq_chunk_data(head), n);
    if (!part)
        return NULL;
    head->off += (uint32_t)n;
    head->len -= (uint32_t)n;
    st->q.bytes -= n;
    return part;
}

/* One frame of the stream, as far as the peer's window allows. */
static struct pq_chunk *pull_data(struct pq_smux_stream *st)
{
    uint32_t credit = pq_smux_credit(st);
    if (!st->whole && credit > st->s->frame_max)
        credit = st->s->frame_max;
    struct pq_chunk *c = st->q.head->len <= credit ? pq_chunkq_pop(&st->q) : split_head(st, credit);
    if (!c)
        return NULL;
    c->at = st->sent;
    st->sent += c->len;
    st->s->out += c->len;
    if (st->s->framed) {
        c->tag = st->id;
        return c;
    }
    c->off -= PQ_SMUX_HDR_LEN;
    put_header(pq_chunk_data(c), SMUX_PSH, (uint16_t)c->len, st->id);
    c->len += PQ_SMUX_HDR_LEN;
    return c;
}

void pq_smux_prefix(uint8_t *p, const struct pq_chunk *c, uint32_t off, size_t n)
{
    uint8_t cmd = off + n == c->len ? SMUX_DATA : SMUX_PART;
    put_header(p, cmd, (uint16_t)(PLACE_LEN + n), c->tag);
    pq_put_le32(p + PQ_SMUX_HDR_LEN, c->at + off);
}

/* FIN or EOF: where the peer may get frames out of order, with the place that it stands for. */
static struct pq_chunk *last_frame(struct pq_smux_stream *st, uint8_t cmd, uint8_t placed)
{
    struct pq_chunk *c = pq_chunk_new_control(st->s->chunks);
    if (c && st->s->framed) {
        append(c, placed, PLACE_LEN, st->id);
        pq_put_le32(pq_chunk_data(c) + c->len, st->sent);
        c->len += PLACE_LEN;
    } else if (c) {
        append(c, cmd, 0, st->id);
    }
    return c;
}

static struct pq_chunk *pull_eof(struct pq_smux_stream *st)
{
    struct pq_chunk *c = last_frame(st, SMUX_EOF, SMUX_END);
    if (c)
        st->need_eof = false;
    pq_smux_schedule(st);
    return c;
}

static struct pq_chunk *pull_fin(struct pq_smux_stream *st)
{
    struct pq_chunk *c = last_frame(st, SMUX_FIN, SMUX_CLOSE);
    if (c)
        pq_smux_stream_free(st);
    else
        pq_smux_schedule(st); /* another time */
    return c;
}

/* After everything else: what streams still had to say has been said. */
static struct pq_chunk *pull_bye(struct pq_smux *s)
{
    struct pq_chunk *c = pq_chunk_new_control(s->chunks);
    if (c)
        append(c, SMUX_BYE, 0, 0);
    s->need_bye = false;
    return c;
}

/* The next stream.  Those that say something now and then go first, or a keystroke would wait for a
 * frame of each download; but however many they are, the others have their turn between them. */
static struct pq_list *next_turn(struct pq_smux *s)
{
    const bool others = !pq_list_empty(&s->turn);
    if (!pq_list_empty(&s->fresh) && (!others || s->fresh_run < FRESH_RUN)) {
        s->fresh_run++;
        return pq_list_pop(&s->fresh);
    }
    s->fresh_run = 0;
    return pq_list_pop(&s->turn);
}

struct pq_chunk *pq_smux_pull(struct pq_smux *s)
{
    if (s->need_nop || s->n_refused || !pq_list_empty(&s->ctl))
        return pull_control(s);
    struct pq_list *n = next_turn(s);
    if (!n)
        return s->need_bye ? pull_bye(s) : NULL;
    struct pq_smux_stream *st = PQ_OF(n, struct pq_smux_stream, turn);
    if (!st->q.head)
        return st->need_fin ? pull_fin(st) : pull_eof(st);
    struct pq_chunk *c = pull_data(st);
    st->served = true;
    pq_smux_schedule(st);
    if (st->full && pq_smux_room(st) >= s->queue_max / 2) {
        st->full = false;
        if (st->user)
            s->ev->room(st->user);
    }
    return c;
}
