/* SPDX-License-Identifier: MIT */
#include "os/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_PATIENCE (5 * PQ_SEC)
#define POLL_MS      20
#define COMM_LEN     15

#define MORE_FOLDERS "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin:/system/bin"

/* What a program gets beside its words. */
struct with {
    const char *const *env; /* NULL: what this one has */
    bool rights;            /* over the network, handed on */
    const char *in;
    size_t n;
};

static bool find_in(const char *folders, const char *name, char out[PATH_MAX])
{
    while (folders && *folders) {
        const size_t n = strcspn(folders, ":");
        const int len = snprintf(out, PATH_MAX, "%.*s/%s", (int)n, folders, name);
        if (*folders == '/' && len < PATH_MAX && access(out, X_OK) == 0)
            return true;
        folders += n + (folders[n] == ':');
    }
    return false;
}

static bool find(const char *name, char out[PATH_MAX])
{
    if (strchr(name, '/'))
        return snprintf(out, PATH_MAX, "%s", name) < PATH_MAX && access(out, X_OK) == 0;
    return find_in(secure_getenv("PATH"), name, out) || find_in(MORE_FOLDERS, name, out);
}

bool pq_spawn_finds(const char *name)
{
    char path[PATH_MAX];
    return find(name, path);
}

/* In the child: what it may do over the network stays when it becomes another program. */
static void hand_on_rights(void)
{
    static const int caps[] = {CAP_NET_ADMIN, CAP_NET_RAW};
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    if (geteuid() == 0 || syscall(SYS_capget, &head, data))
        return;
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++)
        data[0].inheritable |= data[0].permitted & 1U << caps[i];
    if (syscall(SYS_capset, &head, data))
        return;
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, caps[i], 0, 0);
}

/* execve changes neither texts nor list; its type is older than const. */
static char **list_of(const char *const v[])
{
    char **list = NULL;
    memcpy(&list, &v, sizeof list);
    return list;
}

/* In the child: nothing of what this program has set for itself is left. */
static _Noreturn void become(const char *path, const char *const argv[], const struct with *w,
                             int in_fd, int out_fd)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    const int null = open("/dev/null", O_RDWR);
    dup2(in_fd >= 0 ? in_fd : null, STDIN_FILENO);
    dup2(out_fd >= 0 ? out_fd : null, STDOUT_FILENO);
    dup2(out_fd >= 0 ? out_fd : null, STDERR_FILENO);
    if (w->rights)
        hand_on_rights();
    execve(path, list_of(argv), w->env ? list_of(w->env) : environ);
    _exit(127);
}

/* Reads once.  Returns false at the end. */
static bool read_some(int fd, char *out, size_t cap, size_t *len)
{
    char scrap[4096];
    const ssize_t n = read(fd, scrap, sizeof scrap);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    const size_t room = cap ? cap - 1 - *len : 0, take = room < (size_t)n ? room : (size_t)n;
    if (take)
        memcpy(out + *len, scrap, take);
    *len += take;
    if (cap)
        out[*len] = 0;
    return true;
}

/* Writes some of what is to go in; closes when it is all there, or nobody wants it. */
static void write_some(int *fd, const struct with *w, size_t *sent)
{
    const ssize_t n = send(*fd, w->in + *sent, w->n - *sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    *sent += n > 0 ? (size_t)n : 0;
    if (n > 0 && *sent < w->n)
        return;
    close(*fd);
    *fd = -1;
}

/* Writes and reads until the other end closes or the time is over; in_fd is closed then. */
static void talk(int in_fd, int out_fd, const struct with *w, char *out, size_t cap, pq_ns until)
{
    size_t len = 0, sent = 0;
    bool more = true;
    while (more) {
        const pq_ns now = pq_clock();
        struct pollfd p[] = {{.fd = out_fd, .events = POLLIN}, {.fd = in_fd, .events = POLLOUT}};
        if (now >= until || poll(p, 2, (int)((until - now) / PQ_MS) + 1) == 0)
            break;
        if (in_fd >= 0 && p[1].revents)
            write_some(&in_fd, w, &sent);
        if (p[0].revents)
            more = read_some(out_fd, out, cap, &len);
    }
    if (in_fd >= 0)
        close(in_fd);
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

static void close_pair(int fds[2])
{
    if (fds[0] >= 0)
        close(fds[0]);
    if (fds[1] >= 0)
        close(fds[1]);
}

static int spawn(const char *const argv[], const struct with *w, char *out, size_t cap,
                 pq_ns patience)
{
    char path[PATH_MAX];
    int fds[2], in[2] = {-1, -1};
    const pq_ns until = pq_clock() + patience;
    if (cap)
        out[0] = 0;
    if (!find(argv[0], path))
        return -ENOENT;
    if (pipe2(fds, O_CLOEXEC))
        return -errno;
    if (w->n && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in)) {
        const int no = -errno;
        close_pair(fds);
        return no;
    }
    const pid_t pid = fork();
    if (pid == 0)
        become(path, argv, w, in[1], fds[1]);
    const int e = errno;
    if (pid < 0) {
        close_pair(in);
        close_pair(fds);
        return -e;
    }
    close(fds[1]);
    if (in[1] >= 0)
        close(in[1]);
    talk(in[0], fds[0], w, out, cap, until);
    close(fds[0]);
    int code = await(pid, until);
    if (code == -ETIMEDOUT) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return code;
}

int pq_spawn(const char *const argv[], char *out, size_t cap, pq_ns patience)
{
    return spawn(argv, &(struct with){.env = NULL}, out, cap, patience);
}

int pq_spawn_trusted(const char *const argv[], const char *more, const char *in, size_t n,
                     char *out, size_t cap, pq_ns patience)
{
    const char *const env[] = {"PATH=" MORE_FOLDERS, "LC_ALL=C", more, NULL};
    return spawn(argv, &(struct with){.env = env, .rights = true, .in = in, .n = n}, out, cap,
                 patience);
}

/* ---- that go on by themselves */

static pid_t start(const char *const argv[], const char *log, bool attached)
{
    char path[PATH_MAX];
    if (!find(argv[0], path))
        return -ENOENT;
    const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    const pid_t self = getpid(), pid = fork();
    if (pid == 0) {
        setsid();
        if (attached && (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != self))
            _exit(127); /* it has ended already */
        become(path, argv, &(struct with){.env = NULL}, -1, fd);
    }
    const int e = errno;
    close(fd);
    return pid < 0 ? -e : pid;
}

pid_t pq_spawn_detached(const char *const argv[], const char *log)
{
    return start(argv, log, false);
}

pid_t pq_spawn_attached(const char *const argv[], const char *log)
{
    return start(argv, log, true);
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

bool pq_spawn_apart(void (*fn)(void *shared, void *ctx), void *shared, size_t n, void *ctx)
{
    int status = -1;
    void *copy = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        return false;
    memcpy(copy, shared, n);
    const pid_t pid = fork();
    if (pid == 0) {
        fn(copy, ctx);
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    const bool ok = pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (ok)
        memcpy(shared, copy, n);
    munmap(copy, n);
    return ok;
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
