/* SPDX-License-Identifier: MIT */
/* mtu.c - as RFC 8899 has it, but that the largest size is tried first: as a rule it passes, and
 * then one round trip was enough.  To fall back costs a round trip, too, so a few packets that were
 * lost in a row are reason enough; who is patient waits for so many that a path which loses as much
 * as this one, without regard to sizes, does it once in some ten million packets.
 *
 * Where long ones are lost now and then, every other packet is short for a while (a trial): what
 * comes and goes beside each other tells whether that is their length. */
#include "cc/mtu.h"

#define TRIES   3              /* lost probes of a size: it does not pass */
#define NEAR    12             /* bytes for which nobody goes on looking */
#define AGAIN   (600 * PQ_SEC) /* until what did not pass is tried again ... */
#define SOONER  (20 * PQ_SEC)  /* ... where it did pass before: then twice as long each time */
#define OFTEN   (60 * PQ_SEC)  /* large packets stop arriving so soon again: nothing is tried ... */
#define HELD    (10 * PQ_SEC)  /* ... for so long, ... */
#define HELDS   6              /* ... and twice as long each time, so many times */
#define IN_HOLE 4              /* large packets that were lost, while others have arrived ... */
#define PER_ONE 20             /* ... and one more for so many of 1000 that are lost anyway ... */
#define PER_TRY 100            /* ... and one more probe */
#define SPAN    256            /* packets whose fates tell that */
#define GUESS   20             /* ... as long as little is known: a fifth of so many */
#define ALIKE   96             /* bytes that a packet may be less than `least` and count as that */
#define FEW     128            /* long packets, at least, of which ... */
#define MANY    200            /* ... so many of 1000 are lost: a trial */
#define TRIAL   384            /* packets of each kind, at least, ... */
#define CLEAR   500            /* ... or, where so many more of 1000 are lost, ... */
#define SOON    48             /* ... so many, ... */
#define ROUNDS  10             /* ... and round trips: one of each eight sends more than fits */
#define WORTH   150            /* of 1000 more are lost: that is more than short ones cost */
#define TRIALS  (60 * PQ_SEC)  /* until the next one, or ... */
#define MORE    250            /* ... until so many of 1000 more are lost */
#define CHECK   PQ_SEC         /* between two probes of what is in use */
#define ASK     (50 * PQ_MS)   /* and two RTT: then a probe would have arrived */
#define CAREFUL 2              /* as many as go out when a timer says that all may be lost */

static void forget_kinds(struct pq_mtu *m)
{
    m->trial = m->brief = false;
    for (int i = 0; i < PQ_MTU_KINDS; i++)
        m->of[i].came = m->of[i].gone = 0;
}

static void start(struct pq_mtu *m)
{
    m->size = m->size < m->most ? m->size : m->most;
    m->fails = (uint16_t)(m->most + 1);
    m->tries = 0;
    m->again_at = 0;
    forget_kinds(m);
}

static void fall(struct pq_mtu *m)
{
    if (m->probe_len <= m->size)
        m->probe = -1;
    m->size = m->least;
    m->wait = SOONER;
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
                         .wait = AGAIN,
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
    m->trial_at = 0;
    m->trial_from = next;
    fall(m);
    m->wait = AGAIN;
}

uint16_t pq_mtu_cap(const struct pq_mtu *m)
{
    return m->careful ? m->least : m->size;
}

uint16_t pq_mtu_whole(const struct pq_mtu *m)
{
    return m->fails > m->most ? m->most : m->size;
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
    if (now >= pq_mtu_check_at(m))
        return m->size;
    return m->probe >= 0 || m->again_at ? 0 : wanted(m);
}

void pq_mtu_beside(struct pq_mtu *m, uint16_t bytes)
{
    m->unsure = m->unsure || (bytes > m->least && bytes <= m->size);
}

