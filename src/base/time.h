/* SPDX-License-Identifier: MIT */
/* time.h - monotonic time as one number.  `now` is always passed in, as the last argument; a
 * deadline is an absolute pq_ns.  Only app, os and cli read the clock (pq_clock). */
#ifndef PQ_BASE_TIME_H
#define PQ_BASE_TIME_H
#include <stdint.h>
#include <time.h>

typedef uint64_t pq_ns; /* nanoseconds of CLOCK_MONOTONIC */

#define PQ_NEVER UINT64_MAX
#define PQ_US    ((pq_ns)1000)
#define PQ_MS    ((pq_ns)1000000)
#define PQ_SEC   ((pq_ns)1000000000)

static inline pq_ns pq_ns_min(pq_ns a, pq_ns b)
{
    return a < b ? a : b;
}

static inline pq_ns pq_ns_max(pq_ns a, pq_ns b)
{
    return a > b ? a : b;
}

/* Reads CLOCK_MONOTONIC.  Not for the Sans-IO cores. */
static inline pq_ns pq_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (pq_ns)t.tv_sec * PQ_SEC + (pq_ns)t.tv_nsec;
}
#endif
