/* SPDX-License-Identifier: MIT */
#include "app/state.h"

#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define GATHER_NS 20000000 /* handshakes that come together are written together */

struct pq_state {
    struct pq_stamps *stamps;
    char path[PATH_MAX], temp[PATH_MAX], folder[PATH_MAX];
    void (*saved)(void *ctx);
    void *ctx;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool dirty, stop, failed;
    int lock_fd; /* of a file beside it, locked: two servers would forget for each other */
};

/* The rename itself must be safe, too. */
static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int e = fsync(fd) ? -errno : 0;
    close(fd);
    return e;
}

/* What root writes by hand into the folder of a service's own user must stay that one's.  Nor may
 * that user have another file written or given to him by a link there. */
static void give_to_owner(const struct pq_state *s, int fd)
{
    struct stat st, own;
    if (geteuid() == 0 && stat(s->folder, &st) == 0 && st.st_uid != 0 && fstat(fd, &own) == 0 &&
        own.st_nlink == 1 && fchown(fd, st.st_uid, st.st_gid))
        PQ_LOG(PQ_LOG_WARN, "transport.state: a file in %s stays root's: %s", s->folder,
               pq_strerror(-errno));
}

static void syns_path(const struct pq_state *s, char path[PATH_MAX + 8])
{
    snprintf(path, PATH_MAX + 8, "%s.syns", s->path);
}

void pq_state_take_syns(struct pq_state *s, struct pq_syns *syns)
{
    char path[PATH_MAX + 8];
    syns_path(s, path);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    /* gone for good first: after a crash it must not say that nothing else was answered */
    if (unlink(path) || sync_folder(s->folder))
        PQ_LOG(PQ_LOG_WARN, "transport.state: %s cannot be removed: %s", path, pq_strerror(-errno));
    else if (pq_syns_read(syns, f))
        PQ_LOG(PQ_LOG_WARN, "transport.state: %s was not written by this program; removed", path);
    fclose(f);
}

static int open_new(const struct pq_state *s, const char *path, FILE **out)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!*out) {
        int e = -errno;
        if (fd >= 0)
            close(fd);
        return e;
    }
    give_to_owner(s, fd);
    return 0;
}

/* Returns 0, or why not all of it has been written. */
static int close_written(FILE *f, bool ok)
{
    int e = ok ? 0 : errno ? -errno : -EIO;
    if (fclose(f) && !e)
        e = -errno;
    return e;
}

int pq_state_leave_syns(struct pq_state *s, struct pq_syns *syns)
{
    char path[PATH_MAX + 8];
    syns_path(s, path);
    FILE *f;
    int e = open_new(s, path, &f);
    if (e)
        return e;
    const bool ok = pq_syns_write(syns, f) && fflush(f) == 0;
    return close_written(f, ok);
}

static int save(struct pq_state *s)
{
    uint64_t ticket = 0;
    FILE *f;
    int e = open_new(s, s->temp, &f);
    if (e)
        return e;
    char *text = NULL; /* the table is locked only while it is written to memory */
    size_t len = 0;
    FILE *m = open_memstream(&text, &len);
    bool ok = m && pq_stamps_write(s->stamps, m, &ticket);
    ok = m && fclose(m) == 0 && ok;
    ok = ok && fwrite(text, 1, len, f) == len && fflush(f) == 0 && fsync(fileno(f)) == 0;
    free(text);
    e = close_written(f, ok);
    if (!e && rename(s->temp, s->path))
        e = -errno;
    if (!e)
        e = sync_folder(s->folder);
    if (!e)
        pq_stamps_note_kept(s->stamps, ticket);
    return e;
}

static void report(struct pq_state *s, int e)
{
    if (e && !s->failed)
        PQ_LOG_SOME(PQ_LOG_ERROR, PQ_LOG_MOST,
                    "transport.state: %s cannot be written: %s. Nobody new is let in until it can",
                    s->path, pq_strerror(e));
    if (!e && s->failed)
        PQ_LOG_SOME(PQ_LOG_INFO, PQ_LOG_MOST, "transport.state: %s can be written again", s->path);
    s->failed = e != 0;
}

static void *run(void *arg)
{
    struct pq_state *s = arg;
    const struct timespec gather = {.tv_nsec = GATHER_NS};
    pthread_mutex_lock(&s->lock);
    while (!s->stop || s->dirty) {
        if (!s->dirty) {
            pthread_cond_wait(&s->wake, &s->lock);
            continue;
        }
        const bool last = s->stop;
        pthread_mutex_unlock(&s->lock);
        if (!last)
            nanosleep(&gather, NULL);
        pthread_mutex_lock(&s->lock);
        s->dirty = false;
        pthread_mutex_unlock(&s->lock);
        report(s, save(s));
        if (!s->failed)
            s->saved(s->ctx);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* From any worker. */
static void on_changed(void *ctx)
{
    struct pq_state *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->dirty = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

int pq_state_look(const char *path, struct pq_stamps *stamps, uint64_t wall)
{
    FILE *f = fopen(path, "re");
    if (!f && errno == ENOENT) {
        PQ_LOG(
            PQ_LOG_INFO,
            "transport.state: %s is new: until they have been here once, clients whose clocks are "
            "behind this one's are not let in",
            path);
        pq_stamps_floor(stamps, wall);
        return 0;
    }
    if (!f)
        return -errno;
    int e = pq_stamps_read(stamps, f);
    fclose(f);
    return e;
}

/* The folder of the file, made if it is missing. */
static int find_folder(struct pq_state *s)
{
    snprintf(s->folder, sizeof s->folder, "%s", s->path);
    char *slash = strrchr(s->folder, '/');
    if (!slash) {
        snprintf(s->folder, sizeof s->folder, ".");
        return 0;
    }
    slash[slash == s->folder] = 0;
    return mkdir(s->folder, 0700) && errno != EEXIST ? -errno : 0;
}

static int lock_path(struct pq_state *s)
{
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s.lock", s->path);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return -errno;
    give_to_owner(s, s->lock_fd);
    if (!flock(s->lock_fd, LOCK_EX | LOCK_NB))
        return 0;
    int e = errno == EWOULDBLOCK ? -EBUSY : -errno;
    close(s->lock_fd);
    return e;
}

int pq_state_open(struct pq_state **out, const char *path, struct pq_stamps *stamps, uint64_t wall,
                  void (*saved)(void *ctx), void *ctx)
{
    struct pq_state *s = *out = calloc(1, sizeof *s);
    if (!s)
        return PQ_ENOMEM;
    s->stamps = stamps;
    s->saved = saved;
    s->ctx = ctx;
    int n = snprintf(s->path, sizeof s->path, "%s", path);
    int m = snprintf(s->temp, sizeof s->temp, "%s.new", path);
    int e = n >= PATH_MAX || m >= PATH_MAX ? -ENAMETOOLONG : find_folder(s);
    const bool locked = !e && !(e = lock_path(s));
    if (!e)
        e = pq_state_look(s->path, stamps, wall);
    if (!e)
        e = save(s); /* whether it can be written shows now */
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    if (!e && pthread_create(&s->thread, NULL, run, s))
        e = PQ_ENOMEM;
    if (e) {
        if (locked)
            close(s->lock_fd);
        free(s);
        *out = NULL;
        return e;
    }
    pq_stamps_keep(stamps, on_changed, s);
    return 0;
}

void pq_state_close(struct pq_state **sp)
{
    struct pq_state *s = *sp;
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    close(s->lock_fd);
    free(s);
    *sp = NULL;
}
