/* SPDX-License-Identifier: MIT */
#include "front/socks5.h"

#include "front/relay.h"
#include "header/header.h"
#include "header/socks.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG      1024
#define NEGOTIATE_MS 10000
#define BUF_SIZE     1024 /* greeting 257 + password 513 + request 262 never wait together in full */

struct pq_socks5 {
    struct pq_front *front;
    struct pq_socks5_conf conf;
    uv_tcp_t listener;
    struct pq_list talks;
    bool closed;
};

enum step { STEP_GREETING, STEP_PASSWORD, STEP_REQUEST, STEP_RESULT };

struct talk { /* one negotiation; gone once the relay runs */
    struct pq_socks5 *s;
    struct pq_list node;
    uv_tcp_t *tcp;
    uv_timer_t timer;
    enum step step;
    struct pq_relay *relay; /* STEP_RESULT: waits for the server's word */
    size_t len;
    uint8_t buf[BUF_SIZE];
};

/* ---- ending a negotiation */

static void maybe_free_listener(struct pq_socks5 *s)
{
    if (s->closed && pq_list_empty(&s->talks) && !uv_is_active((uv_handle_t *)&s->listener))
        free(s);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct talk *t = h->data;
    struct pq_socks5 *s = t->s;
    pq_list_remove(&t->node);
    free(t);
    maybe_free_listener(s);
}

/* Frees the negotiation; the socket goes with it unless it was given away. */
static void talk_end(struct talk *t)
{
    if (uv_is_closing((uv_handle_t *)&t->timer))
        return;
    struct pq_relay *r = t->relay;
    if (t->tcp)
        pq_tcp_close(t->tcp, false);
    t->tcp = NULL;
    t->relay = NULL;
    if (r) {
        r->gone = NULL;
        r->result = NULL;
        pq_relay_close(r, true);
    }
    uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}

static void on_timer(uv_timer_t *timer)
{
    talk_end(timer->data);
}

static void answer(struct talk *t, const void *p, size_t n)
{
    uv_buf_t b = uv_buf_init((char *)p, (unsigned)n);
    if (uv_try_write((uv_stream_t *)t->tcp, &b, 1) != (int)n)
        talk_end(t); /* a socket that takes no ten bytes is of no use */
}

static void reply(struct talk *t, enum pq_socks_reply code)
{
    uint8_t buf[PQ_SOCKS_REPLY_MAX];
    struct sockaddr_storage ss;
    struct pq_addr bound = {0};
    int len = sizeof ss;
    if (uv_tcp_getsockname(t->tcp, (struct sockaddr *)&ss, &len) == 0)
        pq_addr_from_sock(&bound, (struct sockaddr *)&ss);
    answer(t, buf, pq_socks_write_reply(buf, code, &bound));
}

/* ---- the steps; each returns whether to go on with what is left in the buffer */

static bool greeting(struct talk *t, size_t *used)
{
    bool no_auth, password;
    const struct pq_socks5_conf *c = &t->s->conf;
    int e = pq_socks_read_greeting(t->buf, t->len, used, &no_auth, &password);
    if (e == PQ_EPROTO)
        talk_end(t);
    if (e)
        return false;
    bool want = *c->username || *c->password;
    bool ok = want ? password : no_auth;
    uint8_t method = ok ? (want ? PQ_SOCKS_PASSWORD : PQ_SOCKS_NO_AUTH) : PQ_SOCKS_NO_METHOD;
    answer(t, (uint8_t[]){5, method}, 2);
    if (!ok)
        talk_end(t);
    t->step = want ? STEP_PASSWORD : STEP_REQUEST;
    return ok && t->tcp;
}

/* Compares in a time that depends on the lengths alone. */
static bool same(struct pq_view v, const char *text)
{
    size_t n = strlen(text);
    unsigned diff = v.n != n;
    for (size_t i = 0; i < v.n; i++)
        diff |= (unsigned)(v.p[i] ^ (n ? (uint8_t)text[i % n] : 0));
    return !diff;
}

static bool password(struct talk *t, size_t *used)
{
    struct pq_view user, pass;
    int e = pq_socks_read_password(t->buf, t->len, used, &user, &pass);
    if (e == PQ_EPROTO)
        talk_end(t);
    if (e)
        return false;
    bool ok = same(user, t->s->conf.username) & same(pass, t->s->conf.password);
    answer(t, (uint8_t[]){1, ok ? 0 : 1}, 2);
    if (!ok)
        talk_end(t);
    t->step = STEP_REQUEST;
    return ok && t->tcp;
}

/* ---- the stream */

/* Turns the socket over to the relay, which has the stream. */
static void hand_over(struct talk *t)
{
    struct pq_relay *r = t->relay;
    uv_tcp_t *tcp = t->tcp;
    r->result = NULL;
    r->gone = NULL;
    t->relay = NULL;
    t->tcp = NULL;
    uv_read_stop((uv_stream_t *)tcp);
    talk_end(t);
    pq_relay_connected(r, tcp);
}

/* The server has said how dialling went. */
static void on_result(struct pq_relay *r, uint8_t code)
{
    struct talk *t = r->user;
    reply(t, (enum pq_socks_reply)code);
    if (!code && t->tcp)
        hand_over(t);
    else
        talk_end(t);
}

/* The stream ended before that. */
static void on_gone(struct pq_relay *r)
{
    struct talk *t = r->user;
    t->relay = NULL;
    reply(t, PQ_SOCKS_FAILURE);
    talk_end(t);
}

