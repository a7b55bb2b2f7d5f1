/* SPDX-License-Identifier: MIT */
#include "app/reload.h"

#include "app/names.h"
#include "os/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE (60 * PQ_SEC)

void pq_news_add(struct pq_news *news, enum pq_news_kind kind, const char *fmt, ...)
{
    char text[640];
    va_list ap;
    const int at = news->name ? snprintf(text, sizeof text, "%.64s: ", news->name) : 0;
    va_start(ap, fmt);
    vsnprintf(text + at, sizeof text - (size_t)at, fmt, ap);
    va_end(ap);
    char *copy = news->n < PQ_NEWS_MAX ? strdup(text) : NULL;
    if (!copy) {
        news->left_out++;
        return;
    }
    news->v[news->n].kind = kind;
    news->v[news->n++].text = copy;
}

void pq_news_free(struct pq_news *news)
{
    for (unsigned i = 0; i < news->n; i++)
        free(news->v[i].text);
    *news = (struct pq_news){.n = 0};
}

/* ---- reading */

static void add_messages(struct pq_news *news, const struct pq_conf_msgs *m, const char *file)
{
    for (unsigned i = 0; i < m->n; i++) {
        char line[16] = "";
        if (m->v[i].line)
            snprintf(line, sizeof line, ":%d", m->v[i].line);
        pq_news_add(news, m->v[i].error ? PQ_NEWS_ERROR : PQ_NEWS_WARNING, "%s%s: %s", file, line,
                    m->v[i].text ? m->v[i].text : "?");
    }
    if (m->left_out)
        pq_news_add(news, m->errors ? PQ_NEWS_ERROR : PQ_NEWS_WARNING,
                    "%s: %u more messages are not shown", file, m->left_out);
}

static int load(struct pq_app *app, struct pq_conf *next, struct pq_news *news)
{
    struct pq_conf_msgs m;
    int e = pq_conf_load(next, app->file, &m);
    add_messages(news, &m, app->file);
    pq_conf_msgs_free(&m);
    if (!e && next->role != app->conf->role) {
        pq_news_add(news, PQ_NEWS_ERROR, "%s: role: is another one; that needs a restart",
                    app->file);
        e = PQ_EINVAL;
    }
    if (!e && (next->n_tunnels == 0) != (app->conf->n_tunnels == 0)) {
        pq_news_add(news, PQ_NEWS_ERROR, "%s: tunnels: is %s; that needs a restart", app->file,
                    next->n_tunnels ? "new" : "gone");
        e = PQ_EINVAL;
    }
    return e;
}

static void add_restart(void *ctx, const char *path)
{
    pq_news_add(ctx, PQ_NEWS_RESTART, "%s", path);
}

/* The text of the running key was wiped: compared is what was derived from it. */
static bool same_key(const struct pq_app *app, const struct pq_conf *next)
{
    uint8_t key[PQ_KEY_LEN] = {0};
    const bool same = !next->kcp.key || !*next->kcp.key || pq_crypt_derive(next->kcp.key, key) ||
                      memcmp(key, app->hub.key, sizeof key) == 0;
    explicit_bzero(key, sizeof key);
    return same;
}

void pq_reload_differ(const struct pq_app *app, const struct pq_conf *next, struct pq_news *news)
{
    const bool there = !app->conf->over_quic || app->hub.quic.key; /* else it cannot come in */
    const bool takes = !app->hub.client && there;
    if (!takes && !same_key(app, next))
        add_restart(news, app->conf->over_quic ? "transport.quic.key" : "transport.kcp.key");
    pq_conf_differ(app->conf, next, add_restart, news);
}

/* ---- telling */

static void log_news(const struct pq_app *app, const struct pq_news *news, bool failed)
{
    char keys[512] = "";
    for (unsigned i = 0; i < news->n; i++) {
        if (news->v[i].kind == PQ_NEWS_ERROR)
            PQ_LOG(PQ_LOG_ERROR, "%s", news->v[i].text);
        else if (news->v[i].kind == PQ_NEWS_CHANGED)
            PQ_LOG(PQ_LOG_INFO, "%s", news->v[i].text);
        else if (news->v[i].kind == PQ_NEWS_RESTART && strlen(keys) + 60 < sizeof keys)
            snprintf(keys + strlen(keys), 60, "%s%s", *keys ? ", " : "", news->v[i].text);
    }
    if (failed)
        PQ_LOG(PQ_LOG_ERROR, "%s was read again, and nothing was changed", app->file);
    else if (*keys)
        PQ_LOG(PQ_LOG_WARN, "%s was read again; needs a restart: %s", app->file, keys);
    else
        PQ_LOG(PQ_LOG_INFO, "%s was read again", app->file);
}

/* A list of millions of names, and as many routes, take the main thread seconds: meanwhile the
 * service manager is to expect no sign of life so soon. */
