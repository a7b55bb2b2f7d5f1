/* SPDX-License-Identifier: MIT */
#include "app/reload.h"

#include "os/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE (900 * PQ_SEC) /* eight names, three name servers, two search domains */

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
    const bool takes = !app->hub.client && !app->conf->over_quic; /* a server over KCP */
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

/* Names that a dead name server is asked for may take minutes, and the main thread waits for them:
 * meanwhile the service manager is to expect no sign of life so soon. */
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

int pq_reload(struct pq_app *app, struct pq_news *news)
{
    be_patient(true);
    struct pq_conf *next = calloc(1, sizeof *next);
    int e = next ? load(app, next, news) : PQ_ENOMEM;
    const enum pq_log_level before = app->conf->log_level;
    if (!e) {
        pq_reload_differ(app, next, news);
        e = app->reload(app, next, news);
    }
    if (!e && app->conf->log_level != before) {
        pq_log_set_level(app->conf->log_level);
        pq_news_add(news, PQ_NEWS_CHANGED, "log.level: is %s now", app->conf->log_level_text);
    }
    if (e == PQ_ENOMEM)
        pq_news_add(news, PQ_NEWS_ERROR, "memory is short");
    log_news(app, news, e != 0);
    if (next)
        pq_conf_free(next);
    free(next);
    be_patient(false);
    return e ? PQ_EINVAL : 0;
}

void pq_reload_logged(struct pq_app *app)
{
    struct pq_news *news = calloc(1, sizeof *news);
    if (!news)
        return;
    pq_reload(app, news);
    pq_news_free(news);
    free(news);
}