pq_ns pq_mtu_check_at(const struct pq_mtu *m)
{
    return m->unsure && m->probe < 0 && m->size > m->least ? m->check_at : PQ_NEVER;
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
    if (m->probe >= 0 || bytes < m->size || (bytes == m->size && !m->unsure))
        return;
    m->probe = n;
    m->unsure = m->unsure && bytes > m->size;
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
    m->again_at = 0;
    if (m->size + NEAR >= m->most || wanted(m))
        return;
    m->again_at = now + m->wait;
    m->wait = pq_ns_min(2 * m->wait, AGAIN);
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

/* Who lets probes pass, and what is as long not, gets no more of them for a while: at once where
 * some of what is long passes. */
static void hold(struct pq_mtu *m, bool some, pq_ns now)
{
    m->often = now < m->calm_at ? m->often + (m->often <= HELDS) : some;
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
        hold(m, false, now);
}

static unsigned all_of(const struct pq_mtu *m, enum pq_mtu_kind kind)
{
    return m->of[kind].came + m->of[kind].gone;
}

/* Lost, of 1000. */
static unsigned loss_of(const struct pq_mtu *m, enum pq_mtu_kind kind)
{
    return (unsigned)((uint64_t)m->of[kind].gone * 1000 / all_of(m, kind));
}

/* Twice as many long ones are lost, and so many more that short ones are the better choice: neither
 * chance does that, nor a full queue in which what is a little shorter finds room sooner. */
static void judge_trial(struct pq_mtu *m, pq_ns now)
{
    const unsigned all_l = all_of(m, PQ_MTU_LONG), all_s = all_of(m, PQ_MTU_SHORT);
    const unsigned few = all_l < all_s ? all_l : all_s;
    if (few < SOON || now < m->trial_at)
        return;
    const unsigned l = loss_of(m, PQ_MTU_LONG), s = loss_of(m, PQ_MTU_SHORT);
    if (few < TRIAL && l < s + CLEAR)
        return;
    forget_kinds(m);
    m->trial_at = now + TRIALS;
    m->tried = l;
    if (l < 2 * s || l < s + WORTH)
        return;
    fall(m);
    m->falls++;
    hold(m, true, now);
}

/* One begins where many are lost, unless one has just shown that it is not their length. */
static void begin_trial(struct pq_mtu *m, pq_ns now)
{
    const unsigned all = all_of(m, PQ_MTU_LONG), lost = all ? loss_of(m, PQ_MTU_LONG) : 0;
    if (all >= FEW && lost >= MANY && (now >= m->trial_at || lost >= m->tried + MORE)) {
        forget_kinds(m);
        m->trial = true;
        m->trial_from = m->last + 1;
        m->trial_at = now + ROUNDS * m->round;
    } else if (all >= SPAN) {
        m->of[PQ_MTU_LONG].came /= 2;
        m->of[PQ_MTU_LONG].gone /= 2;
    }
}

/* One of either kind has come or is lost. */
static void note_kind(struct pq_mtu *m, int64_t n, uint16_t bytes, bool came, pq_ns now)
{
    const bool is_long = bytes + NEAR > m->size;
    const bool is_short = bytes <= m->least && bytes + ALIKE > m->least;
    if (!m->round || m->size <= m->least + NEAR || !(is_long || is_short) || n < m->trial_from)
        return;
    const enum pq_mtu_kind kind = is_long ? PQ_MTU_LONG : PQ_MTU_SHORT;
    m->of[kind].came += came;
    m->of[kind].gone += !came;
    if (m->trial)
        judge_trial(m, now);
    else
        begin_trial(m, now);
}

void pq_mtu_went(struct pq_mtu *m, int64_t n, uint16_t bytes, pq_ns round)
{
    m->last = n;
    m->round = round;
    if (!round) {
        forget_kinds(m);
        m->trial_from = n + 1;
    }
    m->brief = m->trial && bytes > m->least;
}

uint16_t pq_mtu_next(const struct pq_mtu *m)
{
    return m->brief ? m->least : m->size;
}

void pq_mtu_acked(struct pq_mtu *m, int64_t n, uint16_t bytes, pq_ns now)
{
    if (n < m->since)
        return;
    const bool probe = n == m->probe;
    if (probe)
        m->probe = -1;
    else
        note_kind(m, n, bytes, true, now);
    const bool held = m->often && m->again_at && !probe;
    m->any = n > m->any ? n : m->any;
    note_fates(m, 1, 0);
    const bool large = bytes + NEAR > m->size || (m->lost && bytes >= m->hole_len);
    if (large && n > m->full) {
        m->full = n;
        m->unsure = false;
        m->check_at = now + CHECK;
        note_fates(m, 0, m->lost);
        m->lost = 0;
    }
    if (bytes > m->size && bytes <= m->most && !held) {
        m->size = bytes;
        forget_kinds(m);
        learn(m, now);
    }
    look_at_hole(m, now);
}

static void probe_lost(struct pq_mtu *m, pq_ns now)
{
    if (++m->tries < enough(m, TRIES, PER_TRY))
        return;
    m->fails = m->probe_len;
    learn(m, now);
}

void pq_mtu_lost(struct pq_mtu *m, int64_t n, uint16_t bytes, pq_ns now)
{
    if (n < m->since)
        return;
    if (n == m->probe) {
        m->probe = -1;
        if (m->probe_len > m->size) {
            probe_lost(m, now);
            return;
        }
        m->unsure = true; /* it was of the size in use: another one at once */
        m->check_at = now;
    } else {
        note_kind(m, n, bytes, false, now);
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
