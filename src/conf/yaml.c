/* SPDX-License-Identifier: MIT */
/* yaml.c - walks the YAML document against the table of keys: types, ranges, unknown and
 * repeated keys.  A value of null counts as not set. */
#include "conf/conf_internal.h"
#include "conf/scalar.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define LEVELS_MAX   64 /* of lists and maps in each other */
#define PATH_MAX_LEN 160

struct walk {
    struct pq_conf *c;
    struct pq_conf_msgs *m;
    struct pq_key_lines *lines;
    bool in_tunnel; /* c is an entry of `tunnels` */
    yaml_document_t doc;
};

/* ---- values */

static int line_of(const yaml_node_t *n)
{
    return (int)n->start_mark.line + 1;
}

static bool is_plain(const yaml_node_t *n)
{
    return n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static const char *text_of(const yaml_node_t *n)
{
    return (const char *)n->data.scalar.value;
}

static bool is_null(const yaml_node_t *n)
{
    const char *t = is_plain(n) ? text_of(n) : "x";
    return !*t || !strcmp(t, "~") || !strcmp(t, "null") || !strcmp(t, "Null") || !strcmp(t, "NULL");
}

/* What means the default, as in the Go programs. */
static bool is_default(const yaml_node_t *n, const struct pq_key *k)
{
    return (is_null(n) && k->kind != KEY_RULES) ||
           (k->kind == KEY_INT && is_plain(n) && !strcmp(text_of(n), "0"));
}

/* Does not show the text: "key:secret", without a space, is a single value in place of a map. */
static void wrong_type(struct walk *w, const yaml_node_t *n, const char *path, const char *want)
{
    static const char *const names[] = {"nothing", "a single value", "a list", "a map"};
    pq_conf_say(w->m, true, line_of(n), "%s: expected %s, found %s", path, want, names[n->type]);
}

static void wrong_value(struct walk *w, const yaml_node_t *n, const char *path, const char *want)
{
    if (n->type == YAML_SCALAR_NODE)
        pq_conf_say(w->m, true, line_of(n), "%s: expected %s, found %s", path, want, text_of(n));
    else
        wrong_type(w, n, path, want);
}

static void take_string(struct walk *w, const yaml_node_t *n, const char *path, char **out)
{
    if (n->type != YAML_SCALAR_NODE) {
        wrong_type(w, n, path, "a text");
        return;
    }
    char buf[40];
    const bool binary = n->tag && strcmp((const char *)n->tag, "tag:yaml.org,2002:binary") == 0;
    char *text = binary ? pq_scalar_binary(text_of(n))
                        : strdup(is_plain(n) ? pq_scalar_text(text_of(n), buf) : text_of(n));
    if (!text) {
        pq_conf_say(w->m, true, line_of(n), "%s: is not base64, as !!binary says", path);
        return;
    }
    free(*out);
    *out = text;
}

static void without_underscores(const char *text, char *out, size_t cap)
{
    size_t n = 0;
    for (; *text && n + 1 < cap; text++)
        if (*text != '_')
            out[n++] = *text;
    out[n] = 0;
}

/* Fractions are cut off, and a number in quotes may have an exponent, as in the Go programs. */
static bool whole_number(const yaml_node_t *n, long long *v)
{
    struct pq_scalar s;
    char *end;
    if (is_plain(n) && pq_scalar_number(text_of(n), &s) && s.is_int) {
        if (s.value > LLONG_MAX)
            return false;
        *v = s.negative ? -(long long)s.value : (long long)s.value;
        return true;
    }
    char digits[64];
    without_underscores(text_of(n), digits, sizeof digits);
    double d = strtod(digits, &end);
    if (end == digits || *end || !(d > -1e15 && d < 1e15))
        return false;
    *v = (long long)d;
    return true;
}

static void take_int(struct walk *w, const yaml_node_t *n, const struct pq_key *k, const char *path,
                     void *out)
{
    long long v = 0; /* a long may be no wider than the keys' own limits */
    if (n->type != YAML_SCALAR_NODE || !whole_number(n, &v)) {
        wrong_value(w, n, path, "a whole number");
        return;
    }
    if (v == 0) /* another spelling of the default */
        return;
    if (v < k->min || v > k->max) {
        pq_conf_say(w->m, true, line_of(n), "%s: %lld is out of range, it must be %ld to %ld", path,
                    v, k->min, k->max);
        return;
    }
    const long taken = (long)v;
    if (out)
        memcpy(out, &taken, sizeof taken);
}

static void take_bool(struct walk *w, const yaml_node_t *n, const char *path, bool *out)
{
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "on"};
    static const char *const no[] = {"false", "False", "FALSE", "no", "off"};
    for (size_t i = 0; is_plain(n) && i < sizeof yes / sizeof yes[0]; i++) {
        bool t = !strcmp(text_of(n), yes[i]);
        if (t || !strcmp(text_of(n), no[i])) {
            if (out)
                *out = t;
            return;
        }
    }
    wrong_value(w, n, path, "true or false");
}

