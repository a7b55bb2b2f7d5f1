/* SPDX-License-Identifier: MIT */
#include "tunnel/watch.h"

#define DEAD_MIN     PQ_SEC /* without a confirmation of what was sent, or 3 RTT */
#define DEAD_RTTS    3
#define DEAD_SENT    6 /* packets at least, none of which was confirmed; or three times as long */
#define DEAD_AT_LAST 3
#define BULK         8 /* segments between two questions: else keepalives ask often enough */
#define PROBE_SOON   (100 * PQ_MS)
#define PROBE_MIN    (300 * PQ_MS) /* between two questions whether what we send arrives, or 1 RTT */
#define VOLUME_LEAST 65536         /* bytes; who dies with less cannot be left in time */
#define VOLUMES_VARY 4             /* by this part of the least they are alike */
#define EARLY_MAX    15            /* tuples that are left early, before one is not */
#define MOVE_AFTER   (1200 * PQ_SEC) /* and up to twice as much, without need */

pq_ns pq_watch_dead_after(const struct pq_pulse *p)
{
    return pq_ns_max(DEAD_MIN, DEAD_RTTS * p->rtt);
}

/* Packets that ask for confirmation, since there was one. */
static uint64_t sent_since(const struct pq_watch *w, const struct pq_pulse *p)
{
    return p->sent - w->sent + w->asked;
}

void pq_watch_note(struct pq_watch *w, const struct pq_pulse *p, pq_ns now)
{
    if (!p->owed && (!w->asked || p->confirmed != w->confirmed)) {
        w->owed_since = 0;
        w->asked = 0;
    } else if (!w->owed_since || p->confirmed != w->confirmed) {
        w->owed_since = now;
        w->sent = p->sent;
        w->asked = 0;
    }
    w->confirmed = p->confirmed;
}

pq_ns pq_watch_dead_at(const struct pq_watch *w, const struct pq_pulse *p)
{
    const pq_ns after = pq_watch_dead_after(p);
    if (!w->owed_since)
        return PQ_NEVER;
    return w->owed_since + (sent_since(w, p) >= DEAD_SENT ? after : DEAD_AT_LAST * after);
}

pq_ns pq_watch_ask_at(const struct pq_watch *w, const struct pq_pulse *p)
{
    if (w->owed_since)
        return pq_ns_max(w->probed_at + PROBE_SOON,
                         w->owed_since + p->rtt + p->rtt / 4 + PROBE_SOON);
    return p->received >= w->received + (w->bulk ? 1 : BULK)
               ? w->probed_at + pq_ns_max(PROBE_MIN, p->rtt)
               : PQ_NEVER;
}

bool pq_watch_ask(struct pq_watch *w, const struct pq_pulse *p, pq_ns now)
{
    if (now < pq_watch_ask_at(w, p))
        return false;
    w->probed_at = now;
    w->bulk = p->received >= w->received + BULK;
    w->received = p->received;
    w->asked++;
    if (!w->owed_since) {
        w->owed_since = now;
        w->sent = p->sent;
    }
    return true;
}

void pq_watch_answered(struct pq_watch *w)
{
    w->owed_since = 0;
    w->moves = w->asked = 0;
}

void pq_watch_set_move(struct pq_watch *w, struct pq_rng *rng, pq_ns now)
{
    w->move_at = now + MOVE_AFTER + pq_rng_u64(rng) % MOVE_AFTER;
}

void pq_watch_died(struct pq_watch *w, const struct pq_pulse *p)
{
    uint64_t least = UINT64_MAX, most = 0;
    if (w->died)
        return;
    w->died = true;
    w->volumes[w->n_volumes++ % PQ_WATCH_ALIKE] = p->bytes - w->began;
    for (unsigned i = 0; i < PQ_WATCH_ALIKE; i++) {
        least = w->volumes[i] < least ? w->volumes[i] : least;
        most = w->volumes[i] > most ? w->volumes[i] : most;
    }
    const bool alike = most - least <= least / VOLUMES_VARY && least >= VOLUME_LEAST;
    w->limit = w->n_volumes >= PQ_WATCH_ALIKE && alike ? least : 0;
    w->early = 0;
}

void pq_watch_began(struct pq_watch *w, const struct pq_pulse *p, struct pq_rng *rng, pq_ns now)
{
    w->began = p->bytes;
    w->since = now;
    w->died = false;
    w->leave = 0;
    if (w->limit && w->early++ % (EARLY_MAX + 1) < EARLY_MAX)
        w->leave = w->limit / 2 + pq_rng_u64(rng) % (w->limit / 4);
}

bool pq_watch_leaves(struct pq_watch *w, const struct pq_pulse *p, pq_ns least, pq_ns now)
{
    const uint64_t bytes = p->bytes - w->began;
    if (w->limit && bytes > 2 * w->limit) { /* it lives: so would the next ones */
        w->limit = w->n_volumes = 0;
        w->leave = 0;
    }
    if (!w->leave || bytes < w->leave || now < w->since + least)
        return false;
    w->leave = 0;
    return true;
}

void pq_watch_unheard(struct pq_watch *w)
{
    if (!w->moves) /* it was not dead */
        w->limit = w->n_volumes = 0;
}
