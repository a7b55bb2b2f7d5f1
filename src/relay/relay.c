/* SPDX-License-Identifier: MIT */
#include "relay/relay.h"

#include "header/header.h"

#include <stdlib.h>

#define RESULT_LEN   6U /* 0x50 0x01 type length(2) code [8.4] */
#define LOG_PERIOD   (10 * PQ_SEC)
#define LINGER       (2 * PQ_SEC) /* how long the other end of a socket may take to close its side */
#define LINGER_BYTES 65536        /* what it may send meanwhile */
#define HALF_IDLE    (120 * PQ_SEC) /* how long a half-closed pair may be without a byte */

/* ---- life */

struct pq_relay *pq_relay_new(struct pq_front *front)
{
    struct pq_relay *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->front = front;
    pq_list_push(&front->relays, &r->node);
    return r;
}

void pq_relay_own(struct pq_relay *r, struct pq_stream *st)
{
    r->st = st;
    pq_stream_own(st, &pq_relay_events, r);
}

static void relay_free(struct pq_relay *r)
{
    pq_list_remove(&r->node);
    pq_chunkq_clear(&r->out);
    if (r->filter)
        r->filter->free(r->filter);
    free(r);
}

static void on_socket_closed(uv_handle_t *h)
{
    struct pq_relay *r = h->data;
    free(h);
    relay_free(r);
}

void pq_relay_close(struct pq_relay *r, bool reset)
{
    if (r->closing)
        return;
    r->closing = true;
    pq_relay_views_clear(r);
    if (r->st && reset)
        pq_stream_abort(r->st);
    else if (r->st)
        pq_stream_close(r->st);
    r->st = NULL;
    if (!r->tcp) {
        if (r->gone)
            r->gone(r);
        relay_free(r);
        return;
    }
    r->tcp->data = r;
    if (!reset || uv_tcp_close_reset(r->tcp, on_socket_closed))
        uv_close((uv_handle_t *)r->tcp, on_socket_closed);
}

/* ---- stream -> socket */

/* Keeps bytes that the socket does not take now.  Returns false if memory is short. */
static bool keep(struct pq_relay *r, const uint8_t *p, size_t n)
{
    struct pq_chunks *chunks = pq_stream_chunks(r->st);
    while (n) {
        struct pq_chunk *tail = r->out.tail;
        size_t room = tail && tail != r->write_last ? pq_chunk_room(tail) : 0;
        if (!room) {
            tail = chunks ? pq_chunk_new(chunks, n > PQ_CHUNK_SMALL ? PQ_CHUNK_BIG : n) : NULL;
            if (!tail)
                return false;
            pq_chunkq_push(&r->out, tail);
            room = pq_chunk_room(tail);
        }
        size_t k = n < room ? n : room;
        memcpy(pq_chunk_data(tail) + tail->len, p, k);
        tail->len += (uint32_t)k;
        r->out.bytes += k;
        p += k;
        n -= k;
    }
    return true;
}

static void linger(struct pq_relay *r);
static void write_out(struct pq_relay *r);

static void on_written(uv_write_t *req, int status)
{
    struct pq_relay *r = req->data;
    size_t n = r->writing;
    r->writing = 0;
    r->write_last = NULL;
    if (r->closing)
        return;
    if (status < 0) {
        pq_relay_close(r, true);
        return;
    }
    for (size_t left = n; left;) { /* whole chunks were written */
        struct pq_chunk *c = pq_chunkq_pop(&r->out);
        left -= c->len;
        pq_chunk_free(c);
    }
    size_t own = r->own < n ? r->own : n;
    r->own -= own;
    if (r->st)
        pq_stream_consumed(r->st, n - own);
    write_out(r);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)status;
    free(req);
}

/* Passes the end of the stream on to the socket.  Returns false if that failed. */
static bool shut(struct pq_relay *r)
{
    uv_shutdown_t *req = malloc(sizeof *req);
    r->shut = req && uv_shutdown(req, (uv_stream_t *)r->tcp, on_shutdown) == 0;
    if (!r->shut)
        free(req);
    return r->shut;
}

/* One direction has ended, or each: what is still under way goes on, but not for ever. */
static void half_closed(struct pq_relay *r)
{
    r->linger_until = uv_hrtime() + HALF_IDLE;
    pq_list_remove(&r->node);
    pq_list_push(&r->front->half_closed, &r->node);
}

static void all_written(struct pq_relay *r)
{
    if (r->ended)
        linger(r);
    else if (r->stream_eof && r->sock_eof)
        pq_relay_close(r, false);
    else if (r->stream_eof && !r->shut && !shut(r))
        pq_relay_close(r, true);
}

