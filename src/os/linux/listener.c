/* SPDX-License-Identifier: MIT */
#include "os/listener.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTEN     0x0a /* as /proc/net/tcp has it */
#define LINE_MAX_P 512

/* The inode of a socket that listens there, by one of the kernel's tables; 0: none. */
static unsigned long find_socket(const char *table, uint16_t port)
{
    char line[LINE_MAX_P];
    unsigned long inode = 0;
    FILE *f = fopen(table, "re");
    while (f && !inode && fgets(line, sizeof line, f)) {
        unsigned local, state;
        unsigned long found;
        /* number, address:port, peer, state, queues, timer, repeats, user, timeout, inode */
        const char *colon = strchr(line, ':');
        colon = colon ? strchr(colon + 1, ':') : NULL;
        if (colon &&
            sscanf(colon + 1, "%4x %*s %2x %*s %*s %*s %*s %*s %lu", &local, &state, &found) == 3 &&
            local == port && state == LISTEN)
            inode = found;
    }
    if (f)
        fclose(f);
    return inode;
}

static bool has_socket(const char *pid, const char *wanted)
{
    char path[PATH_MAX], is[64];
    bool has = false;
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *d = opendir(path);
    for (struct dirent *e; !has && d && (e = readdir(d));) {
        snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, e->d_name);
        const ssize_t n = readlink(path, is, sizeof is - 1);
        is[n > 0 ? n : 0] = 0;
        has = strcmp(is, wanted) == 0;
    }
    if (d)
        closedir(d);
    return has;
}

static void read_name(const char *pid, char out[16])
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    FILE *f = fopen(path, "re");
    if (!f || !fgets(out, 16, f))
        out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || (unsigned char)*p > '~') /* any program may call itself so */
            *p = '?';
    if (f)
        fclose(f);
}

bool pq_listener_find(uint16_t port, struct pq_listener *out)
{
    char wanted[64];
    *out = (struct pq_listener){.pid = 0};
    unsigned long inode = find_socket("/proc/net/tcp", port);
    inode = inode ? inode : find_socket("/proc/net/tcp6", port);
    if (!inode)
        return false;
    snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    DIR *d = opendir("/proc");
    for (struct dirent *e; !out->pid && d && (e = readdir(d));) {
        if (*e->d_name < '1' || *e->d_name > '9' || !has_socket(e->d_name, wanted))
            continue;
        out->pid = (int)strtol(e->d_name, NULL, 10);
        read_name(e->d_name, out->name);
    }
    if (d)
        closedir(d);
    return true;
}
