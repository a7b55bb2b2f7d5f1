/* SPDX-License-Identifier: MIT */
/* http_proxy.c - an HTTP proxy: CONNECT, and plain requests, one a connection. */
#include "front/talk.h"
#include "header/http.h"
#include "header/socks.h"

#include <stdlib.h>

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
        if (!t->no_answer)
            pq_talk_answer(t, buf, pq_http_write_answer(buf, 200, ""));
        break;
    case PQ_SOCKS_NOT_ALLOWED:
        refuse(t, 403, "the rules of the paqet server do not allow this target");
        break;
    case PQ_SOCKS_NO_NETWORK:
        refuse(t, 502, "the paqet server has no route to the target");
        break;
    case PQ_SOCKS_NO_HOST:
        refuse(t, 504, "the target's name is not known, or it does not answer");
        break;
    case PQ_SOCKS_REFUSED:
        refuse(t, 502, "the target refused the connection");
        break;
    default:
        refuse(t, 502, "no connection to the target through the tunnel");
    }
}

/* The target of a plain request ended without a byte. */
static void no_answer(struct pq_relay *r)
{
    char buf[PQ_HTTP_ANSWER_MAX];
    size_t n = pq_http_write_answer(buf, 502, "the connection ended before the target answered");
    pq_relay_say(r, (const uint8_t *)buf, n);
}

/* Puts the head as the target gets it in the place of the one that came. */
static bool rewrite(struct pq_talk *t, const struct pq_http_request *req, size_t used)
{
    size_t rest = t->len - used, cap = PQ_HTTP_ORIGIN_MAX + rest;
    uint8_t *buf = malloc(cap);
    if (!buf)
        return false;
    size_t n = pq_http_write_origin(req, buf);
    memcpy(buf + n, t->buf + used, rest);
    free(t->buf);
    t->buf = buf;
    t->len = n + rest;
    t->cap = cap;
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
    if (req.connect) {
        pq_talk_use(t, used);
    } else if (rewrite(t, &req, used)) {
        t->no_answer = no_answer;
    } else {
        pq_talk_end(t);
        return;
    }
    pq_talk_connect(t, req.host, req.port);
}

const struct pq_talk_kind pq_http_proxy = {
    .buf_max = PQ_HTTP_HEAD_MAX,
    .advance = advance,
    .reply = reply,
};
