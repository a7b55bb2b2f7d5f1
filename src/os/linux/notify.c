/* SPDX-License-Identifier: MIT */
#include "os/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int pq_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!path || (*path != '/' && *path != '@'))
        return 0;
    const size_t n = strlen(path);
    if (n >= sizeof to.sun_path)
        return -ENAMETOOLONG;
    memcpy(to.sun_path, path, n);
    if (*path == '@') /* of the abstract namespace: no file */
        to.sun_path[0] = 0;
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    const ssize_t sent =
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, len);
    const int e = sent < 0 ? -errno : 0;
    close(fd);
    return e;
}

pq_ns pq_notify_watchdog(void)
{
    const char *text = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    const unsigned long long us = text ? strtoull(text, NULL, 10) : 0;
    if (!us || us > 86400000000ULL || (pid && strtol(pid, NULL, 10) != (long)getpid()))
        return PQ_NEVER;
    return (pq_ns)us * 1000;
}
