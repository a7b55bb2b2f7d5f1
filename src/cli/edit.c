/* SPDX-License-Identifier: MIT */
#include "cli/edit.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t)1 << 20)

static int fail(const char *command, const char *path, int e)
{
    fprintf(stderr, "paqet %s: %s: %s\n", command, path, pq_strerror(e));
    return 1;
}

/* Locks the file that the path names now, not one that was replaced meanwhile. */
static int open_locked(const char *path)
{
    for (int tries = 0; tries < 100; tries++) {
        struct stat here, there;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_EX) == 0 && fstat(fd, &here) == 0 && stat(path, &there) == 0 &&
            here.st_ino == there.st_ino && here.st_dev == there.st_dev)
            return fd;
        close(fd);
    }
    return -EBUSY;
}

static int read_all(struct pq_cli_file *f)
{
    f->text = malloc(FILE_MAX + 1);
    if (!f->text)
        return PQ_ENOMEM;
    for (ssize_t k = 1; k > 0 && f->n <= FILE_MAX; f->n += (size_t)k) {
        k = read(f->fd, f->text + f->n, FILE_MAX + 1 - f->n);
        if (k < 0)
            return -errno;
    }
    return f->n > FILE_MAX ? -EFBIG : 0;
}

int pq_cli_file_open(struct pq_cli_file *f, const char *path, const char *command)
{
    struct pq_conf_msgs m;
    *f = (struct pq_cli_file){.path = path, .fd = open_locked(path)};
    int e = f->fd < 0 ? f->fd : read_all(f);
    if (e)
        return fail(command, path, e);
    e = pq_conf_parse(&f->conf, f->text, f->n, &m);
    if (e) {
        pq_conf_msgs_print(&m, path, stderr);
        fprintf(stderr, "paqet %s: %s has errors; nothing was changed\n", command, path);
    }
    pq_conf_msgs_free(&m);
    return e ? 1 : 0;
}

/* A new file beside it, made safe, then put in its place. */
static int replace(const struct pq_cli_file *f, const char *text, size_t n)
{
    char path[PATH_MAX], temp[PATH_MAX + 8];
    struct stat st;
    if (!realpath(f->path, path) || fstat(f->fd, &st)) /* a link stays one */
        return -errno;
    snprintf(temp, sizeof temp, "%s.new", path);
    unlink(temp); /* whoever has left one may still have it open */
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (fd < 0)
        return -errno;
    int e = 0;
    for (size_t at = 0; at < n && !e;) {
        ssize_t k = write(fd, text + at, n - at);
        if (k < 0 && errno != EINTR)
            e = -errno;
        at += k > 0 ? (size_t)k : 0;
    }
    if (!e && (fchmod(fd, st.st_mode & 07777) ||
               (fchown(fd, st.st_uid, st.st_gid) && geteuid() == 0) || fsync(fd)))
        e = -errno;
    if (close(fd) && !e)
        e = -errno;
    if (!e && rename(temp, path))
        e = -errno;
    if (e)
        unlink(temp);
    return e;
}

int pq_cli_file_write(struct pq_cli_file *f, char *text, size_t n,
                      bool (*expected)(void *ctx, const struct pq_conf *now,
                                       const struct pq_conf *next),
                      void *ctx, const char *command)
{
    struct pq_conf *next = calloc(1, sizeof *next);
    struct pq_conf_msgs m = {.n = 0};
    int code = 1;
    if (next && pq_conf_parse(next, text, n, &m)) {
        pq_conf_msgs_print(&m, f->path, stderr);
        fprintf(stderr, "paqet %s: with this, %s would have errors; nothing was changed\n", command,
                f->path);
    } else if (!next || !expected(ctx, &f->conf, next)) {
        fprintf(stderr,
                "paqet %s: %s is written in a way that this command does not know well enough; "
                "nothing was changed: change it by hand\n",
                command, f->path);
    } else {
        int e = replace(f, text, n);
        code = e ? fail(command, f->path, e) : 0;
    }
    pq_conf_msgs_free(&m);
    if (next)
        pq_conf_free(next);
    free(next);
    explicit_bzero(text, n);
    free(text);
    return code;
}

void pq_cli_file_close(struct pq_cli_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    if (f->text)
        explicit_bzero(f->text, f->n);
    free(f->text);
    pq_conf_free(&f->conf);
    f->text = NULL;
}

int pq_cli_file_follow(const struct pq_cli_target *t, const char *command)
{
    fflush(stdout);
    int out = dup(STDOUT_FILENO);
    if (out >= 0)
        dup2(STDERR_FILENO, STDOUT_FILENO);
    int code = pq_cli_reload(t, command);
    fflush(stdout);
    if (out >= 0) {
        dup2(out, STDOUT_FILENO);
        close(out);
    }
    if (code == PQ_CLI_NOBODY)
        fprintf(stderr, "paqet %s: %s was changed; that counts from the next start or reload\n",
                command, t->config);
    return code;
}
