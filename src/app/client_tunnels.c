/* SPDX-License-Identifier: MIT */
/* client_tunnels.c - several tunnels in one program: a client of each, which share the main thread,
 * with its signals, control socket and page, the log and the bound of memory.  Each begins by
 * itself: one that finds no way to its server yet is tried again and again, and none waits for
 * another. */
#include "app/client.h"
#include "app/names.h"
#include "app/reload.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_FIRST 2U     /* s until the second try; then twice as many each time, ... */
#define AGAIN_MOST  60U    /* ... so many at most */
#define PATIENCE    PQ_SEC /* for routers, while the main thread waits */

struct tunnel {
    struct client cl;
    struct tunnels *all;
    bool begun;             /* its keys are there, ... */
    bool up;                /* ... and its workers */
    struct pq_names *names; /* being looked up; else NULL */
    uv_timer_t timer;       /* until the next try */
    unsigned pause;         /* s */
    char why[PQ_WHY_LEN];   /* it is not up */
};

struct tunnels {
    struct pq_app app; /* of all of them: see there */
    struct tunnel *v;  /* app.conf->n_tunnels */
    struct pq_worker *w[PQ_WORKERS_MAX];
};
_Static_assert(offsetof(struct tunnels, app) == 0, "see waits()");

static void set_name(const struct tunnel *o)
{
    pq_log_set_name(o ? o->cl.app.conf->name : NULL);
}

/* ---- a tunnel's beginning */

static void keep_why(void *ctx, const char *why)
{
    struct tunnel *o = ctx;
    if (!*o->why)
        snprintf(o->why, sizeof o->why, "%s", why);
}

static bool has_names(const struct pq_conf *c)
{
    struct pq_addr literal;
    bool any = false;
    for (unsigned i = 0; i < c->n_servers; i++)
        any = any || pq_addr_parse_ip(&literal, c->server[i].host) != 0;
    return any;
}

/* With names that were looked up; NULL: there are none.  Returns 0 or an error, which `why` tells.
 */
static int find_ways(struct tunnel *o, const struct pq_names *names)
{
    struct client_ways ways;
    char before[PQ_WHY_LEN];
    memcpy(before, o->why, sizeof before);
    *o->why = 0;
    int e = pq_client_plan_ways(&o->cl, o->cl.app.conf, names, PATIENCE, &ways, keep_why, o);
    if (!e)
        pq_client_use_ways(&o->cl, &ways);
    else if (strcmp(before, o->why) != 0)
        PQ_LOG_SOME(PQ_LOG_WARN, PQ_LOG_MOST, "waits, and is tried again and again: %s", o->why);
    return e;
}

/* Returns 0 or an error, which was said; then nothing is left open. */
static int set_up(struct tunnel *o)
{
    struct pq_app *all = &o->all->app;
    const unsigned n = o->cl.app.n_workers;
    int e = all->n_workers + n <= PQ_WORKERS_MAX ? 0 : PQ_ENOMEM;
    if (e)
        pq_say("the tunnels have too many packet_workers; %d are possible", PQ_WORKERS_MAX);
    if (!e)
        e = pq_client_set_up(&o->cl);
    if (!e)
        e = pq_client_start(&o->cl, o->all->w + all->n_workers);
    if (e)
        pq_client_close(&o->cl);
    o->up = !e;
    if (e)
        snprintf(o->why, sizeof o->why, "it could not be set up, the log says why: %s",
                 pq_strerror(e));
    return e;
}

static void run_workers(struct tunnel *o)
{
    struct pq_app *all = &o->all->app;
    int e = 0;
    for (unsigned i = 0; i < o->cl.app.n_workers && !e; i++) {
        e = pq_app_run_more(all);
        all->n_workers += !e;
    }
    if (!e)
        return;
    PQ_LOG(PQ_LOG_FATAL, "a thread could not be started; lower performance.packet_workers");
    raise(SIGTERM);
}

static void on_timer(uv_timer_t *t);

static void try_later(struct tunnel *o)
{
    o->pause = !o->pause ? AGAIN_FIRST : 2 * o->pause < AGAIN_MOST ? 2 * o->pause : AGAIN_MOST;
    uv_timer_start(&o->timer, on_timer, (uint64_t)1000 * o->pause, 0);
}

/* While the others run. */
static void on_names(void *tunnel)
{
    struct tunnel *o = tunnel;
    set_name(o);
    int e = find_ways(o, o->names);
    if (!e)
        e = set_up(o);
    if (!e)
        run_workers(o);
    else
        try_later(o);
    pq_names_free(&o->names);
    set_name(NULL);
}

static void try_now(struct tunnel *o)
{
    pq_names_free(&o->names);
    int e = pq_names_new(&o->names, o->timer.loop);
    if (!e)
        e = pq_names_add(o->names, o->cl.app.conf);
    if (e)
        try_later(o);
    else if (!pq_names_start(o->names, on_names, o))
        on_names(o);
}

static void on_timer(uv_timer_t *t)
{
    try_now(t->data);
}

