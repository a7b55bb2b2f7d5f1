/* SPDX-License-Identifier: MIT */
/* http_answer.c - who may ask over HTTP, and what he is told; docs/control.md. */
#include "app/control.h"
#include "app/http_internal.h"
#include "app/metrics.h"
#include "header/http.h"
#include "page_files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX     ((size_t)1 << 20)
#define KEPT_FOR     (200 * PQ_MS) /* who asks more often gets the same text again */
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define TEXT_TYPE    "text/plain; charset=utf-8"
#define JSON_TYPE    "application/json"
#define ROWS         "500" /* of sessions and streams: more would be much for once a second */

#define lib pq_http_lib

/* ---- answers */

/* Takes the text, which was malloc'ed, or keeps one that is there for good.  Returns NULL if memory
 * is short. */
static struct MHD_Response *make(const char *type, const char *p, size_t n,
                                 enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *r = lib.create_response_from_buffer(n, (void *)(uintptr_t)p, mode);
    if (!r)
        return NULL;
    lib.add_response_header(r, "Content-Type", type);
    lib.add_response_header(r, "Cache-Control", "no-store");
    lib.add_response_header(r, "X-Content-Type-Options", "nosniff");
    lib.add_response_header(r, "Cross-Origin-Resource-Policy", "same-origin");
    lib.add_response_header(r, "Referrer-Policy", "no-referrer");
    return r;
}

/* Answers, and lets go of the response. */
static enum MHD_Result give(struct MHD_Connection *c, unsigned code, struct MHD_Response *r)
{
    if (!r)
        return MHD_NO;
    enum MHD_Result done = lib.queue_response(c, code, r);
    lib.destroy_response(r);
    return done;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned code, const char *text)
{
    char line[160];
    const int n = snprintf(line, sizeof line, "%s\n", text);
    struct MHD_Response *r = make(TEXT_TYPE, line, (size_t)n, MHD_RESPMEM_MUST_COPY);
    if (r && code == MHD_HTTP_UNAUTHORIZED) /* a browser asks its user for the latter */
        lib.add_response_header(r, "WWW-Authenticate", "Basic realm=\"status\", charset=\"UTF-8\"");
    if (r && code == MHD_HTTP_METHOD_NOT_ALLOWED)
        lib.add_response_header(r, "Allow", "GET, HEAD");
    return give(c, code, r);
}

/* Makes a response of a text, and takes it; NULL if it is of no use. */
static struct MHD_Response *from_text(const char *type, struct pq_json *w)
{
    struct MHD_Response *r =
        w->failed || !w->p ? NULL : make(type, w->p, w->len, MHD_RESPMEM_MUST_FREE);
    if (!r)
        pq_json_free(w);
    return r;
}

/* What the control socket answers to the same request. */
static struct MHD_Response *ask(struct pq_http *h, const char *request)
{
    struct pq_json w = {.max = TEXT_MAX};
    pq_control_ask(h->app, request, strlen(request), &w, NULL);
    return from_text(JSON_TYPE, &w);
}

static struct MHD_Response *tell_metrics(struct pq_http *h)
{
    struct pq_json w = {.max = TEXT_MAX};
    pq_metrics_put(h->app, &w);
    return from_text(METRICS_TYPE, &w);
}

/* Answers with what was told a moment ago, or anew. */
static enum MHD_Result give_kept(struct pq_http *h, struct MHD_Connection *c, unsigned which)
{
    static const char *const requests[PQ_HTTP_KEPT] = {
        [PQ_HTTP_STATUS] = "{\"v\":1,\"do\":\"status\",\"sessions\":" ROWS "}",
        [PQ_HTTP_TOP] = "{\"v\":1,\"do\":\"top\",\"streams\":" ROWS "}",
    };
    struct pq_http_kept *k = &h->kept[which];
    const pq_ns now = pq_clock();
    if (!k->r || now > k->at + KEPT_FOR) {
        if (k->r)
            lib.destroy_response(k->r);
        k->r = requests[which] ? ask(h, requests[which]) : tell_metrics(h);
        k->at = now;
    }
    return k->r ? lib.queue_response(c, MHD_HTTP_OK, k->r)
                : say(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "memory is short");
}

