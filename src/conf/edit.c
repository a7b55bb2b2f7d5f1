/* SPDX-License-Identifier: MIT */
#include "conf/edit.h"

#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 32

struct edit {
    const char *text;
    size_t n;
    yaml_document_t doc;
    const yaml_node_t *list; /* NULL: there is none */
    size_t key_end;          /* of its key */
    size_t indent, end;      /* of the map that it is in: column, and where it may go on */
    char *why;
};

static int refuse(const struct edit *e, const char *why)
{
    snprintf(e->why, PQ_EDIT_WHY_LEN, "%s: change it by hand", why);
    return PQ_EINVAL;
}

static const yaml_node_t *no_map(const struct edit *e, const char *why)
{
    refuse(e, why);
    return NULL;
}

/* The byte at a mark, which counts characters. */
static size_t at_mark(const struct edit *e, yaml_mark_t m)
{
    size_t at = 0;
    for (size_t i = 0; i < m.index && at < e->n; i++)
        for (at++; at < e->n && ((unsigned char)e->text[at] & 0xc0) == 0x80;)
            at++;
    return at;
}

/* Where the last thing of a node ends that stands within it; a block itself ends only where the
 * next thing begins. */
static size_t content_end(struct edit *e, const yaml_node_t *n, unsigned depth)
{
    size_t end = at_mark(e, n->start_mark);
    const bool mapping = n->type == YAML_MAPPING_NODE;
    if (!mapping && n->type != YAML_SEQUENCE_NODE)
        return at_mark(e, n->end_mark);
    if (mapping ? n->data.mapping.style == YAML_FLOW_MAPPING_STYLE
                : n->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE)
        return at_mark(e, n->end_mark);
    const size_t most = mapping
                            ? (size_t)(n->data.mapping.pairs.top - n->data.mapping.pairs.start) * 2
                            : (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
    for (size_t i = 0; i < most && depth < DEPTH_MAX; i++) {
        const yaml_node_pair_t *pair = mapping ? &n->data.mapping.pairs.start[i / 2] : NULL;
        const int id = !mapping ? n->data.sequence.items.start[i] : i % 2 ? pair->value : pair->key;
        const yaml_node_t *child = yaml_document_get_node(&e->doc, id);
        if (!child || child == n || child->start_mark.index < n->start_mark.index)
            continue;                                       /* an alias: stands elsewhere */
        const size_t at = content_end(e, child, depth + 1); /* NOLINT(misc-no-recursion) */
        end = at > end ? at : end;
    }
    return end;
}

static size_t line_begin(const struct edit *e, size_t at)
{
    while (at && e->text[at - 1] != '\n')
        at--;
    return at;
}

/* Behind the line in which `at` is; `at` itself if it is the first byte of one. */
static size_t line_behind(const struct edit *e, size_t at)
{
    if (at && e->text[at - 1] == '\n')
        return at;
    const char *end = memchr(e->text + at, '\n', e->n - at);
    return end ? (size_t)(end - e->text) + 1 : e->n;
}

/* ---- finding the list */

static bool is_key(const yaml_node_t *n, const char *name)
{
    return n && n->type == YAML_SCALAR_NODE &&
           strcmp((const char *)n->data.scalar.value, name) == 0;
}

static const yaml_node_t *value_of(struct edit *e, const yaml_node_pair_t *p)
{
    return yaml_document_get_node(&e->doc, p->value);
}

static const yaml_node_t *item(struct edit *e, const yaml_node_t *list, int nth)
{
    return yaml_document_get_node(&e->doc, list->data.sequence.items.start[nth]);
}

/* The map of keys that the list is to be in; NULL: it was said why not. */
static const yaml_node_t *find_map(struct edit *e, int tunnel)
{
    const yaml_node_t *map = yaml_document_get_root_node(&e->doc);
    if (!map || map->type != YAML_MAPPING_NODE ||
        map->data.mapping.style == YAML_FLOW_MAPPING_STYLE || map->start_mark.column)
        return no_map(e, "the file is no map of keys at the left margin");
    if (tunnel < 0)
        return map;
    const yaml_node_t *list = NULL;
    const yaml_node_pair_t *p = map->data.mapping.pairs.start;
    for (; p < map->data.mapping.pairs.top; p++)
        if (is_key(yaml_document_get_node(&e->doc, p->key), "tunnels"))
            list = value_of(e, p);
    if (!list || list->type != YAML_SEQUENCE_NODE ||
        tunnel >= list->data.sequence.items.top - list->data.sequence.items.start)
        return no_map(e, "the tunnel is not in the list");
    map = item(e, list, tunnel);
    if (!map || map->type != YAML_MAPPING_NODE || map->start_mark.index < list->start_mark.index ||
        (tunnel && map->start_mark.index <= item(e, list, tunnel - 1)->start_mark.index))
        return no_map(e, "the tunnel stands in another place of the file (*)");
    if (map->data.mapping.style == YAML_FLOW_MAPPING_STYLE ||
        map->data.mapping.pairs.start == map->data.mapping.pairs.top)
        return no_map(e, "the tunnel stands in braces");
    e->indent =
        yaml_document_get_node(&e->doc, map->data.mapping.pairs.start->key)->start_mark.column;
    e->end = line_behind(e, content_end(e, map, 0));
    return map;
}

static int find_list(struct edit *e, const struct pq_edit_list *l)
{
    const yaml_node_t *map = find_map(e, l->tunnel);
    bool merged = false;
    if (!map)
        return PQ_EINVAL;
    const yaml_node_pair_t *p = map->data.mapping.pairs.start;
    for (; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(&e->doc, p->key);
        merged = merged || is_key(key, "<<");
        if (!is_key(key, l->name))
            continue;
        e->list = value_of(e, p);
        e->key_end = at_mark(e, key->end_mark);
    }
    if (merged && (!e->list || l->tunnel < 0))
        return refuse(e, "keys are merged into it (<<)");
    if (!e->list)
        return 0;
    const bool empty = e->list->type == YAML_SCALAR_NODE && !e->list->data.scalar.length;
    if (at_mark(e, e->list->start_mark) < e->key_end)
        return refuse(e, "the list stands in another place of the file (*)");
    return empty || e->list->type == YAML_SEQUENCE_NODE ? 0 : refuse(e, "it is no list");
}

static int open_text(struct edit *e, const struct pq_edit_list *list)
{
    yaml_parser_t p;
    if (!yaml_parser_initialize(&p))
        return PQ_ENOMEM;
    yaml_parser_set_input_string(&p, (const unsigned char *)e->text, e->n);
    const bool ok = yaml_parser_load(&p, &e->doc);
    yaml_parser_delete(&p);
    if (!ok)
        return refuse(e, "the file is no plain YAML");
    int r = e->n >= 3 && memcmp(e->text, "\xef\xbb\xbf", 3) == 0
                ? refuse(e, "the file begins with a byte order mark")
                : find_list(e, list);
    if (!r && !e->doc.end_implicit)
        r = refuse(e, "the file has an end mark (...) or several documents");
    if (r)
        yaml_document_delete(&e->doc);
    return r;
}

static bool is_flow(const struct edit *e)
{
    return e->list->type == YAML_SEQUENCE_NODE &&
           e->list->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE;
}

static unsigned count(const struct edit *e)
{
    return e->list && e->list->type == YAML_SEQUENCE_NODE
               ? (unsigned)(e->list->data.sequence.items.top - e->list->data.sequence.items.start)
               : 0;
}

static const yaml_node_t *element(struct edit *e, unsigned nth)
{
    return item(e, e->list, (int)nth);
}

/* ---- writing */

static void put_value(FILE *f, const char *value)
{
    putc('"', f);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            putc('\\', f);
        putc(*value, f);
    }
    putc('"', f);
}

