/* SPDX-License-Identifier: MIT */
/* target_set.h - many names and networks, as the public lists of domains and of addresses have
 * them, one a line:
 *   10.0.0.0/8, 2001:db8::/32, 192.0.2.7        a network or an address
 *   example.com, domain:example.com,            a name and all below it
 *   .example.com, +.example.com
 *   full:www.example.com                        this name alone
 *   *.example.com                               those below it, not itself
 *   keyword:example                             names that contain it
 * What follows "#" or "@" behind that is no part of it.  "regexp:" lines are left out: no
 * library here reads the same language as the programs that these lists were made for.
 *
 * A name costs its length and some 10 bytes, a network 8 bytes, 32 of IPv6.  Names are found by one
 * look into a hash table for each of their labels, addresses by binary search.
 *
 * Built by one thread, then read only: any thread.  No system calls. */
#ifndef PQ_ENTRY_TARGET_SET_H
#define PQ_ENTRY_TARGET_SET_H
#include "base/addr.h"

#define PQ_TARGET_SET_MAX  4000000 /* names and networks of a set */
#define PQ_TARGET_KEYWORDS 1024    /* each costs a search in each name that is asked about */

struct pq_target_set;

enum pq_target_line {
    PQ_LINE_TAKEN,
    PQ_LINE_EMPTY, /* or a comment */
    PQ_LINE_REGEXP,
    PQ_LINE_WRONG,     /* none of the above */
    PQ_LINE_MANY,      /* more than the set takes */
    PQ_LINE_NO_MEMORY, /* nothing of it was taken */
};

/* Returns NULL if memory is short. */
struct pq_target_set *pq_target_set_new(void);
void pq_target_set_free(struct pq_target_set *s); /* NULL does nothing */

/* Adds what a line says, which has n bytes, without its line feed. */
enum pq_target_line pq_target_set_add(struct pq_target_set *s, const char *p, size_t n);

/* Has to be called after the last line, before the first question. */
void pq_target_set_seal(struct pq_target_set *s);

/* Whether a name of n bytes, without a final dot, is in it; an address. */
bool pq_target_set_has_name(const struct pq_target_set *s, const char *name, size_t n);
bool pq_target_set_has_addr(const struct pq_target_set *s, const struct pq_addr *a);

struct pq_target_count {
    size_t names, networks; /* networks that touch count once */
    size_t bytes;           /* of memory */
};

void pq_target_set_count(const struct pq_target_set *s, struct pq_target_count *out);

/* Calls fn for each range of addresses, IPv4 first, in order: they neither overlap nor touch. */
void pq_target_set_each(const struct pq_target_set *s,
                        void (*fn)(void *ctx, const struct pq_addr *from, const struct pq_addr *to),
                        void *ctx);
#endif
