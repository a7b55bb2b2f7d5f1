/* SPDX-License-Identifier: MIT */
#include "tunnel/datagram.h"

#define QUEUE_MAX  ((size_t)1 << 20) /* bytes that wait for the kernel ... */
#define QUEUE_N    2048U             /* ... and datagrams: small ones lie in chunks as large */
#define OOB_SEQID  0xffffffffU       /* in no FEC group [3.1] */
#define SEEN_SPAN  1024U
#define SIZE_FIELD 2

int pq_dgrams_push(struct pq_dgrams *d, struct pq_chunk *c, uint32_t stream)
{
    if (d->out.n >= QUEUE_N || d->out.bytes + c->len > QUEUE_MAX)
        return PQ_EAGAIN;
    c->off -= PQ_DGRAM_ID_LEN;
    c->len += PQ_DGRAM_ID_LEN;
    pq_put_le32(pq_chunk_data(c), stream);
    pq_chunkq_push(&d->out, c);
    return 0;
}

size_t pq_dgrams_pull(struct pq_dgrams *d, uint32_t conv, uint8_t *p, size_t cap)
{
    struct pq_chunk *c = pq_chunkq_pop(&d->out);
    if (!c)
        return 0;
    struct pq_wr w = pq_wr_init(p, cap);
    pq_wr_le32(&w, OOB_SEQID);
    pq_wr_le16(&w, PQ_OOB_TYPE);
    pq_wr_le16(&w, (uint16_t)(SIZE_FIELD + 4 + 4 + c->len));
    pq_wr_le32(&w, conv);
    pq_wr_le32(&w, ++d->next);
    pq_wr_bytes(&w, pq_chunk_data(c), c->len);
    pq_chunk_free(c);
    return w.bad ? 0 : pq_wr_len(&w);
}

/* Notes the number.  Returns whether it is new. */
static bool note(struct pq_dgrams *d, uint32_t n)
{
    uint32_t ahead = n - d->newest;
    if (ahead == 0 || (ahead > UINT32_MAX / 2 && d->newest - n >= SEEN_SPAN))
        return false;
    if (ahead <= UINT32_MAX / 2) {
        if (ahead >= SEEN_SPAN)
            memset(d->seen, 0, sizeof d->seen);
        else
            for (uint32_t i = d->newest + 1; i != n; i++) /* numbers skipped so far */
                d->seen[i % SEEN_SPAN / 64] &= ~(UINT64_C(1) << i % 64);
        d->newest = n;
    } else if (d->seen[n % SEEN_SPAN / 64] >> n % 64 & 1) {
        return false;
    }
    d->seen[n % SEEN_SPAN / 64] |= UINT64_C(1) << n % 64;
    return true;
}

enum pq_drop pq_dgrams_read(struct pq_dgrams *d, uint32_t conv, struct pq_view inner,
                            uint32_t *stream, struct pq_view *data)
{
    struct pq_rd r = pq_rd_init(inner.p, inner.n);
    uint32_t seqid = pq_rd_le32(&r);
    uint16_t type = pq_rd_le16(&r), size = pq_rd_le16(&r);
    uint32_t its_conv = pq_rd_le32(&r), n = pq_rd_le32(&r);
    *stream = pq_rd_le32(&r);
    if (r.bad || seqid != OOB_SEQID || type != PQ_OOB_TYPE || size < PQ_DGRAM_HEAD - 6 ||
        (size_t)size + 6 > inner.n)
        return PQ_DROP_OOB;
    if (its_conv != conv)
        return PQ_DROP_CONV;
    *data = (struct pq_view){r.p, (size_t)size + 6 - PQ_DGRAM_HEAD};
    return note(d, n) ? PQ_DROP_NONE : PQ_DROP_REPLAY;
}
