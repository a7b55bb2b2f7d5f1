/* SPDX-License-Identifier: MIT */
/* syns.h - which SYNs a server has answered, so that no recording of one is [12.9].
 * Knows: slots of time, what was answered in those that are not over.  Does not know: keys, flows.
 * One memory serves all workers of a server; any thread. */
#ifndef PQ_TUNNEL_SYNS_H
#define PQ_TUNNEL_SYNS_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PQ_SYN_SLOT     UINT64_C(120000)    /* ms of the wall clock */
#define PQ_SYNS_OF_SLOT 16384               /* more are not answered, ... */
#define PQ_SYNS_UNKNOWN 8192                /* ... of them from networks that are not known */
#define PQ_SYNS_WRONG   (UINT32_C(1) << 20) /* wrong ones, and none is for the rest of the slot */
#define PQ_SYNS_WRONG_PLAIN                                                                        \
    4096 /* the same of those without time stamps, which are guessed sooner */
#define PQ_SYNS_KNOWN      4096 /* networks from which clients have come, ... */
#define PQ_SYNS_EACH       1024 /* ... and what each may have of both in a slot, ... */
#define PQ_SYNS_EACH_PLAIN 64   /* ... of wrong ones without time stamps */

struct pq_addr;
struct pq_syns;

/* Creates an empty memory in *out, owned by the caller.  `wall`: ms since 1970; what may have been
 * answered before, and forgotten since, is not answered.  `seed` is secret.  Returns 0 or
 * PQ_ENOMEM. */
int pq_syns_new(struct pq_syns **out, uint64_t wall, uint64_t seed);
void pq_syns_free(struct pq_syns **s); /* sets *s to NULL; freeing NULL does nothing */

/* The two slots that a client's clock may say when this one says `wall`, the later one second. */
void pq_syns_slots(uint64_t wall, uint64_t slots[2]);

struct pq_syn { /* that has proven itself */
    uint64_t slot;
    uint32_t number, stamp; /* its ISN; the time stamp that it went out with first */
    const struct pq_addr *from;
    bool plain; /* it has no time stamps; stamp is 0 */
};

/* Whether it may be answered: not if one like it has been, if nobody can know, or if somebody
 * guesses or takes too many answers.  Remembers it then. */
bool pq_syns_take(struct pq_syns *s, const struct pq_syn *syn, uint64_t wall);

/* The number that its answer begins with, the same in all workers. */
uint32_t pq_syns_number(const struct pq_syns *s, uint32_t number, uint32_t stamp);

/* One has come from there that proves nothing. */
void pq_syns_note_wrong(struct pq_syns *s, const struct pq_addr *from, bool plain, uint64_t wall);

/* A client has come from there who has the keys: what others send does not shut out this network
 * (IPv4: 24 bits, IPv6: 48).  Of more than PQ_SYNS_KNOWN those are forgotten from which nobody has
 * come for longest. */
void pq_syns_know(struct pq_syns *s, const struct pq_addr *from, uint64_t wall);

/* From when on SYNs are answered, ms since 1970; it may be over. */
uint64_t pq_syns_from(struct pq_syns *s);

/* Writes the memory as text, when nothing more will be answered.  Returns false if that failed. */
bool pq_syns_write(struct pq_syns *s, FILE *f);

/* Reads what pq_syns_write has written: what was answered before the start is known then, and where
 * clients came from, and the rest may be answered at once.  Returns 0 or PQ_EPROTO (not such a
 * text, or one that was cut off: nothing has changed). */
int pq_syns_read(struct pq_syns *s, FILE *f);
#endif
