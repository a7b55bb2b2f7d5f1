/* SPDX-License-Identifier: MIT */
/* edit.h - changes a list of maps in a configuration's text (users, forward), at its top or in an
 * entry of `tunnels`, and leaves every other byte as it is.  Where that cannot be done for sure it
 * is refused, never guessed.  No system calls. */
#ifndef PQ_CONF_EDIT_H
#define PQ_CONF_EDIT_H
#include <stddef.h>

#define PQ_EDIT_WHY_LEN 256

struct pq_edit_pair { /* of a new element; the value is any text without control characters */
    const char *key, *value;
};

struct pq_edit_list {
    const char *name;
    int tunnel; /* of this entry of `tunnels`, from 0; -1: at the top */
};

/* Adds an element, whose pairs end with a NULL key (several of one key in a row are a list), at the
 * end of the list, which is made at the end of the text, or of the entry, if there is none. *out is
 * malloc'ed, NUL-terminated, *out_n bytes; the caller's. Returns 0, PQ_ENOMEM, or PQ_EINVAL with
 * the reason in `why`. */
int pq_edit_add(const char *text, size_t n, const struct pq_edit_list *list,
                const struct pq_edit_pair *v, char **out, size_t *out_n, char why[PQ_EDIT_WHY_LEN]);

/* Takes the element with this number out, with the lines that it alone has; a comment in front of
 * it stays.  The same otherwise. */
int pq_edit_remove(const char *text, size_t n, const struct pq_edit_list *list, unsigned nth,
                   char **out, size_t *out_n, char why[PQ_EDIT_WHY_LEN]);
#endif
