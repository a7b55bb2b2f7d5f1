/* SPDX-License-Identifier: MIT */
#include "tunnel/syns.h"

#include "base/addr.h"
#include "base/err.h"
#include "base/hash.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PLACES ((size_t)2 * PQ_SYNS_OF_SLOT) /* a power of two */
#define WAYS   4                             /* places of each network in the table */
#define TITLE  "paqet syns 1\n"
#define END    "end\n"

struct slot { /* open addressing; 0 = free */
    uint64_t number;
    unsigned n, unknown; /* of them from networks that are not known */
    uint64_t v[PLACES];
};

struct network { /* from which clients have come; 0 = free */
    uint64_t key, seen;
    uint64_t slot;               /* in which there were ... */
    uint32_t wrong[2], answered; /* wrong: those with time stamps, those without */
};

struct pq_syns {
    uint64_t seed;
    pthread_mutex_t lock; /* of what follows */
    uint64_t net_seed;    /* of the networks' keys */
    bool any;             /* something has been answered that is remembered */
    uint64_t least;       /* earlier slots are over, or of before the start */
    struct slot slots[2]; /* by the slot's number modulo 2 */
    uint64_t wrong_slot;
    uint32_t wrong[2]; /* SYNs in it that have proven nothing, of networks that are not known */
    struct network known[PQ_SYNS_KNOWN];
};

void pq_syns_slots(uint64_t wall, uint64_t slots[2])
{
    slots[1] = (wall + PQ_SYN_SLOT / 2) / PQ_SYN_SLOT;
    slots[0] = slots[1] ? slots[1] - 1 : 0;
}

int pq_syns_new(struct pq_syns **out, uint64_t wall, uint64_t seed)
{
    uint64_t running[2];
    struct pq_syns *s = *out = calloc(1, sizeof *s);
    if (!s)
        return PQ_ENOMEM;
    s->seed = seed;
    s->net_seed = pq_hash_bytes(&seed, sizeof seed, seed);
    pthread_mutex_init(&s->lock, NULL);
    pq_syns_slots(wall, running);
    s->least = running[1] + 1;
    return 0;
}

void pq_syns_free(struct pq_syns **s)
{
    if (!*s)
        return;
    pthread_mutex_destroy(&(*s)->lock);
    free(*s);
    *s = NULL;
}

uint32_t pq_syns_number(const struct pq_syns *s, uint32_t number, uint32_t stamp)
{
    const uint32_t both[2] = {number, stamp};
    return (uint32_t)(pq_hash_bytes(both, sizeof both, s->seed) >> 16);
}

/* The place of a value, or the free one for it. */
static uint64_t *find(struct slot *t, uint64_t value)
{
    size_t i = (size_t)(value * UINT64_C(0x9e3779b97f4a7c15) >> 40) % PLACES;
    while (t->v[i] && t->v[i] != value)
        i = (i + 1) % PLACES;
    return &t->v[i];
}

static struct slot *slot_of(struct pq_syns *s, uint64_t number)
{
    struct slot *t = &s->slots[number % 2];
    if (t->number != number) {
        memset(t, 0, sizeof *t);
        t->number = number;
    }
    return t;
}

static bool remember(struct pq_syns *s, struct slot *t, uint64_t value)
{
    uint64_t *at = find(t, value);
    if (*at || t->n >= PQ_SYNS_OF_SLOT)
        return false;
    *at = value;
    t->n++;
    s->any = true;
    return true;
}

/* ---- networks */

static uint64_t key_of(const struct pq_syns *s, const struct pq_addr *from)
{
    const size_t n = pq_addr_is4(from) ? 12 + 3 : 6;
    const uint64_t key = pq_hash_bytes(from->ip, n, s->net_seed);
    return key ? key : 1;
}

static struct network *row_of(struct pq_syns *s, uint64_t key)
{
    return &s->known[(size_t)(key >> 20) % (PQ_SYNS_KNOWN / WAYS) * WAYS];
}

/* NULL: it is not known. */
static struct network *network(struct pq_syns *s, const struct pq_addr *from, uint64_t slot)
{
    const uint64_t key = key_of(s, from);
    struct network *n = row_of(s, key);
    for (unsigned i = 0; i < WAYS; i++, n++) {
        if (n->key != key)
            continue;
        if (n->slot != slot)
            *n = (struct network){.key = key, .seen = n->seen, .slot = slot};
        return n;
    }
    return NULL;
}

static void know(struct pq_syns *s, uint64_t key, uint64_t seen)
{
    struct network *row = row_of(s, key), *at = row;
    for (struct network *n = row; n < row + WAYS && at->key != key; n++)
        if (n->key == key || n->seen < at->seen)
            at = n;
    if (at->key != key)
        *at = (struct network){.key = key};
    at->seen = seen;
}

void pq_syns_know(struct pq_syns *s, const struct pq_addr *from, uint64_t wall)
{
    pthread_mutex_lock(&s->lock);
    know(s, key_of(s, from), wall);
    pthread_mutex_unlock(&s->lock);
}

/* ---- what is answered */

static const uint32_t wrong_most[2] = {PQ_SYNS_WRONG, PQ_SYNS_WRONG_PLAIN};
static const uint32_t wrong_each[2] = {PQ_SYNS_EACH, PQ_SYNS_EACH_PLAIN};

/* Wrong ones until now, in the slot that runs. */
static uint32_t *wrong(struct pq_syns *s, uint64_t slot, bool plain)
{
    if (s->wrong_slot != slot) {
        s->wrong_slot = slot;
        memset(s->wrong, 0, sizeof s->wrong);
    }
    return &s->wrong[plain];
}

