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
#define EACH_SEC 1000 /* and SYNs that are given on */

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

/* Its own repetition finds the way that the first one has opened. */
static bool is_new(struct pq_decoy *d, const struct pq_addr *from, pq_ns now)
{
    const uint64_t key = key_of(d, from);
    const size_t i = (size_t)(key >> 32) % SEEN;
    pthread_mutex_lock(&d->lock);
    bool ok = d->seen[i].key != key || now >= d->seen[i].at + SEEN_FOR;
    if (now >= d->since + PQ_SEC) {
        d->since = now;
        d->n = 0;
    }
    ok = ok && d->n < EACH_SEC;
    if (ok) {
        d->n++;
        d->seen[i].key = key;
        d->seen[i].at = now;
    }
    pthread_mutex_unlock(&d->lock);
    return ok;
}

static void forget(struct pq_decoy *d, const struct pq_addr *from)
{
    const uint64_t key = key_of(d, from);
    const size_t i = (size_t)(key >> 32) % SEEN;
    pthread_mutex_lock(&d->lock);
    if (d->seen[i].key == key)
        d->seen[i].key = 0;
    pthread_mutex_unlock(&d->lock);
}

static bool admit(struct pq_app *app, const struct pq_addr *from)
{
    pthread_mutex_lock(&app->fw_lock);
    const bool ok = app->fw && !pq_firewall_admit(app->fw, from);
    pthread_mutex_unlock(&app->fw_lock);
    return ok;
}

void pq_decoy_take(struct pq_decoy *d, struct pq_app *app, const struct pq_segment *syn, pq_ns now)
{
    if (is_new(d, &syn->src, now) && admit(app, &syn->src))
        pq_inject(&d->out, syn->data - syn->head, syn->head, &syn->dst);
}

void pq_decoy_exclude(struct pq_decoy *d, struct pq_app *app, const struct pq_addr *from)
{
    forget(d, from);
    pthread_mutex_lock(&app->fw_lock);
    if (app->fw)
        pq_firewall_exclude(app->fw, from); /* it is mostly not there */
    pthread_mutex_unlock(&app->fw_lock);
}
