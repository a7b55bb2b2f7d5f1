/* SPDX-License-Identifier: MIT */
#include "fec/fec.h"
#include "fec/rs.h"

#include <stdlib.h>

#define GROUPS        4   /* the newest and the three behind it [3.4] */
#define SAMPLES       258 /* packets from which (D, P) is learned [3.4] */
#define LEARN_EVERY   16  /* packets between two tries, which sort all samples */
#define CONFIRM_EVERY 4   /* the same while nothing contradicts the guess */
#define LEARN_OFTEN   64  /* shapes that a session may have so quickly; with each further one ... */
#define LEARN_RARE    4096 /* ... twice as many packets go by, up to this */

struct group {
    bool used, done; /* done: all data is there or was rebuilt */
    uint32_t number;
    unsigned have, have_data;
    struct pq_chunk **shard; /* d + p: size field and payload, or parity bytes */
};

struct sample {
    uint32_t id;
    bool data;
};

struct pq_fec_dec {
    struct pq_rs *rs;
    unsigned d, p;
    uint32_t limit;
    struct group group[GROUPS];
    bool started;
    uint32_t newest; /* group number */
    uint32_t slot;   /* of the newest group; the one behind it has the slot before */
    struct pq_chunks *chunks;
    pq_fec_fn rebuilt;
    void *ctx;
    struct pq_chunkq spent; /* rebuilt shards, freed at done */
    bool learning;          /* what comes contradicts (d, p) */
    bool sure;              /* the ids have shown (d, p), or it is configured */
    unsigned n_samples, next_sample, since_try, try_every, shapes;
    struct sample sample[SAMPLES];
    uint64_t n_rebuilt;
};

/* ---- groups */

static void clear_group(struct pq_fec_dec *d, struct group *g)
{
    for (unsigned i = 0; g->shard && i < d->d + d->p; i++) {
        pq_chunk_free(g->shard[i]);
        g->shard[i] = NULL;
    }
    g->used = g->done = false;
    g->have = g->have_data = 0;
}

static void drop_shape(struct pq_fec_dec *d)
{
    for (unsigned i = 0; i < GROUPS; i++) {
        clear_group(d, &d->group[i]);
        free(d->group[i].shard);
        d->group[i].shard = NULL;
    }
    pq_rs_free(&d->rs);
    d->started = false;
}

static int set_shape(struct pq_fec_dec *d, unsigned data, unsigned parity)
{
    drop_shape(d);
    int e = pq_rs_new(&d->rs, data, parity, false);
    d->d = data;
    d->p = parity;
    d->limit = e ? 0 : UINT32_MAX / (data + parity) * (data + parity);
    for (unsigned i = 0; !e && i < GROUPS; i++) {
        d->group[i].shard = calloc(data + parity, sizeof(struct pq_chunk *));
        if (!d->group[i].shard)
            e = PQ_ENOMEM;
    }
    return e;
}

int pq_fec_dec_new(struct pq_fec_dec **out, unsigned d, unsigned p, bool sure,
                   struct pq_chunks *chunks, pq_fec_fn rebuilt, void *ctx)
{
    *out = NULL;
    struct pq_fec_dec *f = calloc(1, sizeof *f);
    if (!f)
        return PQ_ENOMEM;
    f->chunks = chunks;
    f->rebuilt = rebuilt;
    f->ctx = ctx;
    f->try_every = LEARN_EVERY;
    f->sure = sure;
    int e = set_shape(f, d, p);
    if (e)
        pq_fec_dec_free(&f);
    *out = f;
    return e;
}

void pq_fec_dec_free(struct pq_fec_dec **dp)
{
    if (!*dp)
        return;
    drop_shape(*dp);
    pq_chunkq_clear(&(*dp)->spent);
    free(*dp);
    *dp = NULL;
}

void pq_fec_dec_done(struct pq_fec_dec *d)
{
    pq_chunkq_clear(&d->spent);
}

