/* SPDX-License-Identifier: MIT */
#include "os/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_PATIENCE (5 * PQ_SEC)
#define POLL_MS      20
#define COMM_LEN     15

static const char more_folders[] = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

static bool find_in(const char *folders, const char *name, char out[PATH_MAX])
{
    while (folders && *folders) {
        const size_t n = strcspn(folders, ":");
        const int len = snprintf(out, PATH_MAX, "%.*s/%s", (int)n, folders, name);
        if (n && len < PATH_MAX && access(out, X_OK) == 0)
            return true;
        folders += n + (folders[n] == ':');
    }
    return false;
}

static bool find(const char *name, char out[PATH_MAX])
{
    if (strchr(name, '/'))
        return snprintf(out, PATH_MAX, "%s", name) < PATH_MAX && access(out, X_OK) == 0;
    return find_in(getenv("PATH"), name, out) || find_in(more_folders, name, out);
}

bool pq_spawn_finds(const char *name)
{
    char path[PATH_MAX];
    return find(name, path);
}

/* In the child: nothing of what this program has set for itself is left. */
static _Noreturn void become(const char *path, const char *const argv[], int out_fd)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    const int null = open("/dev/null", O_RDWR);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(out_fd >= 0 ? out_fd : null, STDOUT_FILENO);
    dup2(out_fd >= 0 ? out_fd : null, STDERR_FILENO);
    /* execv changes neither texts nor list; its type is older than const */
    char **args = NULL;
    memcpy(&args, &argv, sizeof args);
    execv(path, args);
    _exit(127);
}

/* Reads until the other end closes or the time is over.  Returns false if it is. */
static bool drain(int fd, char *out, size_t cap, pq_ns until)
{
    char scrap[4096];
    size_t len = 0;
    for (;;) {
        const pq_ns now = pq_clock();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now >= until || poll(&p, 1, (int)((until - now) / PQ_MS) + 1) == 0)
            return false;
        const ssize_t n = read(fd, scrap, sizeof scrap);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return true;
        const size_t room = cap ? cap - 1 - len : 0, take = room < (size_t)n ? room : (size_t)n;
        if (take)
            memcpy(out + len, scrap, take);
        len += take;
        if (cap)
            out[len] = 0;
    }
}

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Its exit code; a process that has closed its output may live on a while. */
static int await(pid_t pid, pq_ns until)
{
    int status;
    for (;;) {
        const pid_t r = waitpid(pid, &status, WNOHANG);
        if (r == pid)
            return code_of(status);
        if (r < 0 && errno != EINTR)
            return -errno;
        if (pq_clock() >= until)
            return -ETIMEDOUT;
        poll(NULL, 0, POLL_MS);
    }
}

int pq_spawn(const char *const argv[], char *out, size_t cap, pq_ns patience)
{
    char path[PATH_MAX];
    int fds[2];
    const pq_ns until = pq_clock() + patience;
    if (cap)
        out[0] = 0;
    if (!find(argv[0], path))
        return -ENOENT;
    if (pipe2(fds, O_CLOEXEC))
        return -errno;
    const pid_t pid = fork();
    if (pid == 0)
        become(path, argv, fds[1]);
    const int e = errno;
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return -e;
    }
    drain(fds[0], out, cap, until);
    close(fds[0]);
    int code = await(pid, until);
    if (code == -ETIMEDOUT) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return code;
}

/* ---- that go on by themselves */

pid_t pq_spawn_detached(const char *const argv[], const char *log)
{
    char path[PATH_MAX];
    if (!find(argv[0], path))
        return -ENOENT;
    const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    const pid_t pid = fork();
    if (pid == 0) {
        setsid();
        become(path, argv, fd);
    }
    const int e = errno;
    close(fd);
    return pid < 0 ? -e : pid;
}

bool pq_spawn_lives(pid_t pid, const char *name)
{
    char path[64], text[256];
    if (pid <= 1 || waitpid(pid, NULL, WNOHANG) == pid)
        return false;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *f = fopen(path, "re");
    const size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = 0;
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    const size_t len = strnlen(name, COMM_LEN); /* the kernel keeps no more of it */
    if (!open || !close || (size_t)(close - open - 1) != len)
        return false;
    return strncmp(open + 1, name, len) == 0 && strncmp(close, ") Z", 3) != 0;
}

bool pq_spawn_end(pid_t pid, const char *name)
{
    if (!pq_spawn_lives(pid, name))
        return false;
    kill(pid, SIGTERM);
    for (const pq_ns until = pq_clock() + END_PATIENCE; pq_clock() < until; poll(NULL, 0, POLL_MS))
        if (!pq_spawn_lives(pid, name))
            return true;
    kill(pid, SIGKILL);
    return true;
}

int pq_spawn_self(char *out, size_t cap)
{
    const ssize_t n = readlink("/proc/self/exe", out, cap);
    if (n < 0)
        return -errno;
    if ((size_t)n >= cap)
        return -ENAMETOOLONG;
    out[n] = 0;
    return 0;
}
