/* SPDX-License-Identifier: MIT */
#include "entry/proxy.h"

#include "entry/talk.h"
#include "relay/tcp.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define NEGOTIATE_MS 10000
#define LEAVE_MS     2000  /* how long a program that was refused may take to close its side */
#define LEAVE_BYTES  65536 /* what it may send meanwhile */
#define BUF_FIRST    1024  /* bytes of the buffer until a protocol asks for more */

/* ---- ending a negotiation */

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void release(struct pq_proxy *p)
{
    if (--p->handles)
        return;
    wipe(p->username);
    wipe(p->password);
    free(p);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct pq_talk *t = h->data;
    struct pq_proxy *p = t->proxy;
    if (t->filter)
        t->filter->free(t->filter);
    free(t->buf);
    free(t);
    release(p);
}

void pq_talk_end(struct pq_talk *t)
{
    if (uv_is_closing((uv_handle_t *)&t->timer))
        return;
    struct pq_relay *r = t->relay;
    if (t->tcp)
        pq_tcp_close(t->tcp, false);
    t->tcp = NULL;
    t->relay = NULL;
    if (t->dial)
        pq_dial_cancel(t->dial);
    t->dial = NULL;
    if (r) {
        r->gone = NULL;
        r->result = NULL;
        pq_relay_close(r, true);
    }
    if (t->state != PQ_TALK_WAITING)
        t->proxy->n_talks--;
    pq_list_remove(&t->node);
    uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}

uv_tcp_t *pq_talk_take_socket(struct pq_talk *t)
{
    uv_tcp_t *tcp = t->tcp;
    uv_read_stop((uv_stream_t *)tcp);
    t->tcp = NULL;
    pq_talk_end(t);
    return tcp;
}

static void on_timer(uv_timer_t *timer)
{
    pq_talk_end(timer->data);
}

/* ---- bytes */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct pq_talk *t = h->data;
    (void)hint;
    size_t max = t->kind ? t->kind->buf_max : BUF_FIRST;
    if (t->len == t->cap && t->cap < max) {
        size_t cap = t->cap ? max : BUF_FIRST;
        uint8_t *p = realloc(t->buf, cap);
        if (p) {
            t->buf = p;
            t->cap = cap;
        }
    }
    *buf = uv_buf_init((char *)t->buf + t->len, (unsigned)(t->cap - t->len));
}

/* Which protocol begins with this byte; NULL: none that is known here. */
static const struct pq_talk_kind *kind_of(uint8_t first)
{
    if (first == 5)
        return &pq_socks5;
    if (first == 4)
        return &pq_socks4;
    return (first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z') ? &pq_http_proxy : NULL;
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
    struct pq_talk *t = st->data;
    (void)buf;
    if (n < 0) { /* also a full buffer: nothing valid is that long */
        pq_talk_end(t);
        return;
    }
    if (t->state == PQ_TALK_LEAVING) {
        t->junk += (size_t)n;
        if (t->junk > LEAVE_BYTES)
            pq_talk_end(t);
        return;
    }
    t->len += (size_t)n;
    while (!t->kind && t->len && (t->buf[0] == '\r' || t->buf[0] == '\n'))
        pq_talk_use(t, 1); /* empty lines before a request (RFC 9112, 2.2) */
    if (!t->kind && t->len)
        t->kind = kind_of(t->buf[0]);
    if (t->kind)
        t->kind->advance(t);
    else if (t->len)
        pq_talk_end(t);
}

void pq_talk_use(struct pq_talk *t, size_t n)
{
    memmove(t->buf, t->buf + n, t->len - n);
    t->len -= n;
}

void pq_talk_answer(struct pq_talk *t, const void *p, size_t n)
{
    uv_buf_t b = uv_buf_init((char *)p, (unsigned)n);
    if (uv_try_write((uv_stream_t *)t->tcp, &b, 1) != (int)n)
        pq_talk_end(t);
}

void pq_talk_refuse(struct pq_talk *t, const void *p, size_t n)
{
    uv_os_fd_t fd;
    pq_talk_answer(t, p, n);
    if (!t->tcp)
        return;
    if (uv_fileno((uv_handle_t *)t->tcp, &fd) || shutdown(fd, SHUT_WR)) {
        pq_talk_end(t);
        return;
    }
    if (t->state == PQ_TALK_WAITING) {
        pq_list_remove(&t->node);
        pq_list_push(&t->proxy->talks, &t->node);
        t->proxy->n_talks++;
        uv_read_start((uv_stream_t *)t->tcp, on_alloc, on_read);
    }
    t->state = PQ_TALK_LEAVING;
    t->len = 0;
    uv_timer_start(&t->timer, on_timer, LEAVE_MS, 0);
}

/* ---- the listener */

static void on_connection(uv_stream_t *listener, int status)
{
    struct pq_proxy *p = listener->data;
    uv_tcp_t *tcp = pq_listen_accept(listener, status);
    struct pq_talk *t = tcp ? calloc(1, sizeof *t) : NULL;
    if (!t) {
        if (tcp)
            pq_tcp_close(tcp, true);
        return;
    }
    t->proxy = p;
    t->tcp = tcp;
    tcp->data = t;
    pq_list_push(&p->talks, &t->node);
    p->handles++;
    uv_timer_init(p->front->loop, &t->timer);
    t->timer.data = t;
    uv_timer_start(&t->timer, on_timer, NEGOTIATE_MS, 0);
    uv_read_start((uv_stream_t *)tcp, on_alloc, on_read);
    if (++p->n_talks > PQ_PROXY_TALKS_MAX)
        pq_talk_end(PQ_OF(p->talks.next, struct pq_talk, node));
}

static void on_listener_closed(uv_handle_t *h)
{
    release(h->data);
}

int pq_proxy_change(struct pq_proxy *p, const struct pq_proxy_conf *conf)
{
    char *username = strdup(conf->username), *password = strdup(conf->password);
    if (!username || !password) {
        wipe(username);
        wipe(password);
        return PQ_ENOMEM;
    }
    wipe(p->username);
    wipe(p->password);
    p->username = username;
    p->password = password;
    p->real_reply = conf->real_reply;
    return 0;
}

int pq_proxy_open(struct pq_proxy **out, struct pq_front *front, const struct pq_proxy_conf *conf)
{
    struct pq_proxy *p = *out = calloc(1, sizeof *p);
    if (!p)
        return PQ_ENOMEM;
    if (pq_proxy_change(p, conf)) {
        free(p);
        *out = NULL;
        return PQ_ENOMEM;
    }
    p->front = front;
    p->handles = 1;
    pq_list_init(&p->talks);
    pq_list_init(&p->waiting);
    const struct pq_listen_conf lc = {.addr = conf->listen, .share_port = conf->share_port};
    int e = pq_listen(&p->listener, front->loop, p, &lc, on_connection);
    if (e)
        pq_proxy_close(out);
    return e;
}

void pq_proxy_close(struct pq_proxy **pp)
{
    struct pq_proxy *p = *pp;
    if (!p)
        return;
    while (!pq_list_empty(&p->talks))
        pq_talk_end(PQ_OF(p->talks.next, struct pq_talk, node));
    while (!pq_list_empty(&p->waiting))
        pq_talk_end(PQ_OF(p->waiting.next, struct pq_talk, node));
    pq_listener_close(&p->listener, on_listener_closed);
    *pp = NULL;
}
