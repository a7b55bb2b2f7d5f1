/* SPDX-License-Identifier: MIT */
#include "setup/setup_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const uint8_t *p, size_t n)
{
    while (n) {
        const ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -errno;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

int pq_file_write(const char *path, const void *p, size_t n, unsigned mode,
                  const struct pq_file_owner *owner)
{
    char temp[PATH_MAX];
    if (snprintf(temp, sizeof temp, "%s" PQ_FILE_HALF, path) >= (int)sizeof temp)
        return -ENAMETOOLONG;
    unlink(temp);
    const int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int e = write_all(fd, p, n);
    /* by the descriptor: at the path another file may be by now, in a folder of that owner's */
    if (!e && owner && fchown(fd, owner->uid, owner->gid))
        e = -errno;
    if (!e && (fchmod(fd, (mode_t)mode) || fsync(fd)))
        e = -errno;
    if (close(fd) && !e)
        e = -errno;
    if (!e && rename(temp, path))
        e = -errno;
    if (e)
        unlink(temp);
    return e;
}

char *pq_file_read(const char *path, size_t max, size_t *n)
{
    struct stat st;
    FILE *f = fopen(path, "re");
    if (!f)
        return NULL;
    if (fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size <= max)
        max = (size_t)st.st_size + 1; /* as much as is there, and whether it has grown */
    char *text = malloc(max + 2);
    *n = text ? fread(text, 1, max + 1, f) : 0;
    const int e = !text ? ENOMEM : ferror(f) ? EIO : *n > max ? EFBIG : 0;
    fclose(f);
    if (e) {
        free(text);
        errno = e;
        return NULL;
    }
    text[*n] = 0;
    return text;
}

#define PROGRAM_MAX ((size_t)256 << 20)

int pq_file_copy(const char *from, const char *to, unsigned mode)
{
    size_t n;
    char *p = pq_file_read(from, PROGRAM_MAX, &n);
    if (!p)
        return -errno;
    const int e = pq_file_write(to, p, n, mode, NULL);
    free(p);
    return e;
}
