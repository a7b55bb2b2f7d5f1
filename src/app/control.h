/* SPDX-License-Identifier: MIT */
/* control.h - the control socket: one request a line, one answer a line, both JSON, as
 * docs/control.md says.  Of the main thread. */
#ifndef PQ_APP_CONTROL_H
#define PQ_APP_CONTROL_H
#include "app/app.h"
#include "app/reload.h"
#include "base/json.h"
#include "os/local.h"

#define PQ_CONTROL_VERSION     1
#define PQ_CONTROL_REQUEST_MAX 4096 /* bytes of a line */
#define PQ_CONTROL_ANSWER_MAX  ((size_t)16 << 20)
#define PQ_CONTROL_CLIENTS_MAX 16 /* at once; for a further one the oldest goes */
#define PQ_CONTROL_PATHS       2  /* where the socket may be if nothing is configured */

struct pq_control;

/* The paths at which the socket of a configuration may be, the first one first: what it says
 * itself, or, named after its file, in the folders for such files.  Returns how many; 0: there is
 * none. */
unsigned pq_control_paths(const struct pq_conf *c, const char *file,
                          char out[PQ_CONTROL_PATHS][PQ_LOCAL_PATH_MAX + 1]);

/* The folders for them.  Returns how many. */
unsigned pq_control_folders(char out[PQ_CONTROL_PATHS][PQ_LOCAL_PATH_MAX + 1]);

/* Opens the socket if there is to be one.  One that is configured and cannot be had is an error,
 * which was said.  Returns 0, PQ_ENOMEM or -errno. */
int pq_control_start(struct pq_control **out, uv_loop_t *loop, struct pq_app *app);

/* Closes it; frees once the loop has closed the handles.  Sets *c to NULL; NULL does nothing. */
void pq_control_stop(struct pq_control **c);

/* ---- status.c: members of an answer, added to it */

#define PQ_STATUS_SESSIONS 1000 /* at most, unless the request asks for less or more ... */
#define PQ_STATUS_STREAMS  2000
#define PQ_STATUS_MOST     20000 /* ... up to this */

/* Adds what docs/control.md says of "status": at most `most` sessions. */
void pq_status_put(struct pq_app *app, struct pq_json *w, unsigned most);

/* Adds "streams": at most `most`. */
void pq_status_put_streams(struct pq_app *app, struct pq_json *w, unsigned most);

/* Ends a stream by the id that "top" has told.  Returns false if there is none. */
bool pq_status_kill(struct pq_app *app, const char *id);

/* ---- control_ask.c */

/* Makes the answer to a request, without the line feed.  Returns false where it is still to come:
 * then `w` waits for a reload, and makes it with pq_control_put_reload.  With w == NULL reloading
 * cannot be asked for. */
bool pq_control_ask(struct pq_app *app, const char *line, size_t n, struct pq_json *answer,
                    struct pq_reload_wait *w);

/* The answer to a reload. */
void pq_control_put_reload(const struct pq_app *app, struct pq_json *answer, int err,
                           const struct pq_news *news);
#endif
