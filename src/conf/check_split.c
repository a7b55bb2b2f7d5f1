/* SPDX-License-Identifier: MIT */
/* check_split.c - a client's rules: what goes through the tunnel, directly, or nowhere; and the
 * files with lists that they name. */
#include "conf/conf_internal.h"

#include "base/err.h"
#include "entry/port_spans.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST_MAX      ((size_t)64 << 20) /* bytes of a file */
#define LIST_MISTAKES 8                  /* of one file that are told one by one */
#define PATH_MAX_LEN  1024
#define QUOTE_LEN     60

static const char list_word[] = "list:";

struct source { /* an entry that names a file */
    struct pq_conf_msgs *m;
    int line;
    char where[48]; /* "rules[1].direct[0]" */
    char path[PATH_MAX_LEN];
};

static bool is_list(const char *text)
{
    return strncmp(text, list_word, sizeof list_word - 1) == 0;
}

/* ---- files */

/* A name that does not begin with / is beside the configuration. */
static bool path_of(char out[PATH_MAX_LEN], const char *conf, const char *name)
{
    const char *slash = strrchr(conf, '/');
    const int folder = slash && *name != '/' ? (int)(slash + 1 - conf) : 0;
    return snprintf(out, PATH_MAX_LEN, "%.*s%s", folder, conf, name) < PATH_MAX_LEN;
}

