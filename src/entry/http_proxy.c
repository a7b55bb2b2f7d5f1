/* SPDX-License-Identifier: MIT */
/* http_proxy.c - an HTTP proxy: CONNECT, and plain requests, one a connection: what
 * follows a request goes nowhere, and its answer says that the connection ends. */
#include "entry/talk.h"
#include "header/http.h"
#include "header/socks.h"

#include <stdlib.h>

#define EARLY_MAX PQ_CHUNK_BIG /* bytes of a websocket that do not wait for its answer */
#define EXTRA_MAX 65536        /* bytes behind a request that are read and dropped */

static void refuse(struct pq_talk *t, int status, const char *text)
{
    char buf[PQ_HTTP_ANSWER_MAX];
    pq_talk_refuse(t, buf, pq_http_write_answer(buf, status, text));
}

static void reply(struct pq_talk *t, uint8_t code)
{
    char buf[PQ_HTTP_ANSWER_MAX];
    switch (code) {
    case PQ_SOCKS_OK:
        if (!t->target_answers)
            pq_talk_answer(t, buf, pq_http_write_answer(buf, 200, ""));
        break;
    case PQ_SOCKS_NOT_ALLOWED:
        refuse(t, 403,
               t->blocked ? "the rules of this paqet client block this target"
                          : "the rules of the paqet server do not allow this target");
        break;
    case PQ_SOCKS_NO_NETWORK:
        refuse(t, 502, "there is no route to the target");
        break;
    case PQ_SOCKS_NO_HOST:
        refuse(t, 504, "the target's name is not known, or it does not answer");
        break;
    case PQ_SOCKS_REFUSED:
        refuse(t, 502, "the target refused the connection");
        break;
    default:
        refuse(t, 502, "no connection to the target");
    }
}

/* The target of a plain request ended without a byte. */
static void no_answer(struct pq_filter *f)
{
    char buf[PQ_HTTP_ANSWER_MAX];
    size_t n = pq_http_write_answer(buf, 502, "the connection ended before the target answered");
    f->ops->to_program(f->side, (const uint8_t *)buf, n);
}

/* ---- a plain request and its answer, on their way */

struct exchange {
    struct pq_filter filter;  /* first */
    struct pq_http_body body; /* of the request */
    bool websocket;           /* asked for */
    bool answered;            /* the answer's head has passed */
    bool raw;                 /* with a websocket: now everything passes */
    size_t extra;             /* bytes behind the request that were dropped */
    uint8_t *early;           /* ... or, of a websocket, are kept for its answer */
    size_t n_early;
    uint8_t *head; /* of the answer, as far as it has come */
    size_t n_head;
};

static void drop_buffers(struct exchange *x)
{
    free(x->early);
    free(x->head);
    x->early = x->head = NULL;
}

static void exchange_free(struct pq_filter *f)
{
    struct exchange *x = (struct exchange *)f;
    drop_buffers(x);
    free(x);
}

static bool append(uint8_t **buf, size_t *len, struct pq_view v)
{
    uint8_t *p = v.n ? realloc(*buf, *len + v.n) : NULL;
    if (!p)
        return !v.n;
    memcpy(p + *len, v.p, v.n);
    *buf = p;
    *len += v.n;
    return true;
}

/* Bytes behind the request.  Another request must not get to this target, which may be another
 * one's; the program has been told that the connection ends. */
static bool take_extra(struct exchange *x, struct pq_view v)
{
    x->extra += v.n;
    if (!x->websocket || x->answered)
        return true;
    return x->extra <= EARLY_MAX && append(&x->early, &x->n_early, v);
}

static size_t on_request(struct pq_filter *f, struct pq_view v)
{
    struct exchange *x = (struct exchange *)f;
    size_t used = 0;
    if (x->raw)
        return v.n;
    if (pq_http_body_take(&x->body, v.p, v.n, &used) ||
        !take_extra(x, (struct pq_view){v.p + used, v.n - used}))
        f->ops->reset(f->side);
    else if (x->extra > EXTRA_MAX)
        f->ops->stop_reading(f->side);
    return used;
}

/* The target agrees to a websocket: lets go what waited for that. */
static bool switch_over(struct exchange *x)
{
    struct pq_filter *f = &x->filter;
    x->raw = !x->n_early || f->ops->to_target(f->side, x->early, x->n_early);
    return x->raw;
}

static bool say(const struct exchange *x, const uint8_t *p, size_t n)
{
    return x->filter.ops->to_program(x->filter.side, p, n);
}

/* Passes the answer's head on, changed so that the program does not use this connection again, and
 * what is behind it.  used == 0: it has no head that could be changed. */
