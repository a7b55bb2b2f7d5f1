/* SPDX-License-Identifier: MIT */
#include "app/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define RX_BATCH   64            /* frames that are looked at before streams use their bytes */
#define RX_TURN    256           /* frames of one turn */
#define TX_TURN    1024          /* packets of one turn */
#define RETRY      PQ_MS         /* after the interface's queue was full */
#define FULL_MAX   (100 * PQ_MS) /* so long it is waited for: then that packet is lost */
#define ROBBED     3 /* times in a row that the next one went at once: it is a rule, ... */
#define ROBBED_FOR (60 * PQ_SEC) /* ... for so long, and nothing is waited for */
#define LOG_PERIOD (60 * PQ_SEC)
#define LEAVE_MAX  PQ_SEC /* for connections to end both ways when the program does */

#define NAP       (300 * PQ_US) /* so long frames are left to gather ... */
#define NAP_AFTER 32            /* ... after so many turns ... */
#define NAP_GAP   (800 * PQ_US) /* ... that followed each other so soon ... */
#define NAP_TURN  64            /* ... and had so few frames */

/* ---- out: sessions -> slots -> kernel */

static void note_refused(struct pq_worker *w, int err)
{
    uint64_t lost = pq_log_due(&w->send_failed, LOG_PERIOD, w->now);
    if (lost)
        PQ_LOG(PQ_LOG_WARN, "the kernel refused %llu packets: %s", (unsigned long long)lost,
               pq_strerror(err));
    if (err == -EMSGSIZE && w->now >= w->too_long) {
        w->too_long = w->now + PQ_SEC;
        w->on_too_long(w);
    }
}

/* The kernel says the same of a full queue and of a firewall rule at the way out (nft, hook egress;
 * tc) that takes packets away.  A queue has room again soon, for whatever comes next; a rule takes
 * a packet as often as it is tried, and lets the next one pass.  Returns whether to go on without
 * the first packet. */
static bool give_one_up(struct pq_worker *w)
{
    if (w->robbed && w->now >= w->robbed_at + ROBBED_FOR)
        w->robbed = 0;
    if (!w->full_since)
        w->full_since = w->now;
    if (w->robbed < ROBBED && w->now < w->full_since + FULL_MAX)
        return false;
    w->passed_over = true;
    const uint64_t lost = pq_log_due(&w->taken_away, LOG_PERIOD, w->now);
    if (lost)
        PQ_LOG(PQ_LOG_WARN,
               "packets did not get out (%llu): the interface's queue stands still, or a firewall "
               "rule here drops what leaves; see nft list ruleset (hook egress), and tc filter",
               (unsigned long long)lost);
    return true;
}

/* It has taken some. */
static void note_room(struct pq_worker *w)
{
    if (w->passed_over && w->robbed < ROBBED) {
        w->robbed++;
        w->robbed_at = w->now;
    } else if (!w->passed_over && w->full_since) {
        w->robbed = 0;
    }
    w->passed_over = false;
    w->full_since = 0;
}

/* Hands waiting slots to the kernel.  Returns false if it is full: then either the descriptor or,
 * if w->retry_at is set, the clock tells when to go on. */
static bool flush_slots(struct pq_worker *w)
{
    w->retry_at = PQ_NEVER;
    while (w->first < w->filled) {
        int n = pq_pktio_send(w->io, w->slots + w->first, w->filled - w->first);
        if (n == PQ_EAGAIN && !give_one_up(w)) {
            w->retry_at = w->now + RETRY;
            return false;
        }
        if (n > 0) {
            note_room(w);
        } else if (n == PQ_EAGAIN) {
            n = 1 + w->slots[w->first].more;
        } else if (n < 0) { /* this one can never go; KCP sends its segments again */
            note_refused(w, n);
            n = 1 + w->slots[w->first].more;
            if (!w->io->runs)
                pq_hub_no_runs(w->hub);
        } else if (n == 0) {
            return false;
        }
        w->first += (unsigned)n;
    }
    w->first = w->filled = 0;
    return true;
}

