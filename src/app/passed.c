/* SPDX-License-Identifier: MIT */
#include "app/passed.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TITLE "paqet passed 1\n"
#define END   "end\n"
#define MOST  9

/* ---- the text: a title; address, port, how and since when of each server; an end */

/* Of one line.  Returns 0, 1 at the end, or PQ_EPROTO. */
static int read_line(struct pq_passed *p, const char *line)
{
    struct pq_passed_row row;
    char ip[PQ_ADDR_STRLEN];
    if (strcmp(line, END) == 0)
        return 1;
    if (p->n == PQ_PASSED_MAX ||
        sscanf(line, "%45s %" SCNu16 " %u %" SCNu64, ip, &row.server.port, &row.how, &row.since) !=
            4 ||
        row.how < 1 || row.how > MOST)
        return PQ_EPROTO;
    const uint16_t port = row.server.port;
    if (pq_addr_parse_ip(&row.server, ip))
        return PQ_EPROTO;
    row.server.port = port;
    p->v[p->n++] = row;
    return 0;
}

int pq_passed_read(struct pq_passed *p, FILE *f)
{
    char line[128];
    int e = PQ_EPROTO;
    p->n = 0;
    if (fgets(line, sizeof line, f) && strcmp(line, TITLE) == 0)
        for (e = 0; !e && fgets(line, sizeof line, f);)
            e = read_line(p, line);
    if (e == 1)
        return 0;
    p->n = 0;
    return PQ_EPROTO;
}

bool pq_passed_write(const struct pq_passed *p, FILE *f)
{
    fputs(TITLE, f);
    for (const struct pq_passed_row *r = p->v; r < p->v + p->n; r++) {
        char ip[PQ_ADDR_STRLEN];
        fprintf(f, "%s %u %u %" PRIu64 "\n", pq_addr_ip_str(&r->server, ip), r->server.port, r->how,
                r->since);
    }
    fputs(END, f);
    return !ferror(f);
}

/* ---- the table */

static unsigned find(const struct pq_passed *p, const struct pq_addr *server)
{
    unsigned i = 0;
    while (i < p->n && !pq_addr_eq(&p->v[i].server, server))
        i++;
    return i;
}

unsigned pq_passed_of(const struct pq_passed *p, const struct pq_addr *server, uint64_t wall)
{
    const unsigned i = find(p, server);
    return i < p->n && wall - p->v[i].since < PQ_PASSED_KEPT ? p->v[i].how : 0;
}

bool pq_passed_note(struct pq_passed *p, const struct pq_addr *server, unsigned how, uint64_t wall)
{
    unsigned i = find(p, server);
    if (how == pq_passed_of(p, server, wall) && (how || i == p->n))
        return false;
    if (i == p->n && p->n == PQ_PASSED_MAX)
        i = 0;
    if (i < p->n)
        memmove(p->v + i, p->v + i + 1, (--p->n - i) * sizeof p->v[0]);
    if (how)
        p->v[p->n++] = (struct pq_passed_row){*server, how, wall};
    return true;
}

/* ---- the file */

void pq_passed_load(const char *path, struct pq_passed *p)
{
    FILE *f = fopen(path, "re");
    p->n = 0;
    if (!f)
        return;
    pq_passed_read(p, f);
    fclose(f);
}

/* Another client may do the same at the same time: then one of them is forgotten, and found anew.
 */
static int save(const char *path, const struct pq_passed *p)
{
    char temp[PATH_MAX];
    if (snprintf(temp, sizeof temp, "%s.%ld", path, (long)getpid()) >= (int)sizeof temp)
        return -ENAMETOOLONG;
    unlink(temp);
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f) {
        const int e = -errno;
        if (fd >= 0)
            close(fd);
        return e;
    }
    const bool ok = pq_passed_write(p, f);
    int e = fclose(f) || !ok ? -EIO : 0;
    if (!e && rename(temp, path))
        e = -errno;
    if (e)
        unlink(temp);
    return e;
}

int pq_passed_keep(const char *path, const struct pq_addr *server, unsigned how, uint64_t wall)
{
    struct pq_passed p;
    pq_passed_load(path, &p);
    return pq_passed_note(&p, server, how, wall) ? save(path, &p) : 0;
}
