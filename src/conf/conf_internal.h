/* SPDX-License-Identifier: MIT */
/* conf_internal.h - between load.c, yaml.c, keys.c, msgs.c and check*.c. */
#ifndef PQ_CONF_INTERNAL_H
#define PQ_CONF_INTERNAL_H
#include "conf/conf.h"

enum pq_key_kind {
    KEY_MAP,
    KEY_LIST_OF_MAPS,
    KEY_STRING,
    KEY_INT,
    KEY_BOOL,
    KEY_TEXTS,         /* a list of texts */
    KEY_TEXT_OR_TEXTS, /* the same, a single one without the list */
    KEY_RULES, /* the same, and null is an empty list: what is left when all its entries have
                  become comments must not count as not set */
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
    long min, max; /* KEY_INT; for the lists of texts, max is that of the entries */
    long deflt;    /* KEY_INT: instead of 0 or a missing value */
    enum pq_key_use use;
};

unsigned pq_key_count(void);
const struct pq_key *pq_key_nth(unsigned i);

/* The key with this path, or NULL. */
const struct pq_key *pq_key_find(const char *path);

/* The known key that looks most like this one, or NULL if none is near. */
const char *pq_key_nearest(const char *path);

/* Fills in all defaults. */
void pq_conf_defaults(struct pq_conf *c);

/* Overwrites and frees the texts at `base`: with "" those of struct pq_conf, with "a[]." those of
 * an element of list a. */
void pq_keys_free(const char *prefix, void *base);

#define PQ_KEYS_MAX 160

/* Where the keys that were set stand, those in elements of lists left out. */
struct pq_key_lines {
    struct {
        const char *path;
        int line;
    } v[PQ_KEYS_MAX];
    unsigned n;
};

/* Line of a key that was set, or of its nearest parent, or 0. */
int pq_key_line(const struct pq_key_lines *l, const char *path);
bool pq_key_is_set(const struct pq_key_lines *l, const char *path);

/* Adds a message; `error` false = warning. */
__attribute__((format(printf, 4, 5))) void pq_conf_say(struct pq_conf_msgs *m, bool error, int line,
                                                       const char *fmt, ...);

struct pq_conf_mark {  /* where the parser has stopped ... */
    bool at_character; /* ... at one that begins nothing */
    size_t line, column;
};

/* Parses the text as it is; yaml.c.  *out and *msgs are set anew. */
int pq_conf_parse_once(struct pq_conf *out, const char *text, size_t n, struct pq_conf_msgs *msgs,
                       struct pq_conf_mark *mark);

/* Makes c->split of the rules, and of the lists that they name, of a configuration at this path;
 * says what is wrong with the lists. */
void pq_conf_load_lists(struct pq_conf *c, const char *path, struct pq_conf_msgs *m);

/* The same with those of its tunnels. */
void pq_conf_load_all_lists(struct pq_conf *c, const char *path, struct pq_conf_msgs *m);

/* Whether a key is in it, or in one of its tunnels. */
bool pq_conf_has_key(const struct pq_conf *c);

/* Checks an entry of `tunnels`, and makes a client of it. */
void pq_conf_check_entry(struct pq_conf *t, const struct pq_key_lines *lines,
                         struct pq_conf_msgs *m);

struct pq_check {
    struct pq_conf *c;
    const struct pq_key_lines *lines;
    struct pq_conf_msgs *m;
};

#define PQ_FAIL(k, path, ...) pq_conf_say((k)->m, true, pq_key_line((k)->lines, path), __VA_ARGS__)
#define PQ_WARN(k, path, ...) pq_conf_say((k)->m, false, pq_key_line((k)->lines, path), __VA_ARGS__)

static inline bool pq_is_set(const char *s)
{
    return s && *s;
}

#define PQ_HOST_LEN 256

/* Splits host:port with a port from `min` on; says what is wrong.  Returns false then. */
bool pq_check_hostport(struct pq_check *k, const char *path, int line, const char *text,
                       char host[PQ_HOST_LEN], uint16_t *port, unsigned min);

/* The same where a range may stand for the port, which is 1 at least. */
bool pq_check_hostports(struct pq_check *k, const char *path, int line, const char *text,
                        char host[PQ_HOST_LEN], struct pq_range *ports);

/* Where something listens: an empty host is every IPv4 address.  Returns false if something is
 * wrong, which was said. */
bool pq_check_listen(struct pq_check *k, const char *path, int line, const char *text,
                     struct pq_addr *out);

/* The same for a target: its host must be there, and look like a name or an address. */
bool pq_check_target(struct pq_check *k, const char *path, int line, const char *text,
                     char host[PQ_HOST_LEN], uint16_t *port);

/* Checks allow and deny; `prefix` is what precedes their names.  line 0: that of the key. */
void pq_check_rules(struct pq_check *k, const char *prefix, int line,
                    const struct pq_conf_rules *r);

/* Everything that needs more than one key, or more than a type and a range. */
void pq_conf_check(struct pq_conf *c, const struct pq_key_lines *lines, struct pq_conf_msgs *m);

/* In place of that: the file around `tunnels`, and what they have in common. */
void pq_conf_check_tunnels(struct pq_check *k);

/* Its parts: role, log and control; status; socks5 and forward; rules; tun; allow, deny and
 * outgoing; our own wire. */
void pq_conf_check_program(struct pq_check *k);
void pq_conf_check_status(struct pq_check *k);
void pq_conf_check_listeners(struct pq_check *k);
void pq_conf_check_split(struct pq_check *k);
void pq_conf_check_tun(struct pq_check *k);
void pq_conf_check_exit(struct pq_check *k);
void pq_conf_check_keys(struct pq_check *k); /* after check_client */

#define PQ_KEY_SHORT 16 /* characters of a key that are too few to be safe */

/* K of the time before, which is in kcp's place; `of`: where it stands in the file, kcp or quic. */
void pq_conf_check_key_before(struct pq_check *k, const char *of);
void pq_conf_check_quic(struct pq_check *k);       /* of a configuration with protocol: quic; ... */
void pq_conf_check_quic_ports(struct pq_check *k); /* ... once its ports are known */
#endif
