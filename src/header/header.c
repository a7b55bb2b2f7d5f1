/* SPDX-License-Identifier: MIT */
#include "header/header.h"

int pq_header_encode(enum pq_family f, const struct pq_request *r, uint8_t *buf, size_t cap)
{
    if (f == PQ_FAMILY_GOB || f == PQ_FAMILY_NONE)
        return pq_gob_encode(r, buf, cap);
    return pq_binary_encode(r, f == PQ_FAMILY_BINARY20, buf, cap);
}

/* A gob message of 0x50 bytes would be another type description than family A's [6]. */
static bool is_binary(uint8_t first)
{
    return first == PQ_HEADER_BINARY;
}

bool pq_header_whole(const uint8_t *p, size_t n, size_t *at)
{
    struct pq_request r;
    size_t used;
    bool bare;
    if (!n)
        return false;
    if (n >= PQ_HEADER_MAX)
        return true; /* or too long, which pq_header_decode says */
    return is_binary(p[0]) ? pq_binary_decode(p, n, &r, &bare, &used) != PQ_EMORE
                           : pq_gob_whole(p, n, at);
}

int pq_header_decode(const uint8_t *p, size_t n, struct pq_request *out, enum pq_family *family,
                     size_t *used)
{
    bool bare = false;
    if (!n)
        return PQ_EMORE;
    const bool binary = is_binary(p[0]);
    int r = binary ? pq_binary_decode(p, n, out, &bare, used) : pq_gob_decode(p, n, out, used);
    *family = !binary ? PQ_FAMILY_GOB : bare ? PQ_FAMILY_BINARY20 : PQ_FAMILY_BINARY;
    return r == PQ_EMORE && n >= PQ_HEADER_MAX ? PQ_EPROTO : r;
}

bool pq_header_is_bare(const uint8_t *p, size_t n, enum pq_request_type type)
{
    return n == 3 && is_binary(p[0]) && p[1] == 1 && p[2] == type;
}
