/* SPDX-License-Identifier: MIT */
#include "tunnel/stamps.h"

#include "base/err.h"
#include "base/hex.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#define NEAR     UINT64_C(120000)  /* ms: what counts as near our clock */
#define LAST     (UINT64_MAX >> 1) /* no clock is later */
#define GONE_MAX 4096              /* users that are no more, whose stamps are kept */
#define TITLE    "paqet stamps 1\n"
#define END      "end\n"

struct user {
    uint8_t key[PQ_STAMP_KEY_LEN];
    uint64_t floor; /* the greatest stamp that was forgotten */
    struct pq_stamp *v;
    unsigned n, cap, most;
};

struct pq_stamps {
    pthread_mutex_t lock; /* of users and tickets: not all machines have atomic ones of 64 bits */
    struct user *users;   /* n that are, then those that are no more */
    unsigned n, all;
    bool nameless;
    uint64_t floor; /* of users who come later */
    uint64_t ticket;
    uint64_t kept;
    void (*changed)(void *ctx); /* NULL: nobody keeps it */
    void *ctx;
    pq_stamps_seen_fn seen; /* looks on: `ctx` is of this one, and of a server's table it is ... */
    bool seen_kept;         /* ... that somebody keeps it */
};

int pq_stamps_new(struct pq_stamps **out, const uint8_t (*keys)[PQ_STAMP_KEY_LEN], unsigned n)
{
    struct pq_stamps *s = *out = calloc(1, sizeof *s);
    if (!s)
        return PQ_ENOMEM;
    pthread_mutex_init(&s->lock, NULL);
    s->nameless = n == 0;
    s->users = calloc(n ? n : 1, sizeof *s->users);
    if (!s->users) {
        pq_stamps_free(out);
        return PQ_ENOMEM;
    }
    s->n = s->all = n ? n : 1;
    for (unsigned i = 0; i < n; i++)
        memcpy(s->users[i].key, keys[i], PQ_STAMP_KEY_LEN);
    for (unsigned i = 0; i < s->n; i++)
        s->users[i].most = n ? PQ_STAMPS_EACH : PQ_STAMPS_ALL;
    return 0;
}

void pq_stamps_free(struct pq_stamps **sp)
{
    struct pq_stamps *s = *sp;
    if (!s)
        return;
    for (unsigned i = 0; s->users && i < s->all; i++)
        free(s->users[i].v);
    free(s->users);
    pthread_mutex_destroy(&s->lock);
    free(s);
    *sp = NULL;
}

static bool has_key(const struct user *u, const uint8_t key[PQ_STAMP_KEY_LEN])
{
    return u->most && memcmp(u->key, key, sizeof u->key) == 0;
}

/* Moves the entry of this key to *to; the place it had, most likely `near`, is left empty. */
static void move_user(struct pq_stamps *s, const uint8_t key[PQ_STAMP_KEY_LEN], struct user *to,
                      unsigned near)
{
    *to = (struct user){.most = PQ_STAMPS_EACH, .floor = s->floor};
    memcpy(to->key, key, PQ_STAMP_KEY_LEN);
    unsigned i = near < s->all && has_key(&s->users[near], key) ? near : 0;
    while (i < s->all && !has_key(&s->users[i], key))
        i++;
    if (i == s->all)
        return;
    *to = s->users[i];
    s->users[i] = (struct user){.most = 0};
}

/* Whether anything would be forgotten with it. */
static bool matters(const struct pq_stamps *s, const struct user *u)
{
    return u->most && (u->n || u->floor > s->floor);
}