void pq_syns_note_wrong(struct pq_syns *s, const struct pq_addr *from, bool plain, uint64_t wall)
{
    uint64_t valid[2];
    pq_syns_slots(wall, valid);
    pthread_mutex_lock(&s->lock);
    struct network *known = network(s, from, valid[1]);
    const bool own = known && known->wrong[plain] < wrong_each[plain];
    uint32_t *n = own ? &known->wrong[plain] : wrong(s, valid[1], plain);
    *n += *n < wrong_most[plain];
    pthread_mutex_unlock(&s->lock);
}

/* Who has the keys and takes answers from others does so for his own network alone, or for all that
 * are not known.  Wrong ones anybody can send in any network's name: where its share of them is
 * used up, it is as one that is not known. */
static bool has_share(struct pq_syns *s, const struct network *n, const struct slot *t,
                      uint64_t now, bool plain)
{
    const bool guessed =
        (!n || n->wrong[plain] >= wrong_each[plain]) && *wrong(s, now, plain) >= wrong_most[plain];
    return !guessed && (n ? n->answered < PQ_SYNS_EACH : t->unknown < PQ_SYNS_UNKNOWN);
}

static bool take(struct pq_syns *s, const struct pq_syn *syn, uint64_t wall)
{
    uint64_t valid[2];
    pq_syns_slots(wall, valid);
    if (!s->any && s->least > valid[1] + 4) /* the clock was far ahead when it started */
        s->least = valid[1] + 2;
    if (valid[0] > s->least) /* never back: what was answered earlier is forgotten */
        s->least = valid[0];
    if (syn->slot < s->least || syn->slot > valid[1])
        return false;
    struct network *from = network(s, syn->from, valid[1]);
    struct slot *t = slot_of(s, syn->slot);
    const uint64_t value = (uint64_t)syn->number << 32 | syn->stamp;
    if (!has_share(s, from, t, valid[1], syn->plain) || !remember(s, t, value ? value : 1))
        return false;
    if (from)
        from->answered++;
    else
        t->unknown++;
    return true;
}

bool pq_syns_take(struct pq_syns *s, const struct pq_syn *syn, uint64_t wall)
{
    pthread_mutex_lock(&s->lock);
    const bool ok = take(s, syn, wall);
    pthread_mutex_unlock(&s->lock);
    return ok;
}

uint64_t pq_syns_from(struct pq_syns *s)
{
    pthread_mutex_lock(&s->lock);
    const uint64_t from = s->least * PQ_SYN_SLOT;
    pthread_mutex_unlock(&s->lock);
    return from;
}

/* ---- the text: a title; the first slot that is answered; what was, with its slot; the networks
 * from which clients have come, which stand there as hashes, and the seed of these; an end */

static void write_networks(const struct pq_syns *s, FILE *f)
{
    bool any = false;
    for (const struct network *n = s->known; n < s->known + PQ_SYNS_KNOWN; n++) {
        if (!n->key)
            continue;
        if (!any)
            fprintf(f, "seed %016" PRIx64 "\n", s->net_seed);
        fprintf(f, "net %016" PRIx64 " %" PRIu64 "\n", n->key, n->seen);
        any = true;
    }
}

bool pq_syns_write(struct pq_syns *s, FILE *f)
{
    pthread_mutex_lock(&s->lock);
    fprintf(f, TITLE "from %" PRIu64 "\n", s->least);
    for (const struct slot *t = s->slots; t < s->slots + 2; t++)
        for (size_t i = 0; t->number >= s->least && i < PLACES; i++)
            if (t->v[i])
                fprintf(f, "%" PRIu64 " %016" PRIx64 "\n", t->number, t->v[i]);
    write_networks(s, f);
    fputs(END, f);
    pthread_mutex_unlock(&s->lock);
    return !ferror(f);
}

static int read_network(struct pq_syns *s, const char *line)
{
    uint64_t key, seen;
    if (sscanf(line, "seed %" SCNx64, &key) == 1) {
        s->net_seed = key;
        memset(s->known, 0, sizeof s->known);
        return 0;
    }
    if (sscanf(line, "net %" SCNx64 " %" SCNu64, &key, &seen) != 2 || !key)
        return PQ_EPROTO;
    know(s, key, seen);
    return 0;
}

/* Of one line.  Returns 0, 1 at the end, or PQ_EPROTO. */
static int read_line(struct pq_syns *s, const char *line, uint64_t least)
{
    uint64_t slot, value;
    if (strcmp(line, END) == 0)
        return 1;
    if (line[0] == 's' || line[0] == 'n')
        return read_network(s, line);
    if (sscanf(line, "%" SCNu64 " %" SCNx64, &slot, &value) != 2 || slot < least ||
        slot > least + 1 || !value)
        return PQ_EPROTO;
    remember(s, slot_of(s, slot), value);
    return 0;
}

int pq_syns_read(struct pq_syns *s, FILE *f)
{
    char line[64];
    uint64_t least;
    if (!fgets(line, sizeof line, f) || strcmp(line, TITLE) != 0 || !fgets(line, sizeof line, f) ||
        sscanf(line, "from %" SCNu64, &least) != 1)
        return PQ_EPROTO;
    int e = 0;
    pthread_mutex_lock(&s->lock);
    while (!e && fgets(line, sizeof line, f))
        e = read_line(s, line, least);
    if (e == 1)
        s->least = least;
    else
        memset(s->known, 0, sizeof s->known);
    pthread_mutex_unlock(&s->lock);
    return e == 1 ? 0 : PQ_EPROTO;
}
