/* SPDX-License-Identifier: MIT */
/* quic_mtu.c - as RFC 8899 has it, but that the largest size is tried first: as a rule it passes,
 * and then one round trip was enough.  To fall back costs a round trip, too, so a few packets that
 * were lost in a row are reason enough. */
#include "quic/quic_mtu.h"

#define TRIES   3              /* lost probes of a size: it does not pass */
#define NEAR    12             /* bytes for which nobody goes on looking */
#define AGAIN   (600 * PQ_SEC) /* until what did not pass is tried again */
#define IN_HOLE 4              /* large packets that were lost, while others have arrived */
#define ASK     (50 * PQ_MS)   /* and two RTT: then a probe would have arrived */
#define CAREFUL 2              /* as many as go out when a timer says that all may be lost */

static void start(struct quic_mtu *m)
{
    m->size = m->size < m->most ? m->size : m->most;
    m->fails = (uint16_t)(m->most + 1);
    m->tries = 0;
    m->again_at = 0;
}

static void fall(struct quic_mtu *m)
{
    m->size = QUIC_MTU_LEAST;
    m->careful = 0;
    m->lost = 0;
    m->full = m->any;
    start(m);
}

void quic_mtu_init(struct quic_mtu *m, uint16_t most)
{
    *m =
        (struct quic_mtu){.most = most, .size = QUIC_MTU_LEAST, .probe = -1, .any = -1, .full = -1};
    start(m);
}

void quic_mtu_limit(struct quic_mtu *m, uint16_t most)
{
    if (most == m->most)
        return;
    m->most = most > QUIC_MTU_LEAST ? most : QUIC_MTU_LEAST;
    start(m);
}

void quic_mtu_path(struct quic_mtu *m, int64_t next)
{
    m->since = next;
    m->probe = -1;
    m->any = m->full = next - 1;
    fall(m);
}

uint16_t quic_mtu_cap(const struct quic_mtu *m)
{
    return m->careful ? QUIC_MTU_LEAST : m->size;
}

/* The next size to be tried, or 0. */
static uint16_t wanted(const struct quic_mtu *m)
{
    if (m->size + NEAR >= m->most)
        return 0;
    if (m->fails > m->most)
        return m->most;
    return m->fails - m->size > NEAR ? (uint16_t)((m->size + m->fails) / 2) : 0;
}

uint16_t quic_mtu_probe(struct quic_mtu *m, pq_ns now)
{
    if (m->again_at && now >= m->again_at)
        start(m);
    return m->probe >= 0 || m->again_at ? 0 : wanted(m);
}

bool quic_mtu_is_probe(const struct quic_mtu *m, int64_t n)
{
    return n == m->probe;
}

void quic_mtu_sent(struct quic_mtu *m, int64_t n, uint16_t bytes, pq_ns rtt, pq_ns now)
{
    if (bytes <= m->size)
        return;
    m->probe = n;
    m->probe_len = bytes;
    m->ask_at = now + 2 * rtt + ASK;
}

pq_ns quic_mtu_ask_at(const struct quic_mtu *m)
{
    return m->probe >= 0 ? m->ask_at : PQ_NEVER;
}

bool quic_mtu_ask(struct quic_mtu *m, pq_ns now)
{
    if (now < quic_mtu_ask_at(m))
        return false;
    m->ask_at = PQ_NEVER;
    return true;
}

/* More is known of what passes. */
static void learn(struct quic_mtu *m, pq_ns now)
{
    m->tries = 0;
    if (m->fails <= m->size)
        m->fails = (uint16_t)(m->most + 1);
    m->again_at = m->size + NEAR < m->most && !wanted(m) ? now + AGAIN : 0;
}

static void look_at_hole(struct quic_mtu *m)
{
    if (m->lost < IN_HOLE || m->any <= m->hole)
        return;
    fall(m);
    m->falls++;
}

void quic_mtu_acked(struct quic_mtu *m, int64_t n, uint16_t bytes, pq_ns now)
{
    if (n < m->since)
        return;
    if (n == m->probe)
        m->probe = -1;
    m->any = n > m->any ? n : m->any;
    if (bytes + NEAR > m->size && n > m->full) {
        m->full = n;
        m->lost = 0;
    }
    if (bytes > m->size && bytes <= m->most) {
        m->size = bytes;
        learn(m, now);
    }
    look_at_hole(m);
}

void quic_mtu_lost(struct quic_mtu *m, int64_t n, uint16_t bytes, pq_ns now)
{
    if (n < m->since)
        return;
    if (n == m->probe) {
        m->probe = -1;
        if (++m->tries < TRIES)
            return;
        m->fails = m->probe_len;
        learn(m, now);
        return;
    }
    if (bytes <= QUIC_MTU_LEAST || bytes > m->size || n < m->full)
        return;
    m->hole = m->lost ? m->hole : n;
    m->lost++;
    look_at_hole(m);
}

void quic_mtu_timeout(struct quic_mtu *m)
{
    m->careful = m->size > QUIC_MTU_LEAST ? CAREFUL : 0;
}

void quic_mtu_pulled(struct quic_mtu *m)
{
    m->careful -= m->careful > 0;
}
