/* SPDX-License-Identifier: MIT */
#include "wire/capture.h"

#include "base/err.h"

#define MAGIC_US    0xa1b2c3d4U
#define MAGIC_NS    0xa1b23c4dU
#define MAGIC_NG    0x0a0d0d0aU /* of a pcapng file */
#define VERSION     0x00040002U /* 2.4: minor and major, LE16 each */
#define ETHER_LEN   14
#define COOKED_LEN  16 /* the type at its end */
#define COOKED2_LEN 20 /* the type at its start */

static uint32_t swap(uint32_t v)
{
    return v >> 24 | (v >> 8 & 0xff00) | (v << 8 & 0xff0000) | v << 24;
}

static uint32_t word(const struct pq_capture *c, const uint8_t *p)
{
    const uint32_t v = pq_le32(p);
    return c->swapped ? swap(v) : v;
}

int pq_capture_read(struct pq_capture *c, const uint8_t head[PQ_CAPTURE_HEAD])
{
    const uint32_t magic = pq_le32(head);
    if (magic == MAGIC_NG)
        return PQ_ENOTSUP;
    c->swapped = magic == swap(MAGIC_US) || magic == swap(MAGIC_NS);
    c->nano = magic == MAGIC_NS || magic == swap(MAGIC_NS);
    if (!c->swapped && !c->nano && magic != MAGIC_US)
        return PQ_EPROTO;
    c->link = (enum pq_capture_link)(word(c, head + 20) & 0xffff); /* above are flags */
    const bool known = c->link == PQ_CAPTURE_ETHERNET || c->link == PQ_CAPTURE_IP ||
                       c->link == PQ_CAPTURE_COOKED || c->link == PQ_CAPTURE_COOKED2;
    return known ? 0 : PQ_ENOTSUP;
}

int pq_capture_next(const struct pq_capture *c, const uint8_t record[PQ_CAPTURE_RECORD],
                    struct pq_capture_packet *p)
{
    const uint32_t part = word(c, record + 4);
    p->time_us = (uint64_t)word(c, record) * 1000000 + (c->nano ? part / 1000 : part);
    p->len = word(c, record + 8);
    p->whole = word(c, record + 12);
    return p->len <= PQ_CAPTURE_PACKET_MAX ? 0 : PQ_EPROTO;
}

static bool is_ip(const uint8_t *type)
{
    const uint16_t v = pq_be16(type);
    return v == 0x0800 || v == 0x86dd;
}

uint8_t *pq_capture_strip(const struct pq_capture *c, uint8_t *p, size_t *n, size_t *link_len)
{
    *link_len = c->link == PQ_CAPTURE_ETHERNET ? ETHER_LEN : 0;
    if (c->link == PQ_CAPTURE_ETHERNET || c->link == PQ_CAPTURE_IP)
        return p;
    const size_t head = c->link == PQ_CAPTURE_COOKED ? COOKED_LEN : COOKED2_LEN;
    if (*n < head || !is_ip(c->link == PQ_CAPTURE_COOKED ? p + head - 2 : p))
        return NULL;
    *n -= head;
    return p + head;
}

void pq_capture_write(uint8_t head[PQ_CAPTURE_HEAD], enum pq_capture_link link)
{
    memset(head, 0, PQ_CAPTURE_HEAD);
    pq_put_le32(head, MAGIC_US);
    pq_put_le32(head + 4, VERSION);
    pq_put_le32(head + 16, PQ_CAPTURE_PACKET_MAX);
    pq_put_le32(head + 20, link);
}

void pq_capture_put(uint8_t record[PQ_CAPTURE_RECORD], const struct pq_capture_packet *p)
{
    pq_put_le32(record, (uint32_t)(p->time_us / 1000000));
    pq_put_le32(record + 4, (uint32_t)(p->time_us % 1000000));
    pq_put_le32(record + 8, p->len);
    pq_put_le32(record + 12, p->whole);
}
