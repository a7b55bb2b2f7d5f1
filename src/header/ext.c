/* SPDX-License-Identifier: MIT */
/* ext.c - the extension of PING and PONG between peers of our own kind: a version, then abilities
 * as type, length, value [8.2]. */
#include "header/header.h"

#define VERSION 1

enum { TLV_FIRST = 1, TLV_LAST = 13 }; /* type n is bit n of PQ_ABLE_* */
_Static_assert(PQ_ABLE_ALL == (1u << (TLV_LAST + 1)) - 1, "each ability has its type");

size_t pq_ext_encode(uint32_t abilities, uint8_t buf[PQ_EXT_MAX])
{
    struct pq_wr w = pq_wr_init(buf, PQ_EXT_MAX);
    pq_wr_u8(&w, VERSION);
    for (int type = TLV_FIRST; type <= TLV_LAST; type++) {
        if (abilities >> type & 1) {
            pq_wr_u8(&w, (uint8_t)type);
            pq_wr_u8(&w, 0); /* these have no value */
        }
    }
    return pq_wr_len(&w);
}

uint32_t pq_ext_decode(const uint8_t *p, size_t n)
{
    struct pq_rd r = pq_rd_init(p, n);
    if (pq_rd_u8(&r) != VERSION || r.bad)
        return 0;
    uint32_t abilities = PQ_ABLE_HELLO;
    while (pq_rd_left(&r)) {
        uint8_t type = pq_rd_u8(&r), len = pq_rd_u8(&r);
        if (!pq_rd_bytes(&r, len))
            break;
        if (type >= TLV_FIRST && type <= TLV_LAST)
            abilities |= 1u << type;
    }
    return abilities;
}