static void begin(struct pq_app *app, uv_loop_t *loop)
{
    struct tunnels *t = PQ_OF(app, struct tunnels, app);
    for (unsigned i = 0; i < app->conf->n_tunnels; i++) {
        struct tunnel *o = &t->v[i];
        uv_timer_init(loop, &o->timer);
        o->timer.data = o;
        if (!o->up && has_names(o->cl.app.conf))
            try_now(o);
        else if (!o->up)
            try_later(o);
    }
}

static void end(struct pq_app *app)
{
    struct tunnels *t = PQ_OF(app, struct tunnels, app);
    for (unsigned i = 0; i < app->conf->n_tunnels; i++)
        pq_names_free(&t->v[i].names);
}

static const char *waits(const struct pq_app *app, unsigned i)
{
    const struct tunnel *o = &((const struct tunnels *)(const void *)app)->v[i];
    if (o->up)
        return NULL;
    return *o->why ? o->why : "the name of its server is being looked up";
}

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
        if (!c) {
            pq_news_add(news, PQ_NEWS_RESTART, "tunnels, for %s to go", now->tunnel[i].name);
        } else if (t->v[i].up) {
            news->name = c->name;
            pq_reload_differ(&t->v[i].cl.app, c, news);
            news->name = NULL;
        }
    }
    for (unsigned i = 0; i < next->n_tunnels; i++)
        if (!find(now, next->tunnel[i].name))
            pq_news_add(news, PQ_NEWS_RESTART, "tunnels, for %s to come", next->tunnel[i].name);
}

/* One that is not up yet begins anew, with all keys that it has in the file now. */
static void begin_anew(struct tunnel *o, struct pq_conf *next, struct pq_news *news)
{
    struct pq_conf *own = o->cl.app.own_conf, was;
    const char *file = o->cl.app.file;
    pq_names_free(&o->names);
    pq_client_take_down(&o->cl);
    memset(&o->cl, 0, sizeof o->cl);
    was = *own;
    *own = *next;
    *next = was;
    news->name = own->name;
    if (pq_client_prepare(&o->cl, own, file)) {
        snprintf(o->why, sizeof o->why, "its keys could not be made, the log says why");
        pq_news_add(news, PQ_NEWS_WARNING, "%s", o->why);
    } else {
        *o->why = 0;
        o->pause = 0;
        uv_timer_start(&o->timer, on_timer, 0, 0);
        pq_news_add(news, PQ_NEWS_CHANGED, "was not up yet, and is tried anew");
    }
    news->name = NULL;
}

static int reload_names(struct pq_app *app, const struct pq_conf *next, struct pq_names *names)
{
    struct tunnels *t = PQ_OF(app, struct tunnels, app);
    int e = 0;
    for (unsigned i = 0; i < app->conf->n_tunnels && !e; i++) {
        const struct pq_conf *now = &app->conf->tunnel[i], *c = find(next, now->name);
        if (c && t->v[i].up)
            e = pq_client_change_names(now, c, names);
    }
    return e;
}

static int reload(struct pq_app *app, struct pq_conf *next, const struct pq_names *names,
                  struct pq_news *news)
{
    struct tunnels *t = PQ_OF(app, struct tunnels, app);
    struct client_change v[PQ_CONF_TUNNELS_MAX] = {0};
    unsigned n = 0;
    add_restarts(t, next, news);
    for (unsigned i = 0; i < app->conf->n_tunnels; i++) {
        v[n].cl = &t->v[i].cl;
        v[n].next = find(next, app->conf->tunnel[i].name);
        n += v[n].next && t->v[i].up;
    }
    const int e = pq_client_change(app, v, n, names, news);
    for (unsigned i = 0; i < app->conf->n_tunnels && !e; i++) {
        struct pq_conf *c = find(next, app->conf->tunnel[i].name);
        if (c && !t->v[i].up)
            begin_anew(&t->v[i], c, news);
    }
    if (!e)
        pq_conf_swap_live(app->own_conf, next);
    return e;
}

/* ---- life */

/* All that can begin at once does: what is wrong with it then ends the program, with the user
 * looking on.  The others follow once it runs. */
static int start(struct tunnels *t)
{
    struct pq_conf *c = t->app.own_conf;
    int e = 0;
    for (unsigned i = 0; i < c->n_tunnels && !e; i++) {
        struct tunnel *o = &t->v[i];
        o->all = t;
        o->begun = true;
        pq_log_set_name(c->tunnel[i].name);
        e = pq_client_prepare(&o->cl, &c->tunnel[i], t->app.file);
        if (e || has_names(&c->tunnel[i]) || find_ways(o, NULL))
            continue;
        e = set_up(o);
        t->app.n_workers += e ? 0 : o->cl.app.n_workers;
    }
    set_name(NULL);
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
                            .begin = begin,
                            .end = end,
                            .waits = waits,
                            .reload_names = reload_names,
                            .reload = reload};
    t.v = calloc(c->n_tunnels, sizeof *t.v);
    pq_tundev_sweep(); /* see run() in client.c */
    const int e = t.v ? start(&t) : PQ_ENOMEM;
    int code = e ? 1 : pq_app_run(&t.app, t.w, t.app.n_workers);
    for (unsigned i = 0; t.v && i < c->n_tunnels; i++) {
        if (!t.v[i].begun)
            continue;
        set_name(&t.v[i]);
        pq_client_take_down(&t.v[i].cl);
    }
    set_name(NULL);
    free(t.v);
    return code;
}
