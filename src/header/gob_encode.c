/* SPDX-License-Identifier: MIT */
/* gob_encode.c - family A: constant type descriptions and one value, as Go's encoder writes them
 * [6.2]. */
#include "header/header.h"

/* The description of the message's type, in 48 bytes that never change [6.2] ... */
static const uint8_t proto[] = {
    0x2f, 0x7f, 0x03, 0x01, 0x01, 0x05, 'P', 'r',  'o',  't',  'o',  0x01, 0xff, 0x80, 0x00, 0x01,
    0x03, 0x01, 0x04, 'T',  'y',  'p',  'e', 0x01, 0x06, 0x00, 0x01, 0x04, 'A',  'd',  'd',  'r',
    0x01, 0xff, 0x82, 0x00, 0x01, 0x04, 'T', 'C',  'P',  'F',  0x01, 0xff, 0x86, 0x00, 0x00, 0x00};

/* ... or with a fourth field, "Ext" of type []byte, which Go skips [8.2] ... */
static const uint8_t proto_ext[] = {
    0x37, 0x7f, 0x03, 0x01, 0x01, 0x05, 'P',  'r',  'o',  't',  'o',  0x01, 0xff, 0x80,
    0x00, 0x01, 0x04, 0x01, 0x04, 'T',  'y',  'p',  'e',  0x01, 0x06, 0x00, 0x01, 0x04,
    'A',  'd',  'd',  'r',  0x01, 0xff, 0x82, 0x00, 0x01, 0x04, 'T',  'C',  'P',  'F',
    0x01, 0xff, 0x86, 0x00, 0x01, 0x03, 'E',  'x',  't',  0x01, 0x0a, 0x00, 0x00, 0x00};

/* ... and those of the three types in it. */
static const uint8_t parts[] = {
    /* Addr */
    0x24, 0xff, 0x81, 0x03, 0x01, 0x01, 0x04, 'A', 'd', 'd', 'r', 0x01, 0xff, 0x82, 0x00, 0x01,
    0x02, 0x01, 0x04, 'H', 'o', 's', 't', 0x01, 0x0c, 0x00, 0x01, 0x04, 'P', 'o', 'r', 't', 0x01,
    0x04, 0x00, 0x00, 0x00,
    /* []conf.TCPF */
    0x1a, 0xff, 0x85, 0x02, 0x01, 0x01, 0x0b, '[', ']', 'c', 'o', 'n', 'f', '.', 'T', 'C', 'P', 'F',
    0x01, 0xff, 0x86, 0x00, 0x01, 0xff, 0x84, 0x00, 0x00,
    /* TCPF */
    0x59, 0xff, 0x83, 0x03, 0x01, 0x01, 0x04, 'T', 'C', 'P', 'F', 0x01, 0xff, 0x84, 0x00, 0x01,
    0x09, 0x01, 0x03, 'F', 'I', 'N', 0x01, 0x02, 0x00, 0x01, 0x03, 'S', 'Y', 'N', 0x01, 0x02, 0x00,
    0x01, 0x03, 'R', 'S', 'T', 0x01, 0x02, 0x00, 0x01, 0x03, 'P', 'S', 'H', 0x01, 0x02, 0x00, 0x01,
    0x03, 'A', 'C', 'K', 0x01, 0x02, 0x00, 0x01, 0x03, 'U', 'R', 'G', 0x01, 0x02, 0x00, 0x01, 0x03,
    'E', 'C', 'E', 0x01, 0x02, 0x00, 0x01, 0x03, 'C', 'W', 'R', 0x01, 0x02, 0x00, 0x01, 0x02, 'N',
    'S', 0x01, 0x02, 0x00, 0x00, 0x00};

_Static_assert(sizeof proto + sizeof parts == 202, "the descriptions of [6.2]");
_Static_assert(sizeof proto_ext == 1 + 0x37, "its length stands in front");

static void put_uint(struct pq_wr *w, uint64_t v)
{
    if (v < 128) {
        pq_wr_u8(w, (uint8_t)v);
        return;
    }
    int n = 1;
    while (n < 8 && v >> (8 * n))
        n++;
    pq_wr_u8(w, (uint8_t)(256 - n));
    while (n--)
        pq_wr_u8(w, (uint8_t)(v >> (8 * n)));
}

static void put_addr(struct pq_wr *w, const struct pq_request *r)
{
    size_t n = strlen(r->host);
    unsigned delta = 1; /* zero fields are left out and widen the next delta */
    if (n) {
        put_uint(w, delta);
        put_uint(w, n);
        pq_wr_bytes(w, r->host, n);
    } else {
        delta++;
    }
    if (r->port) {
        put_uint(w, delta);
        put_uint(w, (uint64_t)r->port << 1);
    }
    put_uint(w, 0);
}

static void put_flag_set(struct pq_wr *w, uint16_t set)
{
    unsigned delta = 1;
    for (int bit = 0; bit < 9; bit++, delta++) {
        if (set >> bit & 1) {
            put_uint(w, delta);
            put_uint(w, 1);
            delta = 0;
        }
    }
    put_uint(w, 0);
}

int pq_gob_encode(const struct pq_request *r, uint8_t *buf, size_t cap)
{
    uint8_t body[PQ_HEADER_MAX / 4];
    struct pq_wr b = pq_wr_init(body, sizeof body);
    if (r->type > PQ_REQ_TUN)
        return PQ_EINVAL;
    put_uint(&b, 128); /* type id 64 */
    put_uint(&b, 1);
    put_uint(&b, (uint64_t)r->type);
    if (r->type == PQ_REQ_TCP || r->type == PQ_REQ_UDP) {
        put_uint(&b, 1);
        put_addr(&b, r);
    } else if (r->type == PQ_REQ_TCPF && r->flags.n) {
        put_uint(&b, 2);
        put_uint(&b, r->flags.n);
        for (unsigned i = 0; i < r->flags.n; i++)
            put_flag_set(&b, r->flags.v[i]);
    }
    if (r->abilities) {
        uint8_t ext[PQ_EXT_MAX];
        size_t n = pq_ext_encode(r->abilities, ext);
        put_uint(&b, 3); /* from Type, the first field, to Ext, the fourth */
        put_uint(&b, n);
        pq_wr_bytes(&b, ext, n);
    }
    put_uint(&b, 0);

    struct pq_wr w = pq_wr_init(buf, cap);
    pq_wr_bytes(&w, r->abilities ? proto_ext : proto,
                r->abilities ? sizeof proto_ext : sizeof proto);
    pq_wr_bytes(&w, parts, sizeof parts);
    put_uint(&w, pq_wr_len(&b));
    pq_wr_bytes(&w, body, pq_wr_len(&b));
    return b.bad || w.bad ? PQ_EINVAL : (int)pq_wr_len(&w);
}
