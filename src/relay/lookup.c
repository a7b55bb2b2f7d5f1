/* SPDX-License-Identifier: MIT */
#include "relay/lookup.h"

#include "base/err.h"
#include "base/list.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define STACK ((size_t)512 * 1024) /* for getaddrinfo and the modules that it loads */

/* Freed by the last who uses it: the loop, or a thread that found out later. */
struct pq_lookups {
    uv_async_t wake;
    unsigned running;     /* as the loop knows it */
    pthread_mutex_t lock; /* of what follows */
    struct pq_list done;  /* with an answer, for the loop */
    unsigned users;       /* threads, and the loop */
    bool closed;          /* the loop wants no more answers */
};

struct pq_lookup {
    struct pq_lookups *all;
    struct pq_list node; /* in all->done */
    pq_lookup_fn fn;     /* the loop's; NULL once dropped */
    void *ctx;
    bool absolute; /* to be looked up with a final dot */
    int status;
    struct addrinfo *res;
    char host[];
};

static void lookup_free(struct pq_lookup *q)
{
    if (q->res)
        freeaddrinfo(q->res);
    free(q);
}

/* Takes the lock off, too. */
static void leave(struct pq_lookups *l)
{
    const bool last = --l->users == 0;
    pthread_mutex_unlock(&l->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- in the thread */

int pq_lookup_error(int eai)
{
    switch (eai) {
    case 0:
        return 0;
    case EAI_AGAIN:
        return UV_EAI_AGAIN;
    case EAI_MEMORY:
        return UV_EAI_MEMORY;
    case EAI_NONAME:
        return UV_EAI_NONAME;
#ifdef EAI_NODATA
    case EAI_NODATA:
        return UV_EAI_NODATA;
#endif
    default:
        return UV_EAI_FAIL;
    }
}

/* Whether /etc/hosts has the name: the system finds it there first, but not with a final dot, and
 * where the C library is musl only as it is spelled there, which is what `name` becomes. */
static bool is_in_hosts(char *name)
{
    char line[1024], *rest;
    bool found = false;
    FILE *f = fopen("/etc/hosts", "re");
    while (f && !found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "#\n")] = 0;
        const char *word = strtok_r(line, " \t", &rest); /* the address */
        while (word && !found && (word = strtok_r(NULL, " \t", &rest))) {
            found = strcasecmp(word, name) == 0;
            if (found)
                memcpy(name, word, strlen(word));
        }
    }
    if (f)
        fclose(f);
    return found;
}

static void *run(void *arg)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct pq_lookup *q = arg;
    struct pq_lookups *l = q->all;
    if (!is_in_hosts(q->host) && q->absolute)
        strcat(q->host, ".");
    q->status = pq_lookup_error(getaddrinfo(q->host, NULL, &hints, &q->res));
    pthread_mutex_lock(&l->lock);
    if (l->closed) {
        lookup_free(q);
    } else {
        pq_list_push(&l->done, &q->node);
        uv_async_send(&l->wake);
    }
    leave(l);
    return NULL;
}

static bool start_thread(struct pq_lookup *q)
{
    pthread_attr_t attr;
    pthread_t thread;
    if (pthread_attr_init(&attr))
        return false;
    pthread_attr_setstacksize(&attr, STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    const bool ok = pthread_create(&thread, &attr, run, q) == 0;
    pthread_attr_destroy(&attr);
    return ok;
}

/* ---- in the loop */

static struct pq_lookup *next_done(struct pq_lookups *l)
{
    pthread_mutex_lock(&l->lock);
    struct pq_list *n = pq_list_pop(&l->done);
    pthread_mutex_unlock(&l->lock);
    return n ? PQ_OF(n, struct pq_lookup, node) : NULL;
}

static void on_wake(uv_async_t *a)
{
    struct pq_lookups *l = a->data;
    struct pq_lookup *q;
    while ((q = next_done(l))) {
        l->running--;
        if (q->fn)
            q->fn(q->ctx, q->status, q->res);
        lookup_free(q);
    }
}

int pq_lookups_new(struct pq_lookups **out, uv_loop_t *loop)
{
    struct pq_lookups *l = *out = calloc(1, sizeof *l);
    if (!l)
        return PQ_ENOMEM;
    if (uv_async_init(loop, &l->wake, on_wake)) {
        free(l);
        *out = NULL;
        return PQ_ENOMEM;
    }
    l->wake.data = l;
    l->users = 1;
    pq_list_init(&l->done);
    pthread_mutex_init(&l->lock, NULL);
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    struct pq_lookups *l = h->data;
    pthread_mutex_lock(&l->lock);
    leave(l);
}

void pq_lookups_close(struct pq_lookups **lp)
{
    struct pq_lookups *l = *lp;
    struct pq_lookup *q;
    if (!l)
        return;
    *lp = NULL;
    pthread_mutex_lock(&l->lock);
    l->closed = true;
    pthread_mutex_unlock(&l->lock);
    while ((q = next_done(l)))
        lookup_free(q);
    uv_close((uv_handle_t *)&l->wake, on_closed);
}

unsigned pq_lookups_running(const struct pq_lookups *l)
{
    return l->running;
}

struct pq_lookup *pq_lookup_start(struct pq_lookups *l, const char *host, bool absolute,
                                  pq_lookup_fn done, void *ctx)
{
    const size_t len = strlen(host);
    struct pq_lookup *q = calloc(1, sizeof *q + len + 2); /* room for a final dot */
    if (!q)
        return NULL;
    q->all = l;
    q->fn = done;
    q->ctx = ctx;
    q->absolute = absolute && len && host[len - 1] != '.';
    memcpy(q->host, host, len + 1);
    pthread_mutex_lock(&l->lock);
    l->users++;
    pthread_mutex_unlock(&l->lock);
    if (!start_thread(q)) {
        free(q);
        pthread_mutex_lock(&l->lock);
        leave(l);
        return NULL;
    }
    l->running++;
    return q;
}

void pq_lookup_drop(struct pq_lookup *q)
{
    q->fn = NULL;
}