void pq_fec_dec_stats(const struct pq_fec_dec *d, struct pq_fec_stats *out)
{
    *out = (struct pq_fec_stats){d->n_rebuilt, d->d, d->p};
}

/* ---- learning (D, P) from the order of data and parity ids */

static int by_id(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Keeps one of samples that are equal: the network may copy packets.  Returns how many remain. */
static unsigned drop_copies(struct sample *s, unsigned n)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++)
        if (!kept || s[i].id != s[kept - 1].id || s[i].data != s[kept - 1].data)
            s[kept++] = s[i];
    return kept;
}

/* Length of the first complete run of one kind: neighbours of the other kind on both sides and no
 * gap in the ids.  0 if there is none. */
static unsigned find_run(const struct sample *s, unsigned n, bool data)
{
    unsigned start =
        0; /* index + 1 of the run's first packet; 0 = not in a run that began cleanly */
    for (unsigned i = 1; i < n; i++) {
        bool follows = s[i].id == s[i - 1].id + 1;
        if (!follows)
            start = 0;
        else if (s[i].data == data && s[i - 1].data != data)
            start = i + 1;
        else if (s[i].data != data && s[i - 1].data == data && start)
            return i + 1 - start;
    }
    return 0;
}

/* The lengths of complete runs among the samples; 0 = there is none. */
static void find_shape(const struct pq_fec_dec *d, unsigned *data, unsigned *parity)
{
    struct sample s[SAMPLES];
    memcpy(s, d->sample, d->n_samples * sizeof s[0]);
    qsort(s, d->n_samples, sizeof s[0], by_id);
    unsigned n = drop_copies(s, d->n_samples);
    *data = find_run(s, n, true);
    *parity = find_run(s, n, false);
}

/* Looks whether the guess is what the ids show. */
static void confirm(struct pq_fec_dec *d)
{
    unsigned data, parity;
    if (++d->since_try < CONFIRM_EVERY)
        return;
    d->since_try = 0;
    find_shape(d, &data, &parity);
    d->sure = data == d->d && parity == d->p;
}

static void learn(struct pq_fec_dec *d)
{
    unsigned data, parity;
    if (++d->since_try < d->try_every)
        return;
    d->since_try = 0;
    find_shape(d, &data, &parity);
    if (!data || !parity || data + parity >= PQ_RS_SHARDS_MAX || set_shape(d, data, parity))
        return;
    d->learning = false;
    d->sure = true;
    if (++d->shapes > LEARN_OFTEN && d->try_every < LEARN_RARE)
        d->try_every *= 2;
}

static void note_sample(struct pq_fec_dec *d, uint32_t id, bool data)
{
    d->sample[d->next_sample] = (struct sample){id, data};
    d->next_sample = (d->next_sample + 1) % SAMPLES;
    if (d->n_samples < SAMPLES)
        d->n_samples++;
}

/* ---- rebuilding */

/* Extends a shard with zeros to n bytes; its chunk has room, see keep_shard. */
static void pad(struct pq_chunk *c, size_t n)
{
    if (c->len < n)
        memset(pq_chunk_data(c) + c->len, 0, n - c->len);
}

static void deliver(struct pq_fec_dec *d, struct pq_chunk *c, size_t n)
{
    size_t size = pq_le16(pq_chunk_data(c));
    if (size >= 2 && size <= n) { /* else parity was of something else */
        d->n_rebuilt++;
        d->rebuilt(d->ctx, (struct pq_view){pq_chunk_data(c) + 2, size - 2});
    }
    pq_chunkq_push(&d->spent, c);
}

