/* SPDX-License-Identifier: MIT */
/* state.h - what a server keeps on disk: the stamps of its users' handshakes, so that a recording
 * is not taken after a restart either [12.2].  A thread of its own writes, a little later than
 * asked and never twice at a time: a new file, made safe, then put in the place of the old one. */
#ifndef PQ_APP_STATE_H
#define PQ_APP_STATE_H
#include "tunnel/stamps.h"
#include "tunnel/syns.h"

#define PQ_STATE_FOLDER "/var/lib/paqet"

struct pq_state;

/* Reads the stamps from `path`, or where there is none yet has nothing taken that is older than
 * `wall` (ms since 1970); then keeps them there.  `saved` is called, from the thread, each time
 * they are safe.  Returns 0, PQ_EPROTO (not such a file), PQ_ENOMEM or -errno, -EBUSY if another
 * server keeps its own there: then nothing is kept. */
int pq_state_open(struct pq_state **out, const char *path, struct pq_stamps *stamps, uint64_t wall,
                  void (*saved)(void *ctx), void *ctx);

/* The same table as a server that opens it would have now, for who looks on: nothing is changed or
 * kept.  Returns 0, PQ_EPROTO, PQ_ENOMEM or -errno. */
int pq_state_look(const char *path, struct pq_stamps *stamps, uint64_t wall);

/* Which SYNs were answered before the last stop [12.9]: takes what pq_state_leave_syns has left
 * beside the stamps, and removes it, so that it serves once.  Nothing changes if there is none, as
 * after a crash. */
void pq_state_take_syns(struct pq_state *s, struct pq_syns *syns);

/* Leaves it there; nothing more is answered.  Returns 0 or -errno. */
int pq_state_leave_syns(struct pq_state *s, struct pq_syns *syns);

/* Writes what is left to write, ends the thread and frees.  Sets *s to NULL; NULL does nothing. */
void pq_state_close(struct pq_state **s);
#endif
