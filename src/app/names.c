/* SPDX-License-Identifier: MIT */
#include "app/names.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_MAX (PQ_CONF_TUNNELS_MAX * PQ_CONF_SERVERS_MAX)

struct name {
    struct pq_names *all;
    char *host;
    bool answered;
    struct pq_name_found found;
};

struct pq_names {
    struct pq_lookups *lookups;
    pq_names_fn done;
    void *ctx;
    struct name *v[NAMES_MAX];
    unsigned n, begun, answered;
};

int pq_names_new(struct pq_names **out, uv_loop_t *loop)
{
    struct pq_names *n = *out = calloc(1, sizeof *n);
    if (n && pq_lookups_new(&n->lookups, loop))
        pq_names_free(out);
    return *out ? 0 : PQ_ENOMEM;
}

static struct name *find(const struct pq_names *n, const char *host)
{
    for (unsigned i = 0; i < n->n; i++)
        if (strcmp(n->v[i]->host, host) == 0)
            return n->v[i];
    return NULL;
}

static int add(struct pq_names *n, const char *host)
{
    struct pq_addr literal;
    if (pq_addr_parse_ip(&literal, host) == 0 || find(n, host))
        return 0;
    struct name *name = n->n < NAMES_MAX ? calloc(1, sizeof *name) : NULL;
    if (name && !(name->host = strdup(host))) {
        free(name);
        name = NULL;
    }
    if (!name)
        return PQ_ENOMEM;
    name->all = n;
    n->v[n->n++] = name;
    return 0;
}

int pq_names_add(struct pq_names *n, const struct pq_conf *c)
{
    int e = 0;
    for (unsigned i = 0; i < c->n_servers && !e; i++)
        e = add(n, c->server[i].host);
    return e;
}

static void begin(struct pq_names *n);

static void on_answer(void *ctx, int status, const struct addrinfo *res)
{
    struct name *name = ctx;
    struct pq_names *n = name->all;
    name->answered = true;
    pq_discover_found(&name->found, status, res);
    n->answered++;
    begin(n);
    if (n->answered == n->n)
        n->done(n->ctx); /* may free it */
}

/* As many as may be under way.  For which there is no thread, the answer is that nobody knows. */
static void begin(struct pq_names *n)
{
    while (n->begun < n->n && n->begun - n->answered < PQ_NAMES_AT_ONCE) {
        struct name *name = n->v[n->begun++];
        if (pq_lookup_start(n->lookups, name->host, false, on_answer, name))
            continue;
        name->answered = true;
        name->found.status = UV_EAI_AGAIN;
        n->answered++;
    }
}

unsigned pq_names_start(struct pq_names *n, pq_names_fn done, void *ctx)
{
    n->done = done;
    n->ctx = ctx;
    begin(n);
    return n->answered < n->n ? n->n : 0;
}

const struct pq_name_found *pq_names_get(const struct pq_names *n, const char *host)
{
    const struct name *name = find(n, host);
    return name ? &name->found : NULL;
}

const char *pq_names_waits_for(const struct pq_names *n)
{
    for (unsigned i = 0; i < n->n; i++)
        if (!n->v[i]->answered)
            return n->v[i]->host;
    return NULL;
}

void pq_names_free(struct pq_names **np)
{
    struct pq_names *n = *np;
    if (!n)
        return;
    *np = NULL;
    pq_lookups_close(&n->lookups);
    for (unsigned i = 0; i < n->n; i++) {
        free(n->v[i]->host);
        free(n->v[i]);
    }
    free(n);
}
