/* SPDX-License-Identifier: MIT */
#include "os/listener.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTEN      0x0a /* as /proc/net/tcp has it */
#define UNCONNECTED 0x07 /* as /proc/net/udp has a socket that anybody may write to */
#define LINE_MAX_P  512

/* Takes the sockets that wait, of one of the kernel's tables. */
static void read_table(const char *table, bool udp, struct pq_listeners *v, size_t n)
{
    char line[LINE_MAX_P];
    FILE *f = fopen(table, "re");
    while (f && fgets(line, sizeof line, f)) {
        unsigned local, state;
        unsigned long inode;
        /* number, address:port, peer, state, queues, timer, repeats, user, timeout, inode */
        const char *colon = strchr(line, ':');
        colon = colon ? strchr(colon + 1, ':') : NULL;
        if (!colon ||
            sscanf(colon + 1, "%4x %*s %2x %*s %*s %*s %*s %*s %lu", &local, &state, &inode) != 3 ||
            state != (udp ? UNCONNECTED : LISTEN))
            continue;
        for (size_t i = 0; i < n; i++)
            if (v[i].port == local && v[i].udp == udp && !v[i].inode)
                v[i].inode = inode;
    }
    if (f)
        fclose(f);
}

static int by_inode(const void *a, const void *b)
{
    const unsigned long x = ((const struct pq_listeners *)a)->inode,
                        y = ((const struct pq_listeners *)b)->inode;
    return (x > y) - (x < y);
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

/* Whose of them one process has. */
static void read_process(const char *pid, struct pq_listeners *v, size_t n)
{
    char path[PATH_MAX], is[64];
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct pq_listeners key = {.port = 0};
        snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, e->d_name);
        const ssize_t got = readlink(path, is, sizeof is - 1);
        is[got > 0 ? got : 0] = 0;
        if (sscanf(is, "socket:[%lu]", &key.inode) != 1 || !key.inode)
            continue;
        struct pq_listeners *l = bsearch(&key, v, n, sizeof *v, by_inode);
        if (!l || l->who.pid)
            continue;
        l->who.pid = (int)strtol(pid, NULL, 10);
        read_name(pid, l->who.name);
    }
    if (d)
        closedir(d);
}

static void share(const struct pq_listeners *from, struct pq_listeners *to)
{
    if (to->found && to->inode == from->inode && !to->who.pid)
        to->who = from->who;
}

void pq_listeners_find(struct pq_listeners *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        v[i].inode = 0;
        v[i].who = (struct pq_listener){.pid = 0};
    }
    read_table("/proc/net/tcp", false, v, n);
    read_table("/proc/net/tcp6", false, v, n);
    read_table("/proc/net/udp", true, v, n);
    read_table("/proc/net/udp6", true, v, n);
    qsort(v, n, sizeof *v, by_inode);
    bool any = false;
    for (size_t i = 0; i < n; i++)
        any |= v[i].found = v[i].inode != 0;
    DIR *d = any ? opendir("/proc") : NULL;
    for (struct dirent *e; d && (e = readdir(d));)
        if (*e->d_name >= '1' && *e->d_name <= '9')
            read_process(e->d_name, v, n);
    if (d)
        closedir(d);
    for (size_t i = 1; i < n; i++) { /* one socket may have several of the list */
        share(&v[i - 1], &v[i]);
        share(&v[n - i], &v[n - i - 1]);
    }
}

bool pq_listener_find(uint16_t port, struct pq_listener *out)
{
    struct pq_listeners one = {.port = port};
    pq_listeners_find(&one, 1);
    *out = one.who;
    return one.found;
}