/* Bytes that the program sent without waiting for the answer.  Returns false if memory is short. */
static bool send_rest(struct talk *t, struct pq_stream *st, size_t used)
{
    size_t rest = t->len - used;
    struct pq_chunk *c = rest ? pq_chunk_copy(pq_stream_chunks(st), t->buf + used, rest) : NULL;
    if (c)
        pq_stream_send(st, c);
    t->len = 0;
    return c || !rest;
}

/* Opens the stream and answers: at once, or, if asked for and the server can tell, when the target
 * has answered. */
static void connect_through(struct talk *t, const struct pq_socks_request *req, size_t used)
{
    struct pq_front *f = t->s->front;
    struct pq_relay *r = pq_relay_new(f);
    struct pq_stream *st =
        r ? f->open(f->open_ctx, req->host, req->port, &pq_relay_events, r) : NULL;
    if (st)
        pq_relay_own(r, st);
    if (!st || !send_rest(t, st, used)) {
        if (r)
            pq_relay_close(r, true);
        reply(t, PQ_SOCKS_FAILURE);
        talk_end(t);
        return;
    }
    r->want_result = true;
    r->user = t;
    t->relay = r;
    bool tells = pq_stream_corked(st) || pq_stream_abilities(st) & PQ_ABLE_RESULT;
    if (t->s->conf.real_reply && tells) {
        t->step = STEP_RESULT;
        r->result = on_result;
        r->gone = on_gone;
        uv_read_stop((uv_stream_t *)t->tcp);
        uv_timer_stop(&t->timer); /* the server has a limit of its own */
        return;
    }
    reply(t, PQ_SOCKS_OK);
    if (t->tcp)
        hand_over(t);
}

static void request(struct talk *t)
{
    struct pq_socks_request req;
    enum pq_socks_reply code;
    size_t used;
    int e = pq_socks_read_request(t->buf, t->len, &used, &req, &code);
    if (e == PQ_EMORE)
        return;
    if (!e && req.cmd == PQ_SOCKS_CONNECT) {
        connect_through(t, &req, used);
        return;
    }
    if (!e)
        PQ_LOG(PQ_LOG_DEBUG, "socks5: command %u is not supported, only CONNECT", req.cmd);
    reply(t, e ? code : PQ_SOCKS_BAD_COMMAND);
    talk_end(t);
}

static void advance(struct talk *t)
{
    size_t used = 0;
    bool more = true;
    while (more && t->step < STEP_REQUEST) {
        more = t->step == STEP_GREETING ? greeting(t, &used) : password(t, &used);
        if (more) {
            memmove(t->buf, t->buf + used, t->len - used);
            t->len -= used;
        }
    }
    if (more && t->tcp && t->step == STEP_REQUEST)
        request(t);
}

/* ---- sockets */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct talk *t = h->data;
    (void)hint;
    *buf = uv_buf_init((char *)t->buf + t->len, (unsigned)(BUF_SIZE - t->len));
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
    struct talk *t = st->data;
    (void)buf;
    if (n < 0) { /* also a full buffer: nothing valid is that long */
        talk_end(t);
        return;
    }
    t->len += (size_t)n;
    advance(t);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct pq_socks5 *s = listener->data;
    uv_tcp_t *tcp = status == 0 ? pq_tcp_new(s->front->loop) : NULL;
    if (!tcp)
        return;
    struct talk *t = calloc(1, sizeof *t);
    if (!t || uv_accept(listener, (uv_stream_t *)tcp)) {
        free(t);
        pq_tcp_close(tcp, true);
        return;
    }
    t->s = s;
    t->tcp = tcp;
    tcp->data = t;
    pq_list_push(&s->talks, &t->node);
    uv_timer_init(s->front->loop, &t->timer);
    t->timer.data = t;
    uv_timer_start(&t->timer, on_timer, NEGOTIATE_MS, 0);
    uv_tcp_nodelay(tcp, 1);
    uv_read_start((uv_stream_t *)tcp, on_alloc, on_read);
}

/* A listening socket, shared with other workers if asked. */
static int listen_fd(const struct pq_socks5_conf *c)
{
    struct sockaddr_storage ss;
    socklen_t len = pq_addr_to_sock(&c->listen, &ss);
    int one = 1, off = 0;
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (c->share_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (ss.ss_family == AF_INET6) /* "[::]:1080" takes IPv4 too */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, (struct sockaddr *)&ss, len)) {
        int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

static void on_listener_closed(uv_handle_t *h)
{
    maybe_free_listener(h->data);
}

int pq_socks5_open(struct pq_socks5 **out, struct pq_front *front,
                   const struct pq_socks5_conf *conf)
{
    *out = NULL;
    int fd = listen_fd(conf);
    if (fd < 0)
        return fd;
    struct pq_socks5 *s = calloc(1, sizeof *s);
    if (!s) {
        close(fd);
        return PQ_ENOMEM;
    }
    s->front = front;
    s->conf = *conf;
    pq_list_init(&s->talks);
    uv_tcp_init(front->loop, &s->listener);
    s->listener.data = s;
    int e = uv_tcp_open(&s->listener, fd);
    if (e)
        close(fd);
    else
        e = uv_listen((uv_stream_t *)&s->listener, BACKLOG, on_connection);
    if (e)
        pq_socks5_close(&s);
    *out = s;
    return e;
}

void pq_socks5_close(struct pq_socks5 **sp)
{
    struct pq_socks5 *s = *sp;
    if (!s)
        return;
    s->closed = true;
    for (struct pq_list *n = s->talks.next; n != &s->talks; n = n->next)
        talk_end(PQ_OF(n, struct talk, node));
    uv_close((uv_handle_t *)&s->listener, on_listener_closed);
    *sp = NULL;
}
