/* SPDX-License-Identifier: MIT */
/* control_ask.c - what can be asked at the control socket, and the answers; docs/control.md. */
#include "app/control.h"

#include <stdlib.h>
#include <string.h>

#define NODES_MAX 64 /* of a request */

struct request {
    struct pq_app *app;
    const struct pq_json_doc *doc;
    struct pq_json *answer;
    struct pq_reload_wait *wait;
    bool later;
};

/* ---- the frame of an answer */

static void begin(struct pq_json *w, bool ok)
{
    pq_json_begin(w, NULL, '{');
    pq_json_uint(w, "v", PQ_CONTROL_VERSION);
    pq_json_bool(w, "ok", ok);
}

static void refuse(struct pq_json *w, const char *why)
{
    begin(w, false);
    pq_json_text(w, "error", why);
    pq_json_end(w, '}');
}

/* ---- reload */

static void put_news(struct pq_json *w, const char *key, const struct pq_news *news,
                     enum pq_news_kind kind)
{
    pq_json_begin(w, key, '[');
    for (unsigned i = 0; i < news->n; i++)
        if (news->v[i].kind == kind)
            pq_json_text(w, NULL, news->v[i].text);
    pq_json_end(w, ']');
}

void pq_control_put_reload(const struct pq_app *app, struct pq_json *answer, int err,
                           const struct pq_news *news)
{
    begin(answer, !err);
    if (err)
        pq_json_text(answer, "error", "nothing was changed");
    pq_json_text(answer, "file", app->file);
    put_news(answer, "errors", news, PQ_NEWS_ERROR);
    put_news(answer, "warnings", news, PQ_NEWS_WARNING);
    put_news(answer, "changed", news, PQ_NEWS_CHANGED);
    put_news(answer, "restart", news, PQ_NEWS_RESTART);
    if (news->left_out)
        pq_json_uint(answer, "left_out", news->left_out);
    pq_json_end(answer, '}');
}

static void ask_reload(struct request *q)
{
    if (!q->wait) {
        refuse(q->answer, "not from here");
        return;
    }
    pq_reload(q->app->reloads, q->wait);
    q->later = true;
}

/* ---- looking */

/* A number of the request, up to `limit`. */
static uint64_t number(const struct request *q, const char *key, uint64_t deflt, uint64_t limit)
{
    uint64_t v = deflt;
    pq_json_get_uint(q->doc, pq_json_get(q->doc, q->doc->v, key), &v);
    return v < limit ? v : limit;
}

static void ask_status(struct request *q)
{
    begin(q->answer, true);
    pq_status_put(q->app, q->answer,
                  (unsigned)number(q, "sessions", PQ_STATUS_SESSIONS, PQ_STATUS_MOST));
    pq_json_end(q->answer, '}');
}

static void ask_top(struct request *q)
{
    begin(q->answer, true);
    pq_status_put_streams(q->app, q->answer,
                          (unsigned)number(q, "streams", PQ_STATUS_STREAMS, PQ_STATUS_MOST));
    pq_json_end(q->answer, '}');
}

static void ask_kill(struct request *q)
{
    char id[32];
    if (!pq_json_get_text(q->doc, pq_json_get(q->doc, q->doc->v, "id"), id, sizeof id) ||
        !pq_status_kill(q->app, id)) {
        refuse(q->answer, "there is no stream with this id; \"top\" tells them");
        return;
    }
    begin(q->answer, true);
    pq_json_end(q->answer, '}');
}

/* ---- the log */

static void put_line(void *ctx, const char *line)
{
    pq_json_text(ctx, NULL, line);
}

static void ask_log(struct request *q)
{
    const uint64_t after = number(q, "after", 0, UINT64_MAX);
    begin(q->answer, true);
    pq_json_text(q->answer, "level", pq_log_level_name(pq_log_get_level()));
    pq_json_begin(q->answer, "lines", '[');
    const uint64_t next = pq_log_kept(after, put_line, q->answer);
    pq_json_end(q->answer, ']');
    pq_json_uint(q->answer, "next", next);
    pq_json_end(q->answer, '}');
}

static void ask_level(struct request *q)
{
    char name[16];
    enum pq_log_level level;
    if (!pq_json_get_text(q->doc, pq_json_get(q->doc, q->doc->v, "level"), name, sizeof name) ||
        !pq_log_level_from(name, &level)) {
        refuse(q->answer, "\"level\" must be debug, info, warn, error, fatal or none");
        return;
    }
    PQ_LOG(PQ_LOG_INFO, "the level of the log is %s now", name);
    pq_log_set_level(level);
    begin(q->answer, true);
    pq_json_text(q->answer, "level", name);
    pq_json_end(q->answer, '}');
}

/* ---- requests */

static const struct {
    const char *name;
    void (*answer)(struct request *q);
} requests[] = {
    {"status", ask_status}, {"top", ask_top},     {"kill", ask_kill},
    {"log", ask_log},       {"level", ask_level}, {"reload", ask_reload},
};

/* Answers; returns whether it has. */
static bool answer_to(struct request *q, const char *what)
{
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        if (strcmp(what, requests[i].name) == 0) {
            requests[i].answer(q);
            return true;
        }
    }
    return false;
}

bool pq_control_ask(struct pq_app *app, const char *line, size_t n, struct pq_json *answer,
                    struct pq_reload_wait *w)
{
    struct pq_json_node nodes[NODES_MAX];
    struct pq_json_doc doc = {.v = nodes, .max = NODES_MAX};
    char what[32];
    uint64_t version;
    if (!line) {
        refuse(answer, "the answer would be too large");
        return true;
    }
    if (n >= PQ_CONTROL_REQUEST_MAX || pq_json_read(&doc, line, n)) {
        refuse(answer, "a request is one JSON object in a line of less than 4096 bytes, such as "
                       "{\"v\":1,\"do\":\"status\"}");
        return true;
    }
    if (!pq_json_get_uint(&doc, pq_json_get(&doc, doc.v, "v"), &version) ||
        version != PQ_CONTROL_VERSION) {
        refuse(answer, "\"v\" must be 1, the version that this program speaks");
        return true;
    }
    struct request q = {.app = app, .doc = &doc, .answer = answer, .wait = w};
    if (!pq_json_get_text(&doc, pq_json_get(&doc, doc.v, "do"), what, sizeof what) ||
        !answer_to(&q, what))
        refuse(answer, "\"do\" names nothing that can be asked for");
    return !q.later;
}