static bool pass_head(const struct exchange *x, size_t used)
{
    uint8_t *buf = malloc(used + PQ_HTTP_CLOSING_MAX);
    bool ok = buf && say(x, buf, pq_http_write_closing(x->head, used, buf)) &&
              say(x, x->head + used, x->n_head - used);
    free(buf);
    return ok;
}

static int pass_answer(struct exchange *x, size_t used, int status)
{
    bool ok;
    x->answered = true;
    x->filter.no_answer = NULL;
    if (status == 101 && x->websocket)
        ok = switch_over(x) && say(x, x->head, x->n_head);
    else
        ok = pass_head(x, used);
    drop_buffers(x);
    return ok ? 0 : PQ_ENOMEM;
}

/* Looks for the answer's head, behind those that only say that it will come (1xx). */
static int on_answer(struct pq_filter *f, struct pq_view v)
{
    struct exchange *x = (struct exchange *)f;
    size_t used;
    int status, e = 0;
    if (x->answered)
        return 1;
    if (!append(&x->head, &x->n_head, v))
        return PQ_ENOMEM;
    while (x->n_head && (e = pq_http_read_answer(x->head, x->n_head, &used, &status)) == 0) {
        if (status >= 200 || status == 101)
            return pass_answer(x, used, status);
        if (!say(x, x->head, used))
            return PQ_ENOMEM;
        x->n_head -= used;
        memmove(x->head, x->head + used, x->n_head);
    }
    return e == PQ_EPROTO ? pass_answer(x, 0, 0) : 0;
}

/* What follows the head, `rest`, is looked at already: *own bytes of it are of the request. Returns
 * 0, PQ_ENOMEM or PQ_EPROTO. */
static int exchange_new(struct exchange **out, const struct pq_http_request *req,
                        struct pq_view rest, size_t *own)
{
    struct exchange *x = *out = calloc(1, sizeof *x);
    if (!x)
        return PQ_ENOMEM;
    x->filter = (struct pq_filter){
        .up = on_request, .down = on_answer, .no_answer = no_answer, .free = exchange_free};
    x->websocket = req->websocket;
    pq_http_body_init(&x->body, req);
    int e = pq_http_body_take(&x->body, rest.p, rest.n, own);
    if (!e && !take_extra(x, (struct pq_view){rest.p + *own, rest.n - *own}))
        e = PQ_ENOMEM;
    if (e)
        exchange_free(&x->filter);
    return e;
}

/* ---- the request */

/* Puts the head as the target gets it in the place of the one that came, without what does not
 * belong to the request.  Returns false if that has ended the negotiation. */
static bool rewrite(struct pq_talk *t, const struct pq_http_request *req, size_t used)
{
    struct exchange *x;
    size_t own;
    const struct pq_view rest = {t->buf + used, t->len - used};
    int e = exchange_new(&x, req, rest, &own);
    if (e == PQ_EPROTO) {
        refuse(t, 400, "the chunks of the body are malformed");
        return false;
    }
    uint8_t *buf = e ? NULL : malloc(PQ_HTTP_ORIGIN_MAX + own);
    t->filter = e ? NULL : &x->filter;
    if (!buf) {
        pq_talk_end(t);
        return false;
    }
    size_t n = pq_http_write_origin(req, buf);
    memcpy(buf + n, rest.p, own);
    free(t->buf);
    t->buf = buf;
    t->len = t->cap = n + own;
    t->target_answers = true;
    return true;
}

static bool may_pass(const struct pq_talk *t, const struct pq_http_request *req)
{
    const struct pq_view user = {(const uint8_t *)req->user, strlen(req->user)};
    const struct pq_view pass = {(const uint8_t *)req->pass, strlen(req->pass)};
    return !pq_talk_wants_password(t) || (req->has_auth && pq_talk_password_is(t, user, pass));
}

static void advance(struct pq_talk *t)
{
    struct pq_http_request req;
    size_t used;
    int e = pq_http_read_request(t->buf, t->len, &used, &req);
    if (e == PQ_EMORE)
        return;
    if (e) {
        refuse(t, req.status, req.why);
        return;
    }
    if (!may_pass(t, &req)) {
        refuse(t, 407, "this proxy asks for a user name and a password");
        return;
    }
    if (req.connect)
        pq_talk_use(t, used);
    else if (!rewrite(t, &req, used))
        return;
    pq_talk_connect(t, req.host, req.port);
}

const struct pq_talk_kind pq_http_proxy = {
    .buf_max = PQ_HTTP_HEAD_MAX,
    .advance = advance,
    .reply = reply,
};
