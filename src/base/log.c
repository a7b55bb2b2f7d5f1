/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include "base/text.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 1024
#define KEPT         65536
#define SUFFIX_MAX   96

static _Atomic int log_level = PQ_LOG_INFO;

void pq_log_set_level(enum pq_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

enum pq_log_level pq_log_get_level(void)
{
    return (enum pq_log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

static _Thread_local const char *thread_name;

void pq_log_set_name(const char *name)
{
    thread_name = name;
}

const char *pq_log_get_name(void)
{
    return thread_name;
}

static const char *const level_names[] = {"debug", "info", "warn", "error", "fatal", "none"};

const char *pq_log_level_name(enum pq_log_level level)
{
    return level_names[level];
}

bool pq_log_level_from(const char *name, enum pq_log_level *out)
{
    for (unsigned i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(level_names[i], name) == 0) {
            *out = (enum pq_log_level)i;
            return true;
        }
    }
    return false;
}

/* ---- the last lines */

static struct {
    pthread_mutex_t lock;
    char bytes[KEPT];     /* lines one behind the other, each with its final 0; goes round */
    uint64_t from, to;    /* bytes ever written: the first one kept, and one behind the last */
    uint64_t first, next; /* numbers of the first line kept and of the next one */
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static char *kept_at(uint64_t at)
{
    return &kept.bytes[at % KEPT];
}

static void keep(const char *line, size_t n)
{
    pthread_mutex_lock(&kept.lock);
    while (kept.to + n + 1 - kept.from > KEPT) { /* the oldest line goes */
        while (*kept_at(kept.from++))
            continue;
        kept.first++;
    }
    for (size_t i = 0; i < n; i++)
        *kept_at(kept.to++) = line[i];
    *kept_at(kept.to++) = 0;
    kept.next++;
    pthread_mutex_unlock(&kept.lock);
}

uint64_t pq_log_kept(uint64_t after, void (*fn)(void *ctx, const char *line), void *ctx)
{
    char line[LINE_MAX_LEN];
    pthread_mutex_lock(&kept.lock);
    uint64_t at = kept.from;
    for (uint64_t nth = kept.first; nth < kept.next; nth++) {
        size_t n = 0;
        while ((line[n] = *kept_at(at++)))
            n++;
        if (nth >= after)
            fn(ctx, line);
    }
    const uint64_t next = kept.next;
    pthread_mutex_unlock(&kept.lock);
    return next;
}

/* ---- writing */

/* Writes unless that would block: a reader that has stopped reading must not stop the tunnel. What
 * is lost is counted, and told with the next line that goes out. */
static void put(const char *line, size_t n)
{
    static atomic_uint lost;
    struct pollfd pf = {.fd = STDOUT_FILENO, .events = POLLOUT};
    char note[80];
    if (poll(&pf, 1, 0) == 0) {
        atomic_fetch_add(&lost, 1);
        return;
    }
    const unsigned missing = atomic_exchange(&lost, 0);
    int k = missing
                ? snprintf(note, sizeof note, "(%u lines were lost: nobody read them)\n", missing)
                : 0;
    if ((k && write(STDOUT_FILENO, note, (size_t)k) < 0) || write(STDOUT_FILENO, line, n) < 0)
        return; /* nowhere left to say so */
}

static void write_line(enum pq_log_level level, const char *fmt, va_list ap, const char *more)
    __attribute__((format(printf, 2, 0)));

static void write_line(enum pq_log_level level, const char *fmt, va_list ap, const char *more)
{
    static const char *const names[] = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"};
    char line[LINE_MAX_LEN];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    localtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%d %H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ld [%s] ", ts.tv_nsec / 1000000,
                          names[level]);
    size_t text = n;
    if (thread_name)
        n += (size_t)snprintf(line + n, sizeof line - n, "%.64s: ", thread_name);
    const size_t room = sizeof line - n - 1 - strlen(more);
    const int k = vsnprintf(line + n, room, fmt, ap);
    if (k > 0)
        n += (size_t)k < room ? (size_t)k : room - 1;
    n += (size_t)snprintf(line + n, sizeof line - n - 1, "%s", more);
    pq_text_tame(line + text);
    keep(line, n);
    line[n++] = '\n';
    put(line, n);
}

void pq_log_write(enum pq_log_level level, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    write_line(level, fmt, ap, "");
    va_end(ap);
}

/* ---- what happens again and again */

#define HOUR  (3600 * PQ_SEC)
#define TENTH 10

uint64_t pq_log_due(struct pq_log_limit *l, pq_ns period, pq_ns now)
{
    l->events++;
    if (now < l->next)
        return 0;
    const uint64_t n = l->events;
    const pq_ns slowest = pq_ns_max(period, HOUR);
    const bool goes_on = l->every && n > 1;
    l->every = goes_on ? pq_ns_min(2 * l->every, slowest) : period;
    l->events = 0;
    l->next = now + l->every;
    return n;
}

bool pq_log_some_due(struct pq_log_some *l, unsigned most, pq_ns now, uint64_t *before)
{
    *before = 0;
    if (now >= l->until) {
        const bool goes_on = l->left_out && now < l->until + HOUR;
        l->may = goes_on ? (most > TENTH ? most / TENTH : 1) : most;
        *before = l->left_out;
        l->left_out = 0;
        l->said = 0;
        l->until = now + HOUR;
    }
    if (l->said >= l->may) {
        l->left_out++;
        return false;
    }
    l->said++;
    return true;
}

void pq_log_write_some(struct pq_log_some *l, unsigned most, enum pq_log_level level,
                       const char *fmt, ...)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    char more[SUFFIX_MAX] = "";
    uint64_t before;
    va_list ap;
    pthread_mutex_lock(&lock);
    const bool due = pq_log_some_due(l, most, pq_clock(), &before);
    const bool last = due && l->said == l->may;
    pthread_mutex_unlock(&lock);
    if (!due && pq_log_get_level() > PQ_LOG_DEBUG)
        return;
    if (before)
        snprintf(more, sizeof more, " (%llu more such lines were left out%s)",
                 (unsigned long long)before, last ? ", and are until the hour is over" : "");
    else if (last)
        snprintf(more, sizeof more, " (more such lines are left out until the hour is over)");
    va_start(ap, fmt);
    write_line(due ? level : PQ_LOG_DEBUG, fmt, ap, more);
    va_end(ap);
}
