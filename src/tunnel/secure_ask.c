/* SPDX-License-Identifier: MIT */
/* secure_ask.c - the client's side of the handshakes of our own wire: for a session with keys, for
 * an upgrade, and for new keys [12.2] [12.5] [12.6]. */
#include "tunnel/tunnel_internal.h"

#include <stdlib.h>

#define FIRST_PAUSE   (250 * PQ_MS) /* between two messages */
#define LONGEST_PAUSE (2 * PQ_SEC)
#define RENEW_TRIES   5 /* messages for new keys, then the session goes on as it is ... */
#define RENEW_AGAIN   (60 * PQ_SEC) /* ... for so long */
#define FORGED_MAX    16            /* wrong answers that are looked at, to each message */

/* From the n-th message to the next: doubled each time, and a quarter more or less.  Where there is
 * a session already nothing is in a hurry, and no answer is given up before it could have come. */
static pq_ns pause_after(const struct pq_session *s, unsigned n)
{
    pq_ns first = FIRST_PAUSE, most = LONGEST_PAUSE;
    if (s->ask->about.kind == PQ_KIND_RENEW) {
        first = pq_ns_max(PQ_SEC, 3 * pq_kcp_srtt(s->kcp));
        most = 8 * first;
    }
    const pq_ns p = n < 5 ? pq_ns_min(first << n, most) : most;
    return p * 3 / 4 + pq_rng_u64(s->hub->rng) % (p / 2);
}

static uint32_t new_id(const struct pq_session *s)
{
    uint32_t id;
    do
        id = pq_rng_u32(s->hub->rng);
    while (!id || (s->sec && id == s->sec->cur.rx_id));
    return id;
}

int pq_ask_begin(struct pq_session *s, enum pq_kind kind, pq_ns now)
{
    struct pq_hub *h = s->hub;
    if (!h->conf.own.on)
        return PQ_ENOTSUP;
    struct pq_ask *a = s->ask = calloc(1, sizeof *a);
    if (!a)
        return PQ_ENOMEM;
    a->due = now;
    a->elsewhere_at = now + PQ_UNANSWERED;
    a->said = (struct pq_said){.ciphers = pq_aead_ready(),
                               .id = new_id(s),
                               .conv = kind == PQ_KIND_UPGRADE ? pq_rng_u32(h->rng) : s->conv,
                               .instance = h->instance,
                               .replaces = h->replaces,
                               .abilities = s->said};
    if (kind == PQ_KIND_KEYS)
        h->replaces = 0; /* said once */
    a->about = (struct pq_shake_context){.kind = kind, .server_public = s->server_public};
    if (kind == PQ_KIND_UPGRADE)
        a->about.a = s->conv;
    if (kind == PQ_KIND_RENEW) {
        a->about.a = s->sec->cur.rx_id;
        a->about.b = s->sec->cur.tx_id;
        a->about.psk = s->sec->cur.next_psk;
    }
    pq_session_wake(s);
    return 0;
}

void pq_ask_end(struct pq_session *s)
{
    if (!s->ask)
        return;
    explicit_bzero(s->ask, sizeof *s->ask);
    free(s->ask);
    s->ask = NULL;
}

/* Later than every one before. */
static uint64_t next_stamp(struct pq_hub *h)
{
    const uint64_t wall = h->ev->wall(h->ctx);
    h->last_stamp = wall > h->last_stamp ? wall : h->last_stamp + 1;
    return h->last_stamp;
}

size_t pq_ask_fill(struct pq_session *s, uint8_t *p, size_t cap, pq_ns now)
{
    struct pq_ask *a = s->ask;
    struct pq_hub *h = s->hub;
    if (!a || now < a->due)
        return 0;
    if (a->about.kind == PQ_KIND_RENEW && a->n == RENEW_TRIES) {
        s->sec->renew_at = s->sec->not_before = now + RENEW_AGAIN;
        pq_ask_end(s);
        return 0;
    }
    a->said.stamp = next_stamp(h);
    a->due = now + pause_after(s, a->n);
    a->forged[a->n % PQ_TRIES] = 0;
    a->about.attempt = (uint8_t)a->n;
    struct pq_buf out = {p, cap, 0};
    int e = pq_shake_ask(h->ring[0].shake, &a->tries[a->n % PQ_TRIES], &a->about, &a->said, &out);
    a->n++;
    if (e && e != PQ_ENOMEM)
        s->dead = e;
    return e ? 0 : out.len;
}

enum pq_drop pq_ask_take(struct pq_session *s, const struct pq_message *m, pq_ns now)
{
    struct pq_ask *a = s->ask;
    struct pq_epoch keys;
    struct pq_said said;
    const uint8_t back = (uint8_t)(a->n - 1 - m->attempt);
    if (m->kind != a->about.kind + 1U || back >= PQ_TRIES || back >= a->n)
        return PQ_DROP_HANDSHAKE;
    if (a->forged[m->attempt % PQ_TRIES] >= FORGED_MAX)
        return PQ_DROP_RATE;
    enum pq_drop d = pq_shake_finish(s->hub->ring[0].shake, &a->tries[m->attempt % PQ_TRIES],
                                     &a->about, m->noise, &a->said, &said, &keys);
    if (d) {
        a->forged[m->attempt % PQ_TRIES]++;
        return d;
    }
    const bool upgrade = a->about.kind == PQ_KIND_UPGRADE;
    const bool renew = a->about.kind == PQ_KIND_RENEW;
    const uint32_t conv = a->said.conv, told = a->said.abilities;
    pq_ask_end(s);
    s->heard = now;
    if (upgrade && pq_session_restart(s, conv, now)) {
        pq_epoch_free(&keys);
        s->dead = PQ_ENOMEM;
        return PQ_DROP_FULL;
    }
    if ((!renew && pq_session_own(s, told, said.abilities)) || pq_secure_use(s, &keys, now)) {
        pq_epoch_free(&keys);
        s->dead = PQ_ENOMEM;
        return PQ_DROP_FULL;
    }
    pq_smux_nop(s->smux); /* the server waits for a datagram under these keys; KCP repeats it */
    pq_session_wake(s);
    return PQ_DROP_NONE;
}

int pq_session_upgrade(struct pq_session *s, pq_ns now)
{
    if (s->sec || s->ask || !(s->abilities & s->said & PQ_ABLE_KEYS))
        return PQ_ENOTSUP;
    return pq_ask_begin(s, PQ_KIND_UPGRADE, now);
}
