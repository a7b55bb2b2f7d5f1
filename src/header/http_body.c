/* SPDX-License-Identifier: MIT */
/* http_body.c - where a request ends (RFC 9112, 6 and 7.1).  Strict, since what is taken for the
 * body here must be the body for the target. */
#include "base/hex.h"
#include "header/http.h"

enum {
    DONE,
    FIXED,
    SIZE, /* of a chunk, in hex */
    EXT,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, /* at the begin of a line behind the last chunk */
    TRAILER_LINE,
    TRAILER_LF,
    END_LF,
};

void pq_http_body_init(struct pq_http_body *b, const struct pq_http_request *r)
{
    *b = (struct pq_http_body){.left = r->length};
    b->state = r->chunked ? SIZE : r->length ? FIXED : DONE;
}

static bool is_text(uint8_t c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

/* A byte of a chunk's size, or what ends it. */
static int on_size(struct pq_http_body *b, uint8_t c)
{
    int d = pq_hex_digit((char)c);
    if (d >= 0) {
        if (b->left >> 56)
            return PQ_EPROTO;
        b->left = b->left << 4 | (unsigned)d;
        b->has_digit = true;
        return SIZE;
    }
    if (!b->has_digit)
        return PQ_EPROTO;
    return c == ';' ? EXT : c == '\r' ? SIZE_LF : PQ_EPROTO;
}

static int begin_size(struct pq_http_body *b)
{
    b->left = 0;
    b->has_digit = false;
    return SIZE;
}

/* What follows a byte outside of the chunks' data: a state, or PQ_EPROTO. */
static int next_state(struct pq_http_body *b, uint8_t c)
{
    switch (b->state) {
    case SIZE:
        return on_size(b, c);
    case EXT:
        return c == '\r' ? SIZE_LF : is_text(c) ? EXT : PQ_EPROTO;
    case SIZE_LF:
        return c != '\n' ? PQ_EPROTO : b->left ? DATA : TRAILER;
    case DATA_CR:
        return c == '\r' ? DATA_LF : PQ_EPROTO;
    case DATA_LF:
        return c == '\n' ? begin_size(b) : PQ_EPROTO;
    case TRAILER:
        return c == '\r' ? END_LF : is_text(c) ? TRAILER_LINE : PQ_EPROTO;
    case TRAILER_LINE:
        return c == '\r' ? TRAILER_LF : is_text(c) ? TRAILER_LINE : PQ_EPROTO;
    case TRAILER_LF:
        return c == '\n' ? TRAILER : PQ_EPROTO;
    default:
        return c == '\n' ? DONE : PQ_EPROTO;
    }
}

int pq_http_body_take(struct pq_http_body *b, const uint8_t *p, size_t n, size_t *used)
{
    size_t at = 0;
    while (at < n && b->state != DONE) {
        if (b->state == FIXED || b->state == DATA) {
            size_t k = b->left < n - at ? (size_t)b->left : n - at;
            at += k;
            b->left -= k;
            if (!b->left)
                b->state = b->state == FIXED ? DONE : DATA_CR;
            continue;
        }
        int next = next_state(b, p[at]);
        if (next < 0)
            return next;
        b->state = (uint8_t)next;
        at++;
    }
    *used = at;
    return 0;
}
