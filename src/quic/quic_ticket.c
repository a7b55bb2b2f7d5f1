/* SPDX-License-Identifier: MIT */
#include "quic/quic_ticket.h"

#define LIFETIME_AND_AGE 8

/* Bytes behind their length of two bytes. */
static struct pq_view field(struct pq_rd *r)
{
    const size_t n = pq_rd_be16(r);
    const uint8_t *p = pq_rd_bytes(r, n);
    return (struct pq_view){p, p ? n : 0};
}

struct pq_view quic_ticket_asked(struct pq_view extension)
{
    struct pq_rd all = pq_rd_init(extension.p, extension.n);
    const struct pq_view identities = field(&all);
    if (!identities.n)
        return identities;
    struct pq_rd r = pq_rd_init(identities.p, identities.n);
    return field(&r);
}

struct pq_view quic_ticket_given(struct pq_view message)
{
    struct pq_rd r = pq_rd_init(message.p, message.n);
    pq_rd_bytes(&r, LIFETIME_AND_AGE);
    pq_rd_bytes(&r, pq_rd_u8(&r)); /* the nonce */
    return field(&r);
}