/* The value, or those of all pairs of this key that follow, as a list.  Returns how many. */
static size_t put_values(FILE *f, const struct pq_edit_pair *v)
{
    size_t n = 1;
    while (v[n].key && strcmp(v[n].key, v->key) == 0)
        n++;
    for (size_t i = 0; i < n; i++) {
        fputs(i ? ", " : n > 1 ? "[" : "", f);
        put_value(f, v[i].value);
    }
    fputs(n > 1 ? "]" : "", f);
    return n;
}

static void put_block(FILE *f, size_t indent, const struct pq_edit_pair *v)
{
    for (size_t i = 0; v[i].key;) {
        fprintf(f, "%*s%s%s: ", (int)indent, "", i ? "  " : "- ", v[i].key);
        i += put_values(f, v + i);
        putc('\n', f);
    }
}

static void put_flow(FILE *f, const struct pq_edit_pair *v)
{
    for (size_t i = 0; v[i].key;) {
        fprintf(f, "%s%s: ", i ? ", " : "{", v[i].key);
        i += put_values(f, v + i);
    }
    putc('}', f);
}

/* Whether a comma stands in front of the closing bracket, or nothing at all. */
static bool needs_comma(const struct edit *e, size_t bracket)
{
    while (bracket && strchr(" \t\r\n", e->text[bracket - 1]))
        bracket--;
    return bracket && !strchr(",[", e->text[bracket - 1]);
}

