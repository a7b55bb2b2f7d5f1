/* SPDX-License-Identifier: MIT */
/* binary.c - family B: 0x50 0x01 type length(BE16) body [6.1]; at v1.0.0-alpha.20 without the
 * length [6.1.1]. */
#include "header/header.h"

#define MAGIC    PQ_HEADER_BINARY
#define VERSION  1
#define HEAD_LEN (1 + 1 + 1 + 2)
#define BARE_LEN (1 + 1 + 1)
#define BODY_MAX 4096

int pq_binary_encode(const struct pq_request *r, bool bare, uint8_t *buf, size_t cap)
{
    uint8_t ext[PQ_EXT_MAX];
    size_t host_len = strlen(r->host), body = 0;
    if (r->type == PQ_REQ_TCP || r->type == PQ_REQ_UDP)
        body = 1 + host_len + 2;
    else if (r->type == PQ_REQ_TCPF)
        body = 1 + 2 * (size_t)r->flags.n;
    else if (r->type == PQ_REQ_PING || r->type == PQ_REQ_PONG)
        body = r->abilities && !bare ? pq_ext_encode(r->abilities, ext) : 0;
    else if (r->type == PQ_REQ_RESULT && !bare)
        body = 1;
    else if (r->type == PQ_REQ_MEASURE && !bare)
        body = 2;
    else if (r->type != PQ_REQ_TUN || bare)
        return PQ_EINVAL;
    struct pq_wr w = pq_wr_init(buf, cap);
    pq_wr_u8(&w, MAGIC);
    pq_wr_u8(&w, VERSION);
    pq_wr_u8(&w, (uint8_t)r->type);
    if (!bare)
        pq_wr_be16(&w, (uint16_t)body);
    if (r->type == PQ_REQ_TCP || r->type == PQ_REQ_UDP) {
        pq_wr_u8(&w, (uint8_t)host_len);
        pq_wr_bytes(&w, r->host, host_len);
        pq_wr_be16(&w, r->port);
    } else if (r->type == PQ_REQ_TCPF) {
        pq_wr_u8(&w, r->flags.n);
        for (unsigned i = 0; i < r->flags.n; i++)
            pq_wr_be16(&w, r->flags.v[i]);
    } else if (r->type == PQ_REQ_RESULT) {
        pq_wr_u8(&w, r->result);
    } else if (r->type == PQ_REQ_MEASURE) {
        pq_wr_be16(&w, r->port);
    } else if (r->type != PQ_REQ_TUN) {
        pq_wr_bytes(&w, ext, body);
    }
    return w.bad ? PQ_EINVAL : (int)pq_wr_len(&w);
}

static int decode_addr(struct pq_rd *r, size_t body, struct pq_request *out)
{
    size_t host_len = pq_rd_u8(r);
    if (host_len > PQ_HOST_MAX || body != 3 + host_len)
        return PQ_EPROTO;
    const uint8_t *host = pq_rd_bytes(r, host_len);
    out->port = pq_rd_be16(r);
    if (r->bad || memchr(host, 0, host_len))
        return PQ_EPROTO;
    memcpy(out->host, host, host_len);
    out->host[host_len] = 0;
    return 0;
}

static int decode_flags(struct pq_rd *r, size_t body, struct pq_request *out)
{
    uint8_t count = pq_rd_u8(r);
    if (count > PQ_FLAGS_MAX || body != 1 + 2 * (size_t)count)
        return PQ_EPROTO;
    out->flags.n = count;
    for (unsigned i = 0; i < count; i++)
        out->flags.v[i] = pq_rd_be16(r) & PQ_TCP_ALL;
    return r->bad ? PQ_EPROTO : 0;
}

/* Whether these five bytes are alpha.20's: the fourth is a count of flags or the length of a host
 * name, which is never 0, and the fifth begins that name.  The other one's fourth is the high byte
 * of a length below 256, or of exactly 256, for a host of 253 bytes [6.1.1]. */
static bool is_bare(const uint8_t *p)
{
    if (p[2] == PQ_REQ_TCPF)
        return p[3] != 0;
    return (p[2] == PQ_REQ_TCP || p[2] == PQ_REQ_UDP) && p[3] && p[4] > ' ' && p[4] < 0x7f;
}

/* Bytes of the body behind the three of alpha.20. */
static size_t bare_body(const uint8_t *p)
{
    return p[2] == PQ_REQ_TCPF ? 1 + 2 * (size_t)p[3] : 3 + (size_t)p[3];
}

static int read_body(const uint8_t *p, size_t body, struct pq_request *out)
{
    struct pq_rd r = pq_rd_init(p, body);
    if (out->type == PQ_REQ_TCP || out->type == PQ_REQ_UDP)
        return decode_addr(&r, body, out);
    if (out->type == PQ_REQ_TCPF)
        return decode_flags(&r, body, out);
    if ((out->type == PQ_REQ_RESULT && body != 1) || (out->type == PQ_REQ_MEASURE && body != 2))
        return PQ_EPROTO;
    if (out->type == PQ_REQ_RESULT)
        out->result = pq_rd_u8(&r);
    else if (out->type == PQ_REQ_MEASURE)
        out->port = pq_rd_be16(&r);
    else if (out->type != PQ_REQ_TUN)
        out->abilities = pq_ext_decode(r.p, body);
    return 0;
}

int pq_binary_decode(const uint8_t *p, size_t n, struct pq_request *out, bool *bare, size_t *used)
{
    if ((n > 0 && p[0] != MAGIC) || (n > 1 && p[1] != VERSION))
        return PQ_EPROTO;
    if (n < HEAD_LEN)
        return PQ_EMORE;
    *bare = is_bare(p);
    size_t head = *bare ? BARE_LEN : HEAD_LEN, body = *bare ? bare_body(p) : pq_be16(p + 3);
    if (body > BODY_MAX || p[2] < PQ_REQ_PING || p[2] > PQ_REQ_MEASURE)
        return PQ_EPROTO;
    if (n < head + body)
        return PQ_EMORE;
    *out = (struct pq_request){.type = (enum pq_request_type)p[2]};
    *used = head + body;
    return read_body(p + head, body, out);
}
