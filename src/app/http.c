/* SPDX-License-Identifier: MIT */
/* http.c - libmicrohttpd is loaded when it is asked for: with the libraries that it brings along it
 * would cost every user 2.7 MB.  A static one, without TLS, is linked (PQ_HTTP_LINKED). */
#include "app/http_internal.h"
#include "os/local.h"

#ifndef PQ_HTTP_LINKED
#include <dlfcn.h>
#endif
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 32            /* of these half from one address */
#define TIMEOUT_S       3U            /* without a byte */
#define REQUEST_MAX     (20 * PQ_SEC) /* for a request and its answer */
#define GUARD_MS        1000
#define MEMORY          16384 /* of a connection: a longer head is refused */

#define lib pq_http_lib

struct pq_http_lib pq_http_lib;

#ifdef PQ_HTTP_LINKED
static int load(void)
{
    lib = (struct pq_http_lib){
        .start_daemon = MHD_start_daemon,
        .stop_daemon = MHD_stop_daemon,
        .get_daemon_info = MHD_get_daemon_info,
        .get_connection_info = MHD_get_connection_info,
        .get_timeout = MHD_get_timeout,
        .run = MHD_run,
        .create_response_from_buffer = MHD_create_response_from_buffer,
        .add_response_header = MHD_add_response_header,
        .queue_response = MHD_queue_response,
        .destroy_response = MHD_destroy_response,
        .lookup_connection_value = MHD_lookup_connection_value,
    };
    return 0;
}
#else
static const struct {
    const char *name;
    size_t at;
} symbols[] = {
    {"MHD_start_daemon", offsetof(struct pq_http_lib, start_daemon)},
    {"MHD_stop_daemon", offsetof(struct pq_http_lib, stop_daemon)},
    {"MHD_get_daemon_info", offsetof(struct pq_http_lib, get_daemon_info)},
    {"MHD_get_connection_info", offsetof(struct pq_http_lib, get_connection_info)},
    {"MHD_get_timeout", offsetof(struct pq_http_lib, get_timeout)},
    {"MHD_run", offsetof(struct pq_http_lib, run)},
    {"MHD_create_response_from_buffer", offsetof(struct pq_http_lib, create_response_from_buffer)},
    {"MHD_add_response_header", offsetof(struct pq_http_lib, add_response_header)},
    {"MHD_queue_response", offsetof(struct pq_http_lib, queue_response)},
    {"MHD_destroy_response", offsetof(struct pq_http_lib, destroy_response)},
    {"MHD_lookup_connection_value", offsetof(struct pq_http_lib, lookup_connection_value)},
};

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
#endif

/* ---- who takes too long */

/* The library ends a connection that is silent; one that sends or takes a byte now and then would
 * stay for good. */
struct visit {
    struct pq_list node;
    int fd;
    pq_ns since; /* the last answer was complete, or it began */
};

static void on_visit(void *ctx, struct MHD_Connection *c, void **visit,
                     enum MHD_ConnectionNotificationCode what)
{
    struct pq_http *h = ctx;
    struct visit *v = *visit;
    const union MHD_ConnectionInfo *info;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (v)
            pq_list_remove(&v->node);
        free(v);
        return;
    }
    info = lib.get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    *visit = v = info ? calloc(1, sizeof *v) : NULL;
    if (!v)
        return;
    v->fd = info->connect_fd;
    v->since = pq_clock();
    pq_list_push(&h->visits, &v->node);
}

