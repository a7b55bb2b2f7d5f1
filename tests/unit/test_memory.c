/* SPDX-License-Identifier: MIT */
/* test_memory.c - how much memory control groups allow, of both kinds, as their files tell. */
#include "os/memory.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MB ((uint64_t)1 << 20)

static char folder[] = "/tmp/paqet-memory-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make(void **state)
{
    static const char *const folders[] = {"two", "two/a", "two/a/b", "one", "one/c"};
    char path[256];
    (void)state;
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    put("two/a/memory.max", "67108864\n");
    put("two/a/b/memory.max", "max\n");
    put("two/a/b/memory.high", "max\n");
    put("one/memory.limit_in_bytes", "9223372036854771712\n");
    put("one/c/memory.limit_in_bytes", "33554432\n");
    return 0;
}

static int clear(void **state)
{
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* Mounts as /proc/self/mountinfo has them: from this group of version 2, and of version 1. */
static uint64_t bound(const char *groups, const char *root2, const char *root1)
{
    char text[1024], path[2][256];
    snprintf(text, sizeof text,
             "21 1 0:19 / / rw,relatime - ext4 /dev/root rw\n"
             "30 21 0:26 / %s/none rw - cgroup cgroup rw,cpu,memoryless\n"
             "31 21 0:27 %s %s/two rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
             "32 21 0:28 %s %s/one rw - cgroup cgroup rw,cpu,memory\n",
             folder, root2, folder, root1, folder);
    put("mounts", text);
    put("groups", groups);
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof path[i], "%s/%s", folder, i ? "mounts" : "groups");
    return pq_memory_of_groups(path[0], path[1]);
}

static void around_it(void **state)
{
    (void)state;
    assert_int_equal(bound("0::/a/b\n", "/", "/"), 64 * MB); /* of the group around it */
    put("two/a/b/memory.high", "50331648\n");
    assert_int_equal(bound("0::/a/b\n", "/", "/"), 48 * MB);
    put("two/a/b/memory.high", "max\n");
    assert_true(bound("0::/\n", "/", "/") == UINT64_MAX);
    assert_true(bound("0::/elsewhere\n", "/", "/") == UINT64_MAX);
}

/* What is mounted begins at a container's own group, or the group's name does. */
static void container(void **state)
{
    (void)state;
    assert_int_equal(bound("0::/pods/x/a/b\n", "/pods/x", "/"), 64 * MB);
    assert_int_equal(bound("0::/pods/x/a\n", "/pods/x", "/"), 64 * MB);
    put("two/memory.max", "16777216\n");
    assert_int_equal(bound("0::/pods/x\n", "/pods/x", "/"), 16 * MB);
    assert_int_equal(bound("0::/pods/xy/a\n", "/pods/x", "/"), 16 * MB); /* another's name */
    assert_int_equal(bound("0::/\n", "/", "/"), 16 * MB);
    put("two/memory.max", "max\n");
}

static void version_1(void **state)
{
    (void)state;
    assert_int_equal(bound("0::/a/b\n4:cpu,memory:/c\n", "/", "/"), 32 * MB);
    assert_int_equal(bound("4:memory:/c\n0::/a/b\n", "/", "/"), 32 * MB);
    assert_int_equal(bound("4:memoryless:/c\n0::/a/b\n", "/", "/"), 64 * MB);
}

static void nothing_there(void **state)
{
    (void)state;
    assert_true(bound("", "/", "/") == UINT64_MAX);
    assert_true(bound("0\n::\n:::::\n", "/", "/") == UINT64_MAX);
    assert_true(pq_memory_of_groups("/nowhere", "/nowhere") == UINT64_MAX);
    assert_true(pq_memory_there() > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(around_it), cmocka_unit_test(container),
                                       cmocka_unit_test(version_1),
                                       cmocka_unit_test(nothing_there)};
    return cmocka_run_group_tests(tests, make, clear);
}
