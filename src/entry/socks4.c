/* SPDX-License-Identifier: MIT */
/* socks4.c - SOCKS4 and 4a: one request, no password. */
#include "entry/talk.h"
#include "header/socks.h"

static void reply(struct pq_talk *t, uint8_t code)
{
    uint8_t buf[PQ_SOCKS4_REPLY];
    pq_socks4_write_reply(buf, code == PQ_SOCKS_OK);
    if (code)
        pq_talk_refuse(t, buf, sizeof buf);
    else
        pq_talk_answer(t, buf, sizeof buf);
}

static void advance(struct pq_talk *t)
{
    struct pq_socks_request req;
    size_t used;
    int e = pq_socks4_read_request(t->buf, t->len, &used, &req);
    if (e == PQ_EMORE)
        return;
    if (!e && pq_talk_wants_password(t)) {
        if (!t->proxy->socks4_refused)
            PQ_LOG(PQ_LOG_WARN, "a program spoke SOCKS4, which knows no password, and was refused; "
                                "let it use SOCKS5 or HTTP, or take username and password out of "
                                "socks5 in the configuration");
        t->proxy->socks4_refused = true;
        e = PQ_EPROTO;
    }
    if (e || req.cmd != PQ_SOCKS_CONNECT) {
        reply(t, PQ_SOCKS_FAILURE);
        return;
    }
    pq_talk_use(t, used);
    pq_talk_connect(t, req.host, req.port);
}

const struct pq_talk_kind pq_socks4 = {
    .buf_max = 1024, /* request 8 + user id 256 + name 256 */
    .advance = advance,
    .reply = reply,
};
