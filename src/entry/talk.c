/* SPDX-License-Identifier: MIT */
#include "entry/talk.h"

#include "entry/pair.h"
#include "entry/split.h"
#include "header/socks.h"
#include "relay/tcp.h"

#include <stdlib.h>
#include <string.h>

/* ---- who may use the proxy */

/* Compares in a time that depends on the lengths alone. */
static bool same(struct pq_view v, const char *text)
{
    size_t n = strlen(text);
    unsigned diff = v.n != n;
    for (size_t i = 0; i < v.n; i++)
        diff |= (unsigned)(v.p[i] ^ (n ? (uint8_t)text[i % n] : 0));
    return !diff;
}

bool pq_talk_wants_password(const struct pq_talk *t)
{
    return *t->proxy->username || *t->proxy->password;
}

bool pq_talk_password_is(const struct pq_talk *t, struct pq_view user, struct pq_view pass)
{
    return same(user, t->proxy->username) & same(pass, t->proxy->password);
}

/* ---- the stream */

/* Turns the socket over to the relay, which has the stream. */
static void hand_over(struct pq_talk *t)
{
    struct pq_relay *r = t->relay;
    r->result = NULL;
    r->gone = NULL;
    t->relay = NULL;
    pq_relay_connected(r, pq_talk_take_socket(t));
}

/* The server has said how dialling went. */
static void on_result(struct pq_relay *r, uint8_t code)
{
    struct pq_talk *t = r->user;
    if (code) {
        r->gone = NULL;
        r->result = NULL;
        t->relay = NULL;
        pq_relay_close(r, true);
    }
    t->kind->reply(t, code);
    if (!code && t->tcp)
        hand_over(t);
}

/* The stream ended before that. */
static void on_gone(struct pq_relay *r)
{
    struct pq_talk *t = r->user;
    t->relay = NULL;
    t->kind->reply(t, PQ_SOCKS_FAILURE);
}

/* Sends the buffer: what the program sent without waiting for the answer.  Returns false if memory
 * is short. */
static bool send_buffer(struct pq_talk *t, struct pq_stream *st)
{
    struct pq_chunk *c;
    for (size_t done = 0, n; done < t->len; done += n) {
        n = t->len - done < PQ_CHUNK_BIG ? t->len - done : PQ_CHUNK_BIG;
        if (!(c = pq_chunk_copy(pq_stream_chunks(st), t->buf + done, n)))
            return false;
        if (pq_stream_send(st, c))
            break; /* ended: the relay will be told */
    }
    free(t->buf);
    t->buf = NULL;
    t->len = t->cap = 0;
    return true;
}

static void wait_for_target(struct pq_talk *t)
{
    uv_read_stop((uv_stream_t *)t->tcp);
    uv_timer_stop(&t->timer); /* who dials has a limit of its own */
    t->state = PQ_TALK_WAITING;
    t->proxy->n_talks--;
    pq_list_remove(&t->node);
    pq_list_push(&t->proxy->waiting, &t->node);
}

/* ---- past the tunnel */

static void on_dialled(void *ctx, uv_tcp_t *tcp, int err)
{
    struct pq_talk *t = ctx;
    t->dial = NULL;
    t->blocked = err == PQ_EDENIED;
    t->kind->reply(t, pq_dial_result(err));
    if (!tcp)
        return;
    if (!t->tcp) { /* the program does not take the answer */
        pq_tcp_close(tcp, true);
        return;
    }
    struct pq_front *front = t->proxy->front;
    struct pq_filter *filter = t->filter;
    uint8_t *buf = t->buf;
    const struct pq_view first = {t->buf, t->len};
    t->filter = NULL;
    t->buf = NULL;
    pq_pair_join(front, pq_talk_take_socket(t), tcp, filter, first);
    free(buf);
}

/* What who asks at this connection does not reach. */
static const struct pq_rules *limits(const struct pq_talk *t)
{
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC}, own = peer;
    struct pq_addr asks = {.port = 0}, at;
    int n_peer = sizeof peer, n_own = sizeof own;
    const bool known = uv_tcp_getpeername(t->tcp, (struct sockaddr *)&peer, &n_peer) == 0 &&
                       uv_tcp_getsockname(t->tcp, (struct sockaddr *)&own, &n_own) == 0 &&
                       pq_addr_from_sock(&asks, (struct sockaddr *)&peer) == 0 &&
                       pq_addr_from_sock(&at, (struct sockaddr *)&own) == 0;
    return pq_split_limits(t->proxy->front->split, &asks, known ? &at : NULL);
}

static void connect_directly(struct pq_talk *t, const char *host, uint16_t port)
{
    wait_for_target(t);
    struct pq_dial *d = pq_dial_start(t->proxy->front, limits(t), host, port, on_dialled, t);
    if (d)
        t->dial = d; /* else the callback has come, and t may have gone */
}

/* ---- through the tunnel */

static void connect_through(struct pq_talk *t, const char *host, uint16_t port)
{
    struct pq_front *f = t->proxy->front;
    struct pq_relay *r = pq_relay_new(f);
    struct pq_stream *st =
        r ? f->open(f->open_ctx, PQ_REQ_TCP, host, port, &pq_relay_events, r) : NULL;
    if (st)
        pq_relay_own(r, st);
    if (!st || !send_buffer(t, st)) {
        if (r)
            pq_relay_close(r, true);
        t->kind->reply(t, PQ_SOCKS_FAILURE);
        return;
    }
    r->want_result = true;
    if (t->filter)
        pq_relay_filter(r, t->filter);
    t->filter = NULL;
    r->user = t;
    t->relay = r;
    bool tells = pq_stream_corked(st) || pq_stream_abilities(st) & PQ_ABLE_RESULT;
    if (tells && (t->proxy->real_reply || t->target_answers)) {
        r->result = on_result;
        r->gone = on_gone;
        wait_for_target(t);
        return;
    }
    t->kind->reply(t, PQ_SOCKS_OK);
    if (t->tcp)
        hand_over(t);
}

void pq_talk_connect(struct pq_talk *t, const char *host, uint16_t port)
{
    struct pq_front *f = t->proxy->front;
    const enum pq_way way = pq_split_host(f->split, host, port);
    f->ways[way] += f->split != NULL;
    switch (way) {
    case PQ_WAY_TUNNEL:
        connect_through(t, host, port);
        return;
    case PQ_WAY_DIRECT:
        connect_directly(t, host, port);
        return;
    case PQ_WAY_BLOCK:
        t->blocked = true;
        t->kind->reply(t, PQ_SOCKS_NOT_ALLOWED);
    }
}
