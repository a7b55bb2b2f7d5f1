/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include "base/err.h"
#include "base/hex.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 1024

/* ---- writing */

void pq_json_raw(struct pq_json *w, const char *p, size_t n)
{
    if (w->failed || n > w->max - w->len) {
        w->failed = true;
        return;
    }
    if (n > w->cap - w->len) {
        size_t cap = w->cap ? w->cap : FIRST_CAP;
        while (cap - w->len < n)
            cap *= 2;
        char *more = realloc(w->p, cap);
        w->failed = !more;
        if (!more)
            return;
        w->p = more;
        w->cap = cap;
    }
    memcpy(w->p + w->len, p, n);
    w->len += n;
}

static void put(struct pq_json *w, const char *text)
{
    pq_json_raw(w, text, strlen(text));
}

/* Bytes of the character at p, or 0 if it is none in UTF-8; p is NUL-terminated. */
static size_t utf8(const unsigned char *p)
{
    static const struct {
        unsigned char from, to, from2, to2; /* of the first and the second byte */
        size_t len;
    } forms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                 {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                 {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                 {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    if (*p < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (*p < forms[i].from || *p > forms[i].to)
            continue;
        if (p[1] < forms[i].from2 || p[1] > forms[i].to2)
            return 0;
        for (size_t k = 2; k < forms[i].len; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].len;
    }
    return 0;
}

static void put_quoted(struct pq_json *w, const char *text)
{
    put(w, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        const size_t n = utf8(p);
        char escape[8];
        if (*p == '"' || *p == '\\')
            snprintf(escape, sizeof escape, "\\%c", *p);
        else if (n == 0)
            snprintf(escape, sizeof escape, "\xef\xbf\xbd");
        else if (*p < 0x20 || *p == 0x7f)
            snprintf(escape, sizeof escape, "\\u%04x", *p);
        else
            *escape = 0;
        if (*escape)
            put(w, escape);
        else
            pq_json_raw(w, (const char *)p, n);
        p += n ? n : 1;
    }
    put(w, "\"");
}

static void put_key(struct pq_json *w, const char *key)
{
    if (w->next)
        put(w, ",");
    w->next = true;
    if (key) {
        put_quoted(w, key);
        put(w, ":");
    }
}

void pq_json_begin(struct pq_json *w, const char *key, char bracket)
{
    put_key(w, key);
    pq_json_raw(w, &bracket, 1);
    w->next = false;
}

void pq_json_end(struct pq_json *w, char bracket)
{
    pq_json_raw(w, &bracket, 1);
    w->next = true;
}

void pq_json_text(struct pq_json *w, const char *key, const char *text)
{
    put_key(w, key);
    put_quoted(w, text);
}

void pq_json_uint(struct pq_json *w, const char *key, uint64_t v)
{
    char text[24];
    put_key(w, key);
    snprintf(text, sizeof text, "%" PRIu64, v);
    put(w, text);
}

void pq_json_real(struct pq_json *w, const char *key, double v)
{
    char text[32];
    put_key(w, key);
    if (!(v > -1e15 && v < 1e15)) /* JSON has no infinity, nor what is no number */
        v = 0;
    snprintf(text, sizeof text, "%.3f", v);
    put(w, text);
}

void pq_json_bool(struct pq_json *w, const char *key, bool v)
{
    put_key(w, key);
    put(w, v ? "true" : "false");
}

void pq_json_free(struct pq_json *w)
{
    free(w->p);
    *w = (struct pq_json){.max = w->max};
}

/* ---- reading */

struct reader {
    struct pq_json_doc *d;
    const char *p, *at, *end;
};

static void skip_space(struct reader *r)
{
    while (r->at < r->end && *r->at && strchr(" \t\r\n", *r->at))
        r->at++;
}

static bool take(struct reader *r, char c)
{
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool take_word(struct reader *r, const char *word)
{
    const size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return false;
    r->at += n;
    return true;
}

static bool take_digits(struct reader *r)
{
    const char *from = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return r->at > from;
}

static bool take_number(struct reader *r)
{
    take(r, '-');
    if (!take(r, '0') && !take_digits(r))
        return false;
    if (take(r, '.') && !take_digits(r))
        return false;
    if (!take(r, 'e') && !take(r, 'E'))
        return true;
    if (!take(r, '-'))
        take(r, '+');
    return take_digits(r);
}

/* What stands between quotes; the first one has been taken. */
static bool take_text(struct reader *r)
{
    while (r->at < r->end && *r->at != '"') {
        if ((unsigned char)*r->at < 0x20)
            return false;
        if (*r->at++ != '\\')
            continue;
        if (take(r, 'u')) {
            for (int i = 0; i < 4; i++)
                if (r->at == r->end || pq_hex_digit(*r->at++) < 0)
                    return false;
        } else if (r->at == r->end || !*r->at || !strchr("\"\\/bfnrt", *r->at++)) {
            return false;
        }
    }
    return take(r, '"');
}

/* A new node, whose end is not known yet; returns false if there is no room. */
static bool add(struct reader *r, enum pq_json_kind kind, uint32_t *at)
{
    struct pq_json_doc *d = r->d;
    if (d->n == d->max)
        return false;
    *at = d->n++;
    d->v[*at] = (struct pq_json_node){.kind = kind, .at = (uint32_t)(r->at - r->p)};
    return true;
}

static void close_node(struct reader *r, uint32_t at, const char *end)
{
    r->d->v[at].len = (uint32_t)(end - r->p) - r->d->v[at].at;
    r->d->v[at].next = r->d->n;
}

static int read_value(struct reader *r, unsigned depth);

static int read_text(struct reader *r, enum pq_json_kind kind)
{
    uint32_t node;
    if (!take(r, '"'))
        return PQ_EPROTO;
    if (!add(r, kind, &node))
        return PQ_ENOMEM;
    if (!take_text(r))
        return PQ_EPROTO;
    close_node(r, node, r->at - 1);
    return 0;
}

/* The rest of an object or array. */
static int read_members(struct reader *r, bool object, unsigned depth)
{
    const char last = object ? '}' : ']';
    skip_space(r);
    if (take(r, last))
        return 0;
    for (;;) {
        skip_space(r);
        int e = object ? read_text(r, PQ_JSON_KEY) : 0;
        skip_space(r);
        if (!e && object && !take(r, ':'))
            e = PQ_EPROTO;
        if (!e)
            e = read_value(r, depth);
        skip_space(r);
        if (e)
            return e;
        if (take(r, last))
            return 0;
        if (!take(r, ','))
            return PQ_EPROTO;
    }
}

static int read_simple(struct reader *r)
{
    uint32_t node;
    if (!add(r, PQ_JSON_NUMBER, &node))
        return PQ_ENOMEM;
    struct pq_json_node *n = &r->d->v[node];
    if (take_word(r, "true"))
        n->kind = PQ_JSON_TRUE;
    else if (take_word(r, "false"))
        n->kind = PQ_JSON_FALSE;
    else if (take_word(r, "null"))
        n->kind = PQ_JSON_NULL;
    else if (!take_number(r))
        return PQ_EPROTO;
    close_node(r, node, r->at);
    return 0;
}

/* By recursion, PQ_JSON_DEPTH deep at most. */
static int read_value(struct reader *r, unsigned depth)
{
    uint32_t node;
    skip_space(r);
    if (r->at < r->end && *r->at == '"')
        return read_text(r, PQ_JSON_TEXT);
    const bool object = r->at < r->end && *r->at == '{';
    if (!object && (r->at == r->end || *r->at != '['))
        return read_simple(r);
    if (depth == PQ_JSON_DEPTH)
        return PQ_EPROTO;
    if (!add(r, object ? PQ_JSON_OBJECT : PQ_JSON_ARRAY, &node))
        return PQ_ENOMEM;
    r->at++;
    int e = read_members(r, object, depth + 1); /* NOLINT(misc-no-recursion) */
    close_node(r, node, r->at);
    return e;
}

int pq_json_read(struct pq_json_doc *d, const char *p, size_t n)
{
    struct reader r = {.d = d, .p = p, .at = p, .end = p + n};
    d->p = p;
    d->n = 0;
    if (n >= UINT32_MAX)
        return PQ_ENOMEM;
    int e = read_value(&r, 0);
    skip_space(&r);
    return !e && r.at != r.end ? PQ_EPROTO : e;
}

const struct pq_json_node *pq_json_get(const struct pq_json_doc *d, const struct pq_json_node *of,
                                       const char *key)
{
    if (!of || of->kind != PQ_JSON_OBJECT)
        return NULL;
    const size_t len = strlen(key);
    for (uint32_t i = (uint32_t)(of - d->v) + 1; i < of->next; i = d->v[i + 1].next)
        if (d->v[i].len == len && memcmp(d->p + d->v[i].at, key, len) == 0)
            return &d->v[i + 1];
    return NULL;
}

const struct pq_json_node *pq_json_after(const struct pq_json_doc *d, const struct pq_json_node *of,
                                         const struct pq_json_node *at)
{
    return at->next < of->next ? &d->v[at->next] : NULL;
}

const struct pq_json_node *pq_json_first(const struct pq_json_doc *d, const struct pq_json_node *of)
{
    if (!of || of->kind != PQ_JSON_ARRAY || (uint32_t)(of - d->v) + 1 == of->next)
        return NULL;
    return of + 1;
}

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)pq_hex_digit(p[i]);
    return v;
}

/* Writes a character at w; returns its bytes. */
static size_t put_utf8(char *w, uint32_t c)
{
    if (c < 0x80) {
        w[0] = (char)c;
        return 1;
    }
    const size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i; i--, c >>= 6)
        w[i] = (char)(0x80 | (c & 0x3f));
    w[0] = (char)((0xf00U >> n & 0xff) | c);
    return n;
}

/* The character behind "\u", its second half included; 0 if it is none, or NUL. */
static uint32_t unescape(const char **at, const char *end)
{
    uint32_t c = hex4(*at), low;
    *at += 4;
    if (c < 0xd800 || c > 0xdfff)
        return c;
    if (c > 0xdbff || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return 0;
    low = hex4(*at + 2);
    *at += 6;
    return low >= 0xdc00 && low <= 0xdfff ? 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00) : 0;
}

bool pq_json_get_text(const struct pq_json_doc *d, const struct pq_json_node *of, char *buf,
                      size_t cap)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    size_t n = 0;
    *buf = 0;
    if (!of || (of->kind != PQ_JSON_TEXT && of->kind != PQ_JSON_KEY))
        return false;
    for (const char *at = d->p + of->at, *end = at + of->len; at < end;) {
        char one[4] = "?";
        size_t len = 1;
        if (*at != '\\') {
            one[0] = *at++;
        } else if (at[1] != 'u') {
            const char *known = strchr(from, at[1]);
            one[0] = at[1];
            if (known)
                one[0] = to[known - from];
            at += 2;
        } else {
            at += 2;
            uint32_t c = unescape(&at, end);
            len = c ? put_utf8(one, c) : cap;
        }
        if (!one[0] || len >= cap - n) {
            *buf = 0;
            return false;
        }
        memcpy(buf + n, one, len);
        n += len;
    }
    buf[n] = 0;
    return true;
}

double pq_json_get_real(const struct pq_json_doc *d, const struct pq_json_node *of)
{
    char text[40];
    if (!of || of->kind != PQ_JSON_NUMBER || of->len >= sizeof text)
        return 0;
    memcpy(text, d->p + of->at, of->len);
    text[of->len] = 0;
    return strtod(text, NULL);
}

bool pq_json_get_uint(const struct pq_json_doc *d, const struct pq_json_node *of, uint64_t *out)
{
    uint64_t v = 0;
    if (!of || of->kind != PQ_JSON_NUMBER)
        return false;
    for (uint32_t i = 0; i < of->len; i++) {
        const char c = d->p[of->at + i];
        if (c < '0' || c > '9' || v > (UINT64_MAX - (uint64_t)(c - '0')) / 10)
            return false;
        v = v * 10 + (uint64_t)(c - '0');
    }
    *out = v;
    return true;
}