static void add_text(struct walk *w, const yaml_node_t *n, const struct pq_key *k,
                     struct pq_conf_list *out)
{
    char *text = NULL;
    if (is_null(n))
        text = strdup("");
    else
        take_string(w, n, k->path, &text);
    char **v = realloc(out->v, (out->n + 1) * sizeof *v);
    if (v)
        out->v = v;
    int *line = realloc(out->line, (out->n + 1) * sizeof *line);
    if (line)
        out->line = line;
    if (!text || !v || !line) {
        free(text);
        return;
    }
    v[out->n] = text;
    line[out->n++] = line_of(n);
}

static void take_texts(struct walk *w, const yaml_node_t *n, const struct pq_key *k,
                       struct pq_conf_list *out)
{
    if (!out) /* lists of texts all have a place */
        return;
    out->set = true;
    out->bare = is_null(n);
    if (out->bare)
        return;
    if (n->type == YAML_SCALAR_NODE && k->kind != KEY_TEXTS) {
        add_text(w, n, k, out);
        return;
    }
    if (n->type != YAML_SEQUENCE_NODE) {
        wrong_type(w, n, k->path, "a list of texts");
        return;
    }
    for (const yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top;
         i++) {
        const yaml_node_t *e = yaml_document_get_node(&w->doc, *i);
        if (out->n == (unsigned long)k->max) {
            pq_conf_say(w->m, true, line_of(e), "%s: more than %ld entries", k->path, k->max);
            return;
        }
        add_text(w, e, k, out);
    }
}

/* ---- the walk */

static void take_map(struct walk *w, const yaml_node_t *n, const char *path, const char *shown,
                     void *base);

/* The next element of a list of maps; NULL (and an error) if there are too many. */
static void *next_element(struct walk *w, const char *path, int line)
{
    struct pq_conf *c = w->c;
    if (strcmp(path, "socks5") == 0 && c->n_socks5 < PQ_CONF_SOCKS_MAX) {
        c->socks5[c->n_socks5].line = line;
        return &c->socks5[c->n_socks5++];
    }
    if (strcmp(path, "forward") == 0 && c->n_forward < PQ_CONF_FORWARD_MAX) {
        struct pq_conf_forward *v = realloc(c->forward, (c->n_forward + 1) * sizeof *v);
        if (!v)
            return NULL;
        c->forward = v;
        v[c->n_forward] = (struct pq_conf_forward){.line = line};
        return &v[c->n_forward++];
    }
    if (strcmp(path, "rules") == 0 && c->n_split < PQ_CONF_SPLIT_MAX) {
        struct pq_conf_split *v = realloc(c->split_rule, (c->n_split + 1) * sizeof *v);
        if (!v)
            return NULL;
        c->split_rule = v;
        v[c->n_split] = (struct pq_conf_split){.line = line};
        return &v[c->n_split++];
    }
    if (strcmp(path, "servers") == 0 && c->n_servers < PQ_CONF_SERVERS_MAX) {
        c->server[c->n_servers].line = line;
        return &c->server[c->n_servers++];
    }
    if (strcmp(path, "users") == 0 && c->n_users < PQ_CONF_USERS_MAX) {
        struct pq_conf_user *v = realloc(c->user, (c->n_users + 1) * sizeof *v);
        if (!v)
            return NULL;
        c->user = v;
        v[c->n_users] = (struct pq_conf_user){.line = line};
        return &v[c->n_users++];
    }
    pq_conf_say(w->m, true, line, "%s: too many entries", path);
    return NULL;
}

