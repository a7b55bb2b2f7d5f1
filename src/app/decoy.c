/* SPDX-License-Identifier: MIT */
#include "app/decoy.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/hash.h"
#include "os/inject.h"

#include <stdlib.h>
#include <string.h>

#define SEEN     4096 /* strangers that are remembered, ... */
#define SEEN_FOR (60 * PQ_SEC)
#define EACH_SEC 1000   /* and SYNs that are given on */
#define REFUSED  PQ_SEC /* none is let through for that long after the kernel has refused one */
#define MARKS    (1U << 20)

struct pq_decoy {
    struct pq_inject out;
    uint64_t seed;
    pthread_mutex_t lock; /* of what follows */
    struct {
        uint64_t key;
        pq_ns at;
    } seen[SEEN];
    pq_ns since;
    unsigned n; /* since then */
    pq_ns refused_until;
    uint8_t marks[MARKS / 8]; /* by the key: who may have been let through */
};

int pq_decoy_new(struct pq_decoy **out, uint64_t seed)
{
    struct pq_decoy *d = *out = calloc(1, sizeof *d);
    if (!d)
        return PQ_ENOMEM;
    const int e = pq_inject_open(&d->out);
    if (e) {
        free(d);
        *out = NULL;
        return e;
    }
    d->seed = seed;
    pthread_mutex_init(&d->lock, NULL);
    return 0;
}

void pq_decoy_free(struct pq_decoy **d)
{
    if (!*d)
        return;
    pq_inject_close(&(*d)->out);
    pthread_mutex_destroy(&(*d)->lock);
    free(*d);
    *d = NULL;
}

static uint64_t key_of(const struct pq_decoy *d, const struct pq_addr *a)
{
    uint8_t key[18];
    memcpy(key, a->ip, 16);
    pq_put_be16(key + 16, a->port);
    return pq_hash_bytes(key, sizeof key, d->seed) | 1;
}

/* Packets from there come over the wire, and can be answered. */
static bool is_from_elsewhere(const struct pq_segment *syn)
{
    const struct pq_addr *a = &syn->src;
    const uint8_t first = pq_addr_is4(a) ? pq_addr_v4(a)[0] : a->ip[0];
    if (pq_addr_is_any(a) || pq_addr_is_loopback(a) ||
        memcmp(a->ip, syn->dst.ip, sizeof a->ip) == 0)
        return false;
    return pq_addr_is4(a) ? first && first < 224 : first != 0xff;
}

/* Its own repetition finds the way that the first one has opened. */
static bool is_new(struct pq_decoy *d, uint64_t key, pq_ns now)
{
    const size_t i = (size_t)(key >> 32) % SEEN;
    bool ok = d->seen[i].key != key || now >= d->seen[i].at + SEEN_FOR;
    if (now >= d->since + PQ_SEC) {
        d->since = now;
        d->n = 0;
    }
    ok = ok && d->n < EACH_SEC && now >= d->refused_until;
    if (ok) {
        d->n++;
        d->seen[i].key = key;
        d->seen[i].at = now;
    }
    return ok;
}

static uint8_t *mark_of(struct pq_decoy *d, uint64_t key, uint8_t *bit)
{
    const size_t i = (size_t)(key >> 20) % MARKS;
    *bit = (uint8_t)(1U << i % 8);
    return &d->marks[i / 8];
}

/* Takes d->lock, then app->fw_lock. */
void pq_decoy_take(struct pq_decoy *d, struct pq_app *app, const struct pq_segment *syn, pq_ns now)
{
    const uint64_t key = key_of(d, &syn->src);
    uint8_t bit, *mark = mark_of(d, key, &bit);
    if (!is_from_elsewhere(syn))
        return;
    pthread_mutex_lock(&d->lock);
    bool ok = is_new(d, key, now);
    if (ok) {
        *mark |= bit;
        pthread_mutex_lock(&app->fw_lock);
        ok = app->fw && !pq_firewall_admit(app->fw, &syn->src);
        pthread_mutex_unlock(&app->fw_lock);
        d->refused_until = ok ? 0 : pq_clock() + REFUSED;
    }
    pthread_mutex_unlock(&d->lock);
    if (ok)
        pq_inject(&d->out, syn->data - syn->head, syn->head, &syn->dst);
}

/* Few have been let through before they are clients: who asks for all is not to wait for each. */
void pq_decoy_exclude(struct pq_decoy *d, struct pq_app *app, const struct pq_addr *from)
{
    const uint64_t key = key_of(d, from);
    const size_t i = (size_t)(key >> 32) % SEEN;
    uint8_t bit, *mark = mark_of(d, key, &bit);
    pthread_mutex_lock(&d->lock);
    if (d->seen[i].key == key)
        d->seen[i].key = 0;
    if (*mark & bit) { /* it stays: others have it, too */
        pthread_mutex_lock(&app->fw_lock);
        if (app->fw)
            pq_firewall_exclude(app->fw, from);
        pthread_mutex_unlock(&app->fw_lock);
    }
    pthread_mutex_unlock(&d->lock);
}