static void on_tx(uv_poll_t *p, int status, int events);

static void set_tx_wait(struct pq_worker *w, bool wait)
{
    if (wait == w->tx_wait)
        return;
    w->tx_wait = wait;
    if (wait)
        uv_poll_start(w->tx, UV_WRITABLE, on_tx);
    else
        uv_poll_stop(w->tx);
}

static void on_idle(uv_idle_t *i)
{
    (void)i; /* its being active keeps the loop from sleeping */
}

static void set_alarm(struct pq_worker *w)
{
    pq_ns at = pq_ns_min(pq_hub_deadline(w->hub), w->retry_at);
    if (at == w->alarm_at)
        return;
    w->alarm_at = at;
    struct itimerspec it = {0};
    if (at != PQ_NEVER) {
        it.it_value.tv_sec = (time_t)(at / PQ_SEC);
        it.it_value.tv_nsec = (long)(at % PQ_SEC);
    }
    timerfd_settime(w->alarm_fd, TFD_TIMER_ABSTIME, &it, NULL);
}

static void drain(struct pq_worker *w)
{
    unsigned sent = 0;
    bool room = flush_slots(w);
    while (room && sent < TX_TURN) {
        w->filled = (unsigned)pq_hub_pull(w->hub, w->slots, PQ_TX_SLOTS, w->now);
        if (!w->filled)
            break;
        sent += w->filled;
        room = flush_slots(w);
    }
    set_tx_wait(w, !room && w->retry_at == PQ_NEVER);
    if (room && pq_hub_ready(w->hub))
        uv_idle_start(&w->idle, on_idle);
    else
        uv_idle_stop(&w->idle);
    set_alarm(w);
}

static void on_tx(uv_poll_t *p, int status, int events)
{
    struct pq_worker *w = p->data;
    (void)status;
    (void)events;
    w->now = pq_clock();
    drain(w);
}

static void on_prepare(uv_prepare_t *p)
{
    struct pq_worker *w = p->data;
    if (!pq_hub_ready(w->hub))
        return; /* what timers and closing handles did */
    w->now = pq_clock();
    drain(w);
}

/* Frames that come one by one, some tenths of a millisecond apart, would each wake this thread,
 * which costs more than all that is done with them; a path of PQ_CALM_RTT and more does not feel
 * the wait. */
static void nap(struct pq_worker *w)
{
    const struct timespec t = {.tv_nsec = NAP};
    if (w->received && w->lone >= NAP_AFTER && !pq_hub_ready(w->hub))
        clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
    w->received = false;
}

static void end_when_left(struct pq_worker *w);

static void on_check(uv_check_t *c)
{
    struct pq_worker *w = c->data;
    w->now = pq_clock();
    drain(w);
    if (w->leave_by)
        end_when_left(w);
    else
        nap(w);
}

/* ---- in: kernel -> sessions */

static void on_rx(uv_poll_t *p, int status, int events);

static void note_failures(struct pq_worker *w)
{
    uint64_t n = pq_hub_stats(w->hub)->drops[PQ_DROP_AUTH];
    if (n == w->auth_seen || w->has_strangers)
        return;
    w->auth_failed.events += n - w->auth_seen - 1;
    w->auth_seen = n;
    n = pq_log_due(&w->auth_failed, LOG_PERIOD, w->now);
    if (n)
        PQ_LOG(PQ_LOG_WARN,
               "%llu packets could not be decrypted and were dropped: the other end "
               "has another key or block, or somebody sends noise",
               (unsigned long long)n);
}

/* An interface that goes down leaves an error on its socket, which stops the polling; it receives
 * again when the interface comes up. */
static void clear_error(struct pq_worker *w)
{
    int err = 0;
    socklen_t len = sizeof err;
    getsockopt(w->io->rx_fd, SOL_SOCKET, SO_ERROR, &err, &len);
    uint64_t n = pq_log_due(&w->io_failed, LOG_PERIOD, w->now);
    if (n)
        PQ_LOG(PQ_LOG_WARN, "the network interface reports: %s", pq_strerror(err));
    uv_poll_start(w->rx, UV_READABLE, on_rx);
}

