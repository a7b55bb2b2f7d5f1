/* SPDX-License-Identifier: MIT */
/* kcp_size.c - how long the datagrams of our own wire are [12.11]: what the path carries is found
 * out by probes, and what was cut to a size that passes no more goes in two parts, where the peer
 * takes such.  When it passes no more is decided in cc/mtu.c. */
#include "kcp/kcp_internal.h"

#define ASK_LEN 12 /* bytes of a datagram whose acknowledgement tells that a probe was lost */

/* The place of a number among all that there have been. */
static int64_t place_of(const struct pq_kcp *k, uint32_t number)
{
    return k->numbers.made - (int64_t)(uint32_t)(k->numbers.next - number);
}

static bool is_known(const struct pq_kcp *k, uint32_t number)
{
    return number - k->numbers.first < k->numbers.next - k->numbers.first;
}

/* What has come before tells nothing of what passes now. */
static void forget_passed(struct pq_kcp *k)
{
    k->fallen = k->size.falls;
    k->passes = 0;
    k->passes_from = k->numbers.made;
}

static void take_size(struct pq_kcp *k)
{
    if (k->fallen != k->size.falls)
        forget_passed(k);
    k->mtu = k->size.size;
    k->mss = (uint16_t)(k->mtu - PQ_LEAN_HEAD);
}

uint16_t pq_size_next(struct pq_kcp *k)
{
    if (!k->lean)
        return k->mtu;
    const uint16_t n = pq_mtu_next(&k->size);
    k->mss = (uint16_t)(n - PQ_LEAN_HEAD);
    return n;
}

uint16_t pq_kcp_size(const struct pq_kcp *k)
{
    return k->mtu;
}

unsigned pq_kcp_shrunk(const struct pq_kcp *k)
{
    return k->size.falls;
}

size_t pq_kcp_mss_least(const struct pq_kcp *k)
{
    return k->lean ? (size_t)k->size.least - PQ_LEAN_HEAD : k->mss;
}

void pq_kcp_part(struct pq_kcp *k)
{
    k->parts = k->lean;
}

bool pq_kcp_in_parts(const struct pq_kcp *k)
{
    return k->in_parts;
}

bool pq_kcp_parts(const struct pq_kcp *k)
{
    return k->parts;
}

void pq_kcp_limit(struct pq_kcp *k, uint16_t most)
{
    most = most < k->conf.mtu ? most : k->conf.mtu;
    if (!k->lean)
        return;
    k->size.least = k->size.least < most ? k->size.least : most;
    k->untried = k->untried && most >= k->size.most;
    pq_mtu_limit(&k->size, most);
    take_size(k);
}

/* ---- what becomes of datagrams */

void pq_size_wrote(struct pq_kcp *k, uint32_t first, size_t n)
{
    if (first != k->numbers.next)
        pq_mtu_went(&k->size, k->numbers.made - 1, (uint16_t)n, pq_cc_min_rtt(&k->cc));
    for (; first != k->numbers.next; first++)
        pq_lean_sent(k, first)->bytes = (uint16_t)n;
}

void pq_size_acked(struct pq_kcp *k, uint32_t number, pq_ns now)
{
    const uint16_t bytes = pq_lean_sent(k, number)->bytes;
    const bool probe = k->size.probe >= 0 && number == k->probe; /* nothing else has `more` */
    if (!probe && bytes > k->passes && place_of(k, number) >= k->passes_from)
        k->passes = bytes;
    pq_mtu_acked(&k->size, place_of(k, number), probe || bytes < k->mtu ? bytes : k->mtu, now);
    take_size(k);
}

void pq_size_lost(struct pq_kcp *k, uint32_t number, pq_ns now)
{
    if (!k->lean || !is_known(k, number))
        return;
    pq_mtu_lost(&k->size, place_of(k, number), pq_lean_sent(k, number)->bytes, now);
    take_size(k);
}

