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

/* ---- what happens again and again.  Where nobody takes old lines away, a log must not grow with
 * what others do: with packets of strangers, a server that is away for a week, flows that die. */

/* Lets one line through per period and counts the rest; while it goes on and on, ever more rarely,
 * once an hour in the end. */
struct pq_log_limit {
    pq_ns next;      /* earliest time of the next line */
    uint64_t events; /* since the last line, this one included */
    pq_ns every;     /* the period as it is now */
};

/* Counts an event.  Returns the number of events since the last line when a line is due (at most
 * one per `period` ns, twice that after each line that events have waited for, at most an hour or
 * the period), else 0. */
uint64_t pq_log_due(struct pq_log_limit *l, pq_ns period, pq_ns now);

/* Lets the first `most` lines of an hour through; of the next hour a tenth of them, and at least
 * one, if that was not enough, and so on. */
struct pq_log_some {
    pq_ns until; /* end of this hour */
    unsigned said, may;
    uint64_t left_out; /* lines of this hour */
};

/* Counts an event.  Returns whether its line is one of these; then *before is how many lines were
 * left out in the hour before, if it is the first one of its hour, else 0. */
bool pq_log_some_due(struct pq_log_some *l, unsigned most, pq_ns now, uint64_t *before);

/* As pq_log_write for such a line, any thread; a line that is left out is one of level DEBUG.  Says
 * with the last one of an hour that more are left out, and with the first one how many were.  Use
 * the macro. */
void pq_log_write_some(struct pq_log_some *l, unsigned most, enum pq_log_level level,
                       const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#define PQ_LOG_MOST    20  /* lines of a kind in an hour */
#define PQ_LOG_CLIENTS 100 /* ... if they tell who comes and goes */

/* In place of PQ_LOG where others can make it happen again and again; each place in the source has
 * its own hour. */
#define PQ_LOG_SOME(level, most, ...)                                                              \
    do {                                                                                           \
        static struct pq_log_some some_;                                                           \
        if ((level) >= pq_log_get_level())                                                         \
            pq_log_write_some(&some_, (most), (level), __VA_ARGS__);                               \
    } while (0)
#endif
