/* SPDX-License-Identifier: MIT */
/* client_tunnels.c - several tunnels in one program: a client of each, which share the main thread,
 * with its signals, control socket and page, the log and the bound of memory. */
#include "app/client.h"
#include "app/reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct tunnels {
    struct pq_app app; /* of all of them: see there */
    struct client *cl; /* app.conf->n_tunnels */
    struct pq_worker *w[PQ_WORKERS_MAX];
};

/* ---- changes while they run: those that are in both files */

static struct pq_conf *find(const struct pq_conf *c, const char *name)
{
    for (unsigned i = 0; i < c->n_tunnels; i++)
        if (strcmp(c->tunnel[i].name, name) == 0)
            return &c->tunnel[i];
    return NULL;
}

static void add_restarts(const struct tunnels *t, const struct pq_conf *next, struct pq_news *news)
{
    const struct pq_conf *now = t->app.conf;
    for (unsigned i = 0; i < now->n_tunnels; i++) {
        const struct pq_conf *c = find(next, now->tunnel[i].name);
        if (!c)
            pq_news_add(news, PQ_NEWS_RESTART, "tunnels, for %s to go", now->tunnel[i].name);
        else {
            news->name = c->name;
            pq_reload_differ(&t->cl[i].app, c, news);
            news->name = NULL;
        }
    }
    for (unsigned i = 0; i < next->n_tunnels; i++)
        if (!find(now, next->tunnel[i].name))
            pq_news_add(news, PQ_NEWS_RESTART, "tunnels, for %s to come", next->tunnel[i].name);
}

static int reload(struct pq_app *app, struct pq_conf *next, struct pq_news *news)
{
    struct tunnels *t = PQ_OF(app, struct tunnels, app);
    struct client_change v[PQ_CONF_TUNNELS_MAX] = {0};
    unsigned n = 0;
    add_restarts(t, next, news);
    for (unsigned i = 0; i < app->conf->n_tunnels; i++) {
        v[n].cl = &t->cl[i];
        v[n].next = find(next, app->conf->tunnel[i].name);
        n += v[n].next != NULL;
    }
    const int e = pq_client_change(app, v, n, news);
    if (!e)
        pq_conf_swap_live(app->own_conf, next);
    return e;
}

/* ---- life */

static int start(struct tunnels *t)
{
    struct pq_conf *c = t->app.own_conf;
    int e = 0;
    for (unsigned i = 0; i < c->n_tunnels && !e; i++) {
        pq_log_set_name(c->tunnel[i].name);
        e = pq_client_set_up(&t->cl[i], &c->tunnel[i], t->app.file);
    }
    for (unsigned i = 0; i < c->n_tunnels && !e; i++) {
        pq_log_set_name(c->tunnel[i].name);
        e = pq_client_start(&t->cl[i], t->w + t->app.n_workers);
        t->app.n_workers += t->cl[i].app.n_workers;
    }
    pq_log_set_name(NULL);
    return e;
}

int pq_client_run_tunnels(struct pq_conf *c, const char *file)
{
    static struct tunnels t;
    t.app = (struct pq_app){.conf = c,
                            .own_conf = c,
                            .file = file,
                            .started = pq_clock(),
                            .fanout = -1,
                            .hub.client = true,
                            .reload = reload};
    t.cl = calloc(c->n_tunnels, sizeof *t.cl);
    pq_tundev_sweep(); /* see run() in client.c */
    const int e = t.cl ? start(&t) : PQ_ENOMEM;
    int code = e == -EINTR ? 0 : e ? 1 : pq_app_run(&t.app, t.w, t.app.n_workers);
    for (unsigned i = 0; t.cl && i < c->n_tunnels; i++)
        if (t.cl[i].app.conf) /* it was begun */
            pq_client_take_down(&t.cl[i]);
    free(t.cl);
    return code;
}
