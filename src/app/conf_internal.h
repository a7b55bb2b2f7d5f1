/* SPDX-License-Identifier: MIT */
/* conf_internal.h - between conf_yaml.c, conf_keys.c and conf_check.c. */
#ifndef PQ_APP_CONF_INTERNAL_H
#define PQ_APP_CONF_INTERNAL_H
#include "app/conf.h"

enum pq_key_kind {
    KEY_MAP,
    KEY_LIST_OF_MAPS,
    KEY_STRING,
    KEY_INT,
    KEY_BOOL,
    KEY_STRINGS,
};

enum pq_key_use {
    USE_YES,
    USE_NONE,  /* a setting of the Go programs that has no counterpart here: accepted, ignored */
    USE_LATER, /* a part that is not there yet: a warning if it is set */
};

struct pq_key {
    const char *path; /* "a.b", elements of a list "a[].b" */
    enum pq_key_kind kind;
    size_t at;     /* offset in struct pq_conf, or in the list's element; SIZE_MAX = nowhere */
    long min, max; /* KEY_INT */
    long deflt;    /* KEY_INT: instead of 0 or a missing value */
    enum pq_key_use use;
};

/* The key with this path, or NULL. */
const struct pq_key *pq_key_find(const char *path);

/* The known key that looks most like this one, or NULL if none is near. */
const char *pq_key_nearest(const char *path);

/* Fills in all defaults. */
void pq_conf_defaults(struct pq_conf *c);

/* Where the keys that were set stand. */
struct pq_key_lines {
    struct {
        const char *path; /* NULL at the end */
        int line;
    } v[128];
    unsigned n;
};

/* Line of a key that was set, or of its nearest parent, or 0. */
int pq_key_line(const struct pq_key_lines *l, const char *path);
bool pq_key_is_set(const struct pq_key_lines *l, const char *path);

/* Adds a message; `error` false = warning. */
__attribute__((format(printf, 4, 5))) void pq_conf_say(struct pq_conf_msgs *m, bool error, int line,
                                                       const char *fmt, ...);

/* Everything that needs more than one key, or more than a type and a range. */
void pq_conf_check(struct pq_conf *c, const struct pq_key_lines *lines, struct pq_conf_msgs *m);
#endif
