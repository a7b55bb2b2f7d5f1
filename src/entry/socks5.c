/* SPDX-License-Identifier: MIT */
/* socks5.c - SOCKS5: greeting, password if asked for, request (RFC 1928, 1929): CONNECT and UDP
 * ASSOCIATE. */
#include "entry/associate.h"
#include "entry/talk.h"
#include "header/socks.h"

enum { STEP_GREETING, STEP_PASSWORD, STEP_REQUEST };

static void reply(struct pq_talk *t, uint8_t code)
{
    uint8_t buf[PQ_SOCKS_REPLY_MAX];
    struct sockaddr_storage ss;
    struct pq_addr bound = {0};
    int len = sizeof ss;
    if (uv_tcp_getsockname(t->tcp, (struct sockaddr *)&ss, &len) == 0)
        pq_addr_from_sock(&bound, (struct sockaddr *)&ss);
    size_t n = pq_socks_write_reply(buf, (enum pq_socks_reply)code, &bound);
    if (code)
        pq_talk_refuse(t, buf, n);
    else
        pq_talk_answer(t, buf, n);
}

/* ---- the steps; each returns whether to go on with what is left in the buffer */

static bool greeting(struct pq_talk *t)
{
    bool no_auth, password, want = pq_talk_wants_password(t);
    size_t used;
    int e = pq_socks_read_greeting(t->buf, t->len, &used, &no_auth, &password);
    if (e == PQ_EPROTO)
        pq_talk_end(t);
    if (e)
        return false;
    if (want ? !password : !no_auth) {
        pq_talk_refuse(t, (uint8_t[]){5, PQ_SOCKS_NO_METHOD}, 2);
        return false;
    }
    pq_talk_use(t, used);
    t->step = want ? STEP_PASSWORD : STEP_REQUEST;
    pq_talk_answer(t, (uint8_t[]){5, want ? PQ_SOCKS_PASSWORD : PQ_SOCKS_NO_AUTH}, 2);
    return t->tcp;
}

static bool password(struct pq_talk *t)
{
    struct pq_view user, pass;
    size_t used;
    int e = pq_socks_read_password(t->buf, t->len, &used, &user, &pass);
    if (e == PQ_EPROTO)
        pq_talk_end(t);
    if (e)
        return false;
    if (!pq_talk_password_is(t, user, pass)) {
        pq_talk_refuse(t, (uint8_t[]){1, 1}, 2);
        return false;
    }
    pq_talk_use(t, used);
    t->step = STEP_REQUEST;
    pq_talk_answer(t, (uint8_t[]){1, 0}, 2);
    return t->tcp;
}

/* The connection goes on only to hold the association [RFC 1928, 7]. */
static void associate(struct pq_talk *t, const struct pq_socks_request *req)
{
    struct pq_associate *a;
    struct pq_addr from = {.port = req->port}, bound;
    uint8_t buf[PQ_SOCKS_REPLY_MAX];
    int e = pq_associate_open(&a, t->proxy->front, t->tcp, &from, &bound);
    if (e) {
        PQ_LOG_SOME(PQ_LOG_WARN, PQ_LOG_MOST, "no UDP association: %s", pq_front_strerror(e));
        reply(t, PQ_SOCKS_FAILURE);
        return;
    }
    pq_talk_answer(t, buf, pq_socks_write_reply(buf, PQ_SOCKS_OK, &bound));
    if (t->tcp)
        pq_associate_hold(a, pq_talk_take_socket(t));
    else
        pq_associate_drop(a);
}

static void request(struct pq_talk *t)
{
    struct pq_socks_request req;
    enum pq_socks_reply code;
    size_t used;
    int e = pq_socks_read_request(t->buf, t->len, &used, &req, &code);
    if (e == PQ_EMORE)
        return;
    if (e) {
        reply(t, (uint8_t)code);
        return;
    }
    pq_talk_use(t, used);
    switch (req.cmd) {
    case PQ_SOCKS_CONNECT:
        pq_talk_connect(t, req.host, req.port);
        return;
    case PQ_SOCKS_UDP:
        associate(t, &req);
        return;
    default:
        PQ_LOG(PQ_LOG_DEBUG, "socks5: command %u is not supported", req.cmd);
        reply(t, PQ_SOCKS_BAD_COMMAND);
    }
}

static void advance(struct pq_talk *t)
{
    bool more = true;
    while (more && t->step != STEP_REQUEST)
        more = t->step == STEP_GREETING ? greeting(t) : password(t);
    if (more)
        request(t);
}

const struct pq_talk_kind pq_socks5 = {
    .buf_max = 1024, /* greeting 257 + password 513 + request 262 never wait together in full */
    .advance = advance,
    .reply = reply,
};
