/* SPDX-License-Identifier: MIT */
#include "cli/control.h"

#include "app/control.h"
#include "base/text.h"
#include "cli/cli.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE 60 /* s for an answer: a reload may look names up */

/* ---- which one */

struct found { /* sockets of those that run */
    char path[PQ_LOCAL_PATH_MAX + 1];
    int fd;
    unsigned n;
    bool denied;
};

static void try_one(struct found *f, const char *path, const char *command)
{
    int fd = pq_local_connect(path, PATIENCE);
    f->denied = f->denied || fd == -EACCES;
    if (fd < 0)
        return;
    if (f->n == 1)
        fprintf(stderr, "paqet %s: several run; choose one with -s:\n  %s\n", command, f->path);
    if (f->n++) {
        fprintf(stderr, "  %s\n", path);
        close(fd);
        return;
    }
    snprintf(f->path, sizeof f->path, "%s", path);
    f->fd = fd;
}

static void try_folder(struct found *f, const char *folder, const char *command)
{
    DIR *d = opendir(folder);
    f->denied = f->denied || (!d && errno == EACCES);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[PQ_LOCAL_PATH_MAX + 1];
        const size_t len = strlen(e->d_name);
        if (len < 5 || strcmp(e->d_name + len - 5, ".sock") != 0 ||
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= (int)sizeof path)
            continue;
        try_one(f, path, command);
    }
    if (d)
        closedir(d);
}

static int connect_any(const char *command)
{
    char folders[PQ_CONTROL_PATHS][PQ_LOCAL_PATH_MAX + 1];
    struct found f = {.fd = -1};
    const unsigned n = pq_control_folders(folders);
    for (unsigned i = 0; i < n; i++)
        try_folder(&f, folders[i], command);
    if (f.n == 1)
        return f.fd;
    if (f.n > 1)
        close(f.fd);
    else
        fprintf(
            stderr,
            "paqet %s: no paqet that runs was found in %s%s; name its configuration with -c, or "
            "its socket with -s\n",
            command, folders[0],
            f.denied ? ", which this user may not look into: run it as root" : "");
    return -1;
}

static int connect_path(const char *path, const char *command)
{
    int fd = pq_local_connect(path, PATIENCE);
    if (fd >= 0)
        return fd;
    fprintf(stderr, "paqet %s: %s: %s\n", command, path,
            fd == -ENOENT || fd == -ECONNREFUSED ? "no paqet listens there; does it run?"
            : fd == -EACCES                      ? "belongs to another user: run it as root"
                                                 : pq_strerror(fd));
    return -1;
}

/* Whether the one behind the socket was started with this file: names of sockets are short, and
 * files in two folders may have the same.  If not it is said. */
static bool is_of(int fd, const char *file, const char *command)
{
    struct pq_cli_answer a;
    struct stat mine, its;
    char its_file[PATH_MAX];
    if (pq_cli_ask(fd, command, "\"do\":\"status\",\"sessions\":0", &a))
        return false;
    pq_cli_text(&a, a.doc.v, "file", its_file, sizeof its_file);
    pq_cli_answer_free(&a);
    if (stat(file, &mine) || stat(its_file, &its) ||
        (mine.st_dev == its.st_dev && mine.st_ino == its.st_ino))
        return true;
    fprintf(stderr,
            "paqet %s: the paqet that can be asked under this name was started with %s, not with "
            "%s; give each a control: of its own\n",
            command, its_file, file);
    return false;
}

static int connect_config(const char *file, const char *command)
{
    char paths[PQ_CONTROL_PATHS][PQ_LOCAL_PATH_MAX + 1];
    struct pq_conf c;
    struct pq_conf_msgs m;
    int fd = -1;
    pq_conf_load(&c, file, &m); /* with errors, too: the one that runs may have read another text */
    const unsigned n = pq_control_paths(&c, file, paths);
    for (unsigned i = 0; i < n && fd < 0; i++)
        fd = pq_local_connect(paths[i], PATIENCE);
    if (fd >= 0 && !is_of(fd, file, command)) {
        close(fd);
        fd = -1;
    } else if (!n)
        fprintf(stderr, "paqet %s: %s says control: off\n", command, file);
    else if (fd < 0 && access(file, F_OK) && errno == ENOENT)
        fprintf(stderr, "paqet %s: %s: there is no such file\n", command, file);
    else if (fd < 0)
        connect_path(paths[0], command); /* says why not */
    pq_conf_msgs_free(&m);
    pq_conf_free(&c);
    return fd;
}