/* An entry of `tunnels` is a whole configuration: the keys of the file, and a name. */
static void take_tunnel(struct walk *w, const yaml_node_t *n, unsigned nth)
{
    struct pq_key_lines lines = {.n = 0};
    struct walk in = {.m = w->m, .lines = &lines, .in_tunnel = true, .doc = w->doc};
    struct pq_conf *c = w->c, *v = NULL;
    if (c->n_tunnels < PQ_CONF_TUNNELS_MAX)
        v = realloc(c->tunnel, (c->n_tunnels + 1) * sizeof *v);
    else
        pq_conf_say(w->m, true, line_of(n), "tunnels: more than %d entries", PQ_CONF_TUNNELS_MAX);
    if (!v)
        return;
    c->tunnel = v;
    in.c = &v[c->n_tunnels++];
    pq_conf_defaults(in.c);
    in.c->line = line_of(n);
    snprintf(w->m->prefix, sizeof w->m->prefix, "tunnels[%u].", nth);
    take_map(&in, n, "", "", in.c);
    pq_conf_check_entry(in.c, &lines, w->m);
    *w->m->prefix = 0;
}

static void take_list(struct walk *w, const yaml_node_t *n, const char *path)
{
    if (n->type != YAML_SEQUENCE_NODE) {
        wrong_type(w, n, path, "a list");
        return;
    }
    const bool tunnels = strcmp(path, "tunnels") == 0;
    if (tunnels && w->in_tunnel) {
        pq_conf_say(w->m, true, line_of(n), "tunnels: a tunnel has none inside");
        return;
    }
    unsigned nth = 0;
    for (const yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top;
         i++, nth++) {
        char inner[PATH_MAX_LEN], shown[PATH_MAX_LEN];
        const yaml_node_t *e = yaml_document_get_node(&w->doc, *i);
        snprintf(inner, sizeof inner, "%s[]", path);
        snprintf(shown, sizeof shown, "%s[%u]", path, nth);
        void *base = NULL;
        if (e->type != YAML_MAPPING_NODE)
            wrong_type(w, e, shown, "a map of keys");
        else if (tunnels)
            take_tunnel(w, e, nth);
        else
            base = next_element(w, path, line_of(e));
        if (base)
            take_map(w, e, inner, shown, base);
    }
}

static void take_value(struct walk *w, const yaml_node_t *n, const struct pq_key *k,
                       const char *shown, void *base)
{
    void *out = k->at == SIZE_MAX ? NULL : (char *)base + k->at;
    char *scratch = NULL;
    switch (k->kind) {
    case KEY_MAP:
        take_map(w, n, k->path, shown, base);
        break;
    case KEY_LIST_OF_MAPS:
        take_list(w, n, k->path);
        break;
    case KEY_STRING:
        take_string(w, n, shown, out ? out : &scratch);
        free(scratch);
        break;
    case KEY_INT:
        take_int(w, n, k, shown, out);
        break;
    case KEY_BOOL:
        take_bool(w, n, shown, out);
        break;
    case KEY_TEXTS:
    case KEY_TEXT_OR_TEXTS:
    case KEY_RULES:
        take_texts(w, n, k, out);
        break;
    }
}

/* A dot or a bracket in the file would name a key of another place in the table. */
static bool is_path(const yaml_node_t *key)
{
    return strpbrk(text_of(key), ".[");
}

static void say_unknown(struct walk *w, const yaml_node_t *key, const char *full, const char *shown)
{
    char hint[PATH_MAX_LEN] = "";
    const char *near = pq_key_nearest(full);
    if (is_path(key))
        snprintf(hint, sizeof hint, " (keys have no dots: each level is a map of its own)");
    else if (near)
        snprintf(hint, sizeof hint, " (did you mean %s?)", near);
    pq_conf_say(w->m, false, line_of(key), "%s: unknown key, ignored%s", shown, hint);
}

static void take_pair(struct walk *w, const yaml_node_t *key, const yaml_node_t *val,
                      const char *path, const char *shown, void *base)
{
    char full[PATH_MAX_LEN], full_shown[PATH_MAX_LEN];
    snprintf(full, sizeof full, "%s%s%s", path, *path ? "." : "", text_of(key));
    if (w->in_tunnel && strcmp(full, "name") == 0)
        snprintf(full, sizeof full, "tunnels[].name");
    snprintf(full_shown, sizeof full_shown, "%s%s%s", shown, *shown ? "." : "", text_of(key));
    const struct pq_key *k = is_path(key) ? NULL : pq_key_find(full);
    if (!k) {
        say_unknown(w, key, full, full_shown);
        return;
    }
    if (is_default(val, k))
        return;
    if (w->lines->n < PQ_KEYS_MAX && !strchr(k->path, '[')) {
        w->lines->v[w->lines->n].path = k->path;
        w->lines->v[w->lines->n++].line = line_of(key);
    }
    if (strcmp(k->path, "transport.kcp") == 0)
        w->c->has_kcp = true;
    if (strcmp(k->path, "transport.quic") == 0)
        w->c->has_quic = true;
    take_value(w, val, k, full_shown, base);
}