static void note_pace(struct pq_worker *w, unsigned frames)
{
    const bool soon = w->now < w->rx_at + NAP_GAP && frames <= NAP_TURN;
    w->lone = pq_hub_calm(w->hub) && soon ? w->lone + 1 : 0;
    w->rx_at = w->now;
    w->received = true;
}

static void on_rx(uv_poll_t *p, int status, int events)
{
    struct pq_worker *w = p->data;
    struct pq_frame frames[RX_BATCH];
    unsigned turn = 0;
    (void)events;
    w->now = pq_clock();
    if (status < 0)
        clear_error(w);
    while (turn < RX_TURN) {
        size_t n = pq_pktio_recv(w->io, frames, RX_BATCH);
        for (size_t i = 0; i < n; i++)
            pq_hub_input(w->hub, &frames[i], w->now);
        pq_hub_rx_end(w->hub, w->now);
        pq_pktio_release(w->io);
        turn += (unsigned)n;
        if (n < RX_BATCH)
            break;
    }
    note_pace(w, turn);
    note_failures(w);
}

static void on_handed(uv_async_t *a)
{
    struct pq_worker *w = a->data;
    struct pq_frame f;
    w->now = pq_clock();
    for (unsigned i = 0; i < RX_TURN && pq_handover_take(&w->handover, &f); i++) {
        pq_hub_input_handed(w->hub, &f, w->now);
        pq_hub_rx_end(w->hub, w->now);
        free(f.p);
    }
}

void pq_worker_hand(struct pq_worker *w, const struct pq_frame *f)
{
    if (pq_handover_put(&w->handover, f))
        uv_async_send(&w->handed);
}

static void on_alarm(uv_poll_t *p, int status, int events)
{
    struct pq_worker *w = p->data;
    uint64_t times;
    (void)status;
    (void)events;
    if (read(w->alarm_fd, &times, sizeof times) < 0)
        return;
    w->alarm_at = PQ_NEVER;
    w->now = pq_clock();
    pq_hub_tick(w->hub, w->now);
}

/* ---- life */

static void on_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void free_poll(uv_handle_t *h)
{
    free(h);
}

static void close_polls(struct pq_worker *w)
{
    if (w->rx)
        uv_close((uv_handle_t *)w->rx, free_poll);
    if (w->tx)
        uv_close((uv_handle_t *)w->tx, free_poll);
    w->rx = w->tx = NULL;
}

static uv_poll_t *new_poll(struct pq_worker *w, int fd)
{
    uv_poll_t *p = malloc(sizeof *p);
    if (p && uv_poll_init(&w->loop, p, fd)) {
        free(p);
        return NULL;
    }
    if (p)
        p->data = w;
    return p;
}

static int open_polls(struct pq_worker *w)
{
    if (w->io->tx_fd == w->io->rx_fd) /* the loop wants each descriptor once */
        w->tx_dup = dup(w->io->tx_fd);
    w->rx = new_poll(w, w->io->rx_fd);
    w->tx = new_poll(w, w->tx_dup >= 0 ? w->tx_dup : w->io->tx_fd);
    if (!w->rx || !w->tx)
        return PQ_ENOMEM;
    return uv_poll_start(w->rx, UV_READABLE, on_rx);
}

static void say_bye(void *ctx, struct pq_session *s)
{
    (void)ctx;
    pq_session_bye(s);
}

static void close_handles(struct pq_worker *w)
{
    close_polls(w);
    uv_close((uv_handle_t *)&w->alarm, NULL);
    uv_close((uv_handle_t *)&w->prepare, NULL);
    uv_close((uv_handle_t *)&w->check, NULL);
    uv_close((uv_handle_t *)&w->idle, NULL);
    uv_close((uv_handle_t *)&w->stop, NULL);
    uv_close((uv_handle_t *)&w->woken, NULL);
    uv_close((uv_handle_t *)&w->leaving, NULL);
}

