/* SPDX-License-Identifier: MIT */
/* base_log.c - lines of what happens again and again. */
#include "base/log.h"
#include "base_tests.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static void log_limit(void **state)
{
    (void)state;
    struct pq_log_limit l = {.next = 0};
    assert_int_equal(pq_log_due(&l, 10, 100), 1);
    assert_int_equal(pq_log_due(&l, 10, 100), 0);
    assert_int_equal(pq_log_due(&l, 10, 109), 0);
    assert_int_equal(pq_log_due(&l, 10, 110), 3);
    assert_int_equal(pq_log_due(&l, 10, 111), 0);
    assert_int_equal(pq_log_due(&l, 10, 129), 0);
    assert_int_equal(pq_log_due(&l, 10, 130), 3);
    assert_int_equal(pq_log_due(&l, 10, 1000), 1);
    assert_int_equal(pq_log_due(&l, 10, 1010), 1);
}

#define SECOND PQ_SEC
#define HOUR   (3600 * SECOND)
#define WEEK   (168 * HOUR)

/* Something that happens each second for a week: how many lines, and that each event is in one. */
static void log_for_a_week(void **state)
{
    (void)state;
    struct pq_log_limit due = {.next = 0};
    struct pq_log_some some = {.until = 0};
    uint64_t lines = 0, told = 0, last = 0, before;
    unsigned somes = 0, first_hour = 0;
    for (pq_ns now = HOUR; now < HOUR + WEEK; now += SECOND) {
        const uint64_t n = pq_log_due(&due, 10 * SECOND, now);
        lines += n > 0;
        told += n;
        last = n ? now : last;
        if (pq_log_some_due(&some, 20, now, &before)) {
            somes++;
            first_hour += now < 2 * HOUR;
            assert_int_equal(before != 0, now >= 2 * HOUR && some.said == 1);
        }
    }
    assert_in_range(lines, 7 * 24, 7 * 24 + 12);
    assert_int_equal(told + due.events, WEEK / SECOND);
    assert_true(last > WEEK); /* to the end */
    assert_int_equal(first_hour, 20);
    assert_int_equal(somes, 20 + 2 * (7 * 24 - 1));
}

/* After an hour with little of it all are said again, and what was left out is told. */
static void log_some(void **state)
{
    (void)state;
    struct pq_log_some l = {.until = 0};
    uint64_t before;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(pq_log_some_due(&l, 3, HOUR + i, &before), i < 3);
    assert_int_equal(before, 0);
    assert_true(pq_log_some_due(&l, 3, 2 * HOUR, &before));
    assert_int_equal(before, 2);
    assert_false(pq_log_some_due(&l, 3, 2 * HOUR + 1, &before)); /* one, a tenth of three */
    assert_true(pq_log_some_due(&l, 3, 5 * HOUR, &before));
    assert_int_equal(before, 1);
    for (unsigned i = 1; i < 3; i++)
        assert_true(pq_log_some_due(&l, 3, 5 * HOUR + i, &before));
    assert_false(pq_log_some_due(&l, 3, 5 * HOUR + 3, &before));
}

static unsigned n_kept;
static char kept_last[200];

static void count_kept(void *ctx, const char *line)
{
    (void)ctx;
    n_kept += strstr(line, "of a kind") != NULL;
    snprintf(kept_last, sizeof kept_last, "%.199s", line);
}

static void say_some(int n)
{
    PQ_LOG_SOME(PQ_LOG_WARN, 5, "%d of a kind", n);
}

static void log_some_written(void **state)
{
    (void)state;
    const uint64_t from = pq_log_kept(UINT64_MAX, count_kept, NULL);
    n_kept = 0;
    for (int i = 0; i < 1000; i++)
        say_some(i);
    pq_log_kept(from, count_kept, NULL);
    assert_int_equal(n_kept, 5);
    assert_non_null(strstr(
        kept_last, "[WARN] 4 of a kind (more such lines are left out until the hour is over)"));
    pq_log_set_level(PQ_LOG_DEBUG);
    say_some(1000);
    pq_log_kept(from, count_kept, NULL);
    pq_log_set_level(PQ_LOG_INFO);
    assert_non_null(strstr(kept_last, "[DEBUG] 1000 of a kind"));
}

int base_log(void)
{
    const struct CMUnitTest log[] = {
        cmocka_unit_test(log_limit),
        cmocka_unit_test(log_for_a_week),
        cmocka_unit_test(log_some),
        cmocka_unit_test(log_some_written),
    };
    return ut_run(log);
}
