/* SPDX-License-Identifier: MIT */
#include "exit/upstream.h"

#include "header/socks.h"
#include "relay/match.h"
#include "relay/outgoing.h"
#include "relay/resolve.h"
#include "relay/rules.h"
#include "relay/tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG_PERIOD (10 * PQ_SEC)

enum step { STEP_METHOD, STEP_PASSWORD, STEP_REPLY };

/* Lives until the callback is made or cancelled, and the timer is closed. */
struct pq_upstream {
    struct pq_front *front;
    pq_dial_fn done; /* NULL once called or cancelled */
    void *ctx;
    struct pq_resolve *resolve; /* under way, or NULL */
    struct pq_dial *dial;       /* to the proxy, or NULL */
    uv_tcp_t *tcp;              /* NULL before and after */
    uv_timer_t timer;
    enum step step;
    size_t len, need; /* bytes of the message so far; no more than `need` are read, since the
                         target's own may follow */
    uint8_t buf[PQ_SOCKS_REQUEST_MAX];
    uint16_t port;
    char host[PQ_HOST_MAX + 1];
};

static void on_timer_closed(uv_handle_t *h)
{
    free(h->data);
}

/* Reports, once, and ends what is under way. */
static void finish(struct pq_upstream *u, uv_tcp_t *tcp, int err)
{
    pq_dial_fn done = u->done;
    if (!done)
        return;
    u->done = NULL;
    if (u->resolve)
        pq_resolve_cancel(u->resolve);
    if (u->dial)
        pq_dial_cancel(u->dial);
    if (u->tcp && u->tcp != tcp)
        pq_tcp_close(u->tcp, false);
    u->tcp = NULL;
    uv_close((uv_handle_t *)&u->timer, on_timer_closed);
    if (tcp || err)
        done(u->ctx, tcp, err);
}

/* The proxy is at fault: that is for the user to know, whatever the target. */
static void fail(struct pq_upstream *u, int err, const char *why)
{
    const struct pq_outgoing *o = u->front->outgoing;
    uint64_t n = pq_log_due(&u->front->upstream_failed, LOG_PERIOD, uv_hrtime());
    if (n)
        PQ_LOG(PQ_LOG_WARN,
               "outgoing.socks5: the proxy %s port %u: %s (%llu times since the last such line)",
               o->socks_host, o->socks_port, why, (unsigned long long)n);
    finish(u, NULL, err);
}

static void on_timer(uv_timer_t *t)
{
    fail(t->data, -ETIMEDOUT, "did not answer in time");
}

/* ---- the negotiation */

static void send_message(struct pq_upstream *u, const uint8_t *p, size_t n, enum step next,
                         size_t need)
{
    uv_buf_t b = uv_buf_init((char *)p, (unsigned)n);
    u->step = next;
    u->need = need;
    u->len = 0;
    if (!n)
        finish(u, NULL, PQ_EINVAL); /* a text that no message has room for */
    else if (uv_try_write((uv_stream_t *)u->tcp, &b, 1) != (int)n)
        fail(u, -ECONNRESET, "takes no bytes"); /* so few always fit a new socket */
}

static void send_request(struct pq_upstream *u)
{
    uint8_t buf[PQ_SOCKS_REQUEST_MAX];
    size_t n = pq_socks_write_request(buf, PQ_SOCKS_CONNECT, u->host, u->port);
    send_message(u, buf, n, STEP_REPLY, 5);
}

static bool has_login(const struct pq_outgoing *o)
{
    return (o->username && *o->username) || (o->password && *o->password);
}

static void on_method(struct pq_upstream *u)
{
    const struct pq_outgoing *o = u->front->outgoing;
    uint8_t buf[PQ_SOCKS_PASSWORD_MAX];
    if (u->buf[0] != 5) {
        fail(u, PQ_EPROTO, "does not speak SOCKS5");
    } else if (u->buf[1] == PQ_SOCKS_NO_AUTH) {
        send_request(u);
    } else if (u->buf[1] == PQ_SOCKS_PASSWORD && has_login(o)) {
        size_t n = pq_socks_write_password(buf, o->username ? o->username : "",
                                           o->password ? o->password : "");
        send_message(u, buf, n, STEP_PASSWORD, 2);
    } else {
        fail(u, PQ_EPROTO,
             has_login(o) ? "takes neither a password nor none"
                          : "asks for a login: set outgoing.username and outgoing.password");
    }
}

static int error_of(uint8_t code)
{
    switch (code) {
    case 2:
        return -EACCES;
    case 3:
        return -ENETUNREACH;
    case 4:
        return -EHOSTUNREACH;
    case 5:
        return -ECONNREFUSED;
    case 6:
        return -ETIMEDOUT;
    default:
        return -ECONNABORTED;
    }
}

