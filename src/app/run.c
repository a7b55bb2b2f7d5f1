/* SPDX-License-Identifier: MIT */
/* run.c - the main thread while the workers run: signals, and what is asked at the control socket.
 */
#include "app/app.h"
#include "app/control.h"
#include "app/http.h"
#include "app/reload.h"
#include "os/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_SIGNALS 3

static const int signals[N_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};

/* ---- a terminal that goes away sends SIGHUP as well */

static bool has_terminal(void)
{
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Whether SIGHUP, if it comes, may be the end of a terminal that this program was started from. */
static bool may_hang_up(void)
{
    struct sigaction now;
    const bool ignored = !sigaction(SIGHUP, NULL, &now) && now.sa_handler == SIG_IGN; /* nohup */
    return !ignored && has_terminal();
}

static const char *name_of(int sig)
{
    return sig == SIGINT ? "SIGINT" : sig == SIGTERM ? "SIGTERM" : "SIGHUP";
}

static void signal_set(sigset_t *set)
{
    sigemptyset(set);
    for (int i = 0; i < N_SIGNALS; i++)
        sigaddset(set, signals[i]);
}

bool pq_app_wait(unsigned seconds)
{
    const struct timespec t = {.tv_sec = (time_t)seconds};
    static bool terminal, known;
    sigset_t set, before;
    if (!known)
        terminal = may_hang_up();
    known = true;
    signal_set(&set);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    int sig = sigtimedwait(&set, NULL, &t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sig < 0 || (sig == SIGHUP && !(terminal && !has_terminal()));
}

/* ---- the loop of the main thread */

struct main_loop {
    struct pq_app *app;
    uv_loop_t loop;
    uv_signal_t on[N_SIGNALS];
    uv_timer_t watchdog;           /* of the service manager, where there is one */
    unsigned seen[PQ_WORKERS_MAX]; /* of each worker's wakes */
    pthread_t thread[PQ_WORKERS_MAX];
    unsigned started; /* of the workers, in their order */
    struct pq_control *control;
    struct pq_http *http;
    bool open;
    bool terminal; /* there was one at the start, whose end ends the program */
};

static void on_signal(uv_signal_t *s, int sig)
{
    struct main_loop *m = s->data;
    if (sig == SIGHUP && !(m->terminal && !has_terminal())) {
        pq_reload(m->app->reloads, NULL);
        return;
    }
    PQ_LOG(PQ_LOG_INFO, "stopping on %s", name_of(sig));
    uv_stop(&m->loop);
}

/* Tells the service manager that this program works, as long as each worker's loop turns. */
static void on_watchdog(uv_timer_t *t)
{
    struct main_loop *m = t->data;
    bool all = true;
    for (unsigned i = 0; i < m->app->n_workers; i++) {
        struct pq_worker *w = m->app->w[i];
        const unsigned wakes = atomic_load(&w->wakes);
        all &= wakes != m->seen[i];
        m->seen[i] = wakes;
        pq_worker_wake(w);
    }
    if (all)
        pq_notify("WATCHDOG=1");
}

static void start_watchdog(struct main_loop *m)
{
    const pq_ns asked = pq_notify_watchdog();
    const uint64_t every = asked / PQ_MS / 4;
    uv_timer_init(&m->loop, &m->watchdog);
    m->watchdog.data = m;
    if (asked != PQ_NEVER)
        uv_timer_start(&m->watchdog, on_watchdog, every ? every : 1, every ? every : 1);
}

static void close_handle(uv_handle_t *h, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void *thread_main(void *arg)
{
    struct pq_worker *w = arg;
    pq_log_set_name(w->app->conf->name);
    pq_worker_run(w);
    return NULL;
}

/* Signals wait until the loop runs. */
static int open_main(struct main_loop *m)
{
    int e = uv_loop_init(&m->loop);
    if (e) {
        pq_say("there is no event loop: %s", uv_strerror(e));
        return e;
    }
    m->open = true;
    e = pq_reloads_new(&m->app->reloads, &m->loop, m->app);
    for (int i = 0; !e && i < N_SIGNALS; i++) {
        e = uv_signal_init(&m->loop, &m->on[i]);
        m->on[i].data = m;
        if (!e)
            e = uv_signal_start(&m->on[i], on_signal, signals[i]);
    }
    if (e)
        pq_say("signals cannot be received: %s", uv_strerror(e));
    if (!e)
        e = pq_control_start(&m->control, &m->loop, m->app);
#ifdef PQ_WITH_HTTP
    if (!e)
        e = pq_http_open(&m->http, &m->loop, m->app);
#endif
    return e;
}

static void close_main(struct main_loop *m)
{
    if (!m->open)
        return;
#ifdef PQ_WITH_HTTP
    pq_http_close(&m->http);
#endif
    pq_control_stop(&m->control);
    pq_reloads_close(&m->app->reloads);
    uv_walk(&m->loop, close_handle, NULL);
    uv_run(&m->loop, UV_RUN_DEFAULT);
    uv_loop_close(&m->loop);
}

static struct main_loop m;

/* Starts the next worker.  Signals are for the main thread. */
static int start_next(void)
{
    sigset_t set, before;
    signal_set(&set);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    const int e = pthread_create(&m.thread[m.started], NULL, thread_main, m.app->w[m.started]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    m.started += !e;
    return e ? PQ_EAGAIN : 0;
}

int pq_app_run_more(struct pq_app *app)
{
    (void)app;
    return start_next();
}

/* Not by a mask, which threads that a library has made do not have. */
static volatile sig_atomic_t held;

static void on_held(int sig)
{
    held = sig;
}

void pq_app_hold_signals(void)
{
    const struct sigaction hold = {.sa_handler = on_held, .sa_flags = SA_RESTART};
    if (m.open)
        return;
    sigaction(SIGINT, &hold, NULL);
    sigaction(SIGTERM, &hold, NULL);
}

int pq_app_run(struct pq_app *app, struct pq_worker *const *w, unsigned n)
{
    sigset_t set;
    m = (struct main_loop){.app = app, .terminal = may_hang_up()};
    app->w = w;
    signal_set(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int e = open_main(&m);
    while (!e && m.started < n && start_next() == 0)
        continue;
    const bool all = !e && m.started == n;
    if (all) {
        pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* what came meanwhile comes now */
        if (held)
            raise(held);
        start_watchdog(&m);
        if (app->begin)
            app->begin(app, &m.loop);
        pq_notify("READY=1");
        uv_run(&m.loop, UV_RUN_DEFAULT);
        pq_notify("STOPPING=1");
    } else if (!e)
        pq_say("a thread could not be started; lower performance.packet_workers");
    for (unsigned i = 0; i < m.started; i++)
        pq_worker_stop(w[i]);
    for (unsigned i = 0; i < m.started; i++)
        pthread_join(m.thread[i], NULL);
    if (all && app->end)
        app->end(app);
    close_main(&m);
    return all ? 0 : 1;
}

void pq_app_pause(struct pq_app *app)
{
    for (unsigned i = 0; i < app->n_workers; i++)
        pq_worker_pause(app->w[i]);
}

void pq_app_resume(struct pq_app *app)
{
    for (unsigned i = 0; i < app->n_workers; i++)
        pq_worker_resume(app->w[i]);
}
