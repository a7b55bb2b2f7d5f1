/* SPDX-License-Identifier: MIT */
#include "app/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER     "/run/paqet"
#define ANSWER_MS  3000 /* for a client to take an answer, or to leave */
#define OFF        "off"
#define NAME_BYTES 64

struct pq_control {
    struct pq_app *app;
    uv_pipe_t listener;
    char path[PQ_LOCAL_PATH_MAX + 1];
    struct pq_list clients; /* the oldest first */
    unsigned n_clients;
    unsigned handles; /* that are not closed yet; the last one frees */
};

struct client {
    struct pq_control *control;
    struct pq_list node;
    uv_pipe_t pipe;
    uv_timer_t timer; /* while an answer is on its way */
    uv_write_t write;
    struct pq_json answer;
    struct pq_reload_wait wait; /* while a reload is to be answered */
    bool answering, closing, last;
    unsigned handles;
    size_t len;
    char buf[PQ_CONTROL_REQUEST_MAX];
};

/* ---- where it is */

unsigned pq_control_folders(char out[PQ_CONTROL_PATHS][PQ_LOCAL_PATH_MAX + 1])
{
    const char *own = getenv("XDG_RUNTIME_DIR");
    strcpy(out[0], FOLDER);
    if (!own || *own != '/' || strlen(own) + NAME_BYTES > PQ_LOCAL_PATH_MAX)
        return 1;
    snprintf(out[1], sizeof out[1], "%s/paqet", own);
    return 2;
}

/* The file's name, without folder and ".yaml". */
static void name_of(const char *file, char name[NAME_BYTES - 16])
{
    const char *slash = strrchr(file, '/');
    snprintf(name, NAME_BYTES - 16, "%s", slash ? slash + 1 : file);
    char *dot = strrchr(name, '.');
    if (dot && dot != name)
        *dot = 0;
}

unsigned pq_control_paths(const struct pq_conf *c, const char *file,
                          char out[PQ_CONTROL_PATHS][PQ_LOCAL_PATH_MAX + 1])
{
    char name[NAME_BYTES - 16];
    if (c->control && strcmp(c->control, OFF) == 0)
        return 0;
    if (c->control && *c->control) {
        snprintf(out[0], sizeof out[0], "%s", c->control);
        return 1;
    }
    const unsigned n = pq_control_folders(out);
    name_of(file, name);
    for (unsigned i = 0; i < n; i++) {
        const size_t len = strlen(out[i]);
        snprintf(out[i] + len, sizeof out[i] - len, "/%s.sock", name);
    }
    return n;
}

/* ---- clients */

static void process(struct client *c);

static void on_client_closed(uv_handle_t *h)
{
    struct client *c = h->data;
    struct pq_control *k = c->control;
    if (--c->handles)
        return;
    pq_json_free(&c->answer);
    free(c);
    if (--k->handles == 0)
        free(k);
}

static void client_close(struct client *c)
{
    if (c->closing)
        return;
    c->closing = true;
    pq_reload_forget(&c->wait);
    c->control->n_clients--;
    pq_list_remove(&c->node);
    uv_close((uv_handle_t *)&c->timer, on_client_closed);
    uv_close((uv_handle_t *)&c->pipe, on_client_closed);
}

static void on_late(uv_timer_t *t)
{
    client_close(t->data);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct client *c = h->data;
    (void)hint;
    *buf = uv_buf_init(c->buf + c->len, (unsigned)(sizeof c->buf - c->len));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = s->data;
    (void)buf;
    if (n < 0) {
        client_close(c);
        return;
    }
    if (c->last)
        return; /* is not looked at */
    c->len += (size_t)n;
    process(c);
}

/* Closing with unread bytes would destroy the answer: they are read, but for a while only. */
static void leave(struct client *c)
{
    uv_os_fd_t fd;
    c->len = 0;
    if (uv_fileno((uv_handle_t *)&c->pipe, &fd) || shutdown(fd, SHUT_WR)) {
        client_close(c);
        return;
    }
    uv_timer_start(&c->timer, on_late, ANSWER_MS, 0);
    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
}

static void on_written(uv_write_t *w, int status)
{
    struct client *c = w->data;
    if (c->closing)
        return;
    uv_timer_stop(&c->timer);
    pq_json_free(&c->answer);
    c->answering = false;
    if (status)
        client_close(c);
    else if (c->last)
        leave(c);
    else
        process(c);
}

/* Sends c->answer; nothing is read until it has gone. */
static void send_answer(struct client *c)
{
    struct pq_json *a = &c->answer;
    if (a->failed) { /* the rest of an answer that is too large would be of no use */
        pq_json_free(a);
        pq_control_ask(NULL, NULL, 0, a, NULL);
    }
    pq_json_raw(a, "\n", 1);
    uv_buf_t b = uv_buf_init(a->p, (unsigned)a->len);
    c->answering = true;
    c->write.data = c;
    uv_read_stop((uv_stream_t *)&c->pipe);
    uv_timer_start(&c->timer, on_late, ANSWER_MS, 0);
    if (a->failed || uv_write(&c->write, (uv_stream_t *)&c->pipe, &b, 1, on_written))
        client_close(c);
}