static bool has_key(struct walk *w, const yaml_node_t *map, const yaml_node_t *key)
{
    const yaml_node_pair_t *p = map->data.mapping.pairs.start;
    for (; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *other = yaml_document_get_node(&w->doc, p->key);
        if (other->type == YAML_SCALAR_NODE && strcmp(text_of(other), text_of(key)) == 0)
            return true;
    }
    return false;
}

static bool is_merge(const yaml_node_t *key)
{
    return is_plain(key) && strcmp(text_of(key), "<<") == 0;
}

/* A merge key: the pairs of another map, or of several, that `map` itself does not have. */
static void take_merge(struct walk *w, const yaml_node_t *map, const yaml_node_t *from,
                       const char *path, const char *shown, void *base)
{
    if (from->type == YAML_SEQUENCE_NODE) {
        const yaml_node_item_t *i = from->data.sequence.items.start;
        for (; i < from->data.sequence.items.top; i++) {
            const yaml_node_t *e = yaml_document_get_node(&w->doc, *i);
            if (e->type == YAML_MAPPING_NODE)
                take_merge(w, map, e, path, shown, base);
        }
        return;
    }
    if (from->type != YAML_MAPPING_NODE) {
        wrong_type(w, from, "<<", "a map or a list of maps");
        return;
    }
    const yaml_node_pair_t *p = from->data.mapping.pairs.start;
    for (; p < from->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(&w->doc, p->key);
        if (key->type == YAML_SCALAR_NODE && !is_merge(key) && !has_key(w, map, key))
            take_pair(w, key, yaml_document_get_node(&w->doc, p->value), path, shown, base);
    }
}

static void take_map(struct walk *w, const yaml_node_t *n, const char *path, const char *shown,
                     void *base)
{
    if (n->type != YAML_MAPPING_NODE) {
        wrong_type(w, n, *shown ? shown : "the file", "a map of keys");
        return;
    }
    const yaml_node_pair_t *start = n->data.mapping.pairs.start, *top = n->data.mapping.pairs.top;
    for (const yaml_node_pair_t *p = start; p < top; p++) {
        const yaml_node_t *key = yaml_document_get_node(&w->doc, p->key);
        const yaml_node_t *val = yaml_document_get_node(&w->doc, p->value);
        bool again = false;
        if (key->type != YAML_SCALAR_NODE) {
            wrong_type(w, key, *shown ? shown : "the file", "a key");
            continue;
        }
        for (const yaml_node_pair_t *q = start; q < p; q++) {
            const yaml_node_t *other = yaml_document_get_node(&w->doc, q->key);
            again = again ||
                    (other->type == YAML_SCALAR_NODE && strcmp(text_of(other), text_of(key)) == 0);
        }
        if (again)
            pq_conf_say(w->m, true, line_of(key), "%s%s%s: the key is given twice", shown,
                        *shown ? "." : "", text_of(key));
        else if (is_merge(key))
            take_merge(w, n, val, path, shown, base);
        else
            take_pair(w, key, val, path, shown, base);
    }
}

static int line_at(const char *text, size_t offset)
{
    int line = 1;
    for (size_t i = 0; i < offset; i++)
        line += text[i] == '\n';
    return line;
}

/* Texts that the document holds, keys among them. */
static void wipe_document(yaml_document_t *doc)
{
    for (yaml_node_t *n = doc->nodes.start; n < doc->nodes.top; n++)
        if (n->type == YAML_SCALAR_NODE)
            explicit_bzero(n->data.scalar.value, n->data.scalar.length);
}

static void wipe_parser(yaml_parser_t *p)
{
    explicit_bzero(p->buffer.start, (size_t)(p->buffer.end - p->buffer.start));
    explicit_bzero(p->raw_buffer.start, (size_t)(p->raw_buffer.end - p->raw_buffer.start));
}

/* Whether levels are in each other beyond all need: libyaml's time grows with the square of their
 * number, to many minutes for a file of the size that is read. */
