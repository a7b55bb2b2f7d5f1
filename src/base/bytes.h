/* SPDX-License-Identifier: MIT */
/* bytes.h - checked reading and writing of wire bytes.  Never cast a struct over bytes.
 * A reader or writer that runs over its end latches `bad`, returns zeros from then on and
 * changes nothing more: read a whole header, test `bad` once.  The byte order is in each name. */
#ifndef PQ_BASE_BYTES_H
#define PQ_BASE_BYTES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct pq_view { /* borrowed bytes */
    const uint8_t *p;
    size_t n;
};

/* Unchecked loads and stores, for code that has checked the length before. */
static inline uint16_t pq_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t pq_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint16_t pq_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t pq_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline void pq_put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void pq_put_le32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

static inline void pq_put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void pq_put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

struct pq_rd {
    const uint8_t *p, *end;
    bool bad;
};

static inline struct pq_rd pq_rd_init(const uint8_t *p, size_t n)
{
    return (struct pq_rd){p, p + n, false};
}

static inline size_t pq_rd_left(const struct pq_rd *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->p);
}

/* Returns the next n bytes, or NULL (and latches bad) if there are fewer. */
static inline const uint8_t *pq_rd_bytes(struct pq_rd *r, size_t n)
{
    if (r->bad || (size_t)(r->end - r->p) < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *q = r->p;
    r->p += n;
    return q;
}

static inline uint8_t pq_rd_u8(struct pq_rd *r)
{
    const uint8_t *q = pq_rd_bytes(r, 1);
    return q ? *q : 0;
}

static inline uint16_t pq_rd_be16(struct pq_rd *r)
{
    const uint8_t *q = pq_rd_bytes(r, 2);
    return q ? pq_be16(q) : 0;
}

static inline uint16_t pq_rd_le16(struct pq_rd *r)
{
    const uint8_t *q = pq_rd_bytes(r, 2);
    return q ? pq_le16(q) : 0;
}

static inline uint32_t pq_rd_le32(struct pq_rd *r)
{
    const uint8_t *q = pq_rd_bytes(r, 4);
    return q ? pq_le32(q) : 0;
}

struct pq_wr {
    uint8_t *base, *p, *end;
    bool bad;
};

static inline struct pq_wr pq_wr_init(uint8_t *p, size_t cap)
{
    return (struct pq_wr){p, p, p + cap, false};
}

static inline size_t pq_wr_len(const struct pq_wr *w)
{
    return (size_t)(w->p - w->base);
}

static inline void pq_wr_bytes(struct pq_wr *w, const void *src, size_t n)
{
    if (w->bad || (size_t)(w->end - w->p) < n) {
        w->bad = true;
        return;
    }
    if (n)
        memcpy(w->p, src, n);
    w->p += n;
}

static inline void pq_wr_u8(struct pq_wr *w, uint8_t v)
{
    pq_wr_bytes(w, &v, 1);
}

static inline void pq_wr_be16(struct pq_wr *w, uint16_t v)
{
    uint8_t b[2];
    pq_put_be16(b, v);
    pq_wr_bytes(w, b, sizeof b);
}

static inline void pq_wr_le16(struct pq_wr *w, uint16_t v)
{
    uint8_t b[2];
    pq_put_le16(b, v);
    pq_wr_bytes(w, b, sizeof b);
}

static inline void pq_wr_le32(struct pq_wr *w, uint32_t v)
{
    uint8_t b[4];
    pq_put_le32(b, v);
    pq_wr_bytes(w, b, sizeof b);
}
#endif
