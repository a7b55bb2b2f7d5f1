/* SPDX-License-Identifier: MIT */
/* load.c - reads a configuration, and what YAML refuses but the Go programs take. */
#include "conf/conf_internal.h"
#include "os/service.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX    ((size_t)1 << 20)
#define PERCENT_MAX 64

/* The byte at a mark, which counts lines and characters; NULL if there is none. */
static const char *at_mark(const char *text, size_t n, const struct pq_conf_mark *mark)
{
    const char *p = text, *end = text + n;
    for (size_t line = 0; p && line < mark->line; line++) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p ? p + 1 : NULL;
    }
    for (size_t column = 0; p && p < end && column < mark->column; column++)
        for (p++; p < end && ((unsigned char)*p & 0xc0) == 0x80;)
            p++;
    return p && p < end ? p : NULL;
}

/* The Go programs' library takes a plain text that begins with %, which YAML reserves.  Puts such a
 * one, at which the parser has stopped, in quotes.  Returns the new text, owned by the caller, or
 * NULL if it is something else that is wrong. */
static char *quote_percent(const char *text, size_t *n, const struct pq_conf_mark *mark)
{
    const char *end = text + *n, *at = at_mark(text, *n, mark);
    const char *stop = at ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    if (!at || *at != '%' || (at > text && !strchr(" \t\n\r,[{", at[-1])))
        return NULL; /* behind anything else no text begins: a tag, or what is quoted already */
    stop = stop ? stop : end;
    for (const char *p = at; p < stop; p++) /* a comment, or the next thing of a list or map */
        if ((p[0] == ' ' && p + 1 < stop && p[1] == '#') || *p == ',' || *p == '}' || *p == ']' ||
            *p == '\r')
            stop = p;
    char *out = malloc(*n + 3 + (size_t)(stop - at)), *w = out;
    if (!out)
        return NULL;
    w = mempcpy(w, text, (size_t)(at - text));
    *w++ = '\'';
    for (const char *p = at; p < stop; p++) {
        if (*p == '\'')
            *w++ = '\'';
        *w++ = *p;
    }
    *w++ = '\'';
    w = mempcpy(w, stop, (size_t)(end - stop));
    *n = (size_t)(w - out);
    return out;
}

int pq_conf_parse(struct pq_conf *out, const char *text, size_t n, struct pq_conf_msgs *msgs)
{
    struct pq_conf_mark mark;
    char *own = NULL;
    int e = pq_conf_parse_once(out, text, n, msgs, &mark);
    for (int i = 0; i < PERCENT_MAX && e && mark.at_character; i++) {
        const size_t before = n;
        char *next = quote_percent(own ? own : text, &n, &mark);
        if (!next)
            break;
        if (own) {
            explicit_bzero(own, before);
            free(own);
        }
        own = next;
        pq_conf_msgs_free(msgs);
        pq_conf_free(out);
        e = pq_conf_parse_once(out, own, n, msgs, &mark);
    }
    if (own)
        explicit_bzero(own, n);
    free(own);
    return e;
}

/* Reads a whole file, owned by the caller.  Returns NULL, and says why. */
static char *read_file(const char *path, size_t *n, struct stat *st, struct pq_conf_msgs *msgs)
{
    FILE *f = fopen(path, "re");
    char *text = f ? malloc(FILE_MAX + 1) : NULL;
    *n = text ? fread(text, 1, FILE_MAX + 1, f) : 0;
    const bool bad = !text || ferror(f) || fstat(fileno(f), st) || *n > FILE_MAX;
    if (bad)
        pq_conf_say(msgs, true, 0, "cannot be %s: %s%s", f ? "read" : "opened",
                    *n > FILE_MAX ? "it is larger than 1 MiB" : strerror(errno),
                    !f && errno == EACCES && geteuid() != 0 ? "; run it as root, with sudo say"
                                                            : "");
    if (f)
        fclose(f);
    if (!bad)
        return text;
    free(text);
    return NULL;
}

bool pq_conf_is_open(const struct stat *st)
{
    const struct group *g;
    if (!S_ISREG(st->st_mode) || !(st->st_mode & (S_IRWXG | S_IRWXO)))
        return false;
    if (st->st_mode & (S_IWGRP | S_IRWXO) || st->st_uid != 0)
        return true;
    g = getgrgid(st->st_gid);
    return !g || strcmp(g->gr_name, PQ_SERVICE_USER) != 0;
}

int pq_conf_load(struct pq_conf *out, const char *path, struct pq_conf_msgs *msgs)
{
    struct pq_conf_msgs none = {.n = 0};
    struct stat st;
    size_t n;
    *msgs = none;
    char *text = read_file(path, &n, &st, msgs);
    if (!text) {
        pq_conf_defaults(out);
        return PQ_EINVAL;
    }
    int e = pq_conf_parse(out, text, n, msgs);
    if (pq_conf_is_open(&st) && pq_conf_has_key(out))
        pq_conf_say(
            msgs, false, 0,
            "other users of this machine can read or change it, and it holds a key; chmod 600 %s",
            path);
    explicit_bzero(text, n);
    free(text);
    pq_conf_load_all_lists(out, path, msgs);
    return e || msgs->errors ? PQ_EINVAL : 0;
}