static bool is_deep(const char *text, size_t n)
{
    yaml_parser_t p;
    yaml_event_t ev;
    int depth = 0;
    bool more = yaml_parser_initialize(&p) != 0;
    if (!more)
        return false;
    yaml_parser_set_input_string(&p, (const unsigned char *)text, n);
    while (more && depth <= LEVELS_MAX && yaml_parser_parse(&p, &ev)) {
        depth += ev.type == YAML_SEQUENCE_START_EVENT || ev.type == YAML_MAPPING_START_EVENT;
        depth -= ev.type == YAML_SEQUENCE_END_EVENT || ev.type == YAML_MAPPING_END_EVENT;
        more = ev.type != YAML_STREAM_END_EVENT;
        if (ev.type == YAML_SCALAR_EVENT)
            explicit_bzero(ev.data.scalar.value, ev.data.scalar.length);
        yaml_event_delete(&ev);
    }
    wipe_parser(&p);
    yaml_parser_delete(&p);
    return depth > LEVELS_MAX;
}

/* Whether there is a tab in front of what a line of the n bytes has, the first one being 0. */
static bool is_tabbed(const char *text, size_t n, size_t line)
{
    size_t i = 0;
    for (; i < n && line; i++)
        line -= text[i] == '\n';
    while (i < n && text[i] == ' ')
        i++;
    return i < n && text[i] == '\t';
}

static int parse(struct pq_conf *c, yaml_parser_t *p, const char *text, size_t n,
                 struct pq_conf_msgs *m)
{
    struct pq_key_lines lines = {.n = 0};
    struct walk w = {.c = c, .m = m, .lines = &lines};
    if (!yaml_parser_load(p, &w.doc)) {
        const bool bytes = p->error == YAML_READER_ERROR;
        pq_conf_say(m, true,
                    bytes ? line_at(text, p->problem_offset) : (int)p->problem_mark.line + 1,
                    "not valid YAML: %s%s", p->problem ? p->problem : "cannot be read",
                    bytes ? " (the file must be UTF-8)"
                    : is_tabbed(text, n, p->problem_mark.line)
                        ? " (a tab is in front of the line: indent with blanks)"
                        : "");
        return PQ_EINVAL;
    }
    yaml_node_t *root = yaml_document_get_root_node(&w.doc);
    if (root)
        take_map(&w, root, "", "", c);
    else
        pq_conf_say(m, true, 0, "the file is empty");
    wipe_document(&w.doc);
    yaml_document_delete(&w.doc);
    if (root)
        pq_conf_check(c, &lines, m);
    return m->errors ? PQ_EINVAL : 0;
}

int pq_conf_parse_once(struct pq_conf *out, const char *text, size_t n, struct pq_conf_msgs *msgs,
                       struct pq_conf_mark *mark)
{
    yaml_parser_t p;
    pq_conf_defaults(out);
    memset(msgs, 0, sizeof *msgs);
    if (!yaml_parser_initialize(&p))
        return PQ_ENOMEM;
    yaml_parser_set_input_string(&p, (const unsigned char *)text, n);
    int e = PQ_EINVAL;
    if (is_deep(text, n))
        pq_conf_say(msgs, true, 0, "not valid here: more than %d levels in each other", LEVELS_MAX);
    else
        e = parse(out, &p, text, n, msgs);
    mark->at_character = p.error == YAML_SCANNER_ERROR;
    mark->line = p.problem_mark.line;
    mark->column = p.problem_mark.column;
    wipe_parser(&p);
    yaml_parser_delete(&p);
    return e;
}

/* ---- freeing */

void pq_conf_drop_users(struct pq_conf *c)
{
    for (unsigned i = 0; i < c->n_users; i++)
        pq_keys_free("users[].", &c->user[i]);
    free(c->user);
    c->user = NULL;
    c->n_users = 0;
}

void pq_conf_free(struct pq_conf *c)
{
    for (unsigned i = 0; i < c->n_tunnels; i++) {
        pq_keys_free("tunnels[].", &c->tunnel[i]);
        pq_conf_free(&c->tunnel[i]);
    }
    free(c->tunnel);
    for (unsigned i = 0; i < c->n_socks5; i++)
        pq_keys_free("socks5[].", &c->socks5[i]);
    for (unsigned i = 0; i < c->n_forward; i++) {
        pq_keys_free("forward[].", &c->forward[i]);
        free(c->forward[i].host);
        free(c->forward[i].not_taken);
    }
    free(c->forward);
    free(c->port);
    for (unsigned i = 1; i < PQ_CONF_SERVERS_MAX; i++) /* the first one is also server.addr */
        pq_keys_free("servers[].", &c->server[i]);
    for (unsigned i = 0; i < c->n_split; i++)
        pq_keys_free("rules[].", &c->split_rule[i]);
    free(c->split_rule);
    pq_split_free(&c->split);
    pq_conf_drop_users(c);
    explicit_bzero(c->secret, sizeof c->secret);
    pq_keys_free("", c);
    memset(c, 0, sizeof *c);
}
