/* SPDX-License-Identifier: MIT */
#include "header/header.h"

int pq_header_encode(enum pq_family f, const struct pq_request *r, uint8_t *buf, size_t cap)
{
    return f == PQ_FAMILY_BINARY ? pq_binary_encode(r, buf, cap) : pq_gob_encode(r, buf, cap);
}

/* A gob message of 0x50 bytes would be another type description than family A's [6]. */
static enum pq_family family_of(uint8_t first)
{
    return first == 0x50 ? PQ_FAMILY_BINARY : PQ_FAMILY_GOB;
}

bool pq_header_whole(const uint8_t *p, size_t n, size_t *at)
{
    struct pq_request r;
    size_t used;
    if (!n)
        return false;
    if (n >= PQ_HEADER_MAX)
        return true; /* or too long, which pq_header_decode says */
    return family_of(p[0]) == PQ_FAMILY_BINARY ? pq_binary_decode(p, n, &r, &used) != PQ_EMORE
                                               : pq_gob_whole(p, n, at);
}

int pq_header_decode(const uint8_t *p, size_t n, struct pq_request *out, enum pq_family *family,
                     size_t *used)
{
    if (!n)
        return PQ_EMORE;
    *family = family_of(p[0]);
    int r = *family == PQ_FAMILY_BINARY ? pq_binary_decode(p, n, out, used)
                                        : pq_gob_decode(p, n, out, used);
    return r == PQ_EMORE && n >= PQ_HEADER_MAX ? PQ_EPROTO : r;
}