void pq_size_path(struct pq_kcp *k, bool whole)
{
    if (!k->lean)
        return;
    k->untried = whole && k->mtu > k->size.least;
    forget_passed(k);
    pq_mtu_path(&k->size, k->numbers.made);
    take_size(k);
}

/* Nothing has come back: it goes again as it is, in case that it was lost by chance, and in parts
 * behind that, in case that it was its size. */
void pq_size_timeout(struct pq_kcp *k, const struct pq_kcp_seg *s)
{
    k->careful = k->parts && s->len + PQ_LEAN_HEAD > k->size.least;
    k->careful_sn = s->sn;
}

/* ---- probes */

static bool may_ask(const struct pq_kcp *k)
{
    return k->lean && k->srtt && k->snd_una; /* there is a segment that has come */
}

/* Bytes that the next one should have, or 0. */
static size_t next_probe(struct pq_kcp *k, size_t *more, pq_ns now)
{
    const size_t n = pq_mtu_probe(&k->size, now);
    if (n)
        return n;
    *more = 0;
    return pq_mtu_ask(&k->size, now) ? ASK_LEN : 0;
}

/* A datagram with the newest segment that is known to have come: the receiver has it, and
 * acknowledges the number all the same, whatever the payload is.  `n` of its bytes count. */
static uint32_t put_stale(struct pq_kcp *k, uint8_t *dst, size_t n, size_t more, pq_ns now)
{
    const uint32_t number = pq_lean_number(k, k->snd_una - 1, now);
    pq_lean_put_stale(k, dst, number);
    memset(dst + PQ_LEAN_HEAD, 0, n + more - PQ_LEAN_HEAD);
    pq_size_wrote(k, number, n);
    pq_kcp_note_paced(k, now);
    return number;
}

void pq_kcp_beside(struct pq_kcp *k, size_t n)
{
    if (k->lean)
        pq_mtu_beside(&k->size, (uint16_t)n);
}

size_t pq_kcp_ask(struct pq_kcp *k, uint8_t *dst, size_t cap, pq_ns now)
{
    if (!may_ask(k) || k->mtu == k->size.least || cap < ASK_LEN)
        return 0;
    put_stale(k, dst, ASK_LEN, 0, now);
    return ASK_LEN;
}

size_t pq_kcp_probe(struct pq_kcp *k, uint8_t *dst, size_t cap, size_t more, pq_ns now)
{
    if (!may_ask(k) || !pq_kcp_paced(k, now))
        return 0;
    const size_t n = next_probe(k, &more, now);
    if (!n || n + more > cap)
        return 0;
    const uint32_t number = put_stale(k, dst, n, more, now);
    if (n > ASK_LEN)
        k->probe = number;
    pq_mtu_sent(&k->size, place_of(k, number), (uint16_t)n, k->srtt, now);
    return n + more;
}

/* Whether what was sent after the probe has come, while it has not. */
void pq_size_judge(struct pq_kcp *k, pq_ns tolerance, pq_ns now)
{
    if (!k->lean || k->size.probe < 0 || pq_sn_diff(k->rack_order, k->probe) <= 0)
        return;
    const bool known = is_known(k, k->probe);
    const pq_ns age = known ? pq_lean_age(k, k->probe, now) : PQ_NEVER;
    if (age < tolerance) {
        k->reorder_at = pq_ns_min(k->reorder_at, now + tolerance - age);
        return;
    }
    pq_mtu_lost(&k->size, k->size.probe, k->size.probe_len, now);
    k->untried = false;
    if (known)
        pq_lean_sent(k, k->probe)->bytes = 0;
    take_size(k); /* it may have been one of the size in use */
}

pq_ns pq_size_deadline(const struct pq_kcp *k, pq_ns now)
{
    if (!may_ask(k))
        return PQ_NEVER;
    pq_ns at = pq_mtu_wants(&k->size) ? now : pq_mtu_ask_at(&k->size);
    at = pq_ns_min(at, pq_mtu_check_at(&k->size));
    return pq_kcp_paced(k, now) ? at : pq_ns_max(at, k->pace_at);
}