static void on_leaving(uv_timer_t *t)
{
    (void)t; /* on_check finds that it is time */
}

/* Connections end both ways, if their other ends still answer [12.9]. */
static void end_when_left(struct pq_worker *w)
{
    if ((pq_hub_left(w->hub, w->now) || w->now >= w->leave_by) &&
        !uv_is_closing((uv_handle_t *)&w->stop))
        close_handles(w);
}

static void on_stop(uv_async_t *a)
{
    struct pq_worker *w = a->data;
    if (w->leave_by)
        return;
    w->now = pq_clock();
    if (w->on_stop)
        w->on_stop(w);
    pq_front_stop(&w->front);
    pq_hub_each(w->hub, say_bye, NULL);
    drain(w); /* what streams still had to say, and that this is the end */
    pq_hub_leave(w->hub, w->now);
    w->leave_by = w->now + LEAVE_MAX;
    uv_timer_start(&w->leaving, on_leaving, LEAVE_MAX / PQ_MS, 0);
}

/* Stands still if that is asked for.  What there is to send goes out in this turn: on_check. */
static void on_woken(uv_async_t *a)
{
    struct pq_worker *w = a->data;
    atomic_fetch_add(&w->wakes, 1); /* what is to be sent goes in this turn's on_check */
    pthread_mutex_lock(&w->pause_lock);
    if (w->pause == PQ_SHALL_PAUSE) {
        w->pause = PQ_STANDS;
        pthread_cond_signal(&w->paused);
        while (w->pause == PQ_STANDS)
            pthread_cond_wait(&w->paused, &w->pause_lock);
    }
    pthread_mutex_unlock(&w->pause_lock);
}

static int open_handles(struct pq_worker *w)
{
    int e;
    w->alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (w->alarm_fd < 0)
        return -errno;
    w->alarm.data = w->prepare.data = w->check.data = w;
    w->stop.data = w->woken.data = w->handed.data = w;
    if ((e = open_polls(w)) || (e = uv_poll_init(&w->loop, &w->alarm, w->alarm_fd)) ||
        (e = uv_async_init(&w->loop, &w->stop, on_stop)) ||
        (e = uv_async_init(&w->loop, &w->woken, on_woken)) ||
        (e = uv_async_init(&w->loop, &w->handed, on_handed)))
        return e;
    uv_unref(
        (uv_handle_t *)&w->handed); /* open to the end: others may still send when this one stops */
    uv_timer_init(&w->loop, &w->leaving);
    uv_prepare_init(&w->loop, &w->prepare);
    uv_check_init(&w->loop, &w->check);
    uv_idle_init(&w->loop, &w->idle);
    uv_poll_start(&w->alarm, UV_READABLE, on_alarm);
    uv_prepare_start(&w->prepare, on_prepare);
    uv_check_start(&w->check, on_check);
    return 0;
}

int pq_worker_change_io(struct pq_worker *w, struct pq_pktio *io)
{
    close_polls(w);
    if (w->tx_dup >= 0)
        close(w->tx_dup);
    w->tx_dup = -1;
    pq_pktio_close(&w->io);
    w->io = io;
    w->tx_wait = false;
    w->first = w->filled = 0; /* what waited for the old one is sent again by KCP */
    return open_polls(w);
}

