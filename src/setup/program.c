/* SPDX-License-Identifier: MIT */
/* program.c - where the program is to be, and how it gets there, with its module of QUIC. */
#include "setup/setup_internal.h"

#include "app/app.h"
#include "base/err.h"
#include "os/spawn.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the program is to be: where it is, if that is a usual place, or where it is put. */
int pq_setup_find_program(char out[PATH_MAX])
{
    static const char *const usual[] = {"/usr/", "/bin/", "/sbin/", "/opt/"};
    const int e = pq_spawn_self(out, PATH_MAX);
    if (e)
        return e;
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
        if (strncmp(out, usual[i], strlen(usual[i])) == 0)
            return 0;
    struct stat st;
    const bool local = stat("/usr/local/bin", &st) == 0 || stat("/usr/bin", &st) != 0;
    snprintf(out, PATH_MAX, local ? "/usr/local/bin/paqet" : "/usr/bin/paqet");
    return 0;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    if (stat(a, &x) || stat(b, &y))
        return false;
    if (x.st_dev == y.st_dev && x.st_ino == y.st_ino)
        return true;
    size_t n, m;
    char *p = pq_file_read(a, (size_t)256 << 20, &n), *q = pq_file_read(b, (size_t)256 << 20, &m);
    const bool same = p && q && n == m && memcmp(p, q, n) == 0;
    free(p);
    free(q);
    return same;
}

/* Copies a file to a place that shows its path, which init then owns. */
static bool put(struct pq_setup *s, const char *from, const char *to, unsigned mode,
                const char *what)
{
    char folder[PATH_MAX];
    struct stat st;
    if (same_file(from, to))
        return true;
    if (stat(to, &st) == 0 && !pq_setup_is_ours(s, to) && !s->o->force) {
        pq_setup_say("%s is another version of %s, not put there by init; run what is installed, "
                     "or --force to replace it",
                     to, what);
        return false;
    }
    snprintf(folder, sizeof folder, "%s", to);
    *strrchr(folder, '/') = 0;
    if (!pq_setup_folder(s, folder, 0755, false))
        return false;
    if (!pq_setup_note_new(s, PQ_MADE_ALL, to))
        return false;
    const int e = pq_file_copy(from, to, mode);
    if (e)
        pq_setup_say("%s cannot be written: %s", to, pq_strerror(e));
    else
        printf("%s was copied to %s\n", what, to);
    return !e && pq_setup_note(s, PQ_MADE_ALL, PQ_MADE_PLAIN, to);
}

bool pq_setup_can_quic(const char *instead)
{
    const struct pq_transport *t;
    if (!pq_app_load_quic(&t))
        return true;
    pq_setup_say("this program cannot speak QUIC here, see above; %s, or use a program that can "
                 "(those of script/release, but for mips; the packages)",
                 instead);
    return false;
}

bool pq_setup_program(struct pq_setup *s)
{
    char self[PATH_MAX], opened[32];
    const char *installed;
    if (pq_spawn_self(self, sizeof self))
        return true;
    if (!put(s, self, s->program, 0755, "this program"))
        return false;
    const int fd = pq_app_quic_module(&installed);
    if (fd < 0)
        return true;
    snprintf(opened, sizeof opened, "/proc/self/fd/%d", fd); /* the very file that was looked at */
    const bool ok = put(s, opened, installed, 0644, "its module of QUIC");
    close(fd);
    return ok;
}
