/* SPDX-License-Identifier: MIT */
/* log.h - one line an event: time, level, text, in one write.  The level is tested before the
 * text is made, and a line that nobody would take is left out, and counted.  Keys and payload are
 * never logged.  May be called from any thread. */
#ifndef PQ_BASE_LOG_H
#define PQ_BASE_LOG_H
#include "base/time.h"

#include <stdbool.h>

enum pq_log_level {
    PQ_LOG_DEBUG,
    PQ_LOG_INFO,
    PQ_LOG_WARN,
    PQ_LOG_ERROR,
    PQ_LOG_FATAL,
    PQ_LOG_NONE,
};

/* What this thread logs from now on begins with "NAME: "; NULL: with nothing.  Borrowed. */
void pq_log_set_name(const char *name);
const char *pq_log_get_name(void);

/* Sets the lowest level that is written; at any time. */
void pq_log_set_level(enum pq_log_level level);
enum pq_log_level pq_log_get_level(void);

/* ---- the last lines are kept in memory, 64 KB of them */

/* Calls fn for each line that is kept and whose number is `after` or more, without line feed; the
 * first line of the program is number 0.  Returns the number of the next line.  fn may not log. */
uint64_t pq_log_kept(uint64_t after, void (*fn)(void *ctx, const char *line), void *ctx);

/* Its name as the configuration has it; and the level of a name, false if it is none. */
const char *pq_log_level_name(enum pq_log_level level);
bool pq_log_level_from(const char *name, enum pq_log_level *out);

/* Writes one line "YYYY-MM-DD HH:MM:SS.mmm [LEVEL] text" to standard output; control characters
 * in the text become '?'.  Use the macro. */
void pq_log_write(enum pq_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define PQ_LOG(level, ...)                                                                         \
    do {                                                                                           \
        if ((level) >= pq_log_get_level())                                                         \
            pq_log_write((level), __VA_ARGS__);                                                    \
    } while (0)

/* Lets one line through per period and counts the rest. */
struct pq_log_limit {
    pq_ns next;      /* earliest time of the next line */
    uint64_t events; /* since the last line, this one included */
};

/* Counts an event.  Returns the number of events since the last line when a line is due (at most
 * one per `period` ns), else 0. */
uint64_t pq_log_due(struct pq_log_limit *l, pq_ns period, pq_ns now);
#endif
