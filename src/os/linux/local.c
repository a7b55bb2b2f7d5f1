/* SPDX-License-Identifier: MIT */
#include "os/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

static int address(struct sockaddr_un *a, const char *path)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) > PQ_LOCAL_PATH_MAX || strlen(path) >= sizeof a->sun_path)
        return -ENAMETOOLONG;
    strcpy(a->sun_path, path);
    return 0;
}

/* Whether the path is that of a socket at which nobody listens any more. */
static bool is_left_over(const struct sockaddr_un *a)
{
    struct stat st;
    if (lstat(a->sun_path, &st) || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const bool refused =
        fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof *a) && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

static int bind_to(int fd, const struct sockaddr_un *a)
{
    if (fchmod(fd, S_IRUSR | S_IWUSR)) /* so the file has this mode from its first moment */
        return -errno;
    if (!bind(fd, (const struct sockaddr *)a, sizeof *a))
        return 0;
    if (errno != EADDRINUSE)
        return -errno;
    if (!is_left_over(a))
        return -EBUSY;
    unlink(a->sun_path);
    return bind(fd, (const struct sockaddr *)a, sizeof *a) ? -errno : 0;
}

/* One that root leaves in the folder of a service's own user: that one can see that it is stale.
 * What is there by now may be a link of his to another file, which he does not get. */
static void give_to_owner(const char *path)
{
    char folder[PQ_LOCAL_PATH_MAX + 1];
    struct stat st, own;
    strcpy(folder, path);
    char *slash = strrchr(folder, '/');
    if (geteuid() != 0 || !slash || slash == folder)
        return;
    *slash = 0;
    if (stat(folder, &st) || st.st_uid == 0)
        return;
    const int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &own) == 0 && S_ISSOCK(own.st_mode) && own.st_nlink == 1 &&
        fchownat(fd, "", st.st_uid, st.st_gid, AT_EMPTY_PATH))
        errno = 0; /* then root's, as it was */
    if (fd >= 0)
        close(fd);
}

int pq_local_listen(const char *path)
{
    struct sockaddr_un a;
    int e = address(&a, path);
    if (e)
        return e;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    e = bind_to(fd, &a);
    if (!e)
        give_to_owner(path);
    if (!e && listen(fd, BACKLOG))
        e = -errno;
    if (e)
        close(fd);
    return e ? e : fd;
}

int pq_local_connect(const char *path, unsigned seconds)
{
    struct sockaddr_un a;
    const struct timeval limit = {.tv_sec = (time_t)seconds};
    int e = address(&a, path);
    if (e)
        return e;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (!connect(fd, (struct sockaddr *)&a, sizeof a))
        return fd;
    e = -errno;
    close(fd);
    return e;
}

bool pq_local_is_friend(int fd)
{
    struct ucred c;
    socklen_t len = sizeof c;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len))
        return false;
    return c.uid == 0 || c.uid == geteuid();
}
