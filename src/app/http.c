/* SPDX-License-Identifier: MIT */
/* http.c - libmicrohttpd is loaded when it is asked for: with the libraries that it brings along it
 * would cost every user 2.7 MB. */
#include "app/http.h"

#include "app/metrics.h"

#include <dlfcn.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECTIONS_MAX 32 /* of these half from one address */
#define TIMEOUT_S       2U
#define MEMORY          16384 /* of a connection: a longer head is refused */
#define TEXT_MAX        ((size_t)1 << 20)
#define KEPT_FOR        (200 * PQ_MS) /* who asks more often gets the same text again */
#define METRICS_TYPE    "text/plain; version=0.0.4; charset=utf-8"

struct lib { /* the functions used, found by name */
    void *handle;
    __typeof__(MHD_start_daemon) *start_daemon;
    __typeof__(MHD_stop_daemon) *stop_daemon;
    __typeof__(MHD_get_daemon_info) *get_daemon_info;
    __typeof__(MHD_get_timeout) *get_timeout;
    __typeof__(MHD_run) *run;
    __typeof__(MHD_create_response_from_buffer) *create_response_from_buffer;
    __typeof__(MHD_add_response_header) *add_response_header;
    __typeof__(MHD_queue_response) *queue_response;
    __typeof__(MHD_destroy_response) *destroy_response;
    __typeof__(MHD_lookup_connection_value) *lookup_connection_value;
};

static const struct {
    const char *name;
    size_t at;
} symbols[] = {
    {"MHD_start_daemon", offsetof(struct lib, start_daemon)},
    {"MHD_stop_daemon", offsetof(struct lib, stop_daemon)},
    {"MHD_get_daemon_info", offsetof(struct lib, get_daemon_info)},
    {"MHD_get_timeout", offsetof(struct lib, get_timeout)},
    {"MHD_run", offsetof(struct lib, run)},
    {"MHD_create_response_from_buffer", offsetof(struct lib, create_response_from_buffer)},
    {"MHD_add_response_header", offsetof(struct lib, add_response_header)},
    {"MHD_queue_response", offsetof(struct lib, queue_response)},
    {"MHD_destroy_response", offsetof(struct lib, destroy_response)},
    {"MHD_lookup_connection_value", offsetof(struct lib, lookup_connection_value)},
};

static struct lib lib; /* of the process; it stays loaded */

static int load(void)
{
    if (!lib.handle)
        lib.handle = dlopen("libmicrohttpd.so.12", RTLD_NOW | RTLD_LOCAL);
    if (!lib.handle)
        return PQ_ENOTSUP;
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *f = dlsym(lib.handle, symbols[i].name);
        if (!f)
            return PQ_ENOTSUP;
        memcpy((char *)&lib + symbols[i].at, &f, sizeof f);
    }
    return 0;
}

struct pq_http {
    struct pq_app *app;
    struct MHD_Daemon *daemon;
    uv_poll_t poll; /* its epoll descriptor */
    uv_timer_t timer;
    struct pq_json text; /* the metrics, as last told, ... */
    pq_ns at;            /* ... and when */
    unsigned handles;    /* that are not closed yet */
};

/* ---- answers */

static enum MHD_Result answer(struct MHD_Connection *c, unsigned code, const char *type,
                              const char *p, size_t n)
{
    struct MHD_Response *r =
        lib.create_response_from_buffer(n, (void *)(uintptr_t)p, MHD_RESPMEM_MUST_COPY);
    if (!r)
        return MHD_NO;
    lib.add_response_header(r, "Content-Type", type);
    lib.add_response_header(r, "Cache-Control", "no-store");
    lib.add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (code == MHD_HTTP_UNAUTHORIZED)
        lib.add_response_header(r, "WWW-Authenticate", "Bearer");
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
        lib.add_response_header(r, "Allow", "GET, HEAD");
    enum MHD_Result done = lib.queue_response(c, code, r);
    lib.destroy_response(r);
    return done;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned code, const char *text)
{
    char line[160];
    const int n = snprintf(line, sizeof line, "%s\n", text);
    return answer(c, code, "text/plain; charset=utf-8", line, (size_t)n);
}