static void on_reply(struct pq_upstream *u)
{
    uint8_t code;
    int e = pq_socks_read_reply(u->buf, u->len, &u->need, &code);
    if (e == PQ_EMORE)
        return;
    if (e) {
        fail(u, PQ_EPROTO, "answers what is not SOCKS5");
    } else if (code) {
        finish(u, NULL, error_of(code));
    } else {
        uv_read_stop((uv_stream_t *)u->tcp);
        finish(u, u->tcp, 0);
    }
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct pq_upstream *u = h->data;
    (void)hint;
    *buf = uv_buf_init((char *)u->buf + u->len, (unsigned)(u->need - u->len));
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
    struct pq_upstream *u = st->data;
    (void)buf;
    if (n < 0) {
        fail(u, -ECONNRESET, "hung up");
        return;
    }
    u->len += (size_t)n;
    if (u->len < u->need)
        return;
    if (u->step == STEP_METHOD)
        on_method(u);
    else if (u->step == STEP_REPLY)
        on_reply(u);
    else if (u->buf[1] == 0)
        send_request(u);
    else
        fail(u, PQ_EPROTO, "refuses outgoing.username and outgoing.password");
}

static void on_dialled(void *ctx, uv_tcp_t *tcp, int err)
{
    struct pq_upstream *u = ctx;
    uint8_t buf[4];
    u->dial = NULL;
    if (!tcp) {
        fail(u, -ECONNABORTED, pq_front_strerror(err)); /* which is not the target's error */
        return;
    }
    u->tcp = tcp;
    tcp->data = u;
    size_t n = pq_socks_write_greeting(buf, has_login(u->front->outgoing));
    send_message(u, buf, n, STEP_METHOD, 2);
    int e = u->tcp ? uv_read_start((uv_stream_t *)tcp, on_alloc, on_read) : 0;
    if (e)
        fail(u, e, uv_strerror(e));
}

/* ---- before it */

static void dial_proxy(struct pq_upstream *u)
{
    const struct pq_outgoing *o = u->front->outgoing;
    struct pq_dial *d =
        pq_dial_start_unruled(u->front, o->socks_host, o->socks_port, on_dialled, u);
    if (d)
        u->dial = d;
}

static void on_resolved(void *ctx, const struct pq_addr *addrs, unsigned n, int err)
{
    struct pq_upstream *u = ctx;
    u->resolve = NULL;
    if (!n) {
        finish(u, NULL, err);
        return;
    }
    char text[PQ_ADDR_STRLEN];
    pq_addr_ip_str(&addrs[0], text);
    memcpy(u->host, text, strlen(text) + 1);
    dial_proxy(u);
}

/* Asks the rules, here if they need no address; then goes to the proxy. */
static void decide(struct pq_upstream *u, const struct pq_rules *rules)
{
    struct pq_addr a;
    if (pq_rules_need_addr(rules) || pq_addr_parse_ip(&a, u->host) == 0) {
        struct pq_resolve *q = pq_resolve_start(u->front, rules, u->host, u->port, on_resolved, u);
        if (q)
            u->resolve = q;
    } else if (!pq_match_is_name(u->host)) {
        finish(u, NULL, UV_EAI_NONAME);
    } else if (pq_rules_name(rules, u->host, u->port)) {
        dial_proxy(u);
    } else {
        finish(u, NULL, PQ_EDENIED);
    }
}

struct pq_upstream *pq_upstream_start(struct pq_front *f, const struct pq_rules *rules,
                                      const char *host, uint16_t port, pq_dial_fn done, void *ctx)
{
    const size_t len = strlen(host);
    struct pq_upstream *u = len <= PQ_HOST_MAX ? calloc(1, sizeof *u) : NULL;
    if (!u) {
        done(ctx, NULL, len <= PQ_HOST_MAX ? PQ_ENOMEM : PQ_EINVAL);
        return NULL;
    }
    u->front = f;
    u->done = done;
    u->ctx = ctx;
    u->port = port;
    memcpy(u->host, host, len + 1);
    uv_update_time(f->loop);
    uv_timer_init(f->loop, &u->timer);
    u->timer.data = u;
    uv_timer_start(&u->timer, on_timer, PQ_UPSTREAM_LIMIT_MS, 0);
    decide(u, rules);
    return u->done ? u : NULL;
}

void pq_upstream_cancel(struct pq_upstream *u)
{
    finish(u, NULL, 0);
}