static void rebuild(struct pq_fec_dec *d, struct group *g)
{
    uint8_t *shard[PQ_RS_SHARDS_MAX], *out[PQ_RS_SHARDS_MAX];
    struct pq_chunk *made[PQ_RS_SHARDS_MAX] = {NULL};
    size_t n = 0;
    bool ok = true;
    g->done = true;
    for (unsigned i = 0; i < d->d + d->p; i++)
        if (g->shard[i] && g->shard[i]->len > n)
            n = g->shard[i]->len;
    for (unsigned i = 0; i < d->d + d->p; i++) {
        if (g->shard[i])
            pad(g->shard[i], n);
        else if (i < d->d)
            ok = (made[i] = pq_chunk_new(d->chunks, PQ_CHUNK_SMALL)) && ok;
        shard[i] = g->shard[i] ? pq_chunk_data(g->shard[i]) : NULL;
        out[i] = made[i] ? pq_chunk_data(made[i]) : NULL;
    }
    ok = ok && !pq_rs_rebuild(d->rs, shard, n, out);
    for (unsigned i = 0; i < d->d; i++) {
        if (made[i] && ok)
            deliver(d, made[i], n);
        else
            pq_chunk_free(made[i]);
    }
}

/* ---- packets */

static struct group *group_of(struct pq_fec_dec *d, uint32_t number)
{
    if (!d->started) {
        d->started = true;
        d->newest = number;
    }
    int64_t groups = d->limit / (d->d + d->p), ahead = (int64_t)number - d->newest;
    if (ahead < -groups / 2)
        ahead += groups; /* the ids have wrapped */
    else if (ahead > groups / 2)
        ahead -= groups; /* sent before they wrapped */
    if (ahead <= -GROUPS)
        return NULL;
    uint32_t slot =
        (d->slot + (uint32_t)ahead) % GROUPS; /* numbers wrap at no multiple of GROUPS */
    if (ahead > 0) {
        d->newest = number;
        d->slot = slot;
    }
    struct group *g = &d->group[slot];
    if (!g->used || g->number != number) {
        clear_group(d, g);
        g->used = true;
        g->number = number;
    }
    return g;
}

static enum pq_drop keep_shard(struct pq_fec_dec *d, uint32_t id, struct pq_view shard)
{
    struct group *g = group_of(d, id / (d->d + d->p));
    unsigned index = id % (d->d + d->p);
    if (!g || g->done || g->shard[index])
        return g ? PQ_DROP_NONE : PQ_DROP_FEC;
    struct pq_chunk *c = pq_chunk_new(d->chunks, PQ_CHUNK_SMALL);
    if (!c)
        return PQ_DROP_FULL;
    memcpy(pq_chunk_data(c), shard.p, shard.n);
    c->len = (uint32_t)shard.n;
    g->shard[index] = c;
    g->have++;
    g->have_data += index < d->d;
    if (g->have_data == d->d)
        g->done = true;
    else if (g->have >= d->d && d->sure)
        rebuild(d, g);
    if (g->done) /* nothing more to expect: the shards go at once */
        for (unsigned i = 0; i < d->d + d->p; i++) {
            pq_chunk_free(g->shard[i]);
            g->shard[i] = NULL;
        }
    return PQ_DROP_NONE;
}

enum pq_drop pq_fec_dec_input(struct pq_fec_dec *d, struct pq_view v)
{
    if (v.n < PQ_FEC_HEAD || v.n > 6 + PQ_FEC_PAYLOAD)
        return PQ_DROP_FEC;
    uint32_t id = pq_le32(v.p);
    uint16_t type = pq_le16(v.p + 4);
    bool data = type == PQ_FEC_DATA;
    if (!data && type != PQ_FEC_PARITY)
        return PQ_DROP_FEC;
    struct pq_view shard = {v.p + 6, v.n - 6};
    if (data) {
        size_t size = pq_le16(v.p + 6);
        if (size < 2 || size > shard.n)
            return PQ_DROP_FEC;
        shard.n = size;
    }
    if (!d->learning && id >= d->limit)
        return PQ_DROP_FEC; /* no id of any group [3.1] */
    note_sample(d, id, data);
    if (!d->learning && (id % (d->d + d->p) < d->d) != data)
        d->learning = true;
    if (d->learning) {
        learn(d);
        return data ? PQ_DROP_NONE : PQ_DROP_FEC;
    }
    if (!d->sure)
        confirm(d);
    return keep_shard(d, id, shard);
}
