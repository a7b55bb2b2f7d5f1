/* SPDX-License-Identifier: MIT */
#include "header/socks.h"

enum { ATYP_IP4 = 1, ATYP_NAME = 3, ATYP_IP6 = 4 };

int pq_socks_read_greeting(const uint8_t *p, size_t n, size_t *used, bool *no_auth, bool *password)
{
    if (n && p[0] != 5)
        return PQ_EPROTO;
    if (n < 2 || n < 2u + p[1])
        return PQ_EMORE;
    *no_auth = memchr(p + 2, PQ_SOCKS_NO_AUTH, p[1]) != NULL;
    *password = memchr(p + 2, PQ_SOCKS_PASSWORD, p[1]) != NULL;
    *used = 2u + p[1];
    return 0;
}

int pq_socks_read_password(const uint8_t *p, size_t n, size_t *used, struct pq_view *user,
                           struct pq_view *pass)
{
    if (n && p[0] != 1)
        return PQ_EPROTO;
    struct pq_rd r = pq_rd_init(p, n);
    pq_rd_u8(&r);
    user->n = pq_rd_u8(&r);
    user->p = pq_rd_bytes(&r, user->n);
    pass->n = pq_rd_u8(&r);
    pass->p = pq_rd_bytes(&r, pass->n);
    if (r.bad)
        return PQ_EMORE;
    *used = (size_t)(r.p - p);
    return 0;
}

/* Reads the address by its type.  Returns false for an unknown type. */
static bool read_addr(struct pq_rd *r, struct pq_socks_request *out)
{
    uint8_t atyp = pq_rd_u8(r);
    struct pq_addr a;
    char text[PQ_ADDR_STRLEN];
    const uint8_t *b;
    if (atyp == ATYP_NAME) {
        size_t len = pq_rd_u8(r);
        b = pq_rd_bytes(r, len);
        if (!b)
            return true;
        memcpy(out->host, b, len);
        out->host[len] = 0;
        return len && strlen(out->host) == len;
    }
    if (atyp != ATYP_IP4 && atyp != ATYP_IP6)
        return r->bad;
    b = pq_rd_bytes(r, atyp == ATYP_IP4 ? 4 : 16);
    if (!b)
        return true;
    if (atyp == ATYP_IP4)
        pq_addr_set4(&a, b, 0);
    else
        pq_addr_set6(&a, b, 0);
    pq_addr_ip_str(&a, text);
    memcpy(out->host, text, strlen(text) + 1);
    return true;
}

int pq_socks_read_request(const uint8_t *p, size_t n, size_t *used, struct pq_socks_request *out,
                          enum pq_socks_reply *reply)
{
    struct pq_rd r = pq_rd_init(p, n);
    *reply = PQ_SOCKS_FAILURE;
    if (n && p[0] != 5)
        return PQ_EPROTO;
    pq_rd_u8(&r);
    out->cmd = pq_rd_u8(&r);
    pq_rd_u8(&r); /* reserved */
    if (!read_addr(&r, out)) {
        *reply = PQ_SOCKS_BAD_ATYP;
        return PQ_EPROTO;
    }
    out->port = pq_rd_be16(&r);
    if (r.bad)
        return PQ_EMORE;
    *used = (size_t)(r.p - p);
    return 0;
}

size_t pq_socks_write_reply(uint8_t buf[PQ_SOCKS_REPLY_MAX], enum pq_socks_reply code,
                            const struct pq_addr *bound)
{
    struct pq_wr w = pq_wr_init(buf, PQ_SOCKS_REPLY_MAX);
    bool is4 = pq_addr_is4(bound);
    pq_wr_u8(&w, 5);
    pq_wr_u8(&w, (uint8_t)code);
    pq_wr_u8(&w, 0);
    pq_wr_u8(&w, is4 ? ATYP_IP4 : ATYP_IP6);
    pq_wr_bytes(&w, is4 ? pq_addr_v4(bound) : bound->ip, is4 ? 4 : 16);
    pq_wr_be16(&w, bound->port);
    return pq_wr_len(&w);
}
