/* SPDX-License-Identifier: MIT */
/* stamps.h - which handshakes a server has taken: for each user the greatest stamp of each of his
 * running programs, so that a recording is never taken, after a restart neither [12.2].
 * Knows: the rule, the table, its text form.  Does not know: files (app/state.c keeps it in one).
 * One table serves all workers; any thread. */
#ifndef PQ_TUNNEL_STAMPS_H
#define PQ_TUNNEL_STAMPS_H
#include "base/bytes.h"

#include <stdbool.h>
#include <stdio.h>

#define PQ_STAMP_KEY_LEN 32
#define PQ_STAMPS_EACH   64   /* programs of a user that are told apart ... */
#define PQ_STAMPS_AHEAD  16   /* ... of which so many may have clocks that are ahead of ours ... */
#define PQ_STAMPS_ALL    1024 /* ... and of the user without a name, who is everybody */

struct pq_stamps;

struct pq_stamp {
    uint64_t instance, stamp;
};

/* Creates a table for n users, whose public keys are `keys` (n = 0: one without a name), in *out,
 * owned by the caller.  Returns 0 or PQ_ENOMEM. */
int pq_stamps_new(struct pq_stamps **out, const uint8_t (*keys)[PQ_STAMP_KEY_LEN], unsigned n);
void pq_stamps_free(struct pq_stamps **s); /* sets *s to NULL; freeing NULL does nothing */

/* The users are these n from now on, n > 0 and not where it began with none.  What was taken of
 * them before is known, also of those who come back; of those who are no more it is kept.  Returns
 * 0 or PQ_ENOMEM: then nothing has changed. */
int pq_stamps_set_users(struct pq_stamps *s, const uint8_t (*keys)[PQ_STAMP_KEY_LEN], unsigned n);

/* Somebody keeps the table: what is taken is valid once pq_stamps_note_kept says so; `changed`
 * comes from whatever thread took it.  Else only stamps later than this program's start and near
 * the wall clock are taken, and they are valid at once; so it is always for the user without a
 * name.  Before the table is used. */
void pq_stamps_keep(struct pq_stamps *s, void (*changed)(void *ctx), void *ctx);

/* This table is of one who only looks on, beside a server: it takes what that one takes, which
 * keeps its own table (`kept`), or was started long ago.  Nothing waits for anything to be kept.
 * `seen` is told of each stamp of a user, taken or not, from the thread that has it.  Before the
 * table is used. */
typedef void (*pq_stamps_seen_fn)(void *ctx, struct pq_stamp t, bool taken);
void pq_stamps_look_on(struct pq_stamps *s, bool kept, pq_stamps_seen_fn seen, void *ctx);

/* Nothing is known of what was taken before: from nobody a stamp up to this one is taken. */
void pq_stamps_floor(struct pq_stamps *s, uint64_t stamp);

/* Whether this handshake is a new one; remembers it then, and *ticket is what has to be kept before
 * it is answered.  `wall`: ms since 1970; `up`: ms since this program was started. */
bool pq_stamps_take(struct pq_stamps *s, unsigned user, struct pq_stamp t, uint64_t wall,
                    uint64_t up, uint64_t *ticket);

/* Everything up to and including this ticket is safe. */
bool pq_stamps_kept(struct pq_stamps *s, uint64_t ticket);
void pq_stamps_note_kept(struct pq_stamps *s, uint64_t ticket);

/* Writes the table as text; *ticket is what it holds.  Returns false if writing failed. */
bool pq_stamps_write(struct pq_stamps *s, FILE *f, uint64_t *ticket);

/* Reads what pq_stamps_write has written; of users that are no more it is kept, since they may come
 * back.  Returns 0, PQ_EPROTO (not such a text, or one that was cut off) or PQ_ENOMEM. */
int pq_stamps_read(struct pq_stamps *s, FILE *f);
#endif
