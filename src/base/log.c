/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static _Atomic int log_level = PQ_LOG_INFO;

void pq_log_set_level(enum pq_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

enum pq_log_level pq_log_get_level(void)
{
    return (enum pq_log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

/* Writes unless that would block: a reader that has stopped reading must not stop the tunnel. What
 * is lost is counted, and told with the next line that goes out. */
static void put(const char *line, size_t n)
{
    static atomic_ullong lost;
    struct pollfd pf = {.fd = STDOUT_FILENO, .events = POLLOUT};
    char note[80];
    if (poll(&pf, 1, 0) == 0) {
        atomic_fetch_add(&lost, 1);
        return;
    }
    unsigned long long missing = atomic_exchange(&lost, 0);
    int k = missing
                ? snprintf(note, sizeof note, "(%llu lines were lost: nobody read them)\n", missing)
                : 0;
    if ((k && write(STDOUT_FILENO, note, (size_t)k) < 0) || write(STDOUT_FILENO, line, n) < 0)
        return; /* nowhere left to say so */
}

void pq_log_write(enum pq_log_level level, const char *fmt, ...)
{
    static const char *const names[] = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"};
    char line[1024];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    localtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%d %H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ld [%s] ", ts.tv_nsec / 1000000,
                          names[level]);
    size_t text = n;
    va_list ap;
    va_start(ap, fmt);
    int k = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    va_end(ap);
    if (k > 0)
        n += (size_t)k < sizeof line - n - 1 ? (size_t)k : sizeof line - n - 2;
    for (size_t i = text; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n++] = '\n';
    put(line, n);
}

uint64_t pq_log_due(struct pq_log_limit *l, pq_ns period, pq_ns now)
{
    l->events++;
    if (now < l->next)
        return 0;
    uint64_t n = l->events;
    l->events = 0;
    l->next = now + period;
    return n;
}