/* Starts a write of what was kept; when nothing is left and the stream has ended, says so. */
static void write_out(struct pq_relay *r)
{
    uv_buf_t bufs[PQ_RELAY_VIEWS];
    unsigned n = 0;
    if (!r->tcp)
        return;
    if (r->ended || r->stream_eof)
        half_closed(r); /* also while the socket does not take what is left */
    if (r->writing)
        return;
    for (struct pq_chunk *c = r->out.head; c && n < PQ_RELAY_VIEWS; c = c->next) {
        bufs[n++] = uv_buf_init((char *)pq_chunk_data(c), c->len);
        r->writing += c->len;
        r->write_last = c;
    }
    if (!n) {
        all_written(r);
        return;
    }
    r->write_req.data = r;
    if (uv_write(&r->write_req, (uv_stream_t *)r->tcp, bufs, n, on_written))
        pq_relay_close(r, true);
}

/* Writes the borrowed bytes of this batch; keeps what the socket does not take. */
static void flush_views(struct pq_relay *r)
{
    const uv_buf_t *views = pq_relay_views(r);
    const unsigned n = r->n_views;
    pq_relay_views_clear(r); /* nobody else takes the row before this has returned */
    if (!n)
        return;
    int w = uv_try_write((uv_stream_t *)r->tcp, views, n);
    if (w < 0 && w != UV_EAGAIN) {
        pq_relay_close(r, true);
        return;
    }
    size_t done = w > 0 ? (size_t)w : 0;
    if (done && r->st)
        pq_stream_consumed(r->st, done);
    for (unsigned i = 0; i < n; i++) {
        size_t skip = done < views[i].len ? done : views[i].len;
        done -= skip;
        if (!keep(r, (uint8_t *)views[i].base + skip, views[i].len - skip)) {
            pq_relay_close(r, true);
            return;
        }
    }
    write_out(r);
}

/* Gives bytes of the stream to the filter.  Returns as `down` does. */
static int filter_down(struct pq_relay *r, struct pq_view v)
{
    int e = r->filter ? r->filter->down(r->filter, v) : 1;
    if (!e)
        pq_stream_consumed(r->st, v.n);
    return e;
}

/* Bytes of the target that cannot be written yet.  Returns false if memory is short. */
static bool take_early(struct pq_relay *r, struct pq_view v)
{
    int e = filter_down(r, v);
    return e == 1 ? keep(r, v.p, v.n) : !e;
}

/* Takes the server's word on how dialling went from the front of the bytes [8.4].  Returns true if
 * the server sends none, and the bytes are still to be used. */
static bool take_result(struct pq_relay *r, struct pq_view *v)
{
    if (!(pq_stream_abilities(r->st) & PQ_ABLE_RESULT)) {
        r->want_result = false;
        return true;
    }
    struct pq_request req;
    size_t used, n = RESULT_LEN - r->n_head < v->n ? RESULT_LEN - r->n_head : v->n;
    memcpy(r->head + r->n_head, v->p, n);
    r->n_head = (uint8_t)(r->n_head + n);
    *v = (struct pq_view){v->p + n, v->n - n};
    pq_stream_consumed(r->st, n);
    enum pq_family family;
    int e = pq_header_decode(r->head, r->n_head, &req, &family, &used);
    if (e == PQ_EMORE)
        return false;
    r->want_result = false;
    uint8_t code = e || req.type != PQ_REQ_RESULT ? PQ_RESULT_FAILURE : req.result;
    if (!code && v->n && !take_early(r, *v)) /* the target's first bytes, in the same frame */
        code = PQ_RESULT_FAILURE;
    if (r->result)
        r->result(r, code); /* may free r */
    else if (code)
        pq_relay_close(r, true);
    else
        write_out(r);
    return false;
}

static void on_data(void *ctx, struct pq_view v, bool last)
{
    struct pq_relay *r = ctx;
    (void)last;
    if (r->closing || (r->want_result && !take_result(r, &v)))
        return;
    if (r->sock_eof)
        r->linger_until = uv_hrtime() + HALF_IDLE;
    int e = filter_down(r, v);
    if (e == 1 && (!r->tcp || r->out.head))
        e = keep(r, v.p, v.n) ? 0 : PQ_ENOMEM;
    if (e < 0)
        pq_relay_close(r, true);
    if (e != 1)
        return;
    if (!pq_relay_view(r, v))
        flush_views(r);
}