static enum MHD_Result tell_metrics(struct pq_http *h, struct MHD_Connection *c)
{
    const pq_ns now = pq_clock();
    if (!h->text.p || now > h->at + KEPT_FOR) {
        pq_json_free(&h->text);
        pq_metrics_put(h->app, &h->text);
        h->at = now;
    }
    if (h->text.failed)
        return say(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "memory is short");
    return answer(c, MHD_HTTP_OK, METRICS_TYPE, h->text.p, h->text.len);
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

static bool knows_token(const struct pq_http *h, struct MHD_Connection *c)
{
    static const char scheme[] = "Bearer ";
    const char *token = h->app->conf->status_token;
    const char *v = lib.lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    return !token || !*token ||
           (v && strncasecmp(v, scheme, sizeof scheme - 1) == 0 &&
            same(token, v + sizeof scheme - 1));
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

/* The library's form: NOLINTNEXTLINE(readability-function-size) */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *n, void **state)
{
    static char seen;
    struct pq_http *h = ctx;
    char why[128];
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
        return say(c, MHD_HTTP_UNAUTHORIZED, "status.token is missing or another one");
    if (strcmp(url, "/metrics") == 0)
        return tell_metrics(h, c);
    if (strcmp(url, "/healthz") == 0) {
        const bool ok = pq_metrics_healthy(h->app, why);
        return say(c, ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, why);
    }
    return say(c, MHD_HTTP_NOT_FOUND, "there are /metrics and /healthz");
}

/* ---- the library in the loop */

static void on_timer(uv_timer_t *t);

static void run(struct pq_http *h)
{
    MHD_UNSIGNED_LONG_LONG ms;
    lib.run(h->daemon);
    if (lib.get_timeout(h->daemon, &ms) == MHD_YES)
        uv_timer_start(&h->timer, on_timer, ms, 0);
    else
        uv_timer_stop(&h->timer);
}

static void on_timer(uv_timer_t *t)
{
    run(t->data);
}

static void on_readable(uv_poll_t *p, int status, int events)
{
    (void)status;
    (void)events;
    run(p->data);
}

static void on_closed(uv_handle_t *handle)
{
    struct pq_http *h = handle->data;
    if (--h->handles)
        return;
    if (h->daemon)
        lib.stop_daemon(h->daemon);
    pq_json_free(&h->text);
    free(h);
}

static int start(struct pq_http *h, uv_loop_t *loop)
{
    struct sockaddr_storage ss;
    pq_addr_to_sock(&h->app->conf->status_addr, &ss);
    const bool is6 = ss.ss_family == AF_INET6;
    h->daemon = lib.start_daemon(
        MHD_USE_EPOLL | (is6 ? MHD_USE_IPv6 : MHD_NO_FLAG), 0, NULL, NULL, on_request, h,
        MHD_OPTION_SOCK_ADDR, &ss, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, CONNECTIONS_MAX / 2, MHD_OPTION_CONNECTION_TIMEOUT,
        TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        h->daemon ? lib.get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info)
        return -EADDRINUSE;
    int e = uv_poll_init(loop, &h->poll, info->epoll_fd);
    if (e)
        return e;
    uv_timer_init(loop, &h->timer);
    h->handles = 2;
    h->poll.data = h->timer.data = h;
    return uv_poll_start(&h->poll, UV_READABLE, on_readable);
}

int pq_http_open(struct pq_http **out, uv_loop_t *loop, struct pq_app *app)
{
    char addr[PQ_ADDR_STRLEN];
    *out = NULL;
    if (!app->conf->has_status)
        return 0;
    struct pq_http *h = *out = calloc(1, sizeof *h);
    if (!h)
        return PQ_ENOMEM;
    h->app = app;
    h->text.max = TEXT_MAX;
    int e = load();
    if (e) {
        pq_say("status.listen: the library libmicrohttpd.so.12 is not installed; leave it out, and "
               "use 'paqet status'");
        pq_http_close(out);
        return e;
    }
    e = start(h, loop);
    if (e) {
        pq_say("status.listen: cannot listen on %s: %s", pq_addr_str(&app->conf->status_addr, addr),
               h->daemon ? uv_strerror(e) : "another program does, or there is no such address");
        pq_http_close(out);
        return e;
    }
    PQ_LOG(PQ_LOG_INFO, "metrics at http://%s/metrics", pq_addr_str(&app->conf->status_addr, addr));
    return 0;
}

void pq_http_close(struct pq_http **hp)
{
    struct pq_http *h = *hp;
    if (!h)
        return;
    *hp = NULL;
    if (h->handles) {
        uv_close((uv_handle_t *)&h->timer, on_closed);
        uv_close((uv_handle_t *)&h->poll, on_closed);
        return;
    }
    if (h->daemon)
        lib.stop_daemon(h->daemon);
    free(h);
}