static void on_completed(void *ctx, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode why)
{
    const union MHD_ConnectionInfo *info =
        lib.get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct visit *v = info ? info->socket_context : NULL;
    (void)ctx;
    (void)state;
    (void)why;
    if (v)
        v->since = pq_clock();
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

static void on_guard(uv_timer_t *t)
{
    struct pq_http *h = t->data;
    const pq_ns now = pq_clock();
    for (struct pq_list *i = h->visits.next; i != &h->visits; i = i->next) {
        struct visit *v = PQ_OF(i, struct visit, node);
        if (now > v->since + REQUEST_MAX)
            shutdown(v->fd, SHUT_RDWR); /* the library hears of it */
    }
    run(h); /* at its bound the library lets nobody in, and looks again only when it is run */
}

static void on_readable(uv_poll_t *p, int status, int events)
{
    (void)status;
    (void)events;
    run(p->data);
}

static void finish(struct pq_http *h)
{
    if (h->daemon)
        lib.stop_daemon(h->daemon);
    for (unsigned i = 0; i < PQ_HTTP_KEPT; i++)
        if (h->kept[i].r)
            lib.destroy_response(h->kept[i].r);
    if (h->fd >= 0 && !h->daemon)
        close(h->fd);
    if (h->fd >= 0)
        unlink(h->app->conf->status_path);
    free(h);
}

static void on_closed(uv_handle_t *handle)
{
    struct pq_http *h = handle->data;
    if (--h->handles == 0)
        finish(h);
}

static int in_loop(struct pq_http *h, uv_loop_t *loop, int epoll_fd)
{
    int e = uv_poll_init(loop, &h->poll, epoll_fd);
    if (e)
        return e;
    uv_timer_init(loop, &h->timer);
    uv_timer_init(loop, &h->guard);
    h->handles = 3;
    h->poll.data = h->timer.data = h->guard.data = h;
    uv_timer_start(&h->guard, on_guard, GUARD_MS, GUARD_MS);
    return uv_poll_start(&h->poll, UV_READABLE, on_readable);
}

static int start(struct pq_http *h, uv_loop_t *loop)
{
    const char *path = h->app->conf->status_path;
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    if (!path)
        pq_addr_to_sock(&h->app->conf->status_addr, &ss);
    else if ((h->fd = pq_local_listen(path)) < 0)
        return h->fd == -EBUSY ? -EADDRINUSE : h->fd;
    const bool is6 = ss.ss_family == AF_INET6;
    const struct MHD_OptionItem where[] = {
        {path ? MHD_OPTION_LISTEN_SOCKET : MHD_OPTION_SOCK_ADDR, h->fd, path ? NULL : &ss},
        {MHD_OPTION_END, 0, NULL}};
    h->daemon = lib.start_daemon(
        MHD_USE_EPOLL | (is6 ? MHD_USE_IPv6 : MHD_NO_FLAG), 0, NULL, NULL, pq_http_on_request, h,
        MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        CONNECTIONS_MAX / 2, MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY, MHD_OPTION_NOTIFY_CONNECTION, on_visit,
        h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_ARRAY, where, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        h->daemon ? lib.get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    return info ? in_loop(h, loop, info->epoll_fd) : -EADDRINUSE;
}

int pq_http_open(struct pq_http **out, uv_loop_t *loop, struct pq_app *app)
{
    const struct pq_conf *c = app->conf;
    char text[PQ_ADDR_STRLEN];
    *out = NULL;
    if (!c->has_status)
        return 0;
    struct pq_http *h = *out = calloc(1, sizeof *h);
    if (!h)
        return PQ_ENOMEM;
    h->app = app;
    h->fd = -1;
    pq_list_init(&h->visits);
    const char *where = c->status_path ? c->status_path : pq_addr_str(&c->status_addr, text);
    int e = load();
    if (e)
        pq_say("status.listen: the library libmicrohttpd.so.12 is not installed; leave it out, and "
               "use 'paqet status'");
    else if ((e = start(h, loop)))
        pq_say("status.listen: cannot listen on %s: %s", where,
               e == -EADDRINUSE ? "another program does, or there is no such address"
                                : uv_strerror(e));
    else
        PQ_LOG(PQ_LOG_INFO,
               c->status_path ? "status page at the socket %s" : "status page at http://%s/",
               where);
    if (e)
        pq_http_close(out);
    return e;
}

void pq_http_close(struct pq_http **hp)
{
    struct pq_http *h = *hp;
    if (!h)
        return;
    *hp = NULL;
    if (!h->handles) {
        finish(h);
        return;
    }
    uv_close((uv_handle_t *)&h->timer, on_closed);
    uv_close((uv_handle_t *)&h->guard, on_closed);
    uv_close((uv_handle_t *)&h->poll, on_closed);
}
