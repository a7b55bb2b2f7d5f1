/* SPDX-License-Identifier: MIT */
#include "os/memory.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#define LINE_BYTES (2 * PATH_MAX)

struct group { /* of memory, as the process is in it */
    bool v1;   /* of the older kind of control groups, which have one tree for each resource */
    char path[PATH_MAX];
    char mount[PATH_MAX]; /* where its tree is, ... */
    char root[PATH_MAX];  /* ... from this group of it on */
};

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Whether `word` is one of a list with commas. */
static bool lists(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *p = list; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, word, n) == 0 && (p[n] == ',' || !p[n]))
            return true;
    }
    return false;
}

/* Lines are ID:CONTROLLERS:PATH; the one of version 2 is 0::PATH. */
static bool find_group(FILE *f, struct group *g)
{
    char line[LINE_BYTES];
    bool found = false;
    while (!g->v1 && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *kinds = strchr(line, ':'), *path = kinds ? strchr(kinds + 1, ':') : NULL;
        if (!path || strlen(path + 1) >= sizeof g->path)
            continue;
        *path++ = 0;
        g->v1 = lists(++kinds, "memory");
        if (!g->v1 && *kinds)
            continue;
        strcpy(g->path, path);
        found = true;
    }
    return found;
}

/* Lines are ID PARENT MAJOR:MINOR ROOT MOUNT OPTIONS [more...] - TYPE SOURCE SUPEROPTIONS. */
static bool find_mount(FILE *f, struct group *g)
{
    char line[LINE_BYTES];
    while (fgets(line, sizeof line, f)) {
        char type[32], options[512];
        const char *rest = strstr(line, " - ");
        if (!rest || sscanf(rest, " - %31s %*s %511s", type, options) != 2 ||
            sscanf(line, "%*s %*s %*s %4095s %4095s", g->root, g->mount) != 2)
            continue;
        if (g->v1 ? strcmp(type, "cgroup") == 0 && lists(options, "memory")
                  : strcmp(type, "cgroup2") == 0)
            return true;
    }
    return false;
}

/* The number in a file of the folder; "max" and what is not there are no bound. */
static uint64_t read_bound(const char *folder, const char *name)
{
    char path[PATH_MAX + 32];
    unsigned long long v;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "re");
    const bool ok = f && fscanf(f, "%llu", &v) == 1;
    if (f)
        fclose(f);
    return ok ? v : UINT64_MAX;
}

/* From the process's group up to the root of what is mounted. */
static uint64_t walk(const struct group *g)
{
    char folder[PATH_MAX];
    const char *below = g->path;
    const size_t root = strcmp(g->root, "/") == 0 ? 0 : strlen(g->root);
    if (root && strncmp(below, g->root, root) == 0 && (below[root] == '/' || !below[root]))
        below += root; /* a container's mount begins at its own group */
    else if (root)
        below = "";
    if (snprintf(folder, sizeof folder, "%s%s", g->mount, below) >= (int)sizeof folder)
        return UINT64_MAX;
    uint64_t most = UINT64_MAX;
    for (;;) {
        if (g->v1)
            most = least(most, read_bound(folder, "memory.limit_in_bytes"));
        else
            most = least(
                most, least(read_bound(folder, "memory.max"), read_bound(folder, "memory.high")));
        char *slash = strrchr(folder, '/');
        if (!slash || slash < folder + strlen(g->mount))
            return most;
        *slash = 0;
    }
}

uint64_t pq_memory_of_groups(const char *groups, const char *mounts)
{
    struct group *g = calloc(1, sizeof *g);
    FILE *f = g ? fopen(groups, "re") : NULL, *m = f ? fopen(mounts, "re") : NULL;
    const bool found = m && find_group(f, g) && find_mount(m, g);
    const uint64_t most = found ? walk(g) : UINT64_MAX;
    if (f)
        fclose(f);
    if (m)
        fclose(m);
    free(g);
    return most;
}

uint64_t pq_memory_there(void)
{
    struct sysinfo si;
    const uint64_t machine = sysinfo(&si) ? UINT64_MAX : (uint64_t)si.totalram * si.mem_unit;
    return least(machine, pq_memory_of_groups("/proc/self/cgroup", "/proc/self/mountinfo"));
}