static void be_patient(bool patient)
{
    char text[64];
    const pq_ns usual = pq_notify_watchdog();
    if (usual == PQ_NEVER)
        return;
    snprintf(text, sizeof text, "WATCHDOG_USEC=%" PRIu64 "\nWATCHDOG=1",
             (patient ? PATIENCE : usual) / PQ_US);
    pq_notify(text);
}

/* ---- one after the other */

struct pq_reloads {
    struct pq_app *app;
    uv_timer_t timer;       /* runs out at once, so that what is asked for together is one */
    struct pq_list waiting; /* for the one under way ... */
    struct pq_list later;   /* ... and for the next */
    bool busy, again;
    struct pq_conf *next; /* of the one under way, as are the others */
    struct pq_names *names;
    struct pq_news *news;
};

static void on_timer(uv_timer_t *t);

static void begin_soon(struct pq_reloads *r)
{
    if (!r->busy)
        uv_timer_start(&r->timer, on_timer, 0, 0);
}

static void forget_this(struct pq_reloads *r)
{
    pq_names_free(&r->names);
    if (r->next)
        pq_conf_free(r->next);
    free(r->next);
    if (r->news)
        pq_news_free(r->news);
    free(r->news);
    r->next = NULL;
    r->news = NULL;
}

static void finish(struct pq_reloads *r, int e)
{
    struct pq_news none = {.n = 0}, *news = r->news ? r->news : &none;
    if (e == PQ_ENOMEM)
        pq_news_add(news, PQ_NEWS_ERROR, "memory is short");
    log_news(r->app, news, e != 0);
    struct pq_list *n;
    while ((n = pq_list_pop(&r->waiting))) {
        struct pq_reload_wait *w = PQ_OF(n, struct pq_reload_wait, node);
        w->done(w->ctx, e ? PQ_EINVAL : 0, news);
    }
    pq_news_free(&none);
    forget_this(r);
    r->busy = false;
    if (r->again || !pq_list_empty(&r->later))
        begin_soon(r);
}

static void take_over(void *reloads)
{
    struct pq_reloads *r = reloads;
    struct pq_app *app = r->app;
    const enum pq_log_level before = app->conf->log_level;
    be_patient(true);
    int e = app->reload(app, r->next, r->names, r->news);
    if (!e && app->conf->log_level != before) {
        pq_log_set_level(app->conf->log_level);
        pq_news_add(r->news, PQ_NEWS_CHANGED, "log.level: is %s now", app->conf->log_level_text);
    }
    be_patient(false);
    finish(r, e);
}

/* Returns 0, PQ_EINVAL or PQ_ENOMEM. */
static int read_again(struct pq_reloads *r)
{
    struct pq_app *app = r->app;
    r->news = calloc(1, sizeof *r->news);
    r->next = r->news ? calloc(1, sizeof *r->next) : NULL;
    if (!r->next)
        return PQ_ENOMEM;
    be_patient(true);
    int e = load(app, r->next, r->news);
    be_patient(false);
    if (e)
        return e;
    pq_reload_differ(app, r->next, r->news);
    e = pq_names_new(&r->names, r->timer.loop);
    return !e && app->reload_names ? app->reload_names(app, r->next, r->names) : e;
}

static void on_timer(uv_timer_t *t)
{
    struct pq_reloads *r = t->data;
    struct pq_list *n;
    r->busy = true;
    r->again = false;
    while ((n = pq_list_pop(&r->later)))
        pq_list_push(&r->waiting, n);
    const int e = read_again(r);
    if (e)
        finish(r, e);
    else if (!pq_names_start(r->names, take_over, r))
        take_over(r);
}

void pq_reload(struct pq_reloads *r, struct pq_reload_wait *w)
{
    if (w)
        pq_list_push(&r->later, &w->node);
    r->again = true;
    if (r->busy && r->names && pq_names_waits_for(r->names))
        PQ_LOG(PQ_LOG_INFO, "the file is read again once the name '%s' has been looked up",
               pq_names_waits_for(r->names));
    begin_soon(r);
}

void pq_reload_forget(struct pq_reload_wait *w)
{
    if (w->node.next)
        pq_list_remove(&w->node);
}

int pq_reloads_new(struct pq_reloads **out, uv_loop_t *loop, struct pq_app *app)
{
    struct pq_reloads *r = *out = calloc(1, sizeof *r);
    if (!r)
        return PQ_ENOMEM;
    r->app = app;
    pq_list_init(&r->waiting);
    pq_list_init(&r->later);
    uv_timer_init(loop, &r->timer);
    r->timer.data = r;
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void pq_reloads_close(struct pq_reloads **rp)
{
    struct pq_reloads *r = *rp;
    if (!r)
        return;
    *rp = NULL;
    forget_this(r);
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