static void write_added(struct edit *e, FILE *f, const char *list, const struct pq_edit_pair *v)
{
    size_t at = e->end;
    if (e->list && is_flow(e)) {
        at = at_mark(e, e->list->end_mark) - 1;
        fwrite(e->text, 1, at, f);
        fputs(count(e) && needs_comma(e, at) ? ", " : "", f);
        put_flow(f, v);
        fwrite(e->text + at, 1, e->n - at, f);
        return;
    }
    if (e->list)
        at = line_behind(e, count(e) ? content_end(e, e->list, 0) : e->key_end);
    fwrite(e->text, 1, at, f);
    if (at && e->text[at - 1] != '\n')
        putc('\n', f);
    if (!e->list)
        fprintf(f, "%*s%s:\n", (int)e->indent, "", list);
    put_block(f, e->list && count(e) ? e->list->start_mark.column : e->indent + 2, v);
    fwrite(e->text + at, 1, e->n - at, f);
}

static int finish(FILE *f, char **out)
{
    const bool bad = ferror(f);
    if (fclose(f) == 0 && !bad)
        return 0;
    free(*out);
    *out = NULL;
    return PQ_ENOMEM;
}

int pq_edit_add(const char *text, size_t n, const struct pq_edit_list *list,
                const struct pq_edit_pair *v, char **out, size_t *out_n, char why[PQ_EDIT_WHY_LEN])
{
    struct edit e = {.text = text, .n = n, .end = n, .why = why};
    *out = NULL;
    int r = open_text(&e, list);
    if (r)
        return r;
    FILE *f = open_memstream(out, out_n);
    if (f)
        write_added(&e, f, list->name, v);
    r = f ? finish(f, out) : PQ_ENOMEM;
    yaml_document_delete(&e.doc);
    return r;
}

/* ---- taking out */

/* Of a list in brackets: with the comma behind it, or else the one in front of it. */
static int flow_span(struct edit *e, unsigned nth, size_t *from, size_t *to)
{
    const yaml_node_t *n = element(e, nth);
    *from = at_mark(e, n->start_mark);
    *to = content_end(e, n, 0);
    size_t at = *to;
    while (at < e->n && strchr(" \t\r\n", e->text[at]))
        at++;
    if (at < e->n && e->text[at] == ',') {
        at++;
        while (at < e->n && e->text[at] == ' ')
            at++;
        *to = at;
        return 0;
    }
    at = *from;
    while (at && strchr(" \t\r\n", e->text[at - 1]))
        at--;
    if (nth && e->text[at - 1] != ',')
        return refuse(e, "a comment stands within the list");
    *from = nth ? at - 1 : *from;
    return 0;
}

/* Of a list with dashes: whole lines. */
static int block_span(struct edit *e, unsigned nth, size_t *from, size_t *to)
{
    const yaml_node_t *n = element(e, nth);
    const size_t column = e->list->start_mark.column;
    *from = line_begin(e, at_mark(e, n->start_mark));
    *to = line_behind(e, content_end(e, n, 0));
    if (*from + column >= e->n || e->text[*from + column] != '-' ||
        strspn(e->text + *from, " ") < column)
        return refuse(e, "its dash stands in another line");
    return 0;
}

/* Where the last element goes a list without elements stays; a key with nothing behind it would be
 * "not set". */
static size_t put_empty(const struct edit *e, FILE *f)
{
    const char *colon = memchr(e->text + e->key_end, ':', e->n - e->key_end);
    const size_t at = colon ? (size_t)(colon - e->text) + 1 : e->key_end;
    fwrite(e->text, 1, at, f);
    fputs(" []", f);
    return at;
}

int pq_edit_remove(const char *text, size_t n, const struct pq_edit_list *list, unsigned nth,
                   char **out, size_t *out_n, char why[PQ_EDIT_WHY_LEN])
{
    struct edit e = {.text = text, .n = n, .end = n, .why = why};
    size_t from = 0, to = 0;
    *out = NULL;
    int r = open_text(&e, list);
    if (r)
        return r;
    if (nth >= count(&e))
        r = refuse(&e, "it is not in the list");
    else if (element(&e, nth)->start_mark.index < e.list->start_mark.index)
        r = refuse(&e, "it stands in another place of the file (*)");
    else
        r = is_flow(&e) ? flow_span(&e, nth, &from, &to) : block_span(&e, nth, &from, &to);
    FILE *f = r ? NULL : open_memstream(out, out_n);
    if (f) {
        const size_t done = count(&e) == 1 && !is_flow(&e) ? put_empty(&e, f) : 0;
        fwrite(text + done, 1, from - done, f);
        fwrite(text + to, 1, n - to, f);
    }
    if (!r)
        r = f ? finish(f, out) : PQ_ENOMEM;
    yaml_document_delete(&e.doc);
    return r;
}