static void on_reloaded(void *ctx, int err, const struct pq_news *news)
{
    struct client *c = ctx;
    pq_control_put_reload(c->control->app, &c->answer, err, news);
    send_answer(c);
}

/* Answers the next whole line; one that is too long is the last. */
static void process(struct client *c)
{
    const char *end = memchr(c->buf, '\n', c->len);
    c->last = !end && c->len == sizeof c->buf;
    if (!end && !c->last) {
        uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
        return;
    }
    const size_t n = end ? (size_t)(end - c->buf) : c->len;
    c->wait = (struct pq_reload_wait){.done = on_reloaded, .ctx = c};
    const bool now = pq_control_ask(c->control->app, c->buf, n, &c->answer, &c->wait);
    c->len = end ? c->len - n - 1 : 0;
    memmove(c->buf, c->buf + n + (end != NULL), c->len);
    if (now)
        send_answer(c);
    else
        uv_read_stop((uv_stream_t *)&c->pipe);
}

static void on_connection(uv_stream_t *s, int status)
{
    struct pq_control *k = s->data;
    struct client *c = status ? NULL : calloc(1, sizeof *c);
    uv_os_fd_t fd;
    if (!c)
        return;
    c->control = k;
    c->handles = 2;
    c->answer.max = PQ_CONTROL_ANSWER_MAX;
    k->handles++;
    k->n_clients++;
    pq_list_push(&k->clients, &c->node);
    uv_timer_init(s->loop, &c->timer);
    uv_pipe_init(s->loop, &c->pipe, 0);
    c->timer.data = c->pipe.data = c;
    if (uv_accept(s, (uv_stream_t *)&c->pipe) || uv_fileno((uv_handle_t *)&c->pipe, &fd) ||
        !pq_local_is_friend(fd)) {
        client_close(c);
        return;
    }
    if (k->n_clients > PQ_CONTROL_CLIENTS_MAX)
        client_close(PQ_OF(k->clients.next, struct client, node));
    process(c);
}

/* ---- life */

static const char *why_not(int e)
{
    return e == -EBUSY ? "another paqet listens there; name another path with control:"
                       : pq_strerror(e);
}

/* Tries the paths; the folders of those that nobody has named are made.  Returns a descriptor,
 * PQ_EAGAIN (there is none, and need not be) or -errno. */
static int open_fd(const struct pq_app *app, char path[PQ_LOCAL_PATH_MAX + 1])
{
    char paths[PQ_CONTROL_PATHS][PQ_LOCAL_PATH_MAX + 1];
    const unsigned n = pq_control_paths(app->conf, app->file, paths);
    const bool named = n && app->conf->control && *app->conf->control;
    int fd = -ENOENT;
    for (unsigned i = 0; i < n && fd < 0; i++) {
        char *slash = strrchr(paths[i], '/');
        if (!named && slash) {
            *slash = 0;
            mkdir(paths[i], S_IRWXU);
            *slash = '/';
        }
        strcpy(path, paths[i]);
        fd = pq_local_listen(paths[i]);
        if (fd == -EBUSY)
            break;
    }
    if (fd < 0 && named)
        pq_say("control: %s: %s", path, why_not(fd));
    else if (fd < 0 && n)
        PQ_LOG(fd == -EBUSY ? PQ_LOG_WARN : PQ_LOG_DEBUG, "no control socket at %s: %s", path,
               why_not(fd));
    return fd < 0 && !named ? PQ_EAGAIN : fd;
}

static void on_closed(uv_handle_t *h)
{
    struct pq_control *k = h->data;
    if (--k->handles == 0)
        free(k);
}

int pq_control_start(struct pq_control **out, uv_loop_t *loop, struct pq_app *app)
{
    char path[PQ_LOCAL_PATH_MAX + 1] = "";
    *out = NULL;
    int fd = open_fd(app, path);
    if (fd < 0)
        return fd == PQ_EAGAIN ? 0 : fd;
    struct pq_control *k = *out = calloc(1, sizeof *k);
    if (!k) {
        close(fd);
        return PQ_ENOMEM;
    }
    k->app = app;
    k->handles = 1;
    strcpy(k->path, path);
    pq_list_init(&k->clients);
    uv_pipe_init(loop, &k->listener, 0);
    k->listener.data = k;
    int e = uv_pipe_open(&k->listener, fd);
    if (e)
        close(fd);
    else
        e = uv_listen((uv_stream_t *)&k->listener, PQ_CONTROL_CLIENTS_MAX, on_connection);
    if (e) {
        pq_say("control: %s: %s", path, uv_strerror(e));
        pq_control_stop(out);
        return e;
    }
    PQ_LOG(PQ_LOG_DEBUG, "control socket at %s", path);
    return 0;
}

void pq_control_stop(struct pq_control **kp)
{
    struct pq_control *k = *kp;
    if (!k)
        return;
    while (!pq_list_empty(&k->clients))
        client_close(PQ_OF(k->clients.next, struct client, node));
    uv_close((uv_handle_t *)&k->listener, on_closed);
    unlink(k->path);
    *kp = NULL;
}