/* Reads a whole file, owned by the caller.  Returns NULL with errno, or 0 in it: too large. */
static char *read_list(const char *path, size_t *n)
{
    struct stat st = {.st_size = 0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char *text = NULL;
    ssize_t got = 1;
    *n = 0;
    int e = fd < 0 || fstat(fd, &st) ? errno
            : S_ISREG(st.st_mode)    ? 0
            : S_ISDIR(st.st_mode)    ? EISDIR
                                     : EINVAL;
    if (!e && (size_t)st.st_size <= LIST_MAX) {
        text = malloc((size_t)st.st_size + 1);
        e = text ? 0 : ENOMEM;
    }
    while (text && got > 0 && *n < (size_t)st.st_size) {
        got = read(fd, text + *n, (size_t)st.st_size - *n);
        *n += got > 0 ? (size_t)got : 0;
    }
    if (got < 0) {
        e = errno;
        free(text);
        text = NULL;
    }
    if (fd >= 0)
        close(fd);
    errno = e;
    return text;
}

static void say_line(const struct source *s, size_t number, const char *p, size_t n,
                     enum pq_target_line what)
{
    char text[QUOTE_LEN + 1];
    size_t len = 0;
    for (; len < n && len < QUOTE_LEN; len++)
        text[len] = (char)(p[len] >= ' ' && p[len] < 0x7f ? p[len] : '?');
    text[len] = 0;
    if (what == PQ_LINE_MANY)
        pq_conf_say(s->m, true, s->line,
                    "%s: %s:%zu: more than %d names and networks, or %d keywords, in one rule",
                    s->where, s->path, number, PQ_TARGET_SET_MAX, PQ_TARGET_KEYWORDS);
    else
        pq_conf_say(s->m, true, s->line,
                    "%s: %s:%zu: '%s' is not a network (10.0.0.0/8), nor a name (example.com, "
                    "domain:, full: or keyword: in front; other alphabets as xn--...)",
                    s->where, s->path, number, text);
}

/* Adds all lines; tells of the first that cannot be read, and of how many there are more.  Returns
 * 0, PQ_EINVAL or PQ_ENOMEM. */
static int add_lines(const struct source *s, struct pq_target_set *set, const char *p, size_t n)
{
    const char *end = p + n;
    size_t wrong = 0, regexps = 0;
    if (n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
        p += 3;
    for (size_t number = 1; p < end; number++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop : end;
        const enum pq_target_line what = pq_target_set_add(set, p, (size_t)(stop - p));
        regexps += what == PQ_LINE_REGEXP;
        if (what == PQ_LINE_NO_MEMORY)
            return PQ_ENOMEM;
        if ((what == PQ_LINE_WRONG || what == PQ_LINE_MANY) && wrong++ < LIST_MISTAKES)
            say_line(s, number, p, (size_t)(stop - p), what);
        if (what == PQ_LINE_MANY)
            break;
        p = stop + 1;
    }
    if (wrong > LIST_MISTAKES)
        pq_conf_say(s->m, true, s->line, "%s: %s: and %zu more lines like these", s->where, s->path,
                    wrong - LIST_MISTAKES);
    if (regexps)
        pq_conf_say(s->m, false, s->line, "%s: %s: %zu lines with regexp: are left out", s->where,
                    s->path, regexps);
    return wrong ? PQ_EINVAL : 0;
}

static int add_list(struct source *s, struct pq_split *split, const char *conf, const char *name)
{
    size_t n;
    struct pq_target_set *set = pq_split_set(split);
    if (!set)
        return PQ_ENOMEM;
    char *text = path_of(s->path, conf, name) ? read_list(s->path, &n) : NULL;
    if (!text) {
        pq_conf_say(s->m, true, s->line, "%s: %s cannot be read: %s", s->where, name,
                    errno ? strerror(errno) : "it is larger than 64 MiB");
        return PQ_EINVAL;
    }
    int e = add_lines(s, set, text, n);
    free(text);
    return e;
}

/* ---- rules */

static const struct pq_conf_list *list_of(const struct pq_conf_split *r, enum pq_way way)
{
    return way == PQ_WAY_DIRECT ? &r->direct : way == PQ_WAY_BLOCK ? &r->block : &r->tunnel;
}

static const char *name_of(enum pq_way way)
{
    return way == PQ_WAY_DIRECT ? "direct" : way == PQ_WAY_BLOCK ? "block" : "tunnel";
}

/* The one way that a rule names; says if there is not just one. */
static bool way_of(const struct pq_conf_split *r, unsigned nth, enum pq_way *out,
                   struct pq_conf_msgs *m)
{
    unsigned ways = 0;
    bool empty = true;
    for (enum pq_way w = PQ_WAY_TUNNEL; w <= PQ_WAY_BLOCK; w++) {
        if (!list_of(r, w)->set)
            continue;
        *out = w;
        ways++;
        empty = !list_of(r, w)->n;
    }
    if (m && ways != 1)
        pq_conf_say(m, true, r->line,
                    "rules[%u]: must have one of direct, tunnel and block, with what goes there; "
                    "write another entry for another way",
                    nth);
    else if (m && empty)
        pq_conf_say(m, true, r->line, "rules[%u].%s: nothing stands behind it", nth, name_of(*out));
    return ways == 1;
}

static void say_entry(struct pq_conf_msgs *m, int line, const char *where, const char *text)
{
    pq_conf_say(m, true, line,
                "%s: '%s' is not public, private, any, a network (10.0.0.0/8), a name "
                "(example.com, *.example.com, domain:example.com), nor one of these with ports "
                "(:25, :80-90; IPv6 in brackets), nor a file (list:NAME)",
                where, text);
}

/* Builds one rule.  conf: the configuration's path, for the files; NULL: they are left alone, and
 * the entries are complained of. */
static int add_rule(struct pq_split *split, const struct pq_conf_split *r, unsigned nth,
                    const char *conf, struct pq_conf_msgs *m)
{
    enum pq_way way = PQ_WAY_TUNNEL;
    int worst = 0;
    if (!way_of(r, nth, &way, conf ? NULL : m))
        return PQ_EINVAL;
    const struct pq_conf_list *l = list_of(r, way);
    int e = pq_split_rule(split, way);
    for (unsigned i = 0; i < l->n && e != PQ_ENOMEM; i++) {
        struct source s = {.m = m, .line = l->line[i]};
        snprintf(s.where, sizeof s.where, "rules[%u].%s[%u]", nth, name_of(way), i);
        if (!is_list(l->v[i]))
            e = pq_split_entry(split, l->v[i]);
        else
            e = conf ? add_list(&s, split, conf, l->v[i] + sizeof list_word - 1) : 0;
        if (e == PQ_EINVAL && !conf)
            say_entry(m, s.line, s.where, l->v[i]);
        worst = e ? e : worst;
    }
    return e ? e : worst;
}

/* All rules in *out, which is NULL where something was wrong, or there are none. */
static void build(struct pq_split **out, const struct pq_conf *c, const char *conf,
                  struct pq_conf_msgs *m)
{
    int e = 0, worst = 0;
    struct pq_split *s = *out = c->n_split ? pq_split_new() : NULL;
    if (!c->n_split)
        return;
    for (unsigned i = 0; s && e != PQ_ENOMEM && i < c->n_split; i++) {
        e = add_rule(s, &c->split_rule[i], i, conf, m);
        worst = e ? e : worst;
    }
    if (!s || e == PQ_ENOMEM)
        pq_conf_say(m, true, 0, "rules: memory is short");
    if (worst)
        pq_split_free(out);
    else if (s)
        pq_split_seal(s);
}

void pq_conf_check_split(struct pq_check *k)
{
    struct pq_split *tried;
    build(&tried, k->c, NULL, k->m);
    pq_split_free(&tried);
}

/* The first entry that is a name of which no port is known, or a list with names; NULL: none. */
static const char *first_name(const struct pq_conf *c, int *line)
{
    struct pq_target_count lists;
    unsigned rules;
    pq_split_count(c->split, &rules, &lists);
    for (unsigned i = 0; i < c->n_split; i++) {
        for (enum pq_way w = PQ_WAY_TUNNEL; w <= PQ_WAY_BLOCK; w++) {
            const struct pq_conf_list *l = list_of(&c->split_rule[i], w);
            for (unsigned k = 0; k < l->n; k++) {
                struct pq_split *one = pq_split_new();
                const bool list = is_list(l->v[k]),
                           is = one && !list && strcmp(l->v[k], "*") != 0 &&
                                strcasecmp(l->v[k], "any") != 0 && pq_split_rule(one, w) == 0 &&
                                pq_split_entry(one, l->v[k]) == 0 && pq_split_has_names(one);
                pq_split_free(&one);
                *line = l->line[k];
                if (is || (list && lists.names))
                    return l->v[k];
            }
        }
    }
    return NULL;
}

/* Packets are steered by rules of the system, which are few. */
static void check_ports(const struct pq_conf *c, struct pq_conf_msgs *m)
{
    struct pq_port_spans *p = calloc(1, sizeof *p);
    const int e = p ? pq_port_spans_make(c->split, p) : PQ_ENOMEM;
    if (e == PQ_EINVAL)
        pq_conf_say(m, true, 0,
                    "rules: with a TUN device, entries with ports come to more than %d rules of "
                    "the system: put them before large lists of networks, or have fewer ports",
                    PQ_PORT_SPANS_MAX);
    else if (e)
        pq_conf_say(m, true, 0, "rules: memory is short");
    free(p);
}

void pq_conf_load_lists(struct pq_conf *c, const char *path, struct pq_conf_msgs *m)
{
    const struct pq_conf_tun *t = &c->tun;
    int line = 0;
    if (c->role != PQ_ROLE_CLIENT)
        return;
    build(&c->split, c, path, m);
    if (c->split && t->enabled && t->routes_text.n)
        check_ports(c, m);
    const char *name =
        c->split && t->enabled && t->routes_text.n && !t->dns_text.n ? first_name(c, &line) : NULL;
    if (name)
        pq_conf_say(m, false, line,
                    "rules: names, such as %s, count for the proxies alone: set tun.dns, so that "
                    "it is seen which addresses of packets belong to them",
                    name);
}