/* Whether the target is still expected to answer. */
static bool may_answer(const struct pq_relay *r)
{
    return r->filter && r->filter->no_answer;
}

/* Uses what came before an end, or words of our own if nothing came.  Returns false if the relay is
 * closing. */
static bool flush_before_end(struct pq_relay *r)
{
    if (!r->closing && r->tcp)
        flush_views(r);
    if (!r->closing && r->tcp && may_answer(r)) {
        r->filter->no_answer(r->filter);
        r->filter->no_answer = NULL;
    }
    return !r->closing;
}

static void on_flush(void *ctx)
{
    struct pq_relay *r = ctx;
    flush_views(r);
    if (!r->closing && r->out.head) /* what the filter said */
        write_out(r);
}

bool pq_relay_feed(struct pq_relay *r, const uint8_t *p, size_t n)
{
    return keep(r, p, n);
}

bool pq_relay_say(struct pq_relay *r, const uint8_t *p, size_t n)
{
    if (pq_stream_chunks(r->st)) {
        r->own += n;
        return keep(r, p, n);
    }
    /* The session has ended, and with it the way to its memory; a few bytes always fit a socket
     * that nothing waits for. */
    uv_buf_t b = uv_buf_init((char *)p, (unsigned)n);
    return r->tcp && !r->out.head && uv_try_write((uv_stream_t *)r->tcp, &b, 1) == (int)n;
}

/* ---- socket -> stream */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct pq_relay *r = h->data;
    (void)hint;
    struct pq_chunk *c = r->st ? pq_chunk_new(pq_stream_chunks(r->st), PQ_CHUNK_BIG) : NULL;
    /* the chunk is found again from its data: PQ_CHUNK_HEADROOM is constant */
    *buf = c ? uv_buf_init((char *)pq_chunk_data(c), PQ_CHUNK_BIG) : uv_buf_init(NULL, 0);
}

static struct pq_chunk *chunk_of(const uv_buf_t *buf)
{
    return buf->base ? PQ_OF(buf->base - PQ_CHUNK_HEADROOM, struct pq_chunk, data) : NULL;
}

/* The program or the target sends no more.  With a peer that can be told, the other direction goes
 * on; else this ends both [5.4]. */
static void on_socket_eof(struct pq_relay *r)
{
    r->sock_eof = true;
    uv_read_stop((uv_stream_t *)r->tcp);
    if (pq_stream_corked(r->st))
        return; /* whether the server can be told is not known yet: on_room comes back here */
    bool can = pq_stream_abilities(r->st) & PQ_ABLE_HALF_CLOSE;
    if (!can || (r->stream_eof && r->shut)) {
        pq_relay_close(r, false);
        return;
    }
    r->eof_told = true;
    pq_stream_finish(r->st);
    half_closed(r);
}

static void on_eof(void *ctx)
{
    struct pq_relay *r = ctx;
    if (!flush_before_end(r))
        return;
    r->stream_eof = true;
    write_out(r);
}

/* Leaves in the chunk what the filter lets through.  Returns false, and frees it, if that is
 * nothing. */
static bool filter_up(struct pq_relay *r, struct pq_chunk *c)
{
    if (r->filter)
        c->len = (uint32_t)r->filter->up(r->filter, (struct pq_view){pq_chunk_data(c), c->len});
    if (c->len && !r->closing)
        return true;
    pq_chunk_free(c);
    return false;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct pq_relay *r = s->data;
    struct pq_chunk *c = chunk_of(buf);
    if (n <= 0) {
        pq_chunk_free(c);
        if (n == UV_EOF)
            on_socket_eof(r);
        else if (n < 0)
            pq_relay_close(r, true);
        return;
    }
    c->len = (uint32_t)n;
    if (r->stream_eof)
        r->linger_until = uv_hrtime() + HALF_IDLE;
    if (!filter_up(r, c))
        return;
    if (c->len <= PQ_CHUNK_SMALL) { /* a small read does not pin a big chunk */
        struct pq_chunk *small = pq_chunk_copy(pq_stream_chunks(r->st), pq_chunk_data(c), c->len);
        pq_chunk_free(c);
        if (!(c = small)) {
            pq_relay_close(r, true);
            return;
        }
    }
    if (pq_stream_send(r->st, c)) {
        uv_read_stop(s); /* ended; the end event tells how */
        return;
    }
    if (!pq_stream_room(r->st)) {
        r->paused = true;
        uv_read_stop(s);
    }
}

