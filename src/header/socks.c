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

int pq_socks_read_udp(const uint8_t *p, size_t n, size_t *head, struct pq_socks_request *out)
{
    struct pq_rd r = pq_rd_init(p, n);
    pq_rd_be16(&r); /* reserved */
    uint8_t fragment = pq_rd_u8(&r);
    if (r.bad || fragment || !read_addr(&r, out))
        return PQ_EPROTO;
    out->port = pq_rd_be16(&r);
    if (r.bad)
        return PQ_EPROTO;
    *head = (size_t)(r.p - p);
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

/* ---- the client's side */

size_t pq_socks_write_greeting(uint8_t buf[4], bool password)
{
    struct pq_wr w = pq_wr_init(buf, 4);
    pq_wr_u8(&w, 5);
    pq_wr_u8(&w, password ? 2 : 1);
    pq_wr_u8(&w, PQ_SOCKS_NO_AUTH);
    if (password)
        pq_wr_u8(&w, PQ_SOCKS_PASSWORD);
    return pq_wr_len(&w);
}

static void write_text(struct pq_wr *w, const char *text, size_t n)
{
    pq_wr_u8(w, (uint8_t)n);
    pq_wr_bytes(w, text, n);
}

size_t pq_socks_write_password(uint8_t buf[PQ_SOCKS_PASSWORD_MAX], const char *user,
                               const char *pass)
{
    struct pq_wr w = pq_wr_init(buf, PQ_SOCKS_PASSWORD_MAX);
    const size_t n_user = strlen(user), n_pass = strlen(pass);
    if (n_user > 255 || n_pass > 255)
        return 0;
    pq_wr_u8(&w, 1);
    write_text(&w, user, n_user);
    write_text(&w, pass, n_pass);
    return pq_wr_len(&w);
}

size_t pq_socks_write_request(uint8_t buf[PQ_SOCKS_REQUEST_MAX], uint8_t cmd, const char *host,
                              uint16_t port)
{
    struct pq_wr w = pq_wr_init(buf, PQ_SOCKS_REQUEST_MAX);
    const size_t n = strlen(host);
    struct pq_addr a;
    if (!n || n > 255)
        return 0;
    pq_wr_bytes(&w, (const uint8_t[]){5, cmd, 0}, 3);
    if (pq_addr_parse_ip(&a, host)) {
        pq_wr_u8(&w, ATYP_NAME);
        write_text(&w, host, n);
    } else if (pq_addr_is4(&a)) {
        pq_wr_u8(&w, ATYP_IP4);
        pq_wr_bytes(&w, pq_addr_v4(&a), 4);
    } else {
        pq_wr_u8(&w, ATYP_IP6);
        pq_wr_bytes(&w, a.ip, 16);
    }
    pq_wr_be16(&w, port);
    return pq_wr_len(&w);
}

int pq_socks_read_reply(const uint8_t *p, size_t n, size_t *used, uint8_t *code)
{
    size_t len = 5; /* up to the byte that may be the length of a name */
    if (n && p[0] != 5)
        return PQ_EPROTO;
    if (n >= len) {
        switch (p[3]) {
        case ATYP_IP4:
            len = 4 + 4 + 2;
            break;
        case ATYP_IP6:
            len = 4 + 16 + 2;
            break;
        case ATYP_NAME:
            len += (size_t)p[4] + 2;
            break;
        default:
            return PQ_EPROTO;
        }
        *code = p[1];
    }
    *used = len;
    return n < len ? PQ_EMORE : 0;
}

/* ---- SOCKS4 */

/* Reads text up to its final NUL.  Returns 0, PQ_EMORE, or PQ_EPROTO if it is longer than 255. */
static int read_text(struct pq_rd *r, char out[256])
{
    size_t left = pq_rd_left(r);
    const uint8_t *nul = left ? memchr(r->p, 0, left) : NULL;
    size_t n = nul ? (size_t)(nul - r->p) : left;
    if (n > 255)
        return PQ_EPROTO;
    if (!nul)
        return PQ_EMORE;
    memcpy(out, pq_rd_bytes(r, n + 1), n + 1);
    return 0;
}

int pq_socks4_read_request(const uint8_t *p, size_t n, size_t *used, struct pq_socks_request *out)
{
    struct pq_rd r = pq_rd_init(p, n);
    struct pq_addr a;
    char text[256];
    if (n && p[0] != 4)
        return PQ_EPROTO;
    pq_rd_u8(&r);
    out->cmd = pq_rd_u8(&r);
    out->port = pq_rd_be16(&r);
    const uint8_t *ip = pq_rd_bytes(&r, 4);
    if (!ip)
        return PQ_EMORE;
    int e = read_text(&r, text);                     /* the user id */
    if (!e && !ip[0] && !ip[1] && !ip[2] && ip[3]) { /* 0.0.0.x: a name follows (4a) */
        e = read_text(&r, out->host);
        if (!e && !*out->host)
            e = PQ_EPROTO;
    } else if (!e) {
        pq_addr_set4(&a, ip, 0);
        pq_addr_ip_str(&a, out->host);
    }
    if (!e)
        *used = (size_t)(r.p - p);
    return e;
}

void pq_socks4_write_reply(uint8_t buf[PQ_SOCKS4_REPLY], bool granted)
{
    memset(buf, 0, PQ_SOCKS4_REPLY); /* port and address of the reply mean nothing for CONNECT */
    buf[1] = granted ? 0x5a : 0x5b;
}
