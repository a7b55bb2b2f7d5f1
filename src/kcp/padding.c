/* SPDX-License-Identifier: MIT */
/* padding.c - datagrams that are not full are a little longer than what is in them, by chance
 * [12.8]: else an acknowledgement, a keepalive or a keystroke has a length of its own, by which all
 * of them are known.  For a thirty-second of the bytes that are sent, and PAD_RATE in addition. */
#include "base/rng.h"
#include "kcp/kcp_internal.h"

#define PAD_BELOW  600 /* bytes: longer ones have the length of what is carried */
#define PAD_MAX    128 /* bytes; a power of two */
#define PAD_RATE   2000
#define PAD_PART   32
#define MILLI      1000
#define CREDIT_MAX ((size_t)4096 * MILLI)

void pq_kcp_pads(struct pq_kcp *k)
{
    k->pads = k->lean;
}

static void earn(struct pq_kcp *k, size_t milli)
{
    const size_t credit = k->pad_credit + milli;
    k->pad_credit = credit < CREDIT_MAX ? credit : CREDIT_MAX;
}

size_t pq_kcp_padding(const struct pq_kcp *k, size_t cap, struct pq_rng *rng)
{
    const size_t most = cap < PAD_MAX ? cap + 1 : PAD_MAX;
    const size_t more = k->pads ? pq_rng_u32(rng) % most : 0;
    return more < PQ_LEAN_PAD_MIN ? 0 : more;
}

size_t pq_kcp_pad(struct pq_kcp *k, uint8_t *p, size_t n, size_t cap, struct pq_rng *rng, pq_ns now)
{
    if (!k->pads)
        return n;
    earn(k, n * MILLI / PAD_PART);
    if (n >= PAD_BELOW)
        return n;
    const pq_ns idle = pq_ns_min(now - k->pad_at, 2 * PQ_SEC);
    earn(k, (size_t)(idle * PAD_RATE * MILLI / PQ_SEC));
    k->pad_at = now;
    const size_t more = pq_kcp_padding(k, cap < k->room ? cap : k->room, rng);
    if (!more || more * MILLI > k->pad_credit)
        return n;
    k->pad_credit -= more * MILLI;
    pq_lean_put_pad(p + n, more);
    return n + more;
}