static void on_room(void *ctx)
{
    struct pq_relay *r = ctx;
    if (r->result && !pq_stream_corked(r->st) && !(pq_stream_abilities(r->st) & PQ_ABLE_RESULT)) {
        r->want_result = false; /* it has turned out that the server tells nothing */
        r->result(r, 0);        /* may free r */
        return;
    }
    if (r->closing || r->ended)
        return;
    if (r->sock_eof && !r->eof_told) {
        on_socket_eof(r);
        return;
    }
    if (!r->paused || r->sock_eof)
        return;
    r->paused = false;
    uv_read_start((uv_stream_t *)r->tcp, on_alloc, on_read);
}

void pq_relay_connected(struct pq_relay *r, uv_tcp_t *tcp)
{
    r->gone = NULL;
    r->tcp = tcp;
    tcp->data = r;
    if (!r->ended)
        uv_read_start((uv_stream_t *)tcp, on_alloc, on_read);
    write_out(r);
}

/* ---- the end: what came from the stream goes out, then FIN, then the other end's FIN is awaited
 * for a while, since closing with unread bytes would send a reset that destroys the last ones */

static void on_linger_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    static char junk[65536]; /* never read: what comes here goes nowhere */
    (void)h;
    (void)hint;
    *buf = uv_buf_init(junk, sizeof junk);
}

static void on_linger_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct pq_relay *r = s->data;
    (void)buf;
    if (n < 0) {
        pq_relay_close(r, false);
        return;
    }
    r->junk += (size_t)n;
    if (r->junk > LINGER_BYTES) /* it goes on sending to nobody: that is traffic that costs */
        pq_relay_close(r, true);
}

static void linger(struct pq_relay *r)
{
    if (r->sock_eof || (!r->shut && !shut(r))) {
        pq_relay_close(r, false);
        return;
    }
    r->linger_until = uv_hrtime() + LINGER;
    pq_list_remove(&r->node);
    pq_list_push(&r->front->lingering, &r->node);
    uv_read_stop((uv_stream_t *)r->tcp);
    uv_read_start((uv_stream_t *)r->tcp, on_linger_alloc, on_linger_read);
}

static void note_unread(struct pq_front *f)
{
    const uint64_t n = pq_log_due(&f->unread, LOG_PERIOD, uv_hrtime());
    if (n)
        PQ_LOG(PQ_LOG_WARN,
               "%llu connections were cut whose other end reads nothing, since all others had to "
               "wait for them",
               (unsigned long long)n);
}

static void on_end(void *ctx, int err)
{
    struct pq_relay *r = ctx;
    if (err == PQ_EUNREAD)
        note_unread(r->front);
    if (r->tcp && may_answer(r))
        err = 0; /* the program is told in words, which a reset would destroy */
    if (!flush_before_end(r))
        return;
    pq_stream_close(r->st);
    r->st = NULL;
    r->ended = true;
    if (err || (!r->tcp && !(r->gone && r->out.head && !r->want_result))) {
        pq_relay_close(r, err != 0);
        return;
    }
    if (r->tcp)
        uv_read_stop((uv_stream_t *)r->tcp);
    write_out(r);
}

const struct pq_stream_events pq_relay_events = {on_data, on_flush, on_room, on_end, on_eof, NULL};

/* ---- all relays of the worker */

/* Whether the socket has taken bytes since the last look: of one long write, too. */
static bool has_written(struct pq_relay *r)
{
    size_t unsent = uv_stream_get_write_queue_size((uv_stream_t *)r->tcp);
    bool moved = unsent != r->unsent;
    r->unsent = unsent;
    return moved;
}

void pq_relays_expire(struct pq_front *f, pq_ns now)
{
    while (!pq_list_empty(&f->lingering)) {
        struct pq_relay *r = PQ_OF(f->lingering.next, struct pq_relay, node);
        if (r->linger_until > now)
            break;
        pq_list_remove(&r->node);
        pq_relay_close(r, false);
    }
    for (struct pq_list *n = f->half_closed.next, *next; n != &f->half_closed; n = next) {
        struct pq_relay *r = PQ_OF(n, struct pq_relay, node);
        next = n->next; /* not in order: bytes put the end off */
        if (has_written(r))
            r->linger_until = now + HALF_IDLE;
        else if (r->linger_until <= now)
            pq_relay_close(r, true);
    }
}

void pq_relays_stop(struct pq_front *f)
{
    struct pq_list *n;
    while ((n = pq_list_pop(&f->lingering)) || (n = pq_list_pop(&f->half_closed)) ||
           (n = pq_list_pop(&f->relays)))
        pq_relay_close(PQ_OF(n, struct pq_relay, node), true);
}
