/* SPDX-License-Identifier: MIT */
/* mtu.c - as RFC 8899 has it, but that the largest size is tried first: as a rule it passes, and
 * then one round trip was enough.  To fall back costs a round trip, too, so a few packets that were
 * lost in a row are reason enough; who is patient waits for so many that a path which loses as much
 * as this one, without regard to sizes, does it once in some ten million packets. */
#include "cc/mtu.h"

#define TRIES   3              /* lost probes of a size: it does not pass */
#define NEAR    12             /* bytes for which nobody goes on looking */
#define AGAIN   (600 * PQ_SEC) /* until what did not pass is tried again */
#define OFTEN   (60 * PQ_SEC)  /* large packets stop arriving so soon again: nothing is tried ... */
#define HELD    (10 * PQ_SEC)  /* ... for so long, ... */
#define HELDS   6              /* ... and twice as long each time, so many times */
#define IN_HOLE 4              /* large packets that were lost, while others have arrived ... */
#define PER_ONE 20             /* ... and one more for so many of 1000 that are lost anyway ... */
#define PER_TRY 100            /* ... and one more probe */
#define SPAN    256            /* packets whose fates tell that */
#define GUESS   20             /* ... as long as little is known: a fifth of so many */
#define ASK     (50 * PQ_MS)   /* and two RTT: then a probe would have arrived */
#define CAREFUL 2              /* as many as go out when a timer says that all may be lost */

static void start(struct pq_mtu *m)
{
    m->size = m->size < m->most ? m->size : m->most;
    m->fails = (uint16_t)(m->most + 1);
    m->tries = 0;
    m->again_at = 0;
}

static void fall(struct pq_mtu *m)
{
    m->size = m->least;
    m->careful = 0;
    m->lost = 0;
    m->full = m->any;
    start(m);
}

void pq_mtu_init(struct pq_mtu *m, uint16_t least, uint16_t most, bool patient)
{
    *m = (struct pq_mtu){.patient = patient,
                         .least = least,
                         .most = most,
                         .size = least,
                         .probe = -1,
                         .any = -1,
                         .full = -1,
                         .came = GUESS - GUESS / 5,
                         .gone = GUESS / 5};
    start(m);
}

void pq_mtu_limit(struct pq_mtu *m, uint16_t most)
{
    if (most == m->most)
        return;
    m->most = most > m->least ? most : m->least;
    start(m);
}

void pq_mtu_path(struct pq_mtu *m, int64_t next)
{
    m->since = next;
    m->probe = -1;
    m->any = m->full = next - 1;
    m->calm_at = 0;
    m->often = 0;
    fall(m);
}

uint16_t pq_mtu_cap(const struct pq_mtu *m)
{
    return m->careful ? m->least : m->size;
}

/* The next size to be tried, or 0. */
static uint16_t wanted(const struct pq_mtu *m)
{
    if (m->size + NEAR >= m->most)
        return 0;
    if (m->fails > m->most)
        return m->most;
    return m->fails - m->size > NEAR ? (uint16_t)((m->size + m->fails) / 2) : 0;
}

uint16_t pq_mtu_probe(struct pq_mtu *m, pq_ns now)
{
    if (m->again_at && now >= m->again_at)
        start(m);
    return m->probe >= 0 || m->again_at ? 0 : wanted(m);
}

bool pq_mtu_wants(const struct pq_mtu *m)
{
    return m->probe < 0 && !m->again_at && wanted(m);
}

bool pq_mtu_is_probe(const struct pq_mtu *m, int64_t n)
{
    return n == m->probe;
}

void pq_mtu_sent(struct pq_mtu *m, int64_t n, uint16_t bytes, pq_ns rtt, pq_ns now)
{
    if (bytes <= m->size)
        return;
    m->probe = n;
    m->probe_len = bytes;
    m->ask_at = now + 2 * rtt + ASK;
}

pq_ns pq_mtu_ask_at(const struct pq_mtu *m)
{
    return m->probe >= 0 ? m->ask_at : PQ_NEVER;
}

bool pq_mtu_ask(struct pq_mtu *m, pq_ns now)
{
    if (now < pq_mtu_ask_at(m))
        return false;
    m->ask_at = PQ_NEVER;
    return true;
}

/* As many that were lost in a row as tell that it is their size. */
static unsigned enough(const struct pq_mtu *m, unsigned least, unsigned per_one)
{
    return least + (m->patient ? m->gone * 1000 / (m->came + m->gone) / per_one : 0);
}

/* More is known of what passes. */
static void learn(struct pq_mtu *m, pq_ns now)
{
    m->tries = 0;
    if (m->fails <= m->size)
        m->fails = (uint16_t)(m->most + 1);
    m->again_at = m->size + NEAR < m->most && !wanted(m) ? now + AGAIN : 0;
}

static void note_fates(struct pq_mtu *m, unsigned came, unsigned gone)
{
    m->came += came;
    m->gone += gone;
    if (m->came + m->gone < SPAN)
        return;
    m->came /= 2;
    m->gone /= 2;
}

/* Who lets probes pass, and what is as long not, gets no more of them for a while. */
static void hold(struct pq_mtu *m, pq_ns now)
{
    m->often = now < m->calm_at ? m->often + (m->often <= HELDS) : 0;
    m->again_at = m->often ? now + (HELD << (m->often - 1)) : 0;
    m->calm_at = pq_ns_max(now, m->again_at) + OFTEN;
}

static void look_at_hole(struct pq_mtu *m, pq_ns now)
{
    if (m->lost < enough(m, IN_HOLE, PER_ONE) || m->any <= m->hole)
        return;
    fall(m);
    m->falls++;
    if (m->patient)
        hold(m, now);
}

void pq_mtu_acked(struct pq_mtu *m, int64_t n, uint16_t bytes, pq_ns now)
{
    if (n < m->since)
        return;
    const bool held = m->often && m->again_at && n != m->probe;
    if (n == m->probe)
        m->probe = -1;
    m->any = n > m->any ? n : m->any;
    note_fates(m, 1, 0);
    const bool large = bytes + NEAR > m->size || (m->lost && bytes >= m->hole_len);
    if (large && n > m->full) {
        m->full = n;
        note_fates(m, 0, m->lost);
        m->lost = 0;
    }
    if (bytes > m->size && bytes <= m->most && !held) {
        m->size = bytes;
        learn(m, now);
    }
    look_at_hole(m, now);
}

void pq_mtu_lost(struct pq_mtu *m, int64_t n, uint16_t bytes, pq_ns now)
{
    if (n < m->since)
        return;
    if (n == m->probe) {
        m->probe = -1;
        if (++m->tries < enough(m, TRIES, PER_TRY))
            return;
        m->fails = m->probe_len;
        learn(m, now);
        return;
    }
    if (bytes <= m->least || bytes > m->size || n < m->full) {
        note_fates(m, 0, 1);
        return;
    }
    m->hole = m->lost ? m->hole : n;
    m->hole_len = m->lost && m->hole_len < bytes ? m->hole_len : bytes;
    m->lost++;
    look_at_hole(m, now);
}

void pq_mtu_timeout(struct pq_mtu *m)
{
    m->careful = m->size > m->least ? CAREFUL : 0;
}

void pq_mtu_pulled(struct pq_mtu *m)
{
    m->careful -= m->careful > 0;
}