static enum MHD_Result give_log(struct pq_http *h, struct MHD_Connection *c)
{
    const char *v = lib.lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "after");
    char request[64];
    if (v && (strlen(v) > 18 || strspn(v, "0123456789") < strlen(v) || !*v))
        return say(c, MHD_HTTP_BAD_REQUEST, "after=NUMBER wants a number");
    snprintf(request, sizeof request, "{\"v\":1,\"do\":\"log\",\"after\":%" PRIu64 "}",
             (uint64_t)strtoull(v ? v : "0", NULL, 10));
    struct MHD_Response *r = ask(h, request);
    return r ? give(c, MHD_HTTP_OK, r) : say(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "memory is short");
}

static enum MHD_Result give_page(struct MHD_Connection *c)
{
    struct MHD_Response *r = make("text/html; charset=utf-8", pq_file_page, sizeof pq_file_page - 1,
                                  MHD_RESPMEM_PERSISTENT);
    if (r)
        lib.add_response_header(r, "Content-Security-Policy", pq_policy_page);
    return give(c, MHD_HTTP_OK, r);
}

static enum MHD_Result give_health(struct pq_http *h, struct MHD_Connection *c)
{
    char why[128];
    const bool ok = pq_metrics_healthy(h->app, why);
    return say(c, ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, why);
}

/* ---- who may ask */

/* In a time that depends on the lengths alone. */
static bool same(const char *a, const char *b)
{
    const size_t n = strlen(a);
    unsigned char d = 0;
    if (strlen(b) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        d |= (unsigned char)(a[i] ^ b[i]);
    return d == 0;
}

/* As a program says it, or, as the password of any user, a browser. */
static bool knows_token(const struct pq_http *h, struct MHD_Connection *c)
{
    static const char scheme[] = "Bearer ";
    char user[PQ_HTTP_SECRET_MAX + 1], pass[PQ_HTTP_SECRET_MAX + 1];
    const char *token = h->app->conf->status_token;
    const char *v = lib.lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    if (!token || !*token)
        return true;
    if (!v)
        return false;
    if (strncasecmp(v, scheme, sizeof scheme - 1) == 0)
        return same(token, v + sizeof scheme - 1);
    return pq_http_read_basic(v, strlen(v), user, pass) && same(token, pass);
}

/* A page from elsewhere, in a browser of this machine, may have its own name lead here.  What it
 * asks is then for that name, never for an address. */
static bool is_meant(struct MHD_Connection *c)
{
    const char *v = lib.lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    char host[64];
    uint16_t port;
    struct pq_addr a;
    if (!v) /* HTTP 1.0, of no browser */
        return true;
    if (strlen(v) >= sizeof host)
        return false;
    if (pq_hostport_split(v, host, sizeof host, &port)) {
        snprintf(host, sizeof host, "%s", *v == '[' ? v + 1 : v);
        host[strcspn(host, "]")] = 0;
    }
    return strcmp(host, "localhost") == 0 || pq_addr_parse_ip(&a, host) == 0;
}

static enum MHD_Result route(struct pq_http *h, struct MHD_Connection *c, const char *url)
{
    static const struct {
        const char *url;
        unsigned which;
    } kept[] = {{"/metrics", PQ_HTTP_METRICS},
                {"/status.json", PQ_HTTP_STATUS},
                {"/top.json", PQ_HTTP_TOP}};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        if (strcmp(url, kept[i].url) == 0)
            return give_kept(h, c, kept[i].which);
    if (strcmp(url, "/") == 0)
        return give_page(c);
    if (strcmp(url, "/log.json") == 0)
        return give_log(h, c);
    if (strcmp(url, "/healthz") == 0)
        return give_health(h, c);
    return say(c, MHD_HTTP_NOT_FOUND,
               "there are /, /status.json, /top.json, /log.json, /metrics and /healthz");
}

/* The library's form: NOLINTNEXTLINE(readability-function-size) */
enum MHD_Result pq_http_on_request(void *http, struct MHD_Connection *c, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *n, void **state)
{
    static char seen;
    struct pq_http *h = http;
    (void)version;
    (void)data;
    if (!*state) { /* the head: what follows it is not wanted */
        *state = &seen;
        return MHD_YES;
    }
    if (*n) {
        *n = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    if (!is_meant(c))
        return say(c, MHD_HTTP_FORBIDDEN, "ask by address");
    if (!knows_token(h, c))
        return say(c, MHD_HTTP_UNAUTHORIZED, "the token is missing, or another one");
    return route(h, c, url);
}