int pq_stamps_set_users(struct pq_stamps *s, const uint8_t (*keys)[PQ_STAMP_KEY_LEN], unsigned n)
{
    pthread_mutex_lock(&s->lock);
    struct user *v = calloc((size_t)n + s->all, sizeof *v);
    if (!v) {
        pthread_mutex_unlock(&s->lock);
        return PQ_ENOMEM;
    }
    for (unsigned i = 0; i < n; i++)
        move_user(s, keys[i], &v[i], i);
    unsigned all = n;
    for (unsigned i = 0; i < s->all; i++) { /* who are no more; the first to go is the first here */
        if (matters(s, &s->users[i]) && all < n + GONE_MAX)
            v[all++] = s->users[i];
        else
            free(s->users[i].v);
    }
    free(s->users);
    s->users = v;
    s->n = n;
    s->all = all;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

void pq_stamps_keep(struct pq_stamps *s, void (*changed)(void *ctx), void *ctx)
{
    s->changed = changed;
    s->ctx = ctx;
}

void pq_stamps_look_on(struct pq_stamps *s, bool kept, pq_stamps_seen_fn seen, void *ctx)
{
    s->seen = seen;
    s->seen_kept = kept;
    s->ctx = ctx;
}

void pq_stamps_floor(struct pq_stamps *s, uint64_t stamp)
{
    s->floor = stamp;
    for (unsigned i = 0; i < s->n; i++)
        s->users[i].floor = stamp;
}

static struct pq_stamp *find(struct user *u, uint64_t instance)
{
    for (unsigned i = 0; i < u->n; i++)
        if (u->v[i].instance == instance)
            return &u->v[i];
    return NULL;
}

/* A place for another instance, if there is room. */
static struct pq_stamp *make_place(struct user *u)
{
    if (u->n == u->cap && u->cap < u->most) {
        unsigned cap = u->cap ? 2 * u->cap : 4;
        struct pq_stamp *v = realloc(u->v, cap * sizeof *v);
        if (!v)
            return NULL;
        u->v = v;
        u->cap = cap;
    }
    return u->n < u->cap ? &u->v[u->n++] : NULL;
}

static struct pq_stamp *least(struct user *u)
{
    struct pq_stamp *at = u->n ? &u->v[0] : NULL;
    for (unsigned i = 1; i < u->n; i++)
        if (u->v[i].stamp < at->stamp)
            at = &u->v[i];
    return at;
}

/* The place of an instance that nobody knew.  What lies ahead of our clock never raises the floor,
 * so nobody can lock a user out, himself neither. */
static struct pq_stamp *place_for(struct user *u, struct pq_stamp t, uint64_t wall, bool strict)
{
    unsigned ahead = 0;
    for (unsigned i = 0; i < u->n; i++)
        ahead += u->v[i].stamp > wall + NEAR;
    if (t.stamp <= u->floor || (t.stamp > wall + NEAR && ahead >= PQ_STAMPS_AHEAD))
        return NULL;
    struct pq_stamp *at = make_place(u);
    if (at || u->n < u->most)
        return at;
    at = least(u);
    if (strict) /* only what would not be taken again anyway may be forgotten */
        return at->stamp + NEAR < wall ? at : NULL;
    if (at->stamp > u->floor)
        u->floor = at->stamp;
    return at;
}

static bool take(struct user *u, struct pq_stamp t, uint64_t wall, uint64_t up, bool strict)
{
    if (t.stamp > LAST || wall > LAST)
        return false;
    if (strict && (t.stamp + up <= wall || t.stamp + NEAR < wall || t.stamp > wall + NEAR))
        return false;
    struct pq_stamp *at = find(u, t.instance);
    if (at && t.stamp <= at->stamp)
        return false;
    if (!at)
        at = place_for(u, t, wall, strict);
    if (at)
        *at = t;
    return at != NULL;
}

bool pq_stamps_take(struct pq_stamps *s, unsigned user, struct pq_stamp t, uint64_t wall,
                    uint64_t up, uint64_t *ticket)
{
    const bool kept = (s->changed || s->seen_kept) && !s->nameless;
    pthread_mutex_lock(&s->lock);
    bool ok = user < s->n && take(&s->users[user], t, wall, s->seen ? wall : up, !kept);
    if (ok)
        *ticket = kept && !s->seen ? ++s->ticket : 0;
    pthread_mutex_unlock(&s->lock);
    if (s->seen)
        s->seen(s->ctx, t, ok);
    else if (ok && kept)
        s->changed(s->ctx);
    return ok;
}

bool pq_stamps_kept(struct pq_stamps *s, uint64_t ticket)
{
    pthread_mutex_lock(&s->lock);
    const bool kept = s->kept >= ticket;
    pthread_mutex_unlock(&s->lock);
    return kept;
}

void pq_stamps_note_kept(struct pq_stamps *s, uint64_t ticket)
{
    pthread_mutex_lock(&s->lock);
    s->kept = ticket;
    pthread_mutex_unlock(&s->lock);
}

/* ---- the text: a title; for each user his key and floor, then a line for each program; an end */

bool pq_stamps_write(struct pq_stamps *s, FILE *f, uint64_t *ticket)
{
    pthread_mutex_lock(&s->lock);
    *ticket = s->ticket;
    fputs(TITLE, f);
    for (unsigned i = 0; i < s->all && !s->nameless; i++) {
        const struct user *u = &s->users[i];
        fputs("user ", f);
        for (size_t k = 0; k < sizeof u->key; k++)
            fprintf(f, "%02x", u->key[k]);
        fprintf(f, " %" PRIu64 "\n", u->floor);
        for (unsigned k = 0; k < u->n; k++)
            fprintf(f, "%016" PRIx64 " %" PRIu64 "\n", u->v[k].instance, u->v[k].stamp);
    }
    fputs(END, f);
    pthread_mutex_unlock(&s->lock);
    return !ferror(f);
}

/* The user of a line that names one, who may be no more; NULL: no room. */
static struct user *user_of(struct pq_stamps *s, const uint8_t key[PQ_STAMP_KEY_LEN])
{
    for (unsigned i = 0; i < s->all; i++)
        if (!(s->nameless && i == 0) && memcmp(s->users[i].key, key, PQ_STAMP_KEY_LEN) == 0)
            return &s->users[i];
    if (s->all >= s->n + GONE_MAX)
        return NULL;
    struct user *v = realloc(s->users, (s->all + 1) * sizeof *v);
    if (!v)
        return NULL;
    s->users = v;
    v[s->all] = (struct user){.most = PQ_STAMPS_EACH};
    memcpy(v[s->all].key, key, PQ_STAMP_KEY_LEN);
    return &v[s->all++];
}

struct reader {
    struct user *u; /* of the lines that follow */
    bool ended;
};

static int read_line(struct pq_stamps *s, const char *line, struct reader *r)
{
    char hex[2 * PQ_STAMP_KEY_LEN + 1];
    uint8_t key[PQ_STAMP_KEY_LEN];
    uint64_t a, b;
    if (r->ended)
        return PQ_EPROTO;
    if (strcmp(line, END) == 0) {
        r->ended = true;
        return 0;
    }
    if (sscanf(line, "user %64[0-9a-f] %" SCNu64, hex, &a) == 2) {
        if (!pq_hex_read(hex, key, sizeof key))
            return PQ_EPROTO;
        r->u = user_of(s, key);
        if (r->u && a > r->u->floor)
            r->u->floor = a;
        return r->u ? 0 : PQ_ENOMEM;
    }
    if (!r->u || sscanf(line, "%" SCNx64 " %" SCNu64, &a, &b) != 2)
        return PQ_EPROTO;
    struct pq_stamp *at = find(r->u, a);
    if (!at)
        at = make_place(r->u);
    if (at)
        *at = (struct pq_stamp){a, b};
    return at ? 0 : PQ_ENOMEM;
}

int pq_stamps_read(struct pq_stamps *s, FILE *f)
{
    char line[128];
    struct reader r = {0};
    int e = fgets(line, sizeof line, f) && strcmp(line, TITLE) == 0 ? 0 : PQ_EPROTO;
    pthread_mutex_lock(&s->lock);
    while (!e && fgets(line, sizeof line, f))
        e = read_line(s, line, &r);
    pthread_mutex_unlock(&s->lock);
    return e || r.ended ? e : PQ_EPROTO;
}
