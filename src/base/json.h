/* SPDX-License-Identifier: MIT */
/* json.h - texts in JSON (RFC 8259), written and read; for the control socket.  No system calls, no
 * thread of its own. */
#ifndef PQ_BASE_JSON_H
#define PQ_BASE_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- writing */

struct pq_json { /* a text that grows; zero-initialized before the first call, but for `max` */
    char *p;     /* malloc'ed, not NUL-terminated; the owner frees it with pq_json_free */
    size_t len, cap;
    size_t max;  /* bytes at most */
    bool failed; /* memory or `max` was not enough: the text is of no use */
    bool next;   /* a comma is due */
};

/* Each adds a value, within an object behind its key; within an array, and as the outermost one,
 * key is NULL.  Texts are UTF-8; of what is none each byte becomes U+FFFD. */
void pq_json_begin(struct pq_json *w, const char *key, char bracket); /* '{' or '[' ... */
void pq_json_end(struct pq_json *w, char bracket);                    /* ... '}' or ']' */
void pq_json_text(struct pq_json *w, const char *key, const char *text);
void pq_json_uint(struct pq_json *w, const char *key, uint64_t v);
void pq_json_real(struct pq_json *w, const char *key, double v); /* three digits behind the point */
void pq_json_bool(struct pq_json *w, const char *key, bool v);

/* Adds bytes as they are, a line feed behind the value say. */
void pq_json_raw(struct pq_json *w, const char *p, size_t n);
void pq_json_free(struct pq_json *w);

/* ---- reading */

#define PQ_JSON_DEPTH 16 /* brackets within brackets */

enum pq_json_kind {
    PQ_JSON_OBJECT,
    PQ_JSON_ARRAY,
    PQ_JSON_KEY, /* of an object; its value is the next node */
    PQ_JSON_TEXT,
    PQ_JSON_NUMBER,
    PQ_JSON_TRUE,
    PQ_JSON_FALSE,
    PQ_JSON_NULL,
};

struct pq_json_node {
    enum pq_json_kind kind;
    uint32_t at, len; /* in the text; of a key and a text what is between the quotes */
    uint32_t next;    /* the first node that is not within this one */
};

struct pq_json_doc {
    const char *p;          /* borrowed */
    struct pq_json_node *v; /* the caller's; v[0] is the outermost value */
    uint32_t n, max;
};

/* Reads one value, with white space around it at most.  d->v has room for d->max nodes; n / 2 + 1
 * are always enough.  Returns 0, PQ_EPROTO (no JSON, or too deep) or PQ_ENOMEM (d->max was not
 * enough). */
int pq_json_read(struct pq_json_doc *d, const char *p, size_t n);

/* The value behind a key of an object, the first one of that name; NULL if there is none, or if
 * `of` is NULL or no object.  Keys with escapes are found by none. */
const struct pq_json_node *pq_json_get(const struct pq_json_doc *d, const struct pq_json_node *of,
                                       const char *key);

/* The first value of an array, and the one behind another; NULL behind the last one, or if `of` is
 * NULL or no array. */
const struct pq_json_node *pq_json_first(const struct pq_json_doc *d,
                                         const struct pq_json_node *of);
const struct pq_json_node *pq_json_after(const struct pq_json_doc *d, const struct pq_json_node *of,
                                         const struct pq_json_node *at);

/* Writes a text, NUL-terminated.  Returns false if it is none, has a NUL or half a character in its
 * escapes, or does not fit: then *buf is empty. */
bool pq_json_get_text(const struct pq_json_doc *d, const struct pq_json_node *of, char *buf,
                      size_t cap);

/* A number; 0 if it is none. */
double pq_json_get_real(const struct pq_json_doc *d, const struct pq_json_node *of);

/* A number without sign, point and exponent, UINT64_MAX at most; false if it is none. */
bool pq_json_get_uint(const struct pq_json_doc *d, const struct pq_json_node *of, uint64_t *out);
#endif
