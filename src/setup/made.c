/* SPDX-License-Identifier: MIT */
/* made.c - the list of what init has made: a title, then a line for each: instance, kind, service
 * manager, path, with tabs between them. */
#include "setup/setup_internal.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TITLE    "# What \"paqet init\" has made here; \"paqet init --remove\" takes it back.\n"
#define LIST_MAX ((size_t)1 << 20)

static const char *const kinds[PQ_MADE_KINDS] = {"folder", "file", "user", "service"};

static void free_entry(struct pq_made_entry *e)
{
    free(e->instance);
    free(e->what);
}

void pq_made_free(struct pq_made *m)
{
    for (size_t i = 0; i < m->n; i++)
        free_entry(&m->v[i]);
    free(m->v);
    m->v = NULL;
    m->n = 0;
}

static int append(struct pq_made *m, const char *instance, enum pq_made_kind kind, int service,
                  const char *what)
{
    struct pq_made_entry *v = realloc(m->v, (m->n + 1) * sizeof *v);
    if (!v)
        return PQ_ENOMEM;
    m->v = v;
    v[m->n] = (struct pq_made_entry){strdup(instance), strdup(what), kind, service};
    if (!v[m->n].instance || !v[m->n].what) {
        free_entry(&v[m->n]);
        return PQ_ENOMEM;
    }
    m->n++;
    return 0;
}

static int read_line(struct pq_made *m, char *line)
{
    char *part[4], *rest = line;
    for (int i = 0; i < 4; i++)
        if (!(part[i] = strsep(&rest, "\t")) || !*part[i])
            return PQ_EPROTO;
    const int service = *part[2] >= '0' && *part[2] <= '3' && !part[2][1] ? *part[2] - '0' : -1;
    for (int k = 0; k < PQ_MADE_KINDS && service >= 0 && !rest; k++)
        if (!strcmp(part[1], kinds[k]))
            return append(m, part[0], (enum pq_made_kind)k, service, part[3]);
    return PQ_EPROTO;
}

int pq_made_load(struct pq_made *m, const char *folder)
{
    size_t n;
    m->v = NULL;
    m->n = 0;
    if (snprintf(m->path, sizeof m->path, "%s/" PQ_MADE_FILE, folder) >= (int)sizeof m->path)
        return -ENAMETOOLONG;
    char *text = pq_file_read(m->path, LIST_MAX, &n);
    if (!text)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    int e = strlen(text) == n && strncmp(text, TITLE, strlen(TITLE)) == 0 ? 0 : PQ_EPROTO;
    char *rest = e ? NULL : text + strlen(TITLE), *line;
    while (!e && (line = strsep(&rest, "\n")))
        if (*line)
            e = read_line(m, line);
    free(text);
    if (e)
        pq_made_free(m);
    return e;
}

static int save(const struct pq_made *m)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return PQ_ENOMEM;
    fputs(TITLE, f);
    for (size_t i = 0; i < m->n; i++)
        fprintf(f, "%s\t%s\t%d\t%s\n", m->v[i].instance, kinds[m->v[i].kind], m->v[i].service,
                m->v[i].what);
    const bool ok = fclose(f) == 0;
    const int e = ok ? pq_file_write(m->path, text, len, 0600, NULL) : PQ_ENOMEM;
    free(text);
    return e;
}

int pq_made_add(struct pq_made *m, const char *instance, enum pq_made_kind kind, int service,
                const char *what)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].kind == kind && !strcmp(m->v[i].instance, instance) &&
            !strcmp(m->v[i].what, what))
            return 0;
    const int e = append(m, instance, kind, service, what);
    return e ? e : save(m);
}

int pq_made_drop(struct pq_made *m, size_t i)
{
    free_entry(&m->v[i]);
    m->n--;
    memmove(m->v + i, m->v + i + 1, (m->n - i) * sizeof *m->v);
    if (m->n)
        return save(m);
    return unlink(m->path) && errno != ENOENT ? -errno : 0;
}