int pq_worker_init(struct pq_worker *w, unsigned id, struct pq_pktio *io,
                   const struct pq_hub_conf *hc, const struct pq_hub_events *ev, void *role)
{
    memset(w, 0, sizeof *w);
    w->id = id;
    w->io = io;
    pthread_mutex_init(&w->pause_lock, NULL);
    pthread_cond_init(&w->paused, NULL);
    w->role = role;
    w->alarm_fd = w->tx_dup = -1;
    w->alarm_at = w->retry_at = PQ_NEVER;
    w->now = pq_clock();
    pq_rng_init(&w->rng);
    int e = uv_loop_init(&w->loop);
    if (e)
        return e;
    w->has_loop = true;
    pq_handover_init(&w->handover);
    pq_front_init(&w->front, &w->loop, pq_rng_u64(&w->rng) | 1);
    w->slot_memory = malloc((size_t)PQ_TX_SLOTS * PQ_SLOT_SIZE);
    if (!w->slot_memory)
        return PQ_ENOMEM;
    for (unsigned i = 0; i < PQ_TX_SLOTS; i++)
        w->slots[i].buf = w->slot_memory + (size_t)i * PQ_SLOT_SIZE;
    struct pq_hub_conf conf = *hc;
    conf.link_len = io->link_len;
    conf.runs = io->runs;
    conf.splits = io->splits;
    conf.worker = id;
    conf.turn = id;
    e = pq_hub_new(&w->hub, &conf, ev, w, &w->rng, w->now);
    return e ? e : open_handles(w);
}

static void log_counters(struct pq_worker *w)
{
    const struct pq_hub_stats *h = pq_hub_stats(w->hub);
    struct pq_pktio_stats io;
    pq_pktio_stats(w->io, &io);
    PQ_LOG(PQ_LOG_DEBUG,
           "worker %u: datagrams %llu in, %llu out; %llu dropped by the kernel for "
           "want of room, %llu cut; %llu rebuilt by FEC",
           w->id, (unsigned long long)h->rx_packets, (unsigned long long)h->tx_packets,
           (unsigned long long)io.kernel_drops, (unsigned long long)io.truncated,
           (unsigned long long)h->rebuilt);
    PQ_LOG(PQ_LOG_DEBUG, "worker %u: %llu UDP datagrams dropped for want of room", w->id,
           (unsigned long long)w->front.udp_dropped);
    for (int d = PQ_DROP_NONE + 1; d < PQ_DROP_COUNT; d++)
        if (h->drops[d])
            PQ_LOG(PQ_LOG_DEBUG, "worker %u: %llu dropped: %s", w->id,
                   (unsigned long long)h->drops[d], pq_drop_name((enum pq_drop)d));
}

void pq_worker_run(struct pq_worker *w)
{
    uv_run(&w->loop, UV_RUN_DEFAULT);
    log_counters(w);
}

void pq_worker_wake(struct pq_worker *w)
{
    uv_async_send(&w->woken);
}

void pq_worker_pause(struct pq_worker *w)
{
    pthread_mutex_lock(&w->pause_lock);
    w->pause = PQ_SHALL_PAUSE;
    uv_async_send(&w->woken);
    while (w->pause != PQ_STANDS)
        pthread_cond_wait(&w->paused, &w->pause_lock);
    w->now = pq_clock();
    pthread_mutex_unlock(&w->pause_lock);
}

void pq_worker_resume(struct pq_worker *w)
{
    pthread_mutex_lock(&w->pause_lock);
    w->pause = PQ_RUNS;
    pthread_cond_signal(&w->paused);
    pthread_mutex_unlock(&w->pause_lock);
}

void pq_worker_stop(struct pq_worker *w)
{
    uv_async_send(&w->stop);
}

void pq_worker_fini(struct pq_worker *w)
{
    pthread_mutex_destroy(&w->pause_lock);
    pthread_cond_destroy(&w->paused);
    if (!w->has_loop) {
        pq_pktio_close(&w->io);
        return;
    }
    close_polls(w);
    uv_walk(&w->loop, on_handle, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    pq_hub_free(&w->hub);
    uv_run(&w->loop, UV_RUN_DEFAULT); /* handles that ended streams closed */
    uv_loop_close(&w->loop);
    pq_handover_fini(&w->handover);
    pq_pktio_close(&w->io);
    if (w->alarm_fd >= 0)
        close(w->alarm_fd);
    if (w->tx_dup >= 0)
        close(w->tx_dup);
    free(w->slot_memory);
}