int pq_cli_connect(const struct pq_cli_target *t, const char *command)
{
    if (t->socket)
        return connect_path(t->socket, command);
    return t->config ? connect_config(t->config, command) : connect_any(command);
}

/* ---- asking */

static bool send_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

/* Reads a line, malloc'ed, NUL-terminated, without its end; NULL if there is none. */
static char *read_line(int fd, size_t *len)
{
    size_t n = 0, cap = 4096;
    char *text = malloc(cap);
    while (text) {
        ssize_t k = recv(fd, text + n, cap - n, 0);
        if (k <= 0)
            break;
        char *end = memchr(text + n, '\n', (size_t)k);
        n += (size_t)k;
        if (end) {
            *end = 0;
            *len = (size_t)(end - text);
            return text;
        }
        if (n == cap) {
            char *more = cap > PQ_CONTROL_ANSWER_MAX ? NULL : realloc(text, cap * 2);
            if (!more)
                break;
            text = more;
            cap *= 2;
        }
    }
    free(text);
    return NULL;
}

int pq_cli_ask(int fd, const char *command, const char *request, struct pq_cli_answer *out)
{
    char line[PQ_CONTROL_REQUEST_MAX];
    size_t n = 0;
    *out = (struct pq_cli_answer){.text = NULL};
    const int k = snprintf(line, sizeof line, "{\"v\":1,%s}\n", request);
    if (k < (int)sizeof line && send_all(fd, line, (size_t)k))
        out->text = read_line(fd, &n);
    if (!out->text) {
        fprintf(stderr, "paqet %s: no answer: %s\n", command,
                errno == EAGAIN ? "it takes too long"
                                : "the other end has gone, or does not know us");
        return 1;
    }
    out->doc.max = (uint32_t)(n / 2 + 1);
    out->doc.v = calloc(out->doc.max, sizeof *out->doc.v);
    if (out->doc.v && pq_json_read(&out->doc, out->text, n) == 0)
        return 0;
    fprintf(stderr, "paqet %s: the answer cannot be read\n", command);
    pq_cli_answer_free(out);
    return 1;
}

void pq_cli_answer_free(struct pq_cli_answer *a)
{
    free(a->doc.v);
    free(a->text);
    *a = (struct pq_cli_answer){.text = NULL};
}

bool pq_cli_is_ok(const struct pq_cli_answer *a)
{
    return pq_cli_bool(a, a->doc.v, "ok");
}

int pq_cli_ask_once(const struct pq_cli_target *t, const char *command, const char *request,
                    struct pq_cli_answer *out)
{
    char why[512];
    int fd = pq_cli_connect(t, command);
    if (fd < 0)
        return 1;
    int code = pq_cli_ask(fd, command, request, out);
    close(fd);
    if (code || pq_cli_is_ok(out))
        return code;
    fprintf(stderr, "paqet %s: %s\n", command,
            pq_cli_text(out, out->doc.v, "error", why, sizeof why));
    pq_cli_answer_free(out);
    return 1;
}

/* ---- looking at an answer */

const char *pq_cli_text(const struct pq_cli_answer *a, const struct pq_json_node *of,
                        const char *key, char *buf, size_t cap)
{
    pq_json_get_text(&a->doc, key ? pq_json_get(&a->doc, of, key) : of, buf, cap);
    pq_text_tame(buf);
    return buf;
}

double pq_cli_real(const struct pq_cli_answer *a, const struct pq_json_node *of, const char *key)
{
    return pq_json_get_real(&a->doc, pq_json_get(&a->doc, of, key));
}

bool pq_cli_bool(const struct pq_cli_answer *a, const struct pq_json_node *of, const char *key)
{
    const struct pq_json_node *n = pq_json_get(&a->doc, of, key);
    return n && n->kind == PQ_JSON_TRUE;
}
